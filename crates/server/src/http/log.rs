//! One line in the log for every request, and what every line about it carries: the trace it belongs to (W3C Trace
//! Context §3.2.2.3) and the decision that was made.
//!
//! SECURITY: the route is written and never the path, query, headers or body: any of them may hold a credential.

use crate::app::App;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use chancery_core::random::Random;
use std::sync::Arc;
use tracing::Instrument as _;

/// Runs a request in a span of its own and writes its line.
pub async fn middleware(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let trace = request.headers().get("traceparent");
    let trace = trace.and_then(|value| trace_id(value.to_str().ok()?));
    let trace = trace.map_or_else(|| fresh(&*app.random), str::to_owned);
    let span = tracing::info_span!("request", trace, decision = tracing::field::Empty);
    let began = app.clock.now();
    async {
        let response = next.run(request).await;
        let took = app.clock.now().since(began).as_std().as_millis();
        let milliseconds = u64::try_from(took).unwrap_or(u64::MAX);
        let status = response.status().as_u16();
        tracing::info!(%method, route, status, milliseconds, "answered");
        response
    }
    .instrument(span)
    .await
}

/// The trace id of a `traceparent`, if it is one.
fn trace_id(value: &str) -> Option<&str> {
    let mut fields = value.split('-');
    let (version, trace) = (fields.next()?, fields.next()?);
    let is_hexadecimal = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let is_valid = version.len() == 2 && trace.len() == 32 && is_hexadecimal(trace);
    (is_valid && trace.bytes().any(|byte| byte != b'0')).then_some(trace)
}

fn fresh(random: &dyn Random) -> String {
    format!("{:032x}", u128::from_be_bytes(random.bytes()))
}

#[cfg(test)]
mod tests {
    use super::trace_id;

    #[test]
    fn only_a_trace_id_is_taken_from_a_header() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(trace_id(&format!("00-{id}-b7ad6b7169203331-01")), Some(id));
        for broken in [
            "",
            "00",
            "00-0-1-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-Bearer eyJhbGciOiJFUzI1NiJ9.eyJzd-b7ad6b7169203331-01",
        ] {
            assert_eq!(trace_id(broken), None, "{broken}");
        }
    }
}
