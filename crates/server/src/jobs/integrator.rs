//! The integrator: folds recorded events into each tenant's tree and signs a checkpoint. One node at a time,
//! by a fenced lease; the head moves by compare-and-set, so that two can never both win.

use crate::app::App;
use crate::error::Failure;
use crate::tenants::Served;
use chancery_audit::tree::leaf_hash;
use chancery_audit::{Checkpoint, EventMac, Hash, Tile, TileId, TileSet, integrate, tile};
use chancery_core::time::{Timestamp, Ttl};
use chancery_store::event::{self, PendingRow};
use chancery_store::lease::{self, Lease};
use chancery_store::log::{self, Head};
use chancery_store::{Outcome, Statement};

/// Folds in everything pending, in every tenant, if this node holds or can take the lease.
///
/// # Errors
/// The database's, or an event row whose MAC does not fit: then the log stops rather than take it in.
pub async fn run(app: &App) -> Result<(), Failure> {
    let now = app.clock.now();
    let Some(epoch) = hold_lease(app, now).await? else {
        return Ok(());
    };
    let mut outcome = Ok(());
    for served in app.tenants.all() {
        // A log that stops stops alone: one tenant's damage is not another's.
        outcome = outcome.and(integrate_all(app, &served, epoch, now).await);
    }
    outcome
}

pub(super) async fn run_logged(app: &App) {
    if let Err(error) = run(app).await {
        tracing::error!(%error, "events could not be folded into the log");
    }
}

/// The epoch of the lease, if this node holds it now.
async fn hold_lease(app: &App, now: Timestamp) -> Result<Option<u64>, Failure> {
    let until = now.plus(LEASE);
    let statement = match lease::find(&app.db, NAME).await? {
        None => lease::create(NAME, app.node, until),
        Some(held) if held.holder == app.node && held.expires_at > now.plus(RENEW) => {
            return Ok(Some(held.epoch));
        }
        Some(held) if held.holder == app.node || held.expires_at <= now => {
            lease::take(NAME, &held, app.node, until)
        }
        Some(_) => return Ok(None),
    };
    let outcome = app.db.commit(app.batch(now).push(statement)).await?;
    if !outcome.is_committed() {
        return Ok(None);
    }
    let held = lease::find(&app.db, NAME).await?;
    Ok(held
        .filter(|lease: &Lease| lease.holder == app.node)
        .map(|lease| lease.epoch))
}

/// Lets another node, or this one after a restart, go on at once. Without it, it waits for the lease to run out.
///
/// # Errors
/// The database's.
pub async fn give_up(app: &App) -> Result<(), Failure> {
    let now = app.clock.now();
    let held = lease::find(&app.db, NAME).await?;
    if let Some(held) = held.filter(|held| held.holder == app.node && held.expires_at > now) {
        let batch = app.batch(now).push(lease::take(NAME, &held, app.node, now));
        // Somebody else has it: as good as given up.
        let _ = app.db.commit(batch).await?;
    }
    Ok(())
}

async fn integrate_all(app: &App, served: &Served, epoch: u64, now: Timestamp) -> Result<(), Failure> {
    while integrate_some(app, served, epoch, now).await? {}
    Ok(())
}

/// Folds in one portion and signs the new head. Whether there may be more.
async fn integrate_some(app: &App, served: &Served, epoch: u64, now: Timestamp) -> Result<bool, Failure> {
    let tenant = served.tenant.id;
    let head = log::find_head(&app.db, tenant).await?;
    let head = head.ok_or_else(|| Failure::Internal(format!("tenant {} has no log", served.tenant.name)))?;
    // SECURITY: a database that lacks what this node has signed was put in its place. Going on would sign a second
    // history under the same name.
    if app
        .sinks
        .has_signed_beyond(tenant, (head.log_generation, head.signed_size))
    {
        app.freshness.end();
        return Err(Failure::Internal(format!(
            "the log of tenant {} is behind what this node has signed: the database was restored from a backup; stop \
             every node and run `chancery restore`",
            served.tenant.name
        )));
    }
    let pending = event::pending(&app.db, tenant, PORTION).await?;
    if pending.is_empty() {
        return Ok(false);
    }
    let hashes = checked_hashes(app, served, &pending).await?;

    let known = load_tiles(app, served, &head).await?;
    let grown = integrate(&known, head.size, &hashes).map_err(Failure::internal)?;
    let new = Head {
        size: grown.size,
        root: *grown.root.as_bytes(),
        signed_size: grown.size,
        ..head
    };
    let note = sign(served, &new)?;

    let mut batch = app
        .batch(now)
        .guard(lease::fence(NAME, epoch))
        .push(log::advance_head(tenant, &head, &new));
    let assignments = assignments(&pending, head.size)?;
    if !assignments.is_empty() {
        batch = batch.push(event::assign(tenant, &assignments));
    }
    batch = batch.extend(grown.tiles.iter().map(|tile| put(served, &head, tile)));
    batch = batch.push(log::insert_checkpoint(tenant, &new, now, &note));
    match app.db.commit(batch).await? {
        Outcome::Committed => {
            app.sinks.signed(tenant, (new.log_generation, new.signed_size));
            app.sinks.publish(&served.tenant, &note, now).await;
            Ok(pending.len() == usize::try_from(PORTION).unwrap_or(usize::MAX))
        }
        Outcome::Refused { label, .. } => {
            tracing::warn!(label, tenant = %served.tenant.name, "another integrator was first");
            Ok(false)
        }
    }
}

