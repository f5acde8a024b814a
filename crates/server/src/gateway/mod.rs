//! The MCP gateway: a call is decided with its arguments and recorded; the credential is added just in time; the
//! answer comes back byte for byte. The caller's own token never goes on.
//!
//! One message takes this way: `call` (parse, who, what) → `decision` (propose, decide, record) → `upstream` (open the
//! credential, send) → `relay` (check, filter, hand on, record the end).

pub mod answer;
pub mod approving;
pub mod asked;
pub mod call;
pub mod caller;
mod connecting;
pub mod credential;
pub mod decision;
pub mod end;
pub mod ends;
pub mod in_force;
pub mod listing;
pub mod manifest;
pub mod proposal;
pub mod relay;
pub mod relaying;
pub mod session;
pub mod stream;
pub mod target;
pub mod upstream;

/// What the gateway keeps in memory.
#[derive(Debug, Default)]
pub struct Gateway {
    /// What servers say of their tools.
    pub manifests: manifest::Manifests,
    /// Sealed credentials that were read before.
    pub sealed: crate::connect::open::SealedCache,
    /// Ends of calls that wait to be recorded.
    pub ends: ends::Ends,
}
