//! Using a yes for a token: everything is loaded afresh, the same question is put again with the people who said yes
//! as they are now, and the yes is used in the batch of the decision that it turns (design, section 5; OpenID Connect
//! CIBA §10.1, §11).

use crate::app::App;
use crate::approve::answer::as_principal;
use crate::approve::{draft, sealed};
use crate::directory::lineage;
use crate::error::Failure;
use crate::issue::agreement::Redeemed;
use crate::issue::token::guard_of;
use crate::issue::{details, own, subject, target};
use crate::record;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::approval::{
    ApprovalFacts, ApprovalKind, ApprovalMethod, ApprovalRecord, ApprovalState, Basis, ParentToken,
};
use chancery_core::event::{Event, EventKind, EventOutcome};
use chancery_core::id::{DecisionId, EventId, Id as _};
use chancery_core::lineage::Guard;
use chancery_core::proposal::{GrantType, Proposal, Subject};
use chancery_core::time::{Timestamp, Ttl};
use chancery_oauth::authentication::AuthenticatedClient;
use chancery_oauth::claims::OwnToken;
use chancery_oauth::error::{ErrorCode, OAuthError};
use chancery_oauth::grant::approved::{Awaited, Carried, approved};
use chancery_oauth::grant::token_exchange::OwnSubject;
use chancery_oauth::grant::{RequestContext, Target, VerifiedUser};
use chancery_oauth::request::token::TargetRequest;
use chancery_policy::{ApprovalAnswer, approve as policy};
use chancery_store::Statement;
use chancery_store::approval::{self, AnswerRow, ApprovalRow};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The use of a yes: what is committed with the decision that it turns.
#[derive(Debug)]
pub struct Redemption {
    /// The request.
    row: ApprovalRow,
    gives_identity: bool,
}

impl Redemption {
    pub(super) const fn new(row: ApprovalRow) -> Self {
        Self {
            row,
            gives_identity: false,
        }
    }

    /// Whether an ID token goes along: a person answered a backchannel request, which asks for one by its nature (CIBA
    /// §7.1, §10.1.1).
    pub const fn gives_identity(&self) -> bool {
        self.gives_identity
    }

    /// Uses the yes, once, and records that it was used. Fails with [`approval::SPENT`].
    ///
    /// # Errors
    /// The event does not fit a leaf.
    pub fn statements(
        &self,
        app: &App,
        served: &Served,
        (actor, decision): (Actor, DecisionId),
        now: Timestamp,
    ) -> Result<[Statement; 2], Failure> {
        let event = Event {
            id: EventId::generate(now, &*app.random),
            tenant: served.tenant.id,
            time: now,
            kind: EventKind::ApprovalUsed,
            outcome: EventOutcome::Ok,
            actor,
            ids: vec![("approval", self.row.id.to_string())],
            decision: Some(decision),
            parts: Vec::new(),
        };
        Ok([
            approval::spend(served.tenant.id, self.row.id, &self.row.hash, now),
            record::statement(served.keys.seal(), &event, &*app.random)?,
        ])
    }
}

/// Proposes the token that was asked for, if people said yes.
///
/// # Errors
/// The errors of CIBA §11, `invalid_grant` for a handle that is not this client's.
pub async fn token(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    handle: &str,
    context: RequestContext<'_>,
) -> Result<(Proposal, Redemption, Option<Redeemed>), Failure> {
    let now = context.now;
    let row = approval::find_by_digest(&app.db, served.tenant.id, &sealed::digest(handle)).await?;
    // SECURITY: another client's handle is as unknown as one that never was.
    let row = row
        .filter(|row| row.client == client.client().id)
        .ok_or(UNKNOWN)?;
    answered(app, served, &row, now).await?;
    let record = sealed::open(app, served, &row, now).await?.ok_or(UNKNOWN)?;

    let tenant = served.tenant.id;
    let guards = lineage::check(app, tenant, &record.lineage)
        .await?
        .ok_or(REVOKED)?;
    let asked = &record.subject;
    let wanted = match (&asked.resource, &asked.hand_over_to) {
        (Some(resource), _) => TargetRequest::Audience(resource.id.to_string()),
        (None, Some(agent)) => TargetRequest::Audience(format!("agent:{agent}")),
        (None, None) => TargetRequest::Chancery,
    };
    let target = target::find(app, tenant, &wanted).await?;
    let (yes, approvers) = yes(app, served, (&row, &record), now).await?;
    let mut proposal = propose(app, served, client, (&record, &guards, &target), context).await?;
    proposal.facts.approval = yes;
    proposal.plan.guards.extend(approvers);
    proposal.plan.guards = unique(proposal.plan.guards);
    // SECURITY: what comes out is what was approved, and not something else that the same client may ask for.
    if !draft::is_of(&proposal, asked) {
        return Err(REVOKED.into());
    }
    let redeemed = agreed(app, served, client, &record).await?;
    let gives_identity = asked.kind == ApprovalKind::Access;
    let redemption = Redemption { row, gives_identity };
    Ok((proposal, redemption, redeemed))
}

