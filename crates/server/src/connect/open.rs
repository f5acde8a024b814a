//! Opening a credential: the only place that does, and only for a permit that names it.

use crate::app::App;
use crate::connect::find::guarded;
use crate::connect::refresh::AHEAD;
use crate::connect::{bound_to, destination_fingerprint, installation};
use crate::error::Failure;
use crate::tenants::Served;
use chancery_core::call::AccountUse;
use chancery_core::connection::{Connection, Placement};
use chancery_core::id::{ConnectedAccountId, Id as _, TenantId};
use chancery_core::name::Name;
use chancery_core::noun::Noun;
use chancery_core::secret::Secret;
use chancery_core::time::Timestamp;
use chancery_policy::UsePermit;
use chancery_store::connected_account::{Opening, find_sealed};
use chancery_vault::{AssociatedData, Sealed};
use quick_cache::sync::Cache;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An opened credential: every part with its place. Values do not print, and are wiped when it is dropped.
#[derive(Debug)]
pub struct OpenedCredential {
    parts: Vec<OpenedPart>,
}

/// One part of an opened credential.
#[derive(Debug)]
pub struct OpenedPart {
    /// What it is called.
    pub name: Name,
    /// Where it goes.
    pub placement: Placement,
    /// What goes there.
    pub value: Secret<String>,
}

impl OpenedCredential {
    /// The parts. None if the connection has no credential.
    pub fn parts(&self) -> &[OpenedPart] {
        &self.parts
    }

    /// The same, to hand them out.
    pub(super) fn into_parts(self) -> Vec<OpenedPart> {
        self.parts
    }
}

/// Opens the credential that a permit names, if account and connection are still exactly what was decided on.
///
/// # Errors
/// [`Failure::Stale`] when either was changed, stopped or killed since, or the credential is gone;
/// [`Failure::Internal`] for a permit of another tenant, one without a connection or without guards on what it
/// names, and for a sealed row that does not belong where it stands.
pub async fn open(app: &App, served: &Served, permit: &UsePermit) -> Result<OpenedCredential, Failure> {
    let plan = permit.plan();
    let tenant = served.tenant.id;
    let broken = |what: &str| Failure::Internal(format!("a permit cannot open a credential: {what}"));
    if plan.tenant != tenant {
        return Err(broken("it is another tenant's"));
    }
    let usage = plan
        .connection
        .as_ref()
        .ok_or_else(|| broken("it names no connection"))?;
    let version = |noun, id: &[u8; 16]| {
        guarded(&plan.guards, noun, id).ok_or_else(|| broken("it does not guard what it names"))
    };
    let connection_version = version(Noun::Connection, usage.connection.as_bytes())?;

    // 1. The connection as it was decided on. What was decided on was asserted when the decision was recorded; a
    // change since is known here at once if this node made it, and by the feed if another did.
    let connection = app.directory.connections.find(tenant, usage.connection).await?;
    let connection = connection
        .filter(|found| found.state.is_active() && found.version == connection_version)
        .ok_or(Failure::Stale("the connection was changed"))?;
    if destination_fingerprint(&connection.spec) != usage.fingerprint {
        return Err(Failure::Stale("the connection goes elsewhere now"));
    }
    let Some(account) = usage.account else {
        return without_account(&connection);
    };

    // 2. The account too.
    let account_version = version(Noun::ConnectedAccount, account.id.as_bytes())?;
    let stored = app.directory.accounts.find(tenant, account.id).await?;
    if !stored.is_some_and(|stored| stored.state.is_active() && stored.version == account_version) {
        return Err(Failure::Stale("the account was changed"));
    }

    // 3. What is sealed for it opens only with what the permit says it is bound to: whatever was moved here does not.
    let opening = Opening {
        account: account.id,
        account_version,
        connection: usage.connection,
        connection_version,
    };
    let bound = bound_to(
        tenant,
        (account.id, account.owner),
        (usage.connection, usage.fingerprint),
    );
    let content = match installation::wanted(permit, &connection)? {
        Some(wanted) => installation::open(app, served, &wanted, &bound).await?,
        None => read_stored(app, served, (opening, kept_at(&account, plan.now)), &bound).await?,
    };
    placed(&connection, &content)
}

