//! Backchannel authentication (OpenID Connect CIBA Core §7): an agent asks a person who is not there for access to
//! what is theirs. The person is named exactly or not at all, and nobody else can say yes.

use crate::app::App;
use crate::approve::draft;
use crate::approve::request::{self, Request, Wanted};
use crate::error::Failure;
use crate::issue::arrival::{Arrival, Source};
use crate::issue::token::{consume, guard_of};
use crate::issue::{authenticate, details, id_token, target};
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::approval::{Basis, PENDING_FOR, Requirement};
use chancery_core::authorization_details::AuthorizationDetails;
use chancery_core::client::ClientGrant;
use chancery_core::decision::{Decision, DenyReason};
use chancery_core::id::{DecisionId, DelegationId, Id as _};
use chancery_core::issuer::IssuerPurpose;
use chancery_core::lineage::Lineage;
use chancery_core::noun::Noun;
use chancery_core::proposal::{GrantType, Proposal};
use chancery_core::secret::Secret;
use chancery_core::time::Timestamp;
use chancery_core::user::User;
use chancery_oauth::authentication::{AuthenticatedClient, link};
use chancery_oauth::error::{AwaitedApproval, ErrorCode, OAuthError};
use chancery_oauth::grant::approved::{Awaited, Carried, approved};
use chancery_oauth::grant::{RequestContext, Target, VerifiedUser, lifetime};
use chancery_oauth::jose::{UnverifiedJwt, VerifyError};
use chancery_oauth::request::backchannel::{BackchannelRequest, Hint};
use chancery_oauth::request::client::PresentedClient;
use chancery_oauth::request::token::SubjectTokenType;
use chancery_oauth::user_token;
use chancery_policy::{NeedsApproval, Verdict, decide};
use chancery_store::{Outcome, approval, consumed, user_key};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Asks the person.
///
/// # Errors
/// The error of CIBA §13, or why this node cannot answer.
pub async fn ask(
    app: &App,
    served: &Served,
    request: &BackchannelRequest,
    source: Source,
) -> Result<AwaitedApproval, Failure> {
    let now = app.serving_now()?;
    let arrival = Arrival { now, source };
    let tenant = served.tenant.id;

    // 1. Who asks, and whom.
    let client = &authenticate::client(app, served, &request.client, arrival).await?;
    if !client.client().spec.may_use(ClientGrant::Ciba) {
        return Err(OAuthError::unauthorized_client().into());
    }
    app.limits
        .token((tenant, client.agent().id, client.client().id), now)?;
    let user = person(app, served, (client, &request.client), &request.hint, now).await?;

    // 2. What would be given, as things are now.
    let target = target::find(app, tenant, &request.target).await?;
    let proposal = propose(
        app,
        served,
        (client, &user),
        (&target, request.scope.as_deref(), request.details.as_ref()),
        now,
    )
    .await?;
    let needed = judged(served, proposal)?;

    // 3. Ask, and record it.
    let asked = draft::as_access(draft::of_token(&needed, &target), request.binding_message.clone());
    let wait = request.requested_expiry.unwrap_or(PENDING_FOR);
    let actor = Actor::Agent {
        agent: client.agent().id,
        client: client.client().id,
        user: None,
    };
    let wanted = || Wanted {
        asked: asked.clone(),
        basis: Basis::Person,
        lineage: draft::lineage_of_token(&needed.plan),
        requirement: needed.requirement.clone(),
        policy_set: needed.decision.policy_set.clone(),
        decision: None,
        until: Some(now.plus(wait)),
    };
    for _ in 0..2 {
        let drafted = request::find_or_draft(app, served, wanted(), actor.clone(), now).await?;
        let drafted = drafted.map_err(|_| TOO_LONG)?;
        if let Some(awaited) = commit(app, served, client, drafted, arrival).await? {
            return Ok(awaited);
        }
    }
    Err(Failure::Stale("the same is asked by others just now"))
}

/// Commits a request. `None` if somebody else asked for the same meanwhile.
async fn commit(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    Request { row, statements }: Request,
    arrival: Arrival,
) -> Result<Option<AwaitedApproval>, Failure> {
    let single_use = client
        .single_use()
        .map(|single_use| consume(served.tenant.id, single_use));
    let batch = app.batch(arrival.now).extend(single_use).extend(statements);
    if !batch.is_empty() {
        match app.commit(batch, &[]).await? {
            Outcome::Committed => {}
            Outcome::Refused {
                label: consumed::REPLAYED,
                ..
            } => return Err(authenticate::replayed(app, served, client, arrival).await?.into()),
            Outcome::Refused {
                label: approval::CAP, ..
            } => return Err(TOO_MUCH.into()),
            Outcome::Refused { .. } => return Ok(None),
        }
    }
    Ok(Some(request::awaited(served, &row, arrival.now)))
}

/// The person whom a hint names. SECURITY: exactly that person or nobody: no search by mail address or likeness.
async fn person(
    app: &App,
    served: &Served,
    (client, presented): (&AuthenticatedClient, &PresentedClient),
    hint: &Hint,
    now: Timestamp,
) -> Result<Arc<User>, Failure> {
    let users = &app.directory.users;
    let found = match hint {
        Hint::Login(name) => users.find_named(served.tenant.id, name).await?,
        Hint::LoginToken(token) => named_by(app, served, token, SubjectTokenType::Jwt, now).await?,
        Hint::IdToken(token) if is_ours(served, token) => {
            // An ID token that we made for this very client, as it names itself or as it is registered.
            let named = authenticate::named(presented, client);
            let is_for = |aud: &str| aud == named || aud == client.client().id.to_string();
            match id_token::hinted(served, token, is_for, now) {
                Some(id) => users.find(served.tenant.id, id).await?,
                None => None,
            }
        }
        Hint::IdToken(token) => named_by(app, served, token, SubjectTokenType::IdToken, now).await?,
    };
    let found = found.filter(|user| user.state.is_active());
    found.ok_or_else(|| UNKNOWN_USER.into())
}

