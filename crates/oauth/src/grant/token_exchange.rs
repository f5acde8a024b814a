//! Token exchange (RFC 8693): a user's token becomes one that says who acts; one of our own becomes a
//! narrower one, or moves on to the next agent.
//!
//! The closed table of subject tokens: a trusted issuer's token about a person, or one of our own access
//! tokens that is still in force. The actor is always the authenticated client.

use super::details::Bound;
use super::{Claim, Directory, RequestContext, Target, VerifiedUser, propose};
use crate::authentication::{AuthenticatedClient, guard, link};
use crate::claims::OwnToken;
use crate::error::OAuthError;
use chancery_core::actor::{Chain, ChainLink, MAX_CHAIN};
use chancery_core::agent::Agent;
use chancery_core::id::{AgentId, Id as _};
use chancery_core::issuer::TrustedIssuer;
use chancery_core::lineage::{Guard, Link};
use chancery_core::noun::Noun;
use chancery_core::proposal::{GrantType, Hop, Proposal, Subject};
use chancery_core::resource::Resource;
use chancery_core::scope::Authority;
use chancery_core::time::Timestamp;
use std::sync::Arc;

/// The subject token, verified.
#[derive(Clone, Debug)]
pub enum SubjectToken {
    /// A trusted issuer's token about a person.
    User {
        /// The person.
        user: VerifiedUser,
        /// The issuer.
        issuer: Arc<TrustedIssuer>,
        /// When the token ends.
        expires_at: Timestamp,
    },
    /// One of our own, still in force.
    Own(Box<OwnSubject>),
}

/// One of our own tokens as a subject, with what it refers to.
#[derive(Clone, Debug)]
pub struct OwnSubject {
    /// The token.
    pub token: Arc<OwnToken>,
    /// The resource that is its audience; `None` if the audience is Chancery itself.
    pub audience: Option<Arc<Resource>>,
    /// The agent behind that resource, if there is one.
    pub audience_agent: Option<AgentId>,
    /// The agents behind it, the current actor first; for an agent acting for itself, that agent.
    pub agents: Vec<Arc<Agent>>,
    /// The person, if there is one.
    pub user: Option<VerifiedUser>,
    /// Every row that the token's lineage names, at the version at which it was found current.
    pub guards: Vec<Guard>,
}

/// Proposes the exchanged token.
///
/// # Errors
/// `invalid_request` if the caller may not use the subject token, or the chain would be too long;
/// `invalid_scope` for a scope that is malformed or unknown.
pub fn token_exchange(
    context: RequestContext<'_>,
    client: &AuthenticatedClient,
    subject: &SubjectToken,
    target: &Target,
    scope: Option<&str>,
    directory: &Directory,
) -> Result<Proposal, OAuthError> {
    let claim = match subject {
        SubjectToken::User {
            user,
            issuer,
            expires_at,
        } => for_user(client, user, issuer, *expires_at),
        SubjectToken::Own(own) => for_own(context, client, own)?,
    };
    propose(context, claim, target, scope, directory)
}

/// The first hop from a person to an agent.
fn for_user<'a>(
    client: &'a AuthenticatedClient,
    user: &'a VerifiedUser,
    issuer: &TrustedIssuer,
    expires_at: Timestamp,
) -> Claim<'a> {
    let agent = client.agent();
    let mut lineage = client.lineage();
    lineage.push(link(Noun::TrustedIssuer, issuer));
    lineage.push(link(Noun::User, &user.user));
    let mut guards = client.guards();
    guards.push(guard(Noun::TrustedIssuer, issuer));
    guards.extend(user.guard);
    Claim {
        grant_type: GrantType::TokenExchange,
        client,
        subject: Subject::User(user.user.id),
        user: Some(user),
        chain: vec![ChainLink {
            id: agent.id,
            name: agent.name.clone(),
        }],
        agents: vec![agent.name.clone()],
        hop: None,
        delegated_by: None,
        parent: None,
        latest_end: Some(expires_at),
        details: Bound::Grants,
        lineage,
        guards,
    }
}

/// A token of ours: by its current actor (narrowing), or by another agent (a hop).
pub(super) fn for_own<'a>(
    context: RequestContext<'_>,
    client: &'a AuthenticatedClient,
    own: &'a OwnSubject,
) -> Result<Claim<'a>, OAuthError> {
    let agent = client.agent();
    let actor = may_use(agent.id, own)?;
    let is_hop = actor.id != agent.id;
    let mut chain: Chain = own
        .agents
        .iter()
        .map(|agent| ChainLink {
            id: agent.id,
            name: agent.name.clone(),
        })
        .collect();
    if own.token.actors.is_empty() {
        // The agent acts for itself: it is the subject, and no actor.
        chain.clear();
    }
    let mut lineage = own.token.lineage.clone();
    lineage.extend(&client.lineage());
    let mut guards = client.guards();
    guards.extend(&own.guards);
    let mut agents: Vec<_> = own.agents.iter().map(|agent| agent.name.clone()).collect();
    if is_hop {
        chain.insert(
            0,
            ChainLink {
                id: agent.id,
                name: agent.name.clone(),
            },
        );
        agents.insert(0, agent.name.clone());
        lineage.push(Link {
            noun: Noun::Delegation,
            id: *context.delegation.as_bytes(),
            generation: 0,
        });
    }
    if chain.len() > MAX_CHAIN {
        return Err(OAuthError::invalid_request(
            "the chain of agents would be longer than eight",
        ));
    }
    let hop = Hop {
        id: context.delegation,
        from: actor.id,
        to: agent.id,
        parent: own.token.id,
    };
    Ok(Claim {
        grant_type: GrantType::TokenExchange,
        client,
        subject: own.token.subject,
        user: own.user.as_ref(),
        chain,
        agents,
        hop: is_hop.then_some(hop),
        delegated_by: is_hop.then(|| actor.name.clone()),
        parent: Some(carried(own)),
        latest_end: Some(own.token.expires_at),
        details: Bound::Within(&own.token.authorization_details),
        lineage,
        guards,
    })
}

/// Whether the caller may use one of our tokens as a subject, and the agent it comes from.
///
/// SECURITY: this is what stops a stolen or forwarded token from being laundered into a new one and a chain
/// from being restarted: the caller is the current actor, or the agent behind the token's audience, or the
/// one agent that the token names in `may_act`.
fn may_use(caller: AgentId, own: &OwnSubject) -> Result<&Arc<Agent>, OAuthError> {
    const REFUSED: OAuthError = OAuthError::invalid_request("this client may not use this subject_token");
    let actor = own.agents.first().ok_or(REFUSED)?;
    let is_actor = own.token.current_actor() == Some(caller) && actor.id == caller;
    let is_named = own.token.may_act == Some(caller);
    let owns_audience = own.audience.is_some() && own.audience_agent == Some(caller);
    if is_actor || is_named || owns_audience {
        Ok(actor)
    } else {
        Err(REFUSED)
    }
}

/// What a subject token carries on: its own scopes, and for a token at an agent's resource also what those
/// scopes are declared to carry.
fn carried(own: &OwnSubject) -> Authority {
    let Some(resource) = &own.audience else {
        return own.token.qualified();
    };
    let scopes = own.token.scopes();
    let mut authority = Authority::at(resource.name.clone(), scopes.clone());
    for (scope, spec) in &resource.spec.scopes {
        if scopes.contains(scope) {
            for (name, carried) in spec.carries.pairs() {
                authority.insert(name.clone(), carried.clone());
            }
        }
    }
    authority
}
