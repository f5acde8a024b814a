//! Refusing a token: the decision is recorded with what was learned, a proof that may be used once is spent, and
//! the error names the decision.

use crate::app::App;
use crate::error::Failure;
use crate::issue::arrival::Arrival;
use crate::issue::authenticate;
use crate::issue::subject::Learned;
use crate::issue::token::{Attempt, changes, consume, guard_of, written};
use crate::record;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::decision::{Decision, DenyReason};
use chancery_core::event::{Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::EventId;
use chancery_core::time::Timestamp;
use chancery_oauth::authentication::AuthenticatedClient;
use chancery_oauth::error::{ErrorCode, OAuthError};
use chancery_store::{Outcome, Statement, approval, consumed};

/// A refusal to record.
#[derive(Debug)]
pub(super) struct Refused {
    /// The decision.
    pub(super) decision: Decision,
    /// What the event names besides.
    pub(super) ids: Vec<(&'static str, String)>,
    /// What is written with it.
    pub(super) statements: Vec<Statement>,
    /// The answer, if it does not follow from the decision.
    pub(super) error: Option<OAuthError>,
}

impl Refused {
    /// A refusal that says all by its decision.
    pub(super) const fn of(decision: Decision) -> Self {
        Self {
            decision,
            ids: Vec::new(),
            statements: Vec::new(),
            error: None,
        }
    }
}

/// Records a refusal. The error is the answer.
pub(super) async fn refuse(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    (decision, ids): (Decision, Vec<(&'static str, String)>),
    learned: Option<&Learned>,
    arrival: Arrival,
) -> Result<Attempt, Failure> {
    let refused = Refused {
        ids,
        ..Refused::of(decision)
    };
    refuse_with(app, served, client, refused, learned, arrival).await
}

/// The same with an answer of its own, and with what is written besides.
pub(super) async fn refuse_with(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    refused: Refused,
    learned: Option<&Learned>,
    arrival: Arrival,
) -> Result<Attempt, Failure> {
    let (tenant, now) = (served.tenant.id, arrival.now);
    let Refused {
        decision,
        ids,
        statements,
        error,
    } = refused;
    let event = event(served, client, (&decision, ids), now)?;
    let single_use = client.single_use().map(|single_use| consume(tenant, single_use));
    let batch = app
        .batch(now)
        .extend(single_use)
        .extend(written(app, served, client, learned, now)?)
        .extend(statements)
        .push(record::statement(served.keys.seal(), &event, &*app.random)?);
    match app.commit(batch, &changes(tenant, learned)).await? {
        Outcome::Committed => {}
        Outcome::Refused {
            label: consumed::REPLAYED,
            ..
        } => {
            return Err(authenticate::replayed(app, served, client, arrival).await?.into());
        }
        Outcome::Refused {
            label: approval::CAP, ..
        } => {
            let refused = Refused {
                error: Some(TOO_MUCH),
                ..Refused::of(decision)
            };
            return Box::pin(refuse_with(app, served, client, refused, learned, arrival)).await;
        }
        // Somebody else learned of the person, or asked for the same, meanwhile.
        Outcome::Refused { .. } => {
            return Ok(Attempt::Stale(
                learned
                    .map(|learned| guard_of(&learned.user))
                    .into_iter()
                    .collect(),
            ));
        }
    }
    seen(&decision);
    let error = OAuthError {
        decision: Some(decision.id),
        ..error.unwrap_or_else(|| refusal(&decision, &served.tenant.spec.base_url))
    };
    Err(error.into())
}

fn event(
    served: &Served,
    client: &AuthenticatedClient,
    (decision, ids): (&Decision, Vec<(&'static str, String)>),
    now: Timestamp,
) -> Result<Event, Failure> {
    Ok(Event {
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
        ids,
        decision: Some(decision.id),
        parts: vec![decision_part(decision)?],
    })
}

const TOO_MUCH: OAuthError = OAuthError::new(
    ErrorCode::TemporarilyUnavailable,
    "this needs a person's yes, and people are asked about too many things at once; try again later",
);

/// Names a decision that was recorded on every line about the request.
pub(super) fn seen(decision: &Decision) {
    tracing::Span::current().record("decision", tracing::field::display(decision.id));
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
        Some(DenyReason::BudgetUsedUp) => OAuthError::new(
            ErrorCode::AccessDenied,
            "the budget of the grant is used up; `chancery why DECISION` tells why",
        ),
        // Those after the first two are about calls, and no token is asked for by a call.
        Some(
            DenyReason::NothingLeft
            | DenyReason::AgentTokenRefused
            | DenyReason::InsufficientScope
            | DenyReason::CallRefused
            | DenyReason::NotMapped
            | DenyReason::ManifestNotAccepted
            | DenyReason::ConnectionRefused
            | DenyReason::ReleaseRefused
            | DenyReason::ConnectionNotGranted
            | DenyReason::AccountMissing
            | DenyReason::ArgumentsRefused
            | DenyReason::ApprovalRequired,
        )
        | None => OAuthError::new(
            ErrorCode::AccessDenied,
            "nothing may be given; `chancery why DECISION` tells why",
        ),
    }
}

/// Spends a proof that may be used once although the request is refused: a refusal must not leave a proof
/// behind that somebody else could use. Gives the error to answer with.
pub(super) async fn spend(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    failure: Failure,
    arrival: Arrival,
) -> Result<Failure, Failure> {
    let (Failure::OAuth(_), Some(single_use)) = (&failure, client.single_use()) else {
        return Ok(failure);
    };
    let batch = app.batch(arrival.now).push(consume(served.tenant.id, single_use));
    match app.commit(batch, &[]).await? {
        Outcome::Refused { .. } => Ok(authenticate::replayed(app, served, client, arrival).await?.into()),
        Outcome::Committed => Ok(failure),
    }
}

/// The decision as a part of its event.
pub(super) fn decision_part(decision: &Decision) -> Result<Part, Failure> {
    let content = serde_json::to_string(decision).map_err(Failure::internal)?;
    Ok(Part {
        name: "decision",
        class: PartClass::Decision,
        content,
    })
}
