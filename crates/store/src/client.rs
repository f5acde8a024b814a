//! Clients, listed by agent, and the digests of their secrets.

use crate::db::{Db, DbError, Expect, Sql, Statement, Value};
use crate::record::{Stored, Table, corrupt, table};
use chancery_core::client::ClientSpec;
use chancery_core::id::{ClientId, TenantId};
use chancery_core::secret::TokenDigest;
use chancery_core::time::Timestamp;

impl Stored for ClientSpec {
    const TABLE: &'static Table = &table!("clients");

    fn parent(&self) -> Option<String> {
        self.agent.as_ref().map(ToString::to_string)
    }
}

/// The digests of a client's secrets that are still open, each with its end.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn load_secrets(
    db: &Db,
    tenant: TenantId,
    client: ClientId,
    now: Timestamp,
) -> Result<Vec<(TokenDigest, Option<Timestamp>)>, DbError> {
    let rows = db
        .query(
            &SECRETS,
            vec![Value::id(tenant), Value::id(client), Value::from(now)],
        )
        .await?;
    let mut secrets = Vec::with_capacity(rows.len());
    for row in rows {
        let digest: [u8; 32] = row
            .blob(0)?
            .try_into()
            .map_err(|_| corrupt("a digest is not 32 bytes"))?;
        secrets.push((TokenDigest::new(digest), row.optional_timestamp(1)?));
    }
    Ok(secrets)
}

/// Stores a secret's digest.
pub fn insert_secret(tenant: TenantId, client: ClientId, digest: &TokenDigest, now: Timestamp) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(client),
        Value::from(digest.as_bytes()),
        Value::from(now),
        Value::Null,
    ];
    Statement::new(&INSERT_SECRET, params, Expect::Rows(1), "secret")
}

/// Ends every open secret of a client at a moment: now, or after an overlap for rotation.
pub fn retire_secrets(tenant: TenantId, client: ClientId, end: Timestamp) -> Statement {
    let params = vec![Value::id(tenant), Value::id(client), Value::from(end)];
    Statement::new(&RETIRE_SECRETS, params, Expect::Any, "secrets")
}

const SECRETS: Sql = Sql::same(
    "SELECT digest, expires_at FROM client_secrets WHERE tenant = ?1 AND client = ?2 AND (expires_at IS NULL OR expires_at > ?3)",
);
const INSERT_SECRET: Sql = Sql::same(
    "INSERT INTO client_secrets (tenant, client, digest, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
);
const RETIRE_SECRETS: Sql = Sql::same(
    "UPDATE client_secrets SET expires_at = ?3 WHERE tenant = ?1 AND client = ?2 AND (expires_at IS NULL OR expires_at > ?3)",
);

pub(crate) const QUERIES: &[&Sql] = &[&SECRETS, &INSERT_SECRET, &RETIRE_SECRETS];
