//! An outside authorization server where we are the client: the authorization request (RFC 6749 §4.1.1, RFC 7636) and
//! what it answers at its token and revocation endpoints (§5.1, §5.2; RFC 7009 §2.2).
//!
//! Providers answer in more ways than the standards know: errors in a 200, forms for JSON, the token inside another
//! object, no lifetime. Where things stand is data of the connection; that an error is one, wherever it stands, is here.
//! Signing in is `sign_in`'s.

use chancery_core::connected_account::ProviderAccount;
use chancery_core::connection::{AccountAnswer, AccountSource, OAuthSpec};
use chancery_core::json::{JsonLimits, parse_object};
use chancery_core::secret::Secret;
use chancery_core::time::Ttl;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// What the browser is sent to a provider with.
#[derive(Clone, Copy, Debug)]
pub struct ConnectRequest<'a> {
    /// Where.
    pub authorization_endpoint: &'a str,
    /// How the connection asks.
    pub spec: &'a OAuthSpec,
    /// Where it sends the browser back to.
    pub redirect_uri: &'a str,
    /// Binds the answer to this request.
    pub state: &'a str,
    /// The digest of the verifier (S256).
    pub code_challenge: &'a str,
}

impl ConnectRequest<'_> {
    /// The address.
    pub fn url(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.spec.authorization_parameters);
        let scope = self.spec.scope();
        if !scope.is_empty() {
            query.append_pair(&self.spec.scope_parameter, &scope);
        }
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.spec.client_id)
            .append_pair("redirect_uri", self.redirect_uri)
            .append_pair("state", self.state)
            .append_pair("code_challenge", self.code_challenge)
            .append_pair("code_challenge_method", "S256");
        let mark = if self.authorization_endpoint.contains('?') {
            '&'
        } else {
            '?'
        };
        format!("{}{mark}{}", self.authorization_endpoint, query.finish())
    }
}

/// What was asked at a token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A token for a code.
    Code,
    /// A token for a refresh token.
    Refresh,
    /// A token with no person behind it.
    Machine,
}

/// An answer as it came.
#[derive(Clone, Copy)]
pub struct Answered<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The media type, without parameters.
    pub media_type: &'a str,
    /// The body.
    pub body: &'a [u8],
}

impl std::fmt::Debug for Answered<'_> {
    /// SECURITY: the body holds tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answered")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Tokens of a provider.
#[derive(Debug)]
pub struct ProviderTokens {
    /// The token that calls are made with.
    pub access_token: Secret<String>,
    /// The one that it is refreshed with. At a refresh, the one before stays good if there is none.
    pub refresh_token: Option<Secret<String>>,
    /// How long the access token lives, if that is said.
    pub lifetime: Option<Ttl>,
    /// What was given, if that is said.
    pub scopes: Option<BTreeSet<String>>,
    /// Whose account it is, if this answer says it.
    pub account: Option<ProviderAccount>,
    /// Which interface the account is at, if this answer says it.
    pub api_url: Option<String>,
}

/// Why an answer gives no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderAnswerError {
    /// The provider says no, in its own word.
    #[error("the provider answered `{0}`")]
    Refused(String),
    /// It answered with a status that says nothing of what it did.
    #[error("the provider answered with status {0}")]
    Status(u16),
    /// It answered something else than a token.
    #[error("the provider answered something else than a token")]
    Malformed,
    /// The token is of a kind that is not sent as a bearer.
    #[error("the provider gave a token that is no bearer token")]
    TokenType,
    /// It gives more than was asked for.
    #[error("the provider gave more than was asked for")]
    Wider,
    /// It does not say whose account it is, where the connection says that it does.
    #[error("the provider does not say whose account it is")]
    Account,
}

impl ProviderAnswerError {
    /// Whether the provider says that what we hold is no longer good, and only the owner can give it again.
    pub fn is_grant_gone(&self) -> bool {
        matches!(self, Self::Refused(code) if GONE.contains(&code.as_str()))
    }

    /// Whether the provider did nothing that it did not tell us of. If not, a token of ours may be used up.
    pub const fn is_certain(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Status(_) | Self::Malformed | Self::TokenType | Self::Wider | Self::Account => false,
        }
    }
}

