//! What a batch promises: all or nothing, guards first, the first failure is the result, branches.

use crate::harness::*;
use chancery_core::id::{Id, TenantId};
use chancery_store::db::Options;
use chancery_store::{DbError, Expect, Sql, Statement, Value};

conformance!(
    a_batch_commits_all_its_statements,
    a_failed_expectation_takes_the_whole_batch_back,
    the_first_failed_statement_is_the_result,
    expectations_count_rows,
    a_failed_guard_is_the_result_and_named_as_such,
    a_guard_that_held_is_asserted_again_after_a_change,
    guards_come_before_statements,
    a_failure_branch_is_committed_instead,
    a_failure_branch_that_fails_leaves_nothing,
    a_branch_belongs_to_its_label,
    uniqueness_is_an_expectation_or_an_error,
    other_constraints_are_errors,
    tenants_do_not_see_each_other,
    queries_cannot_write,
    wrong_parameters_are_errors,
    every_kind_of_value_round_trips,
    text_with_a_zero_byte_is_refused,
    placeholders_bind_by_number,
    sums_and_booleans_are_integers,
    the_clock_of_the_database_is_near,
    a_closed_database_says_so,
    an_empty_batch_commits,
    a_large_batch_runs_in_order,
);

async fn a_batch_commits_all_its_statements(place: TestDb) {
    let db = place.open(Options::default()).await;
    let item = insert_item(tenant(1), agent(1), "new", Expect::Rows(1));
    must(&db, batch().push(item).push(event("made"))).await;
    assert_eq!(items(&db, tenant(1)).await, [(agent(1), 0, "new".to_owned())]);
    assert_eq!(events(&db).await, ["made"]);
}

async fn a_failed_expectation_takes_the_whole_batch_back(place: TestDb) {
    let db = place.open(Options::default()).await;
    let update = update_item(tenant(1), agent(1), 0, "never there");
    let outcome = commit(
        &db,
        batch().push(event("before")).push(update).push(event("after")),
    )
    .await;
    assert_eq!(outcome.unwrap(), refused_at(1, "update item", false, false));
    assert!(events(&db).await.is_empty());
}

async fn the_first_failed_statement_is_the_result(place: TestDb) {
    let db = place.open(Options::default()).await;
    must(&db, batch().push(insert_code("taken"))).await;
    let doomed = batch()
        .push(event("x"))
        .push(consume_code("missing"))
        .push(insert_code("taken"))
        .push(update_item(tenant(1), agent(1), 0, "x"));
    let outcome = commit(&db, doomed).await.unwrap();
    assert_eq!(outcome, refused_at(1, "consume code", false, false));
}

async fn expectations_count_rows(place: TestDb) {
    let db = place.open(Options::default()).await;
    must(&db, batch().push(event("a")).push(event("a")).push(event("b"))).await;
    let read = Sql::same("SELECT seq FROM events WHERE kind = ?1");
    let write = Sql::same("UPDATE events SET kind = kind WHERE kind = ?1");
    let returning = Sql::same("UPDATE events SET kind = kind WHERE kind = ?1 RETURNING seq");
    for sql in [read, write, returning] {
        for (expect, is_met) in [
            (Expect::Rows(2), true),
            (Expect::Rows(1), false),
            (Expect::AtMost(2), true),
            (Expect::AtMost(1), false),
            (Expect::AtLeast(2), true),
            (Expect::AtLeast(3), false),
            (Expect::Any, true),
            (Expect::Unique, true),
        ] {
            let statement = Statement::new(&sql, vec!["a".into()], expect, "count");
            let outcome = commit(&db, batch().push(statement)).await.unwrap();
            assert_eq!(outcome.is_committed(), is_met, "{sql:?} {expect:?}");
        }
    }
}

