//! Client metadata (RFC 7591 §2, OpenID Connect Dynamic Client Registration §2): JSON to what a client is registered
//! with. What is not kept is not echoed: logos, contacts, policies and translations are ignored, and never fetched.

use super::RegistrationError;
use crate::jose::{JwkSet, JwkSetLimits};
use chancery_core::authorization_details::DetailType;
use chancery_core::client::{ClientAuthenticationMethod, ClientGrant, ClientSpec, Provenance};
use chancery_core::redirect;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// What a client says about itself, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientMetadata {
    /// How it wants to prove itself.
    pub method: ClientAuthenticationMethod,
    /// Where people are sent back to.
    pub redirect_uris: Vec<String>,
    /// The grants it wants. Never empty.
    pub grant_types: Vec<ClientGrant>,
    /// The types of authorization details that it asks for (RFC 9396 §10).
    pub authorization_details_types: BTreeSet<DetailType>,
    /// Its public keys.
    pub jwks: Option<Value>,
    /// Where its public keys are.
    pub jwks_uri: Option<String>,
    /// What it calls itself.
    pub client_name: Option<String>,
    /// Its web page.
    pub client_uri: Option<String>,
    /// The software that it says it is.
    pub software_id: Option<String>,
}

impl ClientMetadata {
    /// Reads metadata. `method` is what counts where the client names none.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn parse(
        members: &Map<String, Value>,
        method: ClientAuthenticationMethod,
    ) -> Result<Self, RegistrationError> {
        if members.contains_key("software_statement") {
            return Err(RegistrationError::SoftwareStatement);
        }
        let method = match optional(members, "token_endpoint_auth_method", METHOD)? {
            Some(name) => parse_method(name).ok_or(RegistrationError::Metadata(METHOD))?,
            None => method,
        };
        let grant_types = grants(members, method)?;
        let redirect_uris = redirects(members, &grant_types)?;
        check_application_type(members, &redirect_uris)?;
        let (jwks, jwks_uri) = keys(members, method)?;
        let words = |field, longest, rule| match optional(members, field, rule)? {
            Some(text) if !redirect::is_plain_text(text, longest) => Err(RegistrationError::Metadata(rule)),
            text => Ok(text.map(str::to_owned)),
        };
        let metadata = Self {
            method,
            redirect_uris,
            grant_types,
            authorization_details_types: detail_types(members)?,
            jwks,
            jwks_uri,
            client_name: words("client_name", 120, NAME)?,
            client_uri: optional(members, "client_uri", CLIENT_URI)?.map(str::to_owned),
            software_id: words("software_id", 255, SOFTWARE_ID)?,
        };
        metadata.check()?;
        Ok(metadata)
    }

    /// The client that this metadata describes, of no agent yet.
    pub fn to_spec(&self, provenance: Provenance) -> ClientSpec {
        ClientSpec {
            agent: None,
            method: self.method,
            jwks: self.jwks.clone(),
            jwks_uri: self.jwks_uri.clone(),
            redirect_uris: self.redirect_uris.clone(),
            grant_types: self.grant_types.clone(),
            authorization_details_types: self.authorization_details_types.clone(),
            display_name: self.client_name.clone(),
            client_uri: self.client_uri.clone(),
            software_id: self.software_id.clone(),
            metadata_uri: None,
            provenance,
        }
    }

    /// What the noun's own rules say.
    fn check(&self) -> Result<(), RegistrationError> {
        use chancery_core::noun::Spec as _;
        let Ok(name) = "client".parse() else {
            return Ok(());
        };
        let spec = self.to_spec(Provenance::Registered);
        spec.check(&name).map_err(|error| {
            let chancery_core::noun::SpecError::Field { field, .. } = error;
            match field {
                "redirect_uris" => RegistrationError::RedirectUri(REDIRECT),
                "client_uri" => RegistrationError::Metadata(CLIENT_URI),
                "jwks" | "jwks_uri" => RegistrationError::Metadata(KEYS),
                "grant_types" => RegistrationError::Metadata(GRANTS),
                "authorization_details_types" => RegistrationError::Metadata(DETAILS),
                _ => RegistrationError::Metadata("the metadata breaks a rule"),
            }
        })
    }
}

