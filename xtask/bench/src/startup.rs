//! How long it takes from the start of the process to the first token.

use crate::Plan;
use crate::http::Connection;
use crate::report::Report;
use crate::scenario::Scenario;
use crate::server::Place;
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Measures a first start and restarts.
pub(crate) async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let place = Place::fresh(&plan.server, &plan.folder.join("data/startup"))?;
    let started = Instant::now();
    let server = place.start().await?;
    let first = started.elapsed();
    report.add(
        "startup",
        "first start with keys and schema, until ready",
        first.as_secs_f64() * 1e3,
        "ms",
    );
    let scenario = Scenario::set_up(&place, &server)?;
    server.stop()?;

    let mut times = Vec::new();
    for _ in 0..5 {
        times.push(until_first_token(&place, &scenario).await?);
    }
    times.sort_unstable();
    let median = crate::load::milliseconds(&times, 50);
    report.add("startup", "restart to first token, median of 5", median, "ms");
    Ok(())
}

/// From the start of the process to the first token in hand.
pub(crate) async fn until_first_token(place: &Place, scenario: &Scenario) -> Result<Duration> {
    let requests = scenario.client_credentials();
    let started = Instant::now();
    let server = place.spawn()?;
    while started.elapsed() < Duration::from_mins(1) {
        if let Ok(mut connection) = Connection::open(place.address()).await
            && let Some(request) = requests.first()
            && let Ok(answer) = connection.send(request).await
            && answer.status == 200
        {
            let taken = started.elapsed();
            server.stop()?;
            return Ok(taken);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bail!("no token within a minute of the start")
}
