//! The server killed under load (SIGKILL): every token that a client received must have its audit record.

use crate::http::Connection;
use crate::report::Report;
use crate::scenario::Scenario;
use crate::server::Place;
use crate::{Plan, bulk};
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery_core::id::{EventId, Id as _, TokenId};
use chancery_store::db::{DatabaseUrl, Options};
use chancery_store::{Db, event};
use serde_json::Value;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// Kills and checks.
pub(crate) async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let place = Place::fresh(&plan.server, &plan.folder.join("data/crash"))?;
    let server = place.start().await?;
    let scenario = Scenario::set_up(&place, &server)?;
    server.stop()?;
    let (mut received, mut missing) = (0.0, 0.0);
    for round in 0..plan.kills {
        let bodies = kill_under_load(&place, &scenario, round).await?;
        let db = Db::open(&DatabaseUrl::sqlite(place.database_file()), Options::default()).await?;
        let tenant = bulk::default_tenant(&db).await?;
        for body in bodies {
            let token = token_id(&body)?;
            received += 1.0;
            if event::find(&db, tenant, EventId::from_bytes(*token.as_bytes()))
                .await?
                .is_none()
            {
                missing += 1.0;
            }
        }
        db.close().await;
    }
    ensure!(received > 0.0, "no token was received before the kill");
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    report.add("crash", "kills under load", plan.kills as f64, "");
    report.add("crash", "tokens received", received, "");
    report.add("crash", "of those without an audit record", missing, "");
    Ok(())
}

/// Answers received until the server was killed, at another moment each round.
async fn kill_under_load(place: &Place, scenario: &Scenario, round: usize) -> Result<Vec<Vec<u8>>> {
    let server = place.start().await?;
    let requests = scenario.client_credentials();
    let bodies = Rc::new(RefCell::new(Vec::new()));
    let tasks = tokio::task::LocalSet::new();
    for _ in 0..32 {
        let (requests, bodies, address) = (requests.clone(), bodies.clone(), place.address());
        tasks.spawn_local(async move {
            let Ok(mut connection) = Connection::open(address).await else {
                return;
            };
            for request in requests.iter().cycle() {
                // Whatever comes after the kill is an error here, and ends the connection.
                let Ok(answer) = connection.send(request).await else {
                    return;
                };
                if answer.status == 200 {
                    bodies.borrow_mut().push(answer.body);
                }
            }
        });
    }
    let wait = Duration::from_millis(300 + 37 * (round as u64 % 16));
    tasks.run_until(tokio::time::sleep(wait)).await;
    server.kill()?;
    tasks.await;
    Ok(bodies.take())
}

/// The `jti` of a token in an answer.
fn token_id(body: &[u8]) -> Result<TokenId> {
    let answer: Value = serde_json::from_slice(body)?;
    let token = answer
        .get("access_token")
        .and_then(Value::as_str)
        .context("no token")?;
    let claims = token.split('.').nth(1).context("not a JWT")?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    let id = claims.get("jti").and_then(Value::as_str).context("no jti")?;
    Ok(id.parse()?)
}
