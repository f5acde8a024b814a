//! A fresh database for each test, on either engine, and the little schema that the tests share.

use chancery_core::id::{AgentId, BatchId, Id, TenantId};
use chancery_core::random::DangerSeededRandom;
use chancery_core::time::Timestamp;
use chancery_store::db::{DatabaseUrl, Migration, Options};
use chancery_store::{Batch, Db, DbError, Expect, Outcome, Sql, Statement, Value};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// Runs one scenario on each engine, as a test of its own.
macro_rules! conformance {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::harness::TestDb::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(place) = crate::harness::TestDb::postgres().await {
                    super::$name(place.clone()).await;
                    place.drop_database().await;
                }
            })*
        }
    };
}
pub(crate) use conformance;

/// Where one test keeps its database.
#[derive(Clone, Debug)]
pub(crate) struct TestDb {
    pub(crate) url: DatabaseUrl,
    /// The address as text, for a process of its own.
    pub(crate) text: String,
    folder: Option<Arc<tempfile::TempDir>>,
}

impl TestDb {
    /// A file in a folder of its own.
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        Self {
            text: format!("sqlite:{}", path.display()),
            url: DatabaseUrl::sqlite(path),
            folder: Some(Arc::new(folder)),
        }
    }

    /// A database of its own on the server that `TEST_POSTGRES_URL` names. Without it the test fails,
    /// unless `CHANCERY_TEST_ENGINES=sqlite` says that PostgreSQL is left out on purpose.
    pub(crate) async fn postgres() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let server = server_url()?;
        let name = format!(
            "t_{}_{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        administer(&server, &format!("CREATE DATABASE {name}")).await;
        let mut url = url::Url::parse(&server).unwrap();
        url.set_path(&name);
        let text = url.to_string().replacen("postgres:/t_", "postgres:///t_", 1);
        Some(Self {
            url: text.parse().unwrap(),
            text,
            folder: None,
        })
    }

    pub(crate) async fn drop_database(&self) {
        let name = self.url.to_string().rsplit('/').next().unwrap().to_owned();
        let server = server_url().unwrap();
        administer(&server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    }

    /// Opens it with the shared schema.
    pub(crate) async fn open(&self, options: Options) -> Db {
        let db = Db::open(&self.url, options).await.unwrap();
        db.migrate(SCHEMA).await.unwrap();
        db
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.as_ref().unwrap().path()
    }
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
    println!("NOT TESTED ON POSTGRESQL: CHANCERY_TEST_ENGINES=sqlite");
    None
}

/// Runs one statement on the server itself.
pub(crate) async fn administer(server: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(server, tokio_postgres::NoTls)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}

pub(crate) static SCHEMA: &[Migration] = &[Migration {
    number: 1,
    name: "the tests' tables",
    sql: Sql::same(
        "CREATE TABLE items (
           tenant BLOB NOT NULL,
           id BLOB NOT NULL,
           version INTEGER NOT NULL,
           state TEXT NOT NULL CHECK (state <> 'forbidden'),
           PRIMARY KEY (tenant, id)
         ) STRICT;
         CREATE TABLE codes (
           id TEXT PRIMARY KEY,
           consumed INTEGER NOT NULL
         ) STRICT;
         CREATE TABLE events (
           seq INTEGER PRIMARY KEY AUTOINCREMENT,
           kind TEXT NOT NULL
         ) STRICT;
         CREATE TABLE children (
           parent TEXT NOT NULL REFERENCES codes (id) DEFERRABLE INITIALLY DEFERRED
         ) STRICT;",
    ),
}];

pub(crate) const INSERT_ITEM: Sql =
    Sql::same("INSERT INTO items (tenant, id, version, state) VALUES (?1, ?2, ?3, ?4)");
pub(crate) const UPDATE_ITEM: Sql = Sql::same(
    "UPDATE items SET version = version + 1, state = ?4 WHERE tenant = ?1 AND id = ?2 AND version = ?3",
);
pub(crate) const GUARD_ITEM: Sql = Sql::pair(
    "SELECT 1 FROM items WHERE tenant = ?1 AND id = ?2 AND version = ?3",
    "SELECT 1 FROM items WHERE tenant = ?1 AND id = ?2 AND version = ?3 FOR SHARE",
);
pub(crate) const ITEMS: Sql = Sql::same("SELECT id, version, state FROM items WHERE tenant = ?1 ORDER BY id");
pub(crate) const INSERT_CODE: Sql = Sql::same("INSERT INTO codes (id, consumed) VALUES (?1, 0)");
pub(crate) const CONSUME_CODE: Sql =
    Sql::same("UPDATE codes SET consumed = 1 WHERE id = ?1 AND consumed = 0");
