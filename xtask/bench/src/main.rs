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
mod goals;
mod grants;
mod growth;
mod http;
mod load;
mod machine;
mod others;
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
    /// A smoke run.
    is_quick: bool,
    /// How many times to kill the server under load.
    kills: usize,
}

impl Plan {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut plan = Self {
            server: PathBuf::new(),
            folder: PathBuf::new(),
            results: PathBuf::new(),
            postgres: None,
            oidc_provider: None,
            is_quick: false,
            kills: 0,
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
                "--oidc-provider" => plan.oidc_provider = Some(value()?.into()),
                "--kills" => plan.kills = value()?.parse()?,
                _ => bail!("unknown argument `{name}`"),
            }
        }
        if plan.kills == 0 {
            plan.kills = if plan.is_quick { 1 } else { 5 };
        }
        Ok(plan)
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
    let plan = Plan::read(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(&plan))
}

async fn run(plan: &Plan) -> Result<()> {
    let mut report = report::Report::default();
    machine::measure(plan, &mut report).await?;
    grants::measure(plan, &mut report).await?;
    others::measure(plan, &mut report).await?;
    startup::measure(plan, &mut report).await?;
    growth::agents(plan, &mut report).await?;
    growth::policies(plan, &mut report).await?;
    growth::log(plan, &mut report).await?;
    crash::measure(plan, &mut report).await?;
    grants::on_postgres(plan, &mut report).await?;
    goals::judge(&mut report);
    report.keep(&plan.results)
}
