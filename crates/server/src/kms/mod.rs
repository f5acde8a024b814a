//! A root key that a service holds (design, section 8): asked when a tenant's key is made, replaced or first opened, never
//! for a request of an agent.
//!
//! While the service fails, nothing waits for it: what needs it is refused at once, and only [`watch`] asks. What is open
//! stays open. How a service is spoken to is in [`chancery_vault::service`].

mod fault;
mod watch;

pub use fault::{KeyServiceError, KeyServiceFault};
pub use watch::watch;
pub(crate) use watch::watch_logged;

pub use chancery_vault::KeyService;

use crate::egress::Egress;
use chancery_core::random::Random;
use chancery_core::secret::Secret;
use chancery_core::time::Ttl;
use chancery_vault::{Binding, CheckValue, Proof, RootKeyId, ServiceRequest, VaultError, WrappingKey};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A key of a service, and what proves that we may use it.
#[derive(Debug)]
pub struct ServiceSource {
    /// The key.
    pub service: KeyService,
    /// Where the credential is.
    pub credential: CredentialPlace,
}

/// Where the credential for a key service is.
#[derive(Debug)]
pub enum CredentialPlace {
    /// In a file, read for every request: whoever renews the credential writes it there.
    File(PathBuf),
    /// Given at the start.
    Given(Secret<String>),
}

/// A root key that a service holds.
#[derive(Debug)]
pub struct ServiceKey {
    id: RootKeyId,
    source: ServiceSource,
    egress: Arc<Egress>,
    /// What went wrong last, while it does.
    failing: Mutex<Option<KeyServiceError>>,
    /// The check value of the recorded root key, once the service has shown that it holds that key.
    shown: OnceLock<CheckValue>,
}

/// How long an answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// As long as any call to the outside, also while the service fails: at the start, and to see whether it is back.
    Full,
    /// As long as any call to the outside, but not while the service fails.
    Usual,
    /// Not so long that this node would fall behind in the revocation feed meanwhile, and not while the service fails.
    Short,
}

impl ServiceKey {
    /// The key, not asked for anything yet.
    ///
    /// # Errors
    /// [`VaultError::Library`].
    pub fn new(source: ServiceSource, egress: Arc<Egress>) -> Result<Self, VaultError> {
        Ok(Self {
            id: source.service.root_key_id()?,
            source,
            egress,
            failing: Mutex::default(),
            shown: OnceLock::new(),
        })
    }

    /// Its id.
    pub const fn id(&self) -> RootKeyId {
        self.id
    }

    /// Where it is.
    pub fn source(&self) -> String {
        self.source.service.to_string()
    }

    /// Whether the service gave no usable answer when it was asked last.
    pub fn is_failing(&self) -> bool {
        self.fault().is_some()
    }

    /// A new wrapping key, and what the service made of it.
    ///
    /// # Errors
    /// The service's.
    pub async fn wrap(
        &self,
        binding: Binding,
        patience: Patience,
        random: &dyn Random,
    ) -> Result<(WrappingKey, Vec<u8>), KeyServiceFault> {
        let key = WrappingKey::generate(random);
        let asked = async {
            let credential = self.credential().await?;
            let request = self
                .source
                .service
                .wrap_request(&key, binding, &self.proof(&credential))?;
            let answer = self.send(&request, patience).await?;
            Ok(self.source.service.read_wrapped(&answer)?)
        };
        let wrapped = self.ask(asked, patience).await?;
        Ok((key, wrapped))
    }

    /// The wrapping key that the service wrapped. That it is the right one is seen when something opens with it.
    ///
    /// # Errors
    /// The service's.
    pub async fn unwrap_key(
        &self,
        wrapped: &[u8],
        binding: Binding,
        patience: Patience,
    ) -> Result<WrappingKey, KeyServiceFault> {
        let asked = async {
            let credential = self.credential().await?;
            let request = self
                .source
                .service
                .unwrap_request(wrapped, binding, &self.proof(&credential))?;
            let answer = self.send(&request, patience).await?;
            Ok(self.source.service.read_unwrapped(&answer)?)
        };
        self.ask(asked, patience).await
    }

