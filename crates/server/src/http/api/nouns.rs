//! Operations on the nouns of the directory: list, show, create, update, and steps of the lifecycle. One set of
//! handlers for all kinds; the collection's name says which.

use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::directory::managed::Managed;
use crate::directory::secret;
use crate::directory::view::View;
use crate::error::{Failure, Refusal};
use crate::http::api::body::{ApiBody, ApiQuery};
use crate::http::api::caller::{ApiCaller, ApiScope};
use crate::http::error::{Problem, no_such_endpoint};
use crate::people::invitation;
use crate::tenants::Served;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chancery_core::agent::AgentSpec;
use chancery_core::binding::RuntimeBindingSpec;
use chancery_core::blueprint::BlueprintSpec;
use chancery_core::client::ClientSpec;
use chancery_core::connection::ConnectionSpec;
use chancery_core::event::Change;
use chancery_core::grant::GrantSpec;
use chancery_core::issuer::TrustedIssuerSpec;
use chancery_core::noun::Lifecycle;
use chancery_core::registration::RegistrationRuleSpec;
use chancery_core::resource::ResourceSpec;
use chancery_core::user::UserSpec;
use chancery_policy::ManagementAction;
use chancery_store::Page;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Runs one generic function for the noun that a collection's name means.
macro_rules! for_collection {
    ($collection:expr, $spec:ident => $call:expr) => {
        match $collection {
            "agents" => {
                type $spec = AgentSpec;
                $call
            }
            "clients" => {
                type $spec = ClientSpec;
                $call
            }
            "blueprints" => {
                type $spec = BlueprintSpec;
                $call
            }
            "trusted_issuers" => {
                type $spec = TrustedIssuerSpec;
                $call
            }
            "runtime_bindings" => {
                type $spec = RuntimeBindingSpec;
                $call
            }
            "resources" => {
                type $spec = ResourceSpec;
                $call
            }
            "grants" => {
                type $spec = GrantSpec;
                $call
            }
            "users" => {
                type $spec = UserSpec;
                $call
            }
            "registration_rules" => {
                type $spec = RegistrationRuleSpec;
                $call
            }
            "connections" => {
                type $spec = ConnectionSpec;
                $call
            }
            _ => return Err(no_such_endpoint()),
        }
    };
}

/// Query of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListQuery {
    /// At most so many, 1 to 500; default 100.
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
    /// Only this state.
    state: Option<Lifecycle>,
}

impl ListQuery {
    /// How many are wanted, and the page to read: one more, which tells whether there is a next.
    pub(super) fn page(&self) -> (usize, Page<'_>) {
        let limit = self.limit.unwrap_or(100).clamp(1, 500);
        let page = Page {
            after: self.cursor.as_deref().unwrap_or_default(),
            state: self.state,
            limit: limit + 1,
        };
        (usize::try_from(limit).unwrap_or(usize::MAX), page)
    }
}

type Answer = Result<Json<Value>, Problem>;

