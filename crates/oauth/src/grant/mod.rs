//! Grants: from an authenticated client and loaded facts to a proposal that policy decides on. Pure. One
//! file per grant; what they share is here.

pub mod approved;
pub mod authorization_code;
pub mod client_credentials;
pub mod details;
pub mod jwt_bearer;
pub mod token_exchange;

use crate::authentication::{AuthenticatedClient, guard, link};
use crate::error::{ErrorCode, OAuthError};
use crate::request::token::TargetRequest;
use chancery_core::actor::Chain;
use chancery_core::agent::Agent;
use chancery_core::client::Provenance;
use chancery_core::grant::Grant;
use chancery_core::id::{DecisionId, DelegationId};
use chancery_core::lineage::{Guard, Lineage};
use chancery_core::name::Name;
use chancery_core::noun::Noun;
use chancery_core::proposal::{
    AgentFacts, Audience, Facts, GrantType, Hop, Limits, Proposal, ResourceFacts, Subject, TokenPlan,
    UserFacts,
};
use chancery_core::resource::{Resource, Sensitivity, TokenAlgorithm};
use chancery_core::scope::{Authority, Scope, ScopeSet};
use chancery_core::tenant::{INTERFACE_PATH, Tenant};
use chancery_core::time::{Timestamp, Ttl};
use chancery_core::user::User;
use details::{Bound, CheckedDetails};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What one request fixes before any rule runs.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext<'a> {
    /// The tenant of the URL.
    pub tenant: &'a Tenant,
    /// The request's one moment.
    pub now: Timestamp,
    /// The id that decision and token will share.
    pub decision: DecisionId,
    /// The id of the hop, if the request turns out to be one.
    pub delegation: DelegationId,
    /// The authorization details that the token is to have.
    pub details: Option<&'a CheckedDetails>,
}

/// Where a token will be used, found in the directory.
#[derive(Clone, Debug)]
pub enum Target {
    /// Chancery itself: an agent token.
    Chancery,
    /// Chancery itself, and this agent may exchange it: a token to hand over.
    Handover(Arc<Agent>),
    /// A resource.
    Resource(Arc<Resource>),
}

/// A verified person, and the row to guard if it is stored already.
#[derive(Clone, Debug)]
pub struct VerifiedUser {
    /// The person as of this request.
    pub user: Arc<User>,
    /// The stored row, at the version that was read.
    pub guard: Option<Guard>,
}

/// What a grant found out about the request, before scopes are looked at.
struct Claim<'a> {
    grant_type: GrantType,
    client: &'a AuthenticatedClient,
    subject: Subject,
    user: Option<&'a VerifiedUser>,
    chain: Chain,
    /// Names of every agent behind the token, the asking one first.
    agents: Vec<Name>,
    hop: Option<Hop>,
    delegated_by: Option<Name>,
    parent: Option<Authority>,
    latest_end: Option<Timestamp>,
    /// What decides which authorization details it may have.
    details: Bound<'a>,
    lineage: Lineage,
    guards: Vec<Guard>,
}

/// Scopes in question: which, how sensitive, and whether they were asked for by name.
struct Question {
    asked: Option<Authority>,
    scopes: BTreeMap<Name, BTreeMap<Scope, Sensitivity>>,
}

