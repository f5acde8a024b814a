//! The decision on a token: every scope against every limit, then policy; all or nothing for scopes that
//! were asked for by name.

use crate::entities::{self, FactError, Kind};
use crate::hypothesis;
use crate::memory::Evaluation;
use crate::permit::Permit;
use crate::set::PolicySet;
use cedar_policy as cedar;
use chancery_core::approval::Requirement;
use chancery_core::decision::{Decision, DecisionOutcome, DenyReason, ScopeRow};
use chancery_core::name::Name;
use chancery_core::proposal::{Audience, Facts, Proposal, TokenPlan};
use chancery_core::scope::{Authority, Scope};

/// What policy says of a proposal.
#[derive(Debug)]
pub enum Verdict {
    /// It may be signed.
    Permit(Box<Permit>),
    /// It may not. The decision says why.
    Deny(Box<Decision>),
    /// It may not now, and may with the yes of people.
    NeedsApproval(Box<NeedsApproval<TokenPlan>>),
}

/// A decision that denies, and what would turn it.
#[derive(Debug)]
pub struct NeedsApproval<P> {
    /// The decision as it is now. Its rows say what would be given.
    pub decision: Decision,
    /// What would be done with a yes.
    pub plan: P,
    /// What would be given.
    pub given: Authority,
    /// Whose yes, as far as policy says.
    pub requirement: Requirement,
}

/// Decides on a proposal. Pure: the same set and facts give the same outcome, so that a stored decision can
/// be evaluated again.
pub fn decide(set: &PolicySet, proposal: Proposal) -> Verdict {
    let Proposal {
        decision,
        facts,
        plan,
    } = proposal;
    let for_chancery = plan.audience == Audience::Chancery;
    let (rows, mut reason) = evaluate(set, &facts, for_chancery);
    if let Some(wanted) = wanted(set, &facts, for_chancery, (&rows, reason)) {
        let decision = Decision {
            id: decision,
            outcome: DecisionOutcome::Deny,
            rows,
            actions: Vec::new(),
            reason: Some(DenyReason::ApprovalRequired),
            policy_set: set.hash().to_owned(),
            facts,
        };
        let (given, requirement) = wanted;
        return Verdict::NeedsApproval(Box::new(NeedsApproval {
            decision,
            plan,
            given,
            requirement,
        }));
    }
    if reason.is_some() {
        // A person's consent comes before somebody else's yes.
        let best = hypothesis::best(set, &facts);
        let other = best.and_then(|facts| evaluate_now(set, &facts, for_chancery).1);
        reason = other
            .filter(|reason| *reason == DenyReason::ConsentRequired)
            .or(reason);
    }
    let outcome = if reason.is_none() {
        DecisionOutcome::Permit
    } else {
        DecisionOutcome::Deny
    };
    let decision = Decision {
        id: decision,
        outcome,
        rows,
        actions: Vec::new(),
        reason,
        policy_set: set.hash().to_owned(),
        facts,
    };
    match outcome {
        DecisionOutcome::Deny => Verdict::Deny(Box::new(decision)),
        DecisionOutcome::Permit => {
            let given = given(&decision.rows);
            Verdict::Permit(Box::new(Permit::new(decision, plan, given)))
        }
    }
}

/// What a yes would give, and what yes it takes. `None` if nothing is denied, or no yes would cure it.
fn wanted(
    set: &PolicySet,
    facts: &Facts,
    for_chancery: bool,
    (rows, reason): (&[ScopeRow], Option<DenyReason>),
) -> Option<(Authority, Requirement)> {
    reason?;
    // SECURITY: what could not be evaluated is refused; a yes to it would be a yes to something nobody understood.
    if rows.iter().any(|row| !row.errors.is_empty()) {
        return None;
    }
    let requirement = hypothesis::requirement(set, facts, |facts| {
        evaluate_now(set, facts, for_chancery).1.is_none()
    })?;
    let facts = hypothesis::with(set, facts, &requirement);
    let (rows, _) = evaluate_now(set, &facts, for_chancery);
    Some((given(&rows), requirement))
}

/// Evaluates stored facts again, of a token or of a call, by the very functions that decide live.
pub fn evaluate_again(set: &PolicySet, facts: &Facts) -> DecisionOutcome {
    let reason = if facts.call.is_some() {
        crate::call::evaluate_use(set, facts).reason
    } else {
        evaluate(set, facts, facts.resource.is_none()).1
    };
    reason.map_or(DecisionOutcome::Permit, |_| DecisionOutcome::Deny)
}

