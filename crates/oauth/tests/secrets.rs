//! Secrets and tokens do not print: every type that is made of a request, a token, a key or a failure is filled
//! with a marker and searched for it.

use chancery_core::id::{ClientId, Id as _, ReferenceId};
use chancery_core::json::{self, JsonLimits};
use chancery_core::noun::Noun;
use chancery_core::secret::TokenDigest;
use chancery_core::time::Timestamp;
use chancery_oauth::authentication::{AuthenticationError, ClientSecret, SingleUse};
use chancery_oauth::error::{ErrorCode, OAuthError};
use chancery_oauth::form::{self, Parameters};
use chancery_oauth::jose::{
    Algorithm, AudienceRule, HeaderTemplate, IssuerRule, Jwk, JwkSet, JwkSetLimits, Profile, SigningInput,
    SigningKey, TypeRule, UnverifiedJwt, VerifyError, base64url, verify,
};
use chancery_oauth::request::introspection::IntrospectionRequest;
use chancery_oauth::request::revocation::RevocationRequest;
use chancery_oauth::request::token::TokenRequest;
use chancery_oauth::runtime::MatchError;
use serde_json::json;
use std::error::Error;
use std::fmt::Debug;

const MARKER: &str = "MARKERsecretMARKER";

fn searched(printed: &str) {
    assert!(!printed.contains("MARKER"), "a secret prints: {printed}");
    // Nor in the forms in which it travels.
    for form in [
        base64url::encode(MARKER.as_bytes()),
        format!("{:?}", MARKER.as_bytes()),
    ] {
        let inner = form.trim_matches(['[', ']']);
        assert!(!printed.contains(inner), "a secret prints encoded: {printed}");
    }
}

fn debugged(value: &impl Debug) {
    searched(&format!("{value:?} {value:#?}"));
}

/// An error, what caused it, and so on: as the log prints it.
fn explained(error: &dyn Error) {
    let mut next = Some(error);
    while let Some(error) = next {
        searched(&format!("{error} {error:?}"));
        next = error.source();
    }
}

fn token() -> String {
    let header = base64url::encode(br#"{"alg":"EdDSA","typ":"JWT"}"#);
    let claims = base64url::encode(json!({ "sub": MARKER, "email": MARKER }).to_string().as_bytes());
    format!("{header}.{claims}.{}", base64url::encode(MARKER.as_bytes()))
}

#[test]
fn requests_do_not_print_what_they_carry() {
    let basic = "Basic Y2xpXzE6TUFSS0VSc2VjcmV0TUFSS0VS";
    let exchange = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange\
        &subject_token_type=urn:ietf:params:oauth:token-type:jwt";
    let assertion = "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

    let by_header = format!("{exchange}&subject_token={MARKER}");
    debugged(&TokenRequest::parse(Some(basic), by_header.as_bytes()).unwrap());
    let by_form = format!("grant_type=client_credentials&client_id=cli_1&client_secret={MARKER}");
    debugged(&TokenRequest::parse(None, by_form.as_bytes()).unwrap());
    let by_assertion = format!(
        "grant_type=client_credentials&{assertion}&client_assertion={}",
        token()
    );
    debugged(&TokenRequest::parse(None, by_assertion.as_bytes()).unwrap());

    let about = format!("token={MARKER}&client_id=cli_1&client_secret={MARKER}");
    debugged(&IntrospectionRequest::parse(None, about.as_bytes()).unwrap());
    debugged(&RevocationRequest::parse(None, about.as_bytes()).unwrap());
    debugged(&Parameters::parse(about.as_bytes()).unwrap());
}

#[test]
fn refused_requests_do_not_repeat_what_was_sent() {
    let two = format!("client_secret={MARKER}&client_assertion={MARKER}&client_id={MARKER}");
    let bodies = [
        format!("grant_type={MARKER}"),
        format!("grant_type=client_credentials&{two}"),
        format!("grant_type=client_credentials&client_secret={MARKER}&client_secret={MARKER}"),
        format!("grant_type=client_credentials&client_id=a&client_secret=b&resource={MARKER}"),
        format!("grant_type=client_credentials&client_assertion={MARKER}&client_assertion_type={MARKER}"),
        format!("{MARKER}=%zz"),
    ];
    for body in &bodies {
        explained(&TokenRequest::parse(None, body.as_bytes()).unwrap_err());
    }
    for header in [
        MARKER.to_owned(),
        format!("Basic {MARKER}"),
        format!("Bearer {MARKER}"),
    ] {
        let error = TokenRequest::parse(Some(&header), b"grant_type=client_credentials").unwrap_err();
        explained(&error);
    }
    explained(&form::decode(format!("{MARKER}%").as_bytes()).unwrap_err());
}

#[test]
fn tokens_and_claims_do_not_print() {
    let text = token();
    let jwt = UnverifiedJwt::parse(&text).unwrap();
    debugged(&jwt);
    debugged(&jwt.unverified_claims().unwrap());

    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let header = HeaderTemplate::new(Algorithm::EdDsa, Some(key.kid()), Some("JWT"));
    let claims = json!({ "sub": MARKER, "email": MARKER, "exp": 100 });
    debugged(&SigningInput::new(&header, &claims).unwrap());
    let signed = key.sign_compact(&header, &claims).unwrap();
    let profile = Profile::new(
        TypeRule::AbsentOr(&["JWT"]),
        IssuerRule::Unchecked,
        AudienceRule::Unchecked,
    );
    let keys = JwkSet::from_keys([key.verifying_key().clone()]);
    let jwt = UnverifiedJwt::parse(&signed).unwrap();
    debugged(&verify(&jwt, &profile, &keys, Timestamp::from_seconds(50)).unwrap());
    explained(&verify(&jwt, &profile, &keys, Timestamp::from_seconds(200)).unwrap_err());
}

#[test]
fn keys_do_not_print_their_private_half() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let key = SigningKey::generate(algorithm).unwrap();
        let pkcs8 = key.to_pkcs8().unwrap();
        let printed = format!("{key:?} {key:#?} {pkcs8:?}");
        let private = base64url::encode(pkcs8.expose_secret());
        let bytes = format!("{:?}", &pkcs8.expose_secret()[pkcs8.expose_secret().len() - 16..]);
        assert!(
            !printed.contains(private.get(20..60).unwrap())
                && !printed.contains(bytes.trim_matches(['[', ']']))
        );
    }
    let private = json!({ "kty": "OKP", "crv": "Ed25519", "x": MARKER, "d": MARKER, "kid": MARKER });
    let text = private.to_string();
    explained(&Jwk::parse(text.as_bytes()).unwrap_err());
    let set = json!({ "keys": [private] }).to_string();
    explained(&JwkSet::parse(set.as_bytes(), JwkSetLimits::default()).unwrap_err());
    explained(&SigningKey::from_pkcs8(Algorithm::Es256, MARKER.as_bytes()).unwrap_err());
}

