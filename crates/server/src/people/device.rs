//! Device authorization (RFC 8628): a device or a command without a browser asks, and a person answers at their own. The
//! person types the code that the device shows, even where a link carries it (§3.3.1), and is then asked as by any
//! other client, told which client it is and from where and when it asked (§5.4).
//!
//! Only a client that is registered for it by name may: whoever knows the `client_id` of a public client could else make
//! people answer in its name.

use super::built_in;
use super::pending::{self, AnswerTo, AskedFor, DeviceAsks, Pending};
use super::session::SignedIn;
use crate::app::App;
use crate::error::Failure;
use crate::issue::arrival::{Arrival, Source};
use crate::issue::token::consume;
use crate::issue::{authenticate, details, target};
use crate::people::code::digest;
use crate::tenants::Served;
use chancery_core::client::ClientGrant;
use chancery_core::id::{AuthorizationRequestId, Id as _, TokenFamilyId};
use chancery_core::secret::{Secret, generate};
use chancery_core::time::{Timestamp, Ttl};
use chancery_oauth::authentication::AuthenticatedClient;
use chancery_oauth::error::{ErrorCode, OAuthError};
use chancery_oauth::grant::Target;
use chancery_oauth::request::device::DeviceAuthorizationRequest;
use chancery_oauth::request::token::TargetRequest;
use chancery_oauth::user_code::UserCode;
use chancery_store::device_code::{self as store, NewDeviceCode};
use chancery_store::{Outcome, Statement, consumed};
use serde::{Deserialize, Serialize};

/// What a device is told (§3.2).
#[derive(Debug)]
pub struct Begun {
    /// What it polls with.
    pub device_code: Secret<String>,
    /// What it shows.
    pub user_code: UserCode,
    /// How long both are good.
    pub lasts: Ttl,
    /// How long it waits between two polls.
    pub interval: Ttl,
}

/// What a device asked for, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    client_id: String,
    asked: AskedFor,
    asked_at: Timestamp,
    source: String,
}

/// Begins an authorization for a device.
///
/// # Errors
/// The error of RFC 8628 §3.2 or RFC 6749 §5.2, or why this node cannot answer.
pub async fn begin(
    app: &App,
    served: &Served,
    request: &DeviceAuthorizationRequest,
    source: Source,
) -> Result<Begun, Failure> {
    let now = app.serving_now()?;
    let arrival = Arrival { now, source };
    let tenant = served.tenant.id;

    // 1. Who asks.
    built_in::ensure(app, served, &request.client, now).await?;
    let client = &authenticate::client(app, served, &request.client, arrival).await?;
    if !client
        .client()
        .spec
        .grant_types
        .contains(&ClientGrant::DeviceCode)
    {
        return Err(OAuthError::unauthorized_client().into());
    }
    app.limits
        .token((tenant, client.agent().id, client.client().id), now)?;
    app.limits.device(tenant, arrival)?;

    // 2. What is asked. A person is only bothered with what there is.
    let asked = AskedFor {
        scope: request.scope.clone(),
        identity: request.identity.clone(),
        resource: request.resource.clone(),
        details: request.details.clone(),
    };
    check(app, served, client, &asked).await?;
    let kept = serde_json::to_string(&Kept {
        client_id: authenticate::named(&request.client, client),
        asked,
        asked_at: now,
        source: source.to_string(),
    });
    let kept = kept.map_err(Failure::internal)?;

    // 3. Keep it.
    for _ in 0..TRIES {
        let begun = Begun {
            device_code: generate(PREFIX, &*app.random),
            user_code: UserCode::generate(&*app.random),
            lasts: LIFETIME,
            interval: INTERVAL,
        };
        if commit(app, served, client, (&begun, &kept), arrival).await? {
            return Ok(begun);
        }
    }
    Err(Failure::Stale("no user code is free just now"))
}

