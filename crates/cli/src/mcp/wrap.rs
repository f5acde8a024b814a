//! `chancery mcp wrap -- COMMAND`: a program that speaks MCP on standard input and output, served as streamable HTTP on
//! this machine, one process for each session, so that the gateway can stand before it.
//!
//! Whoever asks needs the key of this run. Sessions only (revisions up to 2025-11-25): such programs have them.

use crate::add::{self, Registration};
use crate::connection::ConnectionArguments;
use crate::loopback::{self, Body, Bound, empty, json, problem, whole};
use crate::mcp::child::{StdioServer, Stream};
use crate::print::{self, Output};
use crate::serve;
use anyhow::Context as _;
use bytes::Bytes;
use chancery_core::secret::generate;
use chancery_server::world::SystemRandom;
use clap::Args;
use futures_util::stream::unfold;
use http_body_util::{BodyExt as _, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json as value};
use std::collections::HashMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Arguments of `mcp wrap`.
#[derive(Clone, Debug, Args)]
pub(crate) struct WrapArguments {
    /// Put it behind the gateway under this name, as `add` does.
    #[arg(long)]
    name: Option<String>,
    /// Who answers for it, with --name; `me` is you.
    #[arg(long, requires = "name")]
    owner: Option<String>,
    /// Do not ask before it is stored, with --name.
    #[arg(long, requires = "name")]
    yes: bool,
    /// The port on 127.0.0.1; any free one if none is given.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Write the key of this run to a new file (mode 0600), for whoever is to call without the gateway.
    #[arg(long)]
    key_file: Option<PathBuf>,
    /// The program and its arguments.
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

/// `chancery mcp wrap`.
///
/// # Errors
/// A taken port; what `add` says.
pub(crate) async fn run(
    arguments: WrapArguments,
    connection: &ConnectionArguments,
    output: Output,
) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        arguments.name.is_some() || arguments.key_file.is_some(),
        "nobody would know the key\nhint: --name NAME puts it behind the gateway, --key-file FILE writes the key"
    );
    let key = generate("chw_", &SystemRandom).expose_secret().clone();
    let bound = Bound::to(arguments.port).await?;
    let url = format!("http://{}/mcp", bound.address());
    let wrap = Arc::new(Wrap {
        command: arguments.command,
        bearer: format!("Bearer {key}"),
        sessions: Mutex::default(),
    });
    let serving = bound.serve(
        |_| std::future::ready(true),
        move |request| {
            let wrap = Arc::clone(&wrap);
            async move { wrap.answer(request).await }
        },
    );
    print::note(&format!("serving {url}"));
    if let Some(file) = &arguments.key_file {
        write_key(file, &key)?;
    }
    if let Some(name) = arguments.name {
        let registration = Registration {
            url,
            name,
            owner: arguments.owner,
            key: Some(key),
            header: None,
            yes: arguments.yes,
            plan: false,
        };
        add::register(registration, &connection.open()?, output).await?;
    }
    print::note("Ctrl-C stops.");
    serve::stopped().await;
    drop(serving);
    Ok(ExitCode::SUCCESS)
}

fn write_key(file: &Path, key: &str) -> anyhow::Result<()> {
    let opened = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
    let mut opened = opened.with_context(|| format!("`{}` cannot be made", file.display()))?;
    writeln!(opened, "{key}")?;
    Ok(())
}

struct Wrap {
    command: Vec<String>,
    bearer: String,
    sessions: Mutex<HashMap<String, Open>>,
}

struct Open {
    server: Arc<StdioServer>,
    used: Instant,
}

