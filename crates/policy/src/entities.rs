//! Facts as Cedar entities and context.

use crate::call_entities;
use cedar_policy::{Context, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression as Value};
use chancery_core::approval::ApprovalFacts;
use chancery_core::authorization_details::DetailFacts;
use chancery_core::name::Name;
use chancery_core::proposal::{Facts, ResourceFacts, UserFacts};
use chancery_core::resource::Sensitivity;
use chancery_core::scope::Scope;
use chancery_core::time::Timestamp;
use std::collections::HashMap;
use std::str::FromStr as _;
use std::sync::LazyLock;

/// Why facts could not be given to Cedar; always a deny.
#[derive(Debug, thiserror::Error)]
#[error("facts could not be evaluated: {0}")]
pub(crate) struct FactError(String);

impl FactError {
    pub(crate) fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// An entity's uid.
pub(crate) fn uid(kind: Kind, id: &str) -> EntityUid {
    let name = TYPES.get(&kind).cloned();
    // PROOF: every kind's type name is parsed when the table is built, and a test looks each one up.
    let name = name.unwrap_or_else(|| TYPES.values().next().cloned().unwrap_or_else(unreachable_type));
    EntityUid::from_type_name_and_id(name, EntityId::new(id))
}

/// The entity types of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Tenant,
    Role,
    Group,
    User,
    Service,
    Blueprint,
    Agent,
    Resource,
    Scope,
    Instance,
    Record,
    Action,
    Tool,
    Prompt,
    Document,
    Endpoint,
    Connection,
    Text,
    Number,
    Decimal,
    Flag,
    Texts,
    Approval,
}

/// The entities of any request of an agent, in the order in which they are found.
pub(crate) fn issue_entities(facts: &Facts) -> Result<Vec<Entity>, FactError> {
    let mut entities = vec![agent(facts)?, instance(facts)?];
    for link in facts.chain.iter().chain(&facts.delegated_by) {
        if *link != facts.agent.name {
            entities.push(Entity::with_uid(uid(Kind::Agent, link.as_str())));
        }
    }
    if let Some(facts) = &facts.user {
        entities.push(user(facts)?);
    }
    if let Some(resource) = &facts.resource {
        entities.push(resource_entity(resource)?);
    }
    for (resource, scopes) in &facts.scopes {
        for (scope, sensitivity) in scopes {
            entities.push(scope_entity(resource, scope, *sensitivity)?);
        }
    }
    let mut seen = std::collections::HashSet::new();
    entities.retain(|entity| seen.insert(entity.uid()));
    Ok(entities)
}

/// The agent that asks, and what it is in.
pub(crate) fn principals(facts: &Facts) -> Vec<EntityUid> {
    let mut principals = vec![uid(Kind::Agent, facts.agent.name.as_str())];
    let blueprint = facts.agent.blueprint.as_ref();
    principals.extend(blueprint.map(|name| uid(Kind::Blueprint, name.as_str())));
    principals
}

/// The uid of a scope: `resource:scope`.
pub(crate) fn scope_uid(resource: &Name, scope: &Scope) -> EntityUid {
    uid(Kind::Scope, &format!("{resource}:{scope}"))
}

/// The contexts of a token proposal: one, or one for each of its authorization details.
///
/// SECURITY: a policy speaks of one detail at a time and is asked about each, so that none hides behind another.
pub(crate) fn issue_contexts(facts: &Facts, with_now: bool) -> Result<Vec<Context>, FactError> {
    let details = &facts.authorization_details;
    if details.is_empty() {
        return Ok(vec![issue_context(facts, with_now, None)?]);
    }
    let each = details.iter().enumerate();
    each.map(|detail| issue_context(facts, with_now, Some(detail)))
        .collect()
}

/// The members of each detail, as entities with tags.
pub(crate) fn detail_entities(facts: &Facts) -> Result<Vec<Entity>, FactError> {
    let mut entities = Vec::new();
    for (number, detail) in facts.authorization_details.iter().enumerate() {
        entities.extend(call_entities::tagged(&detail_id(number), &detail.members)?);
    }
    Ok(entities)
}

