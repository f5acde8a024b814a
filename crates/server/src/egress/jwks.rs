//! The public keys of trusted issuers, fetched and kept.
//!
//! Keys come inline, from a URL of a JWK set (RFC 7517 §5), or through discovery (OpenID Connect Discovery
//! 1.0 §4). A set is used for as long as its source says, within bounds; then it is fetched again. If that
//! fails the last good set serves for a bounded time. Everything is kept apart by tenant, issuer and version,
//! so that a change of the issuer takes effect at once and nothing crosses tenants.

use super::error::causes;
use super::{Destination, DocumentRules, Egress, EgressError, UrlSource};
use chancery_core::id::IssuerId;
use chancery_core::issuer::{KeySource, TrustedIssuer};
use chancery_core::json::{JsonError, JsonLimits, parse_object};
use chancery_core::name::Name;
use chancery_core::time::{Clock, Timestamp, Ttl};
use chancery_oauth::jose::{JwkSet, JwkSetError, JwkSetLimits};
use serde_json::{Map, Value};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// For how long keys are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssuerKeysConfig {
    /// The least time that a set is used before it is fetched again, whatever its source says.
    pub min_fresh: Ttl,
    /// The most.
    pub max_fresh: Ttl,
    /// For how long after that the last good set serves while fetching fails.
    pub keep_last_good: Ttl,
    /// How long an unknown `kid` must wait after any fetch before it may cause another.
    pub unknown_kid_interval: Ttl,
    /// How long after a failed fetch the next is tried.
    pub retry_after: Ttl,
}

impl Default for IssuerKeysConfig {
    /// Fresh for 5 minutes to 24 hours, kept for 24 hours more, one refresh a minute, a retry after 30 s.
    fn default() -> Self {
        Self {
            min_fresh: Ttl::from_minutes(5),
            max_fresh: Ttl::from_days(1),
            keep_last_good: Ttl::from_days(1),
            unknown_kid_interval: Ttl::from_seconds(60),
            retry_after: Ttl::from_seconds(30),
        }
    }
}

