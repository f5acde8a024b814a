//! Users, found by issuer and subject.

use crate::record::{Stored, Table, table};
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
