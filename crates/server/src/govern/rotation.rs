//! Rotating the vault: a tenant's key with everything sealed under it, record by record in small batches, and the root
//! key over all tenants' keys. Every step replaces exactly what it read and is one batch, so that it may be interrupted
//! anywhere, and run again from wherever it stands. Nothing stops meanwhile: both keys open.

use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::error::{Failure, Refusal};
use crate::keys::{Mandate, Opening, RootKey, rewrap_tenant};
use crate::kms::Patience;
use crate::record as audit;
use crate::roots::{Root, Roots};
use crate::setup::SYSTEM_TENANT;
use crate::tenants::Served;
use chancery_core::actor::{Actor, SystemActor};
use chancery_core::event::{Event, EventKind, EventOutcome};
use chancery_core::id::{EventId, Id as _, TenantId};
use chancery_core::noun::Noun;
use chancery_core::time::{Timestamp, Ttl};
use chancery_policy::ManagementAction;
use chancery_store::change::{self as feed, Changed};
use chancery_store::{key as store_key, vault};
use chancery_vault::KeyService;
use serde::Serialize;
use std::sync::Arc;

/// How far a rotation is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The key that replaces the one before.
    pub key: String,
    /// Whether nothing is left to do.
    pub done: bool,
    /// How many records, or tenants' keys, were wrapped anew by this step.
    pub rewrapped: u64,
    /// How many are left.
    pub remaining: u64,
}

/// Begins a rotation of a tenant's key, or takes the one that runs a step further: one small batch. With the key of a
/// rotation it goes on with that one only, and begins none.
///
/// # Errors
/// Policy's refusal; another rotation than the named one; the database's.
pub async fn rotate(
    app: &App,
    served: &Served,
    caller: &Caller,
    key: Option<&str>,
) -> Result<Progress, Failure> {
    let subject = (Noun::Tenant, served.tenant.name.as_str(), None);
    change::permit(served, caller, ManagementAction::RotateKey, subject)?;
    let tenant = served.tenant.id;
    // The rotation may have been moved on by another node.
    app.tenants.reload_one(&app.db, tenant).await?;
    app.tenants.require_open(tenant)?;
    let served = load(app, tenant)?;
    let runs = served.keys.previous_key_id().is_some();
    let present = served.keys.tenant_key_id().to_string();
    match key {
        Some(key) if key != present => Err(Refusal::Invalid(format!(
            "the tenant's key is `{present}` and not `{key}`: another rotation began since"
        ))
        .into()),
        Some(_) if !runs => Ok(Progress::over(present)),
        Some(_) => step(app, &served, caller.now).await,
        None if runs => step(app, &served, caller.now).await,
        None => begin(app, &served, caller).await,
    }
}

/// Takes every rotation that was begun to its end. For a job: nobody may come back to finish one.
///
/// # Errors
/// The database's.
pub async fn finish_all(app: &App, now: Timestamp) -> Result<(), Failure> {
    for served in app.tenants.all() {
        let mut served = served;
        while served.keys.previous_key_id().is_some() {
            let progress = step(app, &served, now).await?;
            if progress.done || progress.rewrapped == 0 {
                break;
            }
            served = load(app, served.tenant.id)?;
        }
        if served.keys.row().former_mac.is_some() {
            let forget = vault::forget_former_mac(served.tenant.id, now.minus(KEEP_FORMER_MAC));
            let _ = app.db.commit(app.batch(now).push(forget)).await?;
        }
    }
    Ok(())
}

async fn begin(app: &App, served: &Served, caller: &Caller) -> Result<Progress, Failure> {
    let tenant = served.tenant.id;
    let roots = app.tenants.roots();
    let new = served.keys.new_tenant_key(roots.current(), &*app.random).await?;
    let renewed = roots.current().renewed(&*app.random).await?;
    let old = &served.keys.row().sealed;
    let statement = vault::begin(tenant, old, (&new.sealed, &new.former_mac), caller.now);
    let ids = vec![("tenant_key", new.id.to_string())];
    let event = event(
        app,
        tenant,
        EventKind::VaultRotationStarted,
        (&caller.actor, caller.now),
        ids,
    );
    let batch = app
        .batch(caller.now)
        // A root key that is being replaced is not brought back by a new tenant key.
        .guard(vault::assert_root(&roots.current().id().to_string()))
        .push(statement)
        .extend(renewed.iter().map(store_key::renew_root))
        .push(feed::insert_keys(tenant, caller.now))
        .push(audit::statement(served.keys.seal(), &event, &*app.random)?);
    let outcome = app.commit(batch, &[(tenant, Changed::Keys)]).await?;
    if !outcome.is_committed() {
        app.tenants.reload_one(&app.db, tenant).await?;
        return Err(Refusal::Conflict("the tenant's key".to_owned()).into());
    }
    let previous = served.keys.tenant_key_id();
    Ok(Progress {
        key: new.id.to_string(),
        done: false,
        rewrapped: 0,
        remaining: vault::count_under(&app.db, tenant, previous.as_bytes()).await?,
    })
}

