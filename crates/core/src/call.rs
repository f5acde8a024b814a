//! Calls: what an agent does with a token at a resource that Chancery stands before, as facts for policy and as a
//! plan of what may be done if policy permits.

use crate::connected_account::OwnerId;
use crate::connection::{CredentialFlow, Handling, OwnerLevel};
use crate::id::{
    AgentId, ClientId, ConnectedAccountId, ConnectionId, DecisionId, GrantId, ResourceId, TenantId, TokenId,
    UserId,
};
use crate::lineage::{Guard, Lineage};
use crate::name::Name;
use crate::proposal::Facts;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A use of a token that the protocol's rules allow and policy has still to decide on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseProposal {
    /// The decision's id.
    pub decision: DecisionId,
    /// All that policy sees; stored with the decision. `call` is set.
    pub facts: Facts,
    /// What may be done if policy permits.
    pub plan: UsePlan,
}

/// What may be done, and everything that it hangs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsePlan {
    /// The tenant.
    pub tenant: TenantId,
    /// The agent that calls.
    pub agent: AgentId,
    /// Its client.
    pub client: ClientId,
    /// The person it acts for.
    pub user: Option<UserId>,
    /// The token that it presented.
    pub token: TokenId,
    /// Where it calls; none where a credential is handed out.
    pub resource: Option<ResourceId>,
    /// The connection that the call needs, if it needs one.
    pub connection: Option<ConnectionUse>,
    /// When the token was issued.
    pub issued_at: Timestamp,
    /// The request's one moment.
    pub now: Timestamp,
    /// Everything that the call hangs on.
    pub lineage: Lineage,
    /// Everything that was read to decide.
    pub guards: Vec<Guard>,
    /// Grants whose budget this call spends, with that budget.
    pub spends: Vec<(GrantId, u64)>,
}

/// A connection that a call needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionUse {
    /// The connection.
    pub connection: ConnectionId,
    /// The account whose credential is used; none where the connection has no credential.
    pub account: Option<AccountUse>,
    /// The connection's destination at the time of the decision.
    pub fingerprint: [u8; 32],
}

/// An account whose credential is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountUse {
    /// The account.
    pub id: ConnectedAccountId,
    /// Its owner.
    pub owner: OwnerId,
    /// Where its tokens stood, if it has tokens of a provider.
    pub tokens: Option<TokensSeen>,
}

/// Where the tokens of an account stood when they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokensSeen {
    /// Which of the line of tokens it was.
    pub position: u64,
    /// Until when the access token is good, if that is known.
    pub expires_at: Option<Timestamp>,
    /// Whether there is a refresh token.
    pub is_refreshable: bool,
}

impl TokensSeen {
    /// Whether the access token is good up to a moment, or nothing better can be had.
    pub fn is_fresh(&self, (now, until): (Timestamp, Timestamp)) -> bool {
        let is_good = |at: Timestamp| self.expires_at.is_none_or(|end| at < end);
        is_good(until) || is_good(now) && !self.is_refreshable
    }
}

/// What policy sees of a call, besides who calls and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFacts {
    /// What is done.
    pub action: CallAction,
    /// To what: a tool's or prompt's name, a document's URI, `METHOD path`, or a connection.
    pub target: String,
    /// The arguments that policies may read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, Argument>,
    /// The connection that the call needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionFacts>,
    /// The host that the request goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The method of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The normalised path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What stands in the way before any policy is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<Obstacle>,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallAction {
    /// A tool is called.
    CallTool,
    /// A prompt is fetched.
    GetPrompt,
    /// A document (a resource of MCP) is read.
    ReadResource,
    /// An HTTP request is sent on.
    Request,
    /// A session is opened, kept or ended, or what is there is listed: needs no scope of its own.
    OpenSession,
    /// The credential of a connection is handed out: there is no resource, and what is done with it is not seen.
    ReleaseCredential,
}

impl CallAction {
    /// The action's name in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CallTool => "call_tool",
            Self::GetPrompt => "get_prompt",
            Self::ReadResource => "read_resource",
            Self::Request => "request",
            Self::OpenSession => "open_session",
            Self::ReleaseCredential => "release_credential",
        }
    }
}

/// What stands in the way of a call whatever policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// Nothing says which scopes the target needs.
    NotMapped,
    /// The tool is not the one that was accepted.
    ManifestNotAccepted,
    /// The arguments do not fit the tool's schema, or cannot be read in one way only.
    ArgumentsRefused,
    /// The connection that the resource names is not in use, or does not lead where the call goes.
    ConnectionUnusable,
}

/// An argument as policies see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Argument {
    /// A text.
    Text(String),
    /// An integer.
    Number(i64),
    /// A number with at most four digits after the point, as it is written: `12.50`.
    Decimal(String),
    /// True or false.
    Flag(bool),
    /// A list of texts, each counted once.
    Texts(BTreeSet<String>),
}

/// The connection as policies see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionFacts {
    /// The name.
    pub name: Name,
    /// Whose credentials it has.
    pub owner_level: OwnerLevel,
    /// Whether a call through it needs an account.
    pub needs_account: bool,
    /// The owner of the account that is used, as `user:NAME`, `agent:NAME` or `tenant`; none if there is no
    /// account that may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_owner: Option<String>,
    /// Whether a grant to this agent, for this principal, covers it.
    pub granted: bool,
    /// Whether its credentials may ever be handed out.
    #[serde(default)]
    pub handling: Handling,
    /// How its credentials are come by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<CredentialFlow>,
    /// What the provider gave the account, where it says so.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub scopes: BTreeSet<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_facts_of_a_call_read_back() {
        let call = CallFacts {
            action: CallAction::CallTool,
            target: "pay".to_owned(),
            arguments: BTreeMap::from([
                ("amount".to_owned(), Argument::Number(3)),
                ("rate".to_owned(), Argument::Decimal("1.50".to_owned())),
                ("to".to_owned(), Argument::Texts(BTreeSet::from(["a".to_owned()]))),
            ]),
            connection: None,
            host: None,
            method: None,
            path: None,
            obstacle: None,
        };
        let text = serde_json::to_string(&call).unwrap();
        assert_eq!(serde_json::from_str::<CallFacts>(&text).unwrap(), call);
        assert!(text.contains(r#""amount":{"number":3}"#), "{text}");
    }
}
