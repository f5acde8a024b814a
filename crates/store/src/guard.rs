//! Guards: the rows that a decision relied on, asserted unchanged when it commits.

use crate::db::{Expect, Statement, Value};
use crate::record::{Stored, Table, number};
use chancery_core::agent::AgentSpec;
use chancery_core::binding::RuntimeBindingSpec;
use chancery_core::blueprint::BlueprintSpec;
use chancery_core::client::ClientSpec;
use chancery_core::connected_account::ConnectedAccountSpec;
use chancery_core::connection::ConnectionSpec;
use chancery_core::grant::GrantSpec;
use chancery_core::id::TenantId;
use chancery_core::issuer::TrustedIssuerSpec;
use chancery_core::lineage::Guard;
use chancery_core::noun::Noun;
use chancery_core::registration::{RegistrationRuleSpec, RegistrationTokenSpec};
use chancery_core::resource::ResourceSpec;
use chancery_core::session::SessionSpec;
use chancery_core::tenant::TenantSpec;
use chancery_core::token_family::TokenFamilySpec;
use chancery_core::user::UserSpec;

/// The label of a guard that fails.
pub const STALE: &str = "stale";

/// Guards as statements, in the one order in which every batch locks rows: by noun, then by id.
pub fn statements(tenant: TenantId, guards: &[Guard]) -> Vec<Statement> {
    let mut ordered: Vec<&Guard> = guards.iter().collect();
    ordered.sort_by_key(|guard| (guard.noun, guard.id));
    let statement = |guard: &&Guard| {
        let params = vec![Value::id(tenant), Value::from(&guard.id), number(guard.version)];
        Statement::new(&table(guard.noun).guard, params, Expect::Rows(1), STALE)
    };
    ordered.iter().map(statement).collect()
}

pub(crate) static TABLES: &[(Noun, &Table)] = &[
    (Noun::Tenant, TenantSpec::TABLE),
    (Noun::TrustedIssuer, TrustedIssuerSpec::TABLE),
    (Noun::User, UserSpec::TABLE),
    (Noun::Agent, AgentSpec::TABLE),
    (Noun::Client, ClientSpec::TABLE),
    (Noun::Blueprint, BlueprintSpec::TABLE),
    (Noun::RuntimeBinding, RuntimeBindingSpec::TABLE),
    (Noun::Resource, ResourceSpec::TABLE),
    (Noun::Grant, GrantSpec::TABLE),
    (Noun::Delegation, crate::DelegationSpec::TABLE),
    (Noun::PolicySet, crate::PolicySetSpec::TABLE),
    (Noun::Connection, ConnectionSpec::TABLE),
    (Noun::ConnectedAccount, ConnectedAccountSpec::TABLE),
    (Noun::Session, SessionSpec::TABLE),
    (Noun::TokenFamily, TokenFamilySpec::TABLE),
    (Noun::RegistrationRule, RegistrationRuleSpec::TABLE),
    (Noun::RegistrationToken, RegistrationTokenSpec::TABLE),
];

fn table(noun: Noun) -> &'static Table {
    match noun {
        Noun::Tenant => TenantSpec::TABLE,
        Noun::TrustedIssuer => TrustedIssuerSpec::TABLE,
        Noun::User => UserSpec::TABLE,
        Noun::Agent => AgentSpec::TABLE,
        Noun::Client => ClientSpec::TABLE,
        Noun::Blueprint => BlueprintSpec::TABLE,
        Noun::RuntimeBinding => RuntimeBindingSpec::TABLE,
        Noun::Resource => ResourceSpec::TABLE,
        Noun::Grant => GrantSpec::TABLE,
        Noun::Delegation => crate::DelegationSpec::TABLE,
        Noun::PolicySet => crate::PolicySetSpec::TABLE,
        Noun::Connection => ConnectionSpec::TABLE,
        Noun::ConnectedAccount => ConnectedAccountSpec::TABLE,
        Noun::Session => SessionSpec::TABLE,
        Noun::TokenFamily => TokenFamilySpec::TABLE,
        Noun::RegistrationRule => RegistrationRuleSpec::TABLE,
        Noun::RegistrationToken => RegistrationTokenSpec::TABLE,
    }
}
