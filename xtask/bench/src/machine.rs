//! The machine's own limits, on the server's core: signatures, bare HTTP, synchronous writes, commits.

use crate::report::Report;
use crate::server::{Usage, free_address, pinned};
use crate::{Plan, http, load};
use anyhow::{Context as _, Result};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, UnparsedPublicKey,
};
use bytes::Bytes;
use chancery_core::id::{BatchId, EventId, Id as _, TenantId};
use chancery_core::time::Timestamp;
use chancery_store::db::{DatabaseUrl, Options};
use chancery_store::event::{self, EventRow};
use chancery_store::{Batch, Db, MIGRATIONS};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Measures every limit.
pub(crate) async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    signatures(plan, report)?;
    bare_http(plan, report).await?;
    synchronous_writes(plan, report)?;
    for together in [1, 16, 64] {
        commits(plan, together, report).await?;
    }
    Ok(())
}

fn signatures(plan: &Plan, report: &mut Report) -> Result<()> {
    let random = SystemRandom::new();
    // About the length of a token's signed part.
    let message = [0x61; 700];
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?;
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref())?;
    let signature = key.sign(&random, &message)?;
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref().to_vec());
    let rate = per_second(plan, || key.sign(&random, &message).is_ok())?;
    report.add("machine", "ES256 sign", rate, "per s");
    let rate = per_second(plan, || public.verify(&message, signature.as_ref()).is_ok())?;
    report.add("machine", "ES256 verify", rate, "per s");

    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random)?;
    let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref())?;
    let signature = key.sign(&message);
    let public = UnparsedPublicKey::new(&ED25519, key.public_key().as_ref().to_vec());
    let rate = per_second(plan, || key.sign(&message).as_ref().len() == 64)?;
    report.add("machine", "EdDSA sign", rate, "per s");
    let rate = per_second(plan, || public.verify(&message, signature.as_ref()).is_ok())?;
    report.add("machine", "EdDSA verify", rate, "per s");
    Ok(())
}

/// How often something can be done in a second of processor time, so that a busy machine does not count.
fn per_second(plan: &Plan, mut once: impl FnMut() -> bool) -> Result<f64> {
    let (started, used, span) = (Instant::now(), Usage::own()?, plan.span());
    let mut done = 0.0;
    while started.elapsed() < span {
        for _ in 0..64 {
            if std::hint::black_box(once()) {
                done += 1.0;
            }
        }
    }
    Ok(done / Usage::own()?.since(used).as_secs_f64())
}

/// hyper with a constant answer, on the server's core, under the same load.
async fn bare_http(plan: &Plan, report: &mut Report) -> Result<()> {
    let address = free_address()?;
    let own = std::env::current_exe()?;
    let mut child = pinned(&own).arg("bare-http").arg(address.to_string()).spawn()?;
    let process = child.id();
    let measured = async {
        crate::server::wait_until_ready(address).await?;
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", "x"),
            ("client_secret", "y"),
        ];
        let requests = Rc::new(vec![http::form(address, "/token", &fields)]);
        for connections in [1, 64] {
            let outcome = load::run(address, &requests, connections, plan.span(), process).await?;
            report.add_load("machine", "bare HTTP", &outcome);
        }
        anyhow::Ok(())
    }
    .await;
    child.kill()?;
    child.wait()?;
    measured
}

/// The other side of [`bare_http`], in a process of its own.
pub(crate) fn serve_bare_http() -> Result<()> {
    let address = std::env::args().nth(2).context("an address")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(&address).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let answer = service_fn(async |_request| {
                anyhow::Ok(hyper::Response::new(Full::new(Bytes::from_static(&[b'x'; 900]))))
            });
            let served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            tokio::spawn(async move {
                // A client that hangs up is how every connection ends.
                let _ = served.await;
            });
        }
    })
}

fn synchronous_writes(plan: &Plan, report: &mut Report) -> Result<()> {
    let path = plan.folder.join("data/synchronous");
    std::fs::create_dir_all(plan.folder.join("data"))?;
    let mut file = std::fs::File::create(&path)?;
    let (started, mut times) = (Instant::now(), Vec::new());
    while started.elapsed() < plan.span() / 2 {
        let before = Instant::now();
        file.write_all(&[0x61; 512])?;
        file.sync_data()?;
        times.push(before.elapsed());
    }
    std::fs::remove_file(path)?;
    times.sort_unstable();
    report.add(
        "machine",
        "fdatasync of 512 bytes: p50",
        load::milliseconds(&times, 50),
        "ms",
    );
    report.add(
        "machine",
        "fdatasync of 512 bytes: p99",
        load::milliseconds(&times, 99),
        "ms",
    );
    Ok(())
}

/// Commits of one row each through our engine layer, by so many callers at a time.
async fn commits(plan: &Plan, together: usize, report: &mut Report) -> Result<()> {
    let folder = plan.folder.join("data/commits");
    let db = open_empty(&folder.join("limit.db")).await?;
    let (times, is_over) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(false)));
    let tasks = tokio::task::LocalSet::new();
    for caller in 0..together {
        let (db, times, is_over) = (db.clone(), times.clone(), is_over.clone());
        tasks.spawn_local(async move {
            for number in 0_u64.. {
                let before = Instant::now();
                let committed = db.commit(one_row(caller, number)).await;
                if is_over.get() || committed.is_err() {
                    break;
                }
                times.borrow_mut().push(before.elapsed());
            }
        });
    }
    let started = Instant::now();
    let used = Usage::own()?;
    tasks.run_until(tokio::time::sleep(plan.span() / 2)).await;
    let (elapsed, busy) = (started.elapsed(), Usage::own()?.since(used));
    let mut times = times.take();
    is_over.set(true);
    tasks.await;
    db.close().await;
    std::fs::remove_dir_all(folder)?;

    times.sort_unstable();
    let name = format!("SQLite FULL, {together} callers");
    let count = u32::try_from(times.len()).unwrap_or(u32::MAX);
    let rate = f64::from(count) / elapsed.as_secs_f64();
    report.add(
        "machine",
        format!("SQLite FULL, one row each, {together} callers"),
        rate,
        "per s",
    );
    report.add(
        "machine",
        format!("{name}: p50"),
        load::milliseconds(&times, 50),
        "ms",
    );
    report.add(
        "machine",
        format!("{name}: CPU each"),
        cpu_each(busy, count),
        "us",
    );
    Ok(())
}

fn cpu_each(busy: Duration, count: u32) -> f64 {
    busy.as_secs_f64() * 1e6 / f64::from(count.max(1))
}

async fn open_empty(path: &Path) -> Result<Db> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let db = Db::open(&DatabaseUrl::sqlite(path), Options::default()).await?;
    db.migrate(MIGRATIONS).await?;
    Ok(db)
}

fn one_row(caller: usize, number: u64) -> Batch {
    let mut id = [0; 16];
    for (place, byte) in id.iter_mut().zip(
        (caller as u64)
            .to_be_bytes()
            .into_iter()
            .chain(number.to_be_bytes()),
    ) {
        *place = byte;
    }
    let event = EventRow {
        seq: 0,
        id: EventId::from_bytes(id),
        time: Timestamp::from_seconds(1_800_000_000),
        kind: "token.issued".to_owned(),
        outcome: "ok".to_owned(),
        log_generation: 1,
        position: None,
        leaf: "x".repeat(700),
        mac: vec![0; 32],
        parts: "y".repeat(1_500),
    };
    let batch = Batch::new(BatchId::from_bytes(id));
    batch.push(event::insert(TenantId::from_bytes([1; 16]), &event))
}
