//! An outside issuer's sign-in: where its endpoints are (OpenID Connect Discovery 1.0 §4), and redeeming a code there
//! (OpenID Connect Core §3.1.3).
//!
//! What the ID token says is judged elsewhere.

use super::jwks::{DISCOVERY_RULES, discovery_url};
use super::{Destination, Egress, EgressError, OutboundRequest, UrlSource};
use bytes::Bytes;
use chancery_core::connection::OAuthSpec;
use chancery_core::issuer::TrustedIssuer;
use chancery_core::json::{JsonLimits, parse_object};
use chancery_core::name::Name;
use chancery_core::secret::Secret;
use chancery_core::time::{Clock, Timestamp, Ttl};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use serde_json::Value;
use std::sync::Arc;

/// What an issuer says of its sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Where the browser goes.
    pub authorization_endpoint: String,
    /// Where codes are redeemed.
    pub token_endpoint: String,
    /// Where tokens are revoked (RFC 7009), if anywhere.
    pub revocation_endpoint: Option<String>,
    /// What says whose token it is, if anything does.
    pub userinfo_endpoint: Option<String>,
    /// Whether it names itself in every answer (RFC 9207 §3).
    pub names_itself: bool,
}

/// Why an issuer cannot be used to sign in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be reached.
    #[error("the issuer cannot be reached: {0}")]
    Unreachable(EgressError),
    /// Its discovery document is not one, or another issuer's.
    #[error("the issuer's discovery document is not acceptable")]
    Discovery,
    /// It refused the code.
    #[error("the issuer refused the code: {0}")]
    Refused(String),
    /// It answered something else.
    #[error("the issuer answered without an ID token")]
    Malformed,
}

/// A code to redeem.
#[derive(Debug)]
pub struct CodeToRedeem<'a> {
    /// The form, without what proves us.
    pub form: Vec<(&'a str, &'a str)>,
    /// Our id and secret, if they go in the header (RFC 6749 §2.3.1).
    pub basic: Option<(&'a str, &'a Secret<String>)>,
}

/// Issuers' endpoints, as they said lately.
#[derive(Debug)]
pub struct Providers {
    egress: Arc<Egress>,
    clock: Arc<dyn Clock>,
    known: quick_cache::sync::Cache<(Name, String), (Provider, Timestamp)>,
}

impl Providers {
    /// Nothing known yet.
    pub fn new(egress: Arc<Egress>, clock: Arc<dyn Clock>) -> Self {
        Self {
            egress,
            clock,
            known: quick_cache::sync::Cache::new(MAX_KNOWN),
        }
    }

    /// Where an issuer's endpoints are.
    ///
    /// # Errors
    /// It cannot be reached, or says something else than it should.
    pub async fn find(&self, tenant: &Name, issuer: &TrustedIssuer) -> Result<Provider, ProviderError> {
        let fixed = issuer
            .spec
            .sign_in
            .as_ref()
            .and_then(|sign_in| sign_in.endpoints.as_ref());
        if let Some(endpoints) = fixed {
            return Ok(Provider {
                authorization_endpoint: endpoints.authorization.clone(),
                token_endpoint: endpoints.token.clone(),
                revocation_endpoint: None,
                userinfo_endpoint: None,
                names_itself: false,
            });
        }
        self.find_by_issuer(tenant, &issuer.spec.issuer).await
    }

