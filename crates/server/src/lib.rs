//! The use cases of Chancery, and the bytes on its sockets.
//!
//! A request goes straight: `http/…` parses → a use case (`issue/`, `directory/`, `connect/`, `gateway/`,
//! `broker/`, `govern/`, `people/`, `registration/`) loads
//! facts, applies the rules of `oauth`, has `policy` decide, commits one batch through [`record`] → `keys` signs →
//! reply. A use case never names an HTTP type.

pub mod app;
pub mod approve;
pub mod broker;
pub mod connect;
pub mod directory;
pub mod egress;
pub mod error;
pub mod gateway;
pub mod govern;
pub mod http;
pub mod issue;
pub mod jobs;
pub mod keys;
pub mod kms;
pub mod limits;
pub mod listener;
pub mod metrics;
pub mod node;
pub mod people;
pub mod record;
pub mod registration;
pub mod roots;
pub mod setup;
pub mod sinks;
pub mod tenants;
pub mod test_mode;
pub mod witness;
pub mod world;

pub use app::App;
pub use chancery_mcp as mcp;
pub use chancery_store as store;
pub use error::Failure;
