//! What agents called: the decision on a call and how it ended, as one row, newest first.
//!
//! A row is made of the leaves and parts of its two events, as `audit` shows them; columns only find them. Whoever
//! can write the database can hide a call from this list. From the log itself nobody can: `audit verify` finds it.

use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::error::Failure;
use crate::govern::call_sentence;
use crate::govern::entry::{self, Entry, Names};
use crate::tenants::Served;
use chancery_core::agent::AgentSpec;
use chancery_core::id::DecisionId;
use chancery_core::noun::Noun;
use chancery_core::resource::ResourceSpec;
use chancery_core::time::Timestamp;
use chancery_core::user::UserSpec;
use chancery_policy::ManagementAction;
use chancery_store::call::{self, CallFilter, Place};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;

/// Which calls.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this agent, by name or id.
    pub agent: Option<String>,
    /// For this person, by name or id.
    pub user: Option<String>,
    /// At this resource, by name or id.
    pub resource: Option<String>,
    /// Of this tool, prompt, document or request.
    pub tool: Option<String>,
    /// Decided at this moment or later.
    pub since: Option<Timestamp>,
    /// Decided before this moment.
    pub until: Option<Timestamp>,
    /// Only those that were refused.
    pub refused_only: bool,
    /// Where the page before ended.
    pub cursor: Option<Place>,
    /// At most so many.
    pub limit: u32,
}

/// A page of calls.
#[derive(Debug, Serialize)]
pub struct Calls {
    /// The calls, newest first. A page may hold fewer than asked for, or none, and still not be the last.
    pub items: Vec<Call>,
    /// Give it as `cursor` for the next page; absent on the last.
    pub next_cursor: Option<String>,
}

/// One call.
#[derive(Debug, Serialize)]
pub struct Call {
    /// The decision on it.
    pub decision: String,
    /// When it was decided, RFC 3339.
    pub time: String,
    /// The agent.
    pub agent: String,
    /// The person it acted for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The resource.
    pub resource: String,
    /// `call_tool`, `get_prompt`, `read_resource`, `open_session`, `request`, `release_credential`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The tool, prompt, document or request; absent where it was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The connection whose credential went along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// `permitted` or `refused`.
    pub outcome: &'static str,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How it ended, once it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// All of it as one sentence.
    pub sentence: String,
    /// What does not agree with what was recorded: somebody changed the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub altered: Option<String>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct End {
    /// When, RFC 3339.
    pub time: String,
    /// The upstream's status, if it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u64>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// From the decision to the last byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
}

/// Calls that match, newest first.
///
/// # Errors
/// Policy's refusal; an agent, person or resource that is not known; the database's.
pub async fn list(app: &App, served: &Served, caller: &Caller, wanted: &Wanted) -> Result<Calls, Failure> {
    let tenant = served.tenant.id;
    let subject = (Noun::Tenant, served.tenant.name.as_str(), None);
    change::permit(served, caller, ManagementAction::ReadAudit, subject)?;

    let ids = ids(app, served, wanted).await?;
    let text = wanted.tool.as_deref().map(target_text).unwrap_or_default();
    let found = call::decided(
        &app.db,
        tenant,
        &CallFilter {
            before: before(wanted),
            since: wanted.since.unwrap_or(Timestamp::from_micros(0)),
            ids: [&ids.agent, &ids.user, &ids.resource],
            text: &text,
            refused_only: wanted.refused_only,
            limit: wanted.limit,
            scan: MAX_SCAN,
        },
    )
    .await?;

    let mut names = Names::default();
    let mut entries = Vec::with_capacity(found.rows.len());
    for row in &found.rows {
        entry::learn(app, tenant, row, &mut names).await?;
        entries.push(entry::entry(served, row, &names));
    }
    let is_of_tool = |entry: &Entry| {
        let tool = wanted.tool.as_deref();
        tool.is_none_or(|tool| fact(entry, &["call", "target"]) == Some(tool))
    };
    entries.retain(|entry| ids.are_of(entry) && is_of_tool(entry));
    let mut ends = ends(app, served, &entries).await?;
    let one = |entry: &Entry| {
        let end = id(entry, "decision").and_then(|decision| ends.remove(decision));
        call(entry, end, &names)
    };
    Ok(Calls {
        items: entries.iter().map(one).collect(),
        next_cursor: found.next.map(cursor_text),
    })
}

/// A cursor as it is handed out.
pub fn cursor_text(place: Place) -> String {
    format!("{}.{}", place.time.as_micros(), place.seq)
}

/// Reads a cursor back.
pub fn parse_cursor(text: &str) -> Option<Place> {
    let (time, seq) = text.split_once('.')?;
    Some(Place {
        time: Timestamp::from_micros(time.parse().ok()?),
        seq: seq.parse().ok()?,
    })
}

/// The ids that the filter's names stand for; empty for any.
#[derive(Default)]
struct Ids {
    agent: String,
    user: String,
    resource: String,
}

impl Ids {
    /// Whether the leaf names each in the part that it plays, and not only somewhere.
    fn are_of(&self, entry: &Entry) -> bool {
        [
            ("actor", &self.agent),
            ("user", &self.user),
            ("resource", &self.resource),
        ]
        .into_iter()
        .all(|(role, wanted)| wanted.is_empty() || id(entry, role) == Some(wanted.as_str()))
    }
}

