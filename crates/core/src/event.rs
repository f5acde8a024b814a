//! Audit events: immutable facts, each a leaf of the tenant's log.

use crate::actor::Actor;
use crate::id::{DecisionId, EventId, TenantId};
use crate::noun::Noun;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An event that is about to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// When.
    pub time: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// How it ended.
    pub outcome: EventOutcome,
    /// Who caused it.
    pub actor: Actor,
    /// Ids that the event is about, each with the part it plays (`agent`, `grant`, `token`, …).
    pub ids: Vec<(&'static str, String)>,
    /// The decision behind it.
    pub decision: Option<DecisionId>,
    /// Parts that are personal or may be erased; the leaf holds only a keyed commitment to each.
    pub parts: Vec<Part>,
}

/// A part of an event that is kept beside the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is: `state`, `request`, `facts`, …
    pub name: &'static str,
    /// How long it is kept.
    pub class: PartClass,
    /// Its JSON text.
    pub content: String,
}

/// Retention classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartClass {
    /// What operators need to rebuild the past.
    Operational,
    /// About a person.
    Personal,
    /// Arguments of calls.
    Arguments,
    /// A stored decision.
    Decision,
}

impl PartClass {
    /// The word stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operational => "operational",
            Self::Personal => "personal",
            Self::Arguments => "arguments",
            Self::Decision => "decision",
        }
    }
}

/// How an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventOutcome {
    /// It was done.
    Ok,
    /// It was refused.
    Denied,
    /// It could not be done.
    Failed,
}

impl EventOutcome {
    /// The word stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A token was asked for: issued or refused.
    TokenIssued,
    /// A token was revoked by its holder.
    TokenRevoked,
    /// A caller could not be authenticated.
    AuthenticationFailed,
    /// Callers could not be authenticated, more often than is recorded one by one.
    AuthenticationFailuresOmitted,
    /// A noun was changed.
    Changed(Noun, Change),
    /// A signing key was made or retired.
    KeyChanged,
    /// A management request was refused by policy.
    ManagementDenied,
    /// A tenant's log began.
    LogStarted,
    /// The log was continued from a restored database; names the last known checkpoint.
    LogRestored,
    /// A part was erased.
    PartErased,
    /// The enrolment code was used.
    Enrolled,
    /// A person set or changed the password of a local account.
    PasswordSet,
    /// A person registered a passkey.
    PasskeyAdded,
    /// A person gave a passkey another name.
    PasskeyRenamed,
    /// A person removed a passkey.
    PasskeyRemoved,
    /// A call was decided: permitted or refused.
    CallDecided,
    /// A call that was permitted ended.
    CallEnded,
    /// An MCP server showed something new of itself, or something else than before.
    ManifestSeen,
    /// What an MCP server shows was accepted.
    ManifestAccepted,
    /// Calls or token requests were refused because a limit was reached: how many, counted and not one by one.
    LimitReached,
    /// A copy of the database was made.
    BackedUp,
    /// Somebody confirmed that what a restore lost has been looked at.
    RestoreConfirmed,
    /// A tenant got a new key, and what is sealed under the one before is being wrapped anew.
    VaultRotationStarted,
    /// Nothing is sealed under the tenant's key before any more, and it is forgotten.
    VaultRotated,
    /// The root key was replaced.
    RootKeyRotated,
    /// The key of a tenant that ended was destroyed.
    TenantKeyDestroyed,
    /// A person's yes was asked for.
    ApprovalRequested,
    /// A person said yes.
    ApprovalGiven,
    /// A person said no.
    ApprovalDenied,
    /// Nobody answered or used it in time, or what it hung on is gone.
    ApprovalExpired,
    /// Nobody had answered for a while, and more people were told.
    ApprovalEscalated,
    /// What was approved was done.
    ApprovalUsed,
    /// What is stored of a request is not what was asked: somebody changed it behind our back.
    ApprovalTampered,
    /// A person answered what a client asked for: with a code, or with no.
    AuthorizationAnswered,
    /// A code or refresh token was used again, and what was issued on it ended.
    AgreementReused,
    /// The tokens of a connected account are about to be refreshed at the provider.
    AccountRefreshing,
    /// They were, or why not.
    AccountRefreshed,
    /// The provider's interface did not take the token of a connected account.
    AccountRefused,
    /// The tokens of a connected account were revoked at the provider, or why not.
    AccountRevoked,
}

/// What was done to a noun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Made.
    Created,
    /// Its spec changed.
    Updated,
    /// Put into use, or back into it.
    Activated,
    /// Stopped.
    Suspended,
    /// Ended for good.
    Retired,
    /// Stopped at once with everything that hangs on it.
    Killed,
    /// Its secret was reset.
    SecretReset,
}

impl Change {
    /// The word in event kinds.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Activated => "activated",
            Self::Suspended => "suspended",
            Self::Retired => "retired",
            Self::Killed => "killed",
            Self::SecretReset => "secret_reset",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokenIssued => f.write_str("token.issued"),
            Self::TokenRevoked => f.write_str("token.revoked"),
            Self::AuthenticationFailed => f.write_str("authentication.failed"),
            Self::AuthenticationFailuresOmitted => f.write_str("authentication.failures_omitted"),
            Self::Changed(noun, change) => write!(f, "{noun}.{}", change.as_str()),
            Self::KeyChanged => f.write_str("key.changed"),
            Self::ManagementDenied => f.write_str("management.denied"),
            Self::LogStarted => f.write_str("log.started"),
            Self::LogRestored => f.write_str("log.restored"),
            Self::PartErased => f.write_str("part.erased"),
            Self::Enrolled => f.write_str("user.enrolled"),
            Self::PasswordSet => f.write_str("password.set"),
            Self::PasskeyAdded => f.write_str("passkey.added"),
            Self::PasskeyRenamed => f.write_str("passkey.renamed"),
            Self::PasskeyRemoved => f.write_str("passkey.removed"),
            Self::CallDecided => f.write_str("call.decided"),
            Self::CallEnded => f.write_str("call.ended"),
            Self::ManifestSeen => f.write_str("manifest.seen"),
            Self::ManifestAccepted => f.write_str("manifest.accepted"),
            Self::LimitReached => f.write_str("limit.reached"),
            Self::BackedUp => f.write_str("database.backed_up"),
            Self::RestoreConfirmed => f.write_str("restore.confirmed"),
            Self::VaultRotationStarted => f.write_str("vault.rotation_started"),
            Self::VaultRotated => f.write_str("vault.rotated"),
            Self::RootKeyRotated => f.write_str("root_key.rotated"),
            Self::TenantKeyDestroyed => f.write_str("tenant_key.destroyed"),
            Self::ApprovalRequested => f.write_str("approval.requested"),
            Self::ApprovalGiven => f.write_str("approval.given"),
            Self::ApprovalDenied => f.write_str("approval.denied"),
            Self::ApprovalExpired => f.write_str("approval.expired"),
            Self::ApprovalEscalated => f.write_str("approval.escalated"),
            Self::ApprovalUsed => f.write_str("approval.used"),
            Self::ApprovalTampered => f.write_str("approval.tampered"),
            Self::AuthorizationAnswered => f.write_str("authorization.answered"),
            Self::AgreementReused => f.write_str("agreement.reused"),
            Self::AccountRefreshing => f.write_str("connected_account.refreshing"),
            Self::AccountRefreshed => f.write_str("connected_account.refreshed"),
            Self::AccountRefused => f.write_str("connected_account.refused"),
            Self::AccountRevoked => f.write_str("connected_account.revoked"),
        }
    }
}
