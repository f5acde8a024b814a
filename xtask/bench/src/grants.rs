//! The grants and introspection at 1, 16 and 64 connections, on SQLite and on PostgreSQL.

use crate::report::{Report, say};
use crate::scenario::{Requests, Scenario};
use crate::server::{Place, Server};
use crate::{Plan, load};
use anyhow::Result;

/// Measures every grant on SQLite.
pub(crate) async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let place = Place::fresh(&plan.server, &plan.folder.join("data/grants"))?;
    let server = place.start().await?;
    let scenario = Scenario::set_up(&place, &server)?;
    report.add("memory", "idle, one agent", server.memory()?, "MiB");
    every_kind(plan, &server, &scenario, "grants", report).await?;
    report.add("memory", "after the load of the grants", server.memory()?, "MiB");
    server.stop()
}

/// The same on PostgreSQL.
pub(crate) async fn on_postgres(plan: &Plan, report: &mut Report) -> Result<()> {
    let Some(url) = &plan.postgres else {
        say("PostgreSQL: none given, not measured");
        return Ok(());
    };
    // A root key is made only beside a new SQLite database, so one is made and left.
    let place = Place::fresh(&plan.server, &plan.folder.join("data/postgres"))?;
    place.start().await?.stop()?;
    let place = place.on_postgres(url);
    let server = place.start().await?;
    let scenario = Scenario::set_up(&place, &server)?;
    every_kind(plan, &server, &scenario, "postgres", report).await?;
    server.stop()
}

async fn every_kind(
    plan: &Plan,
    server: &Server,
    scenario: &Scenario,
    section: &'static str,
    report: &mut Report,
) -> Result<()> {
    let kinds: [(&str, Requests); 4] = [
        ("client_credentials", scenario.client_credentials()),
        ("exchange of an id_token", scenario.exchange_of_people(64)?),
        ("exchange of our own token", scenario.exchange_of_own(256).await?),
        ("introspection", scenario.introspection(256).await?),
    ];
    for (name, requests) in &kinds {
        for connections in [1, 16, 64] {
            let outcome = load::run(
                scenario.address,
                requests,
                connections,
                plan.span(),
                server.process,
            )
            .await?;
            report.add_load(section, name, &outcome);
        }
    }
    Ok(())
}
