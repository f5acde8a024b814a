//! Who did something: the actor of an event, and the chain of agents behind a token.

use crate::id::{AgentId, ClientId, UserId};
use crate::name::Name;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who caused an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// An agent through one of its clients, for a user or for itself.
    Agent {
        /// The agent.
        agent: AgentId,
        /// The client it came in through.
        client: ClientId,
        /// The person it acted for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<UserId>,
    },
    /// A person.
    User(UserId),
    /// A person with access to the server's own machine, through the local socket: the peer's user id.
    Local(u32),
    /// Chancery itself: a job, or the first start.
    System(SystemActor),
    /// Somebody who could not be authenticated.
    Unknown,
}

/// Work of Chancery's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemActor {
    /// Creating a tenant's first records.
    Setup,
    /// Rotating keys.
    KeyRotation,
    /// Ending what has expired.
    Expiry,
    /// The gateway, which notes what servers show.
    Gateway,
    /// Continuing from a backup.
    Restore,
    /// Requests for a person's yes.
    Approval,
    /// Taking in a client that made itself known.
    Registration,
    /// Keeping connected accounts in use, and revoking them at their providers.
    Connections,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent { agent, .. } => write!(f, "{agent}"),
            Self::User(user) => write!(f, "{user}"),
            Self::Local(uid) => write!(f, "local:{uid}"),
            Self::System(SystemActor::Setup) => f.write_str("system:setup"),
            Self::System(SystemActor::KeyRotation) => f.write_str("system:key_rotation"),
            Self::System(SystemActor::Expiry) => f.write_str("system:expiry"),
            Self::System(SystemActor::Gateway) => f.write_str("system:gateway"),
            Self::System(SystemActor::Restore) => f.write_str("system:restore"),
            Self::System(SystemActor::Approval) => f.write_str("system:approval"),
            Self::System(SystemActor::Registration) => f.write_str("system:registration"),
            Self::System(SystemActor::Connections) => f.write_str("system:connections"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// One agent in a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainLink {
    /// The agent's id: `act.sub`.
    pub id: AgentId,
    /// Its name, for policies and people.
    pub name: Name,
}

/// The agents behind a token, the current actor first (the outermost `act`, RFC 8693 §4.1).
pub type Chain = Vec<ChainLink>;

/// The longest chain that is ever issued.
pub const MAX_CHAIN: usize = 8;
