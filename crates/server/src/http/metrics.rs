//! `GET /metrics` on the listener of its own.

use crate::app::App;
use crate::http::error::Problem;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;

/// Everything that is counted and measured, as OpenMetrics text.
pub async fn serve(State(app): State<Arc<App>>) -> Response {
    match app.metrics.text(&app).await {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(failure) => Problem::from(failure).into_response(),
    }
}
