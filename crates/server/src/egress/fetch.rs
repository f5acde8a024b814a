//! One exchange with the outside: admitted by the fence, bounded in time, size and number, and remembered
//! for a while when it fails.

use super::client::{Lane, translate};
use super::error::EgressError;
use super::{Destination, Egress, UrlSource};
use bytes::{Bytes, BytesMut};
use chancery_core::name::Name;
use chancery_core::time::{Timestamp, Ttl};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A request to the outside.
#[derive(Clone, Debug)]
pub struct OutboundRequest {
    /// The method.
    pub method: Method,
    /// Headers; the host and the length are set by the client.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The longest answer that is read.
    pub max_response_bytes: usize,
}

/// An answer from the outside, read to its end.
#[derive(Clone, Debug)]
pub struct OutboundResponse {
    /// The status, redirects included: they are never followed.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// What a fetched document must be.
#[derive(Clone, Copy, Debug)]
pub struct DocumentRules {
    /// The longest document.
    pub max_bytes: usize,
    /// The media types that it may have, without parameters, in lower case; `*` stands for any name.
    pub content_types: &'static [&'static str],
}

/// A document that followed its rules.
#[derive(Clone, Debug)]
pub struct Document {
    /// The bytes.
    pub body: Bytes,
    /// For how long its source says it stays true (RFC 9111 §5.2.2.1, less the `Age` of §5.1). Zero when
    /// it must not be kept; absent when the source does not say.
    pub max_age: Option<Ttl>,
}

impl Egress {
    /// Fetches a document with GET. A failure is remembered for a while, so that nobody can turn this
    /// server into a hammer.
    ///
    /// # Errors
    /// Every rule of [`EgressError`].
    pub async fn fetch_document(
        &self,
        destination: Destination<'_>,
        rules: DocumentRules,
    ) -> Result<Document, EgressError> {
        let key = FailureKey::new(destination);
        if let Some((error, until)) = self.failures.get(&key)
            && self.clock.now() < until
        {
            return Err(error);
        }

        let fetched = self.fetch(destination, rules).await;
        if let Err(error) = &fetched
            && error.is_worth_remembering()
        {
            let until = self.clock.now().plus(self.failure_memory);
            self.failures.insert(key, (error.clone(), until));
        }
        fetched
    }

    /// Posts plain text and gives the status.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn post_text(
        &self,
        destination: Destination<'_>,
        text: &str,
    ) -> Result<StatusCode, EgressError> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        let body = Bytes::copy_from_slice(text.as_bytes());
        let request = OutboundRequest {
            method: Method::POST,
            headers,
            body,
            max_response_bytes: 4_096,
        };
        Ok(self.send(destination, request).await?.status)
    }

    /// Posts JSON with its signature in `Chancery-Signature` and gives the status.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn post_json(
        &self,
        destination: Destination<'_>,
        text: &str,
        signature: &str,
    ) -> Result<u16, EgressError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let signature = HeaderValue::from_str(signature).map_err(|_| EgressError::Header)?;
        headers.insert(HeaderName::from_static("chancery-signature"), signature);
        let request = OutboundRequest {
            method: Method::POST,
            headers,
            body: Bytes::copy_from_slice(text.as_bytes()),
            max_response_bytes: 4_096,
        };
        Ok(self.send(destination, request).await?.status.as_u16())
    }

    /// Sends one request and reads the whole answer. Nothing is retried, followed or remembered.
    ///
    /// # Errors
    /// Every rule of [`EgressError`] but those on status and content type.
    pub async fn send(
        &self,
        destination: Destination<'_>,
        request: OutboundRequest,
    ) -> Result<OutboundResponse, EgressError> {
        let exchange = self.exchange(destination, request);
        match tokio::time::timeout(self.total_timeout.as_std(), exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(EgressError::Timeout),
        }
    }

    async fn fetch(
        &self,
        destination: Destination<'_>,
        rules: DocumentRules,
    ) -> Result<Document, EgressError> {
        let mut headers = HeaderMap::new();
        let exact = rules
            .content_types
            .iter()
            .copied()
            .filter(|media| !media.contains('*'));
        if let Ok(accept) = exact.collect::<Vec<_>>().join(", ").parse() {
            headers.insert(header::ACCEPT, accept);
        }
        let request = OutboundRequest {
            method: Method::GET,
            headers,
            body: Bytes::new(),
            max_response_bytes: rules.max_bytes,
        };
        let answer = self.send(destination, request).await?;

        if answer.status.is_redirection() {
            return Err(EgressError::Redirect);
        }
        if answer.status != StatusCode::OK {
            return Err(EgressError::Status(answer.status.as_u16()));
        }
        if !has_content_type(&answer.headers, rules.content_types) {
            return Err(EgressError::ContentType);
        }
        Ok(Document {
            max_age: max_age(&answer.headers),
            body: answer.body,
        })
    }

    async fn exchange(
        &self,
        destination: Destination<'_>,
        request: OutboundRequest,
    ) -> Result<OutboundResponse, EgressError> {
        let lane: &Lane = self.lane(destination);
        let (url, route) = lane.fence.admit(destination.url)?;
        let _turn = self.turns.take(destination, &url).await?;

        let sent = lane
            .client(route)
            .request(request.method, url)
            .headers(request.headers)
            .body(request.body)
            .send()
            .await;
        let mut response = sent.map_err(|error| translate(&error))?;
        if is_encoded(response.headers()) {
            return Err(EgressError::ContentEncoding);
        }

        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let body = read_body(response, request.max_response_bytes).await?;
        Ok(OutboundResponse {
            status,
            headers,
            body,
        })
    }
}

