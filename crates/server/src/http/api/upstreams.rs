//! Looking at an MCP server before it is added. The key comes in the body and never goes out again.

use crate::app::App;
use crate::connect::inspect::{self, KeyToTry, ToInspect};
use crate::connect::propose::{self, Proposal};
use crate::error::{Failure, Refusal};
use crate::http::api::body::ApiBody;
use crate::http::api::caller::{ApiCaller, ApiScope};
use crate::http::error::Problem;
use axum::Json;
use axum::extract::State;
use chancery_core::name::Name;
use chancery_core::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// An MCP server to look at.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerToInspect {
    /// Its endpoint.
    url: String,
    /// What connection and resource will be called.
    name: Name,
    /// Who will answer for them.
    #[serde(default)]
    owner: Option<Name>,
    /// The key that it wants. It is sent to this URL and not stored.
    #[serde(default, deserialize_with = "read_key")]
    #[schema(value_type = Option<String>)]
    key: Option<Secret<String>>,
    /// The header that the key goes into; `Authorization` if none is given.
    #[serde(default)]
    header: Option<String>,
    /// What stands before the key there; `Bearer ` in `Authorization`, else nothing.
    #[serde(default)]
    prefix: Option<String>,
}

/// `POST /upstreams/inspect`: what the server shows, and what to store for it. Nothing is stored.
///
/// # Errors
/// The problem to answer with.
pub async fn inspect(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    ApiBody(body): ApiBody<ServerToInspect>,
) -> Result<Json<Proposal>, Problem> {
    let caller = api.with(ApiScope::Write)?;
    let wanted = wanted(body)?;
    let seen = inspect::inspect(&app, &api.served, caller, &wanted).await?;
    Ok(Json(propose::propose(&wanted, seen)))
}

/// Who calls, by the name that owns things.
#[derive(Debug, Serialize)]
pub struct MeView(crate::directory::me::Me);

/// `GET /me`.
///
/// # Errors
/// The problem to answer with.
pub async fn me(State(app): State<Arc<App>>, api: ApiCaller) -> Result<Json<MeView>, Problem> {
    let caller = api.with(ApiScope::Read)?;
    let me = crate::directory::me::me(&app, &api.served, caller).await?;
    Ok(Json(MeView(me)))
}

fn wanted(body: ServerToInspect) -> Result<ToInspect, Failure> {
    let url = body.url.parse();
    let url = url.map_err(|error| Refusal::Invalid(format!("`{}`: {error}", body.url)))?;
    let header = body.header.unwrap_or_else(|| "Authorization".to_owned());
    let default = if header.eq_ignore_ascii_case("authorization") {
        "Bearer "
    } else {
        ""
    };
    let prefix = body.prefix.unwrap_or_else(|| default.to_owned());
    let key = body.key.map(|value| KeyToTry {
        header,
        prefix,
        value,
    });
    Ok(ToInspect {
        url,
        name: body.name,
        owner: body.owner,
        key,
    })
}

/// Reads the key without repeating it in an error, whatever was written in its place.
fn read_key<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Secret<String>>, D::Error> {
    match Value::deserialize(deserializer) {
        Ok(Value::Null) => Ok(None),
        Ok(Value::String(key)) if !key.is_empty() => Ok(Some(Secret::new(key))),
        Ok(_) | Err(_) => Err(serde::de::Error::custom("`key` is a text that is not empty")),
    }
}
