//! Decisions: what policy says about a proposal, before anything is signed.
//!
//! The only importer of Cedar. Two layers decide together: the built-in *floor* (forbids that nobody can
//! edit) and the tenant's active set. Both must permit; any evaluation error is a deny.
//!
//! - [`mod@set`]: parse, validate and index a set once; [`mod@slice`] finds the few policies that can match.
//! - [`decide`](mod@decide): a proposal becomes a [`Permit`] or a stored deny.
//! - [`call`](mod@call): the same for the use of a token at a resource that Chancery stands before.
//! - [`approve`]: who may say yes or no to what needs a person's yes.
//! - [`manage`]: the same for management requests.
//! - [`explain`]: the `why` table of a decision.
//!
//! No token is signed without a [`Permit`] and no credential opened without a [`UsePermit`], and only this crate
//! builds them.

mod call_entities;
mod entities;
mod hypothesis;
mod memory;
mod reads;

pub mod approve;
pub mod call;
pub mod decide;
pub mod explain;
pub mod manage;
pub mod permit;
pub mod set;
pub mod slice;

pub use approve::{ApprovalAnswer, ApprovalPermit};
pub use call::{UseVerdict, decide_use, visible};
pub use decide::{NeedsApproval, Verdict, decide, evaluate_again};
pub use manage::{ManagementAction, ManagementPermit, ManagementRequest, Manager};
pub use permit::{Permit, UsePermit};
pub use set::{PolicyError, PolicySet};

/// The default policies of a new tenant.
pub const DEFAULT_POLICIES: &str = include_str!("../../../policies/default.cedar");
/// The schema that policies are validated against.
pub const SCHEMA: &str = include_str!("../../../policies/schema.cedarschema");