pub(crate) const CODES: Sql = Sql::same("SELECT id, consumed FROM codes ORDER BY id");
pub(crate) const INSERT_EVENT: Sql = Sql::same("INSERT INTO events (kind) VALUES (?1)");
pub(crate) const EVENTS: Sql = Sql::same("SELECT kind FROM events ORDER BY kind");
pub(crate) const COUNT_EVENTS: Sql = Sql::same("SELECT COUNT(*) FROM events WHERE kind = ?1");

/// An id that no other call returns.
pub(crate) fn batch_id() -> BatchId {
    static RANDOM: OnceLock<DangerSeededRandom> = OnceLock::new();
    let random = RANDOM.get_or_init(|| DangerSeededRandom::new(u64::from(std::process::id())));
    BatchId::generate(Timestamp::from_seconds(1_700_000_000), random)
}

pub(crate) fn batch() -> Batch {
    Batch::new(batch_id())
}

pub(crate) fn tenant(number: u8) -> TenantId {
    TenantId::from_bytes([number; 16])
}

pub(crate) fn agent(number: u8) -> AgentId {
    AgentId::from_bytes([number; 16])
}

pub(crate) fn insert_item(of: TenantId, id: AgentId, state: &str, expect: Expect) -> Statement {
    let params = vec![Value::id(of), Value::id(id), 0_i64.into(), state.into()];
    Statement::new(&INSERT_ITEM, params, expect, "insert item")
}

pub(crate) fn update_item(of: TenantId, id: AgentId, version: i64, state: &str) -> Statement {
    let params = vec![Value::id(of), Value::id(id), version.into(), state.into()];
    Statement::new(&UPDATE_ITEM, params, Expect::Rows(1), "update item")
}

pub(crate) fn guard_item(of: TenantId, id: AgentId, version: i64) -> Statement {
    let params = vec![Value::id(of), Value::id(id), version.into()];
    Statement::new(&GUARD_ITEM, params, Expect::Rows(1), "item is current")
}

pub(crate) fn insert_code(id: &str) -> Statement {
    Statement::new(&INSERT_CODE, vec![id.into()], Expect::Unique, "insert code")
}

pub(crate) fn consume_code(id: &str) -> Statement {
    Statement::new(&CONSUME_CODE, vec![id.into()], Expect::Rows(1), "consume code")
}

pub(crate) fn event(kind: &str) -> Statement {
    Statement::new(&INSERT_EVENT, vec![kind.into()], Expect::Rows(1), "event").append()
}

pub(crate) async fn commit(db: &Db, batch: Batch) -> Result<Outcome, DbError> {
    db.commit(batch).await
}

/// Commits what must succeed.
pub(crate) async fn must(db: &Db, batch: Batch) {
    assert_eq!(db.commit(batch).await.unwrap(), Outcome::Committed);
}

/// Refused by the first guard or the first statement.
pub(crate) fn refused(label: &'static str, guard: bool, recorded: bool) -> Outcome {
    refused_at(0, label, guard, recorded)
}

pub(crate) fn refused_at(position: usize, label: &'static str, guard: bool, recorded: bool) -> Outcome {
    Outcome::Refused {
        label,
        guard,
        position,
        recorded,
    }
}

/// The kinds of all events, sorted.
pub(crate) async fn events(db: &Db) -> Vec<String> {
    let rows = db.query(&EVENTS, vec![]).await.unwrap();
    rows.iter().map(|row| row.text(0).unwrap()).collect()
}

/// All items of a tenant: id, version, state.
pub(crate) async fn items(db: &Db, of: TenantId) -> Vec<(AgentId, i64, String)> {
    let rows = db.query(&ITEMS, vec![Value::id(of)]).await.unwrap();
    rows.iter()
        .map(|row| (row.id(0).unwrap(), row.integer(1).unwrap(), row.text(2).unwrap()))
        .collect()
}
