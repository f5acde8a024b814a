//! Operations on what is sealed and stored as a whole: rotating the vault, copying the database, confirming a restore.

use crate::app::App;
use crate::govern::rotation::NewRoot;
use crate::govern::{backup, restore, rotation};
use crate::http::api::body::ApiBody;
use crate::http::api::caller::{ApiCaller, ApiScope};
use crate::http::error::Problem;
use crate::keys::RootKey;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use chancery_core::secret::Secret;
use chancery_store::restore::Restore;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::AsyncReadExt as _;

/// What to rotate.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VaultRotation {
    /// Go on with the rotation to this key, and begin none.
    #[serde(default)]
    key: Option<String>,
    /// Replace the root key by this one, as its file has it. On the server's own machine, in the system tenant.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    root_key: Option<Secret<String>>,
    /// Replace the root key by this key of a service, as `transit:https://HOST/v1/MOUNT/KEY`: the one that the server was
    /// started with as the key to come. On the server's own machine, in the system tenant.
    #[serde(default)]
    root_key_service: Option<String>,
}

/// `POST /vault/rotate`: one step.
///
/// # Errors
/// The problem to answer with.
pub async fn rotate(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    ApiBody(body): ApiBody<VaultRotation>,
) -> Result<Json<rotation::Progress>, Problem> {
    let caller = api.with(ApiScope::Write)?;
    let progress = match (&body.root_key, body.root_key_service) {
        (None, None) => rotation::rotate(&app, &api.served, caller, body.key.as_deref()).await?,
        (None, Some(name)) => {
            rotation::rotate_root(&app, &api.served, caller, NewRoot::Service(name)).await?
        }
        (Some(_), Some(_)) => {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid",
                "a new root key is at hand or in a service, not both",
            ));
        }
        (Some(text), None) => {
            let root = RootKey::parse(text.expose_secret()).map_err(|_| {
                Problem::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "invalid",
                    "this is not the text of a root key file",
                )
            })?;
            rotation::rotate_root(&app, &api.served, caller, NewRoot::Key(root)).await?
        }
    };
    Ok(Json(progress))
}

/// `GET /backup`: a copy of the database.
///
/// # Errors
/// The problem to answer with.
pub async fn copy(State(app): State<Arc<App>>, api: ApiCaller) -> Result<Response, Problem> {
    let caller = api.with(ApiScope::Audit)?;
    let copy = backup::copy(&app, &api.served, caller).await?;
    let file = match tokio::fs::File::open(copy.path()).await {
        Ok(file) => file,
        Err(error) => return Ok(crate::http::error::internal(&error)),
    };
    // The copy is deleted when its last byte was handed over, or the reader is gone.
    let pieces = stream::unfold((file, copy), |(mut file, copy)| async move {
        let mut piece = vec![0; PIECE];
        match file.read(&mut piece).await {
            Ok(0) => None,
            Ok(length) => {
                piece.truncate(length);
                Some((Ok(piece), (file, copy)))
            }
            Err(error) => Some((Err(error), (file, copy))),
        }
    });
    let kind = [(CONTENT_TYPE, "application/vnd.sqlite3")];
    Ok((kind, Body::from_stream(pieces)).into_response())
}

/// `GET /restore`: the restore that the data last went through.
///
/// # Errors
/// The problem to answer with.
pub async fn show_restore(api: ApiCaller) -> Result<Json<Value>, Problem> {
    let caller = api.with(ApiScope::Read)?;
    let restore = restore::state(&api.served, caller)?;
    Ok(Json(json!({ "restore": restore.as_ref().map(view) })))
}

/// `POST /restore/confirm`.
///
/// # Errors
/// The problem to answer with.
pub async fn confirm_restore(State(app): State<Arc<App>>, api: ApiCaller) -> Result<Json<Value>, Problem> {
    let caller = api.with(ApiScope::Write)?;
    let restore = restore::confirm(&app, &api.served, caller).await?;
    Ok(Json(view(&restore)))
}

fn view(restore: &Restore) -> Value {
    json!({
        "log_generation": restore.log_generation,
        "previous_generation": restore.previous_generation,
        "time": restore.time.to_string(),
        "confirmed_at": restore.confirmed_at.map(|at| at.to_string()),
    })
}

const PIECE: usize = 256 * 1024;
