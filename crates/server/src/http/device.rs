//! The device authorization endpoint (RFC 8628 §3.1, §3.2): bytes to a request, and the codes or the error back. The
//! page where a person answers is in `pages/device.rs`.

use crate::app::App;
use crate::http::error::oauth_error;
use crate::http::oauth::{form, whole};
use crate::http::pages::has_pages;
use crate::http::source::RequestSource;
use crate::http::tenant::RequestTenant;
use crate::people::device::{self, Begun};
use crate::tenants::Served;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL};
use axum::response::{IntoResponse as _, Response};
use chancery_oauth::error::OAuthError;
use chancery_oauth::request::device::DeviceAuthorizationRequest;
use serde_json::{Value, json};
use std::sync::Arc;

/// `POST {base}/device_authorization`.
pub async fn authorize(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    RequestSource(source): RequestSource,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let answer = async {
        let request = DeviceAuthorizationRequest::parse(form(&headers)?, &whole(body)?)?;
        if !has_pages(&served) {
            return Err(NO_PEOPLE.into());
        }
        device::begin(&app, &served, &request, source).await
    };
    match answer.await {
        Ok(begun) => ([(CACHE_CONTROL, "no-store")], axum::Json(told(&served, &begun))).into_response(),
        Err(failure) => oauth_error(
            &failure,
            &served.tenant.spec.base_url,
            headers.contains_key(AUTHORIZATION),
        ),
    }
}

fn told(served: &Served, begun: &Begun) -> Value {
    let page = format!("{}/device", served.tenant.spec.base_url);
    json!({
        "device_code": begun.device_code.expose_secret(),
        "user_code": begun.user_code.to_string(),
        "verification_uri": page,
        "verification_uri_complete": format!("{page}?user_code={}", begun.user_code),
        "expires_in": begun.lasts.as_seconds(),
        "interval": begun.interval.as_seconds(),
    })
}

const NO_PEOPLE: OAuthError =
    OAuthError::invalid_request("nobody can sign in at this tenant: it has no pages");
