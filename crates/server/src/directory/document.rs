//! Reading the items of a document: each is completed, parsed strictly, and known to the others before any of them
//! is checked.

use crate::directory::apply::Document;
use crate::directory::managed::Managed;
use crate::directory::view::View;
use crate::error::{Failure, Refusal};
use chancery_core::agent::AgentSpec;
use chancery_core::binding::RuntimeBindingSpec;
use chancery_core::blueprint::BlueprintSpec;
use chancery_core::client::ClientSpec;
use chancery_core::connection::ConnectionSpec;
use chancery_core::grant::GrantSpec;
use chancery_core::issuer::TrustedIssuerSpec;
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun};
use chancery_core::registration::RegistrationRuleSpec;
use chancery_core::resource::ResourceSpec;
use chancery_core::user::UserSpec;
use serde_json::{Map, Value};

/// One item of a document.
pub(super) struct Item<S> {
    pub(super) name: Option<Name>,
    pub(super) state: Option<Lifecycle>,
    pub(super) spec: S,
}

/// The items of a document, by kind.
pub(super) struct Items {
    pub(super) issuers: Vec<Item<TrustedIssuerSpec>>,
    pub(super) connections: Vec<Item<ConnectionSpec>>,
    pub(super) resources: Vec<Item<ResourceSpec>>,
    pub(super) blueprints: Vec<Item<BlueprintSpec>>,
    pub(super) users: Vec<Item<UserSpec>>,
    pub(super) agents: Vec<Item<AgentSpec>>,
    pub(super) clients: Vec<Item<ClientSpec>>,
    pub(super) bindings: Vec<Item<RuntimeBindingSpec>>,
    pub(super) grants: Vec<Item<GrantSpec>>,
    pub(super) registration_rules: Vec<Item<RegistrationRuleSpec>>,
    pub(super) policy: Option<String>,
}

impl Items {
    /// Reads every item. `base` is the tenant's base URL.
    pub(super) fn read(document: Document, base: &str) -> Result<Self, Failure> {
        Ok(Self {
            issuers: items(document.trusted_issuers, base)?,
            connections: items(document.connections, base)?,
            resources: items(document.resources, base)?,
            blueprints: items(document.blueprints, base)?,
            users: items(document.users, base)?,
            agents: items(document.agents, base)?,
            clients: items(document.clients, base)?,
            bindings: items(document.runtime_bindings, base)?,
            grants: items(document.grants, base)?,
            registration_rules: items(document.registration_rules, base)?,
            policy: document.policy,
        })
    }

    /// Makes every item known before any is checked: agents and resources may refer to each other.
    pub(super) fn announce(&self, view: &mut View<'_>) {
        announce(&self.issuers, view);
        announce(&self.connections, view);
        announce(&self.resources, view);
        announce(&self.blueprints, view);
        announce(&self.users, view);
        announce(&self.agents, view);
    }
}

fn announce<S: Managed>(items: &[Item<S>], view: &mut View<'_>) {
    for item in items.iter().filter(|item| item.state != Some(Lifecycle::Retired)) {
        if let Some(name) = &item.name {
            view.announce::<S>(name, &item.spec);
        }
    }
}

fn items<S: Managed>(list: Vec<Map<String, Value>>, base: &str) -> Result<Vec<Item<S>>, Failure> {
    if list.len() > MAX_ITEMS {
        return Err(Refusal::Invalid(format!(
            "more than {MAX_ITEMS} {} items; apply them in parts",
            S::NOUN
        ))
        .into());
    }
    list.into_iter()
        .enumerate()
        .map(|(position, item)| read_item(position, item, base))
        .collect()
}

fn read_item<S: Managed>(
    position: usize,
    mut item: Map<String, Value>,
    base: &str,
) -> Result<Item<S>, Failure> {
    let place = |rule: &dyn std::fmt::Display| {
        Failure::from(Refusal::Invalid(format!(
            "{} number {}: {rule}",
            S::NOUN,
            position + 1
        )))
    };
    let name = item
        .remove("name")
        .map(serde_json::from_value::<Name>)
        .transpose()
        .map_err(|error| place(&error))?;
    let state = item
        .remove("state")
        .map(serde_json::from_value::<Lifecycle>)
        .transpose()
        .map_err(|error| place(&error))?;
    S::complete(base, name.as_ref().map(Name::as_str), &mut item);
    let spec = serde_json::from_value(Value::Object(item)).map_err(|error| place(&error))?;
    if name.is_none() && S::NOUN != Noun::Grant {
        return Err(place(&"`name` is missing"));
    }
    Ok(Item { name, state, spec })
}

/// How many items of one kind a document has at most.
pub(super) const MAX_ITEMS: usize = 1_000;
