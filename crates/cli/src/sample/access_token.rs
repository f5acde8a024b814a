//! How the notes server verifies an access token by itself: RFC 9068 §4, with a plain JWT library.
//!
//! The keys come from the authorization server's metadata (RFC 8414 §3), read when the first token arrives, and
//! again for a token that names a key not seen before. Nothing is asked per call, so a revoked token counts until
//! it expires; tokens bound to a key (DPoP, mTLS) are not told from plain ones.

use super::client::loopback_http;
use super::now;
use anyhow::{Context as _, ensure};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Mutex;
use url::Url;

/// Verifies tokens of one authorization server for one resource.
pub(crate) struct Verifier {
    issuer: String,
    resource: String,
    http: reqwest::Client,
    keys: Mutex<Option<FetchedKeys>>,
}

/// Who calls, read from a verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Whose authority the token carries.
    pub(crate) subject: String,
    /// The agents that act, the current one first; empty when the subject acts for itself.
    pub(crate) actors: Vec<String>,
    /// What the token allows.
    pub(crate) scopes: BTreeSet<String>,
}

/// Why a token was not accepted.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    /// The token is no good; the text is for the challenge.
    #[error("{0}")]
    Invalid(&'static str),
    /// The authorization server's keys could not be read, so nothing is known about the token.
    #[error("the authorization server's keys cannot be read: {0:#}")]
    KeysUnavailable(anyhow::Error),
}

struct FetchedKeys {
    set: JwkSet,
    at: u64,
}

/// The claims of RFC 9068 §2.2, all required, with the optional ones that this server uses.
#[derive(Deserialize)]
struct Claims {
    // The library compares it, but would take a list that contains the issuer; RFC 7519 §4.1.1 has one string.
    #[serde(rename = "iss")]
    _iss: String,
    sub: String,
    aud: Audience,
    iat: u64,
    #[serde(rename = "client_id")]
    _client_id: String,
    #[serde(rename = "jti")]
    _jti: String,
    #[serde(default)]
    scope: String,
    act: Option<Act>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// The current actor, with earlier ones nested inside (RFC 8693 §4.1).
#[derive(Deserialize)]
struct Act {
    sub: String,
    act: Option<Box<Act>>,
}

#[derive(Deserialize)]
struct ServerMetadata {
    issuer: String,
    jwks_uri: String,
}

impl Verifier {
    /// A verifier of the tokens that `issuer` issues for `resource`.
    ///
    /// # Errors
    /// If no HTTP client can be made.
    pub(crate) fn new(issuer: String, resource: String) -> anyhow::Result<Self> {
        Ok(Self {
            issuer,
            resource,
            http: loopback_http()?,
            keys: Mutex::new(None),
        })
    }

    /// The one who calls with this token.
    ///
    /// # Errors
    /// If the token is not an access token of this issuer for this resource, or the keys cannot be read.
    pub(crate) async fn verify(&self, token: &str) -> Result<Caller, Refusal> {
        // SECURITY: type and algorithm are judged before any key is looked up. `none` is not an algorithm that the
        // library can read, and symmetric ones are not in the list, so no public key is ever used as a secret.
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Invalid("not a signed JWT"))?;
        if !is_access_token_type(header.typ.as_deref()) {
            return Err(Refusal::Invalid("not an access token (typ)"));
        }
        if !ALGORITHMS.contains(&header.alg) {
            return Err(Refusal::Invalid("signed with an algorithm not accepted here"));
        }
        let key_id = header.kid.ok_or(Refusal::Invalid("names no key"))?;

        let key = self.key(&key_id).await?;
        if algorithm_of(&key) != Some(header.alg) {
            return Err(Refusal::Invalid("the key is not one of this algorithm"));
        }
        let verifying = DecodingKey::from_jwk(&key).map_err(|_| Refusal::Invalid("names an unusable key"))?;

        let rules = self.rules(header.alg);
        let claims = jsonwebtoken::decode::<Claims>(token, &verifying, &rules)
            .map_err(|error| Refusal::Invalid(reason(&error)))?
            .claims;
        if !claims.aud.is_exactly(&self.resource) {
            return Err(Refusal::Invalid("issued for another audience"));
        }
        if claims.iat > now().saturating_add(LEEWAY_SECONDS) {
            return Err(Refusal::Invalid("issued in the future"));
        }
        Ok(Caller::from(claims))
    }

    fn rules(&self, algorithm: Algorithm) -> Validation {
        let mut rules = Validation::new(algorithm);
        rules.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        rules.set_issuer(&[&self.issuer]);
        rules.set_audience(&[&self.resource]);
        rules.validate_nbf = true;
        rules.leeway = LEEWAY_SECONDS;
        rules
    }

