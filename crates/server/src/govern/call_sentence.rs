//! Calls, and what servers show of themselves, as sentences.

use crate::govern::calls::{Call, End};
use crate::govern::sentence::{find, names_at, text};
use chancery_audit::Leaf;
use chancery_core::event::EventOutcome;
use serde_json::{Map, Value};

/// What an agent did, or was refused, at a resource.
pub(super) fn decided(leaf: &Leaf, parts: &Map<String, Value>, actor: &str) -> String {
    let at = |path: &[&str]| text(parts, path);
    let agent = at(&["decision", "facts", "agent", "name"]).unwrap_or(actor);
    let resource = at(&["decision", "facts", "resource", "name"]).unwrap_or("a resource");
    let target = at(&["decision", "facts", "call", "target"]).unwrap_or("something");
    let connection = at(&["decision", "facts", "call", "connection", "name"]);
    let what = match at(&["decision", "facts", "call", "action"]) {
        Some("release_credential") => format!("have the credential of {target}"),
        Some("call_tool") => format!("call tool {target} of {resource}"),
        Some("get_prompt") => format!("get prompt {target} of {resource}"),
        Some("read_resource") => format!("read {target} of {resource}"),
        Some("open_session") => format!("ask {resource} for {target}"),
        _ => format!("send {target} to {resource}"),
    };
    let whom = at(&["decision", "facts", "user", "name"])
        .map(|user| format!(" for {user}"))
        .unwrap_or_default();
    let chain = names_at(parts, &["decision", "facts", "chain"]);
    let through = if chain.len() > 1 {
        format!(" through the chain {}", chain.join(" ← "))
    } else {
        String::new()
    };
    let is_release = at(&["decision", "facts", "call", "action"]) == Some("release_credential");
    let with = match connection {
        Some(_) if is_release => ", which LEFT Chancery".to_owned(),
        Some(connection) => format!(" with the credential of {connection}"),
        None => String::new(),
    };
    let is_permitted = leaf.content().outcome == EventOutcome::Ok;
    let policies = deciding(parts, is_permitted);
    let by = if policies.is_empty() {
        String::new()
    } else {
        format!(", by {}", policies.join(", "))
    };
    if is_permitted {
        return format!("agent {agent} was permitted to {what}{whom}{through}{with}{by}");
    }
    let reason = at(&["decision", "reason"]).unwrap_or("refused").replace('_', " ");
    format!("agent {agent} was refused to {what}{whom}{through}: {reason}{by}")
}

/// A call from its decision to its end.
pub(super) fn whole(call: &Call) -> String {
    let (agent, resource) = (&call.agent, &call.resource);
    let target = call.target.as_deref().unwrap_or("something that was erased");
    let is_release = call.action.as_deref() == Some("release_credential");
    let what = match call.action.as_deref() {
        Some("release_credential") => format!("asked for the credential of {target}"),
        Some("call_tool") => format!("called {target} on {resource}"),
        Some("get_prompt") => format!("asked {resource} for the prompt {target}"),
        Some("read_resource") => format!("read {target} of {resource}"),
        Some("open_session") => format!("asked {resource} for {target}"),
        _ => format!("sent {target} to {resource}"),
    };
    let whom = call
        .user
        .as_ref()
        .map(|user| format!(" for {user}"))
        .unwrap_or_default();
    let how = match (call.outcome, &call.reason, &call.end) {
        ("permitted", _, None) if is_release => "permitted, and it LEFT".to_owned(),
        ("permitted", _, Some(_)) if is_release => "permitted, and it did not leave".to_owned(),
        ("permitted", _, Some(end)) => format!("permitted, {}", how_it_ended(end)),
        ("permitted", _, None) => "permitted, not ended yet".to_owned(),
        (_, Some(reason), _) => format!("refused ({})", reason.replace('_', " ")),
        (_, None, _) => "refused".to_owned(),
    };
    let altered = call
        .altered
        .as_ref()
        .map(|what| format!("ALTERED in the database ({what}): "));
    let altered = altered.unwrap_or_default();
    format!("{altered}{agent} {what}{whom}: {how} ({})", call.decision)
}

fn how_it_ended(end: &End) -> String {
    let took = |word: &str| {
        let took = end.milliseconds.map(|took| format!(" {word} {took} ms"));
        took.unwrap_or_default()
    };
    match (&end.fault, end.status) {
        (Some(fault), _) => format!("cut off{} ({})", took("after"), fault.replace('_', " ")),
        (None, Some(200..300)) => format!("answered{}", took("in")),
        (None, Some(status)) => format!("answered with status {status}{}", took("in")),
        (None, None) => format!("ended{}", took("after")),
    }
}

/// How a call ended.
pub(super) fn ended(leaf: &Leaf, parts: &Map<String, Value>, actor: &str) -> String {
    let number = |field: &str| find(parts, &["end", field]).and_then(Value::as_u64);
    let decision = leaf.find_id("decision").unwrap_or("-");
    let took = number("milliseconds")
        .map(|took| format!(" after {took} ms"))
        .unwrap_or_default();
    let how = match (text(parts, &["end", "fault"]), number("status")) {
        (Some(fault), _) => format!("was cut off ({})", fault.replace('_', " ")),
        (None, Some(status)) => format!("was answered with status {status}"),
        (None, None) => "ended".to_owned(),
    };
    format!("the call of {actor} under {decision} {how}{took}")
}

/// What a server showed of itself, or what was accepted of it.
pub(super) fn manifest(leaf: &Leaf, parts: &Map<String, Value>, actor: &str) -> String {
    let notes = find(parts, &["manifest"]).and_then(Value::as_array);
    let notes: Vec<String> = notes
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .filter_map(|note| {
            let field = |field: &str| note.get(field).and_then(Value::as_str);
            Some(format!(
                "{} {} ({})",
                field("listing")?,
                field("name")?,
                field("what")?
            ))
        })
        .collect();
    let resource = leaf.find_id("resource").unwrap_or("-");
    let list = if notes.is_empty() {
        "what was erased".to_owned()
    } else {
        notes.join(", ")
    };
    if leaf.content().kind == "manifest.accepted" {
        return format!("{actor} accepted what the server of {resource} shows: {list}");
    }
    format!("the server of {resource} shows {list}")
}

/// The policies behind a call's decision: those that permitted every part of it, or those that forbade one.
fn deciding(parts: &Map<String, Value>, is_permitted: bool) -> Vec<String> {
    let actions = find(parts, &["decision", "actions"]).and_then(Value::as_array);
    let behind = actions.map(Vec::as_slice).unwrap_or_default().iter();
    let behind = behind.filter(|action| action.get("allowed") == Some(&Value::Bool(is_permitted)));
    let policies = behind.filter_map(|action| action.get("policies").and_then(Value::as_array));
    let names = policies.flatten().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_refusal_names_what_forbade_it_and_not_what_permitted_the_rest() {
        let parts = json!({ "decision": { "actions": [
            { "action": "call_tool", "allowed": false, "policies": ["limit"] },
            { "action": "use_connection", "allowed": true, "policies": ["granted"] },
        ] } });
        let parts = parts.as_object().unwrap();
        assert_eq!(deciding(parts, false), ["limit"]);
        assert_eq!(deciding(parts, true), ["granted"]);
    }
}