/// What is stored for an account; from memory, where it does not change without a new version.
async fn read_stored(
    app: &App,
    served: &Served,
    (opening, (is_kept, position)): (Opening, (bool, u64)),
    bound: &AssociatedData,
) -> Result<Secret<Vec<u8>>, Failure> {
    let tenant = served.tenant.id;
    let cache = &app.gateway.sealed.0;
    let cached = (tenant, opening.account, opening.account_version, position);
    // One that was sealed anew since, with another key, is read again.
    if is_kept
        && let Some(sealed) = cache.get(&cached)
        && let Some(key) = served.keys.vault_for(&sealed)
        && let Ok(content) = chancery_vault::open(key, bound, &sealed)
    {
        return Ok(content);
    }
    let sealed = find_sealed(&app.db, tenant, opening).await?;
    let sealed = sealed.ok_or(Failure::Stale("the account was changed, or has no credential"))?;
    let sealed = Arc::new(Sealed::parse(&sealed).map_err(Failure::internal)?);
    let content = unseal(app, served, bound, &sealed).await?;
    if is_kept {
        cache.insert(cached, sealed);
    }
    Ok(content)
}

/// Whether the credential of an account may be kept as it was read, and under which position. A provider's tokens are
/// replaced without a new version of their account, each time with a new position; those that are to be replaced before
/// they are used are read when that is done.
fn kept_at(account: &AccountUse, now: Timestamp) -> (bool, u64) {
    let Some(tokens) = account.tokens else {
        return (true, 0);
    };
    (tokens.is_fresh((now, now.plus(AHEAD))), tokens.position)
}

/// Sealed credentials as they were read, under the version of their account, which every key that is set raises, and the
/// position of its tokens, which every refresh raises. They are opened anew for each use, and nothing is kept open.
#[derive(Debug)]
pub struct SealedCache(Cache<(TenantId, ConnectedAccountId, u64, u64), Arc<Sealed>>);

impl Default for SealedCache {
    fn default() -> Self {
        Self(Cache::new(MAX_SEALED))
    }
}

/// Opens a record with the tenant's key that it is sealed under. One that another node has wrapped anew a moment ago
/// is under a key that this node reads first.
pub(super) async fn unseal(
    app: &App,
    served: &Served,
    bound: &AssociatedData,
    sealed: &Sealed,
) -> Result<Secret<Vec<u8>>, Failure> {
    if let Some(key) = served.keys.vault_for(sealed) {
        return chancery_vault::open(key, bound, sealed).map_err(Failure::internal);
    }
    app.tenants.reload_one(&app.db, served.tenant.id).await?;
    app.tenants.require_open(served.tenant.id)?;
    let served = app.tenants.find(served.tenant.id);
    let served = served.ok_or(Failure::Stale("the tenant is gone"))?;
    let key = served.keys.vault_for(sealed);
    let key =
        key.ok_or_else(|| Failure::Internal("a credential is sealed under an unknown key".to_owned()))?;
    chancery_vault::open(key, bound, sealed).map_err(Failure::internal)
}

fn without_account(connection: &Connection) -> Result<OpenedCredential, Failure> {
    if connection.spec.credential.parts().is_empty() {
        return Ok(OpenedCredential { parts: Vec::new() });
    }
    Err(Failure::Internal("a permit names no account".to_owned()))
}

/// Every part of the connection's credential with its value.
fn placed(connection: &Connection, content: &Secret<Vec<u8>>) -> Result<OpenedCredential, Failure> {
    // SECURITY: the error of the parser may show what it read, so it is not passed on.
    let mut values: BTreeMap<Name, Secret<String>> = serde_json::from_slice(content.expose_secret())
        .map_err(|_| Failure::Internal("a sealed credential cannot be read".to_owned()))?;
    let mut parts = Vec::with_capacity(values.len());
    for part in connection.spec.credential.parts() {
        let value = values
            .remove(&part.name)
            .ok_or_else(|| Failure::Internal("a sealed credential lacks a part".to_owned()))?;
        parts.push(OpenedPart {
            name: part.name.clone(),
            placement: part.placement.clone(),
            value,
        });
    }
    Ok(OpenedCredential { parts })
}

const MAX_SEALED: usize = 10_000;
