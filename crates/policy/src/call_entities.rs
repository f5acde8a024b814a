//! Facts of a call as Cedar entities and context.

use crate::entities::{self, FactError, Kind, text, uid};
use cedar_policy::{Context, Entity, EntityUid, RestrictedExpression as Value};
use chancery_core::call::{Argument, CallAction, CallFacts, ConnectionFacts};
use chancery_core::name::Name;
use chancery_core::proposal::Facts;
use chancery_core::resource::Sensitivity;
use chancery_core::scope::ScopeSet;
use std::collections::{BTreeMap, HashMap};

/// A call and the place that it is made at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Called<'a> {
    pub(crate) call: &'a CallFacts,
    pub(crate) place: Place<'a>,
    facts: &'a Facts,
}

/// Where something is done with a token.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// At a resource that Chancery stands before.
    Resource(&'a Name),
    /// At Chancery itself, which hands out the credential of this connection.
    Vault(&'a ConnectionFacts),
}

impl<'a> Called<'a> {
    pub(crate) fn of(facts: &'a Facts) -> Result<Self, FactError> {
        let broken = || FactError::of("a call without its target or resource");
        let call = facts.call.as_ref().ok_or_else(broken)?;
        let is_release = call.action == CallAction::ReleaseCredential;
        let place = match (&facts.resource, &call.connection) {
            (Some(resource), _) if !is_release => Place::Resource(&resource.name),
            (None, Some(connection)) if is_release => Place::Vault(connection),
            (Some(_) | None, _) => return Err(broken()),
        };
        Ok(Self { call, place, facts })
    }

    /// What policy is asked about: `resource:target`, or the connection.
    pub(crate) fn id(&self) -> String {
        match self.place {
            Place::Resource(resource) => format!("{resource}:{}", self.call.target),
            Place::Vault(connection) => connection.name.to_string(),
        }
    }

    /// The connection that is used, and asked about besides.
    pub(crate) fn used(&self) -> Option<&'a ConnectionFacts> {
        match self.place {
            Place::Resource(_) => self.call.connection.as_ref(),
            Place::Vault(_) => None,
        }
    }

    /// What is called.
    pub(crate) fn target(&self) -> EntityUid {
        let kind = match self.call.action {
            CallAction::CallTool => Kind::Tool,
            CallAction::GetPrompt => Kind::Prompt,
            CallAction::ReadResource => Kind::Document,
            CallAction::Request | CallAction::OpenSession => Kind::Endpoint,
            CallAction::ReleaseCredential => Kind::Connection,
        };
        uid(kind, &self.id())
    }

    /// What is called, and everything that it is in.
    pub(crate) fn targets(&self) -> Vec<EntityUid> {
        let mut all = vec![self.target()];
        all.extend(self.parents());
        all
    }

    /// Every entity of the call, except its arguments.
    pub(crate) fn entities(&self) -> Result<Vec<Entity>, FactError> {
        let mut list = entities::issue_entities(self.facts)?;
        if matches!(self.place, Place::Resource(_)) {
            let attributes = [
                text("name", &self.call.target),
                text("sensitivity", self.sensitivity().as_str()),
            ];
            let target = Entity::new_with_tags(self.target(), attributes, self.parents(), []);
            list.push(target.map_err(FactError::of)?);
        }
        if let Some(connection) = &self.call.connection {
            list.push(connection_entity(connection)?);
        }
        Ok(list)
    }

    /// The arguments, each kind as one entity with tags.
    pub(crate) fn arguments(&self) -> Result<Vec<Entity>, FactError> {
        tagged(ID, &self.call.arguments)
    }

    pub(crate) fn context(&self, with_now: bool) -> Result<Context, FactError> {
        let mut pairs = entities::caller(self.facts, with_now);
        let scopes = match (&self.facts.limits.parent, self.place) {
            (Some(parent), Place::Resource(resource)) => parent.scopes_at(resource),
            (Some(_) | None, _) => ScopeSet::default(),
        };
        let scopes = scopes.iter().map(|scope| Value::new_string(scope.to_string()));
        pairs.push(("scopes".to_owned(), Value::new_set(scopes)));
        pairs.push(("arguments".to_owned(), named(ID)?));
        if let Some(connection) = &self.call.connection {
            let connection = uid(Kind::Connection, connection.name.as_str());
            pairs.push(("connection".to_owned(), Value::new_entity_uid(connection)));
        }
        let request = [
            ("host", &self.call.host),
            ("method", &self.call.method),
            ("path", &self.call.path),
        ];
        pairs.extend(
            request
                .iter()
                .filter_map(|(name, value)| Some(text(name, value.as_ref()?))),
        );
        if let Some(approval) = &self.facts.approval {
            pairs.push(entities::yes(approval, self.facts.now)?);
        }
        Context::from_pairs(pairs).map_err(FactError::of)
    }

    /// The resource, and every scope that the target needs.
    fn parents(&self) -> Vec<EntityUid> {
        let Place::Resource(resource) = self.place else {
            return Vec::new();
        };
        let mut parents = vec![uid(Kind::Resource, resource.as_str())];
        for (resource, scopes) in &self.facts.scopes {
            parents.extend(scopes.keys().map(|scope| entities::scope_uid(resource, scope)));
        }
        parents
    }

    fn sensitivity(&self) -> Sensitivity {
        let all = self.facts.scopes.values().flat_map(|scopes| scopes.values());
        all.copied().max().unwrap_or(Sensitivity::Read)
    }
}

