//! Grants: one in use for each agent, principal and resource or connection; and what was used of their budgets.

use crate::db::{Db, DbError, Expect, Sql, Statement, Value};
use crate::record::{self, Stored, Table, number, table};
use chancery_core::grant::{Grant, GrantSpec, Principal};
use chancery_core::id::{GrantId, TenantId};
use chancery_core::name::Name;
use chancery_core::noun::Lifecycle;

impl Stored for GrantSpec {
    const TABLE: &'static Table = &table!("grants");

    fn natural_key(&self, _state: Lifecycle) -> Option<String> {
        Some(format!(
            "{} {} {}",
            self.agent,
            self.principal.as_key(),
            self.place()
        ))
    }

    fn parent(&self) -> Option<String> {
        Some(parent_key(&self.agent, &self.principal))
    }
}

/// Grants in use to an agent for exactly this principal. There is no fallback to another principal's.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn grants_of(
    db: &Db,
    tenant: TenantId,
    agent: &Name,
    principal: &Principal,
) -> Result<Vec<Grant>, DbError> {
    record::list_by_parent::<GrantSpec>(db, tenant, &parent_key(agent, principal)).await
}

/// Grants in use for exactly this principal, of every agent, in order of names.
///
/// # Errors
/// As [`grants_of`].
pub async fn grants_for(db: &Db, tenant: TenantId, principal: &Principal) -> Result<Vec<Grant>, DbError> {
    let params = vec![Value::id(tenant), Value::from(principal.as_key())];
    let rows = db.query(&FOR_PRINCIPAL, params).await?;
    rows.iter().map(record::read).collect()
}

/// Starts counting uses of a grant with a budget.
pub fn count_use(tenant: TenantId, grant: GrantId) -> Statement {
    Statement::new(
        &COUNT,
        vec![Value::id(tenant), Value::id(grant)],
        Expect::Any,
        "budget",
    )
}

/// Spends one use. Fails with label `budget` when the budget is used up.
pub fn spend_budget(tenant: TenantId, grant: GrantId, budget: u64) -> Statement {
    let params = vec![Value::id(tenant), Value::id(grant), number(budget)];
    Statement::new(&SPEND, params, Expect::Rows(1), "budget")
}

fn parent_key(agent: &Name, principal: &Principal) -> String {
    format!("{agent} {}", principal.as_key())
}

const FOR_PRINCIPAL: Sql = Sql::pair(
    "SELECT id, name, state, generation, version, created_at, updated_at, spec FROM grants
     WHERE tenant = ?1 AND substr(parent, instr(parent, ' ') + 1) = ?2 AND state <> 'retired' ORDER BY name LIMIT 10000",
    "SELECT id, name, state, generation, version, created_at, updated_at, spec FROM grants
     WHERE tenant = ?1 AND substr(parent, strpos(parent, ' ') + 1) = ?2 AND state <> 'retired' ORDER BY name LIMIT 10000",
);
const COUNT: Sql =
    Sql::same("INSERT INTO grant_uses (tenant, id, used) VALUES (?1, ?2, 0) ON CONFLICT DO NOTHING");
// A grant may have had no budget when it was made, so that the first use may be the one that counts first.
const SPEND: Sql = Sql::pair(
    "INSERT INTO grant_uses (tenant, id, used) SELECT ?1, ?2, 1 WHERE ?3 > 0
     ON CONFLICT (tenant, id) DO UPDATE SET used = grant_uses.used + 1 WHERE grant_uses.used < ?3",
    "INSERT INTO grant_uses (tenant, id, used)
     SELECT CAST(?1 AS BYTEA), CAST(?2 AS BYTEA), 1 WHERE CAST(?3 AS BIGINT) > 0
     ON CONFLICT (tenant, id) DO UPDATE SET used = grant_uses.used + 1 WHERE grant_uses.used < ?3",
);

pub(crate) const QUERIES: &[&Sql] = &[&FOR_PRINCIPAL, &COUNT, &SPEND];
