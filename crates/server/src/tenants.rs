//! Tenants as a node serves them: base URL, keys and policies in memory.

use crate::error::Failure;
use crate::keys::{Opening, TenantKeys};
use crate::kms::{KeyServiceFault, Patience};
use crate::roots::Roots;
use arc_swap::ArcSwap;
use chancery_core::id::TenantId;
use chancery_core::lineage::Guard;
use chancery_core::noun::{Lifecycle, Noun};
use chancery_core::tenant::Tenant;
use chancery_core::time::{Timestamp, Ttl};
use chancery_policy::PolicySet;
use chancery_store::restore::{self, Restore};
use chancery_store::{Db, PolicySetSpec, key, record};
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
    /// Tenants whose key, or new key, a key service did not open yet.
    waiting: HashMap<TenantId, Waiting>,
}

/// A tenant that waits for a key service. It may be served meanwhile with the key that it had before.
#[derive(Clone, Debug)]
struct Waiting {
    tenant: Arc<Tenant>,
    fault: KeyServiceFault,
}

impl Map {
    fn insert(&mut self, loaded: Loaded) {
        let tenant = match &loaded {
            Loaded::Served(served) | Loaded::Behind(served, _) => served.tenant.clone(),
            Loaded::Closed(tenant, _) => tenant.clone(),
        };
        let id = tenant.id;
        match loaded {
            Loaded::Served(served) => {
                self.waiting.remove(&id);
                self.serve(served);
            }
            Loaded::Behind(served, fault) => {
                self.waiting.insert(id, Waiting { tenant, fault });
                self.serve(served);
            }
            Loaded::Closed(_, fault) => {
                self.waiting.insert(id, Waiting { tenant, fault });
            }
        }
    }

    fn serve(&mut self, served: Arc<Served>) {
        let location = location(&served.tenant).to_owned();
        self.by_location.insert(location, served.tenant.id);
        self.by_id.insert(served.tenant.id, served);
    }
}

/// What came of reading a tenant.
enum Loaded {
    /// All of it.
    Served(Arc<Served>),
    /// All but a new key: it goes on with the keys that were open.
    Behind(Arc<Served>, KeyServiceFault),
    /// None of its keys.
    Closed(Arc<Tenant>, KeyServiceFault),
}

/// Host, port and path of a tenant.
fn location(tenant: &Tenant) -> &str {
    let base = tenant.spec.base_url.as_str();
    base.split_once("://").map_or(base, |(_, rest)| rest)
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

    /// The tenants that wait for a key service.
    pub fn waiting(&self) -> Vec<TenantId> {
        self.map.load().waiting.keys().copied().collect()
    }

    /// Refuses what needs a tenant's present key while a key service does not open it.
    ///
    /// # Errors
    /// The key service's.
    pub fn require_open(&self, id: TenantId) -> Result<(), Failure> {
        let map = self.map.load();
        let waiting = map.waiting.get(&id);
        waiting.map_or(Ok(()), |waiting| Err(waiting.fault.clone().into()))
    }

    /// Whether a tenant that is reached there, or has this name, has no open key on this node yet.
    pub fn is_closed(&self, is_meant: impl Fn(&str, &str) -> bool) -> bool {
        let map = self.map.load();
        map.waiting
            .values()
            .any(|waiting| is_meant(location(&waiting.tenant), waiting.tenant.name.as_str()))
    }

    /// Reads every tenant for the first time.
    ///
    /// # Errors
    /// The database's, a key service's, or keys that do not open.
    pub async fn open_all(&self, db: &Db) -> Result<(), Failure> {
        self.reload_with(db, Patience::Full).await?;
        let first = self.waiting().first().copied();
        first.map_or(Ok(()), |tenant| self.require_open(tenant))
    }

    /// Reads every tenant again.
    ///
    /// # Errors
    /// The database's, or keys that do not open. A key service that fails is no error: see [`Self::waiting`].
    pub async fn reload(&self, db: &Db) -> Result<(), Failure> {
        self.reload_with(db, Patience::Short).await
    }

    async fn reload_with(&self, db: &Db, patience: Patience) -> Result<(), Failure> {
        let _turn = self.turn.lock().await;
        let mut map = Map::default();
        for tenant in chancery_store::all_tenants(db).await? {
            if is_over(db, &tenant).await? {
                continue;
            }
            let waiting = self.map.load().waiting.get(&tenant.id).cloned();
            match (self.find(tenant.id), waiting) {
                (Some(known), waiting) => {
                    let served = renewed(db, tenant, &known).await?;
                    map.insert(match waiting {
                        None => Loaded::Served(served),
                        Some(waiting) => Loaded::Behind(served, waiting.fault),
                    });
                }
                (None, _) => map.insert(Box::pin(self.load(db, tenant, None, patience)).await?),
            }
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
        if is_over(db, &tenant).await? {
            return Ok(());
        }
        // Boxed: it is rarely waited for, and would make the state of every request that may come here large.
        let loaded = Box::pin(self.load(db, tenant, self.find(id), Patience::Short)).await?;
        let mut map = Map::clone(&self.map.load());
        map.insert(loaded);
        self.map.store(Arc::new(map));
        Ok(())
    }

    async fn load(
        &self,
        db: &Db,
        tenant: Tenant,
        known: Option<Arc<Served>>,
        patience: Patience,
    ) -> Result<Loaded, Failure> {
        let tenant = Arc::new(tenant);
        let roots = self.roots();
        let opening = Opening {
            roots: &roots,
            known: known.as_ref().map(|known| &*known.keys),
            patience,
        };
        let (keys, fault) = match (TenantKeys::load(db, opening, &tenant).await, &known) {
            (Ok(keys), _) => (Arc::new(keys), None),
            // SECURITY: what was open stays open, but the tenant's state and its policies are read all the same: a
            // key service that is down keeps no suspended tenant alive.
            (Err(Failure::KeyService(fault)), Some(known)) => (known.keys.clone(), Some(fault)),
            (Err(Failure::KeyService(fault)), None) => return Ok(Loaded::Closed(tenant, fault)),
            (Err(failure), _) => return Err(failure),
        };
        let compiled = known.map(|known| known.policy.clone());
        let served = Arc::new(Served {
            restore: restore::all(db, tenant.id).await?.pop(),
            policy: load_policy(db, tenant.id, compiled).await?,
            tenant,
            keys,
        });
        Ok(match fault {
            None => Loaded::Served(served),
            Some(fault) => Loaded::Behind(served, fault),
        })
    }
}

/// Whether a tenant ended and its key is destroyed. Until then it is kept here, for its last events to enter its log;
/// nobody is served.
///
/// # Errors
/// The database's.
pub(crate) async fn is_over(db: &Db, tenant: &Tenant) -> Result<bool, Failure> {
    Ok(tenant.state == Lifecycle::Retired && key::find_tenant_key(db, tenant.id).await?.is_none())
}

/// A tenant that is served, with its record as it is now.
async fn renewed(db: &Db, tenant: Tenant, known: &Served) -> Result<Arc<Served>, Failure> {
    Ok(Arc::new(Served {
        restore: restore::all(db, tenant.id).await?.pop(),
        tenant: Arc::new(tenant),
        keys: known.keys.clone(),
        policy: known.policy.clone(),
    }))
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
