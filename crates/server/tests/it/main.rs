//! The product through its real router, on SQLite and on PostgreSQL: every rule that a client, a person or an
//! auditor can see, with a clock that stands still and always two tenants.
//!
//! `cargo xtask test` starts a throw-away PostgreSQL for it. The modules say `cfg(test)`, which always
//! holds here, so that the lints know their helpers for tests.

#[cfg(test)]
mod apply;
#[cfg(test)]
mod approval;
#[cfg(test)]
mod approval_calls;
#[cfg(test)]
mod approval_documents;
#[cfg(test)]
mod approval_mail;
#[cfg(test)]
mod approval_pages;
#[cfg(test)]
mod approval_requests;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod authenticator;
#[cfg(test)]
mod authorize;
#[cfg(test)]
mod backchannel;
#[cfg(test)]
mod broker;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod chain;
#[cfg(test)]
mod client_credentials;
#[cfg(test)]
mod client_key;
#[cfg(test)]
mod client_runtime;
#[cfg(test)]
mod client_secret;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod connect;
#[cfg(test)]
mod connect_calls;
#[cfg(test)]
mod connect_deputy;
#[cfg(test)]
mod connect_faults;
#[cfg(test)]
mod connect_shared;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod consent;
#[cfg(test)]
mod console;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod crossing;
#[cfg(test)]
mod details;
#[cfg(test)]
mod device;
#[cfg(test)]
mod estate;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod flood;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod github;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod identity_provider;
#[cfg(test)]
mod inspect;
#[cfg(test)]
mod introspection;
#[cfg(test)]
mod issuers;
#[cfg(test)]
mod jwt_bearer;
#[cfg(test)]
mod key_service;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod local_users;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod machine_assertion;
#[cfg(test)]
mod machine_credentials;
#[cfg(test)]
mod machine_federation;
#[cfg(test)]
mod machine_installation;
#[cfg(test)]
mod malice;
#[cfg(test)]
mod management;
#[cfg(test)]
mod metadata_document;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod oauth_provider;
#[cfg(test)]
mod outside;
#[cfg(test)]
mod passkeys;
#[cfg(test)]
mod people_faults;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod presets;
#[cfg(test)]
mod problems;
#[cfg(test)]
mod public_client;
#[cfg(test)]
mod refresh;
#[cfg(test)]
mod registration;
#[cfg(test)]
mod release;
#[cfg(test)]
mod restore;
#[cfg(test)]
mod revocation;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod sign_in;
#[cfg(test)]
mod sinks;
#[cfg(test)]
mod step_up;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod test_mode;
#[cfg(test)]
mod token_form;
#[cfg(test)]
mod token_refresh;
#[cfg(test)]
mod transit;
#[cfg(test)]
mod undecided;
#[cfg(test)]
mod upstream;
#[cfg(test)]
mod users;
