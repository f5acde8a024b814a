//! An event as one sentence that a person can read.

use crate::govern::call_sentence;
use crate::govern::entry::Names;
use chancery_audit::Leaf;
use chancery_core::event::EventOutcome;
use serde_json::{Map, Value};

/// The sentence of an event: who did what, for whom, where, and by which policy. Erased parts leave ids only.
pub fn sentence(leaf: &Leaf, parts: &Map<String, Value>, names: &Names) -> String {
    let kind = leaf.content().kind.as_str();
    let actor = actor(leaf, names);
    match kind {
        "token.issued" => token(leaf, parts, &actor),
        "authentication.failed" => failed(parts),
        "authentication.failures_omitted" => omitted(parts),
        "token.revoked" => format!("{actor} revoked token {}", id(leaf, "token")),
        "management.denied" => denied(parts, &actor),
        "part.erased" => format!(
            "{actor} erased part {} of event {}",
            id(leaf, "part"),
            id(leaf, "event")
        ),
        "user.enrolled" => {
            let name = text(parts, &["state", "name"]).unwrap_or_else(|| id(leaf, "user"));
            format!("{name} enrolled as administrator with the one-time code")
        }
        "log.started" => "the log began".to_owned(),
        "log.restored" => format!(
            "the log goes on from a backup: generation {} was last known with {} entries",
            id(leaf, "previous_generation"),
            id(leaf, "previous_size")
        ),
        "restore.confirmed" => format!("{actor} confirmed that what the restore lost has been looked at"),
        "database.backed_up" => format!("{actor} copied the database"),
        "vault.rotation_started" => format!("{actor} gave the tenant a new key, {}", id(leaf, "tenant_key")),
        "vault.rotated" => format!(
            "nothing is sealed under the tenant's key {} any more, and it is forgotten",
            id(leaf, "previous")
        ),
        "root_key.rotated" => format!(
            "{actor} replaced the root key {} by {}",
            id(leaf, "previous"),
            id(leaf, "root_key")
        ),
        "tenant_key.destroyed" => format!(
            "the key {} of tenant {}, which ended, was destroyed: nothing that was sealed under it opens any more",
            id(leaf, "tenant_key"),
            id(leaf, "tenant")
        ),
        "authorization.answered" => answered(leaf, &actor, names),
        "agreement.reused" => reused(leaf, &actor),
        "limit.reached" => limited(leaf, parts, names),
        "call.decided" => call_sentence::decided(leaf, parts, &actor),
        "call.ended" => call_sentence::ended(leaf, parts, &actor),
        "manifest.seen" | "manifest.accepted" => call_sentence::manifest(leaf, parts, &actor),
        _ if kind.starts_with("approval.") => approval(leaf, parts, (kind, &actor)),
        _ => changed(leaf, parts, (kind, &actor)),
    }
}

fn approval(leaf: &Leaf, parts: &Map<String, Value>, (kind, actor): (&str, &str)) -> String {
    match kind {
        "approval.requested" => needed(leaf, parts, actor),
        "approval.given" => format!("{actor} said yes to {}", id(leaf, "approval")),
        "approval.denied" => match text(parts, &["answer", "reason"]) {
            Some(reason) => format!("{actor} said no to {}: {reason}", id(leaf, "approval")),
            None => format!("{actor} said no to {}", id(leaf, "approval")),
        },
        "approval.expired" => format!(
            "{} came to nothing: nobody answered or used it in time, or what it hung on is gone",
            id(leaf, "approval")
        ),
        "approval.escalated" => format!(
            "nobody had answered {} for a while, and more people were told",
            id(leaf, "approval")
        ),
        "approval.used" => format!("{actor} used the yes to {}", id(leaf, "approval")),
        "approval.tampered" => format!(
            "the stored record of {} was CHANGED by somebody else than Chancery, and is refused",
            id(leaf, "approval")
        ),
        _ => changed(leaf, parts, (kind, actor)),
    }
}

fn reused(leaf: &Leaf, actor: &str) -> String {
    let family = id(leaf, "token_family");
    format!("{actor} used a code or refresh token again; everything issued on {family} ended")
}

fn needed(leaf: &Leaf, parts: &Map<String, Value>, actor: &str) -> String {
    let at = text(parts, &["record", "subject", "resource", "name"]).unwrap_or("Chancery");
    let what = match text(parts, &["record", "subject", "call", "target"]) {
        Some(target) => format!("to call {target} at {at}"),
        None => format!("to a token for {at}"),
    };
    format!("{actor} needs a person's yes {what}: {}", id(leaf, "approval"))
}

fn answered(leaf: &Leaf, actor: &str, names: &Names) -> String {
    let agent = names
        .get(id(leaf, "agent"))
        .map_or_else(|| id(leaf, "agent"), String::as_str);
    if leaf.content().outcome == EventOutcome::Ok {
        format!("{actor} let agent {agent} act for them")
    } else {
        format!("{actor} said no to agent {agent}")
    }
}

fn failed(parts: &Map<String, Value>) -> String {
    let reason = text(parts, &["reason", "reason"]).unwrap_or("the reason was erased");
    let named = text(parts, &["reason", "client_id"])
        .map(|named| format!(" that calls itself `{named}`"))
        .unwrap_or_default();
    format!("a caller{named} could not be authenticated: {reason}")
}

fn omitted(parts: &Map<String, Value>) -> String {
    let count = find(parts, &["omitted", "count"]).and_then(Value::as_u64);
    let count = count.map_or_else(|| "some".to_owned(), |count| count.to_string());
    let source = text(parts, &["omitted", "source"]).unwrap_or("an address that was erased");
    let since = text(parts, &["omitted", "since"]).unwrap_or("-");
    format!("{count} more failed authentications from {source} since {since} were not recorded one by one")
}

