//! Pages for people: server-rendered, plain forms and 303 redirects, working without scripts. A page parses, calls
//! one use case of `people/`, and renders a template of `console/`.
//!
//! A tenant below `/t/NAME` shares its host with others, and so its cookies: it has no pages.

pub mod approvals;
pub mod asset;
pub mod authorize;
pub mod connect;
pub mod consent;
pub mod console;
pub mod cookie;
pub mod credentials;
pub mod device;
pub mod enrol;
pub mod forgery;
pub mod frame;
pub mod local;
pub mod me;
pub mod outside;
pub mod passkeys;
pub mod sign_in;
pub mod sign_out;
pub mod words;

use crate::app::App;
use crate::error::Failure;
use crate::http::tenant::RequestTenant;
use crate::people::session::{self as sessions, SignedIn};
use crate::tenants::Served;
use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{get, post};
use chancery_core::time::Timestamp;
use cookie::Cookie;
use frame::Message;
use std::sync::Arc;

/// The routes of pages, relative to a tenant's base.
pub fn router(app: Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/authorize", get(authorize::authorize).post(authorize::authorize))
        .route(
            "/consent",
            get(consent::show_missing).post(consent::answer_missing),
        )
        .route("/consent/{id}", get(consent::show).post(consent::answer))
        .route("/connect/callback", get(connect::callback))
        .route("/connect/{connection}", get(connect::show).post(connect::answer))
        .route("/me/accounts/{name}/disconnect", post(connect::disconnect))
        .route("/device", get(device::show).post(device::enter))
        .route("/device/allowed", get(device::allowed))
        .route("/device/denied", get(device::denied))
        .route("/sign-in", get(sign_in::start).post(local::sign_in))
        .route("/sign-in/callback", get(sign_in::callback))
        .route("/enrol", get(enrol::show).post(enrol::open))
        .route("/enrol/password", post(enrol::set_password))
        .route("/enrol/passkey", post(passkeys::enrol))
        .route("/sign-in/passkey", post(passkeys::sign_in))
        .route("/me/passkeys", post(passkeys::register))
        .route("/me/passkeys/{name}/name", post(passkeys::rename))
        .route("/me/passkeys/{name}/remove", post(passkeys::remove))
        .route("/me/sign-in", get(credentials::show))
        .route("/me/password", post(credentials::change_password))
        .route("/me/agents", get(me::agents))
        .route("/me/grants/{name}/revoke", post(me::revoke_grant))
        .route("/me/sessions/{name}/revoke", post(me::revoke_session))
        .route("/sign-out", post(sign_out::sign_out))
        .route("/approvals", get(approvals::inbox))
        .route("/approvals/{id}", get(approvals::show).post(approvals::answer))
        .merge(console::router())
        .layer(axum::middleware::from_fn_with_state(app, own_host))
        .route("/assets/{file}", get(asset::serve))
}

/// Whoever is signed in, or a redirect to the sign-in page: an extractor for handlers of pages.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The tenant.
    pub served: Arc<Served>,
    /// The person and the session.
    pub signed_in: SignedIn,
    /// The request's moment.
    pub now: Timestamp,
}

impl FromRequestParts<Arc<App>> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let Some(RequestTenant(served)) = parts.extensions.get::<RequestTenant>().cloned() else {
            return Err(not_here());
        };
        let now = app.serving_now().map_err(|failure| frame::failed(&failure))?;
        // Who sent a form comes back to where it was, not to a form that is sent again.
        let back = if parts.method == Method::GET {
            path_of(&parts.uri)
        } else {
            "/me/agents".to_owned()
        };
        let signed_in = require_sign_in(app, &served, &parts.headers, &back, now).await?;
        Ok(Self {
            served,
            signed_in,
            now,
        })
    }
}

/// Whoever is signed in in this browser.
///
/// # Errors
/// The database's.
pub async fn session(
    app: &App,
    served: &Served,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Option<SignedIn>, Failure> {
    match Cookie::Session.read(&served.tenant.spec.base_url, headers) {
        Some(secret) => sessions::find(app, served, &secret, now).await,
        None => Ok(None),
    }
}

/// Whoever is signed in; else the response that leads to the sign-in page and back to `return_to`.
///
/// # Errors
/// The response.
pub async fn require_sign_in(
    app: &App,
    served: &Served,
    headers: &HeaderMap,
    return_to: &str,
    now: Timestamp,
) -> Result<SignedIn, Response> {
    match session(app, served, headers, now).await {
        Ok(Some(signed_in)) => Ok(signed_in),
        Ok(None) => Err(frame::see_other(&sign_in_path(return_to))),
        Err(failure) => Err(frame::failed(&failure)),
    }
}

/// The sign-in page that leads back to a path of ours.
pub fn sign_in_path(return_to: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("return_to", return_to)
        .finish();
    format!("/sign-in?{query}")
}

/// Path and query of a request.
pub fn path_of(uri: &Uri) -> String {
    uri.path_and_query()
        .map_or_else(|| uri.path().to_owned(), ToString::to_string)
}

/// A page for tenants with a host of their own alone.
async fn own_host(State(_): State<Arc<App>>, request: Request, next: Next) -> Response {
    let tenant = request.extensions().get::<RequestTenant>();
    if tenant.is_some_and(|RequestTenant(served)| has_pages(served)) {
        return next.run(request).await;
    }
    not_here()
}

/// Whether a tenant has a host of its own, and so pages.
pub fn has_pages(served: &Served) -> bool {
    served.has_own_host()
}

fn not_here() -> Response {
    Message::new(
        "No pages here",
        "This tenant shares its host name with others and has endpoints for programs only.",
    )
    .with_code("no_pages")
    .with_hint("A tenant has pages when it has a host name of its own.")
    .respond(StatusCode::NOT_FOUND)
}
