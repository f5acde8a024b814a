//! Handing a credential out to an agent: the API key or the provider's access token of the one account that a call of
//! this agent for this person would use, where connection and policy say so (design, section 8).
//!
//! What is handed out has left: the decision that says so is recorded before it does, and nobody can call it back. A
//! refresh token is never handed out, nor what proves us at a provider. Nothing here knows how it is asked for: by the
//! vault's own address (`http/vault.rs`), or as a token exchange (`issue/credential.rs`).

use crate::app::App;
use crate::approve::request::Unaskable;
use crate::connect::find::{self, Calling, Found};
use crate::connect::open::{OpenedPart, open};
use crate::connect::refresh::AHEAD;
use crate::connect::{lack, refresh};
use crate::error::Failure;
use crate::gateway::approving::{Awaited, Settled, settle};
use crate::gateway::caller::{self, Holder, Unauthenticated, push};
use crate::gateway::decision::{Decided, attempt};
use crate::gateway::end::End;
use crate::gateway::relay::Fault;
use crate::issue::own;
use crate::limits::{Asking, Limited};
use crate::tenants::Served;
use chancery_core::approval::AskedCall;
use chancery_core::assurance::{AgentAssurance, UserAssurance};
use chancery_core::call::{AccountUse, CallAction, CallFacts, UsePlan, UseProposal};
use chancery_core::connection::{Connection, CredentialFlow, Handling};
use chancery_core::decision::{Decision, DenyReason};
use chancery_core::id::{DecisionId, Id as _, ResourceId, TenantId};
use chancery_core::lineage::Lineage;
use chancery_core::name::Name;
use chancery_core::proposal::{AgentFacts, Facts, Limits, UserFacts};
use chancery_core::scope::Authority;
use chancery_core::time::{Timestamp, Ttl};
use chancery_policy::{NeedsApproval, UsePermit};
use chancery_store::provider_token;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A credential that leaves.
#[derive(Debug)]
pub struct Released {
    /// The connection.
    pub connection: Name,
    /// How it was come by.
    pub flow: CredentialFlow,
    /// Its parts, each with its name and its place in a request.
    pub parts: Vec<OpenedPart>,
    /// How long it is good; for what has no end of its own, after how long it is to be asked for again.
    pub expires_in: Ttl,
    /// What the provider gave the account, where it says so.
    pub scopes: BTreeSet<String>,
    /// The decision.
    pub decision: DecisionId,
}

/// Why a credential is not handed out.
#[derive(Debug)]
pub enum Rejection {
    /// There is no such connection in use.
    NoSuchConnection,
    /// The caller is not known.
    Unauthenticated(Unauthenticated),
    /// The connection's credentials are used here and never handed out. The decision is recorded.
    BrokerOnly(Box<Decision>),
    /// Policy refused; the decision says why.
    Denied(Box<Decision>),
    /// People are asked; the same request made again uses their yes.
    Awaits(Box<Awaited>),
    /// Policy permits it only with a yes, and nobody can be asked for one.
    Unaskable(Box<Decision>, Unaskable),
    /// The caller asks for more than it may.
    Limited(Limited),
    /// There is no account, no token now, a fault of ours, or not knowing enough to answer.
    Failure(Failure),
}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Who asks, and how that was proved.
#[derive(Debug)]
pub struct Asker {
    /// The holder of an agent token.
    pub holder: Holder,
    /// How the agent was proved.
    pub assurance: AgentAssurance,
    /// What is relied on besides the token.
    pub lineage: Lineage,
}

