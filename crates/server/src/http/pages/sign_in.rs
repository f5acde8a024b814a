//! Signing in: `GET {base}/sign-in` sends the browser to an issuer, or lets the person choose one; `GET
//! {base}/sign-in/callback` takes it back (OpenID Connect Core §3.1.2.5).

use super::asset;
use super::cookie::Cookie;
use super::frame::{self, FormAction, Frame, Message};
use super::local::{browser_of, with_browser};
use super::outside::Shown;
use crate::app::App;
use crate::error::Failure;
use crate::http::source::RequestSource;
use crate::http::tenant::RequestTenant;
use crate::issue::arrival::Arrival;
use crate::people::browser::{digest, form_token};
use crate::people::local;
use crate::people::passkey::{self, Offer};
use crate::people::sign_in::{self, SignInRefusal};
use crate::tenants::Served;
use askama::Template;
use axum::extract::{Extension, RawQuery, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chancery_core::issuer::TrustedIssuer;
use chancery_core::session::ABSOLUTE;
use chancery_core::time::{Timestamp, Ttl};
use chancery_core::user::LOCAL_ISSUER;
use chancery_oauth::form::Parameters;
use chancery_oauth::sign_in::{SignInAnswer, SignInWishes};
use std::sync::Arc;

/// The page where a person chooses an issuer.
#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
struct ChoosePage {
    frame: Frame,
    choices: Vec<Choice>,
    routes: bool,
    return_to: String,
    unknown: Option<Shown>,
    local: Option<LocalForm>,
}

/// What the form for accounts of our own carries.
#[derive(Debug)]
struct LocalForm {
    csrf: String,
    offer: Option<Offer>,
    script: &'static str,
}

#[derive(Debug)]
struct Choice {
    href: String,
    label: Shown,
}

/// What a person comes to the sign-in page with.
#[derive(Debug)]
struct Asked {
    return_to: String,
    issuer: Option<String>,
    email: Option<String>,
    wishes: SignInWishes,
}

impl Asked {
    fn parse(base: &str, query: &str) -> Self {
        // What is malformed is as good as absent: nothing depends on it but convenience.
        let taken = |name: &str| -> Option<String> {
            let mut parameters = Parameters::parse(query.as_bytes()).ok()?;
            parameters.take(name).filter(|value| value.len() <= 8_192)
        };
        let return_to = taken("return_to").and_then(|path| sign_in::local_path(base, &path));
        let email = taken("email").filter(|address| address.len() <= 254);
        Self {
            return_to: return_to.unwrap_or_else(|| "/me/agents".to_owned()),
            issuer: taken("issuer"),
            wishes: SignInWishes {
                login_hint: taken("login_hint")
                    .or_else(|| email.clone())
                    .filter(|hint| hint.len() <= 254),
                max_age: taken("max_age")
                    .and_then(|age| age.parse().ok())
                    .map(Ttl::from_seconds),
                acr_values: taken("acr_values").filter(|values| values.len() <= 512),
                is_afresh: taken("prompt").as_deref() == Some("login"),
            },
            email,
        }
    }

    fn is_plain(&self) -> bool {
        !self.wishes.is_afresh && self.wishes.max_age.is_none() && self.wishes.acr_values.is_none()
    }

    fn link(&self, issuer: &TrustedIssuer) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("return_to", &self.return_to)
            .append_pair("issuer", issuer.name.as_str());
        if let Some(hint) = &self.wishes.login_hint {
            query.append_pair("login_hint", hint);
        }
        if let Some(age) = self.wishes.max_age {
            query.append_pair("max_age", &age.as_seconds().to_string());
        }
        if let Some(values) = &self.wishes.acr_values {
            query.append_pair("acr_values", values);
        }
        if self.wishes.is_afresh {
            query.append_pair("prompt", "login");
        }
        format!("/sign-in?{}", query.finish())
    }
}

/// `GET {base}/sign-in`.
pub async fn start(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    RequestSource(source): RequestSource,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let asked = Asked::parse(&served.tenant.spec.base_url, &query.unwrap_or_default());
    let answer = async {
        let now = app.serving_now()?;
        if asked.is_plain() && super::session(&app, &served, &headers, now).await?.is_some() {
            return Ok(frame::see_other(&asked.return_to));
        }
        let issuers = sign_in::issuers(&app, &served).await?;
        let is_local = asked.issuer.as_deref() == Some(LOCAL_ISSUER);
        let has_local = is_local || local::is_offered(&app, &served).await?;
        let routed = asked
            .email
            .as_deref()
            .and_then(|address| sign_in::of_address(&issuers, address));
        let named = asked.issuer.as_deref();
        let chosen = match (named, issuers.as_slice()) {
            (Some(named), _) => issuers.iter().find(|issuer| issuer.name.as_str() == named),
            (None, [only]) if !has_local => Some(only),
            (None, _) => routed,
        };
        match chosen {
            Some(issuer) => {
                let arrival = Arrival { now, source };
                app.limits
                    .sign_in(served.tenant.id, arrival)
                    .map_err(Failure::from)?;
                send(&app, &served, issuer, (&asked, &headers), now).await
            }
            None if named.is_some() && !is_local => Err(SignInRefusal::IssuerUnknown),
            None => {
                let browser = has_local.then(|| browser_of(&app, &served, &headers));
                let local = browser.as_ref().map(|browser| LocalForm {
                    csrf: form_token(&served, browser),
                    offer: passkey::offer_sign_in(&app, &served, &digest(browser), now).ok(),
                    script: asset::passkey_script(),
                });
                let page = choose(&issuers, &asked, &served, local);
                Ok(match browser {
                    Some(browser) => with_browser(page, &served, &browser),
                    None => page,
                })
            }
        }
    };
    answer.await.unwrap_or_else(|refusal| refused(&refusal))
}