/// Arguments or members, each kind as one entity of this id with tags.
pub(crate) fn tagged(id: &str, arguments: &BTreeMap<String, Argument>) -> Result<Vec<Entity>, FactError> {
    let mut tags: HashMap<Kind, Vec<(String, Value)>> = HashMap::new();
    for (name, argument) in arguments {
        let (kind, value) = value(argument);
        tags.entry(kind).or_default().push((name.clone(), value));
    }
    ARGUMENTS
        .iter()
        .map(|(_, kind)| {
            let tags = tags.remove(kind).unwrap_or_default();
            Entity::new_with_tags(uid(*kind, id), [], [], tags).map_err(FactError::of)
        })
        .collect()
}

/// The record that leads to the entities of an id.
pub(crate) fn named(id: &str) -> Result<Value, FactError> {
    let arguments = ARGUMENTS
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), Value::new_entity_uid(uid(*kind, id))));
    Value::new_record(arguments).map_err(FactError::of)
}

fn connection_entity(connection: &ConnectionFacts) -> Result<Entity, FactError> {
    let scopes = connection
        .scopes
        .iter()
        .map(|scope| Value::new_string(scope.clone()));
    let mut attributes = vec![
        text("owner_level", connection.owner_level.as_str()),
        text("handling", connection.handling.as_str()),
        ("scopes".to_owned(), Value::new_set(scopes)),
    ];
    attributes.extend(connection.flow.map(|flow| text("flow", flow.as_str())));
    attributes.extend(
        connection
            .account_owner
            .as_ref()
            .map(|owner| text("owner", owner)),
    );
    Entity::new_with_tags(
        uid(Kind::Connection, connection.name.as_str()),
        attributes,
        [],
        [],
    )
    .map_err(FactError::of)
}

fn value(argument: &Argument) -> (Kind, Value) {
    match argument {
        Argument::Text(text) => (Kind::Text, Value::new_string(text.clone())),
        Argument::Number(number) => (Kind::Number, Value::new_long(*number)),
        Argument::Decimal(text) => (Kind::Decimal, Value::new_decimal(text)),
        Argument::Flag(flag) => (Kind::Flag, Value::new_bool(*flag)),
        Argument::Texts(texts) => {
            let texts = texts.iter().map(|text| Value::new_string(text.clone()));
            (Kind::Texts, Value::new_set(texts))
        }
    }
}

/// The attributes of `context.arguments`, and the entity behind each.
const ARGUMENTS: [(&str, Kind); 5] = [
    ("text", Kind::Text),
    ("number", Kind::Number),
    ("decimal", Kind::Decimal),
    ("flag", Kind::Flag),
    ("texts", Kind::Texts),
];
/// The id of the entities behind `context.arguments`.
const ID: &str = "arguments";
