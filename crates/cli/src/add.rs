//! `chancery add URL --name NAME`: looks at an MCP server, shows what would be stored for it, and stores that once
//! somebody said yes. The server's hints are its own words: that is why they are shown first.

use crate::connection::Connection;
use crate::noun::encode;
use crate::print::{self, Output, field};
use crate::{apply, me};
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use hyper::Method;
use serde_json::{Map, Value, json};
use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// Arguments of `add`.
#[derive(Clone, Debug, Args)]
pub(crate) struct AddArguments {
    /// The server's MCP endpoint, as in `https://mcp.example/mcp`.
    server: String,
    /// What connection and resource are called.
    #[arg(long)]
    name: String,
    /// The key that the server wants: `-`, standard input; a terminal does not show it.
    #[arg(long)]
    key: Option<String>,
    /// The header that the key goes into, if not `Authorization` after `Bearer`.
    #[arg(long, requires = "key")]
    header: Option<String>,
    /// Who answers for it: a user's name, `group:NAME`, or `me`. Default: you, if it is clear who that is.
    #[arg(long)]
    owner: Option<String>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Only show what would be stored.
    #[arg(long)]
    plan: bool,
}

/// What to put behind the gateway.
pub(crate) struct Registration {
    /// The endpoint.
    pub(crate) url: String,
    /// The name.
    pub(crate) name: String,
    /// The owner, as it was given.
    pub(crate) owner: Option<String>,
    /// The key.
    pub(crate) key: Option<String>,
    /// Where it goes.
    pub(crate) header: Option<String>,
    /// Do not ask.
    pub(crate) yes: bool,
    /// Only show.
    pub(crate) plan: bool,
}

/// `chancery add`.
///
/// # Errors
/// What is wrong with the server, and how to go on.
pub(crate) async fn run(
    arguments: AddArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let key = arguments.key.as_deref().map(read_key).transpose()?;
    let registration = Registration {
        url: arguments.server,
        name: arguments.name,
        owner: arguments.owner,
        key,
        header: arguments.header,
        yes: arguments.yes,
        plan: arguments.plan,
    };
    register(registration, connection, output).await
}

/// Looks, shows, asks and stores.
///
/// # Errors
/// What is wrong with the server; nobody said yes; what the server refuses to store.
pub(crate) async fn register(
    wanted: Registration,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let owner = match &wanted.owner {
        Some(owner) => Some(me::owner(owner, connection).await?),
        None => me::if_known(connection).await,
    };
    print::note(&format!("looking at {} …", wanted.url));
    let mut body = json!({ "url": wanted.url, "name": wanted.name });
    set(&mut body, "owner", owner.map(Value::from));
    set(&mut body, "key", wanted.key.clone().map(Value::from));
    set(&mut body, "header", wanted.header.clone().map(Value::from));
    let proposal = connection.send(Method::POST, "/upstreams/inspect", &body).await?;
    let document = proposal
        .get("document")
        .cloned()
        .context("the server proposes nothing")?;
    if !output.json {
        show(&proposal);
    }

    let planned = apply::send(connection, &document, true).await?;
    if wanted.plan {
        if output.json {
            print::json(&json!({ "proposal": proposal, "steps": planned.get("steps") }));
        } else {
            apply::show(&planned, true);
        }
        return Ok(());
    }
    if !output.json {
        apply::show(&planned, true);
    }
    if !wanted.yes && !agreed(&wanted.name)? {
        bail!("nothing was stored");
    }
    let steps = apply::send(connection, &document, false).await?;
    let account = store_key(&wanted, connection).await?;
    if output.json {
        print::json(&json!({ "proposal": proposal, "steps": steps.get("steps"), "account": account }));
    } else {
        told(&wanted, &steps, account.as_ref());
    }
    Ok(())
}

