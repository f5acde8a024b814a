//! Why nothing was fetched.

use std::net::IpAddr;
use std::sync::Arc;

/// Why a call to the outside failed. Cheap to clone, so that it can be remembered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// Not an absolute URL in plain characters of at most 2,048 bytes, or with a trailing dot in the host.
    #[error("the URL is malformed")]
    MalformedUrl,
    /// A user name or password in the URL.
    #[error("the URL has a user name or password")]
    UserInfo,
    /// A fragment in the URL.
    #[error("the URL has a fragment")]
    Fragment,
    /// Not https; http is spoken to loopback hosts that the operator allowed, and to nothing else.
    #[error("the URL is not https")]
    NotHttps,
    /// A client supplied a URL with an address in place of a name.
    #[error("the URL has an address in place of a host name")]
    AddressLiteral,
    /// The host is, or resolves to, an address of special use that the operator did not allow.
    #[error("the host has the address `{address}`, which is not allowed")]
    AddressNotAllowed {
        /// The first such address.
        address: IpAddr,
    },
    /// The name has no address.
    #[error("the host name does not resolve")]
    Unresolved,
    /// No connection, or no trusted TLS session, could be made.
    #[error("cannot connect: {reason}")]
    Connect {
        /// What the transport said.
        reason: Arc<str>,
    },
    /// The connection broke, or what came over it was not HTTP.
    #[error("the exchange failed: {reason}")]
    Transport {
        /// What the transport said.
        reason: Arc<str>,
    },
    /// The whole exchange took too long.
    #[error("no complete answer in time")]
    Timeout,
    /// Too many calls to this host are under way.
    #[error("too many calls to this host are under way")]
    Busy,
    /// The answer is a redirect, which is never followed.
    #[error("the answer is a redirect, which is not followed")]
    Redirect,
    /// The answer is not the one success that was asked for.
    #[error("the answer has status {0}")]
    Status(u16),
    /// The answer has another content type than those asked for, or none.
    #[error("the answer has an unexpected content type")]
    ContentType,
    /// The answer is compressed, which was not asked for.
    #[error("the answer has a content encoding that was not asked for")]
    ContentEncoding,
    /// A header of the request has a name or value that a header cannot have.
    #[error("a header of the request cannot be written")]
    Header,
    /// The answer is longer than the limit.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}

impl EgressError {
    /// How to fix it, where there is a way.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::AddressNotAllowed { .. } => Some(
                "if this host is meant, add it to `egress.allowed_hosts` as `host:port`, or its network as a CIDR",
            ),
            Self::NotHttps => Some("use https; for a host on this machine, add it to `egress.allowed_hosts`"),
            Self::Redirect => Some("give the final URL"),
            Self::Connect { .. } => {
                Some("check the address; for a private certificate authority set `egress.extra_ca_file`")
            }
            Self::MalformedUrl
            | Self::UserInfo
            | Self::Fragment
            | Self::AddressLiteral
            | Self::Unresolved
            | Self::Transport { .. }
            | Self::Timeout
            | Self::Busy
            | Self::Status(_)
            | Self::ContentType
            | Self::ContentEncoding
            | Self::Header
            | Self::TooLarge { .. } => None,
        }
    }

    /// Whether too many calls are under way: try again soon.
    pub const fn is_busy(&self) -> bool {
        matches!(self, Self::Busy)
    }

    /// Whether it took too long.
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }

    /// Whether the far side is to blame, so that asking again at once is pointless.
    pub(super) const fn is_worth_remembering(&self) -> bool {
        match self {
            Self::AddressNotAllowed { .. }
            | Self::Unresolved
            | Self::Connect { .. }
            | Self::Transport { .. }
            | Self::Timeout
            | Self::Redirect
            | Self::Status(_)
            | Self::ContentType
            | Self::ContentEncoding
            | Self::TooLarge { .. } => true,
            Self::MalformedUrl
            | Self::UserInfo
            | Self::Fragment
            | Self::NotHttps
            | Self::AddressLiteral
            | Self::Header
            | Self::Busy => false,
        }
    }
}

/// What caused an error, the nearest cause first.
pub(super) fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}
