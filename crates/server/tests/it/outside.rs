//! Servers on this machine that stand in for the outside, and a node that may call them.

use crate::harness::*;
use axum::Router;
use chancery_server::egress::AllowedHost;
use chancery_server::node::{NodeConfig, World};
use std::net::SocketAddr;

/// Serves on loopback for as long as the test runs.
pub(crate) async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// This machine.
pub(crate) fn loopback() -> Vec<AllowedHost> {
    vec![AllowedHost::new("127.0.0.0/8".parse().unwrap())]
}

/// A node that may call servers on loopback.
pub(crate) async fn node(place: &Place, change: impl FnOnce(&mut NodeConfig, &mut World)) -> Chancery {
    Chancery::start_with(place, |config, world| {
        config.allowed_hosts = loopback();
        change(config, world);
    })
    .await
}
