//! An exchange with the outside that streams both ways: what gateway and broker send. The same fence as for
//! every call; bounded in the time until the head of the answer, between two pieces, and in all.

use super::client::{Lane, translate};
use super::error::EgressError;
use super::fetch::is_encoded;
use super::{Destination, Egress};
use bytes::Bytes;
use chancery_core::time::Ttl;
use futures_util::Stream;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use std::fmt;
use tokio::sync::OwnedSemaphorePermit;

/// A request whose answer is read piece by piece.
pub struct StreamRequest {
    method: Method,
    headers: HeaderMap,
    body: OutboundBody,
    limits: StreamLimits,
}

/// What is sent.
pub struct OutboundBody(reqwest::Body);

/// How long an exchange may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Waiting for one of the host's turns. Past it the call is refused, so that a slow host holds up nobody.
    pub turn: Ttl,
    /// Until the head of the answer.
    pub head: Ttl,
    /// Between two pieces of the answer.
    pub idle: Ttl,
    /// The whole exchange.
    pub total: Ttl,
}

/// An answer whose body is still to come.
pub struct StreamResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: reqwest::Response,
    idle: Ttl,
    _turn: OwnedSemaphorePermit,
}

impl Egress {
    /// Sends one request and gives its answer as soon as the head is there. Nothing is retried, followed or
    /// remembered. The host's turn is held until the answer is dropped.
    ///
    /// # Errors
    /// [`EgressError::Busy`] when the host has no turn free; [`EgressError::Timeout`]; the fence's rules.
    pub async fn open_stream(
        &self,
        destination: Destination<'_>,
        request: StreamRequest,
    ) -> Result<StreamResponse, EgressError> {
        let limits = request.limits;
        let lane: &Lane = self.lane(destination);
        let (url, route) = lane.fence.admit(destination.url)?;
        let turn = tokio::time::timeout(limits.turn.as_std(), self.stream_turns.take(destination, &url))
            .await
            .map_err(|_| EgressError::Busy)??;

        let sending = lane
            .client(route)
            .request(request.method, url)
            .timeout(limits.total.as_std())
            .headers(request.headers)
            .body(request.body.0)
            .send();
        let mut response = tokio::time::timeout(limits.head.as_std(), sending)
            .await
            .map_err(|_| EgressError::Timeout)?
            .map_err(|error| translate(&error))?;
        // What cannot be read cannot be searched for the credential.
        if is_encoded(response.headers()) {
            return Err(EgressError::ContentEncoding);
        }
        Ok(StreamResponse {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: response,
            idle: limits.idle,
            _turn: turn,
        })
    }
}

impl StreamRequest {
    /// A request without headers; the host and, for a whole body, the length are set by the client.
    ///
    /// # Errors
    /// [`EgressError::Header`] for a method that is none.
    pub fn new(method: &str, body: OutboundBody, limits: StreamLimits) -> Result<Self, EgressError> {
        Ok(Self {
            method: method.parse().map_err(|_| EgressError::Header)?,
            headers: HeaderMap::new(),
            body,
            limits,
        })
    }

    /// Sets a header, in place of what it was.
    ///
    /// # Errors
    /// [`EgressError::Header`] for a name or value that a header cannot have.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<(), EgressError> {
        let name: HeaderName = name.parse().map_err(|_| EgressError::Header)?;
        let value = HeaderValue::from_str(value).map_err(|_| EgressError::Header)?;
        self.headers.insert(name, value);
        Ok(())
    }

    /// As [`Self::set_header`], for a value that is never printed and never kept in a compression table.
    ///
    /// # Errors
    /// As [`Self::set_header`].
    pub fn set_secret_header(&mut self, name: &str, value: &str) -> Result<(), EgressError> {
        let name: HeaderName = name.parse().map_err(|_| EgressError::Header)?;
        let mut value = HeaderValue::from_str(value).map_err(|_| EgressError::Header)?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(())
    }
}

impl StreamResponse {
    /// The status, redirects included: they are never followed.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// The one value of a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        }
    }

    /// Every header as text, those that are not text left out.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// [`EgressError::Timeout`] when nothing came for too long; the connection broke.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, EgressError> {
        tokio::time::timeout(self.idle.as_std(), self.body.chunk())
            .await
            .map_err(|_| EgressError::Timeout)?
            .map_err(|error| translate(&error))
    }

    /// The rest of the body, if it is not longer than this.
    ///
    /// # Errors
    /// [`EgressError::TooLarge`], and as [`Self::chunk`].
    pub async fn whole(&mut self, limit: usize) -> Result<Bytes, EgressError> {
        let mut body = bytes::BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if chunk.len() > limit.saturating_sub(body.len()) {
                return Err(EgressError::TooLarge { limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

impl OutboundBody {
    /// Pieces as they come.
    pub fn from_stream<S, E>(pieces: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        Self(reqwest::Body::wrap_stream(pieces))
    }
}

impl From<Bytes> for OutboundBody {
    fn from(whole: Bytes) -> Self {
        Self(whole.into())
    }
}

impl fmt::Debug for StreamRequest {
    /// SECURITY: headers and body may hold the credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamRequest")
            .field("method", &self.method)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for OutboundBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutboundBody(..)")
    }
}

impl fmt::Debug for StreamResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamResponse")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
