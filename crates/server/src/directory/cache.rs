//! The cached directory. Every entry may be dropped by the revocation feed; what a decision relied on is
//! asserted again when it commits, so that a stale entry can refuse but never permit.

use crate::error::Failure;
use chancery_core::agent::AgentSpec;
use chancery_core::authorization_details::DetailType;
use chancery_core::binding::RuntimeBindingSpec;
use chancery_core::blueprint::BlueprintSpec;
use chancery_core::client::ClientSpec;
use chancery_core::connected_account::ConnectedAccountSpec;
use chancery_core::connection::ConnectionSpec;
use chancery_core::grant::{Grant, GrantSpec, Principal};
use chancery_core::id::{Id, TenantId, TokenId};
use chancery_core::issuer::TrustedIssuerSpec;
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun, Record, Spec};
use chancery_core::registration::RegistrationRuleSpec;
use chancery_core::resource::ResourceSpec;
use chancery_core::session::SessionSpec;
use chancery_core::token_family::TokenFamilySpec;
use chancery_core::user::UserSpec;
use chancery_store::{Db, DelegationSpec, Stored, record};
use quick_cache::sync::Cache;
use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

/// Cached nouns of every tenant.
#[derive(Debug)]
pub struct Directory {
    db: Db,
    /// Agents.
    pub agents: Shelf<AgentSpec>,
    /// Clients.
    pub clients: Shelf<ClientSpec>,
    /// Blueprints.
    pub blueprints: Shelf<BlueprintSpec>,
    /// Trusted issuers.
    pub issuers: Shelf<TrustedIssuerSpec>,
    /// Runtime bindings, listed by issuer.
    pub bindings: Shelf<RuntimeBindingSpec>,
    /// Resources.
    pub resources: Shelf<ResourceSpec>,
    /// Grants, listed by agent and principal.
    pub grants: Shelf<GrantSpec>,
    /// Users.
    pub users: Shelf<UserSpec>,
    /// Delegations.
    pub delegations: Shelf<DelegationSpec>,
    /// Connections.
    pub connections: Shelf<ConnectionSpec>,
    /// Connected accounts, found by connection and owner.
    pub accounts: Shelf<ConnectedAccountSpec>,
    /// Sessions, found by the digest of the browser's secret.
    pub sessions: Shelf<SessionSpec>,
    /// What was issued on each authorization code.
    pub families: Shelf<TokenFamilySpec>,
    /// Registration rules, all of a tenant together.
    pub registration_rules: Shelf<RegistrationRuleSpec>,
    detail_types: Cache<TenantId, Arc<BTreeSet<DetailType>>>,
    secrets: Secrets,
    revoked: RwLock<HashSet<(TenantId, TokenId)>>,
}

/// A cached record.
type Shared<S> = Arc<Record<<S as Spec>::Id, S>>;
/// Cached records that hang on one parent.
type Siblings<S> = Arc<[Shared<S>]>;

type Stamped<T> = (u64, T);
type Secrets = Cache<
    (TenantId, chancery_core::id::ClientId),
    Stamped<Arc<Vec<chancery_oauth::authentication::ClientSecret>>>,
>;

impl Directory {
    /// An empty cache over a database.
    pub fn new(db: Db) -> Self {
        Self {
            agents: Shelf::new(db.clone(), 100_000),
            clients: Shelf::new(db.clone(), 100_000),
            blueprints: Shelf::new(db.clone(), 10_000),
            issuers: Shelf::new(db.clone(), 10_000),
            bindings: Shelf::new(db.clone(), 10_000),
            resources: Shelf::new(db.clone(), 10_000),
            grants: Shelf::new(db.clone(), 100_000),
            users: Shelf::new(db.clone(), 100_000),
            delegations: Shelf::new(db.clone(), 100_000),
            connections: Shelf::new(db.clone(), 10_000),
            accounts: Shelf::new(db.clone(), 100_000),
            sessions: Shelf::new(db.clone(), 100_000),
            families: Shelf::new(db.clone(), 100_000),
            registration_rules: Shelf::new(db.clone(), 10_000),
            detail_types: Cache::new(10_000),
            secrets: Cache::new(100_000),
            revoked: RwLock::default(),
            db,
        }
    }

