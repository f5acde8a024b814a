//! Absolute URIs that name a protected resource (RFC 8707 §2) or an issuer (RFC 8414 §2).

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Why a text is not a resource URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Not an absolute URI.
    #[error("not an absolute URI")]
    NotAbsolute,
    /// A fragment, which RFC 8707 §2 forbids.
    #[error("the URI has a fragment")]
    Fragment,
    /// A user name or password in the URI.
    #[error("the URI has a user name or password")]
    UserInfo,
    /// Longer than 2,048 bytes, or with white space or control characters.
    #[error("the URI is too long or has white space")]
    Syntax,
    /// An http URL that does not point at this machine.
    #[error("the URL is not https (http is allowed on loopback only)")]
    Insecure,
}

/// The URI of a protected resource, kept byte for byte as it was registered. Comparison is exact.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ResourceUri(Arc<str>);

impl ResourceUri {
    /// The URI as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for ResourceUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        parse_absolute(text)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for ResourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ResourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl<'de> Deserialize<'de> for ResourceUri {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Checks the URL of a tenant or an issuer: https, or http on loopback; no query, no fragment.
///
/// # Errors
/// The first rule that the text breaks.
pub fn check_base_url(text: &str) -> Result<url::Url, UriError> {
    let url = parse_absolute(text)?;
    if url.query().is_some() || text.ends_with('/') {
        return Err(UriError::Syntax);
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(UriError::Insecure),
    }
}

/// Whether the host of a URL is this machine by name or address.
pub fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn parse_absolute(text: &str) -> Result<url::Url, UriError> {
    if text.len() > 2048 || text.bytes().any(|byte| byte <= 0x20 || byte == 0x7f) {
        return Err(UriError::Syntax);
    }
    let url = url::Url::parse(text).map_err(|_| UriError::NotAbsolute)?;
    if url.fragment().is_some() {
        return Err(UriError::Fragment);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UriError::UserInfo);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_uri_is_absolute_without_fragment() {
        assert!("https://api.example/notes?v=1".parse::<ResourceUri>().is_ok());
        assert!("urn:example:notes".parse::<ResourceUri>().is_ok());
        assert_eq!("/notes".parse::<ResourceUri>(), Err(UriError::NotAbsolute));
        assert_eq!(
            "https://api.example/#a".parse::<ResourceUri>(),
            Err(UriError::Fragment)
        );
        assert_eq!(
            "https://u:p@api.example/".parse::<ResourceUri>(),
            Err(UriError::UserInfo)
        );
    }

    #[test]
    fn base_url_is_https_or_loopback() {
        assert!(check_base_url("https://id.example").is_ok());
        assert!(check_base_url("http://127.0.0.1:8440").is_ok());
        assert_eq!(check_base_url("http://id.example"), Err(UriError::Insecure));
        assert_eq!(check_base_url("https://id.example/"), Err(UriError::Syntax));
    }
}
