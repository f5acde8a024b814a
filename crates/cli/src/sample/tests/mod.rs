//! The sample parties against an authorization server that is not Chancery, over real HTTP.

mod desk;
mod notes;
mod parties;
mod tokens;
mod world;

use super::client::{ToolAnswer, loopback_http};
use http::StatusCode;
use serde_json::Value;

fn said(text: &str) -> ToolAnswer {
    ToolAnswer {
        text: text.to_owned(),
        is_error: false,
    }
}

async fn document(url: &str) -> Value {
    let response = loopback_http().unwrap().get(url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{url}");
    assert_eq!(response.headers()["content-type"], "application/json");
    response.json().await.unwrap()
}
