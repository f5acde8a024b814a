//! The only place that turns failures into HTTP: OAuth errors (RFC 6749 §5.2) at the OAuth endpoints, problem
//! documents (RFC 9457) everywhere else.

use crate::error::{Failure, Refusal};
use crate::limits::Limited;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chancery_oauth::error::{AwaitedApproval, ErrorCode};
use chancery_policy::manage::ManagementDenied;
use chancery_store::DbError;
use serde::Serialize;
use serde_json::json;

/// A problem document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// `urn:chancery:problem:{code}`: stable.
    #[serde(rename = "type")]
    pub kind: String,
    /// The stable code.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// One sentence.
    pub detail: String,
    /// How to fix it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// After how many seconds to try again.
    #[serde(skip)]
    retry_after: Option<u64>,
    /// What policy refused, for the record.
    #[serde(skip)]
    denied: Option<Box<ManagementDenied>>,
}

/// On a response: policy refused a management request.
#[derive(Clone, Debug)]
pub struct DeniedManagement(pub ManagementDenied);

impl Problem {
    /// A problem.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let kind = format!("urn:chancery:problem:{code}");
        Self {
            kind,
            code,
            status: status.as_u16(),
            detail: detail.into(),
            hint: None,
            retry_after: None,
            denied: None,
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl Problem {
    /// The response with members of its own besides, from an object (RFC 9457 §3.2).
    pub fn respond_with(self, members: serde_json::Value) -> Response {
        let mut whole = serde_json::to_value(&self).unwrap_or_default();
        if let (Some(whole), serde_json::Value::Object(members)) = (whole.as_object_mut(), members) {
            whole.extend(members);
        }
        let mut response = self.into_response();
        *response.body_mut() = axum::body::Body::from(whole.to_string());
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (
            status,
            [
                (CONTENT_TYPE, "application/problem+json"),
                (CACHE_CONTROL, "no-store"),
            ],
            body,
        )
            .into_response();
        response.extensions_mut().extend(denied_extension(self.denied));
        let is_unavailable = status == StatusCode::SERVICE_UNAVAILABLE;
        if let Some(seconds) = self.retry_after.or(is_unavailable.then_some(1)) {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn denied_extension(denied: Option<Box<ManagementDenied>>) -> http::Extensions {
    let mut extensions = http::Extensions::new();
    if let Some(denied) = denied {
        extensions.insert(DeniedManagement(*denied));
    }
    extensions
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        problem(&failure)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        problem(&self).into_response()
    }
}

/// The status of an error code (RFC 6749 §5.2).
const fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidClient | ErrorCode::InvalidToken => StatusCode::UNAUTHORIZED,
        ErrorCode::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::InvalidRequest
        | ErrorCode::InvalidGrant
        | ErrorCode::UnauthorizedClient
        | ErrorCode::UnsupportedGrantType
        | ErrorCode::InvalidScope
        | ErrorCode::InvalidTarget
        | ErrorCode::AccessDenied
        | ErrorCode::ConsentRequired
        | ErrorCode::ApprovalRequired
        | ErrorCode::UnknownUserId
        | ErrorCode::InvalidBindingMessage
        | ErrorCode::ExpiredLoginHintToken
        | ErrorCode::AuthorizationPending
        | ErrorCode::SlowDown
        | ErrorCode::ExpiredToken
        | ErrorCode::UnsupportedTokenType
        | ErrorCode::InvalidRedirectUri
        | ErrorCode::InvalidClientMetadata
        | ErrorCode::InvalidSoftwareStatement
        | ErrorCode::UnsupportedResponseType
        | ErrorCode::LoginRequired
        | ErrorCode::InvalidAuthorizationDetails
        | ErrorCode::RequestNotSupported
        | ErrorCode::RequestUriNotSupported
        | ErrorCode::RegistrationNotSupported => StatusCode::BAD_REQUEST,
    }
}

/// The answer of an OAuth endpoint to a failure.
pub fn oauth_error(failure: &Failure, realm: &str, used_header: bool) -> Response {
    log(failure);
    let error = failure.to_oauth();
    let limited = match failure {
        Failure::Limited(limited) => Some(*limited),
        Failure::OAuth(_)
        | Failure::Refused(_)
        | Failure::Denied(_)
        | Failure::Database(_)
        | Failure::KeyService(_)
        | Failure::Stale(_)
        | Failure::Start(_)
        | Failure::Internal(_) => None,
    };
    let status = status_of(error.code);
    let status = limited.map_or(status, |_| StatusCode::TOO_MANY_REQUESTS);
    let mut body = json!({ "error": error.code.as_str(), "error_description": error.description });
    if let Some(members) = body.as_object_mut() {
        members.extend(error.decision.map(|id| ("decision".to_owned(), json!(id))));
        members.extend(error.reference.map(|id| ("reference".to_owned(), json!(id))));
        members.extend(
            error
                .consent_uri
                .map(|uri| ("consent_uri".to_owned(), json!(uri))),
        );
        members.extend(error.approval.iter().flat_map(|approval| awaited(approval)));
    }
    let mut response = (status, [(CACHE_CONTROL, "no-store")], axum::Json(body)).into_response();
    let headers = response.headers_mut();
    if error.code == ErrorCode::InvalidToken {
        let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
        headers.insert(WWW_AUTHENTICATE, challenge);
    } else if status == StatusCode::UNAUTHORIZED && used_header {
        let challenge = HeaderValue::from_str(&format!("Basic realm=\"{realm}\""));
        headers.extend(challenge.ok().map(|value| (WWW_AUTHENTICATE, value)));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let Some(limited) = limited {
        headers.insert(RETRY_AFTER, HeaderValue::from(limited.retry_seconds()));
    }
    response
}

/// What a client needs to wait for a person's yes (CIBA §7.3).
pub(super) fn awaited(approval: &AwaitedApproval) -> Vec<(String, serde_json::Value)> {
    let mut members = vec![
        ("auth_req_id".to_owned(), json!(approval.auth_req_id)),
        ("interval".to_owned(), json!(approval.interval)),
        ("expires_in".to_owned(), json!(approval.expires_in)),
        ("approval_uri".to_owned(), json!(approval.approval_uri)),
    ];
    members.extend(approval.number.map(|number| ("number".to_owned(), json!(number))));
    members
}

/// The problem that stands for a failure.
pub fn problem(failure: &Failure) -> Problem {
    log(failure);
    match failure {
        Failure::Refused(refusal) => refused(refusal),
        Failure::Denied(denied) => {
            let hint = match denied.policies.as_slice() {
                [] => "no policy permits it; an administrator may do it, or change the policies".to_owned(),
                policies => format!("forbidden by {}", policies.join(", ")),
            };
            let problem =
                Problem::new(StatusCode::FORBIDDEN, "denied_by_policy", denied.to_string()).with_hint(hint);
            Problem {
                denied: Some(Box::new(denied.clone())),
                ..problem
            }
        }
        Failure::Limited(limited) => limit_reached(limited),
        Failure::OAuth(error) => {
            Problem::new(StatusCode::BAD_REQUEST, error.code.as_str(), error.description)
        }
        Failure::Database(DbError::TextWithNul) => text_with_nul(),
        Failure::Database(error) if error.is_retryable() => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the database does not answer; try again",
        ),
        Failure::Database(DbError::UnknownOutcome { .. }) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the database does not say whether this was done; look before you try again",
        ),
        Failure::Database(DbError::Full { .. }) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the database is full, and nothing was changed",
        ),
        Failure::KeyService(_) => key_service_unavailable(),
        Failure::Stale(reason) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            format!("this node does not answer now: {reason}"),
        ),
        Failure::Database(_) | Failure::Start(_) | Failure::Internal(_) => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "a fault of the server; its log has the details",
        ),
    }
}