    /// The endpoints of a connection's provider.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn find_for_connection(
        &self,
        tenant: &Name,
        spec: &OAuthSpec,
    ) -> Result<Provider, ProviderError> {
        if let Some(endpoints) = &spec.endpoints {
            return Ok(Provider {
                authorization_endpoint: endpoints.authorization.clone().unwrap_or_default(),
                token_endpoint: endpoints.token.clone(),
                revocation_endpoint: endpoints.revocation.clone(),
                userinfo_endpoint: endpoints.userinfo.clone(),
                names_itself: false,
            });
        }
        let issuer = spec.issuer.as_deref().ok_or(ProviderError::Discovery)?;
        self.find_by_issuer(tenant, issuer).await
    }

    async fn find_by_issuer(&self, tenant: &Name, issuer: &str) -> Result<Provider, ProviderError> {
        let key = (tenant.clone(), issuer.to_owned());
        let now = self.clock.now();
        if let Some((provider, until)) = self.known.get(&key)
            && now < until
        {
            return Ok(provider);
        }
        let provider = self.discover(tenant, issuer).await?;
        self.known.insert(key, (provider.clone(), now.plus(KEPT)));
        Ok(provider)
    }

    async fn discover(&self, tenant: &Name, issuer: &str) -> Result<Provider, ProviderError> {
        let url = discovery_url(issuer);
        let fetch = |url: String| async move {
            self.egress
                .fetch_document(configured(tenant, &url), DISCOVERY_RULES)
                .await
        };
        let document = match (fetch(url).await, metadata_url(issuer)) {
            // Not an OpenID provider: an authorization server says of itself what it is elsewhere (RFC 8414 §3).
            (Err(EgressError::Status(_) | EgressError::ContentType), Some(url)) => fetch(url).await,
            (fetched, _) => fetched,
        };
        let document = document.map_err(ProviderError::Unreachable)?;
        let members = parse_object(&document.body, JsonLimits::of_bytes(DISCOVERY_RULES.max_bytes))
            .map_err(|_| ProviderError::Discovery)?;
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
        // SECURITY: byte for byte, or one issuer could speak for another (Discovery §4.3).
        if text("issuer").as_deref() != Some(issuer) {
            return Err(ProviderError::Discovery);
        }
        let endpoint = |name: &str| {
            text(name)
                .filter(|url| is_endpoint(url))
                .ok_or(ProviderError::Discovery)
        };
        Ok(Provider {
            authorization_endpoint: endpoint("authorization_endpoint")?,
            token_endpoint: endpoint("token_endpoint")?,
            revocation_endpoint: text("revocation_endpoint").filter(|url| is_endpoint(url)),
            userinfo_endpoint: text("userinfo_endpoint").filter(|url| is_endpoint(url)),
            names_itself: members.get("authorization_response_iss_parameter_supported")
                == Some(&Value::Bool(true)),
        })
    }

    /// Redeems a code for an ID token.
    ///
    /// # Errors
    /// It cannot be reached, refuses, or answers something else.
    pub async fn redeem(
        &self,
        tenant: &Name,
        endpoint: &str,
        code: CodeToRedeem<'_>,
    ) -> Result<Secret<String>, ProviderError> {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&code.form)
            .finish();
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some((id, secret)) = code.basic {
            headers.insert(header::AUTHORIZATION, basic(id, secret)?);
        }
        let request = OutboundRequest {
            method: Method::POST,
            headers,
            body: Bytes::from(body),
            max_response_bytes: MAX_BYTES,
        };
        let answer = self.egress.send(configured(tenant, endpoint), request).await;
        let answer = answer.map_err(ProviderError::Unreachable)?;
        let members = parse_object(&answer.body, JsonLimits::of_bytes(MAX_BYTES))
            .map_err(|_| ProviderError::Malformed)?;
        if answer.status != StatusCode::OK {
            let error = members
                .get("error")
                .and_then(Value::as_str)
                .unwrap_or("no reason");
            return Err(ProviderError::Refused(error.chars().take(64).collect()));
        }
        let token = members.get("id_token").and_then(Value::as_str);
        token
            .map(|token| Secret::new(token.to_owned()))
            .ok_or(ProviderError::Malformed)
    }
}

/// Id and secret, each form-encoded before they are joined.
pub(super) fn basic(id: &str, secret: &Secret<String>) -> Result<HeaderValue, ProviderError> {
    use base64::Engine as _;
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let joined = format!("{}:{}", encode(id), encode(secret.expose_secret()));
    let joined = base64::engine::general_purpose::STANDARD.encode(joined);
    let mut value =
        HeaderValue::from_str(&format!("Basic {joined}")).map_err(|_| ProviderError::Malformed)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Where the metadata of an authorization server are (RFC 8414 §3.1): the well-known path goes before its own.
fn metadata_url(issuer: &str) -> Option<String> {
    let url = url::Url::parse(issuer).ok()?;
    let path = url.path().trim_end_matches('/');
    Some(format!(
        "{}/.well-known/oauth-authorization-server{path}",
        url.origin().ascii_serialization()
    ))
}

/// https, or http on this machine: where the browser is sent, and where the code goes.
fn is_endpoint(url: &str) -> bool {
    let base = url.split('?').next().unwrap_or_default().trim_end_matches('/');
    !url.contains('#') && chancery_core::uri::check_base_url(base).is_ok()
}

fn configured<'a>(tenant: &'a Name, url: &'a str) -> Destination<'a> {
    Destination {
        tenant: Some(tenant),
        source: UrlSource::Configured,
        url,
    }
}

const MAX_BYTES: usize = 256 * 1024;
const MAX_KNOWN: usize = 10_000;
const KEPT: Ttl = Ttl::from_minutes(5);