/// What goes along with a token on what a person agreed to.
async fn agreed(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    record: &ApprovalRecord,
) -> Result<Option<Redeemed>, Failure> {
    let basis = match &record.basis {
        Basis::Agreement(basis) => basis,
        Basis::Itself | Basis::Person | Basis::Token(_) | Basis::Call => return Ok(None),
    };
    let families = &app.directory.families;
    let family = families.find(served.tenant.id, basis.family).await?;
    let family = family.ok_or(REVOKED)?;
    Ok(Some(Redeemed::awaited(served, client, family, basis)))
}

/// Whether there is a yes to use.
async fn answered(app: &App, served: &Served, row: &ApprovalRow, now: Timestamp) -> Result<(), Failure> {
    match row.state {
        ApprovalState::Approved if row.deadline > now => Ok(()),
        ApprovalState::Approved | ApprovalState::Expired => Err(EXPIRED.into()),
        ApprovalState::Denied => Err(DENIED.into()),
        ApprovalState::Used => Err(UNKNOWN.into()),
        ApprovalState::Pending if row.deadline <= now => Err(EXPIRED.into()),
        ApprovalState::Pending => {
            let is_early = row
                .polled_at
                .is_some_and(|polled| now.since(polled) < row.poll_interval);
            let interval = if is_early {
                Ttl::from_seconds(row.poll_interval.as_seconds() + SLOWER)
            } else {
                row.poll_interval
            };
            let batch = app
                .batch(now)
                .push(approval::note_poll(served.tenant.id, row.id, now, interval));
            let _ = app.commit(batch, &[]).await?;
            Err(if is_early {
                SLOW_DOWN.into()
            } else {
                PENDING.into()
            })
        }
    }
}

/// The people whose yes counts now, as policy sees them, and their rows. Whoever left, lost what let them approve, or
/// was stopped and started again since they said it, does not count.
pub(super) async fn yes(
    app: &App,
    served: &Served,
    (row, record): (&ApprovalRow, &ApprovalRecord),
    now: Timestamp,
) -> Result<(Option<ApprovalFacts>, Vec<Guard>), Failure> {
    let tenant = served.tenant.id;
    let asked = &record.subject;
    let mut guards = Vec::new();
    let mut facts: Option<ApprovalFacts> = None;
    for answer in approval::answers(&app.db, tenant, row.id).await? {
        let user = app.directory.users.find(tenant, answer.person).await?;
        let is_same = |user: &chancery_core::user::User| {
            user.state.is_active() && user.generation == answer.generation && answer.is_yes
        };
        let Some(user) = user.filter(|user| is_same(user)) else {
            continue;
        };
        let method = method_of(&answer);
        let who = (&as_principal(&user), method);
        if policy::decide(&served.policy.set, record, who, ApprovalAnswer::Approve, now).is_err() {
            continue;
        }
        guards.push(guard_of(&user));
        // The person's own yes gives access; as a second pair of eyes on their own agent it counts for nothing.
        if asked.kind == ApprovalKind::Access && asked.owner.as_ref() == Some(&user.name) {
            continue;
        }
        count(facts.get_or_insert_with(|| nobody(record)), &answer, &user.name);
    }
    if asked.kind == ApprovalKind::Access && guards.is_empty() {
        return Err(REVOKED.into());
    }
    Ok((facts, guards))
}

fn nobody(record: &ApprovalRecord) -> ApprovalFacts {
    ApprovalFacts {
        id: Some(record.id),
        approvers: BTreeSet::new(),
        count: 0,
        methods: ApprovalMethod::ALL.into_iter().collect(),
        given_at: record.requested_at,
    }
}

fn count(facts: &mut ApprovalFacts, answer: &AnswerRow, name: &chancery_core::name::Name) {
    facts.approvers.insert(name.clone());
    facts.count = u32::try_from(facts.approvers.len()).unwrap_or(u32::MAX);
    facts.methods.retain(|method| answer.methods.contains(method));
    facts.given_at = facts.given_at.max(answer.time);
}

fn method_of(answer: &AnswerRow) -> ApprovalMethod {
    if answer.methods.contains(&ApprovalMethod::Interface) {
        ApprovalMethod::Interface
    } else {
        ApprovalMethod::Page
    }
}