impl Wrap {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if parts.uri.path() != "/mcp" {
            return problem(StatusCode::NOT_FOUND, "the endpoint is /mcp");
        }
        if !self.has_key(&parts.headers) {
            let mut refused = problem(StatusCode::UNAUTHORIZED, "the key of this run is missing");
            let challenge = HeaderValue::from_static("Bearer");
            refused
                .headers_mut()
                .insert(hyper::header::WWW_AUTHENTICATE, challenge);
            return refused;
        }
        let session = parts.headers.get(SESSION).and_then(|id| id.to_str().ok());
        match parts.method {
            Method::POST => {
                let Ok(body) = Limited::new(body, MAX_MESSAGE).collect().await else {
                    return problem(StatusCode::PAYLOAD_TOO_LARGE, "the message is too long");
                };
                self.post(session, &body.to_bytes()).await
            }
            Method::GET => match session.and_then(|id| self.find(id)) {
                Some(server) => events(server.listen(), server),
                None => unknown(),
            },
            Method::DELETE => match session.and_then(|id| self.sessions().remove(id)) {
                Some(_) => empty(StatusCode::NO_CONTENT),
                None => unknown(),
            },
            _ => problem(StatusCode::METHOD_NOT_ALLOWED, "POST, GET or DELETE"),
        }
    }

    // SECURITY: every user of the machine can connect to a loopback port.
    fn has_key(&self, headers: &HeaderMap) -> bool {
        let given = headers
            .get(AUTHORIZATION)
            .map(HeaderValue::as_bytes)
            .unwrap_or_default();
        aws_lc_rs::constant_time::verify_slices_are_equal(given, self.bearer.as_bytes()).is_ok()
    }

    async fn post(&self, session: Option<&str>, body: &Bytes) -> Response<Body> {
        let (Ok(text), Ok(message)) = (std::str::from_utf8(body), serde_json::from_slice::<Value>(body))
        else {
            return error(StatusCode::BAD_REQUEST, &Value::Null, (-32700, "this is no JSON"));
        };
        let id = message.get("id").cloned().unwrap_or_default();
        let is_request = message.get("method").is_some() && !id.is_null();
        match session {
            None if message.get("method").and_then(Value::as_str) == Some("initialize") => {
                self.open(text, &id).await
            }
            None => needs_session(&id),
            Some(session) => {
                let Some(server) = self.find(session) else {
                    return unknown();
                };
                if !is_request {
                    return match server.tell(text).await {
                        Ok(()) => empty(StatusCode::ACCEPTED),
                        Err(_) => unknown(),
                    };
                }
                match server.ask(&id.to_string(), text).await {
                    Ok(stream) => events(stream, server),
                    Err(fault) => error(StatusCode::BAD_REQUEST, &id, (-32600, &format!("{fault:#}"))),
                }
            }
        }
    }

    async fn open(&self, text: &str, id: &Value) -> Response<Body> {
        let now = Instant::now();
        let is_full = {
            let mut sessions = self.sessions();
            sessions.retain(|_, open| !open.server.is_over() && now - open.used < IDLE);
            sessions.len() >= MAX_SESSIONS
        };
        if is_full {
            return problem(StatusCode::SERVICE_UNAVAILABLE, "too many sessions are open");
        }
        let started = StdioServer::start(&self.command);
        let server = match started {
            Ok(server) => Arc::new(server),
            Err(fault) => {
                print::note(&format!("error: {fault:#}"));
                return error(
                    StatusCode::BAD_GATEWAY,
                    id,
                    (-32603, "the program cannot be started"),
                );
            }
        };
        let answer = first_answer(&server, id, text).await;
        let Some(answer) = answer else {
            return error(
                StatusCode::BAD_GATEWAY,
                id,
                (-32603, "the program gave no answer"),
            );
        };
        let name = generate("", &SystemRandom).expose_secret().clone();
        let mut response = Response::new(whole(answer));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(HeaderValue::from_str(&name).map(|value| (SESSION_NAME.clone(), value)));
        self.sessions().insert(name, Open { server, used: now });
        response
    }

    fn find(&self, session: &str) -> Option<Arc<StdioServer>> {
        let mut sessions = self.sessions();
        let open = sessions.get_mut(session).filter(|open| !open.server.is_over())?;
        open.used = Instant::now();
        Some(Arc::clone(&open.server))
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<String, Open>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to `initialize`. What the program says before it is kept for the session's stream.
async fn first_answer(server: &StdioServer, id: &Value, text: &str) -> Option<String> {
    let mut stream = server.ask(&id.to_string(), text).await.ok()?;
    while let Some(said) = stream.recv().await {
        let message: Value = serde_json::from_str(&said).unwrap_or_default();
        if message.get("method").is_none() {
            return Some(said);
        }
        server.keep(said);
    }
    None
}

/// A stream of events; the program stays for as long as it is read.
fn events(stream: Stream, server: Arc<StdioServer>) -> Response<Body> {
    let frames = unfold((stream, server), |(mut stream, server)| async move {
        let text = stream.recv().await?.replace(['\n', '\r'], " ");
        let frame = Frame::data(Bytes::from(format!("data: {text}\n\n")));
        Some((
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(frame),
            (stream, server),
        ))
    });
    let mut response = Response::new(loopback::Body::new(StreamBody::new(frames)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A client of the era without sessions finds out here that it has to open one.
fn needs_session(id: &Value) -> Response<Body> {
    let data = value!({ "supported": ["2025-11-25", "2025-06-18", "2025-03-26"] });
    let fault =
        value!({ "code": -32022, "message": "this server has sessions: initialize first", "data": data });
    json(
        StatusCode::BAD_REQUEST,
        &value!({ "jsonrpc": "2.0", "id": id, "error": fault }),
    )
}

fn error(status: StatusCode, id: &Value, (code, message): (i64, &str)) -> Response<Body> {
    let fault = value!({ "code": code, "message": message });
    json(status, &value!({ "jsonrpc": "2.0", "id": id, "error": fault }))
}

fn unknown() -> Response<Body> {
    problem(StatusCode::NOT_FOUND, "no such session")
}

const SESSION: &str = "mcp-session-id";
static SESSION_NAME: hyper::header::HeaderName = hyper::header::HeaderName::from_static(SESSION);
const MAX_SESSIONS: usize = 64;
const MAX_MESSAGE: usize = 16 << 20;
const IDLE: Duration = Duration::from_hours(1);
