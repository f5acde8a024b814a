//! Operations on policy, decisions, keys, enrolment and tenants.

use crate::app::App;
use crate::directory::{change, tenant};
use crate::govern::{enrol as enrolment, keys, policy, why as explaining};
use crate::http::api::body::ApiBody;
use crate::http::api::caller::{ApiCaller, ApiScope};
use crate::http::error::{Problem, no_such_endpoint};
use crate::http::tenant::RequestTenant;
use crate::keys::{KeyState, KeyUse};
use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use chancery_core::event::Change;
use chancery_core::name::Name;
use chancery_core::noun::Noun;
use chancery_core::resource::TokenAlgorithm;
use chancery_core::secret::Secret;
use chancery_core::tenant::Tenant;
use chancery_core::time::Ttl;
use chancery_core::user::User;
use chancery_policy::ManagementAction;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

type Answer = Result<Json<Value>, Problem>;

/// A policy text.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyText {
    /// The policies, in Cedar.
    text: String,
    /// One line for the history.
    #[serde(default)]
    comment: String,
}

/// A resource to observe.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// The resource's name or id.
    resource: String,
    /// For how long, at most 30 days.
    seconds: u64,
}

/// Stored decisions to evaluate again.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyTest {
    /// The cases.
    cases: Vec<policy::Case>,
    /// A candidate; the set in force if none.
    #[serde(default)]
    text: Option<String>,
}

/// Which key to rotate.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The algorithm; ES256 if none.
    #[serde(default)]
    algorithm: TokenAlgorithm,
    /// What the key signs; access tokens if not said. ID tokens are RS256.
    #[serde(default, rename = "use")]
    signs: KeyUse,
}

/// An enrolment.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// The one-time code.
    #[schema(value_type = String)]
    code: Secret<String>,
    /// The person's name.
    name: Name,
}

/// A tenant to make.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    /// Its name.
    name: Name,
    /// Its base URL; `/t/{name}` below the default tenant's if none.
    #[serde(default)]
    base_url: Option<String>,
}

/// `GET /policy`.
///
/// # Errors
/// The problem to answer with.
pub async fn show_policy(api: ApiCaller) -> Answer {
    let caller = api.with(ApiScope::Read)?;
    change::permit(&api.served, caller, ManagementAction::View, ALL_SETS)?;
    let active = &api.served.policy;
    let (hash, text) = (active.set.hash(), active.set.text());
    Ok(Json(
        json!({ "name": active.name, "hash": hash, "text": text, "policies": active.set.ids() }),
    ))
}

/// `PUT /policy`.
///
/// # Errors
/// The problem to answer with.
pub async fn set_policy(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    ApiBody(body): ApiBody<PolicyText>,
) -> Answer {
    let caller = api.with(ApiScope::Write)?;
    let set = policy::set(&app, &api.served, caller, &body.text, &body.comment).await?;
    Ok(Json(summary(&set)))
}

/// `POST /policy/validate`.
///
/// # Errors
/// The problem to answer with.
pub async fn validate_policy(api: ApiCaller, ApiBody(body): ApiBody<PolicyText>) -> Answer {
    api.with(ApiScope::Read)?;
    let set = policy::validate(&body.text)?;
    Ok(Json(
        json!({ "valid": true, "hash": set.hash(), "policies": set.ids() }),
    ))
}

/// `POST /policy/test`.
///
/// # Errors
/// The problem to answer with.
pub async fn test_policy(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    ApiBody(body): ApiBody<PolicyTest>,
) -> Answer {
    let caller = api.with(ApiScope::Audit)?;
    let results = policy::test(&app, &api.served, caller, (body.text.as_deref(), &body.cases)).await?;
    let failed = results.iter().filter(|result| !result.passed).count();
    Ok(Json(json!({ "results": results, "failed": failed })))
}

/// `GET /policy/versions`.
///
/// # Errors
/// The problem to answer with.
pub async fn policy_versions(State(app): State<Arc<App>>, api: ApiCaller) -> Answer {
    let caller = api.with(ApiScope::Read)?;
    change::permit(&api.served, caller, ManagementAction::View, ALL_SETS)?;
    let sets = policy::versions(&app, &api.served).await?;
    Ok(Json(
        json!({ "items": sets.iter().map(summary).collect::<Vec<_>>() }),
    ))
}

