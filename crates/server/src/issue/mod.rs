//! Issuing: a token request becomes a decided, recorded, signed token.

pub mod agreement;
pub mod arrival;
mod asking;
mod assertion;
pub mod authenticate;
mod client_key;
pub mod credential;
pub mod details;
mod device;
pub mod flood;
pub mod id_token;
pub mod introspect;
pub mod own;
mod proposed;
mod refresh;
mod refusal;
mod reuse;
pub mod revoke;
pub mod subject;
pub mod target;
pub mod token;
pub mod userinfo;
