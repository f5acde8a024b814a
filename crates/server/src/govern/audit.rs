//! The log as people use it: listed as sentences, exported, proved, and with parts erased.

use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::error::{Failure, Refusal};
use crate::govern::entry::{self, Entry, Names, read};
use crate::jobs::integrator::fetch_tiles;
use crate::record as audit;
use crate::tenants::Served;
use chancery_audit::{Exporter, InclusionProof, ProofBundle, export, proof, tile};
use chancery_core::event::{Event, EventKind, EventOutcome};
use chancery_core::id::{EventId, Id as _};
use chancery_core::noun::Noun;
use chancery_policy::ManagementAction;
use chancery_store::Outcome;
use chancery_store::event::{self, EventFilter, EventRow};
use chancery_store::{log, restore};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Events that match, newest first.
///
/// # Errors
/// Policy's refusal; the database's.
pub async fn list(
    app: &App,
    served: &Served,
    caller: &Caller,
    filter: &EventFilter<'_>,
) -> Result<Vec<Entry>, Failure> {
    permit(served, caller)?;
    let rows = event::list(&app.db, served.tenant.id, filter).await?;
    let mut names = Names::default();
    for row in &rows {
        entry::learn(app, served.tenant.id, row, &mut names).await?;
    }
    Ok(rows.iter().map(|row| entry::entry(served, row, &names)).collect())
}

/// As [`list`], looking through no more than so many events: what a page can afford. The second part is where to go on,
/// unless there is nothing older.
///
/// # Errors
/// As [`list`].
pub async fn list_near(
    app: &App,
    served: &Served,
    caller: &Caller,
    filter: EventFilter<'_>,
    reach: i64,
) -> Result<(Vec<Entry>, Option<i64>), Failure> {
    let newest = event::newest_before(&app.db, filter.before).await?;
    let since = newest.saturating_sub(reach).saturating_add(1).max(0);
    let entries = list(app, served, caller, &EventFilter { since, ..filter }).await?;
    let is_full = u32::try_from(entries.len()).is_ok_and(|count| count >= filter.limit);
    let next = if is_full {
        entries.last().map(|entry| entry.cursor)
    } else {
        Some(since).filter(|since| *since > 1)
    };
    Ok((entries, next))
}

/// One event.
///
/// # Errors
/// Policy's refusal; an unknown id; the database's.
pub async fn show(app: &App, served: &Served, caller: &Caller, id: &str) -> Result<Entry, Failure> {
    permit(served, caller)?;
    let row = load(app, served, id).await?;
    let mut names = Names::default();
    entry::learn(app, served.tenant.id, &row, &mut names).await?;
    Ok(entry::entry(served, &row, &names))
}

/// The log up to the newest checkpoint as lines for offline verification, handed over one by one.
///
/// # Errors
/// Policy's refusal; the database's; nothing was integrated yet.
pub async fn export(
    app: &App,
    served: &Served,
    caller: &Caller,
    sink: &tokio::sync::mpsc::Sender<String>,
) -> Result<(), Failure> {
    permit(served, caller)?;
    let tenant = served.tenant.id;
    let generations = generations(app, served).await?;
    let newest = generations.last_key_value().map(|(generation, _)| *generation);
    let newest =
        newest.ok_or_else(|| Refusal::Invalid("nothing has been integrated into the log yet".to_owned()))?;
    let (mut exporter, first) =
        Exporter::begin(tenant, vec![served.keys.verifier(newest)?]).map_err(Failure::internal)?;
    send(sink, first).await?;
    for place in generations {
        export_generation(app, served, (&mut exporter, sink), place).await?;
    }
    send(sink, exporter.end().map_err(Failure::internal)?).await
}

