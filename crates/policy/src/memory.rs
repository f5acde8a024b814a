//! Remembered evaluations: the same facts under the same set give the same rows, so what was evaluated lately is
//! not evaluated again. An agent asks for the same token every few minutes, and calls the same tool with other
//! arguments.
//!
//! Facts are compared whole, except for the time and the arguments of a call: what is remembered of a call does not
//! depend on them. Sets that read the exact time or the age of a person's facts remember nothing. A set never changes, so nothing here is ever out of date.

use chancery_core::call::CallFacts;
use chancery_core::decision::{DenyReason, ScopeRow};
use chancery_core::proposal::{Facts, GrantType, UserFacts};
use chancery_core::scope::Authority;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::sync::{Arc, PoisonError, RwLock};

/// What came of facts: a row for each scope, and why all of it is refused, if it is.
pub(crate) type Evaluation = (Vec<ScopeRow>, Option<DenyReason>);

/// The latest evaluations of one set.
pub(crate) struct Memory<E> {
    seeds: RandomState,
    entries: RwLock<HashMap<u64, Arc<Entry<E>>>>,
}

struct Entry<E> {
    facts: Facts,
    for_chancery: bool,
    evaluation: E,
}

impl<E: Clone> Memory<E> {
    /// What came of these facts, remembered or made now.
    pub(crate) fn recall(&self, facts: &Facts, for_chancery: bool, evaluate: impl FnOnce() -> E) -> E {
        let place = self.place(facts);
        let known = self
            .entries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&place)
            .cloned();
        if let Some(entry) = known
            && entry.for_chancery == for_chancery
            && are_same(&entry.facts, facts)
        {
            return entry.evaluation.clone();
        }
        let evaluation = evaluate();
        let mut facts = facts.clone();
        if let Some(call) = &mut facts.call {
            call.arguments.clear();
        }
        let entry = Entry {
            facts,
            for_chancery,
            evaluation: evaluation.clone(),
        };
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_ENTRIES {
            entries.clear();
        }
        entries.insert(place, Arc::new(entry));
        evaluation
    }

    /// Where facts like these are kept. Others may share the place: what is found there is compared.
    fn place(&self, facts: &Facts) -> u64 {
        let mut hasher = self.seeds.build_hasher();
        facts.agent.name.hash(&mut hasher);
        facts.client.hash(&mut hasher);
        facts.user.as_ref().map(|user| &user.name).hash(&mut hasher);
        facts
            .resource
            .as_ref()
            .map(|resource| &resource.name)
            .hash(&mut hasher);
        facts.grant_type.map(GrantType::as_str).hash(&mut hasher);
        facts.chain.hash(&mut hasher);
        if let Some(call) = &facts.call {
            (call.action, &call.target, &call.host, &call.method, &call.path).hash(&mut hasher);
        }
        for (resource, scopes) in facts.asked.iter().flat_map(Authority::iter) {
            (resource, scopes).hash(&mut hasher);
        }
        hasher.finish()
    }
}

impl<E> Default for Memory<E> {
    fn default() -> Self {
        Self {
            seeds: RandomState::default(),
            entries: RwLock::default(),
        }
    }
}

