//! Tenants as a node serves them: base URL, keys and policies in memory.

use crate::error::Failure;
use crate::keys::TenantKeys;
use crate::roots::Roots;
use arc_swap::ArcSwap;
use chancery_core::id::TenantId;
use chancery_core::lineage::Guard;
use chancery_core::noun::{Lifecycle, Noun};
use chancery_core::tenant::Tenant;
use chancery_core::time::{Timestamp, Ttl};
use chancery_policy::PolicySet;
use chancery_store::restore::{self, Restore};
use chancery_store::{Db, PolicySetSpec, record};
use std::collections::HashMap;
use std::sync::Arc;

/// A tenant that is being served.
#[derive(Debug)]
pub struct Served {
    /// Its record.
    pub tenant: Arc<Tenant>,
    /// Its keys.
    pub keys: Arc<TenantKeys>,
    /// The policy set in force.
    pub policy: Arc<ActivePolicy>,
    /// The restore that its data last went through, if any.
    pub restore: Option<Restore>,
}

impl Served {
    /// Whether its data was restored from a backup and nobody has confirmed yet that what was lost was looked at.
    /// Then nothing is issued and no call is passed: what was revoked after the backup stands as it was before.
    pub fn is_unconfirmed(&self) -> bool {
        self.restore.is_some_and(|restore| restore.confirmed_at.is_none())
    }

    /// Whether it has a host of its own, and so pages.
    pub fn has_own_host(&self) -> bool {
        let base = self.tenant.spec.base_url.split_once("://");
        base.is_some_and(|(_, rest)| !rest.contains('/'))
    }

    /// Whether a proof that may be used once can have been used before its use was forgotten by a restore.
    pub fn may_be_used(&self, issued_at: Option<Timestamp>, expires_at: Option<Timestamp>) -> bool {
        let Some(restore) = self.restore else {
            return false;
        };
        let earliest = issued_at.or(expires_at.map(|end| end.minus(LONGEST_PROOF)));
        earliest.is_none_or(|issued| issued <= restore.time.plus(CLOCKS_DIFFER))
    }
}

/// How long a proof of a client's own lives at most.
const LONGEST_PROOF: Ttl = Ttl::from_minutes(60);
/// How far a client's clock may be ahead.
const CLOCKS_DIFFER: Ttl = Ttl::from_minutes(1);

/// The policy set in force and the row that says so.
#[derive(Debug)]
pub struct ActivePolicy {
    /// The set, parsed and indexed.
    pub set: PolicySet,
    /// Asserts that it is still the one in force.
    pub guard: Guard,
    /// The name of its version.
    pub name: chancery_core::name::Name,
}

/// All tenants. Replaced whole when one changes.
#[derive(Debug)]
pub struct Tenants {
    roots: ArcSwap<Roots>,
    map: ArcSwap<Map>,
    /// Held from reading the database to putting in place what was read: what was read earlier never replaces
    /// what was read later, or a suspended tenant could come back to life on this node.
    turn: tokio::sync::Mutex<()>,
}

/// Tenants by id, and ids by where they are reached: host, port and path without the scheme.
#[derive(Clone, Debug, Default)]
struct Map {
    by_id: HashMap<TenantId, Arc<Served>>,
    by_location: HashMap<String, TenantId>,
}

impl Map {
    fn insert(&mut self, served: Arc<Served>) {
        let base = served.tenant.spec.base_url.as_str();
        let location = base.split_once("://").map_or(base, |(_, rest)| rest);
        self.by_location.insert(location.to_owned(), served.tenant.id);
        self.by_id.insert(served.tenant.id, served);
    }
}

