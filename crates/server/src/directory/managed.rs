//! What each noun adds to the common way of changing nouns: its owner, what it refers to, and which changes
//! take something away or need a stronger permission.

use crate::connect::preset;
use crate::directory::references::{check_ceiling, invalid, missing, require};
use crate::directory::view::View;
use crate::error::{Failure, Refusal};
use crate::issue::details;
use chancery_core::agent::AgentSpec;
use chancery_core::binding::RuntimeBindingSpec;
use chancery_core::blueprint::BlueprintSpec;
use chancery_core::client::{ClientSpec, Provenance};
use chancery_core::connected_account::{AccountOwner, ConnectedAccountSpec};
use chancery_core::connection::ConnectionSpec;
use chancery_core::grant::{GrantSpec, Granted, Principal};
use chancery_core::issuer::TrustedIssuerSpec;
use chancery_core::name::Name;
use chancery_core::noun::Noun;
use chancery_core::registration::{RegistrationRuleSpec, RegistrationTokenSpec};
use chancery_core::resource::{ResourceSpec, Upstream};
use chancery_core::scope::Authority;
use chancery_core::session::SessionSpec;
use chancery_core::tenant::TenantSpec;
use chancery_core::user::UserSpec;
use chancery_policy::ManagementAction;
use chancery_store::Stored;
use serde_json::{Map, Value};

/// A noun that people manage.
pub trait Managed: Stored + PartialEq {
    /// Who answers for it.
    fn owner(&self) -> Option<&Name> {
        None
    }

    /// Checks that everything it names exists.
    fn check_references(&self, view: &View<'_>) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Whether going from `self` to `new` takes something away, so that what was issued must end.
    fn narrows(&self, new: &Self) -> bool;

    /// The permissions, besides create or update, that going from `old` (nothing when it is new) to `self` needs.
    fn stronger_actions(&self, old: Option<&Self>) -> Vec<ManagementAction> {
        let _ = old;
        Vec::new()
    }

    /// Fills in what follows from the rest, in an item as it was written. `base` is the tenant's base URL.
    fn complete(base: &str, name: Option<&str>, item: &mut Map<String, Value>) {
        let _ = (base, name, item);
    }

    /// Checks the record's own place among others, by its name.
    ///
    /// # Errors
    /// The rule that it breaks.
    fn check_place(&self, name: &Name, view: &View<'_>) -> Result<(), Failure> {
        let _ = (name, view);
        Ok(())
    }

    /// What must hold before it may be active.
    ///
    /// # Errors
    /// What is missing.
    fn check_activation(&self) -> Result<(), Refusal> {
        Ok(())
    }
}

impl Managed for AgentSpec {
    fn owner(&self) -> Option<&Name> {
        self.owner.as_ref()
    }

    async fn check_references(&self, view: &View<'_>) -> Result<(), Failure> {
        if let Some(blueprint) = &self.blueprint {
            require::<BlueprintSpec>(view, blueprint).await?;
        }
        check_ceiling(view, &self.ceiling).await
    }

    fn narrows(&self, new: &Self) -> bool {
        !self.ceiling.is_subset(&new.ceiling)
            || self.blueprint != new.blueprint
            || ends_earlier(self.expires_at, new.expires_at)
    }

    fn stronger_actions(&self, old: Option<&Self>) -> Vec<ManagementAction> {
        let before = old.map(|old| old.ceiling.clone()).unwrap_or_default();
        raise(&self.ceiling, &before)
    }

    fn check_activation(&self) -> Result<(), Refusal> {
        if self.owner.is_some() {
            return Ok(());
        }
        Err(Refusal::Invalid(
            "an agent needs an owner before it can be active: set `owner`".to_owned(),
        ))
    }
}

impl Managed for BlueprintSpec {
    fn owner(&self) -> Option<&Name> {
        self.owner.as_ref()
    }

    async fn check_references(&self, view: &View<'_>) -> Result<(), Failure> {
        check_ceiling(view, &self.ceiling).await
    }

    fn narrows(&self, new: &Self) -> bool {
        !self.ceiling.is_subset(&new.ceiling)
    }

