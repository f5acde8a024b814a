//! Asking for a yes: one open request for one thing, however often it is asked, and no more at once than people can
//! look at. What is written here is committed by the caller, with the decision that needs the yes.

use crate::app::App;
use crate::approve::notice::{self, Occasion};
use crate::approve::sealed;
use crate::directory::lineage;
use crate::error::Failure;
use crate::record;
use crate::setup::sha256;
use crate::tenants::Served;
use chancery_core::actor::{Actor, SystemActor};
use chancery_core::approval::{
    ApprovalKind, ApprovalMethod, ApprovalRecord, ApprovalState, Asked, Basis, PENDING_FOR, RecordError,
    Requirement,
};
use chancery_core::event::{Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::{ApprovalId, DecisionId, EventId, Id as _};
use chancery_core::lineage::Lineage;
use chancery_core::time::{Timestamp, Ttl};
use chancery_oauth::error::AwaitedApproval;
use chancery_store::Statement;
use chancery_store::approval::{self, ApprovalRow};

/// What a yes is asked for.
#[derive(Debug)]
pub struct Wanted {
    /// What is asked.
    pub asked: Asked,
    /// What it stood on.
    pub basis: Basis,
    /// What it hangs on.
    pub lineage: Lineage,
    /// Whose yes is needed.
    pub requirement: Requirement,
    /// The policy set that asks.
    pub policy_set: String,
    /// The decision that needs it.
    pub decision: Option<DecisionId>,
    /// Until when it can be answered; the usual time if none is named.
    pub until: Option<Timestamp>,
}

/// A request: one that is open, or one to commit.
#[derive(Debug)]
pub struct Request {
    /// The row.
    pub row: ApprovalRow,
    /// What writes it, with its event; nothing if it is there.
    pub statements: Vec<Statement>,
}

/// Why nobody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unaskable {
    /// What would have to be approved cannot be shown.
    #[error("what would have to be approved cannot be shown: {0}")]
    Record(#[from] RecordError),
    /// A part of it stands on no page.
    #[error("a part of it cannot be shown to a person")]
    Hidden,
    /// Its body has no length beforehand.
    #[error("its body comes without saying how long it is, and cannot be shown to a person")]
    Streams,
    /// Its body is too long.
    #[error(
        "its body is longer than {} bytes, and cannot be shown to a person",
        crate::broker::asked::MAX_BODY
    )]
    TooLong,
    /// Too much waits already.
    #[error("too many requests for a person's yes wait already")]
    TooMany,
}

/// Finds the open request for this, or drafts one. The caller commits its statements; [`approval::PENDING`] then means
/// that somebody else asked meanwhile, [`approval::CAP`] that too much is asked.
///
/// # Errors
/// The database's. The inner error is why nobody can be asked.
pub async fn find_or_draft(
    app: &App,
    served: &Served,
    wanted: Wanted,
    actor: Actor,
    now: Timestamp,
) -> Result<Result<Request, Unaskable>, Failure> {
    let tenant = served.tenant.id;
    let identity = match wanted.asked.to_identity(tenant) {
        Ok(bytes) => sha256(&bytes),
        Err(error) => return Ok(Err(error.into())),
    };
    let mut statements = Vec::new();
    if let Some(row) = approval::find_open(&app.db, tenant, &identity, now).await? {
        if is_current(app, served, &row, now).await? {
            return Ok(Ok(Request { row, statements }));
        }
        // Its time is over, what it hung on is gone, or it was changed: it can come to nothing, and must not keep others from asking.
        statements.push(approval::expire(tenant, row.id, row.state, now));
        statements.push(expired(app, served, row.id, now)?);
    }
    let row = match draft(app, served, &wanted, identity, now) {
        Ok(row) => row,
        Err(error) => return Ok(Err(error.into())),
    };
    let event = Event {
        id: EventId::generate(now, &*app.random),
        tenant,
        time: now,
        kind: EventKind::ApprovalRequested,
        outcome: EventOutcome::Ok,
        actor,
        ids: vec![("approval", row.id.to_string())],
        decision: wanted.decision,
        parts: vec![Part {
            name: "record",
            class: PartClass::Arguments,
            content: row.record.clone(),
        }],
    };
    statements.extend(approval::assert_below(tenant, &row, caps(wanted.asked.kind)));
    statements.push(approval::insert(tenant, &row));
    let (about, with) = ((&row, &wanted.asked), (&*app.random, now));
    statements.extend(notice::statements(
        &app.channels,
        served,
        about,
        Occasion::Requested,
        with,
    ));
    statements.push(record::statement(served.keys.seal(), &event, &*app.random)?);
    Ok(Ok(Request { row, statements }))
}