async fn a_failed_guard_is_the_result_and_named_as_such(place: TestDb) {
    let db = place.open(Options::default()).await;
    let item = insert_item(tenant(1), agent(1), "new", Expect::Rows(1));
    must(&db, batch().push(item)).await;
    let guarded = |version| {
        batch()
            .guard(guard_item(tenant(1), agent(1), version))
            .push(event("guarded"))
    };
    let outcome = commit(&db, guarded(1)).await.unwrap();
    assert_eq!(outcome, refused("item is current", true, false));
    must(&db, guarded(0)).await;
    assert_eq!(events(&db).await, ["guarded"]);
}

async fn a_guard_that_held_is_asserted_again_after_a_change(place: TestDb) {
    let db = place.open(Options::default()).await;
    let item = insert_item(tenant(1), agent(1), "new", Expect::Rows(1));
    must(&db, batch().push(item)).await;
    let holds = async |version| {
        let guarded = batch()
            .guard(guard_item(tenant(1), agent(1), version))
            .push(event("guarded"));
        commit(&db, guarded).await.unwrap().is_committed()
    };
    assert!(holds(0).await && holds(0).await && !holds(1).await);

    let update = || batch().push(update_item(tenant(1), agent(1), 0, "raised"));
    let undone = commit(&db, update().push(consume_code("missing"))).await.unwrap();
    assert!(!undone.is_committed());
    assert!(holds(0).await && !holds(1).await, "the change was taken back");

    must(&db, update()).await;
    assert!(!holds(0).await && holds(1).await);
}

async fn guards_come_before_statements(place: TestDb) {
    let db = place.open(Options::default()).await;
    let item = insert_item(tenant(1), agent(1), "new", Expect::Rows(1));
    // The guard was added last, and still does not see the item that the batch itself makes.
    let outcome = commit(&db, batch().push(item).guard(guard_item(tenant(1), agent(1), 0))).await;
    assert_eq!(outcome.unwrap(), refused("item is current", true, false));
}

async fn a_failure_branch_is_committed_instead(place: TestDb) {
    let db = place.open(Options::default()).await;
    must(&db, batch().push(insert_code("c"))).await;
    let redeem = || {
        batch()
            .push(event("redeemed"))
            .push(consume_code("c"))
            .or_else("consume code", vec![event("reuse")])
    };
    must(&db, redeem()).await;
    let outcome = commit(&db, redeem()).await.unwrap();
    assert_eq!(outcome, refused_at(1, "consume code", false, true));
    assert_eq!(events(&db).await, ["redeemed", "reuse"]);
}

async fn a_failure_branch_that_fails_leaves_nothing(place: TestDb) {
    let db = place.open(Options::default()).await;
    let doomed = batch()
        .push(event("x"))
        .push(consume_code("missing"))
        .or_else("consume code", vec![event("branch"), consume_code("missing too")]);
    let outcome = commit(&db, doomed).await.unwrap();
    assert_eq!(outcome, refused_at(1, "consume code", false, false));
    assert!(events(&db).await.is_empty());
    must(&db, batch().push(event("alive"))).await;
}

async fn a_branch_belongs_to_its_label(place: TestDb) {
    let db = place.open(Options::default()).await;
    let doomed = || {
        batch()
            .guard(guard_item(tenant(1), agent(1), 0))
            .push(consume_code("missing"))
            .or_else("consume code", vec![event("wrong")])
    };
    let outcome = commit(&db, doomed()).await.unwrap();
    assert_eq!(outcome, refused("item is current", true, false));
    let outcome = commit(&db, doomed().or_else("item is current", vec![event("right")])).await;
    assert_eq!(outcome.unwrap(), refused("item is current", true, true));
    assert_eq!(events(&db).await, ["right"]);
}

