//! Keeping the tokens of an account at a provider good (RFC 6749 §6): ahead of their end, and one refresh at a time for
//! each account on all nodes together. The first token of an account that needs no person comes the same way.
//!
//! A refresh token may be good for one use only. So the intent is committed before the provider is asked, under a number
//! that only the last refresh has, and what comes back is committed under that number. A node that dies in between
//! leaves a refresh of unknown outcome; when its time is over, the next one uses the same refresh token again: if the
//! provider had rotated it, it is lost with the answer, and nothing is lost by trying. What the provider then refuses is
//! `revoked`, and its owner connects again.

use super::provider::AskError;
use super::source::{self, NotRefreshed};
use super::tokens::HeldTokens;
use super::{bound_to, installation, lack, open};
use crate::app::App;
use crate::error::{Failure, Refusal};
use crate::record;
use crate::tenants::Served;
use chancery_core::actor::{Actor, SystemActor};
use chancery_core::agent::Agent;
use chancery_core::call::{AccountUse, TokensSeen};
use chancery_core::connected_account::{ConnectedAccount, ConnectedAccountSpec};
use chancery_core::connection::Connection;
use chancery_core::event::{Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::{ConnectedAccountId, DecisionId, EventId, Id as _, TenantId};
use chancery_core::time::{Timestamp, Ttl};
use chancery_policy::UsePermit;
use chancery_store::provider_token::{self as store, LOST, ProviderState, ProviderTokenRow, RefreshEnd};
use chancery_store::{Outcome, connected_account, record as records};
use chancery_vault::{AssociatedData, Sealed};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tracing::Instrument as _;

/// Makes sure that the account of a permit has a token that is good for a while. For any other credential there is
/// nothing to do.
///
/// # Errors
/// [`Refusal::NotConnected`] when the provider no longer takes what we hold, [`Refusal::ProviderUnavailable`] when it
/// gives no new token now; the database's.
pub async fn ensure(app: &Arc<App>, served: &Arc<Served>, permit: &UsePermit) -> Result<(), Failure> {
    let Some(work) = Refresh::of(app, served, permit).await? else {
        return Ok(());
    };
    let now = permit.plan().now;
    if let Some(wanted) = installation::wanted(permit, &work.connection)? {
        work.row(now).await?;
        let run = async move { installation::ensure(&work, &wanted, now).await };
        return tokio::spawn(run.in_current_span())
            .await
            .unwrap_or_else(|error| Err(Failure::internal(error)));
    }
    // What was read for the decision, a moment ago, may do.
    let is_fresh = |tokens: TokensSeen| tokens.is_fresh((now, now.plus(AHEAD)));
    if work.account.tokens.is_some_and(is_fresh) || work.stands(now).await?.is_some() {
        return Ok(());
    }
    // In a task of its own: a client that goes away does not end a refresh that the provider has seen.
    tokio::spawn(work.run(now).in_current_span())
        .await
        .unwrap_or_else(|error| Err(Failure::internal(error)))
}

/// Refreshes under way on this node, so that its calls do not race each other for one.
#[derive(Debug, Default)]
pub struct Refreshes {
    turns: Turns<(TenantId, ConnectedAccountId)>,
    pub(super) installations: installation::Tokens,
}

/// Who does what, one at a time for each.
#[derive(Debug)]
pub(super) struct Turns<K>(Mutex<HashMap<K, Turn>>);

/// Whoever has it refreshes.
type Turn = Arc<tokio::sync::Mutex<()>>;

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Turns<K> {
    pub(super) fn of(&self, key: K) -> Turn {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= PRUNE_AT {
            // One that only the map holds belongs to nobody.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        Arc::clone(turns.entry(key).or_default())
    }
}

pub(super) struct Refresh {
    pub(super) app: Arc<App>,
    pub(super) served: Arc<Served>,
    agent: Arc<Agent>,
    pub(super) connection: Arc<Connection>,
    pub(super) account: AccountUse,
    fingerprint: [u8; 32],
    decision: DecisionId,
}

/// A refresh that is this node's.
struct Begun {
    attempt: u64,
    held: Option<HeldTokens>,
}

/// What a refresh came to.
struct Ended {
    end: RefreshEnd,
    held: Option<HeldTokens>,
    scopes: Option<BTreeSet<String>>,
}

impl Refresh {
    /// What a permit uses, if that is a token of a provider.
    pub(super) async fn of(
        app: &Arc<App>,
        served: &Arc<Served>,
        permit: &UsePermit,
    ) -> Result<Option<Self>, Failure> {
        let (plan, tenant) = (permit.plan(), served.tenant.id);
        let usage = plan.connection.as_ref();
        let Some((usage, account)) = usage.and_then(|usage| Some((usage, usage.account?))) else {
            return Ok(None);
        };
        let connection = app.directory.connections.find(tenant, usage.connection).await?;
        let connection = connection.ok_or(Failure::Stale("the connection is gone"))?;
        if !connection.spec.credential.is_token() {
            return Ok(None);
        }
        let agent = app.directory.agents.find(tenant, plan.agent).await?;
        Ok(Some(Self {
            agent: agent.ok_or(Failure::Stale("the agent is gone"))?,
            app: app.clone(),
            served: served.clone(),
            connection,
            account,
            fingerprint: usage.fingerprint,
            decision: permit.decision().id,
        }))
    }

    /// The tokens as they stand, if they are good for a while. `None` if they are to be refreshed.
    async fn stands(&self, now: Timestamp) -> Result<Option<ProviderTokenRow>, Failure> {
        let row = self.row(now).await?;
        let is_fresh = row.is_good(now.plus(AHEAD)) || row.is_good(now) && !row.is_refreshable;
        Ok(is_fresh.then_some(row))
    }

    async fn row(&self, now: Timestamp) -> Result<ProviderTokenRow, Failure> {
        let row = store::find(&self.app.db, self.served.tenant.id, self.account.id).await?;
        match row.filter(|row| row.is_usable(now)) {
            Some(row) => Ok(row),
            None => Err(self.not_connected().await?),
        }
    }

    /// That the owner must connect again.
    async fn not_connected(&self) -> Result<Failure, Failure> {
        Ok(self.lack().await?.into())
    }

    /// As [`Self::not_connected`], for whoever is told.
    pub(super) async fn lack(&self) -> Result<Refusal, Failure> {
        let names = (&self.connection.name, &self.agent.name);
        let lack = lack::of(&self.app, &self.served, names, self.decision).await?;
        Ok(lack.unwrap_or_else(|| self.unavailable()))
    }

    pub(super) fn unavailable(&self) -> Refusal {
        Refusal::ProviderUnavailable {
            connection: self.connection.name.clone(),
            decision: self.decision,
        }
    }

    /// Refreshes, or waits for whoever does. A token that is still good is used meanwhile.
    async fn run(self, now: Timestamp) -> Result<(), Failure> {
        let turn = self
            .app
            .refreshes
            .turns
            .of((self.served.tenant.id, self.account.id));
        let _turn = match turn.try_lock() {
            Ok(turn) => turn,
            Err(_) if self.row(now).await?.is_good(now) => return Ok(()),
            Err(_) => turn.lock().await,
        };
        for _ in 0..LOOKS {
            let row = self.row(now).await?;
            if row.is_good(now.plus(AHEAD)) {
                return Ok(());
            }
            if let Some(begun) = self.begin(&row, now).await? {
                return self.finish(begun, now).await;
            }
            if row.is_good(now) {
                return Ok(());
            }
            if row.holder.is_none() && row.last_error.is_some() {
                // Tried a moment ago, in vain.
                return Err(self.unavailable().into());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Err(self.unavailable().into())
    }

    /// Takes the refresh and records that it begins. `None` if it is another node's.
    async fn begin(&self, row: &ProviderTokenRow, now: Timestamp) -> Result<Option<Begun>, Failure> {
        let (app, tenant) = (&self.app, self.served.tenant.id);
        let held = self.held().await?;
        let until = (app.node, now.plus(HELD_FOR));
        let taken = store::begin(tenant, self.account.id, row, until, now);
        let event = self.event(EventKind::AccountRefreshing, EventOutcome::Ok, now, None)?;
        let batch = app.batch(now).push(taken).push(event);
        let outcome = app.commit(batch, &[]).await?;
        Ok(outcome.is_committed().then_some(Begun {
            attempt: row.attempt + 1,
            held,
        }))
    }

    /// What a new token is asked for with. Nothing, where we prove ourselves each time.
    async fn held(&self) -> Result<Option<HeldTokens>, Failure> {
        if self.connection.spec.credential.fetches_itself() {
            return Ok(None);
        }
        let (app, tenant) = (&self.app, self.served.tenant.id);
        let Some((_, sealed)) = store::find_with_sealed(&app.db, tenant, self.account.id).await? else {
            return Err(self.not_connected().await?);
        };
        let sealed = Sealed::parse(&sealed).map_err(Failure::internal)?;
        let content = open::unseal(app, &self.served, &self.bound(), &sealed).await?;
        HeldTokens::read(&content).map(Some)
    }

    /// Asks the provider and records what came of it, before anybody uses it.
    async fn finish(&self, begun: Begun, now: Timestamp) -> Result<(), Failure> {
        let Begun { attempt, held } = begun;
        let ended = self.ask(held, now).await;
        for _ in 0..WRITES {
            match self.write(attempt, &ended, now).await {
                Ok(Outcome::Committed) => return self.answer(&ended.end).await,
                // Another refresh, a new connection or a disconnect came between: what it wrote stands.
                Ok(Outcome::Refused { label, .. }) if label == LOST => {
                    return Err(Failure::Stale("the account was changed"));
                }
                // The tenant's key was replaced meanwhile: sealed anew with the present one.
                Ok(Outcome::Refused { .. }) => {
                    self.app
                        .tenants
                        .reload_one(&self.app.db, self.served.tenant.id)
                        .await?;
                }
                Err(error) => {
                    tracing::error!(%error, account = %self.account.id, "refreshed tokens could not be stored");
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
        Err(Failure::Internal(
            "refreshed tokens could not be stored".to_owned(),
        ))
    }

    async fn ask(&self, held: Option<HeldTokens>, now: Timestamp) -> Ended {
        let asked = source::fetch(self, held.as_ref(), now).await;
        let failed = |state, error: String| Ended {
            end: RefreshEnd::Failed {
                state,
                error,
                not_before: now.plus(NOT_BEFORE),
            },
            held: None,
            scopes: None,
        };
        let over = if held.is_some() {
            ProviderState::Revoked
        } else {
            // What needs no person is asked for again: whoever runs the provider may have mended it.
            ProviderState::Error
        };
        match asked {
            Ok(mut fetched) => {
                // One that is not replaced stays good.
                let kept = held.and_then(|held| held.refresh_token);
                fetched.held.refresh_token = fetched.held.refresh_token.or(kept);
                Ended {
                    end: RefreshEnd::Refreshed {
                        expires_at: fetched.expires_at,
                    },
                    held: Some(fetched.held),
                    scopes: fetched.scopes,
                }
            }
            Err(NotRefreshed::Ask(error)) if error.is_grant_gone() => failed(over, error.to_string()),
            Err(NotRefreshed::Ask(error)) if error.is_certain() || held.is_none() => {
                failed(ProviderState::Error, error.to_string())
            }
            Err(NotRefreshed::Ask(error)) => failed(
                ProviderState::Error,
                format!("{error}; whether it gave a new token is not known"),
            ),
            Err(
                error @ (NotRefreshed::Moved | NotRefreshed::OtherAccount | NotRefreshed::OtherInterface),
            ) => failed(over, error.to_string()),
        }
    }

    pub(super) async fn stored(&self) -> Result<Option<ConnectedAccount>, AskError> {
        let tenant = self.served.tenant.id;
        let found = records::find_by_id::<ConnectedAccountSpec>(&self.app.db, tenant, self.account.id).await;
        Ok(found.map_err(Failure::from)?)
    }

    async fn write(&self, attempt: u64, ended: &Ended, now: Timestamp) -> Result<Outcome, Failure> {
        let (app, tenant) = (&self.app, self.served.tenant.id);
        let current = app.tenants.find(tenant);
        let served = current.as_ref().unwrap_or(&self.served);
        let mut statements = vec![store::end(tenant, self.account.id, (attempt, &ended.end), now)];
        if let Some(held) = &ended.held {
            let sealed = held.seal(app, served, &self.bound())?;
            statements.push(served.keys.assert_current());
            statements.push(connected_account::put_sealed(
                tenant,
                self.account.id,
                &sealed,
                now,
            ));
        }
        let (outcome, what) = match &ended.end {
            RefreshEnd::Refreshed { expires_at } => (
                EventOutcome::Ok,
                json!({ "expires_at": expires_at, "scopes": ended.scopes }),
            ),
            RefreshEnd::Failed { state, error, .. } => (
                EventOutcome::Failed,
                json!({ "error": error, "is_over": *state == ProviderState::Revoked }),
            ),
        };
        statements.push(self.event(EventKind::AccountRefreshed, outcome, now, Some(what.to_string()))?);
        app.commit(app.batch(now).extend(statements), &[]).await
    }

    async fn answer(&self, end: &RefreshEnd) -> Result<(), Failure> {
        match end {
            RefreshEnd::Refreshed { .. } => Ok(()),
            RefreshEnd::Failed { state, .. } => Err(match state {
                ProviderState::Revoked | ProviderState::Revoking => self.not_connected().await?,
                ProviderState::Connected | ProviderState::Error => self.unavailable().into(),
            }),
        }
    }

    pub(super) fn bound(&self) -> AssociatedData {
        bound_to(
            self.served.tenant.id,
            (self.account.id, self.account.owner),
            (self.connection.id, self.fingerprint),
        )
    }

    pub(super) fn event(
        &self,
        kind: EventKind,
        outcome: EventOutcome,
        now: Timestamp,
        what: Option<String>,
    ) -> Result<chancery_store::Statement, Failure> {
        let part = |content| Part {
            name: "tokens",
            class: PartClass::Operational,
            content,
        };
        let event = Event {
            id: EventId::generate(now, &*self.app.random),
            tenant: self.served.tenant.id,
            time: now,
            kind,
            outcome,
            actor: Actor::System(SystemActor::Connections),
            ids: vec![
                ("connection", self.connection.id.to_string()),
                ("account", self.account.id.to_string()),
            ],
            decision: Some(self.decision),
            parts: what.map(part).into_iter().collect(),
        };
        let current = self.app.tenants.find(self.served.tenant.id);
        let served = current.as_ref().unwrap_or(&self.served);
        record::statement(served.keys.seal(), &event, &*self.app.random)
    }
}

/// How long before its end a token is refreshed.
pub const AHEAD: Ttl = Ttl::from_minutes(2);
/// How long a refresh is one node's. SECURITY: longer than any exchange with a provider, so that nobody asks for what
/// somebody else is being given.
const HELD_FOR: Ttl = Ttl::from_seconds(30);
/// How long nobody tries again after a failure.
pub(super) const NOT_BEFORE: Ttl = Ttl::from_seconds(10);
const LOOKS: usize = 200;
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const WRITES: usize = 3;
const PRUNE_AT: usize = 1024;
