//! Configurations of MCP clients: JSON (comments and trailing commas as editors allow them) or TOML, in which servers
//! stand with their headers, environment, arguments and URL.

use super::Finding;
use super::recognize::{Recognized, recognize};
use super::replace::{self, Server};
use serde_json::{Map, Value};
use std::path::Path;
use url::Url;

/// The keys of a file.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn findings(file: &Path, text: &str) -> Result<Vec<Finding>, String> {
    let is_toml = file.extension().is_some_and(|extension| extension == "toml");
    let document: Value = if is_toml {
        toml::from_str(text).map_err(|error| error.message().to_owned())?
    } else {
        serde_json::from_str(text)
            .or_else(|_| serde_json::from_str(&plain(text)))
            .map_err(|error| format!("not JSON, line {}", error.line()))?
    };
    let mut reader = Reader {
        file,
        text,
        findings: Vec::new(),
    };
    reader.walk(&document, "");
    Ok(reader.findings)
}

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    findings: Vec<Finding>,
}

/// A value that was recognised, and what it is called in its server.
struct Held<'a> {
    place: String,
    value: &'a str,
    recognized: Recognized,
    /// The header that carries it, or the variable or argument that holds it.
    name: String,
}

impl Reader<'_> {
    /// Looks for tables of servers, wherever they stand: clients keep them by project too.
    fn walk(&mut self, value: &Value, path: &str) {
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let path = joined(path, name);
                    match member.as_object().filter(|_| TABLES.contains(&name.as_str())) {
                        Some(servers) => self.servers(servers, &path),
                        None => self.walk(member, &path),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.walk(item, path)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn servers(&mut self, servers: &Map<String, Value>, path: &str) {
        for (name, server) in servers {
            let Some(server) = server.as_object() else {
                continue;
            };
            let path = joined(path, name);
            let held = held(server, &path);
            if held.is_empty() {
                continue;
            }
            let described = described(self.file, name, server, &held);
            let replace = replace::server(&described);
            for held in held {
                self.findings.push(Finding {
                    file: self.file.to_owned(),
                    line: line_of(self.text, held.value),
                    place: held.place,
                    what: held.recognized.what,
                    replace: replace.clone(),
                });
            }
        }
    }
}

/// Every key of a server.
fn held<'a>(server: &'a Map<String, Value>, path: &str) -> Vec<Held<'a>> {
    let mut all = Vec::new();
    let mut look = |place: String, name: &str, value: &'a str| {
        if let Some(recognized) = recognize(name, value) {
            let name = name.to_owned();
            all.push(Held {
                place,
                value,
                recognized,
                name,
            });
        }
    };
    for table in HOLDING {
        let members = server.get(*table).and_then(Value::as_object);
        for (name, value) in members.into_iter().flatten() {
            if let Some(value) = value.as_str() {
                look(joined(&joined(path, table), name), name, value);
            }
        }
    }
    for (position, argument) in arguments(server).enumerate() {
        // `--api-key=VALUE`, `--header "Authorization: VALUE"`, `NAME=VALUE`, and a value that tells itself.
        let named = argument.split_once('=').or_else(|| argument.split_once(": "));
        let before = position
            .checked_sub(1)
            .and_then(|before| arguments(server).nth(before));
        let (name, value) = named.unwrap_or((before.unwrap_or_default(), argument));
        look(
            format!("{path}.args[{position}]"),
            name.trim_start_matches('-'),
            value,
        );
    }
    for address in ADDRESSES {
        let url = server.get(*address).and_then(Value::as_str).unwrap_or_default();
        let (name, value) = secret_pair(url).unwrap_or((address, url));
        look(joined(path, address), name, value);
    }
    all
}

/// The first parameter of a URL that is a key, as it stands there.
fn secret_pair(url: &str) -> Option<(&str, &str)> {
    let (_, query) = url.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, value)| recognize(name, value).is_some())
}

