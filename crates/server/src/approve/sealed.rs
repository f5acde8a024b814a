//! The stored record of a request: written under the tenant's MAC, and read only if nobody has changed it since. A
//! record that was changed is refused and is an event.

use crate::app::App;
use crate::error::Failure;
use crate::record;
use crate::setup::sha256;
use crate::tenants::Served;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use chancery_core::actor::{Actor, SystemActor};
use chancery_core::approval::ApprovalRecord;
use chancery_core::event::{Event, EventKind, EventOutcome};
use chancery_core::id::{ApprovalId, EventId, Id as _};
use chancery_core::secret::TokenDigest;
use chancery_core::time::Timestamp;
use chancery_store::approval::ApprovalRow;
use std::fmt::Write as _;

/// The hash of a record's canonical text.
pub fn hash(text: &str) -> [u8; 32] {
    sha256(&ApprovalRecord::to_hash(text))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The MAC over a request's id and hash.
pub fn mac(served: &Served, id: ApprovalId, hash: &[u8; 32]) -> Vec<u8> {
    served.keys.session_tag(&[*id.as_bytes()], &message(hash))
}

/// The record of a row. `None` if it is not what was asked; that is recorded.
///
/// # Errors
/// The database's.
pub async fn open(
    app: &App,
    served: &Served,
    row: &ApprovalRow,
    now: Timestamp,
) -> Result<Option<ApprovalRecord>, Failure> {
    if let Some(record) = genuine(served, row) {
        return Ok(Some(record));
    }
    tracing::error!(approval = %row.id, "the record of an approval was changed behind our back");
    let event = Event {
        id: EventId::generate(now, &*app.random),
        tenant: served.tenant.id,
        time: now,
        kind: EventKind::ApprovalTampered,
        outcome: EventOutcome::Failed,
        actor: Actor::System(SystemActor::Approval),
        ids: vec![("approval", row.id.to_string())],
        decision: None,
        parts: Vec::new(),
    };
    let statement = record::statement(served.keys.seal(), &event, &*app.random)?;
    let _ = app.commit(app.batch(now).push(statement), &[]).await?;
    Ok(None)
}

/// SECURITY: text, hash, MAC, id and tenant all belong together, and the text is the canonical one of what it says.
fn genuine(served: &Served, row: &ApprovalRow) -> Option<ApprovalRecord> {
    let is_ours = served
        .keys
        .is_session_tag(&[*row.id.as_bytes()], &message(&row.hash), &row.mac);
    if !is_ours || hash(&row.record) != row.hash {
        return None;
    }
    let record: ApprovalRecord = serde_json::from_str(&row.record).ok()?;
    let is_of_row = record.id == row.id && record.tenant == served.tenant.id;
    (is_of_row && record.to_text().as_deref() == Ok(&row.record)).then_some(record)
}

/// The handle that the asking client polls with: derived, so that asking for the same thing again gives the same.
/// Nobody without the tenant's key can tell it from the id.
pub fn handle(served: &Served, id: ApprovalId) -> String {
    BASE64URL.encode(served.keys.session_tag(&[*id.as_bytes()], b"auth_req_id"))
}

/// The digest that stands for a handle.
pub fn digest(handle: &str) -> TokenDigest {
    TokenDigest::new(sha256(handle.as_bytes()))
}

fn message(hash: &[u8; 32]) -> Vec<u8> {
    [b"approval record ".as_slice(), hash].concat()
}
