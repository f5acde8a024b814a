//! Attacks on tokens, each by its name. Every one must fail, and by the rule that is meant for it.

use super::*;
use aws_lc_rs::hmac;
use chancery_core::json::JsonError;
use chancery_core::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::OnceLock;

const ISSUER: &str = "https://as.example";
const AUDIENCE: &str = "https://rs.example/mcp";
const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const PROFILE: Profile<'static> = Profile::access_token(ISSUER, AUDIENCE);

fn key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate(Algorithm::Es256).expect("generates"))
}

fn rsa_key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate(Algorithm::Rs256).expect("generates"))
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "agt_1", "aud": AUDIENCE, "client_id": "cli_1", "jti": "j",
        "iat": 1_800_000_000, "exp": 1_800_000_300,
    })
}

/// A token with exactly this header and payload text, signed for real.
fn forge(header: &str, payload: &str) -> String {
    let input = format!(
        "{}.{}",
        base64url::encode(header.as_bytes()),
        base64url::encode(payload.as_bytes())
    );
    let signature = key().sign(input.as_bytes()).expect("signs");
    format!("{input}.{}", base64url::encode(&signature))
}

fn header(extra: &str) -> String {
    format!(
        r#"{{"alg":"ES256","typ":"at+jwt","kid":"{}"{extra}}}"#,
        key().kid()
    )
}

fn parse_error(token: &str) -> Option<JwtError> {
    UnverifiedJwt::parse(token).err()
}

fn verify_error(token: &str, profile: &Profile<'_>) -> Option<VerifyError> {
    let jwt = UnverifiedJwt::parse(token).expect("well formed");
    verify(&jwt, profile, key().verifying_key(), NOW).err()
}

fn accepted(token: &str) -> bool {
    UnverifiedJwt::parse(token).is_ok_and(|jwt| verify(&jwt, &PROFILE, key().verifying_key(), NOW).is_ok())
}

#[test]
fn the_unharmed_token_is_accepted() {
    assert!(accepted(&forge(&header(""), &claims().to_string())));
}

