//! Migrations: in order, once, all or nothing, never edited, never from the future.

use crate::harness::*;
use chancery_store::db::{Migration, MigrationError, Options};
use chancery_store::{Db, DbError, Sql};

conformance!(
    migrations_apply_in_order_and_once,
    an_edited_migration_is_refused,
    a_newer_database_is_refused,
    a_failing_migration_leaves_nothing,
    two_nodes_migrate_at_once,
);

const FIRST: Migration = Migration {
    number: 1,
    name: "first",
    sql: Sql::same("CREATE TABLE a (id BLOB, n INTEGER PRIMARY KEY) STRICT; CREATE INDEX a_n ON a (n);"),
};
const SECOND: Migration = Migration {
    number: 2,
    name: "second",
    sql: Sql::same("ALTER TABLE a ADD COLUMN label TEXT; INSERT INTO a (n, label) VALUES (1, 'BLOB')"),
};
static ONE: &[Migration] = &[FIRST];
static TWO: &[Migration] = &[FIRST, SECOND];
static EDITED: &[Migration] = &[Migration {
    sql: Sql::same("CREATE TABLE a (id BLOB)"),
    ..FIRST
}];
static BROKEN: &[Migration] = &[
    FIRST,
    Migration {
        number: 2,
        name: "broken",
        sql: Sql::same("CREATE TABLE half (id BLOB); INSERT INTO nowhere VALUES (1)"),
    },
];

async fn migrations_apply_in_order_and_once(place: TestDb) {
    let db = Db::open(&place.url, Options::default()).await.unwrap();
    assert_eq!(numbers(&db, TWO).await, [1, 2]);
    db.migrate(ONE).await.unwrap();
    assert_eq!(numbers(&db, TWO).await, [2]);
    db.migrate(TWO).await.unwrap();
    db.migrate(TWO).await.unwrap();
    assert!(numbers(&db, TWO).await.is_empty());
    let labels = Sql::same("SELECT label FROM a");
    let row = db.query_one(&labels, vec![]).await.unwrap();
    assert_eq!(row.text(0).unwrap(), "BLOB");
}

async fn an_edited_migration_is_refused(place: TestDb) {
    let db = Db::open(&place.url, Options::default()).await.unwrap();
    db.migrate(ONE).await.unwrap();
    for result in [db.migrate(EDITED).await, db.pending(EDITED).await.map(drop)] {
        let Err(DbError::Migration(error)) = result else {
            panic!("not refused");
        };
        assert_eq!(error, MigrationError::Changed { number: 1 });
    }
}

async fn a_newer_database_is_refused(place: TestDb) {
    let db = Db::open(&place.url, Options::default()).await.unwrap();
    db.migrate(TWO).await.unwrap();
    let error = db.migrate(ONE).await.unwrap_err();
    assert!(
        matches!(error, DbError::Migration(MigrationError::Newer { number: 2, .. })),
        "{error}"
    );
}

async fn a_failing_migration_leaves_nothing(place: TestDb) {
    let db = Db::open(&place.url, Options::default()).await.unwrap();
    let error = db.migrate(BROKEN).await.unwrap_err();
    assert!(
        matches!(
            error,
            DbError::Migration(MigrationError::Failed { number: 2, .. })
        ),
        "{error}"
    );
    assert_eq!(numbers(&db, TWO).await, [2]);
    let half = Sql::same("SELECT id FROM half");
    assert!(db.query(&half, vec![]).await.is_err());
    db.migrate(TWO).await.unwrap();
}

async fn two_nodes_migrate_at_once(place: TestDb) {
    let one = Db::open(&place.url, Options::default()).await.unwrap();
    // On SQLite a second opener is refused, so two callers share one.
    let two = Db::open(&place.url, Options::default())
        .await
        .unwrap_or(one.clone());
    let (first, second) = tokio::join!(one.migrate(TWO), two.migrate(TWO));
    first.unwrap();
    second.unwrap();
    assert!(numbers(&one, TWO).await.is_empty());
}

async fn numbers(db: &Db, migrations: &'static [Migration]) -> Vec<i64> {
    let pending = db.pending(migrations).await.unwrap();
    pending.iter().map(|migration| migration.number).collect()
}
