//! The vocabulary of Chancery: ids, names, time, randomness, secrets, scopes, actors, lineage,
//! the nouns of the directory and their states, decisions and audit events.
//!
//! No input or output happens here: no clock, no random source, no environment, no files. Time and
//! randomness are traits that the edge implements and everything else receives.

pub mod actor;
pub mod agent;
pub mod approval;
pub mod assurance;
pub mod authorization_details;
pub mod binding;
pub mod blueprint;
pub mod call;
pub mod client;
pub mod connected_account;
pub mod connection;
pub mod decision;
pub mod event;
pub mod glob;
pub mod grant;
pub mod id;
pub mod issuer;
pub mod json;
pub mod lineage;
pub mod name;
pub mod noun;
pub mod proposal;
pub mod random;
pub mod redirect;
pub mod registration;
pub mod resource;
#[cfg(feature = "schema")]
mod schema;
pub mod scope;
pub mod secret;
pub mod session;
pub mod tenant;
pub mod time;
pub mod token_family;
pub mod upstream;
pub mod uri;
pub mod user;
