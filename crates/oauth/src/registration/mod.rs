//! Clients that make themselves known: by registration (RFC 7591, RFC 7592) or by a metadata document whose URL is
//! the `client_id` (draft-ietf-oauth-client-id-metadata-document). What they say is parsed and checked here; which
//! agent they come to is a matter of the tenant's rules. Nothing is fetched here, and software statements are not
//! taken.

pub mod document;
pub mod metadata;
pub mod rule;

use crate::error::{ErrorCode, OAuthError};

/// Why what a client says about itself is not taken (RFC 7591 §3.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// A redirect URI is missing, malformed, or not one that may be registered.
    #[error("{0}")]
    RedirectUri(&'static str),
    /// Another field breaks its rule.
    #[error("{0}")]
    Metadata(&'static str),
    /// A software statement was sent: nobody is trusted to make one.
    #[error("software statements are not taken here")]
    SoftwareStatement,
}

impl RegistrationError {
    /// The error of the registration endpoint.
    pub const fn to_wire(self) -> OAuthError {
        match self {
            Self::RedirectUri(text) => OAuthError::new(ErrorCode::InvalidRedirectUri, text),
            Self::Metadata(text) => OAuthError::new(ErrorCode::InvalidClientMetadata, text),
            Self::SoftwareStatement => OAuthError::new(
                ErrorCode::InvalidSoftwareStatement,
                "software statements are not taken here",
            ),
        }
    }
}
