//! Operations on the directory as a whole: apply, export, kill, and testing a runtime's token.

use crate::app::App;
use crate::directory::apply::{self, Document, Step};
use crate::directory::export;
use crate::directory::kill::{self, KillReport};
use crate::error::{Failure, Refusal};
use crate::govern::repository;
use crate::http::api::body::{ApiBody, ApiQuery};
use crate::http::api::caller::{ApiCaller, ApiScope};
use crate::http::error::Problem;
use crate::issue::authenticate;
use axum::Json;
use axum::extract::{Path, State};
use chancery_core::noun::Noun;
use chancery_oauth::jose::UnverifiedJwt;
use chancery_oauth::runtime::{self, BindingReport};
use chancery_policy::ManagementAction;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
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
///
/// # Errors
/// The problem to answer with.
pub async fn apply(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    ApiQuery(query): ApiQuery<ApplyQuery>,
    ApiBody(document): ApiBody<Document>,
) -> Result<Json<Steps>, Problem> {
    let caller = api.with(ApiScope::Write)?;
    let steps = apply::apply(&app, &api.served, caller, document, query.plan).await?;
    Ok(Json(Steps { steps }))
}

/// `GET /export`.
///
/// # Errors
/// The problem to answer with.
pub async fn export(State(app): State<Arc<App>>, api: ApiCaller) -> Result<Json<Document>, Problem> {
    let caller = api.with(ApiScope::Read)?;
    crate::directory::change::permit(
        &api.served,
        caller,
        ManagementAction::View,
        (Noun::Tenant, "*", None),
    )?;
    export::export(&app, &api.served)
        .await
        .map(Json)
        .map_err(Problem::from)
}

/// `POST /kill/{noun}/{name}?dry_run=true`.
///
/// # Errors
/// The problem to answer with.
pub async fn kill(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path((noun, name)): Path<(String, String)>,
    ApiQuery(query): ApiQuery<KillQuery>,
) -> Result<Json<KillReport>, Problem> {
    let caller = api.with(ApiScope::Kill)?;
    let noun = match noun.as_str() {
        "issuer" => "trusted_issuer",
        "account" => "connected_account",
        noun => noun,
    };
    let noun =
        Noun::parse(noun).ok_or_else(|| Failure::from(Refusal::Invalid(format!("`{noun}` is no noun"))));
    let noun = noun?;
    let report = kill::kill(&app, &api.served, caller, (noun, &name), query.dry_run).await;
    Ok(Json(report?))
}

/// A runtime's token to test.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenToTest {
    /// The signed token.
    #[schema(value_type = String)]
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
///
/// # Errors
/// The problem to answer with.
pub async fn test_binding(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    ApiBody(body): ApiBody<TokenToTest>,
) -> Result<Json<BindingTest>, Problem> {
    let caller = api.with(ApiScope::Read)?;
    crate::directory::change::permit(
        &api.served,
        caller,
        ManagementAction::View,
        (Noun::RuntimeBinding, "*", None),
    )?;
    let invalid = |error: &dyn std::fmt::Display| {
        Problem::from(Failure::from(Refusal::Invalid(format!(
            "not a signed token: {error}"
        ))))
    };
    let jwt = UnverifiedJwt::parse(body.token.expose_secret()).map_err(|error| invalid(&error))?;
    let claims = jwt.unverified_claims().map_err(|error| invalid(&error))?;
    let issuer = claims.unverified_issuer().unwrap_or_default().to_owned();
    let verified = authenticate::verify_runtime_token(&app, &api.served, &issuer, &jwt, caller.now).await?;
    let (fault, bindings, agent) = match verified {
        Err(error) => (Some(error.to_string()), Vec::new(), None),
        Ok((found, claims)) => {
            let bindings = app
                .directory
                .bindings
                .by_parent(api.served.tenant.id, found.name.to_string())
                .await;
            let bindings = bindings?;
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

/// A GitHub repository to look up.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// `OWNER/REPO`.
    repository: String,
}

/// `POST /bindings/github`: the ids that a binding to a repository pins.
///
/// # Errors
/// The problem to answer with.
pub async fn find_repository(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    ApiBody(body): ApiBody<Repository>,
) -> Result<Json<Value>, Problem> {
    let caller = api.with(ApiScope::Write)?;
    let ids = repository::ids(&app, &api.served, caller, &body.repository).await?;
    Ok(Json(json!({
        "repository_id": ids.repository_id,
        "repository_owner_id": ids.repository_owner_id,
    })))
}
