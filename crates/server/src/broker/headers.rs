//! Headers of a brokered request and its answer: rebuilt from lists of what may pass, so that a caller can neither
//! drop nor double what the broker sets, and an upstream can set nothing on our host.

use chancery_core::connection::{Connection, Placement};
use std::collections::BTreeMap;

/// The headers of a caller that go on. The credential's own places are not the caller's.
pub fn passing(connection: &Connection, headers: &[(&str, &str)]) -> BTreeMap<String, String> {
    let parts = connection.spec.credential.parts().iter();
    let placements: Vec<String> = parts
        .filter_map(|part| match &part.placement {
            Placement::Header { name, .. } => Some(name.clone()),
            Placement::Query { .. } | Placement::BasicUsername | Placement::BasicPassword => None,
        })
        .collect();
    headers
        .iter()
        .filter(|(name, _)| passes_on(name, &placements))
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Whether a caller's header goes on. The credential's own places never do: they are set last.
fn passes_on(name: &str, placements: &[String]) -> bool {
    let is_vendor =
        name.starts_with("x-") && !FORBIDDEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let is_listed = REQUEST.contains(&name) || name.ends_with("-version") && !name.starts_with("sec-");
    (is_listed || is_vendor)
        && !placements
            .iter()
            .any(|placement| placement.eq_ignore_ascii_case(name))
}

/// Whether a header says nothing of what is done, but only which attempt at it this is.
pub fn names_the_attempt(name: &str) -> bool {
    matches!(name, "idempotency-key" | "traceparent" | "tracestate")
}

/// Whether an upstream's header comes back.
pub fn comes_back(name: &str) -> bool {
    RESPONSE.contains(&name)
        || name.starts_with("x-") && !FORBIDDEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

const REQUEST: &[&str] = &[
    "accept",
    "accept-language",
    "content-language",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "prefer",
    "range",
    "traceparent",
    "tracestate",
];

const RESPONSE: &[&str] = &[
    "accept-ranges",
    "allow",
    "cache-control",
    "content-disposition",
    "content-language",
    "content-range",
    "content-type",
    "etag",
    "expires",
    "last-modified",
    "link",
    "location",
    "retry-after",
    "vary",
];

/// Headers that say who asks, or from where: a caller does not get to say that in our name.
const FORBIDDEN_PREFIXES: &[&str] = &[
    "x-forwarded-",
    "x-real-ip",
    "x-original-",
    "x-rewrite-",
    "x-http-method",
    "x-amz-security-",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_describes_the_request_passes_and_what_routes_or_authenticates_does_not() {
        let none = Vec::new();
        for name in [
            "accept",
            "content-type",
            "x-github-api-version",
            "notion-version",
            "if-match",
        ] {
            assert!(passes_on(name, &none), "{name}");
        }
        for name in [
            "authorization",
            "cookie",
            "host",
            "connection",
            "transfer-encoding",
            "content-length",
            "upgrade",
            "te",
            "proxy-authorization",
            "forwarded",
            "x-forwarded-for",
            "x-real-ip",
            "x-original-url",
            "x-http-method-override",
            "expect",
            "referer",
            "origin",
            "sec-websocket-version",
        ] {
            assert!(!passes_on(name, &none), "{name}");
        }
        assert!(
            !passes_on("x-api-key", &["X-API-Key".to_owned()]),
            "the credential's own place"
        );
        assert!(
            !comes_back("set-cookie")
                && !comes_back("www-authenticate")
                && comes_back("x-ratelimit-remaining")
        );
    }
}
