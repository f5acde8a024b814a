//! What a peer may make us wait for, and keep.

use chancery_core::time::Ttl;

/// The bounds of one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once; more wait in the backlog of the socket.
    pub max_connections: usize,
    /// Connections open at once from one source: an IPv4 address, or the first 64 bits of an IPv6 address. More
    /// are closed at once. Trusted proxies are excepted: they speak for many.
    pub max_connections_per_source: usize,
    /// Whether connections from this machine are excepted too.
    pub excepts_loopback: bool,
    /// TLS handshakes under way at once, counted from the client's hello.
    pub max_handshakes: usize,
    /// How long a TLS handshake may take, waiting for its turn included.
    pub handshake_timeout: Ttl,
    /// How long a request's head may take from its first byte, and the first head from the connection.
    pub header_read_timeout: Ttl,
    /// How long a request's body may take, from the first wait for it to its last byte.
    pub body_read_timeout: Ttl,
    /// How long a connection may be open without a request. Longer than a proxy in front keeps its own
    /// idle connections (60 s is common), so that it is the proxy that closes them.
    pub idle_timeout: Ttl,
    /// How long a peer may leave what is sent to it unread.
    pub write_timeout: Ttl,
    /// How long requests under way may go on after the shutdown began.
    pub drain_timeout: Ttl,
    /// Headers of one HTTP/1 request.
    pub max_headers: usize,
    /// Bytes of all headers of one request, at least 8,192.
    pub max_header_bytes: u32,
    /// Requests under way at once on one HTTP/2 connection.
    pub max_concurrent_streams: u32,
    /// How often an HTTP/2 peer is asked whether it is still there.
    pub http2_ping_interval: Ttl,
    /// How long it may take to say so.
    pub http2_ping_timeout: Ttl,
}

impl Default for Limits {
    /// For a server on the public internet.
    fn default() -> Self {
        Self {
            max_connections: 8192,
            max_connections_per_source: 256,
            excepts_loopback: true,
            max_handshakes: 1024,
            handshake_timeout: Ttl::from_seconds(10),
            header_read_timeout: Ttl::from_seconds(15),
            body_read_timeout: Ttl::from_seconds(30),
            idle_timeout: Ttl::from_seconds(75),
            write_timeout: Ttl::from_seconds(30),
            drain_timeout: Ttl::from_seconds(25),
            max_headers: 100,
            max_header_bytes: 64 * 1024,
            max_concurrent_streams: 128,
            http2_ping_interval: Ttl::from_seconds(30),
            http2_ping_timeout: Ttl::from_seconds(10),
        }
    }
}