    fn stronger_actions(&self, old: Option<&Self>) -> Vec<ManagementAction> {
        let before = old.map(|old| old.ceiling.clone()).unwrap_or_default();
        raise(&self.ceiling, &before)
    }
}

impl Managed for ClientSpec {
    async fn check_references(&self, view: &View<'_>) -> Result<(), Failure> {
        // SECURITY: its tokens are the person's own. Nobody makes an agent pass for that.
        if self.provenance == Provenance::BuiltIn {
            return Err(invalid(
                "a client that is `built_in` is the server's own: nobody makes or changes it",
            ));
        }
        if let Some(jwks) = &self.jwks {
            let members = jwks.as_object().ok_or_else(|| invalid("`jwks` is a JWK set"))?;
            let limits = chancery_oauth::jose::JwkSetLimits::default();
            let set = chancery_oauth::jose::JwkSet::from_members(members, limits)
                .map_err(|error| invalid(&format!("`jwks`: {error}")))?;
            if set.keys().is_empty() {
                return Err(invalid("`jwks` has no usable key"));
            }
        }
        match &self.agent {
            Some(agent) => require::<AgentSpec>(view, agent).await,
            None => Ok(()),
        }
    }

    fn narrows(&self, new: &Self) -> bool {
        self.stands_otherwise(new)
    }

    fn check_activation(&self) -> Result<(), Refusal> {
        if self.agent.is_some() {
            return Ok(());
        }
        Err(Refusal::Invalid(
            "a client belongs to an agent before it can be active: chancery client adopt CLIENT --agent AGENT"
                .to_owned(),
        ))
    }
}

/// A session is made by signing in and never edited; an administrator may end it.
impl Managed for SessionSpec {
    async fn check_references(&self, _view: &View<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn narrows(&self, new: &Self) -> bool {
        self != new
    }
}

impl Managed for RuntimeBindingSpec {
    async fn check_references(&self, view: &View<'_>) -> Result<(), Failure> {
        require::<TrustedIssuerSpec>(view, &self.issuer).await?;
        require::<AgentSpec>(view, &self.agent).await
    }

    fn narrows(&self, new: &Self) -> bool {
        self != new
    }
}

impl Managed for TrustedIssuerSpec {
    async fn check_references(&self, _view: &View<'_>) -> Result<(), Failure> {
        let chancery_core::issuer::KeySource::Inline(jwks) = &self.keys else {
            return Ok(());
        };
        let members = jwks
            .as_object()
            .ok_or_else(|| invalid("`keys.inline` is a JWK set"))?;
        let limits = chancery_oauth::jose::JwkSetLimits::default();
        chancery_oauth::jose::JwkSet::from_members(members, limits)
            .map(drop)
            .map_err(|error| invalid(&format!("`keys.inline`: {error}")))
    }

    fn narrows(&self, new: &Self) -> bool {
        self != new
    }

    fn stronger_actions(&self, _old: Option<&Self>) -> Vec<ManagementAction> {
        // Whoever maps claims to roles hands out roles.
        if self.claims.role_map.is_empty() {
            Vec::new()
        } else {
            vec![ManagementAction::WriteRole]
        }
    }
}

impl Managed for ResourceSpec {
    fn owner(&self) -> Option<&Name> {
        self.owner.as_ref()
    }

    async fn check_references(&self, view: &View<'_>) -> Result<(), Failure> {
        if let Some(agent) = &self.agent {
            require::<AgentSpec>(view, agent).await?;
        }
        details::check_types(&self.authorization_details_types)?;
        let Some(name) = self.upstream.as_ref().and_then(Upstream::connection) else {
            return Ok(());
        };
        let connection = view.spec::<ConnectionSpec>(name).await?;
        let connection = connection.ok_or_else(|| missing(Noun::Connection, name))?;
        match &self.upstream {
            // SECURITY: a credential goes to its own connection's destination and nowhere else.
            Some(Upstream::Mcp { url, .. }) if !connection.reaches(url) => Err(invalid(&format!(
                "`upstream.mcp.url` is not where connection `{name}` goes: below `{}`, or at one of its `hosts`",
                connection.base_url
            ))),
            Some(Upstream::Mcp { .. } | Upstream::Http { .. }) | None => Ok(()),
        }
    }