/// Hands a credential out to whoever presents an agent token.
///
/// # Errors
/// Why it is not handed out.
pub async fn by_token(
    app: &Arc<App>,
    served: &Arc<Served>,
    (connection, bearer): (&str, Option<&str>),
) -> Result<Released, Rejection> {
    let now = app.serving_now()?;
    let bearer = bearer.ok_or(Rejection::Unauthenticated(Unauthenticated::Missing))?;
    let holder = holder_of(app, served, bearer, now).await?;
    let holder = holder.ok_or(Rejection::Unauthenticated(Unauthenticated::Invalid))?;
    let asker = Asker {
        assurance: holder.token.assurance,
        lineage: Lineage::default(),
        holder,
    };
    release(app, served, &asker, connection, now).await
}

/// The holder of an agent token in force.
///
/// SECURITY: a token for any resource is worth nothing here: whoever received it, or a chain that it was passed down,
/// does not come to a credential by it.
///
/// # Errors
/// The database's.
pub async fn holder_of(
    app: &App,
    served: &Served,
    token: &str,
    now: Timestamp,
) -> Result<Option<Holder>, Failure> {
    let own = own::in_force(app, served, token, now).await?;
    match own.filter(|own| own.token.audience == served.tenant.spec.base_url) {
        Some(own) => caller::holder(app, served.tenant.id, own).await,
        None => Ok(None),
    }
}

/// Hands the credential of a connection out.
///
/// # Errors
/// Why it is not handed out.
pub async fn release(
    app: &Arc<App>,
    served: &Arc<Served>,
    asker: &Asker,
    name: &str,
    now: Timestamp,
) -> Result<Released, Rejection> {
    // 1. Which connection.
    let tenant = served.tenant.id;
    let name: Name = name.parse().map_err(|_| Rejection::NoSuchConnection)?;
    let connection = app.directory.connections.find_by_name(tenant, &name).await?;
    let connection = connection
        .filter(|connection| connection.state.is_active())
        .ok_or(Rejection::NoSuchConnection)?;
    let _ticket = app
        .limits
        .enter(asking(tenant, asker, &connection), now)
        .map_err(Rejection::Limited)?;

    // 2. Decide and record: from here on it counts as out.
    let permit = Box::pin(permitted(app, served, asker, &connection, now)).await?;

    // 3. Open, and hand out.
    let released = opened(app, served, &permit, now).await;
    if released.is_err() {
        End::without_answer(Fault::Unreleased).record(app, served, &permit);
    }
    Ok(released?)
}

/// What counts the request: under way at its connection, as calls are at their resource.
fn asking<'a>(tenant: TenantId, asker: &Asker, connection: &Connection) -> Asking<'a> {
    Asking {
        tenant,
        agent: asker.holder.agent.id,
        user: asker.holder.user.as_ref().map(|user| user.id),
        resource: ResourceId::from_bytes(*connection.id.as_bytes()),
        tool: Some(""),
    }
}

async fn permitted(
    app: &App,
    served: &Arc<Served>,
    asker: &Asker,
    connection: &Connection,
    now: Timestamp,
) -> Result<Box<UsePermit>, Rejection> {
    let (served, decided) = decide(app, served, asker, &connection.name, now).await?;
    match decided {
        Decided::Permitted(permit) => Ok(permit),
        Decided::Refused(decision) => Err(refused(app, &served, decision).await?),
        Decided::NeedsYes(needed) => Box::pin(with_yes(app, &served, asker, *needed, now)).await,
    }
}

/// Decides and records; once more if a fact changed meanwhile.
async fn decide(
    app: &App,
    served: &Arc<Served>,
    asker: &Asker,
    name: &Name,
    now: Timestamp,
) -> Result<(Arc<Served>, Decided), Rejection> {
    let tenant = served.tenant.id;
    let mut served = served.clone();
    for _ in 0..ATTEMPTS {
        let proposal = propose(app, &served, asker, name, now).await?;
        let proposal = proposal.ok_or(Rejection::NoSuchConnection)?;
        if let Some(decided) = attempt(app, &served, proposal, now).await? {
            return Ok((served, decided));
        }
        for guard in &asker.holder.guards {
            app.directory.forget(tenant, guard.noun, guard.id);
        }
        app.tenants.reload_one(&app.db, tenant).await?;
        let current = app.tenants.find(tenant);
        served = current.ok_or(Failure::Stale("the tenant is gone"))?;
    }
    Err(Failure::Stale("what the decision relied on keeps changing").into())
}

