//! Clients that wait to be adopted: what each says of itself, where it sends people, and the agent to give it to.

use super::{frame, segment, with_query};
use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::error::Failure;
use crate::http::pages::frame::{self as page_frame, FormAction, Frame};
use crate::http::pages::outside::Shown;
use crate::http::pages::sign_out::refused;
use crate::http::pages::{Visitor, forgery, words};
use crate::registration::adopt as adopting;
use crate::tenants::Served;
use askama::Template;
use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chancery_core::agent::AgentSpec;
use chancery_core::client::{Client, ClientSpec, Provenance};
use chancery_core::noun::{Lifecycle, Noun};
use chancery_policy::ManagementAction;
use chancery_store::Page;
use serde::Deserialize;
use std::sync::Arc;

/// Query of the list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ClientQuery {
    after: String,
}

/// The form of one client.
#[derive(Debug, Deserialize)]
pub(super) struct Adoption {
    #[serde(default)]
    csrf: Option<String>,
    agent: String,
}

#[derive(Debug, Template)]
#[template(path = "console_clients.html")]
struct Staged {
    frame: Frame,
    csrf: String,
    clients: Vec<Waiting>,
    agents: Vec<Shown>,
    next: Option<String>,
}

#[derive(Debug)]
struct Waiting {
    id: String,
    href: String,
    says: Option<Shown>,
    origin: &'static str,
    since: String,
    host: Option<Shown>,
    method: &'static str,
    grants: Vec<&'static str>,
    redirects: Vec<Shown>,
}

/// `GET {base}/console/clients`.
pub(super) async fn staged(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<ClientQuery>,
) -> Response {
    let caller = visitor.signed_in.caller(visitor.now);
    match waiting(&app, &visitor.served, &caller, &query.after).await {
        Ok((clients, agents, next)) => {
            let page = Staged {
                frame: frame(
                    "Waiting clients",
                    &visitor.served,
                    &visitor.signed_in,
                    "/console/clients",
                ),
                csrf: visitor.signed_in.form_token(&visitor.served),
                clients,
                agents,
                next,
            };
            page_frame::render(StatusCode::OK, &page, &FormAction::Own)
        }
        Err(failure) => page_frame::failed(&failure),
    }
}

/// `POST {base}/console/clients/{name}/adopt`.
pub(super) async fn adopt(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    headers: HeaderMap,
    Path(name): Path<String>,
    Form(form): Form<Adoption>,
) -> Response {
    let signed_in = &visitor.signed_in;
    if let Err(error) = forgery::check(&visitor.served, &headers, signed_in, form.csrf.as_deref()) {
        return refused(error);
    }
    let caller = signed_in.caller(visitor.now);
    match adopting::adopt(&app, &visitor.served, &caller, (&name, &form.agent)).await {
        Ok(_) => page_frame::see_other(&format!("/console/agents/{}", segment(&form.agent))),
        Err(failure) => page_frame::failed(&failure),
    }
}

/// How a client came to be, in words.
pub(super) const fn origin(provenance: Provenance) -> &'static str {
    match provenance {
        Provenance::Manual => "made by hand",
        Provenance::Runtime => "made by a runtime binding",
        Provenance::Registered => "registered itself",
        Provenance::MetadataDocument => "has a metadata document",
        Provenance::BuiltIn => "is part of this server",
    }
}

type Loaded = (Vec<Waiting>, Vec<Shown>, Option<String>);

async fn waiting(app: &App, served: &Served, caller: &Caller, after: &str) -> Result<Loaded, Failure> {
    change::permit(served, caller, ManagementAction::View, (Noun::Client, "*", None))?;
    let tenant = served.tenant.id;
    let page = |after, state, limit| Page { after, state, limit };
    let staged = Some(Lifecycle::Staged);
    let mut clients = change::list::<ClientSpec>(app, tenant, &page(after, staged, PAGE + 1)).await?;
    let most = usize::try_from(PAGE).unwrap_or(usize::MAX);
    let has_more = clients.len() > most;
    clients.truncate(most);
    let next = clients
        .last()
        .filter(|_| has_more)
        .map(|last| with_query("/console/clients", &[("after", last.name.as_str())]));
    let active = Some(Lifecycle::Active);
    let agents = change::list::<AgentSpec>(app, tenant, &page("", active, MOST_AGENTS)).await?;
    let agents = agents.iter().map(|agent| Shown::new(agent.name.as_str()));
    Ok((clients.iter().map(shown).collect(), agents.collect(), next))
}

fn shown(client: &Client) -> Waiting {
    let spec = &client.spec;
    Waiting {
        id: client.id.to_string(),
        href: format!("/console/clients/{}/adopt", client.id),
        says: spec.display_name.as_ref().map(|name| Shown::new(name)),
        origin: origin(spec.provenance),
        since: words::moment(client.created_at),
        host: spec.metadata_uri.as_ref().map(|uri| Shown::long(uri, 300)),
        method: spec.method.as_str(),
        grants: spec.grant_types.iter().map(|grant| grant.as_str()).collect(),
        redirects: spec
            .redirect_uris
            .iter()
            .map(|uri| Shown::long(uri, 300))
            .collect(),
    }
}

const PAGE: u32 = 25;
const MOST_AGENTS: u32 = 500;
