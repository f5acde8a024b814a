//! The token endpoint's use case: parse → load facts → check → decide → record → sign → reply.

use crate::app::App;
use crate::error::Failure;
use crate::govern::keys;
use crate::issue::{authenticate, subject, target};
use crate::record;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::decision::{Decision, DenyReason};
use chancery_core::event::{Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::{DecisionId, DelegationId, EventId, Id as _, TenantId, TokenId, UserId};
use chancery_core::lineage::Guard;
use chancery_core::noun::{Lifecycle, Noun, Record};
use chancery_core::proposal::{Proposal, Subject, TokenPlan};
use chancery_core::time::Timestamp;
use chancery_oauth::authentication::{AuthenticatedClient, SingleUse};
use chancery_oauth::claims::scope_text;
use chancery_oauth::error::{ErrorCode, OAuthError};
use chancery_oauth::grant::{RequestContext, client_credentials, token_exchange};
use chancery_oauth::request::token::{GrantRequest, TokenRequest};
use chancery_oauth::urn;
use chancery_policy::{Permit, Verdict, decide};
use chancery_store::change::Changed;
use chancery_store::consumed::{self, ConsumedKind};
use chancery_store::db::Batch;
use chancery_store::{DelegationSpec, Outcome, Statement, change, guard};
use serde::Serialize;

/// A successful answer (RFC 6749 §5.1, RFC 8693 §2.2.1).
#[derive(Debug, Serialize)]
pub struct TokenResponse {
    /// The token.
    pub access_token: String,
    /// `Bearer`.
    pub token_type: &'static str,
    /// Seconds until it ends.
    pub expires_in: u64,
    /// What was given.
    pub scope: String,
    /// What kind of token it is, for an exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<&'static str>,
}

/// Answers a token request.
///
/// # Errors
/// The OAuth error, or why this node cannot answer.
pub async fn token(app: &App, served: &Served, request: &TokenRequest) -> Result<TokenResponse, Failure> {
    let now = app.serving_now()?;
    let tenant = served.tenant.id;

    match attempt(app, served, request, now).await? {
        Attempt::Answered(response) => return Ok(response),
        // A guard that fails means that a fact changed under us: load it again and decide once more.
        Attempt::Stale(guards) => {
            for guard in guards {
                app.directory.forget(tenant, guard.noun, guard.id);
            }
            app.tenants.reload_one(&app.db, tenant).await?;
        }
    }
    let served = app
        .tenants
        .find(tenant)
        .ok_or(Failure::Stale("the tenant is gone"))?;
    match attempt(app, &served, request, now).await? {
        Attempt::Answered(response) => Ok(response),
        Attempt::Stale(_) => Err(Failure::Stale("what the decision relied on keeps changing")),
    }
}

enum Attempt {
    Answered(TokenResponse),
    Stale(Vec<Guard>),
}

async fn attempt(
    app: &App,
    served: &Served,
    request: &TokenRequest,
    now: Timestamp,
) -> Result<Attempt, Failure> {
    // 1. Who asks.
    let client = &authenticate::client(app, served, &request.client, now).await?;

    // 2. What is asked, and everything it depends on.
    let (proposal, user_writes) = propose(app, served, request, client, now).await?;

    // 3. Decide.
    let permit = match decide(&served.policy.set, proposal) {
        Verdict::Permit(permit) => permit,
        Verdict::Deny(decision) => return Err(refuse(app, served, client, *decision, now).await?.into()),
    };

    if !served.keys.has_active(permit.plan().algorithm) {
        // The first token of an algorithm: make its key, then decide afresh.
        keys::ensure(app, served, permit.plan().algorithm, now).await?;
        return Ok(Attempt::Stale(Vec::new()));
    }

    // 4. Record: nothing leaves before this is durable.
    let changed = if user_writes.is_empty() {
        Vec::new()
    } else {
        changes(permit.plan())
    };
    let batch = batch(app, served, client, &permit, user_writes, now)?;
    match app.commit(batch, &changed).await? {
        Outcome::Committed => {}
        Outcome::Refused {
            label: consumed::REPLAYED,
            ..
        } => {
            return Err(authenticate::replayed(app, served, client, now).await?.into());
        }
        Outcome::Refused { label: BUDGET, .. } => {
            return Err(
                OAuthError::new(ErrorCode::AccessDenied, "the budget of the grant is used up").into(),
            );
        }
        Outcome::Refused { .. } => return Ok(Attempt::Stale(relied_on(permit.plan()))),
    }

    // 5. Act: sign what was permitted, and reply.
    let access_token = served.keys.sign(&permit)?;
    let is_exchange = matches!(request.grant, GrantRequest::TokenExchange { .. });
    Ok(Attempt::Answered(TokenResponse {
        access_token,
        token_type: "Bearer",
        expires_in: permit.plan().lifetime().as_seconds(),
        scope: scope_text(permit.plan(), permit.given()),
        issued_token_type: is_exchange.then_some(urn::TOKEN_TYPE_ACCESS_TOKEN),
    }))
}

async fn propose(
    app: &App,
    served: &Served,
    request: &TokenRequest,
    client: &AuthenticatedClient,
    now: Timestamp,
) -> Result<(Proposal, Vec<Statement>), Failure> {
    let context = RequestContext {
        tenant: &served.tenant,
        now,
        decision: DecisionId::generate(now, &*app.random),
        delegation: DelegationId::generate(now, &*app.random),
    };
    let tenant = served.tenant.id;
    let target = target::find(app, tenant, &request.target).await?;
    let scope = request.scope.as_deref();
    match &request.grant {
        GrantRequest::ClientCredentials => {
            let directory = target::directory_for_agent(app, tenant, client, &target, scope).await?;
            let proposal =
                client_credentials::client_credentials(context, client, &target, scope, &directory)?;
            Ok((proposal, Vec::new()))
        }
        GrantRequest::TokenExchange {
            subject_token,
            subject_token_type,
        } => {
            let found = subject::find(app, served, subject_token, *subject_token_type, now).await?;
            let directory =
                target::directory_for_subject(app, tenant, client, &found.subject, &target, scope).await?;
            let proposal =
                token_exchange::token_exchange(context, client, &found.subject, &target, scope, &directory)?;
            Ok((proposal, found.writes))
        }
    }
}

/// Everything that an issued token changes, in one batch: guards, single use, the person's facts, budgets,
/// the hop, and the record.
fn batch(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    permit: &Permit,
    user_writes: Vec<Statement>,
    now: Timestamp,
) -> Result<Batch, Failure> {
    let tenant = served.tenant.id;
    let plan = permit.plan();
    let mut guards = plan.guards.clone();
    guards.push(served.policy.guard);
    let mut batch = app.batch(now);
    for statement in guard::statements(tenant, &guards) {
        batch = batch.guard(statement);
    }
    batch = batch.extend(client.single_use().map(|single_use| consume(tenant, single_use)));
    batch = batch.extend(user_writes);
    for (grant, budget) in &plan.spends {
        batch = batch.push(chancery_store::spend_budget(tenant, *grant, *budget));
    }
    if let Some(record) = hop(permit, now)? {
        batch = batch.push(chancery_store::record::insert(tenant, &record));
        batch = batch.push(change::insert(
            tenant,
            Noun::Delegation,
            *record.id.as_bytes(),
            0,
            now,
        ));
    }
    let event = event(client, plan, permit.decision(), EventOutcome::Ok, now)?;
    Ok(batch.push(record::statement(served.keys.seal(), &event, &*app.random)?))
}

/// What this node must forget once the batch is committed.
fn changes(plan: &TokenPlan) -> Vec<(TenantId, Changed)> {
    let user = user(plan).map(|user| Changed::Noun {
        noun: Noun::User,
        id: *user.as_bytes(),
        generation: 0,
    });
    user.into_iter().map(|changed| (plan.tenant, changed)).collect()
}

/// Every row to read again when a commit was refused.
fn relied_on(plan: &TokenPlan) -> Vec<Guard> {
    let mut guards = plan.guards.clone();
    if let Subject::User(user) = plan.subject {
        guards.push(Guard {
            noun: Noun::User,
            id: *user.as_bytes(),
            version: 0,
        });
    }
    guards
}

/// Spends an assertion in the batch that acts on it.
pub(super) fn consume(tenant: chancery_core::id::TenantId, single_use: &SingleUse) -> Statement {
    let named = format!("{} {}", single_use.client, single_use.jwt_id);
    let digest = crate::setup::sha256(named.as_bytes());
    consumed::consume(
        tenant,
        ConsumedKind::ClientAssertion,
        &digest,
        single_use.expires_at,
    )
}

fn hop(permit: &Permit, now: Timestamp) -> Result<Option<chancery_store::Delegation>, Failure> {
    let (Some(hop), Some(from)) = (&permit.plan().delegation, &permit.facts().delegated_by) else {
        return Ok(None);
    };
    let digits = hop.id.to_string();
    let digits = digits.strip_prefix(DelegationId::PREFIX).unwrap_or(&digits);
    let name = format!("hop-{digits}").parse().map_err(Failure::internal)?;
    Ok(Some(Record {
        id: hop.id,
        name,
        state: Lifecycle::Active,
        generation: 0,
        version: 1,
        created_at: now,
        updated_at: now,
        spec: DelegationSpec {
            from: from.clone(),
            to: permit.facts().agent.name.clone(),
            parent: hop.parent.to_string(),
            expires_at: permit.plan().expires_at,
        },
    }))
}

/// Records a refusal and gives the error to answer with.
async fn refuse(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    decision: Decision,
    now: Timestamp,
) -> Result<OAuthError, Failure> {
    let event = Event {
        id: EventId::from(decision.id),
        tenant: served.tenant.id,
        time: now,
        kind: EventKind::TokenIssued,
        outcome: EventOutcome::Denied,
        actor: Actor::Agent {
            agent: client.agent().id,
            client: client.client().id,
            user: None,
        },
        ids: Vec::new(),
        decision: Some(decision.id),
        parts: vec![decision_part(&decision)?],
    };
    let single_use = client
        .single_use()
        .map(|single_use| consume(served.tenant.id, single_use));
    let batch =
        app.batch(now)
            .extend(single_use)
            .push(record::statement(served.keys.seal(), &event, &*app.random)?);
    let _ = app.commit(batch, &[]).await?;
    Ok(OAuthError {
        decision: Some(decision.id),
        ..refusal(&decision, &served.tenant.spec.base_url)
    })
}

fn refusal(decision: &Decision, base: &str) -> OAuthError {
    match decision.reason {
        Some(DenyReason::ConsentRequired) => OAuthError {
            consent_uri: Some(format!("{base}/consent?decision={}", decision.id)),
            ..OAuthError::new(
                ErrorCode::ConsentRequired,
                "no grant covers this; the person must consent",
            )
        },
        Some(DenyReason::ScopeRefused) => OAuthError::new(
            ErrorCode::InvalidScope,
            "a requested scope may not be given; `chancery why DECISION` tells why",
        ),
        Some(DenyReason::DelegationRefused) => OAuthError::new(
            ErrorCode::AccessDenied,
            "this delegation is not permitted; `chancery why DECISION` tells why",
        ),
        Some(DenyReason::NothingLeft | DenyReason::AgentTokenRefused) | None => OAuthError::new(
            ErrorCode::AccessDenied,
            "nothing may be given; `chancery why DECISION` tells why",
        ),
    }
}

fn event(
    client: &AuthenticatedClient,
    plan: &TokenPlan,
    decision: &Decision,
    outcome: EventOutcome,
    now: Timestamp,
) -> Result<Event, Failure> {
    let mut ids = vec![("token", TokenId::from(decision.id).to_string())];
    if let chancery_core::proposal::Audience::Resource { id, .. } = &plan.audience {
        ids.push(("resource", id.to_string()));
    }
    ids.extend(
        plan.lineage
            .first::<chancery_core::id::GrantId>(Noun::Grant)
            .map(|grant| ("grant", grant.to_string())),
    );
    ids.extend(
        plan.chain
            .iter()
            .skip(1)
            .map(|link| ("chain", link.id.to_string())),
    );
    ids.extend(
        plan.delegation
            .as_ref()
            .map(|hop| ("delegation", hop.id.to_string())),
    );
    Ok(Event {
        id: EventId::from(decision.id),
        tenant: plan.tenant,
        time: now,
        kind: EventKind::TokenIssued,
        outcome,
        actor: Actor::Agent {
            agent: client.agent().id,
            client: client.client().id,
            user: user(plan),
        },
        ids,
        decision: Some(decision.id),
        parts: vec![decision_part(decision)?],
    })
}

fn user(plan: &TokenPlan) -> Option<UserId> {
    match plan.subject {
        Subject::User(user) => Some(user),
        Subject::Agent(_) => None,
    }
}

fn decision_part(decision: &Decision) -> Result<Part, Failure> {
    let content = serde_json::to_string(decision).map_err(Failure::internal)?;
    Ok(Part {
        name: "decision",
        class: PartClass::Decision,
        content,
    })
}

const BUDGET: &str = "budget";