/// `POST /policy/observe`.
///
/// # Errors
/// The problem to answer with.
pub async fn observe(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    ApiBody(body): ApiBody<Observation>,
) -> Answer {
    let caller = api.with(ApiScope::Write)?;
    let lasting = Ttl::from_seconds(body.seconds);
    let set = policy::observe(&app, &api.served, caller, &body.resource, lasting).await?;
    Ok(Json(summary(&set)))
}

/// `GET /why/{id}`.
///
/// # Errors
/// The problem to answer with.
pub async fn why(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path(id): Path<String>,
) -> Result<Json<explaining::Why>, Problem> {
    let caller = api.with(ApiScope::Audit)?;
    Ok(Json(explaining::why(&app, &api.served, caller, &id).await?))
}

/// `GET /keys`.
///
/// # Errors
/// The problem to answer with.
pub async fn list_keys(api: ApiCaller) -> Answer {
    api.with(ApiScope::Read)?;
    let key = |(kid, signs, algorithm, state): (&str, KeyUse, TokenAlgorithm, KeyState)| json!({ "kid": kid, "use": signs, "algorithm": algorithm, "state": state.as_str() });
    let items: Vec<Value> = api.served.keys.token_keys().map(key).collect();
    Ok(Json(json!({ "items": items })))
}

/// `POST /keys/rotate`.
///
/// # Errors
/// The problem to answer with.
pub async fn rotate_key(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    ApiBody(body): ApiBody<Rotation>,
) -> Answer {
    let caller = api.with(ApiScope::Write)?;
    let kid = keys::rotate(&app, &api.served, caller, (body.signs, body.algorithm)).await?;
    Ok(Json(json!({ "kid": kid })))
}

/// `POST /enrol`: the one operation that needs no caller, because the code is the proof.
///
/// # Errors
/// The problem to answer with.
pub async fn enrol(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    ApiBody(body): ApiBody<Enrolment>,
) -> Result<(StatusCode, Json<User>), Problem> {
    let user = enrolment::enrol(&app, &served, &body.code, body.name).await?;
    Ok((StatusCode::CREATED, Json(user)))
}

/// `GET /tenants`, in the system tenant only.
///
/// # Errors
/// The problem to answer with.
pub async fn list_tenants(State(app): State<Arc<App>>, api: ApiCaller) -> Answer {
    let caller = api.with(ApiScope::Read)?;
    let tenants = tenant::list(&app, &api.served, caller).await?;
    Ok(Json(json!({ "items": tenants })))
}

/// `POST /tenants`, in the system tenant only.
///
/// # Errors
/// The problem to answer with.
pub async fn create_tenant(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    ApiBody(body): ApiBody<NewTenant>,
) -> Result<(StatusCode, Json<Tenant>), Problem> {
    let caller = api.with(ApiScope::Write)?;
    let tenant = tenant::create(&app, &api.served, caller, (&body.name, body.base_url.as_deref())).await?;
    Ok((StatusCode::CREATED, Json(tenant)))
}

/// `POST /tenants/{name}/{step}`, in the system tenant only.
///
/// # Errors
/// The problem to answer with.
pub async fn step_tenant(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path((name, step)): Path<(String, String)>,
) -> Result<Json<Tenant>, Problem> {
    let caller = api.with(if step == "suspend" {
        ApiScope::Kill
    } else {
        ApiScope::Write
    })?;
    let change = match step.as_str() {
        "activate" => Change::Activated,
        "suspend" => Change::Suspended,
        "retire" => Change::Retired,
        _ => return Err(no_such_endpoint()),
    };
    Ok(Json(
        tenant::step(&app, &api.served, caller, &name, change).await?,
    ))
}

fn summary(set: &chancery_store::PolicySetRecord) -> Value {
    json!({
        "id": set.id, "name": set.name, "state": set.state, "hash": set.spec.hash,
        "comment": set.spec.comment, "created_at": set.created_at.to_string(),
    })
}

const ALL_SETS: (Noun, &str, Option<&Name>) = (Noun::PolicySet, "*", None);
