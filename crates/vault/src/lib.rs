//! The vault's cryptography: envelope encryption and the key hierarchy (design, section 8).
//!
//! ```text
//! record ── data key (random, one per record) ── tenant key ── root key
//! ```
//!
//! Where a service holds the root key, a wrapping key lies between: it wraps one tenant key, and the service wraps it.
//!
//! Every arrow is AES-256-GCM (NIST SP 800-38D); every key that is not random is derived with
//! HKDF-SHA256 (RFC 5869). What is sealed is bound to what it is for by [`AssociatedData`]: a row
//! that is moved to another owner, account, connection, destination or tenant no longer opens.
//!
//! This crate does not store anything, does not speak to services (it writes the requests and reads the answers), does not decide who may open what, and reads no clock, file
//! or environment: keys, bytes and the random source are arguments.

pub mod associated;
mod cipher;
pub mod derive;
pub mod error;
mod field;
pub mod root;
pub mod sealed;
pub mod service;
pub mod tenant;
pub mod wrapping;

pub use associated::{
    AssociatedData, ConnectionSecret, Credential, DerivedKey, IssuerSecret, Owner, SigningKey, SigningUse,
};
pub use derive::Purpose;
pub use error::VaultError;
pub use root::{CheckValue, RootKey, RootKeyId};
pub use sealed::{Sealed, open, rewrap, seal};
pub use service::{KeyService, Proof, ServiceAnswer, ServiceError, ServiceRequest, SourceError};
pub use tenant::{SealedTenantKey, TenantKey, TenantKeyId};
pub use wrapping::{Binding, WrappingKey};
