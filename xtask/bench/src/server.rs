//! The server under test as a process: started on its own core, asked for its use of processor and memory,
//! stopped or killed.

use crate::http::{self, Connection};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its process.
    pub(crate) process: u32,
    program: PathBuf,
    data: PathBuf,
    child: Child,
}

/// Where and how to start one.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    program: PathBuf,
    data: PathBuf,
    address: SocketAddr,
    database: Option<String>,
}

impl Place {
    /// A fresh data directory and a free port.
    pub(crate) fn fresh(program: &Path, data: &Path) -> Result<Self> {
        if data.exists() {
            fs::remove_dir_all(data)?;
        }
        fs::create_dir_all(data)?;
        Ok(Self {
            program: program.to_owned(),
            data: data.to_owned(),
            address: free_address()?,
            database: None,
        })
    }

    /// The same place with a PostgreSQL database.
    pub(crate) fn on_postgres(self, url: &str) -> Self {
        Self {
            database: Some(url.to_owned()),
            ..self
        }
    }

    /// The issuer.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The SQLite file.
    pub(crate) fn database_file(&self) -> PathBuf {
        self.data.join("chancery.db")
    }

    /// Starts the server and waits until it is ready.
    pub(crate) async fn start(&self) -> Result<Server> {
        let server = self.spawn()?;
        wait_until_ready(self.address).await?;
        Ok(server)
    }

    /// Starts the server without waiting.
    pub(crate) fn spawn(&self) -> Result<Server> {
        let mut command = pinned(&self.program);
        command.args([
            "serve",
            "--log",
            "error",
            "--allow-hosts",
            "127.0.0.1",
            "--limits",
            "off",
            "--public-url",
            &self.base(),
            "--listen",
        ]);
        command
            .arg(self.address.to_string())
            .arg("--data")
            .arg(&self.data);
        if let Some(url) = &self.database {
            command.args(["--database", url]);
        }
        let log = fs::File::create(self.data.join("log"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Server {
            address: self.address,
            process: child.id(),
            program: self.program.clone(),
            data: self.data.clone(),
            child,
        })
    }
}

impl Server {
    /// Applies a document as the administrator; the steps that were taken.
    pub(crate) fn apply(&self, document: &Value) -> Result<Vec<Value>> {
        let file = self.data.join("apply.json");
        fs::write(&file, document.to_string())?;
        let socket = self.data.join("chancery.sock");
        let mut command = Command::new(&self.program);
        command
            .arg("--socket")
            .arg(socket)
            .args(["--json", "apply", "-f"])
            .arg(file);
        let output = command.stdin(Stdio::null()).output()?;
        ensure!(
            output.status.success(),
            "apply failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let value: Value = serde_json::from_slice(&output.stdout)?;
        let steps = value
            .get("steps")
            .or_else(|| value.get("items"))
            .unwrap_or(&value);
        steps.as_array().cloned().context("`apply` prints its steps")
    }

    /// Runs a command of the administrator's, with this on its standard input.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Result<()> {
        let mut command = Command::new(&self.program);
        command
            .arg("--socket")
            .arg(self.data.join("chancery.sock"))
            .args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        stdin.write_all(input.as_bytes())?;
        drop(stdin);
        ensure!(
            child.wait()?.success(),
            "`chancery {}` failed",
            arguments.join(" ")
        );
        Ok(())
    }

    /// Resident memory in MiB.
    pub(crate) fn memory(&self) -> Result<f64> {
        memory(self.process)
    }

    /// Asks it to stop, and waits.
    pub(crate) fn stop(mut self) -> Result<()> {
        let ended = Command::new("kill").arg(self.process.to_string()).status()?;
        ensure!(ended.success(), "the server was gone before it was stopped");
        self.child.wait()?;
        Ok(())
    }

    /// Kills it without warning (SIGKILL).
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that is gone already is as good as stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process's processor time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage(Duration);

impl Usage {
    /// Of another process.
    pub(crate) fn of(process: u32) -> Result<Self> {
        Self::read(&format!("/proc/{process}/stat"))
    }

    /// Of this one.
    pub(crate) fn own() -> Result<Self> {
        Self::read("/proc/self/stat")
    }

    /// What was used between two readings.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// User and system time are the 14th and 15th field, in hundredths of a second on every Linux.
    fn read(path: &str) -> Result<Self> {
        let text = fs::read_to_string(path).context("the process is gone")?;
        let (_, after_name) = text.rsplit_once(')').context("not a stat file")?;
        let ticks: u64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Ok(Self(Duration::from_millis(ticks * 10)))
    }
}

/// How long the server's core was busy, with whatever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CoreBusy(Duration);

impl CoreBusy {
    /// Up to now.
    pub(crate) fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().find_map(|line| line.strip_prefix("cpu0 "));
        let fields: Vec<u64> = line
            .context("no first core in /proc/stat")?
            .split_whitespace()
            .filter_map(|field| field.parse().ok())
            .collect();
        // user, nice, system, (idle, iowait,) irq, softirq, steal
        let busy = fields
            .iter()
            .take(3)
            .chain(fields.iter().skip(5).take(3))
            .sum::<u64>();
        Ok(Self(Duration::from_millis(busy * 10)))
    }

    /// What was used between two readings.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// A program pinned to the first core, where `taskset` is at hand.
pub(crate) fn pinned(program: &Path) -> Command {
    if Path::new("/usr/bin/taskset").exists() {
        let mut command = Command::new("/usr/bin/taskset");
        command.args(["-c", "0"]).arg(program);
        return command;
    }
    Command::new(program)
}

/// Resident memory of a process in MiB.
pub(crate) fn memory(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().next())
        .context("no VmRSS")?
        .parse()?;
    Ok(kib / 1024.0)
}

/// Waits until a server answers at `/readyz`, asking every two milliseconds.
pub(crate) async fn wait_until_ready(address: SocketAddr) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_mins(1) {
        if let Ok(mut connection) = Connection::open(address).await
            && let Ok(answer) = connection.send(&http::read(address, "/readyz")).await
            && answer.status == 200
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bail!("the server was not ready within a minute")
}

/// A loopback address that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}