async fn send(
    app: &App,
    served: &Served,
    issuer: &TrustedIssuer,
    (asked, headers): (&Asked, &HeaderMap),
    now: Timestamp,
) -> Result<Response, SignInRefusal> {
    let base = &served.tenant.spec.base_url;
    let browser = Cookie::SignIn.read(base, headers);
    let wanted = (asked.return_to.as_str(), &asked.wishes);
    let begun = sign_in::begin(app, served, issuer, wanted, browser, now).await?;
    let mut response = frame::see_other(&begun.location);
    let cookie = Cookie::SignIn.set_secret(base, &begun.browser, Ttl::from_minutes(10));
    response
        .headers_mut()
        .extend(cookie.map(|header| (SET_COOKIE, header)));
    Ok(response)
}

fn choose(issuers: &[TrustedIssuer], asked: &Asked, served: &Served, local: Option<LocalForm>) -> Response {
    if issuers.is_empty() && local.is_none() {
        return Message::new(
            "Nobody can sign in here yet",
            "No issuer is set up at which people sign in.",
        )
        .with_code("sign_in_not_set_up")
        .with_hint("An administrator adds `sign_in` to a trusted issuer; the guide on people tells how.")
        .respond(StatusCode::NOT_FOUND);
    }
    let choice = |issuer: &TrustedIssuer| {
        let label = sign_in::method(issuer).and_then(|method| method.label.clone());
        Choice {
            href: asked.link(issuer),
            label: Shown::new(&label.unwrap_or_else(|| issuer.name.to_string())),
        }
    };
    let has_domains =
        |issuer: &TrustedIssuer| sign_in::method(issuer).is_some_and(|method| !method.domains.is_empty());
    let page = ChoosePage {
        frame: Frame::new("Sign in"),
        choices: issuers.iter().map(choice).collect(),
        routes: issuers.iter().any(has_domains),
        return_to: asked.return_to.clone(),
        unknown: asked.email.as_deref().map(Shown::new),
        local,
    };
    // The form leads on to an issuer, whose address is not known before it is asked.
    let onward = if served.tenant.spec.base_url.starts_with("http://") {
        "https: http:"
    } else {
        // Or, when nothing more is to be asked, straight on to the client, which may listen on this person's machine.
        "https: http://127.0.0.1:* http://localhost:*"
    };
    frame::render(StatusCode::OK, &page, &FormAction::OwnAnd(onward.to_owned()))
}

/// `GET {base}/sign-in/callback`.
pub async fn callback(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    RequestSource(source): RequestSource,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let base = &served.tenant.spec.base_url;
    let now = match app.serving_now() {
        Ok(now) => now,
        Err(failure) => return frame::failed(&failure),
    };
    let answer = async {
        let answer = SignInAnswer::parse(query.unwrap_or_default().as_bytes())?;
        let browser = Cookie::SignIn.read(base, &headers);
        let before = super::session(&app, &served, &headers, now).await?;
        sign_in::finish(&app, &served, &answer, (browser, before), now).await
    };
    let answer = answer.await;
    if let Err(refusal) = &answer {
        let noted = sign_in::note_refusal(&app, &served, refusal, Arrival { now, source }).await;
        if let Err(failure) = noted {
            return frame::failed(&failure);
        }
    }
    match answer {
        Ok(finished) => {
            let mut response = frame::see_other(&finished.return_to);
            let cookie = Cookie::Session.set_secret(base, &finished.session, ABSOLUTE);
            let headers = response.headers_mut();
            headers.extend(cookie.map(|header| (SET_COOKIE, header)));
            response
        }
        Err(refusal) => refused(&refusal),
    }
}

/// The page that says why nobody is signed in.
fn refused(refusal: &SignInRefusal) -> Response {
    let (status, code, text) = match refusal {
        SignInRefusal::Failure(failure) => return frame::failed(failure),
        SignInRefusal::IssuerUnknown => (
            StatusCode::NOT_FOUND,
            "issuer_unknown",
            "Nobody signs in at this issuer here.".to_owned(),
        ),
        SignInRefusal::Over => (
            StatusCode::BAD_REQUEST,
            "sign_in_over",
            "This sign-in is over, or was finished before.".to_owned(),
        ),
        SignInRefusal::OtherBrowser => (
            StatusCode::BAD_REQUEST,
            "other_browser",
            "This sign-in was begun in another browser.".to_owned(),
        ),
        SignInRefusal::Issuer(error) => (
            StatusCode::FORBIDDEN,
            "issuer_refused",
            format!(
                "Your organisation's sign-in page answered: {}.",
                Shown::new(error)
            ),
        ),
        SignInRefusal::Rule(_) | SignInRefusal::Token(_) => (
            StatusCode::BAD_REQUEST,
            "answer_refused",
            "What your organisation's sign-in page answered is not acceptable.".to_owned(),
        ),
        SignInRefusal::Provider(_) => (
            StatusCode::BAD_GATEWAY,
            "issuer_unavailable",
            "Your organisation's sign-in page cannot be used at the moment.".to_owned(),
        ),
        SignInRefusal::Person => (
            StatusCode::FORBIDDEN,
            "person_refused",
            "You may not sign in here. An administrator can tell you why.".to_owned(),
        ),
    };
    tracing::info!(error = %refusal, "a sign-in was refused");
    Message::new("You are not signed in", text)
        .with_code(code)
        .with_link("/sign-in", "Try again")
        .respond(status)
}