/// Puts a proposal together: the question, every limit on it, and the plan.
fn propose(
    context: RequestContext<'_>,
    mut claim: Claim<'_>,
    target: &Target,
    scope: Option<&str>,
    directory: &Directory,
) -> Result<Proposal, OAuthError> {
    let is_own_hand = is_own_hand(context, &claim, target);
    if is_own_hand {
        claim.chain.clear();
    }
    // A verified parent may be over by this clock, since clocks differ; its child would be born dead.
    if claim.latest_end.is_some_and(|end| end <= context.now) {
        return Err(OAuthError::invalid_request("the subject_token is over"));
    }
    let grants: Vec<&Arc<Grant>> = directory
        .grants
        .iter()
        .filter(|grant| is_open(grant, context.now))
        .collect();
    let limits = Limits {
        parent: claim.parent.clone(),
        ceiling: claim.client.ceiling(),
        grant: Some(granted(&grants)),
        // Nothing is delegated by one's own hand: what the person may do there is decided with each thing they do.
        holders: claim
            .user
            .filter(|_| !is_own_hand)
            .map(|user| held(&user.user, directory)),
    };
    let details = context.details.map(CheckedDetails::list);
    let details = details.cloned().unwrap_or_default();
    let implied = match scope {
        None => details::implied(target, &details)?,
        Some(_) => None,
    };
    let question = question(target, scope.or(implied.as_deref()), directory, &limits)?;
    let used: Vec<&Arc<Grant>> = grants
        .into_iter()
        .filter(|grant| bears_on(grant, &question))
        .collect();
    details::check(&details, claim.details, target, (&question, &used))?;
    let facts = facts(context, &claim, target, question, limits);
    let plan = plan(context, claim, target, &used);
    Ok(Proposal {
        decision: context.decision,
        facts,
        plan,
    })
}

/// Whether a person who has signed in acts at the administration interface by a client that is part of the server. Then
/// nobody acts for them, and the token says so: it has no actor.
///
/// SECURITY: only there. At any other place the same client is an agent as all others are, since a resource could not tell
/// the person from what acts for them.
fn is_own_hand(context: RequestContext<'_>, claim: &Claim<'_>, target: &Target) -> bool {
    let is_at_interface = match target {
        Target::Resource(resource) => resource
            .spec
            .uri
            .as_str()
            .strip_prefix(&context.tenant.spec.base_url)
            .is_some_and(|path| path == INTERFACE_PATH),
        Target::Chancery | Target::Handover(_) => false,
    };
    let has_signed_in = match claim.grant_type {
        GrantType::AuthorizationCode | GrantType::DeviceCode | GrantType::RefreshToken => true,
        GrantType::ClientCredentials | GrantType::TokenExchange | GrantType::Ciba | GrantType::JwtBearer => {
            false
        }
    };
    let is_built_in = claim.client.client().spec.provenance == Provenance::BuiltIn;
    is_at_interface && has_signed_in && is_built_in && claim.user.is_some()
}

/// Nouns that scopes and limits refer to, as loaded.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// The target, or for an agent token every resource in the agent's ceiling.
    pub resources: Vec<Arc<Resource>>,
    /// Active grants to the root agent for this principal.
    pub grants: Vec<Arc<Grant>>,
}

impl Directory {
    fn resource(&self, name: &Name) -> Option<&Arc<Resource>> {
        self.resources.iter().find(|resource| resource.name == *name)
    }
}

fn is_open(grant: &Grant, now: Timestamp) -> bool {
    grant.state.is_active() && grant.spec.is_open(now)
}

fn granted(grants: &[&Arc<Grant>]) -> Authority {
    let mut authority = Authority::default();
    // SECURITY: a connection's grant lets an agent use a credential; it puts nothing into a token.
    for (resource, scopes) in grants.iter().filter_map(|grant| grant.spec.at_resource()) {
        for scope in scopes.iter() {
            authority.insert(resource.clone(), scope.clone());
        }
    }
    authority
}

fn held(user: &User, directory: &Directory) -> Authority {
    directory
        .resources
        .iter()
        .map(|resource| (resource.name.clone(), resource.spec.held_by(&user.spec)))
        .collect()
}

fn bears_on(grant: &Grant, question: &Question) -> bool {
    grant.spec.at_resource().is_some_and(|(resource, granted)| {
        let in_question = question.scopes.get(resource);
        in_question.is_some_and(|scopes| scopes.keys().any(|scope| granted.contains(scope)))
    })
}