async fn uniqueness_is_an_expectation_or_an_error(place: TestDb) {
    let db = place.open(Options::default()).await;
    must(&db, batch().push(insert_code("c"))).await;
    let again = batch()
        .push(event("x"))
        .push(insert_code("c"))
        .push(event("y"))
        .or_else("insert code", vec![event("replayed")]);
    let outcome = commit(&db, again).await.unwrap();
    assert_eq!(outcome, refused_at(1, "insert code", false, true));
    assert_eq!(events(&db).await, ["replayed"]);

    let mut strict = insert_code("c");
    strict.expect = Expect::Rows(1);
    let error = commit(&db, batch().push(event("z")).push(strict))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            DbError::Constraint {
                label: "insert code",
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(events(&db).await, ["replayed"]);
}

async fn other_constraints_are_errors(place: TestDb) {
    let db = place.open(Options::default()).await;
    let item = insert_item(tenant(1), agent(1), "forbidden", Expect::Unique);
    let error = commit(&db, batch().push(event("x")).push(item))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            DbError::Constraint {
                label: "insert item",
                ..
            }
        ),
        "{error}"
    );
    assert!(!error.is_retryable());
    assert!(events(&db).await.is_empty());
}

async fn tenants_do_not_see_each_other(place: TestDb) {
    let db = place.open(Options::default()).await;
    for number in [1, 2] {
        let item = insert_item(tenant(number), agent(7), "same id", Expect::Rows(1));
        must(&db, batch().push(item)).await;
    }
    must(&db, batch().push(update_item(tenant(1), agent(7), 0, "mine"))).await;
    assert_eq!(items(&db, tenant(1)).await, [(agent(7), 1, "mine".to_owned())]);
    assert_eq!(items(&db, tenant(2)).await, [(agent(7), 0, "same id".to_owned())]);
    let foreign = commit(&db, batch().push(update_item(tenant(3), agent(7), 0, "theirs"))).await;
    assert_eq!(foreign.unwrap(), refused("update item", false, false));
}

async fn queries_cannot_write(place: TestDb) {
    let db = place.open(Options::default()).await;
    let returning = Sql::same("INSERT INTO events (kind) VALUES (?1) RETURNING seq");
    for sql in [INSERT_EVENT, returning] {
        assert!(db.query(&sql, vec!["x".into()]).await.is_err());
    }
    assert!(events(&db).await.is_empty());
}

async fn wrong_parameters_are_errors(place: TestDb) {
    let db = place.open(Options::default()).await;
    for params in [vec![], vec!["a".into(), "b".into()]] {
        let error = db.query(&COUNT_EVENTS, params.clone()).await.unwrap_err();
        assert!(matches!(error, DbError::Driver { .. }), "{error}");
        let statement = Statement::new(&INSERT_EVENT, params, Expect::Any, "event");
        let error = commit(&db, batch().push(event("x")).push(statement))
            .await
            .unwrap_err();
        assert!(matches!(error, DbError::Driver { .. }), "{error}");
    }
    let broken = Sql::same("SELECT nothing FROM nowhere");
    let error = db.query(&broken, vec![]).await.unwrap_err();
    assert!(matches!(error, DbError::Driver { .. }), "{error}");
    let error = db.prepare_all(&[&EVENTS, &broken]).await.unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
    db.prepare_all(&[&EVENTS, &INSERT_ITEM, &GUARD_ITEM])
        .await
        .unwrap();
    assert!(events(&db).await.is_empty());
}

async fn every_kind_of_value_round_trips(place: TestDb) {
    let db = place.open(Options::default()).await;
    let echo = Sql::pair(
        "SELECT CAST(?1 AS BIGINT), CAST(?2 AS TEXT), CAST(?3 AS BLOB), CAST(?4 AS BIGINT), CAST(?5 AS TEXT)",
        "SELECT CAST(?1 AS BIGINT), CAST(?2 AS TEXT), CAST(?3 AS BYTEA), CAST(?4 AS BIGINT), CAST(?5 AS TEXT)",
    );
    let values = vec![
        Value::Integer(i64::MIN),
        Value::from("ünïcode ' \" ?1 $1"),
        Value::Blob(vec![0, 1, 255]),
        Value::from(None::<i64>),
        Value::from(Some("")),
    ];
    let row = db.query_one(&echo, values.clone()).await.unwrap();
    assert_eq!(row.values(), values);
}