    /// The key with this id. One never seen makes the set be read again, but not more than once in
    /// [`REFETCH_SECONDS`], so that invented ids do not become requests.
    async fn key(&self, key_id: &str) -> Result<Jwk, Refusal> {
        let unknown = Refusal::Invalid("signed with a key the issuer does not publish");
        let mut keys = self.keys.lock().await;
        if let Some(fetched) = keys.as_ref() {
            if let Some(key) = fetched.set.find(key_id) {
                return Ok(key.clone());
            }
            if now().saturating_sub(fetched.at) < REFETCH_SECONDS {
                return Err(unknown);
            }
        }

        let set = self.fetch_keys().await.map_err(Refusal::KeysUnavailable)?;
        let key = set.find(key_id).cloned();
        *keys = Some(FetchedKeys { set, at: now() });
        key.ok_or(unknown)
    }

    /// Makes the keys old enough to be read again.
    #[cfg(test)]
    pub(super) async fn end_pause(&self) {
        if let Some(fetched) = self.keys.lock().await.as_mut() {
            fetched.at = 0;
        }
    }

    async fn fetch_keys(&self) -> anyhow::Result<JwkSet> {
        let metadata: ServerMetadata = self.fetch(metadata_url(&self.issuer)?).await?;
        ensure!(
            metadata.issuer == self.issuer,
            "the metadata of `{}` says it is `{}`",
            self.issuer,
            metadata.issuer
        );
        self.fetch(Url::parse(&metadata.jwks_uri)?).await
    }

    async fn fetch<T: serde::de::DeserializeOwned>(&self, url: Url) -> anyhow::Result<T> {
        let place = url.to_string();
        let response = self.http.get(url).timeout(FETCH_TIMEOUT).send().await?;
        let document = response.error_for_status()?.json().await;
        document.with_context(|| format!("`{place}` is not the document it should be"))
    }
}

impl From<Claims> for Caller {
    fn from(claims: Claims) -> Self {
        let mut actors = Vec::new();
        let mut next = claims.act;
        while let Some(act) = next {
            actors.push(act.sub);
            next = act.act.map(|earlier| *earlier);
        }
        Self {
            subject: claims.sub,
            actors,
            scopes: claims.scope.split_ascii_whitespace().map(str::to_owned).collect(),
        }
    }
}

impl Audience {
    fn is_exactly(&self, resource: &str) -> bool {
        match self {
            Self::One(one) => one == resource,
            Self::Several(several) => matches!(several.as_slice(), [one] if one == resource),
        }
    }
}

/// RFC 9068 §4: `at+jwt`, with or without `application/`, in any case.
fn is_access_token_type(token_type: Option<&str>) -> bool {
    let accepted = ["at+jwt", "application/at+jwt"];
    token_type.is_some_and(|given| accepted.iter().any(|one| one.eq_ignore_ascii_case(given)))
}

/// The one algorithm that a published key verifies, from its type; its own `alg` and `use` must not object.
fn algorithm_of(key: &Jwk) -> Option<Algorithm> {
    let by_type = if let AlgorithmParameters::EllipticCurve(key) = &key.algorithm {
        (key.curve == EllipticCurve::P256).then_some(Algorithm::ES256)
    } else if let AlgorithmParameters::OctetKeyPair(key) = &key.algorithm {
        (key.curve == EllipticCurve::Ed25519).then_some(Algorithm::EdDSA)
    } else {
        matches!(key.algorithm, AlgorithmParameters::RSA(_)).then_some(Algorithm::RS256)
    }?;
    // `Ed25519` (RFC 9864) is a name that the library does not know yet.
    let named = key.common.key_algorithm;
    let agrees = named.is_none_or(|name| {
        name == KeyAlgorithm::from(by_type)
            || (name == KeyAlgorithm::UNKNOWN_ALGORITHM && by_type == Algorithm::EdDSA)
    });
    let signs = matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
    (agrees && signs).then_some(by_type)
}

fn reason(error: &jsonwebtoken::errors::Error) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    let known = [
        (ErrorKind::InvalidSignature, "the signature is wrong"),
        (ErrorKind::ExpiredSignature, "expired"),
        (ErrorKind::ImmatureSignature, "not valid yet"),
        (ErrorKind::InvalidIssuer, "issued by someone else"),
        (ErrorKind::InvalidAudience, "issued for another audience"),
    ];
    known
        .iter()
        .find(|(kind, _)| kind == error.kind())
        .map_or("a claim is missing or malformed", |(_, words)| words)
}

/// RFC 8414 §3.1: the well-known part goes between the host and the issuer's path.
fn metadata_url(issuer: &str) -> anyhow::Result<Url> {
    let mut url = Url::parse(issuer).with_context(|| format!("`{issuer}` is not a URL"))?;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
    Ok(url)
}

/// The algorithms accepted.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256];

/// How far the two clocks may differ.
const LEEWAY_SECONDS: u64 = 5;

/// The shortest time between two readings of the keys.
const REFETCH_SECONDS: u64 = 2;

/// How long the authorization server may take to answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
