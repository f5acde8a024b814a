//! The slice: only the policies that can match a request are evaluated, because Cedar is linear in the
//! number of policies it is given.
//!
//! A policy is filed under each action it can apply to, then under the entity that its principal must be
//! or be in, or else under the entity that its resource must be or be in, or else under "any". A request
//! looks up its principal, its resource and their ancestors, so the cost does not grow with the set.

use crate::reads;
use cedar_policy as cedar;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, RwLock};

/// The index over one set.
pub(crate) struct Index {
    policies: Vec<cedar::Policy>,
    by_action: HashMap<cedar::EntityUid, Shelf>,
    /// The policies that read arguments of calls, and the arguments that each names.
    reads: HashMap<cedar::PolicyId, BTreeSet<String>>,
    /// The policies that read a yes, which is to all arguments of a call.
    yes: HashSet<cedar::PolicyId>,
    reads_now: bool,
    reads_age: bool,
    /// People whom policies that read a yes name.
    approvers: BTreeSet<String>,
    slices: RwLock<HashMap<Vec<usize>, Arc<cedar::PolicySet>>>,
}

/// The policies that can apply to one action.
#[derive(Default)]
struct Shelf {
    by_principal: HashMap<cedar::EntityUid, Vec<usize>>,
    by_resource: HashMap<cedar::EntityUid, Vec<usize>>,
    any: Vec<usize>,
}

impl Index {
    /// Files every policy. `actions` are the schema's actions with their groups.
    pub(crate) fn build(policies: impl Iterator<Item = cedar::Policy>, actions: &cedar::Entities) -> Self {
        let policies: Vec<cedar::Policy> = policies.collect();
        let mut by_action: HashMap<cedar::EntityUid, Shelf> = HashMap::new();
        for action in actions.iter().map(cedar::Entity::uid) {
            let shelf = by_action.entry(action.clone()).or_default();
            for (position, policy) in policies.iter().enumerate() {
                if applies_to(policy, &action, actions) {
                    shelf.file(position, policy);
                }
            }
        }
        let reads = policies
            .iter()
            .filter_map(|policy| Some((policy.id().clone(), reads::arguments(policy)?)))
            .collect();
        Self {
            reads_now: any_reads(&policies, reads::NOW),
            reads_age: any_reads(&policies, reads::AGE),
            yes: policies
                .iter()
                .filter(|policy| reads::attribute(policy, reads::APPROVAL))
                .map(|policy| policy.id().clone())
                .collect(),
            approvers: policies
                .iter()
                .filter(|policy| reads::attribute(policy, reads::APPROVAL))
                .flat_map(reads::people)
                .collect(),
            policies,
            by_action,
            reads,
            slices: RwLock::default(),
        }
    }

    /// The policies that can match: `principals` and `resources` are the entity and its ancestors.
    pub(crate) fn slice(
        &self,
        action: &cedar::EntityUid,
        principals: &[cedar::EntityUid],
        resources: &[cedar::EntityUid],
    ) -> Arc<cedar::PolicySet> {
        let key = self
            .by_action
            .get(action)
            .map(|shelf| shelf.find(principals, resources))
            .unwrap_or_default();
        if let Ok(slices) = self.slices.read()
            && let Some(slice) = slices.get(&key)
        {
            return slice.clone();
        }
        let chosen = key
            .iter()
            .filter_map(|&position| self.policies.get(position))
            .cloned();
        // Ids are unique in the whole set, so a part of it cannot fail to assemble; an empty set denies.
        let slice = Arc::new(cedar::PolicySet::from_policies(chosen).unwrap_or_default());
        if let Ok(mut slices) = self.slices.write() {
            if slices.len() >= MAX_SLICES {
                slices.clear();
            }
            slices.insert(key, slice.clone());
        }
        slice
    }

    /// Whether any policy reads the exact time.
    pub(crate) const fn reads_now(&self) -> bool {
        self.reads_now
    }

    /// Whether what comes out may differ from one moment to the next within an hour.
    pub(crate) const fn depends_on_time(&self) -> bool {
        self.reads_now || self.reads_age
    }

    /// Whether any policy reads the yes of people.
    pub(crate) fn reads_approval(&self) -> bool {
        !self.yes.is_empty()
    }

    /// The people whom policies that read a yes name.
    pub(crate) fn approvers(&self) -> impl Iterator<Item = &str> {
        self.approvers.iter().map(String::as_str)
    }

    /// Whether any policy of a slice reads arguments of a call, or a yes, which is a yes to all of them.
    pub(crate) fn reads_arguments(&self, slice: &cedar::PolicySet) -> bool {
        slice
            .policies()
            .any(|policy| self.reads.contains_key(policy.id()) || self.yes.contains(policy.id()))
    }

    /// The arguments that the policies with these ids name; with no id, that any policy of the slice names.
    pub(crate) fn arguments(&self, slice: &cedar::PolicySet, ids: &[String]) -> Vec<String> {
        let is_meant = |policy: &&cedar::Policy| {
            let id: &str = policy.id().as_ref();
            ids.is_empty() || ids.iter().any(|meant| meant == id)
        };
        let named = slice.policies().filter(is_meant);
        let named: BTreeSet<&String> = named
            .filter_map(|policy| self.reads.get(policy.id()))
            .flatten()
            .collect();
        named.into_iter().cloned().collect()
    }

    /// All policies in one set: what a slice must agree with.
    #[cfg(test)]
    pub(crate) fn whole(&self) -> cedar::PolicySet {
        cedar::PolicySet::from_policies(self.policies.iter().cloned()).unwrap_or_default()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.policies
            .iter()
            .map(|policy| policy.id().to_string())
            .collect()
    }
}

impl Shelf {
    fn file(&mut self, position: usize, policy: &cedar::Policy) {
        use cedar::{PrincipalConstraint as P, ResourceConstraint as R};
        match (policy.principal_constraint(), policy.resource_constraint()) {
            (P::Eq(uid) | P::In(uid) | P::IsIn(_, uid), _) => {
                self.by_principal.entry(uid).or_default().push(position);
            }
            (P::Any | P::Is(_), R::Eq(uid) | R::In(uid) | R::IsIn(_, uid)) => {
                self.by_resource.entry(uid).or_default().push(position);
            }
            (P::Any | P::Is(_), R::Any | R::Is(_)) => self.any.push(position),
        }
    }

    fn find(&self, principals: &[cedar::EntityUid], resources: &[cedar::EntityUid]) -> Vec<usize> {
        let mut found = self.any.clone();
        found.extend(
            principals
                .iter()
                .filter_map(|uid| self.by_principal.get(uid))
                .flatten(),
        );
        found.extend(
            resources
                .iter()
                .filter_map(|uid| self.by_resource.get(uid))
                .flatten(),
        );
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("policies", &self.policies.len())
            .finish_non_exhaustive()
    }
}

fn any_reads(policies: &[cedar::Policy], attribute: &'static str) -> bool {
    policies.iter().any(|policy| reads::attribute(policy, attribute))
}

fn applies_to(policy: &cedar::Policy, action: &cedar::EntityUid, actions: &cedar::Entities) -> bool {
    let is_or_in = |uid: &cedar::EntityUid| uid == action || actions.is_ancestor_of(uid, action);
    match policy.action_constraint() {
        cedar::ActionConstraint::Any => true,
        cedar::ActionConstraint::Eq(uid) => uid == *action,
        cedar::ActionConstraint::In(uids) => uids.iter().any(is_or_in),
    }
}

/// Distinct slices kept; past it the cache starts over.
const MAX_SLICES: usize = 4_096;
