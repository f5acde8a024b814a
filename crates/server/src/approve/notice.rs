//! Telling people that a yes is asked for: messages written in the batch of the request, and delivered beside it. A
//! message names the page; the page's address is no capability, and no argument of a call is in a message.

use crate::approve::{request, sealed};
use crate::egress::Mailer;
use crate::tenants::Served;
use aws_lc_rs::hmac;
use chancery_core::approval::{ApprovalKind, Asked};
use chancery_core::id::{Id as _, MessageId};
use chancery_core::name::Name;
use chancery_core::random::Random;
use chancery_core::secret::Secret;
use chancery_core::time::Timestamp;
use chancery_store::Statement;
use chancery_store::approval::ApprovalRow;
use chancery_store::outbox::{self, MessageRow, MessageState};
use serde_json::json;
use std::collections::BTreeSet;

/// Where messages are posted, and with what they are signed.
pub struct Webhook {
    /// The URL. May be a secret itself, as Slack's are.
    url: Secret<String>,
    key: hmac::Key,
    host: String,
}

impl Webhook {
    /// A webhook. `None` if the URL is none.
    pub fn new(url: String, secret: &Secret<String>) -> Option<Self> {
        let host = url::Url::parse(&url).ok()?.host_str()?.to_owned();
        Some(Self {
            url: Secret::new(url),
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes()),
            host,
        })
    }

    /// The URL.
    pub fn url(&self) -> &str {
        self.url.expose_secret()
    }

    /// The signature of a body at a moment: `t=SECONDS,v1=HEX`, HMAC-SHA-256 over `SECONDS.BODY`.
    pub fn sign(&self, body: &str, now: Timestamp) -> String {
        let seconds = now.as_seconds();
        let tag = hmac::sign(&self.key, format!("{seconds}.{body}").as_bytes());
        let hex = sealed::hex(tag.as_ref());
        format!("t={seconds},v1={hex}")
    }
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// Why people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// A yes is asked for.
    Requested,
    /// Nobody has answered for a while.
    Escalated,
}

/// How people are told of what waits for them.
#[derive(Debug, Default)]
pub struct Channels {
    /// Where requests are posted.
    pub webhook: Option<Webhook>,
    /// The relay that e-mail goes out by.
    pub mail: Option<Mailer>,
    /// An address that is written to of every request.
    pub mail_to: Option<String>,
}

impl Channels {
    /// Whether nobody is told.
    pub const fn is_empty(&self) -> bool {
        self.webhook.is_none() && self.mail.is_none()
    }

    /// Who is told how: channel, recipient, body.
    fn told(&self, served: &Served, about: (&ApprovalRow, &Asked), occasion: Occasion) -> Vec<Told> {
        let webhook = self.webhook.iter().map(|webhook| {
            let body = body(served, about, occasion).to_string();
            (WEBHOOK, webhook.host.clone(), body)
        });
        let letter = letter(served, about, occasion);
        let people = people(about, occasion).into_iter().map(|name| (MAIL, name));
        let list = self.mail_to.clone().map(|address| (MAIL_LIST, address));
        let mails = people
            .chain(list)
            .filter(|_| self.mail.is_some())
            .map(|(channel, recipient)| (channel, recipient, letter.clone()));
        webhook.chain(mails).collect()
    }
}

