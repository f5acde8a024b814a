//! An agent's tokens for one MCP server: found out where they come from (RFC 9728, RFC 8414), asked for by
//! `client_credentials` (RFC 6749 §4.4) with the resource that they are for (RFC 8707), and asked for again before they
//! end. They stay in this process.

use crate::credentials::Credentials;
use crate::wire::Wire;
use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Request, StatusCode};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

/// Where tokens for a server come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Issuer {
    /// Its token endpoint.
    pub(crate) endpoint: Url,
    /// What its tokens are for: the server's own URL.
    pub(crate) resource: String,
}

/// Tokens for one server.
pub(crate) struct Tokens {
    wire: Wire,
    issuer: Issuer,
    credentials: Arc<Credentials>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    scopes: BTreeSet<String>,
    token: Option<(String, Instant)>,
}

/// Why the token endpoint gave no token.
#[derive(Debug, thiserror::Error)]
#[error("no token: {detail}{}", hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default())]
pub(crate) struct NoToken {
    /// What the authorization server said.
    detail: String,
    /// The next command.
    hint: Option<String>,
}

impl Issuer {
    /// What the server says of itself. `None` if it does not say.
    ///
    /// # Errors
    /// The server cannot be reached; what it says cannot be.
    pub(crate) async fn find(wire: &Wire, server: &Url) -> anyhow::Result<Option<Self>> {
        let Some(metadata) = document(wire, &well_known(server, "oauth-protected-resource")?).await? else {
            return Ok(None);
        };
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let resource = text(&metadata, "resource").context("the server's metadata has no `resource`")?;
        ensure!(
            resource.trim_end_matches('/') == server.as_str().trim_end_matches('/'),
            "the server calls itself `{resource}`\nhint: give that URL"
        );
        let issuer = metadata
            .pointer("/authorization_servers/0")
            .and_then(Value::as_str);
        let issuer = issuer
            .context("the server names no authorization server")?
            .to_owned();
        let at = Url::parse(&issuer).context("the authorization server's URL is none")?;
        let metadata = document(wire, &well_known(&at, "oauth-authorization-server")?).await?;
        let metadata = metadata.with_context(|| format!("`{issuer}` does not describe itself"))?;
        // SECURITY: RFC 8414 §3.3. The secret goes to nobody else's endpoint.
        ensure!(
            text(&metadata, "issuer").as_deref() == Some(issuer.as_str()),
            "`{issuer}` describes another issuer"
        );
        let endpoint =
            text(&metadata, "token_endpoint").context("the authorization server has no endpoint")?;
        let endpoint = Url::parse(&endpoint).context("the token endpoint is no URL")?;
        ensure!(
            endpoint.scheme() == "https" || is_loopback(&endpoint),
            "the token endpoint `{endpoint}` is not https: the proof would be readable on the way"
        );
        Ok(Some(Self { endpoint, resource }))
    }
}

impl Tokens {
    /// No token yet. `scopes` are asked for at first; without any, the resource's defaults come.
    pub(crate) fn new(wire: Wire, issuer: Issuer, credentials: Arc<Credentials>, scopes: &[String]) -> Self {
        let held = Held {
            scopes: scopes.iter().cloned().collect(),
            token: None,
        };
        Self {
            wire,
            issuer,
            credentials,
            held: Mutex::new(held),
        }
    }

    /// A token that is in force for a while yet.
    ///
    /// # Errors
    /// [`NoToken`]; no answer.
    pub(crate) async fn current(&self) -> anyhow::Result<String> {
        let mut held = self.held.lock().await;
        if let Some((token, until)) = &held.token
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        self.ask(&mut held).await
    }

    /// Another token than one that was refused.
    ///
    /// # Errors
    /// As [`Self::current`].
    pub(crate) async fn instead_of(&self, refused: &str) -> anyhow::Result<String> {
        let mut held = self.held.lock().await;
        match &held.token {
            Some((token, _)) if token != refused => Ok(token.clone()),
            Some(_) | None => self.ask(&mut held).await,
        }
    }

    /// A token with more scopes than before, if it is given.
    ///
    /// # Errors
    /// As [`Self::current`]; the one before stays.
    pub(crate) async fn with_scopes(&self, more: &str) -> anyhow::Result<String> {
        let mut held = self.held.lock().await;
        let mut wider = Held {
            scopes: held.scopes.clone(),
            token: None,
        };
        wider.scopes.extend(more.split(' ').map(str::to_owned));
        let token = self.ask(&mut wider).await?;
        *held = wider;
        Ok(token)
    }

