//! The metadata document of a protected resource (RFC 9728 §2), and where it is found (§3.1).
//!
//! `resource` is the URL that clients connect to, byte for byte: they compare it. The document is not signed (§2.2).

use crate::challenge::OFFLINE_ACCESS;
use chancery_core::scope::{Scope, ScopeSet};
use serde::Serialize;

/// The document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResourceMetadata {
    /// The resource identifier.
    pub resource: String,
    /// Issuers whose tokens it takes.
    pub authorization_servers: Vec<String>,
    /// The least scopes that are of use; more are asked for when they are needed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes_supported: Vec<String>,
    /// How a token is sent: in the header only.
    pub bearer_methods_supported: [&'static str; 1],
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_name: Option<String>,
    /// Documentation for developers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_documentation: Option<String>,
}

impl ResourceMetadata {
    /// The document of a resource that takes tokens of one issuer. `offline_access` is left out of the scopes.
    pub fn new(resource: &str, issuer: &str, scopes: &ScopeSet) -> Self {
        let scopes = scopes.iter().map(Scope::as_str);
        Self {
            resource: resource.to_owned(),
            authorization_servers: vec![issuer.to_owned()],
            scopes_supported: scopes
                .filter(|scope| *scope != OFFLINE_ACCESS)
                .map(str::to_owned)
                .collect(),
            bearer_methods_supported: ["header"],
            resource_name: None,
            resource_documentation: None,
        }
    }
}

/// The URL of the document of a resource: the well-known path between host and path (RFC 9728 §3.1). Nothing if the
/// resource is no URL with a host.
pub fn metadata_url(resource: &str) -> Option<String> {
    let (scheme, rest) = resource.split_once("://")?;
    let split = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at_checked(split)?;
    let path = if path == "/" { "" } else { path };
    (!host.is_empty()).then(|| format!("{scheme}://{host}{WELL_KNOWN}{path}"))
}

/// Where the documents are.
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_what_clients_read() {
        let scopes = ScopeSet::parse("notes.read offline_access").unwrap();
        let mut document =
            ResourceMetadata::new("https://id.example/mcp/notes", "https://id.example", &scopes);
        document.resource_name = Some("Notes".into());
        assert_eq!(
            serde_json::to_string(&document).unwrap(),
            r#"{"resource":"https://id.example/mcp/notes","authorization_servers":["https://id.example"],"scopes_supported":["notes.read"],"bearer_methods_supported":["header"],"resource_name":"Notes"}"#
        );
    }

    #[test]
    fn the_document_is_at_the_well_known_place() {
        for (resource, url) in [
            (
                "https://id.example/mcp/notes",
                "https://id.example/.well-known/oauth-protected-resource/mcp/notes",
            ),
            (
                "https://id.example:8443/t/acme/mcp/n",
                "https://id.example:8443/.well-known/oauth-protected-resource/t/acme/mcp/n",
            ),
            (
                "https://id.example/",
                "https://id.example/.well-known/oauth-protected-resource",
            ),
            (
                "https://id.example",
                "https://id.example/.well-known/oauth-protected-resource",
            ),
            (
                "https://id.example?a=1",
                "https://id.example/.well-known/oauth-protected-resource?a=1",
            ),
        ] {
            assert_eq!(metadata_url(resource).as_deref(), Some(url));
        }
        assert_eq!(metadata_url("urn:a:b"), None);
        assert_eq!(metadata_url("https:///a"), None);
    }
}
