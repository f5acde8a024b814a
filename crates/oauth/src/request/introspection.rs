//! The introspection request (RFC 7662 §2.1).

use super::client::PresentedClient;
use crate::error::OAuthError;
use crate::form::Parameters;
use chancery_core::secret::Secret;

/// A request to introspect a token.
#[derive(Debug)]
pub struct IntrospectionRequest {
    /// What the caller presented.
    pub client: PresentedClient,
    /// The token in question. `token_type_hint` is read and ignored: there is one type.
    pub token: Secret<String>,
}

impl IntrospectionRequest {
    /// Reads the request.
    ///
    /// # Errors
    /// `invalid_request` when a parameter is missing, repeated or malformed; `invalid_client` for no proof.
    pub fn parse(authorization: Option<&str>, body: &[u8]) -> Result<Self, OAuthError> {
        let mut form = Parameters::parse(body)?;
        let token = form
            .take_secret("token")
            .ok_or_else(|| OAuthError::invalid_request("token is missing"))?;
        let client = PresentedClient::parse(authorization, &mut form)?;
        Ok(Self { client, token })
    }
}