    /// Drops what is known of a noun.
    pub fn forget(&self, tenant: TenantId, noun: Noun, id: [u8; 16]) {
        match noun {
            Noun::Agent => self.agents.forget(tenant, id),
            Noun::Client => self.clients.forget(tenant, id),
            Noun::Blueprint => self.blueprints.forget(tenant, id),
            Noun::TrustedIssuer => self.issuers.forget(tenant, id),
            Noun::RuntimeBinding => self.bindings.forget(tenant, id),
            Noun::Resource => {
                self.resources.forget(tenant, id);
                self.detail_types.remove(&tenant);
            }
            Noun::Grant => self.grants.forget(tenant, id),
            Noun::User => self.users.forget(tenant, id),
            Noun::Delegation => self.delegations.forget(tenant, id),
            Noun::Connection => self.connections.forget(tenant, id),
            Noun::ConnectedAccount => self.accounts.forget(tenant, id),
            Noun::Session => self.sessions.forget(tenant, id),
            Noun::TokenFamily => self.families.forget(tenant, id),
            Noun::RegistrationRule => self.registration_rules.forget(tenant, id),
            Noun::Tenant | Noun::PolicySet | Noun::RegistrationToken => {}
        }
    }

    /// Drops everything, after the feed could not be followed for a while.
    pub fn forget_all(&self) {
        self.agents.forget_all();
        self.clients.forget_all();
        self.blueprints.forget_all();
        self.issuers.forget_all();
        self.bindings.forget_all();
        self.resources.forget_all();
        self.detail_types.clear();
        self.grants.forget_all();
        self.users.forget_all();
        self.delegations.forget_all();
        self.connections.forget_all();
        self.accounts.forget_all();
        self.sessions.forget_all();
        self.families.forget_all();
        self.registration_rules.forget_all();
    }

