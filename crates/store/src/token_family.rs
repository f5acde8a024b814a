//! Token families: what was issued on each authorization code, so that it ends together.

use crate::db::{Expect, Sql, Statement, Value};
use crate::record::{Stored, Table, table};
use chancery_core::time::Timestamp;
use chancery_core::token_family::TokenFamilySpec;

impl Stored for TokenFamilySpec {
    const TABLE: &'static Table = &table!("token_families");

    fn parent(&self) -> Option<String> {
        Some(self.user.to_string())
    }
}

/// Forgets families that began before this moment, when nothing of theirs can be good any more.
pub fn prune_families(before: Timestamp) -> Statement {
    Statement::new(&PRUNE, vec![Value::from(before)], Expect::Any, "prune")
}

const PRUNE: Sql = Sql::same("DELETE FROM token_families WHERE created_at < ?1");

pub(crate) const QUERIES: &[&Sql] = &[&PRUNE];
