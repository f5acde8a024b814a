//! Signing in with an account that Chancery keeps: `POST {base}/sign-in` takes name and password. Nobody is signed in yet, so
//! the form is bound to the browser by a cookie, as a sign-in at an issuer is (login CSRF, RFC 6749 §10.12).

use super::cookie::Cookie;
use super::frame::{self, Message};
use super::{forgery, sign_out};
use crate::app::App;
use crate::http::source::RequestSource;
use crate::http::tenant::RequestTenant;
use crate::issue::arrival::Arrival;
use crate::people::password::PasswordError;
use crate::people::session::SignedIn;
use crate::people::{browser, local, sign_in};
use crate::tenants::Served;
use axum::extract::{Extension, Form, State};
use axum::http::header::{RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use chancery_core::secret::{Secret, generate};
use chancery_core::session::ABSOLUTE;
use chancery_core::time::{Timestamp, Ttl};
use serde::Deserialize;
use std::sync::Arc;

/// The form of a name and a password.
#[derive(Debug, Deserialize)]
pub struct Credentials {
    #[serde(default)]
    csrf: Option<String>,
    name: String,
    password: Secret<String>,
    #[serde(default)]
    return_to: Option<String>,
}

/// `POST {base}/sign-in`.
pub async fn sign_in(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    RequestSource(source): RequestSource,
    headers: HeaderMap,
    Form(form): Form<Credentials>,
) -> Response {
    if let Err(refused) = check(&served, &headers, form.csrf.as_deref()) {
        return *refused;
    }
    let return_to = path(&served, form.return_to.as_deref());
    let answer = async {
        let now = app.serving_now()?;
        let before = super::session(&app, &served, &headers, now).await?;
        let typed = (form.name.trim(), &form.password);
        let arrival = Arrival { now, source };
        local::sign_in(&app, &served, typed, before.as_ref(), arrival).await
    };
    match answer.await {
        Ok(session) => entered(&served, &session, &return_to),
        Err(error) => refused(&error, &super::sign_in_path(&return_to)),
    }
}

/// Whether a form of somebody who is not signed in comes from the page that this browser was shown.
///
/// # Errors
/// The response.
pub(super) fn check(served: &Served, headers: &HeaderMap, token: Option<&str>) -> Result<(), Box<Response>> {
    let base = &served.tenant.spec.base_url;
    forgery::check_site(base, headers).map_err(|error| Box::new(sign_out::refused(error)))?;
    let secret = Cookie::SignIn.read(base, headers);
    let is_ours = secret.zip(token);
    let is_ours = is_ours.is_some_and(|(secret, token)| browser::is_form_token(served, &secret, token));
    if is_ours {
        Ok(())
    } else {
        Err(Box::new(sign_out::refused(forgery::ForgeryError::Token)))
    }
}

/// The secret of this browser, which it gets if it has none.
pub(super) fn browser_of(app: &App, served: &Served, headers: &HeaderMap) -> Secret<String> {
    let secret = Cookie::SignIn.read(&served.tenant.spec.base_url, headers);
    secret.unwrap_or_else(|| generate(sign_in::BROWSER_PREFIX, &*app.random))
}

/// A page with the cookie that binds its form.
pub(super) fn with_browser(mut response: Response, served: &Served, secret: &Secret<String>) -> Response {
    let cookie = Cookie::SignIn.set_secret(&served.tenant.spec.base_url, secret, BROWSER);
    response
        .headers_mut()
        .extend(cookie.map(|header| (SET_COOKIE, header)));
    response
}

/// On to a page of ours, in a new session.
pub(super) fn entered(served: &Served, session: &Secret<String>, return_to: &str) -> Response {
    let mut response = frame::see_other(return_to);
    let cookie = Cookie::Session.set_secret(&served.tenant.spec.base_url, session, ABSOLUTE);
    response
        .headers_mut()
        .extend(cookie.map(|header| (SET_COOKIE, header)));
    response
}

/// The page that says why a password did nothing, and leads back.
pub(super) fn refused(error: &PasswordError, back: &str) -> Response {
    let (status, code, text) = match error {
        PasswordError::Failure(failure) => return frame::failed(failure),
        PasswordError::Wrong => (
            StatusCode::FORBIDDEN,
            "password_wrong",
            "The name or the password is not right.".to_owned(),
        ),
        PasswordError::TooSoon(_) => (
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_tries",
            "Too many wrong passwords were tried.".to_owned(),
        ),
        PasswordError::Busy => (
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "Too many people sign in at once.".to_owned(),
        ),
        PasswordError::Rule(rule) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "password_refused",
            sentence(&rule.to_string()),
        ),
    };
    let mut page = Message::new("Not signed in", text)
        .with_code(code)
        .with_link(back, "Try again");
    let wait = match error {
        PasswordError::TooSoon(wait) => Some(wait.as_seconds() + 1),
        PasswordError::Wrong | PasswordError::Busy | PasswordError::Rule(_) | PasswordError::Failure(_) => {
            None
        }
    };
    if let Some(seconds) = wait {
        page = page.with_hint(format!("Wait {seconds} seconds. A passkey does not wait."));
    }
    let mut response = page.respond(status);
    if let Some(seconds) = wait {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The sentence of an error.
pub(super) fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let mut sentence: String = characters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    sentence.extend(characters);
    sentence.push('.');
    sentence
}

/// A path of ours to go on to.
pub(super) fn path(served: &Served, wanted: Option<&str>) -> String {
    wanted
        .and_then(|path| sign_in::local_path(&served.tenant.spec.base_url, path))
        .unwrap_or_else(|| "/me/agents".to_owned())
}

/// Whoever is signed in, if they proved who they are lately; else the way to do so and back.
///
/// # Errors
/// The response.
pub(super) fn require_fresh(signed_in: &SignedIn, back: &str, now: Timestamp) -> Result<(), Box<Response>> {
    if local::is_fresh(signed_in, now) {
        return Ok(());
    }
    Err(Box::new(frame::see_other(&afresh(back))))
}

/// The sign-in page that asks whoever is signed in once more, and leads back.
pub(super) fn afresh(back: &str) -> String {
    format!("{}&prompt=login", super::sign_in_path(back))
}

/// How long a browser may take over the form.
const BROWSER: Ttl = Ttl::from_minutes(60);
