//! Requests of the OAuth endpoints: bytes become types that cannot be wrong. One file per endpoint.

pub mod authorize;
pub mod backchannel;
pub mod client;
mod details;
pub mod device;
pub mod introspection;
pub mod revocation;
pub mod token;
