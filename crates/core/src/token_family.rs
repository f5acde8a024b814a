//! Token families: everything that was issued on one authorization code. Ending the family ends all of it, which is
//! what a second use of a code or of a refresh token does (RFC 6749 §4.1.2, RFC 9700 §4.14.2).

use crate::authorization_details::AuthorizationDetails;
use crate::id::{ClientId, SessionId, TokenFamilyId};
use crate::lineage::Lineage;
use crate::name::Name;
use crate::noun::{Noun, Record, Spec, SpecError};
use crate::time::Timestamp;
use crate::uri::ResourceUri;
use serde::{Deserialize, Serialize};

/// What is specific to a family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFamilySpec {
    /// The person.
    pub user: Name,
    /// The agent.
    pub agent: Name,
    /// The client that the code was issued to.
    pub client: ClientId,
    /// The session in which the person answered.
    pub session: SessionId,
    /// Whether it outlives the session (OpenID Connect Core §11).
    pub is_offline: bool,
    /// Where its tokens are used; none for agent tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceUri>,
    /// The most that its tokens may carry, as tokens write it.
    pub scope: String,
    /// The authorization details that its tokens may have, and no others.
    #[serde(default, skip_serializing_if = "AuthorizationDetails::is_empty")]
    pub authorization_details: AuthorizationDetails,
    /// What was asked for about the person: `openid`, `profile`, `email`, `offline_access`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identity: Vec<String>,
    /// When the person last proved who they are.
    pub authenticated_at: Timestamp,
    /// How strongly, in the issuer's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// By which means.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// When nothing more is issued in it.
    pub expires_at: Timestamp,
    /// What it hangs on, each with its generation when the person agreed.
    pub lineage: Lineage,
}

/// A family.
pub type TokenFamily = Record<TokenFamilyId, TokenFamilySpec>;

impl TokenFamilySpec {
    /// Whether this was asked for about the person.
    pub fn has_identity(&self, scope: &str) -> bool {
        self.identity.iter().any(|asked| asked == scope)
    }
}

impl Spec for TokenFamilySpec {
    type Id = TokenFamilyId;
    const NOUN: Noun = Noun::TokenFamily;

    fn check(&self, _name: &Name) -> Result<(), SpecError> {
        Ok(())
    }
}
