//! `chancery run --agent NAME -- COMMAND`: starts a program as an agent. A proxy on this machine proves the agent, gets
//! its tokens and renews them; the program gets the proxy's URLs and no key or token: not as an argument, not in its
//! environment, not in a file.
//!
//! On Linux the proxy answers only the program and what it starts, as the kernel says (`peer`), and this process can
//! neither be read nor traced by programs of the same user. Elsewhere URLs hold a key of this run, in a file that only
//! the user can read. What it does not do: keep a program of the same user from reading a file with the proof, if it
//! knows where that is.

mod peer;
mod proxy;

use crate::connection::{ConnectionArguments, Refused};
use crate::credentials::{CredentialArguments, Credentials, VARIABLES};
use crate::loopback::Bound;
use crate::noun::encode;
use crate::tokens::{Issuer, Tokens};
use crate::upstream::Upstream;
use crate::wire::Wire;
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;
use std::task::Poll;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// Arguments of `run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    credentials: CredentialArguments,
    /// A resource behind the gateway that the program may reach. Default: all that the agent's ceiling names.
    #[arg(long)]
    resource: Vec<String>,
    /// Scopes to ask for at first; more are asked for when a call needs them.
    #[arg(long)]
    scope: Vec<String>,
    /// The program and its arguments; `{mcp_config}` and `{mcp_url}` stand for the file and, with one resource, the URL.
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

/// `chancery run`. Ends with what the program ends with.
///
/// # Errors
/// No proof, no token, or a program that cannot be started.
pub(crate) async fn run(
    arguments: RunArguments,
    connection: &ConnectionArguments,
) -> anyhow::Result<ExitCode> {
    shut_out_others()?;
    let credentials = arguments.credentials.open()?;
    let credentials = credentials.context(
        "nothing proves the agent\nhint: --agent NAME with --secret-file FILE, or --assertion-file FILE",
    )?;
    let base = base(connection).await?;
    let names = resources(&arguments, connection).await?;
    let servers = servers(&base, &names, Arc::new(credentials), &arguments).await?;

    let bound = Bound::to(0).await?;
    let key = (!cfg!(target_os = "linux")).then(run_key);
    let path = key.as_ref().map_or_else(String::new, |key| format!("/{key}"));
    let urls: BTreeMap<&String, String> = servers
        .keys()
        .map(|name| (name, format!("http://{}{path}/mcp/{name}", bound.address())))
        .collect();
    let directory = tempfile::Builder::new().prefix("chancery-run-").tempdir()?;
    let config = write_config(directory.path(), &urls)?;
    let start = prepared(&arguments.command, &config, &urls, key.is_some())?;
    let serving = proxy::serve(bound, servers, key);

    let signals = Signals::taken()?;
    let child = started(start)?;
    let ended = attend(child, signals).await;
    drop(serving);
    Ok(code(ended?))
}

/// SECURITY: the program runs as the same user. Without this it could read tokens and the proof from this process's
/// memory and environment.
fn shut_out_others() -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .context("this process cannot be closed to others")?;
    Ok(())
}

fn run_key() -> String {
    chancery_core::secret::generate("", &chancery_server::world::SystemRandom)
        .expose_secret()
        .clone()
}

/// The tenant's base URL, as the server says it.
async fn base(connection: &ConnectionArguments) -> anyhow::Result<String> {
    let metadata = connection
        .open()?
        .bytes("/.well-known/oauth-authorization-server")
        .await?;
    let metadata: Value = serde_json::from_slice(&metadata).context("the server does not describe itself")?;
    let issuer = metadata.get("issuer").and_then(Value::as_str);
    Ok(issuer.context("the server names no issuer")?.to_owned())
}

/// The resources that were named, or all of the agent's ceiling.
async fn resources(
    arguments: &RunArguments,
    connection: &ConnectionArguments,
) -> anyhow::Result<Vec<String>> {
    if !arguments.resource.is_empty() {
        return Ok(arguments.resource.clone());
    }
    let agent = arguments.credentials.agent();
    let agent = agent.context("say which resources the program may reach\nhint: --resource NAME")?;
    let record = connection
        .open()?
        .read(&format!("/agents/{}", encode(agent)))
        .await;
    let record = match record {
        Ok(record) => record,
        Err(error)
            if error
                .downcast_ref::<Refused>()
                .is_some_and(|refused| refused.status == 401) =>
        {
            bail!("who asks here may not see the agent's ceiling\nhint: --resource NAME");
        }
        Err(error) => return Err(error),
    };
    let ceiling = record.pointer("/spec/ceiling").and_then(Value::as_object);
    let names: Vec<String> = ceiling
        .into_iter()
        .flat_map(|ceiling| ceiling.keys().cloned())
        .collect();
    ensure!(
        !names.is_empty(),
        "agent `{agent}` may do nothing yet\nhint: chancery agent allow {agent} RESOURCE:SCOPE"
    );
    Ok(names)
}