/// `GET /{collection}`.
///
/// # Errors
/// The problem to answer with.
pub async fn list(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path(collection): Path<String>,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Answer {
    let caller = api.with(ApiScope::Read)?;
    let page =
        for_collection!(collection.as_str(), S => list_of::<S>(&app, &api.served, caller, &query).await?);
    Ok(Json(page))
}

/// `GET /{collection}/{name}`.
///
/// # Errors
/// The problem to answer with.
pub async fn show(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path((collection, name)): Path<(String, String)>,
) -> Answer {
    let caller = api.with(ApiScope::Read)?;
    let record =
        for_collection!(collection.as_str(), S => show_one::<S>(&app, &api.served, caller, &name).await?);
    Ok(Json(record))
}

/// `POST /{collection}`.
///
/// # Errors
/// The problem to answer with.
pub async fn create(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path(collection): Path<String>,
    ApiBody(body): ApiBody<Map<String, Value>>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let caller = api.with(ApiScope::Write)?;
    let record =
        for_collection!(collection.as_str(), S => create_one::<S>(&app, &api.served, caller, body).await?);
    Ok((StatusCode::CREATED, Json(record)))
}

/// `PUT /{collection}/{name}`: the whole spec. With `version` in the body, only if that is the stored one.
///
/// # Errors
/// The problem to answer with.
pub async fn update(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path((collection, name)): Path<(String, String)>,
    ApiBody(body): ApiBody<Map<String, Value>>,
) -> Answer {
    let caller = api.with(ApiScope::Write)?;
    let wanted = (name.as_str(), body);
    let record =
        for_collection!(collection.as_str(), S => update_one::<S>(&app, &api.served, caller, wanted).await?);
    Ok(Json(record))
}

/// `POST /{collection}/{name}/{step}`: `activate`, `suspend`, `retire`, or `reset-secret` of a client or user.
///
/// # Errors
/// The problem to answer with.
pub async fn step(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path((collection, name, step)): Path<(String, String, String)>,
) -> Answer {
    let scope = if step == "suspend" {
        ApiScope::Kill
    } else {
        ApiScope::Write
    };
    let caller = api.with(scope)?;
    let change = match step.as_str() {
        "activate" => Change::Activated,
        "suspend" => Change::Suspended,
        "retire" => Change::Retired,
        "reset-secret" if collection == "clients" => {
            return Ok(Json(reset_secret(&app, &api.served, caller, &name).await?));
        }
        "reset-secret" if collection == "users" => {
            return Ok(Json(invite(&app, &api.served, caller, &name).await?));
        }
        _ => {
            let text = format!("`{step}` is no step of a noun's life");
            return Err(Problem::new(StatusCode::NOT_FOUND, "no_such_step", text)
                .with_hint("activate, suspend or retire; kill stops at once"));
        }
    };
    let wanted = (name.as_str(), change);
    let record =
        for_collection!(collection.as_str(), S => step_one::<S>(&app, &api.served, caller, wanted).await?);
    Ok(Json(record))
}

async fn list_of<S: Managed>(
    app: &App,
    served: &Served,
    caller: &Caller,
    query: &ListQuery,
) -> Result<Value, Failure> {
    change::permit(served, caller, ManagementAction::View, (S::NOUN, "*", None))?;
    let (limit, page) = query.page();
    let mut records = change::list::<S>(app, served.tenant.id, &page).await?;
    let has_more = records.len() > limit;
    records.truncate(limit);
    let next = records
        .last()
        .filter(|_| has_more)
        .map(|record| record.name.clone());
    Ok(json!({ "items": records, "next_cursor": next }))
}

async fn show_one<S: Managed>(
    app: &App,
    served: &Served,
    caller: &Caller,
    name: &str,
) -> Result<Value, Failure> {
    let record = change::load::<S>(app, served.tenant.id, name).await?;
    change::permit(
        served,
        caller,
        ManagementAction::View,
        (S::NOUN, record.name.as_str(), record.spec.owner()),
    )?;
    serde_json::to_value(record).map_err(Failure::internal)
}

/// Creation goes through `apply`, so that one noun and many obey the same rules.
async fn create_one<S: Managed>(
    app: &App,
    served: &Served,
    caller: &Caller,
    body: Map<String, Value>,
) -> Result<Value, Failure> {
    if let Some(name) = body.get("name").and_then(Value::as_str) {
        let taken = change::load::<S>(app, served.tenant.id, name).await;
        if taken.is_ok() {
            return Err(Refusal::Exists {
                noun: S::NOUN,
                name: name.to_owned(),
            }
            .into());
        }
    }
    let document = json!({ format!("{}s", S::NOUN): [body] });
    let document = serde_json::from_value(document).map_err(Failure::internal)?;
    let steps = crate::directory::apply::apply(app, served, caller, document, false).await?;
    let made = steps.into_iter().find(|step| step.noun == S::NOUN);
    let made = made.ok_or_else(|| Failure::Internal("nothing was made".to_owned()))?;
    let record = change::load::<S>(app, served.tenant.id, &made.name).await?;
    let mut value = serde_json::to_value(record).map_err(Failure::internal)?;
    if let (Some(members), Some(secret)) = (value.as_object_mut(), made.secret) {
        members.insert("secret".to_owned(), Value::from(secret.0));
    }
    Ok(value)
}

async fn update_one<S: Managed>(
    app: &App,
    served: &Served,
    caller: &Caller,
    (name, mut body): (&str, Map<String, Value>),
) -> Result<Value, Failure> {
    let old = change::load::<S>(app, served.tenant.id, name).await?;
    let expected = body.remove("version").and_then(|version| version.as_u64());
    if expected.is_some_and(|version| version != old.version) {
        return Err(Refusal::Conflict(name.to_owned()).into());
    }
    S::complete(&served.tenant.spec.base_url, Some(old.name.as_str()), &mut body);
    let invalid = |error: serde_json::Error| Failure::from(Refusal::Invalid(error.to_string()));
    let spec: S = serde_json::from_value(Value::Object(body)).map_err(invalid)?;
    let mut view = View::new(app, served.tenant.id);
    let planned = change::plan_update(app, served, caller, &mut view, (old.clone(), spec)).await?;
    let Some((record, work)) = planned else {
        return serde_json::to_value(old).map_err(Failure::internal);
    };
    change::commit(app, caller, work).await?;
    serde_json::to_value(record).map_err(Failure::internal)
}

async fn step_one<S: Managed>(
    app: &App,
    served: &Served,
    caller: &Caller,
    (name, step): (&str, Change),
) -> Result<Value, Failure> {
    let old = change::load::<S>(app, served.tenant.id, name).await?;
    let (record, work) = change::plan_step(app, served, caller, old, step)?;
    change::commit(app, caller, work).await?;
    serde_json::to_value(record).map_err(Failure::internal)
}

async fn reset_secret(app: &App, served: &Served, caller: &Caller, name: &str) -> Result<Value, Failure> {
    let client = change::load::<ClientSpec>(app, served.tenant.id, name).await?;
    let (client, secret) = secret::reset(app, served, caller, client).await?;
    let mut value = serde_json::to_value(client).map_err(Failure::internal)?;
    if let Some(members) = value.as_object_mut() {
        members.insert("secret".to_owned(), Value::from(secret.expose_secret().as_str()));
    }
    Ok(value)
}

/// What a person signed in with ends. A local person gets a code to begin anew, shown here once.
async fn invite(app: &App, served: &Served, caller: &Caller, name: &str) -> Result<Value, Failure> {
    let invitation = invitation::invite(app, served, caller, name).await?;
    let mut value = serde_json::to_value(invitation.user).map_err(Failure::internal)?;
    if let (Some(members), Some(code)) = (value.as_object_mut(), invitation.code) {
        members.insert("secret".to_owned(), Value::from(code.expose_secret().as_str()));
        members.insert("enrolment_uri".to_owned(), Value::from(invitation.page));
        members.insert(
            "expires_at".to_owned(),
            Value::from(invitation.expires_at.to_string()),
        );
    }
    Ok(value)
}