/// Evaluates stored facts against a set: the rows, and the reason to refuse if there is one.
pub fn evaluate(set: &PolicySet, facts: &Facts, for_chancery: bool) -> (Vec<ScopeRow>, Option<DenyReason>) {
    if set.index.depends_on_time() || facts.approval.is_some() {
        return evaluate_now(set, facts, for_chancery);
    }
    set.memory
        .recall(facts, for_chancery, || evaluate_now(set, facts, for_chancery))
}

/// The rows as they would be with the best yes that people could give. `None` if no policy reads one.
pub fn evaluate_with_yes(set: &PolicySet, facts: &Facts, for_chancery: bool) -> Option<Vec<ScopeRow>> {
    let facts = hypothesis::best(set, facts)?;
    Some(evaluate_now(set, &facts, for_chancery).0)
}

fn evaluate_now(set: &PolicySet, facts: &Facts, for_chancery: bool) -> Evaluation {
    let evaluator = match Evaluator::new(set, facts) {
        Ok(evaluator) => evaluator,
        Err(error) => return (refused_rows(facts, &error), Some(DenyReason::ScopeRefused)),
    };
    let rows: Vec<ScopeRow> = facts
        .scopes
        .iter()
        .flat_map(|(resource, scopes)| scopes.keys().map(move |scope| (resource, scope)))
        .map(|(resource, scope)| evaluator.row(resource, scope))
        .collect();
    let reason = evaluator.refusal(&rows, for_chancery);
    (rows, reason)
}

/// One request's entities and contexts, evaluated once for each scope.
struct Evaluator<'a> {
    set: &'a PolicySet,
    facts: &'a Facts,
    entities: cedar::Entities,
    contexts: Vec<cedar::Context>,
    principals: Vec<cedar::EntityUid>,
}

/// What policies say of one request.
pub(crate) struct Answer {
    pub(crate) allowed: bool,
    pub(crate) policies: Vec<String>,
    pub(crate) errors: Vec<String>,
}

impl<'a> Evaluator<'a> {
    fn new(set: &'a PolicySet, facts: &'a Facts) -> Result<Self, FactError> {
        let mut list = entities::issue_entities(facts)?;
        list.extend(entities::detail_entities(facts)?);
        let entities = cedar::Entities::from_entities(list, None).map_err(FactError::of)?;
        Ok(Self {
            set,
            facts,
            entities,
            contexts: entities::issue_contexts(facts, set.index.reads_now())?,
            principals: entities::principals(facts),
        })
    }

    fn row(&self, resource: &Name, scope: &Scope) -> ScopeRow {
        let mut row = limited(self.facts, resource, scope);
        // A missing grant may be cured by consent, so policy's view is worth having even then.
        if row.refusals().all(|limit| limit == "grant") {
            let resources = [
                entities::scope_uid(resource, scope),
                entities::uid(Kind::Resource, resource.as_str()),
            ];
            let answer = self.ask("issue_token", &self.principals, &resources);
            row.policy = Some(answer.allowed);
            row.policies = answer.policies;
            row.errors = answer.errors;
            row.given = row.refused_by().is_none();
        }
        row
    }

    /// Why the whole proposal is refused, if it is.
    fn refusal(&self, rows: &[ScopeRow], for_chancery: bool) -> Option<DenyReason> {
        if !self.delegation_allowed() {
            return Some(DenyReason::DelegationRefused);
        }
        if for_chancery && !self.agent_token_allowed() {
            return Some(DenyReason::AgentTokenRefused);
        }
        let refused = |row: &&ScopeRow| !row.given && (row.asked || self.facts.asked.is_none());
        let only_grant = |row: &ScopeRow| row.policy == Some(true) && row.refusals().eq(["grant"]);
        if self.facts.asked.is_some() {
            let refused: Vec<&ScopeRow> = rows.iter().filter(refused).collect();
            return match refused.as_slice() {
                [] => None,
                _ if refused.iter().all(|row| only_grant(row)) => Some(DenyReason::ConsentRequired),
                _ => Some(DenyReason::ScopeRefused),
            };
        }
        if for_chancery || rows.iter().any(|row| row.given) {
            return None;
        }
        let consent = rows.iter().any(only_grant);
        Some(if consent {
            DenyReason::ConsentRequired
        } else {
            DenyReason::NothingLeft
        })
    }

