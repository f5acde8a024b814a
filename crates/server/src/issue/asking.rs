//! Asking for a person's yes to a token: the refusal is recorded together with the request for it, and the client is
//! told how to wait.

use crate::app::App;
use crate::approve::request::{self, Wanted};
use crate::approve::{draft, redeem};
use crate::error::Failure;
use crate::issue::agreement::Redeemed;
use crate::issue::arrival::Arrival;
use crate::issue::refusal::{Refused, refuse_with};
use crate::issue::subject::Learned;
use crate::issue::token::Attempt;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::approval::{Basis, PENDING_FOR};
use chancery_core::proposal::{Subject, TokenPlan};
use chancery_core::time::Timestamp;
use chancery_oauth::authentication::AuthenticatedClient;
use chancery_oauth::error::{ErrorCode, OAuthError};
use chancery_oauth::grant::Target;
use chancery_oauth::grant::token_exchange::SubjectToken;
use chancery_policy::NeedsApproval;
use chancery_store::Statement;

/// What the request stands on, kept until people answer.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    basis: Basis,
    target: Target,
    /// When what it stands on is over.
    end: Option<Timestamp>,
    /// What is used by asking: a code, which begins the family that the token will be issued in.
    uses: Vec<Statement>,
}

impl Asking {
    /// An agent's request for itself.
    pub(super) const fn of_itself(target: Target) -> Self {
        Self {
            basis: Basis::Itself,
            target,
            end: None,
            uses: Vec::new(),
        }
    }

    /// For a person who was proved just now.
    pub(super) const fn of_person(target: Target) -> Self {
        Self {
            basis: Basis::Person,
            target,
            end: None,
            uses: Vec::new(),
        }
    }

    /// An exchange. A person's token may be over when people answer: who the person is was proved, and everything
    /// else is looked at again. A token of ours must still be good.
    pub(super) fn of_subject(subject: &SubjectToken, target: Target) -> Self {
        let (basis, end) = match subject {
            SubjectToken::User { .. } => (Basis::Person, None),
            SubjectToken::Own(own) => {
                let parent = redeem::parent_of(&own.token);
                (Basis::Token(Box::new(parent)), Some(own.token.expires_at))
            }
        };
        Self {
            basis,
            target,
            end,
            uses: Vec::new(),
        }
    }

    /// What a person agreed to. A code is used by asking, since it ends long before anybody can answer; a refresh token is
    /// not, and stays as it is.
    pub(super) fn of_agreement(redeemed: &Redeemed, is_first: bool, target: Target) -> Self {
        Self {
            basis: Basis::Agreement(Box::new(redeemed.basis(is_first))),
            target,
            end: Some(redeemed.family.spec.expires_at),
            uses: if is_first {
                redeemed.statements.clone()
            } else {
                Vec::new()
            },
        }
    }
}

/// Records that a yes is needed, and asks for it. The error is the answer.
pub(super) async fn ask(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    (needed, asking): (NeedsApproval<TokenPlan>, Option<Asking>),
    learned: Option<&Learned>,
    arrival: Arrival,
) -> Result<Attempt, Failure> {
    let now = arrival.now;
    let mut refused = Refused::of(needed.decision.clone());
    let Some(asking) = asking else {
        refused.error = Some(ANOTHER);
        return refuse_with(app, served, client, refused, learned, arrival).await;
    };
    let wanted = Wanted {
        asked: draft::of_token(&needed, &asking.target),
        basis: asking.basis,
        lineage: draft::lineage_of_token(&needed.plan),
        requirement: needed.requirement.clone(),
        policy_set: needed.decision.policy_set.clone(),
        decision: Some(needed.decision.id),
        until: asking.end.map(|end| end.min(now.plus(PENDING_FOR))),
    };
    let actor = Actor::Agent {
        agent: client.agent().id,
        client: client.client().id,
        user: match needed.plan.subject {
            Subject::User(user) => Some(user),
            Subject::Agent(_) => None,
        },
    };
    match request::find_or_draft(app, served, wanted, actor, now).await? {
        Err(error) => {
            tracing::info!(%error, "nobody can be asked");
            refused.error = Some(UNASKABLE);
        }
        Ok(request) => {
            refused.ids = vec![("approval", request.row.id.to_string())];
            refused.error = Some(OAuthError {
                approval: Some(Box::new(request::awaited(served, &request.row, now))),
                ..REQUIRED
            });
            refused.statements = request.statements;
            refused.statements.extend(asking.uses);
        }
    }
    refuse_with(app, served, client, refused, learned, arrival).await
}

const REQUIRED: OAuthError = OAuthError::new(
    ErrorCode::ApprovalRequired,
    "this needs a person's yes; poll with auth_req_id and the grant type urn:openid:params:grant-type:ciba",
);
const UNASKABLE: OAuthError = OAuthError::new(
    ErrorCode::AccessDenied,
    "this needs a person's yes, and is too much to be shown to a person; ask for less",
);
const ANOTHER: OAuthError = OAuthError::new(
    ErrorCode::AccessDenied,
    "policy wants the yes of somebody else than the owner of the agent",
);
