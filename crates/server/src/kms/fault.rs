//! Why a key service did not help, and what to do about it.

use crate::egress::EgressError;
use chancery_vault::ServiceError;
use std::path::PathBuf;

/// A failure, with the key it is about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("root key {key}: {error}")]
pub struct KeyServiceFault {
    /// The key, as the operator named it.
    pub key: String,
    /// What went wrong.
    pub error: KeyServiceError,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyServiceError {
    /// No answer.
    #[error("the key service cannot be asked: {0}")]
    Unreachable(#[from] EgressError),
    /// An answer that is not what was asked for.
    #[error(transparent)]
    Answer(#[from] ServiceError),
    /// The file with the credential cannot be read.
    #[error("the credential in `{path}` cannot be read ({kind})")]
    Credential {
        /// The file.
        path: PathBuf,
        /// Why not.
        kind: std::io::ErrorKind,
    },
    /// It gave a key back, but not the one that was wrapped.
    #[error("the key service gave another key back than the one that it was given")]
    AnotherKey,
}

impl KeyServiceError {
    /// Whether the service works, but does not open this with its key.
    pub const fn is_not_ours(&self) -> bool {
        match self {
            Self::AnotherKey | Self::Answer(ServiceError::NotOurs { .. } | ServiceError::Stored) => true,
            Self::Unreachable(_)
            | Self::Credential { .. }
            | Self::Answer(
                ServiceError::Unavailable { .. }
                | ServiceError::Denied { .. }
                | ServiceError::Refused { .. }
                | ServiceError::Credential(_)
                | ServiceError::Malformed(_),
            ) => false,
        }
    }

    /// How to fix it.
    pub fn hint(&self) -> String {
        match self {
            Self::Unreachable(EgressError::AddressNotAllowed { .. } | EgressError::NotHttps) => {
                "a key service on a private address is allowed by --allow-hosts HOST:PORT; http is spoken on this machine \
                 only"
                    .to_owned()
            }
            Self::Unreachable(EgressError::Connect { .. }) => {
                "is it running, and is its certificate's authority known here? else --extra-ca-file".to_owned()
            }
            Self::Unreachable(_) => "is the key service running, and can it be reached from here?".to_owned(),
            Self::Answer(ServiceError::Unavailable { .. }) => {
                "the key service must be unsealed and in service; it is asked again and again, nothing else is to do here"
                    .to_owned()
            }
            Self::Answer(ServiceError::Denied { .. }) => {
                "give a credential that may encrypt and decrypt with this key (--root-key-credential); a file is read anew \
                 for every request"
                    .to_owned()
            }
            Self::Answer(ServiceError::Refused { .. }) => {
                "does the key exist there, and may it encrypt and decrypt? Chancery makes none".to_owned()
            }
            Self::Answer(ServiceError::NotOurs { .. } | ServiceError::Stored) | Self::AnotherKey => {
                "it is another key than the one the data was sealed with, or an old version of it is no longer allowed to \
                 decrypt (min_decryption_version)"
                    .to_owned()
            }
            Self::Answer(ServiceError::Malformed(_)) => "is this address really the key service's?".to_owned(),
            Self::Credential { .. } | Self::Answer(ServiceError::Credential(_)) => "--root-key-credential names the file with it".to_owned(),
        }
    }
}
