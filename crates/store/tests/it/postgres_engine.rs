//! What only PostgreSQL can do wrong: lost connections, unknown outcomes, locks, full pools.

use crate::harness::*;
use chancery_core::id::{BatchId, Id};
use chancery_core::time::{Timestamp, Ttl};
use chancery_store::db::{FaultAction, Options, Point};
use chancery_store::{Batch, Db, DbError, Expect, Outcome, Sql, Statement};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Runs on a database of its own, if there is a server.
macro_rules! on_postgres {
    ($($name:ident),* $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
            async fn $name() {
                if let Some(place) = crate::harness::TestDb::postgres().await {
                    super::$name(place.clone()).await;
                    place.drop_database().await;
                }
            })*
        }
    };
}

on_postgres!(
    a_lost_answer_to_a_commit_is_looked_up,
    a_connection_lost_before_the_commit_runs_the_batch_again,
    a_connection_lost_at_a_statement_runs_the_batch_again,
    a_lost_failure_branch_is_looked_up,
    a_backend_killed_before_its_commit_commits_once,
    backends_killed_at_random_lose_and_double_nothing,
    an_outcome_that_cannot_be_looked_up_is_unknown,
    an_id_in_doubt_is_waited_for,
    a_batch_id_is_used_once,
    old_batch_ids_are_pruned,
    a_lock_held_too_long_is_contention,
    a_statement_that_runs_too_long_is_stopped,
    a_full_pool_is_overload,
    a_changed_table_does_not_break_prepared_statements,
    queries_survive_dead_connections,
);

async fn a_lost_answer_to_a_commit_is_looked_up(place: TestDb) {
    let db = place.open(failing_once(Point::AfterCommit)).await;
    must(&db, batch().push(insert_code("c")).push(event("x"))).await;
    assert_eq!(events(&db).await, ["x"]);
}

async fn a_connection_lost_before_the_commit_runs_the_batch_again(place: TestDb) {
    let db = place.open(failing_once(Point::BeforeCommit)).await;
    must(&db, batch().push(insert_code("c")).push(event("x"))).await;
    assert_eq!(events(&db).await, ["x"]);
}

async fn a_connection_lost_at_a_statement_runs_the_batch_again(place: TestDb) {
    let db = place.open(failing_once(Point::Statement("event"))).await;
    must(&db, batch().push(insert_code("c")).push(event("x"))).await;
    assert_eq!(events(&db).await, ["x"]);
}

async fn a_lost_failure_branch_is_looked_up(place: TestDb) {
    for moment in [Point::BeforeCommit, Point::AfterCommit] {
        let db = place.open(failing_once(moment)).await;
        let doomed = batch()
            .push(consume_code("missing"))
            .or_else("consume code", vec![event("reuse")]);
        assert_eq!(
            commit(&db, doomed).await.unwrap(),
            refused("consume code", false, true)
        );
        db.close().await;
    }
    let db = place.open(Options::default()).await;
    assert_eq!(events(&db).await, ["reuse", "reuse"]);
}

async fn a_backend_killed_before_its_commit_commits_once(place: TestDb) {
    let is_first = AtomicBool::new(true);
    let text = place.text.clone();
    let mut options = Options::default();
    options.fault = Some(Arc::new(move |point| {
        if point == Point::BeforeCommit && is_first.swap(false, Ordering::SeqCst) {
            administer_blocking(&text, KILL_IN_TRANSACTION);
        }
        FaultAction::Continue
    }));
    let db = place.open(options).await;
    must(&db, batch().push(insert_code("c")).push(event("x"))).await;
    assert_eq!(events(&db).await, ["x"]);
}

