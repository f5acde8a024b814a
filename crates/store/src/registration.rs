//! Registration rules and initial access tokens; and the registrations of clients that made themselves known: the
//! digest of the token that manages each, and until when it waits for an agent.

use crate::db::{Db, DbError, Expect, Sql, Statement, Value};
use crate::record::{Stored, Table, corrupt, table};
use chancery_core::id::{ClientId, TenantId};
use chancery_core::noun::Lifecycle;
use chancery_core::registration::{RegistrationRuleSpec, RegistrationTokenSpec};
use chancery_core::secret::TokenDigest;
use chancery_core::time::Timestamp;

impl Stored for RegistrationRuleSpec {
    const TABLE: &'static Table = &table!("registration_rules");

    /// All rules of a tenant are read together.
    fn parent(&self) -> Option<String> {
        Some(ALL_RULES.to_owned())
    }
}

impl Stored for RegistrationTokenSpec {
    const TABLE: &'static Table = &table!("registration_tokens");

    fn natural_key(&self, _state: Lifecycle) -> Option<String> {
        Some(self.digest.clone())
    }

    fn parent(&self) -> Option<String> {
        Some(self.agent.to_string())
    }
}

/// What is known of a client's registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The digest of the token that manages it, if it has one.
    pub digest: Option<TokenDigest>,
    /// When the client registered.
    pub created_at: Timestamp,
    /// Until when it waits for an agent.
    pub expires_at: Option<Timestamp>,
}

/// The registration of a client.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find_registration(
    db: &Db,
    tenant: TenantId,
    client: ClientId,
) -> Result<Option<Registration>, DbError> {
    let row = db
        .query_optional(&FIND, vec![Value::id(tenant), Value::id(client)])
        .await?;
    let Some(row) = row else { return Ok(None) };
    let digest = row.optional_blob(0)?;
    let digest = digest.map(|bytes| {
        let bytes: [u8; 32] = bytes
            .try_into()
            .map_err(|_| corrupt("a digest is not 32 bytes"))?;
        Ok::<_, DbError>(TokenDigest::new(bytes))
    });
    Ok(Some(Registration {
        digest: digest.transpose()?,
        created_at: row.timestamp(1)?,
        expires_at: row.optional_timestamp(2)?,
    }))
}

/// How many clients of a tenant wait for an agent.
///
/// # Errors
/// The database fails.
pub async fn count_waiting(db: &Db, tenant: TenantId) -> Result<i64, DbError> {
    let row = db.query_optional(&COUNT, vec![Value::id(tenant)]).await?;
    row.map_or(Ok(0), |row| row.integer(0))
}

/// Clients that have waited too long, at most 100.
///
/// # Errors
/// The database fails.
pub async fn list_overdue(db: &Db, tenant: TenantId, now: Timestamp) -> Result<Vec<ClientId>, DbError> {
    let rows = db
        .query(&OVERDUE, vec![Value::id(tenant), Value::from(now)])
        .await?;
    rows.iter().map(|row| row.id(0)).collect()
}

/// Notes a registration.
pub fn insert_registration(tenant: TenantId, client: ClientId, registration: &Registration) -> Statement {
    let digest = registration.digest.as_ref().map(TokenDigest::as_bytes);
    let params = vec![
        Value::id(tenant),
        Value::id(client),
        digest.map_or(Value::Null, Value::from),
        Value::from(registration.created_at),
        registration.expires_at.map_or(Value::Null, Value::from),
    ];
    Statement::new(&INSERT, params, Expect::Rows(1), "registration")
}

/// The client waits no more: it was adopted, or it ended.
pub fn settle_registration(tenant: TenantId, client: ClientId) -> Statement {
    let params = vec![Value::id(tenant), Value::id(client)];
    Statement::new(&SETTLE, params, Expect::Any, "registration")
}

/// The parent of every rule.
pub const ALL_RULES: &str = "rules";

const FIND: Sql = Sql::same(
    "SELECT digest, created_at, expires_at FROM client_registrations WHERE tenant = ?1 AND client = ?2",
);
const COUNT: Sql =
    Sql::same("SELECT COUNT(*) FROM client_registrations WHERE tenant = ?1 AND expires_at IS NOT NULL");
const OVERDUE: Sql = Sql::same(
    "SELECT client FROM client_registrations WHERE tenant = ?1 AND expires_at <= ?2 ORDER BY expires_at LIMIT 100",
);
const INSERT: Sql = Sql::same(
    "INSERT INTO client_registrations (tenant, client, digest, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
);
const SETTLE: Sql =
    Sql::same("UPDATE client_registrations SET expires_at = NULL WHERE tenant = ?1 AND client = ?2");

pub(crate) const QUERIES: &[&Sql] = &[&FIND, &COUNT, &OVERDUE, &INSERT, &SETTLE];
