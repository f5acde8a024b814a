//! Client ID metadata documents (draft-ietf-oauth-client-id-metadata-document §3, §4): the form of the URL, and what
//! the document behind it must say. Fetching it is not done here.

use super::RegistrationError;
use super::metadata::ClientMetadata;
use super::rule::within_proof;
use chancery_core::client::{ClientAuthenticationMethod, ClientGrant, ClientSpec, Provenance};
use chancery_core::json::{JsonError, JsonLimits, parse_object};
use chancery_core::registration::RegistrationWay;
use chancery_core::uri::is_loopback;
use serde_json::Value;
use std::fmt;
use url::Url;

/// The URL of a metadata document, as the client presents it: byte for byte its `client_id`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MetadataUrl {
    text: String,
    host: String,
}

/// Why a `client_id` is not the URL of a metadata document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataUrlError {
    /// Not an absolute URL in the one form that every parser reads alike, or too long.
    #[error("the client_id is not a URL in its normal form")]
    Form,
    /// Not https; plain http is for this very machine.
    #[error("the client_id is not an https URL")]
    Insecure,
    /// No path behind the host.
    #[error("the client_id has no path")]
    NoPath,
    /// A fragment, a user name or a password.
    #[error("the client_id has a fragment or a user name")]
    Extra,
}

/// Why a metadata document is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Not strict JSON.
    #[error("the metadata document is not acceptable json: {0}")]
    Json(#[from] JsonError),
    /// `client_id` is not the URL that the document was fetched from.
    #[error("the `client_id` of the metadata document is not its URL")]
    OtherClient,
    /// It holds a secret, or wants to prove itself by one.
    #[error("the metadata document holds or wants a shared secret")]
    SharedSecret,
    /// What it says of the client breaks a rule.
    #[error("the metadata document is refused: {0}")]
    Metadata(#[from] RegistrationError),
}

impl MetadataUrl {
    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host, in lower case: what people are shown, and what rules go by.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl std::str::FromStr for MetadataUrl {
    type Err = MetadataUrlError;

    fn from_str(text: &str) -> Result<Self, MetadataUrlError> {
        if text.len() > MAX_URL || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err(MetadataUrlError::Form);
        }
        let url = Url::parse(text).map_err(|_| MetadataUrlError::Form)?;
        if text.contains('#') || !url.username().is_empty() || url.password().is_some() {
            return Err(MetadataUrlError::Extra);
        }
        let host = url.host_str().ok_or(MetadataUrlError::Form)?.to_owned();
        // Plain http passes here for loopback only, and the fence only lets through what the operator opened.
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
            return Err(MetadataUrlError::Insecure);
        }
        if url.path() == "/" {
            return Err(MetadataUrlError::NoPath);
        }
        // SECURITY: no dot segment, no second spelling: the text is the identity.
        if url.as_str() != text || host.ends_with('.') {
            return Err(MetadataUrlError::Form);
        }
        Ok(Self {
            text: text.to_owned(),
            host,
        })
    }
}

impl fmt::Display for MetadataUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a `client_id` has the form of a URL, so that it is no id and no name of ours.
pub fn is_url(client_id: &str) -> bool {
    client_id.starts_with("https://") || client_id.starts_with("http://")
}

/// Reads the document that was fetched from a URL: the client that it describes, of no agent yet.
///
/// # Errors
/// The first rule that it breaks.
pub fn read(url: &MetadataUrl, body: &[u8]) -> Result<ClientSpec, DocumentError> {
    let members = parse_object(body, JsonLimits::of_bytes(MAX_DOCUMENT))?;
    // SECURITY: simple string comparison (§4.1), or one site could describe the client of another.
    if members.get("client_id").and_then(Value::as_str) != Some(url.as_str()) {
        return Err(DocumentError::OtherClient);
    }
    let has_secret = ["client_secret", "client_secret_expires_at"];
    if has_secret.iter().any(|field| members.contains_key(*field)) {
        return Err(DocumentError::SharedSecret);
    }
    let metadata = ClientMetadata::parse(&members, ClientAuthenticationMethod::None)?;
    if metadata.method.uses_secret() {
        return Err(DocumentError::SharedSecret);
    }
    let spec = ClientSpec {
        metadata_uri: Some(url.as_str().to_owned()),
        ..metadata.to_spec(Provenance::MetadataDocument)
    };
    Ok(within_proof(RegistrationWay::MetadataDocument, spec))
}

/// What a changed document does to the client that was made from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// It says the same.
    None,
    /// It says other words about itself; nothing that anybody relied on.
    Words,
    /// It has other keys, or other places on hosts that it had before: what was issued ends, and the client goes on.
    Renewed,
    /// Answers would go to a host that nobody saw, or the client would need no proof any more: it is put in
    /// quarantine until somebody has looked at it.
    Quarantine,
}

/// Compares what was seen of a client before with what its document says now.
pub fn drift(known: &ClientSpec, seen: &ClientSpec) -> Drift {
    let same_agent = ClientSpec {
        agent: known.agent.clone(),
        ..seen.clone()
    };
    if same_agent == *known {
        return Drift::None;
    }
    if !same_agent.stands_otherwise(known) {
        return Drift::Words;
    }
    let places = |spec: &ClientSpec| -> Vec<Option<String>> {
        spec.redirect_uris
            .iter()
            .map(|uri| chancery_core::redirect::shown_host(uri))
            .collect()
    };
    let before = places(known);
    let is_elsewhere = places(seen).iter().any(|place| !before.contains(place));
    let asks_for_more =
        seen.may_use(ClientGrant::ClientCredentials) && !known.may_use(ClientGrant::ClientCredentials);
    if is_elsewhere || asks_for_more || known.method != seen.method {
        return Drift::Quarantine;
    }
    Drift::Renewed
}

