//! What agents called, as rows and sentences.

use crate::app::App;
use crate::error::{Failure, Refusal};
use crate::govern::calls::{self, Calls, Wanted, parse_cursor};
use crate::http::api::body::ApiQuery;
use crate::http::api::caller::{ApiCaller, ApiScope};
use crate::http::error::Problem;
use axum::Json;
use axum::extract::State;
use chancery_core::time::Timestamp;
use serde::Deserialize;
use std::sync::Arc;

/// Query of a list of calls.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallQuery {
    limit: Option<u32>,
    cursor: Option<String>,
    agent: Option<String>,
    user: Option<String>,
    resource: Option<String>,
    tool: Option<String>,
    since: Option<String>,
    until: Option<String>,
    denied: bool,
}

/// `GET /calls`.
///
/// # Errors
/// The problem to answer with.
pub async fn list(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    ApiQuery(query): ApiQuery<CallQuery>,
) -> Result<Json<Calls>, Problem> {
    let caller = api.with(ApiScope::Audit)?;
    let cursor = query.cursor.as_deref().map(|text| {
        let unknown = || Refusal::Invalid(format!("`{text}` is no cursor of this list"));
        parse_cursor(text).ok_or_else(unknown)
    });
    let wanted = Wanted {
        agent: query.agent,
        user: query.user,
        resource: query.resource,
        tool: query.tool,
        since: moment(query.since.as_deref())?,
        until: moment(query.until.as_deref())?,
        refused_only: query.denied,
        cursor: cursor.transpose().map_err(Failure::from)?,
        limit: query.limit.unwrap_or(50).clamp(1, 500),
    };
    Ok(Json(calls::list(&app, &api.served, caller, &wanted).await?))
}

fn moment(text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    let parse = |text: &str| {
        let parsed = text.parse::<jiff::Timestamp>();
        let invalid = |_| Refusal::Invalid(format!("`{text}` is no moment such as 2026-11-22T14:00:00Z"));
        parsed
            .map(|at| Timestamp::from_micros(at.as_microsecond()))
            .map_err(invalid)
    };
    Ok(text.map(parse).transpose()?)
}
