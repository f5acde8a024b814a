//! What only SQLite can do wrong: ownership of the file, group commit, a failing or full disk.

use crate::harness::*;
use chancery_store::db::{FaultAction, Options, Point};
use chancery_store::{Db, DbError, Expect, Outcome, Sql, Statement, Value};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_opener_is_refused() {
    let place = TestDb::sqlite();
    let db = place.open(Options::default()).await;
    let error = Db::open(&place.url, Options::default()).await.unwrap_err();
    assert!(matches!(error, DbError::Locked { .. }), "{error}");

    let link = place.folder().join("link.db");
    std::os::unix::fs::symlink(place.folder().join("test.db"), &link).unwrap();
    let linked = chancery_store::db::DatabaseUrl::sqlite(link);
    let error = Db::open(&linked, Options::default()).await.unwrap_err();
    assert!(matches!(error, DbError::Locked { .. }), "{error}");

    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "sqlite_engine::second_process",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env("SECOND_URL", &place.text)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && text.contains("refused: locked"),
        "{text}"
    );

    // The refused openers have not taken the first one's locks away.
    must(&db, batch().push(event("x"))).await;
    db.close().await;
    let again = Db::open(&place.url, Options::default()).await.unwrap();
    assert_eq!(events(&again).await, ["x"]);
}

