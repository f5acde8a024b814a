//! Managing a registration (RFC 7592): reading, replacing and deleting it, with the token that was shown once. A
//! token of another client, an unknown client and a deleted one look the same.

use super::register::{BAD_TOKEN, Registered};
use super::{digest_of, ruling, taking_in};
use crate::app::App;
use crate::directory::change::{self, Work};
use crate::error::{Failure, Refusal};
use crate::tenants::Served;
use chancery_core::client::{Client, ClientSpec, Provenance};
use chancery_core::event::Change;
use chancery_core::id::ClientId;
use chancery_core::noun::{Lifecycle, Noun, Record, Spec as _};
use chancery_core::registration::RegistrationWay;
use chancery_core::time::Timestamp;
use chancery_oauth::error::{ErrorCode, OAuthError};
use chancery_oauth::registration::RegistrationError;
use chancery_oauth::registration::document::{Drift, drift};
use chancery_oauth::registration::metadata::ClientMetadata;
use chancery_oauth::registration::rule::Ruling;
use chancery_store::record;
use serde_json::{Map, Value};

/// What is registered.
///
/// # Errors
/// `invalid_token`, whatever is wrong.
pub async fn read(app: &App, served: &Served, client: &str, bearer: &str) -> Result<Registered, Failure> {
    app.serving_now()?;
    let client = own(app, served, client, bearer).await?;
    Ok(shown(client))
}

/// Replaces what is registered. A client that belongs to an agent cannot widen what it asks for, and goes to
/// quarantine if answers would go to a host that nobody has seen.
///
/// # Errors
/// `invalid_token`; the standard's error for what it says.
pub async fn update(
    app: &App,
    served: &Served,
    (client, bearer): (&str, &str),
    mut members: Map<String, Value>,
) -> Result<Registered, Failure> {
    let now = app.serving_now()?;
    let old = own(app, served, client, bearer).await?;
    check_sent(app, served, &old, &mut members, now).await?;
    let metadata = ClientMetadata::parse(&members, old.spec.method).map_err(RegistrationError::to_wire)?;
    let seen = ClientSpec {
        agent: old.spec.agent.clone(),
        ..metadata.to_spec(Provenance::Registered)
    };
    let state = state_after(app, served, &old, &seen).await?;
    if seen == old.spec {
        return Ok(shown(old));
    }
    seen.check(&old.name).map_err(|error| Refusal::spec(&error))?;

    let change = if state == old.state {
        Change::Updated
    } else {
        Change::Suspended
    };
    let generation = old.generation + u64::from(old.spec.stands_otherwise(&seen));
    let client = Record {
        state,
        generation,
        version: old.version + 1,
        updated_at: now,
        spec: seen,
        ..old
    };
    let caller = taking_in(now);
    let statement = record::update(served.tenant.id, &client);
    let work = change::recorded(app, served, &caller, &client, (change, statement))?;
    change::commit(app, &caller, work).await?;
    Ok(shown(client))
}

/// Ends a registration for good: everything issued on the client ends with it, and its id is never free again.
///
/// # Errors
/// `invalid_token`, whatever is wrong.
pub async fn delete(app: &App, served: &Served, client: &str, bearer: &str) -> Result<(), Failure> {
    let now = app.serving_now()?;
    let client = own(app, served, client, bearer).await?;
    retire(app, served, client, now).await
}

/// Ends a client that made itself known, whoever asked for it.
pub(super) async fn retire(
    app: &App,
    served: &Served,
    client: Client,
    now: Timestamp,
) -> Result<(), Failure> {
    let tenant = served.tenant.id;
    let client = Record {
        state: Lifecycle::Retired,
        generation: client.generation + 1,
        version: client.version + 1,
        updated_at: now,
        ..client
    };
    let caller = taking_in(now);
    let statement = record::update(tenant, &client);
    let mut work = change::recorded(app, served, &caller, &client, (Change::Retired, statement))?;
    let ended = vec![
        chancery_store::retire_secrets(tenant, client.id, now),
        chancery_store::settle_registration(tenant, client.id),
    ];
    work.extend(Work::on((Noun::Client, &client.name), ended, Vec::new()));
    change::commit(app, &caller, work).await
}

/// The client that a token manages.
async fn own(app: &App, served: &Served, client: &str, bearer: &str) -> Result<Client, Failure> {
    let tenant = served.tenant.id;
    let id: ClientId = client.parse().map_err(|_| BAD_TOKEN)?;
    let registration = chancery_store::find_registration(&app.db, tenant, id).await?;
    let digest = registration.and_then(|registration| registration.digest);
    if digest != Some(digest_of(bearer)) {
        return Err(BAD_TOKEN.into());
    }
    let client = record::find_by_id::<ClientSpec>(&app.db, tenant, id).await?;
    let client = client.filter(|client| client.state != Lifecycle::Retired);
    client.ok_or_else(|| BAD_TOKEN.into())
}

/// What a client must repeat, and must not (RFC 7592 §2.2).
async fn check_sent(
    app: &App,
    served: &Served,
    old: &Client,
    members: &mut Map<String, Value>,
    now: Timestamp,
) -> Result<(), Failure> {
    let refused = |text| Failure::from(OAuthError::new(ErrorCode::InvalidClientMetadata, text));
    if members.get("client_id").and_then(Value::as_str) != Some(old.id.to_string().as_str()) {
        return Err(refused("client_id is repeated as it was given"));
    }
    let ours = [
        "registration_access_token",
        "registration_client_uri",
        "client_secret_expires_at",
        "client_id_issued_at",
    ];
    if ours.iter().any(|field| members.contains_key(*field)) {
        return Err(refused(
            "registration_access_token, registration_client_uri, client_secret_expires_at and client_id_issued_at \
             are not sent",
        ));
    }
    let Some(secret) = members.remove("client_secret") else {
        return Ok(());
    };
    let stored = app.directory.secrets_of(served.tenant.id, old, now).await?;
    let sent = secret.as_str().map(digest_of);
    if stored.iter().any(|stored| Some(&stored.digest) == sent.as_ref()) {
        return Ok(());
    }
    Err(refused("client_secret is the one that was given, or is not sent"))
}

/// Where a client stands once it says this of itself.
async fn state_after(
    app: &App,
    served: &Served,
    old: &Client,
    seen: &ClientSpec,
) -> Result<Lifecycle, Failure> {
    let refused = |text| Failure::from(OAuthError::new(ErrorCode::InvalidClientMetadata, text));
    if seen.method != old.spec.method {
        return Err(refused(
            "token_endpoint_auth_method does not change; register another client",
        ));
    }
    if old.spec.agent.is_none() {
        return Ok(old.state);
    }
    // SECURITY: what was adopted was looked at, or ruled on, as it was then.
    if seen.grant_types.iter().any(|grant| !old.spec.may_use(*grant)) {
        return Err(refused("grant_types are not widened; register another client"));
    }
    if drift(&old.spec, seen) != Drift::Quarantine {
        return Ok(old.state);
    }
    let ruling = ruling(app, served, RegistrationWay::Registered, seen).await?;
    match (&ruling, &old.spec.agent) {
        (Ruling::Adopt(agent), Some(own)) if agent == own => Ok(old.state),
        _ => Ok(Lifecycle::Suspended),
    }
}

fn shown(client: Client) -> Registered {
    Registered {
        client,
        secret: None,
        token: None,
    }
}