fn detail_id(number: usize) -> String {
    format!("detail {number}")
}

fn issue_context(
    facts: &Facts,
    with_now: bool,
    detail: Option<(usize, &DetailFacts)>,
) -> Result<Context, FactError> {
    let grant_type = facts
        .grant_type
        .ok_or_else(|| FactError::of("a token is asked for without a grant type"))?;
    let mut pairs = caller(facts, with_now);
    pairs.push(text("grant_type", grant_type.as_str()));
    let types = facts.authorization_details.iter();
    let types = types.map(|detail| Value::new_string(detail.kind.to_string()));
    pairs.push(("authorization_details_types".to_owned(), Value::new_set(types)));
    if let Some((number, detail)) = detail {
        let record = Value::new_record([
            text("type", detail.kind.as_str()),
            ("members".to_owned(), call_entities::named(&detail_id(number))?),
        ]);
        pairs.push(("authorization_detail".to_owned(), record.map_err(FactError::of)?));
    }
    if let Some(from) = &facts.delegated_by {
        pairs.push((
            "delegated_by".to_owned(),
            Value::new_entity_uid(uid(Kind::Agent, from.as_str())),
        ));
    }
    if let Some(approval) = &facts.approval {
        pairs.push(yes(approval, facts.now)?);
    }
    Context::from_pairs(pairs).map_err(FactError::of)
}

/// The yes of people, as context.
pub(crate) fn yes(approval: &ApprovalFacts, now: Timestamp) -> Result<(String, Value), FactError> {
    let age = i64::try_from(now.since(approval.given_at).as_seconds()).unwrap_or(i64::MAX);
    let approvers = approval.approvers.iter();
    let approvers = approvers.map(|name| Value::new_entity_uid(uid(Kind::User, name.as_str())));
    let methods = approval.methods.iter();
    let methods = methods.map(|method| Value::new_string(method.as_str().to_owned()));
    let record = Value::new_record([
        ("approvers".to_owned(), Value::new_set(approvers)),
        ("count".to_owned(), Value::new_long(approval.count.into())),
        ("methods".to_owned(), Value::new_set(methods)),
        ("age".to_owned(), Value::new_long(age)),
    ]);
    Ok(("approval".to_owned(), record.map_err(FactError::of)?))
}

/// What the context of every request of an agent has: who asks, for whom, when. The exact time is left out where no
/// policy reads it: Cedar parses it anew from text for each request.
pub(crate) fn caller(facts: &Facts, with_now: bool) -> Vec<(String, Value)> {
    let chain = facts
        .chain
        .iter()
        .map(|name| Value::new_entity_uid(uid(Kind::Agent, name.as_str())));
    let depth = i64::try_from(facts.chain.len()).unwrap_or(i64::MAX);
    let mut pairs = vec![
        text("assurance", facts.assurance.as_str()),
        text("client", facts.client.as_str()),
        ("chain".to_owned(), Value::new_set(chain)),
        ("depth".to_owned(), Value::new_long(depth)),
        (
            "instance".to_owned(),
            Value::new_entity_uid(uid(Kind::Instance, facts.client.as_str())),
        ),
        ("hour".to_owned(), Value::new_long(facts.now.hour())),
    ];
    if with_now {
        pairs.push(("now".to_owned(), datetime(facts.now)));
    }
    if let Some(user) = &facts.user {
        let age = i64::try_from(facts.now.since(user.as_of).as_seconds()).unwrap_or(i64::MAX);
        pairs.push((
            "user".to_owned(),
            Value::new_entity_uid(uid(Kind::User, user.name.as_str())),
        ));
        pairs.push(("user_facts_age".to_owned(), Value::new_long(age)));
    }
    pairs
}

/// A moment as Cedar writes it.
pub(crate) fn datetime(at: Timestamp) -> Value {
    let text = at.to_string();
    // Cedar reads milliseconds: `2026-01-02T03:04:05.678Z`.
    let millis = text
        .get(..23)
        .map_or_else(|| text.clone(), |start| format!("{start}Z"));
    Value::new_datetime(millis)
}

