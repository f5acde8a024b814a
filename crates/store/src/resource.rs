//! Resources, found by their URI.

use crate::record::{Stored, Table, table};
use chancery_core::noun::Lifecycle;
use chancery_core::resource::ResourceSpec;

impl Stored for ResourceSpec {
    const TABLE: &'static Table = &table!("resources");

    fn natural_key(&self, _state: Lifecycle) -> Option<String> {
        Some(self.uri.to_string())
    }

    fn parent(&self) -> Option<String> {
        self.agent.as_ref().map(ToString::to_string)
    }
}