async fn text_with_a_zero_byte_is_refused(place: TestDb) {
    let db = place.open(Options::default()).await;
    let error = commit(&db, batch().push(event("zero \0 byte")))
        .await
        .unwrap_err();
    assert!(matches!(error, DbError::TextWithNul), "{error}");
    let branch = batch()
        .push(consume_code("missing"))
        .or_else("consume code", vec![event("zero \0 byte")]);
    let error = commit(&db, branch).await.unwrap_err();
    assert!(matches!(error, DbError::TextWithNul), "{error}");
    assert!(events(&db).await.is_empty());
    let echo = Sql::same("SELECT CAST(?1 AS TEXT)");
    let error = db.query(&echo, vec!["\0".into()]).await.unwrap_err();
    assert!(matches!(error, DbError::TextWithNul), "{error}");
}

async fn placeholders_bind_by_number(place: TestDb) {
    let db = place.open(Options::default()).await;
    let swapped = Sql::same("SELECT CAST(?2 AS TEXT), CAST(?1 AS TEXT), CAST(?2 AS TEXT), '?1'");
    let row = db
        .query_one(&swapped, vec!["one".into(), "two".into()])
        .await
        .unwrap();
    let texts: Vec<_> = (0..4).map(|column| row.text(column).unwrap()).collect();
    assert_eq!(texts, ["two", "one", "two", "?1"]);
}

async fn sums_and_booleans_are_integers(place: TestDb) {
    let db = place.open(Options::default()).await;
    must(&db, batch().push(event("a")).push(event("b"))).await;
    let aggregate =
        Sql::same("SELECT SUM(seq) * 10000, COUNT(*), MAX(seq), EXISTS (SELECT 1 FROM events) FROM events");
    let row = db.query_one(&aggregate, vec![]).await.unwrap();
    assert_eq!(row.integer(0).unwrap(), 30_000);
    assert_eq!(row.integer(1).unwrap(), 2);
    assert!(row.boolean(3).unwrap());
}

async fn the_clock_of_the_database_is_near(place: TestDb) {
    let db = place.open(Options::default()).await;
    #[expect(
        clippy::disallowed_methods,
        reason = "compares the database's clock with the real one"
    )]
    let here = std::time::SystemTime::now();
    let here = here.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    let there = u128::try_from(db.now().await.unwrap().as_micros()).unwrap();
    assert!(here.abs_diff(there) < 5_000_000, "{here} {there}");
}

async fn a_closed_database_says_so(place: TestDb) {
    let db = place.open(Options::default()).await;
    let clone = db.clone();
    must(&db, batch().push(event("x"))).await;
    db.close().await;
    db.close().await;
    let error = clone.query(&EVENTS, vec![]).await.unwrap_err();
    assert!(matches!(error, DbError::Unavailable { .. }), "{error}");
    let error = clone.commit(batch().push(event("y"))).await.unwrap_err();
    assert!(matches!(error, DbError::Unavailable { .. }), "{error}");
    let again = place.open(Options::default()).await;
    assert_eq!(events(&again).await, ["x"]);
}

async fn an_empty_batch_commits(place: TestDb) {
    let db = place.open(Options::default()).await;
    must(&db, batch()).await;
}

async fn a_large_batch_runs_in_order(place: TestDb) {
    let db = place.open(Options::default()).await;
    let id = agent(1);
    let item = insert_item(TenantId::from_bytes([1; 16]), id, "new", Expect::Rows(1));
    let updates = (0..200).map(|version| update_item(tenant(1), id, version, "updated"));
    must(&db, batch().push(item).extend(updates)).await;
    assert_eq!(items(&db, tenant(1)).await, [(id, 200, "updated".to_owned())]);
}