/// A limit is reached (RFC 6585 §4).
pub fn limit_reached(limited: &Limited) -> Problem {
    let problem = Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "limit_reached",
        limited.to_string(),
    );
    Problem {
        retry_after: Some(limited.retry_seconds()),
        ..problem
    }
    .with_hint("ask less often; the operator sets limits with `chancery serve --limits`")
}

fn refused(refusal: &Refusal) -> Problem {
    let (status, code) = match refusal {
        Refusal::NotFound { .. } | Refusal::Unknown { .. } => (StatusCode::NOT_FOUND, "not_found"),
        Refusal::Exists { .. } => (StatusCode::CONFLICT, "exists"),
        Refusal::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
        Refusal::Lifecycle { .. } => (StatusCode::CONFLICT, "lifecycle"),
        Refusal::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
        Refusal::Repository { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "repository_unknown"),
        Refusal::Upstream { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "upstream_unusable"),
        Refusal::NotConnected { .. } => (StatusCode::FORBIDDEN, "account_not_connected"),
        Refusal::ProviderUnavailable { .. } => (StatusCode::BAD_GATEWAY, "provider_unavailable"),
        Refusal::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
    };
    Problem {
        hint: refusal.hint(),
        ..Problem::new(status, code, refusal.to_string())
    }
}

/// A fault of ours outside any use case.
pub fn internal(error: &dyn std::fmt::Display) -> Response {
    tracing::error!(%error, "internal fault");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "a fault of the server; its log has the details",
    )
    .into_response()
}

/// A text of the request holds U+0000.
pub fn text_with_nul() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid",
        "a text holds the character U+0000, which cannot be stored",
    )
}

/// The host names no tenant.
pub fn unknown_host() -> Problem {
    Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "unknown_host",
        "no tenant is served under this host and path",
    )
    .with_hint("use the base URL exactly as it was configured (`--public-url`), host name and port included")
}

/// The tenant's data was restored from a backup, and nobody has confirmed it yet.
pub fn unconfirmed() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "restore_unconfirmed",
        "the data was restored from a backup; nothing is issued until an administrator has confirmed it",
    )
    .with_hint("look at what was changed after the backup, then: chancery restore --confirm")
}

/// The path names nothing.
pub fn no_such_endpoint() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_endpoint",
        "there is nothing at this path",
    )
    .with_hint("the administration interface is described at /api/v1/openapi.json")
}

/// What was asked for needs the service that holds the root key, and it gives no usable answer.
pub fn key_service_unavailable() -> Problem {
    let problem = Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "key_service_unavailable",
        "the service that holds the root key gives no usable answer, and this needs it",
    );
    Problem {
        retry_after: Some(KEY_SERVICE_SECONDS),
        ..problem.with_hint("try again; the operator's log says what is wrong with it")
    }
}

/// The path takes another method.
pub fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong_method",
        "this path takes another method",
    )
}

/// A little longer than the time between two questions to a key service that fails.
const KEY_SERVICE_SECONDS: u64 = 5;

/// Client faults are information, ours are errors.
fn log(failure: &Failure) {
    match failure {
        Failure::Database(DbError::TextWithNul) => tracing::info!("a text with U+0000 was refused"),
        Failure::Internal(_) | Failure::Start(_) | Failure::Database(_) => {
            tracing::error!(error = %failure, "a request failed");
        }
        Failure::Stale(_) | Failure::KeyService(_) => {
            tracing::warn!(error = %failure, "a request was not answered");
        }
        Failure::OAuth(_) | Failure::Refused(_) | Failure::Denied(_) | Failure::Limited(_) => {
            tracing::info!(error = %failure, "a request was refused");
        }
    }
}
