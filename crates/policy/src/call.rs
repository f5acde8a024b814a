//! The decision on a call: every scope that its target needs against every limit, then policy on the call, then on
//! the connection that it needs. All of it, or nothing.
//!
//! Lists are filtered with [`visible`], which asks the same with the arguments left open.

pub(crate) mod known;

use crate::call_entities::{Called, Place};
use crate::decide::{NeedsApproval, limited};
use crate::entities::{self, FactError, Kind};
use crate::hypothesis;
use crate::permit::UsePermit;
use crate::set::PolicySet;
use cedar_policy as cedar;
use chancery_core::approval::Requirement;
use chancery_core::call::{ConnectionFacts, Obstacle, UsePlan, UseProposal};
use chancery_core::connection::Handling;
use chancery_core::decision::{ActionRow, Decision, DecisionOutcome, DenyReason, ScopeRow};
use chancery_core::proposal::Facts;
use known::Known;

/// What policy says of a use.
#[derive(Debug)]
pub enum UseVerdict {
    /// It may be done.
    Permit(Box<UsePermit>),
    /// It may not. The decision says why.
    Deny(Box<Decision>),
    /// It may not now, and may with the yes of people.
    NeedsApproval(Box<NeedsApproval<UsePlan>>),
}

/// What came out of evaluating a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseEvaluation {
    /// One row for each scope that the target needs.
    pub rows: Vec<ScopeRow>,
    /// What policy said.
    pub actions: Vec<ActionRow>,
    /// Why it is refused, if it is.
    pub reason: Option<DenyReason>,
}

/// Decides on a use of a token. Pure, like [`decide`](crate::decide()).
pub fn decide_use(set: &PolicySet, proposal: UseProposal) -> UseVerdict {
    let UseProposal {
        decision,
        facts,
        plan,
    } = proposal;
    let mut evaluation = evaluate_use(set, &facts);
    if evaluation.reason.is_none() && !fits(&facts, &plan) {
        evaluation.reason = Some(DenyReason::ConnectionRefused);
    }
    let wanted = wanted(set, &facts, &plan, &evaluation);
    if wanted.is_none() && evaluation.reason.is_some() {
        // What else is in the way is cured first.
        let best = hypothesis::best(set, &facts);
        let other = best.and_then(|facts| evaluate_use(set, &facts).reason);
        evaluation.reason = other.filter(|reason| is_curable(*reason)).or(evaluation.reason);
    }
    if let Some(requirement) = wanted {
        let decision = Decision {
            id: decision,
            outcome: DecisionOutcome::Deny,
            rows: evaluation.rows,
            actions: evaluation.actions,
            reason: Some(DenyReason::ApprovalRequired),
            policy_set: set.hash().to_owned(),
            facts,
        };
        return UseVerdict::NeedsApproval(Box::new(NeedsApproval {
            given: decision.facts.asked.clone().unwrap_or_default(),
            decision,
            plan,
            requirement,
        }));
    }
    let outcome = match evaluation.reason {
        None => DecisionOutcome::Permit,
        Some(_) => DecisionOutcome::Deny,
    };
    let decision = Decision {
        id: decision,
        outcome,
        rows: evaluation.rows,
        actions: evaluation.actions,
        reason: evaluation.reason,
        policy_set: set.hash().to_owned(),
        facts,
    };
    match outcome {
        DecisionOutcome::Permit => UseVerdict::Permit(Box::new(UsePermit::new(decision, plan))),
        DecisionOutcome::Deny => UseVerdict::Deny(Box::new(decision)),
    }
}

/// Whether somebody can do something about a refusal before anybody is asked for a yes.
const fn is_curable(reason: DenyReason) -> bool {
    matches!(
        reason,
        DenyReason::InsufficientScope | DenyReason::ConnectionNotGranted | DenyReason::AccountMissing
    )
}

/// What yes would turn a denied call into a permitted one.
fn wanted(set: &PolicySet, facts: &Facts, plan: &UsePlan, evaluation: &UseEvaluation) -> Option<Requirement> {
    evaluation.reason?;
    // SECURITY: as for tokens, what could not be evaluated is refused.
    if evaluation.actions.iter().any(|row| !row.errors.is_empty()) || !fits(facts, plan) {
        return None;
    }
    hypothesis::requirement(set, facts, |facts| evaluate_use(set, facts).reason.is_none())
}

