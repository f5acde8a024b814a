//! What may be offered to a person: the scopes that a client asks for, each against every limit but the grant that the
//! person is about to give, by the very functions that decide on tokens.

use super::local;
use super::session::SignedIn;
use crate::app::App;
use crate::error::Failure;
use crate::issue::arrival::Arrival;
use crate::issue::{authenticate, details, target};
use crate::tenants::Served;
use chancery_core::agent::Agent;
use chancery_core::authorization_details::{AuthorizationDetail, AuthorizationDetails, DetailTypeSpec};
use chancery_core::decision::ScopeRow;
use chancery_core::grant::{Grant, Principal};
use chancery_core::id::{DecisionId, DelegationId, Id as _};
use chancery_core::issuer::TrustedIssuer;
use chancery_core::lineage::Guard;
use chancery_core::name::Name;
use chancery_core::noun::Noun;
use chancery_core::proposal::Facts;
use chancery_core::resource::Resource;
use chancery_core::scope::{Authority, Scope};
use chancery_core::time::Timestamp;
use chancery_core::uri::ResourceUri;
use chancery_oauth::authentication::{AuthenticationError, ClientFacts, guard};
use chancery_oauth::error::OAuthError;
use chancery_oauth::grant::authorization_code;
use chancery_oauth::grant::details::{CheckedDetails, known};
use chancery_oauth::grant::{Directory, RequestContext, Target, VerifiedUser};
use chancery_oauth::request::token::TargetRequest;
use chancery_policy::PolicySet;
use chancery_policy::decide::{evaluate, evaluate_with_yes};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a client asks for, for a person.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The client.
    pub client: &'a ClientFacts,
    /// Where.
    pub resource: Option<&'a ResourceUri>,
    /// What; none asks for the resource's default.
    pub scope: Option<&'a str>,
    /// In which detail.
    pub details: Option<&'a AuthorizationDetails>,
}

/// What may be offered.
#[derive(Debug)]
pub struct Offer {
    /// Where it would be used.
    pub target: Target,
    /// Authorization details that are asked for.
    pub details: AuthorizationDetails,
    /// Every scope in question against every limit.
    pub rows: Vec<ScopeRow>,
    /// Scopes that somebody else must say yes to as well, before there is a token with them.
    pub awaited: BTreeSet<(Name, Scope)>,
    /// Resources by name.
    pub resources: Vec<Arc<Resource>>,
    /// Grants to the agent for this very person, in use or not.
    pub grants: Vec<Arc<Grant>>,
    /// Everything that was looked at.
    pub guards: Vec<Guard>,
    /// Policy refuses it whatever the person says.
    pub is_refused: bool,
}

impl Offer {
    /// Scopes that the person can give: nothing but a grant is missing, or not even that, or somebody else's yes.
    pub fn offered(&self) -> impl Iterator<Item = &ScopeRow> {
        self.rows
            .iter()
            .filter(|row| is_free(row) || self.is_awaited(row))
    }

    /// Whether somebody else must say yes to a scope as well.
    pub fn is_awaited(&self, row: &ScopeRow) -> bool {
        self.awaited.contains(&(row.resource.clone(), row.scope.clone()))
    }

    /// How many scopes no answer of the person could give.
    pub fn not_offered(&self) -> usize {
        self.rows.len() - self.offered().count()
    }

    /// Details that the person can agree to, by their place in what is asked: all of their scopes are offered.
    pub fn offered_details(&self) -> impl Iterator<Item = (usize, &AuthorizationDetail, &DetailTypeSpec)> {
        let resource = match &self.target {
            Target::Resource(resource) => Some(resource),
            Target::Chancery | Target::Handover(_) => None,
        };
        let each = self.details.iter().enumerate();
        each.filter_map(move |(place, detail)| {
            let spec = known(resource?, detail).ok()?;
            let is_offered = |scope: &Scope| self.offered().any(|row| row.scope == *scope);
            spec.scopes
                .iter()
                .all(is_offered)
                .then_some((place, detail, spec))
        })
    }

    /// Whether everything is granted already. Details are agreed to each time; a yes of somebody else is no grant.
    pub fn is_covered(&self) -> bool {
        let is_given = |row: &ScopeRow| row.given || (self.is_awaited(row) && row.grant != Some(false));
        self.details.is_empty() && !self.rows.is_empty() && self.rows.iter().all(is_given)
    }

    /// The person's own grant at a resource.
    pub fn grant_at(&self, resource: &Name) -> Option<&Arc<Grant>> {
        self.grants
            .iter()
            .find(|grant| grant.spec.at_resource().is_some_and(|(name, _)| name == resource))
    }

    /// A resource by name.
    pub fn resource(&self, name: &Name) -> Option<&Arc<Resource>> {
        self.resources.iter().find(|resource| resource.name == *name)
    }
}

/// Why nothing can be offered.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// The client, or what it depends on, is not in use.
    #[error(transparent)]
    Client(#[from] AuthenticationError),
    /// What is asked for is not known.
    #[error(transparent)]
    OAuth(#[from] OAuthError),
    /// This node cannot answer.
    #[error(transparent)]
    Failure(Failure),
}

impl From<Failure> for OfferError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::OAuth(error) => Self::OAuth(error),
            other @ (Failure::Refused(_)
            | Failure::Denied(_)
            | Failure::Database(_)
            | Failure::KeyService(_)
            | Failure::Stale(_)
            | Failure::Limited(_)
            | Failure::Start(_)
            | Failure::Internal(_)) => Self::Failure(other),
        }
    }
}

