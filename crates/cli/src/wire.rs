//! HTTP/1.1 to a server, connections kept for the next request: what the bridges of `mcp connect` and `run` send with.
//!
//! Follows no redirect, obeys no proxy setting, keeps no cookie, and sends nothing twice unless it is certain that the
//! first time it was not sent.

use crate::connection::tls_config;
use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::{Position, Url};

type Sender = SendRequest<Full<Bytes>>;

/// Connections to servers.
#[derive(Clone)]
pub(crate) struct Wire {
    tls: Arc<rustls::ClientConfig>,
    idle: Arc<Mutex<HashMap<String, Vec<Sender>>>>,
}

impl Wire {
    /// No connection yet.
    pub(crate) fn new() -> Self {
        Self {
            tls: Arc::new(tls_config()),
            idle: Arc::default(),
        }
    }

    /// Sends a request, whose URI and `Host` are set from the URL. The answer's body is read by the caller.
    ///
    /// # Errors
    /// The server cannot be reached, or does not answer.
    pub(crate) async fn send(
        &self,
        url: &Url,
        request: Request<Full<Bytes>>,
    ) -> anyhow::Result<Response<Incoming>> {
        let place = url[..Position::BeforePath].to_owned();
        let mut request = addressed(url, request)?;
        while let Some(mut sender) = self.take(&place) {
            match sender.try_send_request(request).await {
                Ok(response) => {
                    self.keep(place, sender);
                    return Ok(response);
                }
                // The connection was closed meanwhile. What comes back was not sent.
                Err(mut error) => match error.take_message() {
                    Some(back) => request = back,
                    None => return Err(error.into_error()).context("the server did not answer"),
                },
            }
        }
        let mut sender = tokio::time::timeout(CONNECT, self.dial(url))
            .await
            .map_err(|_| anyhow!("no server answers at {place} in time"))??;
        let response = sender
            .send_request(request)
            .await
            .context("the server did not answer")?;
        self.keep(place, sender);
        Ok(response)
    }

    fn take(&self, place: &str) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let list = idle.get_mut(place)?;
        list.retain(|sender| !sender.is_closed());
        list.pop()
    }

    /// Keeps a connection for the next request, once the answer on it was read.
    fn keep(&self, place: String, mut sender: Sender) {
        let idle = Arc::clone(&self.idle);
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
                let list = idle.entry(place).or_default();
                if list.len() < KEPT {
                    list.push(sender);
                }
            }
        });
    }

    async fn dial(&self, url: &Url) -> anyhow::Result<Sender> {
        let host = url.host_str().context("the URL has no host")?;
        let port = url.port_or_known_default().context("the URL has no port")?;
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let stream = TcpStream::connect((bare.as_str(), port))
            .await
            .with_context(|| format!("no server answers at {host}:{port}"))?;
        match url.scheme() {
            "http" => start(stream).await,
            "https" => {
                let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls));
                let name =
                    rustls::pki_types::ServerName::try_from(bare).context("the host is no name for TLS")?;
                let stream = connector
                    .connect(name, stream)
                    .await
                    .context("the TLS handshake failed")?;
                start(stream).await
            }
            scheme => bail!("`{scheme}` is neither http nor https"),
        }
    }
}

async fn start<S>(stream: S) -> anyhow::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // What a connection ends with is told by the requests on it.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn addressed(url: &Url, mut request: Request<Full<Bytes>>) -> anyhow::Result<Request<Full<Bytes>>> {
    let path = &url[Position::BeforePath..Position::AfterQuery];
    *request.uri_mut() = path.parse().context("the URL has no usable path")?;
    let host = &url[Position::BeforeHost..Position::AfterPort];
    request.headers_mut().insert(
        HOST,
        HeaderValue::from_str(host).context("the host is no header")?,
    );
    Ok(request)
}

const CONNECT: Duration = Duration::from_secs(10);
const KEPT: usize = 16;
