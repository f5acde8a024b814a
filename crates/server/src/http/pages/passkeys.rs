//! Forms that a passkey answers: registering one, naming and removing it, signing in with it. The browser's part is
//! `console/passkey.js`: this one thing needs a script (WebAuthn Level 3 §5.1).

use super::credentials::PATH;
use super::frame::{self, Message};
use super::local::{browser_of, check, entered, path, require_fresh, sentence};
use super::sign_out::Confirmed;
use super::{Visitor, enrol, forgery, sign_out};
use crate::app::App;
use crate::http::source::RequestSource;
use crate::http::tenant::RequestTenant;
use crate::issue::arrival::Arrival;
use crate::people::browser;
use crate::people::passkey::{self, Answered, PasskeyError};
use crate::people::webauthn::WebauthnError;
use axum::extract::{Extension, Form, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chancery_core::id::PasskeyId;
use chancery_core::secret::Secret;
use serde::Deserialize;
use std::sync::Arc;

/// The form with what the browser answered.
#[derive(Debug, Deserialize)]
pub struct PasskeyForm {
    #[serde(default)]
    csrf: Option<String>,
    ticket: String,
    credential: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    return_to: Option<String>,
    #[serde(default)]
    code: Option<Secret<String>>,
}

impl PasskeyForm {
    fn answered(&self) -> Answered<'_> {
        Answered {
            ticket: &self.ticket,
            credential: &self.credential,
            name: &self.name,
        }
    }
}

/// The form of a new name.
#[derive(Debug, Deserialize)]
pub struct Named {
    #[serde(default)]
    csrf: Option<String>,
    name: String,
}

/// `POST {base}/sign-in/passkey`.
pub async fn sign_in(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    RequestSource(source): RequestSource,
    headers: HeaderMap,
    Form(form): Form<PasskeyForm>,
) -> Response {
    if let Err(refused) = check(&served, &headers, form.csrf.as_deref()) {
        return *refused;
    }
    let return_to = path(&served, form.return_to.as_deref());
    let secret = browser_of(&app, &served, &headers);
    let answer = async {
        let now = app.serving_now()?;
        let before = super::session(&app, &served, &headers, now).await?;
        let browser = browser::digest(&secret);
        let said = (form.ticket.as_str(), form.credential.as_str());
        let arrival = Arrival { now, source };
        passkey::sign_in(&app, &served, said, (&browser, before.as_ref()), arrival).await
    };
    match answer.await {
        Ok(session) => entered(&served, &session, &return_to),
        Err(error) => refused(&error, &super::sign_in_path(&return_to)),
    }
}

/// `POST {base}/enrol/passkey`.
pub async fn enrol(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    headers: HeaderMap,
    Form(form): Form<PasskeyForm>,
) -> Response {
    if let Err(refused) = check(&served, &headers, form.csrf.as_deref()) {
        return *refused;
    }
    let code = form.code.as_ref();
    let secret = browser_of(&app, &served, &headers);
    let done = async {
        let now = app.serving_now()?;
        let before = super::session(&app, &served, &headers, now).await?;
        let none = Secret::new(String::new());
        let held = (code.unwrap_or(&none), &browser::digest(&secret));
        passkey::enrol(&app, &served, held, form.answered(), before.as_ref(), now).await
    };
    match done.await {
        Ok(session) => entered(&served, &session, PATH),
        Err(PasskeyError::Invitation(error)) => enrol::answered(&served, Err(error)),
        Err(error) => refused(&error, "/enrol"),
    }
}

/// `POST {base}/me/passkeys`.
pub async fn register(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    headers: HeaderMap,
    Form(form): Form<PasskeyForm>,
) -> Response {
    if let Err(response) = may_change(&visitor, &headers, form.csrf.as_deref()) {
        return *response;
    }
    let Visitor {
        served,
        signed_in,
        now,
    } = visitor;
    match passkey::register(&app, &served, &signed_in, form.answered(), now).await {
        Ok(()) => frame::see_other(PATH),
        Err(error) => refused(&error, PATH),
    }
}

/// `POST {base}/me/passkeys/{id}/name`.
pub async fn rename(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    headers: HeaderMap,
    Path(id): Path<String>,
    Form(form): Form<Named>,
) -> Response {
    if let Err(response) = may_change(&visitor, &headers, form.csrf.as_deref()) {
        return *response;
    }
    let Ok(id) = id.parse::<PasskeyId>() else {
        return unknown();
    };
    let Visitor {
        served,
        signed_in,
        now,
    } = visitor;
    match passkey::rename(&app, &served, &signed_in, (id, &form.name), now).await {
        Ok(()) => frame::see_other(PATH),
        Err(failure) => frame::failed(&failure),
    }
}

/// `POST {base}/me/passkeys/{id}/remove`.
pub async fn remove(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    headers: HeaderMap,
    Path(id): Path<String>,
    Form(form): Form<Confirmed>,
) -> Response {
    if let Err(response) = may_change(&visitor, &headers, form.csrf.as_deref()) {
        return *response;
    }
    let Ok(id) = id.parse::<PasskeyId>() else {
        return unknown();
    };
    let Visitor {
        served,
        signed_in,
        now,
    } = visitor;
    match passkey::remove(&app, &served, &signed_in, id, now).await {
        Ok(session) => entered(&served, &session, PATH),
        Err(failure) => frame::failed(&failure),
    }
}

/// Whether the form is this session's, of somebody who proved who they are lately.
fn may_change(visitor: &Visitor, headers: &HeaderMap, token: Option<&str>) -> Result<(), Box<Response>> {
    forgery::check(&visitor.served, headers, &visitor.signed_in, token)
        .map_err(|error| Box::new(sign_out::refused(error)))?;
    require_fresh(&visitor.signed_in, PATH, visitor.now)
}

/// The page that says why a passkey did nothing, and leads back.
pub(super) fn refused(error: &PasskeyError, back: &str) -> Response {
    let (status, code) = match error {
        PasskeyError::Failure(failure) => return frame::failed(failure),
        PasskeyError::Answer(WebauthnError::Stored) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        PasskeyError::Answer(
            WebauthnError::TooLong | WebauthnError::Malformed | WebauthnError::Algorithm,
        )
        | PasskeyError::Challenge(_)
        | PasskeyError::NoHost => (StatusCode::BAD_REQUEST, "passkey_malformed"),
        PasskeyError::Answer(WebauthnError::Refused) | PasskeyError::Invitation(_) => {
            (StatusCode::FORBIDDEN, "passkey_refused")
        }
        PasskeyError::Replayed => (StatusCode::CONFLICT, "passkey_answered"),
        PasskeyError::Taken => (StatusCode::CONFLICT, "passkey_registered"),
        PasskeyError::TooMany => (StatusCode::UNPROCESSABLE_ENTITY, "too_many_passkeys"),
    };
    Message::new("The passkey was not taken", sentence(&error.to_string()))
        .with_code(code)
        .with_link(back, "Try again")
        .respond(status)
}

fn unknown() -> Response {
    Message::new("No such passkey", "There is no such passkey of yours.")
        .with_code("not_found")
        .with_link(PATH, "How you sign in")
        .respond(StatusCode::NOT_FOUND)
}
