//! How a client presents itself in a request (RFC 6749 §2.3, RFC 7523 §2.2): exactly one way.

use crate::error::{ErrorCode, OAuthError};
use crate::form::{self, Parameters};
use crate::urn;
use base64::Engine as _;
use chancery_core::secret::Secret;

/// What a client presented, not yet believed.
#[derive(Debug)]
pub enum PresentedClient {
    /// A secret, in the header or in the form.
    Secret {
        /// The `client_id`.
        client_id: String,
        /// The secret.
        secret: Secret<String>,
        /// Whether it came in the `Authorization` header.
        basic: bool,
    },
    /// A signed assertion: the client's own, or its runtime's token.
    Assertion {
        /// The `client_id` parameter, if it was sent too.
        client_id: Option<String>,
        /// The signed token.
        assertion: Secret<String>,
    },
    /// Its name and no proof: a public client, or none at all.
    Public {
        /// The `client_id`.
        client_id: String,
    },
}

impl PresentedClient {
    /// Reads the client's proof from the `Authorization` header and the form.
    ///
    /// # Errors
    /// `invalid_request` for two proofs at once or a malformed one, `invalid_client` for none.
    pub fn parse(authorization: Option<&str>, form: &mut Parameters) -> Result<Self, OAuthError> {
        let client_id = form.take("client_id");
        let secret = form.take_secret("client_secret");
        let assertion = form.take_secret("client_assertion");
        let assertion_type = form.take("client_assertion_type");
        let proofs = usize::from(authorization.is_some())
            + usize::from(secret.is_some())
            + usize::from(assertion.is_some());
        if proofs > 1 {
            return Err(OAuthError::invalid_request(
                "more than one way of client authentication is used",
            ));
        }
        if let Some(header) = authorization {
            return Self::basic(header, client_id.as_deref());
        }
        match (client_id, secret, assertion, assertion_type.as_deref()) {
            (Some(client_id), Some(secret), None, None) => Ok(Self::Secret {
                client_id,
                secret,
                basic: false,
            }),
            (client_id, None, Some(assertion), Some(urn::JWT_BEARER_ASSERTION)) => {
                Ok(Self::Assertion { client_id, assertion })
            }
            (Some(client_id), None, None, None) => Ok(Self::Public { client_id }),
            (_, None, Some(_), _) => Err(OAuthError::invalid_request(
                "client_assertion_type is missing or unknown",
            )),
            (None, Some(_), _, _) => Err(OAuthError::invalid_request("client_id is missing")),
            _ => Err(OAuthError::new(
                ErrorCode::InvalidClient,
                "the client presented no proof of who it is",
            )),
        }
    }

    /// Whether the failure must be answered with `WWW-Authenticate` (RFC 6749 §5.2).
    pub fn used_header(&self) -> bool {
        matches!(self, Self::Secret { basic: true, .. })
    }

    fn basic(header: &str, client_id: Option<&str>) -> Result<Self, OAuthError> {
        const MALFORMED: OAuthError = OAuthError::invalid_request(
            "the Authorization header is not `Basic` with a client id and secret",
        );
        let (scheme, credentials) = header.split_once(' ').ok_or(MALFORMED)?;
        if !scheme.eq_ignore_ascii_case("basic") || credentials.len() > MAX_CREDENTIALS {
            return Err(MALFORMED);
        }
        let decoded = base64::engine::general_purpose::STANDARD
            .decode(credentials.trim())
            .map_err(|_| MALFORMED)?;
        let decoded = Secret::new(decoded);
        let mut halves = decoded.expose_secret().splitn(2, |&byte| byte == b':');
        let (Some(id), Some(secret)) = (halves.next(), halves.next()) else {
            return Err(MALFORMED);
        };
        // Both halves are form-urlencoded before they are joined (RFC 6749 §2.3.1).
        let id = form::decode(id).map_err(|_| MALFORMED)?;
        let secret = Secret::new(form::decode(secret).map_err(|_| MALFORMED)?);
        if client_id.is_some_and(|other| other != id) {
            return Err(OAuthError::invalid_request(
                "client_id differs from the Authorization header",
            ));
        }
        Ok(Self::Secret {
            client_id: id,
            secret,
            basic: true,
        })
    }
}

const MAX_CREDENTIALS: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(header: Option<&str>, body: &str) -> Result<PresentedClient, OAuthError> {
        PresentedClient::parse(header, &mut Parameters::parse(body.as_bytes()).unwrap())
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    }

    #[test]
    fn basic_halves_are_form_decoded() {
        let header = basic("cli%5F1:a%3Ab+c");
        let Ok(PresentedClient::Secret {
            client_id,
            secret,
            basic: true,
        }) = parse(Some(&header), "")
        else {
            panic!()
        };
        assert_eq!(
            (client_id.as_str(), secret.expose_secret().as_str()),
            ("cli_1", "a:b c")
        );
    }

    #[test]
    fn two_proofs_are_refused() {
        let header = basic("a:b");
        assert_eq!(
            parse(Some(&header), "client_secret=x").unwrap_err().code,
            ErrorCode::InvalidRequest
        );
        let both = "client_id=a&client_secret=x&client_assertion=y&client_assertion_type=z";
        assert_eq!(parse(None, both).unwrap_err().code, ErrorCode::InvalidRequest);
    }

    #[test]
    fn a_client_that_only_says_its_name_is_public() {
        let presented = parse(None, "client_id=a").unwrap();
        assert!(matches!(presented, PresentedClient::Public { client_id } if client_id == "a"));
        let half = "client_id=a&client_assertion_type=z";
        assert_eq!(parse(None, half).unwrap_err().code, ErrorCode::InvalidClient);
    }

    #[test]
    fn no_proof_is_invalid_client_and_a_wrong_scheme_a_bad_request() {
        assert_eq!(parse(None, "").unwrap_err().code, ErrorCode::InvalidClient);
        assert_eq!(
            parse(Some("Bearer x"), "").unwrap_err().code,
            ErrorCode::InvalidRequest
        );
        assert_eq!(
            parse(Some("Basic !!"), "").unwrap_err().code,
            ErrorCode::InvalidRequest
        );
        assert_eq!(
            parse(Some(&basic("a:b")), "client_id=c").unwrap_err().code,
            ErrorCode::InvalidRequest
        );
    }
}