/// Whether the resource, the scopes and the authorization details that are named there are known.
async fn check(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    asked: &AskedFor,
) -> Result<(), Failure> {
    let wanted = asked.resource.as_ref().map_or(TargetRequest::Chancery, |uri| {
        TargetRequest::Resource(uri.clone())
    });
    let target = target::find(app, served.tenant.id, &wanted).await?;
    if let Some(wanted) = &asked.details {
        details::asked(&target, client.client(), wanted)?;
    }
    if asked.resource.is_none() {
        return Ok(());
    }
    let words = asked.scope.as_deref().unwrap_or_default().split(' ');
    let is_known = |word: &str| match (&target, word.parse()) {
        (Target::Resource(resource), Ok(scope)) => resource.spec.scopes.contains_key(&scope),
        (Target::Resource(_) | Target::Chancery | Target::Handover(_), _) => false,
    };
    if words.filter(|word| !word.is_empty()).all(is_known) {
        return Ok(());
    }
    Err(OAuthError::new(ErrorCode::InvalidScope, "a scope is not known at this resource").into())
}

/// Whether the codes were free, and are kept.
async fn commit(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    (begun, kept): (&Begun, &str),
    arrival: Arrival,
) -> Result<bool, Failure> {
    let (tenant, now) = (served.tenant.id, arrival.now);
    let new = NewDeviceCode {
        id: AuthorizationRequestId::generate(now, &*app.random),
        digest: digest(begun.device_code.expose_secret()),
        user_code: &keyed(served, &begun.user_code),
        client: client.client().id,
        request: kept,
        poll_interval: begun.interval,
        expires_at: now.plus(begun.lasts),
    };
    let single_use = client.single_use().map(|single_use| consume(tenant, single_use));
    let batch = app
        .batch(now)
        .extend(single_use)
        .push(store::insert(tenant, &new));
    match app.commit(batch, &[]).await? {
        Outcome::Committed => Ok(true),
        Outcome::Refused {
            label: consumed::REPLAYED,
            ..
        } => Err(authenticate::replayed(app, served, client, arrival).await?.into()),
        Outcome::Refused { .. } => Ok(false),
    }
}

/// Takes the code that a person types, and keeps what its device asks until they answer, in their session. `None` for a
/// code that nothing waits under.
///
/// # Errors
/// Too many codes were tried; the database's.
pub async fn enter(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    typed: &str,
    arrival: Arrival,
) -> Result<Option<AuthorizationRequestId>, Failure> {
    let (tenant, now) = (served.tenant.id, arrival.now);
    // SECURITY: counted before anything is looked up, right or wrong: a code is short.
    app.limits.user_code((tenant, signed_in.session.id), arrival)?;
    let Some(code) = UserCode::parse(typed) else {
        return Ok(None);
    };
    let stored = store::find_waiting(&app.db, tenant, &keyed(served, &code), now).await?;
    let Some(stored) = stored else {
        return Ok(None);
    };
    let kept: Kept = serde_json::from_str(&stored.request).map_err(Failure::internal)?;
    let pending = Pending {
        client_id: kept.client_id,
        asked: kept.asked,
        answer: AnswerTo::Device(DeviceAsks {
            id: stored.id,
            user_code: code.to_string(),
            asked_at: kept.asked_at,
            source: kept.source,
        }),
    };
    pending::wait(app, served, signed_in, &pending, now)
        .await
        .map(Some)
}

/// What lets the device redeem its code.
pub(super) fn agreed(
    served: &Served,
    asks: &DeviceAsks,
    agreed: (TokenFamilyId, &str),
    now: Timestamp,
) -> Statement {
    store::agree(served.tenant.id, asks.id, agreed, now)
}

/// What tells the device of a no.
pub(super) fn denied(served: &Served, asks: &DeviceAsks, now: Timestamp) -> Statement {
    store::deny(served.tenant.id, asks.id, now)
}

/// What is kept of a user code. SECURITY: so short a text could be found from a digest that needs no key.
fn keyed(served: &Served, code: &UserCode) -> Vec<u8> {
    let message = [b"user code ".as_slice(), code.letters().as_bytes()].concat();
    served.keys.page_tag(&message)
}

/// Where a person goes who said yes.
pub const ALLOWED_PATH: &str = "/device/allowed";
/// Where a person goes who said no.
pub const DENIED_PATH: &str = "/device/denied";
const LIFETIME: Ttl = Ttl::from_minutes(10);
const INTERVAL: Ttl = Ttl::from_seconds(5);
/// How often codes are made anew that somebody else has.
const TRIES: usize = 3;
const PREFIX: &str = "cdc_";
