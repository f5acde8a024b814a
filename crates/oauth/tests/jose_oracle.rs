//! jsonwebtoken as oracle: what we sign it verifies, what it signs we verify, and thumbprints agree.

#![expect(clippy::expect_used, reason = "helpers of tests fail the test")]

use chancery_core::time::Timestamp;
use chancery_oauth::jose::{
    Algorithm, AudienceRule, HeaderTemplate, IssuerRule, Profile, SigningKey, TypeRule, UnverifiedJwt,
    VerifyError, verify,
};
use jsonwebtoken as oracle;
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;
/// The oracle reads the real clock, so its tokens must outlive every run of this test.
const FAR: i64 = 10_000_000_000;

fn claims() -> Value {
    json!({"iss": "https://as.example", "sub": "agt_1", "aud": "https://rs.example", "exp": FAR, "text": "äß€\"\\\n"})
}

fn profile() -> Profile<'static> {
    Profile::new(
        TypeRule::AbsentOr(&["JWT"]),
        IssuerRule::Exactly("https://as.example"),
        AudienceRule::Contains("https://rs.example"),
    )
}

fn oracle_algorithm(algorithm: Algorithm) -> oracle::Algorithm {
    algorithm.name().parse().expect("the oracle knows it")
}

/// PKCS#8 as PEM, the form in which the oracle takes every kind of key.
fn pem(key: &SigningKey) -> String {
    use std::fmt::Write as _;
    let pkcs8 = key.to_pkcs8().expect("exports");
    let text = base64_standard(pkcs8.expose_secret());
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        writeln!(pem, "{}", std::str::from_utf8(line).expect("ascii")).expect("writes");
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}

fn base64_standard(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn oracle_signing_key(key: &SigningKey) -> oracle::EncodingKey {
    let pem = pem(key);
    match key.algorithm() {
        Algorithm::Es256 | Algorithm::Es384 => oracle::EncodingKey::from_ec_pem(pem.as_bytes()),
        Algorithm::EdDsa => oracle::EncodingKey::from_ed_pem(pem.as_bytes()),
        Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512 => oracle::EncodingKey::from_rsa_pem(pem.as_bytes()),
    }
    .expect("the oracle reads our key")
}

fn oracle_jwk(key: &SigningKey) -> oracle::jwk::Jwk {
    serde_json::from_value(serde_json::to_value(key.public_jwk()).expect("prints"))
        .expect("the oracle reads our jwk")
}

#[test]
fn oracle_verifies_what_we_sign() {
    for algorithm in Algorithm::ALL {
        let key = SigningKey::generate(*algorithm).expect("generates");
        let header = HeaderTemplate::new(*algorithm, Some(key.kid()), Some("JWT"));
        let token = key.sign_compact(&header, &claims()).expect("signs");

        let mut rules = oracle::Validation::new(oracle_algorithm(*algorithm));
        rules.set_audience(&["https://rs.example"]);
        let oracle_key = oracle::DecodingKey::from_jwk(&oracle_jwk(&key)).expect("the oracle takes our jwk");
        let read = oracle::decode::<Value>(&token, &oracle_key, &rules).expect("the oracle verifies");
        assert_eq!(read.claims, claims(), "{algorithm}");
        assert_eq!(read.header.kid.as_deref(), Some(key.kid()));
    }
}

#[test]
fn we_verify_what_the_oracle_signs() {
    for algorithm in Algorithm::ALL {
        let key = SigningKey::generate(*algorithm).expect("generates");
        let header = oracle::Header::new(oracle_algorithm(*algorithm));
        let token = oracle::encode(&header, &claims(), &oracle_signing_key(&key)).expect("the oracle signs");

        let jwt = UnverifiedJwt::parse(&token).expect("well formed");
        let now = Timestamp::from_seconds(NOW);
        let read = verify(&jwt, &profile(), key.verifying_key(), now).expect("verifies");
        assert_eq!(Value::Object(read.claims().clone()), claims(), "{algorithm}");

        let other = SigningKey::generate(*algorithm).expect("generates");
        let error = verify(&jwt, &profile(), other.verifying_key(), now).err();
        assert_eq!(error, Some(VerifyError::SignatureInvalid), "{algorithm}");
    }
}

#[test]
fn thumbprints_agree_with_the_oracle() {
    for algorithm in [
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
        Algorithm::Rs256,
    ] {
        let key = SigningKey::generate(algorithm).expect("generates");
        let expected = oracle_jwk(&key)
            .thumbprint(oracle::jwk::ThumbprintHash::SHA256)
            .expect("hashes");
        assert_eq!(key.kid(), expected, "{algorithm}");
    }
}
