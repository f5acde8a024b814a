//! The `WWW-Authenticate` challenge of a protected MCP server (RFC 6750 §3; RFC 9728 §5.1; MCP authorization, "Scope
//! Challenge Handling").
//!
//! Says where the metadata is, what is wrong and which scopes would do. `offline_access` is never among them: it is no
//! right at a resource. Does not judge tokens.

use chancery_core::scope::ScopeSet;
use std::fmt;

/// Why access is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no token: no error is named (RFC 6750 §3.1).
    NoToken,
    /// The request is malformed, as with two tokens.
    InvalidRequest,
    /// The token is unknown, expired, revoked, or of another resource.
    InvalidToken,
    /// The token is good and its scopes do not suffice.
    InsufficientScope,
}

/// A challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    refusal: Refusal,
    resource_metadata: String,
    scopes: ScopeSet,
    description: Option<String>,
}

/// Why a challenge cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// The URL of the metadata has characters that a URL has not.
    #[error("the url of the metadata is no url")]
    MetadataUrl,
    /// The description has characters that RFC 6750 §3 does not allow.
    #[error("the description has characters that a challenge may not have")]
    Description,
}

impl Refusal {
    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::NoToken | Self::InvalidToken => 401,
            Self::InsufficientScope => 403,
        }
    }

    /// The value of `error`.
    pub const fn code(self) -> Option<&'static str> {
        match self {
            Self::NoToken => None,
            Self::InvalidRequest => Some("invalid_request"),
            Self::InvalidToken => Some("invalid_token"),
            Self::InsufficientScope => Some("insufficient_scope"),
        }
    }
}

impl Challenge {
    /// A challenge that points to the metadata at this URL.
    ///
    /// # Errors
    /// The URL cannot stand in a header.
    pub fn new(refusal: Refusal, resource_metadata: &str) -> Result<Self, ChallengeError> {
        if resource_metadata.is_empty() || !resource_metadata.bytes().all(is_quotable) {
            return Err(ChallengeError::MetadataUrl);
        }
        Ok(Self {
            refusal,
            resource_metadata: resource_metadata.to_owned(),
            scopes: ScopeSet::default(),
            description: None,
        })
    }

    /// The same with every scope that the operation needs, the ones that the token has included or not.
    #[must_use]
    pub fn with_scopes(mut self, scopes: &ScopeSet) -> Self {
        let meant = scopes.iter().filter(|scope| scope.as_str() != OFFLINE_ACCESS);
        self.scopes = meant.cloned().collect();
        self
    }

    /// The same with a sentence for the developer.
    ///
    /// # Errors
    /// The sentence has quotes, backslashes, or other than visible ASCII and blanks.
    pub fn with_description(mut self, description: &str) -> Result<Self, ChallengeError> {
        if !description.bytes().all(|byte| byte == b' ' || is_quotable(byte)) {
            return Err(ChallengeError::Description);
        }
        self.description = Some(description.to_owned());
        Ok(self)
    }

    /// Why access is refused.
    pub const fn refusal(&self) -> Refusal {
        self.refusal
    }
}

/// The value of `WWW-Authenticate`.
impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bearer resource_metadata=\"{}\"", self.resource_metadata)?;
        if let Some(code) = self.refusal.code() {
            write!(f, ", error=\"{code}\"")?;
            if let Some(description) = &self.description {
                write!(f, ", error_description=\"{description}\"")?;
            }
        }
        if !self.scopes.is_empty() {
            write!(f, ", scope=\"{}\"", self.scopes)?;
        }
        Ok(())
    }
}

/// Visible ASCII that needs no escape in a quoted string (RFC 6750 §3, RFC 9110 §5.6.4). What would need one is
/// refused: not every client unescapes.
const fn is_quotable(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'
}

/// A scope of the authorization server (OpenID Connect Core §11), not of a resource.
pub(crate) const OFFLINE_ACCESS: &str = "offline_access";

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://id.example/.well-known/oauth-protected-resource/mcp/notes";

    fn scopes(text: &str) -> ScopeSet {
        ScopeSet::parse(text).unwrap()
    }

    #[test]
    fn without_a_token_no_error_is_named() {
        let challenge = Challenge::new(Refusal::NoToken, URL)
            .unwrap()
            .with_scopes(&scopes("notes.read"));
        assert_eq!(
            challenge.to_string(),
            format!("Bearer resource_metadata=\"{URL}\", scope=\"notes.read\"")
        );
        assert_eq!(challenge.refusal().status(), 401);
    }

    #[test]
    fn a_bad_token_is_401_and_too_few_scopes_403() {
        let challenge = Challenge::new(Refusal::InvalidToken, URL).unwrap();
        assert_eq!(
            challenge.to_string(),
            format!("Bearer resource_metadata=\"{URL}\", error=\"invalid_token\"")
        );
        assert_eq!(Refusal::InvalidToken.status(), 401);
        assert_eq!(Refusal::InvalidRequest.status(), 400);
        let challenge = Challenge::new(Refusal::InsufficientScope, URL)
            .unwrap()
            .with_scopes(&scopes("notes.read notes.write"))
            .with_description("the tool needs more")
            .unwrap();
        assert_eq!(
            challenge.to_string(),
            format!(
                "Bearer resource_metadata=\"{URL}\", error=\"insufficient_scope\", error_description=\"the tool needs more\", scope=\"notes.read notes.write\""
            )
        );
        assert_eq!(challenge.refusal().status(), 403);
    }

    #[test]
    fn offline_access_is_never_asked_for() {
        let challenge = Challenge::new(Refusal::NoToken, URL).unwrap();
        let only = challenge.clone().with_scopes(&scopes("offline_access"));
        assert!(!only.to_string().contains("scope="));
        let both = challenge.with_scopes(&scopes("notes.read offline_access"));
        assert!(both.to_string().ends_with("scope=\"notes.read\""));
    }

    #[test]
    fn nothing_breaks_out_of_its_quotes() {
        for text in ["a\", error=\"x", "a\\", "a\r\nX: 1", "é"] {
            assert_eq!(
                Challenge::new(Refusal::NoToken, text),
                Err(ChallengeError::MetadataUrl)
            );
            let challenge = Challenge::new(Refusal::NoToken, URL).unwrap();
            assert_eq!(challenge.with_description(text), Err(ChallengeError::Description));
        }
        assert_eq!(
            Challenge::new(Refusal::NoToken, "https://a b"),
            Err(ChallengeError::MetadataUrl)
        );
    }
}
