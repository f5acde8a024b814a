//! Blueprints.

use crate::record::{Stored, Table, table};
use chancery_core::blueprint::BlueprintSpec;

impl Stored for BlueprintSpec {
    const TABLE: &'static Table = &table!("blueprints");
}
