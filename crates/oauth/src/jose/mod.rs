//! JSON Object Signing: the only place that parses a JWT or builds one for signing.
//!
//! Implements compact JWS (RFC 7515), public keys and sets (RFC 7517, RFC 8037, RFC 7638), the
//! asymmetric algorithms (RFC 7518, RFC 9864 for the name `Ed25519`) and JWT (RFC 7519) with the best
//! current practice of RFC 8725. Keys are parsed once and used many times.
//!
//! The way through: [`UnverifiedJwt::parse`] → choose keys by what it says, unproven →
//! [`verify`] with a [`Profile`] → [`VerifiedClaims`]. There is no verification without a profile, no
//! `none`, no HMAC, no JSON serialisation, no encryption (JWE), and no key taken from a header but
//! where a profile says so.

mod algorithm;
pub mod base64url;
mod jwk;
mod jwk_set;
mod jws;
mod key;
mod profile;
mod rsa;
mod sign;
mod signing_key;
mod verify;

pub use algorithm::{Algorithm, KeyKind, UnknownAlgorithm};
pub use jwk::{Jwk, JwkError};
pub use jwk_set::{JwkSet, JwkSetError, JwkSetLimits, SkippedKey};
pub use jws::{JwtError, JwtPart, UnverifiedClaims, UnverifiedJwt};
pub use key::{KeyError, KeyLookupError, KeySource, VerifyingKey};
pub use profile::{AudienceRule, IssuerRule, Profile, SubjectRule, TypeRule};
pub use rsa::RsaKeyError;
pub use sign::{HeaderTemplate, SignError, SigningInput};
pub use signing_key::SigningKey;
pub use verify::{VerifiedClaims, VerifyError, verify};

#[cfg(test)]
mod attack_tests;
#[cfg(test)]
mod vector_tests;
