//! What a token request proposes: its facts loaded, the rules of its grant applied, and what is to be done around the
//! decision.

use crate::app::App;
use crate::approve::redeem::{self, Redemption};
use crate::error::Failure;
use crate::issue::agreement::{self, Presented, Redeemed};
use crate::issue::asking::Asking;
use crate::issue::subject::{self, Found, Learned};
use crate::issue::target;
use crate::issue::{assertion, details};
use crate::people::offer;
use crate::tenants::Served;
use chancery_core::decision::DenyReason;
use chancery_core::id::{DecisionId, DelegationId, Id as _};
use chancery_core::proposal::{Audience, Proposal};
use chancery_core::scope::Authority;
use chancery_core::secret::Secret;
use chancery_core::time::Timestamp;
use chancery_oauth::authentication::AuthenticatedClient;
use chancery_oauth::claims::scope_text;
use chancery_oauth::error::{ErrorCode, OAuthError};
use chancery_oauth::grant::jwt_bearer::{self, AssertedUser};
use chancery_oauth::grant::token_exchange::SubjectToken;
use chancery_oauth::grant::{RequestContext, client_credentials, token_exchange};
use chancery_oauth::request::token::{GrantRequest, RequestedTokenType, TokenRequest, UNSUPPORTED_TYPE};
use chancery_policy::decide::evaluate;
use chancery_store::Statement;

/// A proposal, and what is to be done around the decision on it.
#[derive(Debug)]
pub(super) struct Proposed {
    /// The proposal.
    pub(super) proposal: Proposal,
    /// What was learned of the person.
    pub(super) learned: Option<Learned>,
    /// What is needed to ask for a person's yes.
    pub(super) asking: Option<Asking>,
    /// The use of a person's yes.
    pub(super) redemption: Option<Redemption>,
    /// The use of a code or a refresh token.
    pub(super) redeemed: Option<Redeemed>,
    /// What else is used once with the token.
    pub(super) spends: Vec<Statement>,
}

impl Proposed {
    /// A proposal and nothing around it.
    const fn of(proposal: Proposal) -> Self {
        Self {
            proposal,
            learned: None,
            asking: None,
            redemption: None,
            redeemed: None,
            spends: Vec::new(),
        }
    }
}

/// Loads what a request depends on, and proposes the token.
///
/// # Errors
/// The OAuth error, or why this node cannot answer.
pub(super) async fn propose(
    app: &App,
    served: &Served,
    request: &TokenRequest,
    client: &AuthenticatedClient,
    now: Timestamp,
) -> Result<Proposed, Failure> {
    // What was asked for by another grant is polled with this one.
    let is_poll = matches!(request.grant, GrantRequest::Ciba { .. });
    if !is_poll && !client.client().spec.may_use(request.grant.registered()) {
        return Err(OAuthError::unauthorized_client().into());
    }
    let context = RequestContext {
        tenant: &served.tenant,
        now,
        decision: DecisionId::generate(now, &*app.random),
        delegation: DelegationId::generate(now, &*app.random),
        details: None,
    };
    match &request.grant {
        GrantRequest::AuthorizationCode {
            code,
            redirect_uri,
            code_verifier,
        } => {
            let presented = Presented::Code {
                code,
                redirect_uri: redirect_uri.as_deref(),
                code_verifier: code_verifier.as_deref(),
            };
            agreed(app, served, client, presented, (request, context)).await
        }
        GrantRequest::RefreshToken { refresh_token } => {
            let presented = Presented::Refresh(refresh_token);
            agreed(app, served, client, presented, (request, context)).await
        }
        GrantRequest::JwtBearer { assertion } => {
            asserted(app, served, client, assertion, (request, context)).await
        }
        GrantRequest::DeviceCode { device_code } => {
            let presented = Presented::Device(device_code);
            agreed(app, served, client, presented, (request, context)).await
        }
        GrantRequest::ClientCredentials => of_itself(app, request, client, context).await,
        GrantRequest::TokenExchange {
            subject_token,
            subject_token_type,
            ..
        } => {
            let found = subject::find(app, served, subject_token, *subject_token_type, now).await?;
            exchanged(app, request, client, found, context).await
        }
        GrantRequest::Ciba { auth_req_id } => {
            // What is given was said when it was asked for; no parameter widens or turns it.
            if request.details.is_some() {
                return Err(SAID_BEFORE.into());
            }
            let handle = auth_req_id.expose_secret();
            let (proposal, redemption, redeemed) =
                redeem::token(app, served, client, handle, context).await?;
            Ok(Proposed {
                redemption: Some(redemption),
                redeemed,
                ..Proposed::of(proposal)
            })
        }
    }
}

async fn of_itself(
    app: &App,
    request: &TokenRequest,
    client: &AuthenticatedClient,
    context: RequestContext<'_>,
) -> Result<Proposed, Failure> {
    let (tenant, scope) = (context.tenant.id, request.scope.as_deref());
    let target = target::find(app, tenant, &request.target).await?;
    let named = (request.details.as_ref(), None);
    let details = details::wanted(&target, client.client(), named, scope)?;
    let context = RequestContext {
        details: Some(&details),
        ..context
    };
    let directory = target::directory_for_agent(app, tenant, client, &target, scope).await?;
    let proposal = client_credentials::client_credentials(context, client, &target, scope, &directory)?;
    Ok(Proposed {
        asking: Some(Asking::of_itself(target)),
        ..Proposed::of(proposal)
    })
}