impl Tenants {
    /// No tenants yet: see [`Self::reload`].
    pub fn new(roots: Roots) -> Self {
        Self {
            roots: ArcSwap::from_pointee(roots),
            map: ArcSwap::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// The root keys.
    pub fn roots(&self) -> Arc<Roots> {
        self.roots.load_full()
    }

    /// Takes other root keys from now on.
    pub(crate) fn set_roots(&self, roots: Roots) {
        self.roots.store(Arc::new(roots));
    }

    /// The tenant with this id.
    pub fn find(&self, id: TenantId) -> Option<Arc<Served>> {
        self.map.load().by_id.get(&id).cloned()
    }

    /// The tenant that is reached at this host, port and path.
    pub fn find_at(&self, location: &str) -> Option<Arc<Served>> {
        let map = self.map.load();
        map.by_location
            .get(location)
            .and_then(|id| map.by_id.get(id))
            .cloned()
    }

    /// The tenant with this name.
    pub fn find_by_name(&self, name: &str) -> Option<Arc<Served>> {
        self.map
            .load()
            .by_id
            .values()
            .find(|served| served.tenant.name.as_str() == name)
            .cloned()
    }

    /// Every tenant, suspended ones included.
    pub fn all(&self) -> Vec<Arc<Served>> {
        self.map.load().by_id.values().cloned().collect()
    }

    /// Reads every tenant again.
    ///
    /// # Errors
    /// The database's, or keys that do not open.
    pub async fn reload(&self, db: &Db) -> Result<(), Failure> {
        let _turn = self.turn.lock().await;
        let mut map = Map::default();
        for tenant in chancery_store::all_tenants(db).await? {
            if tenant.state == Lifecycle::Retired {
                continue;
            }
            let known = self.find(tenant.id);
            map.insert(Arc::new(self.load(db, tenant, known).await?));
        }
        self.map.store(Arc::new(map));
        Ok(())
    }

    /// Reads the keys and policies of one tenant again.
    ///
    /// # Errors
    /// As [`Self::reload`].
    pub async fn reload_one(&self, db: &Db, id: TenantId) -> Result<(), Failure> {
        let _turn = self.turn.lock().await;
        let Some(tenant) = record::find_by_id(db, id, id).await? else {
            return Ok(());
        };
        let compiled = self.find(id).map(|known| known.policy.clone());
        let keys = Arc::new(TenantKeys::load(db, &self.roots(), &tenant).await?);
        let served = Arc::new(Served {
            restore: restore::all(db, id).await?.pop(),
            tenant: Arc::new(tenant),
            keys,
            policy: load_policy(db, id, compiled).await?,
        });
        let mut map = Map::clone(&self.map.load());
        map.insert(served);
        self.map.store(Arc::new(map));
        Ok(())
    }

    async fn load(&self, db: &Db, tenant: Tenant, known: Option<Arc<Served>>) -> Result<Served, Failure> {
        let restore = restore::all(db, tenant.id).await?.pop();
        let tenant = Arc::new(tenant);
        if let Some(known) = known {
            return Ok(Served {
                tenant,
                keys: known.keys.clone(),
                policy: known.policy.clone(),
                restore,
            });
        }
        let keys = Arc::new(TenantKeys::load(db, &self.roots(), &tenant).await?);
        let policy = load_policy(db, tenant.id, None).await?;
        Ok(Served {
            tenant,
            keys,
            policy,
            restore,
        })
    }
}

/// The policy set in force. Parsing and validating it takes long enough for the revocation feed to fall behind where
/// many tenants' keys change, so a set that was `compiled` before is taken if it says the same.
async fn load_policy(
    db: &Db,
    tenant: TenantId,
    compiled: Option<Arc<ActivePolicy>>,
) -> Result<Arc<ActivePolicy>, Failure> {
    let active = record::find_by_natural_key::<PolicySetSpec>(db, tenant, PolicySetSpec::ACTIVE).await?;
    let active = active.ok_or_else(|| Failure::Internal("the tenant has no active policy set".to_owned()))?;
    let guard = chancery_oauth::authentication::guard(Noun::PolicySet, &active);
    let is_same = |known: &Arc<ActivePolicy>| {
        known.guard == guard && known.name == active.name && known.set.text() == active.spec.text
    };
    if let Some(known) = compiled.filter(is_same) {
        return Ok(known);
    }
    let set = PolicySet::compile(&active.spec.text).map_err(Failure::internal)?;
    Ok(Arc::new(ActivePolicy {
        set,
        guard,
        name: active.name,
    }))
}
