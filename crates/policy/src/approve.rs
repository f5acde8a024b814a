//! Who may answer a request for a yes (design, sections 5 and 7): policy over the record, with the floor that nobody
//! approves what they asked for or own alone, and that agents never do.
//!
//! Decides about one person and one record. How many are needed, and whether the yes then permits what was asked, is
//! decided when it is used.

use crate::entities::{self, Kind};
use crate::manage::{ManagementDenied, Manager};
use crate::set::PolicySet;
use cedar_policy::{self as cedar, Entity, RestrictedExpression as Value};
use chancery_core::approval::{ApprovalMethod, ApprovalRecord, Asked};
use chancery_core::name::Name;
use chancery_core::time::Timestamp;

/// What somebody wants to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalAnswer {
    /// Yes.
    Approve,
    /// No.
    Reject,
}

impl ApprovalAnswer {
    /// The action's name in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }
}

/// Proof that policy lets this person give this answer. Only [`decide`] builds one.
#[derive(Debug)]
pub struct ApprovalPermit {
    answer: ApprovalAnswer,
    policies: Vec<String>,
}

impl ApprovalPermit {
    /// The answer.
    pub const fn answer(&self) -> ApprovalAnswer {
        self.answer
    }

    /// The policies that permitted it.
    pub fn policies(&self) -> &[String] {
        &self.policies
    }
}

/// Whether somebody may give an answer.
///
/// # Errors
/// The refusal, with the policies that forbade it.
pub fn decide(
    set: &PolicySet,
    record: &ApprovalRecord,
    (manager, method): (&Manager, ApprovalMethod),
    answer: ApprovalAnswer,
    now: Timestamp,
) -> Result<ApprovalPermit, ManagementDenied> {
    let denied = |policies| ManagementDenied {
        action: answer.as_str(),
        what: "approval",
        policies,
    };
    let question = Question {
        record,
        manager,
        method,
        now,
    };
    let Some(response) = question.ask(set, answer) else {
        return Err(denied(Vec::new()));
    };
    let answered = crate::decide::answer(&response);
    if answered.allowed {
        Ok(ApprovalPermit {
            answer,
            policies: answered.policies,
        })
    } else {
        Err(denied(answered.policies))
    }
}

/// Whether this person asked for it, owns it alone, or an agent: whose yes would be a yes to themselves. Asked again
/// where the yes of the person to an agent's access is counted as an approval too.
pub fn is_own(asked: &Asked, person: &Name) -> bool {
    let requested = asked.user.as_ref().is_some_and(|user| user.name == *person);
    requested || asked.owner.as_ref() == Some(person)
}

struct Question<'a> {
    record: &'a ApprovalRecord,
    manager: &'a Manager,
    method: ApprovalMethod,
    now: Timestamp,
}

impl Question<'_> {
    fn ask(&self, set: &PolicySet, answer: ApprovalAnswer) -> Option<cedar::Response> {
        let principal = self.manager.entity()?;
        let mut principals = vec![principal.uid()];
        principals.extend(self.manager.parents());
        let approval = self.approval()?;
        let resources = [approval.uid()];
        let action = entities::uid(Kind::Action, answer.as_str());
        let slice = set.index.slice(&action, &principals, &resources);
        let agent = entities::uid(Kind::Agent, self.record.subject.agent.name.as_str());
        let mut all = vec![principal, approval];
        if !principals.contains(&agent) {
            all.push(self.agent()?);
        }
        let entities = set.actions.clone().add_entities(all, None).ok()?;
        let context = self.context()?;
        let [resource] = resources;
        let principal = principals.first()?.clone();
        let request = cedar::Request::new(principal, action, resource, context, None).ok()?;
        Some(set.authorizer.is_authorized(&request, &slice, &entities))
    }

    fn context(&self) -> Option<cedar::Context> {
        let asked = &self.record.subject;
        let person = match self.manager {
            Manager::User { name, .. } => Some(name),
            Manager::Agent { .. } | Manager::Local => None,
        };
        let requested = asked.user.as_ref().map(|user| &user.name);
        let is_person = |name: Option<&Name>| person.is_some() && name == person;
        let truth = |key: &str, value: bool| (key.to_owned(), Value::new_bool(value));
        cedar::Context::from_pairs([
            entities::text("method", self.method.as_str()),
            truth("owns", self.manager.owns(asked.owner.as_ref())),
            truth("owns_alone", is_person(asked.owner.as_ref())),
            truth("owns_resource", self.manager.owns(asked.resource_owner.as_ref())),
            truth("requested", is_person(requested)),
            ("now".to_owned(), entities::datetime(self.now)),
        ])
        .ok()
    }

    fn agent(&self) -> Option<Entity> {
        let asked = &self.record.subject;
        let owner = asked
            .owner
            .as_ref()
            .map(|owner| entities::text("owner", owner.as_str()));
        let uid = entities::uid(Kind::Agent, asked.agent.name.as_str());
        Entity::new_with_tags(uid, owner, [], []).ok()
    }

    fn approval(&self) -> Option<Entity> {
        let asked = &self.record.subject;
        let id = self.record.id.to_string();
        let agent = entities::uid(Kind::Agent, asked.agent.name.as_str());
        let scopes = asked
            .scopes
            .pairs()
            .map(|(resource, scope)| format!("{resource}:{scope}"));
        let mut attributes = vec![
            entities::text("noun", "approval"),
            entities::text("name", &id),
            entities::text("kind", asked.kind.as_str()),
            entities::text("client", asked.client.name.as_str()),
            entities::text("action", &asked.action),
            entities::text("sensitivity", asked.sensitivity.as_str()),
            ("agent".to_owned(), Value::new_entity_uid(agent)),
            ("scopes".to_owned(), Value::new_set(scopes.map(Value::new_string))),
        ];
        attributes.extend(asked.user.as_ref().map(|user| {
            let uid = entities::uid(Kind::User, user.name.as_str());
            ("user".to_owned(), Value::new_entity_uid(uid))
        }));
        let resource = asked.resource.as_ref();
        attributes.extend(resource.map(|resource| entities::text("resource", resource.name.as_str())));
        let call = asked.call.as_ref();
        attributes.extend(call.map(|call| entities::text("tool", &call.target)));
        Entity::new_with_tags(entities::uid(Kind::Approval, &id), attributes, [], []).ok()
    }
}

#[cfg(test)]
mod tests;