fn question(
    target: &Target,
    scope: Option<&str>,
    directory: &Directory,
    limits: &Limits,
) -> Result<Question, OAuthError> {
    const MALFORMED: OAuthError = OAuthError::new(ErrorCode::InvalidScope, "scope is malformed");
    let asked = match (target, scope) {
        (_, None) => None,
        (Target::Resource(resource), Some(text)) => Some(Authority::at(
            resource.name.clone(),
            ScopeSet::parse(text).map_err(|_| MALFORMED)?,
        )),
        // Nothing by name: a person signs in, and nothing is asked for.
        (Target::Chancery | Target::Handover(_), Some("")) => Some(Authority::default()),
        (Target::Chancery | Target::Handover(_), Some(text)) => {
            Some(Authority::parse(text).map_err(|_| MALFORMED)?)
        }
    };
    let considered = match (&asked, target) {
        (Some(asked), _) => asked.clone(),
        (None, Target::Resource(resource)) => {
            Authority::at(resource.name.clone(), resource.spec.default_scopes.clone())
        }
        (None, Target::Chancery | Target::Handover(_)) => everything(directory, limits),
    };
    if matches!(target, Target::Resource(_)) && considered.is_empty() {
        return Err(OAuthError::new(
            ErrorCode::InvalidScope,
            "scope is missing and the resource has no default scopes",
        ));
    }
    Ok(Question {
        scopes: sensitivities(&considered, directory)?,
        asked,
    })
}

/// What an agent token carries when nothing is asked for by name: all that the limits leave.
fn everything(directory: &Directory, limits: &Limits) -> Authority {
    let narrowed = |resource: &Arc<Resource>| {
        let scopes = limits.narrow(&resource.name, &resource.spec.all_scopes());
        (!scopes.is_empty()).then(|| (resource.name.clone(), scopes))
    };
    directory.resources.iter().filter_map(narrowed).collect()
}

fn sensitivities(
    considered: &Authority,
    directory: &Directory,
) -> Result<BTreeMap<Name, BTreeMap<Scope, Sensitivity>>, OAuthError> {
    const UNKNOWN: OAuthError =
        OAuthError::new(ErrorCode::InvalidScope, "a scope is not known at this resource");
    let mut scopes: BTreeMap<Name, BTreeMap<Scope, Sensitivity>> = BTreeMap::new();
    for (name, scope) in considered.pairs() {
        let resource = directory.resource(name).ok_or(UNKNOWN)?;
        let spec = resource.spec.scopes.get(scope).ok_or(UNKNOWN)?;
        scopes
            .entry(name.clone())
            .or_default()
            .insert(scope.clone(), spec.sensitivity);
    }
    Ok(scopes)
}

fn facts(
    context: RequestContext<'_>,
    claim: &Claim<'_>,
    target: &Target,
    question: Question,
    limits: Limits,
) -> Facts {
    let agent = claim.client.agent();
    Facts {
        tenant: context.tenant.name.clone(),
        now: context.now,
        grant_type: Some(claim.grant_type),
        call: None,
        agent: AgentFacts {
            name: agent.name.clone(),
            owner: agent.spec.owner.clone(),
            blueprint: agent.spec.blueprint.clone(),
            tags: agent.spec.tags.clone(),
        },
        delegated_by: claim.delegated_by.clone(),
        client: claim.client.client().name.clone(),
        assurance: claim.client.assurance(),
        instance: claim.client.instance().clone(),
        user: claim.user.map(|user| user_facts(&user.user, context.now)),
        approval: None,
        chain: claim.agents.clone(),
        resource: match target {
            Target::Resource(resource) => Some(ResourceFacts {
                name: resource.name.clone(),
                owner: resource.spec.owner.clone(),
            }),
            Target::Chancery | Target::Handover(_) => None,
        },
        scopes: question.scopes,
        asked: question.asked,
        authorization_details: context
            .details
            .map(|details| details.facts().to_vec())
            .unwrap_or_default(),
        limits,
    }
}

