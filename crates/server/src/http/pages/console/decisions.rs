//! Decisions: tokens and calls that policy decided on, as sentences, and the `why` table of one.

use super::agents::{Choice, minute};
use super::audit::{AuditQuery, found, next_page, outcome_badge, outcomes};
use super::frame;
use crate::app::App;
use crate::govern::entry::Entry;
use crate::govern::why::{self, Why};
use crate::http::pages::Visitor;
use crate::http::pages::frame::{self as page_frame, FormAction, Frame};
use crate::http::pages::outside::Shown;
use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chancery_core::id::{DecisionId, Id as _};
use std::sync::Arc;

#[derive(Debug, Template)]
#[template(path = "console_decisions.html")]
struct Decisions {
    frame: Frame,
    kinds: Vec<Choice>,
    agent: Shown,
    outcomes: Vec<Choice>,
    rows: Vec<Row>,
    next: Option<String>,
}

#[derive(Debug)]
struct Row {
    href: String,
    time: String,
    outcome: String,
    badge: &'static str,
    sentence: Shown,
}

#[derive(Debug, Template)]
#[template(path = "console_decision.html")]
struct OneDecision {
    frame: Frame,
    id: String,
    summary: Shown,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Shown>>,
    notes: Vec<Shown>,
    policies: Vec<Shown>,
    set: Shown,
}

/// `GET {base}/console/decisions`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<AuditQuery>,
) -> Response {
    let caller = visitor.signed_in.caller(visitor.now);
    // Events of these kinds, and of no other, are decisions.
    let kind = KINDS
        .iter()
        .map(|(kind, _)| *kind)
        .find(|kind| *kind == query.kind);
    let query = AuditQuery {
        kind: kind.unwrap_or(TOKENS).to_owned(),
        ..query
    };
    match found(&app, &visitor.served, &caller, &query).await {
        Ok((entries, next)) => {
            let next = next.map(|before| next_page("/console/decisions", &query, before));
            let choice = |(value, text): &(&'static str, &'static str)| Choice {
                value,
                text,
                is_chosen: *value == query.kind,
            };
            let page = Decisions {
                frame: frame(
                    "Decisions",
                    &visitor.served,
                    &visitor.signed_in,
                    "/console/decisions",
                ),
                kinds: KINDS.iter().map(choice).collect(),
                agent: Shown::new(&query.agent),
                outcomes: outcomes(&query.outcome),
                rows: entries.iter().map(row).collect(),
                next,
            };
            page_frame::render(StatusCode::OK, &page, &FormAction::Own)
        }
        Err(failure) => page_frame::failed(&failure),
    }
}

/// `GET {base}/console/decisions/{id}`.
pub(super) async fn show(State(app): State<Arc<App>>, visitor: Visitor, Path(id): Path<String>) -> Response {
    let caller = visitor.signed_in.caller(visitor.now);
    let (id, explanation, decision) = match why::why(&app, &visitor.served, &caller, &id).await {
        Ok(Why::Decision {
            id,
            explanation,
            decision,
        }) => (id, explanation, decision),
        Ok(Why::AuthenticationFailed { reason, .. }) => {
            return page_frame::Message::new("Not authenticated", reason)
                .for_person(&visitor.served, &visitor.signed_in)
                .respond(StatusCode::OK);
        }
        Err(failure) => return page_frame::failed(&failure),
    };
    let cells = |row: &Vec<String>| row.iter().map(|cell| Shown::long(cell, 200)).collect();
    let named = decision.rows.iter().flat_map(|row| &row.policies);
    let mut policies: Vec<&String> = named
        .chain(decision.actions.iter().flat_map(|row| &row.policies))
        .collect();
    policies.sort();
    policies.dedup();
    let page = OneDecision {
        frame: frame("Why", &visitor.served, &visitor.signed_in, "/console/decisions"),
        id: id.to_string(),
        summary: Shown::long(&explanation.summary, 600),
        rows: explanation.rows.iter().map(cells).collect(),
        columns: explanation.columns,
        notes: explanation
            .notes
            .iter()
            .map(|note| Shown::long(note, 600))
            .collect(),
        policies: policies.into_iter().map(|policy| Shown::new(policy)).collect(),
        set: Shown::new(&decision.policy_set),
    };
    page_frame::render(StatusCode::OK, &page, &FormAction::Own)
}

fn row(entry: &Entry) -> Row {
    // An event that records a decision has the decision's own id.
    let decision = DecisionId::from_bytes(*entry.id.as_bytes());
    Row {
        href: format!("/console/decisions/{decision}"),
        time: minute(&entry.time),
        outcome: entry.outcome.clone(),
        badge: outcome_badge(&entry.outcome),
        sentence: Shown::long(&entry.sentence, 600),
    }
}

const TOKENS: &str = "token.issued";
const KINDS: &[(&str, &str)] = &[(TOKENS, "tokens"), ("call.decided", "calls")];
