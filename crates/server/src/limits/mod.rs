//! How much one agent, person, tool or tenant may ask for: requests a second, and calls under way at once. Each node
//! counts for itself, in memory; a request past a limit is refused before anything is loaded or decided (429), and
//! counted, so that one event a minute tells of it (`refused.rs`).
//!
//! What is under way is counted at each resource apart: a resource that does not answer holds up no other.

mod meter;
pub mod refused;
mod share;

use crate::metrics::Metrics;
use chancery_core::id::{AgentId, ClientId, Id as _, ResourceId, TenantId, UserId};
use chancery_core::time::{Timestamp, Ttl};
use meter::Meter;
use quick_cache::sync::Cache;
use refused::Refusals;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A bound; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Requests a second, on average; twice as many at once.
    pub per_second: u32,
    /// Calls under way at once.
    pub concurrent: u32,
}

/// The bounds of a node, the same for every tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Calls of one agent; those under way at one resource.
    pub agent: Bound,
    /// Calls for one person; those under way at one resource.
    pub user: Bound,
    /// Calls of one tool, or of one connection behind the broker.
    pub tool: Bound,
    /// Calls of one tenant.
    pub tenant: Bound,
    /// Requests of one client at the token endpoint. Nothing is counted there that is under way.
    pub token: Bound,
    /// Bytes of one request through the broker.
    pub request_bytes: u64,
    /// Bytes of one answer through the broker.
    pub response_bytes: u64,
}

impl Default for CallLimits {
    fn default() -> Self {
        let bound = |per_second, concurrent| Bound {
            per_second,
            concurrent,
        };
        Self {
            agent: bound(500, 64),
            user: bound(500, 64),
            tool: bound(1_000, 256),
            tenant: bound(5_000, 2_048),
            token: bound(200, 0),
            request_bytes: 64 << 20,
            response_bytes: 1 << 30,
        }
    }
}

/// Why a text says no limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a limit such as agent=500/64, token=200, request_bytes=67108864 or off")]
pub struct LimitsError(String);

impl FromStr for CallLimits {
    type Err = LimitsError;

    /// `agent=500/64,tool=1000`: what is not named keeps its default, 0 is no limit, `off` is none at all.
    fn from_str(text: &str) -> Result<Self, LimitsError> {
        let mut limits = Self::default();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let broken = || LimitsError(item.to_owned());
            if item == "off" {
                limits = Self::off();
                continue;
            }
            let (name, value) = item.split_once('=').ok_or_else(broken)?;
            let bytes = || value.parse::<u64>().map_err(|_| broken());
            match name {
                "agent" => limits.agent = Bound::read(value, limits.agent).ok_or_else(broken)?,
                "user" => limits.user = Bound::read(value, limits.user).ok_or_else(broken)?,
                "tool" => limits.tool = Bound::read(value, limits.tool).ok_or_else(broken)?,
                "tenant" => limits.tenant = Bound::read(value, limits.tenant).ok_or_else(broken)?,
                "token" => limits.token = Bound::read(value, limits.token).ok_or_else(broken)?,
                "request_bytes" => limits.request_bytes = bytes()?,
                "response_bytes" => limits.response_bytes = bytes()?,
                _ => return Err(broken()),
            }
        }
        Ok(limits)
    }
}

impl CallLimits {
    /// No limit on calls. Those on bytes stay: memory and disk of others depend on them.
    pub fn off() -> Self {
        let none = Bound {
            per_second: 0,
            concurrent: 0,
        };
        Self {
            agent: none,
            user: none,
            tool: none,
            tenant: none,
            token: none,
            ..Self::default()
        }
    }
}

impl Bound {
    fn read(text: &str, default: Self) -> Option<Self> {
        let (rate, concurrent) = match text.split_once('/') {
            Some((rate, concurrent)) => (rate, Some(concurrent)),
            None => (text, None),
        };
        Some(Self {
            per_second: rate.parse().ok()?,
            concurrent: concurrent.map_or(Some(default.concurrent), |text| text.parse().ok())?,
        })
    }
}

/// Which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Calls of an agent.
    Agent,
    /// Calls for a person.
    User,
    /// Calls of a tool.
    Tool,
    /// Calls of a tenant.
    Tenant,
    /// Token requests of a client.
    Token,
    /// Registrations of clients from one source, and those of a tenant that wait for an agent.
    Registration,
    /// Requests of devices for a person's answer.
    Device,
    /// Codes of devices that people try.
    UserCode,
    /// Sign-ins that are begun at outside issuers.
    SignIn,
}

impl Limit {
    /// The word in metrics, records and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::User => "user",
            Self::Tool => "tool",
            Self::Tenant => "tenant",
            Self::Token => "token",
            Self::Registration => "registration",
            Self::Device => "device",
            Self::UserCode => "user_code",
            Self::SignIn => "sign_in",
        }
    }
}

/// A limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit for one {} is reached; try again in {} s", limit.as_str(), self.retry_seconds())]
pub struct Limited {
    /// Which.
    pub limit: Limit,
    /// After which time there may be room again.
    pub retry_after: Ttl,
}

impl Limited {
    /// Whole seconds for `Retry-After`, at least one.
    pub fn retry_seconds(&self) -> u64 {
        let millis = u64::try_from(self.retry_after.as_std().as_millis()).unwrap_or(u64::MAX);
        millis.div_ceil(1_000).max(1)
    }
}

