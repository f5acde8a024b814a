//! Governing: policy sets, decisions explained, the audit log read and proved, keys rotated, people enrolled,
//! ids of repositories looked up, the vault rotated, the database copied and continued from a copy.

pub mod audit;
pub mod backup;
mod call_sentence;
pub mod calls;
pub mod denied;
pub mod destruction;
pub mod enrol;
pub mod entry;
pub mod keys;
pub mod policy;
pub mod repository;
pub mod restore;
mod restoring;
pub mod rotation;
pub mod sentence;
pub mod why;
