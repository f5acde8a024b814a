//! The backchannel authentication request (OpenID Connect CIBA Core §7.1): an agent asks for access for a person who
//! is not there. Poll mode only.
//!
//! Does not read signed requests (`request`).

use super::client::PresentedClient;
use super::details::details;
use super::token::{TargetRequest, target};
use crate::error::{ErrorCode, OAuthError};
use crate::form::Parameters;
use chancery_core::approval::{AgentText, LONGEST_PENDING};
use chancery_core::authorization_details::AuthorizationDetails;
use chancery_core::secret::Secret;
use chancery_core::time::Ttl;

/// A backchannel authentication request.
#[derive(Debug)]
pub struct BackchannelRequest {
    /// What the client presented.
    pub client: PresentedClient,
    /// Who is asked.
    pub hint: Hint,
    /// Where the token will be used.
    pub target: TargetRequest,
    /// The scopes at the target, without `openid`.
    pub scope: Option<String>,
    /// The `authorization_details` parameter (RFC 9396 §3).
    pub details: Option<AuthorizationDetails>,
    /// What the client says of it.
    pub binding_message: Option<AgentText>,
    /// How long the person has to answer.
    pub requested_expiry: Option<Ttl>,
}

/// Who is asked: exactly one hint (§7.1).
#[derive(Debug)]
pub enum Hint {
    /// A name or id of a user.
    Login(String),
    /// A token of a trusted issuer that names a person.
    LoginToken(Secret<String>),
    /// An ID token of the person.
    IdToken(Secret<String>),
}

impl BackchannelRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// The exact error of CIBA §13 that the request breaks.
    pub fn parse(authorization: Option<&str>, body: &[u8]) -> Result<Self, OAuthError> {
        let mut form = Parameters::parse(body)?;
        let client = PresentedClient::parse(authorization, &mut form)?;
        if form.take("request").is_some() {
            return Err(OAuthError::invalid_request("signed requests are not taken"));
        }
        Ok(Self {
            hint: hint(&mut form)?,
            scope: scope(&mut form)?,
            binding_message: binding_message(&mut form)?,
            requested_expiry: requested_expiry(&mut form)?,
            target: target(&mut form)?,
            details: details(&mut form)?,
            client,
        })
    }
}

fn hint(form: &mut Parameters) -> Result<Hint, OAuthError> {
    let hints = (
        form.take("login_hint"),
        form.take_secret("login_hint_token"),
        form.take_secret("id_token_hint"),
    );
    match hints {
        (Some(name), None, None) => Ok(Hint::Login(name)),
        (None, Some(token), None) => Ok(Hint::LoginToken(token)),
        (None, None, Some(token)) => Ok(Hint::IdToken(token)),
        (_, _, _) => Err(OAuthError::invalid_request(
            "exactly one of login_hint, login_hint_token and id_token_hint names the person",
        )),
    }
}

/// `openid` says which protocol is spoken (§7.1); it is no scope of a resource.
fn scope(form: &mut Parameters) -> Result<Option<String>, OAuthError> {
    let text = form.require("scope", "scope is missing")?;
    let mut scopes: Vec<&str> = text.split(' ').collect();
    let before = scopes.len();
    scopes.retain(|scope| *scope != "openid");
    if before == scopes.len() {
        return Err(OAuthError::new(
            ErrorCode::InvalidScope,
            "scope lacks openid, which a backchannel request has",
        ));
    }
    Ok((!scopes.is_empty()).then(|| scopes.join(" ")))
}

/// SECURITY: a message that would have to be cleaned is refused, so that the client shows the very text that the
/// person sees.
fn binding_message(form: &mut Parameters) -> Result<Option<AgentText>, OAuthError> {
    let Some(text) = form.take("binding_message") else {
        return Ok(None);
    };
    let clean = AgentText::clean(&text).filter(|clean| clean.as_str() == text);
    clean.map(Some).ok_or(OAuthError::new(
        ErrorCode::InvalidBindingMessage,
        "binding_message is one plain line of at most 200 characters",
    ))
}

fn requested_expiry(form: &mut Parameters) -> Result<Option<Ttl>, OAuthError> {
    let Some(text) = form.take("requested_expiry") else {
        return Ok(None);
    };
    let seconds = text.parse::<u64>().ok().filter(|seconds| *seconds > 0);
    let seconds = seconds.ok_or(OAuthError::invalid_request(
        "requested_expiry is a positive number of seconds",
    ))?;
    Ok(Some(Ttl::from_seconds(seconds).min(LONGEST_PENDING)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &str) -> Result<BackchannelRequest, ErrorCode> {
        let body = format!("client_id=a&client_secret=b&{more}");
        BackchannelRequest::parse(None, body.as_bytes()).map_err(|error| error.code)
    }

    #[test]
    fn exactly_one_hint_names_the_person() {
        assert!(parse("scope=openid&login_hint=alice").is_ok());
        assert!(parse("scope=openid&id_token_hint=x").is_ok());
        for hints in [
            "",
            "&login_hint=alice&id_token_hint=x",
            "&login_hint=a&login_hint_token=b",
            "&login_hint=",
        ] {
            let code = parse(&format!("scope=openid{hints}")).unwrap_err();
            assert_eq!(code, ErrorCode::InvalidRequest, "{hints}");
        }
    }

    #[test]
    fn openid_is_asked_for_and_is_no_scope_of_a_resource() {
        let request = parse("scope=openid+read+write&login_hint=a").unwrap();
        assert_eq!(request.scope.as_deref(), Some("read write"));
        assert_eq!(
            parse("scope=read&login_hint=a").unwrap_err(),
            ErrorCode::InvalidScope
        );
        assert_eq!(parse("login_hint=a").unwrap_err(), ErrorCode::InvalidRequest);
    }

    #[test]
    fn a_message_that_would_have_to_be_cleaned_is_refused() {
        let message = |text: &str| parse(&format!("scope=openid&login_hint=a&binding_message={text}"));
        let shown = message("Pay+Bob%2C+42").unwrap().binding_message.unwrap();
        assert_eq!(shown.as_str(), "Pay Bob, 42");
        for hostile in ["a%0Ab", "%E2%80%AEevil", "a%E2%80%8Bb", &"x".repeat(201), "+"] {
            assert_eq!(
                message(hostile).unwrap_err(),
                ErrorCode::InvalidBindingMessage,
                "{hostile}"
            );
        }
    }

    #[test]
    fn what_is_not_carried_is_refused_and_not_ignored() {
        let with = |more: &str| parse(&format!("scope=openid&login_hint=a&{more}")).unwrap_err();
        assert_eq!(
            with("authorization_details=%7B%7D"),
            ErrorCode::InvalidAuthorizationDetails
        );
        assert_eq!(with("request=x"), ErrorCode::InvalidRequest);
        for expiry in ["0", "-1", "1.5", "soon"] {
            assert_eq!(
                with(&format!("requested_expiry={expiry}")),
                ErrorCode::InvalidRequest
            );
        }
        let long = parse("scope=openid&login_hint=a&requested_expiry=999999").unwrap();
        assert_eq!(long.requested_expiry, Some(LONGEST_PENDING));
    }
}