/// Why an issuer's keys are not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerKeysError {
    /// The keys given inline are not a JSON object.
    #[error("the inline key set is not an object")]
    InlineNotAnObject,
    /// The discovery document cannot be fetched.
    #[error("cannot fetch the discovery document")]
    FetchDiscovery(#[source] EgressError),
    /// The discovery document is not a strict JSON object.
    #[error("the discovery document is not acceptable json")]
    DiscoveryMalformed(#[source] JsonError),
    /// The discovery document names another issuer, or none (OpenID Connect Discovery §4.3).
    #[error("the discovery document is not of this issuer")]
    DiscoveryIssuerMismatch,
    /// The discovery document has no `jwks_uri`.
    #[error("the discovery document lacks `jwks_uri`")]
    DiscoveryLacksJwksUri,
    /// The key set cannot be fetched.
    #[error("cannot fetch the key set")]
    FetchKeySet(#[source] EgressError),
    /// The key set is refused.
    #[error("the key set is refused")]
    KeySet(#[from] JwkSetError),
}

/// The keys of all trusted issuers of all tenants.
#[derive(Debug)]
pub struct IssuerKeys {
    egress: Arc<Egress>,
    clock: Arc<dyn Clock>,
    config: IssuerKeysConfig,
    source: UrlSource,
    inline: quick_cache::sync::Cache<CacheKey, Result<Arc<JwkSet>, IssuerKeysError>>,
    fetched: quick_cache::sync::Cache<CacheKey, Arc<Entry>>,
}

impl IssuerKeys {
    /// An empty cache.
    pub fn new(egress: Arc<Egress>, clock: Arc<dyn Clock>, config: IssuerKeysConfig) -> Self {
        Self {
            egress,
            clock,
            config,
            source: UrlSource::Configured,
            inline: quick_cache::sync::Cache::new(MAX_ISSUERS),
            fetched: quick_cache::sync::Cache::new(MAX_ISSUERS),
        }
    }

    /// The same for keys whose addresses clients supply: through the fence for those.
    #[must_use]
    pub fn of_clients(self) -> Self {
        Self {
            source: UrlSource::Client,
            ..self
        }
    }

    /// The keys of an issuer: kept ones while they are fresh, else fetched. Callers that arrive during a
    /// fetch wait for it; there is never a second.
    ///
    /// # Errors
    /// Every rule of [`IssuerKeysError`], when no good set is left to serve.
    pub async fn keys_for(
        &self,
        tenant: &Name,
        issuer: &TrustedIssuer,
        now: Timestamp,
    ) -> Result<Arc<JwkSet>, IssuerKeysError> {
        let key = CacheKey::new(tenant, issuer);
        if let KeySource::Inline(set) = &issuer.spec.keys {
            return self.inline(&key, set);
        }
        let entry = self.entry(&key);
        if let Some(answer) = entry.remembered(now, self.config.retry_after) {
            return answer;
        }

        let _flight = entry.flight.lock().await;
        // Whoever held the flight before may have brought the answer.
        if let Some(answer) = entry.remembered(now, self.config.retry_after) {
            return answer;
        }
        self.refresh(&entry, tenant, issuer).await
    }

    /// The keys of an issuer after a token named a `kid` that the kept set lacks: fetched anew, but not
    /// within a minute of the last fetch, for which the kept set is given again.
    ///
    /// # Errors
    /// Every rule of [`IssuerKeysError`], when no good set is left to serve.
    pub async fn refresh_on_unknown_kid(
        &self,
        tenant: &Name,
        issuer: &TrustedIssuer,
        now: Timestamp,
    ) -> Result<Arc<JwkSet>, IssuerKeysError> {
        let key = CacheKey::new(tenant, issuer);
        if let KeySource::Inline(set) = &issuer.spec.keys {
            return self.inline(&key, set);
        }
        let entry = self.entry(&key);
        if let Some(answer) = entry.recent(now, self.config.unknown_kid_interval) {
            return answer;
        }

        let _flight = entry.flight.lock().await;
        if let Some(answer) = entry.recent(now, self.config.unknown_kid_interval) {
            return answer;
        }
        self.refresh(&entry, tenant, issuer).await
    }

    fn place<'a>(&self, tenant: &'a Name, url: &'a str) -> Destination<'a> {
        Destination {
            tenant: Some(tenant),
            source: self.source,
            url,
        }
    }

    fn inline(&self, key: &CacheKey, set: &Value) -> Result<Arc<JwkSet>, IssuerKeysError> {
        let read = || match set {
            Value::Object(members) => Ok(Arc::new(JwkSet::from_members(members, JwkSetLimits::default())?)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(IssuerKeysError::InlineNotAnObject)
            }
        };
        let Ok(keys) = self
            .inline
            .get_or_insert_with(key, || Ok::<_, Infallible>(read()));
        keys
    }

    fn entry(&self, key: &CacheKey) -> Arc<Entry> {
        let Ok(entry) = self
            .fetched
            .get_or_insert_with(key, || Ok::<_, Infallible>(Arc::default()));
        entry
    }

    /// Fetches; the caller holds the entry's flight.
    async fn refresh(
        &self,
        entry: &Entry,
        tenant: &Name,
        issuer: &TrustedIssuer,
    ) -> Result<Arc<JwkSet>, IssuerKeysError> {
        let fetched = self.fetch(tenant, issuer).await;
        match &fetched {
            Ok(good) => tracing::debug!(
                issuer = %issuer.id, keys = good.set.keys().len(), skipped = good.set.skipped().len(),
                "fetched the issuer's keys"
            ),
            Err(error) => tracing::warn!(
                issuer = %issuer.id, error = %chain(error), "cannot fetch the issuer's keys"
            ),
        }
        entry.settle(fetched, self.clock.now(), &self.config)
    }

    async fn fetch(&self, tenant: &Name, issuer: &TrustedIssuer) -> Result<Fetched, IssuerKeysError> {
        let discovered;
        let uri = match &issuer.spec.keys {
            KeySource::JwksUri(uri) => uri.as_str(),
            KeySource::Discovery => {
                discovered = self.discover(tenant, &issuer.spec.issuer).await?;
                discovered.as_str()
            }
            KeySource::Inline(_) => return Err(IssuerKeysError::InlineNotAnObject),
        };

        let document = self
            .egress
            .fetch_document(self.place(tenant, uri), KEY_SET_RULES)
            .await
            .map_err(IssuerKeysError::FetchKeySet)?;
        let set = JwkSet::parse(&document.body, JwkSetLimits::default())?;
        Ok(Fetched {
            set: Arc::new(set),
            max_age: document.max_age,
        })
    }

    /// Finds the `jwks_uri` of an issuer.
    async fn discover(&self, tenant: &Name, issuer: &str) -> Result<String, IssuerKeysError> {
        let url = discovery_url(issuer);
        let document = self
            .egress
            .fetch_document(self.place(tenant, &url), DISCOVERY_RULES)
            .await
            .map_err(IssuerKeysError::FetchDiscovery)?;
        let members = parse_object(&document.body, JsonLimits::of_bytes(DISCOVERY_RULES.max_bytes))
            .map_err(IssuerKeysError::DiscoveryMalformed)?;

        // SECURITY: byte for byte, or one issuer could speak for another (§4.3).
        if text(&members, "issuer") != Some(issuer) {
            return Err(IssuerKeysError::DiscoveryIssuerMismatch);
        }
        let jwks_uri = text(&members, "jwks_uri").ok_or(IssuerKeysError::DiscoveryLacksJwksUri)?;
        Ok(jwks_uri.to_owned())
    }
}

/// Where an issuer's discovery document is (OpenID Connect Discovery §4: a trailing slash is removed before the path is
/// appended).
pub(super) fn discovery_url(issuer: &str) -> String {
    format!("{}{DISCOVERY_PATH}", issuer.strip_suffix('/').unwrap_or(issuer))
}

/// What keys belong to. A new version of the issuer starts with nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CacheKey {
    tenant: Name,
    issuer: IssuerId,
    version: u64,
}

impl CacheKey {
    fn new(tenant: &Name, issuer: &TrustedIssuer) -> Self {
        Self {
            tenant: tenant.clone(),
            issuer: issuer.id,
            version: issuer.version,
        }
    }
}

/// What is known of one issuer's keys. `flight` is held while they are fetched, `state` never across an await.
#[derive(Debug, Default)]
struct Entry {
    state: Mutex<State>,
    flight: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    good: Option<Good>,
    failure: Option<IssuerKeysError>,
    attempted_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Good {
    set: Arc<JwkSet>,
    fresh_until: Timestamp,
    usable_until: Timestamp,
}

#[derive(Debug)]
struct Fetched {
    set: Arc<JwkSet>,
    max_age: Option<Ttl>,
}

type Answer = Result<Arc<JwkSet>, IssuerKeysError>;

impl Entry {
    /// The answer that needs no fetch: a fresh set, or what a failure just now left.
    fn remembered(&self, now: Timestamp, retry_after: Ttl) -> Option<Answer> {
        let state = self.state();
        if let Some(good) = state.good.as_ref().filter(|good| now < good.fresh_until) {
            return Some(Ok(Arc::clone(&good.set)));
        }
        let failed_just_now = state.failure.is_some() && state.is_attempted_within(now, retry_after);
        failed_just_now.then(|| state.answer(now)).flatten()
    }

    /// The answer that any fetch within `interval` left.
    fn recent(&self, now: Timestamp, interval: Ttl) -> Option<Answer> {
        let state = self.state();
        let is_recent = state.is_attempted_within(now, interval);
        is_recent.then(|| state.answer(now)).flatten()
    }

    /// Takes in what a fetch brought, and says what to answer.
    fn settle(
        &self,
        fetched: Result<Fetched, IssuerKeysError>,
        now: Timestamp,
        config: &IssuerKeysConfig,
    ) -> Answer {
        let mut state = self.state();
        state.attempted_at = Some(now);
        match fetched {
            Ok(Fetched { set, max_age }) => {
                let fresh = max_age.unwrap_or(config.min_fresh);
                let fresh_until = now.plus(fresh.min(config.max_fresh).max(config.min_fresh));
                state.good = Some(Good {
                    set: Arc::clone(&set),
                    fresh_until,
                    usable_until: fresh_until.plus(config.keep_last_good),
                });
                state.failure = None;
                Ok(set)
            }
            Err(error) => {
                // SECURITY: an issuer that publishes a private key has lost it; so may be the kept ones.
                if error == IssuerKeysError::KeySet(JwkSetError::PrivateKey) {
                    state.good = None;
                }
                state.failure = Some(error.clone());
                state.usable(now).ok_or(error)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_attempted_within(&self, now: Timestamp, interval: Ttl) -> bool {
        self.attempted_at.is_some_and(|at| now < at.plus(interval))
    }

    /// The last good set, or the failure that stands in its place.
    fn answer(&self, now: Timestamp) -> Option<Answer> {
        let set = self.usable(now).map(Ok);
        set.or_else(|| self.failure.clone().map(Err))
    }

    fn usable(&self, now: Timestamp) -> Option<Arc<JwkSet>> {
        let good = self.good.as_ref().filter(|good| now < good.usable_until)?;
        Some(Arc::clone(&good.set))
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str)
}

/// An error with its causes, for the log.
fn chain(error: &IssuerKeysError) -> String {
    causes(error).fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";
const MAX_ISSUERS: usize = 10_000;
pub(super) const DISCOVERY_RULES: DocumentRules = DocumentRules {
    max_bytes: 64 * 1024,
    content_types: &["application/json"],
};
const KEY_SET_RULES: DocumentRules = DocumentRules {
    max_bytes: 64 * 1024,
    content_types: &["application/json", "application/jwk-set+json"],
};

#[cfg(test)]
mod tests;
