//! Changing nouns: create, update, and steps of the lifecycle. Each is planned (rules, references, policy),
//! recorded with actor and new state, and committed with it.

use crate::app::App;
use crate::directory::managed::Managed;
use crate::directory::view::View;
use crate::error::{Failure, Refusal};
use crate::record as audit;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::event::{Change, Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::{EventId, Id as _, TenantId};
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun, Record};
use chancery_core::time::{Timestamp, Ttl};
use chancery_policy::manage;
use chancery_policy::{ManagementAction, ManagementRequest, Manager};
use chancery_store::change::{self as feed, Changed};
use chancery_store::idempotency::{self, Answer};
use chancery_store::{Outcome, Page, Statement, Stored, record};

/// Who asks for a change, and when.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Recorded with the change.
    pub actor: Actor,
    /// What policy sees.
    pub manager: Manager,
    /// The request's moment.
    pub now: Timestamp,
    /// What keeps the request from being carried out twice.
    pub once: Option<OnceKey>,
}

/// A request's idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnceKey {
    /// The tenant.
    pub tenant: TenantId,
    /// Whose key it is.
    pub actor: String,
    /// The key.
    pub key: String,
    /// SHA-256 of method, path and body.
    pub request: [u8; 32],
}

impl Caller {
    /// The statement that spends the request's idempotency key.
    pub fn spend_once(&self) -> Option<Statement> {
        let once = self.once.as_ref()?;
        let answer = Answer {
            request: once.request.to_vec(),
            status: 0,
            response: String::new(),
        };
        let end = self.now.plus(ONCE);
        Some(idempotency::insert(
            once.tenant,
            &once.actor,
            &once.key,
            &answer,
            end,
        ))
    }
}

/// A planned change: statements and what they change.
#[derive(Debug, Default)]
pub struct Work {
    /// Run in order, in one batch.
    pub statements: Vec<Statement>,
    /// What nodes must forget.
    pub changed: Vec<(TenantId, Changed)>,
    /// What the statements from a place on are about.
    subjects: Vec<(usize, Noun, Name)>,
}

impl Work {
    /// A change of one record.
    pub fn on(
        (noun, name): (Noun, &Name),
        statements: Vec<Statement>,
        changed: Vec<(TenantId, Changed)>,
    ) -> Self {
        Self {
            statements,
            changed,
            subjects: vec![(0, noun, name.clone())],
        }
    }

    /// Adds another planned change.
    pub fn extend(&mut self, other: Self) {
        let start = self.statements.len();
        let moved = |(place, noun, name)| (start + place, noun, name);
        self.subjects.extend(other.subjects.into_iter().map(moved));
        self.statements.extend(other.statements);
        self.changed.extend(other.changed);
    }

    /// What the statement at this place is about.
    fn subject(&self, place: usize) -> Option<(Noun, &Name)> {
        let before = self.subjects.iter().rev().find(|(start, _, _)| *start <= place);
        before
            .or(self.subjects.first())
            .map(|(_, noun, name)| (*noun, name))
    }
}

/// Asks policy for a management action on a record.
///
/// # Errors
/// Policy's refusal.
pub fn permit(
    served: &Served,
    caller: &Caller,
    action: ManagementAction,
    (noun, name, owner): (Noun, &str, Option<&Name>),
) -> Result<(), Failure> {
    let request = ManagementRequest {
        manager: caller.manager.clone(),
        noun,
        name: name.to_owned(),
        owner: owner.cloned(),
        now: caller.now,
    };
    manage::decide(&served.policy.set, &request, action)
        .map(drop)
        .map_err(Failure::from)
}

