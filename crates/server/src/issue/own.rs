//! Our own access tokens: verified by signature, type, issuer and time, not revoked, and everything that they
//! hang on still current.

use crate::app::App;
use crate::directory::lineage;
use crate::error::Failure;
use crate::tenants::Served;
use aws_lc_rs::digest;
use chancery_core::id::Id as _;
use chancery_core::lineage::Guard;
use chancery_core::time::Timestamp;
use chancery_oauth::claims::{OwnToken, own_token_profile};
use chancery_oauth::jose::{self, UnverifiedJwt};
use quick_cache::sync::Cache;
use std::sync::Arc;

/// A token of ours in force, and the rows that say so.
#[derive(Debug)]
pub struct OwnInForce {
    /// The token.
    pub token: Arc<OwnToken>,
    /// Its lineage at the versions at which it was found current.
    pub guards: Vec<Guard>,
}

/// Tokens whose signature and claims were verified before: a token is used many times, and each check of a
/// signature costs more than everything else about it. Whether it is revoked, expired or fallen with what it
/// hangs on is asked anew each time.
#[derive(Debug)]
pub struct Verified(Cache<[u8; 32], Arc<OwnToken>>);

impl Default for Verified {
    fn default() -> Self {
        Self(Cache::new(MAX_VERIFIED))
    }
}

/// Reads one of our own tokens. `None` if it is anything else, or no longer in force.
///
/// # Errors
/// The database's.
pub async fn in_force(
    app: &App,
    served: &Served,
    text: &str,
    now: Timestamp,
) -> Result<Option<OwnInForce>, Failure> {
    let Some(token) = verify(app, served, text, now) else {
        return Ok(None);
    };
    still_in_force(app, served, token, now).await
}

/// Whether a token that was verified before is still in force.
///
/// # Errors
/// The database's.
pub async fn still_in_force(
    app: &App,
    served: &Served,
    token: Arc<OwnToken>,
    now: Timestamp,
) -> Result<Option<OwnInForce>, Failure> {
    if !token.is_of(now) || app.directory.is_revoked(served.tenant.id, token.id)? {
        return Ok(None);
    }
    let guards = lineage::check(app, served.tenant.id, &token.lineage).await?;
    Ok(guards.map(|guards| OwnInForce { token, guards }))
}

/// Verifies one of our own tokens without asking whether it is still in force.
pub fn verify(app: &App, served: &Served, text: &str, now: Timestamp) -> Option<Arc<OwnToken>> {
    let key = key(served, text);
    if let Some(token) = app.verified.0.get(&key) {
        return token.is_of(now).then_some(token);
    }
    let jwt = UnverifiedJwt::parse(text).ok()?;
    let profile = own_token_profile(&served.tenant.spec.base_url);
    let claims = jose::verify(&jwt, &profile, served.keys.access_tokens(), now).ok()?;
    let token = Arc::new(OwnToken::read(&claims)?);
    app.verified.0.insert(key, token.clone());
    Some(token)
}

/// SECURITY: the whole token, the tenant that it was presented to, and the keys that proved it. A signature that
/// differs by a bit, another tenant, or a key that is withdrawn makes another key, and the token is verified.
fn key(served: &Served, text: &str) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(served.tenant.id.as_bytes());
    context.update(served.keys.published_digest());
    context.update(text.as_bytes());
    let mut key = [0; 32];
    key.copy_from_slice(context.finish().as_ref());
    key
}

const MAX_VERIFIED: usize = 16_384;
