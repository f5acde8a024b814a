//! Operations on the audit log, and the log's public face (C2SP tlog-tiles).

use crate::app::App;
use crate::error::Failure;
use crate::govern::audit;
use crate::http::api::caller::{ApiCaller, ApiScope};
use crate::http::error::no_such_endpoint;
use crate::http::tenant::RequestTenant;
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use chancery_store::event::EventFilter;
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
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
pub async fn list(State(app): State<Arc<App>>, api: ApiCaller, Query(query): Query<EventQuery>) -> Response {
    let caller = match api.with(ApiScope::Audit) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let limit = query.limit.unwrap_or(50).clamp(1, 500);
    let filter = EventFilter {
        before: query.cursor.unwrap_or(i64::MAX),
        kind: &query.kind,
        id: &query.id,
        limit,
    };
    match audit::list(&app, &api.served, caller, &filter).await {
        Err(failure) => failure.into_response(),
        Ok(items) => {
            let is_full = items.len() == usize::try_from(limit).unwrap_or(usize::MAX);
            let next = items.last().filter(|_| is_full).map(|entry| entry.cursor);
            Json(json!({ "items": items, "next_cursor": next })).into_response()
        }
    }
}

/// `GET /audit/events/{id}`.
pub async fn show(State(app): State<Arc<App>>, api: ApiCaller, Path(id): Path<String>) -> Response {
    let caller = match api.with(ApiScope::Audit) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let entry = audit::show(&app, &api.served, caller, &id).await;
    entry.map_or_else(Failure::into_response, |entry| Json(entry).into_response())
}

/// `GET /audit/events/{id}/proof`.
pub async fn prove(State(app): State<Arc<App>>, api: ApiCaller, Path(id): Path<String>) -> Response {
    let caller = match api.with(ApiScope::Audit) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let proof = audit::prove(&app, &api.served, caller, &id).await;
    proof.map_or_else(Failure::into_response, |proof| Json(proof).into_response())
}

/// `DELETE /audit/events/{id}/parts/{part}`.
pub async fn erase(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path((id, part)): Path<(String, String)>,
) -> Response {
    let caller = match api.with(ApiScope::Write) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let erased = audit::erase(&app, &api.served, caller, (&id, &part)).await;
    erased.map_or_else(Failure::into_response, |()| {
        StatusCode::NO_CONTENT.into_response()
    })
}

/// `GET /audit/export`: JSON lines, streamed.
pub async fn export(State(app): State<Arc<App>>, api: ApiCaller) -> Response {
    let caller = match api.with(ApiScope::Audit) {
        Ok(caller) => caller.clone(),
        Err(problem) => return problem.into_response(),
    };
    let (sink, mut lines) = tokio::sync::mpsc::channel::<String>(64);
    let served = api.served.clone();
    let work = tokio::spawn(async move { audit::export(&app, &served, &caller, &sink).await });
    // A refusal must be a status, not a body that ends early: wait for the first line.
    let Some(first) = lines.recv().await else {
        return match work.await {
            Ok(Err(failure)) => failure.into_response(),
            Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
            Err(error) => crate::http::error::internal(&error),
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
    ([(CONTENT_TYPE, "application/jsonl")], Body::from_stream(rest)).into_response()
}

/// `GET /audit/log`.
pub async fn log(State(app): State<Arc<App>>, api: ApiCaller) -> Response {
    if let Err(problem) = api.with(ApiScope::Read) {
        return problem.into_response();
    }
    let state = audit::state(&app, &api.served).await;
    state.map_or_else(Failure::into_response, |state| Json(state).into_response())
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
            None => no_such_endpoint().await,
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
        Ok(None) => no_such_endpoint().await,
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
