//! Signing out of this browser: `POST {base}/sign-out`. The session ends, and with it what hangs on it.

use super::cookie::Cookie;
use super::{Visitor, forgery, frame};
use crate::app::App;
use crate::people::session;
use axum::extract::Form;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use std::sync::Arc;

/// A form that carries nothing but its token.
#[derive(Debug, Deserialize)]
pub struct Confirmed {
    /// See [`forgery`].
    #[serde(default)]
    pub csrf: Option<String>,
}

/// Ends the session of this browser.
pub async fn sign_out(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    headers: HeaderMap,
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
    if let Err(failure) = session::end(&app, &served, &signed_in, &signed_in.session, now).await {
        return frame::failed(&failure);
    }
    let page = frame::Message::new("Signed out", "You are signed out of Chancery in this browser.")
        .with_hint("You may still be signed in at your organisation's sign-in page.")
        .with_link("/me/agents", "Sign in again");
    let mut response = page.respond(StatusCode::OK);
    let cleared = Cookie::Session.clear(&served.tenant.spec.base_url);
    response
        .headers_mut()
        .extend(cleared.map(|header| (SET_COOKIE, header)));
    response
}

/// The answer to a form that another site may have made the browser send.
pub fn refused(error: forgery::ForgeryError) -> Response {
    tracing::info!(%error, "a form was refused");
    frame::Message::new(
        "This form cannot be taken",
        "It was not sent from this page, or you have signed in again since it was opened.",
    )
    .with_code("forged_form")
    .with_hint("Go back, reload the page and try once more.")
    .respond(StatusCode::FORBIDDEN)
}