    fn narrows(&self, new: &Self) -> bool {
        self.uri != new.uri
            || self.holders != new.holders
            || self.agent != new.agent
            || self.scopes != new.scopes
            || self.upstream != new.upstream
            || self.authorization_details_types != new.authorization_details_types
            || self.maps_more_than(new)
    }

    fn stronger_actions(&self, old: Option<&Self>) -> Vec<ManagementAction> {
        let mut actions = Vec::new();
        if old.map_or(!self.holders.is_empty(), |old| old.holders != self.holders) {
            actions.push(ManagementAction::WriteRole);
        }
        if old.map_or(self.upstream.is_some(), |old| old.upstream != self.upstream) {
            actions.push(ManagementAction::WriteDestination);
        }
        actions
    }

    fn complete(base: &str, name: Option<&str>, item: &mut Map<String, Value>) {
        let upstream = item
            .get("upstream")
            .cloned()
            .map(serde_json::from_value::<Upstream>);
        let (Some(Ok(upstream)), Some(name)) = (upstream, name) else {
            return;
        };
        item.entry("uri")
            .or_insert_with(|| Value::from(upstream.resource_uri(base, name)));
        item.entry("enforcement")
            .or_insert_with(|| Value::from("gateway"));
    }

    fn check_place(&self, name: &Name, view: &View<'_>) -> Result<(), Failure> {
        let Some(upstream) = &self.upstream else {
            return Ok(());
        };
        let expected = upstream.resource_uri(&view.base_url(), name.as_str());
        if self.uri.as_str() == expected {
            return Ok(());
        }
        Err(invalid(&format!(
            "`uri` of a resource with an `upstream` is `{expected}`: leave it out"
        )))
    }
}

impl Managed for ConnectionSpec {
    fn owner(&self) -> Option<&Name> {
        self.owner.as_ref()
    }

    async fn check_references(&self, _view: &View<'_>) -> Result<(), Failure> {
        Ok(preset::check(self)?)
    }

    fn complete(_base: &str, _name: Option<&str>, item: &mut Map<String, Value>) {
        preset::fill_in(item);
    }

    /// Whatever decides where a credential goes ends what was built on it.
    fn narrows(&self, new: &Self) -> bool {
        self.destination() != new.destination()
            || self.owner_level != new.owner_level
            || self.handling != new.handling
            || self.rules != new.rules
    }

    fn stronger_actions(&self, old: Option<&Self>) -> Vec<ManagementAction> {
        if old.is_some_and(|old| !old.widens(self)) {
            Vec::new()
        } else {
            vec![ManagementAction::WriteDestination]
        }
    }
}

impl Managed for ConnectedAccountSpec {
    /// A person answers for their own account.
    fn owner(&self) -> Option<&Name> {
        match &self.owner {
            AccountOwner::User(user) => Some(user),
            AccountOwner::Agent(_) | AccountOwner::Tenant => None,
        }
    }

    async fn check_references(&self, view: &View<'_>) -> Result<(), Failure> {
        let connection = view.spec::<ConnectionSpec>(&self.connection).await?;
        let connection = connection.ok_or_else(|| missing(Noun::Connection, &self.connection))?;
        if connection.owner_level != self.owner.level() {
            return Err(invalid(&format!(
                "accounts at connection `{}` belong each to one {}, not to {}",
                self.connection,
                connection.owner_level.as_str(),
                self.owner.as_key()
            )));
        }
        match &self.owner {
            AccountOwner::User(user) => require::<UserSpec>(view, user).await,
            AccountOwner::Agent(agent) => require::<AgentSpec>(view, agent).await,
            AccountOwner::Tenant => Ok(()),
        }
    }

