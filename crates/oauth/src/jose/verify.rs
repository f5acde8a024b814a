//! The check of a token: the only way to claims that may be believed (RFC 7515 §5.2, RFC 7519 §7.2,
//! RFC 8725 §3).
//!
//! The order is fixed: header against profile, key, signature, and only then the claims. Replay
//! (`jti`) is not looked at here.

use super::algorithm::Algorithm;
use super::jws::{JwtError, UnverifiedJwt};
use super::key::{KeyError, KeyLookupError, KeySource, VerifyingKey};
use super::profile::{AudienceRule, IssuerRule, Profile, SubjectRule};
use chancery_core::time::Timestamp;
use serde_json::{Map, Value};
use std::fmt;

/// Checks a token against a profile with the key that it names, as of `now`.
///
/// # Errors
/// The first rule of [`VerifyError`] that is broken.
pub fn verify<K: KeySource + ?Sized>(
    jwt: &UnverifiedJwt<'_>,
    profile: &Profile<'_>,
    keys: &K,
    now: Timestamp,
) -> Result<VerifiedClaims, VerifyError> {
    let key = check_signature(jwt, profile, keys)?;
    // SECURITY: claims are parsed only after their signature is proven.
    let claims = jwt.decode_claims().map_err(VerifyError::Claims)?;

    let claims = VerifiedClaims {
        expires_at: numeric_date(&claims, "exp")?,
        not_before: numeric_date(&claims, "nbf")?,
        issued_at: numeric_date(&claims, "iat")?,
        key: key.clone(),
        claims,
    };
    check_presence(&claims, profile)?;
    check_parties(&claims, profile)?;
    check_audience(&claims, profile.audience)?;
    check_times(&claims, profile, now)?;
    Ok(claims)
}

/// Claims that were proven to be what a profile demands. Made only by [`verify`].
pub struct VerifiedClaims {
    claims: Map<String, Value>,
    expires_at: Option<Timestamp>,
    not_before: Option<Timestamp>,
    issued_at: Option<Timestamp>,
    key: VerifyingKey,
}

impl VerifiedClaims {
    /// `iss`. Present if the profile requires it.
    pub fn issuer(&self) -> Option<&str> {
        self.string("iss")
    }

    /// `sub`. Present if the profile requires it.
    pub fn subject(&self) -> Option<&str> {
        self.string("sub")
    }

    /// The values of `aud`, none if it is absent.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        let values = match self.claims.get("aud") {
            Some(Value::Array(list)) => list.as_slice(),
            Some(single) => std::slice::from_ref(single),
            None => &[],
        };
        values.iter().filter_map(Value::as_str)
    }

    /// `exp`. Present if the profile requires it.
    pub const fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// `nbf`.
    pub const fn not_before(&self) -> Option<Timestamp> {
        self.not_before
    }

    /// `iat`. Present if the profile requires it.
    pub const fn issued_at(&self) -> Option<Timestamp> {
        self.issued_at
    }

    /// `jti`. Present if the profile requires it.
    pub fn jwt_id(&self) -> Option<&str> {
        self.string("jti")
    }

    /// Any claim.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.get(name)
    }

    /// Any claim that is a string.
    pub fn string(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    /// All claims.
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The key that the signature was proven with.
    pub const fn verified_with(&self) -> &VerifyingKey {
        &self.key
    }
}

