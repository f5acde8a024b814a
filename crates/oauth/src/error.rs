//! Errors of the OAuth endpoints: what goes on the wire, and what helps to fix it.

use chancery_core::id::{DecisionId, ReferenceId};
use std::fmt;

/// A registered error code (RFC 6749 §5.2, RFC 8693 §2.2.2, RFC 8707 §2, RFC 7009 §2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// Malformed, repeated or missing parameter; an unusable subject token.
    InvalidRequest,
    /// The client could not be authenticated.
    InvalidClient,
    /// The grant is not valid.
    InvalidGrant,
    /// The client may not use this grant.
    UnauthorizedClient,
    /// The grant type is unknown.
    UnsupportedGrantType,
    /// A scope is unknown, malformed or more than may be given.
    InvalidScope,
    /// The resource or audience is unknown.
    InvalidTarget,
    /// Policy refuses the request as a whole.
    AccessDenied,
    /// No grant covers the request; a person's consent would.
    ConsentRequired,
    /// Policy permits it only with a person's yes, which was asked for.
    ApprovalRequired,
    /// Nobody has answered yet (CIBA §11).
    AuthorizationPending,
    /// Nobody has answered yet, and the client asks too often (CIBA §11).
    SlowDown,
    /// Nobody answered in time (CIBA §11).
    ExpiredToken,
    /// A hint names nobody who can be asked (CIBA §13).
    UnknownUserId,
    /// A binding message cannot be shown (CIBA §13).
    InvalidBindingMessage,
    /// The token that names a person is over (CIBA §13).
    ExpiredLoginHintToken,
    /// The token type cannot be revoked.
    UnsupportedTokenType,
    /// A redirect URI cannot be registered (RFC 7591 §3.2.2).
    InvalidRedirectUri,
    /// Another field of a registration breaks its rule.
    InvalidClientMetadata,
    /// A software statement is not taken.
    InvalidSoftwareStatement,
    /// The bearer token of a request is not good (RFC 6750 §3.1).
    InvalidToken,
    /// Only `code` is a response type (RFC 6749 §4.1.2.1).
    UnsupportedResponseType,
    /// The person must sign in, and may not be asked to (OpenID Connect Core §3.1.2.6).
    LoginRequired,
    /// Authorization details are not taken (RFC 9396 §5).
    InvalidAuthorizationDetails,
    /// Request objects are not taken (OpenID Connect Core §3.1.2.6).
    RequestNotSupported,
    /// Request objects by reference are not taken.
    RequestUriNotSupported,
    /// Registration within a request is not taken.
    RegistrationNotSupported,
    /// Overloaded, or not sure of the present state: try again.
    TemporarilyUnavailable,
    /// A fault of ours.
    ServerError,
}

impl ErrorCode {
    /// The value of `error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::AccessDenied => "access_denied",
            Self::ConsentRequired => "consent_required",
            Self::ApprovalRequired => "approval_required",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::UnknownUserId => "unknown_user_id",
            Self::InvalidBindingMessage => "invalid_binding_message",
            Self::ExpiredLoginHintToken => "expired_login_hint_token",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::InvalidSoftwareStatement => "invalid_software_statement",
            Self::InvalidToken => "invalid_token",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::LoginRequired => "login_required",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }
}

/// An error to answer with. The description is fixed text: it never says whether something exists that the
/// caller may not know of, and never repeats what the caller sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthError {
    /// The registered code.
    pub code: ErrorCode,
    /// One sentence for the developer at the other end.
    pub description: &'static str,
    /// The decision that refused, when policy spoke.
    pub decision: Option<DecisionId>,
    /// The reference of a failed authentication, which `chancery why` accepts.
    pub reference: Option<ReferenceId>,
    /// Where a person can consent.
    pub consent_uri: Option<String>,
    /// The request for a person's yes.
    pub approval: Option<Box<AwaitedApproval>>,
}

/// A request for a person's yes, as the asking client is told of it.
#[derive(Clone, PartialEq, Eq)]
pub struct AwaitedApproval {
    /// The handle to poll with; only this client's.
    pub auth_req_id: String,
    /// Seconds between two polls.
    pub interval: u64,
    /// Seconds until nobody can answer any more.
    pub expires_in: u64,
    /// The page for people. An address, not a capability.
    pub approval_uri: String,
    /// The number to show to whoever started this, where approvers must choose it.
    pub number: Option<u32>,
}

impl fmt::Debug for AwaitedApproval {
    /// SECURITY: the handle goes to the caller and nowhere else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwaitedApproval")
            .field("approval_uri", &self.approval_uri)
            .finish_non_exhaustive()
    }
}

impl OAuthError {
    /// An error with its fixed sentence.
    pub const fn new(code: ErrorCode, description: &'static str) -> Self {
        Self {
            code,
            description,
            decision: None,
            reference: None,
            consent_uri: None,
            approval: None,
        }
    }

    /// A malformed request.
    pub const fn invalid_request(description: &'static str) -> Self {
        Self::new(ErrorCode::InvalidRequest, description)
    }

    /// A client that could not be authenticated. Always the same sentence: which part failed is in the log,
    /// under the reference.
    pub const fn invalid_client() -> Self {
        Self::new(
            ErrorCode::InvalidClient,
            "client authentication failed; `chancery why REFERENCE` tells an operator the reason",
        )
    }

    /// A client that is not registered for what it asks.
    pub const fn unauthorized_client() -> Self {
        Self::new(
            ErrorCode::UnauthorizedClient,
            "this client is not registered for this grant; its `grant_types` say which it may use",
        )
    }

    /// A resource or audience that is not known.
    pub const fn invalid_target() -> Self {
        Self::new(
            ErrorCode::InvalidTarget,
            "the resource or audience is not known here",
        )
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.description)
    }
}

impl std::error::Error for OAuthError {}
