//! Operations on the directory as a whole: apply, export, kill, and testing a runtime's token.

use crate::app::App;
use crate::directory::apply::{self, Document, Step};
use crate::directory::kill::{self, KillReport};
use crate::error::{Failure, Refusal};
use crate::http::api::caller::{ApiCaller, ApiScope};
use crate::issue::authenticate;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use chancery_core::noun::Noun;
use chancery_oauth::jose::UnverifiedJwt;
use chancery_oauth::runtime::{self, BindingReport};
use chancery_policy::ManagementAction;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Query of `apply`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApplyQuery {
    plan: bool,
}

/// Query of `kill`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KillQuery {
    dry_run: bool,
}

/// The steps of an `apply`.
#[derive(Debug, Serialize)]
pub struct Steps {
    steps: Vec<Step>,
}

/// `POST /apply?plan=true`.
pub async fn apply(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Query(query): Query<ApplyQuery>,
    Json(document): Json<Document>,
) -> Result<Json<Steps>, Response> {
    let caller = api
        .with(ApiScope::Write)
        .map_err(axum::response::IntoResponse::into_response)?;
    let steps = apply::apply(&app, &api.served, caller, document, query.plan)
        .await
        .map_err(Failure::into_response)?;
    Ok(Json(Steps { steps }))
}

/// `GET /export`.
pub async fn export(State(app): State<Arc<App>>, api: ApiCaller) -> Result<Json<Document>, Response> {
    let caller = api
        .with(ApiScope::Read)
        .map_err(axum::response::IntoResponse::into_response)?;
    crate::directory::change::permit(
        &api.served,
        caller,
        ManagementAction::View,
        (Noun::Tenant, "*", None),
    )
    .map_err(Failure::into_response)?;
    apply::export(&app, &api.served)
        .await
        .map(Json)
        .map_err(Failure::into_response)
}

/// `POST /kill/{noun}/{name}?dry_run=true`.
pub async fn kill(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path((noun, name)): Path<(String, String)>,
    Query(query): Query<KillQuery>,
) -> Result<Json<KillReport>, Response> {
    let caller = api
        .with(ApiScope::Kill)
        .map_err(axum::response::IntoResponse::into_response)?;
    let noun = if noun == "issuer" { "trusted_issuer" } else { &noun };
    let noun =
        Noun::parse(noun).ok_or_else(|| Failure::from(Refusal::Invalid(format!("`{noun}` is no noun"))));
    let noun = noun.map_err(Failure::into_response)?;
    let report = kill::kill(&app, &api.served, caller, (noun, &name), query.dry_run).await;
    report.map(Json).map_err(Failure::into_response)
}

/// A runtime's token to test.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenToTest {
    token: chancery_core::secret::Secret<String>,
}

/// What every binding of the token's issuer says of it.
#[derive(Debug, Serialize)]
pub struct BindingTest {
    issuer: String,
    /// Why the token itself is not acceptable, if it is not.
    token: Option<String>,
    /// The agent that it proves, if it proves one.
    agent: Option<String>,
    bindings: Vec<BindingReport>,
}

/// `POST /bindings/test`: which binding matches, and claim by claim what differs. Nothing is issued.
pub async fn test_binding(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Json(body): Json<TokenToTest>,
) -> Result<Json<BindingTest>, Response> {
    let caller = api
        .with(ApiScope::Read)
        .map_err(axum::response::IntoResponse::into_response)?;
    crate::directory::change::permit(
        &api.served,
        caller,
        ManagementAction::View,
        (Noun::RuntimeBinding, "*", None),
    )
    .map_err(Failure::into_response)?;
    let invalid = |error: &dyn std::fmt::Display| {
        Failure::from(Refusal::Invalid(format!("not a signed token: {error}"))).into_response()
    };
    let jwt = UnverifiedJwt::parse(body.token.expose_secret()).map_err(|error| invalid(&error))?;
    let claims = jwt.unverified_claims().map_err(|error| invalid(&error))?;
    let issuer = claims.unverified_issuer().unwrap_or_default().to_owned();
    let verified = authenticate::verify_runtime_token(&app, &api.served, &issuer, &jwt, caller.now)
        .await
        .map_err(Failure::into_response)?;
    let (fault, bindings, agent) = match verified {
        Err(error) => (Some(error.to_string()), Vec::new(), None),
        Ok((found, claims)) => {
            let bindings = app
                .directory
                .bindings
                .by_parent(api.served.tenant.id, found.name.to_string())
                .await;
            let bindings = bindings.map_err(Failure::into_response)?;
            let reports = bindings
                .iter()
                .map(|binding| runtime::report(binding, claims.claims()))
                .collect();
            match runtime::find(&bindings, claims.claims()) {
                Ok(binding) => (None, reports, Some(binding.spec.agent.to_string())),
                Err(error) => (Some(error.to_string()), reports, None),
            }
        }
    };
    Ok(Json(BindingTest {
        issuer,
        token: fault,
        agent,
        bindings,
    }))
}
