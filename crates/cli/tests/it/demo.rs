//! `chancery demo`, the whole of it, as a newcomer starts it: on SQLite without any argument, and on PostgreSQL.
//!
//! The demo fails by itself if a step comes out otherwise; here is held that it is told, and that nothing it shows
//! after the opening holds the key.

use chancery_core::id::{BatchId, Id as _};
use chancery_core::time::Timestamp;
use chancery_server::store::db::Options;
use chancery_server::store::{Batch, Db, Expect, Sql, Statement};
use chancery_server::world::SystemRandom;
use std::process::{Command, Output};

#[test]
fn the_demo_comes_out_as_told_on_sqlite() {
    check(&play(&[]));
}

#[tokio::test]
async fn the_demo_comes_out_as_told_on_postgresql() {
    let Some(server) = server_url() else {
        return;
    };
    let schema = format!("demo_{}", std::process::id());
    administer(&server, format!("CREATE SCHEMA {schema}")).await;
    let mark = if server.contains('?') { '&' } else { '?' };
    let url = format!("{server}{mark}options=-csearch_path%3D{schema}");
    let ended = play(&["--database", &url]);
    administer(&server, format!("DROP SCHEMA {schema} CASCADE")).await;
    check(&ended);
}

#[test]
fn a_demo_that_cannot_have_its_database_fails() {
    let ended = play(&["--database", "postgres://nobody@127.0.0.1:1/nothing"]);
    assert!(!ended.status.success());
}

fn play(arguments: &[&str]) -> Output {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_chancery"));
    demo.arg("demo").args(arguments).output().unwrap()
}

fn check(ended: &Output) {
    let told = String::from_utf8(ended.stdout.clone()).unwrap();
    let complaint = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{told}\n{complaint}");
    for number in 1..=13 {
        assert!(
            told.contains(&format!("\n{number}. ")),
            "no step {number}: {told}"
        );
    }
    assert!(
        told.trim_end().ends_with("Every step came out as told."),
        "{told}"
    );

    // The key is stolen in the first step, and is nowhere after it.
    let (opening, rest) = told.split_once("\n2. ").unwrap();
    let key = opening
        .lines()
        .find_map(|line| line.trim().strip_prefix("DESK_KEY="))
        .unwrap();
    assert!(key.starts_with("sk-desk-"), "{key}");
    assert!(!rest.contains(key), "{rest}");
    // The one complaint is of the copy that the story tampers with.
    let is_of_the_copy = |line: &str| line.is_empty() || line.starts_with("FOUND: ");
    assert!(complaint.lines().all(is_of_the_copy), "{complaint}");

    let (_, last) = told.split_once("five sentences").unwrap();
    let sentences = last.lines().filter(|line| line.starts_with("   ")).count();
    assert_eq!(sentences, 5, "{last}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test is the edge that reads the environment"
)]
fn server_url() -> Option<String> {
    if let Ok(url) = std::env::var("TEST_POSTGRES_URL") {
        return Some(url);
    }
    assert_eq!(
        std::env::var("CHANCERY_TEST_ENGINES").as_deref(),
        Ok("sqlite"),
        "PostgreSQL is not there to be tested: run `cargo xtask test`, or set CHANCERY_TEST_ENGINES=sqlite to \
         leave it out on purpose"
    );
    None
}

async fn administer(server: &str, sql: String) {
    let db = Db::open(&server.parse().unwrap(), Options::default())
        .await
        .unwrap();
    db.migrate(&[]).await.unwrap();
    let sql = Sql::same(sql.leak());
    let batch = Batch::new(BatchId::generate(Timestamp::from_seconds(0), &SystemRandom));
    let statement = Statement::new(&sql, Vec::new(), Expect::Any, "schema");
    assert!(db.commit(batch.push(statement)).await.unwrap().is_committed());
    db.close().await;
}
