//! The style sheet, under a path that names its content, so that it may be kept for ever.
//!
//! Nothing else is loaded by a page.

use crate::http::error;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse as _, Response};
use std::sync::LazyLock;

/// Where pages find the style sheet.
pub fn stylesheet() -> &'static str {
    &STYLESHEET
}

/// `GET {base}/assets/{file}`.
pub async fn serve(Path(file): Path<String>) -> Response {
    if STYLESHEET.strip_prefix("/assets/") != Some(file.as_str()) {
        return error::no_such_endpoint().into_response();
    }
    let headers = [
        (CONTENT_TYPE, "text/css; charset=utf-8"),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, STYLE).into_response()
}

const STYLE: &str = include_str!("../../../../../console/style.css");
static STYLESHEET: LazyLock<String> = LazyLock::new(|| {
    let [a, b, c, d, e, f, ..] = crate::setup::sha256(STYLE.as_bytes());
    format!("/assets/style-{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}.css")
});