/// Plans a new record.
///
/// # Errors
/// A rule of the spec, a missing reference, or policy's refusal.
pub async fn plan_create<S: Managed>(
    app: &App,
    served: &Served,
    caller: &Caller,
    view: &mut View<'_>,
    (name, spec, state): (Name, S, Lifecycle),
) -> Result<(Record<S::Id, S>, Work), Failure> {
    spec.check(&name).map_err(|error| Refusal::spec(&error))?;
    spec.check_place(&name, view)?;
    spec.check_references(view).await?;
    if state.is_active() {
        spec.check_activation()?;
    }
    let subject = (S::NOUN, name.as_str(), spec.owner());
    permit(served, caller, ManagementAction::Create, subject)?;
    for action in spec.stronger_actions(None) {
        permit(served, caller, action, subject)?;
    }
    let now = caller.now;
    let record = Record {
        id: S::Id::generate(now, &*app.random),
        name,
        state,
        generation: 0,
        version: 1,
        created_at: now,
        updated_at: now,
        spec,
    };
    view.add(&record);
    let statement = record::insert(served.tenant.id, &record);
    let work = recorded(app, served, caller, &record, (Change::Created, statement))?;
    Ok((record, work))
}

/// Plans new contents for a record. `None` if nothing would change.
///
/// # Errors
/// As [`plan_create`]; a record that is retired.
pub async fn plan_update<S: Managed>(
    app: &App,
    served: &Served,
    caller: &Caller,
    view: &mut View<'_>,
    (old, spec): (Record<S::Id, S>, S),
) -> Result<Option<(Record<S::Id, S>, Work)>, Failure> {
    if old.spec == spec {
        return Ok(None);
    }
    if old.state == Lifecycle::Retired {
        return Err(Refusal::Lifecycle {
            noun: S::NOUN,
            from: old.state,
            to: old.state,
        }
        .into());
    }
    spec.check(&old.name).map_err(|error| Refusal::spec(&error))?;
    spec.check_place(&old.name, view)?;
    spec.check_references(view).await?;
    // The old owner answers for the record until it has a new one.
    let subject = (S::NOUN, old.name.as_str(), old.spec.owner());
    permit(served, caller, ManagementAction::Update, subject)?;
    for action in spec.stronger_actions(Some(&old.spec)) {
        permit(served, caller, action, subject)?;
        permit(served, caller, action, (S::NOUN, old.name.as_str(), spec.owner()))?;
    }
    let generation = old.generation + u64::from(old.spec.narrows(&spec));
    let record = Record {
        generation,
        version: old.version + 1,
        updated_at: caller.now,
        spec,
        ..old
    };
    view.add(&record);
    let statement = record::update(served.tenant.id, &record);
    let work = recorded(app, served, caller, &record, (Change::Updated, statement))?;
    Ok(Some((record, work)))
}

/// Plans a step of the lifecycle. Leaving `active` raises the generation: what was issued ends and never
/// revives.
///
/// # Errors
/// A step that the lifecycle does not allow; policy's refusal.
pub fn plan_step<S: Managed>(
    app: &App,
    served: &Served,
    caller: &Caller,
    old: Record<S::Id, S>,
    step: Change,
) -> Result<(Record<S::Id, S>, Work), Failure> {
    let (to, action) = match step {
        Change::Activated => (Lifecycle::Active, ManagementAction::Activate),
        Change::Suspended => (Lifecycle::Suspended, ManagementAction::Suspend),
        Change::Killed => (Lifecycle::Suspended, ManagementAction::Kill),
        Change::Retired => (Lifecycle::Retired, ManagementAction::Retire),
        Change::SecretReset => (old.state, ManagementAction::ResetSecret),
        Change::Created | Change::Updated => {
            return Err(Failure::Internal("not a step of the lifecycle".to_owned()));
        }
    };
    permit(
        served,
        caller,
        action,
        (S::NOUN, old.name.as_str(), old.spec.owner()),
    )?;
    // Killing what is stopped already stops it again: it must never fail for that reason.
    let is_repeat =
        step == Change::Killed && old.state == Lifecycle::Suspended || step == Change::SecretReset;
    if !is_repeat && !old.state.may_become(to) {
        return Err(Refusal::Lifecycle {
            noun: S::NOUN,
            from: old.state,
            to,
        }
        .into());
    }
    if to.is_active() {
        old.spec.check_activation()?;
    }
    let generation = old.generation + u64::from(step != Change::Activated);
    let record = Record {
        state: to,
        generation,
        version: old.version + 1,
        updated_at: caller.now,
        ..old
    };
    let statement = record::update(served.tenant.id, &record);
    let work = recorded(app, served, caller, &record, (step, statement))?;
    Ok((record, work))
}

