//! Load: so many connections, each sending one request after the other, for a while.

use crate::http::Connection;
use crate::server::{CoreBusy, Usage};
use anyhow::{Result, ensure};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What came of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Connections.
    pub(crate) connections: usize,
    /// Requests answered with success, per second.
    pub(crate) rate: f64,
    /// Half of the answers came within, in milliseconds.
    pub(crate) p50: f64,
    /// All but one in a hundred came within, in milliseconds.
    pub(crate) p99: f64,
    /// The server's processor time for each request, in microseconds.
    pub(crate) cpu: f64,
    /// The share of a core that the server used.
    pub(crate) server_share: f64,
    /// The share of a core that this program used.
    pub(crate) own_share: f64,
    /// The share of the server's core that went to anything else.
    pub(crate) others_share: f64,
}

/// Sends prepared requests, each connection starting at another one, and measures.
pub(crate) async fn run(
    address: SocketAddr,
    requests: &Rc<Vec<Vec<u8>>>,
    connections: usize,
    span: Duration,
    process: u32,
) -> Result<Outcome> {
    let shared = Rc::new(Shared {
        is_measuring: Cell::new(false),
        is_over: Cell::new(false),
        times: RefCell::new(Vec::with_capacity(1 << 18)),
        refused: Cell::new(0),
    });
    let tasks = tokio::task::LocalSet::new();
    let mut running = Vec::new();
    for number in 0..connections {
        let (requests, shared) = (requests.clone(), shared.clone());
        let first = number * requests.len() / connections.max(1);
        running.push(tasks.spawn_local(one(address, requests, first, shared)));
    }
    let (elapsed, server, own, core) = tasks
        .run_until(async {
            tokio::time::sleep(span / 4).await;
            let (started, core) = (Instant::now(), CoreBusy::now()?);
            let (server, own) = (Usage::of(process)?, Usage::own()?);
            shared.is_measuring.set(true);
            tokio::time::sleep(span).await;
            shared.is_measuring.set(false);
            let (used, busy) = ((Usage::of(process)?, Usage::own()?), CoreBusy::now()?.since(core));
            let elapsed = started.elapsed();
            shared.is_over.set(true);
            for task in running {
                task.await??;
            }
            anyhow::Ok((elapsed, used.0.since(server), used.1.since(own), busy))
        })
        .await?;

    ensure!(
        shared.refused.get() == 0,
        "{} requests were refused under load",
        shared.refused.get()
    );
    let mut times = shared.times.take();
    times.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "a statistic")]
    let count = times.len() as f64;
    let seconds = elapsed.as_secs_f64();
    Ok(Outcome {
        connections,
        rate: count / seconds,
        p50: milliseconds(&times, 50),
        p99: milliseconds(&times, 99),
        cpu: server.as_secs_f64() * 1e6 / count.max(1.0),
        server_share: server.as_secs_f64() / seconds,
        own_share: own.as_secs_f64() / seconds,
        others_share: core.saturating_sub(server).as_secs_f64() / seconds,
    })
}

struct Shared {
    is_measuring: Cell<bool>,
    is_over: Cell<bool>,
    times: RefCell<Vec<Duration>>,
    refused: Cell<u64>,
}

async fn one(
    address: SocketAddr,
    requests: Rc<Vec<Vec<u8>>>,
    first: usize,
    shared: Rc<Shared>,
) -> Result<()> {
    let mut connection = Connection::open(address).await?;
    for request in requests.iter().cycle().skip(first) {
        if shared.is_over.get() {
            break;
        }
        let started = Instant::now();
        let answer = connection.send(request).await?;
        if answer.status != 200 {
            if shared.refused.get() == 0 {
                crate::report::say(&format!("refused: {}", String::from_utf8_lossy(&answer.body)));
            }
            shared.refused.set(shared.refused.get() + 1);
        }
        if shared.is_measuring.get() {
            shared.times.borrow_mut().push(started.elapsed());
        }
    }
    Ok(())
}

/// A percentile of sorted times.
pub(crate) fn milliseconds(sorted: &[Duration], percent: usize) -> f64 {
    let position = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(position).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}
