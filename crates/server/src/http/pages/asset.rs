//! The style sheet and the scripts, each under a path that names its content, so that it may be kept for ever.
//!
//! Nothing else is loaded by a page, and every page works without a script, but for what a passkey does.

use crate::http::error;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse as _, Response};
use std::sync::LazyLock;

/// Where pages find the style sheet.
pub fn stylesheet() -> &'static str {
    &STYLESHEET
}

/// Where the audit explorer finds what follows the log.
pub fn tail_script() -> &'static str {
    &TAIL_SCRIPT
}

/// Where pages that ask for a passkey find what asks.
pub fn passkey_script() -> &'static str {
    &PASSKEY_SCRIPT
}

/// `GET {base}/assets/{file}`.
pub async fn serve(Path(file): Path<String>) -> Response {
    let is = |asset: &str| asset.strip_prefix("/assets/") == Some(file.as_str());
    let (kind, content) = if is(&STYLESHEET) {
        ("text/css; charset=utf-8", STYLE)
    } else if is(&TAIL_SCRIPT) {
        ("text/javascript; charset=utf-8", TAIL)
    } else if is(&PASSKEY_SCRIPT) {
        ("text/javascript; charset=utf-8", PASSKEY)
    } else {
        return error::no_such_endpoint().into_response();
    };
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, content).into_response()
}

const STYLE: &str = include_str!("../../../../../console/style.css");
const TAIL: &str = include_str!("../../../../../console/tail.js");
const PASSKEY: &str = include_str!("../../../../../console/passkey.js");
static STYLESHEET: LazyLock<String> = LazyLock::new(|| named("style", STYLE, "css"));
static TAIL_SCRIPT: LazyLock<String> = LazyLock::new(|| named("tail", TAIL, "js"));
static PASSKEY_SCRIPT: LazyLock<String> = LazyLock::new(|| named("passkey", PASSKEY, "js"));

fn named(name: &str, content: &str, suffix: &str) -> String {
    let digest = crate::connect::hexadecimal(&crate::setup::sha256(content.as_bytes()));
    let digits: String = digest.chars().take(12).collect();
    format!("/assets/{name}-{digits}.{suffix}")
}
