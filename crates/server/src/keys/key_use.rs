//! What a signing key signs: a key signs one kind of thing and nothing else (design, section 4, rule 1).

use crate::error::Failure;
use chancery_vault::SigningUse;
use serde::{Deserialize, Serialize};

/// What a key for tokens signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyUse {
    /// Access tokens.
    #[default]
    AccessToken,
    /// ID tokens.
    IdToken,
    /// Assertions of agents to clouds.
    Federation,
}

impl KeyUse {
    /// The word stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::IdToken => "id_token",
            Self::Federation => "federation",
        }
    }

    pub(super) fn parse(word: &str) -> Result<Self, Failure> {
        let all = [Self::AccessToken, Self::IdToken, Self::Federation];
        let found = all.into_iter().find(|use_| use_.as_str() == word);
        found.ok_or_else(|| Failure::Internal("a key has an unknown purpose".to_owned()))
    }

    /// What its sealed form is bound to.
    pub(super) const fn sealed_for(self) -> SigningUse {
        match self {
            Self::AccessToken => SigningUse::Token,
            Self::IdToken => SigningUse::IdToken,
            Self::Federation => SigningUse::Federation,
        }
    }
}