impl ProviderTokens {
    /// Reads the answer of a token endpoint.
    ///
    /// # Errors
    /// Every rule of [`ProviderAnswerError`].
    pub fn read(answer: Answered<'_>, spec: &OAuthSpec, asked: Asked) -> Result<Self, ProviderAnswerError> {
        let whole = Value::Object(members(answer)?);
        let account = match &spec.account {
            Some(source) if source.of == AccountAnswer::Token => match account(&whole, source) {
                None if asked == Asked::Code => return Err(ProviderAnswerError::Account),
                found => found,
            },
            Some(_) | None => None,
        };
        let token = token_object(&whole, &spec.token_at, asked).ok_or(ProviderAnswerError::Malformed)?;
        let tokens = Self::of(token, &whole, spec.api_url_at.as_deref())?;
        Ok(Self { account, ..tokens })
    }

    /// Reads the answer of a token endpoint that was asked with no person behind it, as the standard has it.
    ///
    /// # Errors
    /// Every rule of [`ProviderAnswerError`].
    pub fn read_plain(answer: Answered<'_>, api_url_at: Option<&str>) -> Result<Self, ProviderAnswerError> {
        let whole = Value::Object(members(answer)?);
        Self::of(&whole, &whole, api_url_at)
    }

    fn of(token: &Value, whole: &Value, api_url_at: Option<&str>) -> Result<Self, ProviderAnswerError> {
        let text = |name: &str| token.get(name).and_then(Value::as_str);
        if let Some(kind) = text("token_type")
            && !BEARERS.iter().any(|bearer| kind.eq_ignore_ascii_case(bearer))
        {
            return Err(ProviderAnswerError::TokenType);
        }
        let secret = |name: &str| match text(name) {
            Some(value) if is_token(value) => Ok(Some(Secret::new(value.to_owned()))),
            // Some say that there is none by an empty one.
            None | Some("") => Ok(None),
            Some(_) => Err(ProviderAnswerError::Malformed),
        };
        Ok(Self {
            access_token: secret("access_token")?.ok_or(ProviderAnswerError::Malformed)?,
            refresh_token: secret("refresh_token")?,
            lifetime: token.get("expires_in").and_then(seconds),
            scopes: text("scope").map(scopes),
            account: None,
            api_url: api_url_at.and_then(|at| whole.pointer(at)?.as_str()).map(plain),
        })
    }
}

/// Whose account an answer says it is.
///
/// # Errors
/// [`ProviderAnswerError::Account`] if it does not, and what the answer itself says.
pub fn read_account(
    answer: Answered<'_>,
    source: &AccountSource,
) -> Result<ProviderAccount, ProviderAnswerError> {
    let whole = Value::Object(members(answer)?);
    account(&whole, source).ok_or(ProviderAnswerError::Account)
}

/// Whether the provider took a token back. One that was dead already is as good as taken back.
///
/// # Errors
/// What it says.
pub fn read_revocation(answer: Answered<'_>) -> Result<(), ProviderAnswerError> {
    let said = members(Answered {
        status: 200,
        ..answer
    });
    match said {
        Err(ProviderAnswerError::Refused(code)) if DEAD.contains(&code.as_str()) => Ok(()),
        Err(refused @ ProviderAnswerError::Refused(_)) => Err(refused),
        // Success has any body, or none.
        Ok(_) | Err(_) if (200..300).contains(&answer.status) => Ok(()),
        Ok(_) | Err(_) => Err(ProviderAnswerError::Status(answer.status)),
    }
}

/// The members of an answer that is no error, whatever its status says.
fn members(answer: Answered<'_>) -> Result<Map<String, Value>, ProviderAnswerError> {
    let is_form = answer.media_type == "application/x-www-form-urlencoded";
    let read = if is_form {
        form(answer.body)
    } else {
        parse_object(answer.body, JsonLimits::of_bytes(MAX_BYTES)).ok()
    };
    let is_success = answer.status == 200;
    let Some(members) = read else {
        return Err(if is_success {
            ProviderAnswerError::Malformed
        } else {
            ProviderAnswerError::Status(answer.status)
        });
    };
    let is_said_wrong = members.get("ok") == Some(&Value::Bool(false));
    match members.get("error").and_then(Value::as_str) {
        // A server that failed may have done what it was asked.
        Some(_) if answer.status >= 500 => Err(ProviderAnswerError::Status(answer.status)),
        Some(code) => Err(ProviderAnswerError::Refused(plain(code))),
        None if is_said_wrong => Err(ProviderAnswerError::Refused("no reason".to_owned())),
        None if is_success => Ok(members),
        None => Err(ProviderAnswerError::Status(answer.status)),
    }
}

fn form(body: &[u8]) -> Option<Map<String, Value>> {
    let mut members = Map::new();
    for (name, value) in url::form_urlencoded::parse(body.get(..MAX_BYTES.min(body.len()))?) {
        let is_repeated = members
            .insert(name.into_owned(), Value::from(value.into_owned()))
            .is_some();
        if is_repeated {
            return None;
        }
    }
    (!members.is_empty()).then_some(members)
}

