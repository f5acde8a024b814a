//! Where requests go: the URL of something behind Chancery, in exactly one spelling.

use crate::uri::is_loopback;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Why a text is not the URL of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamUrlError {
    /// Not an absolute URL with a host, or longer than 2,048 bytes.
    #[error("not an absolute URL with a host")]
    NotAbsolute,
    /// A query, a fragment, a user name or a password.
    #[error("the URL has a query, a fragment, a user name or a password")]
    Surplus,
    /// An http URL that does not point at this machine, or another scheme.
    #[error("the URL is not https (http is allowed on loopback only)")]
    Insecure,
    /// Another spelling than the canonical one: capitals in the host, a default port, dots in the path.
    #[error("the URL is not in its canonical spelling (lower-case host, no default port, no `.` or `..`)")]
    NotCanonical,
}

/// The URL of an upstream: https, or http on loopback; no query, fragment or user; canonical.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct UpstreamUrl(Arc<str>);

impl UpstreamUrl {
    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Scheme, host and port: `https://api.example`, `http://127.0.0.1:8080`.
    pub fn origin(&self) -> &str {
        self.split().0
    }

    /// The path without a slash at its end; empty for the root.
    pub fn path(&self) -> &str {
        self.split().1.trim_end_matches('/')
    }

    /// Host and, unless it is the scheme's own, port: `api.example`, `127.0.0.1:8080`.
    pub fn authority(&self) -> &str {
        let origin = self.origin();
        origin.split_once("://").map_or(origin, |(_, rest)| rest)
    }

    /// Whether it is https.
    pub fn is_secure(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Whether another URL is this one or lies below it.
    pub fn covers(&self, other: &Self) -> bool {
        let below = other.path().strip_prefix(self.path());
        self.origin() == other.origin() && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn split(&self) -> (&str, &str) {
        let scheme = self.0.find("://").map_or(0, |position| position + 3);
        let path = self.0.get(scheme..).and_then(|rest| rest.find('/'));
        path.and_then(|path| self.0.split_at_checked(scheme + path))
            .unwrap_or((&self.0, ""))
    }
}

impl std::str::FromStr for UpstreamUrl {
    type Err = UpstreamUrlError;

    fn from_str(text: &str) -> Result<Self, UpstreamUrlError> {
        if text.len() > 2048 {
            return Err(UpstreamUrlError::NotAbsolute);
        }
        let url = url::Url::parse(text).map_err(|_| UpstreamUrlError::NotAbsolute)?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            _ => return Err(UpstreamUrlError::Insecure),
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(UpstreamUrlError::NotAbsolute);
        }
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            return Err(UpstreamUrlError::Surplus);
        }
        let is_canonical = url.as_str() == text || url.as_str().strip_suffix('/') == Some(text);
        if !is_canonical || url.path().contains("//") || text.contains('\\') {
            return Err(UpstreamUrlError::NotCanonical);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl<'de> Deserialize<'de> for UpstreamUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether a text is a host, with its port unless that is 443, as it stands in a canonical https URL.
pub fn is_authority(text: &str) -> bool {
    let Ok(url) = format!("https://{text}/").parse::<UpstreamUrl>() else {
        return false;
    };
    url.authority() == text && !text.contains(['/', '@', '*'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> UpstreamUrl {
        text.parse().unwrap()
    }

    #[test]
    fn an_upstream_is_secure_bare_and_canonical() {
        for text in [
            "https://api.example",
            "https://api.example/",
            "https://api.example:8443/v1",
            "http://127.0.0.1:8080/mcp",
            "http://localhost/mcp/",
        ] {
            assert!(text.parse::<UpstreamUrl>().is_ok(), "{text}");
        }
        let refused = |text: &str| text.parse::<UpstreamUrl>().unwrap_err();
        assert_eq!(refused("/v1"), UpstreamUrlError::NotAbsolute);
        assert_eq!(refused("http://api.example"), UpstreamUrlError::Insecure);
        assert_eq!(refused("file:///etc/passwd"), UpstreamUrlError::Insecure);
        for text in [
            "https://a.example?x=1",
            "https://a.example/#x",
            "https://u:p@a.example",
            "https://u@a.example",
        ] {
            assert_eq!(refused(text), UpstreamUrlError::Surplus, "{text}");
        }
        for text in [
            "https://API.example",
            "https://api.example:443",
            "https://api.example/a/../b",
            "https://api.example/a//b",
            "https://api.example/%2e%2e/b",
            "https:\\\\api.example",
        ] {
            assert_eq!(refused(text), UpstreamUrlError::NotCanonical, "{text}");
        }
    }

    #[test]
    fn it_is_taken_apart_as_it_is_written() {
        let base = url("https://api.example:8443/v1/");
        assert_eq!(
            (base.origin(), base.path(), base.authority()),
            ("https://api.example:8443", "/v1", "api.example:8443")
        );
        let root = url("https://api.example");
        assert_eq!(
            (root.origin(), root.path(), root.authority()),
            ("https://api.example", "", "api.example")
        );
    }

    #[test]
    fn a_url_covers_whole_segments_of_its_own_origin_alone() {
        let base = url("https://api.example/v1");
        assert!(
            base.covers(&url("https://api.example/v1")) && base.covers(&url("https://api.example/v1/mcp"))
        );
        for other in [
            "https://api.example/v10",
            "https://api.example",
            "https://api.example.evil/v1",
            "https://api.example:8443/v1",
        ] {
            assert!(!base.covers(&url(other)), "{other}");
        }
    }

    #[test]
    fn an_authority_is_a_host_and_nothing_else() {
        for text in ["api.example", "api.example:8443", "[2001:db8::1]", "10.0.0.1"] {
            assert!(is_authority(text), "{text}");
        }
        for text in [
            "",
            "API.example",
            "api.example:443",
            "api.example/x",
            "u@api.example",
            "https://api.example",
            "*.example",
            "a b",
        ] {
            assert!(!is_authority(text), "{text}");
        }
    }
}