async fn exchanged(
    app: &App,
    request: &TokenRequest,
    client: &AuthenticatedClient,
    found: Found,
    context: RequestContext<'_>,
) -> Result<Proposed, Failure> {
    if let GrantRequest::TokenExchange {
        requested_token_type: Some(RequestedTokenType::ApiKey),
        ..
    } = &request.grant
    {
        return Err(UNSUPPORTED_TYPE.into());
    }
    let (tenant, scope) = (context.tenant.id, request.scope.as_deref());
    let subject = &found.subject;
    let target = target::find(app, tenant, &request.target).await?;
    let held = match subject {
        SubjectToken::User { .. } => None,
        SubjectToken::Own(own) => Some(&own.token.authorization_details),
    };
    let details = details::wanted(&target, client.client(), (request.details.as_ref(), held), scope)?;
    let context = RequestContext {
        details: Some(&details),
        ..context
    };
    let directory = target::directory_for_subject(app, tenant, client, subject, &target, scope).await?;
    let proposal = token_exchange::token_exchange(context, client, subject, &target, scope, &directory)?;
    Ok(Proposed {
        asking: Some(Asking::of_subject(subject, target)),
        learned: found.learned,
        ..Proposed::of(proposal)
    })
}

async fn asserted(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    assertion: &Secret<String>,
    (request, context): (&TokenRequest, RequestContext<'_>),
) -> Result<Proposed, Failure> {
    // SECURITY: an assertion is not bound to who brings it; a client that proves nothing could be anybody.
    if client.client().spec.method.is_public() {
        return Err(OAuthError::unauthorized_client().into());
    }
    let tenant = context.tenant.id;
    let found = assertion::find(app, served, client, assertion, context.now).await?;
    let target = target::find(app, tenant, &found.bounds.target(&request.target)?).await?;
    let scope = request.scope.as_deref();
    let ends = (client.agent().name.clone(), Some(found.user.user.name.clone()));
    let named = scope.or(found.bounds.scope.as_deref());
    let details = details::wanted(&target, client.client(), (request.details.as_ref(), None), named)?;
    let context = RequestContext {
        details: Some(&details),
        ..context
    };
    let directory = target::directory_for(app, tenant, client, ends, (&target, named)).await?;
    let user = AssertedUser {
        user: &found.user,
        issuer: &found.issuer,
        expires_at: found.expires_at,
        bounds: &found.bounds,
    };
    let proposal = jwt_bearer::jwt_bearer(context, client, &user, &target, scope, &directory)?;
    Ok(Proposed {
        asking: Some(Asking::of_person(target)),
        learned: found.learned,
        spends: vec![found.spend],
        ..Proposed::of(proposal)
    })
}

async fn agreed(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    presented: Presented<'_>,
    (request, context): (&TokenRequest, RequestContext<'_>),
) -> Result<Proposed, Failure> {
    let details = request.details.as_ref();
    let wanted = (&request.target, request.scope.as_deref(), details);
    let is_first = !matches!(presented, Presented::Refresh(_));
    let shown = agreement::shown(app, served, client, presented, context.now).await?;
    let mut proposed = agreement::propose(app, served, client, (&shown, wanted), context).await?;
    if is_first
        && request.scope.is_none()
        && details.is_none()
        && let Some(rest) = without_yes(served, &proposed.0)
    {
        // What needs another person's yes is asked for by a refresh that names it; the rest need not wait for that.
        let wanted = (&request.target, Some(rest.as_str()), details);
        proposed = agreement::propose(app, served, client, (&shown, wanted), context).await?;
    }
    let (proposal, target) = proposed;
    let redeemed = shown.redeemed;
    Ok(Proposed {
        asking: Some(Asking::of_agreement(&redeemed, is_first, target)),
        redeemed: Some(redeemed),
        ..Proposed::of(proposal)
    })
}

/// The scopes of a proposal that need nobody's yes, if all that stands in the way of the others is one.
fn without_yes(served: &Served, proposal: &Proposal) -> Option<String> {
    let (set, facts) = (&served.policy.set, &proposal.facts);
    let for_chancery = proposal.plan.audience == Audience::Chancery;
    let (rows, reason) = evaluate(set, facts, for_chancery);
    if reason != Some(DenyReason::ScopeRefused) {
        return None;
    }
    let awaited = offer::awaited(set, facts, &rows, for_chancery);
    let mut rest = Authority::default();
    for row in rows {
        if row.given {
            rest.insert(row.resource, row.scope);
        } else if !awaited.contains(&(row.resource, row.scope)) {
            return None;
        }
    }
    (!rest.is_empty()).then(|| scope_text(&proposal.plan, &rest))
}

const SAID_BEFORE: OAuthError = OAuthError::new(
    ErrorCode::InvalidAuthorizationDetails,
    "authorization_details are named where the person is asked, and not when their answer is fetched",
);
