//! Load: so many connections, each sending one request after the other, for a while.

use crate::http::{Answer, Connection};
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
    let meter = tasks
        .run_until(async {
            tokio::time::sleep(span / 4).await;
            let meter = Meter::start(process)?;
            shared.is_measuring.set(true);
            tokio::time::sleep(span).await;
            shared.is_measuring.set(false);
            let measured = meter.stop()?;
            shared.is_over.set(true);
            for task in running {
                task.await??;
            }
            anyhow::Ok(measured)
        })
        .await?;

    ensure!(
        shared.refused.get() == 0,
        "{} requests were refused under load",
        shared.refused.get()
    );
    Ok(meter.outcome(connections, shared.times.take()))
}

/// Sends each prepared request once, and measures until the last is answered. The answers stand in the order of their
/// requests; one of another status is an error.
pub(crate) async fn each(
    address: SocketAddr,
    (requests, status): (Vec<Vec<u8>>, u16),
    connections: usize,
    process: u32,
) -> Result<(Outcome, Vec<Answer>)> {
    let requests = Rc::new(requests);
    let next = Rc::new(Cell::new(0));
    let tasks = tokio::task::LocalSet::new();
    let meter = Meter::start(process)?;
    let mut running = Vec::new();
    for _ in 0..connections {
        let (requests, next) = (requests.clone(), next.clone());
        running.push(tasks.spawn_local(async move {
            let mut connection = Connection::open(address).await?;
            let mut answers = Vec::new();
            while let Some(request) = requests.get(next.get()) {
                let number = next.replace(next.get() + 1);
                let started = Instant::now();
                let answer = connection.send(request).await?;
                let text = String::from_utf8_lossy(&answer.body);
                ensure!(answer.status == status, "status {}: {text}", answer.status);
                answers.push((number, started.elapsed(), answer));
            }
            anyhow::Ok(answers)
        }));
    }
    let answered = tasks.run_until(async {
        let mut all = Vec::with_capacity(requests.len());
        for task in running {
            all.extend(task.await??);
        }
        anyhow::Ok(all)
    });
    let mut answered = answered.await?;
    let measured = meter.stop()?;
    answered.sort_unstable_by_key(|(number, _, _)| *number);
    let times = answered.iter().map(|(_, time, _)| *time).collect();
    let answers = answered.into_iter().map(|(_, _, answer)| answer).collect();
    Ok((measured.outcome(connections, times), answers))
}

/// As [`run`], where each connection makes its next request from the answer before.
pub(crate) async fn chained(
    address: SocketAddr,
    links: Vec<Chain>,
    span: Duration,
    process: u32,
) -> Result<Outcome> {
    let connections = links.len();
    let shared = Rc::new((Cell::new(false), Cell::new(false), RefCell::new(Vec::new())));
    let tasks = tokio::task::LocalSet::new();
    let mut running = Vec::new();
    for mut chain in links {
        let shared = shared.clone();
        running.push(tasks.spawn_local(async move {
            let mut connection = Connection::open(address).await?;
            while !shared.1.get() {
                let started = Instant::now();
                let answer = connection.send(&chain.request).await?;
                chain.request = (chain.next)(&answer)?;
                if shared.0.get() {
                    shared.2.borrow_mut().push(started.elapsed());
                }
            }
            anyhow::Ok(())
        }));
    }
    let measured = tasks.run_until(async {
        tokio::time::sleep(span / 4).await;
        let meter = Meter::start(process)?;
        shared.0.set(true);
        tokio::time::sleep(span).await;
        shared.0.set(false);
        let measured = meter.stop()?;
        shared.1.set(true);
        for task in running {
            task.await??;
        }
        anyhow::Ok(measured)
    });
    let measured = measured.await?;
    Ok(measured.outcome(connections, shared.2.take()))
}

/// The first request of a connection, and how each answer makes the next.
pub(crate) struct Chain {
    /// What is sent next.
    pub(crate) request: Vec<u8>,
    /// What is sent after this answer.
    pub(crate) next: Next,
}

type Next = Box<dyn Fn(&Answer) -> Result<Vec<u8>>>;

/// Clocks, of which the differences count.
struct Meter {
    process: u32,
    started: Instant,
    core: CoreBusy,
    server: Usage,
    own: Usage,
}

/// What passed on them.
struct Measured {
    elapsed: Duration,
    core: Duration,
    server: Duration,
    own: Duration,
}

impl Meter {
    fn start(process: u32) -> Result<Self> {
        Ok(Self {
            process,
            started: Instant::now(),
            core: CoreBusy::now()?,
            server: Usage::of(process)?,
            own: Usage::own()?,
        })
    }

    fn stop(self) -> Result<Measured> {
        let (server, own) = (Usage::of(self.process)?, Usage::own()?);
        Ok(Measured {
            elapsed: self.started.elapsed(),
            core: CoreBusy::now()?.since(self.core),
            server: server.since(self.server),
            own: own.since(self.own),
        })
    }
}

impl Measured {
    fn outcome(self, connections: usize, mut times: Vec<Duration>) -> Outcome {
        times.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "a statistic")]
        let count = times.len() as f64;
        let seconds = self.elapsed.as_secs_f64();
        Outcome {
            connections,
            rate: count / seconds,
            p50: milliseconds(&times, 50),
            p99: milliseconds(&times, 99),
            cpu: self.server.as_secs_f64() * 1e6 / count.max(1.0),
            server_share: self.server.as_secs_f64() / seconds,
            own_share: self.own.as_secs_f64() / seconds,
            others_share: self.core.saturating_sub(self.server).as_secs_f64() / seconds,
        }
    }
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
