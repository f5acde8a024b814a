//! Who is at the other end of a connection, as the operating system says. Found in the extensions of every
//! request.

use std::net::{IpAddr, SocketAddr};

/// The address of a TCP peer: the client's, or that of a proxy in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

impl PeerAddress {
    /// The address of a peer; an IPv4 address that a dual-stack socket shows in IPv6 form becomes IPv4.
    pub const fn new(address: SocketAddr) -> Self {
        Self(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }

    /// The address without the port.
    pub const fn ip(self) -> IpAddr {
        self.0.ip()
    }
}

/// The user of the process at the other end of a Unix socket, when it connected (`SO_PEERCRED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalPeer {
    /// The effective user id.
    pub uid: u32,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peer {
    /// Over TCP.
    Remote(PeerAddress),
    /// Over a Unix socket.
    Local(LocalPeer),
}

impl Peer {
    /// Tells the service who is asking.
    pub(super) fn mark(self, extensions: &mut http::Extensions) {
        match self {
            Self::Remote(address) => {
                extensions.insert(address);
            }
            Self::Local(peer) => {
                extensions.insert(peer);
            }
        }
    }
}
