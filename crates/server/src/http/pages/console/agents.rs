//! Agents in the console: the list with state and owner, and one agent with its clients, grants and what
//! was recorded of it last.

use super::audit::REACH;
use super::steps::StepLink;
use super::{badge, frame, segment, visible, with_query};
use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::error::Failure;
use crate::govern::audit;
use crate::http::pages::Visitor;
use crate::http::pages::frame::{self as page_frame, FormAction, Frame};
use crate::http::pages::outside::Shown;
use crate::tenants::Served;
use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chancery_core::agent::{Agent, AgentSpec};
use chancery_core::client::Client;
use chancery_core::grant::GrantSpec;
use chancery_core::noun::{Lifecycle, Noun};
use chancery_policy::ManagementAction;
use chancery_store::Page;
use chancery_store::event::EventFilter;
use serde::Deserialize;
use std::sync::Arc;

/// Query of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListQuery {
    pub(super) state: String,
    pub(super) after: String,
}

#[derive(Debug, Template)]
#[template(path = "console_agents.html")]
struct Agents {
    frame: Frame,
    states: Vec<Choice>,
    rows: Vec<Row>,
    next: Option<String>,
}

/// One choice of a filter.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) value: &'static str,
    pub(super) text: &'static str,
    pub(super) is_chosen: bool,
}

#[derive(Debug)]
struct Row {
    href: String,
    name: Shown,
    state: &'static str,
    badge: &'static str,
    owner: Shown,
}

#[derive(Debug, Template)]
#[template(path = "console_agent.html")]
struct OneAgent {
    frame: Frame,
    state: &'static str,
    badge: &'static str,
    owner: Shown,
    description: Option<Shown>,
    blueprint: Option<Shown>,
    ceiling: Vec<Shown>,
    steps: Vec<StepLink>,
    clients: Vec<ClientRow>,
    grants: Vec<GrantRow>,
    events: Option<Vec<EventRow>>,
    audit: String,
}

#[derive(Debug)]
struct ClientRow {
    name: Shown,
    state: &'static str,
    badge: &'static str,
    method: &'static str,
    origin: &'static str,
    redirects: Vec<Shown>,
}

#[derive(Debug)]
struct GrantRow {
    name: Shown,
    state: &'static str,
    badge: &'static str,
    principal: Shown,
    place: Shown,
    scopes: Vec<Shown>,
}

#[derive(Debug)]
struct EventRow {
    time: String,
    sentence: Shown,
    outcome: String,
}

/// `GET {base}/console`.
pub(super) async fn entrance() -> Response {
    page_frame::see_other("/console/agents")
}

/// `GET {base}/console/agents`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<ListQuery>,
) -> Response {
    let caller = visitor.signed_in.caller(visitor.now);
    match rows(&app, &visitor.served, &caller, &query).await {
        Ok((rows, next)) => {
            let page = Agents {
                frame: frame("Agents", &visitor.served, &visitor.signed_in, "/console/agents"),
                states: choices(&query.state),
                rows,
                next,
            };
            page_frame::render(StatusCode::OK, &page, &FormAction::Own)
        }
        Err(failure) => page_frame::failed(&failure),
    }
}

/// `GET {base}/console/agents/{name}`.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Response {
    match one(&app, &visitor, &name).await {
        Ok(page) => page_frame::render(StatusCode::OK, &page, &FormAction::Own),
        Err(failure) => page_frame::failed(&failure),
    }
}

async fn rows(
    app: &App,
    served: &Served,
    caller: &Caller,
    query: &ListQuery,
) -> Result<(Vec<Row>, Option<String>), Failure> {
    change::permit(served, caller, ManagementAction::View, (Noun::Agent, "*", None))?;
    let page = Page {
        after: &query.after,
        state: Lifecycle::parse(&query.state),
        limit: PAGE + 1,
    };
    let mut agents = change::list::<AgentSpec>(app, served.tenant.id, &page).await?;
    let most = usize::try_from(PAGE).unwrap_or(usize::MAX);
    let has_more = agents.len() > most;
    agents.truncate(most);
    let next = agents.last().filter(|_| has_more).map(|last| {
        with_query(
            "/console/agents",
            &[("state", query.state.as_str()), ("after", last.name.as_str())],
        )
    });
    let mut rows = Vec::with_capacity(agents.len());
    for agent in &agents {
        let (state, badge) = badge(agent.state);
        rows.push(Row {
            href: format!("/console/agents/{}", segment(agent.name.as_str())),
            name: Shown::new(agent.name.as_str()),
            state,
            badge,
            owner: owner(agent),
        });
    }
    Ok((rows, next))
}