/// Evaluates the facts of a call against a set.
pub fn evaluate_use(set: &PolicySet, facts: &Facts) -> UseEvaluation {
    let mut evaluation = UseEvaluation {
        rows: rows(facts),
        actions: Vec::new(),
        reason: None,
    };
    let (Ok(called), Some(known)) = (Called::of(facts), Known::of(set, facts)) else {
        evaluation.reason = Some(DenyReason::CallRefused);
        return evaluation;
    };
    if let Some(obstacle) = called.call.obstacle {
        evaluation.reason = Some(match obstacle {
            Obstacle::NotMapped => DenyReason::NotMapped,
            Obstacle::ManifestNotAccepted => DenyReason::ManifestNotAccepted,
            Obstacle::ArgumentsRefused => DenyReason::ArgumentsRefused,
            Obstacle::ConnectionUnusable => DenyReason::ConnectionRefused,
        });
        return evaluation;
    }
    let Ok(entities) = known.entities(called) else {
        evaluation.reason = Some(DenyReason::ArgumentsRefused);
        return evaluation;
    };
    let call = known.call.row(set, &entities);
    let connection = known.connection.as_ref().map(|asked| asked.row(set, &entities));
    let connection_allowed = connection.as_ref().is_none_or(|row| row.allowed);
    evaluation.reason = match called.place {
        Place::Resource(_) => refusal(called, &evaluation.rows, call.allowed, connection_allowed),
        Place::Vault(connection) => release_refusal(connection, call.allowed),
    };
    evaluation.actions.push(call);
    evaluation.actions.extend(connection);
    evaluation
}

/// Whether a call could be permitted with some arguments; those in the facts are not looked at. `false` only if
/// every value of every argument would be refused.
pub fn visible(set: &PolicySet, facts: &Facts) -> bool {
    if visible_as_it_is(set, facts) {
        return true;
    }
    // What a yes would permit is there to be asked for.
    hypothesis::best(set, facts).is_some_and(|facts| visible_as_it_is(set, &facts))
}

fn visible_as_it_is(set: &PolicySet, facts: &Facts) -> bool {
    if !set.reads_arguments(facts) {
        return evaluate_use(set, facts).reason.is_none();
    }
    let Ok(evaluator) = Evaluator::new(set, facts) else {
        return false;
    };
    let open = evaluator.called.call.obstacle.is_none()
        && refusal(evaluator.called, &rows(facts), true, true).is_none()
        && evaluator.may_allow(&evaluator.call_question());
    open && evaluator
        .connection_question()
        .is_none_or(|question| evaluator.may_allow(&question))
}

impl PolicySet {
    /// Whether any policy that bears on this call reads its arguments: then they must fit the tool's schema and be
    /// sent as they were read. The arguments in the facts are not looked at.
    pub fn reads_arguments(&self, facts: &Facts) -> bool {
        // Facts that cannot be evaluated are refused; what they would read does not matter, but nothing is hidden.
        Known::of(self, facts).is_none_or(|known| known.reads_arguments())
    }
}

