//! Request bodies and queries, read strictly: what does not fit is a problem document that says where.

use crate::http::error::{Problem, text_with_nul};
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use chancery_core::json::{JsonLimits, parse_object};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A JSON body. Duplicate members, numbers that JSON cannot carry exactly and unknown fields are refused.
#[derive(Debug)]
pub struct ApiBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for ApiBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "wrong_content_type",
                "the body is not application/json",
            ));
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|error| Problem::new(error.status(), "body_unreadable", error.body_text()))?;
        parse(&bytes).map(Self)
    }
}

/// A query string.
#[derive(Debug)]
pub struct ApiQuery<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(text_with_nul());
        }
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(error) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "malformed_query",
                error.body_text(),
            )),
        }
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let members = parse_object(bytes, JsonLimits::of_bytes(super::MAX_BODY))
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "malformed_json", error.to_string()))?;
    if members
        .iter()
        .any(|(name, value)| name.contains('\0') || holds_nul(value))
    {
        return Err(text_with_nul());
    }
    serde_json::from_value(Value::Object(members))
        .map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", error.to_string()))
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| name.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_members_are_refused() {
        let problem = parse::<serde_json::Value>(br#"{"a": 1, "a": 2}"#).unwrap_err();
        assert_eq!(problem.code, "malformed_json");
    }

    #[test]
    fn a_body_is_an_object() {
        let problem = parse::<crate::directory::apply::Document>(b"[]").unwrap_err();
        assert_eq!(problem.code, "malformed_json");
    }
}
