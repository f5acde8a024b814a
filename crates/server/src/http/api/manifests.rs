//! Manifests of MCP servers behind the gateway: what is pinned, what is in quarantine, and accepting it.

use crate::app::App;
use crate::directory::change;
use crate::gateway::manifest::{self, Standing};
use crate::http::api::body::ApiBody;
use crate::http::api::caller::{ApiCaller, ApiScope};
use crate::http::error::Problem;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chancery_core::noun::Noun;
use chancery_core::resource::{Resource, ResourceSpec};
use chancery_mcp::method::Listing;
use chancery_policy::ManagementAction;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// What a server shows.
#[derive(Debug, Serialize)]
pub struct ManifestView {
    items: Vec<ItemView>,
}

#[derive(Debug, Serialize)]
struct ItemView {
    listing: &'static str,
    name: String,
    /// `accepted` or `quarantined`.
    standing: &'static str,
    accepted: String,
    seen: String,
    /// What was seen last, whole.
    definition: Value,
}

/// What to accept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// `tools`, `prompts`, `resources` or `resourceTemplates`.
    listing: String,
    /// The name or URI.
    name: String,
    /// The digest of the form that was looked at: `seen` of the manifest.
    digest: String,
}

/// `GET /resources/{name}/manifest`.
///
/// # Errors
/// The problem to answer with.
pub async fn show(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path(name): Path<String>,
) -> Result<Json<ManifestView>, Problem> {
    let caller = api.with(ApiScope::Read)?;
    let resource = permitted(&app, &api, caller, (&name, ManagementAction::View)).await?;
    let known = app
        .gateway
        .manifests
        .of(&app, api.served.tenant.id, resource.id)
        .await?;
    let view = |(listing, name, pinned): (Listing, &str, &manifest::Pinned)| {
        let entry = match listing {
            Listing::Tools => resource.spec.tools.get(name),
            Listing::Prompts => resource.spec.prompts.get(name),
            Listing::Resources | Listing::ResourceTemplates => None,
        };
        let standing = match known.standing(listing, name, entry) {
            Standing::Accepted(_) => "accepted",
            Standing::Quarantined(_) | Standing::Unseen => "quarantined",
        };
        ItemView {
            listing: listing.member(),
            name: name.to_owned(),
            standing,
            accepted: pinned.accepted().to_owned(),
            seen: pinned.seen().to_owned(),
            definition: serde_json::from_str(pinned.descriptor().canonical()).unwrap_or_default(),
        }
    };
    let items = known.items().into_iter().map(view).collect();
    Ok(Json(ManifestView { items }))
}

/// `POST /resources/{name}/manifest`: accepts what was seen last of one thing.
///
/// # Errors
/// The problem to answer with.
pub async fn accept(
    State(app): State<Arc<App>>,
    api: ApiCaller,
    Path(name): Path<String>,
    ApiBody(body): ApiBody<Acceptance>,
) -> Result<StatusCode, Problem> {
    let caller = api.with(ApiScope::Write)?;
    let resource = permitted(&app, &api, caller, (&name, ManagementAction::AcceptManifest)).await?;
    let Some(listing) = manifest::parse_listing(&body.listing) else {
        let text = format!("`{}` is no listing", body.listing);
        return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid", text)
            .with_hint("tools, prompts, resources or resourceTemplates"));
    };
    let what = (listing, body.name.as_str(), body.digest.as_str());
    manifest::accept(&app, &api.served, &resource, what, &caller.actor, caller.now).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn permitted(
    app: &App,
    api: &ApiCaller,
    caller: &change::Caller,
    (name, action): (&str, ManagementAction),
) -> Result<Resource, Problem> {
    let resource = change::load::<ResourceSpec>(app, api.served.tenant.id, name).await?;
    let owner = resource.spec.owner.as_ref();
    change::permit(
        &api.served,
        caller,
        action,
        (Noun::Resource, resource.name.as_str(), owner),
    )?;
    Ok(resource)
}
