//! My agents: `GET {base}/me/agents` shows what agents may do for whoever is signed in, and in which browsers the
//! person is signed in; each can be taken back.

use super::Visitor;
use super::forgery;
use super::frame::{self, FormAction, Frame};
use super::outside::Shown;
use super::sign_out::{Confirmed, refused};
use super::words;
use crate::app::App;
use crate::connect::account::{self, AccountView};
use crate::error::{Failure, Refusal};
use crate::people::agents::{self, AgentOfPerson, GrantOfPerson};
use crate::people::session::{self, SessionView};
use askama::Template;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chancery_core::noun::Noun;
use std::sync::Arc;

#[derive(Debug, Template)]
#[template(path = "my_agents.html")]
struct MyAgents {
    frame: Frame,
    csrf: String,
    agents: Vec<AgentShown>,
    accounts: Vec<AccountShown>,
    sessions: Vec<SessionShown>,
}

#[derive(Debug)]
struct AccountShown {
    id: String,
    connection: Shown,
    account: Option<Shown>,
    status: &'static str,
    badge: &'static str,
    last_error: Option<Shown>,
    scopes: Vec<Shown>,
}

#[derive(Debug)]
struct AgentShown {
    name: Shown,
    owner: Option<Shown>,
    is_active: bool,
    grants: Vec<GrantShown>,
}

#[derive(Debug)]
struct GrantShown {
    id: String,
    place: Shown,
    uri: Option<Shown>,
    scopes: Vec<Shown>,
    given_by: &'static str,
    until: String,
    is_open: bool,
}

#[derive(Debug)]
struct SessionShown {
    id: String,
    began: String,
    last_seen: String,
    is_this: bool,
}

/// `GET {base}/me/agents`.
pub async fn agents(State(app): State<Arc<App>>, visitor: Visitor) -> Response {
    let Visitor {
        served,
        signed_in,
        now,
    } = visitor;
    let loaded = async {
        let agents = agents::list(&app, &served, &signed_in, now).await?;
        let accounts = account::of_person(&app, &served, &signed_in.user.name, now).await?;
        let sessions = session::of_person(&app, &served, &signed_in.user.name, now).await?;
        Ok::<_, Failure>((agents, accounts, sessions))
    };
    let (agents, accounts, sessions) = match loaded.await {
        Ok(loaded) => loaded,
        Err(failure) => return frame::failed(&failure),
    };
    let page = MyAgents {
        frame: Frame::of("My agents", &served, &signed_in, "/me/agents"),
        csrf: signed_in.form_token(&served),
        agents: agents.iter().map(shown).collect(),
        accounts: accounts.iter().map(account_shown).collect(),
        sessions: sessions
            .iter()
            .map(|view| session_shown(view, view.id == signed_in.session.id))
            .collect(),
    };
    frame::render(StatusCode::OK, &page, &FormAction::Own)
}

fn shown(of_person: &AgentOfPerson) -> AgentShown {
    AgentShown {
        name: Shown::new(of_person.agent.name.as_str()),
        owner: of_person
            .agent
            .spec
            .owner
            .as_ref()
            .map(|owner| Shown::new(owner.as_str())),
        is_active: of_person.agent.state.is_active(),
        grants: of_person.grants.iter().map(grant_shown).collect(),
    }
}

fn grant_shown(of_person: &GrantOfPerson) -> GrantShown {
    let spec = &of_person.grant.spec;
    let resource = of_person.resource.as_deref();
    let place = match (&spec.resource, &spec.connection) {
        (None, Some(connection)) => format!("your account at {connection}"),
        (Some(_), _) | (None, None) => spec.place(),
    };
    let scopes = spec
        .scopes
        .iter()
        .map(|scope| Shown::new(&words::scope(resource, scope)));
    GrantShown {
        id: of_person.grant.id.to_string(),
        place: Shown::new(&place),
        uri: resource.map(|resource| Shown::new(resource.spec.uri.as_str())),
        scopes: scopes.collect(),
        given_by: if of_person.is_own {
            "you"
        } else {
            "an administrator"
        },
        until: spec.expires_at.map_or_else(
            || "until you take it back".to_owned(),
            |end| format!("until {}", words::moment(end)),
        ),
        is_open: of_person.is_open,
    }
}

fn account_shown(view: &AccountView) -> AccountShown {
    let spec = &view.account.spec;
    let (status, badge) = words::account(view.status);
    AccountShown {
        id: view.account.id.to_string(),
        connection: Shown::new(spec.connection.as_str()),
        account: spec
            .provider_account
            .as_ref()
            .map(|account| Shown::new(account.shown())),
        status,
        badge,
        last_error: view.last_error.as_deref().map(Shown::new),
        scopes: spec.scopes.iter().map(|scope| Shown::new(scope)).collect(),
    }
}

fn session_shown(view: &SessionView, is_this: bool) -> SessionShown {
    SessionShown {
        id: view.id.to_string(),
        began: words::moment(view.created_at),
        last_seen: words::moment(view.last_seen),
        is_this,
    }
}

/// `POST {base}/me/grants/{id}/revoke`.
pub async fn revoke_grant(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    headers: HeaderMap,
    Path(named): Path<String>,
    Form(form): Form<Confirmed>,
) -> Response {
    let Visitor {
        served,
        signed_in,
        now,
    } = visitor;
    if let Err(error) = forgery::check(&served, &headers, &signed_in, form.csrf.as_deref()) {
        return refused(error);
    }
    match agents::take_back(&app, &served, &signed_in, &named, now).await {
        Ok(()) => frame::see_other("/me/agents"),
        Err(failure) => frame::failed(&failure),
    }
}

/// `POST {base}/me/sessions/{id}/revoke`.
pub async fn revoke_session(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    headers: HeaderMap,
    Path(named): Path<String>,
    Form(form): Form<Confirmed>,
) -> Response {
    let Visitor {
        served,
        signed_in,
        now,
    } = visitor;
    if let Err(error) = forgery::check(&served, &headers, &signed_in, form.csrf.as_deref()) {
        return refused(error);
    }
    let ended = async {
        let id = named.parse().ok();
        let found = match id {
            Some(id) => app.directory.sessions.find(served.tenant.id, id).await?,
            None => None,
        };
        let session = found
            .filter(|session| session.state.is_active())
            .ok_or(Refusal::NotFound {
                noun: Noun::Session,
                name: named.clone(),
            })?;
        session::end(&app, &served, &signed_in, &session, now).await
    };
    match ended.await {
        Ok(()) => frame::see_other("/me/agents"),
        Err(failure) => frame::failed(&failure),
    }
}
