//! One play: a server with a fresh data directory, three foreign MCP servers, and the file that tells programs
//! where everything is.

use super::install::{Foreign, PYTHON_1, PYTHON_2};
use super::running::{Running, apply, chancery, clients, free_ports, wait_for};
use crate::steps::{must, output, program};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::fs;

/// Everything that runs.
#[derive(Debug)]
pub(super) struct World {
    running: Running,
}

impl World {
    /// Starts a server whose issuer has this path, and the MCP servers that trust it.
    pub(super) fn start(foreign: &Foreign, path: &str) -> Result<Self> {
        let mut world = Self {
            running: Running::start()?,
        };
        let folder = world.running.folder().to_owned();

        let ports = free_ports(4)?;
        let [own, one, two, brief] = ports.as_slice() else {
            bail!("no ports are free");
        };
        let issuer = format!("http://127.0.0.1:{own}{path}");
        let servers = [(PYTHON_1, one), (PYTHON_2, two), (PYTHON_2, brief)];
        let urls = servers.map(|(_, port)| format!("http://127.0.0.1:{port}/mcp"));

        let mut prepare = foreign.command(PYTHON_2, "prepare.py");
        must(prepare.arg(&issuer).arg(&folder).args(&urls))?;
        let data = folder.join("data");
        let mut serve = program(chancery()?);
        serve.args(["serve", "--log", "warn", "--public-url", &issuer, "--listen"]);
        serve.arg(format!("127.0.0.1:{own}")).arg("--data").arg(&data);
        world.running.begin("serve", &mut serve)?;
        wait_for(*own, "/readyz")?;
        let applied = apply(&data.join("chancery.sock"), &folder.join("apply.json"))?;

        for ((line, port), url) in servers.iter().zip(&urls) {
            let mut server = foreign.command(line, "server.py");
            world
                .running
                .begin(&format!("server-{port}"), server.args([url, &issuer]))?;
        }
        for (_, port) in servers {
            wait_for(*port, "/.well-known/oauth-protected-resource/mcp")?;
        }
        world.write_context(foreign, &issuer, &servers, &urls, &applied)?;
        Ok(world)
    }

    /// What runs.
    pub(super) fn running(&mut self) -> &mut Running {
        &mut self.running
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
        let clients = clients(applied);
        let keys: Value =
            serde_json::from_str(&fs::read_to_string(self.running.folder().join("keys.json"))?)?;
        let context = json!({ "issuer": issuer, "servers": listed, "clients": clients, "keys": keys });
        Ok(fs::write(
            self.running.folder().join("context.json"),
            context.to_string(),
        )?)
    }
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
