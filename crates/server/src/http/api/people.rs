//! Operations on people's sessions and passkeys, and on the secrets with which we prove ourselves: where people sign
//! in, and at the provider of a connection.

use crate::app::App;
use crate::connect::client_secret;
use crate::error::{Failure, Refusal};
use crate::http::api::body::{ApiBody, ApiQuery};
use crate::http::api::caller::{ApiCaller, ApiScope};
use crate::http::api::nouns::ListQuery;
use crate::http::error::Problem;
use crate::people::{held_passkeys, issuer_secret, session};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use chancery_core::id::PasskeyId;
use chancery_core::secret::Secret;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// A secret to set.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretToSet {
    /// The secret.
    #[schema(value_type = String)]
    secret: Secret<String>,
}

/// The routes, relative to `/api/v1`.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/users/{name}/passkeys", get(passkeys))
        .route("/users/{name}/passkeys/{id}/remove", post(remove_passkey))
        .route("/sessions", get(sessions))
        .route("/sessions/{name}/retire", post(end_session))
        .route("/trusted_issuers/{name}/secret", put(set_secret))
        .route("/connections/{name}/secret", put(set_connection_secret))
}

/// `GET /sessions`.
///
/// # Errors
/// The problem to answer with.
pub async fn sessions(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<Value>, Problem> {
    let caller = api.with(ApiScope::Read)?;
    let (limit, page) = query.page();
    let mut all = session::list(&app, &api.served, caller, &page).await?;
    let has_more = all.len() > limit;
    all.truncate(limit);
    let next = all.last().filter(|_| has_more).map(|last| last.name.clone());
    Ok(Json(json!({ "items": all, "next_cursor": next })))
}

/// `POST /sessions/{name}/retire`: signs somebody out.
///
/// # Errors
/// The problem to answer with.
pub async fn end_session(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let caller = api.with(ApiScope::Kill)?;
    session::revoke(&app, &api.served, caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /users/{name}/passkeys`.
///
/// # Errors
/// The problem to answer with.
pub async fn passkeys(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let caller = api.with(ApiScope::Read)?;
    let all = held_passkeys::list(&app, &api.served, caller, &name).await?;
    Ok(Json(json!({ "items": all })))
}

/// `POST /users/{name}/passkeys/{id}/remove`.
///
/// # Errors
/// The problem to answer with.
pub async fn remove_passkey(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path((name, id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let caller = api.with(ApiScope::Kill)?;
    let unknown = || Refusal::Unknown {
        what: "passkey",
        name: id.clone(),
    };
    let id = id.parse::<PasskeyId>().map_err(|_| Failure::from(unknown()))?;
    held_passkeys::remove(&app, &api.served, caller, (&name, id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `PUT /connections/{name}/secret`.
///
/// # Errors
/// The problem to answer with.
pub async fn set_connection_secret(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path(name): Path<String>,
    ApiBody(body): ApiBody<SecretToSet>,
) -> Result<StatusCode, Problem> {
    let caller = api.with(ApiScope::Write)?;
    client_secret::set(&app, &api.served, caller, (&name, &body.secret)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `PUT /trusted_issuers/{name}/secret`.
///
/// # Errors
/// The problem to answer with.
pub async fn set_secret(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path(name): Path<String>,
    ApiBody(body): ApiBody<SecretToSet>,
) -> Result<StatusCode, Problem> {
    let caller = api.with(ApiScope::Write)?;
    issuer_secret::set(&app, &api.served, caller, (&name, &body.secret)).await?;
    Ok(StatusCode::NO_CONTENT)
}
