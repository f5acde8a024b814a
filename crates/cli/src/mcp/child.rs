//! A program that speaks MCP on standard input and output, for one session: lines in, lines out, and who waits for
//! which answer (MCP transports, "stdio").

use anyhow::Context as _;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

/// A running program. It is killed when this is dropped.
pub(super) struct StdioServer {
    stdin: tokio::sync::Mutex<ChildStdin>,
    desk: Arc<Desk>,
    _child: Child,
}

/// Who gets what the program says.
#[derive(Default)]
struct Desk(Mutex<Held>);

#[derive(Default)]
struct Held {
    /// Requests under way, by their id as JSON.
    waiting: HashMap<String, Sink>,
    /// The order in which they came.
    order: VecDeque<String>,
    /// Where what nobody asked for goes.
    listener: Option<Sink>,
    /// What nobody was there for.
    unheard: VecDeque<String>,
    is_over: bool,
}

/// Messages for one stream.
pub(super) type Sink = mpsc::UnboundedSender<String>;
/// The other end of it.
pub(super) type Stream = mpsc::UnboundedReceiver<String>;

impl StdioServer {
    /// Starts the program. Its standard error is this command's.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(command: &[String]) -> anyhow::Result<Self> {
        let (program, arguments) = command.split_first().context("no command was given")?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("`{program}` cannot be started"))?;
        let stdin = child.stdin.take().context("the program has no standard input")?;
        let stdout = child
            .stdout
            .take()
            .context("the program has no standard output")?;
        let desk = Arc::new(Desk::default());
        tokio::spawn(hear(stdout, Arc::clone(&desk)));
        Ok(Self {
            stdin: tokio::sync::Mutex::new(stdin),
            desk,
            _child: child,
        })
    }

    /// Sends a request; its answer, and what the program says meanwhile if nobody listens, come by the stream. The
    /// stream ends with the answer.
    ///
    /// # Errors
    /// The program is gone, or a request with this id is under way.
    pub(super) async fn ask(&self, id: &str, text: &str) -> anyhow::Result<Stream> {
        let stream = self.desk.wait_for(id)?;
        if let Err(error) = self.tell(text).await {
            self.desk.held().waiting.remove(id);
            return Err(error);
        }
        Ok(stream)
    }

    /// Sends what has no answer.
    ///
    /// # Errors
    /// The program is gone.
    pub(super) async fn tell(&self, text: &str) -> anyhow::Result<()> {
        let mut line = text.replace(['\n', '\r'], " ");
        line.push('\n');
        let mut stdin = self.stdin.lock().await;
        stdin
            .write_all(line.as_bytes())
            .await
            .context("the program does not listen any more")?;
        stdin
            .flush()
            .await
            .context("the program does not listen any more")
    }

    /// What the program says unasked, from now on and what was kept.
    pub(super) fn listen(&self) -> Stream {
        let (sink, stream) = mpsc::unbounded_channel();
        let mut held = self.desk.held();
        for text in held.unheard.drain(..) {
            drop(sink.send(text));
        }
        held.listener = Some(sink);
        stream
    }

    /// Keeps what nobody was there for, for whoever listens next.
    pub(super) fn keep(&self, text: String) {
        self.desk.held().unheard.push_back(text);
    }

    /// Whether the program has ended.
    pub(super) fn is_over(&self) -> bool {
        self.desk.held().is_over
    }
}

impl Desk {
    fn wait_for(&self, id: &str) -> anyhow::Result<Stream> {
        let (sink, stream) = mpsc::unbounded_channel();
        let mut held = self.held();
        anyhow::ensure!(!held.is_over, "the program has ended");
        anyhow::ensure!(
            !held.waiting.contains_key(id),
            "a request with the id {id} is under way"
        );
        held.waiting.insert(id.to_owned(), sink);
        held.order.push_back(id.to_owned());
        Ok(stream)
    }

    /// Gives a message of the program to whom it is for.
    fn hand_out(&self, text: String) {
        let message: Value = serde_json::from_str(&text).unwrap_or_default();
        if !message.is_object() {
            tracing::warn!("the program wrote a line that is no message");
            return;
        }
        let mut held = self.held();
        let id = message
            .get("id")
            .filter(|_| message.get("method").is_none())
            .map(Value::to_string);
        if let Some(id) = id {
            held.order.retain(|waiting| *waiting != id);
            if let Some(sink) = held.waiting.remove(&id) {
                drop(sink.send(text));
            }
            return;
        }
        let oldest = held.order.front().and_then(|id| held.waiting.get(id));
        let sinks = held.listener.iter().chain(oldest);
        let mut text = text;
        for sink in sinks {
            match sink.send(text) {
                Ok(()) => return,
                // It hung up; the next one.
                Err(back) => text = back.0,
            }
        }
        held.unheard.push_back(text);
        if held.unheard.len() > KEPT {
            held.unheard.pop_front();
        }
    }

    /// The program has ended: nobody waits for nothing.
    fn close(&self) {
        let mut held = self.held();
        held.is_over = true;
        held.listener = None;
        held.order.clear();
        for (id, sink) in held.waiting.drain() {
            let id: Value = serde_json::from_str(&id).unwrap_or_default();
            let error = json!({ "code": -32603, "message": "the program behind this server has ended" });
            drop(sink.send(json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string()));
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn hear(stdout: ChildStdout, desk: Arc<Desk>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if !line.trim().is_empty() {
            desk.hand_out(line);
        }
    }
    desk.close();
}

const KEPT: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_to_who_asked_and_the_rest_to_who_listens() {
        let desk = Desk::default();
        let mut first = desk.wait_for("1").unwrap();
        let mut second = desk.wait_for("\"1\"").unwrap();
        assert!(desk.wait_for("1").is_err());
        let notice = r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#;
        desk.hand_out(notice.to_owned());
        desk.hand_out(r#"{"jsonrpc":"2.0","id":"1","result":{}}"#.to_owned());
        assert_eq!(
            second.try_recv().unwrap(),
            r#"{"jsonrpc":"2.0","id":"1","result":{}}"#
        );
        assert_eq!(first.try_recv().unwrap(), notice);
        desk.close();
        assert!(first.try_recv().unwrap().contains("has ended"));
        assert!(desk.wait_for("2").is_err());
    }
}
