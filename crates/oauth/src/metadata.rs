//! Authorization server metadata (RFC 8414 §2, OpenID Connect Discovery §3).

use crate::urn;
use serde::Serialize;

/// The metadata document of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    introspection_endpoint: String,
    revocation_endpoint: String,
    response_types_supported: Vec<&'static str>,
    grant_types_supported: Vec<&'static str>,
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    token_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    introspection_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    revocation_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    code_challenge_methods_supported: Vec<&'static str>,
    subject_types_supported: Vec<&'static str>,
    id_token_signing_alg_values_supported: Vec<&'static str>,
    scopes_supported: Vec<String>,
    service_documentation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_endpoint: Option<String>,
    client_id_metadata_document_supported: bool,
}

/// How clients may make themselves known to a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registering {
    /// By registering (RFC 7591).
    pub dynamic: bool,
    /// By a metadata document whose URL is their `client_id`.
    pub by_document: bool,
}

impl Metadata {
    /// The document of the issuer at `base`. `scopes` are those that any client may learn of.
    pub fn new(base: &str, scopes: Vec<String>, registering: Registering) -> Self {
        let methods = vec!["client_secret_basic", "client_secret_post", "private_key_jwt"];
        let algorithms = vec![
            "ES256", "ES384", "EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
        ];
        Self {
            issuer: base.to_owned(),
            // Every MCP SDK refuses metadata without it, whatever grant it uses. It answers, but no response
            // type is supported.
            authorization_endpoint: format!("{base}/authorize"),
            token_endpoint: format!("{base}/token"),
            jwks_uri: format!("{base}/jwks"),
            introspection_endpoint: format!("{base}/introspect"),
            revocation_endpoint: format!("{base}/revoke"),
            response_types_supported: Vec::new(),
            grant_types_supported: vec![urn::CLIENT_CREDENTIALS, urn::TOKEN_EXCHANGE, urn::CIBA],
            token_endpoint_auth_methods_supported: [methods.as_slice(), &["none"]].concat(),
            token_endpoint_auth_signing_alg_values_supported: algorithms.clone(),
            introspection_endpoint_auth_methods_supported: methods.clone(),
            introspection_endpoint_auth_signing_alg_values_supported: algorithms.clone(),
            revocation_endpoint_auth_methods_supported: [methods.as_slice(), &["none"]].concat(),
            revocation_endpoint_auth_signing_alg_values_supported: algorithms,
            code_challenge_methods_supported: vec!["S256"],
            subject_types_supported: vec!["public"],
            id_token_signing_alg_values_supported: vec!["ES256", "EdDSA", "RS256"],
            scopes_supported: scopes,
            service_documentation: "https://www.rfc-editor.org/rfc/rfc8693",
            registration_endpoint: registering.dynamic.then(|| format!("{base}/register")),
            client_id_metadata_document_supported: registering.by_document,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Metadata, Registering};

    #[test]
    fn names_what_the_mcp_sdks_require_of_every_server() {
        let metadata = Metadata::new("https://id.example", Vec::new(), Registering::default());
        let document = serde_json::to_value(metadata).unwrap();
        assert_eq!(document["issuer"], "https://id.example");
        assert_eq!(document["authorization_endpoint"], "https://id.example/authorize");
        for required in [
            "token_endpoint",
            "jwks_uri",
            "response_types_supported",
            "code_challenge_methods_supported",
            "subject_types_supported",
            "id_token_signing_alg_values_supported",
        ] {
            assert!(!document[required].is_null(), "{required}");
        }
    }
}