    /// How many records of each kind are in memory.
    pub fn sizes(&self) -> [(&'static str, u64); 14] {
        [
            ("agent", self.agents.size()),
            ("client", self.clients.size()),
            ("blueprint", self.blueprints.size()),
            ("trusted_issuer", self.issuers.size()),
            ("runtime_binding", self.bindings.size()),
            ("resource", self.resources.size()),
            ("grant", self.grants.size()),
            ("user", self.users.size()),
            ("delegation", self.delegations.size()),
            ("connection", self.connections.size()),
            ("connected_account", self.accounts.size()),
            ("session", self.sessions.size()),
            ("token_family", self.families.size()),
            ("registration_rule", self.registration_rules.size()),
        ]
    }

    /// Grants in use to an agent for exactly this principal: at resources and at connections. Whoever issues tokens
    /// reads them through `GrantSpec::at_resource`.
    ///
    /// # Errors
    /// The database's.
    pub async fn grants_of(
        &self,
        tenant: TenantId,
        agent: &Name,
        principal: &Principal,
    ) -> Result<Vec<Arc<Grant>>, Failure> {
        let probe = GrantSpec {
            agent: agent.clone(),
            principal: principal.clone(),
            resource: None,
            connection: None,
            scopes: chancery_core::scope::ScopeSet::default(),
            authorization_details_types: BTreeSet::new(),
            source: chancery_core::grant::GrantSource::Administrator,
            expires_at: None,
            budget: None,
            hours: None,
        };
        let grants = self
            .grants
            .by_parent(tenant, probe.parent().unwrap_or_default())
            .await?;
        Ok(grants.to_vec())
    }

    /// The types of authorization details that resources in use know (RFC 9396 §10).
    ///
    /// # Errors
    /// The database's.
    pub async fn detail_types(&self, tenant: TenantId) -> Result<Arc<BTreeSet<DetailType>>, Failure> {
        if let Some(known) = self.detail_types.get(&tenant) {
            return Ok(known);
        }
        let epoch = self.resources.epoch.load(Ordering::SeqCst);
        let mut types = BTreeSet::new();
        let mut after = String::new();
        loop {
            let page = record::Page {
                after: &after,
                state: Some(Lifecycle::Active),
                limit: PAGE,
            };
            let resources = record::list::<ResourceSpec>(&self.db, tenant, &page).await?;
            for resource in &resources {
                types.extend(resource.spec.authorization_details_types.keys().cloned());
            }
            match resources.last() {
                Some(last) if u32::try_from(resources.len()) == Ok(PAGE) => after = last.name.to_string(),
                Some(_) | None => break,
            }
        }
        let types = Arc::new(types);
        self.resources
            .guarded(epoch, &self.detail_types, &tenant, types.clone());
        Ok(types)
    }

    /// The open secrets of a client. Cached under the client's version, which every reset raises.
    ///
    /// # Errors
    /// The database's.
    pub async fn secrets_of(
        &self,
        tenant: TenantId,
        client: &chancery_core::client::Client,
        now: chancery_core::time::Timestamp,
    ) -> Result<Arc<Vec<chancery_oauth::authentication::ClientSecret>>, Failure> {
        let key = (tenant, client.id);
        if let Some((version, secrets)) = self.secrets.get(&key)
            && version == client.version
        {
            return Ok(secrets);
        }
        let rows = chancery_store::load_secrets(&self.db, tenant, client.id, now).await?;
        let secret =
            |(digest, expires_at)| chancery_oauth::authentication::ClientSecret { digest, expires_at };
        let secrets = Arc::new(rows.into_iter().map(secret).collect::<Vec<_>>());
        self.secrets.insert(key, (client.version, secrets.clone()));
        Ok(secrets)
    }

    /// Remembers that a token was revoked by itself.
    pub fn remember_revoked(&self, tenant: TenantId, token: TokenId) {
        if let Ok(mut revoked) = self.revoked.write() {
            revoked.insert((tenant, token));
        }
    }

    /// The tokens that are known to be revoked.
    pub fn revoked_tokens(&self) -> HashSet<(TenantId, TokenId)> {
        self.revoked
            .read()
            .map(|revoked| revoked.clone())
            .unwrap_or_default()
    }

    /// Forgets of the `known` revoked tokens all but these.
    pub fn replace_revoked(
        &self,
        known: &HashSet<(TenantId, TokenId)>,
        tokens: impl Iterator<Item = (TenantId, TokenId)>,
    ) {
        if let Ok(mut revoked) = self.revoked.write() {
            revoked.retain(|token| !known.contains(token));
            revoked.extend(tokens);
        }
    }

    /// Whether a token was revoked by itself.
    ///
    /// # Errors
    /// A poisoned lock: then nothing is known.
    pub fn is_revoked(&self, tenant: TenantId, token: TokenId) -> Result<bool, Failure> {
        let revoked = self
            .revoked
            .read()
            .map_err(|_| Failure::Stale("the list of revoked tokens is unusable"))?;
        Ok(revoked.contains(&(tenant, token)))
    }
}

/// Cached nouns of one kind.
#[derive(Debug)]
pub struct Shelf<S: Stored> {
    db: Db,
    epoch: AtomicU64,
    by_id: Cache<(TenantId, S::Id), Shared<S>>,
    by_name: Cache<(TenantId, Name), S::Id>,
    by_key: Cache<(TenantId, String), S::Id>,
    by_parent: Cache<(TenantId, String), Siblings<S>>,
}

impl<S: Stored> Shelf<S> {
    fn new(db: Db, capacity: usize) -> Self {
        Self {
            db,
            epoch: AtomicU64::new(0),
            by_id: Cache::new(capacity),
            by_name: Cache::new(capacity),
            by_key: Cache::new(capacity),
            by_parent: Cache::new(capacity),
        }
    }

