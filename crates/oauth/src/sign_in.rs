//! Signing in at an outside issuer, where we are the relying party: the authorization request (OpenID Connect Core
//! §3.1.2.1 with PKCE, RFC 7636), its answer (§3.1.2.5, RFC 9207), and what an ID token proves (§3.1.3.7).
//!
//! Keys and signatures are `jose`'s; what the person is allowed is `user_token`'s.

use crate::form::Parameters;
use crate::jose::{Profile, VerifiedClaims};
use chancery_core::time::{Timestamp, Ttl};
use serde_json::Value;

/// What the browser is sent to the issuer with.
#[derive(Clone, Debug)]
pub struct SignInRequest<'a> {
    /// Where.
    pub authorization_endpoint: &'a str,
    /// Our id there.
    pub client_id: &'a str,
    /// Where it sends the browser back to.
    pub redirect_uri: &'a str,
    /// What is asked for besides `openid`.
    pub scopes: &'a [String],
    /// Binds the answer to this request.
    pub state: &'a str,
    /// Binds the ID token to this request.
    pub nonce: &'a str,
    /// The digest of the verifier (S256).
    pub code_challenge: &'a str,
    /// What whoever sent the person asks for.
    pub wishes: &'a SignInWishes,
}

/// How a person is to sign in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignInWishes {
    /// Whom to offer first.
    pub login_hint: Option<String>,
    /// How long ago the person may have proved who they are.
    pub max_age: Option<Ttl>,
    /// How strongly the person should prove who they are.
    pub acr_values: Option<String>,
    /// Whether the person proves it now, whatever was before.
    pub is_afresh: bool,
}

impl SignInRequest<'_> {
    /// The address.
    pub fn url(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let mut scope = vec!["openid"];
        scope.extend(
            self.scopes
                .iter()
                .map(String::as_str)
                .filter(|scope| *scope != "openid"),
        );
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", self.client_id)
            .append_pair("redirect_uri", self.redirect_uri)
            .append_pair("scope", &scope.join(" "))
            .append_pair("state", self.state)
            .append_pair("nonce", self.nonce)
            .append_pair("code_challenge", self.code_challenge)
            .append_pair("code_challenge_method", "S256");
        if let Some(hint) = &self.wishes.login_hint {
            query.append_pair("login_hint", hint);
        }
        if let Some(age) = self.wishes.max_age {
            query.append_pair("max_age", &age.as_seconds().to_string());
        }
        if let Some(values) = &self.wishes.acr_values {
            query.append_pair("acr_values", values);
        }
        if self.wishes.is_afresh {
            query.append_pair("prompt", "login");
        }
        let mark = if self.authorization_endpoint.contains('?') {
            '&'
        } else {
            '?'
        };
        format!("{}{mark}{}", self.authorization_endpoint, query.finish())
    }
}

/// What the browser comes back with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInAnswer {
    /// The request that it answers.
    pub state: String,
    /// Who answers, if it says so (RFC 9207 §2).
    pub issuer: Option<String>,
    /// The code, or the issuer's error code.
    pub outcome: Result<String, String>,
}

/// Why an answer or an ID token does not sign anybody in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// A parameter is missing, repeated or broken.
    #[error("the answer is malformed")]
    Malformed,
    /// The answer is of another issuer than was asked (RFC 9207 §2.4).
    #[error("another issuer answered than was asked")]
    OtherIssuer,
    /// The issuer says that it names itself in every answer, and this one does not (RFC 9207 §2.4).
    #[error("the answer does not name its issuer, which says that its answers do")]
    IssuerMissing,
    /// The token is for another request.
    #[error("the ID token is for another request")]
    Nonce,
    /// The token is for several parties and was not issued to us.
    #[error("the ID token was issued to another party")]
    AuthorizedParty,
    /// The person proved who they are too long ago, or the issuer does not say when.
    #[error("the issuer did not have the person prove who they are as lately as was asked")]
    TooOld,
}

impl SignInAnswer {
    /// Reads the query of the callback.
    ///
    /// # Errors
    /// [`SignInError::Malformed`].
    pub fn parse(query: &[u8]) -> Result<Self, SignInError> {
        let mut parameters = Parameters::parse(query).map_err(|_| SignInError::Malformed)?;
        let outcome = match (parameters.take("code"), parameters.take("error")) {
            (Some(code), None) => Ok(code),
            (None, Some(error)) => Err(error),
            (Some(_), Some(_)) | (None, None) => return Err(SignInError::Malformed),
        };
        Ok(Self {
            state: parameters.take("state").ok_or(SignInError::Malformed)?,
            issuer: parameters.take("iss"),
            outcome,
        })
    }