async fn one(app: &App, visitor: &Visitor, name: &str) -> Result<OneAgent, Failure> {
    let Visitor {
        served,
        signed_in,
        now,
    } = visitor;
    let caller = signed_in.caller(*now);
    let agent = visible::<AgentSpec>(app, served, &caller, name).await?;
    let tenant = served.tenant.id;
    let clients = app
        .directory
        .clients
        .by_parent(tenant, agent.name.to_string())
        .await?;
    let (state, badge) = badge(agent.state);
    let ceiling = agent.spec.ceiling.iter().map(|(resource, scopes)| {
        let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
        Shown::new(&format!("{resource}: {}", scopes.join(" ")))
    });
    Ok(OneAgent {
        frame: frame(agent.name.to_string(), served, signed_in, ""),
        state,
        badge,
        owner: owner(&agent),
        description: (!agent.spec.description.is_empty()).then(|| Shown::long(&agent.spec.description, 400)),
        blueprint: agent
            .spec
            .blueprint
            .as_ref()
            .map(|name| Shown::new(name.as_str())),
        ceiling: ceiling.collect(),
        steps: StepLink::all(&agent),
        clients: clients.iter().map(|client| client_row(client)).collect(),
        grants: grants(app, served, &agent).await?,
        events: events(app, served, &caller, &agent).await?,
        audit: with_query("/console/audit", &[("agent", agent.name.as_str())]),
    })
}

fn client_row(client: &Client) -> ClientRow {
    let (state, badge) = badge(client.state);
    ClientRow {
        name: Shown::new(client.name.as_str()),
        state,
        badge,
        method: client.spec.method.as_str(),
        origin: super::clients::origin(client.spec.provenance),
        redirects: client
            .spec
            .redirect_uris
            .iter()
            .map(|uri| Shown::new(uri))
            .collect(),
    }
}

/// Grants of an agent, whoever they act for: read page by page, since they are listed by agent and principal.
async fn grants(app: &App, served: &Served, agent: &Agent) -> Result<Vec<GrantRow>, Failure> {
    let mut rows = Vec::new();
    let mut after = String::new();
    for _ in 0..MOST_PAGES {
        let page = Page {
            after: &after,
            state: None,
            limit: 500,
        };
        let grants = change::list::<GrantSpec>(app, served.tenant.id, &page).await?;
        let Some(last) = grants.last() else { break };
        after = last.name.to_string();
        let own = grants
            .iter()
            .filter(|grant| grant.spec.agent == agent.name && grant.state != Lifecycle::Retired);
        for grant in own {
            let (state, badge) = badge(grant.state);
            rows.push(GrantRow {
                name: Shown::new(grant.name.as_str()),
                state,
                badge,
                principal: Shown::new(&grant.spec.principal.as_key()),
                place: Shown::new(&grant.spec.place()),
                scopes: grant
                    .spec
                    .scopes
                    .iter()
                    .map(|scope| Shown::new(&scope.to_string()))
                    .collect(),
            });
        }
        if rows.len() >= MOST_GRANTS {
            break;
        }
    }
    rows.truncate(MOST_GRANTS);
    Ok(rows)
}

/// What was recorded of an agent last; nothing for those who may not read the log.
async fn events(
    app: &App,
    served: &Served,
    caller: &Caller,
    agent: &Agent,
) -> Result<Option<Vec<EventRow>>, Failure> {
    let id = agent.id.to_string();
    let filter = EventFilter {
        before: i64::MAX,
        since: 0,
        kind: "",
        id: &id,
        limit: 20,
    };
    let entries = match audit::list_near(app, served, caller, filter, REACH).await {
        Ok((entries, _)) => entries,
        Err(Failure::Denied(_)) => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let row = |entry: &crate::govern::entry::Entry| EventRow {
        time: minute(&entry.time),
        sentence: Shown::long(&entry.sentence, 400),
        outcome: entry.outcome.clone(),
    };
    Ok(Some(entries.iter().map(row).collect()))
}

fn owner(agent: &Agent) -> Shown {
    let owner = agent.spec.owner.as_ref();
    Shown::new(owner.map_or("nobody", |owner| owner.as_str()))
}

/// The states that a list is filtered by.
pub(super) fn choices(chosen: &str) -> Vec<Choice> {
    let choice = |(value, text)| Choice {
        value,
        text,
        is_chosen: value == chosen,
    };
    [
        ("", "any"),
        ("staged", "staged"),
        ("active", "active"),
        ("suspended", "suspended"),
        ("retired", "retired"),
    ]
    .into_iter()
    .map(choice)
    .collect()
}

/// A moment of an entry, to the minute.
pub(super) fn minute(time: &str) -> String {
    let minute = time.get(..16).unwrap_or(time).replace('T', " ");
    format!("{minute} UTC")
}

const PAGE: u32 = 25;
const MOST_PAGES: usize = 4;
const MOST_GRANTS: usize = 100;
