//! A tenant's log: its head, tiles and signed checkpoints.

use crate::db::{Db, DbError, Expect, Sql, Statement, Value};
use crate::record::{corrupt, counter, number};
use chancery_core::id::TenantId;
use chancery_core::time::Timestamp;

/// The head of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which log: a restore starts the next.
    pub log_generation: u64,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: [u8; 32],
    /// The size of the newest signed checkpoint.
    pub signed_size: u64,
}

/// The head of a tenant's log.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find_head(db: &Db, tenant: TenantId) -> Result<Option<Head>, DbError> {
    let Some(row) = db.query_optional(&HEAD, vec![Value::id(tenant)]).await? else {
        return Ok(None);
    };
    let root = row
        .blob(2)?
        .try_into()
        .map_err(|_| corrupt("a root is not 32 bytes"))?;
    let (log_generation, size, signed_size) = (counter(&row, 0)?, counter(&row, 1)?, counter(&row, 3)?);
    Ok(Some(Head {
        log_generation,
        size,
        root,
        signed_size,
    }))
}

/// Starts a tenant's first log.
pub fn insert_head(tenant: TenantId, head: &Head) -> Statement {
    let params = vec![
        Value::id(tenant),
        number(head.log_generation),
        number(head.size),
        Value::from(&head.root),
        number(head.signed_size),
    ];
    Statement::new(&INSERT_HEAD, params, Expect::Rows(1), "head")
}

/// Moves the head on from exactly `old`. Fails with label `head` if another integrator did so first.
pub fn advance_head(tenant: TenantId, old: &Head, new: &Head) -> Statement {
    let params = vec![
        Value::id(tenant),
        number(old.log_generation),
        number(old.size),
        Value::from(&old.root),
        number(new.log_generation),
        number(new.size),
        Value::from(&new.root),
        number(new.signed_size),
    ];
    Statement::new(&ADVANCE_HEAD, params, Expect::Rows(1), "head")
}

/// One tile's hashes, if it has any.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find_tile(
    db: &Db,
    tenant: TenantId,
    log_generation: u64,
    level: u8,
    tile: u64,
) -> Result<Option<Vec<u8>>, DbError> {
    let params = vec![
        Value::id(tenant),
        number(log_generation),
        Value::from(u32::from(level)),
        number(tile),
    ];
    let row = db.query_optional(&TILE, params).await?;
    row.map(|row| row.blob(0)).transpose()
}

/// Writes a tile over its shorter self.
pub fn put_tile(tenant: TenantId, log_generation: u64, level: u8, tile: u64, hashes: &[u8]) -> Statement {
    let params = vec![
        Value::id(tenant),
        number(log_generation),
        Value::from(u32::from(level)),
        number(tile),
        Value::from(hashes),
    ];
    Statement::new(&PUT_TILE, params, Expect::Rows(1), "tile")
}

/// Stores a signed checkpoint.
pub fn insert_checkpoint(tenant: TenantId, head: &Head, time: Timestamp, note: &str) -> Statement {
    let params = vec![
        Value::id(tenant),
        number(head.log_generation),
        number(head.size),
        Value::from(time),
        Value::from(note),
    ];
    Statement::new(&INSERT_CHECKPOINT, params, Expect::Any, "checkpoint")
}

/// The newest signed checkpoint.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn newest_checkpoint(db: &Db, tenant: TenantId) -> Result<Option<String>, DbError> {
    let row = db
        .query_optional(&NEWEST_CHECKPOINT, vec![Value::id(tenant)])
        .await?;
    row.map(|row| row.text(0)).transpose()
}

/// Signed checkpoints of one log from a size on, in order.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn checkpoints(
    db: &Db,
    tenant: TenantId,
    log_generation: u64,
    from_size: u64,
    limit: u32,
) -> Result<Vec<(u64, String)>, DbError> {
    let params = vec![
        Value::id(tenant),
        number(log_generation),
        number(from_size),
        Value::from(limit),
    ];
    let rows = db.query(&CHECKPOINTS, params).await?;
    rows.iter()
        .map(|row| Ok((counter(row, 0)?, row.text(1)?)))
        .collect()
}

/// The generations of a tenant's log that have a signed checkpoint, each with the size of its newest, in order.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn generations(db: &Db, tenant: TenantId) -> Result<Vec<(u64, u64)>, DbError> {
    let rows = db.query(&GENERATIONS, vec![Value::id(tenant)]).await?;
    rows.iter()
        .map(|row| Ok((counter(row, 0)?, counter(row, 1)?)))
        .collect()
}

const GENERATIONS: Sql = Sql::same(
    "SELECT log_generation, MAX(size) FROM checkpoints WHERE tenant = ?1 GROUP BY log_generation ORDER BY log_generation",
);
const HEAD: Sql =
    Sql::same("SELECT log_generation, size, root, signed_size FROM log_heads WHERE tenant = ?1");
const INSERT_HEAD: Sql = Sql::same(
    "INSERT INTO log_heads (tenant, log_generation, size, root, signed_size) VALUES (?1, ?2, ?3, ?4, ?5)",
);
const ADVANCE_HEAD: Sql = Sql::same(
    "UPDATE log_heads SET log_generation = ?5, size = ?6, root = ?7, signed_size = ?8
     WHERE tenant = ?1 AND log_generation = ?2 AND size = ?3 AND root = ?4",
);
const TILE: Sql = Sql::same(
    "SELECT hashes FROM log_tiles WHERE tenant = ?1 AND log_generation = ?2 AND level = ?3 AND tile = ?4",
);
const PUT_TILE: Sql = Sql::same(
    "INSERT INTO log_tiles (tenant, log_generation, level, tile, hashes) VALUES (?1, ?2, ?3, ?4, ?5)
     ON CONFLICT (tenant, log_generation, level, tile) DO UPDATE SET hashes = excluded.hashes",
);
const INSERT_CHECKPOINT: Sql = Sql::same(
    "INSERT INTO checkpoints (tenant, log_generation, size, time, note) VALUES (?1, ?2, ?3, ?4, ?5)
     ON CONFLICT DO NOTHING",
);
const NEWEST_CHECKPOINT: Sql = Sql::same(
    "SELECT note FROM checkpoints WHERE tenant = ?1 ORDER BY log_generation DESC, size DESC LIMIT 1",
);
const CHECKPOINTS: Sql = Sql::same(
    "SELECT size, note FROM checkpoints WHERE tenant = ?1 AND log_generation = ?2 AND size >= ?3 ORDER BY size LIMIT ?4",
);

pub(crate) const QUERIES: &[&Sql] = &[
    &HEAD,
    &INSERT_HEAD,
    &ADVANCE_HEAD,
    &TILE,
    &PUT_TILE,
    &INSERT_CHECKPOINT,
    &NEWEST_CHECKPOINT,
    &CHECKPOINTS,
    &GENERATIONS,
];