    /// Checks who answers. SECURITY: the issuer is the one that the state was made for; without this another issuer's
    /// code could be redeemed there (mix-up, RFC 9207 §1).
    ///
    /// # Errors
    /// [`SignInError::OtherIssuer`], [`SignInError::IssuerMissing`].
    pub fn check_issuer(&self, issuer: &str, always_named: bool) -> Result<(), SignInError> {
        match &self.issuer {
            Some(named) if named == issuer => Ok(()),
            Some(_) => Err(SignInError::OtherIssuer),
            None if always_named => Err(SignInError::IssuerMissing),
            None => Ok(()),
        }
    }
}

/// What an ID token says of how the person proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// When.
    pub authenticated_at: Timestamp,
    /// How strongly.
    pub acr: Option<String>,
    /// By which means.
    pub amr: Vec<String>,
}

/// The profile of the ID token that a code is redeemed for: our id there is its audience.
pub fn profile<'a>(issuer: &'a str, client_id: &'a [String]) -> Profile<'a> {
    Profile::id_token(issuer, client_id)
}

/// What a verified ID token proves, for a request with this nonce and these wishes.
///
/// # Errors
/// The rule that it breaks.
pub fn prove(
    claims: &VerifiedClaims,
    (client_id, nonce): (&str, &str),
    max_age: Option<Ttl>,
    now: Timestamp,
) -> Result<Proof, SignInError> {
    if claims.string("nonce") != Some(nonce) {
        return Err(SignInError::Nonce);
    }
    let authorized = claims.claim("azp").map(|party| party.as_str());
    if authorized.is_some_and(|party| party != Some(client_id))
        || (authorized.is_none() && claims.audiences().count() > 1)
    {
        return Err(SignInError::AuthorizedParty);
    }
    let said = claims
        .claim("auth_time")
        .and_then(Value::as_i64)
        .map(Timestamp::from_seconds);
    if let Some(age) = max_age
        && said.is_none_or(|said| now.since(said) > Ttl::from_seconds(age.as_seconds() + SKEW_SECONDS))
    {
        return Err(SignInError::TooOld);
    }
    let means = claims.claim("amr").and_then(Value::as_array);
    Ok(Proof {
        authenticated_at: said.unwrap_or(now).min(now),
        acr: claims
            .string("acr")
            .map(|acr| acr.chars().take(MAX_WORD).collect()),
        amr: means
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .take(MAX_MEANS)
            .map(|means| means.chars().take(MAX_WORD).collect())
            .collect(),
    })
}

const MAX_WORD: usize = 128;
const MAX_MEANS: usize = 16;
/// How far the clocks of others may be off.
const SKEW_SECONDS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_code_or_an_error_and_each_once() {
        let parse = |query: &str| SignInAnswer::parse(query.as_bytes());
        assert_eq!(parse("code=a&state=b").unwrap().outcome, Ok("a".to_owned()));
        assert_eq!(
            parse("error=access_denied&state=b").unwrap().outcome,
            Err("access_denied".to_owned())
        );
        for broken in [
            "state=b",
            "code=a",
            "code=a&error=b&state=c",
            "code=a&code=b&state=c",
            "code=%zz&state=a",
        ] {
            assert_eq!(parse(broken), Err(SignInError::Malformed), "{broken}");
        }
    }

    #[test]
    fn another_issuer_does_not_answer_for_the_one_that_was_asked() {
        let answer = |query: &str| SignInAnswer::parse(query.as_bytes()).unwrap();
        let (named, unnamed) = (
            answer("code=a&state=b&iss=https://idp.example"),
            answer("code=a&state=b"),
        );
        assert_eq!(named.check_issuer("https://idp.example", true), Ok(()));
        assert_eq!(
            named.check_issuer("https://other.example", false),
            Err(SignInError::OtherIssuer)
        );
        assert_eq!(unnamed.check_issuer("https://idp.example", false), Ok(()));
        assert_eq!(
            unnamed.check_issuer("https://idp.example", true),
            Err(SignInError::IssuerMissing)
        );
    }

    #[test]
    fn the_request_binds_answer_token_and_code() {
        let wishes = SignInWishes {
            max_age: Some(Ttl::from_minutes(5)),
            is_afresh: true,
            ..SignInWishes::default()
        };
        let request = SignInRequest {
            authorization_endpoint: "https://idp.example/auth?tenant=a",
            client_id: "us",
            redirect_uri: "https://id.example/sign-in/callback",
            scopes: &["email".to_owned(), "openid".to_owned()],
            state: "s",
            nonce: "n",
            code_challenge: "c",
            wishes: &wishes,
        };
        let url = request.url();
        for part in [
            "https://idp.example/auth?tenant=a&response_type=code",
            "&scope=openid+email&",
            "&state=s&nonce=n&code_challenge=c&code_challenge_method=S256",
            "&max_age=300",
            "&prompt=login",
        ] {
            assert!(url.contains(part), "{part} in {url}");
        }
    }
}
