//! The authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2.1, OpenID Connect Core §3.1.2.1): bytes to a
//! typed request, in two steps, since an error may only be sent to a redirect URI that is known to be the client's
//! (RFC 6749 §4.1.2.1).
//!
//! Request objects (RFC 9101) are refused with their own errors.

use super::details::details;
use crate::error::{ErrorCode, OAuthError};
use crate::form::Parameters;
use crate::redirect;
use chancery_core::authorization_details::AuthorizationDetails;
use chancery_core::secret::Secret;
use chancery_core::time::Ttl;
use chancery_core::uri::ResourceUri;
use serde::{Deserialize, Serialize};

/// The first step: whose request it is, and where the answer would go.
#[derive(Debug)]
pub struct OpenedRequest {
    /// The client, as it names itself.
    pub client_id: String,
    /// Where the answer would go, if that is said.
    pub redirect_uri: Option<String>,
    rest: Parameters,
}

/// Where the answer goes: a redirect URI of the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// The URI, as it was asked for.
    pub uri: String,
    /// Whether the request said it, so that the token request must say it again (RFC 6749 §4.1.3).
    pub was_sent: bool,
}

/// The second step: everything that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    /// Where the answer goes.
    pub redirect: Redirect,
    /// The client's own value, sent back as it is.
    pub state: Option<String>,
    /// The digest of the client's verifier (S256).
    pub code_challenge: String,
    /// Scopes of the resource; none asks for its default.
    pub scope: Option<String>,
    /// What is asked for about the person and for their absence: `openid`, `profile`, `email`, `offline_access`.
    pub identity: Vec<String>,
    /// Where the token will be used.
    pub resource: Option<ResourceUri>,
    /// The `authorization_details` parameter (RFC 9396 §3).
    pub details: Option<AuthorizationDetails>,
    /// Stands in the ID token.
    pub nonce: Option<String>,
    /// What is to be asked of the person.
    pub prompt: Prompt,
    /// How long ago the person may have proved who they are.
    pub max_age: Option<Ttl>,
    /// How strongly the person should prove who they are.
    pub acr_values: Option<String>,
    /// Whom to offer first.
    pub login_hint: Option<String>,
}

/// What is to be asked of the person (OpenID Connect Core §3.1.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// Nothing: answer at once or not at all.
    pub none: bool,
    /// Who they are, again.
    pub login: bool,
    /// Whether they agree, again.
    pub consent: bool,
}

impl OpenedRequest {
    /// Reads the query or the form. A repeated parameter spoils it whole: which value counts would be a guess.
    ///
    /// # Errors
    /// `invalid_request`, to be shown to the person and sent nowhere.
    pub fn parse(parameters: &[u8]) -> Result<Self, OAuthError> {
        let mut rest = Parameters::parse(parameters)?;
        Ok(Self {
            client_id: rest.require("client_id", "client_id is missing")?,
            redirect_uri: rest.take("redirect_uri"),
            rest,
        })
    }

    /// The redirect URI among those that the client registered. A client with exactly one need not send it.
    ///
    /// # Errors
    /// `invalid_request`, to be shown to the person and sent nowhere.
    pub fn redirect(&self, registered: &[String]) -> Result<Redirect, OAuthError> {
        const UNKNOWN: OAuthError =
            OAuthError::invalid_request("redirect_uri is not one that this client is registered with");
        match (&self.redirect_uri, registered) {
            (Some(uri), _) => {
                redirect::find(registered, uri).ok_or(UNKNOWN)?;
                Ok(Redirect {
                    uri: uri.clone(),
                    was_sent: true,
                })
            }
            (None, [only]) => Ok(Redirect {
                uri: only.clone(),
                was_sent: false,
            }),
            (None, _) => Err(OAuthError::invalid_request("redirect_uri is missing")),
        }
    }

    /// The client's own value, which every answer to it carries.
    pub fn take_state(&mut self) -> Option<String> {
        self.rest.take("state")
    }

    /// An ID token of the person who is meant (OpenID Connect Core §3.1.2.1). It says who somebody is, and proves nothing.
    pub fn take_id_token_hint(&mut self) -> Option<Secret<String>> {
        self.rest.take_secret("id_token_hint")
    }