/// Reads up to `limit` bytes, whatever `Content-Length` said.
async fn read_body(mut response: reqwest::Response, limit: usize) -> Result<Bytes, EgressError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| translate(&error))? {
        if chunk.len() > limit.saturating_sub(body.len()) {
            return Err(EgressError::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn has_content_type(headers: &HeaderMap, accepted: &[&str]) -> bool {
    single(headers, &header::CONTENT_TYPE)
        .and_then(|value| value.split(';').next())
        .is_some_and(|media| accepted.iter().any(|one| is_of_type(media.trim(), one)))
}

/// Whether a media type is an accepted one; `application/*+json` accepts every one with that suffix (RFC 6839 §3.1).
fn is_of_type(media: &str, accepted: &str) -> bool {
    match accepted.split_once('*') {
        None => media.eq_ignore_ascii_case(accepted),
        Some((before, after)) => {
            let media = media.to_ascii_lowercase();
            let between = media
                .strip_prefix(before)
                .and_then(|rest| rest.strip_suffix(after));
            between.is_some_and(|name| !name.is_empty() && !name.contains('/'))
        }
    }
}

fn max_age(headers: &HeaderMap) -> Option<Ttl> {
    let mut found = None;
    for value in headers.get_all(header::CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or_default().split(',') {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" => return Some(Ttl::ZERO),
                "max-age" => found = argument.trim().trim_matches('"').parse::<u64>().ok().or(found),
                _ => {}
            }
        }
    }
    let age = single(headers, &header::AGE).and_then(|value| value.trim().parse().ok());
    found.map(|seconds| Ttl::from_seconds(seconds.saturating_sub(age.unwrap_or(0))))
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// What failed: a URL, for a tenant, from a source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FailureKey {
    tenant: Option<Name>,
    source: UrlSource,
    url: Arc<str>,
}

impl FailureKey {
    fn new(destination: Destination<'_>) -> Self {
        Self {
            tenant: destination.tenant.cloned(),
            source: destination.source,
            url: destination.url.into(),
        }
    }
}

/// A remembered failure, and until when it stands.
pub(super) type Failure = (EgressError, Timestamp);

/// Bounds how many calls to one host a tenant has under way.
#[derive(Debug)]
pub(super) struct Turns {
    per_host: usize,
    hosts: Mutex<HashMap<FailureKey, Arc<Semaphore>>>,
}

impl Turns {
    pub(super) fn new(per_host: usize) -> Self {
        Self {
            per_host: per_host.max(1),
            hosts: Mutex::new(HashMap::new()),
        }
    }

    pub(super) async fn take(
        &self,
        destination: Destination<'_>,
        url: &url::Url,
    ) -> Result<OwnedSemaphorePermit, EgressError> {
        let origin = url.origin().ascii_serialization();
        let key = FailureKey::new(Destination {
            url: &origin,
            ..destination
        });
        self.of(key).acquire_owned().await.map_err(|_| EgressError::Busy)
    }

    fn of(&self, key: FailureKey) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= PRUNE_AT {
            // A semaphore that only the map holds has no call under way.
            hosts.retain(|_, turns| Arc::strong_count(turns) > 1);
        }
        let fresh = || Arc::new(Semaphore::new(self.per_host));
        Arc::clone(hosts.entry(key).or_insert_with(fresh))
    }
}

const PRUNE_AT: usize = 1024;
