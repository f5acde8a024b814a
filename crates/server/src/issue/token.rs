//! The token endpoint's use case: parse → load facts → check → decide → record → sign → reply.

use crate::app::App;
use crate::approve::redeem::{self, Redemption};
use crate::error::Failure;
use crate::govern::keys;
use crate::issue::agreement::{self, Redeemed};
use crate::issue::arrival::{Arrival, Source};
use crate::issue::asking::ask;
use crate::issue::id_token::IdTokenFor;
use crate::issue::proposed::{Proposed, propose};
use crate::issue::refusal::{decision_part, refuse, seen, spend};
use crate::issue::subject::Learned;
use crate::issue::{assertion, authenticate, id_token, subject};
use crate::keys::KeyUse;
use crate::record;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::authorization_details::AuthorizationDetails;
use chancery_core::decision::{Decision, DenyReason};
use chancery_core::event::{Event, EventKind, EventOutcome};
use chancery_core::id::{DecisionId, DelegationId, EventId, Id as _, TenantId, TokenId, UserId};
use chancery_core::lineage::Guard;
use chancery_core::noun::{Lifecycle, Noun, Record};
use chancery_core::proposal::{Subject, TokenPlan};
use chancery_core::resource::TokenAlgorithm;
use chancery_core::time::Timestamp;
use chancery_core::user::User;
use chancery_oauth::authentication::{AuthenticatedClient, SingleUse};
use chancery_oauth::claims::scope_text;
use chancery_oauth::error::OAuthError;
use chancery_oauth::request::token::{GrantRequest, TokenRequest};
use chancery_oauth::urn;
use chancery_policy::{Permit, Verdict, decide};
use chancery_store::approval;
use chancery_store::authorization;
use chancery_store::change::Changed;
use chancery_store::consumed::{self, ConsumedKind};
use chancery_store::db::Batch;
use chancery_store::{DelegationSpec, Outcome, Statement, change, guard};
use serde::Serialize;
use std::fmt;

/// A successful answer (RFC 6749 §5.1, RFC 8693 §2.2.1).
#[derive(Serialize)]
pub struct TokenResponse {
    /// The token.
    pub access_token: String,
    /// `Bearer`.
    pub token_type: &'static str,
    /// Seconds until it ends.
    pub expires_in: u64,
    /// What was given.
    pub scope: String,
    /// The authorization details that were given (RFC 9396 §7).
    #[serde(skip_serializing_if = "AuthorizationDetails::is_empty")]
    pub authorization_details: AuthorizationDetails,
    /// What kind of token it is, for an exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<&'static str>,
    /// What to ask for the next one with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// Who signed in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
}

