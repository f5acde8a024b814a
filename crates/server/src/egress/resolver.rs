//! Names become addresses here, and only here: looked up once, checked, and handed to the connector, which
//! dials exactly what was checked. So no name can mean one address when it is checked and another when it
//! is dialled (DNS rebinding).

use super::fence::{Fence, Route};
use futures_util::future::BoxFuture;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Looks names up.
pub trait Lookup: fmt::Debug + Send + Sync {
    /// All addresses of a name.
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The resolver of the operating system, asked a bounded number of questions at once. It blocks a thread
/// for each; a name whose servers are silent would otherwise use them up.
#[derive(Clone, Debug)]
pub struct SystemLookup(Arc<Semaphore>);

impl Default for SystemLookup {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_QUESTIONS)))
    }
}

impl Lookup for SystemLookup {
    fn lookup(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let turns = Arc::clone(&self.0);
        Box::pin(async move {
            let turn = turns.acquire_owned().await.map_err(io::Error::other)?;
            let asked = tokio::task::spawn_blocking(move || {
                // INVARIANT: the turn is kept until the thread is free, also when nobody waits any longer.
                let _turn = turn;
                let addresses = (name.as_str(), 0).to_socket_addrs()?;
                Ok(addresses.map(|address| address.ip()).collect())
            });
            asked.await.map_err(io::Error::other)?
        })
    }
}

/// What stands between a client and the names it is asked to call.
#[derive(Debug)]
pub(super) struct FencedResolver {
    pub(super) fence: Arc<Fence>,
    pub(super) route: Route,
    pub(super) lookup: Arc<dyn Lookup>,
}

impl reqwest::dns::Resolve for FencedResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let found = self.lookup.lookup(name.as_str().to_owned());
        let (fence, route) = (Arc::clone(&self.fence), self.route);
        Box::pin(async move {
            let addresses = found.await?;
            // SECURITY: one bad address refuses the name, else an attacker mixes a good one in.
            if let Some(&address) = addresses.iter().find(|address| !fence.permits(route, **address)) {
                return Err(RefusedAddress(address).into());
            }
            if addresses.is_empty() {
                return Err(io::Error::from(io::ErrorKind::NotFound).into());
            }
            let dialled = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(dialled) as reqwest::dns::Addrs)
        })
    }
}

/// A name resolved to an address that may not be dialled.
#[derive(Debug, thiserror::Error)]
#[error("the name resolves to `{0}`, which is not allowed")]
pub(super) struct RefusedAddress(pub(super) IpAddr);

const MAX_QUESTIONS: usize = 64;