    fn delegation_allowed(&self) -> bool {
        let Some(from) = &self.facts.delegated_by else {
            return true;
        };
        let from = [entities::uid(Kind::Agent, from.as_str())];
        self.ask("delegate", &from, &self.principals).allowed
    }

    fn agent_token_allowed(&self) -> bool {
        let tenant = [entities::uid(Kind::Tenant, self.facts.tenant.as_str())];
        self.ask("mint_agent_token", &self.principals, &tenant).allowed
    }

    /// Asks about every authorization detail, or once if there is none. All of it, or nothing.
    fn ask(&self, action: &str, principals: &[cedar::EntityUid], resources: &[cedar::EntityUid]) -> Answer {
        let contexts = self.contexts.iter();
        let mut answers = contexts.map(|context| self.ask_in(context, action, principals, resources));
        let mut all = answers.next().unwrap_or_else(|| Answer {
            allowed: false,
            policies: Vec::new(),
            errors: vec!["no context".to_owned()],
        });
        for answer in answers {
            all.errors.extend(answer.errors);
            if all.allowed && !answer.allowed {
                // What refuses is what is told.
                all.policies = answer.policies;
            } else if all.allowed == answer.allowed {
                all.policies.extend(answer.policies);
            }
            all.allowed &= answer.allowed;
        }
        all.policies.sort();
        all.policies.dedup();
        all
    }

    fn ask_in(
        &self,
        context: &cedar::Context,
        action: &str,
        principals: &[cedar::EntityUid],
        resources: &[cedar::EntityUid],
    ) -> Answer {
        let (Some(principal), Some(resource)) = (principals.first(), resources.first()) else {
            return Answer {
                allowed: false,
                policies: Vec::new(),
                errors: vec!["no principal".to_owned()],
            };
        };
        let action = entities::uid(Kind::Action, action);
        let slice = self.set.index.slice(&action, principals, resources);
        let request = cedar::Request::new(principal.clone(), action, resource.clone(), context.clone(), None);
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                return Answer {
                    allowed: false,
                    policies: Vec::new(),
                    errors: vec![error.to_string()],
                };
            }
        };
        answer(
            &self
                .set
                .authorizer
                .is_authorized(&request, &slice, &self.entities),
        )
    }
}

/// A scope against every limit but policy.
pub(crate) fn limited(facts: &Facts, resource: &Name, scope: &Scope) -> ScopeRow {
    let limits = &facts.limits;
    let in_limit = |limit: &Option<Authority>| limit.as_ref().map(|limit| limit.allows(resource, scope));
    ScopeRow {
        resource: resource.clone(),
        scope: scope.clone(),
        asked: facts
            .asked
            .as_ref()
            .is_some_and(|asked| asked.allows(resource, scope)),
        parent: in_limit(&limits.parent),
        ceiling: Some(limits.ceiling.allows(resource, scope)),
        grant: in_limit(&limits.grant),
        holders: in_limit(&limits.holders),
        policy: None,
        given: false,
        policies: Vec::new(),
        errors: Vec::new(),
    }
}

/// Reads Cedar's response. SECURITY: a forbid that fails to evaluate does not forbid in Cedar, so any
/// evaluation error refuses.
pub(crate) fn answer(response: &cedar::Response) -> Answer {
    let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
    let mut policies: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
    policies.sort();
    Answer {
        allowed: response.decision() == cedar::Decision::Allow && errors.is_empty(),
        policies,
        errors,
    }
}

fn given(rows: &[ScopeRow]) -> Authority {
    let mut given = Authority::default();
    for row in rows.iter().filter(|row| row.given) {
        given.insert(row.resource.clone(), row.scope.clone());
    }
    given
}

fn refused_rows(facts: &Facts, error: &FactError) -> Vec<ScopeRow> {
    let row = |(resource, scope): (&Name, &Scope)| ScopeRow {
        resource: resource.clone(),
        scope: scope.clone(),
        asked: true,
        parent: None,
        ceiling: None,
        grant: None,
        holders: None,
        policy: Some(false),
        given: false,
        policies: Vec::new(),
        errors: vec![error.to_string()],
    };
    facts
        .scopes
        .iter()
        .flat_map(|(resource, scopes)| scopes.keys().map(move |scope| (resource, scope)))
        .map(row)
        .collect()
}

#[cfg(test)]
mod tests;