async fn ids(app: &App, served: &Served, wanted: &Wanted) -> Result<Ids, Failure> {
    let tenant = served.tenant.id;
    let mut ids = Ids::default();
    if let Some(agent) = &wanted.agent {
        ids.agent = change::load::<AgentSpec>(app, tenant, agent)
            .await?
            .id
            .to_string();
    }
    if let Some(user) = &wanted.user {
        ids.user = change::load::<UserSpec>(app, tenant, user).await?.id.to_string();
    }
    if let Some(resource) = &wanted.resource {
        ids.resource = change::load::<ResourceSpec>(app, tenant, resource)
            .await?
            .id
            .to_string();
    }
    Ok(ids)
}

/// The newest place to read: the cursor's, or the end of the time asked for.
fn before(wanted: &Wanted) -> Place {
    let newest = Place {
        time: Timestamp::from_micros(i64::MAX),
        seq: i64::MAX,
    };
    let until = wanted.until.map_or(newest, |time| Place { time, seq: i64::MIN });
    wanted.cursor.map_or(until, |cursor| cursor.min(until))
}

/// How the stored parts of a call write its target: JSON, within the text of JSON.
fn target_text(target: &str) -> String {
    let inner = format!("\"target\":{}", Value::from(target));
    let text = Value::from(inner).to_string();
    text.trim_matches('"').to_owned()
}

async fn ends(app: &App, served: &Served, entries: &[Entry]) -> Result<HashMap<String, End>, Failure> {
    let permitted = entries.iter().filter(|entry| is_permitted(entry));
    let decisions: Vec<DecisionId> = permitted
        .filter_map(|entry| id(entry, "decision")?.parse().ok())
        .collect();
    let rows = call::ended(&app.db, served.tenant.id, &decisions).await?;
    let none = Names::default();
    let mut ends = HashMap::new();
    for row in &rows {
        let entry = entry::entry(served, row, &none);
        let Some(decision) = id(&entry, "decision") else {
            continue;
        };
        let part = entry.parts.get("end");
        let number = |name: &str| part.and_then(|part| part.get(name)).and_then(Value::as_u64);
        let fault = part.and_then(|part| part.get("fault")).and_then(Value::as_str);
        let end = End {
            time: entry.time.clone(),
            status: number("status"),
            fault: fault.map(str::to_owned),
            milliseconds: number("milliseconds"),
        };
        ends.insert(decision.to_owned(), end);
    }
    Ok(ends)
}

fn call(entry: &Entry, end: Option<End>, names: &Names) -> Call {
    let told = |path: &[&str]| fact(entry, path).map(str::to_owned);
    let known = |role: &str| {
        let id = id(entry, role)?;
        Some(names.get(id).cloned().unwrap_or_else(|| id.to_owned()))
    };
    let mut call = Call {
        decision: id(entry, "decision").unwrap_or("-").to_owned(),
        time: entry.time.clone(),
        agent: told(&["agent", "name"])
            .or_else(|| known("actor"))
            .unwrap_or_else(|| "somebody".to_owned()),
        user: told(&["user", "name"]).or_else(|| known("user")),
        resource: told(&["resource", "name"])
            .or_else(|| known("resource"))
            .or_else(|| told(&["call", "connection", "name"]))
            .unwrap_or_else(|| "a resource".to_owned()),
        action: told(&["call", "action"]),
        target: told(&["call", "target"]),
        connection: told(&["call", "connection", "name"]),
        outcome: if is_permitted(entry) {
            "permitted"
        } else {
            "refused"
        },
        reason: entry
            .parts
            .get("decision")
            .and_then(|decision| decision.get("reason"))
            .and_then(Value::as_str)
            .map(str::to_owned),
        end,
        sentence: String::new(),
        altered: entry.altered.clone(),
    };
    call.sentence = call_sentence::whole(&call);
    call
}

fn is_permitted(entry: &Entry) -> bool {
    entry.outcome == "ok"
}

fn id<'a>(entry: &'a Entry, role: &str) -> Option<&'a str> {
    let mut ids = entry.ids.iter();
    ids.find(|(name, _)| name == role).map(|(_, id)| id.as_str())
}

fn fact<'a>(entry: &'a Entry, path: &[&str]) -> Option<&'a str> {
    let facts = entry.parts.get("decision")?.get("facts")?;
    path.iter()
        .try_fold(facts, |value, name| value.get(*name))
        .and_then(Value::as_str)
}

/// How many calls one page looks at: what a rare filter may cost.
const MAX_SCAN: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_as_it_was_written() {
        let place = Place {
            time: Timestamp::from_micros(1_700_000_000_000_000),
            seq: 42,
        };
        assert_eq!(parse_cursor(&cursor_text(place)), Some(place));
        assert_eq!(parse_cursor("1.x"), None);
    }

    #[test]
    fn a_target_is_looked_for_as_stored_parts_write_it() {
        let facts = serde_json::json!({ "target": "a\"b" }).to_string();
        let parts = serde_json::json!([{ "content": facts }]).to_string();
        assert!(parts.contains(&target_text("a\"b")));
    }
}