/// What replacing needs to know of a server: nothing that is secret.
fn described(file: &Path, name: &str, server: &Map<String, Value>, held: &[Held<'_>]) -> Server {
    let url = ADDRESSES
        .iter()
        .find_map(|address| server.get(*address)?.as_str());
    let url = url.and_then(|url| Url::parse(url).ok()).map(|mut url| {
        url.set_query(None);
        url.set_fragment(None);
        // Where there is no user, there is none to remove.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.to_string()
    });
    let headers = held.iter().filter(|held| {
        let is_header = |table: &str| held.place.contains(&format!(".{table}."));
        is_header("headers") || is_header("http_headers")
    });
    let command = server.get("command").and_then(Value::as_str);
    let words = command.into_iter().chain(arguments(server));
    let secret = |word: &str| held.iter().find(|held| word.contains(held.value));
    let words = words.map(|word| match secret(word) {
        Some(held) => replace::with_variable(word, held.value, &held.name),
        None => replace::quoted(word),
    });
    Server {
        name: replace::noun_name(name),
        url,
        header: headers.map(|held| held.name.clone()).next(),
        command: words.collect(),
        client: client_of(file),
    }
}

fn arguments(server: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let all = server.get("args").and_then(Value::as_array);
    all.into_iter().flatten().filter_map(Value::as_str)
}

/// What `chancery snippet` calls the client of a file.
fn client_of(file: &Path) -> &'static str {
    let text = file.to_string_lossy();
    if text.contains(".cursor") {
        "cursor"
    } else if text.contains(".vscode") || text.contains("Code/User") {
        "vscode"
    } else {
        "claude-code"
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// The line on which a value first stands, from 1.
fn line_of(text: &str, value: &str) -> usize {
    let place = text.find(value).and_then(|at| text.get(..at));
    place.map_or(1, |before| before.matches('\n').count() + 1)
}

/// JSON without what editors allow beside it: comments, and commas before a closing bracket.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut in_string = false;
    while let Some(char) = chars.next() {
        if in_string {
            out.push(char);
            if char == '\\' {
                out.extend(chars.next());
            }
            in_string = char != '"';
            continue;
        }
        match (char, chars.peek()) {
            ('/', Some('/')) => while chars.next_if(|next| *next != '\n').is_some() {},
            ('/', Some('*')) => {
                chars.next();
                let mut last = ' ';
                for next in chars.by_ref() {
                    if (last, next) == ('*', '/') {
                        break;
                    }
                    if next == '\n' {
                        out.push('\n');
                    }
                    last = next;
                }
            }
            ('}' | ']', _) => {
                let kept = out.trim_end();
                let space = out.len() - kept.len();
                if kept.ends_with(',') {
                    let comma = out.len() - space - 1;
                    out.replace_range(comma..=comma, " ");
                }
                out.push(char);
            }
            _ => {
                in_string = char == '"';
                out.push(char);
            }
        }
    }
    out
}

/// Tables of servers, in the words of the clients.
const TABLES: &[&str] = &["mcpServers", "mcp_servers", "servers", "context_servers"];
/// Tables of a server that hold values.
const HOLDING: &[&str] = &["env", "headers", "http_headers"];
/// Where a server is.
const ADDRESSES: &[&str] = &["url", "serverUrl", "httpUrl"];

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef";

    fn found(name: &str, text: &str) -> Vec<Finding> {
        findings(Path::new(name), text).unwrap()
    }

    #[test]
    fn keys_stand_in_headers_environments_arguments_and_urls() {
        let text = format!(
            r#"{{ "mcpServers": {{
  "a": {{ "url": "https://a.example/mcp", "headers": {{ "X-Api-Key": "{KEY}" }} }},
  "b": {{ "command": "npx", "args": ["-y", "b"], "env": {{ "B_TOKEN": "{KEY}", "DEBUG": "1" }} }},
  "c": {{ "command": "c", "args": ["--api-key={KEY}", "--api-key", "{KEY}"] }},
  "d": {{ "url": "https://d.example/mcp?team=1&api_key={KEY}" }},
  "e": {{ "url": "https://e.example/mcp" }} }} }}"#
        );
        let found = found(".mcp.json", &text);
        let places: Vec<&str> = found.iter().map(|finding| finding.place.as_str()).collect();
        assert_eq!(
            places,
            [
                "mcpServers.a.headers.X-Api-Key",
                "mcpServers.b.env.B_TOKEN",
                "mcpServers.c.args[0]",
                "mcpServers.c.args[2]",
                "mcpServers.d.url"
            ]
        );
        assert!(!format!("{found:?}").contains(KEY));
    }

    #[test]
    fn servers_of_projects_and_of_toml_are_found_too() {
        let json = format!(
            r#"{{ "projects": {{ "/p": {{ "mcpServers": {{ "a": {{ "env": {{ "A_TOKEN": "{KEY}" }} }} }} }} }} }}"#
        );
        assert_eq!(
            found(".claude.json", &json)[0].place,
            "projects./p.mcpServers.a.env.A_TOKEN"
        );
        let toml = format!("[mcp_servers.a]\ncommand = \"a\"\nenv = {{ A_TOKEN = \"{KEY}\" }}\n");
        let found = found("config.toml", &toml);
        assert_eq!(
            (found[0].line, found[0].place.as_str()),
            (3, "mcp_servers.a.env.A_TOKEN")
        );
    }

    #[test]
    fn comments_and_trailing_commas_are_allowed_as_editors_do() {
        let text = format!(
            "{{ // x\n /* y\n */ \"servers\": {{ \"a\": {{ \"env\": {{ \"A_TOKEN\": \"{KEY}\", }}, }} }} }}"
        );
        assert_eq!(found("mcp.json", &text)[0].line, 3);
        assert_eq!(plain(r#"{"a":"// no, \" ,}"}"#), r#"{"a":"// no, \" ,}"}"#);
        assert!(findings(Path::new("mcp.json"), "{ nothing").is_err());
    }

    #[test]
    fn what_is_printed_of_a_server_holds_no_value() {
        let text = format!(
            r#"{{ "mcpServers": {{
  "My Bank": {{ "url": "https://user:{KEY}@a.example/mcp?api_key={KEY}", "headers": {{ "Authorization": "Bearer {KEY}" }} }},
  "c": {{ "command": "c", "args": ["--header", "Authorization: Bearer {KEY}", "it's"] }} }} }}"#
        );
        let found = found(".cursor/mcp.json", &text);
        let printed = format!("{found:?}");
        assert!(!printed.contains(KEY), "{printed}");
        assert!(
            printed.contains("chancery add https://a.example/mcp --name my-bank --key -"),
            "{printed}"
        );
        assert!(printed.contains("snippet cursor"), "{printed}");
    }
}
