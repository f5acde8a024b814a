//! The protocol of OAuth and OpenID Connect, pure: parsing, the rules of the standards, and the
//! tokens themselves.
//!
//! Nothing here is asynchronous, and nothing reads a clock, the environment, a file or the network:
//! the present moment and every key are arguments.

pub mod authentication;
pub mod claims;
pub mod error;
pub mod form;
pub mod grant;
pub mod installation;
pub mod jose;
pub mod metadata;
pub mod provider;
pub mod redirect;
pub mod registration;
pub mod request;
pub mod runtime;
pub mod sign_in;
pub mod urn;
pub mod user_code;
pub mod user_token;
