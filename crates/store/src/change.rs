//! The revocation feed: every change of a noun, in an order that no reader can miss.
//!
//! On SQLite there is one writer, so `seq` is the order of commits. On PostgreSQL a transaction may commit
//! after one that began later, so readers follow transaction ids: they read every row whose transaction was
//! not yet finished for certain at their last look (the snapshot's `xmin`), again if need be. Applying a
//! change twice is harmless.

use crate::db::{Db, DbError, Engine, Expect, Sql, Statement, Value};
use crate::record::{counter, number};
use chancery_core::id::{TenantId, TokenId};
use chancery_core::noun::Noun;
use chancery_core::time::Timestamp;

/// How far a reader has come. Starts at zero, which is before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(i64);

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The tenant.
    pub tenant: TenantId,
    /// What changed.
    pub subject: Changed,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// A noun.
    Noun {
        /// Which kind.
        noun: Noun,
        /// Its id.
        id: [u8; 16],
        /// Its generation after the change.
        generation: u64,
    },
    /// A single token was revoked.
    Token(TokenId),
    /// Signing keys changed.
    Keys,
}

/// Tells every node that a noun changed.
pub fn insert(tenant: TenantId, noun: Noun, id: [u8; 16], generation: u64, now: Timestamp) -> Statement {
    statement(tenant, noun.as_str(), id, generation, now)
}

/// Tells every node that a token was revoked.
pub fn insert_token(tenant: TenantId, token: TokenId, now: Timestamp) -> Statement {
    statement(tenant, TOKEN, *chancery_core::id::Id::as_bytes(&token), 0, now)
}

/// Tells every node that signing keys changed.
pub fn insert_keys(tenant: TenantId, now: Timestamp) -> Statement {
    statement(tenant, KEYS, [0; 16], 0, now)
}

/// Where the feed ends now. A node reads this before it loads anything.
///
/// # Errors
/// The database fails.
pub async fn end(db: &Db) -> Result<Cursor, DbError> {
    let row = db.query_one(&END, Vec::new()).await?;
    Ok(Cursor(row.integer(0)?))
}

/// Every change since the cursor, and the cursor for the next look.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn since(db: &Db, cursor: Cursor) -> Result<(Vec<Change>, Cursor), DbError> {
    let rows = db.query_ahead(&SINCE, vec![Value::from(cursor.0)]).await?;
    let mut changes = Vec::new();
    let mut next = cursor;
    for row in rows {
        // The first column is the cursor for the next look; on PostgreSQL it is the same in every row, and a
        // row without a change carries it alone.
        next = Cursor(row.integer(0)?.max(next.0));
        let Some(word) = row.optional_text(2)? else {
            continue;
        };
        let id: [u8; 16] = row
            .blob(3)?
            .try_into()
            .map_err(|_| crate::record::corrupt("an id is not 16 bytes"))?;
        let subject = match word.as_str() {
            TOKEN => Changed::Token(chancery_core::id::Id::from_bytes(id)),
            KEYS => Changed::Keys,
            word => {
                let noun = Noun::parse(word).ok_or_else(|| crate::record::corrupt("a noun is unknown"))?;
                Changed::Noun {
                    noun,
                    id,
                    generation: counter(&row, 4)?,
                }
            }
        };
        changes.push(Change {
            tenant: row.id(1)?,
            subject,
        });
    }
    Ok((changes, next))
}

/// Forgets changes that every node has long seen.
pub fn prune(before: Timestamp) -> Statement {
    Statement::new(&PRUNE, vec![Value::from(before)], Expect::Any, "prune")
}

/// Tokens revoked one by one that have not ended yet.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn revoked_tokens(db: &Db, now: Timestamp) -> Result<Vec<(TenantId, TokenId, Timestamp)>, DbError> {
    let rows = db.query(&REVOKED, vec![Value::from(now)]).await?;
    rows.iter()
        .map(|row| Ok((row.id(0)?, row.id(1)?, row.timestamp(2)?)))
        .collect()
}

/// Remembers a revoked token until it would have ended. Revoking twice is harmless.
pub fn revoke_token(tenant: TenantId, token: TokenId, expires_at: Timestamp) -> Statement {
    let params = vec![Value::id(tenant), Value::id(token), Value::from(expires_at)];
    Statement::new(&REVOKE, params, Expect::Any, "revoke")
}

/// Whether the feed's order on this engine follows commits by itself.
pub fn is_ordered(engine: Engine) -> bool {
    engine == Engine::Sqlite
}

fn statement(tenant: TenantId, word: &str, id: [u8; 16], generation: u64, now: Timestamp) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::from(word),
        Value::from(&id),
        number(generation),
        Value::from(now),
    ];
    Statement::new(&INSERT, params, Expect::Rows(1), "change")
}

const TOKEN: &str = "token";
const KEYS: &str = "signing_keys";

const INSERT: Sql = Sql::pair(
    "INSERT INTO changes (tenant, noun, id, generation, time, transaction_id) VALUES (?1, ?2, ?3, ?4, ?5, 0)",
    "INSERT INTO changes (tenant, noun, id, generation, time, transaction_id)
     VALUES (?1, ?2, ?3, ?4, ?5, CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT))",
);
const END: Sql = Sql::pair(
    "SELECT COALESCE(MAX(seq), 0) FROM changes",
    "SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT)",
);
const SINCE: Sql = Sql::pair(
    "SELECT seq, tenant, noun, id, generation FROM changes WHERE seq > ?1 ORDER BY seq",
    "SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT), c.tenant, c.noun, c.id, c.generation
     FROM (SELECT 1 AS one) AS always LEFT JOIN changes AS c ON c.transaction_id >= ?1 ORDER BY c.seq",
);
const PRUNE: Sql = Sql::same("DELETE FROM changes WHERE time < ?1");
const REVOKED: Sql = Sql::same("SELECT tenant, id, expires_at FROM revoked_tokens WHERE expires_at > ?1");
const REVOKE: Sql = Sql::same(
    "INSERT INTO revoked_tokens (tenant, id, expires_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
);

pub(crate) const QUERIES: &[&Sql] = &[&INSERT, &END, &SINCE, &PRUNE, &REVOKED, &REVOKE];
