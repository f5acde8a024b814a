//! Migrations: in order, once, all or nothing, never edited, never from the future.

use crate::harness::*;
use chancery_core::id::{EventId, Id as _, TenantId};
use chancery_store::db::{Engine, Migration, MigrationError, Options};
use chancery_store::log::{self, Head};
use chancery_store::{Db, DbError, Expect, MIGRATIONS, Sql, Statement, Value, event};

conformance!(
    migrations_apply_in_order_and_once,
    an_edited_migration_is_refused,
    a_newer_database_is_refused,
    a_failing_migration_leaves_nothing,
    two_nodes_migrate_at_once,
    events_that_waited_before_the_upgrade_keep_their_order,
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

async fn events_that_waited_before_the_upgrade_keep_their_order(place: TestDb) {
    let db = Db::open(&place.url, Options::default()).await.unwrap();
    let before = MIGRATIONS
        .iter()
        .position(|migration| migration.name == "positions");
    db.migrate(&MIGRATIONS[..before.unwrap()]).await.unwrap();
    let tenants = [1, 2].map(|number| TenantId::from_bytes([number; 16]));
    let head = Head {
        log_generation: 1,
        size: 1,
        root: [0; 32],
        signed_size: 1,
    };
    for tenant in tenants {
        must(&db, batch().push(log::insert_head(tenant, &head))).await;
        for number in 0..3_u8 {
            let position = (number == 0).then_some(0_i64);
            let params = vec![
                Value::id(tenant),
                Value::from(&[number; 16]),
                Value::from(position),
            ];
            must(
                &db,
                batch().push(Statement::new(&OLD_EVENT, params, Expect::Rows(1), "event")),
            )
            .await;
        }
    }

    db.migrate(MIGRATIONS).await.unwrap();

    for tenant in tenants {
        let pending = event::pending(&db, tenant, 10).await.unwrap();
        let ids: Vec<EventId> = pending.iter().map(|row| row.id).collect();
        assert_eq!(ids, [1, 2].map(|number| EventId::from_bytes([number; 16])));
        let given = [Some(1), Some(2)].map(|index| index.filter(|_| db.engine() == Engine::Sqlite));
        assert_eq!(pending.iter().map(|row| row.position).collect::<Vec<_>>(), given);
    }
}

const OLD_EVENT: Sql = Sql::same(
    "INSERT INTO events (tenant, id, time, kind, outcome, log_generation, leaf, mac, parts, position)
     VALUES (?1, ?2, 0, 'token.issued', 'ok', 1, '{}', ?2, '[]', ?3)",
);

async fn numbers(db: &Db, migrations: &'static [Migration]) -> Vec<i64> {
    let pending = db.pending(migrations).await.unwrap();
    pending.iter().map(|migration| migration.number).collect()
}
