//! Claims that are signed: a platform or an issuer may put anything into a token. Whatever verifies satisfies
//! the profile by a second, plain reading.

use crate::jwt::{AUDIENCE, ISSUER, NOW, profiles};
use chancery_core::binding::{RuntimeBinding, RuntimeBindingSpec};
use chancery_core::id::{BindingId, Id as _, IssuerId};
use chancery_core::issuer::{ClaimMapping, IssuerPurpose, KeySource, TrustedIssuer, TrustedIssuerSpec};
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Record, Spec as _};
use chancery_core::time::Timestamp;
use chancery_oauth::claims::OwnToken;
use chancery_oauth::jose::{Algorithm, JwkSet, SigningKey, UnverifiedJwt, VerifiedClaims, base64url, verify};
use chancery_oauth::{runtime, user_token};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// The first byte chooses `typ`, the rest are the claims.
pub fn run(input: &[u8]) {
    let Some((kind, claims)) = input.split_first() else {
        return;
    };
    let header = match kind % 4 {
        0 => r#"{"alg":"EdDSA"}"#,
        1 => r#"{"alg":"EdDSA","typ":"JWT"}"#,
        2 => r#"{"alg":"EdDSA","typ":"at+jwt"}"#,
        _ => r#"{"alg":"EdDSA","typ":"application/oauth-id-jag+jwt"}"#,
    };
    let signed = format!(
        "{}.{}",
        base64url::encode(header.as_bytes()),
        base64url::encode(claims)
    );
    let signature = KEY.0.sign(signed.as_bytes()).expect("signs");
    let text = format!("{signed}.{}", base64url::encode(&signature));
    let Ok(jwt) = UnverifiedJwt::parse(&text) else {
        return;
    };

    let audiences = [AUDIENCE.to_owned()];
    for (position, profile) in profiles(&audiences).iter().enumerate() {
        if let Ok(verified) = verify(&jwt, profile, &KEY.1, NOW) {
            check(position, &verified, claims);
            check_readers(&verified);
        }
    }
}

fn check(profile: usize, verified: &VerifiedClaims, claims: &[u8]) {
    let claims: Value = serde_json::from_slice(claims).expect("claims are JSON");
    assert_eq!(Value::Object(verified.claims().clone()), claims);
    // The widest leeway of a profile is ten seconds.
    let exp = claims["exp"].as_f64().expect("every profile wants `exp`");
    assert!(exp > NOW.as_seconds() as f64 - 10.5, "an expired token: {exp}");
    if let Some(nbf) = claims["nbf"].as_f64() {
        assert!(
            nbf < NOW.as_seconds() as f64 + 10.5,
            "a token from the future: {nbf}"
        );
    }
    let audiences: Vec<&str> = match &claims["aud"] {
        Value::Array(list) => list.iter().map(|item| item.as_str().expect("a string")).collect(),
        Value::String(one) => vec![one],
        _ => Vec::new(),
    };
    assert!(
        audiences
            .iter()
            .eq(verified.audiences().collect::<Vec<_>>().iter())
    );
    match profile {
        0 => assert!(audiences.contains(&AUDIENCE) && claims["iss"] == ISSUER && claims["jti"].is_string()),
        2 => assert!(
            claims["aud"] == ISSUER
                && claims["iss"] == claims["sub"]
                && exp < NOW.as_seconds() as f64 + 3_700.0
        ),
        3..=5 => assert!(
            audiences.contains(&AUDIENCE) && claims["iss"] == ISSUER && claims["events"] == Value::Null
        ),
        6 => assert!(
            audiences == [ISSUER]
                && claims["sub"]
                    .as_str()
                    .is_some_and(|sub| sub.starts_with("spiffe://example.org/"))
        ),
        7 => assert!(audiences == [AUDIENCE]),
        _ => {}
    }
}

/// Those who read verified claims.
fn check_readers(verified: &VerifiedClaims) {
    if let Some(own) = OwnToken::read(verified) {
        assert!(
            own.actors.len() <= chancery_core::actor::MAX_CHAIN,
            "a chain that is too long"
        );
        let _ = (
            own.current_actor(),
            own.root_agent(),
            own.scopes(),
            own.qualified(),
        );
    }
    if let Some(user) = user_token::user_spec(&ISSUED, verified) {
        let name: Name = "x".parse().expect("a name");
        user.check(&name).expect("a user that we would not store");
        for role in ["administrator", "auditor", "owner"] {
            assert!(
                !user.roles.iter().any(|own| own.as_str() == role),
                "an issuer made an {role}"
            );
        }
    }
    let bindings = std::slice::from_ref(&*BOUND);
    let report = runtime::report(&BOUND, verified.claims());
    assert_eq!(
        runtime::find(bindings, verified.claims()).is_ok(),
        report.matches()
    );
    if report.matches() {
        assert_eq!(verified.claim("sub"), Some(&Value::from("bot")));
    }
}

fn record<I, S>(id: I, spec: S) -> Record<I, S> {
    Record {
        id,
        name: "x".parse().expect("a name"),
        state: Lifecycle::Active,
        generation: 0,
        version: 1,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        spec,
    }
}

static KEY: LazyLock<(SigningKey, JwkSet)> = LazyLock::new(|| {
    let key = SigningKey::generate(Algorithm::EdDsa).expect("generates");
    let set = JwkSet::from_keys([key.verifying_key().clone()]);
    (key, set)
});

static ISSUED: LazyLock<TrustedIssuer> = LazyLock::new(|| {
    record(
        IssuerId::from_bytes([1; 16]),
        TrustedIssuerSpec {
            issuer: ISSUER.to_owned(),
            purposes: vec![IssuerPurpose::Users],
            keys: KeySource::Discovery,
            audiences: vec![AUDIENCE.to_owned()],
            assertions: Vec::new(),
            sign_in: None,
            claims: ClaimMapping {
                roles: Some("roles".to_owned()),
                groups: Some("/groups".to_owned()),
                role_map: BTreeMap::new(),
                attributes: BTreeMap::from([("team".to_owned(), "/a~1b/0".to_owned())]),
            },
        },
    )
});

static BOUND: LazyLock<Arc<RuntimeBinding>> = LazyLock::new(|| {
    Arc::new(record(
        BindingId::from_bytes([2; 16]),
        RuntimeBindingSpec {
            issuer: "x".parse().expect("a name"),
            audience: AUDIENCE.to_owned(),
            claims: BTreeMap::from([
                ("sub".to_owned(), "bot".to_owned()),
                ("/k/n".to_owned(), "1".to_owned()),
            ]),
            agent: "bot".parse().expect("a name"),
            max_age: None,
            instance: vec!["/k/pod".to_owned()],
        },
    ))
});
