//! The third part and the fourth: people. Chancery in test mode, a company's identity provider that is somebody else's program, a
//! person with a browser that scripts send to addresses, and clients that bring that person.

use super::install::{Foreign, NODE, PYTHON_2};
use super::running::{Running, apply, chancery, clients, free_ports, wait_for};
use crate::steps::{cargo, must, program};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Everything that runs.
#[derive(Debug)]
pub(super) struct People {
    running: Running,
}

/// The ports of everything that runs.
struct Ports {
    own: u16,
    fixture: u16,
    person: u16,
    documents: u16,
    providers: Vec<u16>,
}

impl People {
    /// Starts Chancery under this name of the machine, and what is around it. Passkeys need a name; some clients an address.
    pub(super) fn start(foreign: &Foreign, host: &str) -> Result<Self> {
        let mut running = Running::start()?;
        let folder = running.folder().to_owned();
        let ports = Ports::free()?;
        let issuer = format!("http://{host}:{}", ports.own);
        let providers: Vec<String> = METHODS
            .iter()
            .zip(&ports.providers)
            .map(|(method, port)| format!("{method}={port}"))
            .collect();
        must(foreign.command(PYTHON_2, "certificate.py").arg(&folder))?;
        let mut prepare = foreign.command(PYTHON_2, "people_prepare.py");
        prepare.arg(&issuer).arg(&folder).arg(ports.fixture.to_string());
        must(prepare.args(&providers))?;
        around(&mut running, foreign, (&ports, &issuer), &providers)?;

        let data = folder.join("data");
        let mut serve = program(chancery()?);
        serve.args(["serve", "--test-mode", "--log", "info", "--public-url", &issuer]);
        serve.arg("--listen").arg(format!("127.0.0.1:{}", ports.own));
        serve.arg("--extra-ca-file").arg(folder.join("ca.pem"));
        running.begin("serve", serve.arg("--data").arg(&data))?;
        wait_for(ports.own, "/readyz")?;
        let socket = data.join("chancery.sock");
        let applied = apply(&socket, &folder.join("apply.json"))?;
        settle(&socket)?;

        let keys: Value = serde_json::from_str(&fs::read_to_string(folder.join("keys.json"))?)?;
        let context = json!({
            "issuer": issuer,
            "mcp": format!("{issuer}/mcp/fixture"),
            "person": format!("http://127.0.0.1:{}", ports.person),
            "documents": format!("https://localhost:{}", ports.documents),
            "provider": METHODS.first(),
            "providers": METHODS,
            "accounts": providers.first().and_then(|pair| pair.split_once('=')).map(|(_, port)| format!("http://127.0.0.1:{port}")),
            "drive": format!("{issuer}/broker/drive"),
            "clients": clients(&applied),
            "keys": keys,
            "chancery": chancery()?,
            "socket": socket,
            "screenshots": folder.join("screenshots"),
        });
        fs::write(folder.join("context.json"), context.to_string())?;
        Ok(Self { running })
    }

    /// What runs.
    pub(super) fn running(&mut self) -> &mut Running {
        &mut self.running
    }
}

impl Ports {
    fn free() -> Result<Self> {
        let mut ports = free_ports(4 + METHODS.len())?;
        let providers = ports.split_off(4);
        let [own, fixture, person, documents] = ports.as_slice() else {
            bail!("no ports are free");
        };
        Ok(Self {
            own: *own,
            fixture: *fixture,
            person: *person,
            documents: *documents,
            providers,
        })
    }
}

/// The official Rust client with its own OAuth flow: a crate apart, so that what that needs is not among ours.
pub(super) fn rust_client() -> Result<Command> {
    let folder = crate::root().join("target/interop/rust");
    let manifest = crate::root().join("interop/rust/Cargo.toml");
    let mut build = cargo(&["build", "--locked", "--quiet", "--manifest-path"]);
    must(build.arg(manifest).arg("--target-dir").arg(&folder))?;
    Ok(program(folder.join("debug/people-mcp")))
}

/// What stands around Chancery: an MCP server, providers, metadata documents, and the person.
fn around(
    running: &mut Running,
    foreign: &Foreign,
    (ports, issuer): (&Ports, &str),
    providers: &[String],
) -> Result<()> {
    let folder = running.folder().to_owned();
    let mut fixture = foreign.command(NODE, "fixture.mjs");
    running.begin("fixture", fixture.args([&ports.fixture.to_string(), KEY]))?;
    let mut provider = foreign.command(NODE, "provider.mjs");
    running.begin("provider", provider.arg(issuer).args(providers))?;
    let mut documents = foreign.command(NODE, "documents.mjs");
    documents.arg(ports.documents.to_string());
    documents
        .arg(folder.join("localhost.pem"))
        .arg(folder.join("localhost.key"));
    running.begin("documents", &mut documents)?;
    let places = ports
        .providers
        .iter()
        .map(|port| format!("http://127.0.0.1:{port}"));
    let mut person = foreign.command(NODE, "person.mjs");
    person.arg(ports.person.to_string()).arg(issuer).args(places);
    running.begin("person", &mut person)?;

    wait_for(ports.fixture, "/up")?;
    wait_for(ports.person, "/")?;
    for port in &ports.providers {
        wait_for(*port, "/.well-known/openid-configuration")?;
    }
    Ok(())
}

/// The server's key, the secrets for the providers, and the rule by which clients that register belong to an agent.
fn settle(socket: &Path) -> Result<()> {
    tell(socket, &["account", "set", "fixture", "--tenant-wide"], KEY)?;
    for issuer in ["client-secret-basic", "client-secret-post"] {
        tell(socket, &["sign-in", "secret", issuer], PROVIDER_SECRET)?;
    }
    tell(socket, &["connection", "secret", "drive"], PROVIDER_SECRET)?;
    let rule = ["registration", "rule", "local", "adopt", "--agent", "worker"];
    let hosts = ["--host", "127.0.0.1", "--host", "localhost"];
    tell(socket, &[rule.as_slice(), hosts.as_slice()].concat(), "")
}

/// One command of administration, with something on its standard input.
fn tell(socket: &Path, words: &[&str], input: &str) -> Result<()> {
    let mut command = program(chancery()?);
    command.arg("--socket").arg(socket).args(words);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let mut pipe = child.stdin.take().context("the command reads its input")?;
    writeln!(pipe, "{input}")?;
    drop(pipe);
    ensure!(child.wait()?.success(), "`chancery {}` failed", words.join(" "));
    Ok(())
}

/// The ways in which Chancery proves itself at a provider, each at one of its own.
const METHODS: [&str; 4] = [
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
    "none",
];

/// The key that the MCP server demands.
const KEY: &str = "key-of-the-fixture-0123456789abcdef";

/// What the providers know Chancery by; it stands in `provider.mjs` too.
const PROVIDER_SECRET: &str = "secret-of-chancery-at-its-company";
