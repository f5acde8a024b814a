//! ID tokens: who signed in, told to the client that asked (OpenID Connect Core §2, §3.1.3.6). Signed for a mandate and
//! not for a permit: it carries no authority.

use crate::error::Failure;
use crate::issue::agreement::Redeemed;
use crate::keys::Mandate;
use crate::setup::sha256;
use crate::tenants::Served;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery_core::proposal::Subject;
use chancery_core::time::{Timestamp, Ttl};
use serde::Serialize;

#[derive(Serialize)]
struct IdTokenClaims<'a> {
    iss: &'a str,
    sub: String,
    aud: &'a str,
    exp: i64,
    iat: i64,
    auth_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    amr: &'a [String],
    at_hash: String,
    sid: String,
}

/// The ID token that goes with an access token, if one was asked for.
///
/// # Errors
/// No key signs.
pub(super) fn sign(
    served: &Served,
    redeemed: &Redeemed,
    (subject, access_token): (Subject, &str),
    now: Timestamp,
) -> Result<Option<String>, Failure> {
    let Some(client_id) = &redeemed.id_token_for else {
        return Ok(None);
    };
    let spec = &redeemed.family.spec;
    let claims = IdTokenClaims {
        iss: &served.tenant.spec.base_url,
        sub: subject.to_string(),
        aud: client_id,
        exp: now.plus(LIFETIME).as_seconds(),
        iat: now.as_seconds(),
        auth_time: spec.authenticated_at.as_seconds(),
        nonce: redeemed.nonce.as_deref(),
        acr: spec.acr.as_deref(),
        amr: &spec.amr,
        at_hash: half_digest(access_token),
        sid: spec.session.to_string(),
    };
    served.keys.sign_for(Mandate::IdToken, &claims).map(Some)
}

/// The left half of the digest (OpenID Connect Core §3.1.3.6).
fn half_digest(token: &str) -> String {
    let digest = sha256(token.as_bytes());
    let (half, _) = digest.split_at(16);
    URL_SAFE_NO_PAD.encode(half)
}

const LIFETIME: Ttl = Ttl::from_minutes(10);