async fn backends_killed_at_random_lose_and_double_nothing(place: TestDb) {
    let db = place.open(Options::default()).await;
    let is_done = Arc::new(AtomicBool::new(false));
    let killer = tokio::spawn({
        let (text, is_done) = (place.text.clone(), Arc::clone(&is_done));
        async move {
            while !is_done.load(Ordering::SeqCst) {
                administer(&text, KILL_ONE).await;
                tokio::time::sleep(std::time::Duration::from_millis(15)).await;
            }
        }
    });
    let unknown = Arc::new(AtomicUsize::new(0));
    let workers = (0..6).map(|worker| {
        let (db, unknown) = (db.clone(), Arc::clone(&unknown));
        async move {
            let mut committed = Vec::new();
            for number in 0..60 {
                let name = format!("{worker}-{number:02}");
                match db
                    .commit(batch().push(insert_code(&name)).push(event(&name)))
                    .await
                {
                    Ok(Outcome::Committed) => committed.push(name),
                    // It would be refused only if it had been committed before.
                    Ok(Outcome::Refused { .. }) => panic!("{name} was committed twice"),
                    Err(DbError::UnknownOutcome { .. }) => {
                        unknown.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(DbError::Unavailable { .. } | DbError::Contended { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            committed
        }
    });
    let results = futures_util::future::join_all(workers.map(tokio::spawn)).await;
    is_done.store(true, Ordering::SeqCst);
    killer.await.unwrap();
    let mut committed: Vec<String> = results.into_iter().flat_map(Result::unwrap).collect();
    committed.sort();
    let found = events(&db).await;
    assert_eq!(unknown.load(Ordering::SeqCst), 0);
    assert_eq!(found, committed);
    assert!(found.len() > 100, "only {} were committed", found.len());
}

async fn an_outcome_that_cannot_be_looked_up_is_unknown(place: TestDb) {
    let name = place.url.to_string().rsplit('/').next().unwrap().to_owned();
    let server = place.text.replace(&name, "postgres");
    let (gone, back) = (
        format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"),
        format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"),
    );
    let mut options = Options::default();
    let admin = server.clone();
    options.fault = Some(Arc::new(move |point| {
        if point == Point::AfterCommit {
            administer_blocking(&admin, &gone);
            administer_blocking(
                &admin,
                &KILL_OTHERS.replace("current_database()", &format!("'{name}'")),
            );
            return FaultAction::Fail;
        }
        FaultAction::Continue
    }));
    let db = place.open(options).await;
    let error = commit(&db, Batch::new(BatchId::from_bytes([0; 16])).push(event("x")))
        .await
        .unwrap_err();
    assert!(matches!(error, DbError::UnknownOutcome { .. }), "{error}");
    administer(&server, &back).await;
    assert_eq!(events(&db).await, ["x"]);
}

/// An id that another transaction holds, and may yet commit, is waited for: never are both committed.
async fn an_id_in_doubt_is_waited_for(place: TestDb) {
    let db = place.open(Options::default()).await;
    let id = batch_id();
    let text = place.text.clone();
    let hex = format!("{:032x}", u128::from_be_bytes(*id.as_bytes()));
    let other = tokio::spawn(async move {
        let slow = format!(
            "BEGIN; INSERT INTO batches VALUES ('\\x{hex}', 0); INSERT INTO events (kind) VALUES ('x'); \
             SELECT pg_sleep(1); COMMIT"
        );
        administer(&text, &slow).await;
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let error = commit(&db, Batch::new(id).push(event("x"))).await.unwrap_err();
    assert!(matches!(error, DbError::DuplicateBatch), "{error}");
    other.await.unwrap();
    assert_eq!(events(&db).await, ["x"]);
}

async fn a_batch_id_is_used_once(place: TestDb) {
    let db = place.open(Options::default()).await;
    let id = batch_id();
    must(&db, Batch::new(id).push(event("x"))).await;
    let error = commit(&db, Batch::new(id).push(event("y"))).await.unwrap_err();
    assert!(matches!(error, DbError::DuplicateBatch), "{error}");
    assert_eq!(events(&db).await, ["x"]);
}

async fn old_batch_ids_are_pruned(place: TestDb) {
    let db = place.open(Options::default()).await;
    let random = chancery_core::random::DangerSeededRandom::new(1);
    let at = |seconds| BatchId::generate(Timestamp::from_seconds(seconds), &random);
    let old = at(1_000);
    must(&db, Batch::new(old)).await;
    must(&db, Batch::new(at(2_000))).await;
    assert_eq!(db.prune_batches(Timestamp::from_seconds(2_000)).await.unwrap(), 1);
    assert_eq!(db.prune_batches(Timestamp::from_seconds(2_000)).await.unwrap(), 0);
    must(&db, Batch::new(old)).await;
}

async fn a_lock_held_too_long_is_contention(place: TestDb) {
    let mut options = Options::default();
    options.lock_timeout = Ttl::from_millis(50);
    options.retries = 1;
    let db = place.open(options).await;
    must(&db, batch().push(insert_code("c"))).await;
    let holder = hold_lock(&place).await;
    let error = commit(&db, batch().push(event("x")).push(consume_code("c")))
        .await
        .unwrap_err();
    assert!(
        matches!(error, DbError::Contended { .. }) && error.is_retryable(),
        "{error}"
    );
    holder.batch_execute("ROLLBACK").await.unwrap();
    must(&db, batch().push(consume_code("c"))).await;
    assert!(events(&db).await.is_empty());
}

async fn a_statement_that_runs_too_long_is_stopped(place: TestDb) {
    let sleep = Sql::same("SELECT 1 FROM pg_sleep(5)");
    let mut options = Options::default();
    options.statement_timeout = Ttl::from_millis(100);
    let db = place.open(options).await;
    let error = db.query(&sleep, vec![]).await.unwrap_err();
    assert!(matches!(error, DbError::TimedOut { .. }), "{error}");
    let slow = Statement::new(&sleep, vec![], Expect::Any, "sleep");
    let error = commit(&db, batch().push(event("x")).push(slow))
        .await
        .unwrap_err();
    assert!(matches!(error, DbError::TimedOut { .. }), "{error}");
    assert!(events(&db).await.is_empty());
}

async fn a_full_pool_is_overload(place: TestDb) {
    let mut options = Options::default();
    options.pool = 2;
    options.pool_wait = Ttl::from_millis(100);
    let db = place.open(options).await;
    must(&db, batch().push(insert_code("c"))).await;
    let holder = hold_lock(&place).await;
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { commit(&db, batch().push(consume_code("c"))).await.unwrap() })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let error = db.query(&EVENTS, vec![]).await.unwrap_err();
    assert!(matches!(error, DbError::Overloaded { .. }), "{error}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    let mut winners = 0;
    for waiter in waiting {
        winners += usize::from(waiter.await.unwrap().is_committed());
    }
    assert_eq!(winners, 1);
}

async fn a_changed_table_does_not_break_prepared_statements(place: TestDb) {
    let kinds = Sql::same("SELECT kind FROM events WHERE kind = ?1");
    let db = place.open(Options::default()).await;
    must(&db, batch().push(event("x"))).await;
    let guard = || Statement::new(&kinds, vec!["x".into()], Expect::Rows(1), "kinds");
    must(&db, batch().guard(guard())).await;
    assert_eq!(db.query(&kinds, vec!["x".into()]).await.unwrap().len(), 1);
    administer(
        &place.text,
        "ALTER TABLE events ALTER COLUMN kind TYPE VARCHAR(100)",
    )
    .await;
    assert_eq!(db.query(&kinds, vec!["x".into()]).await.unwrap().len(), 1);
    must(&db, batch().guard(guard())).await;
}

async fn queries_survive_dead_connections(place: TestDb) {
    let db = place.open(Options::default()).await;
    must(&db, batch().push(event("x"))).await;
    administer(&place.text, KILL_OTHERS).await;
    assert_eq!(events(&db).await, ["x"]);
    administer(&place.text, KILL_OTHERS).await;
    must(&db, batch().push(event("y"))).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let url: chancery_store::db::DatabaseUrl = "postgres:///x?host=/nonexistent&user=u".parse().unwrap();
    let error = Db::open(&url, Options::default()).await.unwrap_err();
    assert!(matches!(error, DbError::Unavailable { .. }), "{error}");
}

/// A session of its own that holds the row of the code `c`.
async fn hold_lock(place: &TestDb) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&place.text, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
        .batch_execute("BEGIN; SELECT 1 FROM codes WHERE id = 'c' FOR UPDATE")
        .await
        .unwrap();
    client
}

fn failing_once(moment: Point) -> Options {
    let is_first = AtomicBool::new(true);
    let mut options = Options::default();
    options.fault = Some(Arc::new(move |point| {
        if point == moment && is_first.swap(false, Ordering::SeqCst) {
            return FaultAction::Fail;
        }
        FaultAction::Continue
    }));
    options
}

/// Runs a statement on the server from a hook, which cannot wait.
fn administer_blocking(text: &str, sql: &str) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(administer(text, sql));
        });
    });
}

const KILL_IN_TRANSACTION: &str = "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity \
     WHERE datname = current_database() AND state = 'idle in transaction'";
const KILL_OTHERS: &str = "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity \
     WHERE datname = current_database() AND pid <> pg_backend_pid()";
const KILL_ONE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'chancery' \
     ORDER BY random() LIMIT 1";