fn user_facts(user: &User, now: Timestamp) -> UserFacts {
    UserFacts {
        name: user.name.clone(),
        issuer: user.spec.issuer.clone(),
        roles: user.spec.roles.clone(),
        groups: user.spec.groups.clone(),
        attributes: user.spec.attributes.clone(),
        as_of: user.spec.known_at(now),
        assurance: chancery_core::assurance::UserAssurance::Verified,
    }
}

fn plan(context: RequestContext<'_>, claim: Claim<'_>, target: &Target, grants: &[&Arc<Grant>]) -> TokenPlan {
    let mut lineage = claim.lineage;
    let mut guards = claim.guards;
    for grant in grants {
        lineage.push(link(Noun::Grant, grant));
        guards.push(guard(Noun::Grant, grant));
    }
    let (audience, algorithm, lifetime) = match target {
        Target::Resource(resource) => {
            lineage.push(link(Noun::Resource, resource));
            guards.push(guard(Noun::Resource, resource));
            let audience = Audience::Resource {
                id: resource.id,
                name: resource.name.clone(),
                uri: resource.spec.uri.clone(),
            };
            (audience, resource.spec.algorithm, resource.spec.token_lifetime())
        }
        Target::Chancery | Target::Handover(_) => {
            (Audience::Chancery, TokenAlgorithm::Es256, AGENT_TOKEN_LIFETIME)
        }
    };
    let may_act = match target {
        Target::Handover(agent) => {
            guards.push(guard(Noun::Agent, agent));
            Some(agent.id)
        }
        Target::Chancery | Target::Resource(_) => None,
    };
    // INVARIANT: a child never outlives its parent, the grants it is issued on, or its agent.
    let ends = grants.iter().filter_map(|grant| grant.spec.expires_at);
    let ends = ends
        .chain(claim.latest_end)
        .chain(claim.client.agent().spec.expires_at);
    let end = context.now.plus(lifetime);
    TokenPlan {
        tenant: context.tenant.id,
        issuer: context.tenant.spec.base_url.clone(),
        audience,
        subject: claim.subject,
        agent: claim.client.agent().id,
        client: claim.client.client().id,
        chain: claim.chain,
        may_act,
        assurance: claim.client.assurance(),
        authorization_details: context
            .details
            .map(|details| details.list().clone())
            .unwrap_or_default(),
        issued_at: context.now,
        expires_at: ends.fold(end, Timestamp::min),
        algorithm,
        lineage,
        guards: deduplicated(guards),
        spends: grants
            .iter()
            .filter_map(|grant| Some((grant.id, grant.spec.budget?)))
            .collect(),
        delegation: claim.hop,
    }
}

fn deduplicated(guards: Vec<Guard>) -> Vec<Guard> {
    let mut kept: Vec<Guard> = Vec::with_capacity(guards.len());
    for guard in guards {
        if !kept.contains(&guard) {
            kept.push(guard);
        }
    }
    kept
}

/// How long a token for a target lives, where nothing ends it before.
pub fn lifetime(target: &Target) -> Ttl {
    match target {
        Target::Resource(resource) => resource.spec.token_lifetime(),
        Target::Chancery | Target::Handover(_) => AGENT_TOKEN_LIFETIME,
    }
}

/// The resource names that a request needs loaded before it can be judged.
pub fn needed_resources(client: &AuthenticatedClient, request: &TargetRequest) -> Vec<Name> {
    match request {
        TargetRequest::Resource(_) | TargetRequest::Audience(_) => Vec::new(),
        TargetRequest::Chancery => client.ceiling().iter().map(|(name, _)| name.clone()).collect(),
    }
}

/// How long an agent token lives: each of its uses is checked here.
const AGENT_TOKEN_LIFETIME: Ttl = Ttl::from_minutes(60);
