//! Our own access tokens: verified by signature, type, issuer and time, not revoked, and everything that they
//! hang on still current.

use crate::app::App;
use crate::directory::lineage;
use crate::error::Failure;
use crate::tenants::Served;
use chancery_core::lineage::Guard;
use chancery_core::time::Timestamp;
use chancery_oauth::claims::{OwnToken, own_token_profile};
use chancery_oauth::jose::{self, UnverifiedJwt};

/// A token of ours in force, and the rows that say so.
#[derive(Debug)]
pub struct OwnInForce {
    /// The token.
    pub token: OwnToken,
    /// Its lineage at the versions at which it was found current.
    pub guards: Vec<Guard>,
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
    let Some(token) = verify(served, text, now) else {
        return Ok(None);
    };
    if app.directory.is_revoked(served.tenant.id, token.id)? {
        return Ok(None);
    }
    let guards = lineage::check(app, served.tenant.id, &token.lineage).await?;
    Ok(guards.map(|guards| OwnInForce { token, guards }))
}

/// Verifies one of our own tokens without asking whether it is still in force.
pub fn verify(served: &Served, text: &str, now: Timestamp) -> Option<OwnToken> {
    let jwt = UnverifiedJwt::parse(text).ok()?;
    let profile = own_token_profile(&served.tenant.spec.base_url);
    let claims = jose::verify(&jwt, &profile, served.keys.published(), now).ok()?;
    OwnToken::read(&claims)
}
