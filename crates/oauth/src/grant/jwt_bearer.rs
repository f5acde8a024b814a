//! The JWT bearer grant (RFC 7523 §2.1): a trusted issuer's assertion about a person becomes a token for the agent of the
//! authenticated client, within a grant that stands already; and the identity assertion authorization grant (ID-JAG, draft
//! -04), by which a company's identity provider says which client may act for the person, where and how far.
//!
//! An assertion makes no grant, and no refresh token. Which issuer may send which kind is the administrator's word. That an
//! assertion is used once is decided at commit. No chain is begun by an assertion: `act` is refused, and so is `cnf`, since
//! a proof of possession that is not checked would protect nobody.

use super::authorization_code::carried;
use super::details::Bound;
use super::{Claim, Directory, RequestContext, Target, VerifiedUser, propose};
use crate::authentication::{AuthenticatedClient, guard, link};
use crate::error::{ErrorCode, OAuthError};
use crate::jose::{Profile, UnverifiedJwt, VerifiedClaims};
use crate::request::authorize::IDENTITY;
use crate::request::token::TargetRequest;
use chancery_core::actor::ChainLink;
use chancery_core::client::Client;
use chancery_core::issuer::{AssertionKind, TrustedIssuer};
use chancery_core::name::Name;
use chancery_core::noun::Noun;
use chancery_core::proposal::{GrantType, Proposal, Subject};
use chancery_core::time::Timestamp;
use chancery_core::uri::ResourceUri;
use serde_json::Value;

/// Why an assertion is not taken, though its issuer signed it. Goes to the log; the wire says `invalid_grant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// It is for another client.
    #[error("the assertion is for another client")]
    OtherClient,
    /// It is for another tenant.
    #[error("the assertion is for another tenant")]
    OtherTenant,
    /// A claim is not what it must be.
    #[error("the claim `{0}` is malformed")]
    Claim(&'static str),
}

/// How far an assertion lets the client go. Nothing said is no bound of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Scopes.
    pub scope: Option<String>,
    /// Where the token may be used.
    pub resources: Vec<ResourceUri>,
}

/// The person of an assertion, verified, and how far it goes.
#[derive(Clone, Debug)]
pub struct AssertedUser<'a> {
    /// The person.
    pub user: &'a VerifiedUser,
    /// Who vouches.
    pub issuer: &'a TrustedIssuer,
    /// When the assertion ends.
    pub expires_at: Timestamp,
    /// How far it goes.
    pub bounds: &'a Bounds,
}

/// Which kind an assertion says it is. `typ` decides, so that neither kind passes for the other.
pub fn kind_of(jwt: &UnverifiedJwt<'_>) -> AssertionKind {
    let typ = jwt.unverified_type().unwrap_or_default().to_ascii_lowercase();
    match typ.strip_prefix("application/").unwrap_or(&typ) {
        "oauth-id-jag+jwt" => AssertionKind::IdJag,
        _ => AssertionKind::JwtBearer,
    }
}

/// What an assertion of this kind must be.
pub fn profile<'a>(issuer: &'a TrustedIssuer, our_issuer: &'a str, kind: AssertionKind) -> Profile<'a> {
    let iss = issuer.spec.issuer.as_str();
    match kind {
        // SECURITY: these claims stand in ID tokens, access tokens and security events. None of them is an assertion, even
        // if an issuer could be led to put our name into its audience.
        AssertionKind::JwtBearer => Profile::assertion(iss, our_issuer).with_forbidden(&[
            "events",
            "nonce",
            "at_hash",
            "c_hash",
            "s_hash",
            "azp",
            "client_id",
            "scope",
            "scp",
            "cnf",
            "act",
            "authorization_details",
        ]),
        AssertionKind::IdJag => Profile::id_jag(iss, our_issuer).with_forbidden(&[
            "events",
            "nonce",
            "at_hash",
            "cnf",
            "act",
            "authorization_details",
        ]),
    }
}