/// What is proposed. `None` if the connection is gone.
async fn propose(
    app: &App,
    served: &Served,
    asker: &Asker,
    name: &Name,
    now: Timestamp,
) -> Result<Option<UseProposal>, Failure> {
    let (tenant, holder) = (served.tenant.id, &asker.holder);
    let calling = Calling {
        agent: &holder.agent,
        user: holder.user.as_deref(),
        now,
    };
    let Some(found) = find::connection(app, tenant, name, calling).await? else {
        return Ok(None);
    };
    let facts = facts(served, asker, &found, now);
    let mut guards = holder.guards.clone();
    for guard in found.guards {
        push(&mut guards, guard);
    }
    let mut lineage: Lineage = holder.token.lineage.iter().copied().collect();
    lineage.extend(&asker.lineage);
    lineage.extend(&found.lineage);
    Ok(Some(UseProposal {
        decision: DecisionId::generate(now, &*app.random),
        facts,
        plan: UsePlan {
            tenant,
            agent: holder.agent.id,
            client: holder.client.id,
            user: holder.user.as_ref().map(|user| user.id),
            token: holder.token.id,
            resource: None,
            connection: Some(found.usage),
            issued_at: holder.token.issued_at,
            now,
            lineage,
            guards,
            spends: found.spends,
        },
    }))
}

fn facts(served: &Served, asker: &Asker, found: &Found, now: Timestamp) -> Facts {
    let holder = &asker.holder;
    let agent = &holder.agent;
    Facts {
        tenant: served.tenant.name.clone(),
        now,
        grant_type: None,
        call: Some(CallFacts {
            action: CallAction::ReleaseCredential,
            target: found.connection.name.to_string(),
            arguments: BTreeMap::new(),
            connection: Some(found.facts.clone()),
            host: Some(found.connection.spec.base_url.authority().to_owned()),
            method: None,
            path: None,
            obstacle: None,
        }),
        agent: AgentFacts {
            name: agent.name.clone(),
            owner: agent.spec.owner.clone(),
            blueprint: agent.spec.blueprint.clone(),
            tags: agent.spec.tags.clone(),
        },
        delegated_by: None,
        client: holder.client.name.clone(),
        assurance: asker.assurance,
        instance: BTreeMap::new(),
        user: holder.user.as_ref().map(|user| UserFacts {
            name: user.name.clone(),
            issuer: user.spec.issuer.clone(),
            roles: user.spec.roles.clone(),
            groups: user.spec.groups.clone(),
            attributes: user.spec.attributes.clone(),
            as_of: user.spec.known_at(now),
            assurance: UserAssurance::Verified,
        }),
        approval: None,
        chain: holder.chain.iter().map(|agent| agent.name.clone()).collect(),
        resource: None,
        scopes: BTreeMap::new(),
        asked: None,
        authorization_details: Vec::new(),
        limits: Limits {
            parent: None,
            ceiling: Authority::default(),
            grant: None,
            holders: None,
        },
    }
}

/// What is told of a refusal.
async fn refused(app: &App, served: &Served, decision: Box<Decision>) -> Result<Rejection, Failure> {
    if let Some(lack) = lack::of_decision(app, served, &decision).await? {
        return Ok(Rejection::Failure(lack.into()));
    }
    let call = decision.facts.call.as_ref();
    let connection = call.and_then(|call| call.connection.as_ref());
    let is_broker_only = decision.reason == Some(DenyReason::ReleaseRefused)
        && connection.is_some_and(|connection| connection.handling == Handling::BrokerOnly);
    Ok(if is_broker_only {
        Rejection::BrokerOnly(decision)
    } else {
        Rejection::Denied(decision)
    })
}

