//! How strongly an agent or a user was proved.

use serde::{Deserialize, Serialize};

/// How an agent proved itself, weakest first. It is on every token and policies see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentAssurance {
    /// A public client: it only says who it is. Works only with a signed-in user.
    Claimed,
    /// A shared secret.
    Secret,
    /// A private key of its own.
    Key,
    /// Its runtime's signed token.
    Runtime,
    /// A certificate.
    Mtls,
}

impl AgentAssurance {
    /// The word on tokens and in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Secret => "secret",
            Self::Key => "key",
            Self::Runtime => "runtime",
            Self::Mtls => "mtls",
        }
    }
}

/// How a user was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserAssurance {
    /// A trusted issuer vouched for the person.
    Verified,
    /// An agent named the person without proof. Has no roles and cannot be delegated from.
    Asserted,
}

impl UserAssurance {
    /// The word in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Asserted => "asserted",
        }
    }
}
