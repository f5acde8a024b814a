//! Operations on clients that make themselves known: adopting one, and the initial access tokens with which clients
//! of an agent register.

use crate::app::App;
use crate::directory::change;
use crate::http::api::body::{ApiBody, ApiQuery};
use crate::http::api::caller::{ApiCaller, ApiScope};
use crate::http::api::nouns::ListQuery;
use crate::http::error::Problem;
use crate::registration::{adopt as adopting, token};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use chancery_core::client::Client;
use chancery_core::event::Change;
use chancery_core::noun::Noun;
use chancery_core::registration::{RegistrationToken, RegistrationTokenSpec};
use chancery_core::time::Ttl;
use chancery_policy::ManagementAction;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The routes, relative to `/api/v1`.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/clients/{name}/adopt", post(adopt))
        .route("/registration_tokens", get(list_tokens).post(create_token))
        .route("/registration_tokens/{name}/retire", post(retire_token))
}

/// Whom a client is to belong to.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Adoption {
    /// The agent's name or id.
    agent: String,
}

/// An initial access token to make.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRegistrationToken {
    /// The agent that clients registered with it belong to, by name or id.
    agent: String,
    /// How often it may be used, 1 to 1,000. Default once.
    #[serde(default = "once")]
    uses: u64,
    /// After how many seconds it ends, at most 90 days. Default one hour.
    #[serde(default = "hour")]
    lifetime: u64,
}

/// `POST /clients/{name}/adopt`.
///
/// # Errors
/// The problem to answer with.
pub async fn adopt(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path(name): Path<String>,
    ApiBody(body): ApiBody<Adoption>,
) -> Result<Json<Client>, Problem> {
    let caller = api.with(ApiScope::Write)?;
    let client = adopting::adopt(&app, &api.served, caller, (&name, &body.agent)).await?;
    Ok(Json(client))
}

/// `GET /registration_tokens`.
///
/// # Errors
/// The problem to answer with.
pub async fn list_tokens(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<Value>, Problem> {
    let caller = api.with(ApiScope::Read)?;
    let all = (Noun::RegistrationToken, "*", None);
    change::permit(&api.served, caller, ManagementAction::View, all)?;
    let (limit, page) = query.page();
    let mut tokens = change::list::<RegistrationTokenSpec>(&app, api.served.tenant.id, &page).await?;
    let has_more = tokens.len() > limit;
    tokens.truncate(limit);
    let next = tokens.last().filter(|_| has_more).map(|token| token.name.clone());
    let items: Vec<Value> = tokens.iter().map(shown).collect();
    Ok(Json(json!({ "items": items, "next_cursor": next })))
}

/// `POST /registration_tokens`: the token is in `token`, once.
///
/// # Errors
/// The problem to answer with.
pub async fn create_token(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    ApiBody(body): ApiBody<NewRegistrationToken>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let caller = api.with(ApiScope::Write)?;
    let wanted = (body.uses, Ttl::from_seconds(body.lifetime));
    let (made, secret) = token::create(&app, &api.served, caller, &body.agent, wanted).await?;
    let mut value = shown(&made);
    if let Some(members) = value.as_object_mut() {
        members.insert("token".to_owned(), Value::from(secret.expose_secret().as_str()));
    }
    Ok((StatusCode::CREATED, Json(value)))
}

/// `POST /registration_tokens/{name}/retire`.
///
/// # Errors
/// The problem to answer with.
pub async fn retire_token(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let caller = api.with(ApiScope::Write)?;
    let old = change::load::<RegistrationTokenSpec>(&app, api.served.tenant.id, &name).await?;
    let (token, work) = change::plan_step(&app, &api.served, caller, old, Change::Retired)?;
    change::commit(&app, caller, work).await?;
    Ok(Json(shown(&token)))
}

/// What is shown of a token: everything but the token and its digest.
fn shown(token: &RegistrationToken) -> Value {
    json!({
        "id": token.id.to_string(),
        "name": token.name,
        "state": token.state,
        "agent": token.spec.agent,
        "uses": token.spec.uses,
        "expires_at": token.spec.expires_at,
        "created_at": token.created_at,
    })
}

const fn once() -> u64 {
    1
}

const fn hour() -> u64 {
    3_600
}