/// Uses the yes to this very release, or asks for one: people see agent, person, connection and host.
async fn with_yes(
    app: &App,
    served: &Served,
    asker: &Asker,
    needed: NeedsApproval<UsePlan>,
    now: Timestamp,
) -> Result<Box<UsePermit>, Rejection> {
    let call = needed.decision.facts.call.as_ref();
    let host = call.and_then(|call| call.host.as_deref()).unwrap_or_default();
    let shown = AskedCall {
        target: format!("the credential for {host}, to have and to use unseen"),
        definition: None,
        arguments: None,
        request: None,
    };
    match settle(app, served, &asker.holder.chain, (needed, Ok(shown)), now).await? {
        Settled::Permitted(permit) => Ok(permit),
        Settled::Refused(decision, None) => Err(Rejection::Denied(decision)),
        Settled::Refused(decision, Some(why)) => Err(Rejection::Unaskable(decision, why)),
        Settled::Awaits(awaited) => Err(Rejection::Awaits(awaited)),
    }
}

/// Opens what a permit to hand it out names.
async fn opened(
    app: &Arc<App>,
    served: &Arc<Served>,
    permit: &UsePermit,
    now: Timestamp,
) -> Result<Released, Failure> {
    let broken = |what: &str| Failure::Internal(format!("a permit cannot hand a credential out: {what}"));
    let call = permit.decision().facts.call.as_ref();
    // SECURITY: a permit to call is none to hand out.
    let call = call.filter(|call| call.action == CallAction::ReleaseCredential);
    let facts = call.and_then(|call| call.connection.as_ref());
    let facts = facts.ok_or_else(|| broken("it is for something else"))?;
    let usage = permit.plan().connection.as_ref();
    let account = usage.and_then(|usage| usage.account);
    let account = account.ok_or_else(|| broken("it names no account"))?;

    refresh::ensure(app, served, permit).await?;
    // Read before the token: one that replaces it in between lives longer.
    let end = end(app, served.tenant.id, (facts.flow, account), now).await?;
    let credential = open(app, served, permit).await?;
    Ok(Released {
        connection: facts.name.clone(),
        flow: facts.flow.ok_or_else(|| broken("there is no credential"))?,
        parts: credential.into_parts(),
        expires_in: end.map_or(LEASE, |end| end.since(now)),
        scopes: facts.scopes.clone(),
        decision: permit.decision().id,
    })
}

/// When the credential ends by itself, if it does.
async fn end(
    app: &App,
    tenant: TenantId,
    (flow, account): (Option<CredentialFlow>, AccountUse),
    now: Timestamp,
) -> Result<Option<Timestamp>, Failure> {
    match flow {
        Some(
            CredentialFlow::AuthorizationCode
            | CredentialFlow::ClientCredentials
            | CredentialFlow::SignedAssertion
            | CredentialFlow::AppInstallation
            | CredentialFlow::WorkloadFederation,
        ) => {
            if let Some(seen) = account
                .tokens
                .filter(|seen| seen.is_fresh((now, now.plus(AHEAD))))
            {
                return Ok(seen.expires_at);
            }
            let tokens = provider_token::find(&app.db, tenant, account.id).await?;
            Ok(tokens.and_then(|tokens| tokens.expires_at))
        }
        Some(CredentialFlow::ApiKey) | None => {
            let account = app.directory.accounts.find(tenant, account.id).await?;
            let end = account.and_then(|account| account.spec.expires_at);
            // A key is good for long, and asked for again all the same.
            Ok(end.map(|end| end.min(now.plus(LEASE))))
        }
    }
}

/// After how long a credential that does not say when it ends is to be asked for again. What was decided then may no
/// longer hold, as for a token that is verified offline.
pub const LEASE: Ttl = Ttl::from_minutes(5);
const ATTEMPTS: usize = 2;
