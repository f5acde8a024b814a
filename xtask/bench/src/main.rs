//! The benchmark behind `cargo xtask bench`: the machine's own limits, then the server beside them in one run.
//!
//! The server runs pinned to one core and this program, which makes the load, to another, where there are two.
//! Every result is printed as it is, as a ratio to a limit of the machine, and against the project's goals.

#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock itself; nothing of the product depends on it"
)]

mod bulk;
mod crash;
mod gateway;
mod goals;
mod grants;
mod growth;
mod http;
mod load;
mod machine;
mod others;
mod people;
mod report;
mod scenario;
mod server;
mod startup;

use anyhow::{Context as _, Result, bail};
use std::path::PathBuf;
use std::time::Duration;

/// What to run, and where things are.
#[derive(Clone, Debug)]
struct Plan {
    /// The server's program.
    server: PathBuf,
    /// Where data goes while this runs.
    folder: PathBuf,
    /// Where the results go.
    results: PathBuf,
    /// A PostgreSQL server to compare with.
    postgres: Option<String>,
    /// The folder with the npm package `oidc-provider` and a program that serves it.
    oidc_provider: Option<PathBuf>,
    /// The program `mcp-proxy` to compare with.
    mcp_proxy: Option<PathBuf>,
    /// A smoke run.
    is_quick: bool,
    /// How many times to kill the server under load.
    kills: usize,
    /// The parts to run; all if none is named.
    only: Vec<String>,
}

/// The parts of a run, in their order. The machine's limits are always taken.
const PARTS: [&str; 10] = [
    "grants", "people", "calls", "others", "startup", "agents", "policies", "log", "crash", "postgres",
];

impl Plan {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut plan = Self {
            server: PathBuf::new(),
            folder: PathBuf::new(),
            results: PathBuf::new(),
            postgres: None,
            oidc_provider: None,
            mcp_proxy: None,
            is_quick: false,
            kills: 0,
            only: Vec::new(),
        };
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .with_context(|| format!("`{name}` needs a value"))
            };
            match name.as_str() {
                "--quick" => plan.is_quick = true,
                "--server" => plan.server = value()?.into(),
                "--folder" => plan.folder = value()?.into(),
                "--results" => plan.results = value()?.into(),
                "--postgres" => plan.postgres = Some(value()?),
                "--mcp-proxy" => plan.mcp_proxy = Some(value()?.into()),
                "--oidc-provider" => plan.oidc_provider = Some(value()?.into()),
                "--kills" => plan.kills = value()?.parse()?,
                "--only" => plan.only.extend(value()?.split(',').map(str::to_owned)),
                _ => bail!("unknown argument `{name}`"),
            }
        }
        if let Some(unknown) = plan.only.iter().find(|part| !PARTS.contains(&part.as_str())) {
            bail!("no part `{unknown}`; there are {}", PARTS.join(", "));
        }
        if plan.kills == 0 {
            plan.kills = if plan.is_quick { 1 } else { 5 };
        }
        Ok(plan)
    }

    fn has(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == part)
    }

    /// How long each measurement lasts, after a warm-up of a quarter of it.
    fn span(&self) -> Duration {
        if self.is_quick {
            Duration::from_millis(1_500)
        } else {
            Duration::from_secs(6)
        }
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.peek().is_some_and(|first| first == "bare-http") {
        return machine::serve_bare_http();
    }
    if arguments.peek().is_some_and(|first| first == "mcp-server") {
        return gateway::serve_mcp();
    }
    let plan = Plan::read(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(&plan))
}

async fn run(plan: &Plan) -> Result<()> {
    let mut report = report::Report::default();
    machine::measure(plan, &mut report).await?;
    for part in PARTS.into_iter().filter(|part| plan.has(part)) {
        match part {
            "grants" => grants::measure(plan, &mut report).await?,
            "people" => people::measure(plan, &mut report).await?,
            "calls" => gateway::measure(plan, &mut report).await?,
            "others" => others::measure(plan, &mut report).await?,
            "startup" => startup::measure(plan, &mut report).await?,
            "agents" => growth::agents(plan, &mut report).await?,
            "policies" => growth::policies(plan, &mut report).await?,
            "log" => growth::log(plan, &mut report).await?,
            "crash" => crash::measure(plan, &mut report).await?,
            _ => grants::on_postgres(plan, &mut report).await?,
        }
    }
    goals::judge(&mut report);
    report.keep(&plan.results)
}
