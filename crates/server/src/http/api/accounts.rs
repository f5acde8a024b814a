//! Operations on connected accounts: like those on other nouns, except that an account is made by setting its
//! credential, whose values come in the body and never go out again.

use crate::app::App;
use crate::connect::account::{self, AccountView};
use crate::connect::disconnect;
use crate::connect::key::{self, KeySet, KeyToSet};
use crate::directory::change;
use crate::error::Failure;
use crate::http::api::body::{ApiBody, ApiQuery};
use crate::http::api::caller::{ApiCaller, ApiScope};
use crate::http::api::nouns::ListQuery;
use crate::http::error::Problem;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chancery_core::connected_account::{AccountOwner, ConnectedAccount, ConnectedAccountSpec};
use chancery_core::event::Change;
use chancery_core::name::Name;
use chancery_core::secret::Secret;
use chancery_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An account to make, or whose credential to replace.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// The account's name; one is made if none is given.
    #[serde(default)]
    name: Option<Name>,
    /// The connection's name or id.
    connection: String,
    /// Whose credential it is.
    owner: AccountOwner,
    /// One line for people.
    #[serde(default)]
    label: Option<String>,
    /// Until when the credential is good.
    #[serde(default)]
    expires_at: Option<Timestamp>,
    /// The value of every part of the connection's key.
    #[serde(deserialize_with = "read_values")]
    #[schema(value_type = BTreeMap<String, String>)]
    values: BTreeMap<Name, Secret<String>>,
}

/// A credential to replace that of an account.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCredential {
    /// One line for people; the one before stays if there is none.
    #[serde(default)]
    label: Option<String>,
    /// Until when the credential is good.
    #[serde(default)]
    expires_at: Option<Timestamp>,
    /// The value of every part of the connection's key.
    #[serde(deserialize_with = "read_values")]
    #[schema(value_type = BTreeMap<String, String>)]
    values: BTreeMap<Name, Secret<String>>,
}

/// `GET /connected_accounts`.
///
/// # Errors
/// The problem to answer with.
pub async fn list(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<Value>, Problem> {
    let caller = api.with(ApiScope::Read)?;
    let (limit, page) = query.page();
    let mut accounts = account::list(&app, &api.served, caller, &page).await?;
    let has_more = accounts.len() > limit;
    accounts.truncate(limit);
    let next = accounts
        .last()
        .filter(|_| has_more)
        .map(|last| last.account.name.clone());
    Ok(Json(json!({ "items": accounts, "next_cursor": next })))
}

/// `GET /connected_accounts/{name}`.
///
/// # Errors
/// The problem to answer with.
pub async fn show(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path(name): Path<String>,
) -> Result<Json<AccountView>, Problem> {
    let caller = api.with(ApiScope::Read)?;
    Ok(Json(account::show(&app, &api.served, caller, &name).await?))
}

/// `POST /connected_accounts`: makes the account of an owner at a connection, or replaces its credential.
///
/// # Errors
/// The problem to answer with.
pub async fn create(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    ApiBody(body): ApiBody<NewAccount>,
) -> Result<(StatusCode, Json<AccountView>), Problem> {
    let caller = api.with(ApiScope::Write)?;
    let wanted = KeyToSet {
        name: body.name,
        connection: body.connection,
        owner: body.owner,
        label: body.label,
        expires_at: body.expires_at,
        values: body.values,
    };
    let KeySet { account, is_new } = key::set_key(&app, &api.served, caller, wanted).await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let view = account::view(&app, &api.served, account, caller.now).await?;
    Ok((status, Json(view)))
}

/// `PUT /connected_accounts/{name}/credential`.
///
/// # Errors
/// The problem to answer with.
pub async fn set(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path(name): Path<String>,
    ApiBody(body): ApiBody<NewCredential>,
) -> Result<Json<AccountView>, Problem> {
    let caller = api.with(ApiScope::Write)?;
    let old = change::load::<ConnectedAccountSpec>(&app, api.served.tenant.id, &name).await?;
    let wanted = KeyToSet {
        name: Some(old.name),
        connection: old.spec.connection.to_string(),
        owner: old.spec.owner,
        label: body.label,
        expires_at: body.expires_at,
        values: body.values,
    };
    let KeySet { account, .. } = key::set_key(&app, &api.served, caller, wanted).await?;
    let view = account::view(&app, &api.served, account, caller.now).await?;
    Ok(Json(view))
}

/// `POST /connected_accounts/{name}/{step}`: `activate`, `suspend`, or `retire`, which revokes what its provider gave
/// and deletes the credential.
///
/// # Errors
/// The problem to answer with.
pub async fn step(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path((name, step)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let change = match step.as_str() {
        "retire" => {
            let caller = api.with(ApiScope::Write)?;
            let gone = disconnect::disconnect(&app, &api.served, caller, &name).await?;
            return Ok(Json(json!(gone)));
        }
        "activate" => Change::Activated,
        "suspend" => Change::Suspended,
        _ => {
            let text = format!("`{step}` is no step of an account's life");
            return Err(Problem::new(StatusCode::NOT_FOUND, "no_such_step", text)
                .with_hint("activate, suspend or retire; kill stops at once"));
        }
    };
    let scope = if change == Change::Suspended {
        ApiScope::Kill
    } else {
        ApiScope::Write
    };
    let caller = api.with(scope)?;
    Ok(Json(json!(step_one(&app, &api, caller, (&name, change)).await?)))
}

/// Reads values without repeating any in an error: what stands in the wrong place may be a secret too.
fn read_values<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<Name, Secret<String>>, D::Error> {
    const SHAPE: &str = "`values` is an object with the name and text of every part";
    let shape = || serde::de::Error::custom(SHAPE);
    let members = Value::deserialize(deserializer).map_err(|_| shape())?;
    let Value::Object(members) = members else {
        return Err(shape());
    };
    let mut values = BTreeMap::new();
    for (name, value) in members {
        let (Ok(name), Value::String(value)) = (name.parse(), value) else {
            return Err(shape());
        };
        values.insert(name, Secret::new(value));
    }
    Ok(values)
}

async fn step_one(
    app: &App,
    api: &ApiCaller,
    caller: &change::Caller,
    (name, step): (&str, Change),
) -> Result<ConnectedAccount, Failure> {
    let old = change::load::<ConnectedAccountSpec>(app, api.served.tenant.id, name).await?;
    let (account, work) = change::plan_step(app, &api.served, caller, old, step)?;
    change::commit(app, caller, work).await?;
    Ok(account)
}