    /// Everything else.
    ///
    /// # Errors
    /// The exact error of the standard that the request breaks, to be sent to the redirect URI.
    pub fn read(
        mut self,
        redirect: Redirect,
        state: Option<String>,
    ) -> Result<AuthorizationRequest, OAuthError> {
        let rest = &mut self.rest;
        refuse_extensions(rest)?;
        match rest.take("response_type").as_deref() {
            Some("code") => {}
            Some(_) => {
                return Err(OAuthError::new(
                    ErrorCode::UnsupportedResponseType,
                    "response_type is `code`",
                ));
            }
            None => return Err(OAuthError::invalid_request("response_type is missing")),
        }
        if rest.take("response_mode").is_some_and(|mode| mode != "query") {
            return Err(OAuthError::invalid_request("response_mode is `query`"));
        }
        let code_challenge = challenge(rest)?;
        let (scope, identity) = scopes(rest.take("scope").as_deref());
        Ok(AuthorizationRequest {
            redirect,
            state,
            code_challenge,
            scope,
            identity,
            resource: resource(rest)?,
            details: details(rest)?,
            nonce: short(rest.take("nonce"))?,
            prompt: Prompt::parse(rest.take("prompt").as_deref())?,
            max_age: max_age(rest.take("max_age").as_deref())?,
            acr_values: short(rest.take("acr_values"))?,
            login_hint: short(rest.take("login_hint"))?,
        })
    }
}

impl Prompt {
    fn parse(words: Option<&str>) -> Result<Self, OAuthError> {
        let mut prompt = Self::default();
        for word in words
            .unwrap_or_default()
            .split(' ')
            .filter(|word| !word.is_empty())
        {
            match word {
                "none" => prompt.none = true,
                "login" | "select_account" => prompt.login = true,
                "consent" => prompt.consent = true,
                _ => return Err(OAuthError::invalid_request("prompt has an unknown word")),
            }
        }
        if prompt.none && (prompt.login || prompt.consent) {
            return Err(OAuthError::invalid_request(
                "prompt is `none` alone, or not at all",
            ));
        }
        Ok(prompt)
    }
}

fn refuse_extensions(rest: &mut Parameters) -> Result<(), OAuthError> {
    const REFUSED: [(&str, ErrorCode, &str); 3] = [
        (
            "request",
            ErrorCode::RequestNotSupported,
            "request objects are not taken",
        ),
        (
            "request_uri",
            ErrorCode::RequestUriNotSupported,
            "request_uri is not taken",
        ),
        (
            "registration",
            ErrorCode::RegistrationNotSupported,
            "registration is not taken",
        ),
    ];
    for (name, code, description) in REFUSED {
        if rest.take(name).is_some() {
            return Err(OAuthError::new(code, description));
        }
    }
    Ok(())
}

/// SECURITY: without a challenge a stolen code could be redeemed by whoever has it, and `plain` shows the verifier to
/// whoever sees the request (RFC 9700 §2.1.1).
fn challenge(rest: &mut Parameters) -> Result<String, OAuthError> {
    let method = rest.take("code_challenge_method");
    let challenge = rest.require("code_challenge", "code_challenge is missing: PKCE is required")?;
    if method.as_deref() != Some("S256") {
        return Err(OAuthError::invalid_request("code_challenge_method is `S256`"));
    }
    let is_digest = challenge.len() == 43
        && challenge
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if is_digest {
        Ok(challenge)
    } else {
        Err(OAuthError::invalid_request(
            "code_challenge is not a SHA-256 digest",
        ))
    }
}

/// Scopes of the resource, and what is about the person.
pub(super) fn scopes(scope: Option<&str>) -> (Option<String>, Vec<String>) {
    let Some(scope) = scope else {
        return (None, Vec::new());
    };
    let (identity, rest): (Vec<&str>, Vec<&str>) = scope
        .split(' ')
        .filter(|word| !word.is_empty())
        .partition(|word| IDENTITY.contains(word));
    let rest = (!rest.is_empty()).then(|| rest.join(" "));
    (rest, identity.into_iter().map(str::to_owned).collect())
}

pub(super) fn resource(rest: &mut Parameters) -> Result<Option<ResourceUri>, OAuthError> {
    const ONE: OAuthError = OAuthError::new(
        ErrorCode::InvalidTarget,
        "a token has one audience: name one resource",
    );
    let mut resources = rest.take_resources();
    if resources.len() > 1 || !rest.take_audiences().is_empty() {
        return Err(ONE);
    }
    let malformed = OAuthError::new(
        ErrorCode::InvalidTarget,
        "resource is not an absolute URI without fragment",
    );
    resources
        .pop()
        .map(|uri| uri.parse().map_err(|_| malformed))
        .transpose()
}