#[test]
fn malformed_tokens_and_texts_are_not_repeated() {
    let header = |text: &str| format!("{}.e30.AAAA", base64url::encode(text.as_bytes()));
    let texts = [
        MARKER.to_owned(),
        format!("{MARKER}.{MARKER}.{MARKER}"),
        header(&json!({ "alg": MARKER }).to_string()),
        header(&json!({ "alg": "ES256", "crit": [MARKER] }).to_string()),
        header(&json!({ "alg": "ES256", "jku": MARKER }).to_string()),
        header(&format!("{{\"alg\":\"{MARKER}")),
    ];
    for text in &texts {
        explained(&UnverifiedJwt::parse(text).unwrap_err());
    }
    for text in [
        MARKER.to_owned(),
        format!("{{\"{MARKER}\":1,\"{MARKER}\":2}}"),
        format!("[\"{MARKER}"),
    ] {
        explained(&json::parse_value(text.as_bytes(), JsonLimits::of_bytes(1_000)).unwrap_err());
    }
    explained(&base64url::decode(&format!("{MARKER}=")).unwrap_err());
}

#[test]
fn failures_of_authentication_do_not_print_the_proof() {
    let text = token();
    let bytes: [u8; 32] = core::array::from_fn(|position| MARKER.as_bytes()[position % MARKER.len()]);
    debugged(&ClientSecret {
        digest: TokenDigest::new(bytes),
        expires_at: None,
    });
    debugged(&SingleUse {
        client: ClientId::from_bytes([1; 16]),
        jwt_id: "1".to_owned(),
        expires_at: Timestamp::default(),
    });
    let malformed = UnverifiedJwt::parse(text.get(..10).unwrap()).unwrap_err();
    let name = || "x".parse().unwrap();
    let failures = [
        AuthenticationError::ClientUnknown,
        AuthenticationError::NotActive {
            noun: Noun::Client,
            name: name(),
        },
        AuthenticationError::AgentExpired(name()),
        AuthenticationError::WrongMethod {
            registered: "runtime",
        },
        AuthenticationError::WrongSecret,
        AuthenticationError::Malformed(malformed),
        AuthenticationError::Assertion(VerifyError::SignatureInvalid),
        AuthenticationError::Keys,
        AuthenticationError::Replayed,
        AuthenticationError::IssuerUnknown,
        AuthenticationError::IssuerKeys(name()),
        AuthenticationError::Binding(MatchError::None),
    ];
    for failure in &failures {
        explained(failure);
        // On the wire they are all the same.
        assert_eq!(failure.to_wire(), OAuthError::invalid_client());
    }
}

#[test]
fn an_error_on_the_wire_is_fixed_text_and_ids() {
    let error = OAuthError {
        reference: Some(ReferenceId::from_bytes([1; 16])),
        ..OAuthError::new(ErrorCode::InvalidClient, OAuthError::invalid_client().description)
    };
    explained(&error);
    assert_eq!(
        error.to_string(),
        format!("invalid_client: {}", error.description)
    );
}
