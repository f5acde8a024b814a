//! Runtime bindings, listed by issuer.

use crate::record::{Stored, Table, table};
use chancery_core::binding::RuntimeBindingSpec;

impl Stored for RuntimeBindingSpec {
    const TABLE: &'static Table = &table!("runtime_bindings");

    fn parent(&self) -> Option<String> {
        Some(self.issuer.to_string())
    }
}