/// Commits planned changes in one batch, and with them the request's idempotency key.
///
/// # Errors
/// [`Refusal::Exists`] or [`Refusal::Conflict`] when somebody was first, naming the record that they were first
/// with; the database's.
pub async fn commit(app: &App, caller: &Caller, mut work: Work) -> Result<(), Failure> {
    if work.statements.is_empty() {
        return Ok(());
    }
    let once = caller.spend_once();
    let ahead = usize::from(once.is_some());
    let statements = std::mem::take(&mut work.statements);
    let batch = app.batch(caller.now).extend(once).extend(statements);
    let Outcome::Refused { label, position, .. } = app.commit(batch, &work.changed).await? else {
        return Ok(());
    };
    let Some((noun, name)) = work.subject(position.saturating_sub(ahead)) else {
        return Err(Failure::Internal("a refused change is about nothing".to_owned()));
    };
    let name = name.to_string();
    if label == "exists" {
        return Err(Refusal::Exists { noun, name }.into());
    }
    Err(Refusal::Conflict(name).into())
}

/// The stored record with this name or id, read past the cache.
///
/// # Errors
/// [`Refusal::NotFound`]; the database's.
pub async fn load<S: Stored>(app: &App, tenant: TenantId, named: &str) -> Result<Record<S::Id, S>, Failure> {
    let found = match named.parse::<S::Id>() {
        Ok(id) => record::find_by_id(&app.db, tenant, id).await?,
        Err(_) => match named.parse::<Name>() {
            Ok(name) => record::find_by_name(&app.db, tenant, &name).await?,
            Err(_) => None,
        },
    };
    found.ok_or_else(|| {
        Refusal::NotFound {
            noun: S::NOUN,
            name: named.to_owned(),
        }
        .into()
    })
}

/// One page of stored records.
///
/// # Errors
/// The database's.
pub async fn list<S: Stored>(
    app: &App,
    tenant: TenantId,
    page: &Page<'_>,
) -> Result<Vec<Record<S::Id, S>>, Failure> {
    Ok(record::list(&app.db, tenant, page).await?)
}

/// A statement with the record of what it does and the news for other nodes.
///
/// # Errors
/// The record does not fit an event.
pub(crate) fn recorded<S: Stored>(
    app: &App,
    served: &Served,
    caller: &Caller,
    record: &Record<S::Id, S>,
    (change, statement): (Change, Statement),
) -> Result<Work, Failure> {
    let tenant = served.tenant.id;
    let state = serde_json::to_string(record).map_err(Failure::internal)?;
    let class = if matches!(
        S::NOUN,
        Noun::User | Noun::ConnectedAccount | Noun::Session | Noun::TokenFamily
    ) {
        PartClass::Personal
    } else {
        PartClass::Operational
    };
    let event = Event {
        id: EventId::generate(caller.now, &*app.random),
        tenant,
        time: caller.now,
        kind: EventKind::Changed(S::NOUN, change),
        outcome: EventOutcome::Ok,
        actor: caller.actor.clone(),
        ids: vec![(S::NOUN.as_str(), record.id.to_string())],
        decision: None,
        parts: vec![Part {
            name: "state",
            class,
            content: state,
        }],
    };
    let id = *record.id.as_bytes();
    let statements = vec![
        statement,
        feed::insert(tenant, S::NOUN, id, record.generation, caller.now),
        audit::statement(served.keys.seal(), &event, &*app.random)?,
    ];
    let changed = Changed::Noun {
        noun: S::NOUN,
        id,
        generation: record.generation,
    };
    Ok(Work::on(
        (S::NOUN, &record.name),
        statements,
        vec![(tenant, changed)],
    ))
}

/// How long an idempotency key is remembered.
const ONCE: Ttl = Ttl::from_days(1);
