//! Whether everything that a token hangs on is still as it was when the token was issued.

use crate::app::App;
use crate::directory::cache::Shelf;
use crate::error::Failure;
use chancery_core::id::{Id as _, TenantId};
use chancery_core::lineage::{Guard, Lineage, Link};
use chancery_core::noun::{Noun, Record};
use chancery_store::Stored;

/// The state of one link now.
struct Present {
    is_active: bool,
    generation: u64,
    version: u64,
}

/// The guards of a lineage that is current, or `None` if any link has been revoked.
///
/// # Errors
/// The database's.
pub async fn check(app: &App, tenant: TenantId, lineage: &Lineage) -> Result<Option<Vec<Guard>>, Failure> {
    let mut guards = Vec::with_capacity(lineage.len());
    for link in lineage.iter() {
        let Some(present) = present(app, tenant, *link).await? else {
            return Ok(None);
        };
        if !present.is_active || present.generation != link.generation {
            return Ok(None);
        }
        guards.push(Guard {
            noun: link.noun,
            id: link.id,
            version: present.version,
        });
    }
    Ok(Some(guards))
}

async fn present(app: &App, tenant: TenantId, link: Link) -> Result<Option<Present>, Failure> {
    let directory = &app.directory;
    match link.noun {
        Noun::Tenant => Ok(app
            .tenants
            .find(TenantId::from_bytes(link.id))
            .filter(|found| found.tenant.id == tenant)
            .map(|found| summary(&found.tenant))),
        Noun::TrustedIssuer => look(&directory.issuers, tenant, link).await,
        Noun::User => look(&directory.users, tenant, link).await,
        Noun::Agent => look(&directory.agents, tenant, link).await,
        Noun::Client => look(&directory.clients, tenant, link).await,
        Noun::Blueprint => look(&directory.blueprints, tenant, link).await,
        Noun::RuntimeBinding => look(&directory.bindings, tenant, link).await,
        Noun::Resource => look(&directory.resources, tenant, link).await,
        Noun::Grant => look(&directory.grants, tenant, link).await,
        Noun::Delegation => look(&directory.delegations, tenant, link).await,
        Noun::Connection => look(&directory.connections, tenant, link).await,
        Noun::ConnectedAccount => look(&directory.accounts, tenant, link).await,
        Noun::Session => look(&directory.sessions, tenant, link).await,
        Noun::TokenFamily => look(&directory.families, tenant, link).await,
        Noun::RegistrationRule => look(&directory.registration_rules, tenant, link).await,
        // Nothing hangs on them.
        Noun::PolicySet | Noun::RegistrationToken => Ok(None),
    }
}

async fn look<S: Stored>(shelf: &Shelf<S>, tenant: TenantId, link: Link) -> Result<Option<Present>, Failure> {
    let record = shelf.find(tenant, S::Id::from_bytes(link.id)).await?;
    Ok(record.map(|record| summary(&record)))
}

fn summary<I, S>(record: &Record<I, S>) -> Present {
    Present {
        is_active: record.state.is_active(),
        generation: record.generation,
        version: record.version,
    }
}
