//! A yes that a passkey signs (WebAuthn Level 3 §7.2): who must sign, what is signed, and what is kept of it.
//!
//! What is signed follows from the record's hash, so that an assertion for one record is none for another; and everything that
//! proves it is in the event, so that nobody has to believe the database (ADR 0015).

use crate::app::App;
use crate::error::{Failure, Refusal};
use crate::people::challenge::{self, Purpose};
use crate::people::passkey::{self, Offer, PasskeyError};
use crate::people::session::SignedIn;
use crate::people::webauthn::{WebauthnError, credential_of};
use crate::tenants::Served;
use chancery_audit::Assertion;
use chancery_audit::assertion::Bytes;
use chancery_core::approval::{ApprovalMethod, ApprovalRecord};
use chancery_core::event::{Part, PartClass};
use chancery_core::id::{ApprovalId, SessionId};
use chancery_core::resource::Sensitivity;
use chancery_core::time::Timestamp;
use chancery_core::user::User;
use chancery_store::Statement;
use chancery_store::approval::ApprovalRow;
use chancery_store::passkey::{self as store, PasskeyRow};

/// What a passkey answered on the page of a request.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The session in which it did.
    pub session: SessionId,
    /// The ticket that the page carried.
    pub ticket: &'a str,
    /// What the browser answered, as JSON.
    pub credential: &'a str,
}

/// What the page of a request asks of whoever says yes.
#[derive(Clone, Debug)]
pub enum StepUp {
    /// Nothing more.
    None,
    /// A signature of one of their passkeys.
    Sign(Box<Offer>),
    /// A signature, and they have no passkey.
    Unable,
}

/// What a signed yes leaves behind.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) statements: Vec<Statement>,
    pub(super) part: Part,
}

/// What the page asks of whoever is signed in.
///
/// # Errors
/// The database's; a stored passkey that cannot be read.
pub async fn offer(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    (id, record, hash): (ApprovalId, &ApprovalRecord, &[u8; 32]),
    now: Timestamp,
) -> Result<StepUp, Failure> {
    let passkeys = passkey::list(app, served, signed_in.user.id).await?;
    if !must_sign(record, &passkeys) {
        return Ok(StepUp::None);
    }
    let Ok(party) = passkey::relying_party(served) else {
        return Ok(StepUp::Unable);
    };
    if passkeys.is_empty() {
        return Ok(StepUp::Unable);
    }
    let purpose = Purpose::Approve(signed_in.session.id, id, hash);
    let challenge = challenge::make(served, &*app.random, purpose, now);
    let contents: Vec<&str> = passkeys.iter().map(|row| row.content.as_str()).collect();
    let options = party
        .request(&contents, &challenge.bytes)
        .map_err(Failure::internal)?;
    Ok(StepUp::Sign(Box::new(Offer {
        ticket: challenge.ticket,
        options: options.to_string(),
    })))
}

/// Verifies what was signed, if this person must sign this.
///
/// # Errors
/// It is missing, or not acceptable; the database's.
pub(super) async fn check(
    app: &App,
    served: &Served,
    (row, record, person): (&ApprovalRow, &ApprovalRecord, &User),
    signed: Option<Signed<'_>>,
    now: Timestamp,
) -> Result<Option<Kept>, Failure> {
    let passkeys = passkey::list(app, served, person.id).await?;
    if !must_sign(record, &passkeys) {
        return Ok(None);
    }
    let signed = signed.ok_or_else(|| {
        let page = super::request::uri(served, row.id);
        Refusal::Invalid(format!("a yes to this is signed with a passkey, at {page}"))
    })?;
    let verified = verify(served, (row, person), (&passkeys, signed), now);
    let (assertion, mut statements) = verified.map_err(|error| match error {
        PasskeyError::Failure(failure) => failure,
        PasskeyError::Answer(WebauthnError::Stored) => Failure::internal("a stored passkey cannot be read"),
        other @ (PasskeyError::NoHost
        | PasskeyError::Challenge(_)
        | PasskeyError::Answer(_)
        | PasskeyError::Replayed
        | PasskeyError::Taken
        | PasskeyError::TooMany
        | PasskeyError::Invitation(_)) => Refusal::Invalid(other.to_string()).into(),
    })?;
    let content = serde_json::to_string(&assertion).map_err(Failure::internal)?;
    statements.push(store::insert_assertion(
        served.tenant.id,
        row.id,
        person.id,
        &content,
    ));
    Ok(Some(Kept {
        statements,
        part: Part {
            name: "assertion",
            class: PartClass::Arguments,
            content,
        },
    }))
}

/// Policy asks for it, or what is asked is sensitive and the person can.
fn must_sign(record: &ApprovalRecord, passkeys: &[PasskeyRow]) -> bool {
    let is_asked = record.requirement.methods.contains(&ApprovalMethod::Passkey);
    is_asked || (record.subject.sensitivity == Sensitivity::Sensitive && !passkeys.is_empty())
}

fn verify(
    served: &Served,
    (row, person): (&ApprovalRow, &User),
    (passkeys, signed): (&[PasskeyRow], Signed<'_>),
    now: Timestamp,
) -> Result<(Assertion, Vec<Statement>), PasskeyError> {
    let tenant = served.tenant.id;
    let purpose = Purpose::Approve(signed.session, row.id, &row.hash);
    let challenge = challenge::take(served, purpose, signed.ticket, now)?;
    let credential = credential_of(signed.credential)?;
    // SECURITY: one of this person's own, whatever else is registered here.
    let passkey = passkeys.iter().find(|passkey| passkey.credential == credential);
    let passkey = passkey.ok_or(WebauthnError::Refused)?;
    let party = passkey::relying_party(served)?;
    let about = (person.id, passkey.content.as_str());
    let verified = party.verify(about, &challenge.bytes, signed.credential)?;
    if verified.went_back {
        tracing::warn!(passkey = %passkey.id, "the counter of a passkey went back: there may be a copy of it");
    }
    let assertion = Assertion {
        record: row.record.clone(),
        nonce: Bytes(challenge.nonce.to_vec()),
        relying_party: party.id,
        origin: party.origin,
        person: person.id,
        credential: Bytes(credential),
        key: verified.key,
        authenticator_data: Bytes(verified.authenticator_data),
        client_data_json: Bytes(verified.client_data_json),
        signature: Bytes(verified.signature),
    };
    // What cannot be verified later is not taken now: by the very function that verifies it then.
    if assertion.verify((tenant, row.id, person.id)).is_err() {
        return Err(WebauthnError::Refused.into());
    }
    let statements = vec![
        challenge.spend(tenant),
        store::note_use(tenant, passkey.id, &verified.content, now),
    ];
    Ok((assertion, statements))
}
