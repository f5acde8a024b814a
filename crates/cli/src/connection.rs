//! The way to a server: its local socket on the same machine, or its URL with a token.

use crate::login;
use crate::print;
use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::{TcpStream, UnixStream};

/// Where the server is.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectionArguments {
    /// The local socket of the server on this machine.
    #[arg(
        long,
        global = true,
        env = "CHANCERY_SOCKET",
        default_value = "chancery-data/chancery.sock"
    )]
    socket: PathBuf,
    /// The base URL of a server elsewhere; then a token is needed, or `chancery login`.
    #[arg(long, global = true, env = "CHANCERY_URL")]
    url: Option<String>,
    /// A file with a token for the administration interface.
    #[arg(long, global = true, env = "CHANCERY_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// The tenant to work in, through the local socket.
    #[arg(long, global = true, default_value = "default")]
    tenant: String,
}

/// A server to talk to.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    target: Target,
    proof: Proof,
    prefix: String,
}

/// Who asks.
#[derive(Clone)]
enum Proof {
    /// Nobody in particular, or whoever has the socket.
    None,
    /// The holder of this token.
    Token(String),
    /// Whoever signed in at this URL by `chancery login`, if anybody did.
    Login(String),
}

impl std::fmt::Debug for Proof {
    /// SECURITY: a token is a credential.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Token(_) => f.write_str("Token(..)"),
            Self::Login(url) => write!(f, "Login({url})"),
        }
    }
}

#[derive(Clone, Debug)]
enum Target {
    Socket(PathBuf),
    Url(url::Url),
}

/// An answer that is not a success.
#[derive(Debug, thiserror::Error)]
#[error("{detail}{}", hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default())]
pub(crate) struct Refused {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The stable code.
    pub(crate) code: String,
    /// One sentence.
    pub(crate) detail: String,
    /// The fix.
    pub(crate) hint: Option<String>,
    /// The whole answer.
    pub(crate) body: Value,
}

impl ConnectionArguments {
    /// The server that the arguments mean.
    pub(crate) fn open(&self) -> anyhow::Result<Connection> {
        let token = self
            .token_file
            .as_ref()
            .map(std::fs::read_to_string)
            .transpose()
            .context("the token file cannot be read")?;
        let token = token.map(|token| token.trim().to_owned());
        if let Some(url) = &self.url {
            let connection = Connection::to_url(url)?;
            let proof = token.map_or_else(|| Proof::Login(url.clone()), Proof::Token);
            return Ok(Connection { proof, ..connection });
        }
        let prefix = if self.tenant == "default" {
            String::new()
        } else {
            format!("/t/{}", self.tenant)
        };
        Ok(Connection {
            target: Target::Socket(self.socket.clone()),
            proof: Proof::None,
            prefix,
        })
    }

    /// The base URL of a server elsewhere, if one is meant.
    pub(crate) fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }
}

impl Connection {
    /// A server by its base URL, without a token.
    pub(crate) fn to_url(url: &str) -> anyhow::Result<Self> {
        let parsed = url::Url::parse(url).with_context(|| format!("`{url}` is not a URL"))?;
        let prefix = parsed.path().trim_end_matches('/').to_owned();
        Ok(Self {
            target: Target::Url(parsed),
            proof: Proof::None,
            prefix,
        })
    }

    /// A server by its local socket.
    pub(crate) fn to_socket(path: PathBuf) -> Self {
        Self {
            target: Target::Socket(path),
            proof: Proof::None,
            prefix: String::new(),
        }
    }

    /// The same server, in another tenant below the default one's base.
    pub(crate) fn in_tenant(&self, name: &str) -> Self {
        Self {
            prefix: format!("/t/{name}"),
            ..self.clone()
        }
    }

