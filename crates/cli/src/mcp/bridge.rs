//! The bridge itself: each line of standard input is a message that is posted, each message of an answer is a line of
//! standard output (MCP transports, "stdio" and "Streamable HTTP"). Both eras: sessions are followed and opened again
//! when the server lost them; without sessions each request says what it is in headers, and to cancel is to hang up.
//!
//! Bytes of messages are not changed, except that a message stands on one line.

use crate::mcp::session::{Outgoing, Session};
use crate::print;
use crate::tokens::NoToken;
use crate::upstream::{Upstream, parameter};
use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use chancery_server::mcp::Decoder;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::BufRead as _;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Bridges until standard input ends, or the server does not let the agent in.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) async fn run(upstream: Upstream) -> anyhow::Result<ExitCode> {
    let (refused, mut refusal) = mpsc::channel(1);
    let (lines_out, written) = writer();
    let bridge = Arc::new(Bridge {
        upstream,
        session: Session::default(),
        running: Mutex::default(),
        listening: Mutex::default(),
        out: lines_out,
        refused,
    });
    let mut lines = reader();
    let ended = loop {
        tokio::select! {
            biased;
            reason = refusal.recv() => break reason,
            line = lines.recv() => match line {
                Some(line) if line.trim().is_empty() => {}
                Some(line) => Bridge::take(&bridge, &line).await,
                None => break None,
            },
        }
    };
    let ended = if ended.is_some() {
        ended
    } else {
        tokio::select! {
            biased;
            reason = refusal.recv() => reason,
            () = bridge.idle() => refusal.try_recv().ok(),
        }
    };
    bridge.hang_up().await;
    drop(bridge);
    if let Some(reason) = ended {
        // What was answered before is on its way out.
        drop(tokio::time::timeout(Duration::from_secs(1), written).await);
        print::note(&format!("error: {reason}"));
        return Ok(ExitCode::from(REFUSED));
    }
    if let Ok(Ok(result)) = tokio::time::timeout(Duration::from_secs(1), written).await {
        result.context("standard output cannot be written")?;
    }
    Ok(ExitCode::SUCCESS)
}

struct Bridge {
    upstream: Upstream,
    session: Session,
    /// Requests under way, by their id as it is written.
    running: Mutex<HashMap<String, AbortHandle>>,
    /// What reads the server's own stream.
    listening: Mutex<Option<AbortHandle>>,
    out: mpsc::Sender<String>,
    refused: mpsc::Sender<String>,
}

impl Bridge {
    /// Takes one message of the client.
    async fn take(this: &Arc<Self>, line: &str) {
        let message = this.session.outgoing(line);
        if let Some(cancelled) = message.cancels.as_ref().filter(|_| message.is_stateless) {
            // To hang up is how a request is cancelled where there is no session.
            if let Some(running) = this.running().remove(cancelled) {
                running.abort();
            }
            return;
        }
        // What opens a session, and what is no request, is done in order; requests beside each other.
        let Some(id) = message.id.clone().filter(|_| !message.is_initialize) else {
            let is_ready = message.is_initialized;
            this.exchange(message).await;
            if is_ready {
                let task = tokio::spawn(Arc::clone(this).listen()).abort_handle();
                this.stop_listening(Some(task));
            }
            return;
        };
        let (start, started) = tokio::sync::oneshot::channel::<()>();
        let worker = Arc::clone(this);
        let key = id.clone();
        let task = tokio::spawn(async move {
            // Not before it is known under its id, so that it can be cancelled.
            drop(started.await);
            worker.exchange(message).await;
            worker.running().remove(&key);
        });
        this.running().insert(id, task.abort_handle());
        // It waits for this and for nothing else.
        let _waiting = start.send(());
    }

    /// Posts a message and hands on what is answered.
    async fn exchange(&self, message: Outgoing) {
        let id = message.id.clone();
        if let Err(error) = self.try_exchange(message).await {
            if error.is::<NoToken>() {
                drop(self.refused.try_send(error.to_string()));
            }
            match id {
                Some(id) => self.fail(&id, &format!("{error:#}")).await,
                None => print::note(&format!("warning: {error:#}")),
            }
        }
    }

    async fn try_exchange(&self, message: Outgoing) -> anyhow::Result<()> {
        let body = Bytes::from(message.text.clone());
        let response = self.post(&message, &body).await?;
        let is_lost = response.status() == StatusCode::NOT_FOUND
            && !message.is_initialize
            && !message.is_stateless
            && self.session.is_open();
        let response = if is_lost {
            self.open_again().await?;
            self.post(&message, &body).await?
        } else {
            response
        };
        self.answer(&message, response).await
    }

