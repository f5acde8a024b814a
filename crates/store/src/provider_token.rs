//! Where the tokens of an account at an OAuth 2 provider stand, and who refreshes them: one at a time for each account,
//! on all nodes together. Each refresh that begins has a number of its own, and what it got is written only while that
//! number is the last. The tokens themselves are with the other credentials.

use crate::db::{Db, DbError, Expect, Row, Sql, Statement, Value};
use crate::record::{corrupt, counter, number};
use chancery_core::id::{ConnectedAccountId, NodeId, TenantId};
use chancery_core::time::Timestamp;

/// Whether the tokens of an account can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderState {
    /// They can.
    Connected,
    /// The last refresh did not succeed. It is tried again.
    Error,
    /// The provider no longer takes what we hold: the owner connects again.
    Revoked,
    /// The owner gave the account up, and it is being revoked at the provider.
    Revoking,
}

impl ProviderState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Error => "error",
            Self::Revoked => "revoked",
            Self::Revoking => "revoking",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Connected, Self::Error, Self::Revoked, Self::Revoking]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

/// Where the tokens of an account stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderTokenRow {
    /// Whether they can be used.
    pub state: ProviderState,
    /// Which of the line of tokens this is.
    pub position: u64,
    /// Whether there is a refresh token.
    pub is_refreshable: bool,
    /// Until when the access token is good, if that is known.
    pub expires_at: Option<Timestamp>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// How many refreshes have begun.
    pub attempt: u64,
    /// Who refreshes now.
    pub holder: Option<NodeId>,
    /// Until when; without a holder, before when nobody tries again.
    pub attempt_until: Option<Timestamp>,
}

impl ProviderTokenRow {
    /// Whether the access token is good at this moment.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether a call may hope for a token: the state allows it, and it is good or can be refreshed.
    pub fn is_usable(&self, now: Timestamp) -> bool {
        let is_open = matches!(self.state, ProviderState::Connected | ProviderState::Error);
        is_open && (self.is_good(now) || self.is_refreshable)
    }
}

/// What a refresh that has begun writes at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshEnd {
    /// There is a new token.
    Refreshed {
        /// Until when it is good.
        expires_at: Option<Timestamp>,
    },
    /// There is none.
    Failed {
        /// Whether it may be tried again.
        state: ProviderState,
        /// Why.
        error: String,
        /// Before when nobody tries again.
        not_before: Timestamp,
    },
}

/// Where the tokens of an account stand; nothing for an account without any.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find(
    db: &Db,
    tenant: TenantId,
    account: ConnectedAccountId,
) -> Result<Option<ProviderTokenRow>, DbError> {
    let params = vec![Value::id(tenant), Value::id(account)];
    let row = db.query_optional(&FIND, params).await?;
    row.map(|row| read(&row, 0)).transpose()
}

/// As [`find`], with the sealed tokens that belong to it, read as one.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find_with_sealed(
    db: &Db,
    tenant: TenantId,
    account: ConnectedAccountId,
) -> Result<Option<(ProviderTokenRow, Vec<u8>)>, DbError> {
    let params = vec![Value::id(tenant), Value::id(account)];
    let Some(row) = db.query_optional(&FIND_SEALED, params).await? else {
        return Ok(None);
    };
    Ok(Some((read(&row, 1)?, row.blob(0)?)))
}

/// Puts new tokens of a person's own doing in place: whatever was refreshed meanwhile is not written any more.
pub fn connect(
    tenant: TenantId,
    account: ConnectedAccountId,
    (is_refreshable, expires_at): (bool, Option<Timestamp>),
    now: Timestamp,
) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(account),
        Value::from(is_refreshable),
        Value::from(expires_at),
        Value::from(now),
    ];
    Statement::new(&CONNECT, params, Expect::Rows(1), LOST)
}