fn max_age(text: Option<&str>) -> Result<Option<Ttl>, OAuthError> {
    let parse = |text: &str| {
        text.parse::<u32>()
            .map(|seconds| Ttl::from_seconds(u64::from(seconds)))
            .map_err(|_| OAuthError::invalid_request("max_age is a number of seconds"))
    };
    text.map(parse).transpose()
}

fn short(value: Option<String>) -> Result<Option<String>, OAuthError> {
    if value.as_ref().is_some_and(|value| value.len() > MAX_VALUE) {
        return Err(OAuthError::invalid_request(
            "a parameter is longer than 1,024 bytes",
        ));
    }
    Ok(value)
}

/// The scopes that are about the person and not about a resource.
pub const IDENTITY: [&str; 4] = ["openid", "profile", "email", "offline_access"];
const MAX_VALUE: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "client_id=a&response_type=code&code_challenge_method=S256\
                        &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    const REGISTERED: &str = "https://app.example/cb";

    fn read(query: &str) -> Result<AuthorizationRequest, OAuthError> {
        let opened = OpenedRequest::parse(query.as_bytes())?;
        let redirect = opened.redirect(&[REGISTERED.to_owned()])?;
        opened.read(redirect, None)
    }

    fn code(query: &str) -> ErrorCode {
        read(query).unwrap_err().code
    }

    #[test]
    fn each_malformation_has_its_error() {
        assert!(read(GOOD).is_ok());
        for (more, expected) in [
            ("&request=x", ErrorCode::RequestNotSupported),
            (
                "&request_uri=https://a.example",
                ErrorCode::RequestUriNotSupported,
            ),
            (
                "&authorization_details=[1]",
                ErrorCode::InvalidAuthorizationDetails,
            ),
            ("&prompt=none+login", ErrorCode::InvalidRequest),
            ("&prompt=always", ErrorCode::InvalidRequest),
            ("&max_age=-1", ErrorCode::InvalidRequest),
            ("&response_mode=fragment", ErrorCode::InvalidRequest),
            ("&resource=notes", ErrorCode::InvalidTarget),
            (
                "&resource=https://a.example&resource=https://b.example",
                ErrorCode::InvalidTarget,
            ),
            ("&scope=a&scope=b", ErrorCode::InvalidRequest),
        ] {
            assert_eq!(code(&format!("{GOOD}{more}")), expected, "{more}");
        }
        assert_eq!(
            code(&GOOD.replace("=code&", "=token&")),
            ErrorCode::UnsupportedResponseType
        );
        assert_eq!(
            code(&GOOD.replace("response_type=code&", "")),
            ErrorCode::InvalidRequest
        );
    }

    #[test]
    fn pkce_with_s256_is_required() {
        assert_eq!(code("client_id=a&response_type=code"), ErrorCode::InvalidRequest);
        assert_eq!(code(&GOOD.replace("S256", "plain")), ErrorCode::InvalidRequest);
        assert_eq!(
            code(&GOOD.replace("code_challenge_method=S256&", "")),
            ErrorCode::InvalidRequest
        );
        assert_eq!(code(&GOOD.replace("-cM", "-c")), ErrorCode::InvalidRequest);
    }

    #[test]
    fn a_redirect_uri_is_a_registered_one() {
        let opened =
            |uri: &str| OpenedRequest::parse(format!("{GOOD}&redirect_uri={uri}").as_bytes()).unwrap();
        let registered = [REGISTERED.to_owned()];
        assert!(opened(REGISTERED).redirect(&registered).unwrap().was_sent);
        for other in [
            "https://app.example/cb/",
            "https://evil.example/cb",
            "https://app.example/cb%3Fx",
        ] {
            assert!(opened(other).redirect(&registered).is_err(), "{other}");
        }
        let unsaid = OpenedRequest::parse(GOOD.as_bytes()).unwrap();
        assert!(!unsaid.redirect(&registered).unwrap().was_sent);
        assert!(
            unsaid
                .redirect(&[REGISTERED.to_owned(), "https://b.example".to_owned()])
                .is_err()
        );
        assert!(unsaid.redirect(&[]).is_err());
    }

    #[test]
    fn scopes_about_the_person_are_told_from_those_of_the_resource() {
        let request = read(&format!("{GOOD}&scope=openid+read+offline_access+write")).unwrap();
        assert_eq!(request.scope.as_deref(), Some("read write"));
        assert_eq!(request.identity, ["openid", "offline_access"]);
        assert_eq!(read(&format!("{GOOD}&scope=openid")).unwrap().scope, None);
    }
}