/// The members that a registered client is told of (RFC 7591 §3.2.1).
pub fn describe(spec: &ClientSpec) -> Map<String, Value> {
    let has_code = spec.may_use(ClientGrant::AuthorizationCode);
    let grants: Vec<&str> = spec.grant_types.iter().map(|grant| grant.as_str()).collect();
    let details = &spec.authorization_details_types;
    let details: Vec<&str> = details.iter().map(DetailType::as_str).collect();
    let details = (!details.is_empty()).then(|| Value::from(details));
    let all = [
        ("redirect_uris", Some(Value::from(spec.redirect_uris.clone()))),
        (
            "token_endpoint_auth_method",
            Some(Value::from(spec.method.as_str())),
        ),
        ("grant_types", Some(Value::from(grants))),
        (
            "response_types",
            Some(Value::from(if has_code { vec!["code"] } else { Vec::new() })),
        ),
        ("authorization_details_types", details),
        ("client_name", spec.display_name.clone().map(Value::from)),
        ("client_uri", spec.client_uri.clone().map(Value::from)),
        ("software_id", spec.software_id.clone().map(Value::from)),
        ("jwks", spec.jwks.clone()),
        ("jwks_uri", spec.jwks_uri.clone().map(Value::from)),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

fn parse_method(name: &str) -> Option<ClientAuthenticationMethod> {
    match name {
        "none" => Some(ClientAuthenticationMethod::None),
        "client_secret_basic" => Some(ClientAuthenticationMethod::ClientSecretBasic),
        "client_secret_post" => Some(ClientAuthenticationMethod::ClientSecretPost),
        "private_key_jwt" => Some(ClientAuthenticationMethod::PrivateKeyJwt),
        _ => None,
    }
}

/// The types are those of resources, which come and go: whether a resource knows one is seen when it is asked for.
fn detail_types(members: &Map<String, Value>) -> Result<BTreeSet<DetailType>, RegistrationError> {
    let named = texts(members, "authorization_details_types", DETAILS)?.unwrap_or_default();
    let types = named.into_iter().map(str::parse);
    types
        .collect::<Result<_, _>>()
        .map_err(|_| RegistrationError::Metadata(DETAILS))
}

/// Grants that are not known here are left out, as RFC 7591 §2 allows; the answer shows what is left.
fn grants(
    members: &Map<String, Value>,
    method: ClientAuthenticationMethod,
) -> Result<Vec<ClientGrant>, RegistrationError> {
    let named = texts(members, "grant_types", GRANTS)?;
    let mut grants = match &named {
        None => vec![ClientGrant::AuthorizationCode],
        Some(words) => words.iter().filter_map(|word| ClientGrant::parse(word)).collect(),
    };
    grants.sort_unstable();
    grants.dedup();
    if method.is_public() && grants.contains(&ClientGrant::ClientCredentials) {
        return Err(RegistrationError::Metadata(
            "client_credentials needs a client that proves itself; `token_endpoint_auth_method` is none",
        ));
    }
    if grants.is_empty() {
        return Err(RegistrationError::Metadata(GRANTS));
    }
    let responses = texts(members, "response_types", RESPONSES)?.unwrap_or_default();
    let has_code = grants.contains(&ClientGrant::AuthorizationCode);
    if responses.iter().any(|name| *name != "code" || !has_code) {
        return Err(RegistrationError::Metadata(RESPONSES));
    }
    Ok(grants)
}

fn redirects(members: &Map<String, Value>, grants: &[ClientGrant]) -> Result<Vec<String>, RegistrationError> {
    let malformed = RegistrationError::RedirectUri(REDIRECT);
    let uris = texts(members, "redirect_uris", REDIRECT).map_err(|_| malformed)?;
    let uris: Vec<String> = uris.unwrap_or_default().into_iter().map(str::to_owned).collect();
    if uris.is_empty() && grants.contains(&ClientGrant::AuthorizationCode) {
        return Err(RegistrationError::RedirectUri(
            "redirect_uris are needed for authorization_code",
        ));
    }
    if uris.iter().any(|uri| redirect::check(uri).is_err()) {
        return Err(malformed);
    }
    Ok(uris)
}

/// A client that says it is on the web does not send codes to people's own machines.
fn check_application_type(
    members: &Map<String, Value>,
    redirects: &[String],
) -> Result<(), RegistrationError> {
    match optional(members, "application_type", APPLICATION)? {
        Some("web") if redirects.iter().any(|uri| redirect::is_local(uri)) => Err(
            RegistrationError::RedirectUri("a client of application_type web has https redirect URIs only"),
        ),
        None | Some("native" | "web") => Ok(()),
        Some(_) => Err(RegistrationError::Metadata(APPLICATION)),
    }
}

type Keys = (Option<Value>, Option<String>);

fn keys(members: &Map<String, Value>, method: ClientAuthenticationMethod) -> Result<Keys, RegistrationError> {
    let uri = optional(members, "jwks_uri", KEYS)?;
    let set = members.get("jwks").filter(|value| !value.is_null());
    if uri.is_some() && set.is_some() {
        return Err(RegistrationError::Metadata(
            "jwks and jwks_uri are not sent together",
        ));
    }
    if let Some(set) = set {
        let members = set.as_object().ok_or(RegistrationError::Metadata(KEYS))?;
        // SECURITY: one private or symmetric key refuses the whole set, used or not.
        let set = JwkSet::from_members(members, JwkSetLimits::default())
            .map_err(|_| RegistrationError::Metadata("jwks is not a set of public keys"))?;
        if set.keys().is_empty() {
            return Err(RegistrationError::Metadata("jwks has no usable key"));
        }
    }
    if method != ClientAuthenticationMethod::PrivateKeyJwt {
        return Ok((None, None));
    }
    Ok((set.cloned(), uri.map(str::to_owned)))
}

fn optional<'a>(
    members: &'a Map<String, Value>,
    field: &str,
    rule: &'static str,
) -> Result<Option<&'a str>, RegistrationError> {
    match members.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(RegistrationError::Metadata(rule))
        }
    }
}

