//! Users, found by issuer and subject.

use crate::db::{Db, DbError, Sql, Value};
use crate::record::{Stored, Table, table};
use chancery_core::id::TenantId;
use chancery_core::name::Name;
use chancery_core::noun::Lifecycle;
use chancery_core::user::UserSpec;

impl Stored for UserSpec {
    const TABLE: &'static Table = &table!("users");

    fn natural_key(&self, _state: Lifecycle) -> Option<String> {
        Some(user_key(&self.issuer, &self.subject))
    }

    fn parent(&self) -> Option<String> {
        Some(self.issuer.to_string())
    }
}

/// The natural key of a person. A name has no space, so the two halves cannot run into each other.
pub fn user_key(issuer: &Name, subject: &str) -> String {
    format!("{issuer} {subject}")
}

/// Whether a person with this natural key was retired.
///
/// # Errors
/// The database fails.
pub async fn is_user_retired(db: &Db, tenant: TenantId, key: &str) -> Result<bool, DbError> {
    let params = vec![Value::id(tenant), Value::from(key)];
    Ok(db.query_optional(&RETIRED, params).await?.is_some())
}

const RETIRED: Sql =
    Sql::same("SELECT 1 FROM users WHERE tenant = ?1 AND natural_key = ?2 AND state = 'retired' LIMIT 1");

pub(crate) const QUERIES: &[&Sql] = &[&RETIRED];
