//! Which passwords are good enough, and how fast they may be tried (NIST SP 800-63B §5.1.1.2, §5.2.2): long rather than
//! elaborate, not among those that are known to be guessed, and slower with each wrong one, on all nodes together.

use crate::app::App;
use crate::error::{Failure, Refusal};
use crate::issue::arrival::{Arrival, Source};
use crate::people::hashing::HashingError;
use crate::setup::sha256;
use crate::tenants::Served;
use aws_lc_rs::digest;
use chancery_core::id::TenantId;
use chancery_core::secret::Secret;
use chancery_core::time::{Timestamp, Ttl};
use chancery_store::password::{self as store, Pace};
use chancery_store::{Outcome, Statement};
use std::collections::HashSet;

/// Why a password is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRule {
    /// It is too short.
    #[error("a password has at least {MIN_LENGTH} characters")]
    Short,
    /// It is too long to be one.
    #[error("a password has at most {MAX_BYTES} bytes")]
    Long,
    /// It is on the operator's list.
    #[error("this password is known to people who guess passwords: choose another")]
    Known,
    /// It is made of the account's own name.
    #[error("a password does not contain the name of its account")]
    Name,
}

/// Passwords that are not taken: digests, as breaches are published, or the passwords themselves.
#[derive(Clone, Default)]
pub struct KnownPasswords {
    sha1: HashSet<[u8; 20]>,
    sha256: HashSet<[u8; 32]>,
}

impl KnownPasswords {
    /// Reads a list, one a line: SHA-1 or SHA-256 in hexadecimal digits, with a count behind a colon or without one, or
    /// the password itself.
    pub fn parse(text: &str) -> Self {
        let mut known = Self::default();
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            let digits = line.split(':').next().unwrap_or(line);
            let bytes = super::session::from_hexadecimal(digits).unwrap_or_default();
            if let Ok(digest) = <[u8; 20]>::try_from(bytes.as_slice()) {
                known.sha1.insert(digest);
            } else if let Ok(digest) = <[u8; 32]>::try_from(bytes.as_slice()) {
                known.sha256.insert(digest);
            } else {
                known.sha256.insert(sha256(line.as_bytes()));
            }
        }
        known
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.sha1.len() + self.sha256.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn holds(&self, password: &str) -> bool {
        let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let is_in_breach =
            <[u8; 20]>::try_from(sha1.as_ref()).is_ok_and(|digest| self.sha1.contains(&digest));
        is_in_breach || self.sha256.contains(&sha256(password.as_bytes()))
    }
}

impl std::fmt::Debug for KnownPasswords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KnownPasswords")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Whether a password may be set for an account.
///
/// # Errors
/// The rule that it breaks.
pub fn check(known: &KnownPasswords, account: &str, password: &Secret<String>) -> Result<(), PasswordRule> {
    let text = password.expose_secret();
    if text.chars().count() < MIN_LENGTH {
        return Err(PasswordRule::Short);
    }
    if text.len() > MAX_BYTES {
        return Err(PasswordRule::Long);
    }
    if account.len() >= 3 && text.to_lowercase().contains(&account.to_lowercase()) {
        return Err(PasswordRule::Name);
    }
    if known.holds(text) || known.holds(&text.to_lowercase()) {
        return Err(PasswordRule::Known);
    }
    Ok(())
}

/// Why a password was not looked at, or is not the right one.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The name or the password is wrong. Which one, nobody is told.
    #[error("the name or the password is not right")]
    Wrong,
    /// It comes too soon after wrong ones.
    #[error("too many wrong passwords; try again in {} s", .0.as_seconds().max(1))]
    TooSoon(Ttl),
    /// Too many people sign in at once.
    #[error("too many people sign in at once; try again")]
    Busy,
    /// It may not be set.
    #[error(transparent)]
    Rule(#[from] PasswordRule),
    /// The node cannot tell.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl From<HashingError> for PasswordError {
    fn from(error: HashingError) -> Self {
        match error {
            HashingError::Busy => Self::Busy,
            HashingError::Failure(failure) => Self::Failure(failure),
        }
    }
}

impl From<PasswordRule> for Failure {
    fn from(rule: PasswordRule) -> Self {
        Refusal::Invalid(rule.to_string()).into()
    }
}

/// For what tries are counted: an account by the name that was typed, whether it exists or not, and a source.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    account: [u8; 32],
    source: [u8; 32],
}