async fn propose(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    (record, guards, target): (&ApprovalRecord, &[Guard], &Target),
    context: RequestContext<'_>,
) -> Result<Proposal, Failure> {
    let tenant = served.tenant.id;
    let asked = &record.subject;
    let scope = scope_text(record);
    let scope = scope.as_deref();
    let user = match &asked.user {
        None => None,
        Some(user) => Some(
            app.directory
                .users
                .find(tenant, user.id)
                .await?
                .filter(|user| user.state.is_active())
                .ok_or(REVOKED)?,
        ),
    };
    let verified = user.map(|user| VerifiedUser {
        guard: Some(guard_of(&user)),
        user,
    });
    let own = match &record.basis {
        Basis::Token(parent) => Some(parent_token(app, served, parent, context.now).await?),
        Basis::Itself | Basis::Person | Basis::Agreement(_) | Basis::Call => None,
    };
    // INVARIANT: nothing lives longer than what the person agreed to.
    let lifetime = match &record.basis {
        Basis::Agreement(basis) if basis.expires_at <= context.now => return Err(REVOKED.into()),
        Basis::Agreement(basis) => asked.lifetime.min(basis.expires_at.since(context.now)),
        Basis::Itself | Basis::Person | Basis::Token(_) | Basis::Call => asked.lifetime,
    };
    let subject = match (&own, &verified) {
        (Some(own), _) => Awaited::Token(own),
        (None, Some(user)) => Awaited::Person(user),
        (None, None) => Awaited::Itself,
    };
    let root = own.as_ref().and_then(|own| own.agents.last());
    let root = root.map_or_else(|| client.agent().name.clone(), |agent| agent.name.clone());
    let person = verified.as_ref().map(|user| user.user.name.clone());
    let directory = target::directory_for(app, tenant, client, (root, person), (target, scope)).await?;
    let details = details::checked(target, asked.authorization_details.clone())?;
    let context = RequestContext {
        details: Some(&details),
        ..context
    };
    let carried = Carried {
        subject,
        grant_type: asked.grant_type.unwrap_or(GrantType::Ciba),
        lineage: &record.lineage,
        guards,
        has_agreed: asked.kind == ApprovalKind::Access || matches!(record.basis, Basis::Agreement(_)),
        lifetime,
    };
    Ok(approved(context, client, carried, target, scope, &directory)?)
}

/// Exactly the scopes that were approved, asked for by name: all of them, or nothing.
fn scope_text(record: &ApprovalRecord) -> Option<String> {
    let asked = &record.subject;
    let text = match &asked.resource {
        Some(resource) => asked.scopes.scopes_at(&resource.name).to_string(),
        None => asked.scopes.to_string(),
    };
    (!text.is_empty()).then_some(text)
}

/// The token of ours that the request came with, if it is still good: not revoked, not over, its lineage current.
async fn parent_token(
    app: &App,
    served: &Served,
    parent: &ParentToken,
    now: Timestamp,
) -> Result<OwnSubject, Failure> {
    let subject = match (parent.user, parent.agent) {
        (Some(user), _) => Subject::User(user),
        (None, Some(agent)) => Subject::Agent(agent),
        (None, None) => return Err(REVOKED.into()),
    };
    let token = OwnToken {
        id: parent.id,
        subject,
        audience: parent.audience.clone(),
        scope: parent.scope.clone(),
        authorization_details: parent.authorization_details.clone(),
        client: parent.client,
        actors: parent.actors.clone(),
        may_act: parent.may_act,
        lineage: parent.lineage.clone(),
        assurance: parent.assurance,
        issued_at: parent.issued_at,
        expires_at: parent.expires_at,
    };
    let in_force = own::still_in_force(app, served, Arc::new(token), now).await?;
    let in_force = in_force.ok_or(REVOKED)?;
    subject::of_own(app, served, in_force).await
}

/// What must be kept of a token of ours to exchange it later.
pub fn parent_of(token: &OwnToken) -> ParentToken {
    let (user, agent) = match token.subject {
        Subject::User(user) => (Some(user), None),
        Subject::Agent(agent) => (None, Some(agent)),
    };
    ParentToken {
        id: token.id,
        user,
        agent,
        audience: token.audience.clone(),
        scope: token.scope.clone(),
        authorization_details: token.authorization_details.clone(),
        client: token.client,
        actors: token.actors.clone(),
        may_act: token.may_act,
        lineage: token.lineage.clone(),
        assurance: token.assurance,
        issued_at: token.issued_at,
        expires_at: token.expires_at,
    }
}

fn unique(guards: Vec<Guard>) -> Vec<Guard> {
    let mut kept: Vec<Guard> = Vec::with_capacity(guards.len());
    for guard in guards {
        if !kept.contains(&guard) {
            kept.push(guard);
        }
    }
    kept
}

/// A handle that this client cannot use.
pub(crate) const UNKNOWN: OAuthError = OAuthError::new(
    ErrorCode::InvalidGrant,
    "this auth_req_id is not known, not this client's, or used",
);
const REVOKED: OAuthError = OAuthError::new(
    ErrorCode::AccessDenied,
    "what the request stood on was revoked or changed meanwhile",
);
const DENIED: OAuthError = OAuthError::new(ErrorCode::AccessDenied, "a person said no");
const EXPIRED: OAuthError = OAuthError::new(ErrorCode::ExpiredToken, "the auth_req_id is over; ask again");
const PENDING: OAuthError = OAuthError::new(
    ErrorCode::AuthorizationPending,
    "nobody has answered yet; ask again later",
);
const SLOW_DOWN: OAuthError = OAuthError::new(
    ErrorCode::SlowDown,
    "nobody has answered yet; wait five seconds more between two requests from now on",
);
/// By how many seconds whoever polls too soon must slow down (CIBA §11).
const SLOWER: u64 = 5;