async fn servers(
    base: &str,
    names: &[String],
    credentials: Arc<Credentials>,
    arguments: &RunArguments,
) -> anyhow::Result<proxy::Servers> {
    let wire = Wire::new();
    let mut servers = proxy::Servers::new();
    for name in names {
        let url: url::Url = format!("{base}/mcp/{}", encode(name)).parse()?;
        let issuer = Issuer::find(&wire, &url).await?;
        let Some(issuer) = issuer else {
            // A ceiling names resources of every kind.
            ensure!(
                arguments.resource.is_empty(),
                "`{name}` is no MCP server behind the gateway\nhint: chancery resource list"
            );
            continue;
        };
        let tokens = Tokens::new(wire.clone(), issuer, Arc::clone(&credentials), &arguments.scope);
        let upstream = Upstream::new(wire.clone(), url, Some(tokens));
        upstream
            .prepare()
            .await
            .with_context(|| format!("the agent gets no token for `{name}`"))?;
        servers.insert(name.clone(), upstream);
    }
    ensure!(
        !servers.is_empty(),
        "the agent's ceiling names no MCP server behind the gateway\nhint: chancery add URL --name NAME"
    );
    Ok(servers)
}

/// The configuration that most MCP clients read.
fn write_config(directory: &Path, urls: &BTreeMap<&String, String>) -> anyhow::Result<PathBuf> {
    let servers: serde_json::Map<String, Value> = urls
        .iter()
        .map(|(name, url)| ((*name).clone(), json!({ "type": "http", "url": url })))
        .collect();
    let file = directory.join("mcp.json");
    let mut written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)?;
    let text = serde_json::to_string_pretty(&json!({ "mcpServers": servers }))?;
    writeln!(written, "{text}")?;
    Ok(file)
}

/// The program with what it is to know.
fn prepared(
    command: &[String],
    config: &Path,
    urls: &BTreeMap<&String, String>,
    has_key: bool,
) -> anyhow::Result<Command> {
    // A URL that holds a key goes nowhere but into the file.
    let shown: BTreeMap<&String, &String> = if has_key {
        BTreeMap::new()
    } else {
        urls.iter().map(|(name, url)| (*name, url)).collect()
    };
    let only = shown.values().next().filter(|_| shown.len() == 1);
    let file = config.to_string_lossy();
    let words = command.iter().map(|word| {
        let word = word.replace("{mcp_config}", &file);
        only.map_or(word.clone(), |url| word.replace("{mcp_url}", url))
    });
    let words: Vec<String> = words.collect();
    let (program, rest) = words.split_first().context("no command was given")?;
    let mut command = Command::new(program);
    command
        .args(rest)
        .env("CHANCERY_MCP_CONFIG", config)
        .kill_on_drop(true);
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    if let Some(url) = only {
        command.env("CHANCERY_MCP_URL", url);
    }
    for (name, url) in &shown {
        command.env(format!("CHANCERY_MCP_URL_{}", variable(name)), url);
    }
    Ok(command)
}

fn started(mut command: Command) -> anyhow::Result<Child> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    command
        .spawn()
        .with_context(|| format!("`{program}` cannot be started"))
}

/// A name as part of a variable's.
fn variable(name: &str) -> String {
    let upper = |character: char| {
        if character.is_ascii_alphanumeric() {
            character.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    name.chars().map(upper).collect()
}

/// The signals that are handed on to the program.
struct Signals([(tokio::signal::unix::Signal, Signal); 6]);

impl Signals {
    /// Takes them from now on. Before the program starts: one that came earlier would end this process alone.
    fn taken() -> anyhow::Result<Self> {
        let take = |kind, name| anyhow::Ok((signal(kind)?, name));
        Ok(Self([
            take(SignalKind::interrupt(), Signal::INT)?,
            take(SignalKind::quit(), Signal::QUIT)?,
            take(SignalKind::terminate(), Signal::TERM)?,
            take(SignalKind::hangup(), Signal::HUP)?,
            take(SignalKind::user_defined1(), Signal::USR1)?,
            take(SignalKind::user_defined2(), Signal::USR2)?,
        ]))
    }

    /// The next one.
    async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (received, name) in &mut self.0 {
                if received.poll_recv(context).is_ready() {
                    return Poll::Ready(*name);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Waits for the program, and hands signals on to it.
async fn attend(mut child: Child, mut signals: Signals) -> anyhow::Result<ExitStatus> {
    let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    // A terminal sends these to the whole group by itself.
    let from_terminal = std::io::stdin().is_terminal();
    loop {
        tokio::select! {
            status = child.wait() => return status.context("the program cannot be waited for"),
            name = signals.next() => {
                let is_sent_already = from_terminal && (name == Signal::INT || name == Signal::QUIT);
                if let Some(id) = id.filter(|_| !is_sent_already) {
                    // It may have ended just now.
                    let _ended = kill_process(id, name);
                }
            }
        }
    }
}

/// What a shell would report: the code, or 128 and the signal.
fn code(status: ExitStatus) -> ExitCode {
    let number = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .and_then(|code| u8::try_from(code).ok());
    ExitCode::from(number.unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_part_of_a_variable() {
        assert_eq!(variable("my-notes.v2"), "MY_NOTES_V2");
    }

    #[test]
    fn the_configuration_is_for_its_owner_only_and_holds_no_header() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let name = "notes".to_owned();
        let urls = BTreeMap::from([(&name, "http://127.0.0.1:1/mcp/notes".to_owned())]);
        let file = write_config(directory.path(), &urls).unwrap();
        assert_eq!(
            std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let text: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let expected =
            json!({ "mcpServers": { "notes": { "type": "http", "url": "http://127.0.0.1:1/mcp/notes" } } });
        assert_eq!(text, expected);
    }
}
