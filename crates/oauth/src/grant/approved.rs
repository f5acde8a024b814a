//! A request that waited for a person's yes (design, section 5; OpenID Connect CIBA §10.1): the same question again,
//! with what it stood on then and everything else as it is now.
//!
//! Whether there is a yes, whose, and that it is used once, is decided elsewhere.

use super::details::Bound;
use super::token_exchange::{OwnSubject, for_own};
use super::{Claim, Directory, RequestContext, Target, VerifiedUser, propose};
use crate::authentication::AuthenticatedClient;
use crate::error::OAuthError;
use chancery_core::actor::ChainLink;
use chancery_core::lineage::{Guard, Lineage};
use chancery_core::proposal::{GrantType, Proposal, Subject};
use chancery_core::time::Ttl;

/// For whom a token was asked.
#[derive(Clone, Copy, Debug)]
pub enum Awaited<'a> {
    /// The agent itself.
    Itself,
    /// A person who was proved when it was asked.
    Person(&'a VerifiedUser),
    /// Whoever a token of ours was for.
    Token(&'a OwnSubject),
}

/// What is carried from the request.
#[derive(Clone, Copy, Debug)]
pub struct Carried<'a> {
    /// For whom.
    pub subject: Awaited<'a>,
    /// How it was asked for.
    pub grant_type: GrantType,
    /// What it hung on then, found current.
    pub lineage: &'a Lineage,
    /// The rows that say so.
    pub guards: &'a [Guard],
    /// Whether the person whose yes it is agreed to the authorization details, so that no grant must name their types.
    pub has_agreed: bool,
    /// How long what was asked for lives at most.
    pub lifetime: Ttl,
}

/// Proposes the token that was asked for.
///
/// # Errors
/// As the grant that asked for it.
pub fn approved(
    context: RequestContext<'_>,
    client: &AuthenticatedClient,
    carried: Carried<'_>,
    target: &Target,
    scope: Option<&str>,
    directory: &Directory,
) -> Result<Proposal, OAuthError> {
    let mut claim = match carried.subject {
        Awaited::Itself => for_itself(client),
        Awaited::Person(user) => for_person(client, user),
        Awaited::Token(own) => for_own(context, client, own)?,
    };
    claim.grant_type = carried.grant_type;
    if carried.has_agreed && matches!(claim.details, Bound::Grants) {
        claim.details = Bound::Person;
    }
    claim.lineage.extend(carried.lineage);
    claim.guards.extend(carried.guards);
    // INVARIANT: what is given lives no longer than what was approved, nor than a token that it came from.
    let end = context.now.plus(carried.lifetime);
    claim.latest_end = Some(claim.latest_end.map_or(end, |latest| latest.min(end)));
    propose(context, claim, target, scope, directory)
}

fn for_itself(client: &AuthenticatedClient) -> Claim<'_> {
    let agent = client.agent();
    Claim {
        grant_type: GrantType::ClientCredentials,
        client,
        subject: Subject::Agent(agent.id),
        user: None,
        chain: Vec::new(),
        agents: vec![agent.name.clone()],
        hop: None,
        delegated_by: None,
        parent: None,
        latest_end: None,
        details: Bound::Grants,
        lineage: client.lineage(),
        guards: client.guards(),
    }
}

fn for_person<'a>(client: &'a AuthenticatedClient, user: &'a VerifiedUser) -> Claim<'a> {
    let agent = client.agent();
    let link = ChainLink {
        id: agent.id,
        name: agent.name.clone(),
    };
    let mut guards = client.guards();
    guards.extend(user.guard);
    Claim {
        subject: Subject::User(user.user.id),
        user: Some(user),
        chain: vec![link],
        guards,
        ..for_itself(client)
    }
}
