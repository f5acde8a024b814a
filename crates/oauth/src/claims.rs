//! The claims of the access tokens that Chancery issues (RFC 9068 §2.2, RFC 8693 §4), and reading them back.

use crate::jose::{AudienceRule, IssuerRule, Profile, TypeRule, VerifiedClaims};
use chancery_core::actor::{Chain, MAX_CHAIN};
use chancery_core::assurance::AgentAssurance;
use chancery_core::authorization_details::AuthorizationDetails;
use chancery_core::id::{AgentId, ClientId, TokenId, UserId};
use chancery_core::lineage::Lineage;
use chancery_core::proposal::{Audience, Subject, TokenPlan};
use chancery_core::scope::{Authority, ScopeSet};
use chancery_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The claims of an access token.
#[derive(Debug, Serialize)]
pub struct AccessTokenClaims<'a> {
    iss: &'a str,
    sub: String,
    aud: &'a str,
    exp: i64,
    iat: i64,
    jti: TokenId,
    client_id: ClientId,
    scope: String,
    /// RFC 9396 §9.1.
    #[serde(skip_serializing_if = "AuthorizationDetails::is_empty")]
    authorization_details: &'a AuthorizationDetails,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Act>,
    #[serde(skip_serializing_if = "Option::is_none")]
    may_act: Option<MayAct>,
    chancery: PrivateClaims<'a>,
}

/// The current actor, with the actors before it nested inside (RFC 8693 §4.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The agent.
    pub sub: AgentId,
    /// The one before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Act>>,
}

/// Who else may act with the token (RFC 8693 §4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct MayAct {
    sub: AgentId,
}

/// Our one private claim.
#[derive(Debug, Serialize)]
struct PrivateClaims<'a> {
    lineage: &'a Lineage,
    assurance: AgentAssurance,
}

#[derive(Deserialize)]
struct ReadPrivateClaims {
    lineage: Lineage,
    assurance: AgentAssurance,
}

impl<'a> AccessTokenClaims<'a> {
    /// The claims of a plan with the scopes it was given. Scopes of a resource's token are written plainly,
    /// those of an agent token as `resource:scope`.
    pub fn new(plan: &'a TokenPlan, given: &Authority, jwt_id: TokenId) -> Self {
        Self {
            iss: &plan.issuer,
            sub: plan.subject.to_string(),
            aud: audience(plan),
            exp: plan.expires_at.as_seconds(),
            iat: plan.issued_at.as_seconds(),
            jti: jwt_id,
            client_id: plan.client,
            scope: scope_text(plan, given),
            authorization_details: &plan.authorization_details,
            act: nested(&plan.chain),
            may_act: plan.may_act.map(|sub| MayAct { sub }),
            chancery: PrivateClaims {
                lineage: &plan.lineage,
                assurance: plan.assurance,
            },
        }
    }
}

/// The `scope` of a token or response.
pub fn scope_text(plan: &TokenPlan, given: &Authority) -> String {
    match &plan.audience {
        Audience::Chancery => given.to_string(),
        Audience::Resource { name, .. } => given.scopes_at(name).to_string(),
    }
}

/// One of our own access tokens, verified and read.
#[derive(Clone, Debug)]
pub struct OwnToken {
    /// Its id.
    pub id: TokenId,
    /// Whose authority it carries.
    pub subject: Subject,
    /// What it is for.
    pub audience: String,
    /// Its scopes, as written.
    pub scope: String,
    /// Its authorization details.
    pub authorization_details: AuthorizationDetails,
    /// The client it was issued to.
    pub client: ClientId,
    /// The agents behind it, the current actor first; empty when an agent acts for itself alone.
    pub actors: Vec<AgentId>,
    /// Who else may exchange it.
    pub may_act: Option<AgentId>,
    /// What it hangs on.
    pub lineage: Lineage,
    /// How the agent was proved.
    pub assurance: AgentAssurance,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// The profile of our own tokens when the audience is judged afterwards.
pub fn own_token_profile(issuer: &str) -> Profile<'_> {
    Profile::new(
        TypeRule::Exactly(&["at+jwt"]),
        IssuerRule::Exactly(issuer),
        AudienceRule::Unchecked,
    )
    .with_required(&["iss", "exp", "aud", "sub", "client_id", "iat", "jti", "chancery"])
}

