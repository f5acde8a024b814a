//! What things are called on pages: scopes in plain words, how sensitive they are, and moments.

use super::outside::Shown;
use crate::connect::account::AccountStatus;
use chancery_core::approval::MAX_RECORD;
use chancery_core::resource::{Resource, Sensitivity};
use chancery_core::scope::Scope;
use chancery_core::time::{Timestamp, Ttl};
use serde_json::{Map, Value};

/// A scope in the words of its resource; its name if it has none.
pub fn scope(resource: Option<&Resource>, scope: &Scope) -> String {
    let spec = resource.and_then(|resource| resource.spec.scopes.get(scope));
    match spec
        .map(|spec| spec.description.as_str())
        .filter(|text| !text.is_empty())
    {
        Some(description) => description.to_owned(),
        None => scope.to_string(),
    }
}

/// How sensitive a scope is, and the class of its badge.
pub const fn sensitivity(sensitivity: Sensitivity) -> (&'static str, &'static str) {
    match sensitivity {
        Sensitivity::Read => ("reads", "good"),
        Sensitivity::Write => ("changes things", "warn"),
        Sensitivity::Sensitive => ("sensitive", "bad"),
    }
}

/// Whether an account can be used, and the class of its badge.
pub const fn account(status: AccountStatus) -> (&'static str, &'static str) {
    match status {
        AccountStatus::Active | AccountStatus::Connected => ("connected", "good"),
        AccountStatus::Error => ("in trouble", "warn"),
        AccountStatus::Revoked => ("no longer taken by the provider: connect it again", "bad"),
        AccountStatus::NeedsConsent => ("goes elsewhere now: connect it again", "bad"),
        AccountStatus::Expired => ("over: connect it again", "bad"),
        AccountStatus::Suspended => ("stopped", "bad"),
        AccountStatus::Retired => ("ended", "bad"),
    }
}

/// Members of an authorization detail, one a row. Nothing is cut: all of them together are shorter than a page.
pub fn members(members: &Map<String, Value>) -> Vec<(String, String)> {
    let row = |(name, value): (&String, &Value)| {
        (
            Shown::long(name, MAX_RECORD).to_string(),
            Shown::long(&value.to_string(), MAX_RECORD).to_string(),
        )
    };
    members.iter().map(row).collect()
}

/// A moment to the minute, in UTC.
pub fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    let minute = text.get(..16).unwrap_or(&text).replace('T', " ");
    format!("{minute} UTC")
}

/// A length of time in the largest unit that fits.
pub fn duration(ttl: Ttl) -> String {
    let seconds = ttl.as_seconds();
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_durations_read_well() {
        assert_eq!(
            moment(Timestamp::from_seconds(1_768_478_400)),
            "2026-01-15 12:00 UTC"
        );
        assert_eq!(duration(Ttl::from_minutes(1)), "1 minute");
        assert_eq!(duration(Ttl::from_days(30)), "30 days");
        assert_eq!(duration(Ttl::from_seconds(59)), "59 seconds");
    }
}
