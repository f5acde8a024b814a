//! Everything a node holds: the database, the injected world, tenants with their keys and policies, and
//! the cached directory.

use crate::approve::notice::Channels;
use crate::connect::refresh::Refreshes;
use crate::directory::cache::Directory;
use crate::egress::Egress;
use crate::egress::jwks::{IssuerKeys, IssuerKeysError};
use crate::egress::openid::Providers;
use crate::error::Failure;
use crate::gateway::Gateway;
use crate::issue::flood::Flood;
use crate::issue::own::Verified;
use crate::jobs::feed::FeedPosition;
use crate::jobs::freshness::Freshness;
use crate::limits::Limits;
use crate::listener::TrustedProxies;
use crate::metrics::Metrics;
use crate::people::hashing::Hashing;
use crate::people::password::KnownPasswords;
use crate::registration::document::Documents;
use crate::sinks::Sinks;
use crate::tenants::Tenants;
use chancery_core::id::{BatchId, Id as _, NodeId, TenantId};
use chancery_core::issuer::TrustedIssuer;
use chancery_core::name::Name;
use chancery_core::noun::Noun;
use chancery_core::random::Random;
use chancery_core::time::{Clock, Timestamp};
use chancery_oauth::jose::{self, KeyLookupError, Profile, UnverifiedJwt, VerifiedClaims, VerifyError};
use chancery_store::change::Changed;
use chancery_store::db::Batch;
use chancery_store::{Db, Outcome};
use std::path::PathBuf;
use std::sync::Arc;

/// A serving node.
#[derive(Debug)]
pub struct App {
    /// This node.
    pub node: NodeId,
    /// The database.
    pub db: Db,
    /// The clock; read once a request.
    pub clock: Arc<dyn Clock>,
    /// The random source.
    pub random: Arc<dyn Random>,
    /// Tenants with their keys and policies.
    pub tenants: Tenants,
    /// The cached directory.
    pub directory: Directory,
    /// Tokens of ours that were verified before.
    pub verified: Verified,
    /// How fresh this node's view is.
    pub freshness: Freshness,
    /// How far the revocation feed was read.
    pub feed: FeedPosition,
    /// Whether this node compares its clock with the database's. Off only under a test's fixed clock.
    pub checks_clock: bool,
    /// How often failed authentications are recorded.
    pub flood: Flood,
    /// Proxies that are believed about the address of a client.
    pub proxies: TrustedProxies,
    /// Keys of trusted issuers.
    pub issuer_keys: IssuerKeys,
    /// Endpoints of trusted issuers at which people sign in.
    pub providers: Providers,
    /// Keys of clients that keep them at an address of their own.
    pub client_keys: IssuerKeys,
    /// Metadata documents of clients.
    pub documents: Documents,
    /// What calls pass through.
    pub gateway: Gateway,
    /// Tokens at providers that are being refreshed.
    pub refreshes: Refreshes,
    /// The way out.
    pub egress: Arc<Egress>,
    /// The base URL of GitHub's interface, where the ids of repositories are looked up.
    pub github_api: String,
    /// Whether this node is in test mode.
    pub test_mode: bool,
    /// Where checkpoints go.
    pub sinks: Sinks,
    /// Where people are told of requests for a yes.
    pub channels: Channels,
    /// The threads that hash passwords.
    pub hashing: Hashing,
    /// Passwords that are not taken.
    pub known_passwords: KnownPasswords,
    /// How much may be asked for.
    pub limits: Limits,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where a copy of the database is made before it is handed over; nowhere for PostgreSQL.
    pub backup_place: Option<PathBuf>,
}

impl App {
    /// The present moment, if this node may serve at it.
    ///
    /// # Errors
    /// [`Failure::Stale`] when the revocation feed was not read lately or the clock is off: better no answer
    /// than a wrong one.
    pub fn serving_now(&self) -> Result<Timestamp, Failure> {
        let now = self.clock.now();
        self.freshness.check(now)?;
        Ok(now)
    }

    /// A batch with an id of its own.
    pub fn batch(&self, now: Timestamp) -> Batch {
        Batch::new(BatchId::generate(now, &*self.random))
    }

    /// Commits a batch and drops from this node's caches what it changed, before anybody is answered.
    ///
    /// # Errors
    /// The database's.
    pub async fn commit(&self, batch: Batch, changed: &[(TenantId, Changed)]) -> Result<Outcome, Failure> {
        let outcome = self.db.commit(batch).await?;
        if outcome.is_committed() {
            for (tenant, subject) in changed {
                self.apply(*tenant, subject).await?;
            }
        }
        Ok(outcome)
    }

    /// Verifies a token of a trusted issuer, with its keys read again once if the `kid` is new.
    ///
    /// # Errors
    /// The issuer's keys cannot be had. The inner error is the token's.
    pub async fn verify_from(
        &self,
        tenant: &Name,
        issuer: &TrustedIssuer,
        jwt: &UnverifiedJwt<'_>,
        profile: &Profile<'_>,
        now: Timestamp,
    ) -> Result<Result<VerifiedClaims, VerifyError>, IssuerKeysError> {
        let keys = self.issuer_keys.keys_for(tenant, issuer, now).await?;
        match jose::verify(jwt, profile, &*keys, now) {
            Err(VerifyError::Key(KeyLookupError::UnknownKid)) => {
                let keys = self
                    .issuer_keys
                    .refresh_on_unknown_kid(tenant, issuer, now)
                    .await?;
                Ok(jose::verify(jwt, profile, &*keys, now))
            }
            verified => Ok(verified),
        }
    }

    /// Takes note of one change, of this node or another.
    ///
    /// # Errors
    /// The database's, when tenants, keys or policies must be read again.
    pub async fn apply(&self, tenant: TenantId, subject: &Changed) -> Result<(), Failure> {
        match subject {
            Changed::Noun {
                noun: Noun::Tenant,
                id,
                ..
            } => {
                self.directory.forget(tenant, Noun::Tenant, *id);
                self.tenants.reload(&self.db).await
            }
            Changed::Noun {
                noun: Noun::PolicySet,
                ..
            }
            | Changed::Keys => self.tenants.reload_one(&self.db, tenant).await,
            Changed::Noun { noun, id, .. } => {
                self.directory.forget(tenant, *noun, *id);
                if *noun == Noun::Resource {
                    self.gateway.manifests.forget(tenant, *id);
                }
                Ok(())
            }
            Changed::Token(token) => {
                self.directory.remember_revoked(tenant, *token);
                Ok(())
            }
        }
    }
}
