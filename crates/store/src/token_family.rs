//! Token families: what was issued on each authorization code, so that it ends together.

use crate::record::{Stored, Table, table};
use chancery_core::token_family::TokenFamilySpec;

impl Stored for TokenFamilySpec {
    const TABLE: &'static Table = &table!("token_families");

    fn parent(&self) -> Option<String> {
        Some(self.user.to_string())
    }
}