fn limited(leaf: &Leaf, parts: &Map<String, Value>, names: &Names) -> String {
    let count = find(parts, &["omitted", "count"]).and_then(Value::as_u64);
    let count = count.map_or_else(|| "some".to_owned(), |count| count.to_string());
    let limit = text(parts, &["omitted", "limit"]).unwrap_or("-");
    let since = text(parts, &["omitted", "since"]).unwrap_or("-");
    let who = leaf.find_id("agent").map_or_else(
        || "many agents".to_owned(),
        |agent| format!("agent {}", names.get(agent).map_or(agent, String::as_str)),
    );
    format!("{count} requests of {who} were refused since {since}: the limit for one {limit} was reached")
}

fn denied(parts: &Map<String, Value>, actor: &str) -> String {
    let at = |field: &str| text(parts, &["request", field]).unwrap_or("-");
    let policies = names_at(parts, &["request", "policies"]);
    let by = if policies.is_empty() {
        "no policy permits it".to_owned()
    } else {
        format!("forbidden by {}", policies.join(", "))
    };
    let (action, noun) = (at("action").replace('_', " "), at("noun").replace('_', " "));
    format!(
        "{actor} was refused to {action} a {noun} (`{}`): {by}",
        at("request")
    )
}

fn token(leaf: &Leaf, parts: &Map<String, Value>, actor: &str) -> String {
    let at = |path: &[&str]| text(parts, path);
    let agent = at(&["decision", "facts", "agent", "name"]).unwrap_or(actor);
    let whom = at(&["decision", "facts", "user", "name"])
        .map(|user| format!(" for {user}"))
        .unwrap_or_default();
    let what = at(&["decision", "facts", "resource", "name"]).map_or_else(
        || "an agent token".to_owned(),
        |name| format!("a token for {name}"),
    );
    let chain = names_at(parts, &["decision", "facts", "chain"]);
    let through = if chain.len() > 1 {
        format!(" through the chain {}", chain.join(" ← "))
    } else {
        String::new()
    };
    let set = at(&["decision", "policy_set"])
        .map(|set| format!(", by policy set {set}"))
        .unwrap_or_default();
    if leaf.content().outcome == EventOutcome::Ok {
        let given = scopes(parts, true);
        return format!("agent {agent} was given {what} with {given}{whom}{through}{set}");
    }
    let refused = scopes(parts, false);
    format!("agent {agent} was refused {what}: {refused}{whom}{through}{set}")
}

/// Scopes that were given, or those refused with the limit that refused each.
fn scopes(parts: &Map<String, Value>, given: bool) -> String {
    let rows = find(parts, &["decision", "rows"]).and_then(Value::as_array);
    let rows = rows.map(Vec::as_slice).unwrap_or_default();
    let matching = rows
        .iter()
        .filter(|row| row.get("given").and_then(Value::as_bool) == Some(given));
    let names: Vec<String> = matching.filter_map(|row| row_text(row, given)).collect();
    match (names.as_slice(), given) {
        ([], true) => "no scope".to_owned(),
        ([], false) => text(parts, &["decision", "reason"])
            .unwrap_or("refused as a whole")
            .replace('_', " "),
        (names, true) => names.join(", "),
        // Where no limit refuses a scope, something about the whole does.
        (names, false) => match text(parts, &["decision", "reason"]) {
            Some(reason) if names.iter().all(|name| !name.contains(" (")) => {
                format!("{} ({})", names.join(", "), reason.replace('_', " "))
            }
            Some(_) | None => names.join(", "),
        },
    }
}

fn row_text(row: &Value, given: bool) -> Option<String> {
    let scope = row.get("scope").and_then(Value::as_str)?;
    if given {
        return Some(scope.to_owned());
    }
    let limits = ["parent", "ceiling", "grant", "holders", "policy"];
    let refusing = limits
        .into_iter()
        .find(|limit| row.get(*limit).and_then(Value::as_bool) == Some(false));
    Some(match refusing {
        Some(limit) => format!("{scope} (refused by {limit})"),
        None => scope.to_owned(),
    })
}

fn changed(leaf: &Leaf, parts: &Map<String, Value>, (kind, actor): (&str, &str)) -> String {
    let (noun, verb) = kind.rsplit_once('.').unwrap_or((kind, "changed"));
    let name = text(parts, &["state", "name"]).unwrap_or_else(|| id(leaf, noun));
    format!(
        "{actor} {} {} {name}",
        verb.replace('_', " "),
        noun.replace('_', " ")
    )
}

/// Who acted, by name where it is known, and for whom.
fn actor(leaf: &Leaf, names: &Names) -> String {
    let called = |role: &str| {
        let id = leaf.find_id(role)?;
        Some(names.get(id).map_or(id, String::as_str))
    };
    let actor = called("actor").unwrap_or("somebody");
    // Only an agent's event names the person that it acts for beside itself.
    match leaf.find_id("client").and(called("user")) {
        Some(user) => format!("{actor} for {user}"),
        None => actor.to_owned(),
    }
}

fn id<'a>(leaf: &'a Leaf, role: &str) -> &'a str {
    leaf.find_id(role).unwrap_or("-")
}

pub(super) fn find<'a>(parts: &'a Map<String, Value>, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter()
        .try_fold(parts.get(*first)?, |value, name| value.get(*name))
}

pub(super) fn text<'a>(parts: &'a Map<String, Value>, path: &[&str]) -> Option<&'a str> {
    find(parts, path).and_then(Value::as_str)
}

pub(super) fn names_at<'a>(parts: &'a Map<String, Value>, path: &[&str]) -> Vec<&'a str> {
    let list = find(parts, path)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    list.iter().filter_map(Value::as_str).collect()
}