fn texts<'a>(
    members: &'a Map<String, Value>,
    field: &str,
    rule: &'static str,
) -> Result<Option<Vec<&'a str>>, RegistrationError> {
    let list = match members.get(field) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_array().ok_or(RegistrationError::Metadata(rule))?,
    };
    let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
    texts.map(Some).ok_or(RegistrationError::Metadata(rule))
}

const REDIRECT: &str = "redirect_uris are at most 20 https URLs, http on 127.0.0.1, [::1] or localhost, or private \
                        schemes with a dot; no fragment, user name or wildcard";
const METHOD: &str =
    "token_endpoint_auth_method is none, client_secret_basic, client_secret_post or private_key_jwt";
const GRANTS: &str = "grant_types has no grant that is known here";
const DETAILS: &str =
    "authorization_details_types are at most 64 types of 1 to 128 printable ASCII characters without space";
const RESPONSES: &str = "response_types is code, with the grant authorization_code";
const APPLICATION: &str = "application_type is web or native";
const KEYS: &str = "private_key_jwt needs jwks, a set of public keys, or jwks_uri, an https URL";
const NAME: &str = "client_name has 1 to 120 characters that can be seen";
const CLIENT_URI: &str = "client_uri is an https URL";
const SOFTWARE_ID: &str = "software_id has 1 to 255 characters that can be seen";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::{Algorithm, SigningKey};
    use serde_json::json;

    fn parse(value: &Value) -> Result<ClientMetadata, RegistrationError> {
        ClientMetadata::parse(
            value.as_object().unwrap(),
            ClientAuthenticationMethod::ClientSecretBasic,
        )
    }

    fn with(field: &str, value: Value) -> Result<ClientMetadata, RegistrationError> {
        let mut members = json!({ "redirect_uris": ["https://app.example/callback"] });
        members.as_object_mut().unwrap().insert(field.to_owned(), value);
        parse(&members)
    }

    fn code(result: Result<ClientMetadata, RegistrationError>) -> &'static str {
        result.unwrap_err().to_wire().code.as_str()
    }

    #[test]
    fn what_is_left_out_has_the_defaults_of_the_standard() {
        let metadata = parse(&json!({ "redirect_uris": ["https://app.example/callback"] })).unwrap();
        assert_eq!(metadata.method, ClientAuthenticationMethod::ClientSecretBasic);
        assert_eq!(metadata.grant_types, [ClientGrant::AuthorizationCode]);
    }

    #[test]
    fn the_types_of_details_that_a_client_asks_for_are_kept_and_told() {
        let metadata = with(
            "authorization_details_types",
            json!(["payment", "https://a.example/x"]),
        )
        .unwrap();
        let told = describe(&metadata.to_spec(Provenance::Registered));
        assert_eq!(
            told["authorization_details_types"],
            json!(["https://a.example/x", "payment"])
        );
        let many: Vec<String> = (0..65).map(|number| format!("t{number}")).collect();
        for bad in [
            json!("payment"),
            json!([7]),
            json!(["a b"]),
            json!([""]),
            json!(many),
        ] {
            assert_eq!(
                code(with("authorization_details_types", bad)),
                "invalid_client_metadata"
            );
        }
    }

    #[test]
    fn each_bad_redirect_uri_is_invalid_redirect_uri() {
        for uri in [
            "http://app.example/",
            "https://a.example/#x",
            "javascript:alert(1)",
            "/callback",
            "https://*.a/",
        ] {
            assert_eq!(
                code(with("redirect_uris", json!([uri]))),
                "invalid_redirect_uri",
                "{uri}"
            );
        }
        assert_eq!(code(with("redirect_uris", json!([]))), "invalid_redirect_uri");
        assert_eq!(
            code(with("redirect_uris", json!("https://a.example/"))),
            "invalid_redirect_uri"
        );
        let many: Vec<String> = (0..21)
            .map(|number| format!("https://a.example/{number}"))
            .collect();
        assert_eq!(code(with("redirect_uris", json!(many))), "invalid_redirect_uri");
    }

    #[test]
    fn a_web_client_answers_on_the_web_only() {
        let local = json!({ "application_type": "web", "redirect_uris": ["http://localhost:3000/callback"] });
        assert_eq!(code(parse(&local)), "invalid_redirect_uri");
        let native =
            json!({ "application_type": "native", "redirect_uris": ["http://localhost:3000/callback"] });
        assert!(parse(&native).is_ok());
        assert_eq!(
            code(with("application_type", json!("other"))),
            "invalid_client_metadata"
        );
    }

    #[test]
    fn each_other_bad_field_is_invalid_client_metadata() {
        for (field, value) in [
            ("token_endpoint_auth_method", json!("tls_client_auth")),
            ("token_endpoint_auth_method", json!(7)),
            ("token_endpoint_auth_method", json!("runtime")),
            ("token_endpoint_auth_method", json!("private_key_jwt")),
            ("grant_types", json!(["password", "implicit"])),
            ("grant_types", json!("authorization_code")),
            ("response_types", json!(["token"])),
            ("client_name", json!("Bank\u{202e}toB")),
            ("client_name", json!("")),
            ("client_uri", json!("javascript:alert(1)")),
            ("client_uri", json!("http://app.example/")),
            ("software_id", json!("a\nb")),
        ] {
            assert_eq!(
                code(with(field, value.clone())),
                "invalid_client_metadata",
                "{field} {value}"
            );
        }
    }

    #[test]
    fn a_software_statement_is_not_taken() {
        let sent = with("software_statement", json!("eyJ"));
        assert_eq!(code(sent), "invalid_software_statement");
    }

    #[test]
    fn a_private_key_refuses_the_registration() {
        let key = SigningKey::generate(Algorithm::Es256)
            .unwrap()
            .with_kid("k")
            .unwrap();
        let mut public = json!({ "keys": [key.public_jwk().clone().with_kid("k").to_members()] });
        let keyed = |jwks: &Value| {
            parse(&json!({
                "redirect_uris": ["https://app.example/callback"],
                "token_endpoint_auth_method": "private_key_jwt", "jwks": jwks,
            }))
        };
        assert!(keyed(&public).is_ok());
        public["keys"][0]["d"] = json!("AAAA");
        assert_eq!(code(keyed(&public)), "invalid_client_metadata");
        assert_eq!(
            code(with("jwks", public)),
            "invalid_client_metadata",
            "even where it is not used"
        );
        let symmetric = json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] });
        assert_eq!(code(keyed(&symmetric)), "invalid_client_metadata");
    }

    #[test]
    fn keys_and_their_address_are_not_sent_together() {
        let both = json!({
            "redirect_uris": ["https://app.example/callback"], "token_endpoint_auth_method": "private_key_jwt",
            "jwks": { "keys": [] }, "jwks_uri": "https://app.example/keys",
        });
        assert_eq!(code(parse(&both)), "invalid_client_metadata");
    }

    #[test]
    fn grants_that_are_not_known_are_left_out_and_the_answer_says_so() {
        let metadata = with(
            "grant_types",
            json!(["implicit", "refresh_token", "authorization_code"]),
        )
        .unwrap();
        let told = describe(&metadata.to_spec(Provenance::Registered));
        assert_eq!(
            told["grant_types"],
            json!(["authorization_code", "refresh_token"])
        );
        assert_eq!(told["response_types"], json!(["code"]));
        let public = json!({
            "token_endpoint_auth_method": "none", "grant_types": ["client_credentials"],
        });
        assert_eq!(code(parse(&public)), "invalid_client_metadata");
    }
}
