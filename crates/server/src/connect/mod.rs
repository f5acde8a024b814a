//! Connected accounts: setting and giving up the credential of one owner at one connection, looking at what there
//! is, finding the one that a call may use, and opening it for a permit; looking at an MCP server before it is added.
//! At an OAuth 2 provider: `begin` and `finish` connect an account, `refresh` keeps its tokens good, and `disconnect`
//! takes them back.
//!
//! Sending requests with it is not done here.

pub mod account;
pub mod begin;
pub mod client_secret;
pub mod disconnect;
mod federated;
pub mod find;
pub mod finish;
pub mod inspect;
mod installation;
pub mod key;
pub mod lack;
pub mod open;
pub mod preset;
mod private_key;
pub mod propose;
pub mod provider;
pub mod refresh;
pub mod refused;
pub mod release;
mod source;
mod tokens;

use crate::setup::sha256;
use chancery_core::connected_account::OwnerId;
use chancery_core::connection::ConnectionSpec;
use chancery_core::id::{ConnectedAccountId, ConnectionId, Id as _, TenantId};
use chancery_vault::{AssociatedData, Credential, Owner};

/// The digest of where a connection's credentials go. A credential is sealed for it.
pub fn destination_fingerprint(connection: &ConnectionSpec) -> [u8; 32] {
    sha256(&connection.destination())
}

/// A fingerprint as it is stored and shown.
pub fn hexadecimal(fingerprint: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    fingerprint
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// What a credential is sealed for: it opens with exactly this.
fn bound_to(
    tenant: TenantId,
    (account, owner): (ConnectedAccountId, OwnerId),
    (connection, destination_fingerprint): (ConnectionId, [u8; 32]),
) -> AssociatedData {
    AssociatedData::Credential(Credential {
        tenant,
        account: *account.as_bytes(),
        owner: match owner {
            OwnerId::User(id) => Owner::User(id),
            OwnerId::Agent(id) => Owner::Agent(id),
            OwnerId::Tenant(id) => Owner::Tenant(id),
        },
        connection: *connection.as_bytes(),
        destination_fingerprint,
    })
}