/// The rules on the meaning of an assertion's claims.
///
/// # Errors
/// The rule that it breaks.
pub fn bounds(
    kind: AssertionKind,
    claims: &VerifiedClaims,
    client: &Client,
    tenant: &Name,
) -> Result<Bounds, AssertionError> {
    match kind {
        AssertionKind::JwtBearer => return Ok(Bounds::default()),
        AssertionKind::IdJag => {}
    }
    // INVARIANT: an identity provider names the client; it is the one that has proved itself (ID-JAG §4.4.1).
    let named = claims.string("client_id").unwrap_or_default();
    let is_named = match &client.spec.metadata_uri {
        Some(uri) => named == uri,
        None => named == client.id.to_string() || named == client.name.as_str(),
    };
    if !is_named {
        return Err(AssertionError::OtherClient);
    }
    match claims.claim("aud_tenant") {
        None => {}
        Some(Value::String(named)) if named == tenant.as_str() => {}
        Some(_) => return Err(AssertionError::OtherTenant),
    }
    let scope = match claims.claim("scope") {
        None => None,
        Some(Value::String(scope)) => Some(about_resources(scope)),
        Some(_) => return Err(AssertionError::Claim("scope")),
    };
    let resources = match claims.claim("resource") {
        None => Vec::new(),
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(many)) if !many.is_empty() => many
            .iter()
            .map(|value| value.as_str().ok_or(AssertionError::Claim("resource")))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(AssertionError::Claim("resource")),
    };
    let parsed = resources.into_iter().map(str::parse::<ResourceUri>);
    Ok(Bounds {
        scope,
        resources: parsed
            .collect::<Result<_, _>>()
            .map_err(|_| AssertionError::Claim("resource"))?,
    })
}

/// Scopes of the resource, without those about the person, which no assertion gives.
fn about_resources(scope: &str) -> String {
    let words = scope
        .split(' ')
        .filter(|word| !word.is_empty() && !IDENTITY.contains(word));
    words.collect::<Vec<_>>().join(" ")
}

impl Bounds {
    /// Where the token will be used: as the request says, if the assertion lets it; else as the assertion says.
    ///
    /// # Errors
    /// `invalid_target` for any other place, or where it is not clear which.
    pub fn target(&self, wanted: &TargetRequest) -> Result<TargetRequest, OAuthError> {
        const OTHER: OAuthError = OAuthError::new(
            ErrorCode::InvalidTarget,
            "the assertion is for another resource, or names several: name one of them as resource",
        );
        match (wanted, self.resources.as_slice()) {
            (wanted, []) => Ok(wanted.clone()),
            (TargetRequest::Chancery, [only]) => Ok(TargetRequest::Resource(only.clone())),
            (TargetRequest::Resource(uri), named) if named.contains(uri) => Ok(wanted.clone()),
            (TargetRequest::Chancery | TargetRequest::Resource(_) | TargetRequest::Audience(_), _) => {
                Err(OTHER)
            }
        }
    }
}

/// Proposes the token.
///
/// # Errors
/// `invalid_scope` for a scope that is malformed or unknown.
pub fn jwt_bearer(
    context: RequestContext<'_>,
    client: &AuthenticatedClient,
    asserted: &AssertedUser<'_>,
    target: &Target,
    scope: Option<&str>,
    directory: &Directory,
) -> Result<Proposal, OAuthError> {
    let bound = asserted.bounds.scope.as_deref();
    let parent = bound.map(|scope| carried(target, scope)).transpose()?;
    let (user, issuer, agent) = (asserted.user, asserted.issuer, client.agent());
    let mut lineage = client.lineage();
    lineage.push(link(Noun::TrustedIssuer, issuer));
    lineage.push(link(Noun::User, &user.user));
    let mut guards = client.guards();
    guards.push(guard(Noun::TrustedIssuer, issuer));
    guards.extend(user.guard);
    let claim = Claim {
        grant_type: GrantType::JwtBearer,
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
        parent,
        latest_end: Some(asserted.expires_at),
        details: Bound::Grants,
        lineage,
        guards,
    };
    // Nothing asked is all that the assertion names, and each of it by name.
    propose(context, claim, target, scope.or(bound), directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(resources: &[&str]) -> Bounds {
        Bounds {
            scope: None,
            resources: resources.iter().map(|uri| uri.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn an_assertion_says_where_and_a_request_does_not_widen_it() {
        let at = |uri: &str| TargetRequest::Resource(uri.parse().unwrap());
        let (a, b) = ("https://a.example", "https://b.example");
        assert_eq!(
            bounds(&[]).target(&TargetRequest::Chancery),
            Ok(TargetRequest::Chancery)
        );
        assert_eq!(bounds(&[]).target(&at(a)), Ok(at(a)));
        assert_eq!(bounds(&[a]).target(&TargetRequest::Chancery), Ok(at(a)));
        assert_eq!(bounds(&[a, b]).target(&at(b)), Ok(at(b)));
        let code = |bounds: Bounds, wanted: &TargetRequest| bounds.target(wanted).unwrap_err().code;
        for (named, wanted) in [
            (vec![a], at(b)),
            (vec![a, b], TargetRequest::Chancery),
            (vec![a], TargetRequest::Audience("a".to_owned())),
        ] {
            assert_eq!(code(bounds(&named), &wanted), ErrorCode::InvalidTarget);
        }
    }

    #[test]
    fn an_assertion_gives_nothing_about_the_person() {
        assert_eq!(about_resources("openid read  offline_access write"), "read write");
    }
}