impl<E> fmt::Debug for Memory<E> {
    /// Shows no facts: they are about people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

/// SECURITY: every fact is compared but the exact time, of which policies here see only the hour, and the arguments
/// of a call. A new fact that is not compared does not compile.
fn are_same(left: &Facts, right: &Facts) -> bool {
    let Facts {
        tenant,
        now,
        grant_type,
        call,
        agent,
        delegated_by,
        client,
        assurance,
        instance,
        user,
        approval,
        chain,
        resource,
        scopes,
        asked,
        authorization_details,
        limits,
    } = left;
    let are_same_people = match (user, &right.user) {
        (None, None) => true,
        (Some(left), Some(right)) => are_same_person(left, right),
        (Some(_), None) | (None, Some(_)) => false,
    };
    are_same_people
        && now.hour() == right.now.hour()
        && (tenant, client, agent, assurance)
            == (&right.tenant, &right.client, &right.agent, &right.assurance)
        && (grant_type, delegated_by) == (&right.grant_type, &right.delegated_by)
        && are_same_calls(call.as_ref(), right.call.as_ref())
        && (instance, chain, resource) == (&right.instance, &right.chain, &right.resource)
        && (scopes, asked, limits) == (&right.scopes, &right.asked, &right.limits)
        && (approval, authorization_details) == (&right.approval, &right.authorization_details)
}

fn are_same_calls(left: Option<&CallFacts>, right: Option<&CallFacts>) -> bool {
    let (Some(left), Some(right)) = (left, right) else {
        return left.is_none() && right.is_none();
    };
    let CallFacts {
        action,
        target,
        arguments: _,
        connection,
        host,
        method,
        path,
        obstacle,
    } = left;
    (action, target, connection, obstacle)
        == (&right.action, &right.target, &right.connection, &right.obstacle)
        && (host, method, path) == (&right.host, &right.method, &right.path)
}

fn are_same_person(left: &UserFacts, right: &UserFacts) -> bool {
    let UserFacts {
        name,
        issuer,
        roles,
        groups,
        attributes,
        as_of: _,
        assurance,
    } = left;
    (name, issuer, assurance) == (&right.name, &right.issuer, &right.assurance)
        && (roles, groups, attributes) == (&right.roles, &right.groups, &right.attributes)
}

const MAX_ENTRIES: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn written() -> Value {
        json!({
            "tenant": "default", "now": 1_700_000_000_000_000_i64, "grant_type": "token_exchange",
            "agent": { "name": "bot", "owner": "group:lab", "blueprint": "bots", "tags": { "team": "lab" } },
            "delegated_by": "planner", "client": "bot-secret", "assurance": "secret",
            "instance": { "pod": "web-1" },
            "user": {
                "name": "alice", "issuer": "company", "roles": ["editor"], "groups": ["staff"],
                "attributes": { "site": "berlin" }, "as_of": 1_699_999_999_000_000_i64, "assurance": "verified"
            },
            "approval": {
                "approvers": ["carol"], "count": 1, "methods": ["page"], "given_at": 1_699_999_999_000_000_i64
            },
            "chain": ["bot", "planner"], "resource": { "name": "notes", "owner": "group:lab" },
            "call": {
                "action": "call_tool", "target": "pay", "arguments": {}, "host": "bank.example", "method": "POST",
                "path": "/pay", "obstacle": "not_mapped",
                "connection": {
                    "name": "bank", "owner_level": "tenant", "needs_account": true, "account_owner": "tenant",
                    "granted": true
                }
            },
            "scopes": { "notes": { "read": "read" } }, "asked": { "notes": ["read"] },
            "authorization_details": [{ "type": "payment", "members": { "amount": { "number": 1 } } }],
            "limits": {
                "parent": { "notes": ["read"] }, "ceiling": { "notes": ["read"] }, "grant": { "notes": ["read"] },
                "holders": { "notes": ["read"] }
            }
        })
    }

    fn facts(value: &Value) -> Facts {
        serde_json::from_value(value.clone()).unwrap()
    }

    /// Every place in the facts: a path of members.
    fn places(value: &Value, path: &str, found: &mut Vec<String>) {
        found.push(path.to_owned());
        match value {
            Value::Object(members) => members
                .iter()
                .for_each(|(name, inner)| places(inner, &format!("{path}/{name}"), found)),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .for_each(|(number, inner)| places(inner, &format!("{path}/{number}"), found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn any_fact_that_differs_but_the_moment_is_another_question() {
        let original = written();
        let mut all = Vec::new();
        places(&original, "", &mut all);
        let mut changed = 0;
        for place in all.iter().filter(|place| !place.is_empty()) {
            for other in [
                json!("other"),
                json!("key"),
                json!("client_credentials"),
                json!("write"),
                json!(["other"]),
                json!({}),
                Value::Null,
            ] {
                let mut value = original.clone();
                *value.pointer_mut(place).unwrap() = other;
                let Ok(read) = serde_json::from_value::<Facts>(value) else {
                    continue;
                };
                if read != facts(&original) {
                    changed += 1;
                    assert!(!are_same(&facts(&original), &read), "{place}");
                }
            }
        }
        assert!(changed > 25, "only {changed} changes were tried");
    }

    #[test]
    fn of_the_time_only_the_hour_counts() {
        let at = |now: i64, as_of: i64| {
            let mut value = written();
            value["now"] = json!(now);
            value["user"]["as_of"] = json!(as_of);
            facts(&value)
        };
        let now = 1_700_000_000_000_000;
        assert!(are_same(&at(now, now), &at(now + 1_000_000, now - 5_000_000)));
        assert!(!are_same(&at(now, now), &at(now + 3_600_000_000, now)));
    }

    #[test]
    fn what_is_remembered_is_given_only_for_the_same_facts() {
        let memory: Memory<Evaluation> = Memory::default();
        let first = facts(&written());
        let refused = || (Vec::new(), Some(DenyReason::NothingLeft));
        assert_eq!(memory.recall(&first, false, refused), refused());
        let again = memory.recall(&first, false, || panic!("it is remembered"));
        assert_eq!(again, refused());

        let mut narrower = written();
        narrower["limits"]["ceiling"] = json!({});
        let other = memory.recall(&facts(&narrower), false, || (Vec::new(), None));
        assert_eq!(other.1, None);
        let for_chancery = memory.recall(&first, true, || (Vec::new(), None));
        assert_eq!(for_chancery.1, None);
    }
}
