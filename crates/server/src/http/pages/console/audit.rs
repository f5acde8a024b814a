//! The audit explorer: events as sentences, newest first, by kind, agent and outcome.

use super::agents::{Choice, minute};
use super::{frame, with_query};
use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::error::Failure;
use crate::govern::audit;
use crate::govern::entry::Entry;
use crate::http::pages::frame::{self as page_frame, FormAction, Frame};
use crate::http::pages::outside::Shown;
use crate::http::pages::{Visitor, asset};
use crate::tenants::Served;
use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chancery_core::agent::AgentSpec;
use chancery_store::event::EventFilter;
use serde::Deserialize;
use std::sync::Arc;

/// Query of the explorer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AuditQuery {
    pub(super) kind: String,
    pub(super) agent: String,
    pub(super) outcome: String,
    pub(super) before: String,
}

#[derive(Debug, Template)]
#[template(path = "console_audit.html")]
struct Audit {
    frame: Frame,
    kind: Shown,
    agent: Shown,
    outcomes: Vec<Choice>,
    rows: Vec<EventShown>,
    next: Option<String>,
    script: &'static str,
}

#[derive(Debug)]
struct EventShown {
    time: String,
    kind: String,
    outcome: String,
    badge: &'static str,
    sentence: Shown,
    altered: Option<String>,
}

/// `GET {base}/console/audit`.
pub(super) async fn explore(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<AuditQuery>,
) -> Response {
    let caller = visitor.signed_in.caller(visitor.now);
    match found(&app, &visitor.served, &caller, &query).await {
        Ok((entries, next)) => {
            let next = next.map(|before| next_page("/console/audit", &query, before));
            let page = Audit {
                frame: frame("Audit", &visitor.served, &visitor.signed_in, "/console/audit"),
                kind: Shown::new(&query.kind),
                agent: Shown::new(&query.agent),
                outcomes: outcomes(&query.outcome),
                rows: entries.iter().map(shown).collect(),
                next,
                script: asset::tail_script(),
            };
            page_frame::render(StatusCode::OK, &page, &FormAction::Own)
        }
        Err(failure) => page_frame::failed(&failure),
    }
}

/// Events that a query wants, and from where the next page goes on. A page may be short and not be the last: it
/// looks through so many events and no more, and the outcome is looked at after they were read.
pub(super) async fn found(
    app: &App,
    served: &Served,
    caller: &Caller,
    query: &AuditQuery,
) -> Result<(Vec<Entry>, Option<i64>), Failure> {
    let agent = if query.agent.is_empty() {
        String::new()
    } else {
        change::load::<AgentSpec>(app, served.tenant.id, &query.agent)
            .await?
            .id
            .to_string()
    };
    let filter = EventFilter {
        before: query.before.parse().unwrap_or(i64::MAX),
        since: 0,
        kind: &query.kind,
        id: &agent,
        limit: PAGE,
    };
    let (mut entries, next) = audit::list_near(app, served, caller, filter, REACH).await?;
    entries.retain(|entry| query.outcome.is_empty() || entry.outcome == query.outcome);
    Ok((entries, next))
}

pub(super) fn next_page(path: &str, query: &AuditQuery, before: i64) -> String {
    let before = before.to_string();
    with_query(
        path,
        &[
            ("kind", query.kind.as_str()),
            ("agent", query.agent.as_str()),
            ("outcome", query.outcome.as_str()),
            ("before", before.as_str()),
        ],
    )
}

pub(super) fn outcomes(chosen: &str) -> Vec<Choice> {
    let choice = |(value, text)| Choice {
        value,
        text,
        is_chosen: value == chosen,
    };
    [
        ("", "any"),
        ("ok", "done"),
        ("denied", "refused"),
        ("failed", "failed"),
    ]
    .into_iter()
    .map(choice)
    .collect()
}

/// The class of an outcome's badge.
pub(super) fn outcome_badge(outcome: &str) -> &'static str {
    match outcome {
        "ok" => "good",
        "denied" => "warn",
        _ => "bad",
    }
}

fn shown(entry: &Entry) -> EventShown {
    EventShown {
        time: minute(&entry.time),
        kind: entry.kind.clone(),
        outcome: entry.outcome.clone(),
        badge: outcome_badge(&entry.outcome),
        sentence: Shown::long(&entry.sentence, 600),
        altered: entry.altered.clone(),
    }
}

const PAGE: u32 = 50;
/// How many events one page looks through.
pub(super) const REACH: i64 = 5_000;
