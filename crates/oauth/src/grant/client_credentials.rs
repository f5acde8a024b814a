//! The client credentials grant (RFC 6749 §4.4): an agent for itself, with nobody behind it.

use super::details::Bound;
use super::{Claim, Directory, RequestContext, Target, propose};
use crate::authentication::AuthenticatedClient;
use crate::error::OAuthError;
use chancery_core::proposal::{GrantType, Proposal, Subject};

/// Proposes a token for the agent itself, within its ceiling and its own grants.
///
/// # Errors
/// `invalid_scope` for a scope that is malformed or unknown, or none where there is no default.
pub fn client_credentials(
    context: RequestContext<'_>,
    client: &AuthenticatedClient,
    target: &Target,
    scope: Option<&str>,
    directory: &Directory,
) -> Result<Proposal, OAuthError> {
    let agent = client.agent();
    let claim = Claim {
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
    };
    propose(context, claim, target, scope, directory)
}
