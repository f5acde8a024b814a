//! Bytes on sockets: the router, on one page. A handler parses, calls one use case, and turns what comes back
//! into a response.

pub mod api;
pub mod backchannel;
pub mod broker;
pub mod device;
pub mod error;
pub mod health;
pub mod log;
pub mod mcp;
pub mod metrics;
pub mod oauth;
pub mod pages;
pub mod registration;
pub mod source;
pub mod tenant;
pub mod test_mode;
pub mod vault;

use crate::app::App;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post};
use std::sync::Arc;

/// Everything that is served. `tenant::dispatch` finds the tenant by host and path and strips its prefix, so
/// that the routes here are relative to a tenant's base.
pub fn router(app: Arc<App>) -> Router {
    let tenant = Router::new()
        .route("/token", post(oauth::token))
        .route(
            "/register",
            post(registration::register).layer(DefaultBodyLimit::max(registration::MAX_BODY)),
        )
        .route(
            "/register/{client}",
            get(registration::read)
                .put(registration::update)
                .delete(registration::delete)
                .layer(DefaultBodyLimit::max(registration::MAX_BODY)),
        )
        .route("/bc-authorize", post(backchannel::authenticate))
        .route("/device_authorization", post(device::authorize))
        .route("/introspect", post(oauth::introspect))
        .route("/revoke", post(oauth::revoke))
        .route("/jwks", get(oauth::jwks))
        .route("/userinfo", get(oauth::userinfo).post(oauth::userinfo))
        .route("/.well-known/oauth-authorization-server", get(oauth::metadata))
        .route("/.well-known/openid-configuration", get(oauth::metadata))
        .route(
            "/.well-known/oauth-protected-resource/{*path}",
            get(mcp::metadata),
        )
        .route(
            "/mcp/{resource}",
            any(mcp::endpoint).layer(DefaultBodyLimit::max(mcp::MAX_BODY)),
        )
        .route("/broker/{connection}", any(broker::endpoint))
        .route("/broker/{connection}/{*path}", any(broker::endpoint))
        .route("/vault/{connection}", post(vault::release))
        .route("/log/checkpoint", get(api::audit::checkpoint))
        .route("/log/tile/{*path}", get(api::audit::tile))
        .nest("/api/v1", api::router(app.clone()))
        .merge(pages::router(app.clone()));
    let tenant = if app.test_mode {
        tenant.route("/test/ciba", post(test_mode::decide))
    } else {
        tenant
    };
    let tenant = tenant
        .fallback(async || error::no_such_endpoint())
        .method_not_allowed_fallback(async || error::wrong_method())
        .layer(axum::middleware::from_fn_with_state(app.clone(), log::middleware))
        .with_state(app.clone());
    let dispatch = tenant::Dispatch {
        app: app.clone(),
        tenant,
    };
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .with_state(app)
        .fallback_service(any(tenant::dispatch).with_state(dispatch))
}

/// What is served on the listener of metrics.
pub fn metrics_router(app: Arc<App>) -> Router {
    Router::new()
        .route("/metrics", get(metrics::serve))
        .fallback(async || error::no_such_endpoint())
        .with_state(app)
}
