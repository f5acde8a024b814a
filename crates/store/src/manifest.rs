//! Manifests of MCP servers: for each tool, prompt and resource the definition that is accepted and the one that
//! was seen last.

use crate::db::{Db, DbError, Expect, Row, Sql, Statement, Value};
use chancery_core::id::{ResourceId, TenantId};
use chancery_core::time::Timestamp;

/// One definition as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestRow {
    /// The list that it is in: `tools`, `prompts`, `resources` or `resourceTemplates`.
    pub listing: String,
    /// Its name or URI.
    pub name: String,
    /// The digest of the accepted definition.
    pub accepted_digest: String,
    /// The digest of the definition that was seen last.
    pub seen_digest: String,
    /// The definition that was seen last, canonical.
    pub seen_content: String,
    /// When it was first seen in this form.
    pub seen_at: Timestamp,
}

/// Every definition of a resource's server.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn load(db: &Db, tenant: TenantId, resource: ResourceId) -> Result<Vec<ManifestRow>, DbError> {
    let rows = db
        .query(&LOAD, vec![Value::id(tenant), Value::id(resource)])
        .await?;
    rows.iter().map(read).collect()
}

/// Keeps a definition that was never seen before, and accepts it. Fails with label `manifest` if it is known.
pub fn insert(tenant: TenantId, resource: ResourceId, row: &ManifestRow) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(resource),
        Value::from(row.listing.as_str()),
        Value::from(row.name.as_str()),
        Value::from(row.seen_digest.as_str()),
        Value::from(row.seen_content.as_str()),
        Value::from(row.seen_at),
    ];
    Statement::new(&INSERT, params, Expect::Unique, "manifest")
}

/// Keeps the new form of a known definition, without accepting it. Fails with label `manifest` if somebody else
/// noted it meanwhile.
pub fn note(tenant: TenantId, resource: ResourceId, row: &ManifestRow, before: &str) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(resource),
        Value::from(row.listing.as_str()),
        Value::from(row.name.as_str()),
        Value::from(row.seen_digest.as_str()),
        Value::from(row.seen_content.as_str()),
        Value::from(row.seen_at),
        Value::from(before),
    ];
    Statement::new(&NOTE, params, Expect::Rows(1), "manifest")
}

/// Accepts the form that was seen last, if it is still this one. Fails with label `manifest`.
pub fn accept(tenant: TenantId, resource: ResourceId, listing: &str, name: &str, digest: &str) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(resource),
        Value::from(listing),
        Value::from(name),
        Value::from(digest),
    ];
    Statement::new(&ACCEPT, params, Expect::Rows(1), "manifest")
}

fn read(row: &Row) -> Result<ManifestRow, DbError> {
    Ok(ManifestRow {
        listing: row.text(0)?,
        name: row.text(1)?,
        accepted_digest: row.text(2)?,
        seen_digest: row.text(3)?,
        seen_content: row.text(4)?,
        seen_at: row.timestamp(5)?,
    })
}

const LOAD: Sql = Sql::same(
    "SELECT listing, name, accepted_digest, seen_digest, seen_content, seen_at FROM manifests
     WHERE tenant = ?1 AND resource = ?2 ORDER BY listing, name",
);
const INSERT: Sql = Sql::same(
    "INSERT INTO manifests (tenant, resource, listing, name, accepted_digest, accepted_content,
     seen_digest, seen_content, seen_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?5, ?6, ?7)",
);
const NOTE: Sql = Sql::same(
    "UPDATE manifests SET seen_digest = ?5, seen_content = ?6, seen_at = ?7
     WHERE tenant = ?1 AND resource = ?2 AND listing = ?3 AND name = ?4 AND seen_digest = ?8",
);
const ACCEPT: Sql = Sql::same(
    "UPDATE manifests SET accepted_digest = seen_digest, accepted_content = seen_content
     WHERE tenant = ?1 AND resource = ?2 AND listing = ?3 AND name = ?4 AND seen_digest = ?5",
);

pub(crate) const QUERIES: &[&Sql] = &[&LOAD, &INSERT, &NOTE, &ACCEPT];