/// The hashes of rows. Another node may have rotated the tenant's key a moment ago: then the keys are read again once.
async fn checked_hashes(app: &App, served: &Served, pending: &[PendingRow]) -> Result<Vec<Hash>, Failure> {
    let checked = all_checked(served, pending).await;
    if checked.is_ok() {
        return checked;
    }
    app.tenants.reload_one(&app.db, served.tenant.id).await?;
    // A new key that no service opens yet: the rows wait, they are not forged.
    app.tenants.require_open(served.tenant.id)?;
    match app.tenants.find(served.tenant.id) {
        Some(served) => all_checked(&served, pending).await,
        None => checked,
    }
}

/// Row by row; who waits for an answer on this core is let in between.
async fn all_checked(served: &Served, pending: &[PendingRow]) -> Result<Vec<Hash>, Failure> {
    let mut hashes = Vec::with_capacity(pending.len());
    for some in pending.chunks(AT_ONCE) {
        for row in some {
            hashes.push(checked_hash(served, row)?);
        }
        tokio::task::yield_now().await;
    }
    Ok(hashes)
}

/// SECURITY: a row that was edited or inserted behind our back has no valid MAC and never enters the log.
fn checked_hash(served: &Served, row: &PendingRow) -> Result<Hash, Failure> {
    let forged = || Failure::Internal(format!("event {} was changed before it was integrated", row.id));
    let leaf = row.leaf.as_bytes();
    let mac: [u8; 32] = row.mac.as_slice().try_into().map_err(|_| forged())?;
    if !served.keys.is_event_mac(EventMac::from_bytes(mac), row.id, leaf) {
        return Err(forged());
    }
    Ok(leaf_hash(leaf))
}

/// The indexes of rows that have none yet.
///
/// SECURITY: a row with an index that does not follow the one before it is what a deleted row leaves behind. The log
/// stops rather than close the gap.
fn assignments(pending: &[PendingRow], first: u64) -> Result<Vec<(i64, u64)>, Failure> {
    let mut without = Vec::new();
    for (row, index) in pending.iter().zip(first..) {
        match row.position {
            None => without.push((row.seq, index)),
            Some(given) if given == index => {}
            Some(_) => {
                return Err(Failure::Internal(format!(
                    "an event before {} was deleted before it was integrated",
                    row.id
                )));
            }
        }
    }
    Ok(without)
}

fn sign(served: &Served, head: &Head) -> Result<String, Failure> {
    let signer = served.keys.checkpoint_signer(head.log_generation)?;
    let origin = served.keys.origin(head.log_generation)?;
    let checkpoint = Checkpoint {
        origin,
        size: head.size,
        root: Hash::from_bytes(head.root),
    };
    checkpoint.sign(&signer).map_err(Failure::internal)
}

fn put(served: &Served, head: &Head, tile: &Tile) -> Statement {
    log::put_tile(
        served.tenant.id,
        head.log_generation,
        tile.id.level,
        tile.id.index,
        &tile.to_bytes(),
    )
}

/// The right edge of the tree: what folding in needs to know.
async fn load_tiles(app: &App, served: &Served, head: &Head) -> Result<TileSet, Failure> {
    let wanted = tile::tiles_for_integrate(head.size);
    fetch_tiles(app, served, head.log_generation, wanted).await
}

/// Reads tiles from the database.
///
/// # Errors
/// The database's, or a tile that is missing or damaged.
pub async fn fetch_tiles(
    app: &App,
    served: &Served,
    log_generation: u64,
    wanted: Vec<(TileId, u16)>,
) -> Result<TileSet, Failure> {
    let mut tiles = Vec::with_capacity(wanted.len());
    for (id, width) in wanted {
        let stored = log::find_tile(&app.db, served.tenant.id, log_generation, id.level, id.index).await?;
        let stored =
            stored.ok_or_else(|| Failure::Internal(format!("tile {} is missing", id.path(width))))?;
        tiles.push(Tile::from_bytes(id, &stored).map_err(Failure::internal)?);
    }
    Ok(tiles.into_iter().collect())
}

const NAME: &str = "integrator";
const LEASE: Ttl = Ttl::from_seconds(10);
const RENEW: Ttl = Ttl::from_seconds(5);
const PORTION: u32 = 1_000;
const AT_ONCE: usize = 50;
