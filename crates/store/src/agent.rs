//! Agents, listed by blueprint.

use crate::record::{Stored, Table, table};
use chancery_core::agent::AgentSpec;

impl Stored for AgentSpec {
    const TABLE: &'static Table = &table!("agents");

    fn parent(&self) -> Option<String> {
        self.blueprint.as_ref().map(ToString::to_string)
    }
}
