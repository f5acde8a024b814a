//! `chancery approval`: what waits for a person's yes, and answering it.
//!
//! Who says yes is a person whom the server knows, by a token of theirs (`--url`, `--token-file`) or on the page. At
//! the local socket nobody is known: it shows everything and can say no.

use crate::connection::{Connection, as_json};
use crate::print::{self, Output, field};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

/// Arguments of `approval`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ApprovalArguments {
    #[command(subcommand)]
    command: ApprovalCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum ApprovalCommand {
    /// List requests that you may answer or look at, the newest first.
    List {
        /// pending, approved, denied, expired or used.
        #[arg(long, default_value = "pending")]
        state: String,
    },
    /// Show one request: everything that a yes would be a yes to.
    Show {
        /// The id (`apr_…`).
        id: String,
    },
    /// Say yes.
    Approve {
        /// The id (`apr_…`).
        id: String,
        /// The number that the asking side shows, where one must be chosen.
        #[arg(long)]
        number: Option<u32>,
        /// Why.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Say no.
    Deny {
        /// The id (`apr_…`).
        id: String,
        /// Why; the agent's people see it.
        #[arg(long)]
        reason: Option<String>,
    },
}

/// `chancery approval`.
pub(crate) async fn run(
    arguments: ApprovalArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let view = match arguments.command {
        ApprovalCommand::List { state } => return list(&state, connection, output).await,
        ApprovalCommand::Show { id } => connection.read(&format!("/approvals/{id}")).await?,
        ApprovalCommand::Approve { id, number, reason } => {
            let body = json!({ "number": number, "reason": reason });
            connection
                .send(Method::POST, &format!("/approvals/{id}/approve"), &body)
                .await?
        }
        ApprovalCommand::Deny { id, reason } => {
            let body = json!({ "reason": reason });
            connection
                .send(Method::POST, &format!("/approvals/{id}/deny"), &body)
                .await?
        }
    };
    if !as_json(output, &view) {
        show(&view);
    }
    Ok(())
}

async fn list(state: &str, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let page = connection.read(&format!("/approvals?state={state}")).await?;
    if as_json(output, &page) {
        return Ok(());
    }
    let items = page
        .get("items")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if items.is_empty() {
        print::line(&format!("nothing is {state}"));
        return Ok(());
    }
    let row = |view: &Value| {
        let asked = |name: &str| field(view, &["record", "subject", name, "name"]);
        vec![
            field(view, &["id"]),
            asked("agent"),
            what(view),
            asked("user"),
            field(view, &["votes"]),
        ]
    };
    let rows = items.iter().map(row).collect();
    print::table(&["id", "agent", "wants", "for", "yes"], rows);
    Ok(())
}

/// What is asked, in a few words.
fn what(view: &Value) -> String {
    let subject = |path: &[&str]| {
        let whole: Vec<&str> = ["record", "subject"].iter().chain(path).copied().collect();
        field(view, &whole)
    };
    let resource = subject(&["resource", "name"]);
    let target = subject(&["call", "target"]);
    if target == "-" {
        format!("a token for {resource}")
    } else {
        let verb = match subject(&["action"]).as_str() {
            "get_prompt" => "fetch the prompt",
            "read_resource" => "read the document",
            "request" => "send",
            _ => "call",
        };
        format!("to {verb} {} at {resource}", visible(&target))
    }
}

fn show(view: &Value) {
    let subject = |path: &[&str]| {
        let whole: Vec<&str> = ["record", "subject"].iter().chain(path).copied().collect();
        field(view, &whole)
    };
    print::line(&format!(
        "{} is {}",
        field(view, &["id"]),
        field(view, &["state"])
    ));
    let rows = [
        ("wants", what(view)),
        ("agent", subject(&["agent", "name"])),
        ("answers for it", subject(&["owner"])),
        ("client", subject(&["client", "name"])),
        ("for", subject(&["user", "name"])),
        ("scopes", subject(&["scopes"])),
        ("exactly", subject(&["authorization_details"])),
        ("sensitivity", subject(&["sensitivity"])),
        ("arguments", subject(&["call", "arguments"])),
        ("to", subject(&["call", "request", "origin"])),
        ("path", subject(&["call", "request", "path"])),
        ("query", subject(&["call", "request", "query"])),
        ("headers", subject(&["call", "request", "headers"])),
        ("body", subject(&["call", "request", "body"])),
        ("seconds", subject(&["lifetime"])),
        ("the agent says", subject(&["says"])),
        ("yes needed", field(view, &["record", "requirement", "count"])),
        ("yes given", field(view, &["votes"])),
        ("numbers", field(view, &["numbers"])),
        ("record sha256", field(view, &["record_sha256"])),
        ("page", field(view, &["approval_uri"])),
    ];
    let shown = rows.into_iter().filter(|(_, value)| value != "-");
    print::table(
        &["", ""],
        shown
            .map(|(name, value)| vec![name.to_owned(), visible(&value)])
            .collect(),
    );
    for answer in members(view, "answers") {
        let reason = match field(answer, &["reason"]).as_str() {
            "-" => String::new(),
            reason => format!(": {reason}"),
        };
        print::line(&format!(
            "{} {}{reason}",
            field(answer, &["name"]),
            field(answer, &["answer"])
        ));
    }
    for message in members(view, "messages") {
        print::line(&format!(
            "{} to {}: {}",
            field(message, &["channel"]),
            field(message, &["recipient"]),
            field(message, &["state"])
        ));
    }
}

fn members<'a>(view: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    let list = view.get(name).and_then(Value::as_array);
    list.into_iter().flatten()
}

/// SECURITY: nothing is seen otherwise than it is: what turns, hides or moves text on a terminal stands as its code.
fn visible(text: &str) -> String {
    let shown = |letter: char| match letter {
        '"' | '\'' | '\\' => letter.to_string(),
        _ => letter.escape_debug().to_string(),
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_cannot_turn_or_hide_what_is_approved() {
        assert_eq!(
            visible("pay 100 \u{202e}001\u{1b}[2Kx"),
            r"pay 100 \u{202e}001\u{1b}[2Kx"
        );
        assert_eq!(visible("a\u{200b}b\nc"), r"a\u{200b}b\nc");
        assert_eq!(visible(r#"{"to":"Zoë \ bob"}"#), r#"{"to":"Zoë \ bob"}"#);
    }
}