/// Wraps one portion anew, or forgets the key before once nothing is under it.
async fn step(app: &App, served: &Served, now: Timestamp) -> Result<Progress, Failure> {
    let tenant = served.tenant.id;
    let key = served.keys.tenant_key_id().to_string();
    let Some(previous) = served.keys.previous_key_id() else {
        return Ok(Progress::over(key));
    };
    let rows = vault::sealed_under(&app.db, tenant, previous.as_bytes(), PORTION).await?;
    if rows.is_empty() {
        finish(app, served, now).await?;
        return Ok(Progress::over(key));
    }
    let mut batch = app.batch(now).guard(served.keys.assert_current());
    for row in &rows {
        let wrapped = served
            .keys
            .rewrap(Mandate::RewrapRecords, row.sealed(), &*app.random)?;
        batch = batch.push(vault::replace(tenant, row, &wrapped));
    }
    if !app.commit(batch, &[]).await?.is_committed() {
        return Err(Refusal::Conflict("the tenant's key".to_owned()).into());
    }
    let remaining = vault::count_under(&app.db, tenant, previous.as_bytes()).await?;
    if remaining == 0 {
        finish(app, served, now).await?;
    }
    Ok(Progress {
        key,
        done: remaining == 0,
        rewrapped: rows.len() as u64,
        remaining,
    })
}

/// Forgets the key before: from now on nothing opens with it.
async fn finish(app: &App, served: &Served, now: Timestamp) -> Result<(), Failure> {
    let tenant = served.tenant.id;
    let (Some(previous), Some(sealed)) = (served.keys.previous_key_id(), &served.keys.row().previous) else {
        return Ok(());
    };
    let ids = vec![
        ("tenant_key", served.keys.tenant_key_id().to_string()),
        ("previous", previous.to_string()),
    ];
    let actor = Actor::System(SystemActor::KeyRotation);
    let event = event(app, tenant, EventKind::VaultRotated, (&actor, now), ids);
    let batch = app
        .batch(now)
        .guard(served.keys.assert_current())
        .push(vault::finish(tenant, sealed, previous.as_bytes()))
        .push(feed::insert_keys(tenant, now))
        .push(audit::statement(served.keys.seal(), &event, &*app.random)?);
    // Refused, another node was first, or something is under it again: the next step sees.
    let _ = app.commit(batch, &[(tenant, Changed::Keys)]).await?;
    app.tenants.reload_one(&app.db, tenant).await
}

/// The root key that is to replace the present one.
#[derive(Debug)]
pub enum NewRoot {
    /// This one.
    Key(RootKey),
    /// The key of a service, as the operator names it. Every node was started with it as the key to come.
    Service(String),
}

/// Replaces the root key: every tenant's key is wrapped under the new one, a portion at a time, then the record of the
/// root key is replaced. Every node must have been given both keys. Only on the server's own machine, in the system tenant.
///
/// # Errors
/// A caller from elsewhere; policy's refusal; a key that is not the one to come; a key service's; the database's.
pub async fn rotate_root(
    app: &App,
    served: &Served,
    caller: &Caller,
    new: NewRoot,
) -> Result<Progress, Failure> {
    let (Actor::Local(_), SYSTEM_TENANT) = (&caller.actor, served.tenant.name.as_str()) else {
        let text = "the root key is replaced on the server's own machine, through the local socket, in the system tenant";
        return Err(Refusal::Invalid(text.to_owned()).into());
    };
    let subject = (Noun::Tenant, served.tenant.name.as_str(), None);
    change::permit(served, caller, ManagementAction::RotateKey, subject)?;
    let roots = app.tenants.roots().settled(&app.db).await?;
    let (roots, new) = to_come(&roots, new)?;
    app.tenants.set_roots(roots.clone());
    let key = new.id().to_string();
    if roots.current().id() == new.id() {
        return Ok(Progress::over(key));
    }
    let rewrapped = rewrap_tenants(app, &new, caller.now).await?;
    let left = vault::tenants_not_under(&app.db, new.id().as_bytes()).await?;
    let remaining = if left.is_empty() && replace_record(app, served, caller, (&roots, &new)).await? {
        app.tenants.set_roots(roots.settled(&app.db).await?);
        0
    } else {
        // More than a portion, or a tenant was made under the old key meanwhile.
        let left = vault::tenants_not_under(&app.db, new.id().as_bytes()).await?;
        u64::try_from(left.len()).unwrap_or(u64::MAX).max(1)
    };
    Ok(Progress {
        key,
        done: remaining == 0,
        rewrapped,
        remaining,
    })
}

