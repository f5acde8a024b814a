//! The token request (RFC 6749 §3.2, RFC 8693 §2.1): bytes to a typed grant.

use super::client::PresentedClient;
use super::details::details;
use crate::error::{ErrorCode, OAuthError};
use crate::form::Parameters;
use crate::urn;
use chancery_core::authorization_details::AuthorizationDetails;
use chancery_core::client::ClientGrant;
use chancery_core::secret::Secret;
use chancery_core::uri::ResourceUri;

/// A token request.
#[derive(Debug)]
pub struct TokenRequest {
    /// What the client presented.
    pub client: PresentedClient,
    /// What it asks for.
    pub grant: GrantRequest,
    /// Where the token will be used.
    pub target: TargetRequest,
    /// The `scope` parameter; absent asks for the default.
    pub scope: Option<String>,
    /// The `authorization_details` parameter (RFC 9396 §6); absent asks for what the grant holds.
    pub details: Option<AuthorizationDetails>,
}

/// The grant of a token request.
#[derive(Debug)]
pub enum GrantRequest {
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 6749 §4.1.3.
    AuthorizationCode {
        /// The code.
        code: Secret<String>,
        /// Where it was sent to, if the authorization request said so.
        redirect_uri: Option<String>,
        /// What the code challenge is the digest of (RFC 7636 §4.5).
        code_verifier: Option<String>,
    },
    /// RFC 6749 §6.
    RefreshToken {
        /// The refresh token.
        refresh_token: Secret<String>,
    },
    /// RFC 8693 §2.1.
    TokenExchange {
        /// The token that says for whom.
        subject_token: Secret<String>,
        /// What kind it is.
        subject_token_type: SubjectTokenType,
        /// What kind of token is asked for, if that is said.
        requested_token_type: Option<RequestedTokenType>,
    },
    /// RFC 7523 §2.1: a trusted issuer's assertion about a person.
    JwtBearer {
        /// The assertion.
        assertion: Secret<String>,
    },
    /// RFC 8628 §3.4: what a device asked for, once a person has answered.
    DeviceCode {
        /// The device's own code.
        device_code: Secret<String>,
    },
    /// OpenID Connect CIBA §10.1: what was asked for before, once people have answered.
    Ciba {
        /// The handle of the request.
        auth_req_id: Secret<String>,
    },
}

/// The kinds of subject token that are taken: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectTokenType {
    /// An access token, of ours or of a trusted issuer.
    AccessToken,
    /// An ID token of a trusted issuer.
    IdToken,
    /// Any signed token about a person of a trusted issuer.
    Jwt,
}

/// The kinds of token that may be asked for: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestedTokenType {
    /// An access token, of ours or of a provider.
    AccessToken,
    /// The same, where it is one of ours.
    Jwt,
    /// A key that somebody set for a connection.
    ApiKey,
}

/// Where a token will be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetRequest {
    /// Not said: an agent token, for Chancery itself.
    Chancery,
    /// A resource by its URI (RFC 8707 §2).
    Resource(ResourceUri),
    /// A logical name (RFC 8693 §2.1): a resource's name or id, or `agent:NAME` to hand the token over.
    Audience(String),
}

impl GrantRequest {
    /// The grant as clients are registered for it.
    pub const fn registered(&self) -> ClientGrant {
        match self {
            Self::ClientCredentials => ClientGrant::ClientCredentials,
            Self::TokenExchange { .. } => ClientGrant::TokenExchange,
            Self::JwtBearer { .. } => ClientGrant::JwtBearer,
            Self::DeviceCode { .. } => ClientGrant::DeviceCode,
            Self::Ciba { .. } => ClientGrant::Ciba,
            Self::AuthorizationCode { .. } => ClientGrant::AuthorizationCode,
            Self::RefreshToken { .. } => ClientGrant::RefreshToken,
        }
    }
}

impl TokenRequest {
    /// Reads a token request.
    ///
    /// # Errors
    /// The exact error of the standard that the request breaks.
    pub fn parse(authorization: Option<&str>, body: &[u8]) -> Result<Self, OAuthError> {
        let mut form = Parameters::parse(body)?;
        let grant_type = form.require("grant_type", "grant_type is missing")?;
        let grant = match grant_type.as_str() {
            urn::CLIENT_CREDENTIALS => GrantRequest::ClientCredentials,
            urn::TOKEN_EXCHANGE => exchange(&mut form)?,
            urn::CIBA => GrantRequest::Ciba {
                auth_req_id: secret(&mut form, "auth_req_id", "auth_req_id is missing")?,
            },
            urn::JWT_BEARER => GrantRequest::JwtBearer {
                assertion: secret(&mut form, "assertion", "assertion is missing")?,
            },
            urn::DEVICE_CODE => GrantRequest::DeviceCode {
                device_code: secret(&mut form, "device_code", "device_code is missing")?,
            },
            urn::AUTHORIZATION_CODE => GrantRequest::AuthorizationCode {
                code: secret(&mut form, "code", "code is missing")?,
                redirect_uri: form.take("redirect_uri"),
                code_verifier: form.take("code_verifier"),
            },
            urn::REFRESH_TOKEN => GrantRequest::RefreshToken {
                refresh_token: secret(&mut form, "refresh_token", "refresh_token is missing")?,
            },
            _ => {
                return Err(OAuthError::new(
                    ErrorCode::UnsupportedGrantType,
                    "this grant_type is not supported",
                ));
            }
        };
        let client = PresentedClient::parse(authorization, &mut form)?;
        let target = target(&mut form)?;
        Ok(Self {
            client,
            grant,
            target,
            scope: form.take("scope"),
            details: details(&mut form)?,
        })
    }
}