const MAX_URL: usize = 1_024;
/// The longest document that is read, as the draft suggests (§6.6).
pub const MAX_DOCUMENT: usize = 5 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const URL: &str = "https://app.example/client.json";

    fn url() -> MetadataUrl {
        URL.parse().unwrap()
    }

    fn document() -> Value {
        json!({
            "client_id": URL, "client_name": "App",
            "redirect_uris": ["https://app.example/callback", "http://127.0.0.1/callback"],
        })
    }

    fn read_value(value: &Value) -> Result<ClientSpec, DocumentError> {
        read(&url(), value.to_string().as_bytes())
    }

    fn with(field: &str, value: Value) -> Value {
        let mut document = document();
        document.as_object_mut().unwrap().insert(field.to_owned(), value);
        document
    }

    #[test]
    fn a_metadata_url_is_https_with_a_path_and_one_spelling() {
        for text in [
            URL,
            "https://app.example:8443/a",
            "https://app.example/a?b=c",
            "http://127.0.0.1:9/a",
        ] {
            assert!(text.parse::<MetadataUrl>().is_ok(), "{text}");
        }
        for (text, rule) in [
            ("https://app.example", MetadataUrlError::NoPath),
            ("https://app.example/", MetadataUrlError::NoPath),
            ("https://app.example/#a", MetadataUrlError::Extra),
            ("https://u@app.example/a", MetadataUrlError::Extra),
            ("https://app.example/a/../b", MetadataUrlError::Form),
            ("https://app.example/./b", MetadataUrlError::Form),
            ("https://app.example/%2e%2e/b", MetadataUrlError::Form),
            ("https://App.example/a", MetadataUrlError::Form),
            ("https://app.example:443/a", MetadataUrlError::Form),
            ("https://app.example./a", MetadataUrlError::Form),
            ("https:\\\\app.example\\a", MetadataUrlError::Form),
            ("https://app.example/a b", MetadataUrlError::Form),
            ("http://app.example/a", MetadataUrlError::Insecure),
            ("ftp://app.example/a", MetadataUrlError::Insecure),
            ("cli_0123", MetadataUrlError::Form),
        ] {
            assert_eq!(text.parse::<MetadataUrl>(), Err(rule), "{text}");
        }
    }

    #[test]
    fn a_document_describes_a_public_client_of_its_url() {
        let spec = read_value(&document()).unwrap();
        assert_eq!(spec.metadata_uri.as_deref(), Some(URL));
        assert_eq!(spec.method, ClientAuthenticationMethod::None);
        assert_eq!(
            (spec.agent, spec.provenance),
            (None, Provenance::MetadataDocument)
        );
    }

    #[test]
    fn a_document_of_another_client_is_refused() {
        for id in [
            json!("https://app.example/client.json/"),
            json!("https://evil.example/"),
            json!(7),
            Value::Null,
        ] {
            assert_eq!(
                read_value(&with("client_id", id)),
                Err(DocumentError::OtherClient)
            );
        }
        let body = format!("{{\"client_id\":\"{URL}\",\"client_id\":\"https://evil.example/\"}}");
        assert_eq!(
            read(&url(), body.as_bytes()),
            Err(DocumentError::Json(JsonError::DuplicateMember))
        );
    }

    #[test]
    fn a_shared_secret_in_a_document_is_refused() {
        assert_eq!(
            read_value(&with("client_secret", json!("x"))),
            Err(DocumentError::SharedSecret)
        );
        assert_eq!(
            read_value(&with("client_secret_expires_at", json!(0))),
            Err(DocumentError::SharedSecret)
        );
        for method in ["client_secret_basic", "client_secret_post"] {
            let document = with("token_endpoint_auth_method", json!(method));
            assert_eq!(
                read_value(&document),
                Err(DocumentError::SharedSecret),
                "{method}"
            );
        }
        let signed = with("token_endpoint_auth_method", json!("client_secret_jwt"));
        assert!(read_value(&signed).is_err());
    }

    #[test]
    fn a_document_without_redirects_or_with_bad_ones_is_refused() {
        for uris in [
            json!([]),
            json!(["http://evil.example/"]),
            json!(["javascript:alert(1)"]),
        ] {
            let refused = read_value(&with("redirect_uris", uris));
            assert!(matches!(
                refused,
                Err(DocumentError::Metadata(RegistrationError::RedirectUri(_)))
            ));
        }
    }

    #[test]
    fn drift_to_an_unseen_host_or_to_no_proof_is_quarantined() {
        let known = read_value(&document()).unwrap();
        let moved = with("redirect_uris", json!(["https://evil.example/callback"]));
        assert_eq!(drift(&known, &read_value(&moved).unwrap()), Drift::Quarantine);
        let fewer = with("redirect_uris", json!(["https://app.example/other"]));
        assert_eq!(drift(&known, &read_value(&fewer).unwrap()), Drift::Renewed);
        let renamed = with("client_name", json!("Bank"));
        assert_eq!(drift(&known, &read_value(&renamed).unwrap()), Drift::Words);
        let adopted = ClientSpec {
            agent: Some("bot".parse().unwrap()),
            ..known.clone()
        };
        assert_eq!(drift(&adopted, &known), Drift::None);
        let keyed = ClientSpec {
            method: ClientAuthenticationMethod::PrivateKeyJwt,
            jwks_uri: Some("https://app.example/keys".to_owned()),
            ..known.clone()
        };
        assert_eq!(drift(&keyed, &known), Drift::Quarantine);
    }
}