impl OwnToken {
    /// Whether a token that was verified before is within its time at another moment.
    pub fn is_of(&self, now: Timestamp) -> bool {
        self.issued_at <= now && now < self.expires_at
    }

    /// Reads verified claims of a token that we signed. `None` if they are not in the form that we write,
    /// which can only be a token of another version.
    pub fn read(claims: &VerifiedClaims) -> Option<Self> {
        let private: ReadPrivateClaims = serde_json::from_value(claims.claim("chancery")?.clone()).ok()?;
        let act = claims
            .claim("act")
            .map(|act| serde_json::from_value::<Act>(act.clone()))
            .transpose()
            .ok()?;
        let may_act = claims
            .claim("may_act")
            .map(|act| serde_json::from_value::<MayAct>(act.clone()));
        let details = claims
            .claim("authorization_details")
            .map(|details| serde_json::from_value::<AuthorizationDetails>(details.clone()));
        let Value::String(audience) = claims.claim("aud")? else {
            return None;
        };
        Some(Self {
            id: claims.jwt_id()?.parse().ok()?,
            subject: subject(claims.subject()?)?,
            audience: audience.clone(),
            scope: claims.string("scope").unwrap_or_default().to_owned(),
            authorization_details: details.transpose().ok()?.unwrap_or_default(),
            client: claims.string("client_id")?.parse().ok()?,
            actors: flattened(act)?,
            may_act: may_act.transpose().ok()?.map(|may_act| may_act.sub),
            lineage: private.lineage,
            assurance: private.assurance,
            issued_at: claims.issued_at()?,
            expires_at: claims.expires_at()?,
        })
    }

    /// The agent that holds the token now: the outermost actor, or the agent itself.
    pub fn current_actor(&self) -> Option<AgentId> {
        match (self.actors.first(), self.subject) {
            (Some(actor), _) => Some(*actor),
            (None, Subject::Agent(agent)) => Some(agent),
            (None, Subject::User(_)) => None,
        }
    }

    /// The agent that the chain began with.
    pub fn root_agent(&self) -> Option<AgentId> {
        match self.subject {
            Subject::Agent(agent) => Some(agent),
            Subject::User(_) => self.actors.last().copied(),
        }
    }

    /// Its scopes as those of one resource.
    pub fn scopes(&self) -> ScopeSet {
        ScopeSet::parse(&self.scope).unwrap_or_default()
    }

    /// Its scopes as an agent token writes them.
    pub fn qualified(&self) -> Authority {
        Authority::parse(&self.scope).unwrap_or_default()
    }
}

/// `act` of a chain.
pub fn nested(chain: &Chain) -> Option<Act> {
    let fold = |inner: Option<Act>, link: &chancery_core::actor::ChainLink| {
        Some(Act {
            sub: link.id,
            act: inner.map(Box::new),
        })
    };
    chain.iter().rev().fold(None, fold)
}

fn flattened(act: Option<Act>) -> Option<Vec<AgentId>> {
    let mut actors = Vec::new();
    let mut next = act;
    while let Some(act) = next {
        actors.push(act.sub);
        next = act.act.map(|inner| *inner);
    }
    (actors.len() <= MAX_CHAIN).then_some(actors)
}

fn subject(text: &str) -> Option<Subject> {
    if let Ok(user) = text.parse::<UserId>() {
        return Some(Subject::User(user));
    }
    text.parse::<AgentId>().ok().map(Subject::Agent)
}

fn audience(plan: &TokenPlan) -> &str {
    match &plan.audience {
        Audience::Chancery => &plan.issuer,
        Audience::Resource { uri, .. } => uri.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chancery_core::actor::ChainLink;
    use chancery_core::id::Id as _;

    #[test]
    fn the_newest_actor_is_outermost_and_reads_back_in_order() {
        let link = |byte: u8| ChainLink {
            id: AgentId::from_bytes([byte; 16]),
            name: "x".parse().unwrap(),
        };
        let chain = vec![link(3), link(2), link(1)];
        let act = nested(&chain).unwrap();
        assert_eq!(act.sub, chain[0].id);
        assert_eq!(
            flattened(Some(act)).unwrap(),
            chain.iter().map(|link| link.id).collect::<Vec<_>>()
        );
        assert_eq!(nested(&Vec::new()), None);
    }
}
