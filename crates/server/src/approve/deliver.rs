//! Delivering messages: tried until they are taken, each time a little later, and given up in the end. Where each
//! stands is seen with the request. A channel that is down holds nothing up.

use crate::app::App;
use crate::approve::notice::{self, Occasion, Webhook};
use crate::approve::sealed;
use crate::egress::{Destination, MailError, Mailer, UrlSource};
use crate::error::Failure;
use crate::record;
use chancery_core::actor::{Actor, SystemActor};
use chancery_core::event::{Event, EventKind, EventOutcome};
use chancery_core::id::{EventId, Id as _, TenantId};
use chancery_core::noun::Lifecycle;
use chancery_core::time::Ttl;
use chancery_store::approval;
use chancery_store::outbox::{self, MessageRow, MessageState};
use std::collections::HashSet;

/// Tells more people of what nobody has answered, and tries every message that is due.
///
/// # Errors
/// The database's.
pub async fn run(app: &App) -> Result<(), Failure> {
    if app.channels.is_empty() {
        return Ok(());
    }
    escalate(app).await?;
    let due = outbox::due(&app.db, app.clock.now(), PORTION).await?;
    // One that does not answer takes its time to say so: the rest of its messages wait for the next round.
    let mut is_down = HashSet::new();
    for (tenant, row) in due {
        if is_down.contains(&row.channel) {
            continue;
        }
        let outcome = match send(app, tenant, &row).await {
            Ok(outcome) => outcome,
            // Nobody was written to, so nothing was tried: it is as due as before.
            Err(error) => {
                tracing::warn!(message = %row.id, %error, "an address could not be looked up");
                continue;
            }
        };
        if matches!(outcome, Err(Undelivered::Channel(_))) {
            is_down.insert(row.channel.clone());
        }
        settle(app, tenant, &row, outcome).await?;
    }
    Ok(())
}

pub(crate) async fn run_logged(app: &App) {
    if let Err(error) = run(app).await {
        tracing::warn!(%error, "messages about approvals could not be delivered");
    }
}

/// Notes how a try ended, and when the next one is.
async fn settle(
    app: &App,
    tenant: TenantId,
    row: &MessageRow,
    outcome: Result<(), Undelivered>,
) -> Result<(), Failure> {
    let state = match &outcome {
        Ok(()) => MessageState::Sent,
        Err(_) if row.attempts + 1 >= MOST_ATTEMPTS => MessageState::Failed,
        Err(_) => MessageState::Waiting,
    };
    let now = app.clock.now();
    let wait = Ttl::from_seconds(FIRST_WAIT << row.attempts.min(10));
    let error = outcome.err().map(Undelivered::into_text);
    let settled = outbox::settle(tenant, row, (state, error.as_deref()), (now, now.plus(wait)));
    let _ = app.commit(app.batch(now).push(settled), &[]).await?;
    Ok(())
}

/// Why a message did not go out.
enum Undelivered {
    /// The channel cannot be reached now.
    Channel(String),
    /// It does not take this message.
    Message(String),
}

impl Undelivered {
    fn into_text(self) -> String {
        match self {
            Self::Channel(text) | Self::Message(text) => text,
        }
    }
}

/// Tries a message. The outer error is ours: it was not tried.
async fn send(app: &App, tenant: TenantId, row: &MessageRow) -> Result<Result<(), Undelivered>, Failure> {
    let channels = &app.channels;
    Ok(match (row.channel.as_str(), &channels.webhook, &channels.mail) {
        (notice::WEBHOOK, Some(webhook), _) => post(app, webhook, row).await,
        (notice::MAIL, _, Some(mailer)) => match address(app, tenant, &row.recipient).await? {
            Ok(to) => mail(mailer, row, &to).await,
            Err(why) => Err(why),
        },
        (notice::MAIL_LIST, _, Some(mailer)) => mail(mailer, row, &row.recipient).await,
        (channel, _, _) => Err(Undelivered::Channel(format!(
            "this node was started without the channel `{channel}`"
        ))),
    })
}

async fn post(app: &App, webhook: &Webhook, row: &MessageRow) -> Result<(), Undelivered> {
    let destination = Destination {
        tenant: None,
        source: UrlSource::Configured,
        url: webhook.url(),
    };
    let signature = webhook.sign(&row.body, app.clock.now());
    match app.egress.post_json(destination, &row.body, &signature).await {
        Ok(status) if (200..300).contains(&status) => Ok(()),
        Ok(status) => Err(Undelivered::Message(format!("status {status}"))),
        // SECURITY: the error may name the URL, which may be a secret.
        Err(error) => {
            let error = error.to_string().replace(webhook.url(), &row.recipient);
            tracing::warn!(message = %row.id, error, "a webhook could not be reached");
            Err(Undelivered::Channel(error))
        }
    }
}

async fn mail(mailer: &Mailer, row: &MessageRow, to: &str) -> Result<(), Undelivered> {
    let (subject, text) = row.body.split_once("\n\n").unwrap_or(("", &row.body));
    let sent = mailer.send(to, subject, text.to_owned()).await;
    sent.map_err(|error| match error {
        MailError::Relay(error) if error.is_permanent() => Undelivered::Message(error.to_string()),
        MailError::Relay(_) => {
            tracing::warn!(message = %row.id, %error, "the mail relay took no message");
            Undelivered::Channel(error.to_string())
        }
        MailError::To(..) | MailError::Message(_) => Undelivered::Message(error.to_string()),
    })
}

/// Where a person is written to: as their issuer says now, and not at all once they have left.
async fn address(app: &App, tenant: TenantId, name: &str) -> Result<Result<String, Undelivered>, Failure> {
    let user = app.directory.users.find_named(tenant, name).await?;
    let Some(user) = user.filter(|user| user.state == Lifecycle::Active) else {
        let text = format!("`{name}` is no active person here");
        return Ok(Err(Undelivered::Message(text)));
    };
    let email = user.spec.attributes.get("email").cloned();
    Ok(email.ok_or_else(|| {
        Undelivered::Message(format!(
            "`{name}` has no e-mail address here: let the issuer's claim mapping set the attribute `email`"
        ))
    }))
}

async fn escalate(app: &App) -> Result<(), Failure> {
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
        let messages = notice::statements(&app.channels, &served, about, Occasion::Escalated, with);
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
