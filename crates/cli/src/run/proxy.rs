//! The local proxy of `run`: what its program sends to `/mcp/{resource}` goes on to the gateway with the agent's token.
//!
//! Nothing that the program sends can change who it is: headers are copied from a list, and the token is set last. A
//! refusal of the token is not handed on as one, or the program would try to sign in.

use crate::loopback::{Body, Bound, Serving, problem};
use crate::run::peer;
use crate::upstream::Upstream;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, StatusCode};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The servers behind the proxy, by the names of their resources.
pub(super) type Servers = BTreeMap<String, Upstream>;

/// Serves. With a key, URLs begin with it; without, the kernel says whether the far end is a descendant.
pub(super) fn serve(bound: Bound, servers: Servers, key: Option<String>) -> Serving {
    let local = bound.address();
    let is_open = key.is_some();
    let proxy = Arc::new(Proxy {
        servers,
        prefix: key.map_or_else(String::new, |key| format!("/{key}")),
    });
    let own = std::process::id();
    let admits = move |far| async move {
        if is_open {
            return true;
        }
        let asked = tokio::task::spawn_blocking(move || peer::is_descendant(far, local, own));
        let is_own = asked.await.unwrap_or(false);
        if !is_own {
            tracing::warn!(%far, "a process that is not the program's own was refused");
        }
        is_own
    };
    bound.serve(admits, move |request| {
        let proxy = Arc::clone(&proxy);
        async move { proxy.answer(request).await }
    })
}

struct Proxy {
    servers: Servers,
    prefix: String,
}

impl Proxy {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().strip_prefix(self.prefix.as_str());
        let name = path.and_then(|path| path.strip_prefix("/mcp/"));
        let Some(upstream) = name.and_then(|name| self.servers.get(name)) else {
            return problem(
                StatusCode::NOT_FOUND,
                "the agent was not given this resource: run --resource NAME",
            );
        };
        if !matches!(parts.method, Method::POST | Method::GET | Method::DELETE) {
            return problem(StatusCode::METHOD_NOT_ALLOWED, "POST, GET or DELETE");
        }
        let Ok(body) = Limited::new(body, MAX_MESSAGE).collect().await else {
            return problem(StatusCode::PAYLOAD_TOO_LARGE, "the message is too long");
        };
        let headers = copied(&parts.headers, REQUEST);
        match upstream.send(&parts.method, &headers, &body.to_bytes()).await {
            Ok(response) => handed_on(response),
            Err(error) => problem(StatusCode::BAD_GATEWAY, &format!("{error:#}")),
        }
    }
}

fn handed_on(response: Response<Incoming>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    if parts.status == StatusCode::UNAUTHORIZED {
        return problem(
            StatusCode::BAD_GATEWAY,
            "the gateway does not let the agent in any more",
        );
    }
    let mut answer = Response::new(body.map_err(Into::into).boxed());
    *answer.status_mut() = parts.status;
    *answer.headers_mut() = copied(&parts.headers, RESPONSE);
    answer
}

fn copied(headers: &HeaderMap, names: &[&str]) -> HeaderMap {
    let is_listed = |name: &str| names.contains(&name) || name.starts_with("mcp-");
    headers
        .iter()
        .filter(|(name, _)| is_listed(name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

const REQUEST: &[&str] = &[
    "accept",
    "content-type",
    "last-event-id",
    "traceparent",
    "tracestate",
];
const RESPONSE: &[&str] = &["allow", "cache-control", "content-type", "retry-after"];
const MAX_MESSAGE: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_cannot_say_who_it_is() {
        let mut headers = HeaderMap::new();
        for name in [
            "authorization",
            "cookie",
            "x-forwarded-for",
            "mcp-session-id",
            "accept",
        ] {
            headers.insert(name, "x".parse().unwrap());
        }
        let mut names: Vec<String> = copied(&headers, REQUEST)
            .keys()
            .map(ToString::to_string)
            .collect();
        names.sort();
        assert_eq!(names, ["accept", "mcp-session-id"]);
    }

    #[test]
    fn a_challenge_does_not_reach_the_program() {
        let mut headers = HeaderMap::new();
        headers.insert("www-authenticate", "Bearer".parse().unwrap());
        assert!(copied(&headers, RESPONSE).is_empty());
    }
}