impl fmt::Debug for TokenResponse {
    /// SECURITY: the token is a credential; it goes to the caller and nowhere else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("scope", &self.scope)
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// Answers a token request.
///
/// # Errors
/// The OAuth error, or why this node cannot answer.
pub async fn token(
    app: &App,
    served: &Served,
    request: &TokenRequest,
    source: Source,
) -> Result<TokenResponse, Failure> {
    let now = app.serving_now()?;
    let arrival = Arrival { now, source };
    let tenant = served.tenant.id;

    match attempt(app, served, request, arrival).await? {
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
    match attempt(app, &served, request, arrival).await? {
        Attempt::Answered(response) => Ok(response),
        Attempt::Stale(_) => Err(Failure::Stale("what the decision relied on keeps changing")),
    }
}

/// How one try ended.
pub(super) enum Attempt {
    /// A token.
    Answered(TokenResponse),
    /// Facts changed meanwhile: these rows are to be read again.
    Stale(Vec<Guard>),
}

async fn attempt(
    app: &App,
    served: &Served,
    request: &TokenRequest,
    arrival: Arrival,
) -> Result<Attempt, Failure> {
    let (now, tenant) = (arrival.now, served.tenant.id);

    // 1. Who asks.
    let client = &authenticate::client(app, served, &request.client, arrival).await?;
    app.limits
        .token((tenant, client.agent().id, client.client().id), now)?;

    // 2. What is asked, and everything it depends on.
    let Proposed {
        proposal,
        learned,
        asking,
        redemption,
        redeemed,
        spends,
    } = match propose(app, served, request, client, now).await {
        Ok(proposed) => proposed,
        Err(failure) => return Err(spend(app, served, client, failure, arrival).await?),
    };
    let (learned, redemption, redeemed) = (learned.as_ref(), redemption.as_ref(), redeemed.as_ref());

    // 3. Decide.
    tracing::Span::current().record("decision", tracing::field::display(proposal.decision));
    let permit = match decide(&served.policy.set, proposal) {
        Verdict::Permit(permit) => permit,
        Verdict::Deny(decision) => {
            return refuse(app, served, client, (*decision, Vec::new()), learned, arrival).await;
        }
        Verdict::NeedsApproval(needed) => {
            return ask(app, served, client, (*needed, asking), learned, arrival).await;
        }
    };

    if let Some(missing) = missing_keys(served, &permit, (redemption, redeemed)) {
        // The first tokens of their kind: make their keys, then decide afresh.
        keys::ensure(app, served, &missing, now).await?;
        return Ok(Attempt::Stale(Vec::new()));
    }

    // 4. Record, and sign while the disk works: nothing leaves before this is durable.
    let yes = redemption.map(|yes| yes.statements(app, served, by(client, &permit), now));
    let batch = batch(app, served, client, &permit, learned, now)?.extend(spends);
    let batch = batch.extend(yes.transpose()?.into_iter().flatten());
    let (batch, changed) = agreement::with(redeemed, batch, changes(tenant, learned));
    let identity = identity(redemption, request, client);
    let signing = async { sign(served, request, &permit, (redeemed, identity), now) };
    let (recorded, response) = tokio::join!(app.commit(batch, &changed), signing);
    match recorded? {
        Outcome::Committed => {}
        // Somebody redeemed the code a moment ago: what was issued then has ended in this very batch.
        Outcome::Refused {
            label: authorization::REDEEMED,
            ..
        } => return Err(agreement::replayed(app, served, redeemed).into()),
        Outcome::Refused {
            label: consumed::REPLAYED,
            ..
        } => return Err(authenticate::replayed(app, served, client, arrival).await?.into()),
        Outcome::Refused { label: BUDGET, .. } => {
            return refuse(app, served, client, used_up(*permit), learned, arrival).await;
        }
        Outcome::Refused {
            label: label @ (consumed::GRANT_REPLAYED | approval::SPENT),
            ..
        } => return Err(spend(app, served, client, used_before(label).into(), arrival).await?),
        Outcome::Refused { .. } => return Ok(Attempt::Stale(relied_on(permit.plan(), learned))),
    }

    seen(permit.decision());
    response.map(Attempt::Answered)
}

/// Signs what was permitted.
fn sign(
    served: &Served,
    request: &TokenRequest,
    permit: &Permit,
    (redeemed, identity): (Option<&Redeemed>, Option<String>),
    now: Timestamp,
) -> Result<TokenResponse, Failure> {
    let access_token = served.keys.sign(permit)?;
    let is_exchange = matches!(request.grant, GrantRequest::TokenExchange { .. });
    let mut scope = scope_text(permit.plan(), permit.given());
    let mut wanted = redeemed.and_then(IdTokenFor::agreed);
    if let Some(client_id) = &identity {
        scope.insert_str(0, if scope.is_empty() { "openid" } else { "openid " });
        wanted = Some(IdTokenFor::answered(client_id));
    }
    let about = (permit.plan().subject, access_token.as_str());
    let id_token = wanted.map(|wanted| id_token::sign(served, &wanted, about, now));
    let id_token = id_token.transpose()?;
    let mut refresh_token = None;
    if let Some(redeemed) = redeemed {
        scope = redeemed.scope_with_identity(scope);
        refresh_token = redeemed.refresh_token.as_ref();
    }
    Ok(TokenResponse {
        access_token,
        token_type: "Bearer",
        expires_in: permit.plan().lifetime().as_seconds(),
        scope,
        authorization_details: permit.plan().authorization_details.clone(),
        issued_token_type: is_exchange.then_some(urn::TOKEN_TYPE_ACCESS_TOKEN),
        refresh_token: refresh_token.map(|token| token.expose_secret().clone()),
        id_token,
    })
}

/// The answer to what somebody used a moment ago.
fn used_before(label: &str) -> OAuthError {
    if label == consumed::GRANT_REPLAYED {
        assertion::INVALID
    } else {
        redeem::UNKNOWN
    }
}

/// What is recorded when the budget of a grant is used up.
fn used_up(permit: Permit) -> (Decision, Vec<(&'static str, String)>) {
    let spent = permit.plan().spends.iter();
    let ids = spent.map(|(grant, _)| ("grant", grant.to_string())).collect();
    (permit.withdraw(DenyReason::BudgetUsedUp), ids)
}

/// Who uses a person's yes, and by which decision.
fn by(client: &AuthenticatedClient, permit: &Permit) -> (Actor, DecisionId) {
    (actor(client, permit.plan()), permit.decision().id)
}

/// The client as it names itself, if a person's yes gives it an ID token.
fn identity(
    redemption: Option<&Redemption>,
    request: &TokenRequest,
    client: &AuthenticatedClient,
) -> Option<String> {
    redemption
        .is_some_and(Redemption::gives_identity)
        .then(|| authenticate::named(&request.client, client))
}

/// What something must be signed with and no key signs with yet, if there is anything.
fn missing_keys(
    served: &Served,
    permit: &Permit,
    (redemption, redeemed): (Option<&Redemption>, Option<&Redeemed>),
) -> Option<Vec<(KeyUse, TokenAlgorithm)>> {
    let has_id_token =
        redemption.is_some_and(Redemption::gives_identity) || redeemed.is_some_and(Redeemed::has_id_token);
    let mut missing = vec![(KeyUse::AccessToken, permit.plan().algorithm)];
    missing.extend(has_id_token.then_some((KeyUse::IdToken, TokenAlgorithm::Rs256)));
    missing.retain(|(signs, algorithm)| !served.keys.has_active(*signs, *algorithm));
    (!missing.is_empty()).then_some(missing)
}

/// Everything that an issued token changes, in one batch: guards, single use, the person's facts, budgets,
/// the hop, and the record.
fn batch(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    permit: &Permit,
    learned: Option<&Learned>,
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
    batch = batch.extend(written(app, served, client, learned, now)?);
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

/// What was learned of a person through this client, with its record.
pub(super) fn written(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    learned: Option<&Learned>,
    now: Timestamp,
) -> Result<Vec<Statement>, Failure> {
    let actor = Actor::Agent {
        agent: client.agent().id,
        client: client.client().id,
        user: learned.map(|learned| learned.user.id),
    };
    subject::written(app, served, &actor, learned, now)
}

/// What this node must forget once the batch is committed.
pub(super) fn changes(tenant: TenantId, learned: Option<&Learned>) -> Vec<(TenantId, Changed)> {
    let changed = |learned: &Learned| Changed::Noun {
        noun: Noun::User,
        id: *learned.user.id.as_bytes(),
        generation: learned.user.generation,
    };
    learned
        .into_iter()
        .map(|learned| (tenant, changed(learned)))
        .collect()
}

/// Every row to read again when a commit was refused.
fn relied_on(plan: &TokenPlan, learned: Option<&Learned>) -> Vec<Guard> {
    let mut guards = plan.guards.clone();
    guards.extend(learned.map(|learned| guard_of(&learned.user)));
    guards
}

/// The row of a person, at the version that was read.
pub(crate) fn guard_of(user: &User) -> Guard {
    chancery_oauth::authentication::guard(Noun::User, user)
}

/// Spends an assertion in the batch that acts on it.
pub(crate) fn consume(tenant: chancery_core::id::TenantId, single_use: &SingleUse) -> Statement {
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
        actor: actor(client, plan),
        ids,
        decision: Some(decision.id),
        parts: vec![decision_part(decision)?],
    })
}

fn actor(client: &AuthenticatedClient, plan: &TokenPlan) -> Actor {
    Actor::Agent {
        agent: client.agent().id,
        client: client.client().id,
        user: user(plan),
    }
}

fn user(plan: &TokenPlan) -> Option<UserId> {
    match plan.subject {
        Subject::User(user) => Some(user),
        Subject::Agent(_) => None,
    }
}

const BUDGET: &str = "budget";
