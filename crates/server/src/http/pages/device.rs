//! The page where a person types the code that a device shows (RFC 8628 §3.3): `{base}/device`. A link that carries the
//! code only fills it in: whoever sent the link could be somebody else, so that nothing happens before the person has
//! said that it is the code of a device of theirs (§3.3.1, §5.4).

use super::frame::{self, FormAction, Frame, Message};
use super::sign_out::refused;
use super::{Visitor, forgery};
use crate::app::App;
use crate::error::Failure;
use crate::http::source::RequestSource;
use crate::issue::arrival::Arrival;
use crate::people::device;
use askama::Template;
use axum::extract::{Form, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chancery_oauth::form::Parameters;
use chancery_oauth::user_code::UserCode;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Debug, Template)]
#[template(path = "device.html")]
struct DevicePage {
    frame: Frame,
    csrf: String,
    code: String,
    is_linked: bool,
    is_unknown: bool,
}

/// What the form sends.
#[derive(Debug, Deserialize)]
pub struct Typed {
    /// See [`forgery`].
    #[serde(default)]
    csrf: Option<String>,
    /// The code.
    #[serde(default)]
    user_code: String,
}

/// `GET {base}/device`.
pub async fn show(visitor: Visitor, RawQuery(query): RawQuery) -> Response {
    let linked = query.and_then(|query| {
        let mut parameters = Parameters::parse(query.as_bytes()).ok()?;
        UserCode::parse(&parameters.take("user_code")?)
    });
    let page = page(&visitor, linked.as_ref(), false);
    frame::render(StatusCode::OK, &page, &FormAction::Own)
}

/// `POST {base}/device`.
pub async fn enter(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    RequestSource(source): RequestSource,
    headers: HeaderMap,
    Form(form): Form<Typed>,
) -> Response {
    let (served, signed_in) = (&visitor.served, &visitor.signed_in);
    if let Err(error) = forgery::check(served, &headers, signed_in, form.csrf.as_deref()) {
        return refused(error);
    }
    let arrival = Arrival {
        now: visitor.now,
        source,
    };
    match device::enter(&app, served, signed_in, &form.user_code, arrival).await {
        Ok(Some(id)) => frame::see_other(&format!("/consent/{id}")),
        Ok(None) => {
            let page = page(&visitor, None, true);
            frame::render(StatusCode::NOT_FOUND, &page, &FormAction::Own)
        }
        Err(Failure::Limited(limited)) => too_many(limited.retry_seconds()),
        Err(failure) => frame::failed(&failure),
    }
}

fn page(visitor: &Visitor, linked: Option<&UserCode>, is_unknown: bool) -> DevicePage {
    DevicePage {
        frame: Frame::of("Connect a device", &visitor.served, &visitor.signed_in, "/device"),
        csrf: visitor.signed_in.form_token(&visitor.served),
        code: linked.map(ToString::to_string).unwrap_or_default(),
        is_linked: linked.is_some(),
        is_unknown,
    }
}

fn too_many(seconds: u64) -> Response {
    Message::new(
        "Too many codes were tried",
        format!("Wait {} minutes, then try again.", seconds.div_ceil(60)),
    )
    .with_code("too_many_codes")
    .with_hint("Nothing was given to anybody. Start again at the device if its code is over.")
    .respond(StatusCode::TOO_MANY_REQUESTS)
}

/// `GET {base}/device/allowed`.
pub async fn allowed(visitor: Visitor) -> Response {
    Message::new("Allowed", "The device may do what you left ticked.")
        .for_person(&visitor.served, &visitor.signed_in)
        .with_hint("Go back to the device. It goes on by itself.")
        .with_link("/me/agents", MY_AGENTS)
        .respond(StatusCode::OK)
}

/// `GET {base}/device/denied`.
pub async fn denied(visitor: Visitor) -> Response {
    Message::new("Not allowed", "The device may not do what it asked for.")
        .for_person(&visitor.served, &visitor.signed_in)
        .with_link("/me/agents", MY_AGENTS)
        .respond(StatusCode::OK)
}

const MY_AGENTS: &str = "See what agents may do for you";
