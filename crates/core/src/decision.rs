//! Decisions: the stored evaluation behind every token, credential use and call.

use crate::id::DecisionId;
use crate::name::Name;
use crate::proposal::Facts;
use crate::scope::{Scope, ScopeSet};
use serde::{Deserialize, Serialize};

/// A stored evaluation. It explains itself and can be evaluated again: `facts` is all that policies saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Its id. The token it permitted has the same bytes.
    pub id: DecisionId,
    /// What came out.
    pub outcome: DecisionOutcome,
    /// One row for each scope that was in question.
    pub rows: Vec<ScopeRow>,
    /// What policy said of the call and of the connection it needs, where a token is used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<ActionRow>,
    /// Why not, when it is not about a scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DenyReason>,
    /// The hash of the policy set that decided.
    pub policy_set: String,
    /// What policies saw.
    pub facts: Facts,
}

impl Decision {
    /// The scopes that a token would need besides its own, if nothing else is in the way.
    pub fn missing_scopes(&self) -> ScopeSet {
        if self.reason != Some(DenyReason::InsufficientScope) {
            return ScopeSet::default();
        }
        let refused = self.rows.iter().filter(|row| !row.given);
        refused.map(|row| row.scope.clone()).collect()
    }
}

/// What policy said of one action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionRow {
    /// The action's name in policies.
    pub action: String,
    /// What it was done to.
    pub target: String,
    /// Whether it is allowed.
    pub allowed: bool,
    /// The policies that decided: permits that matched, or forbids that refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// The arguments that those policies read; if none decided, that any policy asked here reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Evaluation errors, each a reason to refuse.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// What came out of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionOutcome {
    /// Everything in the proposal is allowed.
    Permit,
    /// Nothing is.
    Deny,
}

/// One scope against every limit. A column is `None` where the limit does not apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeRow {
    /// The resource.
    pub resource: Name,
    /// The scope.
    pub scope: Scope,
    /// Whether the client asked for it by name.
    pub asked: bool,
    /// Whether the presented token carries it.
    pub parent: Option<bool>,
    /// Whether the ceilings of agent and blueprint allow it.
    pub ceiling: Option<bool>,
    /// Whether the grant has it.
    pub grant: Option<bool>,
    /// Whether the user holds it.
    pub holders: Option<bool>,
    /// What policy says; `None` where an earlier limit already refused.
    pub policy: Option<bool>,
    /// Whether it is given.
    pub given: bool,
    /// The policies that decided this row: permits that matched, or forbids that refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Evaluation errors, each a reason to refuse.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

impl ScopeRow {
    /// The first limit that refuses the scope, if any.
    pub fn refused_by(&self) -> Option<&'static str> {
        self.refusals().next()
    }

    /// Every limit that refuses the scope.
    pub fn refusals(&self) -> impl Iterator<Item = &'static str> {
        [
            ("parent", self.parent),
            ("ceiling", self.ceiling),
            ("grant", self.grant),
            ("holders", self.holders),
            ("policy", self.policy),
        ]
        .into_iter()
        .filter(|(_, allowed)| *allowed == Some(false))
        .map(|(limit, _)| limit)
    }
}

/// Why a whole proposal is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DenyReason {
    /// A scope that was asked for by name is refused.
    ScopeRefused,
    /// No scope is left.
    NothingLeft,
    /// Policy refuses the hop from one agent to another.
    DelegationRefused,
    /// Policy refuses an agent token.
    AgentTokenRefused,
    /// No grant covers this agent, principal and resource.
    ConsentRequired,
    /// Policy permits it, but the budget of a grant that it needs is used up. Not a fact that policies read:
    /// it is found out when the token is recorded.
    BudgetUsedUp,
    /// The token lacks scopes that the call needs, and nothing else is in the way.
    InsufficientScope,
    /// A limit or policy refuses the call.
    CallRefused,
    /// Nothing says which scopes the target needs.
    NotMapped,
    /// The tool is not the one that was accepted.
    ManifestNotAccepted,
    /// Policy refuses the connection.
    ConnectionRefused,
    /// No grant covers this agent, principal and connection.
    ConnectionNotGranted,
    /// There is no account that may be used at the connection.
    AccountMissing,
    /// Policy does not permit the credential to be handed out.
    ReleaseRefused,
    /// The arguments do not fit, or cannot be evaluated.
    ArgumentsRefused,
    /// Policy denies it now, and would permit it with a person's yes.
    ApprovalRequired,
}
