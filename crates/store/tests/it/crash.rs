//! A process that is killed at any boundary of a commit leaves every batch whole or not there at all, and
//! everything it was told is committed.
//!
//! The victim is this very test program, started again; it aborts at the n-th boundary.

use crate::harness::*;
use chancery_store::db::{DatabaseUrl, FaultAction, Options, Point};
use chancery_store::{Db, Outcome, Value};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

conformance!(a_kill_at_any_boundary_leaves_whole_batches);

async fn a_kill_at_any_boundary_leaves_whole_batches(place: TestDb) {
    let db = place.open(Options::default()).await;
    db.close().await;
    drop(db);
    for boundary in 0.. {
        let (status, acknowledged) = start_victim(&place, boundary);
        let db = Db::open(&place.url, Options::default()).await.unwrap();
        let mut whole = 0;
        for member in 0..MEMBERS {
            let name = member_name(boundary, member);
            let mut found = parts_of(&db, &name).await;
            if found != 0 && found != PARTS {
                // A server that had everything when its client was killed may commit between two reads. What is
                // half stays half.
                found = parts_of(&db, &name).await;
            }
            assert!(
                found == 0 || found == PARTS,
                "boundary {boundary}: {found} parts of {name}"
            );
            let is_acknowledged = acknowledged.contains(&name);
            assert!(
                !is_acknowledged || found == PARTS,
                "boundary {boundary}: {name} was lost"
            );
            whole += usize::from(found == PARTS);
        }
        db.close().await;
        if status.success() {
            assert_eq!((whole, acknowledged.len()), (MEMBERS, MEMBERS));
            assert!(boundary > PARTS, "only {boundary} boundaries were tried");
            return;
        }
    }
}

/// Runs the victim; returns how it ended and what it was told is committed.
fn start_victim(place: &TestDb, boundary: usize) -> (ExitStatus, Vec<String>) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["crash::victim", "--exact", "--ignored", "--nocapture"])
        .env("CRASH_URL", &place.text)
        .env("CRASH_BOUNDARY", boundary.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("victim runs"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let acknowledged = text
        .lines()
        .filter_map(|line| line.strip_prefix("committed "))
        .map(str::to_owned)
        .collect();
    (output.status, acknowledged)
}

/// Not a test of its own: the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the victim of the test above"]
#[expect(
    clippy::disallowed_methods,
    reason = "the parent process says what to do by the environment"
)]
async fn victim() {
    let url: DatabaseUrl = std::env::var("CRASH_URL").unwrap().parse().unwrap();
    let boundary: usize = std::env::var("CRASH_BOUNDARY").unwrap().parse().unwrap();
    let is_armed = Arc::new(AtomicBool::new(false));
    let passed = AtomicUsize::new(0);
    let mut options = Options::default();
    let armed = Arc::clone(&is_armed);
    options.fault = Some(Arc::new(move |point: Point| {
        let counts = armed.load(Ordering::SeqCst) && !matches!(point, Point::Group(_));
        if counts && passed.fetch_add(1, Ordering::SeqCst) == boundary {
            std::process::abort();
        }
        FaultAction::Continue
    }));
    let db = Db::open(&url, options).await.unwrap();
    println!("\nvictim runs");
    is_armed.store(true, Ordering::SeqCst);
    let members = (0..MEMBERS).map(|member| {
        let db = db.clone();
        tokio::spawn(async move {
            let name = member_name(boundary, member);
            let whole = batch()
                .push(insert_code(&name))
                .push(event(&name))
                .push(consume_code(&name))
                .push(event(&name));
            assert_eq!(db.commit(whole).await.unwrap(), Outcome::Committed);
            println!("committed {name}");
        })
    });
    for member in members.collect::<Vec<_>>() {
        member.await.unwrap();
    }
}

/// How many of a batch's effects are in the database.
async fn parts_of(db: &Db, name: &str) -> usize {
    let rows = db.query(&CODES, vec![]).await.unwrap();
    let code = rows.iter().find(|row| row.text(0).unwrap() == name);
    let code_parts = code.map_or(0, |row| if row.boolean(1).unwrap() { 2 } else { 1 });
    let row = db
        .query_one(&COUNT_EVENTS, vec![Value::from(name)])
        .await
        .unwrap();
    code_parts + usize::try_from(row.integer(0).unwrap()).unwrap()
}

fn member_name(boundary: usize, member: usize) -> String {
    format!("b{boundary}m{member}")
}

/// How many batches the victim commits at once.
const MEMBERS: usize = 3;

/// How many effects each has.
const PARTS: usize = 4;
