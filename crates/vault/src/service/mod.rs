//! Services that hold the root key (design, section 8): what is asked of them, as requests to be sent, and what their
//! answers mean. A service is given a [`WrappingKey`] to wrap and what it made of one to unwrap, nothing else.
//!
//! Nothing here sends anything, reads a clock, or knows where a credential is kept.

mod aws;
mod azure;
mod google;
mod text;
mod transit;

pub use aws::Aws;
pub use azure::Azure;
pub use google::Google;
pub use transit::Transit;

use crate::error::VaultError;
use crate::root::RootKeyId;
use crate::wrapping::{Binding, WrappingKey};
use chancery_core::secret::Secret;
use chancery_core::time::Timestamp;
use std::fmt;
use std::str::FromStr;

/// A key of a service, as the operator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyService {
    /// The Transit engine of OpenBao or HashiCorp Vault.
    Transit(Transit),
    /// AWS KMS.
    Aws(Aws),
    /// Google Cloud KMS.
    Google(Google),
    /// Azure Key Vault.
    Azure(Azure),
}

/// What a request is made with.
#[derive(Clone, Copy, Debug)]
pub struct Proof<'a> {
    /// What proves that we may use the key: a token, or for AWS a shared credentials file.
    pub credential: &'a Secret<String>,
    /// The time, which AWS has signed.
    pub now: Timestamp,
}

impl KeyService {
    /// Whether a text names a key of a service, and no file.
    pub fn is_named_by(text: &str) -> bool {
        let prefixes = [transit::PREFIX, aws::PREFIX, google::PREFIX, azure::PREFIX];
        prefixes.iter().any(|prefix| text.starts_with(prefix))
    }

    /// The name that makes the key's id: the same wherever the service is reached.
    pub fn name(&self) -> String {
        match self {
            Self::Transit(transit) => transit.name(),
            Self::Aws(aws) => aws.name(),
            Self::Google(google) => google.to_string(),
            Self::Azure(azure) => azure.to_string(),
        }
    }

    /// The id of the root key that the service holds.
    ///
    /// # Errors
    /// [`VaultError::Library`].
    pub fn root_key_id(&self) -> Result<RootKeyId, VaultError> {
        RootKeyId::of_service(&self.name())
    }

    /// Asks the service to wrap a key.
    ///
    /// # Errors
    /// [`ServiceError::Credential`].
    pub fn wrap_request(
        &self,
        key: &WrappingKey,
        binding: Binding,
        proof: &Proof<'_>,
    ) -> Result<ServiceRequest, ServiceError> {
        match self {
            Self::Transit(transit) => Ok(transit.wrap_request(key, binding, proof.credential)),
            Self::Aws(aws) => aws.wrap_request(key, binding, proof),
            Self::Google(google) => Ok(google.wrap_request(key, binding, proof)),
            Self::Azure(azure) => Ok(azure.wrap_request(key, proof)),
        }
    }

    /// What the service made of it, to be stored.
    ///
    /// # Errors
    /// Every rule of [`ServiceError`].
    pub fn read_wrapped(&self, answer: &ServiceAnswer) -> Result<Vec<u8>, ServiceError> {
        match self {
            Self::Transit(_) => transit::read_wrapped(answer),
            Self::Aws(_) => aws::read_wrapped(answer),
            Self::Google(_) => google::read_wrapped(answer),
            Self::Azure(azure) => azure.read_wrapped(answer),
        }
    }

    /// Asks the service for the key that it wrapped.
    ///
    /// # Errors
    /// [`ServiceError::Stored`], [`ServiceError::Credential`].
    pub fn unwrap_request(
        &self,
        wrapped: &[u8],
        binding: Binding,
        proof: &Proof<'_>,
    ) -> Result<ServiceRequest, ServiceError> {
        match self {
            Self::Transit(transit) => transit.unwrap_request(wrapped, binding, proof.credential),
            Self::Aws(aws) => aws.unwrap_request(wrapped, binding, proof),
            Self::Google(google) => Ok(google.unwrap_request(wrapped, binding, proof)),
            Self::Azure(azure) => Ok(azure.unwrap_request(wrapped, proof)),
        }
    }

    /// The key that the service gave back. Whether it is the right one is seen when something opens with it.
    ///
    /// # Errors
    /// Every rule of [`ServiceError`].
    pub fn read_unwrapped(&self, answer: &ServiceAnswer) -> Result<WrappingKey, ServiceError> {
        match self {
            Self::Transit(_) => transit::read_unwrapped(answer),
            Self::Aws(_) => aws::read_unwrapped(answer),
            Self::Google(_) => google::read_unwrapped(answer),
            Self::Azure(azure) => azure.read_unwrapped(answer),
        }
    }
}

