//! Tenants. A tenant's row lies in its own tenant.

use crate::db::{Db, DbError, Sql};
use crate::record::{self, Stored, Table, table};
use chancery_core::id::TenantId;
use chancery_core::noun::Lifecycle;
use chancery_core::tenant::{Tenant, TenantSpec};

impl Stored for TenantSpec {
    const TABLE: &'static Table = &table!("tenants");

    fn natural_key(&self, _state: Lifecycle) -> Option<String> {
        Some(self.base_url.clone())
    }
}

/// Every tenant, retired ones included. The only read across tenants: a node needs it to route requests.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn all_tenants(db: &Db) -> Result<Vec<Tenant>, DbError> {
    let mut tenants = Vec::new();
    for row in db.query(&ALL, Vec::new()).await? {
        let id: TenantId = row.id(0)?;
        tenants.extend(record::find_by_id::<TenantSpec>(db, id, id).await?);
    }
    Ok(tenants)
}

const ALL: Sql = Sql::same("SELECT id FROM tenants ORDER BY name");

pub(crate) const QUERIES: &[&Sql] = &[&ALL];
