//! How somebody signs in: `{base}/me/sign-in` shows it, and takes changes from whoever has proved who they are lately.

use super::Visitor;
use super::frame::{self, FormAction, Frame};
use super::local::{afresh, entered, refused, require_fresh};
use super::outside::Shown;
use super::{asset, enrol, forgery, passkeys, sign_out, words};
use crate::app::App;
use crate::http::source::RequestSource;
use crate::issue::arrival::Arrival;
use crate::people::local;
use crate::people::passkey::{self, Offer, PasskeyError};
use crate::people::password::MIN_LENGTH;
use askama::Template;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chancery_core::secret::Secret;
use chancery_store::passkey::PasskeyRow;
use serde::Deserialize;
use std::sync::Arc;

/// The page.
#[derive(Debug, Template)]
#[template(path = "credentials.html")]
struct CredentialsPage {
    frame: Frame,
    csrf: String,
    /// The name of the account, where it is one of ours.
    account: Option<String>,
    issuer: String,
    is_fresh: bool,
    again: String,
    shortest: usize,
    passkeys: Vec<PasskeyShown>,
    /// What a passkey is registered with; nothing where the server has no host name.
    offer: Option<Offer>,
    script: &'static str,
}

/// A passkey, as its owner sees it.
#[derive(Debug)]
struct PasskeyShown {
    id: String,
    name: Shown,
    since: String,
    used: Option<String>,
}

/// The form of a new password.
#[derive(Debug, Deserialize)]
pub struct PasswordChange {
    #[serde(default)]
    csrf: Option<String>,
    present: Secret<String>,
    password: Secret<String>,
    again: Secret<String>,
}

/// `GET {base}/me/sign-in`.
pub async fn show(State(app): State<Arc<App>>, visitor: Visitor) -> Response {
    let Visitor {
        served,
        signed_in,
        now,
    } = visitor;
    let user = &signed_in.user;
    let loaded = async {
        let passkeys = passkey::list(&app, &served, user.id).await?;
        let offer = match passkey::offer(&app, &served, &signed_in, now).await {
            Ok(offer) => Some(offer),
            Err(PasskeyError::NoHost) => None,
            Err(error) => return Err(error),
        };
        Ok::<_, PasskeyError>((passkeys, offer))
    };
    let (passkeys, offer) = match loaded.await {
        Ok(loaded) => loaded,
        Err(error) => return passkeys::refused(&error, PATH),
    };
    let page = CredentialsPage {
        frame: Frame::of("How you sign in", &served, &signed_in, PATH),
        csrf: signed_in.form_token(&served),
        account: local::is_local(user).then(|| user.spec.subject.clone()),
        issuer: user.spec.issuer.to_string(),
        is_fresh: local::is_fresh(&signed_in, now),
        again: afresh(PATH),
        shortest: MIN_LENGTH,
        passkeys: passkeys.iter().map(shown).collect(),
        offer,
        script: asset::passkey_script(),
    };
    frame::render(StatusCode::OK, &page, &FormAction::Own)
}

fn shown(row: &PasskeyRow) -> PasskeyShown {
    PasskeyShown {
        id: row.id.to_string(),
        name: Shown::new(&row.name),
        since: words::moment(row.created_at),
        used: row.used_at.map(words::moment),
    }
}

/// `POST {base}/me/password`.
pub async fn change_password(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    RequestSource(source): RequestSource,
    headers: HeaderMap,
    Form(form): Form<PasswordChange>,
) -> Response {
    let Visitor {
        served,
        signed_in,
        now,
    } = visitor;
    if let Err(error) = forgery::check(&served, &headers, &signed_in, form.csrf.as_deref()) {
        return sign_out::refused(error);
    }
    if let Err(response) = require_fresh(&signed_in, PATH, now) {
        return *response;
    }
    if form.password.expose_secret() != form.again.expose_secret() {
        return enrol::unequal();
    }
    let passwords = (&form.present, &form.password);
    let arrival = Arrival { now, source };
    match local::change_password(&app, &served, &signed_in, passwords, arrival).await {
        Ok(session) => entered(&served, &session, PATH),
        Err(error) => refused(&error, PATH),
    }
}

/// Where the page is.
pub(super) const PATH: &str = "/me/sign-in";