/// Whether a token says that it is ours. Nothing is believed yet.
fn is_ours(served: &Served, token: &Secret<String>) -> bool {
    let claims = UnverifiedJwt::parse(token.expose_secret()).and_then(|jwt| jwt.unverified_claims());
    claims.is_ok_and(|claims| claims.unverified_issuer() == Some(served.tenant.spec.base_url.as_str()))
}

/// The person whom a trusted issuer's token names, if they are known here.
async fn named_by(
    app: &App,
    served: &Served,
    token: &Secret<String>,
    kind: SubjectTokenType,
    now: Timestamp,
) -> Result<Option<Arc<User>>, Failure> {
    let tenant = served.tenant.id;
    let jwt = UnverifiedJwt::parse(token.expose_secret()).map_err(|_| UNKNOWN_USER)?;
    let claims = jwt.unverified_claims().map_err(|_| UNKNOWN_USER)?;
    let issuer = claims.unverified_issuer().ok_or(UNKNOWN_USER)?;
    let key = chancery_store::issuer_key(issuer);
    let issuer = app.directory.issuers.find_by_key(tenant, key).await?;
    let issuer = issuer
        .filter(|issuer| issuer.spec.serves(IssuerPurpose::Users) && issuer.state.is_active())
        .ok_or(UNKNOWN_USER)?;
    let profile = user_token::profile(&issuer, kind);
    let verified = app
        .verify_from(&served.tenant.name, &issuer, &jwt, &profile, now)
        .await
        .map_err(|_| Failure::Stale("the keys of a trusted issuer could not be loaded"))?;
    let claims = verified.map_err(|error| {
        let is_over = matches!(error, VerifyError::Expired) && kind == SubjectTokenType::Jwt;
        if is_over { EXPIRED_HINT } else { UNKNOWN_USER }
    })?;
    let subject = claims.subject().ok_or(UNKNOWN_USER)?;
    let key = user_key(&issuer.name, subject);
    app.directory.users.find_by_key(tenant, key).await
}

async fn propose(
    app: &App,
    served: &Served,
    (client, user): (&AuthenticatedClient, &Arc<User>),
    (target, scope, details): (&Target, Option<&str>, Option<&AuthorizationDetails>),
    now: Timestamp,
) -> Result<Proposal, Failure> {
    let details = details::wanted(target, client.client(), (details, None), scope)?;
    let context = RequestContext {
        tenant: &served.tenant,
        now,
        decision: DecisionId::generate(now, &*app.random),
        delegation: DelegationId::generate(now, &*app.random),
        details: Some(&details),
    };
    let verified = VerifiedUser {
        user: user.clone(),
        guard: Some(guard_of(user)),
    };
    let ends = (client.agent().name.clone(), Some(user.name.clone()));
    let directory = target::directory_for(app, served.tenant.id, client, ends, (target, scope)).await?;
    let lineage: Lineage = std::iter::once(link(Noun::User, &**user)).collect();
    let carried = Carried {
        subject: Awaited::Person(&verified),
        grant_type: GrantType::Ciba,
        lineage: &lineage,
        guards: &[],
        has_agreed: true,
        lifetime: lifetime(target),
    };
    Ok(approved(context, client, carried, target, scope, &directory)?)
}

/// What the person is asked for. What would be refused whatever they say is refused at once.
fn judged(
    served: &Served,
    proposal: Proposal,
) -> Result<NeedsApproval<chancery_core::proposal::TokenPlan>, Failure> {
    match decide(&served.policy.set, proposal) {
        // What policy permits still needs the person: the permit is dropped, and nothing is signed for it.
        Verdict::Permit(permit) => Ok(NeedsApproval {
            decision: permit.decision().clone(),
            plan: permit.plan().clone(),
            given: permit.given().clone(),
            requirement: Requirement {
                count: 1,
                methods: BTreeSet::new(),
            },
        }),
        Verdict::NeedsApproval(needed) if needed.requirement.count == 1 => Ok(*needed),
        Verdict::NeedsApproval(_) => Err(MORE_PEOPLE.into()),
        Verdict::Deny(decision) => Err(refusal(&decision).into()),
    }
}

fn refusal(decision: &Decision) -> OAuthError {
    if decision.reason == Some(DenyReason::ScopeRefused) {
        return SCOPE;
    }
    NOTHING
}

const UNKNOWN_USER: OAuthError = OAuthError::new(
    ErrorCode::UnknownUserId,
    "the hint names nobody who can be asked here",
);
const EXPIRED_HINT: OAuthError =
    OAuthError::new(ErrorCode::ExpiredLoginHintToken, "the login_hint_token is over");
const TOO_LONG: OAuthError =
    OAuthError::invalid_request("what is asked for is too much to be shown to a person");
const TOO_MUCH: OAuthError = OAuthError::new(
    ErrorCode::TemporarilyUnavailable,
    "the person is asked about too many things at once; try again later",
);
const MORE_PEOPLE: OAuthError = OAuthError::new(
    ErrorCode::AccessDenied,
    "policy wants the yes of more people than the one who is asked",
);
const SCOPE: OAuthError = OAuthError::new(ErrorCode::InvalidScope, "a requested scope may not be given");
const NOTHING: OAuthError = OAuthError::new(
    ErrorCode::AccessDenied,
    "nothing may be given for this person; a grant, a scope or a policy is missing",
);
