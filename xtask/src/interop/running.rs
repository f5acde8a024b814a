//! Programs that run during a play, in a folder of their own, and what is told to Chancery from outside.

use super::results::Results;
use crate::steps::{output, program};
use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

/// Everything that runs; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    folder: PathBuf,
    children: Vec<Child>,
}

impl Running {
    /// An empty folder, and nothing that runs.
    pub(super) fn start() -> Result<Self> {
        let folder = crate::root().join("target/interop/run");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(Self {
            folder,
            children: Vec::new(),
        })
    }

    /// The folder of this play: data, logs, `context.json`.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs one program to its end and takes its results.
    pub(super) fn play(
        &mut self,
        mut command: Command,
        name: &str,
        place: &'static str,
        results: &mut Results,
    ) -> Result<()> {
        self.check_alive()?;
        let log = self.folder.join(format!("{}.log", name.replace(' ', "-")));
        command.arg(self.folder.join("context.json"));
        let ended = command.stderr(fs::File::create(&log)?).output()?;
        let printed = String::from_utf8(ended.stdout)?;
        for line in printed.lines() {
            results.take(place, line)?;
        }
        // Its checks speak for themselves unless it broke off.
        if !matches!(ended.status.code(), Some(0 | 1)) || printed.is_empty() {
            let said = fs::read_to_string(&log)?;
            let last = said.lines().last().unwrap_or_default();
            results.fail(place, name, last);
        }
        Ok(())
    }

    /// Fails if something ended that should run, rather than let every check fail for it.
    fn check_alive(&mut self) -> Result<()> {
        for child in &mut self.children {
            if let Some(status) = child.try_wait()? {
                bail!("a program ended by itself ({status}); see the logs in target/interop/run");
            }
        }
        Ok(())
    }

    /// Starts a program that runs until the end of the play; what it prints goes to a file.
    pub(super) fn begin(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let log = fs::File::create(self.folder.join(format!("{name}.log")))?;
        let child = command.stdout(log.try_clone()?).stderr(log);
        self.children
            .push(child.spawn().with_context(|| format!("cannot start {name}"))?);
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.children {
            // One that is gone already is as good as stopped.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The binary under test.
pub(super) fn chancery() -> Result<PathBuf> {
    Ok(crate::bench::target_folder()?.join("debug/chancery"))
}

/// Applies a file at the local socket; what comes back has client identifiers and secrets.
pub(super) fn apply(socket: &Path, file: &Path) -> Result<Vec<Value>> {
    let mut apply = program(chancery()?);
    apply.arg("--socket").arg(socket).args(["--json", "apply", "-f"]);
    let printed = output(apply.arg(file))?;
    let value: Value = serde_json::from_str(&printed)?;
    let steps = value
        .get("steps")
        .or_else(|| value.get("items"))
        .unwrap_or(&value);
    steps.as_array().cloned().context("`apply` prints its steps")
}

/// The clients that were made, by name: identifier and secret.
pub(super) fn clients(applied: &[Value]) -> Map<String, Value> {
    let made = applied
        .iter()
        .filter(|step| step.get("noun") == Some(&json!("client")));
    made.map(|step| {
        let name = step.get("name").and_then(Value::as_str).unwrap_or_default();
        let client = json!({ "id": step.get("id"), "secret": step.get("secret") });
        (name.to_owned(), client)
    })
    .collect()
}

/// Ports that were free a moment ago, all different.
pub(super) fn free_ports(count: usize) -> Result<Vec<u16>> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind(("127.0.0.1", 0)))
        .collect::<std::io::Result<_>>()?;
    let ports = listeners.iter().map(|listener| Ok(listener.local_addr()?.port()));
    ports.collect()
}

/// Waits until a path answers 200.
#[expect(
    clippy::disallowed_methods,
    reason = "waits for a program of somebody else's to start"
)]
pub(super) fn wait_for(port: u16, path: &str) -> Result<()> {
    for _ in 0..200 {
        if answers(port, path).unwrap_or(false) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("nothing answered at port {port} within 20 seconds; see the logs in target/interop/run")
}

fn answers(port: u16, path: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    Ok(start.ends_with(b" 200"))
}