type Told = (&'static str, String, String);

/// The messages about a request, as statements of its batch.
pub fn statements(
    channels: &Channels,
    served: &Served,
    (row, asked): (&ApprovalRow, &Asked),
    occasion: Occasion,
    (random, now): (&dyn Random, Timestamp),
) -> Vec<Statement> {
    let told = channels.told(served, (row, asked), occasion).into_iter();
    let rows = told.map(|(channel, recipient, body)| MessageRow {
        id: MessageId::generate(now, random),
        approval: row.id,
        channel: channel.to_owned(),
        recipient,
        body,
        state: MessageState::Waiting,
        attempts: 0,
        next_at: now,
        error: None,
    });
    rows.map(|row| outbox::insert(served.tenant.id, &row, now))
        .collect()
}

/// The people who are written to, by name: whom the request is put to, and later whoever answers for the agent. A group
/// has no address.
fn people((row, asked): (&ApprovalRow, &Asked), occasion: Occasion) -> BTreeSet<String> {
    let owner = asked.owner.as_ref().map(Name::as_str);
    let owner = owner.filter(|_| occasion == Occasion::Escalated);
    let all = [Some(row.addressed.as_str()), owner];
    all.into_iter()
        .flatten()
        .filter(|name| *name != request::ANYBODY && !name.starts_with("group:"))
        .map(str::to_owned)
        .collect()
}

/// A letter: its subject, an empty line, its text.
fn letter(served: &Served, (row, asked): (&ApprovalRow, &Asked), occasion: Occasion) -> String {
    let uri = request::uri(served, row.id);
    let text = sentence(asked, occasion);
    let subject = match occasion {
        Occasion::Requested => "needs a person's yes",
        Occasion::Escalated => "still waits for a person's yes",
    };
    format!(
        "Agent {} {subject}\n\n{text}\n\nLook at everything it asks for, and answer:\n{uri}\n\n\
         This message gives no access: you sign in there. If you expect no such request, say no.\n",
        asked.agent.name
    )
}

/// The payload: what Slack shows (`text`, `blocks`), and the same for programs (`chancery`).
fn body(served: &Served, (row, asked): (&ApprovalRow, &Asked), occasion: Occasion) -> serde_json::Value {
    let uri = request::uri(served, row.id);
    // Slack's own escapes: a tool's name must not become a link or a mention.
    let text = sentence(asked, occasion)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    json!({
        "text": format!("{text} {uri}"),
        "blocks": [
            { "type": "section", "text": { "type": "mrkdwn", "text": text } },
            { "type": "actions", "elements": [
                { "type": "button", "text": { "type": "plain_text", "text": "Look and answer" }, "url": uri } ] },
        ],
        "chancery": {
            "event": match occasion {
                Occasion::Requested => "approval.requested",
                Occasion::Escalated => "approval.escalated",
            },
            "approval": row.id, "tenant": served.tenant.name, "agent": asked.agent.name, "owner": asked.owner,
            "resource": asked.resource.as_ref().map(|resource| &resource.name),
            "user": asked.user.as_ref().map(|user| &user.name),
            "addressed": row.addressed, "approval_uri": uri, "expires_at": row.deadline.as_seconds(),
        },
    })
}

fn sentence(asked: &Asked, occasion: Occasion) -> String {
    let resource = asked
        .resource
        .as_ref()
        .map_or("Chancery", |resource| resource.name.as_str());
    let what = match (&asked.kind, &asked.call) {
        // A tool's name is its server's choice: it stays on one line.
        (ApprovalKind::Call, Some(call)) => {
            let target: String = call.target.chars().filter(|c| !c.is_control()).collect();
            format!("to {} {target} at {resource}", asked.verb())
        }
        (ApprovalKind::Access, _) => format!("access for a person at {resource}"),
        (ApprovalKind::Token | ApprovalKind::Call, _) => format!("a token for {resource}"),
    };
    let owner = asked.owner.as_ref().map_or("nobody", |owner| owner.as_str());
    match occasion {
        Occasion::Requested => format!(
            "Agent {} wants {what}, and needs a person's yes.",
            asked.agent.name
        ),
        Occasion::Escalated => format!(
            "Nobody has answered: agent {} wants {what}. {owner} answers for it.",
            asked.agent.name
        ),
    }
}

/// The channel's word: a webhook.
pub const WEBHOOK: &str = "webhook";
/// A person's own address, looked up when the message goes out.
pub const MAIL: &str = "email";
/// An address that is written to of every request.
pub const MAIL_LIST: &str = "email_list";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_over_body_and_time() {
        let webhook = Webhook::new(
            "https://hooks.example/services/MARKER".to_owned(),
            &Secret::new("key".to_owned()),
        )
        .unwrap();
        let at = Timestamp::from_seconds(1_700_000_000);
        let signature = webhook.sign("{}", at);
        assert!(
            signature.starts_with("t=1700000000,v1=") && signature.len() == 80,
            "{signature}"
        );
        assert_ne!(signature, webhook.sign("{ }", at));
        assert_ne!(
            signature.rsplit('=').next(),
            webhook.sign("{}", Timestamp::from_seconds(1)).rsplit('=').next()
        );
        assert!(
            !format!("{webhook:?}").contains("MARKER"),
            "the URL of a webhook is a secret"
        );
    }
}