    fn narrows(&self, new: &Self) -> bool {
        self != new
    }
}

impl Managed for GrantSpec {
    async fn check_references(&self, view: &View<'_>) -> Result<(), Failure> {
        require::<AgentSpec>(view, &self.agent).await?;
        if let Principal::User(user) = &self.principal {
            require::<UserSpec>(view, user).await?;
        }
        match self.granted() {
            Some(Granted::Connection(connection)) => require::<ConnectionSpec>(view, connection).await,
            Some(Granted::Resource(name, scopes)) => {
                let resource = view.spec::<ResourceSpec>(name).await?;
                let resource = resource.ok_or_else(|| missing(Noun::Resource, name))?;
                details::check_named(&self.authorization_details_types, &resource)?;
                if scopes.is_subset(&resource.all_scopes()) {
                    return Ok(());
                }
                Err(invalid(&format!("`scopes` are scopes of resource `{name}`")))
            }
            None => Err(invalid("a grant is at a resource or at a connection")),
        }
    }

    fn narrows(&self, new: &Self) -> bool {
        let types = &self.authorization_details_types;
        let place = |grant: &Self| (grant.agent.clone(), grant.principal.clone(), grant.place());
        !self.scopes.is_subset(&new.scopes)
            || !types.is_subset(&new.authorization_details_types)
            || ends_earlier(self.expires_at, new.expires_at)
            || self.hours != new.hours
            || place(self) != place(new)
    }
}

impl Managed for UserSpec {
    async fn check_references(&self, view: &View<'_>) -> Result<(), Failure> {
        if self.issuer.as_str() == chancery_core::user::LOCAL_ISSUER {
            return Ok(());
        }
        require::<TrustedIssuerSpec>(view, &self.issuer).await
    }

    /// A local person's account has the person's name, unless it says otherwise.
    fn complete(_base: &str, name: Option<&str>, item: &mut Map<String, Value>) {
        let is_local = item.get("issuer").and_then(Value::as_str) == Some(chancery_core::user::LOCAL_ISSUER);
        if let Some(name) = name.filter(|_| is_local) {
            item.entry("subject").or_insert_with(|| Value::from(name));
        }
    }

    fn narrows(&self, new: &Self) -> bool {
        !self.roles.is_subset(&new.roles)
            || !self.groups.is_subset(&new.groups)
            || (&self.issuer, &self.subject) != (&new.issuer, &new.subject)
    }

    fn stronger_actions(&self, old: Option<&Self>) -> Vec<ManagementAction> {
        let before = old.map(|old| (&old.roles, &old.groups));
        let is_same = before.map_or(self.roles.is_empty() && self.groups.is_empty(), |before| {
            before == (&self.roles, &self.groups)
        });
        if is_same {
            Vec::new()
        } else {
            vec![ManagementAction::WriteRole]
        }
    }
}

impl Managed for RegistrationRuleSpec {
    async fn check_references(&self, view: &View<'_>) -> Result<(), Failure> {
        match &self.agent {
            Some(agent) => require::<AgentSpec>(view, agent).await,
            None => Ok(()),
        }
    }

    /// A rule works at the moment of registration only; nothing is issued on it.
    fn narrows(&self, _new: &Self) -> bool {
        false
    }

    /// Whoever says which software is an agent hands out its power.
    fn stronger_actions(&self, _old: Option<&Self>) -> Vec<ManagementAction> {
        self.agent.iter().map(|_| ManagementAction::AdoptClient).collect()
    }
}

/// Made by an operation of its own, which shows the secret once.
impl Managed for RegistrationTokenSpec {
    async fn check_references(&self, view: &View<'_>) -> Result<(), Failure> {
        require::<AgentSpec>(view, &self.agent).await
    }

    fn narrows(&self, _new: &Self) -> bool {
        false
    }

    fn stronger_actions(&self, _old: Option<&Self>) -> Vec<ManagementAction> {
        vec![ManagementAction::AdoptClient]
    }
}

impl Managed for TenantSpec {
    async fn check_references(&self, _view: &View<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn narrows(&self, new: &Self) -> bool {
        self != new
    }
}

fn raise(new: &Authority, old: &Authority) -> Vec<ManagementAction> {
    if new.is_subset(old) {
        Vec::new()
    } else {
        vec![ManagementAction::RaiseCeiling]
    }
}

fn ends_earlier(
    old: Option<chancery_core::time::Timestamp>,
    new: Option<chancery_core::time::Timestamp>,
) -> bool {
    new.is_some_and(|new| old.is_none_or(|old| new < old))
}
