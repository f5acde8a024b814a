//! An MCP server as a bridge sees it: every request goes with a token of the agent, if there is a proof to get one
//! with. A token that has ended is replaced, and one that lacks scopes is asked for with them, once each.

use crate::tokens::Tokens;
use crate::wire::Wire;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use url::Url;

/// A server, and how to get in.
pub(crate) struct Upstream {
    wire: Wire,
    url: Url,
    tokens: Option<Tokens>,
}

impl Upstream {
    /// A server.
    pub(crate) fn new(wire: Wire, url: Url, tokens: Option<Tokens>) -> Self {
        Self { wire, url, tokens }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Gets a token now, so that a proof that does not work is found out at once.
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn prepare(&self) -> anyhow::Result<()> {
        match &self.tokens {
            Some(tokens) => tokens.current().await.map(drop),
            None => Ok(()),
        }
    }

    /// Sends a request. The answer may be a refusal all the same.
    ///
    /// # Errors
    /// No token, or no answer.
    pub(crate) async fn send(
        &self,
        method: &Method,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> anyhow::Result<Response<Incoming>> {
        let Some(tokens) = &self.tokens else {
            return self.once(method, headers, body, None).await;
        };
        let mut token = tokens.current().await?;
        let mut response = self.once(method, headers, body, Some(&token)).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            token = tokens.instead_of(&token).await?;
            response = self.once(method, headers, body, Some(&token)).await?;
        }
        let lacking = missing_scopes(&response);
        if let Some(scopes) = lacking
            && let Ok(wider) = tokens.with_scopes(&scopes).await
        {
            response = self.once(method, headers, body, Some(&wider)).await?;
        }
        Ok(response)
    }

    async fn once(
        &self,
        method: &Method,
        headers: &HeaderMap,
        body: &Bytes,
        token: Option<&str>,
    ) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = method.clone();
        *request.headers_mut() = headers.clone();
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        self.wire.send(&self.url, request).await
    }
}

/// The scopes that a refusal asks for (RFC 6750 §3.1).
fn missing_scopes(response: &Response<Incoming>) -> Option<String> {
    if response.status() != StatusCode::FORBIDDEN {
        return None;
    }
    let challenge = response.headers().get(WWW_AUTHENTICATE)?.to_str().ok()?;
    if parameter(challenge, "error") != Some("insufficient_scope") {
        return None;
    }
    parameter(challenge, "scope").map(str::to_owned)
}

/// A quoted parameter of a challenge.
pub(crate) fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let start = format!("{name}=\"");
    let mut at = challenge.match_indices(&start);
    let (place, _) = at.find(|(place, _)| {
        let before = challenge.get(..*place).and_then(|text| text.chars().last());
        matches!(before, Some(' ' | ','))
    })?;
    let rest = challenge.get(place + start.len()..)?;
    rest.split_once('"').map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_not_found_within_another() {
        let challenge =
            r#"Bearer resource_metadata="https://a/x", error="insufficient_scope", scope="read write""#;
        assert_eq!(parameter(challenge, "scope"), Some("read write"));
        assert_eq!(parameter(challenge, "error"), Some("insufficient_scope"));
        assert_eq!(parameter(r#"Bearer other_scope="x""#, "scope"), None);
    }
}
