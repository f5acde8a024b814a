//! What is counted and measured, in the text format of OpenMetrics. Served on a listener of its own, `--metrics`.
//!
//! Labels are words from closed lists: no agent, user, tool or tenant is a label, so that their number bounds nothing
//! here, and no secret can be one.

use crate::app::App;
use crate::error::Failure;
use chancery_core::decision::{Decision, DenyReason};
use chancery_core::event::EventOutcome;
use chancery_core::time::Ttl;
use chancery_store::db::{GroupCommitted, Observer};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Everything that this node counts and measures.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    decisions: Family<DecisionLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
    calls: Family<CallLabels, Counter>,
    limits: Family<LimitLabels, Counter>,
    upstream: Family<UpstreamLabels, Histogram>,
    groups: Histogram,
    commits: Histogram,
    waiting_batches: Gauge,
    feed_age: Gauge<f64, AtomicU64>,
    unintegrated: Gauge,
    cached: Family<CacheLabels, Gauge>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DecisionLabels {
    action: &'static str,
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TokenLabels {
    grant: &'static str,
    error: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    outcome: &'static str,
    fault: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct UpstreamLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CacheLabels {
    noun: &'static str,
}

impl Metrics {
    /// Nothing counted yet. The observer is told of commits.
    pub fn new() -> (Arc<Self>, Observer) {
        let metrics = Self {
            registry: Registry::with_prefix("chancery"),
            decisions: Family::default(),
            tokens: Family::default(),
            calls: Family::default(),
            limits: Family::default(),
            upstream: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            groups: Histogram::new(GROUPS),
            commits: Histogram::new(SECONDS),
            waiting_batches: Gauge::default(),
            feed_age: Gauge::default(),
            unintegrated: Gauge::default(),
            cached: Family::default(),
        };
        let metrics = Arc::new(metrics.registered());
        let observer = {
            let (groups, commits) = (metrics.groups.clone(), metrics.commits.clone());
            Arc::new(move |group: GroupCommitted| {
                groups.observe(f64::from(u32::try_from(group.batches).unwrap_or(u32::MAX)));
                commits.observe(group.took.as_secs_f64());
            })
        };
        (metrics, observer)
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register(
            "decisions",
            "Decisions by action, outcome and reason",
            self.decisions.clone(),
        );
        registry.register(
            "token_requests",
            "Requests at the token endpoint by grant and error",
            self.tokens.clone(),
        );
        registry.register(
            "calls",
            "Permitted calls that ended, by outcome and fault",
            self.calls.clone(),
        );
        registry.register(
            "limits_reached",
            "Requests refused because a limit was reached",
            self.limits.clone(),
        );
        let upstream = "Time until the head of an upstream's answer";
        registry.register_with_unit("upstream_head", upstream, Unit::Seconds, self.upstream.clone());
        registry.register(
            "database_group_batches",
            "Batches that shared one commit",
            self.groups.clone(),
        );
        let commits = "Time that a commit to the disk, or to the server, took";
        registry.register_with_unit("database_commit", commits, Unit::Seconds, self.commits.clone());
        registry.register(
            "database_waiting_batches",
            "Batches that wait for the writer",
            self.waiting_batches.clone(),
        );
        let age = "Time since the revocation feed was read whole";
        registry.register_with_unit("feed_age", age, Unit::Seconds, self.feed_age.clone());
        registry.register(
            "unintegrated_events",
            "Events that are not in the log's tree yet, at most 10,000",
            self.unintegrated.clone(),
        );
        registry.register("cached_records", "Records in memory", self.cached.clone());
        self
    }

    /// A decision was made.
    pub fn decided(&self, action: &'static str, decision: &Decision, is_permitted: bool) {
        self.decided_with(action, is_permitted, decision.reason.map_or("none", reason));
    }

    /// A decision was made, and no more is known of it than this.
    pub fn decided_with(&self, action: &'static str, is_permitted: bool, reason: &'static str) {
        let outcome = if is_permitted { "permit" } else { "deny" };
        let labels = DecisionLabels {
            action,
            outcome,
            reason,
        };
        self.decisions.get_or_create(&labels).inc();
    }

    /// The token endpoint answered.
    pub fn token_request(&self, grant: &'static str, error: &'static str) {
        self.tokens.get_or_create(&TokenLabels { grant, error }).inc();
    }

    /// A call ended.
    pub fn call_ended(&self, outcome: EventOutcome, fault: Option<&'static str>) {
        let labels = CallLabels {
            outcome: outcome.as_str(),
            fault: fault.unwrap_or("none"),
        };
        self.calls.get_or_create(&labels).inc();
    }

    /// A limit was reached.
    pub fn limit_reached(&self, limit: &'static str) {
        self.limits.get_or_create(&LimitLabels { limit }).inc();
    }

    /// An upstream's answer began.
    pub fn upstream_began(&self, kind: &'static str, after: Ttl) {
        let histogram = self.upstream.get_or_create(&UpstreamLabels { kind });
        histogram.observe(after.as_std().as_secs_f64());
    }

    /// Everything as text.
    ///
    /// # Errors
    /// The database's; the text cannot be written.
    pub async fn text(&self, app: &App) -> Result<String, Failure> {
        let waiting = i64::try_from(app.db.waiting_batches()).unwrap_or(i64::MAX);
        self.waiting_batches.set(waiting);
        let age = app.freshness.age(app.clock.now());
        self.feed_age.set(age.as_std().as_secs_f64());
        let pending = chancery_store::event::count_pending(&app.db, MOST_PENDING).await?;
        self.unintegrated.set(i64::try_from(pending).unwrap_or(i64::MAX));
        for (noun, size) in app.directory.sizes() {
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            self.cached.get_or_create(&CacheLabels { noun }).set(size);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).map_err(Failure::internal)?;
        Ok(text)
    }
}

fn reason(reason: DenyReason) -> &'static str {
    match reason {
        DenyReason::ScopeRefused => "scope_refused",
        DenyReason::NothingLeft => "nothing_left",
        DenyReason::DelegationRefused => "delegation_refused",
        DenyReason::AgentTokenRefused => "agent_token_refused",
        DenyReason::ConsentRequired => "consent_required",
        DenyReason::BudgetUsedUp => "budget_used_up",
        DenyReason::InsufficientScope => "insufficient_scope",
        DenyReason::CallRefused => "call_refused",
        DenyReason::NotMapped => "not_mapped",
        DenyReason::ManifestNotAccepted => "manifest_not_accepted",
        DenyReason::ReleaseRefused => "release_refused",
        DenyReason::ConnectionRefused => "connection_refused",
        DenyReason::ConnectionNotGranted => "connection_not_granted",
        DenyReason::AccountMissing => "account_missing",
        DenyReason::ArgumentsRefused => "arguments_refused",
        DenyReason::ApprovalRequired => "approval_required",
    }
}

const SECONDS: [f64; 13] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];
const GROUPS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// Further events are not counted: the number is to be near zero.
const MOST_PENDING: u32 = 10_000;
