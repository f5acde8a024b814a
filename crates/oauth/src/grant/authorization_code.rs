//! The authorization code grant and its refresh (RFC 6749 §4.1.3, §6; RFC 7636 §4.6; RFC 8707 §2.2): what a person
//! agreed to becomes a token for the agent, within every limit as it is now.
//!
//! Which code it is, that it was not used before, and whose refresh token it is, is found out before.

use super::details::Bound;
use super::{Claim, Directory, RequestContext, Target, VerifiedUser, propose};
use crate::authentication::{AuthenticatedClient, AuthenticationError, ClientFacts, guard, link};
use crate::error::{ErrorCode, OAuthError};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery_core::actor::ChainLink;
use chancery_core::authorization_details::AuthorizationDetails;
use chancery_core::issuer::TrustedIssuer;
use chancery_core::lineage::{Guard, Lineage};
use chancery_core::noun::Noun;
use chancery_core::proposal::{Facts, GrantType, Proposal, Subject};
use chancery_core::scope::{Authority, ScopeSet};
use chancery_core::time::Timestamp;

/// What a person agreed to, found in force.
#[derive(Clone, Debug)]
pub struct Agreement<'a> {
    /// How it is presented: by its code, or by a refresh token.
    pub grant_type: GrantType,
    /// The person.
    pub user: &'a VerifiedUser,
    /// Who vouched for the person; nobody for an account of our own.
    pub issuer: Option<&'a TrustedIssuer>,
    /// The most that a token may carry, as tokens write it.
    pub scope: &'a str,
    /// The authorization details that it holds. None where the person has yet to be asked.
    pub details: Option<&'a AuthorizationDetails>,
    /// What it hangs on: session or none, and the family.
    pub lineage: Lineage,
    /// The rows that say so.
    pub guards: Vec<Guard>,
    /// When nothing more is issued on it.
    pub expires_at: Timestamp,
}

/// Proposes the token.
///
/// # Errors
/// `invalid_scope` for a scope that is malformed or unknown.
pub fn authorization_code(
    context: RequestContext<'_>,
    client: &AuthenticatedClient,
    agreement: Agreement<'_>,
    target: &Target,
    scope: Option<&str>,
    directory: &Directory,
) -> Result<Proposal, OAuthError> {
    // A refresh may ask for less (RFC 6749 §6); nothing asked is all that was agreed to, and each of it by name.
    let asked = scope.unwrap_or(agreement.scope);
    let parent = carried(target, agreement.scope)?;
    let claim = claim(client, agreement, Some(parent));
    propose(context, claim, target, Some(asked), directory)
}

/// The scopes of the resource among those that a refresh asks for. What was agreed to about the person stands in the
/// `scope` of the answer too, and clients ask for the whole of it again (RFC 6749 §6).
pub fn without_identity(scope: &str, agreed: &[String]) -> String {
    let is_of_resource = |word: &&str| !agreed.iter().any(|agreed| agreed == word);
    let words: Vec<&str> = scope.split(' ').filter(is_of_resource).collect();
    words.join(" ")
}

/// What policy would see of such a token for a client that has not proved itself yet. Nothing can be signed with it.
///
/// # Errors
/// A client that is not in use; `invalid_scope` for a scope that is malformed or unknown.
pub fn offer(
    context: RequestContext<'_>,
    client: ClientFacts,
    (user, issuer): (&VerifiedUser, Option<&TrustedIssuer>),
    target: &Target,
    scope: Option<&str>,
    directory: &Directory,
) -> Result<Result<Facts, OAuthError>, AuthenticationError> {
    let client = AuthenticatedClient::presumed(client, context.now)?;
    let agreement = Agreement {
        grant_type: GrantType::AuthorizationCode,
        user,
        issuer,
        scope: "",
        details: None,
        lineage: Lineage::default(),
        guards: Vec::new(),
        expires_at: Timestamp::from_micros(i64::MAX),
    };
    let claim = claim(&client, agreement, None);
    Ok(propose(context, claim, target, scope, directory).map(|proposal| proposal.facts))
}

fn claim<'a>(
    client: &'a AuthenticatedClient,
    agreement: Agreement<'a>,
    parent: Option<Authority>,
) -> Claim<'a> {
    let agent = client.agent();
    let mut lineage = client.lineage();
    if let Some(issuer) = agreement.issuer {
        lineage.push(link(Noun::TrustedIssuer, issuer));
    }
    lineage.push(link(Noun::User, &agreement.user.user));
    lineage.extend(&agreement.lineage);
    let mut guards = client.guards();
    guards.extend(agreement.issuer.map(|issuer| guard(Noun::TrustedIssuer, issuer)));
    guards.extend(agreement.user.guard);
    guards.extend(agreement.guards);
    Claim {
        grant_type: agreement.grant_type,
        client,
        subject: Subject::User(agreement.user.user.id),
        user: Some(agreement.user),
        chain: vec![ChainLink {
            id: agent.id,
            name: agent.name.clone(),
        }],
        agents: vec![agent.name.clone()],
        hop: None,
        delegated_by: None,
        parent,
        latest_end: Some(agreement.expires_at),
        details: agreement.details.map_or(Bound::Person, Bound::Within),
        lineage,
        guards,
    }
}

/// What a scope text means at a target.
pub(super) fn carried(target: &Target, scope: &str) -> Result<Authority, OAuthError> {
    const MALFORMED: OAuthError = OAuthError::new(ErrorCode::InvalidScope, "scope is malformed");
    match target {
        Target::Chancery | Target::Handover(_) if scope.is_empty() => Ok(Authority::default()),
        Target::Resource(resource) => ScopeSet::parse(scope)
            .map(|scopes| Authority::at(resource.name.clone(), scopes))
            .map_err(|_| MALFORMED),
        Target::Chancery | Target::Handover(_) => Authority::parse(scope).map_err(|_| MALFORMED),
    }
}

/// Whether a verifier is the one whose digest was sent with the authorization request.
///
/// # Errors
/// `invalid_grant` (RFC 7636 §4.6); `invalid_request` when there is none.
pub fn check_verifier(challenge: &str, verifier: Option<&str>) -> Result<(), OAuthError> {
    let verifier = verifier.ok_or(OAuthError::invalid_request("code_verifier is missing"))?;
    let is_verifier = (43..=128).contains(&verifier.len())
        && verifier
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    let found = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    if is_verifier
        && aws_lc_rs::constant_time::verify_slices_are_equal(found.as_bytes(), challenge.as_bytes()).is_ok()
    {
        return Ok(());
    }
    Err(OAuthError::new(
        ErrorCode::InvalidGrant,
        "code_verifier does not match the code_challenge",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_rfc_7636_match_and_nothing_else_does() {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(check_verifier(challenge, Some(verifier)), Ok(()));
        let code = |verifier: Option<&str>| check_verifier(challenge, verifier).unwrap_err().code;
        assert_eq!(code(None), ErrorCode::InvalidRequest);
        assert_eq!(code(Some(challenge)), ErrorCode::InvalidGrant);
        assert_eq!(code(Some(&verifier.replace('d', "e"))), ErrorCode::InvalidGrant);
        assert_eq!(code(Some("short")), ErrorCode::InvalidGrant);
    }
}
