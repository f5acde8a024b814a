//! Hashing passwords with argon2id (RFC 9106; NIST SP 800-63B §5.1.1.2), on a few threads at a time: a flood of sign-ins takes
//! no more of a node than these, and is turned away past a bound.
//!
//! Says nothing about which passwords are good: that is `password.rs`.

use crate::error::Failure;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use chancery_core::random::Random;
use chancery_core::secret::Secret;
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// The threads of a node that hash, and what stands in for the password of nobody.
#[derive(Clone, Debug)]
pub struct Hashing {
    waiting: Arc<Semaphore>,
    running: Arc<Semaphore>,
    nobody: Arc<OnceLock<String>>,
}

/// Why nothing was hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashingError {
    /// Too many wait already.
    #[error("too many people sign in at once")]
    Busy,
    /// A fault of ours.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl Default for Hashing {
    fn default() -> Self {
        Self {
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            running: Arc::new(Semaphore::new(MAX_RUNNING)),
            nobody: Arc::default(),
        }
    }
}

impl Hashing {
    /// The hash of a new password.
    ///
    /// # Errors
    /// As [`HashingError`] says.
    pub async fn hash(&self, password: &Secret<String>, random: &dyn Random) -> Result<String, HashingError> {
        let salt: [u8; 16] = random.bytes();
        let password = owned(password);
        self.run(move || hash(&password, &salt))
            .await?
            .map_err(HashingError::from)
    }

    /// Whether this is the password of that hash. Without a hash the work is the same, and the answer is no.
    ///
    /// # Errors
    /// As [`HashingError`] says.
    pub async fn verify(
        &self,
        password: &Secret<String>,
        stored: Option<String>,
    ) -> Result<bool, HashingError> {
        let password = owned(password);
        let nobody = self.nobody.clone();
        let work = move || {
            let is_somebody = stored.is_some();
            let stored = match stored {
                Some(stored) => stored,
                None => stand_in(&nobody)?,
            };
            let parsed = PasswordHash::new(&stored)
                .map_err(|error| Failure::Internal(format!("a stored hash cannot be read: {error}")))?;
            let is_it = Argon2::default()
                .verify_password(password.expose_secret().as_bytes(), &parsed)
                .is_ok();
            // SECURITY: nobody's password is never right, even if it were guessed.
            Ok::<bool, Failure>(is_it && is_somebody)
        };
        self.run(work).await?.map_err(HashingError::from)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashingError> {
        let place = self.waiting.try_acquire().map_err(|_| HashingError::Busy)?;
        let closed = |_| Failure::Internal("hashing has stopped".to_owned());
        let running = self.running.clone().acquire_owned().await.map_err(closed)?;
        // Who gives up waiting does not free the thread: it is held until the work is done.
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(running);
            done
        });
        let done = done.await.map_err(Failure::internal)?;
        drop(place);
        Ok(done)
    }
}

/// Whether a hash was made as hashes are made now. One that was not is made anew when its password is at hand.
pub fn is_current(stored: &str) -> bool {
    stored.starts_with(&format!("$argon2id$v=19$m={MEMORY},t={PASSES},p={LANES}$"))
}

fn hash(password: &Secret<String>, salt: &[u8]) -> Result<String, Failure> {
    let params = Params::new(MEMORY, PASSES, LANES, None).map_err(Failure::internal)?;
    let hashing = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: PasswordHash = hashing
        .hash_password_with_salt(password.expose_secret().as_bytes(), salt)
        .map_err(Failure::internal)?;
    Ok(hash.to_string())
}

/// A hash that takes as long to compare as anybody's.
fn stand_in(nobody: &OnceLock<String>) -> Result<String, Failure> {
    if let Some(hash) = nobody.get() {
        return Ok(hash.clone());
    }
    let made = hash(&Secret::new("nobody's password".to_owned()), &[0; 16])?;
    Ok(nobody.get_or_init(|| made).clone())
}

fn owned(password: &Secret<String>) -> Secret<String> {
    Secret::new(password.expose_secret().clone())
}

/// Memory of one hash, in KiB; passes over it; lanes. Changed here, hashes are made anew as people sign in.
const MEMORY: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// How many hashes are computed at once on one node, and how many people may wait for theirs or have it computed.
const MAX_RUNNING: usize = 4;
const MAX_WAITING: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use chancery_core::random::DangerSeededRandom;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_kept_as_argon2id_and_only_it_is_right() {
        let hashing = Hashing::default();
        let random = DangerSeededRandom::new(1);
        let one = hashing.hash(&secret("correct horse"), &random).await.unwrap();
        let other = hashing.hash(&secret("correct horse"), &random).await.unwrap();
        assert!(is_current(&one) && one != other);
        assert!(!is_current(
            "$argon2id$v=19$m=4096,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"
        ));
        let verify = async |text: &str, hash: &str| {
            hashing
                .verify(&secret(text), Some(hash.to_owned()))
                .await
                .unwrap()
        };
        assert!(verify("correct horse", &one).await);
        assert!(!verify("correct horsf", &one).await);
    }

    #[tokio::test]
    async fn the_password_of_nobody_is_never_right() {
        let hashing = Hashing::default();
        assert!(!hashing.verify(&secret("nobody's password"), None).await.unwrap());
    }

    #[tokio::test]
    async fn a_flood_is_turned_away_past_its_bound() {
        let hashing = Hashing::default();
        let _held = hashing
            .waiting
            .acquire_many(u32::try_from(MAX_WAITING).unwrap())
            .await
            .unwrap();
        let refused = hashing.verify(&secret("x"), None).await;
        assert!(matches!(refused, Err(HashingError::Busy)));
    }
}