/// Takes the next refresh of an account. Fails with [`LOST`] if another node has it, if it is not time, or if the tokens
/// are not those that were seen: whoever read before another's refresh ended holds a refresh token that is used up.
pub fn begin(
    tenant: TenantId,
    account: ConnectedAccountId,
    seen: &ProviderTokenRow,
    (holder, until): (NodeId, Timestamp),
    now: Timestamp,
) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(account),
        number(seen.attempt),
        Value::id(holder),
        Value::from(until),
        Value::from(now),
        number(seen.position),
    ];
    Statement::new(&BEGIN, params, Expect::Rows(1), LOST)
}

/// Ends a refresh. Fails with [`LOST`] if it is not the last that began.
pub fn end(
    tenant: TenantId,
    account: ConnectedAccountId,
    (attempt, end): (u64, &RefreshEnd),
    now: Timestamp,
) -> Statement {
    let mut params = vec![
        Value::id(tenant),
        Value::id(account),
        number(attempt),
        Value::from(now),
    ];
    match end {
        RefreshEnd::Refreshed { expires_at } => {
            params.push(Value::from(*expires_at));
            Statement::new(&REFRESHED, params, Expect::Rows(1), LOST)
        }
        RefreshEnd::Failed {
            state,
            error,
            not_before,
        } => {
            params.extend([
                Value::from(state.as_str()),
                Value::from(error),
                Value::from(*not_before),
            ]);
            Statement::new(&FAILED, params, Expect::Rows(1), LOST)
        }
    }
}

/// Notes what came of asking for a token that is kept elsewhere: what went wrong, or that nothing did. Fails with [`LOST`]
/// for an account that was given up.
pub fn note(tenant: TenantId, account: ConnectedAccountId, error: Option<&str>, now: Timestamp) -> Statement {
    let state = if error.is_some() {
        ProviderState::Error
    } else {
        ProviderState::Connected
    };
    let params = vec![
        Value::id(tenant),
        Value::id(account),
        Value::from(state.as_str()),
        Value::from(error),
        Value::from(now),
    ];
    Statement::new(&NOTED, params, Expect::Rows(1), LOST)
}

/// Notes that the provider's interface did not take the access token: it is over, and without a way to another for good.
/// Fails with [`LOST`] for tokens that are newer than a moment, or that somebody refreshes.
pub fn refuse(
    tenant: TenantId,
    account: ConnectedAccountId,
    (before, error): (Timestamp, &str),
    now: Timestamp,
) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(account),
        Value::from(now),
        Value::from(before),
        Value::from(error),
    ];
    Statement::new(&REFUSED, params, Expect::Rows(1), LOST)
}

/// Marks tokens that are to be revoked at the provider: nobody refreshes them any more, and what is being refreshed is
/// not written.
pub fn begin_revocation(tenant: TenantId, account: ConnectedAccountId, now: Timestamp) -> Statement {
    let params = vec![Value::id(tenant), Value::id(account), Value::from(now)];
    Statement::new(&REVOKING, params, Expect::AtMost(1), LOST)
}

/// Forgets where the tokens of an account stood.
pub fn delete(tenant: TenantId, account: ConnectedAccountId) -> Statement {
    let params = vec![Value::id(tenant), Value::id(account)];
    Statement::new(&DELETE, params, Expect::AtMost(1), LOST)
}

/// Accounts whose revocation began before a moment and did not end, at most so many.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub async fn left_revoking(
    db: &Db,
    tenant: TenantId,
    (before, limit): (Timestamp, u32),
) -> Result<Vec<ConnectedAccountId>, DbError> {
    let params = vec![Value::id(tenant), Value::from(before), Value::from(limit)];
    let rows = db.query(&LEFT, params).await?;
    rows.iter().map(|row| row.id(0)).collect()
}

fn read(row: &Row, first: usize) -> Result<ProviderTokenRow, DbError> {
    let state = ProviderState::parse(&row.text(first)?);
    Ok(ProviderTokenRow {
        state: state.ok_or_else(|| corrupt("an unknown state of tokens"))?,
        position: counter(row, first + 1)?,
        is_refreshable: row.boolean(first + 2)?,
        expires_at: row.optional_timestamp(first + 3)?,
        last_error: row.optional_text(first + 4)?,
        attempt: counter(row, first + 5)?,
        holder: row.optional_id(first + 6)?,
        attempt_until: row.optional_timestamp(first + 7)?,
    })
}

