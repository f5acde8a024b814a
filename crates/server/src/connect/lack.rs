//! What an agent is told whose person has no account to use: where the person connects one.

use super::begin::link;
use crate::app::App;
use crate::error::{Failure, Refusal};
use crate::tenants::Served;
use chancery_core::connection::OwnerLevel;
use chancery_core::decision::{Decision, DenyReason};
use chancery_core::id::DecisionId;
use chancery_core::name::Name;

/// What a refused call lacks, if a person can give it on a page of ours.
///
/// # Errors
/// The database's.
pub async fn of_decision(
    app: &App,
    served: &Served,
    decision: &Decision,
) -> Result<Option<Refusal>, Failure> {
    let is_lack = matches!(
        decision.reason,
        Some(DenyReason::AccountMissing | DenyReason::ConnectionNotGranted)
    );
    let facts = &decision.facts;
    let connection = facts.call.as_ref().and_then(|call| call.connection.as_ref());
    match (connection, &facts.user) {
        (Some(connection), Some(_)) if is_lack => {
            of(app, served, (&connection.name, &facts.agent.name), decision.id).await
        }
        (Some(_) | None, _) => Ok(None),
    }
}

/// That the account of an agent's person at a connection is to be connected, if that is done on a page of ours.
///
/// # Errors
/// The database's.
pub(super) async fn of(
    app: &App,
    served: &Served,
    (connection, agent): (&Name, &Name),
    decision: DecisionId,
) -> Result<Option<Refusal>, Failure> {
    let found = app
        .directory
        .connections
        .find_by_name(served.tenant.id, connection)
        .await?;
    let by_page = found.is_some_and(|found| {
        found.state.is_active()
            && found.spec.owner_level == OwnerLevel::User
            && found.spec.credential.by_page().is_some()
    });
    if !by_page || !served.has_own_host() {
        return Ok(None);
    }
    Ok(Some(Refusal::NotConnected {
        connection: connection.clone(),
        url: link(served, connection, agent),
        decision,
    }))
}
