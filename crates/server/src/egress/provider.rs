//! Asking the provider of a connection: for tokens, whose they are, and to take them back. What it answers is judged in
//! `oauth::provider`.

use super::openid::basic;
use super::{Destination, Egress, EgressError, OutboundRequest, OutboundResponse, UrlSource};
use bytes::Bytes;
use chancery_core::name::Name;
use chancery_core::secret::Secret;
use chancery_oauth::provider::Answered;
use http::Method;
use http::header::{self, HeaderMap, HeaderValue};
use serde_json::json;

/// What proves us to a provider (RFC 6749 §2.3, RFC 7523 §2.2).
#[derive(Debug)]
pub enum ClientProof {
    /// Nothing but our id.
    None,
    /// A secret in the header.
    Basic(Secret<String>),
    /// A secret in the form.
    Post(Secret<String>),
    /// An assertion of ours.
    Assertion(String),
}

/// What a provider is asked.
#[derive(Debug)]
pub enum ProviderQuestion<'a> {
    /// A form at the token or revocation endpoint, with what proves us.
    Form {
        /// The form, without what proves us.
        form: Vec<(&'a str, &'a str)>,
        /// Our id there.
        client_id: &'a str,
        /// What proves us.
        proof: &'a ClientProof,
    },
    /// A form that proves us by itself.
    Assertion(Vec<(&'a str, &'a str)>),
    /// Something in JSON, with a bearer that proves us.
    Json {
        /// What proves us.
        bearer: &'a Secret<String>,
        /// What is asked.
        body: serde_json::Value,
    },
    /// Whose token this is: a GET with the token as bearer.
    Whose(&'a Secret<String>),
    /// To take a token back: a POST with it as bearer.
    TakeBack(&'a Secret<String>),
    /// To take a token back, with our id and secret and the token in JSON.
    DeleteWithSecret {
        /// Our id there.
        client_id: &'a str,
        /// What proves us.
        proof: &'a ClientProof,
        /// The token.
        token: &'a Secret<String>,
    },
}

/// An answer of a provider, as it came.
#[derive(Debug)]
pub struct ProviderAnswer(OutboundResponse);

impl ProviderAnswer {
    /// The answer for the rules to read.
    pub fn read(&self) -> Answered<'_> {
        let kind = self.0.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        Answered {
            status: self.0.status.as_u16(),
            media_type: kind.split(';').next().unwrap_or_default().trim(),
            body: &self.0.body,
        }
    }
}

impl Egress {
    /// Asks a provider once. Nothing is followed or sent again.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn ask_provider(
        &self,
        tenant: &Name,
        url: &str,
        question: ProviderQuestion<'_>,
    ) -> Result<ProviderAnswer, EgressError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let (method, body) = match question {
            ProviderQuestion::Form {
                form,
                client_id,
                proof,
            } => (Method::POST, form_body(form, client_id, proof, &mut headers)?),
            ProviderQuestion::Assertion(form) => (Method::POST, encoded(&form, &mut headers)),
            ProviderQuestion::Json { bearer: proof, body } => {
                headers.insert(header::AUTHORIZATION, bearer(proof)?);
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                (Method::POST, Bytes::from(body.to_string()))
            }
            ProviderQuestion::Whose(token) => {
                headers.insert(header::AUTHORIZATION, bearer(token)?);
                (Method::GET, Bytes::new())
            }
            ProviderQuestion::TakeBack(token) => {
                headers.insert(header::AUTHORIZATION, bearer(token)?);
                (Method::POST, Bytes::new())
            }
            ProviderQuestion::DeleteWithSecret {
                client_id,
                proof,
                token,
            } => {
                let (ClientProof::Basic(secret) | ClientProof::Post(secret)) = proof else {
                    return Err(EgressError::Header);
                };
                let authorization = basic(client_id, secret).map_err(|_| EgressError::Header)?;
                headers.insert(header::AUTHORIZATION, authorization);
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                let body = json!({ "access_token": token.expose_secret() });
                (Method::DELETE, Bytes::from(body.to_string()))
            }
        };
        let request = OutboundRequest {
            method,
            headers,
            body,
            max_response_bytes: MAX_BYTES,
        };
        let destination = Destination {
            tenant: Some(tenant),
            source: UrlSource::Configured,
            url,
        };
        self.send(destination, request).await.map(ProviderAnswer)
    }
}

fn bearer(token: &Secret<String>) -> Result<HeaderValue, EgressError> {
    let value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
    let mut value = value.map_err(|_| EgressError::Header)?;
    value.set_sensitive(true);
    Ok(value)
}

fn form_body<'a>(
    mut form: Vec<(&'a str, &'a str)>,
    client_id: &'a str,
    proof: &'a ClientProof,
    headers: &mut HeaderMap,
) -> Result<Bytes, EgressError> {
    match proof {
        ClientProof::None => form.push(("client_id", client_id)),
        ClientProof::Basic(secret) => {
            let authorization = basic(client_id, secret).map_err(|_| EgressError::Header)?;
            headers.insert(header::AUTHORIZATION, authorization);
        }
        ClientProof::Post(secret) => {
            form.push(("client_id", client_id));
            form.push(("client_secret", secret.expose_secret()));
        }
        ClientProof::Assertion(assertion) => {
            form.push(("client_id", client_id));
            form.push(("client_assertion_type", chancery_oauth::urn::JWT_BEARER_ASSERTION));
            form.push(("client_assertion", assertion));
        }
    }
    Ok(encoded(&form, headers))
}

fn encoded(form: &[(&str, &str)], headers: &mut HeaderMap) -> Bytes {
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    Bytes::from(body)
}

const MAX_BYTES: usize = 256 * 1024;
