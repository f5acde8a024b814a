//! The HTTP broker: any request to a connection's provider, with the credential set last and exactly once. Path and
//! headers are rebuilt, the call is decided with method and path, redirects are never followed, and an answer that
//! repeats the credential is cut.

pub mod asked;
pub mod headers;
pub mod path;
pub mod request;
pub mod sieve;