/// One key for the tenant, sealed.
async fn store_key(wanted: &Registration, connection: &Connection) -> anyhow::Result<Option<Value>> {
    let Some(key) = &wanted.key else {
        return Ok(None);
    };
    let mut values = Map::new();
    values.insert(PART.to_owned(), Value::from(key.as_str()));
    let body = json!({ "connection": wanted.name, "owner": "tenant", "values": values });
    let account = connection.send(Method::POST, "/connected_accounts", &body).await;
    account.map(Some).with_context(|| {
        format!(
            "connection and resource are stored, the key is not\nhint: chancery account set {} --tenant-wide",
            wanted.name
        )
    })
}

fn told(wanted: &Registration, steps: &Value, account: Option<&Value>) {
    let count = steps.get("steps").and_then(Value::as_array).map_or(0, |steps| {
        steps
            .iter()
            .filter(|step| field(step, &["action"]) != "unchanged")
            .count()
    });
    print::line(&format!(
        "\n{count} changed; {} is behind the gateway",
        wanted.name
    ));
    if let Some(account) = account {
        print::line(&format!(
            "its key is sealed in account {}",
            field(account, &["name"])
        ));
    }
    print::note(&format!(
        "next: chancery agent create NAME --owner me --secret-file FILE --allow {}:read",
        encode(&wanted.name)
    ));
}

/// The proposal for people.
fn show(proposal: &Value) {
    let tools = proposal
        .get("tools")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    print::line(&format!(
        "{} {} speaks MCP {} and shows {} tools\n",
        plain(&field(proposal, &["server", "name"])),
        plain(&field(proposal, &["server", "version"])),
        field(proposal, &["revision"]),
        tools.len()
    ));
    let row = |tool: &Value| {
        vec![
            plain(&field(tool, &["name"])),
            field(tool, &["scope"]),
            field(tool, &["sensitivity"]),
            cut(&field(tool, &["description"])),
        ]
    };
    print::table(
        &["tool", "scope", "sensitivity", "the server says"],
        tools.iter().map(row).collect(),
    );
    for item in proposal
        .get("left_out")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        print::line(&format!(
            "left out: {} ({})",
            plain(&field(item, &["name"])),
            field(item, &["reason"])
        ));
    }
    print::line(
        "\nScopes follow what the server says of its tools, and a server can say anything: read the list.\n\
         Each tool is pinned as it is now; one that changes is not called until somebody accepts it.\n",
    );
}

/// Asks on a terminal. Elsewhere `--yes` is needed: silence is no consent.
fn agreed(name: &str) -> anyhow::Result<bool> {
    let input = std::io::stdin();
    ensure!(
        input.is_terminal(),
        "nobody is there to say yes\nhint: look at it with --plan, then give --yes"
    );
    let mut error = std::io::stderr();
    write!(error, "store `{name}`? [y/N] ")?;
    error.flush()?;
    let mut line = String::new();
    input.lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn read_key(argument: &str) -> anyhow::Result<String> {
    ensure!(
        argument == "-",
        "a key is never an argument: others could read it\nhint: --key - and type it, or send it through a pipe"
    );
    let input = std::io::stdin();
    let key = if input.is_terminal() {
        rpassword::prompt_password("key: ").context("the terminal cannot be read")?
    } else {
        let mut line = String::new();
        input.lock().read_line(&mut line)?;
        line
    };
    let key = key.trim().to_owned();
    ensure!(!key.is_empty(), "the key is empty");
    Ok(key)
}

fn set(object: &mut Value, name: &str, value: Option<Value>) {
    if let (Some(members), Some(value)) = (object.as_object_mut(), value) {
        members.insert(name.to_owned(), value);
    }
}

/// A name that a server chose, without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(128)
        .collect()
}

fn cut(text: &str) -> String {
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(SHOWN).collect();
    short.push('…');
    short
}

/// The one part of the key, as the server proposes it.
const PART: &str = "token";
const SHOWN: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_an_argument() {
        let error = read_key("sk-123").unwrap_err().to_string();
        assert!(
            error.contains("never an argument") && !error.contains("sk-123"),
            "{error}"
        );
    }
}
