//! One play: a server with a fresh data directory, three foreign MCP servers, and the file that tells programs
//! where everything is.

use super::install::{Foreign, PYTHON_1, PYTHON_2};
use super::results::Results;
use crate::steps::{must, output, program};
use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

/// Everything that runs.
#[derive(Debug)]
pub(super) struct World {
    folder: PathBuf,
    running: Vec<Child>,
}

impl World {
    /// Starts a server whose issuer has this path, and the MCP servers that trust it.
    pub(super) fn start(foreign: &Foreign, path: &str) -> Result<Self> {
        let folder = crate::root().join("target/interop/run");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let mut world = Self {
            folder,
            running: Vec::new(),
        };

        let ports = free_ports(4)?;
        let [own, one, two, brief] = ports.as_slice() else {
            bail!("no ports are free");
        };
        let issuer = format!("http://127.0.0.1:{own}{path}");
        let servers = [(PYTHON_1, one), (PYTHON_2, two), (PYTHON_2, brief)];
        let urls = servers.map(|(_, port)| format!("http://127.0.0.1:{port}/mcp"));

        let mut prepare = foreign.command(PYTHON_2, "prepare.py");
        must(prepare.arg(&issuer).arg(&world.folder).args(&urls))?;
        let data = world.folder.join("data");
        let mut serve = program(chancery()?);
        serve.args(["serve", "--log", "warn", "--public-url", &issuer, "--listen"]);
        serve.arg(format!("127.0.0.1:{own}")).arg("--data").arg(&data);
        world.begin("serve", &mut serve)?;
        wait_for(*own, "/readyz")?;
        let applied = world.apply(&data.join("chancery.sock"))?;

        for ((line, port), url) in servers.iter().zip(&urls) {
            let mut server = foreign.command(line, "server.py");
            world.begin(&format!("server-{port}"), server.args([url, &issuer]))?;
        }
        for (_, port) in servers {
            wait_for(*port, "/.well-known/oauth-protected-resource/mcp")?;
        }
        world.write_context(foreign, &issuer, &servers, &urls, &applied)?;
        Ok(world)
    }

    /// Runs one program to its end and takes its results.
    pub(super) fn play(
        &mut self,
        foreign: &Foreign,
        language: &str,
        name: &str,
        place: &'static str,
        results: &mut Results,
    ) -> Result<()> {
        self.check_alive()?;
        let mut command = foreign.command(language, name);
        let log = self.folder.join(format!("{language}-{name}.log"));
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
            results.fail(place, &format!("{language} {name}"), last);
        }
        Ok(())
    }

    /// Fails if something ended that should run, rather than let every check fail for it.
    fn check_alive(&mut self) -> Result<()> {
        for child in &mut self.running {
            if let Some(status) = child.try_wait()? {
                bail!("a program ended by itself ({status}); see the logs in target/interop/run");
            }
        }
        Ok(())
    }

    fn begin(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let log = fs::File::create(self.folder.join(format!("{name}.log")))?;
        let child = command.stdout(log.try_clone()?).stderr(log);
        self.running
            .push(child.spawn().with_context(|| format!("cannot start {name}"))?);
        Ok(())
    }

    /// Applies the prepared file; what comes back has client identifiers and secrets.
    fn apply(&self, socket: &Path) -> Result<Vec<Value>> {
        let mut apply = program(chancery()?);
        apply.arg("--socket").arg(socket).args(["--json", "apply", "-f"]);
        let printed = output(apply.arg(self.folder.join("apply.json")))?;
        let value: Value = serde_json::from_str(&printed)?;
        let steps = value
            .get("steps")
            .or_else(|| value.get("items"))
            .unwrap_or(&value);
        steps.as_array().cloned().context("`apply` prints its steps")
    }

    fn write_context(
        &self,
        foreign: &Foreign,
        issuer: &str,
        servers: &[(&str, &u16)],
        urls: &[String],
        applied: &[Value],
    ) -> Result<()> {
        let mut listed = Vec::new();
        for ((line, _), url) in servers.iter().zip(urls) {
            listed.push(json!({ "sdk": sdk_version(foreign, line)?, "url": url }));
        }
        let mut clients = Map::new();
        for step in applied
            .iter()
            .filter(|step| step.get("noun") == Some(&json!("client")))
        {
            let name = step.get("name").and_then(Value::as_str).unwrap_or_default();
            clients.insert(
                name.to_owned(),
                json!({ "id": step.get("id"), "secret": step.get("secret") }),
            );
        }
        let keys: Value = serde_json::from_str(&fs::read_to_string(self.folder.join("keys.json"))?)?;
        let context = json!({ "issuer": issuer, "servers": listed, "clients": clients, "keys": keys });
        Ok(fs::write(self.folder.join("context.json"), context.to_string())?)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in &mut self.running {
            // One that is gone already is as good as stopped.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn chancery() -> Result<PathBuf> {
    Ok(crate::bench::target_folder()?.join("debug/chancery"))
}

fn sdk_version(foreign: &Foreign, line: &str) -> Result<String> {
    let python = foreign.command(line, "server.py");
    let mut ask = program(python.get_program());
    ask.args([
        "-c",
        "from importlib.metadata import version; print(version('mcp'))",
    ]);
    Ok(output(&mut ask)?.trim().to_owned())
}

/// Ports that were free a moment ago, all different.
fn free_ports(count: usize) -> Result<Vec<u16>> {
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
fn wait_for(port: u16, path: &str) -> Result<()> {
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
