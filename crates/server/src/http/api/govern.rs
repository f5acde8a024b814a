//! Operations on policy, decisions, keys, enrolment and tenants.

use crate::app::App;
use crate::directory::change;
use crate::error::{Failure, Refusal};
use crate::govern::{enrol as enrolment, keys, policy, why as explaining};
use crate::http::api::caller::{ApiCaller, ApiScope};
use crate::http::tenant::RequestTenant;
use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use chancery_core::name::Name;
use chancery_core::noun::Noun;
use chancery_core::resource::TokenAlgorithm;
use chancery_core::secret::Secret;
use chancery_core::time::Ttl;
use chancery_policy::ManagementAction;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// A policy text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyText {
    text: String,
    #[serde(default)]
    comment: String,
}

/// A resource to observe.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    resource: String,
    seconds: u64,
}

/// An algorithm whose key to rotate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    #[serde(default)]
    algorithm: TokenAlgorithm,
}

/// An enrolment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    code: Secret<String>,
    name: Name,
}

/// A tenant to make.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    name: Name,
    #[serde(default)]
    base_url: Option<String>,
}

/// `GET /policy`.
pub async fn show_policy(api: ApiCaller) -> Response {
    let viewed = match api.with(ApiScope::Read) {
        Ok(caller) => change::permit(
            &api.served,
            caller,
            ManagementAction::View,
            (Noun::PolicySet, "*", None),
        ),
        Err(problem) => return problem.into_response(),
    };
    let active = &api.served.policy;
    viewed.map_or_else(Failure::into_response, |()| {
        Json(json!({ "name": active.name, "hash": active.set.hash(), "text": active.set.text(), "policies": active.set.ids() }))
            .into_response()
    })
}

/// `PUT /policy`.
pub async fn set_policy(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Json(body): Json<PolicyText>,
) -> Response {
    let caller = match api.with(ApiScope::Write) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let set = policy::set(&app, &api.served, caller, &body.text, &body.comment).await;
    set.map_or_else(Failure::into_response, |set| Json(summary(&set)).into_response())
}

/// `POST /policy/validate`.
pub async fn validate_policy(api: ApiCaller, Json(body): Json<PolicyText>) -> Response {
    if let Err(problem) = api.with(ApiScope::Read) {
        return problem.into_response();
    }
    policy::validate(&body.text).map_or_else(Failure::into_response, |set| {
        Json(json!({ "valid": true, "hash": set.hash(), "policies": set.ids() })).into_response()
    })
}

/// Cases to test.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTest {
    cases: Vec<policy::Case>,
    #[serde(default)]
    text: Option<String>,
}

/// `POST /policy/test`.
pub async fn test_policy(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Json(body): Json<PolicyTest>,
) -> Response {
    let caller = match api.with(ApiScope::Audit) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let results = policy::test(&app, &api.served, caller, (body.text.as_deref(), &body.cases)).await;
    results.map_or_else(Failure::into_response, |results| {
        let failed = results.iter().filter(|result| !result.passed).count();
        Json(json!({ "results": results, "failed": failed })).into_response()
    })
}

/// `GET /policy/versions`.
pub async fn policy_versions(State(app): State<Arc<App>>, api: ApiCaller) -> Response {
    let caller = match api.with(ApiScope::Read) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let listed = async {
        change::permit(
            &api.served,
            caller,
            ManagementAction::View,
            (Noun::PolicySet, "*", None),
        )?;
        policy::versions(&app, &api.served).await
    };
    let items = listed
        .await
        .map(|sets| sets.iter().map(summary).collect::<Vec<_>>());
    items.map_or_else(Failure::into_response, |items| {
        Json(json!({ "items": items })).into_response()
    })
}

/// `POST /policy/observe`.
pub async fn observe(State(app): State<Arc<App>>, api: ApiCaller, Json(body): Json<Observation>) -> Response {
    let caller = match api.with(ApiScope::Write) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let set = policy::observe(
        &app,
        &api.served,
        caller,
        &body.resource,
        Ttl::from_seconds(body.seconds),
    )
    .await;
    set.map_or_else(Failure::into_response, |set| Json(summary(&set)).into_response())
}

/// `GET /why/{id}`.
pub async fn why(State(app): State<Arc<App>>, api: ApiCaller, Path(id): Path<String>) -> Response {
    let caller = match api.with(ApiScope::Audit) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let found = explaining::why(&app, &api.served, caller, &id).await;
    found.map_or_else(Failure::into_response, |why| Json(why).into_response())
}

/// `GET /keys`.
pub async fn list_keys(api: ApiCaller) -> Response {
    if let Err(problem) = api.with(ApiScope::Read) {
        return problem.into_response();
    }
    let key = |(kid, algorithm, state): (&str, TokenAlgorithm, crate::keys::KeyState)| json!({ "kid": kid, "algorithm": algorithm, "state": state.as_str() });
    let items: Vec<Value> = api.served.keys.token_keys().map(key).collect();
    Json(json!({ "items": items })).into_response()
}

/// `POST /keys/rotate`.
pub async fn rotate_key(State(app): State<Arc<App>>, api: ApiCaller, Json(body): Json<Rotation>) -> Response {
    let caller = match api.with(ApiScope::Write) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let kid = keys::rotate(&app, &api.served, caller, body.algorithm).await;
    kid.map_or_else(Failure::into_response, |kid| {
        Json(json!({ "kid": kid })).into_response()
    })
}

/// `POST /enrol`: the one operation that needs no caller, because the code is the proof.
pub async fn enrol(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    Json(body): Json<Enrolment>,
) -> Response {
    let user = enrolment::enrol(&app, &served, &body.code, body.name).await;
    user.map_or_else(Failure::into_response, |user| {
        (StatusCode::CREATED, Json(user)).into_response()
    })
}

/// `POST /tenants`, in the system tenant only.
pub async fn create_tenant(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Json(body): Json<NewTenant>,
) -> Response {
    let caller = match api.with(ApiScope::Write) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let made = async {
        if api.served.tenant.name.as_str() != crate::setup::SYSTEM_TENANT {
            return Err(Refusal::Invalid(
                "tenants are made in the system tenant: use `--tenant system`".to_owned(),
            )
            .into());
        }
        change::permit(
            &api.served,
            caller,
            ManagementAction::Create,
            (Noun::Tenant, body.name.as_str(), None),
        )?;
        crate::setup::add_tenant(&app, &body.name, body.base_url.as_deref(), caller).await
    };
    made.await.map_or_else(Failure::into_response, |tenant| {
        (StatusCode::CREATED, Json(tenant)).into_response()
    })
}

fn summary(set: &chancery_store::PolicySetRecord) -> Value {
    json!({
        "id": set.id, "name": set.name, "state": set.state, "hash": set.spec.hash,
        "comment": set.spec.comment, "created_at": set.created_at.to_string(),
    })
}