impl FromStr for KeyService {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        if let Some(rest) = text.strip_prefix(transit::PREFIX) {
            Transit::parse(rest).map(Self::Transit)
        } else if let Some(rest) = text.strip_prefix(aws::PREFIX) {
            Aws::parse(rest).map(Self::Aws)
        } else if let Some(rest) = text.strip_prefix(google::PREFIX) {
            Google::parse(rest).map(Self::Google)
        } else if let Some(rest) = text.strip_prefix(azure::PREFIX) {
            Azure::parse(rest).map(Self::Azure)
        } else {
            Err(SourceError::Unknown)
        }
    }
}

impl fmt::Display for KeyService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transit(transit) => fmt::Display::fmt(transit, f),
            Self::Aws(aws) => fmt::Display::fmt(aws, f),
            Self::Google(google) => fmt::Display::fmt(google, f),
            Self::Azure(azure) => fmt::Display::fmt(azure, f),
        }
    }
}

/// A request to a service: a POST.
#[derive(Debug)]
pub struct ServiceRequest {
    /// Where to.
    pub url: String,
    /// The media type of the body.
    pub content_type: &'static str,
    /// Headers, the credential among them.
    pub headers: Vec<(&'static str, Secret<String>)>,
    /// The body: a key in the clear, when one is to be wrapped.
    pub body: Secret<Vec<u8>>,
}

/// What came back.
#[derive(Debug)]
pub struct ServiceAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body: a key in the clear, when one was unwrapped.
    pub body: Secret<Vec<u8>>,
}

/// Why a text names no key of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No service that this release knows.
    #[error("no key service of this name")]
    Unknown,
    /// Another form than that of Transit.
    #[error("a key of Transit is named transit:https://HOST/v1/MOUNT/KEY")]
    Transit,
    /// Another form than that of AWS KMS.
    #[error(
        "a key of AWS KMS is named aws-kms:arn:aws:kms:REGION:ACCOUNT:key/ID, and @https://HOST for an endpoint of its own"
    )]
    Aws,
    /// Another form than that of Google Cloud KMS.
    #[error(
        "a key of Google Cloud KMS is named gcp-kms:projects/PROJECT/locations/PLACE/keyRings/RING/cryptoKeys/KEY"
    )]
    Google,
    /// Another form than that of Azure Key Vault.
    #[error("a key of Azure Key Vault is named azure-kms:https://VAULT.vault.azure.net/keys/NAME/VERSION")]
    Azure,
}

/// Why a service did not do what it was asked. What the service said is cut and without control characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// It does not work at the moment: sealed, overloaded, without its own storage.
    #[error("the key service does not work now (status {status}{said})")]
    Unavailable {
        /// The status.
        status: u16,
        /// What it said.
        said: Said,
    },
    /// It refuses our credential, or what this may do.
    #[error("the key service refuses our credential (status {status}{said})")]
    Denied {
        /// The status.
        status: u16,
        /// What it said.
        said: Said,
    },
    /// It does not open this: made with another key, for something else, or with a version that it no longer opens.
    #[error("the key service does not unwrap this with its key (status {status}{said})")]
    NotOurs {
        /// The status.
        status: u16,
        /// What it said.
        said: Said,
    },
    /// It refused for another reason: no such key, or one that cannot do this.
    #[error("the key service refuses (status {status}{said})")]
    Refused {
        /// The status.
        status: u16,
        /// What it said.
        said: Said,
    },
    /// Its answer is not what the service's documentation says.
    #[error("the key service's answer is malformed: {0}")]
    Malformed(&'static str),
    /// The credential is not of the form that this service takes.
    #[error("the credential cannot be used: {0}")]
    Credential(&'static str),
    /// What is stored is nothing that this service makes.
    #[error("what is stored was not made by this kind of key service")]
    Stored,
}

/// What a service said, fit for a log: at most 200 characters, no control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said(String);

impl Said {
    /// This much of a text.
    pub fn new(text: &str) -> Self {
        let kept = text.chars().filter(|character| !character.is_control());
        Self(kept.take(MAX_SAID).collect())
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", self.0)
    }
}

const MAX_SAID: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_no_service() {
        for text in [
            "/etc/root.key",
            "env:ROOT",
            "credential:root",
            "./transit:x",
            "Transit:x",
        ] {
            assert!(!KeyService::is_named_by(text), "{text}");
        }
        for text in ["transit:x", "aws-kms:x", "gcp-kms:x", "azure-kms:x"] {
            assert!(KeyService::is_named_by(text), "{text}");
        }
        assert_eq!(
            "transit:nonsense".parse::<KeyService>(),
            Err(SourceError::Transit)
        );
        assert_eq!("/etc/root.key".parse::<KeyService>(), Err(SourceError::Unknown));
    }

    /// The attack: a service writes lines of its own into our log.
    #[test]
    fn what_a_service_said_is_one_short_line() {
        let said = Said::new(&format!("sealed\n\u{1b}[31mFAULT{}", "x".repeat(500)));
        assert_eq!(said.0.chars().count(), 200);
        assert!(said.0.starts_with("sealed[31mFAULT"));
        let shown = ServiceError::Unavailable {
            status: 503,
            said: Said::default(),
        }
        .to_string();
        assert_eq!(shown, "the key service does not work now (status 503)");
    }
}
