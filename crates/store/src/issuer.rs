//! Trusted issuers, found by their exact `iss`.

use crate::record::{Stored, Table, table};
use chancery_core::issuer::TrustedIssuerSpec;
use chancery_core::noun::Lifecycle;

impl Stored for TrustedIssuerSpec {
    const TABLE: &'static Table = &table!("trusted_issuers");

    fn natural_key(&self, _state: Lifecycle) -> Option<String> {
        Some(issuer_key(&self.issuer))
    }
}

/// The natural key of the issuer with this `iss`.
pub fn issuer_key(issuer: &str) -> String {
    issuer.to_owned()
}
