//! Clients: the ways in for an agent.

use crate::id::ClientId;
use crate::name::Name;
use crate::noun::{Noun, Record, Spec, SpecError};
use serde::{Deserialize, Serialize};

/// What is specific to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ClientSpec {
    /// The agent that this is a way in for.
    pub agent: Name,
    /// How it proves itself.
    pub method: ClientAuthenticationMethod,
    /// Its public keys (a JWK set), for `private_key_jwt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<serde_json::Value>,
    /// Where it came from.
    #[serde(default)]
    pub provenance: Provenance,
}

/// A client.
pub type Client = Record<ClientId, ClientSpec>;

/// How a client authenticates at the token endpoint (OpenID Connect Core §9; RFC 7523 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthenticationMethod {
    /// A secret in the `Authorization` header (RFC 6749 §2.3.1).
    ClientSecretBasic,
    /// A secret in the form body.
    ClientSecretPost,
    /// An assertion signed with the client's own key.
    PrivateKeyJwt,
    /// The signed token of the platform that runs it, through a runtime binding.
    Runtime,
}

impl ClientAuthenticationMethod {
    /// The registered name of the method.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::Runtime => "runtime",
        }
    }

    /// Whether the client proves itself with a generated secret.
    pub const fn uses_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }
}

/// How a client came to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// Somebody made it.
    #[default]
    Manual,
    /// A runtime binding made it.
    Runtime,
}

impl Spec for ClientSpec {
    type Id = ClientId;
    const NOUN: Noun = Noun::Client;

    fn check(&self, _name: &Name) -> Result<(), SpecError> {
        if (self.method == ClientAuthenticationMethod::PrivateKeyJwt) != self.jwks.is_some() {
            return Err(SpecError::field(
                "jwks",
                "is given exactly when the method is `private_key_jwt`",
            ));
        }
        if (self.method == ClientAuthenticationMethod::Runtime) != (self.provenance == Provenance::Runtime) {
            return Err(SpecError::field(
                "method",
                "`runtime` belongs to clients that a runtime binding makes",
            ));
        }
        Ok(())
    }
}
