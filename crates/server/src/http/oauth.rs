//! The OAuth endpoints of a tenant.

use crate::app::App;
use crate::error::Failure;
use crate::http::error::{self, oauth_error};
use crate::http::pages::has_pages;
use crate::http::source::RequestSource;
use crate::http::tenant::RequestTenant;
use crate::issue::userinfo::{self, UserInfo};
use crate::issue::{credential, introspect as introspection, revoke as revocation, token as issuing};
use crate::registration;
use crate::tenants::Served;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use chancery_oauth::error::OAuthError;
use chancery_oauth::metadata::Metadata;
use chancery_oauth::request::introspection::IntrospectionRequest;
use chancery_oauth::request::revocation::RevocationRequest;
use chancery_oauth::request::token::{GrantRequest, TokenRequest};
use std::sync::Arc;

/// `POST {base}/token` (RFC 6749 §3.2).
pub async fn token(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    RequestSource(source): RequestSource,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let (mut grant, mut decides) = ("none", "issue_token");
    let answer = async {
        let request = TokenRequest::parse(form(&headers)?, &whole(body)?)?;
        grant = match &request.grant {
            GrantRequest::ClientCredentials => "client_credentials",
            GrantRequest::TokenExchange { .. } => "token_exchange",
            GrantRequest::Ciba { .. } => "ciba",
            GrantRequest::DeviceCode { .. } => "device_code",
            GrantRequest::JwtBearer { .. } => "jwt_bearer",
            GrantRequest::AuthorizationCode { .. } => "authorization_code",
            GrantRequest::RefreshToken { .. } => "refresh_token",
        };
        if let Some(connection) = credential::connection(&served, &request) {
            decides = "release_credential";
            return credential::exchange(&app, &served, (&request, connection), source).await;
        }
        issuing::token(&app, &served, &request, source).await
    };
    let answer = answer.await;
    count(&app, (grant, decides), answer.as_ref().err());
    respond(
        &served,
        &headers,
        answer.map(|response| no_store(axum::Json(response))),
    )
}

fn count(app: &App, (grant, decides): (&'static str, &'static str), failure: Option<&Failure>) {
    let error = failure.map(Failure::to_oauth);
    let code = error.as_ref().map_or("none", |error| error.code.as_str());
    app.metrics.token_request(grant, code);
    let is_decided = error.as_ref().is_none_or(|error| error.decision.is_some());
    if is_decided {
        app.metrics.decided_with(decides, error.is_none(), code);
    }
}

/// `POST {base}/introspect` (RFC 7662 §2).
pub async fn introspect(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    RequestSource(source): RequestSource,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let answer = async {
        let request = IntrospectionRequest::parse(form(&headers)?, &whole(body)?)?;
        introspection::introspect(&app, &served, &request, source).await
    };
    respond(
        &served,
        &headers,
        answer.await.map(|response| no_store(axum::Json(response))),
    )
}

/// `POST {base}/revoke` (RFC 7009 §2).
pub async fn revoke(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    RequestSource(source): RequestSource,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let answer = async {
        let request = RevocationRequest::parse(form(&headers)?, &whole(body)?)?;
        revocation::revoke(&app, &served, &request, source).await
    };
    respond(&served, &headers, answer.await.map(|()| no_store(StatusCode::OK)))
}

/// `GET` and `POST {base}/userinfo` (OpenID Connect Core §5.3).
pub async fn userinfo(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    headers: HeaderMap,
) -> Response {
    let header = headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    let token = header.and_then(|header| header.split_once(' '));
    let Some((_, token)) = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
        return challenge(StatusCode::UNAUTHORIZED, "Bearer");
    };
    match userinfo::of_token(&app, &served, token.trim()).await {
        Ok(UserInfo::Person(claims)) => no_store(axum::Json(claims)),
        Ok(UserInfo::TokenRefused) => challenge(StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\""),
        Ok(UserInfo::ScopeMissing) => challenge(
            StatusCode::FORBIDDEN,
            "Bearer error=\"insufficient_scope\", scope=\"openid\"",
        ),
        Err(failure) => failure.into_response(),
    }
}

/// RFC 6750 §3.
fn challenge(status: StatusCode, challenge: &'static str) -> Response {
    (
        status,
        [(CACHE_CONTROL, "no-store"), (WWW_AUTHENTICATE, challenge)],
    )
        .into_response()
}

/// `GET {base}/jwks` (RFC 7517 §5).
pub async fn jwks(Extension(RequestTenant(served)): Extension<RequestTenant>) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/jwk-set+json"),
        (CACHE_CONTROL, "public, max-age=300"),
    ];
    match serde_json::to_string(served.keys.published()) {
        Ok(body) => (headers, body).into_response(),
        Err(error) => error::internal(&error),
    }
}

/// `GET {base}/.well-known/oauth-authorization-server` and the OpenID form (RFC 8414 §3).
pub async fn metadata(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
) -> Response {
    let headers = [(CACHE_CONTROL, "public, max-age=300")];
    let known = async {
        let registering = registration::open_ways(&app, &served).await?;
        Ok((registering, app.directory.detail_types(served.tenant.id).await?))
    };
    let (registering, detail_types) = match known.await {
        Ok(known) => known,
        Err(failure) => return oauth_error(&failure, &served.tenant.spec.base_url, false),
    };
    let document = Metadata::new(&served.tenant.spec.base_url, has_pages(&served), registering)
        .with_detail_types(&detail_types);
    (headers, axum::Json(document)).into_response()
}

/// The `Authorization` header of a request whose body is a form.
pub(super) fn form(headers: &HeaderMap) -> Result<Option<&str>, OAuthError> {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(OAuthError::invalid_request(
            "the body is not application/x-www-form-urlencoded",
        ));
    }
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(OAuthError::invalid_request("more than one Authorization header"));
    }
    first
        .to_str()
        .map(Some)
        .map_err(|_| OAuthError::invalid_request("the Authorization header is not text"))
}

/// A body that could not be taken is too large, or broke off.
pub(super) fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, OAuthError> {
    body.map_err(|_| OAuthError::invalid_request("the body is too large or broke off"))
}

fn respond(served: &Served, headers: &HeaderMap, answer: Result<Response, Failure>) -> Response {
    answer.unwrap_or_else(|failure| {
        oauth_error(
            &failure,
            &served.tenant.spec.base_url,
            headers.contains_key(AUTHORIZATION),
        )
    })
}

fn no_store(response: impl axum::response::IntoResponse) -> Response {
    ([(CACHE_CONTROL, "no-store")], response).into_response()
}