/// A client by its `client_id`, with everything it depends on.
///
/// # Errors
/// It is not known, or belongs to no agent; the database's.
pub async fn client(
    app: &App,
    served: &Served,
    client_id: &str,
    arrival: Arrival,
) -> Result<ClientFacts, OfferError> {
    Ok(authenticate::load(app, served, client_id, arrival).await??)
}

/// What may be offered of what is asked for.
///
/// # Errors
/// Why nothing can be.
pub async fn offer(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    asked: Asked<'_>,
    now: Timestamp,
) -> Result<Offer, OfferError> {
    let tenant = served.tenant.id;
    let wanted = asked.resource.map_or(TargetRequest::Chancery, |uri| {
        TargetRequest::Resource(uri.clone())
    });
    let target = target::find(app, tenant, &wanted).await?;
    let details = match asked.details {
        Some(wanted) => details::asked(&target, &asked.client.client, wanted)?,
        None => CheckedDetails::default(),
    };
    let resources = resources(app, served, &target, asked.scope).await?;
    let agent: &Agent = &asked.client.agent;
    let own = Principal::User(signed_in.user.name.clone());
    let grants = app.directory.grants_of(tenant, &agent.name, &own).await?;
    let mut all = grants.clone();
    all.extend(
        app.directory
            .grants_of(tenant, &agent.name, &Principal::Tenant)
            .await?,
    );
    let directory = Directory {
        resources: resources.clone(),
        grants: all,
    };
    let issuer = issuer(app, served, signed_in).await?;
    let user = VerifiedUser {
        user: signed_in.user.clone(),
        guard: None,
    };
    let context = RequestContext {
        tenant: &served.tenant,
        now,
        decision: DecisionId::generate(now, &*app.random),
        delegation: DelegationId::generate(now, &*app.random),
        details: Some(&details),
    };
    // Nothing asked for at Chancery itself is nothing: what the person granted before is not carried unasked.
    let scope = asked.scope.or(asked.resource.is_none().then_some(""));
    let facts = authorization_code::offer(
        context,
        asked.client.clone(),
        (&user, issuer.as_deref()),
        &target,
        scope,
        &directory,
    )??;
    let (rows, reason) = evaluate(&served.policy.set, &facts, asked.resource.is_none());
    let awaited = awaited(&served.policy.set, &facts, &rows, asked.resource.is_none());
    let is_refused = rows.is_empty() && reason.is_some();
    let guards = relied_on(served, signed_in, asked.client, &resources);
    Ok(Offer {
        target,
        details: details.list().clone(),
        rows,
        awaited,
        resources,
        grants,
        guards,
        is_refused,
    })
}

/// Whether policy says yes to a scope and nothing but a grant is missing.
fn is_free(row: &ScopeRow) -> bool {
    row.policy == Some(true) && row.refusals().all(|limit| limit == "grant")
}

/// Scopes that policy refuses now and would not refuse with a yes that people can give.
pub(crate) fn awaited(
    set: &PolicySet,
    facts: &Facts,
    rows: &[ScopeRow],
    for_chancery: bool,
) -> BTreeSet<(Name, Scope)> {
    // SECURITY: what could not be evaluated is refused, as where a token is decided on.
    let is_refused = |row: &ScopeRow| row.policy == Some(false) && row.errors.is_empty();
    if !rows.iter().any(is_refused) {
        return BTreeSet::new();
    }
    let with_yes = evaluate_with_yes(set, facts, for_chancery).unwrap_or_default();
    let refused: BTreeSet<(Name, Scope)> = rows
        .iter()
        .filter(|row| is_refused(row))
        .map(|row| (row.resource.clone(), row.scope.clone()))
        .collect();
    with_yes
        .into_iter()
        .filter(is_free)
        .map(|row| (row.resource, row.scope))
        .filter(|scope| refused.contains(scope))
        .collect()
}

/// Everything that an offer relies on.
fn relied_on(
    served: &Served,
    signed_in: &SignedIn,
    client: &ClientFacts,
    resources: &[Arc<Resource>],
) -> Vec<Guard> {
    let mut guards = signed_in.guards.clone();
    guards.push(guard(Noun::Agent, &client.agent));
    guards.push(guard(Noun::Client, &client.client));
    guards.extend(
        client
            .blueprint
            .iter()
            .map(|blueprint| guard(Noun::Blueprint, blueprint)),
    );
    guards.extend(resources.iter().map(|resource| guard(Noun::Resource, resource)));
    guards.push(served.policy.guard);
    guards
}

/// The issuer that vouched for whoever is signed in; none did for an account of our own.
///
/// # Errors
/// It is gone; the database's.
pub async fn issuer(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
) -> Result<Option<Arc<TrustedIssuer>>, Failure> {
    if local::is_local(&signed_in.user) {
        return Ok(None);
    }
    let found = app
        .directory
        .issuers
        .find_by_name(served.tenant.id, &signed_in.session.spec.issuer)
        .await?;
    found
        .map(Some)
        .ok_or(Failure::Stale("the issuer of the session is gone"))
}

/// The target, or for a token for Chancery itself the resources that its scopes name.
async fn resources(
    app: &App,
    served: &Served,
    target: &Target,
    scope: Option<&str>,
) -> Result<Vec<Arc<Resource>>, Failure> {
    if let Target::Resource(resource) = target {
        return Ok(vec![resource.clone()]);
    }
    let asked = scope
        .and_then(|scope| Authority::parse(scope).ok())
        .unwrap_or_default();
    let mut found: Vec<Arc<Resource>> = Vec::new();
    for (name, _) in asked.iter() {
        let resource = app
            .directory
            .resources
            .find_by_name(served.tenant.id, name)
            .await?;
        found.extend(resource.filter(|resource| resource.state.is_active()));
    }
    Ok(found)
}
