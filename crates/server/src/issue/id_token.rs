//! ID tokens: who signed in, told to the client that asked (OpenID Connect Core §2, §3.1.3.6). Signed for a mandate and
//! not for a permit: it carries no authority.

use crate::error::Failure;
use crate::issue::agreement::Redeemed;
use crate::keys::{Mandate, PUBLISH_AFTER};
use crate::setup::sha256;
use crate::tenants::Served;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery_core::id::UserId;
use chancery_core::proposal::Subject;
use chancery_core::secret::Secret;
use chancery_core::time::{Timestamp, Ttl};
use chancery_core::token_family::TokenFamily;
use chancery_oauth::jose::{self, Algorithm, AudienceRule, IssuerRule, Profile, TypeRule, UnverifiedJwt};
use serde::Serialize;

#[derive(Serialize)]
struct IdTokenClaims<'a> {
    iss: &'a str,
    sub: String,
    aud: &'a str,
    exp: i64,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    amr: &'a [String],
    at_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
}

/// What an ID token says besides who it is.
#[derive(Debug)]
pub(super) struct IdTokenFor<'a> {
    client_id: &'a str,
    nonce: Option<&'a str>,
    /// The family of what the person agreed to in a session.
    family: Option<&'a TokenFamily>,
}

impl<'a> IdTokenFor<'a> {
    /// For a client that people sign in to, if it is to get one.
    pub(super) fn agreed(redeemed: &'a Redeemed) -> Option<Self> {
        Some(Self {
            client_id: redeemed.id_token_for.as_deref()?,
            nonce: redeemed.nonce.as_deref(),
            family: Some(&redeemed.family),
        })
    }

    /// For a client whose request a person answered elsewhere (CIBA §10.1.1): it knows of no session of theirs.
    pub(super) const fn answered(client_id: &'a str) -> Self {
        Self {
            client_id,
            nonce: None,
            family: None,
        }
    }
}

/// The ID token that goes with an access token.
///
/// # Errors
/// No key signs.
pub(super) fn sign(
    served: &Served,
    wanted: &IdTokenFor<'_>,
    (subject, access_token): (Subject, &str),
    now: Timestamp,
) -> Result<String, Failure> {
    let spec = wanted.family.map(|family| &family.spec);
    let claims = IdTokenClaims {
        iss: &served.tenant.spec.base_url,
        sub: subject.to_string(),
        aud: wanted.client_id,
        exp: now.plus(LIFETIME).as_seconds(),
        iat: now.as_seconds(),
        auth_time: spec.map(|spec| spec.authenticated_at.as_seconds()),
        nonce: wanted.nonce,
        acr: spec.and_then(|spec| spec.acr.as_deref()),
        amr: spec.map(|spec| spec.amr.as_slice()).unwrap_or_default(),
        at_hash: half_digest(access_token),
        sid: spec.map(|spec| spec.session.to_string()),
    };
    served.keys.sign_for(Mandate::IdToken, &claims)
}

/// The user whom an ID token of ours names, if it was made for the client that shows it, and though it be over (CIBA §7.1,
/// `id_token_hint`). What names the key is published for so long.
pub fn hinted(
    served: &Served,
    hint: &Secret<String>,
    is_for: impl Fn(&str) -> bool,
    now: Timestamp,
) -> Option<UserId> {
    let jwt = UnverifiedJwt::parse(hint.expose_secret()).ok()?;
    let issuer = served.tenant.spec.base_url.as_str();
    let profile = Profile::new(
        TypeRule::Exactly(&["JWT"]),
        IssuerRule::Exactly(issuer),
        AudienceRule::Unchecked,
    )
    .with_algorithms(&[Algorithm::Rs256])
    .with_required(&["iss", "sub", "aud", "exp", "iat", "at_hash"])
    .with_leeway(PUBLISH_AFTER);
    let claims = jose::verify(&jwt, &profile, served.keys.published(), now).ok()?;
    let is_ours = claims.string("aud").is_some_and(is_for);
    claims.subject().filter(|_| is_ours)?.parse().ok()
}

/// The left half of the digest (OpenID Connect Core §3.1.3.6).
fn half_digest(token: &str) -> String {
    let digest = sha256(token.as_bytes());
    let (half, _) = digest.split_at(16);
    URL_SAFE_NO_PAD.encode(half)
}

const LIFETIME: Ttl = Ttl::from_minutes(10);
