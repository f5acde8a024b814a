//! Health for orchestrators: alive means the process answers, ready means it may serve.

use crate::app::App;
use axum::extract::State;
use axum::http::StatusCode;
use std::sync::Arc;

/// `GET /healthz`.
pub async fn alive() -> &'static str {
    "alive\n"
}

/// `GET /readyz`: 503 while the revocation feed is not fresh.
pub async fn ready(State(app): State<Arc<App>>) -> (StatusCode, String) {
    match app.serving_now() {
        Ok(_) => (StatusCode::OK, "ready\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {error}\n")),
    }
}