    /// Reads from the administration interface.
    pub(crate) async fn read(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, &format!("/api/v1{path}"), None).await
    }

    /// Sends to the administration interface.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let bytes = serde_json::to_vec(body)?;
        self.call(
            method,
            &format!("/api/v1{path}"),
            Some(("application/json", bytes)),
        )
        .await
    }

    /// Posts a form to an OAuth endpoint.
    pub(crate) async fn form(&self, path: &str, pairs: &[(&str, &str)]) -> anyhow::Result<Value> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(pairs);
        let body = form.finish().into_bytes();
        self.call(
            Method::POST,
            path,
            Some(("application/x-www-form-urlencoded", body)),
        )
        .await
    }

    /// Reads a body of any kind.
    pub(crate) async fn bytes(&self, path: &str) -> anyhow::Result<Bytes> {
        let response = self.request(Method::GET, path, None).await?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .context("the answer ended early")?
            .to_bytes();
        if status.is_success() {
            Ok(body)
        } else {
            Err(refused(status.as_u16(), &body).into())
        }
    }

    /// Reads a body of any length into a file, piece by piece.
    pub(crate) async fn download(&self, path: &str, file: &mut std::fs::File) -> anyhow::Result<()> {
        let response = self.request(Method::GET, path, None).await?;
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            let body = body.collect().await.context("the answer ended early")?.to_bytes();
            return Err(refused(status.as_u16(), &body).into());
        }
        while let Some(frame) = body.frame().await {
            let frame = frame.context("the answer ended early")?;
            if let Some(piece) = frame.data_ref() {
                std::io::Write::write_all(file, piece).context("the file cannot be written")?;
            }
        }
        Ok(())
    }

    async fn call(&self, method: Method, path: &str, body: Option<(&str, Vec<u8>)>) -> anyhow::Result<Value> {
        let response = self.request(method, path, body).await?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .context("the answer ended early")?
            .to_bytes();
        if !status.is_success() {
            return Err(refused(status.as_u16(), &body).into());
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).context("the answer is not JSON")
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix));
        request = request.header("host", self.host());
        let token = match &self.proof {
            Proof::Token(token) => Some(token.clone()),
            // Boxed, since a token that is about to end is renewed by a request.
            Proof::Login(url) if path.starts_with("/api/") => Box::pin(login::token(url)).await?,
            Proof::Login(_) | Proof::None => None,
        };
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let bytes = match body {
            Some((kind, bytes)) => {
                request = request.header("content-type", kind);
                Bytes::from(bytes)
            }
            None => Bytes::new(),
        };
        let request = request.body(Full::new(bytes))?;
        match &self.target {
            Target::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| {
                    anyhow!("no server answers on `{}`: {error}\nhint: start one with `chancery serve`, or give --socket or --url", path.display())
                })?;
                exchange(stream, request).await
            }
            Target::Url(url) => self.over_network(url, request).await,
        }
    }

    async fn over_network(
        &self,
        url: &url::Url,
        request: Request<Full<Bytes>>,
    ) -> anyhow::Result<Response<Incoming>> {
        let host = url
            .host_str()
            .ok_or_else(|| anyhow!("the URL has no host"))?
            .to_owned();
        let port = url
            .port_or_known_default()
            .ok_or_else(|| anyhow!("the URL has no port"))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let stream = TcpStream::connect((bare.as_str(), port))
            .await
            .with_context(|| format!("no server answers at {url}"))?;
        match url.scheme() {
            "http" => exchange(stream, request).await,
            "https" => {
                let connector = tokio_rustls::TlsConnector::from(Arc::new(tls_config()));
                let name =
                    rustls::pki_types::ServerName::try_from(bare).context("the host is no name for TLS")?;
                let stream = connector
                    .connect(name, stream)
                    .await
                    .context("the TLS handshake failed")?;
                exchange(stream, request).await
            }
            scheme => bail!("`{scheme}` is neither http nor https"),
        }
    }

    fn host(&self) -> String {
        match &self.target {
            Target::Socket(_) => "localhost".to_owned(),
            Target::Url(url) => match (url.host_str(), url.port()) {
                (Some(host), Some(port)) => format!("{host}:{port}"),
                (host, _) => host.unwrap_or_default().to_owned(),
            },
        }
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> anyhow::Result<Response<Incoming>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // The connection ends with the exchange; what it ends with is told by the response.
    tokio::spawn(async move { drop(connection.await) });
    sender
        .send_request(request)
        .await
        .context("the server did not answer")
}

/// TLS with the public roots.
pub(crate) fn tls_config() -> rustls::ClientConfig {
    let roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn refused(status: u16, body: &[u8]) -> Refused {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let code = text("code")
        .or_else(|| text("error"))
        .unwrap_or_else(|| status.to_string());
    let detail = text("detail")
        .or_else(|| text("error_description"))
        .unwrap_or_else(|| format!("the server answered {status}"));
    let hint = text("hint").or_else(|| {
        let id = text("decision").or_else(|| text("reference"))?;
        Some(format!("chancery why {id}"))
    });
    Refused {
        status,
        code,
        detail,
        hint,
        body,
    }
}

/// Prints a record or list as JSON if that is wanted; otherwise tells the caller to print it for people.
pub(crate) fn as_json(output: print::Output, value: &Value) -> bool {
    if output.json {
        print::json(value);
    }
    output.json
}
