//! Operations on the audit log, and the log's public face (C2SP tlog-tiles).

use crate::app::App;
use crate::govern::audit;
use crate::govern::entry::Entry;
use crate::http::api::body::ApiQuery;
use crate::http::api::caller::{ApiCaller, ApiScope};
use crate::http::error::{Problem, no_such_endpoint};
use crate::http::tenant::RequestTenant;
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use chancery_store::event::EventFilter;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Query of a list of events.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventQuery {
    limit: Option<u32>,
    cursor: Option<i64>,
    kind: String,
    id: String,
}

/// `GET /audit/events`.
///
/// # Errors
/// The problem to answer with.
pub async fn list(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    ApiQuery(query): ApiQuery<EventQuery>,
) -> Result<Json<Value>, Problem> {
    let caller = api.with(ApiScope::Audit)?;
    let limit = query.limit.unwrap_or(50).clamp(1, 500);
    let before = query.cursor.unwrap_or(i64::MAX);
    let filter = EventFilter {
        before,
        since: 0,
        kind: &query.kind,
        id: &query.id,
        limit,
    };
    let items = audit::list(&app, &api.served, caller, &filter).await?;
    let is_full = items.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let next = items.last().filter(|_| is_full).map(|entry| entry.cursor);
    Ok(Json(json!({ "items": items, "next_cursor": next })))
}

/// `GET /audit/events/{id}`.
///
/// # Errors
/// The problem to answer with.
pub async fn show(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path(id): Path<String>,
) -> Result<Json<Entry>, Problem> {
    let caller = api.with(ApiScope::Audit)?;
    Ok(Json(audit::show(&app, &api.served, caller, &id).await?))
}

/// `GET /audit/events/{id}/proof`.
///
/// # Errors
/// The problem to answer with.
pub async fn prove(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let caller = api.with(ApiScope::Audit)?;
    Ok(Json(audit::prove(&app, &api.served, caller, &id).await?))
}

/// `DELETE /audit/events/{id}/parts/{part}`.
///
/// # Errors
/// The problem to answer with.
pub async fn erase(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path((id, part)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let caller = api.with(ApiScope::Write)?;
    audit::erase(&app, &api.served, caller, (&id, &part)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /audit/export`: JSON lines, streamed.
///
/// # Errors
/// The problem to answer with.
pub async fn export(State(app): State<Arc<App>>, api: ApiCaller) -> Result<Response, Problem> {
    let caller = api.with(ApiScope::Audit)?.clone();
    let (sink, mut lines) = tokio::sync::mpsc::channel::<String>(64);
    let served = api.served.clone();
    let work = tokio::spawn(async move { audit::export(&app, &served, &caller, &sink).await });
    // A refusal must be a status, not a body that ends early: wait for the first line.
    let Some(first) = lines.recv().await else {
        return match work.await {
            Ok(Err(failure)) => Err(failure.into()),
            Ok(Ok(())) => Ok(StatusCode::NO_CONTENT.into_response()),
            Err(error) => Ok(crate::http::error::internal(&error)),
        };
    };
    let rest = stream::unfold(
        (Some(first), lines, Some(work)),
        |(first, mut lines, mut work)| async move {
            if let Some(line) = first {
                return Some((Ok(to_bytes(line)), (None, lines, work)));
            }
            if let Some(line) = lines.recv().await {
                return Some((Ok(to_bytes(line)), (None, lines, work)));
            }
            // An export that failed half way must not look complete: the body ends with an error.
            let outcome = work.take()?.await;
            let failed = !matches!(outcome, Ok(Ok(())));
            failed.then(|| {
                (
                    Err(std::io::Error::other("the export failed")),
                    (None, lines, None),
                )
            })
        },
    );
    Ok(([(CONTENT_TYPE, "application/jsonl")], Body::from_stream(rest)).into_response())
}

/// `GET /audit/log`.
///
/// # Errors
/// The problem to answer with.
pub async fn log(State(app): State<Arc<App>>, api: ApiCaller) -> Result<Json<audit::LogState>, Problem> {
    api.with(ApiScope::Read)?;
    Ok(Json(audit::state(&app, &api.served).await?))
}

/// `GET {base}/log/checkpoint`: the newest signed checkpoint.
pub async fn checkpoint(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
) -> Response {
    match audit::state(&app, &served).await {
        Err(failure) => failure.into_response(),
        Ok(state) => match state.checkpoint {
            Some(note) => (
                [
                    (CONTENT_TYPE, "text/plain; charset=utf-8"),
                    (CACHE_CONTROL, "no-cache"),
                ],
                note,
            )
                .into_response(),
            None => no_such_endpoint().into_response(),
        },
    }
}

/// `GET {base}/log/tile/…`: hash tiles, for monitors that check consistency.
pub async fn tile(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    Path(path): Path<String>,
) -> Response {
    match audit::tile_at(&app, &served, &format!("/tile/{path}")).await {
        Err(failure) => failure.into_response(),
        Ok(None) => no_such_endpoint().into_response(),
        Ok(Some(hashes)) => {
            let headers = [
                (CONTENT_TYPE, "application/octet-stream"),
                (CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ];
            (headers, hashes).into_response()
        }
    }
}

fn to_bytes(mut line: String) -> Bytes {
    if !line.ends_with('\n') {
        line.push('\n');
    }
    Bytes::from(line)
}
