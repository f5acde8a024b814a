//! Where a request came from: the peer's address, or the client's behind a proxy that the operator named.

use crate::app::App;
use crate::issue::arrival::Source;
use crate::listener::PeerAddress;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::sync::Arc;

/// The source of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestSource(pub Source);

impl FromRequestParts<Arc<App>> for RequestSource {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        // Whoever has no address came through the local socket.
        let source = parts
            .extensions
            .get::<PeerAddress>()
            .map_or(Source::Local, |peer| {
                Source::of(app.proxies.client_address(peer.ip(), &parts.headers))
            });
        Ok(Self(source))
    }
}