/// Whether an open request can still come to something, and its client can still poll.
async fn is_current(app: &App, served: &Served, row: &ApprovalRow, now: Timestamp) -> Result<bool, Failure> {
    if row.deadline <= now {
        return Ok(false);
    }
    let Some(record) = sealed::open(app, served, row, now).await? else {
        return Ok(false);
    };
    let handle = sealed::digest(&sealed::handle(served, row.id));
    let can_be_polled = row.digest.is_none_or(|digest| digest == handle);
    let current = lineage::check(app, served.tenant.id, &record.lineage).await?;
    Ok(can_be_polled && current.is_some())
}

fn draft(
    app: &App,
    served: &Served,
    wanted: &Wanted,
    identity: [u8; 32],
    now: Timestamp,
) -> Result<ApprovalRow, RecordError> {
    let id = ApprovalId::generate(now, &*app.random);
    let deadline = wanted.until.unwrap_or_else(|| now.plus(PENDING_FOR));
    let mut nonce = [0; 16];
    app.random.fill(&mut nonce);
    let asked = &wanted.asked;
    let text = ApprovalRecord {
        version: 1,
        id,
        tenant: served.tenant.id,
        subject: asked.clone(),
        basis: wanted.basis.clone(),
        lineage: wanted.lineage.clone(),
        requirement: wanted.requirement.clone(),
        policy_set: wanted.policy_set.clone(),
        requested_at: now,
        expires_at: deadline,
        nonce: sealed::hex(&nonce),
    }
    .to_text()?;
    let hash = sealed::hash(&text);
    let needs_number = wanted.requirement.methods.contains(&ApprovalMethod::Number);
    let [byte] = app.random.bytes::<1>();
    Ok(ApprovalRow {
        id,
        state: ApprovalState::Pending,
        record: text,
        hash,
        mac: sealed::mac(served, id, &hash),
        identity,
        digest: (asked.kind != ApprovalKind::Call).then(|| sealed::digest(&sealed::handle(served, id))),
        agent: asked.agent.id,
        client: asked.client.id,
        addressed: addressed(asked),
        quorum: wanted.requirement.count,
        votes: 0,
        number: needs_number.then(|| 10 + u32::from(byte) % 90),
        poll_interval: INTERVAL,
        polled_at: None,
        requested_at: now,
        deadline,
        escalated_at: None,
        decided_at: None,
    })
}

/// Whom a request is put to first: whoever answers for the resource, or else for the agent, unless they asked for it
/// themselves; the person for what is theirs.
fn addressed(asked: &Asked) -> String {
    let user = asked.user.as_ref().map(|user| &user.name);
    if asked.kind == ApprovalKind::Access {
        return user.map_or_else(|| ANYBODY.to_owned(), ToString::to_string);
    }
    let candidates = asked.resource_owner.iter().chain(&asked.owner);
    let mut others = candidates.filter(|owner| Some(*owner) != user && !is_alone(asked, owner));
    others
        .next()
        .map_or_else(|| ANYBODY.to_owned(), ToString::to_string)
}

/// A single person who owns the agent cannot approve for it.
fn is_alone(asked: &Asked, owner: &chancery_core::name::Name) -> bool {
    asked.owner.as_ref() == Some(owner) && !owner.as_str().starts_with("group:")
}

/// The request as the asking client is told of it.
pub fn awaited(served: &Served, row: &ApprovalRow, now: Timestamp) -> AwaitedApproval {
    AwaitedApproval {
        auth_req_id: sealed::handle(served, row.id),
        interval: row.poll_interval.as_seconds(),
        expires_in: row.deadline.since(now).as_seconds(),
        approval_uri: uri(served, row.id),
        number: row.number,
    }
}

/// The page of a request.
pub fn uri(served: &Served, id: ApprovalId) -> String {
    format!("{}/approvals/{id}", served.tenant.spec.base_url)
}

/// The event of a request that nobody can answer or use any more.
///
/// # Errors
/// The event does not fit a leaf.
pub fn expired(app: &App, served: &Served, id: ApprovalId, now: Timestamp) -> Result<Statement, Failure> {
    let event = Event {
        id: EventId::generate(now, &*app.random),
        tenant: served.tenant.id,
        time: now,
        kind: EventKind::ApprovalExpired,
        outcome: EventOutcome::Ok,
        actor: Actor::System(SystemActor::Approval),
        ids: vec![("approval", id.to_string())],
        decision: None,
        parts: Vec::new(),
    };
    record::statement(served.keys.seal(), &event, &*app.random)
}

/// How many requests of one agent, and to one addressee, are open at once: more is a flood, and tired people say yes.
const fn caps(kind: ApprovalKind) -> (u32, u32) {
    match kind {
        ApprovalKind::Access => (10, 5),
        ApprovalKind::Token | ApprovalKind::Call => (10, 50),
    }
}

/// Nobody in particular: whoever may.
pub const ANYBODY: &str = "*";
/// How long a client waits between two polls (CIBA §7.3).
const INTERVAL: Ttl = Ttl::from_seconds(5);
