//! The sample agent as a process: started by the demo with an environment that it chooses, read line by line.

use crate::print;
use crate::sample::agent::{Act, work};
use anyhow::{Context as _, ensure};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// Starts the agent, and waits for its end. `environment` is all that it has; `token` goes to its standard input.
///
/// # Errors
/// It does not start, does not end, or fails.
pub(super) async fn start(environment: &[(&str, &str)], token: Option<&str>) -> anyhow::Result<Vec<Act>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("sample-agent").kill_on_drop(true);
    command.env_clear().envs(environment.iter().copied());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("the sample agent does not start")?;
    let mut input = child.stdin.take().context("the sample agent has no input")?;
    input.write_all(token.unwrap_or_default().as_bytes()).await?;
    drop(input);
    let ended = timeout(LONGEST, child.wait_with_output()).await;
    let ended = ended.context("the sample agent does not end")??;
    ensure!(
        ended.status.success(),
        "the sample agent failed: {}",
        String::from_utf8_lossy(&ended.stderr).trim()
    );
    let printed = String::from_utf8(ended.stdout)?;
    let acts = printed.lines().map(serde_json::from_str);
    Ok(acts.collect::<Result<_, _>>()?)
}

/// `chancery sample-agent`: the process itself.
///
/// # Errors
/// The desk is not named, cannot be reached, or does not let it in.
#[expect(
    clippy::disallowed_methods,
    reason = "a program of its own, whose environment is what it is shown with"
)]
pub(crate) async fn run() -> anyhow::Result<()> {
    let environment: Vec<(String, String)> = std::env::vars().collect();
    let find = |wanted: &str| {
        let found = environment.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.clone())
    };
    let desk = find("DESK_URL").context("DESK_URL is not set")?;
    let opens = match find("DESK_KEY") {
        Some(key) => key,
        None => std::io::read_to_string(std::io::stdin())?.trim().to_owned(),
    };
    work(&desk, &opens, &environment, |act| {
        if let Ok(line) = serde_json::to_string(&act) {
            print::line(&line);
        }
    })
    .await
}

/// How long the agent may take.
const LONGEST: Duration = Duration::from_mins(1);
