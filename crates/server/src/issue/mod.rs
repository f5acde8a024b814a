//! Issuing: a token request becomes a decided, recorded, signed token.

pub mod authenticate;
pub mod introspect;
pub mod own;
pub mod revoke;
pub mod subject;
mod refusal;
pub mod target;
pub mod token;