/// The generations of the log, each with how many entries are signed here. One that a restore names may have none: it
/// began after the backup was made.
async fn generations(app: &App, served: &Served) -> Result<BTreeMap<u64, u64>, Failure> {
    let tenant = served.tenant.id;
    let mut all: BTreeMap<u64, u64> = log::generations(&app.db, tenant).await?.into_iter().collect();
    if all.is_empty() {
        return Ok(all);
    }
    let newest = all.last_key_value().map_or(0, |(generation, _)| *generation);
    for restore in restore::all(&app.db, tenant).await? {
        // The restore says so in its first entry, which must be there.
        if restore.log_generation <= newest && all.contains_key(&restore.log_generation) {
            all.entry(restore.previous_generation).or_insert(0);
        }
    }
    Ok(all)
}

/// Hands over one generation up to its newest checkpoint.
async fn export_generation(
    app: &App,
    served: &Served,
    (exporter, sink): (&mut Exporter, &tokio::sync::mpsc::Sender<String>),
    (generation, size): (u64, u64),
) -> Result<(), Failure> {
    let tenant = served.tenant.id;
    let log_line = export::Log {
        origin: served.keys.origin(generation)?,
        first_index: 0,
        subtrees: Vec::new(),
    };
    send(sink, exporter.log(log_line).map_err(Failure::internal)?).await?;
    let mut notes = log::checkpoints(&app.db, tenant, generation, 0, u32::MAX)
        .await?
        .into_iter()
        .peekable();
    let mut index = 0;
    while index < size {
        let rows = event::integrated(&app.db, tenant, generation, index, 500).await?;
        if rows.is_empty() {
            return Err(Failure::Internal(format!("entry {index} of the log is missing")));
        }
        for row in rows
            .iter()
            .take(usize::try_from(size - index).unwrap_or(usize::MAX))
        {
            let (leaf, parts) = read(row)?;
            send(
                sink,
                exporter.entry(index, &leaf, parts).map_err(Failure::internal)?,
            )
            .await?;
            index += 1;
            while let Some((_, note)) = notes.next_if(|(size, _)| *size == index) {
                send(sink, exporter.checkpoint(note).map_err(Failure::internal)?).await?;
            }
        }
    }
    Ok(())
}

/// A proof that one event is in the log, which verifies offline with the public key alone.
///
/// # Errors
/// Policy's refusal; an unknown id; an event that is not integrated yet; the database's.
pub async fn prove(app: &App, served: &Served, caller: &Caller, id: &str) -> Result<Value, Failure> {
    permit(served, caller)?;
    let tenant = served.tenant.id;
    let row = load(app, served, id).await?;
    let generations = log::generations(&app.db, tenant).await?;
    let signed = generations
        .iter()
        .find(|(generation, _)| *generation == row.log_generation);
    let size = signed.map_or(0, |(_, size)| *size);
    let position = row.position.ok_or_else(|| {
        Refusal::Invalid("the event is recorded but not yet in the tree; ask again in a second".to_owned())
    })?;
    let wanted = proof::tiles_for_inclusion(position, size).map_err(Failure::internal)?;
    let tiles = fetch_tiles(app, served, row.log_generation, wanted).await?;
    let inclusion = InclusionProof::build(&tiles, position, size).map_err(Failure::internal)?;
    let notes = log::checkpoints(&app.db, tenant, row.log_generation, size, 1).await?;
    let (_, note) = notes
        .into_iter()
        .next()
        .ok_or_else(|| Failure::Internal("the head has no checkpoint".to_owned()))?;
    let (leaf, parts) = read(&row)?;
    let bundle = ProofBundle::new(&leaf, inclusion, note, parts);
    serde_json::from_str(&bundle.to_json().map_err(Failure::internal)?).map_err(Failure::internal)
}