#[test]
fn alg_none_is_refused_with_and_without_signature() {
    let payload = base64url::encode(claims().to_string().as_bytes());
    for name in ["none", "None", "NONE", "nOnE"] {
        let header = base64url::encode(format!(r#"{{"alg":"{name}","typ":"at+jwt"}}"#).as_bytes());
        assert_eq!(
            parse_error(&format!("{header}.{payload}.")),
            Some(JwtError::SignatureMissing)
        );
        assert_eq!(
            parse_error(&format!("{header}.{payload}.AA")),
            Some(JwtError::AlgorithmRefused)
        );
    }
}

#[test]
fn hmac_with_the_public_key_as_secret_is_refused() {
    let public = serde_json::to_vec(rsa_key().public_jwk()).expect("prints");
    let input = format!(
        "{}.{}",
        base64url::encode(br#"{"alg":"HS256","typ":"at+jwt"}"#),
        base64url::encode(claims().to_string().as_bytes())
    );
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &public), input.as_bytes());
    let token = format!("{input}.{}", base64url::encode(tag.as_ref()));
    assert_eq!(parse_error(&token), Some(JwtError::AlgorithmRefused));
}

#[test]
fn header_cannot_choose_an_algorithm_that_the_key_does_not_have() {
    for name in ["RS256", "PS256", "ES384", "EdDSA"] {
        let token = forge(
            &format!(r#"{{"alg":"{name}","typ":"at+jwt"}}"#),
            &claims().to_string(),
        );
        let expected = Some(VerifyError::Key(KeyLookupError::AlgorithmNotForKey));
        assert_eq!(verify_error(&token, &PROFILE), expected, "{name}");
    }
    // An RSA key that is published for RS256 is not used for PS256.
    let input = format!(
        "{}.{}",
        base64url::encode(br#"{"alg":"PS256","typ":"at+jwt"}"#),
        base64url::encode(claims().to_string().as_bytes())
    );
    let token = format!(
        "{input}.{}",
        base64url::encode(&rsa_key().sign(input.as_bytes()).expect("signs"))
    );
    let jwt = UnverifiedJwt::parse(&token).expect("well formed");
    let error = verify(&jwt, &PROFILE, rsa_key().verifying_key(), NOW).err();
    assert_eq!(error, Some(VerifyError::Key(KeyLookupError::AlgorithmNotForKey)));
}

#[test]
fn key_source_that_lies_about_a_key_does_not_help() {
    struct Liar;
    impl KeySource for Liar {
        fn find(&self, _: Option<&str>, _: Algorithm) -> Result<&VerifyingKey, KeyLookupError> {
            Ok(rsa_key().verifying_key())
        }
    }
    let token = forge(&header(""), &claims().to_string());
    let jwt = UnverifiedJwt::parse(&token).expect("well formed");
    assert_eq!(
        verify(&jwt, &PROFILE, &Liar, NOW).err(),
        Some(VerifyError::KeyContradictsAlgorithm)
    );
}

#[test]
fn token_of_one_type_is_not_taken_for_another() {
    let id_token = forge(&header("").replace("at+jwt", "JWT"), &claims().to_string());
    assert_eq!(
        verify_error(&id_token, &PROFILE),
        Some(VerifyError::TypeNotAllowed)
    );

    let access_token = forge(&header(""), &claims().to_string());
    let audiences = [String::from(AUDIENCE)];
    for profile in [
        Profile::id_token(ISSUER, &audiences),
        Profile::runtime_token(ISSUER, &audiences),
        Profile::client_assertion(ISSUER, AUDIENCE),
        Profile::jwt_svid("example", AUDIENCE),
        Profile::id_jag(ISSUER, AUDIENCE),
        Profile::dpop_proof(),
    ] {
        assert_eq!(
            verify_error(&access_token, &profile),
            Some(VerifyError::TypeNotAllowed)
        );
    }
}

#[test]
fn duplicated_claim_is_refused() {
    let payload = claims()
        .to_string()
        .replace(r#""exp":1800000300"#, r#""exp":1,"exp":1800000300"#);
    let expected = VerifyError::Claims(JwtError::Payload(JsonError::DuplicateMember));
    assert_eq!(
        verify_error(&forge(&header(""), &payload), &PROFILE),
        Some(expected)
    );
}

#[test]
fn expiry_as_a_string_or_beyond_a_double_is_refused() {
    let payload = claims()
        .to_string()
        .replace(r#""exp":1800000300"#, r#""exp":"1800000300""#);
    assert_eq!(
        verify_error(&forge(&header(""), &payload), &PROFILE),
        Some(VerifyError::ClaimNotTime("exp"))
    );

    let payload = claims()
        .to_string()
        .replace(r#""exp":1800000300"#, r#""exp":99999999999999999999"#);
    let expected = VerifyError::Claims(JwtError::Payload(JsonError::NumberOutOfRange));
    assert_eq!(
        verify_error(&forge(&header(""), &payload), &PROFILE),
        Some(expected)
    );
}

#[test]
fn audience_as_a_number_is_refused() {
    let payload = claims().to_string().replace(&format!("\"{AUDIENCE}\""), "7");
    assert_eq!(
        verify_error(&forge(&header(""), &payload), &PROFILE),
        Some(VerifyError::AudienceMalformed)
    );
}

#[test]
fn extensions_and_addresses_of_keys_are_refused_though_signed() {
    let cases = [
        (r#","crit":["exp"]"#, JwtError::CriticalExtension),
        (r#","b64":false"#, JwtError::UnencodedPayload),
        (r#","jku":"https://evil.example/jwks""#, JwtError::KeySetUrl),
        (r#","x5u":"https://evil.example/cert""#, JwtError::CertificateUrl),
        (r#","x5c":[]"#, JwtError::CertificateChain),
    ];
    for (member, expected) in cases {
        assert_eq!(
            parse_error(&forge(&header(member), &claims().to_string())),
            Some(expected),
            "{member}"
        );
    }
}

#[test]
fn embedded_key_is_refused_but_where_the_profile_proves_possession() {
    let jwk = serde_json::to_string(key().public_jwk()).expect("prints");
    let token = forge(&header(&format!(r#","jwk":{jwk}"#)), &claims().to_string());
    assert_eq!(
        verify_error(&token, &PROFILE),
        Some(VerifyError::EmbeddedKeyNotAllowed)
    );

    let proof = forge(
        &format!(r#"{{"alg":"ES256","typ":"dpop+jwt","jwk":{jwk}}}"#),
        r#"{"jti":"j","htm":"POST","htu":"https://as.example/token","iat":1800000000}"#,
    );
    let jwt = UnverifiedJwt::parse(&proof).expect("well formed");
    let embedded = jwt.danger_embedded_key().expect("valid").expect("present");
    let own = VerifyingKey::from_jwk(embedded).expect("valid");
    let claims = verify(&jwt, &Profile::dpop_proof(), &own, NOW).expect("verifies");
    assert_eq!(claims.verified_with().thumbprint(), key().kid());
}

#[test]
fn claims_nested_like_a_bomb_are_refused() {
    let bomb = format!(r#"{{"a":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    let expected = VerifyError::Claims(JwtError::Payload(JsonError::TooDeep { limit: 32 }));
    assert_eq!(verify_error(&forge(&header(""), &bomb), &PROFILE), Some(expected));
    let token = forge(&bomb, "{}");
    assert_eq!(
        parse_error(&token),
        Some(JwtError::Header(JsonError::TooDeep { limit: 32 }))
    );
}

#[test]
fn oversized_token_is_refused() {
    let payload = format!(r#"{{"a":"{}"}}"#, "a".repeat(UnverifiedJwt::MAX_BYTES));
    let limit = UnverifiedJwt::MAX_BYTES;
    assert_eq!(
        parse_error(&forge(&header(""), &payload)),
        Some(JwtError::TooLarge { limit })
    );
}

#[test]
fn signature_in_der_form_is_refused() {
    let token = forge(&header(""), &claims().to_string());
    let (input, signature) = token.rsplit_once('.').expect("dot");
    let raw = base64url::decode(signature).expect("base64url");
    let integer = |half: &[u8]| [&[0x02, 0x21, 0x00][..], half].concat();
    let body = [integer(&raw[..32]), integer(&raw[32..])].concat();
    let der = [&[0x30, u8::try_from(body.len()).expect("short")][..], &body].concat();
    let token = format!("{input}.{}", base64url::encode(&der));
    assert_eq!(
        verify_error(&token, &PROFILE),
        Some(VerifyError::SignatureInvalid)
    );
}

#[test]
fn parts_of_two_tokens_do_not_mix() {
    let one = forge(&header(""), &claims().to_string());
    let two = forge(&header(""), &claims().to_string().replace("agt_1", "agt_2"));
    let (input, _) = one.rsplit_once('.').expect("dot");
    let (_, signature) = two.rsplit_once('.').expect("dot");
    assert_eq!(
        verify_error(&format!("{input}.{signature}"), &PROFILE),
        Some(VerifyError::SignatureInvalid)
    );
}

#[test]
fn every_single_flipped_bit_of_a_token_is_noticed() {
    let token = forge(&header(""), &claims().to_string()).into_bytes();
    for position in 0..token.len() * 8 {
        let mut harmed = token.clone();
        harmed[position / 8] ^= 1 << (position % 8);
        if let Ok(text) = std::str::from_utf8(&harmed) {
            assert!(!accepted(text), "bit {position}");
        }
    }
}

fn any_text() -> impl Strategy<Value = String> {
    "[ -~äß€]{0,20}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_signed_is_what_is_read(subject in "[ -~äß€]{1,20}", extra in any_text(), number in any::<i32>()) {
        let mut claims = claims();
        claims["sub"] = json!(subject);
        claims["x"] = json!({"text": extra, "list": [number]});
        let header = HeaderTemplate::new(Algorithm::Es256, Some(key().kid()), Some("at+jwt"));
        let token = key().sign_compact(&header, &claims).expect("signs");
        let jwt = UnverifiedJwt::parse(&token).expect("well formed");
        let verified = verify(&jwt, &PROFILE, key().verifying_key(), NOW).expect("verifies");
        prop_assert_eq!(Value::Object(verified.claims().clone()), claims);
        prop_assert_eq!(jwt.unverified_kid(), Some(key().kid()));
    }

    #[test]
    fn whatever_is_inserted_into_or_cut_from_a_token_is_noticed(at in any::<prop::sample::Index>(), junk in "[A-Za-z0-9_=. -]{1,4}") {
        let token = forge(&header(""), &claims().to_string());
        let at = at.index(token.len());
        let (left, right) = token.split_at(at);
        let inserted = [left, junk.as_str(), right].concat();
        let cut = [left, right.get(1..).unwrap_or_default()].concat();
        prop_assert!(!accepted(&inserted) && !accepted(&cut));
    }
}
