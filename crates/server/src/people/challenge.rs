//! Challenges for passkeys (WebAuthn Level 3 §13.4.3). A page hands out a ticket and the challenge that follows from it; nothing
//! is stored until it is used, and then once.
//!
//! A challenge is a MAC under the tenant's key over what it is for: the purpose, the browser or session, and the ticket with
//! its end. So it is good for that alone, here alone, and for a few minutes.

use crate::setup::sha256;
use crate::tenants::Served;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery_core::approval;
use chancery_core::id::{ApprovalId, Id as _, SessionId, TenantId};
use chancery_core::random::Random;
use chancery_core::secret::TokenDigest;
use chancery_core::time::{Timestamp, Ttl};
use chancery_store::Statement;
use chancery_store::consumed::{self, ConsumedKind};

/// What a challenge is for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// Whoever is signed in registers a passkey.
    Register(SessionId),
    /// Whoever holds a one-time code registers a passkey, in this browser.
    Enrol(&'a [u8; 32], &'a TokenDigest),
    /// Somebody signs in, in this browser.
    SignIn(&'a [u8; 32]),
    /// Whoever is signed in says yes to the record with this hash.
    Approve(SessionId, ApprovalId, &'a [u8; 32]),
}

/// A challenge, as it is handed out or taken back.
#[derive(Clone, Debug)]
pub struct Challenge {
    /// What the page carries beside it.
    pub ticket: String,
    /// What makes it another one each time.
    pub nonce: [u8; 32],
    /// What the passkey signs.
    pub bytes: [u8; 32],
    /// Until when it is taken.
    pub expires_at: Timestamp,
}

/// Why a challenge is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// The ticket is none of ours.
    #[error("this does not belong to a page of ours")]
    Malformed,
    /// It was handed out too long ago.
    #[error("this took too long; reload the page")]
    Over,
}

/// A new challenge.
pub fn make(served: &Served, random: &dyn Random, purpose: Purpose<'_>, now: Timestamp) -> Challenge {
    let unique: [u8; 16] = random.bytes();
    derive(served, purpose, &unique, now.plus(LIFETIME))
}

/// The challenge of a ticket, if it is for this purpose and not over. That it is this challenge and no other shows when the
/// passkey's answer is compared with it.
///
/// # Errors
/// [`ChallengeError`].
pub fn take(
    served: &Served,
    purpose: Purpose<'_>,
    ticket: &str,
    now: Timestamp,
) -> Result<Challenge, ChallengeError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(ticket)
        .map_err(|_| ChallengeError::Malformed)?;
    let bytes: [u8; 24] = bytes.try_into().map_err(|_| ChallengeError::Malformed)?;
    let (unique, end) = bytes.split_first_chunk::<16>().ok_or(ChallengeError::Malformed)?;
    let end = <[u8; 8]>::try_from(end).map_err(|_| ChallengeError::Malformed)?;
    let expires_at = Timestamp::from_micros(i64::from_be_bytes(end));
    // SECURITY: somebody who writes a later end into a ticket has another challenge, which no passkey was asked to sign.
    if expires_at <= now || expires_at > now.plus(LIFETIME) {
        return Err(ChallengeError::Over);
    }
    Ok(derive(served, purpose, unique, expires_at))
}

impl Challenge {
    /// Uses it up. Fails with [`consumed::REPLAYED`] unless it is the first to.
    pub fn spend(&self, tenant: TenantId) -> Statement {
        let digest = sha256(&self.bytes);
        consumed::consume(tenant, ConsumedKind::PasskeyChallenge, &digest, self.expires_at)
    }
}

fn derive(served: &Served, purpose: Purpose<'_>, unique: &[u8; 16], expires_at: Timestamp) -> Challenge {
    let ticket = [unique.as_slice(), &expires_at.as_micros().to_be_bytes()].concat();
    let tag = served.keys.page_tag(&message(purpose, &ticket));
    // INVARIANT: HMAC-SHA256 gives 32 bytes; hashed all the same, so that the key's own tag is never said.
    let nonce = sha256(&tag);
    let bytes = match purpose {
        Purpose::Register(_) | Purpose::Enrol(..) | Purpose::SignIn(_) => nonce,
        Purpose::Approve(_, _, hash) => sha256(&approval::challenge(&nonce, hash)),
    };
    Challenge {
        ticket: URL_SAFE_NO_PAD.encode(ticket),
        nonce,
        bytes,
        expires_at,
    }
}

fn message(purpose: Purpose<'_>, ticket: &[u8]) -> Vec<u8> {
    let (word, about): (&[u8], Vec<u8>) = match purpose {
        Purpose::Register(session) => (b"register ", session.as_bytes().to_vec()),
        Purpose::Enrol(browser, code) => (b"enrol ", [browser.as_slice(), code.as_bytes()].concat()),
        Purpose::SignIn(browser) => (b"sign in ", browser.to_vec()),
        Purpose::Approve(session, approval, hash) => (
            b"approve ",
            [session.as_bytes().as_slice(), approval.as_bytes(), hash].concat(),
        ),
    };
    [b"passkey challenge ".as_slice(), word, &about, ticket].concat()
}

/// How long a person may take.
pub const LIFETIME: Ttl = Ttl::from_minutes(5);
