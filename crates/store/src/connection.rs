//! Connections.

use crate::record::{Stored, Table, table};
use chancery_core::connection::ConnectionSpec;

impl Stored for ConnectionSpec {
    const TABLE: &'static Table = &table!("connections");
}