fn agent(facts: &Facts) -> Result<Entity, FactError> {
    let agent = &facts.agent;
    let owner = agent.owner.as_ref().map(|owner| text("owner", owner.as_str()));
    let parents = agent
        .blueprint
        .as_ref()
        .map(|blueprint| uid(Kind::Blueprint, blueprint.as_str()));
    let tags = agent.tags.iter().map(|(key, value)| text(key, value));
    Entity::new_with_tags(uid(Kind::Agent, agent.name.as_str()), owner, parents, tags).map_err(FactError::of)
}

fn instance(facts: &Facts) -> Result<Entity, FactError> {
    let tags = facts.instance.iter().map(|(key, value)| text(key, value));
    Entity::new_with_tags(uid(Kind::Instance, facts.client.as_str()), [], [], tags).map_err(FactError::of)
}

fn user(facts: &UserFacts) -> Result<Entity, FactError> {
    let roles = facts.roles.iter().map(|role| uid(Kind::Role, role.as_str()));
    let groups = facts.groups.iter().map(|group| uid(Kind::Group, group));
    let attributes = [
        text("issuer", facts.issuer.as_str()),
        text("assurance", facts.assurance.as_str()),
    ];
    let tags = facts.attributes.iter().map(|(key, value)| text(key, value));
    Entity::new_with_tags(
        uid(Kind::User, facts.name.as_str()),
        attributes,
        roles.chain(groups),
        tags,
    )
    .map_err(FactError::of)
}

fn resource_entity(facts: &ResourceFacts) -> Result<Entity, FactError> {
    let owner = facts.owner.as_ref().map(|owner| text("owner", owner.as_str()));
    Entity::new_with_tags(uid(Kind::Resource, facts.name.as_str()), owner, [], []).map_err(FactError::of)
}

fn scope_entity(resource: &Name, scope: &Scope, sensitivity: Sensitivity) -> Result<Entity, FactError> {
    let attributes = [
        text("name", scope.as_str()),
        text("sensitivity", sensitivity.as_str()),
    ];
    let parent = [uid(Kind::Resource, resource.as_str())];
    Entity::new_with_tags(scope_uid(resource, scope), attributes, parent, []).map_err(FactError::of)
}

pub(crate) fn text(key: &str, value: &str) -> (String, Value) {
    (key.to_owned(), Value::new_string(value.to_owned()))
}

fn unreachable_type() -> EntityTypeName {
    unreachable!("the table of entity types is not empty")
}

static TYPES: LazyLock<HashMap<Kind, EntityTypeName>> = LazyLock::new(|| {
    let names = [
        (Kind::Tenant, "Tenant"),
        (Kind::Role, "Role"),
        (Kind::Group, "Group"),
        (Kind::User, "User"),
        (Kind::Service, "Service"),
        (Kind::Blueprint, "Blueprint"),
        (Kind::Agent, "Agent"),
        (Kind::Resource, "Resource"),
        (Kind::Scope, "Scope"),
        (Kind::Instance, "Instance"),
        (Kind::Record, "Record"),
        (Kind::Action, "Action"),
        (Kind::Tool, "Tool"),
        (Kind::Prompt, "Prompt"),
        (Kind::Document, "Document"),
        (Kind::Endpoint, "Endpoint"),
        (Kind::Connection, "Connection"),
        (Kind::Text, "Text"),
        (Kind::Number, "Number"),
        (Kind::Decimal, "Decimal"),
        (Kind::Flag, "Flag"),
        (Kind::Texts, "Texts"),
        (Kind::Approval, "Approval"),
    ];
    let parse = |(kind, name): (Kind, &str)| Some((kind, EntityTypeName::from_str(name).ok()?));
    names.into_iter().filter_map(parse).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_type() {
        assert_eq!(TYPES.len(), 23);
        for (kind, name) in TYPES.iter() {
            assert_eq!(format!("{kind:?}"), name.to_string());
        }
    }
}