/// The label of a refresh that somebody else has moved on.
pub const LOST: &str = "provider_token";

const FIND: Sql = Sql::same(
    "SELECT state, position, is_refreshable, expires_at, last_error, attempt, holder, attempt_until
     FROM provider_tokens WHERE tenant = ?1 AND account = ?2",
);
const FIND_SEALED: Sql = Sql::same(
    "SELECT s.sealed, t.state, t.position, t.is_refreshable, t.expires_at, t.last_error, t.attempt, t.holder,
            t.attempt_until
     FROM provider_tokens AS t JOIN credentials AS s ON s.tenant = t.tenant AND s.account = t.account
     WHERE t.tenant = ?1 AND t.account = ?2",
);
const CONNECT: Sql = Sql::same(
    "INSERT INTO provider_tokens
       (tenant, account, state, position, is_refreshable, expires_at, attempt, updated_at)
     VALUES (?1, ?2, 'connected', 1, ?3, ?4, 0, ?5)
     ON CONFLICT (tenant, account) DO UPDATE SET state = 'connected', position = provider_tokens.position + 1,
       is_refreshable = excluded.is_refreshable, expires_at = excluded.expires_at, last_error = NULL,
       attempt = provider_tokens.attempt + 1, holder = NULL, attempt_until = NULL, updated_at = excluded.updated_at",
);
const BEGIN: Sql = Sql::same(
    "UPDATE provider_tokens SET attempt = attempt + 1, holder = ?4, attempt_until = ?5, updated_at = ?6
     WHERE tenant = ?1 AND account = ?2 AND attempt = ?3 AND position = ?7 AND is_refreshable = 1
       AND state IN ('connected', 'error') AND (attempt_until IS NULL OR attempt_until <= ?6)",
);
const REFRESHED: Sql = Sql::same(
    "UPDATE provider_tokens SET state = 'connected', position = position + 1, expires_at = ?5, last_error = NULL,
       holder = NULL, attempt_until = NULL, updated_at = ?4
     WHERE tenant = ?1 AND account = ?2 AND attempt = ?3 AND holder IS NOT NULL AND state IN ('connected', 'error')",
);
const FAILED: Sql = Sql::same(
    "UPDATE provider_tokens SET state = ?5, last_error = ?6, holder = NULL, attempt_until = ?7, updated_at = ?4
     WHERE tenant = ?1 AND account = ?2 AND attempt = ?3 AND holder IS NOT NULL AND state IN ('connected', 'error')",
);
const NOTED: Sql = Sql::same(
    "UPDATE provider_tokens SET state = ?3, last_error = ?4, updated_at = ?5
     WHERE tenant = ?1 AND account = ?2 AND state IN ('connected', 'error')",
);
const REFUSED: Sql = Sql::same(
    "UPDATE provider_tokens SET expires_at = ?3, last_error = ?5, updated_at = ?3,
       state = CASE WHEN is_refreshable = 1 THEN state ELSE 'revoked' END
     WHERE tenant = ?1 AND account = ?2 AND state IN ('connected', 'error') AND holder IS NULL AND updated_at <= ?4",
);
const REVOKING: Sql = Sql::same(
    "UPDATE provider_tokens SET state = 'revoking', attempt = attempt + 1, holder = NULL, updated_at = ?3
     WHERE tenant = ?1 AND account = ?2",
);
const DELETE: Sql = Sql::same("DELETE FROM provider_tokens WHERE tenant = ?1 AND account = ?2");
const LEFT: Sql = Sql::same(
    "SELECT account FROM provider_tokens WHERE tenant = ?1 AND state = 'revoking' AND updated_at < ?2 LIMIT ?3",
);

pub(crate) const QUERIES: &[&Sql] = &[
    &FIND,
    &FIND_SEALED,
    &CONNECT,
    &BEGIN,
    &REFRESHED,
    &FAILED,
    &NOTED,
    &REFUSED,
    &REVOKING,
    &DELETE,
    &LEFT,
];
