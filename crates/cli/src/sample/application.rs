//! An application that a person lets in: a public OAuth client with PKCE (RFC 7636) and a redirect to a port of its
//! own on this machine (RFC 8252 §7.3). It finds the authorization server by its metadata (RFC 8414).
//!
//! It keeps no token and asks for no refresh. What it is given is the caller's.

use super::client::loopback_http;
use super::listener::{Bound, Serving, query_parameter, text};
use super::unique;
use anyhow::{Context as _, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use url::Url;

/// The running application, with one request for access on its way.
pub(crate) struct Application {
    client_id: String,
    metadata: Value,
    redirect_uri: String,
    resource: String,
    state: String,
    verifier: String,
    answer: Arc<Mutex<Option<Returned>>>,
    serving: Serving,
}

/// What the browser brought back.
struct Returned {
    code: Option<String>,
    state: Option<String>,
    issuer: Option<String>,
    error: Option<String>,
}

impl Application {
    /// Starts on a free port, and reads what the authorization server says of itself.
    ///
    /// # Errors
    /// No metadata.
    pub(crate) async fn start(issuer: &str, client_id: &str, resource: &str) -> anyhow::Result<Self> {
        let document = format!("{issuer}/.well-known/oauth-authorization-server");
        let metadata: Value = loopback_http()?.get(document).send().await?.json().await?;
        ensure!(
            metadata.get("issuer").and_then(Value::as_str) == Some(issuer),
            "the metadata is another issuer's"
        );
        let bound = Bound::to_loopback(0).await?;
        let redirect_uri = format!("{}/callback", bound.base());
        let answer = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&answer);
        let serving = bound.serve(move |request| {
            let returned = Returned {
                code: query_parameter(&request, "code"),
                state: query_parameter(&request, "state"),
                issuer: query_parameter(&request, "iss"),
                error: query_parameter(&request, "error"),
            };
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(returned);
            async move { text(StatusCode::OK, "you can close this window\n") }
        });
        Ok(Self {
            client_id: client_id.to_owned(),
            metadata,
            redirect_uri,
            resource: resource.to_owned(),
            state: unique()?,
            verifier: format!("{}{}", unique()?, unique()?),
            answer,
            serving,
        })
    }

    /// Where the person's browser goes to be asked.
    ///
    /// # Errors
    /// The metadata names no such place.
    pub(crate) fn question(&self, scope: &str) -> anyhow::Result<String> {
        let mut url = Url::parse(self.endpoint("authorization_endpoint")?)?;
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", &self.redirect_uri),
            ("resource", &self.resource),
            ("scope", scope),
            ("state", &self.state),
            ("code_challenge", &challenge(&self.verifier)),
            ("code_challenge_method", "S256"),
        ]);
        Ok(url.into())
    }

    /// Redeems the code that the browser brought, and stops.
    ///
    /// # Errors
    /// The person said no, the answer is to another question, or the code is refused.
    pub(crate) async fn redeem(self) -> anyhow::Result<Value> {
        let returned = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let returned = returned.context("the browser did not come back")?;
        ensure!(
            returned.state.as_ref() == Some(&self.state),
            "an answer to another question"
        );
        let issuer = self.metadata.get("issuer").and_then(Value::as_str);
        ensure!(returned.issuer.as_deref() == issuer, "another issuer's answer");
        let code = returned
            .code
            .with_context(|| format!("the person said no: {:?}", returned.error))?;
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", &self.client_id),
            ("redirect_uri", &self.redirect_uri),
            ("code", &code),
            ("code_verifier", &self.verifier),
            ("resource", &self.resource),
        ];
        let endpoint = self.endpoint("token_endpoint")?;
        let answer = loopback_http()?.post(endpoint).form(&form).send().await?;
        let (status, body) = (answer.status(), answer.text().await?);
        ensure!(status == StatusCode::OK, "the code is refused: {body}");
        self.serving.stop().await;
        Ok(serde_json::from_str(&body)?)
    }

    fn endpoint(&self, name: &str) -> anyhow::Result<&str> {
        let endpoint = self.metadata.get(name).and_then(Value::as_str);
        endpoint.with_context(|| format!("the metadata has no {name}"))
    }
}

/// The challenge of a verifier (RFC 7636 §4.2, `S256`).
pub(super) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}
