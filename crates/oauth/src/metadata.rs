//! Authorization server metadata (RFC 8414 §2, OpenID Connect Discovery §3).

use crate::request::authorize::IDENTITY;
use crate::urn;
use chancery_core::authorization_details::DetailType;
use serde::Serialize;
use std::collections::BTreeSet;

/// The metadata document of a tenant.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the names and types are those of the standards"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    introspection_endpoint: String,
    revocation_endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_authorization_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    userinfo_endpoint: Option<String>,
    response_types_supported: Vec<&'static str>,
    response_modes_supported: Vec<&'static str>,
    grant_types_supported: Vec<&'static str>,
    authorization_grant_profiles_supported: Vec<&'static str>,
    authorization_response_iss_parameter_supported: bool,
    request_parameter_supported: bool,
    request_uri_parameter_supported: bool,
    claims_parameter_supported: bool,
    claims_supported: Vec<&'static str>,
    prompt_values_supported: Vec<&'static str>,
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    token_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    introspection_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    revocation_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    code_challenge_methods_supported: Vec<&'static str>,
    subject_types_supported: Vec<&'static str>,
    id_token_signing_alg_values_supported: Vec<&'static str>,
    scopes_supported: Vec<&'static str>,
    backchannel_authentication_endpoint: String,
    backchannel_token_delivery_modes_supported: Vec<&'static str>,
    backchannel_user_code_parameter_supported: bool,
    service_documentation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authorization_details_types_supported: Vec<String>,
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
    /// The document of the issuer at `base`. Only a tenant with a host of its own has pages, and so people who sign in.
    pub fn new(base: &str, has_pages: bool, registering: Registering) -> Self {
        let with_people = |words: &[&'static str]| if has_pages { words.to_vec() } else { Vec::new() };
        let mut grants = with_people(&[urn::AUTHORIZATION_CODE, urn::REFRESH_TOKEN, urn::DEVICE_CODE]);
        grants.extend([
            urn::CLIENT_CREDENTIALS,
            urn::TOKEN_EXCHANGE,
            urn::CIBA,
            urn::JWT_BEARER,
        ]);
        let methods = vec!["client_secret_basic", "client_secret_post", "private_key_jwt"];
        let algorithms = vec![
            "ES256", "ES384", "EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
        ];
        Self {
            issuer: base.to_owned(),
            // Every MCP SDK refuses metadata without it, whatever grant it uses.
            authorization_endpoint: format!("{base}/authorize"),
            token_endpoint: format!("{base}/token"),
            jwks_uri: format!("{base}/jwks"),
            introspection_endpoint: format!("{base}/introspect"),
            revocation_endpoint: format!("{base}/revoke"),
            device_authorization_endpoint: has_pages.then(|| format!("{base}/device_authorization")),
            userinfo_endpoint: has_pages.then(|| format!("{base}/userinfo")),
            response_types_supported: with_people(&["code"]),
            response_modes_supported: with_people(&["query"]),
            authorization_response_iss_parameter_supported: has_pages,
            request_parameter_supported: false,
            request_uri_parameter_supported: false,
            claims_parameter_supported: false,
            claims_supported: with_people(&CLAIMS),
            prompt_values_supported: with_people(&["none", "login", "consent", "select_account"]),
            grant_types_supported: grants,
            authorization_grant_profiles_supported: vec![urn::ID_JAG_PROFILE],
            token_endpoint_auth_methods_supported: [methods.as_slice(), &["none"]].concat(),
            token_endpoint_auth_signing_alg_values_supported: algorithms.clone(),
            introspection_endpoint_auth_methods_supported: methods.clone(),
            introspection_endpoint_auth_signing_alg_values_supported: algorithms.clone(),
            revocation_endpoint_auth_methods_supported: [methods.as_slice(), &["none"]].concat(),
            revocation_endpoint_auth_signing_alg_values_supported: algorithms,
            code_challenge_methods_supported: vec!["S256"],
            subject_types_supported: vec!["public"],
            id_token_signing_alg_values_supported: vec!["RS256"],
            scopes_supported: with_people(&IDENTITY),
            backchannel_authentication_endpoint: format!("{base}/bc-authorize"),
            backchannel_token_delivery_modes_supported: vec!["poll"],
            backchannel_user_code_parameter_supported: false,
            service_documentation: "https://www.rfc-editor.org/rfc/rfc8693",
            registration_endpoint: registering.dynamic.then(|| format!("{base}/register")),
            authorization_details_types_supported: Vec::new(),
            client_id_metadata_document_supported: registering.by_document,
        }
    }

    /// The document, with the types of authorization details that resources know (RFC 9396 §10).
    #[must_use]
    pub fn with_detail_types(self, types: &BTreeSet<DetailType>) -> Self {
        Self {
            authorization_details_types_supported: types.iter().map(ToString::to_string).collect(),
            ..self
        }
    }
}

/// What an ID token or UserInfo may say of a person.
const CLAIMS: [&str; 14] = [
    "sub",
    "iss",
    "aud",
    "exp",
    "iat",
    "auth_time",
    "nonce",
    "acr",
    "amr",
    "at_hash",
    "sid",
    "preferred_username",
    "name",
    "email",
];

#[cfg(test)]
mod tests {
    use super::{Metadata, Registering};

    #[test]
    fn names_what_the_mcp_sdks_require_of_every_server() {
        let metadata = Metadata::new("https://id.example", true, Registering::default());
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