/// Who calls what.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The tenant.
    pub tenant: TenantId,
    /// The agent.
    pub agent: AgentId,
    /// The person it acts for.
    pub user: Option<UserId>,
    /// Where.
    pub resource: ResourceId,
    /// The tool, if it is one that the resource names; the empty text for the resource as a whole.
    pub tool: Option<&'a str>,
}

/// The meters of this node.
pub struct Limits {
    config: CallLimits,
    meters: Cache<Key, Arc<Meter>>,
    /// What was refused and not told of yet.
    pub(crate) refusals: Refusals,
    metrics: Arc<Metrics>,
    shares: share::Shares,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Agent(TenantId, AgentId),
    AgentAt(TenantId, AgentId, ResourceId),
    User(TenantId, UserId),
    UserAt(TenantId, UserId, ResourceId),
    Tool(TenantId, ResourceId, Arc<str>),
    Tenant(TenantId),
    Token(TenantId, ClientId),
}

/// A call that counts as under way until it is over, or this is dropped.
#[derive(Debug, Default)]
pub struct Ticket {
    meters: Vec<Arc<Meter>>,
    is_over: AtomicBool,
}

impl Ticket {
    /// The call is over. What is still to be recorded of it holds nobody up.
    pub fn end(&self) {
        if self.is_over.swap(true, Ordering::SeqCst) {
            return;
        }
        for meter in &self.meters {
            meter.leave();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.end();
    }
}

impl Limits {
    /// Nothing under way.
    pub fn new(config: CallLimits, metrics: Arc<Metrics>) -> Self {
        Self {
            config,
            meters: Cache::new(MOST_METERS),
            refusals: Refusals::default(),
            metrics,
            shares: share::Shares::default(),
        }
    }

    /// The bounds.
    pub fn config(&self) -> &CallLimits {
        &self.config
    }

    /// Counts a call in, that is under way until the ticket is dropped.
    ///
    /// # Errors
    /// A limit is reached; nothing is counted as under way then.
    pub fn enter(&self, asking: Asking<'_>, now: Timestamp) -> Result<Ticket, Limited> {
        self.pass(asking, now)?;
        let mut ticket = Ticket::default();
        let Asking {
            tenant,
            agent,
            user,
            resource,
            tool,
        } = asking;
        let wanted = [
            Some((Limit::Tenant, self.config.tenant, Key::Tenant(tenant))),
            Some((
                Limit::Agent,
                self.config.agent,
                Key::AgentAt(tenant, agent, resource),
            )),
            user.map(|user| (Limit::User, self.config.user, Key::UserAt(tenant, user, resource))),
            tool.map(|tool| {
                (
                    Limit::Tool,
                    self.config.tool,
                    Key::Tool(tenant, resource, tool.into()),
                )
            }),
        ];
        for (limit, bound, key) in wanted.into_iter().flatten() {
            if bound.concurrent == 0 {
                continue;
            }
            let meter = self.meter(&key);
            if !meter.enter(bound.concurrent) {
                return Err(self.refuse(limit, asking, RETRY, now));
            }
            ticket.meters.push(meter);
        }
        Ok(ticket)
    }

    /// Counts a request by its rate alone: for a stream that is open and idle most of the time.
    ///
    /// # Errors
    /// A limit is reached.
    pub fn pass(&self, asking: Asking<'_>, now: Timestamp) -> Result<(), Limited> {
        let Asking {
            tenant,
            agent,
            user,
            resource,
            tool,
        } = asking;
        let wanted = [
            Some((Limit::Agent, self.config.agent, Key::Agent(tenant, agent))),
            user.map(|user| (Limit::User, self.config.user, Key::User(tenant, user))),
            tool.map(|tool| {
                (
                    Limit::Tool,
                    self.config.tool,
                    Key::Tool(tenant, resource, tool.into()),
                )
            }),
            Some((Limit::Tenant, self.config.tenant, Key::Tenant(tenant))),
        ];
        for (limit, bound, key) in wanted.into_iter().flatten() {
            if bound.per_second == 0 {
                continue;
            }
            if let Err(retry_after) = self.meter(&key).pass(bound.per_second, now) {
                return Err(self.refuse(limit, asking, retry_after, now));
            }
        }
        Ok(())
    }

    /// Counts a request at the token endpoint, once its client has proved itself.
    ///
    /// # Errors
    /// The limit is reached.
    pub fn token(
        &self,
        (tenant, agent, client): (TenantId, AgentId, ClientId),
        now: Timestamp,
    ) -> Result<(), Limited> {
        let rate = self.config.token.per_second;
        if rate == 0 {
            return Ok(());
        }
        self.meter(&Key::Token(tenant, client))
            .pass(rate, now)
            .map_err(|retry_after| {
                let asking = Asking {
                    tenant,
                    agent,
                    user: None,
                    resource: ResourceId::from_bytes([0; 16]),
                    tool: None,
                };
                self.refuse(Limit::Token, asking, retry_after, now)
            })
    }

    fn refuse(&self, limit: Limit, asking: Asking<'_>, retry_after: Ttl, now: Timestamp) -> Limited {
        self.metrics.limit_reached(limit.as_str());
        self.refusals.count(asking.tenant, asking.agent, limit, now);
        Limited { limit, retry_after }
    }

    fn meter(&self, key: &Key) -> Arc<Meter> {
        let Ok(meter) = self
            .meters
            .get_or_insert_with(key, || Ok::<_, Infallible>(Arc::default()));
        meter
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Whom more are told apart than this, the least used are forgotten and begin anew.
const MOST_METERS: usize = 200_000;
/// When to try again where it is not known when a call ends.
const RETRY: Ttl = Ttl::from_seconds(1);

#[cfg(test)]
mod tests;
