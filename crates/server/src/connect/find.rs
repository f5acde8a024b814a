//! Finding what a call through a connection may use: the one account of the right owner, and the grants that cover
//! the calling agent and principal. There is no search and no fallback to another owner's account.

use crate::app::App;
use crate::connect::{destination_fingerprint, hexadecimal};
use crate::error::Failure;
use chancery_core::agent::Agent;
use chancery_core::call::{AccountUse, ConnectionFacts, ConnectionUse, TokensSeen};
use chancery_core::connected_account::{AccountOwner, ConnectedAccount, ConnectedAccountSpec, OwnerId};
use chancery_core::connection::{Connection, OwnerLevel};
use chancery_core::grant::{Grant, Principal};
use chancery_core::id::{GrantId, Id, TenantId};
use chancery_core::lineage::{Guard, Lineage, Link};
use chancery_core::name::Name;
use chancery_core::noun::{Noun, Record, Spec};
use chancery_core::time::Timestamp;
use chancery_core::user::User;
use chancery_store::provider_token::{self, ProviderTokenRow};
use std::sync::Arc;

/// Who calls, for whom.
#[derive(Clone, Copy, Debug)]
pub struct Calling<'a> {
    /// The agent that presented the token: its current actor.
    pub agent: &'a Agent,
    /// The person behind the token.
    pub user: Option<&'a User>,
    /// The request's moment.
    pub now: Timestamp,
}

/// A connection as a call may use it: facts for policy, and what goes into the plan.
#[derive(Clone, Debug)]
pub struct Found {
    /// The connection.
    pub connection: Arc<Connection>,
    /// What policy sees.
    pub facts: ConnectionFacts,
    /// What the permit will name.
    pub usage: ConnectionUse,
    /// What the call hangs on.
    pub lineage: Lineage,
    /// What was read.
    pub guards: Vec<Guard>,
    /// Grants whose budget the call spends.
    pub spends: Vec<(GrantId, u64)>,
}

/// What a call may use of the connection with this name. `None` if there is no such connection in use.
///
/// # Errors
/// The database's.
pub async fn connection(
    app: &App,
    tenant: TenantId,
    name: &Name,
    calling: Calling<'_>,
) -> Result<Option<Found>, Failure> {
    let found = app.directory.connections.find_by_name(tenant, name).await?;
    let Some(connection) = found.filter(|connection| connection.state.is_active()) else {
        return Ok(None);
    };
    let fingerprint = destination_fingerprint(&connection.spec);
    let account = account(app, tenant, &connection, &fingerprint, calling).await?;
    let grants = grants(app, tenant, name, calling).await?;

    let mut lineage = Lineage::default();
    let mut guards = vec![guard(&*connection)];
    lineage.push(link(&*connection));
    if let Some((account, _, _)) = &account {
        lineage.push(link(&**account));
        guards.push(guard(&**account));
    }
    for grant in &grants {
        lineage.push(link(&**grant));
        guards.push(guard(&**grant));
    }
    Ok(Some(Found {
        facts: ConnectionFacts {
            name: connection.name.clone(),
            owner_level: connection.spec.owner_level,
            needs_account: !connection.spec.credential.parts().is_empty(),
            account_owner: account
                .as_ref()
                .map(|(account, _, _)| account.spec.owner.as_key()),
            granted: !grants.is_empty(),
            handling: connection.spec.handling,
            flow: connection.spec.credential.flow(),
            scopes: account
                .as_ref()
                .map(|(account, _, _)| account.spec.scopes.clone())
                .unwrap_or_default(),
        },
        usage: ConnectionUse {
            connection: connection.id,
            account: account.map(|(account, owner, tokens)| AccountUse {
                id: account.id,
                owner,
                tokens,
            }),
            fingerprint,
        },
        lineage,
        guards,
        spends: grants
            .iter()
            .filter_map(|grant| Some((grant.id, grant.spec.budget?)))
            .collect(),
        connection,
    }))
}

/// The one account that this call may use: of the person behind the token, of the calling agent, or of the tenant,
/// as the connection says. An account that was sealed for another destination is as good as none.
async fn account(
    app: &App,
    tenant: TenantId,
    connection: &Connection,
    fingerprint: &[u8; 32],
    calling: Calling<'_>,
) -> Result<Option<(Arc<ConnectedAccount>, OwnerId, Option<TokensSeen>)>, Failure> {
    if connection.spec.credential.parts().is_empty() {
        return Ok(None);
    }
    let (owner, id) = match (connection.spec.owner_level, calling.user) {
        (OwnerLevel::User, Some(user)) => (AccountOwner::User(user.name.clone()), OwnerId::User(user.id)),
        (OwnerLevel::User, None) => return Ok(None),
        (OwnerLevel::Agent, _) => (
            AccountOwner::Agent(calling.agent.name.clone()),
            OwnerId::Agent(calling.agent.id),
        ),
        (OwnerLevel::Tenant, _) => (AccountOwner::Tenant, OwnerId::Tenant(tenant)),
    };
    let key = ConnectedAccountSpec::key(&connection.name, &owner);
    let found = app.directory.accounts.find_by_key(tenant, key).await?;
    let usable = |account: &Arc<ConnectedAccount>| {
        account.state.is_active()
            && !account.spec.is_over(calling.now)
            && account.spec.fingerprint == hexadecimal(fingerprint)
    };
    let Some(account) = found.filter(usable) else {
        return Ok(None);
    };
    if connection.spec.credential.is_token() {
        let tokens = provider_token::find(&app.db, tenant, account.id).await?;
        let tokens = tokens.filter(|tokens| tokens.is_usable(calling.now));
        return Ok(tokens.map(|tokens| (account, id, Some(seen(&tokens)))));
    }
    Ok(Some((account, id, None)))
}

fn seen(row: &ProviderTokenRow) -> TokensSeen {
    TokensSeen {
        position: row.position,
        expires_at: row.expires_at,
        is_refreshable: row.is_refreshable,
    }
}

/// Open grants to exactly this agent for exactly this principal that name the connection.
async fn grants(
    app: &App,
    tenant: TenantId,
    connection: &Name,
    calling: Calling<'_>,
) -> Result<Vec<Arc<Grant>>, Failure> {
    let agent = &calling.agent.name;
    let mut grants = match calling.user {
        None => app.directory.grants_of(tenant, agent, &Principal::Itself).await?,
        Some(user) => {
            let own = Principal::User(user.name.clone());
            let mut grants = app.directory.grants_of(tenant, agent, &own).await?;
            grants.extend(app.directory.grants_of(tenant, agent, &Principal::Tenant).await?);
            grants
        }
    };
    grants.retain(|grant| {
        grant.state.is_active()
            && grant.spec.is_open(calling.now)
            && grant.spec.at_connection() == Some(connection)
    });
    Ok(grants)
}

fn link<S: Spec>(record: &Record<S::Id, S>) -> Link {
    Link {
        noun: S::NOUN,
        id: *record.id.as_bytes(),
        generation: record.generation,
    }
}

fn guard<S: Spec>(record: &Record<S::Id, S>) -> Guard {
    Guard {
        noun: S::NOUN,
        id: *record.id.as_bytes(),
        version: record.version,
    }
}

/// The version of a noun that a list of guards relies on.
pub(super) fn guarded(guards: &[Guard], noun: Noun, id: &[u8; 16]) -> Option<u64> {
    guards
        .iter()
        .find(|guard| guard.noun == noun && guard.id == *id)
        .map(|guard| guard.version)
}
