//! Tokens that come in answers of their vendor's own form.
//!
//! What GitHub answers when an app asks for a token of one of its installations (GitHub REST, "Create an installation
//! access token for an app"): a 201 with the token, its end, and what it may do.
//!
//! What it may be asked for is `core`'s; the app's own assertion is signed elsewhere.

use crate::provider::{Answered, ProviderAnswerError};
use chancery_core::connection::{Access, Narrowed};
use chancery_core::json::{JsonLimits, parse_object};
use chancery_core::secret::Secret;
use chancery_core::time::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// A token of an installation.
#[derive(Debug)]
pub struct InstallationToken {
    /// The token.
    pub access_token: Secret<String>,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

impl InstallationToken {
    /// Reads the answer to a request for what was asked for.
    ///
    /// # Errors
    /// It says no, is no such answer, or gives more than was asked for.
    pub fn read(answer: Answered<'_>, asked: &Narrowed) -> Result<Self, ProviderAnswerError> {
        const MALFORMED: ProviderAnswerError = ProviderAnswerError::Malformed;
        let members = parse_object(answer.body, JsonLimits::of_bytes(MAX_BYTES));
        if answer.status != 201 {
            let said = members.ok();
            let message = said.as_ref().and_then(|members| members.get("message")?.as_str());
            return Err(match message {
                Some(message) if (400..500).contains(&answer.status) => {
                    let letters = message.chars().filter(|letter| !letter.is_control());
                    ProviderAnswerError::Refused(letters.take(256).collect())
                }
                Some(_) | None => ProviderAnswerError::Status(answer.status),
            });
        }
        let members = members.map_err(|_| MALFORMED)?;
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let token = text("token").filter(|token| is_token(token)).ok_or(MALFORMED)?;
        let end = text("expires_at").and_then(Timestamp::parse).ok_or(MALFORMED)?;
        // SECURITY: what was narrowed is narrow. Unknown words are more than was asked for.
        let given = members.get("permissions").cloned().unwrap_or_default();
        let given: BTreeMap<String, Access> =
            serde_json::from_value(given).map_err(|_| ProviderAnswerError::Wider)?;
        if !asked.holds(&given) {
            return Err(ProviderAnswerError::Wider);
        }
        Ok(Self {
            access_token: Secret::new(token.to_owned()),
            expires_at: end,
        })
    }
}

/// A token of a service account, given for another of its cloud (Google IAM, `generateAccessToken`).
#[derive(Debug)]
pub struct ImpersonationToken {
    /// The token.
    pub access_token: Secret<String>,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

impl ImpersonationToken {
    /// Reads the answer.
    ///
    /// # Errors
    /// It says no, or is no such answer.
    pub fn read(answer: Answered<'_>) -> Result<Self, ProviderAnswerError> {
        const MALFORMED: ProviderAnswerError = ProviderAnswerError::Malformed;
        if answer.status != 200 {
            return Err(ProviderAnswerError::Status(answer.status));
        }
        let members = parse_object(answer.body, JsonLimits::of_bytes(MAX_BYTES)).map_err(|_| MALFORMED)?;
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let end = text("expireTime").and_then(Timestamp::parse).ok_or(MALFORMED)?;
        let token = text("accessToken")
            .filter(|token| is_token(token))
            .ok_or(MALFORMED)?;
        Ok(Self {
            access_token: Secret::new(token.to_owned()),
            expires_at: end,
        })
    }
}

fn is_token(token: &str) -> bool {
    (1..=MAX_TOKEN).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
}

const MAX_BYTES: usize = 256 * 1024;
const MAX_TOKEN: usize = 12 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn read(status: u16, body: &Value) -> Result<InstallationToken, ProviderAnswerError> {
        let asked = Narrowed {
            repositories: BTreeSet::new(),
            permissions: BTreeMap::from([("contents".to_owned(), Access::Read)]),
        };
        let body = body.to_string();
        let answer = Answered {
            status,
            media_type: "application/json",
            body: body.as_bytes(),
        };
        InstallationToken::read(answer, &asked)
    }

    fn good() -> Value {
        json!({ "token": "ghs_1", "expires_at": "2026-01-15T13:00:00Z",
            "permissions": { "contents": "read", "metadata": "read" }, "repository_selection": "selected" })
    }

    #[test]
    fn a_token_has_an_end_and_no_more_than_was_asked_for() {
        let token = read(201, &good()).unwrap();
        assert_eq!(token.expires_at, Timestamp::from_seconds(1_768_482_000));
        for (field, value, error) in [
            ("token", json!(""), ProviderAnswerError::Malformed),
            ("token", json!("a\r\nb"), ProviderAnswerError::Malformed),
            ("expires_at", json!("soon"), ProviderAnswerError::Malformed),
            (
                "permissions",
                json!({ "contents": "write" }),
                ProviderAnswerError::Wider,
            ),
            (
                "permissions",
                json!({ "administration": "write" }),
                ProviderAnswerError::Wider,
            ),
            (
                "permissions",
                json!({ "contents": "own" }),
                ProviderAnswerError::Wider,
            ),
            ("permissions", json!("all"), ProviderAnswerError::Wider),
        ] {
            let mut answer = good();
            answer[field] = value.clone();
            assert_eq!(read(201, &answer).unwrap_err(), error, "{field} {value}");
        }
    }

    #[test]
    fn a_service_accounts_token_has_an_end() {
        let read = |status: u16, body: Value| {
            let body = body.to_string();
            let answer = Answered {
                status,
                media_type: "application/json",
                body: body.as_bytes(),
            };
            ImpersonationToken::read(answer)
        };
        let good = json!({ "accessToken": "ya29.x", "expireTime": "2026-01-15T13:00:00Z" });
        assert_eq!(
            read(200, good.clone()).unwrap().expires_at,
            Timestamp::from_seconds(1_768_482_000)
        );
        assert_eq!(read(403, good).unwrap_err(), ProviderAnswerError::Status(403));
        for bad in [
            json!({}),
            json!({ "accessToken": "x" }),
            json!({ "accessToken": "a b", "expireTime": "2026-01-15T13:00:00Z" }),
        ] {
            assert_eq!(
                read(200, bad.clone()).unwrap_err(),
                ProviderAnswerError::Malformed,
                "{bad}"
            );
        }
    }

    #[test]
    fn a_no_is_told_in_its_own_words() {
        let refused = read(422, &json!({ "message": "no such repository" })).unwrap_err();
        assert_eq!(
            refused,
            ProviderAnswerError::Refused("no such repository".to_owned())
        );
        for status in [200, 500, 404] {
            assert_eq!(
                read(status, &json!({})).unwrap_err(),
                ProviderAnswerError::Status(status)
            );
        }
    }
}
