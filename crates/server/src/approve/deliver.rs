//! Delivering messages: tried until they are taken, each time a little later, and given up in the end. Where each
//! stands is seen with the request. A channel that is down holds nothing up.

use crate::app::App;
use crate::approve::notice::{self, Occasion, Webhook};
use crate::approve::sealed;
use crate::egress::{Destination, UrlSource};
use crate::error::Failure;
use crate::record;
use chancery_core::actor::{Actor, SystemActor};
use chancery_core::event::{Event, EventKind, EventOutcome};
use chancery_core::id::{EventId, Id as _};
use chancery_core::time::Ttl;
use chancery_store::approval;
use chancery_store::outbox::{self, MessageRow, MessageState};

/// Tells more people of what nobody has answered, and tries every message that is due.
///
/// # Errors
/// The database's.
pub async fn run(app: &App) -> Result<(), Failure> {
    let Some(webhook) = &app.webhook else {
        return Ok(());
    };
    escalate(app, webhook).await?;
    let now = app.clock.now();
    for (tenant, row) in outbox::due(&app.db, now, PORTION).await? {
        let outcome = post(app, webhook, &row).await;
        let now = app.clock.now();
        let state = match &outcome {
            Ok(()) => MessageState::Sent,
            Err(_) if row.attempts + 1 >= MOST_ATTEMPTS => MessageState::Failed,
            Err(_) => MessageState::Waiting,
        };
        let wait = Ttl::from_seconds(FIRST_WAIT << row.attempts.min(10));
        let error = outcome.err();
        let settled = outbox::settle(tenant, &row, (state, error.as_deref()), (now, now.plus(wait)));
        let _ = app.commit(app.batch(now).push(settled), &[]).await?;
    }
    Ok(())
}

pub(crate) async fn run_logged(app: &App) {
    if let Err(error) = run(app).await {
        tracing::warn!(%error, "messages about approvals could not be delivered");
    }
}

async fn post(app: &App, webhook: &Webhook, row: &MessageRow) -> Result<(), String> {
    let destination = Destination {
        tenant: None,
        source: UrlSource::Configured,
        url: webhook.url(),
    };
    let signature = webhook.sign(&row.body, app.clock.now());
    match app.egress.post_json(destination, &row.body, &signature).await {
        Ok(status) if (200..300).contains(&status) => Ok(()),
        Ok(status) => Err(format!("status {status}")),
        // SECURITY: the error may name the URL, which may be a secret.
        Err(error) => {
            let error = error.to_string().replace(webhook.url(), &row.recipient);
            tracing::warn!(message = %row.id, error, "a webhook could not be reached");
            Err(error)
        }
    }
}

async fn escalate(app: &App, webhook: &Webhook) -> Result<(), Failure> {
    let now = app.clock.now();
    let before = now.minus(PATIENCE);
    for (tenant, row) in approval::unanswered(&app.db, (before, now), PORTION).await? {
        let Some(served) = app.tenants.find(tenant) else {
            continue;
        };
        let Some(record) = sealed::open(app, &served, &row, now).await? else {
            continue;
        };
        let event = Event {
            id: EventId::generate(now, &*app.random),
            tenant,
            time: now,
            kind: EventKind::ApprovalEscalated,
            outcome: EventOutcome::Ok,
            actor: Actor::System(SystemActor::Approval),
            ids: vec![("approval", row.id.to_string())],
            decision: None,
            parts: Vec::new(),
        };
        let about = (&row, &record.subject);
        let with = (&*app.random, now);
        let messages = notice::statements(Some(webhook), &served, about, Occasion::Escalated, with);
        let batch = app
            .batch(now)
            .push(approval::escalate(tenant, row.id, now))
            .extend(messages)
            .push(record::statement(served.keys.seal(), &event, &*app.random)?);
        let _ = app.commit(batch, &[]).await?;
    }
    Ok(())
}

const PORTION: u32 = 50;
/// Seconds before the second try; each wait is twice as long as the one before.
const FIRST_WAIT: u64 = 2;
/// About half an hour of tries: longer than anybody can answer.
const MOST_ATTEMPTS: u64 = 10;
/// How long nobody may answer before the owner is told.
const PATIENCE: Ttl = Ttl::from_minutes(3);