    async fn post(&self, message: &Outgoing, body: &Bytes) -> anyhow::Result<Response<Incoming>> {
        let mut headers = self.session.headers(message);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.upstream.send(&Method::POST, &headers, body).await
    }

    /// The server forgot the session: another is opened as the client opened the first, which does not notice.
    async fn open_again(&self) -> anyhow::Result<()> {
        let (first, then) = self.session.again().context("the server forgot the session")?;
        let body = Bytes::from(first.text.clone());
        let response = self.post(&first, &body).await?;
        let status = response.status();
        let session = response.headers().get(SESSION).cloned();
        let text = text(response).await?;
        anyhow::ensure!(
            status.is_success(),
            "the server opens no session again ({status})"
        );
        self.session.opened(&text, session);
        let body = Bytes::from(then.text.clone());
        drop(self.post(&then, &body).await?);
        Ok(())
    }

    async fn answer(&self, message: &Outgoing, response: Response<Incoming>) -> anyhow::Result<()> {
        let status = response.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let reason = refusal(self.upstream.url(), &response);
            // Whoever gets in and is refused one call can go on with others.
            if message.is_initialize || status == StatusCode::UNAUTHORIZED {
                drop(self.refused.try_send(reason.clone()));
            }
            return Err(anyhow!(reason));
        }
        let session = response.headers().get(SESSION).cloned();
        if is_stream(response.headers()) {
            if message.is_initialize {
                self.session.opened("", session);
            }
            return self.stream(response, message).await;
        }
        let text = text(response).await?;
        if message.is_initialize && status.is_success() {
            self.session.opened(&text, session);
        }
        let Some(id) = &message.id else {
            return Ok(());
        };
        if answers(&text, Some(id)) || (answers(&text, None) && !status.is_success()) {
            self.session.saw(message, &text);
            self.emit(&text).await;
            return Ok(());
        }
        Err(anyhow!("the server answered {status} without a message of MCP"))
    }

    /// Hands on every message of a stream until the answer came. A stream that breaks off is taken up again where the
    /// server can do that.
    async fn stream(&self, mut response: Response<Incoming>, message: &Outgoing) -> anyhow::Result<()> {
        let mut last = None;
        for _ in 0..RESUMED {
            let is_answered = self.pump(response, Some(message), &mut last).await;
            if is_answered {
                return Ok(());
            }
            let Some(id) = last.as_deref().filter(|_| !message.is_stateless) else {
                break;
            };
            tokio::time::sleep(AGAIN).await;
            let mut headers = self.session.listening();
            headers.insert("last-event-id", HeaderValue::from_str(id)?);
            response = self.upstream.send(&Method::GET, &headers, &Bytes::new()).await?;
            if !response.status().is_success() {
                break;
            }
        }
        Err(anyhow!("the server's answer broke off"))
    }

    /// Whether the answer to `asked` came.
    async fn pump(
        &self,
        response: Response<Incoming>,
        asked: Option<&Outgoing>,
        last: &mut Option<String>,
    ) -> bool {
        let mut body = response.into_body();
        let mut decoder = Decoder::new(MAX_MESSAGE);
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(piece) = frame.into_data() else { continue };
            let mut events = Vec::new();
            if decoder.push(&piece, &mut events).is_err() {
                return false;
            }
            for event in events {
                *last = event.id.or(last.take());
                let Some(data) = event.data.filter(|data| !data.is_empty()) else {
                    continue;
                };
                let is_answer = asked.is_some_and(|asked| answers(&data, asked.id.as_deref()));
                if let Some(asked) = asked.filter(|_| is_answer) {
                    if asked.is_initialize {
                        self.session.understood(&data);
                    }
                    self.session.saw(asked, &data);
                }
                self.emit(&data).await;
                if is_answer {
                    return true;
                }
            }
        }
        false
    }

    /// What the server sends unasked, in sessions that have a stream for it.
    async fn listen(self: Arc<Self>) {
        let mut last = None;
        while self.session.is_open() && !self.out.is_closed() {
            let mut headers = self.session.listening();
            if let Some(Ok(id)) = last.as_deref().map(HeaderValue::from_str) {
                headers.insert("last-event-id", id);
            }
            match self.upstream.send(&Method::GET, &headers, &Bytes::new()).await {
                Ok(response) if response.status() == StatusCode::OK && is_stream(response.headers()) => {
                    self.pump(response, None, &mut last).await;
                }
                // It has none.
                Ok(_) => return,
                Err(error) => tracing::debug!(%error, "the server's stream is not there"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn emit(&self, text: &str) {
        // Line breaks stand between the words of JSON, never within.
        let line = text.trim().replace(['\n', '\r'], " ");
        drop(self.out.send(line).await);
    }

    /// A request that got no answer gets an error, so that the client does not wait.
    async fn fail(&self, id: &str, reason: &str) {
        let id: Value = serde_json::from_str(id).unwrap_or_default();
        let error = json!({ "code": INTERNAL, "message": reason });
        self.emit(&json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string())
            .await;
    }

    /// Until nothing is under way, or long enough.
    async fn idle(&self) {
        for _ in 0..1_000 {
            if self.running().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the session at the server (MCP transports, "Session Management").
    async fn hang_up(&self) {
        for (_, running) in self.running().drain() {
            running.abort();
        }
        self.stop_listening(None);
        let headers = self.session.listening();
        if self.session.is_open() {
            self.session.close();
            let nothing = Bytes::new();
            let request = self.upstream.send(&Method::DELETE, &headers, &nothing);
            drop(tokio::time::timeout(Duration::from_secs(2), request).await);
        }
    }

    /// One stream at a time.
    fn stop_listening(&self, next: Option<AbortHandle>) {
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = std::mem::replace(&mut *listening, next) {
            before.abort();
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<String, AbortHandle>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refusal(url: &url::Url, response: &Response<Incoming>) -> String {
    let challenge = response.headers().get(WWW_AUTHENTICATE);
    let challenge = challenge
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let hint = match (response.status(), parameter(challenge, "scope")) {
        (StatusCode::FORBIDDEN, Some(scope)) => {
            format!(
                "the agent may not have the scopes `{scope}`\nhint: chancery agent allow AGENT RESOURCE:SCOPE"
            )
        }
        (StatusCode::FORBIDDEN, None) => "the agent may not do that".to_owned(),
        (_, _) => {
            "the agent is not let in\nhint: --agent NAME with --secret-file FILE or --assertion-file FILE"
                .to_owned()
        }
    };
    format!("{url} answered {}: {hint}", response.status())
}

/// Whether a text is the answer to a request: to any, if no id is given.
fn answers(text: &str, id: Option<&str>) -> bool {
    let Ok(message) = serde_json::from_str::<Value>(text) else {
        return false;
    };
    if message.get("method").is_some() || message.get("jsonrpc").is_none() {
        return false;
    }
    let found = message.get("id").map(Value::to_string);
    id.is_none_or(|id| found.as_deref() == Some(id))
}

fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/event-stream"))
}

async fn text(response: Response<Incoming>) -> anyhow::Result<String> {
    let body = Limited::new(response.into_body(), MAX_MESSAGE).collect().await;
    let body = body.map_err(|error| anyhow!("the server's answer broke off: {error}"))?;
    String::from_utf8(body.to_bytes().into()).context("the server's answer is no text")
}

/// Lines of standard input, read on a thread of their own: nothing else can be done there.
fn reader() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(64);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Writes lines to standard output, each whole.
fn writer() -> (mpsc::Sender<String>, tokio::task::JoinHandle<std::io::Result<()>>) {
    let (sender, mut lines) = mpsc::channel::<String>(256);
    let task = tokio::task::spawn_blocking(move || {
        while let Some(line) = lines.blocking_recv() {
            print::protocol(&line)?;
        }
        Ok(())
    });
    (sender, task)
}

/// The header of sessions.
const SESSION: &str = "mcp-session-id";
/// JSON-RPC's internal error.
const INTERNAL: i64 = -32603;
/// What the process ends with where the agent is not let in.
pub(super) const REFUSED: u8 = 3;
const MAX_MESSAGE: usize = 64 << 20;
const RESUMED: usize = 16;
/// Before a stream that broke off is taken up again.
const AGAIN: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_response_with_the_id_answers() {
        assert!(answers(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Some("1")));
        assert!(!answers(r#"{"jsonrpc":"2.0","id":"1","result":{}}"#, Some("1")));
        assert!(!answers(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, Some("1")));
        assert!(answers(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#, None));
        assert!(!answers("<html>", None));
    }
}
