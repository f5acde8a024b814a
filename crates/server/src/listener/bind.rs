//! Where to listen, and the rule that keeps plain HTTP off the network.

use super::forwarded::TrustedProxies;
use super::tls::TlsConfig;
use super::unix::{UnixEndpoint, UnixSocketError};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Without TLS here or in a proxy in front, tokens would cross the network in the clear.
    #[error("refusing to serve plain HTTP on `{address}`, which is not a loopback address")]
    PlainOffLoopback {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The operating system refuses.
    #[error("cannot listen on `{address}`")]
    Socket {
        /// The address asked for.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The Unix socket cannot be made.
    #[error(transparent)]
    Unix(#[from] UnixSocketError),
}

impl BindError {
    /// How to fix it, where there is a way.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::PlainOffLoopback { .. } => Some(
                "set a TLS certificate and key, or name the TLS proxy in front as a trusted proxy, or listen on 127.0.0.1",
            ),
            Self::Socket { .. } => {
                Some("check that the address is this machine's and that nothing else uses the port")
            }
            Self::Unix(error) => error.hint(),
        }
    }
}

/// Checks that plain HTTP stays on this machine or behind a proxy that the operator named.
///
/// # Errors
/// [`BindError::PlainOffLoopback`].
pub fn check_bind(address: SocketAddr, has_tls: bool, proxies: &TrustedProxies) -> Result<(), BindError> {
    if has_tls || !proxies.is_empty() || address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(BindError::PlainOffLoopback { address })
}

/// A socket that listens.
#[derive(Debug)]
pub enum Endpoint {
    /// TCP, with TLS or without.
    Tcp {
        /// The socket.
        listener: TcpListener,
        /// The certificate, when TLS ends here.
        tls: Option<Arc<TlsConfig>>,
        /// Proxies in front, which speak for many.
        proxies: TrustedProxies,
    },
    /// A Unix socket.
    Unix(UnixEndpoint),
}

impl Endpoint {
    /// Listens on a TCP address.
    ///
    /// # Errors
    /// [`BindError::PlainOffLoopback`] and [`BindError::Socket`].
    pub async fn tcp(
        address: SocketAddr,
        tls: Option<Arc<TlsConfig>>,
        proxies: &TrustedProxies,
    ) -> Result<Self, BindError> {
        check_bind(address, tls.is_some(), proxies)?;
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|source| BindError::Socket { address, source })?;
        Ok(Self::Tcp {
            listener,
            tls,
            proxies: proxies.clone(),
        })
    }

    /// Listens on a Unix socket that only this process's user can open.
    ///
    /// # Errors
    /// Every rule of [`UnixSocketError`].
    pub async fn unix(path: &Path) -> Result<Self, BindError> {
        Ok(Self::Unix(UnixEndpoint::bind(path).await?))
    }

    /// The address of a TCP socket, with the port that the system chose for port 0.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp { listener, .. } => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_served_on_loopback_or_behind_a_named_proxy_only() {
        let none = TrustedProxies::default();
        let some = TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("a network")]);
        let allowed = |address: &str, has_tls, proxies: &TrustedProxies| {
            check_bind(address.parse().expect("an address"), has_tls, proxies).is_ok()
        };
        for address in [
            "127.0.0.1:8440",
            "[::1]:8440",
            "127.9.9.9:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(allowed(address, false, &none), "{address}");
        }
        for address in ["0.0.0.0:8440", "[::]:8440", "192.0.2.1:443", "10.0.0.1:80"] {
            assert!(!allowed(address, false, &none), "{address}");
            assert!(allowed(address, true, &none), "{address}");
            assert!(allowed(address, false, &some), "{address}");
        }
    }

    #[tokio::test]
    async fn refusal_to_bind_comes_with_its_fix() {
        let address = "0.0.0.0:0".parse().expect("an address");
        let refused = Endpoint::tcp(address, None, &TrustedProxies::default())
            .await
            .expect_err("is refused");
        assert!(matches!(refused, BindError::PlainOffLoopback { .. }));
        assert!(refused.hint().is_some_and(|hint| hint.contains("trusted proxy")));
    }
}
