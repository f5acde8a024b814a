//! Permits: proof that policy allowed one exact proposal, for a token or for its use.

use chancery_core::call::UsePlan;
use chancery_core::decision::{Decision, DecisionOutcome, DenyReason};
use chancery_core::proposal::{Facts, TokenPlan};
use chancery_core::scope::Authority;

/// Proof that policy permitted this plan. Only [`decide`](crate::decide()) builds one, signing demands one,
/// and it is not `Clone`: one permit, one token.
#[derive(Debug)]
pub struct Permit {
    decision: Decision,
    plan: TokenPlan,
    given: Authority,
}

impl Permit {
    pub(crate) fn new(decision: Decision, plan: TokenPlan, given: Authority) -> Self {
        Self {
            decision,
            plan,
            given,
        }
    }

    /// Takes the permit back before anything was signed: the decision to store instead, which gives nothing.
    #[must_use]
    pub fn withdraw(self, reason: DenyReason) -> Decision {
        withdrawn(self.decision, reason)
    }

    /// The decision to store.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// What policies saw.
    pub fn facts(&self) -> &Facts {
        &self.decision.facts
    }

    /// What may be signed.
    pub fn plan(&self) -> &TokenPlan {
        &self.plan
    }

    /// The scopes that may be signed.
    pub fn given(&self) -> &Authority {
        &self.given
    }
}

/// Proof that policy permitted this use of a token. Only [`decide_use`](crate::decide_use) builds one, opening a
/// credential demands one, and it is not `Clone`: one permit, one call.
#[derive(Debug)]
pub struct UsePermit {
    decision: Decision,
    plan: UsePlan,
}

impl UsePermit {
    pub(crate) fn new(decision: Decision, plan: UsePlan) -> Self {
        Self { decision, plan }
    }

    /// Takes the permit back before anything was sent: the decision to store instead.
    #[must_use]
    pub fn withdraw(self, reason: DenyReason) -> Decision {
        withdrawn(self.decision, reason)
    }

    /// The decision to store.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// What policies saw.
    pub fn facts(&self) -> &Facts {
        &self.decision.facts
    }

    /// What may be done.
    pub fn plan(&self) -> &UsePlan {
        &self.plan
    }
}

fn withdrawn(mut decision: Decision, reason: DenyReason) -> Decision {
    decision.outcome = DecisionOutcome::Deny;
    decision.reason = Some(reason);
    for row in &mut decision.rows {
        row.given = false;
    }
    decision
}