impl Counted {
    /// The account of this name, and where the try comes from.
    pub fn of(account: &str, source: Source) -> Self {
        let digest = |kind: &str, text: &str| sha256(format!("{kind} {text}").as_bytes());
        Self {
            account: digest("account", account),
            source: digest("source", &source.to_string()),
        }
    }

    /// Counts a try that is about to be made.
    ///
    /// # Errors
    /// [`PasswordError::TooSoon`].
    pub async fn begin(&self, app: &App, served: &Served, arrival: Arrival) -> Result<(), PasswordError> {
        let (tenant, now) = (served.tenant.id, arrival.now);
        // In one order, so that two tries never wait for each other.
        let mut counted = [(&self.account, &OF_ACCOUNT), (&self.source, &OF_SOURCE)];
        counted.sort_unstable_by_key(|(subject, _)| **subject);
        let statements = counted.map(|(subject, pace)| store::count_try(tenant, subject, pace, now));
        match app.commit(app.batch(now).extend(statements), &[]).await? {
            Outcome::Committed => Ok(()),
            Outcome::Refused { .. } => {
                let subjects = [&self.account, &self.source];
                let until = store::find_until(&app.db, tenant, subjects).await;
                let until = until.map_err(Failure::from)?.unwrap_or(now);
                Err(PasswordError::TooSoon(until.since(now)))
            }
        }
    }

    /// What is written when the password was right.
    pub fn succeeded(&self, tenant: TenantId, now: Timestamp) -> [Statement; 2] {
        [
            store::forget_tries(tenant, &self.account),
            store::take_back_try(tenant, &self.source, now),
        ]
    }
}

/// The shortest password, in characters (NIST SP 800-63B §5.1.1.1 asks for 8; 12 since it may stand alone).
pub const MIN_LENGTH: usize = 12;
/// The longest, in bytes.
const MAX_BYTES: usize = 512;

/// An account: five tries, then 1, 2, 4 … seconds and at last a quarter of an hour between two. Whoever knows the name can
/// make its owner wait, and no longer; a passkey does not wait.
const OF_ACCOUNT: Pace = Pace {
    free: 5,
    first: Ttl::from_seconds(1),
    longest: Ttl::from_minutes(15),
    forgotten_after: Ttl::from_days(1),
};
/// A source: many people may share one.
const OF_SOURCE: Pace = Pace {
    free: 30,
    first: Ttl::from_seconds(1),
    longest: Ttl::from_minutes(15),
    forgotten_after: Ttl::from_minutes(60),
};
/// After how long tries are forgotten, whatever they are counted for.
pub const FORGOTTEN_AFTER: Ttl = OF_ACCOUNT.forgotten_after;

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(known: &str, account: &str, password: &str) -> Result<(), PasswordRule> {
        check(
            &KnownPasswords::parse(known),
            account,
            &Secret::new(password.to_owned()),
        )
    }

    #[test]
    fn a_password_is_long_and_not_its_accounts_name() {
        assert_eq!(checked("", "ada", "eleven char"), Err(PasswordRule::Short));
        // Characters are counted, not bytes.
        assert_eq!(checked("", "ada", "ääääää"), Err(PasswordRule::Short));
        assert_eq!(checked("", "ada", "twelve chars"), Ok(()));
        assert_eq!(checked("", "ada", &"x".repeat(513)), Err(PasswordRule::Long));
        assert_eq!(
            checked("", "lovelace", "My-LoveLace-2026"),
            Err(PasswordRule::Name)
        );
    }

    #[test]
    fn a_password_on_the_list_is_refused_in_each_form_of_the_list() {
        // SHA-1 and SHA-256 of `correct horse battery`, as breaches list them, and the text itself.
        let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, b"correct horse battery");
        let sha1 = super::super::session::hexadecimal(sha1.as_ref()).to_uppercase();
        let longer = super::super::session::hexadecimal(&sha256(b"correct horse battery"));
        for list in [
            format!("{sha1}:42\r\n"),
            sha1.to_lowercase(),
            longer,
            "x\ncorrect horse battery\n".to_owned(),
        ] {
            assert_eq!(
                checked(&list, "ada", "correct horse battery"),
                Err(PasswordRule::Known)
            );
            assert_eq!(
                checked(&list, "ada", "Correct Horse Battery"),
                Err(PasswordRule::Known)
            );
            assert_eq!(checked(&list, "ada", "correct horse batteries"), Ok(()));
        }
        assert_eq!(KnownPasswords::parse(&format!("{sha1}\nx")).len(), 2);
    }
}