fn secret(form: &mut Parameters, name: &str, missing: &'static str) -> Result<Secret<String>, OAuthError> {
    form.take_secret(name)
        .ok_or_else(|| OAuthError::invalid_request(missing))
}

fn exchange(form: &mut Parameters) -> Result<GrantRequest, OAuthError> {
    let subject_token = secret(form, "subject_token", "subject_token is missing")?;
    let kind = form.require("subject_token_type", "subject_token_type is missing")?;
    let subject_token_type = match kind.as_str() {
        urn::TOKEN_TYPE_ACCESS_TOKEN => SubjectTokenType::AccessToken,
        urn::TOKEN_TYPE_ID_TOKEN => SubjectTokenType::IdToken,
        urn::TOKEN_TYPE_JWT => SubjectTokenType::Jwt,
        _ => {
            return Err(OAuthError::invalid_request(
                "this subject_token_type is not supported",
            ));
        }
    };
    // SECURITY: the actor is the authenticated client and nobody else, so that no agent can name another.
    if form.take("actor_token").is_some() || form.take("actor_token_type").is_some() {
        return Err(OAuthError::invalid_request(
            "actor_token is not taken: the actor is the authenticated client",
        ));
    }
    let requested = form.take("requested_token_type");
    let requested_token_type = match requested.as_deref() {
        None => None,
        Some(urn::TOKEN_TYPE_ACCESS_TOKEN) => Some(RequestedTokenType::AccessToken),
        Some(urn::TOKEN_TYPE_JWT) => Some(RequestedTokenType::Jwt),
        Some(urn::TOKEN_TYPE_API_KEY) => Some(RequestedTokenType::ApiKey),
        Some(_) => return Err(UNSUPPORTED_TYPE),
    };
    Ok(GrantRequest::TokenExchange {
        subject_token,
        subject_token_type,
        requested_token_type,
    })
}

/// The answer to a token type that is not given here.
pub const UNSUPPORTED_TYPE: OAuthError =
    OAuthError::invalid_request("this requested_token_type is not supported");

/// One audience per token: at most one `resource` or `audience`.
pub(super) fn target(form: &mut Parameters) -> Result<TargetRequest, OAuthError> {
    const ONE: OAuthError = OAuthError::new(
        ErrorCode::InvalidTarget,
        "a token has one audience: name one resource",
    );
    let (mut resources, mut audiences) = (form.take_resources(), form.take_audiences());
    match (resources.len(), audiences.len()) {
        (0, 0) => Ok(TargetRequest::Chancery),
        (1, 0) => {
            let resource = resources.pop().unwrap_or_default();
            let malformed = OAuthError::new(
                ErrorCode::InvalidTarget,
                "resource is not an absolute URI without fragment",
            );
            resource
                .parse()
                .map(TargetRequest::Resource)
                .map_err(|_| malformed)
        }
        (0, 1) => Ok(TargetRequest::Audience(audiences.pop().unwrap_or_default())),
        _ => Err(ONE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &str) -> ErrorCode {
        TokenRequest::parse(None, body.as_bytes()).unwrap_err().code
    }

    #[test]
    fn each_malformation_has_its_error() {
        assert_eq!(code(""), ErrorCode::InvalidRequest);
        assert_eq!(code("grant_type=password"), ErrorCode::UnsupportedGrantType);
        assert_eq!(code("grant_type=client_credentials"), ErrorCode::InvalidClient);
        assert_eq!(code("grant_type=authorization"), ErrorCode::UnsupportedGrantType);
        let client = "client_id=a&client_secret=b&grant_type=client_credentials";
        assert_eq!(
            code(&format!("{client}&resource=notes")),
            ErrorCode::InvalidTarget
        );
        assert_eq!(
            code(&format!(
                "{client}&resource=https://a.example&resource=https://b.example"
            )),
            ErrorCode::InvalidTarget
        );
        assert_eq!(
            code(&format!("{client}&resource=https://a.example/%23x")),
            ErrorCode::InvalidTarget
        );
    }

    #[test]
    fn the_actor_is_never_a_parameter() {
        let body = "client_id=a&client_secret=b&grant_type=urn:ietf:params:oauth:grant-type:token-exchange\
                    &subject_token=x&subject_token_type=urn:ietf:params:oauth:token-type:jwt";
        assert!(TokenRequest::parse(None, body.as_bytes()).is_ok());
        assert_eq!(code(&format!("{body}&actor_token=y")), ErrorCode::InvalidRequest);
        assert_eq!(
            code(&body.replace("type:jwt", "type:saml2")),
            ErrorCode::InvalidRequest
        );
    }
}
