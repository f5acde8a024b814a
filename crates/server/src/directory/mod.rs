//! The directory: finding nouns (cached), and changing them.
//!
//! A change is planned (checked, decided by policy, turned into statements) and then committed; many planned
//! changes may share one batch, as `apply` does.

pub mod apply;
pub mod cache;
pub mod change;
mod document;
pub mod export;
pub mod kill;
pub mod lineage;
pub mod managed;
pub mod me;
mod references;
pub mod secret;
pub mod tenant;
pub mod view;
