//! The backchannel authentication endpoint (OpenID Connect CIBA Core §7): bytes to a request, and the acknowledgement
//! or its error back.

use crate::app::App;
use crate::approve::backchannel;
use crate::error::Failure;
use crate::http::error::{awaited, oauth_error};
use crate::http::oauth::{form, whole};
use crate::http::source::RequestSource;
use crate::http::tenant::RequestTenant;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use chancery_oauth::error::ErrorCode;
use chancery_oauth::request::backchannel::BackchannelRequest;
use serde_json::{Map, Value};
use std::sync::Arc;

/// `POST {base}/bc-authorize`.
pub async fn authenticate(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    RequestSource(source): RequestSource,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let answer = async {
        let request = BackchannelRequest::parse(form(&headers)?, &whole(body)?)?;
        backchannel::ask(&app, &served, &request, source).await
    };
    match answer.await {
        Ok(approval) => {
            let members: Map<String, Value> = awaited(&approval).into_iter().collect();
            ([(CACHE_CONTROL, "no-store")], axum::Json(members)).into_response()
        }
        Err(failure) => refused(&failure, &served.tenant.spec.base_url, &headers),
    }
}

/// CIBA §13 has a status of its own for a refusal.
fn refused(failure: &Failure, realm: &str, headers: &HeaderMap) -> Response {
    let mut response = oauth_error(failure, realm, headers.contains_key(AUTHORIZATION));
    if failure.to_oauth().code == ErrorCode::AccessDenied {
        *response.status_mut() = StatusCode::FORBIDDEN;
    }
    response
}
