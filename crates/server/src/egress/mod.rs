//! The only way out to the network.
//!
//! Every outbound call passes the same fence: https only, no user name, no redirect, no proxy, no cookie, no
//! compression; names resolved once and dialled at the very addresses that were checked; addresses of
//! special use refused unless the *operator* allowed the host; time, size and concurrency bounded.
//!
//! URLs that the operator or a tenant's administrator configured, and URLs that clients supply, go through
//! clients that share no connection. What only the former may reach is closed to the latter.

mod address;
mod allow;
mod client;
mod error;
mod fence;
mod fetch;
mod github;
pub mod jwks;
mod key_service;
mod mail;
pub mod openid;
pub mod provider;
mod resolver;
mod stream;

pub use allow::{AllowedHost, AllowedTarget, AllowedTargetError};
pub use client::EgressSetupError;
pub use error::EgressError;
pub use fetch::{Document, DocumentRules, OutboundRequest, OutboundResponse};
pub use github::{RepositoryError, RepositoryIds, RepositoryName};
pub use jwks::{IssuerKeys, IssuerKeysConfig, IssuerKeysError};
pub use mail::{MailConfig, MailError, MailSetupError, Mailer};
pub use resolver::{Lookup, SystemLookup};
pub use stream::{OutboundBody, StreamLimits, StreamRequest, StreamResponse};

use chancery_core::name::Name;
use chancery_core::time::{Clock, Ttl};
use client::{ClientParts, Lane};
use fence::Fence;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// How the outside may be reached.
#[derive(Clone, Debug)]
pub struct EgressConfig {
    /// Hosts and networks of special use that may be reached.
    pub allowed_hosts: Vec<AllowedHost>,
    /// A PEM file of certificate authorities that are trusted beside the public ones.
    pub extra_ca_file: Option<PathBuf>,
    /// How long resolving, connecting and the TLS handshake may take together.
    pub connect_timeout: Ttl,
    /// How long a whole exchange may take, waiting for a turn included.
    pub total_timeout: Ttl,
    /// How many calls one tenant may have under way to one host.
    pub max_concurrent_per_host: usize,
    /// How many streamed exchanges one tenant may have under way with one host.
    pub max_streams_per_host: usize,
    /// For how long a failed fetch of a document is remembered.
    pub failure_memory: Ttl,
}

impl Default for EgressConfig {
    /// Nothing of special use, 2 s to connect, 5 s in all, 16 calls and 256 streams a host, failures kept for 30 s.
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            extra_ca_file: None,
            connect_timeout: Ttl::from_seconds(2),
            total_timeout: Ttl::from_seconds(5),
            max_concurrent_per_host: 16,
            max_streams_per_host: 256,
            failure_memory: Ttl::from_seconds(30),
        }
    }
}

/// Where a call goes, and who is behind it.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// The tenant for which the call is made; absent for the node's own business.
    pub tenant: Option<&'a Name>,
    /// Who supplied the URL.
    pub source: UrlSource,
    /// The URL.
    pub url: &'a str,
}

/// Who supplied a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UrlSource {
    /// The operator or an administrator: issuers, connections, MCP servers, key services.
    Configured,
    /// A client: its metadata, its `jwks_uri`, its callbacks.
    Client,
}

/// The way out.
#[derive(Debug)]
pub struct Egress {
    lanes: HashMap<LaneKey, Lane>,
    configured: Lane,
    client: Lane,
    clock: Arc<dyn Clock>,
    total_timeout: Ttl,
    failure_memory: Ttl,
    failures: quick_cache::sync::Cache<fetch::FailureKey, fetch::Failure>,
    turns: fetch::Turns,
    stream_turns: fetch::Turns,
}

impl Egress {
    /// Builds the clients; reads the extra certificate authorities.
    ///
    /// # Errors
    /// Every rule of [`EgressSetupError`].
    pub fn new(config: EgressConfig, clock: Arc<dyn Clock>) -> Result<Self, EgressSetupError> {
        // Two, so that names which clients supply cannot hold up the names that were configured.
        let lookups = Lookups {
            configured: Arc::new(SystemLookup::default()),
            client: Arc::new(SystemLookup::default()),
        };
        Self::build(config, clock, &lookups)
    }

    /// As [`Egress::new`], with another way to look names up.
    ///
    /// # Errors
    /// Every rule of [`EgressSetupError`].
    pub fn with_lookup(
        config: EgressConfig,
        clock: Arc<dyn Clock>,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, EgressSetupError> {
        let lookups = Lookups {
            configured: Arc::clone(&lookup),
            client: lookup,
        };
        Self::build(config, clock, &lookups)
    }

    fn build(
        config: EgressConfig,
        clock: Arc<dyn Clock>,
        lookups: &Lookups,
    ) -> Result<Self, EgressSetupError> {
        let parts = ClientParts {
            tls: client::tls_config(config.extra_ca_file)?,
            connect_timeout: config.connect_timeout.as_std(),
            total_timeout: config.total_timeout.as_std(),
        };
        let allowed = &config.allowed_hosts;
        let lane = |source, tenant| {
            let lookup = match source {
                UrlSource::Configured => &lookups.configured,
                UrlSource::Client => &lookups.client,
            };
            Lane::new(fence_for(allowed, source, tenant), lookup, &parts)
        };

        let mut lanes = HashMap::new();
        for tenant in allowed.iter().filter_map(|host| host.tenant.as_ref()) {
            for source in [UrlSource::Configured, UrlSource::Client] {
                lanes.insert((tenant.clone(), source), lane(source, Some(tenant))?);
            }
        }
        Ok(Self {
            lanes,
            configured: lane(UrlSource::Configured, None)?,
            client: lane(UrlSource::Client, None)?,
            clock,
            total_timeout: config.total_timeout,
            failure_memory: config.failure_memory,
            failures: quick_cache::sync::Cache::new(MAX_FAILURES),
            turns: fetch::Turns::new(config.max_concurrent_per_host),
            stream_turns: fetch::Turns::new(config.max_streams_per_host),
        })
    }

    /// The lane of a tenant that has exceptions of its own, or else the common one.
    fn lane(&self, destination: Destination<'_>) -> &Lane {
        let own = destination
            .tenant
            .and_then(|tenant| self.lanes.get(&(tenant.clone(), destination.source)));
        own.unwrap_or(match destination.source {
            UrlSource::Configured => &self.configured,
            UrlSource::Client => &self.client,
        })
    }
}

type LaneKey = (Name, UrlSource);

struct Lookups {
    configured: Arc<dyn Lookup>,
    client: Arc<dyn Lookup>,
}

/// The exceptions that hold for a source of URLs and a tenant, and none else.
fn fence_for(allowed: &[AllowedHost], source: UrlSource, tenant: Option<&Name>) -> Fence {
    let applies = |host: &&AllowedHost| {
        (host.tenant.is_none() || host.tenant.as_ref() == tenant)
            && (source == UrlSource::Configured || host.for_client_urls)
    };
    let targets = allowed.iter().filter(applies).map(|host| &host.target);
    Fence::new(targets, source == UrlSource::Client)
}

const MAX_FAILURES: usize = 4096;

#[cfg(test)]
mod tests;
