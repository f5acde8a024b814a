//! An event as people see it. What is shown comes from the leaf, which the tree and, before it, a MAC cover; the
//! columns beside it only help to find events. Where anything does not agree, the entry says so.
//!
//! Not a verification of the log: `audit verify` is. It finds a leaf that was edited, or a row that is gone.

use crate::app::App;
use crate::directory::cache::Shelf;
use crate::error::Failure;
use crate::govern::sentence::sentence;
use crate::tenants::Served;
use chancery_audit::commitment::check_parts;
use chancery_audit::{EventMac, Leaf, PartRecord, PartState};
use chancery_core::id::{EventId, TenantId};
use chancery_core::noun::Noun;
use chancery_store::Stored;
use chancery_store::event::EventRow;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// An event for people.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Lists go on from here.
    pub cursor: i64,
    /// The event's id.
    pub id: EventId,
    /// When, RFC 3339.
    pub time: String,
    /// What happened.
    pub kind: String,
    /// How it ended.
    pub outcome: String,
    /// Its index in the log, once integrated.
    pub position: Option<u64>,
    /// One sentence.
    pub sentence: String,
    /// What does not agree with what was recorded: somebody changed the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub altered: Option<String>,
    /// The ids in its leaf.
    pub ids: Vec<(String, String)>,
    /// Its parts; `null` where one was erased.
    pub parts: Map<String, Value>,
}

/// Names by id: of those who act, in a list of events. Names are never reused, so the present one is the one of
/// then.
pub type Names = HashMap<String, String>;

/// Leaf and parts of a row.
///
/// # Errors
/// A row that cannot be read.
pub fn read(row: &EventRow) -> Result<(Leaf, Vec<PartRecord>), Failure> {
    let leaf = Leaf::parse(row.leaf.as_bytes()).map_err(Failure::internal)?;
    let parts = serde_json::from_str(&row.parts).map_err(Failure::internal)?;
    Ok((leaf, parts))
}

/// Learns the names of those who acted.
///
/// # Errors
/// The database's.
pub async fn learn(app: &App, tenant: TenantId, row: &EventRow, names: &mut Names) -> Result<(), Failure> {
    let Ok(leaf) = Leaf::parse(row.leaf.as_bytes()) else {
        return Ok(());
    };
    for role in ["actor", "user", "agent"] {
        let Some(id) = leaf.find_id(role).filter(|id| !names.contains_key(*id)) else {
            continue;
        };
        let directory = &app.directory;
        let name = match id.get(..4).and_then(Noun::from_id_prefix) {
            Some(Noun::Agent) => find(&directory.agents, tenant, id).await?,
            Some(Noun::User) => find(&directory.users, tenant, id).await?,
            Some(
                Noun::Tenant
                | Noun::TrustedIssuer
                | Noun::Client
                | Noun::Blueprint
                | Noun::RuntimeBinding
                | Noun::Resource
                | Noun::Grant
                | Noun::Delegation
                | Noun::PolicySet
                | Noun::Connection
                | Noun::ConnectedAccount
                | Noun::Session
                | Noun::TokenFamily
                | Noun::RegistrationRule
                | Noun::RegistrationToken,
            )
            | None => None,
        };
        names.extend(name.map(|name| (id.to_owned(), name)));
    }
    Ok(())
}

/// The event of a row.
pub fn entry(served: &Served, row: &EventRow, names: &Names) -> Entry {
    let Ok((leaf, parts)) = read(row) else {
        return unreadable(row);
    };
    let shown: Map<String, Value> = parts.iter().map(show).collect();
    let altered = altered(served, row, &leaf, &parts);
    let told = sentence(&leaf, &shown, names);
    let sentence = match &altered {
        None => told,
        Some(what) => format!("ALTERED in the database ({what}): {told}"),
    };
    let content = leaf.content();
    Entry {
        cursor: row.seq,
        id: content.event,
        time: content.time.to_string(),
        kind: content.kind.clone(),
        outcome: content.outcome.as_str().to_owned(),
        position: row.position,
        sentence,
        altered,
        ids: content.ids.clone(),
        parts: shown,
    }
}

async fn find<S: Stored>(shelf: &Shelf<S>, tenant: TenantId, id: &str) -> Result<Option<String>, Failure> {
    let Ok(id) = id.parse() else { return Ok(None) };
    let found = shelf.find(tenant, id).await?;
    Ok(found.map(|record| record.name.to_string()))
}

fn show(part: &PartRecord) -> (String, Value) {
    let value = match &part.state {
        PartState::Present { content, .. } => serde_json::from_str(content).unwrap_or(Value::Null),
        PartState::Erased { .. } => Value::Null,
    };
    (part.name.clone(), value)
}

/// What does not agree: columns with the leaf, parts with its commitments, the leaf with its MAC.
fn altered(served: &Served, row: &EventRow, leaf: &Leaf, parts: &[PartRecord]) -> Option<String> {
    let content = leaf.content();
    let mac: Option<[u8; 32]> = row.mac.as_slice().try_into().ok();
    let is_sealed = mac.is_some_and(|mac| {
        EventMac::from_bytes(mac).matches(served.keys.seal().mac, row.id, leaf.as_bytes())
    });
    let checks = [
        ("leaf", is_sealed && content.tenant == served.tenant.id),
        ("id", row.id == content.event),
        ("time", row.time == content.time),
        ("kind", row.kind == content.kind),
        ("outcome", row.outcome == content.outcome.as_str()),
        ("parts", check_parts(leaf, parts).is_ok()),
    ];
    let differing: Vec<&str> = checks
        .into_iter()
        .filter(|(_, agrees)| !agrees)
        .map(|(name, _)| name)
        .collect();
    (!differing.is_empty()).then(|| differing.join(", "))
}

/// One damaged row must not hide the others.
fn unreadable(row: &EventRow) -> Entry {
    Entry {
        cursor: row.seq,
        id: row.id,
        time: row.time.to_string(),
        kind: "unreadable".to_owned(),
        outcome: "unreadable".to_owned(),
        position: row.position,
        sentence: "ALTERED in the database: this record cannot be read any more".to_owned(),
        altered: Some("leaf".to_owned()),
        ids: Vec::new(),
        parts: Map::new(),
    }
}
