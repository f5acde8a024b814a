//! Storage: all SQL of Chancery, one file per noun, over one small engine layer.
//!
//! Reads load facts; one conditional [`db::Batch`] commits. There are no interactive transactions.
//! Only the files under `db/` know which engine runs.
//!
//! To add a noun: give its spec a table in a new migration, implement [`Stored`] for it in a file of its
//! own, and add the table to [`queries`].

pub mod db;

mod agent;
pub mod approval;
pub mod authorization;
pub mod begun_connect;
mod binding;
mod blueprint;
pub mod call;
pub mod change;
mod client;
pub mod connected_account;
mod connection;
pub mod consumed;
mod delegation;
pub mod device_code;
pub mod enrolment;
pub mod event;
mod grant;
pub mod guard;
pub mod idempotency;
pub mod invitation;
mod issuer;
pub mod key;
pub mod lease;
pub mod log;
pub mod manifest;
mod migrations;
pub mod outbox;
pub mod passkey;
pub mod password;
mod policy_set;
pub mod provider_token;
pub mod record;
pub mod refresh_token;
mod registration;
mod resource;
pub mod restore;
mod session;
pub mod sign_in;
mod tenant;
mod token_family;
mod user;
pub mod vault;

pub use client::{insert_secret, load_secrets, retire_secrets};
pub use db::{Batch, Db, DbError, Expect, Outcome, Row, Sql, Statement, Value};
pub use delegation::{Delegation, DelegationSpec};
pub use grant::{count_use, grants_for, grants_of, spend_budget};
pub use issuer::issuer_key;
pub use migrations::MIGRATIONS;
pub use policy_set::{PolicySetRecord, PolicySetSpec};
pub use record::{Page, Stored};
pub use registration::{
    ALL_RULES, Registration, count_waiting, find_registration, insert_registration, list_overdue,
    settle_registration,
};
pub use session::{find_last_seen, is_worth_noting, prune_sessions, see_session};
pub use tenant::all_tenants;
pub use token_family::prune_families;
pub use user::{is_user_retired, user_key};

/// Every query of the product, so that a test can prepare each on both engines.
pub fn queries() -> Vec<&'static Sql> {
    let mut all = record::queries();
    for list in [
        approval::QUERIES,
        authorization::QUERIES,
        begun_connect::QUERIES,
        call::QUERIES,
        change::QUERIES,
        client::QUERIES,
        connected_account::QUERIES,
        consumed::QUERIES,
        device_code::QUERIES,
        enrolment::QUERIES,
        event::QUERIES,
        grant::QUERIES,
        idempotency::QUERIES,
        invitation::QUERIES,
        key::QUERIES,
        lease::QUERIES,
        log::QUERIES,
        manifest::QUERIES,
        outbox::QUERIES,
        passkey::QUERIES,
        password::QUERIES,
        provider_token::QUERIES,
        refresh_token::QUERIES,
        restore::QUERIES,
        registration::QUERIES,
        session::QUERIES,
        sign_in::QUERIES,
        tenant::QUERIES,
        token_family::QUERIES,
        user::QUERIES,
        vault::QUERIES,
    ] {
        all.extend(list);
    }
    all
}
