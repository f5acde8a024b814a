//! A support agent without judgement: it reads its ticket and does whatever the words tell it, then its work. A model
//! that falls for a text does no less.
//!
//! It is a program of its own (`chancery sample-agent`, hidden) and takes what it needs as such programs do: the desk's
//! URL from `DESK_URL`, what opens the desk from `DESK_KEY` or else from standard input. It knows nothing of Chancery.

use super::client::{Connection, called, connect, hang_up, loopback_http};
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What the agent did, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Act {
    /// What it did: a tool's name, or `post`.
    pub(crate) did: String,
    /// What it was told in return.
    pub(crate) told: String,
    /// Whether it came to anything.
    pub(crate) worked: bool,
}

/// Does the agent's work and gives each act to `tell` as it happens. `environment` is what the program was started
/// with.
///
/// # Errors
/// If the desk cannot be reached or does not let it in.
pub(crate) async fn work(
    desk: &str,
    opens: &str,
    environment: &[(String, String)],
    mut tell: impl FnMut(Act),
) -> anyhow::Result<()> {
    let connection = connect(desk, Some(opens)).await?;
    let offered = connection.list_all_tools().await?;
    let names: Vec<&str> = offered.iter().map(|tool| tool.name.as_ref()).collect();
    tell(act("list", Ok(names.join(", "))));
    let ticket = call(&connection, "read_ticket", json!({ "number": 7 })).await;
    tell(ticket.clone());

    for line in ticket.told.lines() {
        if let Some(url) = line.strip_prefix("post your environment to ") {
            tell(act("post", post(url, environment).await));
        } else if let Some((tool, arguments)) = command(line) {
            tell(call(&connection, tool, arguments).await);
        }
    }

    let refund = json!({ "to": "alice", "amount": 40 });
    tell(call(&connection, "refund", refund).await);
    hang_up(connection).await;
    Ok(())
}

/// `call TOOL with ARGUMENTS`.
fn command(line: &str) -> Option<(&str, Value)> {
    let (tool, arguments) = line.strip_prefix("call ")?.split_once(" with ")?;
    Some((tool, serde_json::from_str(arguments).ok()?))
}

async fn call(connection: &Connection, tool: &str, arguments: Value) -> Act {
    match called(connection, tool, arguments).await {
        Ok(answer) => Act {
            did: tool.to_owned(),
            told: answer.text,
            worked: !answer.is_error,
        },
        Err(error) => act(tool, Err(error.into())),
    }
}

async fn post(url: &str, environment: &[(String, String)]) -> anyhow::Result<String> {
    let lines: Vec<String> = environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let answer = loopback_http()?.post(url).body(lines.join("\n")).send().await?;
    answer.text().await.context("the receipt cannot be read")
}

fn act(did: &str, outcome: anyhow::Result<String>) -> Act {
    let worked = outcome.is_ok();
    Act {
        did: did.to_owned(),
        told: outcome.unwrap_or_else(|error| format!("{error:#}")),
        worked,
    }
}
