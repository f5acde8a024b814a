//! Who calls the administration interface: somebody on this machine through the local socket, or the holder of
//! a token for it.

use crate::app::App;
use crate::directory::change::{Caller, OnceKey};
use crate::error::Failure;
use crate::http::api::denials::CallerSeen;
use crate::http::api::idempotency::Pending;
use crate::http::error::Problem;
use crate::http::tenant::RequestTenant;
use crate::issue::own;
use crate::listener::LocalPeer;
use crate::setup::API_PATH;
use crate::tenants::Served;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use chancery_core::actor::Actor;
use chancery_core::proposal::Subject;
use chancery_core::scope::{Scope, ScopeSet};
use chancery_core::time::Timestamp;
use chancery_oauth::claims::OwnToken;
use chancery_policy::Manager;
use std::sync::Arc;

/// A caller with the scopes of the token, and the tenant of the URL.
#[derive(Clone, Debug)]
pub struct ApiCaller {
    /// The tenant.
    pub served: Arc<Served>,
    caller: Caller,
    /// `None` for the local socket, which is bound by policy alone.
    scopes: Option<ScopeSet>,
}

/// The scopes of the administration interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiScope {
    /// Read the directory and policies.
    Read,
    /// Change the directory and policies.
    Write,
    /// Stop things.
    Kill,
    /// Read the audit log and decisions.
    Audit,
}

impl ApiScope {
    /// The scope's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Kill => "kill",
            Self::Audit => "audit",
        }
    }
}

impl ApiCaller {
    /// The caller, if its token has the operation's scope.
    ///
    /// # Errors
    /// 403 with the missing scope.
    pub fn with(&self, scope: ApiScope) -> Result<&Caller, Problem> {
        let wanted: Option<Scope> = scope.as_str().parse().ok();
        let has = self
            .scopes
            .as_ref()
            .is_none_or(|scopes| wanted.is_some_and(|wanted| scopes.contains(&wanted)));
        if has {
            return Ok(&self.caller);
        }
        let text = format!("the token lacks the scope `{}`", scope.as_str());
        Err(
            Problem::new(StatusCode::FORBIDDEN, "insufficient_scope", text).with_hint(format!(
                "ask for scope `{}` at resource `{API_PATH}`",
                scope.as_str()
            )),
        )
    }

    /// Whether the caller is on the server's own machine.
    pub fn is_local(&self) -> bool {
        self.scopes.is_none()
    }
}

impl FromRequestParts<Arc<App>> for ApiCaller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let Some(RequestTenant(served)) = parts.extensions.get::<RequestTenant>().cloned() else {
            return Err(unauthenticated("no tenant"));
        };
        if let Some(peer) = parts.extensions.get::<LocalPeer>() {
            let now = app.clock.now();
            let actor = Actor::Local(peer.uid);
            tell(parts, &actor);
            let once = claim(app, parts, &served, &actor, now).await?;
            let caller = Caller {
                actor,
                manager: Manager::Local,
                now,
                once,
            };
            return Ok(Self {
                served,
                caller,
                scopes: None,
            });
        }
        let header = parts
            .headers
            .get(AUTHORIZATION)
            .and_then(|header| header.to_str().ok());
        let bearer = header.and_then(|header| header.split_once(' '));
        let Some(("Bearer" | "bearer", token)) = bearer else {
            return Err(unauthenticated("no bearer token was sent"));
        };
        let mut api = from_token(app, served, token).await?;
        tell(parts, &api.caller.actor);
        api.caller.once = claim(app, parts, &api.served, &api.caller.actor, api.caller.now).await?;
        Ok(api)
    }
}

/// Tells the record of refusals who calls.
fn tell(parts: &Parts, actor: &Actor) {
    if let Some(seen) = parts.extensions.get::<CallerSeen>() {
        seen.tell(actor);
    }
}

/// The request's idempotency key, if it has one and was not carried out before.
async fn claim(
    app: &App,
    parts: &Parts,
    served: &Served,
    actor: &Actor,
    now: Timestamp,
) -> Result<Option<OnceKey>, Response> {
    match parts.extensions.get::<Pending>() {
        Some(pending) => pending
            .claim(app, (served.tenant.id, &actor.to_string()), now)
            .await
            .map(Some),
        None => Ok(None),
    }
}

async fn from_token(app: &App, served: Arc<Served>, text: &str) -> Result<ApiCaller, Response> {
    let now = app.serving_now().map_err(Failure::into_response)?;
    let found = own::in_force(app, &served, text, now)
        .await
        .map_err(Failure::into_response)?;
    let audience = format!("{}{API_PATH}", served.tenant.spec.base_url);
    let Some(token) = found
        .map(|own| own.token)
        .filter(|token| token.audience == audience)
    else {
        return Err(unauthenticated(
            "the token is not in force, or not for this interface",
        ));
    };
    let manager = manager(app, &served, &token)
        .await
        .map_err(Failure::into_response)?;
    let Some((actor, manager)) = manager else {
        return Err(unauthenticated("whoever the token names is gone"));
    };
    let scopes = Some(token.scopes());
    Ok(ApiCaller {
        served,
        caller: Caller {
            actor,
            manager,
            now,
            once: None,
        },
        scopes,
    })
}

/// A token with an actor is an agent's, whoever it acts for: the floor lets agents look and never change.
async fn manager(app: &App, served: &Served, token: &OwnToken) -> Result<Option<(Actor, Manager)>, Failure> {
    let tenant = served.tenant.id;
    if let Some(agent) = token.current_actor() {
        let user = match token.subject {
            Subject::User(user) => Some(user),
            Subject::Agent(_) => None,
        };
        let found = app.directory.agents.find(tenant, agent).await?;
        let actor = Actor::Agent {
            agent,
            client: token.client,
            user,
        };
        return Ok(found.map(|agent| {
            (
                actor,
                Manager::Agent {
                    name: agent.name.clone(),
                },
            )
        }));
    }
    let Subject::User(user) = token.subject else {
        return Ok(None);
    };
    let Some(user) = app.directory.users.find(tenant, user).await? else {
        return Ok(None);
    };
    let manager = Manager::User {
        name: user.name.clone(),
        roles: user.spec.roles.clone(),
        groups: user.spec.groups.clone(),
    };
    Ok(Some((Actor::User(user.id), manager)))
}

fn unauthenticated(detail: &str) -> Response {
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail).with_hint(
        "on the server's own machine use the local socket; elsewhere get a token for this interface",
    );
    let mut response = problem.into_response();
    let challenge = axum::http::HeaderValue::from_static("Bearer");
    response
        .headers_mut()
        .insert(axum::http::header::WWW_AUTHENTICATE, challenge);
    response
}
