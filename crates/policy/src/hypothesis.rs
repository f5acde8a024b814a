//! What if people said yes? A question that is denied is put again with a yes that nobody has given, to learn whether
//! one would turn it, and the least that is needed: how many people, and what each must do.
//!
//! Says nothing about who may say yes: that is [`approve`](crate::approve). A real yes is decided on with the real
//! facts; what is found here only tells whom to ask for what.

use crate::set::PolicySet;
use chancery_core::approval::{ApprovalFacts, ApprovalMethod, MAX_COUNT, Requirement};
use chancery_core::proposal::Facts;
use std::collections::BTreeSet;

/// The least yes with which `permits` says so. `None` if there was one already, or none would help.
pub(crate) fn requirement(
    set: &PolicySet,
    facts: &Facts,
    permits: impl Fn(&Facts) -> bool,
) -> Option<Requirement> {
    if facts.approval.is_some() || !set.index.reads_approval() {
        return None;
    }
    let turns = |count: u32, methods: &[ApprovalMethod]| {
        let requirement = Requirement {
            count,
            methods: methods.iter().copied().collect(),
        };
        permits(&with(set, facts, &requirement)).then_some(requirement)
    };
    let count = (1..=MAX_COUNT).find(|count| turns(*count, EVERYTHING).is_some())?;
    WAYS.iter().find_map(|methods| turns(count, methods))
}

/// The facts with the best yes that could be given. `None` if there is a real one, or no policy reads any.
pub(crate) fn best(set: &PolicySet, facts: &Facts) -> Option<Facts> {
    if facts.approval.is_some() || !set.index.reads_approval() {
        return None;
    }
    let requirement = Requirement {
        count: MAX_COUNT,
        methods: EVERYTHING.iter().copied().collect(),
    };
    Some(with(set, facts, &requirement))
}

/// The facts, with a yes that meets a requirement and was given just now by everybody whom policies name.
pub(crate) fn with(set: &PolicySet, facts: &Facts, requirement: &Requirement) -> Facts {
    let mut methods = requirement.methods.clone();
    methods.insert(ApprovalMethod::Page);
    let approvers: BTreeSet<_> = set
        .index
        .approvers()
        .filter_map(|name| name.parse().ok())
        .collect();
    Facts {
        approval: Some(ApprovalFacts {
            id: None,
            approvers,
            count: requirement.count,
            methods,
            given_at: facts.now,
        }),
        ..facts.clone()
    }
}

/// What can be asked of an approver besides a yes, the least first.
const WAYS: &[&[ApprovalMethod]] = &[
    &[],
    &[ApprovalMethod::Number],
    &[ApprovalMethod::Passkey],
    EVERYTHING,
];
const EVERYTHING: &[ApprovalMethod] = &[ApprovalMethod::Number, ApprovalMethod::Passkey];