impl fmt::Debug for VerifiedClaims {
    /// Shows no claim: they are about people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedClaims")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// `typ` is not that of this kind of token (RFC 8725 §3.11).
    #[error("token is of another type")]
    TypeNotAllowed,
    /// `alg` is not one that this kind of token may have.
    #[error("algorithm `{0}` is not allowed here")]
    AlgorithmNotAllowed(Algorithm),
    /// The header carries a key, and this kind of token must not.
    #[error("token carries a key of its own")]
    EmbeddedKeyNotAllowed,
    /// No single key fits the token.
    #[error(transparent)]
    Key(#[from] KeyLookupError),
    /// The key source gave a key that cannot be used with the `alg` of the token.
    #[error("key cannot be used with the `alg` of the token")]
    KeyContradictsAlgorithm,
    /// The signature is not by that key over this token.
    #[error("signature of the token is invalid")]
    SignatureInvalid,
    /// The payload is not a strict JSON object in base64url.
    #[error("claims of the token are malformed")]
    Claims(#[source] JwtError),
    /// A claim that this kind of token must have is absent or null.
    #[error("token lacks the claim `{0}`")]
    ClaimMissing(&'static str),
    /// A claim that this kind of token must not have is present.
    #[error("token must not have the claim `{0}`")]
    ClaimForbidden(&'static str),
    /// A claim that must be a string is something else (RFC 7519 §4.1).
    #[error("claim `{0}` is not a string")]
    ClaimNotString(&'static str),
    /// A claim that names somebody or something has a NUL, which no store can keep as text.
    #[error("claim `{0}` has a NUL character")]
    ClaimWithNul(&'static str),
    /// A required claim is the empty string.
    #[error("claim `{0}` is empty")]
    ClaimEmpty(&'static str),
    /// A time is not a number, or lies outside the years 1970 to 9999 (RFC 7519 §2, `NumericDate`).
    #[error("claim `{0}` is not a time in seconds")]
    ClaimNotTime(&'static str),
    /// `aud` is neither a string nor an array of strings (RFC 7519 §4.1.3).
    #[error("claim `aud` is not a string or array of strings")]
    AudienceMalformed,
    /// `aud` does not name us.
    #[error("token is for another audience")]
    AudienceMismatch,
    /// `aud` names others beside us.
    #[error("token is for other audiences too")]
    AudienceNotSole,
    /// `aud` is an array where a string is demanded.
    #[error("claim `aud` is not a single string")]
    AudienceNotString,
    /// `iss` is another issuer.
    #[error("token is of another issuer")]
    IssuerMismatch,
    /// `sub` is another subject.
    #[error("token is about another subject")]
    SubjectMismatch,
    /// `sub` is not a SPIFFE ID of the trust domain.
    #[error("subject is not in the trust domain")]
    SubjectOutsideTrustDomain,
    /// `exp` has passed (RFC 7519 §4.1.4).
    #[error("token has expired")]
    Expired,
    /// `nbf` has not come (RFC 7519 §4.1.5).
    #[error("token is not valid yet")]
    NotYetValid,
    /// `iat` lies in the future.
    #[error("token was issued in the future")]
    IssuedInFuture,
    /// `iat` lies too far back.
    #[error("token is too old")]
    TooOld,
    /// The token was made to live longer than is allowed.
    #[error("token lives too long")]
    LifetimeTooLong,
}

/// Header against profile, then the key, then the signature.
pub(super) fn check_signature<'k, K: KeySource + ?Sized>(
    jwt: &UnverifiedJwt<'_>,
    profile: &Profile<'_>,
    keys: &'k K,
) -> Result<&'k VerifyingKey, VerifyError> {
    let algorithm = jwt.unverified_algorithm();
    if !profile.typ.admits(jwt.unverified_type()) {
        return Err(VerifyError::TypeNotAllowed);
    }
    if !profile.algorithms.contains(&algorithm) {
        return Err(VerifyError::AlgorithmNotAllowed(algorithm));
    }
    if jwt.has_embedded_key() && !profile.allows_embedded_key {
        return Err(VerifyError::EmbeddedKeyNotAllowed);
    }

    let key = keys.find(jwt.unverified_kid(), algorithm)?;
    match key.check_signature(algorithm, jwt.signing_input(), jwt.signature()) {
        Ok(()) => Ok(key),
        Err(KeyError::AlgorithmNotForKey) => Err(VerifyError::KeyContradictsAlgorithm),
        Err(_) => Err(VerifyError::SignatureInvalid),
    }
}

fn check_presence(claims: &VerifiedClaims, profile: &Profile<'_>) -> Result<(), VerifyError> {
    for name in STRING_CLAIMS {
        if claims.claim(name).is_some_and(|value| !value.is_string()) {
            return Err(VerifyError::ClaimNotString(name));
        }
        if claims.string(name).is_some_and(|text| text.contains('\0')) {
            return Err(VerifyError::ClaimWithNul(name));
        }
    }
    for name in profile.required {
        match claims.claim(name) {
            None | Some(Value::Null) => return Err(VerifyError::ClaimMissing(name)),
            Some(Value::String(text)) if text.is_empty() => return Err(VerifyError::ClaimEmpty(name)),
            Some(_) => {}
        }
    }
    match profile.forbidden.iter().find(|name| claims.claim(name).is_some()) {
        Some(name) => Err(VerifyError::ClaimForbidden(name)),
        None => Ok(()),
    }
}

fn check_parties(claims: &VerifiedClaims, profile: &Profile<'_>) -> Result<(), VerifyError> {
    match profile.issuer {
        IssuerRule::Exactly(expected) if claims.issuer() != Some(expected) => {
            return Err(VerifyError::IssuerMismatch);
        }
        IssuerRule::Exactly(_) | IssuerRule::Unchecked => {}
    }
    match profile.subject {
        SubjectRule::Exactly(expected) if claims.subject() != Some(expected) => {
            Err(VerifyError::SubjectMismatch)
        }
        SubjectRule::SpiffeIdIn(domain)
            if !claims.subject().is_some_and(|id| is_spiffe_id_in(id, domain)) =>
        {
            Err(VerifyError::SubjectOutsideTrustDomain)
        }
        SubjectRule::Any | SubjectRule::Exactly(_) | SubjectRule::SpiffeIdIn(_) => Ok(()),
    }
}

fn is_spiffe_id_in(id: &str, trust_domain: &str) -> bool {
    id.strip_prefix("spiffe://")
        .and_then(|rest| rest.strip_prefix(trust_domain))
        .and_then(|rest| rest.strip_prefix('/'))
        .is_some_and(|path| !path.is_empty())
}

fn check_audience(claims: &VerifiedClaims, rule: AudienceRule<'_>) -> Result<(), VerifyError> {
    let audience = claims.claim("aud");
    let well_formed = match audience {
        None | Some(Value::String(_)) => true,
        Some(Value::Array(list)) => list.iter().all(Value::is_string),
        Some(_) => false,
    };
    if !well_formed {
        return Err(VerifyError::AudienceMalformed);
    }

    let admitted = match rule {
        AudienceRule::Unchecked => true,
        AudienceRule::ContainsAny(accepted) => claims
            .audiences()
            .any(|value| accepted.iter().any(|own| own == value)),
        AudienceRule::Contains(own) | AudienceRule::Sole(own) | AudienceRule::SoleString(own) => {
            claims.audiences().any(|value| value == own)
        }
    };
    if !admitted {
        return Err(VerifyError::AudienceMismatch);
    }
    if matches!(rule, AudienceRule::SoleString(_)) && !audience.is_some_and(Value::is_string) {
        return Err(VerifyError::AudienceNotString);
    }
    if matches!(rule, AudienceRule::Sole(_)) && claims.audiences().nth(1).is_some() {
        return Err(VerifyError::AudienceNotSole);
    }
    Ok(())
}

fn check_times(claims: &VerifiedClaims, profile: &Profile<'_>, now: Timestamp) -> Result<(), VerifyError> {
    let latest = now.plus(profile.leeway);
    let earliest = now.minus(profile.leeway);

    if claims.expires_at.is_some_and(|at| at <= earliest) {
        return Err(VerifyError::Expired);
    }
    if claims.not_before.is_some_and(|at| at > latest) {
        return Err(VerifyError::NotYetValid);
    }
    if claims.issued_at.is_some_and(|at| at > latest) {
        return Err(VerifyError::IssuedInFuture);
    }
    if let Some(max_age) = profile.max_age {
        let issued_at = claims.issued_at.ok_or(VerifyError::ClaimMissing("iat"))?;
        if issued_at.plus(max_age) < earliest {
            return Err(VerifyError::TooOld);
        }
    }
    if let (Some(max_lifetime), Some(expires_at)) = (profile.max_lifetime, claims.expires_at) {
        // Without `iat` the token may have been made just now, at the latest by its sender's clock.
        let start = claims.issued_at.unwrap_or(latest);
        if expires_at.since(start) > max_lifetime {
            return Err(VerifyError::LifetimeTooLong);
        }
    }
    Ok(())
}

/// A `NumericDate`: seconds, with or without a fraction (RFC 7519 §2).
fn numeric_date(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>, VerifyError> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    if let Some(seconds) = value.as_u64() {
        return match i64::try_from(seconds) {
            Ok(seconds) if seconds <= LAST_SECOND => Ok(Some(Timestamp::from_seconds(seconds))),
            Ok(_) | Err(_) => Err(VerifyError::ClaimNotTime(name)),
        };
    }
    match value.as_f64().and_then(micros_of) {
        Some(micros) => Ok(Some(Timestamp::from_micros(micros))),
        None => Err(VerifyError::ClaimNotTime(name)),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the range is checked: below 2^58, no fraction left"
)]
#[expect(clippy::cast_precision_loss, reason = "the constant is below 2^53")]
fn micros_of(seconds: f64) -> Option<i64> {
    let in_range = seconds.is_finite() && seconds >= 0.0 && seconds <= LAST_SECOND as f64;
    in_range.then(|| (seconds * 1e6).floor() as i64)
}

/// Claims that are strings wherever they occur (RFC 7519 §4.1; RFC 8693 §4.3).
const STRING_CLAIMS: [&str; 4] = ["iss", "sub", "jti", "client_id"];

/// 9999-12-31T23:59:59Z. A larger number is most likely in milliseconds.
const LAST_SECOND: i64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::{HeaderTemplate, SigningKey};
    use serde_json::json;

    const ISSUER: &str = "https://as.example";
    const AUDIENCE: &str = "https://rs.example/mcp";
    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn key() -> &'static SigningKey {
        static KEY: std::sync::OnceLock<SigningKey> = std::sync::OnceLock::new();
        KEY.get_or_init(|| SigningKey::generate(Algorithm::EdDsa).expect("generates"))
    }

    fn good() -> Value {
        json!({
            "iss": ISSUER, "sub": "agt_1", "aud": AUDIENCE, "client_id": "cli_1", "jti": "j",
            "iat": 1_800_000_000, "exp": 1_800_000_300,
        })
    }

    fn check(
        typ: Option<&str>,
        claims: &Value,
        profile: &Profile<'_>,
    ) -> Result<VerifiedClaims, VerifyError> {
        let header = HeaderTemplate::new(key().algorithm(), Some(key().kid()), typ);
        let token = key().sign_compact(&header, claims).expect("signs");
        let jwt = UnverifiedJwt::parse(&token).expect("well formed");
        verify(&jwt, profile, key().verifying_key(), NOW)
    }

    /// The claims of a good access token with one of them changed (or removed, by null).
    fn changed(name: &str, value: Value) -> Result<VerifiedClaims, VerifyError> {
        let mut claims = good();
        let members = claims.as_object_mut().expect("object");
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.to_owned(), value);
        }
        check(Some("at+jwt"), &claims, &Profile::access_token(ISSUER, AUDIENCE))
    }

    #[test]
    fn good_access_token_is_verified() {
        let claims = changed("none", Value::Null).expect("verifies");
        assert_eq!(claims.issuer(), Some(ISSUER));
        assert_eq!(claims.subject(), Some("agt_1"));
        assert_eq!(claims.audiences().collect::<Vec<_>>(), [AUDIENCE]);
        assert_eq!(claims.expires_at(), Some(Timestamp::from_seconds(1_800_000_300)));
        assert_eq!(claims.issued_at(), Some(NOW));
        assert_eq!(claims.not_before(), None);
        assert_eq!(claims.jwt_id(), Some("j"));
        assert_eq!(claims.string("client_id"), Some("cli_1"));
        assert_eq!(claims.verified_with().kid(), Some(key().kid()));
        assert!(!format!("{claims:?}").contains("agt_1"));
    }

    #[test]
    fn required_claims_must_be_there_and_not_empty() {
        for name in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
            assert_eq!(
                changed(name, Value::Null).err(),
                Some(VerifyError::ClaimMissing(name))
            );
        }
        for name in ["sub", "client_id", "jti"] {
            assert_eq!(
                changed(name, json!("")).err(),
                Some(VerifyError::ClaimEmpty(name))
            );
        }
    }

    #[test]
    fn string_claims_with_nul_are_refused() {
        for name in ["iss", "sub", "jti", "client_id"] {
            assert_eq!(
                changed(name, json!("a\0b")).err(),
                Some(VerifyError::ClaimWithNul(name))
            );
        }
    }

    #[test]
    fn string_claims_of_another_type_are_refused() {
        for name in ["iss", "sub", "jti", "client_id"] {
            for value in [json!([ISSUER]), json!(7), json!({}), json!(true)] {
                assert_eq!(
                    changed(name, value).err(),
                    Some(VerifyError::ClaimNotString(name))
                );
            }
        }
    }

    #[test]
    fn times_must_be_numbers_in_range() {
        for name in ["exp", "iat", "nbf"] {
            for value in [
                json!("1800000300"),
                json!([1]),
                json!(true),
                json!(-1),
                json!(-0.5),
                json!(1_800_000_300_000u64),
            ] {
                assert_eq!(
                    changed(name, value.clone()).err(),
                    Some(VerifyError::ClaimNotTime(name)),
                    "{value}"
                );
            }
        }
        let claims = changed("exp", json!(1_800_000_300.25)).expect("a fraction is a NumericDate");
        assert_eq!(
            claims.expires_at(),
            Some(Timestamp::from_micros(1_800_000_300_250_000))
        );
    }

    #[test]
    fn times_are_compared_with_leeway() {
        // The leeway of an access token is two seconds.
        assert!(changed("exp", json!(1_799_999_999)).is_ok());
        assert_eq!(
            changed("exp", json!(1_799_999_998)).err(),
            Some(VerifyError::Expired)
        );
        assert!(changed("nbf", json!(1_800_000_002)).is_ok());
        assert_eq!(
            changed("nbf", json!(1_800_000_003)).err(),
            Some(VerifyError::NotYetValid)
        );
        assert!(changed("iat", json!(1_800_000_002)).is_ok());
        assert_eq!(
            changed("iat", json!(1_800_000_003)).err(),
            Some(VerifyError::IssuedInFuture)
        );
    }

    #[test]
    fn issuer_must_match_byte_for_byte() {
        for issuer in [
            "https://as.example/",
            "https://AS.example",
            "https://evil.example",
        ] {
            assert_eq!(
                changed("iss", json!(issuer)).err(),
                Some(VerifyError::IssuerMismatch)
            );
        }
    }

    #[test]
    fn audience_must_name_us() {
        assert!(changed("aud", json!(["x", AUDIENCE])).is_ok());
        for audience in [json!("https://rs.example"), json!([]), json!(["x"]), json!("")] {
            let error = changed("aud", audience.clone()).err();
            assert!(
                matches!(
                    error,
                    Some(VerifyError::AudienceMismatch | VerifyError::ClaimEmpty("aud"))
                ),
                "{audience}"
            );
        }
        for audience in [
            json!(1),
            json!({"a": AUDIENCE}),
            json!([AUDIENCE, 1]),
            json!(true),
        ] {
            assert_eq!(
                changed("aud", audience).err(),
                Some(VerifyError::AudienceMalformed)
            );
        }
    }

    #[test]
    fn token_of_another_type_is_refused() {
        let profile = Profile::access_token(ISSUER, AUDIENCE);
        for typ in [None, Some("JWT"), Some("dpop+jwt"), Some("logout+jwt")] {
            assert_eq!(
                check(typ, &good(), &profile).err(),
                Some(VerifyError::TypeNotAllowed),
                "{typ:?}"
            );
        }
        assert!(check(Some("application/at+jwt"), &good(), &profile).is_ok());
    }

    #[test]
    fn algorithm_outside_the_profile_is_refused() {
        let profile = Profile::access_token(ISSUER, AUDIENCE).with_algorithms(&[Algorithm::Es256]);
        let error = check(Some("at+jwt"), &good(), &profile).err();
        assert_eq!(error, Some(VerifyError::AlgorithmNotAllowed(Algorithm::EdDsa)));
    }

    fn assertion(audience: &Value, exp: i64) -> Value {
        json!({"iss": "cli_1", "sub": "cli_1", "aud": audience, "jti": "j", "exp": exp})
    }

    #[test]
    fn client_assertion_audience_is_our_issuer_as_one_string() {
        let profile = Profile::client_assertion("cli_1", ISSUER);
        let error = |audience: Value| check(None, &assertion(&audience, 1_800_000_060), &profile).err();
        assert_eq!(error(json!(ISSUER)), None);
        assert_eq!(error(json!([ISSUER])), Some(VerifyError::AudienceNotString));
        assert_eq!(error(json!([ISSUER, "x"])), Some(VerifyError::AudienceNotString));
        assert_eq!(
            error(json!("https://as.example/token")),
            Some(VerifyError::AudienceMismatch)
        );
    }

    #[test]
    fn client_assertion_is_by_and_about_the_client_and_short() {
        let claims = assertion(&json!(ISSUER), 1_800_000_060);
        let error = |client, claims: &Value| {
            check(
                Some("client-authentication+jwt"),
                claims,
                &Profile::client_assertion(client, ISSUER),
            )
            .err()
        };
        assert_eq!(error("cli_1", &claims), None);
        assert_eq!(error("cli_2", &claims), Some(VerifyError::IssuerMismatch));
        let mut other = claims.clone();
        other["sub"] = json!("cli_2");
        assert_eq!(error("cli_1", &other), Some(VerifyError::SubjectMismatch));
        let long = assertion(&json!(ISSUER), 1_800_003_611);
        assert_eq!(error("cli_1", &long), Some(VerifyError::LifetimeTooLong));
    }

    #[test]
    fn id_token_profile_refuses_access_and_logout_tokens() {
        let audiences = [String::from("x"), String::from(AUDIENCE)];
        let profile = Profile::id_token(ISSUER, &audiences);
        assert!(check(None, &good(), &profile).is_ok() && check(Some("JWT"), &good(), &profile).is_ok());
        assert_eq!(
            check(Some("at+jwt"), &good(), &profile).err(),
            Some(VerifyError::TypeNotAllowed)
        );
        let mut logout = good();
        logout["events"] = json!({});
        assert_eq!(
            check(Some("JWT"), &logout, &profile).err(),
            Some(VerifyError::ClaimForbidden("events"))
        );
        assert!(
            check(
                Some("at+jwt"),
                &good(),
                &Profile::issuer_access_token(ISSUER, &audiences)
            )
            .is_ok()
        );
    }

    #[test]
    fn runtime_token_is_bounded_by_the_age_of_its_binding() {
        let audiences = [AUDIENCE.to_owned()];
        let profile = Profile::runtime_token(ISSUER, &audiences)
            .with_max_age(chancery_core::time::Ttl::from_seconds(60));
        let mut claims = good();
        claims["iat"] = json!(1_799_999_930);
        assert!(check(None, &claims, &profile).is_ok());
        claims["iat"] = json!(1_799_999_929);
        assert_eq!(check(None, &claims, &profile).err(), Some(VerifyError::TooOld));
    }

    #[test]
    fn jwt_svid_needs_the_trust_domain_our_audience_alone_and_no_eddsa() {
        let strict = Profile::jwt_svid("prod.example", ISSUER);
        let profile = strict.with_algorithms(Algorithm::ALL);
        let svid = |sub: &str, aud: Value| json!({"sub": sub, "aud": aud, "exp": 1_800_000_300});
        let error = |sub, aud| check(Some("JOSE"), &svid(sub, aud), &profile).err();

        assert_eq!(error("spiffe://prod.example/api", json!([ISSUER])), None);
        assert_eq!(
            error("spiffe://prod.example/api", json!([ISSUER, "x"])),
            Some(VerifyError::AudienceNotSole)
        );
        for sub in [
            "spiffe://prod.example.evil/api",
            "spiffe://prod.example",
            "spiffe://prod.example/",
            "x",
        ] {
            assert_eq!(
                error(sub, json!(ISSUER)),
                Some(VerifyError::SubjectOutsideTrustDomain),
                "{sub}"
            );
        }
        let eddsa = check(None, &svid("spiffe://prod.example/api", json!(ISSUER)), &strict).err();
        assert_eq!(eddsa, Some(VerifyError::AlgorithmNotAllowed(Algorithm::EdDsa)));
    }
}