    /// The record with this id.
    ///
    /// # Errors
    /// The database's.
    pub async fn find(&self, tenant: TenantId, id: S::Id) -> Result<Option<Shared<S>>, Failure> {
        if let Some(record) = self.by_id.get(&(tenant, id)) {
            return Ok(Some(record));
        }
        let epoch = self.epoch.load(Ordering::SeqCst);
        let Some(record) = record::find_by_id::<S>(&self.db, tenant, id).await? else {
            return Ok(None);
        };
        Ok(Some(self.keep(epoch, tenant, record)))
    }

    /// The record with this name. Names never move, so the id behind one may be cached for ever.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_by_name(&self, tenant: TenantId, name: &Name) -> Result<Option<Shared<S>>, Failure> {
        if let Some(id) = self.by_name.get(&(tenant, name.clone())) {
            return self.find(tenant, id).await;
        }
        let epoch = self.epoch.load(Ordering::SeqCst);
        let Some(record) = record::find_by_name::<S>(&self.db, tenant, name).await? else {
            return Ok(None);
        };
        self.by_name.insert((tenant, name.clone()), record.id);
        Ok(Some(self.keep(epoch, tenant, record)))
    }

    /// The record with this name or id, as people write them.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_named(&self, tenant: TenantId, text: &str) -> Result<Option<Shared<S>>, Failure> {
        if let Ok(id) = text.parse::<S::Id>() {
            return self.find(tenant, id).await;
        }
        match text.parse::<Name>() {
            Ok(name) => self.find_by_name(tenant, &name).await,
            Err(_) => Ok(None),
        }
    }

    /// The record in use with this natural key.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_by_key(&self, tenant: TenantId, key: String) -> Result<Option<Shared<S>>, Failure> {
        if let Some(id) = self.by_key.get(&(tenant, key.clone())) {
            return self.find(tenant, id).await;
        }
        let epoch = self.epoch.load(Ordering::SeqCst);
        let Some(record) = record::find_by_natural_key::<S>(&self.db, tenant, &key).await? else {
            return Ok(None);
        };
        self.guarded(epoch, &self.by_key, &(tenant, key), record.id);
        Ok(Some(self.keep(epoch, tenant, record)))
    }

    /// Records in use that hang on this parent.
    ///
    /// # Errors
    /// The database's.
    pub async fn by_parent(&self, tenant: TenantId, parent: String) -> Result<Siblings<S>, Failure> {
        let key = (tenant, parent);
        if let Some(records) = self.by_parent.get(&key) {
            return Ok(records);
        }
        let epoch = self.epoch.load(Ordering::SeqCst);
        let records = record::list_by_parent::<S>(&self.db, tenant, &key.1).await?;
        let records: Siblings<S> = records.into_iter().map(Arc::new).collect();
        self.guarded(epoch, &self.by_parent, &key, records.clone());
        Ok(records)
    }

    fn size(&self) -> u64 {
        u64::try_from(self.by_id.len()).unwrap_or(u64::MAX)
    }

    fn keep(&self, epoch: u64, tenant: TenantId, record: Record<S::Id, S>) -> Shared<S> {
        let record = Arc::new(record);
        self.guarded(epoch, &self.by_id, &(tenant, record.id), record.clone());
        record
    }

    /// Inserts unless something was forgotten since `epoch`.
    ///
    /// SECURITY: a row that was read before a change and inserted after the change was forgotten would stay
    /// stale. Looking at the epoch again after the insertion closes that gap: whoever comes second removes.
    fn guarded<K: Hash + Eq + Clone + Send + Sync + 'static, V: Clone + Send + Sync + 'static>(
        &self,
        epoch: u64,
        cache: &Cache<K, V>,
        key: &K,
        value: V,
    ) {
        cache.insert(key.clone(), value);
        if self.epoch.load(Ordering::SeqCst) != epoch {
            cache.remove(key);
        }
    }

    fn forget(&self, tenant: TenantId, id: [u8; 16]) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.by_id.remove(&(tenant, S::Id::from_bytes(id)));
        self.by_key.clear();
        self.by_parent.clear();
    }

    fn forget_all(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.by_id.clear();
        self.by_key.clear();
        self.by_parent.clear();
    }
}

/// How many resources are read at once.
const PAGE: u32 = 500;
