//! The administration interface `{base}/api/v1`. Every operation has a scope; people on the server's own
//! machine come through the local socket, everybody else with a token of ours.

pub mod accounts;
pub mod approvals;
pub mod audit;
pub mod body;
pub mod caller;
pub mod calls;
pub mod denials;
pub mod directory;
pub mod govern;
pub mod idempotency;
pub mod manifests;
pub mod nouns;
pub mod openapi;
pub mod operations;
pub mod people;
pub mod registration;
pub mod upstreams;
pub mod vault;

use crate::app::App;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use std::sync::Arc;

/// The routes, relative to `/api/v1`.
pub fn router(app: Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/openapi.json", get(openapi::serve))
        .route("/apply", post(directory::apply))
        .route("/export", get(directory::export))
        .route("/kill/{noun}/{name}", post(directory::kill))
        .route("/bindings/test", post(directory::test_binding))
        .route("/bindings/github", post(directory::find_repository))
        .route("/policy", get(govern::show_policy).put(govern::set_policy))
        .route("/policy/validate", post(govern::validate_policy))
        .route("/policy/test", post(govern::test_policy))
        .route("/policy/versions", get(govern::policy_versions))
        .route("/policy/observe", post(govern::observe))
        .route("/me", get(upstreams::me))
        .route("/upstreams/inspect", post(upstreams::inspect))
        .route("/calls", get(calls::list))
        .route("/why/{id}", get(govern::why))
        .route("/keys", get(govern::list_keys))
        .route("/keys/rotate", post(govern::rotate_key))
        .route("/vault/rotate", post(vault::rotate))
        .route("/backup", get(vault::copy))
        .route("/restore", get(vault::show_restore))
        .route("/restore/confirm", post(vault::confirm_restore))
        .route("/enrol", post(govern::enrol))
        .route("/tenants", get(govern::list_tenants).post(govern::create_tenant))
        .route("/tenants/{name}/{step}", post(govern::step_tenant))
        .route("/audit/events", get(audit::list))
        .route("/audit/events/{id}", get(audit::show))
        .route("/audit/events/{id}/proof", get(audit::prove))
        .route(
            "/audit/events/{id}/parts/{part}",
            axum::routing::delete(audit::erase),
        )
        .route("/audit/export", get(audit::export))
        .route("/audit/log", get(audit::log))
        .route("/approvals", get(approvals::list))
        .route("/approvals/{id}", get(approvals::show))
        .route("/approvals/{id}/approve", post(approvals::approve))
        .route("/approvals/{id}/deny", post(approvals::deny))
        .merge(registration::router())
        .route("/connected_accounts", get(accounts::list).post(accounts::create))
        .route("/connected_accounts/{name}", get(accounts::show))
        .route("/connected_accounts/{name}/credential", put(accounts::set))
        .route("/connected_accounts/{name}/{step}", post(accounts::step))
        .route(
            "/resources/{name}/manifest",
            get(manifests::show).post(manifests::accept),
        )
        .merge(people::router())
        .route("/{collection}", get(nouns::list).post(nouns::create))
        .route("/{collection}/{name}", get(nouns::show).put(nouns::update))
        .route("/{collection}/{name}/{step}", post(nouns::step))
        .layer(axum::middleware::from_fn_with_state(
            app.clone(),
            idempotency::middleware,
        ))
        .layer(axum::middleware::from_fn_with_state(app, denials::middleware))
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

const MAX_BODY: usize = 8 << 20;