/// The plan is for a resource, or hands a credential out, as policy saw it; it uses the connection that policy saw, and
/// an account exactly if policy saw one.
fn fits(facts: &Facts, plan: &UsePlan) -> bool {
    if facts.resource.is_some() != plan.resource.is_some() {
        return false;
    }
    let seen = facts.call.as_ref().and_then(|call| call.connection.as_ref());
    match (seen, &plan.connection) {
        (None, None) => true,
        (Some(seen), Some(used)) => seen.account_owner.is_some() == used.account.is_some(),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// The scopes that the target needs, against every limit. A call is nothing without a token.
fn rows(facts: &Facts) -> Vec<ScopeRow> {
    let scopes = facts.scopes.iter();
    let pairs = scopes.flat_map(|(resource, scopes)| scopes.keys().map(move |scope| (resource, scope)));
    pairs
        .map(|(resource, scope)| {
            let mut row = limited(facts, resource, scope);
            row.asked = true;
            row.parent = Some(row.parent == Some(true));
            row.given = row.refused_by().is_none();
            row
        })
        .collect()
}

/// Why the call is refused, if it is: what more scopes in the token could not cure comes first.
fn refusal(
    called: Called<'_>,
    rows: &[ScopeRow],
    call_allowed: bool,
    connection_allowed: bool,
) -> Option<DenyReason> {
    let beyond_token = |row: &ScopeRow| row.refusals().any(|limit| limit != "parent");
    if !call_allowed || rows.iter().any(beyond_token) {
        return Some(DenyReason::CallRefused);
    }
    if let Some(connection) = &called.call.connection {
        if !connection.granted {
            return Some(DenyReason::ConnectionNotGranted);
        }
        if connection.needs_account && connection.account_owner.is_none() {
            return Some(DenyReason::AccountMissing);
        }
        if !connection_allowed {
            return Some(DenyReason::ConnectionRefused);
        }
    }
    (!rows.iter().all(|row| row.given)).then_some(DenyReason::InsufficientScope)
}

/// Why a credential is not handed out, if it is not: one that never is comes first, for nothing that people could do
/// would help.
fn release_refusal(connection: &ConnectionFacts, is_allowed: bool) -> Option<DenyReason> {
    let is_releasable = connection.handling == Handling::Release && connection.needs_account;
    if !is_releasable {
        return Some(DenyReason::ReleaseRefused);
    }
    if !connection.granted {
        return Some(DenyReason::ConnectionNotGranted);
    }
    if connection.account_owner.is_none() {
        return Some(DenyReason::AccountMissing);
    }
    (!is_allowed).then_some(DenyReason::ReleaseRefused)
}

/// One call's entities and context, for partial evaluation.
struct Evaluator<'a> {
    set: &'a PolicySet,
    called: Called<'a>,
    principals: Vec<cedar::EntityUid>,
    entities: Vec<cedar::Entity>,
    context: cedar::Context,
}

/// What policy is asked.
struct Question {
    action: &'static str,
    target: String,
    /// The entity, and everything that it is in.
    resources: Vec<cedar::EntityUid>,
}

impl Question {
    fn of_call(called: Called<'_>) -> Self {
        Self {
            action: called.call.action.as_str(),
            target: called.id(),
            resources: called.targets(),
        }
    }

    fn of_connection(called: Called<'_>) -> Option<Self> {
        let name = called.used()?.name.as_str();
        Some(Self {
            action: "use_connection",
            target: name.to_owned(),
            resources: vec![entities::uid(Kind::Connection, name)],
        })
    }
}

impl<'a> Evaluator<'a> {
    fn new(set: &'a PolicySet, facts: &'a Facts) -> Result<Self, FactError> {
        let called = Called::of(facts)?;
        Ok(Self {
            set,
            called,
            principals: entities::principals(facts),
            entities: called.entities()?,
            // Partial evaluation wants every attribute of the schema.
            context: called.context(true)?,
        })
    }

    fn call_question(&self) -> Question {
        Question::of_call(self.called)
    }

    fn connection_question(&self) -> Option<Question> {
        Question::of_connection(self.called)
    }

    /// Whether some arguments could be allowed. What partial evaluation cannot do is answered with yes: the call
    /// itself is decided anyway.
    fn may_allow(&self, question: &Question) -> bool {
        let action = entities::uid(Kind::Action, question.action);
        let slice = self
            .set
            .index
            .slice(&action, &self.principals, &question.resources);
        self.partially(question, &slice).unwrap_or(true)
    }

    /// Entities that are left out are unknown to partial evaluation: the arguments here.
    fn partially(&self, question: &Question, slice: &cedar::PolicySet) -> Result<bool, FactError> {
        let schema = &self.set.schema;
        let (principal, resource) = self.ends(question)?;
        let request = cedar::PartialRequest::new(
            cedar::PartialEntityUid::from_concrete(principal),
            entities::uid(Kind::Action, question.action),
            cedar::PartialEntityUid::from_concrete(resource),
            Some(self.context.clone()),
            schema,
        )
        .map_err(FactError::of)?;
        let known = cedar::Entities::from_entities(self.entities.iter().cloned(), None);
        let known = cedar::PartialEntities::from_concrete(known.map_err(FactError::of)?, schema);
        let known = known.map_err(FactError::of)?;
        let response = slice.tpe(&request, &known, schema).map_err(FactError::of)?;
        // A policy that fails whatever the arguments are refuses, as it does when it is evaluated for real.
        let fails = response
            .error_permits()
            .chain(response.error_forbids())
            .next()
            .is_some();
        Ok(response.decision() != Some(cedar::Decision::Deny) && !fails)
    }

    fn ends(&self, question: &Question) -> Result<(cedar::EntityUid, cedar::EntityUid), FactError> {
        let principal = self.principals.first().cloned();
        let resource = question.resources.first().cloned();
        principal
            .zip(resource)
            .ok_or_else(|| FactError::of("a question without its ends"))
    }
}

#[cfg(test)]
mod tests;