/// The root keys with the one to come, and that one; or the present one, if it is the present one already.
fn to_come(roots: &Roots, new: NewRoot) -> Result<(Roots, Arc<Root>), Failure> {
    let id = match &new {
        NewRoot::Key(key) => key.id(),
        NewRoot::Service(name) => {
            let service: KeyService = name
                .parse()
                .map_err(|error: chancery_vault::SourceError| Refusal::Invalid(error.to_string()))?;
            service.root_key_id().map_err(Failure::internal)?
        }
    };
    if roots.current().id() == id {
        return Ok((roots.clone(), roots.current().clone()));
    }
    match (roots.next(), new) {
        (Some(next), _) if next.id() == id => Ok((roots.clone(), next.clone())),
        (Some(next), _) => {
            Err(Refusal::Invalid(format!("another root key is to come: `{}`", next.id())).into())
        }
        (None, NewRoot::Key(key)) => {
            let roots = roots.with_next(key.into());
            let next = roots.next().cloned();
            next.map(|next| (roots, next))
                .ok_or_else(|| Failure::Internal("there is no root key to come".to_owned()))
        }
        (None, NewRoot::Service(name)) => Err(Refusal::Invalid(format!(
            "this server was not started with that key; start every server with --next-root-key-file {name}"
        ))
        .into()),
    }
}

/// Writes the record of the new root key over that of the old. Gives whether nothing was in the way.
async fn replace_record(
    app: &App,
    served: &Served,
    caller: &Caller,
    (roots, new): (&Roots, &Root),
) -> Result<bool, Failure> {
    let old = roots.current().id().to_string();
    let ids = vec![("root_key", new.id().to_string()), ("previous", old.clone())];
    let by = (&caller.actor, caller.now);
    let event = event(app, served.tenant.id, EventKind::RootKeyRotated, by, ids);
    let record = new.record(&*app.random).await?;
    let batch = app
        .batch(caller.now)
        .push(vault::replace_root(&old, &record, new.id().as_bytes()))
        .push(audit::statement(served.keys.seal(), &event, &*app.random)?);
    Ok(app.commit(batch, &[]).await?.is_committed())
}

/// Wraps one portion of tenants' keys anew.
async fn rewrap_tenants(app: &App, new: &Root, now: Timestamp) -> Result<u64, Failure> {
    let roots = app.tenants.roots();
    let mut rewrapped = 0;
    let left = vault::tenants_not_under(&app.db, new.id().as_bytes()).await?;
    for tenant in left.into_iter().take(PORTION_OF_TENANTS) {
        let Some(row) = vault::find_tenant_keys(&app.db, tenant).await? else {
            continue;
        };
        let known = app.tenants.find(tenant);
        let opening = Opening {
            roots: &roots,
            known: known.as_ref().map(|known| &*known.keys),
            patience: Patience::Usual,
        };
        let of = (tenant, &row);
        let wrapped = rewrap_tenant(Mandate::RewrapTenantKeys, of, (opening, new), &*app.random).await?;
        let batch = app
            .batch(now)
            .push(vault::replace_tenant_keys(tenant, &row, &wrapped))
            .push(feed::insert_keys(tenant, now));
        // Refused, a rotation of the tenant's key was first: the next run sees it.
        let outcome = app.commit(batch, &[(tenant, Changed::Keys)]).await?;
        rewrapped += u64::from(outcome.is_committed());
    }
    Ok(rewrapped)
}

/// Takes the root keys as the database has them: another node may have replaced the root key.
///
/// # Errors
/// The database's; a root key that this node was not given.
pub async fn settle_roots(app: &App) -> Result<(), Failure> {
    let roots = app.tenants.roots();
    if roots.next().is_some() {
        app.tenants.set_roots(roots.settled(&app.db).await?);
    }
    Ok(())
}

impl Progress {
    fn over(key: String) -> Self {
        Self {
            key,
            done: true,
            rewrapped: 0,
            remaining: 0,
        }
    }
}

fn load(app: &App, tenant: TenantId) -> Result<Arc<Served>, Failure> {
    let served = app.tenants.find(tenant);
    served.ok_or(Failure::Stale("the tenant is gone"))
}

fn event(
    app: &App,
    tenant: TenantId,
    kind: EventKind,
    (actor, now): (&Actor, Timestamp),
    ids: Vec<(&'static str, String)>,
) -> Event {
    Event {
        id: EventId::generate(now, &*app.random),
        tenant,
        time: now,
        kind,
        outcome: EventOutcome::Ok,
        actor: actor.clone(),
        ids,
        decision: None,
        parts: Vec::new(),
    }
}

/// Records wrapped anew in one batch.
const PORTION: u32 = 50;
/// Tenants' keys wrapped anew in one step: each may be two questions to a key service.
const PORTION_OF_TENANTS: usize = 8;
/// For how long an event that was written before a rotation is taken into the log after it.
const KEEP_FORMER_MAC: Ttl = Ttl::from_days(1);