/// Where the token stands. The answer to a refresh is the token itself where the answer to a code had it deeper.
///
/// SECURITY: never the other way round: beside a person's token may stand that of the application.
fn token_object<'a>(whole: &'a Value, at: &str, asked: Asked) -> Option<&'a Value> {
    match (whole.pointer(at), asked) {
        (Some(token), _) if token.get("access_token").is_some() => Some(token),
        (_, Asked::Refresh | Asked::Machine) => Some(whole),
        (_, Asked::Code) => None,
    }
}

fn account(whole: &Value, source: &AccountSource) -> Option<ProviderAccount> {
    let text = |at: &str| match whole.pointer(at)? {
        Value::String(text) => Some(plain(text)),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    Some(ProviderAccount {
        subject: text(&source.subject).filter(|subject| !subject.is_empty())?,
        label: source.label.as_deref().and_then(text),
    })
}

fn seconds(value: &Value) -> Option<Ttl> {
    let seconds = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    seconds
        .filter(|seconds| (1..=MAX_SECONDS).contains(seconds))
        .map(Ttl::from_seconds)
}

fn scopes(text: &str) -> BTreeSet<String> {
    text.split([' ', ','])
        .filter(|scope| !scope.is_empty())
        .take(256)
        .map(plain)
        .collect()
}

/// Visible ASCII, as a header takes it.
fn is_token(value: &str) -> bool {
    (1..=MAX_TOKEN).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A provider's word as it may be stored and shown.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(256)
        .collect()
}

/// What providers call a token that is sent as a bearer.
const BEARERS: &[&str] = &["bearer", "user", "bot"];
/// What providers answer when what we hold is over (RFC 6749 §5.2, GitHub, Slack).
const GONE: &[&str] = &[
    "invalid_grant",
    "bad_refresh_token",
    "invalid_refresh_token",
    "token_revoked",
    "token_expired",
    "account_inactive",
];
/// What providers answer about a token that is dead.
const DEAD: &[&str] = &[
    "invalid_token",
    "token_revoked",
    "token_expired",
    "invalid_auth",
    "account_inactive",
];
const MAX_BYTES: usize = 256 * 1024;
const MAX_TOKEN: usize = 12 << 10;
/// Ten years: whatever is longer is no lifetime.
const MAX_SECONDS: u64 = 315_360_000;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(changes: &Value) -> OAuthSpec {
        let mut spec =
            json!({ "client_id": "chancery", "issuer": "https://id.example", "scopes": ["a", "b"] });
        for (field, value) in changes.as_object().unwrap() {
            spec[field] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    fn json_answer(status: u16, body: &str) -> Answered<'_> {
        Answered {
            status,
            media_type: "application/json",
            body: body.as_bytes(),
        }
    }

    fn read(changes: &Value, asked: Asked, body: &Value) -> Result<ProviderTokens, ProviderAnswerError> {
        ProviderTokens::read(json_answer(200, &body.to_string()), &spec(changes), asked)
    }

    fn refused(code: &str) -> ProviderAnswerError {
        ProviderAnswerError::Refused(code.to_owned())
    }

    #[test]
    fn an_error_in_a_200_is_an_error() {
        for body in [
            json!({ "ok": false, "error": "bad" }),
            json!({ "error": "bad", "access_token": "t" }),
        ] {
            assert_eq!(
                read(&json!({}), Asked::Code, &body).unwrap_err(),
                refused("bad"),
                "{body}"
            );
        }
        let silent = json!({ "ok": false, "access_token": "t" });
        assert_eq!(
            read(&json!({}), Asked::Code, &silent).unwrap_err(),
            refused("no reason")
        );
    }

    #[test]
    fn a_token_comes_as_json_or_as_a_form() {
        let form = Answered {
            status: 200,
            media_type: "application/x-www-form-urlencoded",
            body:
                b"access_token=gho_1&expires_in=28800&refresh_token=ghr_1&scope=repo%2Cuser&token_type=bearer",
        };
        let tokens = ProviderTokens::read(form, &spec(&json!({})), Asked::Code).unwrap();
        assert_eq!(tokens.lifetime, Some(Ttl::from_seconds(28_800)));
        assert_eq!(
            tokens.scopes,
            Some(BTreeSet::from(["repo".to_owned(), "user".to_owned()]))
        );
        assert!(tokens.refresh_token.is_some());
        let error = Answered {
            body: b"error=bad_verification_code",
            ..form
        };
        let error = ProviderTokens::read(error, &spec(&json!({})), Asked::Code).unwrap_err();
        assert_eq!(error, refused("bad_verification_code"));
        let twice = Answered {
            body: b"access_token=a&access_token=b",
            ..form
        };
        assert!(ProviderTokens::read(twice, &spec(&json!({})), Asked::Code).is_err());
    }

    #[test]
    fn the_applications_token_is_never_taken_for_the_persons() {
        let slack = json!({
            "token_at": "/authed_user",
            "account": { "of": "token", "subject": "/authed_user/id" },
        });
        let of_person = json!({ "ok": true, "access_token": "xoxb-app", "token_type": "bot",
            "authed_user": { "id": "U1", "access_token": "xoxp-person", "token_type": "user", "scope": "a,b" } });
        let tokens = read(&slack, Asked::Code, &of_person).unwrap();
        assert_eq!(tokens.access_token.expose_secret(), "xoxp-person");
        assert_eq!(tokens.account.unwrap().subject, "U1");
        let without = json!({ "ok": true, "access_token": "xoxb-app", "authed_user": { "id": "U1" } });
        assert_eq!(
            read(&slack, Asked::Code, &without).unwrap_err(),
            ProviderAnswerError::Malformed
        );
        let refreshed = json!({ "ok": true, "access_token": "xoxe-person", "token_type": "user" });
        let tokens = read(&slack, Asked::Refresh, &refreshed).unwrap();
        assert_eq!(tokens.access_token.expose_secret(), "xoxe-person");
    }

    #[test]
    fn what_cannot_be_sent_as_a_bearer_is_no_token() {
        for body in [
            json!({}),
            json!({ "access_token": "" }),
            json!({ "access_token": "a\r\nHost: evil" }),
            json!({ "access_token": 7 }),
        ] {
            assert_eq!(
                read(&json!({}), Asked::Code, &body).unwrap_err(),
                ProviderAnswerError::Malformed,
                "{body}"
            );
        }
        let bound = json!({ "access_token": "t", "token_type": "DPoP" });
        assert_eq!(
            read(&json!({}), Asked::Code, &bound).unwrap_err(),
            ProviderAnswerError::TokenType
        );
        for (status, body) in [(200, "<html>"), (200, "[]"), (200, "")] {
            let error = ProviderTokens::read(json_answer(status, body), &spec(&json!({})), Asked::Code);
            assert_eq!(error.unwrap_err(), ProviderAnswerError::Malformed, "{body}");
        }
    }

    #[test]
    fn a_server_that_failed_may_have_done_it() {
        for body in ["", "{}", r#"{"error":"invalid_grant"}"#] {
            let answer = json_answer(503, body);
            let error = ProviderTokens::read(answer, &spec(&json!({})), Asked::Refresh).unwrap_err();
            assert!(!error.is_certain() && !error.is_grant_gone(), "{error:?}");
        }
        let answer = json_answer(400, r#"{"error":"invalid_grant"}"#);
        let error = ProviderTokens::read(answer, &spec(&json!({})), Asked::Refresh).unwrap_err();
        assert!(error.is_certain() && error.is_grant_gone());
    }

    #[test]
    fn a_dead_token_counts_as_taken_back_and_a_no_does_not() {
        for (status, body) in [
            (200, ""),
            (204, ""),
            (200, r#"{"ok":true,"revoked":true}"#),
            (400, r#"{"error":"invalid_token"}"#),
        ] {
            assert_eq!(
                read_revocation(json_answer(status, body)),
                Ok(()),
                "{status} {body}"
            );
        }
        for (status, body) in [
            (503, ""),
            (401, r#"{"error":"invalid_client"}"#),
            (200, r#"{"ok":false,"error":"not_allowed"}"#),
            (302, ""),
        ] {
            assert!(
                read_revocation(json_answer(status, body)).is_err(),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn a_request_asks_as_the_provider_wants_to_be_asked() {
        let spec = spec(&json!({
            "scope_parameter": "user_scope", "scope_separator": ",",
            "authorization_parameters": { "access_type": "offline" },
        }));
        let request = ConnectRequest {
            authorization_endpoint: "https://id.example/a?x=1",
            spec: &spec,
            redirect_uri: "https://c.example/connect/callback",
            state: "s",
            code_challenge: "c",
        };
        assert_eq!(
            request.url(),
            "https://id.example/a?x=1&access_type=offline&user_scope=a%2Cb&response_type=code&client_id=chancery\
             &redirect_uri=https%3A%2F%2Fc.example%2Fconnect%2Fcallback&state=s&code_challenge=c&code_challenge_method=S256"
        );
    }
}