/// Not a test of its own: the second process.
#[tokio::test]
#[ignore = "started by the test above"]
#[expect(
    clippy::disallowed_methods,
    reason = "the parent process says what to do by the environment"
)]
async fn second_process() {
    let url: chancery_store::db::DatabaseUrl = std::env::var("SECOND_URL").unwrap().parse().unwrap();
    let error = Db::open(&url, Options::default()).await.unwrap_err();
    assert!(matches!(error, DbError::Locked { .. }), "{error}");
    println!("\nrefused: locked");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_last_clone_frees_the_file() {
    let place = TestDb::sqlite();
    let db = place.open(Options::default()).await;
    must(&db, batch().push(event("x"))).await;
    drop(db);
    for _ in 0..500 {
        if let Ok(db) = Db::open(&place.url, Options::default()).await {
            assert_eq!(events(&db).await, ["x"]);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the file was never given up");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_readable_by_their_owner_only() {
    let place = TestDb::sqlite();
    let db = place.open(Options::default()).await;
    must(&db, batch().push(event("x"))).await;
    for name in ["test.db", "test.db-wal", "test.db-shm", "test.db.lock"] {
        let mode = std::fs::metadata(place.folder().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_batches_share_one_commit() {
    let gate = Gate::default();
    let commits = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&commits);
    let (db, _place) = gated(&gate, move |point| {
        if point == Point::AfterCommit {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        FaultAction::Continue
    })
    .await;
    let before = commits.load(Ordering::SeqCst);
    let results = gate
        .hold_while(&db, 100, |number| batch().push(event(&format!("{number}"))))
        .await;
    assert!(
        results
            .into_iter()
            .all(|result| result.unwrap() == Outcome::Committed)
    );
    // The first was taken alone, the others waited for it.
    assert_eq!(commits.load(Ordering::SeqCst) - before, 2);
    assert_eq!(events(&db).await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_do_not_wait_for_the_writer() {
    let gate = Gate::default();
    let (db, _place) = gated(&gate, |_| FaultAction::Continue).await;
    gate.close();
    let waiting = tokio::spawn({
        let db = db.clone();
        async move { db.commit(batch().push(event("late"))).await }
    });
    for _ in 0..20 {
        assert!(events(&db).await.is_empty());
    }
    gate.open();
    assert_eq!(waiting.await.unwrap().unwrap(), Outcome::Committed);
    assert_eq!(events(&db).await, ["late"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_at_once() {
    let gate = Gate::default();
    let place = TestDb::sqlite();
    let mut options = Options::default();
    options.write_queue = 4;
    options.fault = Some(gate.hook(|_| FaultAction::Continue));
    let db = place.open(options).await;
    let results = gate.hold_while(&db, 20, |_| batch().push(event("x"))).await;
    let (done, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert!(
        refused
            .iter()
            .all(|result| matches!(result, Err(DbError::Overloaded { .. })))
    );
    assert!((4..=6).contains(&done.len()), "{} were accepted", done.len());
    assert_eq!(events(&db).await.len(), done.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_vanishes_is_run_again_one_by_one() {
    let gate = Gate::default();
    let is_first = AtomicBool::new(true);
    let (db, _place) = gated(&gate, move |point| {
        if point == Point::Statement("poison") && is_first.swap(false, Ordering::SeqCst) {
            return FaultAction::Fail;
        }
        FaultAction::Continue
    })
    .await;
    let results = gate
        .hold_while(&db, 10, |number| {
            let mut statement = event(&format!("{number}"));
            statement.label = if number == 5 { "poison" } else { "event" };
            batch().push(statement)
        })
        .await;
    assert!(
        results
            .into_iter()
            .all(|result| result.unwrap() == Outcome::Committed)
    );
    assert_eq!(events(&db).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_rolls_the_transaction_back_harms_only_its_batch() {
    let rollback = Sql::pair("INSERT OR ROLLBACK INTO codes (id, consumed) VALUES (?1, 0)", "");
    let gate = Gate::default();
    let (db, _place) = gated(&gate, |_| FaultAction::Continue).await;
    must(&db, batch().push(insert_code("taken"))).await;
    let results = gate
        .hold_while(&db, 10, |number| {
            let member = batch().push(event(&format!("{number}")));
            if number == 5 {
                let params = vec!["taken".into()];
                return member.push(Statement::new(&rollback, params, Expect::Unique, "code"));
            }
            member
        })
        .await;
    for (number, result) in results.into_iter().enumerate() {
        match number {
            5 => assert!(matches!(result, Err(DbError::Constraint { .. }))),
            _ => assert_eq!(result.unwrap(), Outcome::Committed),
        }
    }
    assert_eq!(events(&db).await.len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_at_commit_takes_the_node_out_of_service() {
    for moment in [Point::BeforeCommit, Point::AfterCommit] {
        let gate = Gate::default();
        let is_broken = Arc::new(AtomicBool::new(false));
        let broken = Arc::clone(&is_broken);
        let (db, place) = gated(&gate, move |point| {
            if point == moment && broken.load(Ordering::SeqCst) {
                return FaultAction::Fail;
            }
            FaultAction::Continue
        })
        .await;
        must(&db, batch().push(event("before"))).await;
        is_broken.store(true, Ordering::SeqCst);
        let error = commit(&db, batch().push(event("doubtful"))).await.unwrap_err();
        assert!(matches!(error, DbError::UnknownOutcome { .. }), "{error}");
        assert!(!error.is_retryable());
        is_broken.store(false, Ordering::SeqCst);
        let error = commit(&db, batch().push(event("after"))).await.unwrap_err();
        assert!(matches!(error, DbError::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains("out of service"), "{error}");
        let error = db.query(&EVENTS, vec![]).await.unwrap_err();
        assert!(error.to_string().contains("out of service"), "{error}");
        db.close().await;

        let again = place.open(Options::default()).await;
        let expected: &[&str] = match moment {
            Point::AfterCommit => &["before", "doubtful"],
            Point::Group(_) | Point::Statement(_) | Point::BeforeCommit => &["before"],
        };
        assert_eq!(events(&again).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_clear_error_and_nothing_is_half_written() {
    let gate = Gate::default();
    let place = TestDb::sqlite();
    let mut options = Options::default();
    options.max_pages = Some(60);
    options.fault = Some(gate.hook(|_| FaultAction::Continue));
    let db = place.open(options).await;
    let huge = "x".repeat(300_000);
    let results = gate
        .hold_while(&db, 20, |number| {
            let name = format!("{number:02}");
            let member = batch().push(insert_code(&name)).push(event(&name));
            if number % 5 == 3 {
                member.push(event(&huge)).push(event(&name))
            } else {
                member
            }
        })
        .await;
    let mut expected = Vec::new();
    for (number, result) in results.into_iter().enumerate() {
        if number % 5 == 3 {
            let error = result.unwrap_err();
            assert!(matches!(error, DbError::Full { .. }), "{error}");
        } else {
            assert_eq!(result.unwrap(), Outcome::Committed);
            expected.push(format!("{number:02}"));
        }
    }
    assert_eq!(events(&db).await, expected);
    let codes = db.query(&CODES, vec![]).await.unwrap();
    assert_eq!(codes.len(), expected.len());
    must(&db, batch().push(event("small"))).await;
    let check = Sql::same("SELECT integrity_check FROM pragma_integrity_check");
    let row = db.query_one(&check, vec![]).await.unwrap();
    assert_eq!(row.text(0).unwrap(), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_moved_into_the_file_meanwhile() {
    let place = TestDb::sqlite();
    let mut options = Options::default();
    options.checkpoint_pages = 20;
    let db = place.open(options).await;
    let text = "x".repeat(20_000);
    for _ in 0..800 {
        must(&db, batch().push(event(&text))).await;
    }
    let size = |name: &str| std::fs::metadata(place.folder().join(name)).unwrap().len();
    assert!(
        size("test.db") > 1_000_000,
        "the file has {} bytes",
        size("test.db")
    );
    assert!(
        size("test.db-wal") < 16_000_000,
        "the log has {} bytes",
        size("test.db-wal")
    );
    db.close().await;
    assert!(size("test.db") > 16_000_000);
    let log = std::fs::metadata(place.folder().join("test.db-wal")).map_or(0, |log| log.len());
    assert_eq!(log, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_have_their_settings() {
    let place = TestDb::sqlite();
    let db = place.open(Options::default()).await;
    let settings = Sql::same(
        "SELECT (SELECT foreign_keys FROM pragma_foreign_keys), (SELECT trusted_schema FROM pragma_trusted_schema),
                (SELECT journal_mode FROM pragma_journal_mode)",
    );
    let row = db.query_one(&settings, vec![]).await.unwrap();
    assert!(row.boolean(0).unwrap() && !row.boolean(1).unwrap());
    assert_eq!(row.text(2).unwrap(), "wal");
}

/// Holds the writer before a group until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn close(&self) {
        *self.0.0.lock().unwrap() = true;
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = false;
        self.0.1.notify_all();
    }

    fn hook(
        &self,
        inner: impl Fn(Point) -> FaultAction + Send + Sync + 'static,
    ) -> chancery_store::db::Fault {
        let gate = self.clone();
        Arc::new(move |point| {
            if matches!(point, Point::Group(_)) {
                let closed = gate.0.0.lock().unwrap();
                drop(gate.0.1.wait_while(closed, |closed| *closed).unwrap());
            }
            inner(point)
        })
    }

    /// Lets one batch reach the writer, queues the others behind it, then lets all go.
    async fn hold_while(
        &self,
        db: &Db,
        count: usize,
        make: impl Fn(usize) -> chancery_store::Batch,
    ) -> Vec<Result<Outcome, DbError>> {
        self.close();
        let mut waiting = Vec::new();
        for number in 0..count {
            let (db, member) = (db.clone(), make(number));
            waiting.push(tokio::spawn(async move { db.commit(member).await }));
            if number == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        self.open();
        let mut results = Vec::new();
        for member in waiting {
            results.push(member.await.unwrap());
        }
        results
    }
}

async fn gated(gate: &Gate, inner: impl Fn(Point) -> FaultAction + Send + Sync + 'static) -> (Db, TestDb) {
    let place = TestDb::sqlite();
    let mut options = Options::default();
    options.fault = Some(gate.hook(inner));
    (place.open(options).await, place)
}

/// A list by parent once walked every name of the tenant: nothing at a thousand rows, a stalled node at a hundred
/// thousand.
#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_on_one_parent_is_found_by_an_index_that_begins_with_it() {
    let place = TestDb::sqlite();
    let db = Db::open(&place.url, Options::default()).await.unwrap();
    db.migrate(chancery_store::MIGRATIONS).await.unwrap();
    let by_parent = |query: &&&Sql| query.sqlite.contains("AND parent = ?2");
    let queries = chancery_store::queries();
    let queries: Vec<_> = queries.iter().filter(by_parent).collect();
    assert!(queries.len() >= 13, "{}", queries.len());
    for query in queries {
        let text: &'static str = format!("EXPLAIN QUERY PLAN {}", query.sqlite).leak();
        let explain = Sql::same(text);
        // A page of them begins after a name.
        let is_paged = query.sqlite.contains("name > ?3");
        let mut params = vec![Value::from("tenant"), Value::from("parent")];
        if is_paged {
            params.extend([Value::from("after"), Value::from(10_u32)]);
        }
        let plan = db.query(&explain, params).await.unwrap();
        let steps: Vec<String> = plan.iter().map(|row| row.text(3).unwrap()).collect();
        let step = steps.join("; ");
        let found_by = if is_paged {
            "_parent (tenant=? AND parent=? AND name>?)"
        } else {
            "_parent (tenant=? AND parent=?)"
        };
        assert!(step.contains(found_by), "{}: {step}", query.sqlite);
        assert!(!step.contains("TEMP B-TREE"), "{}: {step}", query.sqlite);
    }
}

/// The log holds everything; a page of calls must not walk it.
#[tokio::test(flavor = "multi_thread")]
async fn calls_and_their_ends_are_found_by_indexes_of_their_own() {
    let place = TestDb::sqlite();
    let db = Db::open(&place.url, Options::default()).await.unwrap();
    db.migrate(chancery_store::MIGRATIONS).await.unwrap();
    let of_calls = |query: &&&Sql| query.sqlite.contains("kind = 'call.");
    let queries = chancery_store::queries();
    let queries: Vec<_> = queries.iter().filter(of_calls).collect();
    assert_eq!(queries.len(), 3);
    for query in queries {
        let text: &'static str = format!("EXPLAIN QUERY PLAN {}", query.sqlite).leak();
        let explain = Sql::same(text);
        let count = (1..=20)
            .filter(|number| query.sqlite.contains(&format!("?{number}")))
            .count();
        let params = (0..count).map(|_| Value::from("1")).collect();
        let plan = db.query(&explain, params).await.unwrap();
        let steps: Vec<String> = plan.iter().map(|row| row.text(3).unwrap()).collect();
        let step = steps.join("; ");
        let index = if query.sqlite.contains("call.ended") {
            "INDEX events_call_ends (tenant=? AND <expr>=?)"
        } else {
            "INDEX events_calls (tenant=? AND"
        };
        assert!(step.contains(index), "{}: {step}", query.sqlite);
        assert!(!step.contains("TEMP B-TREE"), "{}: {step}", query.sqlite);
    }
}

/// Slow reads once held the revocation feed up, and with it the whole node.
#[tokio::test(flavor = "multi_thread")]
async fn slow_reads_do_not_hold_up_what_keeps_the_node_in_service() {
    let place = TestDb::sqlite();
    let mut options = Options::default();
    options.readers = 1;
    let db = place.open(options).await;
    let endless = Sql::same(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000000) SELECT MAX(i) FROM n",
    );
    let slow = db.clone();
    let slow = tokio::spawn(async move { slow.query(&endless, Vec::new()).await.map(drop) });
    db.now().await.unwrap();
    let one = db.query_ahead(&Sql::same("SELECT 1"), Vec::new()).await.unwrap();
    assert_eq!(one.len(), 1);
    assert!(
        !slow.is_finished(),
        "the slow read was not slow enough to prove anything"
    );
    slow.await.unwrap().unwrap();
}
