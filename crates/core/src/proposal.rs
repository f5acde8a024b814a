//! A proposal: a token that the protocol's rules allow and policy has still to decide on.

use crate::actor::Chain;
use crate::approval::ApprovalFacts;
use crate::assurance::{AgentAssurance, UserAssurance};
use crate::authorization_details::{AuthorizationDetails, DetailFacts};
use crate::call::CallFacts;
use crate::id::{
    AgentId, ClientId, DecisionId, DelegationId, GrantId, ResourceId, TenantId, TokenId, UserId,
};
use crate::lineage::{Guard, Lineage};
use crate::name::Name;
use crate::resource::{Sensitivity, TokenAlgorithm};
use crate::scope::{Authority, Scope, ScopeSet};
use crate::time::{Timestamp, Ttl};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What is proposed: the facts that policy sees and the plan of what to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The id that decision and token will share.
    pub decision: DecisionId,
    /// All that policy sees; stored with the decision.
    pub facts: Facts,
    /// What will be signed if policy permits.
    pub plan: TokenPlan,
}

/// All that policy sees of a request, for a token or with one. Stored with the decision, so that it can be evaluated again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The tenant.
    pub tenant: Name,
    /// The request's one moment.
    pub now: Timestamp,
    /// How the token was asked for; none where a token is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_type: Option<GrantType>,
    /// The call, where a token is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallFacts>,
    /// The agent that asks.
    pub agent: AgentFacts,
    /// The agent before it, when this request is a hop from one agent to another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegated_by: Option<Name>,
    /// The client it came in through.
    pub client: Name,
    /// How the agent proved itself.
    pub assurance: AgentAssurance,
    /// Verified claims that name the instance (pod, run).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub instance: BTreeMap<String, String>,
    /// The person, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserFacts>,
    /// The yes of people, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalFacts>,
    /// Agents of the chain by name, the current actor first.
    pub chain: Vec<Name>,
    /// The resource the token is for, or used at; `None` for an agent token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceFacts>,
    /// Sensitivity of each scope in question; for a call, of those that its target needs.
    pub scopes: BTreeMap<Name, BTreeMap<Scope, Sensitivity>>,
    /// Which scopes were asked for; `None` if the client named none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Authority>,
    /// The authorization details that the token is to have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Vec<DetailFacts>,
    /// Each limit that applies.
    pub limits: Limits,
}

/// The agent as policies see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFacts {
    /// The name.
    pub name: Name,
    /// The accountable person or group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Name>,
    /// The live parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blueprint: Option<Name>,
    /// Free labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// The person as policies see them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserFacts {
    /// The name.
    pub name: Name,
    /// The issuer that vouches.
    pub issuer: Name,
    /// Roles.
    pub roles: BTreeSet<Name>,
    /// Groups.
    pub groups: BTreeSet<String>,
    /// Attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// When the issuer last vouched.
    pub as_of: Timestamp,
    /// How the person was proved.
    pub assurance: UserAssurance,
}

/// The resource as policies see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceFacts {
    /// The name.
    pub name: Name,
    /// The accountable person or group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Name>,
}

/// The limits that a child never exceeds. `None` where a limit does not apply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// What the presented token carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Authority>,
    /// What agent and blueprint may ever be given.
    pub ceiling: Authority,
    /// What grants cover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Authority>,
    /// What the person holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holders: Option<Authority>,
}

/// How a token was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 8693 §2.1.
    TokenExchange,
    /// OpenID Connect CIBA §10.1.
    Ciba,
    /// RFC 6749 §4.1.
    AuthorizationCode,
    /// RFC 6749 §6.
    RefreshToken,
    /// RFC 8628 §3.4.
    DeviceCode,
    /// RFC 7523 §2.1.
    JwtBearer,
}

impl GrantType {
    /// The word that policies compare.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::TokenExchange => "token_exchange",
            Self::Ciba => "ciba",
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::DeviceCode => "device_code",
            Self::JwtBearer => "jwt_bearer",
        }
    }
}

/// What will be signed, except its scopes: those are what the decision gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPlan {
    /// The tenant.
    pub tenant: TenantId,
    /// The issuer URL.
    pub issuer: String,
    /// The one audience.
    pub audience: Audience,
    /// The principal: a person, or the agent at the root of the chain.
    pub subject: Subject,
    /// The agent that asks.
    pub agent: AgentId,
    /// Its client.
    pub client: ClientId,
    /// The agents behind the token, the current actor first; empty when the agent acts for itself alone.
    pub chain: Chain,
    /// The one agent, besides the current actor, that may exchange it (`may_act`, RFC 8693 §4.4).
    pub may_act: Option<AgentId>,
    /// How the agent proved itself.
    pub assurance: AgentAssurance,
    /// The authorization details that it has (RFC 9396 §9.1).
    pub authorization_details: AuthorizationDetails,
    /// When it is issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Signature algorithm.
    pub algorithm: TokenAlgorithm,
    /// Everything it hangs on.
    pub lineage: Lineage,
    /// Everything that was read to decide.
    pub guards: Vec<Guard>,
    /// Grants whose budget this token spends, with that budget.
    pub spends: Vec<(GrantId, u64)>,
    /// The hop that this token records, if it is one.
    pub delegation: Option<Hop>,
}

/// A hop from one agent to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The new delegation's id.
    pub id: DelegationId,
    /// The agent before.
    pub from: AgentId,
    /// The agent that asks.
    pub to: AgentId,
    /// The token that was handed over.
    pub parent: TokenId,
}

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Chancery itself: an agent token.
    Chancery,
    /// One resource.
    Resource {
        /// Its id.
        id: ResourceId,
        /// Its name.
        name: Name,
        /// Its URI: the `aud`.
        uri: crate::uri::ResourceUri,
    },
}

/// Whose authority a token carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A person.
    User(UserId),
    /// An agent for itself.
    Agent(AgentId),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(id) => write!(f, "{id}"),
            Self::Agent(id) => write!(f, "{id}"),
        }
    }
}

impl TokenPlan {
    /// How long the token lives.
    pub fn lifetime(&self) -> Ttl {
        self.expires_at.since(self.issued_at)
    }
}

impl Limits {
    /// What remains of a set of scopes at a resource after every limit.
    #[must_use]
    pub fn narrow(&self, resource: &Name, scopes: &ScopeSet) -> ScopeSet {
        let limits = [
            self.parent.as_ref(),
            Some(&self.ceiling),
            self.grant.as_ref(),
            self.holders.as_ref(),
        ];
        let mut left = scopes.clone();
        for limit in limits.into_iter().flatten() {
            left = left.intersection(&limit.scopes_at(resource));
        }
        left
    }
}
