//! What to store for an MCP server that was looked at: a connection for its key, a resource behind the gateway, scopes
//! by how much harm a tool may do, and a pin for each tool.
//!
//! A proposal for a person. The hints that it is made of are the server's own words (MCP tools, "Annotations"): a
//! server that calls a destructive tool read-only is believed until somebody looks.

use crate::connect::inspect::{Inspected, ToInspect};
use chancery_core::resource::Sensitivity;
use chancery_mcp::manifest::Descriptor;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A proposal.
#[derive(Debug, Serialize)]
pub struct Proposal {
    /// What the server says it is called, and its version.
    pub server: Value,
    /// The revision of MCP that it speaks.
    pub revision: String,
    /// Its tools.
    pub tools: Vec<ProposedTool>,
    /// Tools that are left out because they cannot be pinned.
    pub left_out: Vec<LeftOut>,
    /// What `apply` takes.
    pub document: Value,
}

/// A tool, and the scope that it is put under.
#[derive(Debug, Serialize)]
pub struct ProposedTool {
    /// Its name.
    pub name: String,
    /// The scope.
    pub scope: &'static str,
    /// How much harm the scope can do.
    pub sensitivity: &'static str,
    /// The server's own words, on one line.
    pub description: String,
    /// The digest of its definition as it was seen.
    pub manifest: String,
}

/// A tool that cannot be pinned.
#[derive(Debug, Serialize)]
pub struct LeftOut {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Why.
    pub reason: String,
}

/// Makes a proposal of what a server showed.
pub fn propose(wanted: &ToInspect, seen: Inspected) -> Proposal {
    let tools: Vec<ProposedTool> = seen.tools.iter().map(tool).collect();
    let left_out = seen.left_out.into_iter().map(|(name, reason)| LeftOut {
        name: name.map(|name| plain(&name)),
        reason: reason.to_string(),
    });
    Proposal {
        server: seen.server,
        revision: seen.revision,
        left_out: left_out.collect(),
        document: document(wanted, &tools),
        tools,
    }
}

fn tool(descriptor: &Descriptor) -> ProposedTool {
    let sensitivity = descriptor.proposed_sensitivity();
    ProposedTool {
        name: descriptor.key().to_owned(),
        scope: scope(sensitivity).0,
        sensitivity: sensitivity.as_str(),
        description: plain(descriptor.description().unwrap_or_default()),
        manifest: format!("sha256:{}", descriptor.digest()),
    }
}

fn document(wanted: &ToInspect, tools: &[ProposedTool]) -> Value {
    let name = wanted.name.as_str();
    let mut upstream = json!({ "url": wanted.url.as_str() });
    let mut document = json!({});
    if let Some(key) = &wanted.key {
        set(&mut upstream, "connection", json!(name));
        let mut placement = json!({ "name": key.header });
        if !key.prefix.is_empty() {
            set(&mut placement, "prefix", json!(key.prefix));
        }
        let mut connection = json!({
            "name": name,
            "base_url": wanted.url.as_str(),
            "owner_level": "tenant",
            "credential": { "api_key": { "parts": [{ "name": PART, "placement": { "header": placement } }] } },
        });
        own(&mut connection, wanted);
        set(&mut document, "connections", json!([connection]));
    }

    let mut scopes = Map::new();
    for sensitivity in [Sensitivity::Read, Sensitivity::Write, Sensitivity::Sensitive] {
        let (scope, description) = scope(sensitivity);
        let is_used = tools.iter().any(|tool| tool.scope == scope);
        // A resource has a scope even where the server shows no tool yet.
        if is_used || sensitivity == Sensitivity::Read {
            let spec = json!({ "description": description, "sensitivity": sensitivity.as_str() });
            scopes.insert(scope.to_owned(), spec);
        }
    }
    let pins: Map<String, Value> = tools
        .iter()
        .map(|tool| {
            let entry = json!({ "scopes": [tool.scope], "manifest": tool.manifest });
            (tool.name.clone(), entry)
        })
        .collect();
    let mut resource = json!({
        "name": name,
        "upstream": { "mcp": upstream },
        "scopes": scopes,
        "default_scopes": [scope(Sensitivity::Read).0],
        "tools": pins,
    });
    own(&mut resource, wanted);
    set(&mut document, "resources", json!([resource]));
    document
}

fn own(item: &mut Value, wanted: &ToInspect) {
    if let Some(owner) = &wanted.owner {
        set(item, "owner", json!(owner));
    }
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// The scope for tools of a sensitivity, and what it allows.
const fn scope(sensitivity: Sensitivity) -> (&'static str, &'static str) {
    match sensitivity {
        Sensitivity::Read => ("read", "tools that only read, as the server says"),
        Sensitivity::Write => ("write", "tools that change something"),
        Sensitivity::Sensitive => (
            "destructive",
            "tools that may destroy something, as the server says",
        ),
    }
}

/// Words of a server on one short line, without what a terminal would obey.
fn plain(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|character| if character.is_whitespace() { ' ' } else { character })
        .filter(|character| !character.is_control() && !is_invisible(*character))
        .collect();
    let line = line
        .split(' ')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    if line.chars().count() <= SHOWN {
        return line;
    }
    let mut short: String = line.chars().take(SHOWN).collect();
    short.push('…');
    short
}

/// Characters that change what the others look like: directions, joiners, tags.
const fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// The one part of the key.
const PART: &str = "token";

const SHOWN: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_server_cannot_move_the_cursor_or_turn_the_text() {
        assert_eq!(plain("reads\u{1b}[2J\r\n  notes\u{202e}!"), "reads[2J notes!");
        assert_eq!(plain(&"x".repeat(500)).chars().count(), SHOWN + 1);
    }
}
