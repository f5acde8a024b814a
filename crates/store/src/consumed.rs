//! What may be used once: a row is inserted, and only the first insert succeeds.

use crate::db::{Expect, Sql, Statement, Value};
use chancery_core::id::TenantId;
use chancery_core::time::Timestamp;

/// What kind of thing is used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumedKind {
    /// The `jti` of a client's assertion.
    ClientAssertion,
    /// The `jti` of a user's proof for a management token.
    UserAssertion,
    /// The `jti` of an assertion that is a grant.
    Grant,
    /// The challenge that a passkey signed.
    PasskeyChallenge,
}

/// The label of a consumption that was not the first.
pub const REPLAYED: &str = "replayed";
/// The same for an assertion that is a grant: it is the grant that is refused, and not the client.
pub const GRANT_REPLAYED: &str = "grant_replayed";

/// Consumes a thing by the SHA-256 of what names it. Fails with [`REPLAYED`] or [`GRANT_REPLAYED`] if it was consumed
/// before.
pub fn consume(tenant: TenantId, kind: ConsumedKind, digest: &[u8; 32], expires_at: Timestamp) -> Statement {
    let (word, label) = match kind {
        ConsumedKind::ClientAssertion => ("client_assertion", REPLAYED),
        ConsumedKind::UserAssertion => ("user_assertion", REPLAYED),
        ConsumedKind::Grant => ("grant", GRANT_REPLAYED),
        ConsumedKind::PasskeyChallenge => ("passkey_challenge", REPLAYED),
    };
    let params = vec![
        Value::id(tenant),
        Value::from(word),
        Value::from(digest),
        Value::from(expires_at),
    ];
    Statement::new(&CONSUME, params, Expect::Unique, label)
}

/// Forgets what has ended by itself.
pub fn prune(now: Timestamp) -> [Statement; 2] {
    let statement = |sql| Statement::new(sql, vec![Value::from(now)], Expect::Any, "prune");
    [statement(&PRUNE), statement(&PRUNE_TOKENS)]
}

const CONSUME: Sql =
    Sql::same("INSERT INTO consumed (tenant, kind, digest, expires_at) VALUES (?1, ?2, ?3, ?4)");
const PRUNE: Sql = Sql::same("DELETE FROM consumed WHERE expires_at < ?1");
const PRUNE_TOKENS: Sql = Sql::same("DELETE FROM revoked_tokens WHERE expires_at < ?1");

pub(crate) const QUERIES: &[&Sql] = &[&CONSUME, &PRUNE, &PRUNE_TOKENS];
