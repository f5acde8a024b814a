//! Health for orchestrators: alive means the process answers, ready means it may serve.

use crate::app::App;
use crate::kms::ServiceKey;
use axum::extract::State;
use axum::http::StatusCode;
use std::sync::Arc;

/// `GET /healthz`.
pub async fn alive() -> &'static str {
    "alive\n"
}

/// `GET /readyz`: 503 while the revocation feed is not fresh. A key service that fails is named: this node goes on with
/// the keys that are open, so it stays ready.
pub async fn ready(State(app): State<Arc<App>>) -> (StatusCode, String) {
    match app.serving_now() {
        Ok(_) if app.tenants.roots().services().any(ServiceKey::is_failing) => {
            let text = "ready\nkey service: no usable answer; keys that are open go on\n";
            (StatusCode::OK, text.to_owned())
        }
        Ok(_) => (StatusCode::OK, "ready\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {error}\n")),
    }
}
