//! The administrators' console: `{base}/console/…`. Every page asks policy for whoever is signed in, by the very use
//! cases of the administration interface; what policy refuses is said plainly. Nothing here decides.

mod agents;
mod audit;
mod clients;
mod connections;
mod decisions;
mod steps;

use super::frame::{Frame, NavigationLink};
use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::directory::managed::Managed;
use crate::error::Failure;
use crate::people::session::SignedIn;
use crate::tenants::Served;
use axum::Router;
use axum::routing::get;
use chancery_core::agent::AgentSpec;
use chancery_core::connection::ConnectionSpec;
use chancery_core::noun::{Lifecycle, Record};
use chancery_policy::ManagementAction;
use std::sync::Arc;

/// The routes of the console, relative to a tenant's base.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/console", get(agents::entrance))
        .route("/console/agents", get(agents::list))
        .route("/console/agents/{name}", get(agents::show))
        .route(
            "/console/agents/{name}/{step}",
            get(steps::confirm::<AgentSpec>).post(steps::take::<AgentSpec>),
        )
        .route("/console/connections", get(connections::list))
        .route("/console/connections/{name}", get(connections::show))
        .route(
            "/console/connections/{name}/{step}",
            get(steps::confirm::<ConnectionSpec>).post(steps::take::<ConnectionSpec>),
        )
        .route("/console/clients", get(clients::staged))
        .route(
            "/console/clients/{name}/adopt",
            axum::routing::post(clients::adopt),
        )
        .route("/console/decisions", get(decisions::list))
        .route("/console/decisions/{id}", get(decisions::show))
        .route("/console/audit", get(audit::explore))
}

/// The frame of a page of the console.
fn frame(title: impl Into<String>, served: &Served, signed_in: &SignedIn, here: &str) -> Frame {
    let link = |(href, text): &(&'static str, &'static str)| NavigationLink {
        href,
        text,
        is_here: *href == here,
    };
    Frame {
        links: LINKS.iter().map(link).collect(),
        ..Frame::of(title, served, signed_in, here)
    }
    .wide()
}

/// What a page is about, if whoever is signed in may look at it.
async fn visible<S: Managed>(
    app: &App,
    served: &Served,
    caller: &Caller,
    name: &str,
) -> Result<Record<S::Id, S>, Failure> {
    let found = change::load::<S>(app, served.tenant.id, name).await?;
    let subject = (S::NOUN, found.name.as_str(), found.spec.owner());
    change::permit(served, caller, ManagementAction::View, subject)?;
    Ok(found)
}

/// A state in words, with the class of its badge.
const fn badge(state: Lifecycle) -> (&'static str, &'static str) {
    match state {
        Lifecycle::Staged => ("staged", "warn"),
        Lifecycle::Active => ("active", "good"),
        Lifecycle::Suspended => ("suspended", "bad"),
        Lifecycle::Retired => ("retired", ""),
    }
}

/// A path of ours with a query; empty values are left out.
fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let given = pairs.iter().filter(|(_, value)| !value.is_empty());
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(given)
        .finish();
    if query.is_empty() {
        return path.to_owned();
    }
    format!("{path}?{query}")
}

/// A name as one segment of a path.
fn segment(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

const LINKS: &[(&str, &str)] = &[
    ("/console/agents", "Agents"),
    ("/console/connections", "Connections"),
    ("/console/clients", "Waiting clients"),
    ("/console/decisions", "Decisions"),
    ("/console/audit", "Audit"),
    ("/me/agents", "My agents"),
];
