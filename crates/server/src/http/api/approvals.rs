//! Requests for a person's yes: those that the caller may answer, and answering them.

use crate::app::App;
use crate::approve::answer::{self, Given};
use crate::approve::view::{self, ApprovalView};
use crate::http::api::body::{ApiBody, ApiQuery};
use crate::http::api::caller::{ApiCaller, ApiScope};
use crate::http::error::Problem;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chancery_core::approval::{ApprovalMethod, ApprovalState};
use chancery_core::id::ApprovalId;
use chancery_policy::ApprovalAnswer;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Which requests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalQuery {
    /// In which state; pending if none is named.
    #[serde(default)]
    state: Option<ApprovalState>,
    /// Those asked before this one.
    #[serde(default)]
    cursor: Option<ApprovalId>,
    /// At most so many are looked at.
    #[serde(default)]
    limit: Option<u32>,
}

/// A yes.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approving {
    /// The number that the asking side shows, where one must be chosen.
    #[serde(default)]
    number: Option<u32>,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

/// A no.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rejecting {
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

/// `GET /approvals`.
///
/// # Errors
/// The problem to answer with.
pub async fn list(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    ApiQuery(query): ApiQuery<ApprovalQuery>,
) -> Result<Json<Value>, Problem> {
    let caller = api.with(ApiScope::Read)?;
    let limit = query.limit.unwrap_or(LIMIT).clamp(1, MAX_LIMIT);
    let state = query.state.unwrap_or(ApprovalState::Pending);
    let page = view::list(&app, &api.served, caller, state, (query.cursor, limit)).await?;
    Ok(Json(json!({ "items": page.items, "next_cursor": page.next })))
}

/// `GET /approvals/{id}`.
///
/// # Errors
/// The problem to answer with.
pub async fn show(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path(id): Path<String>,
) -> Result<Json<ApprovalView>, Problem> {
    let caller = api.with(ApiScope::Read)?;
    let id = parse(&id)?;
    Ok(Json(view::show(&app, &api.served, caller, id).await?))
}

/// `POST /approvals/{id}/approve`.
///
/// # Errors
/// The problem to answer with.
pub async fn approve(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path(id): Path<String>,
    ApiBody(body): ApiBody<Approving>,
) -> Result<Json<ApprovalView>, Problem> {
    let caller = api.with(ApiScope::Write)?;
    let given = Given {
        id: parse(&id)?,
        answer: ApprovalAnswer::Approve,
        method: ApprovalMethod::Interface,
        number: body.number,
        reason: body.reason.as_deref(),
        signed: None,
    };
    Ok(Json(answer::give(&app, &api.served, caller, given).await?))
}

/// `POST /approvals/{id}/deny`.
///
/// # Errors
/// The problem to answer with.
pub async fn deny(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path(id): Path<String>,
    ApiBody(body): ApiBody<Rejecting>,
) -> Result<Json<ApprovalView>, Problem> {
    let caller = api.with(ApiScope::Write)?;
    let given = Given {
        id: parse(&id)?,
        answer: ApprovalAnswer::Reject,
        method: ApprovalMethod::Interface,
        number: None,
        reason: body.reason.as_deref(),
        signed: None,
    };
    Ok(Json(answer::give(&app, &api.served, caller, given).await?))
}

fn parse(id: &str) -> Result<ApprovalId, Problem> {
    id.parse()
        .map_err(|_| Problem::new(StatusCode::NOT_FOUND, "not_found", "no such approval"))
}

const LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;