    /// Whether the service holds the key that this check value was made with. It is asked once.
    ///
    /// # Errors
    /// The service's; [`KeyServiceError::is_not_ours`] says that it holds another key.
    pub async fn verify(&self, recorded: &CheckValue, wrapped: &[u8]) -> Result<(), KeyServiceFault> {
        if self.shown.get() == Some(recorded) {
            return Ok(());
        }
        let key = self.unwrap_key(wrapped, Binding::Probe, Patience::Full).await?;
        match key.check_value() {
            Ok(check) if check == *recorded => {
                let _ = self.shown.set(check);
                Ok(())
            }
            Ok(_) | Err(_) => Err(self.faulty(KeyServiceError::AnotherKey)),
        }
    }

    /// Has the service wrap a key and give it back.
    ///
    /// # Errors
    /// The service's.
    pub async fn try_out(&self, random: &dyn Random) -> Result<(), KeyServiceFault> {
        let (given, wrapped) = self.wrap(Binding::Probe, Patience::Full, random).await?;
        let back = self.unwrap_key(&wrapped, Binding::Probe, Patience::Full).await?;
        match (given.check_value(), back.check_value()) {
            (Ok(given), Ok(back)) if given == back => Ok(()),
            (Ok(_) | Err(_), _) => Err(self.faulty(KeyServiceError::AnotherKey)),
        }
    }

    /// The failure of this service that an error is.
    pub(crate) fn faulty(&self, error: KeyServiceError) -> KeyServiceFault {
        KeyServiceFault {
            key: self.source(),
            error,
        }
    }

    async fn ask<T>(
        &self,
        asked: impl Future<Output = Result<T, KeyServiceError>>,
        patience: Patience,
    ) -> Result<T, KeyServiceFault> {
        if patience != Patience::Full
            && let Some(error) = self.fault()
        {
            return Err(self.faulty(error));
        }
        let answered = asked.await;
        self.note(answered.as_ref().err());
        answered.map_err(|error| self.faulty(error))
    }

    async fn send(
        &self,
        request: &ServiceRequest,
        patience: Patience,
    ) -> Result<chancery_vault::ServiceAnswer, KeyServiceError> {
        let exchange = self.egress.ask_key_service(request);
        let answered = match patience {
            Patience::Full | Patience::Usual => exchange.await,
            Patience::Short => match tokio::time::timeout(SHORT.as_std(), exchange).await {
                Ok(answered) => answered,
                Err(_) => Err(crate::egress::EgressError::Timeout),
            },
        };
        Ok(answered?)
    }

    fn proof<'a>(&self, credential: &'a Secret<String>) -> Proof<'a> {
        Proof {
            credential,
            now: self.egress.now(),
        }
    }

    async fn credential(&self) -> Result<Secret<String>, KeyServiceError> {
        match &self.source.credential {
            CredentialPlace::Given(credential) => Ok(Secret::new(credential.expose_secret().clone())),
            CredentialPlace::File(path) => match tokio::fs::read_to_string(path).await {
                Ok(text) => Ok(Secret::new(text)),
                Err(error) => Err(KeyServiceError::Credential {
                    path: path.clone(),
                    kind: error.kind(),
                }),
            },
        }
    }

    fn fault(&self) -> Option<KeyServiceError> {
        self.failing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Remembers how it went, and says so once when that changes.
    fn note(&self, error: Option<&KeyServiceError>) {
        // What one stored key does not open with says nothing about the next.
        let error = error.filter(|error| !error.is_not_ours());
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match (failing.is_some(), error) {
            (false, Some(error)) => tracing::error!(
                key = %self.source.service, %error,
                "the key service gives no usable answer: keys that are open go on, and nothing else is made or opened"
            ),
            (true, None) => tracing::info!(key = %self.source.service, "the key service answers again"),
            (true, Some(_)) | (false, None) => {}
        }
        *failing = error.cloned();
    }
}

/// Half of what the revocation feed may be behind, less than its period.
const SHORT: Ttl = Ttl::from_millis(700);
