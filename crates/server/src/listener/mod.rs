//! The sockets: our own accept loop over hyper, for TCP, TLS and Unix sockets.
//!
//! Not `axum::serve`, which has no limit on how long a request's head may take and lets one stalled TLS
//! handshake hold up all others. Here every connection runs in a task of its own, handshake included, and
//! everything a peer can make us wait for or keep has a bound: connections in all and from one source,
//! handshakes, heads, bodies, idleness, streams, the drain at the end.

mod activity;
mod bind;
mod body;
mod connection;
mod forwarded;
mod limits;
mod peer;
mod serve;
mod sources;
mod tls;
mod unix;

pub use bind::{BindError, Endpoint, check_bind};
pub use body::{BodyTimeout, RequestBody, RequestBodyError};
pub use forwarded::{ForwardedHeader, TrustedProxies};
pub use limits::Limits;
pub use peer::{LocalPeer, PeerAddress};
pub use serve::serve;
pub use sources::party;
pub use tls::{TlsConfig, TlsError};
pub use unix::{UnixEndpoint, UnixSocketError};

#[cfg(test)]
mod tests;