/// Erases one part of an event. Every proof stays valid; the part shows `erased`.
///
/// # Errors
/// Policy's refusal; an unknown event or part; the database's.
pub async fn erase(
    app: &App,
    served: &Served,
    caller: &Caller,
    (id, part): (&str, &str),
) -> Result<(), Failure> {
    change::permit(served, caller, ManagementAction::Erase, (Noun::Tenant, id, None))?;
    let row = load(app, served, id).await?;
    let (_, mut parts) = read(&row)?;
    let found = parts.iter_mut().find(|record| record.name == part);
    let found = found.ok_or_else(|| Refusal::Invalid(format!("event {id} has no part `{part}`")))?;
    found.erase(caller.now);
    let new = serde_json::to_string(&parts).map_err(Failure::internal)?;
    let event = Event {
        id: EventId::generate(caller.now, &*app.random),
        tenant: served.tenant.id,
        time: caller.now,
        kind: EventKind::PartErased,
        outcome: EventOutcome::Ok,
        actor: caller.actor.clone(),
        ids: vec![("event", row.id.to_string()), ("part", part.to_owned())],
        decision: None,
        parts: Vec::new(),
    };
    let batch = app
        .batch(caller.now)
        .push(event::replace_parts(served.tenant.id, row.id, &row.parts, &new))
        .push(audit::statement(served.keys.seal(), &event, &*app.random)?);
    match app.commit(batch, &[]).await? {
        Outcome::Committed => Ok(()),
        Outcome::Refused { .. } => Err(Refusal::Conflict(id.to_owned()).into()),
    }
}

/// What an auditor keeps: the public key that checkpoints verify with, the newest checkpoint, and whether any
/// checkpoint leaves this host.
#[derive(Debug, Serialize)]
pub struct LogState {
    /// `name+hash+key` (C2SP signed-note).
    pub verifier_key: String,
    /// The newest signed checkpoint.
    pub checkpoint: Option<String>,
    /// Leaves in the tree.
    pub size: u64,
    /// Whether a sink is configured; if not, verification says `unwitnessed`.
    pub witnessed: bool,
    /// Since when the URL that checkpoints are posted to has taken none, RFC 3339; as this node knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind_since: Option<String>,
}

/// The state of a tenant's log.
///
/// # Errors
/// The database's.
pub async fn state(app: &App, served: &Served) -> Result<LogState, Failure> {
    let head = log::find_head(&app.db, served.tenant.id).await?;
    let generation = head.map_or(1, |head| head.log_generation);
    Ok(LogState {
        verifier_key: served.keys.verifier(generation)?.to_string(),
        checkpoint: log::newest_checkpoint(&app.db, served.tenant.id).await?,
        size: head.map_or(0, |head| head.size),
        witnessed: !app.sinks.is_empty(),
        behind_since: app
            .sinks
            .behind_since(served.tenant.id)
            .map(|since| since.to_string()),
    })
}

/// Tile paths are served for mirrors and monitors (C2SP tlog-tiles).
///
/// # Errors
/// A path that is none, or a tile that does not exist.
pub async fn tile_at(app: &App, served: &Served, path: &str) -> Result<Option<Vec<u8>>, Failure> {
    let Ok((id, width)) = tile::TileId::parse_path(path) else {
        return Ok(None);
    };
    let Some(head) = log::find_head(&app.db, served.tenant.id).await? else {
        return Ok(None);
    };
    let stored = log::find_tile(&app.db, served.tenant.id, head.log_generation, id.level, id.index).await?;
    Ok(stored.and_then(|hashes| hashes.get(..usize::from(width) * 32).map(<[u8]>::to_vec)))
}

fn permit(served: &Served, caller: &Caller) -> Result<(), Failure> {
    change::permit(
        served,
        caller,
        ManagementAction::ReadAudit,
        (Noun::Tenant, served.tenant.name.as_str(), None),
    )
}

async fn load(app: &App, served: &Served, id: &str) -> Result<EventRow, Failure> {
    let unknown = || Refusal::Invalid(format!("no event `{id}`"));
    let id: EventId = id.parse().map_err(|_| unknown())?;
    Ok(event::find(&app.db, served.tenant.id, id)
        .await?
        .ok_or_else(unknown)?)
}

async fn send(sink: &tokio::sync::mpsc::Sender<String>, line: String) -> Result<(), Failure> {
    sink.send(line)
        .await
        .map_err(|_| Failure::Stale("the reader of the export is gone"))
}
