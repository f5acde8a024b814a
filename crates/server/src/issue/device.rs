//! A device that polls for its token (RFC 8628 §3.4, §3.5). Only the client that asked can poll; a yes is redeemed once,
//! and a second use ends what was issued on it, as with an authorization code.

use super::agreement::Redeemed;
use super::agreement::begin;
use super::reuse::again;
use crate::app::App;
use crate::error::Failure;
use crate::people::code::digest;
use crate::tenants::Served;
use chancery_core::lineage::Guard;
use chancery_core::secret::Secret;
use chancery_core::time::{Timestamp, Ttl};
use chancery_oauth::authentication::AuthenticatedClient;
use chancery_oauth::error::{ErrorCode, OAuthError};
use chancery_store::device_code::{self as store, DeviceAnswer, StoredDeviceCode};

/// Redeems a device code, if the person said yes.
///
/// # Errors
/// The errors of RFC 8628 §3.5; `invalid_grant` for a code that is not this client's.
pub(super) async fn by_code(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    code: &Secret<String>,
    now: Timestamp,
) -> Result<(Redeemed, Vec<Guard>), Failure> {
    let tenant = served.tenant.id;
    let stored = store::find(&app.db, tenant, &digest(code.expose_secret())).await?;
    // SECURITY: another client's code is as unknown as one that never was, and another client cannot spend it.
    let stored = stored
        .filter(|stored| stored.client == client.client().id)
        .ok_or(UNKNOWN)?;
    let (family, content) = match &stored.answer {
        DeviceAnswer::Agreed { family, .. } if stored.is_redeemed => {
            return again(app, served, client, *family, now).await;
        }
        DeviceAnswer::Denied => return Err(DENIED.into()),
        DeviceAnswer::None | DeviceAnswer::Agreed { .. } if now >= stored.expires_at => {
            return Err(EXPIRED.into());
        }
        DeviceAnswer::None => return wait(app, served, &stored, now).await,
        DeviceAnswer::Agreed { family, content } => (*family, content),
    };
    let content = serde_json::from_str(content).map_err(Failure::internal)?;
    let spend = store::redeem(tenant, stored.id, now);
    begin(app, served, client, (family, content), spend, now).await
}

/// Nobody has answered yet. Whoever polls too soon waits longer from then on.
async fn wait<T>(
    app: &App,
    served: &Served,
    stored: &StoredDeviceCode,
    now: Timestamp,
) -> Result<T, Failure> {
    let waited = stored.polled_at.map(|polled| now.since(polled));
    let is_early = waited.is_some_and(|waited| waited < stored.poll_interval);
    let seconds = stored.poll_interval.as_seconds() + if is_early { SLOWER } else { 0 };
    let interval = Ttl::from_seconds(seconds);
    let noted = store::note_poll(served.tenant.id, stored.id, now, interval);
    let _ = app.commit(app.batch(now).push(noted), &[]).await?;
    Err(if is_early { SLOW_DOWN } else { PENDING }.into())
}

const UNKNOWN: OAuthError = OAuthError::new(
    ErrorCode::InvalidGrant,
    "this device_code is not known, or not this client's",
);
const DENIED: OAuthError = OAuthError::new(ErrorCode::AccessDenied, "the person said no");
const EXPIRED: OAuthError = OAuthError::new(ErrorCode::ExpiredToken, "the device_code is over; ask again");
const PENDING: OAuthError = OAuthError::new(
    ErrorCode::AuthorizationPending,
    "nobody has answered yet; ask again later",
);
const SLOW_DOWN: OAuthError = OAuthError::new(
    ErrorCode::SlowDown,
    "nobody has answered yet; wait five seconds more between two requests from now on",
);
/// By how many seconds whoever polls too soon must slow down (§3.5).
const SLOWER: u64 = 5;
