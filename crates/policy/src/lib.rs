//! Decisions: what policy says about a proposal, before anything is signed.
//!
//! The only importer of Cedar. Two layers decide together: the built-in *floor* (forbids that nobody can
//! edit) and the tenant's active set. Both must permit; any evaluation error is a deny.
//!
//! - [`mod@set`]: parse, validate and index a set once; [`mod@slice`] finds the few policies that can match.
//! - [`decide`](mod@decide): a proposal becomes a [`Permit`] or a stored deny.
//! - [`manage`]: the same for management requests.
//! - [`explain`]: the `why` table of a decision.
//!
//! No token is signed and no credential opened without a [`Permit`], and only this crate builds one.

mod entities;

pub mod decide;
pub mod explain;
pub mod manage;
pub mod permit;
pub mod set;
pub mod slice;

pub use decide::{Verdict, decide};
pub use manage::{ManagementAction, ManagementPermit, ManagementRequest, Manager};
pub use permit::Permit;
pub use set::{PolicyError, PolicySet};

/// The default policies of a new tenant.
pub const DEFAULT_POLICIES: &str = include_str!("../../../policies/default.cedar");
/// The schema that policies are validated against.
pub const SCHEMA: &str = include_str!("../../../policies/schema.cedarschema");
