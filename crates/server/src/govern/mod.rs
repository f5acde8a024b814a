//! Governing: policy sets, decisions explained, the audit log read and proved, keys rotated, people enrolled,
//! ids of repositories looked up.

pub mod audit;
pub mod denied;
pub mod enrol;
pub mod keys;
pub mod policy;
pub mod sentence;
pub mod repository;
pub mod why;