    async fn ask(&self, held: &mut Held) -> anyhow::Result<String> {
        let mut form = self.credentials.form()?;
        form.push(("grant_type", "client_credentials".to_owned()));
        form.push(("resource", self.issuer.resource.clone()));
        if !held.scopes.is_empty() {
            let scopes: Vec<&str> = held.scopes.iter().map(String::as_str).collect();
            form.push(("scope", scopes.join(" ")));
        }
        let text = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&form)
            .finish();
        let request = Request::post("/")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(Full::new(Bytes::from(text)))?;
        let (status, answer) = json(&self.wire, &self.issuer.endpoint, request).await?;
        let answer = answer.with_context(|| format!("the token endpoint answered {status} without JSON"))?;
        if !status.is_success() {
            return Err(refused(&answer, status).into());
        }
        let token = answer.get("access_token").and_then(Value::as_str);
        let token = token
            .context("the token endpoint gave no `access_token`")?
            .to_owned();
        // What was given is asked for again, so that a token that is renewed can do what the one before could.
        if let Some(given) = answer.get("scope").and_then(Value::as_str) {
            held.scopes.extend(
                given
                    .split(' ')
                    .filter(|scope| !scope.is_empty())
                    .map(str::to_owned),
            );
        }
        let seconds = answer.get("expires_in").and_then(Value::as_u64).unwrap_or(60);
        let until = Instant::now() + Duration::from_secs(seconds) * 4 / 5;
        held.token = Some((token.clone(), until));
        Ok(token)
    }
}

fn refused(answer: &Value, status: StatusCode) -> NoToken {
    let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    let detail = text("error_description").or_else(|| text("error"));
    let id = text("decision").or_else(|| text("reference"));
    NoToken {
        detail: detail.unwrap_or_else(|| format!("the token endpoint answered {status}")),
        hint: id.map(|id| format!("chancery why {id}")),
    }
}

/// A document that may not be there.
async fn document(wire: &Wire, url: &Url) -> anyhow::Result<Option<Value>> {
    let request = Request::get("/")
        .header(ACCEPT, "application/json")
        .body(Full::default())?;
    let (status, document) = json(wire, url, request).await?;
    match status {
        StatusCode::OK => document.map(Some).with_context(|| format!("{url} is not JSON")),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(None),
        status => bail!("{url} answered {status}"),
    }
}

async fn json(
    wire: &Wire,
    url: &Url,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<(StatusCode, Option<Value>)> {
    let exchange = async {
        let response = wire.send(url, request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LIMIT).collect().await;
        let body = body.map_err(|error| anyhow!("{url} broke off: {error}"))?;
        Ok((status, serde_json::from_slice(&body.to_bytes()).ok()))
    };
    tokio::time::timeout(IN_ALL, exchange)
        .await
        .map_err(|_| anyhow!("{url} does not answer in time"))?
}

/// The well-known place of a URL: before its path (RFC 8414 §3.1, RFC 9728 §3.1).
fn well_known(url: &Url, name: &str) -> anyhow::Result<Url> {
    let path = url.path().trim_end_matches('/');
    url.join(&format!("/.well-known/{name}{path}"))
        .with_context(|| format!("`{url}` has no well-known place"))
}

/// Whether a URL stays on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

const LIMIT: usize = 1 << 20;
const IN_ALL: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_known_place_stands_before_the_path() {
        let of = |url: &str| {
            let url = Url::parse(url).unwrap();
            well_known(&url, "oauth-protected-resource").unwrap().to_string()
        };
        assert_eq!(
            of("https://id.example/t/acme/mcp/notes"),
            "https://id.example/.well-known/oauth-protected-resource/t/acme/mcp/notes"
        );
        assert_eq!(
            of("https://id.example"),
            "https://id.example/.well-known/oauth-protected-resource"
        );
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let is = |url: &str| is_loopback(&Url::parse(url).unwrap());
        assert!(is("http://127.0.0.1:1/") && is("http://[::1]/") && is("http://localhost/"));
        assert!(!is("http://127.0.0.1.example/") && !is("http://localhost.example/"));
    }
}
