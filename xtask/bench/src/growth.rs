//! How the rate holds as agents, policies and log records grow.

use crate::http::{self, Connection};
use crate::report::Report;
use crate::scenario::{self, Scenario};
use crate::server::{Place, Server};
use crate::startup::until_first_token;
use crate::{Plan, bulk, load};
use anyhow::{Result, ensure};
use serde_json::json;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// From a thousand agents up: the rate over a thousand of them, over all of them, memory, start.
pub(crate) async fn agents(plan: &Plan, report: &mut Report) -> Result<()> {
    let sizes: &[u64] = if plan.is_quick {
        &[1_000, 20_000]
    } else {
        &[1_000, 100_000, 1_000_000]
    };
    let place = Place::fresh(&plan.server, &plan.folder.join("data/agents"))?;
    let server = place.start().await?;
    let scenario = Scenario::set_up(&place, &server)?;
    server.stop()?;

    let mut there = 0;
    let mut clients = Vec::new();
    for &size in sizes {
        clients.extend(bulk::agents(&place.database_file(), there..size, 10).await?);
        there = size;
        let start = until_first_token(&place, &scenario).await?;
        report.add(
            "agents",
            format!("{size}: start to first token"),
            start.as_secs_f64() * 1e3,
            "ms",
        );
        let server = place.start().await?;
        report.add("agents", format!("{size}: memory idle"), server.memory()?, "MiB");
        let every = (clients.len() / 1_000).max(1);
        let thousand: Vec<String> = clients.iter().step_by(every).cloned().collect();
        for (spread, chosen) in [("1,000 active", &thousand), ("a tenth active", &clients)] {
            let requests = scenario.client_credentials_of(chosen, bulk::SECRET);
            let outcome = load::run(scenario.address, &requests, 64, plan.span(), server.process).await?;
            report.add_load("agents", &format!("{size}, {spread}"), &outcome);
        }
        report.add(
            "agents",
            format!("{size}: memory after load"),
            server.memory()?,
            "MiB",
        );
        server.stop()?;
    }
    Ok(())
}

/// From 10 policies to 1,000, with more agents than a set remembers evaluations: each request is evaluated.
pub(crate) async fn policies(plan: &Plan, report: &mut Report) -> Result<()> {
    let place = Place::fresh(&plan.server, &plan.folder.join("data/policies"))?;
    let server = place.start().await?;
    let scenario = Scenario::set_up(&place, &server)?;
    server.stop()?;
    let clients = bulk::agents(&place.database_file(), 0..5_000, 1).await?;
    let server = place.start().await?;
    for count in [10, 100, 1_000] {
        server.apply(&json!({ "policy": scenario::policies(count) }))?;
        let requests = scenario.client_credentials_of(&clients, bulk::SECRET);
        let outcome = load::run(scenario.address, &requests, 64, plan.span(), server.process).await?;
        report.add_load("policies", &count.to_string(), &outcome);
    }
    server.stop()
}

/// From an empty log up, by real grants, and a proof at the end.
pub(crate) async fn log(plan: &Plan, report: &mut Report) -> Result<()> {
    let records: f64 = if plan.is_quick { 60_000.0 } else { 1_000_000.0 };
    let place = Place::fresh(&plan.server, &plan.folder.join("data/log"))?;
    let server = place.start().await?;
    let scenario = Scenario::set_up(&place, &server)?;
    let requests = scenario.client_credentials();
    let first = load::run(scenario.address, &requests, 64, plan.span(), server.process).await?;
    report.add_load("log", "empty", &first);
    let mut there = first.rate * plan.span().as_secs_f64() * 1.25;
    let started = Instant::now();
    while there < records && started.elapsed() < LONGEST {
        let span = plan.span() * 4;
        let outcome = load::run(scenario.address, &requests, 64, span, server.process).await?;
        there += outcome.rate * span.as_secs_f64() * 1.25;
    }
    report.add("log", "records", there, "");
    integrated(&server, report).await?;
    let outcome = load::run(scenario.address, &requests, 64, plan.span(), server.process).await?;
    report.add_load("log", "full", &outcome);
    report.add("log", "memory", server.memory()?, "MiB");
    server.stop()
}

/// How long the log's head needs to catch up once the load ends.
async fn integrated(server: &Server, report: &mut Report) -> Result<()> {
    let started = Instant::now();
    let request = Rc::new(http::read(server.address, "/log/checkpoint"));
    let mut connection = Connection::open(server.address).await?;
    let mut last = Vec::new();
    loop {
        let answer = connection.send(&request).await?;
        ensure!(answer.status == 200, "no checkpoint");
        if answer.body == last {
            break;
        }
        last = answer.body;
        tokio::time::sleep(Duration::from_millis(2_500)).await;
    }
    report.add(
        "log",
        "until the checkpoint stood still after load",
        started.elapsed().as_secs_f64(),
        "s",
    );
    Ok(())
}

/// How long the log is filled at most.
const LONGEST: Duration = Duration::from_mins(6);
