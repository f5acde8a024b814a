//! Tokens from outside: nothing verifies but what was signed with the keys in `keys/`, whose private halves
//! nobody has any more.

use chancery_core::time::{Timestamp, Ttl};
use chancery_oauth::claims::{OwnToken, own_token_profile};
use chancery_oauth::jose::{
    AudienceRule, IssuerRule, JwkSet, JwkSetLimits, Profile, TypeRule, UnverifiedJwt, verify,
};
use std::sync::LazyLock;

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(jwt) = UnverifiedJwt::parse(text) else {
        return;
    };
    assert!(text.len() <= UnverifiedJwt::MAX_BYTES);
    let claims = jwt.unverified_claims();
    let _ = jwt.danger_embedded_key();

    let audiences = [AUDIENCE.to_owned()];
    for profile in profiles(&audiences) {
        let Ok(verified) = verify(&jwt, &profile, &*KEYS, NOW) else {
            continue;
        };
        let signed = text.rsplit_once('.').map(|(signed, _)| signed);
        assert!(
            SIGNED
                .lines()
                .any(|token| token.rsplit_once('.').map(|(signed, _)| signed) == signed),
            "a forged token: {text}"
        );
        let claims = claims.as_ref().expect("verified claims are readable");
        assert_eq!(verified.subject(), claims.unverified_subject());
        let _ = OwnToken::read(&verified);
    }
}

/// Every kind of token, as the server asks for them.
pub(crate) fn profiles(audiences: &[String]) -> [Profile<'_>; 9] {
    [
        Profile::access_token(ISSUER, AUDIENCE),
        own_token_profile(ISSUER),
        Profile::client_assertion("cli_00000000000000000000000000", ISSUER),
        Profile::id_token(ISSUER, audiences),
        Profile::issuer_access_token(ISSUER, audiences),
        Profile::runtime_token(ISSUER, audiences),
        Profile::jwt_svid("example.org", ISSUER),
        Profile::id_jag(ISSUER, AUDIENCE),
        Profile::new(
            TypeRule::AbsentOr(&["JWT", "at+jwt"]),
            IssuerRule::Unchecked,
            AudienceRule::Unchecked,
        )
        .with_max_age(Ttl::from_days(1)),
    ]
}

pub const ISSUER: &str = "https://id.example";
pub const AUDIENCE: &str = "https://notes.example";
pub const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

static KEYS: LazyLock<JwkSet> = LazyLock::new(|| {
    JwkSet::parse(include_bytes!("../keys/jwks.json"), JwkSetLimits::default()).expect("our own keys")
});

/// Every token that was ever signed with these keys, one a line.
const SIGNED: &str = include_str!("../keys/signed.txt");
