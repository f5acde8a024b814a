//! The commands that put Chancery in the place of a key. They name files, servers and variables, and no value.

use super::api::Api;
use super::recognize::Recognized;

/// An MCP server in a client's configuration.
pub(super) struct Server {
    /// What resource and connection are to be called.
    pub(super) name: String,
    /// Where it is, without anything secret, if it is asked over HTTP.
    pub(super) url: Option<String>,
    /// The header that carries the key.
    pub(super) header: Option<String>,
    /// The words that start it, keys replaced by variables, if it is a program.
    pub(super) command: Vec<String>,
    /// The client, as `snippet` calls it.
    pub(super) client: &'static str,
}

/// For a key of an MCP server.
pub(super) fn server(server: &Server) -> Vec<String> {
    let Server { name, client, .. } = server;
    let mut lines = Vec::new();
    if let Some(url) = &server.url {
        let header = server.header.as_deref();
        let header = header.filter(|header| !header.eq_ignore_ascii_case("authorization"));
        let header = header.map(|header| format!(" --header {}", quoted(header)));
        lines.push(format!(
            "chancery add {} --name {name} --key -{}",
            quoted(url),
            header.unwrap_or_default()
        ));
    } else {
        let where_to =
            "# The program reads its key itself: start it as a user whose files the agent cannot read.";
        lines.push(where_to.to_owned());
        lines.push(format!(
            "chancery mcp wrap --name {name} -- {}",
            server.command.join(" ")
        ));
    }
    lines.push(format!(
        "chancery agent create AGENT --owner me --allow {name}:read --secret-file AGENT.secret"
    ));
    lines.push(format!(
        "chancery snippet {client} --agent AGENT --resource {name}     # in place of what stands there now"
    ));
    lines
}

/// For a key in a variable of a program's environment.
pub(super) fn variable(name: &str, recognized: Recognized) -> Vec<String> {
    if recognized.what == "a URL with a password" || recognized.what == "a private key" {
        return vec![format!(
            "# {name}: not a key of an HTTP interface. Keep it out of what the agent can read, as with \
             `chancery run --agent AGENT -- PROGRAM`."
        )];
    }
    let (connection, base_url, header, prefix) = match recognized.api {
        Some(Api {
            name,
            base_url,
            header,
            prefix,
            ..
        }) => ((*name).to_owned(), *base_url, *header, *prefix),
        None => (noun_name(name), "https://API.EXAMPLE", "Authorization", "Bearer "),
    };
    vec![
        "chancery apply -f - <<'END'".to_owned(),
        "[[connections]]".to_owned(),
        format!("name = \"{connection}\""),
        "owner = \"OWNER\"".to_owned(),
        format!("base_url = \"{base_url}\""),
        "owner_level = \"tenant\"".to_owned(),
        "[connections.credential.api_key]".to_owned(),
        format!(
            "parts = [{{ name = \"key\", placement = {{ header = {{ name = \"{header}\", prefix = \"{prefix}\" }} }} }}]"
        ),
        "END".to_owned(),
        format!("chancery account set {connection} --tenant-wide     # asks for the value of {name}"),
        format!(
            "# and call BASE/broker/{connection}/… with the agent's token where {base_url}/… is called now"
        ),
    ]
}

/// A name that nouns may have, from one that somebody gave a server or a variable.
pub(super) fn noun_name(text: &str) -> String {
    let lower = text.to_lowercase();
    let kept = lower
        .chars()
        .map(|char| if char.is_ascii_alphanumeric() { char } else { '-' });
    let kept: String = kept.collect();
    let words: Vec<&str> = kept.split('-').filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return "server".to_owned();
    }
    words.join("-")
}

/// The name of a variable that holds what stood under this name.
pub(super) fn variable_name(text: &str) -> String {
    let name = noun_name(text).replace('-', "_").to_uppercase();
    let starts_with_digit = name.starts_with(|first: char| first.is_ascii_digit());
    if starts_with_digit {
        format!("KEY_{name}")
    } else {
        name
    }
}

/// A word as a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_./:@=,+%".contains(char);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A word as a shell takes it, with a variable in the place of a value.
pub(super) fn with_variable(word: &str, value: &str, name: &str) -> String {
    let escaped = |text: &str| {
        let special = |char: char| "\"\\`$".contains(char);
        let escape = |char: char| {
            special(char)
                .then_some('\\')
                .into_iter()
                .chain([char])
                .collect::<Vec<_>>()
        };
        text.chars().flat_map(escape).collect::<String>()
    };
    let parts: Vec<String> = word.split(value).map(escaped).collect();
    format!("\"{}\"", parts.join(&format!("${{{}}}", variable_name(name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("https://a.example/mcp"), "https://a.example/mcp");
        assert_eq!(quoted("it's; rm"), r"'it'\''s; rm'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("$(x)"), "'$(x)'");
    }

    #[test]
    fn a_variable_stands_where_the_value_stood() {
        assert_eq!(with_variable("--key=abc", "abc", "--key"), "\"--key=${KEY}\"");
        assert_eq!(with_variable("A: \"$abc", "abc", "A"), "\"A: \\\"\\$${A}\"");
    }

    #[test]
    fn names_become_names_of_nouns_and_variables() {
        assert_eq!(noun_name("My Bank!"), "my-bank");
        assert_eq!(noun_name("***"), "server");
        assert_eq!(variable_name("x-api-key"), "X_API_KEY");
        assert_eq!(variable_name("2fa"), "KEY_2FA");
    }
}
