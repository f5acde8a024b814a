//! The page of a one-time code: `{base}/enrol` asks for it, then for a password or a passkey. The code is in no address,
//! where logs, histories and other sites could see it.

use super::asset;
use super::frame::{self, FormAction, Frame, Message};
use super::local::{browser_of, check, entered, sentence, with_browser};
use super::outside::Shown;
use crate::app::App;
use crate::http::tenant::RequestTenant;
use crate::people::browser;
use crate::people::invitation::{self, InvitationError};
use crate::people::passkey::{self, Offer};
use crate::people::password::MIN_LENGTH;
use crate::tenants::Served;
use askama::Template;
use axum::extract::{Extension, Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chancery_core::secret::Secret;
use serde::Deserialize;
use std::sync::Arc;

/// The page that asks for the code.
#[derive(Debug, Template)]
#[template(path = "enrol.html")]
struct CodePage {
    frame: Frame,
    csrf: String,
}

/// The page that asks for a password or a passkey.
#[derive(Template)]
#[template(path = "enrol_choose.html")]
struct ChoosePage {
    frame: Frame,
    csrf: String,
    person: Shown,
    account: String,
    code: String,
    shortest: usize,
    offer: Option<Offer>,
    script: &'static str,
}

/// The form with the code.
#[derive(Debug, Deserialize)]
pub struct CodeGiven {
    #[serde(default)]
    csrf: Option<String>,
    code: Secret<String>,
}

/// The form with the code and a password.
#[derive(Debug, Deserialize)]
pub struct PasswordChosen {
    #[serde(default)]
    csrf: Option<String>,
    code: Secret<String>,
    password: Secret<String>,
    again: Secret<String>,
}

/// `GET {base}/enrol`.
pub async fn show(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    headers: HeaderMap,
) -> Response {
    let secret = browser_of(&app, &served, &headers);
    let page = CodePage {
        frame: Frame::new("Set up your account"),
        csrf: browser::form_token(&served, &secret),
    };
    with_browser(
        frame::render(StatusCode::OK, &page, &FormAction::Own),
        &served,
        &secret,
    )
}

/// `POST {base}/enrol`: the code. It is looked at, and not used yet.
pub async fn open(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    headers: HeaderMap,
    Form(form): Form<CodeGiven>,
) -> Response {
    if let Err(refused) = check(&served, &headers, form.csrf.as_deref()) {
        return *refused;
    }
    let secret = browser_of(&app, &served, &headers);
    let found = async {
        let now = app.serving_now()?;
        let user = invitation::find(&app, &served, &form.code, now).await?;
        let held = (&*user, &form.code, &browser::digest(&secret));
        // Without a host name there are passwords only.
        let offer = passkey::offer_to_invited(&app, &served, held, now).await.ok();
        Ok((user, offer))
    };
    let (user, offer) = match found.await {
        Ok(found) => found,
        Err(error) => return refused(&error),
    };
    let page = ChoosePage {
        frame: Frame::new("Choose how you sign in"),
        csrf: browser::form_token(&served, &secret),
        person: Shown::new(user.name.as_str()),
        account: user.spec.subject.clone(),
        code: form.code.expose_secret().trim().to_owned(),
        shortest: MIN_LENGTH,
        offer,
        script: asset::passkey_script(),
    };
    frame::render(StatusCode::OK, &page, &FormAction::Own)
}

/// `POST {base}/enrol/password`.
pub async fn set_password(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    headers: HeaderMap,
    Form(form): Form<PasswordChosen>,
) -> Response {
    if let Err(refused) = check(&served, &headers, form.csrf.as_deref()) {
        return *refused;
    }
    if form.password.expose_secret() != form.again.expose_secret() {
        return unequal();
    }
    let done = async {
        let now = app.serving_now()?;
        let before = super::session(&app, &served, &headers, now).await?;
        let chosen = (&form.code, &form.password);
        invitation::set_password(&app, &served, chosen, before.as_ref(), now).await
    };
    answered(&served, done.await)
}

/// The answer to a code that was used, or not.
pub(super) fn answered(served: &Served, done: Result<Secret<String>, InvitationError>) -> Response {
    match done {
        Ok(session) => entered(served, &session, "/me/sign-in"),
        Err(error) => refused(&error),
    }
}

/// The answer to two passwords that should be one.
pub(super) fn unequal() -> Response {
    Message::new("The passwords differ", "The two passwords are not the same.")
        .with_code("passwords_differ")
        .with_hint("Go back and type them once more.")
        .respond(StatusCode::UNPROCESSABLE_ENTITY)
}

fn refused(error: &InvitationError) -> Response {
    let (status, code) = match error {
        InvitationError::Failure(failure) => return frame::failed(failure),
        InvitationError::Over => (StatusCode::NOT_FOUND, "code_over"),
        InvitationError::Password(_) => (StatusCode::UNPROCESSABLE_ENTITY, "password_refused"),
        InvitationError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
    };
    let hint = match error {
        InvitationError::Over => "Ask an administrator for a new one: chancery user reset NAME.",
        InvitationError::Password(_) | InvitationError::Busy | InvitationError::Failure(_) => {
            "Go back and try once more; the code is still good."
        }
    };
    Message::new("Nothing was set up", sentence(&error.to_string()))
        .with_code(code)
        .with_hint(hint)
        .with_link("/enrol", "Enter a code")
        .respond(status)
}
