//! Many callers at once: exactly one wins, nobody is lost, order holds.

use crate::harness::*;
use chancery_store::db::{Options, Value};
use chancery_store::{DbError, Expect, Outcome, Sql, Statement};

conformance!(
    a_code_is_consumed_once_by_64_concurrent_consumers,
    concurrent_compare_and_set_loses_no_update,
    a_guard_and_a_revocation_have_one_order,
    opposite_lock_orders_are_run_again,
    failing_members_do_not_disturb_their_group,
    a_lone_statement_that_changes_too_much_takes_only_itself_back,
    a_constraint_checked_at_commit_fails_only_its_batch,
    a_caller_that_stops_waiting_leaves_no_open_transaction,
);

async fn a_code_is_consumed_once_by_64_concurrent_consumers(place: TestDb) {
    let db = place.open(Options::default()).await;
    must(&db, batch().push(insert_code("c"))).await;
    let consumers: Vec<_> = (0..64)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let redeem = batch()
                    .push(consume_code("c"))
                    .push(event("won"))
                    .or_else("consume code", vec![event("lost")]);
                commit(&db, redeem).await.unwrap()
            })
        })
        .collect();
    let mut winners = 0;
    for consumer in consumers {
        match consumer.await.unwrap() {
            Outcome::Committed => winners += 1,
            Outcome::Refused { recorded, .. } => assert!(recorded),
        }
    }
    assert_eq!(winners, 1);
    let events = events(&db).await;
    assert_eq!(events.iter().filter(|kind| *kind == "won").count(), 1);
    assert_eq!(events.iter().filter(|kind| *kind == "lost").count(), 63);
}

async fn concurrent_compare_and_set_loses_no_update(place: TestDb) {
    let db = place.open(Options::default()).await;
    let item = insert_item(tenant(1), agent(1), "new", Expect::Rows(1));
    must(&db, batch().push(item)).await;
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut done = 0;
                while done < 10 {
                    let version = items(&db, tenant(1)).await[0].1;
                    let update = update_item(tenant(1), agent(1), version, "updated");
                    if commit(&db, batch().push(update).push(event("updated")))
                        .await
                        .unwrap()
                        .is_committed()
                    {
                        done += 1;
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(items(&db, tenant(1)).await[0].1, 80);
    assert_eq!(events(&db).await.len(), 80);
}

/// A guarded issue either precedes the revocation or is refused: never is an issue recorded after it.
async fn a_guard_and_a_revocation_have_one_order(place: TestDb) {
    let db = place.open(Options::default()).await;
    let item = insert_item(tenant(1), agent(1), "active", Expect::Rows(1));
    must(&db, batch().push(item)).await;
    let issuers: Vec<_> = (0..4)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut issued = 0_i64;
                loop {
                    let issue = batch()
                        .guard(guard_item(tenant(1), agent(1), 0))
                        .push(event("issued"));
                    match commit(&db, issue).await.unwrap() {
                        Outcome::Committed => issued += 1,
                        Outcome::Refused { guard, .. } => {
                            assert!(guard);
                            return issued;
                        }
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    must(&db, batch().push(update_item(tenant(1), agent(1), 0, "revoked"))).await;
    let seen = db.query_one(&COUNT_EVENTS, vec!["issued".into()]).await.unwrap();
    let mut issued = 0;
    for issuer in issuers {
        issued += issuer.await.unwrap();
    }
    assert_eq!(
        seen.integer(0).unwrap(),
        issued,
        "an issue was recorded after the revocation"
    );
}

async fn opposite_lock_orders_are_run_again(place: TestDb) {
    let db = place.open(Options::default()).await;
    for number in [1, 2] {
        let item = insert_item(tenant(1), agent(number), "0", Expect::Rows(1));
        must(&db, batch().push(item)).await;
    }
    let touch = |number: u8| {
        let mut statement = update_item(tenant(1), agent(number), 0, "touched");
        statement.sql = TOUCH;
        statement.params.truncate(2);
        statement
    };
    let workers: Vec<_> = (0..2)
        .map(|worker| {
            let db = db.clone();
            tokio::spawn(async move {
                for _ in 0..40 {
                    let (first, second) = if worker % 2 == 0 { (1, 2) } else { (2, 1) };
                    must(&db, batch().push(touch(first)).push(touch(second))).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let versions: Vec<_> = items(&db, tenant(1)).await.iter().map(|item| item.1).collect();
    assert_eq!(versions, [80, 80]);
}

const TOUCH: Sql = Sql::same("UPDATE items SET version = version + 1 WHERE tenant = ?1 AND id = ?2");

async fn failing_members_do_not_disturb_their_group(place: TestDb) {
    let db = place.open(Options::default()).await;
    must(&db, batch().push(insert_code("taken"))).await;
    let members: Vec<_> = (0..120)
        .map(|number: u32| {
            let db = db.clone();
            tokio::spawn(async move {
                let kind = format!("event {number:03}");
                let mut member = batch().push(event(&kind));
                member = match number % 4 {
                    0 => member,
                    1 => member.push(insert_code("taken")),
                    2 => member.push(insert_item(tenant(1), agent(1), "forbidden", Expect::Any)),
                    _ => member.push(Statement::new(&INSERT_EVENT, vec![], Expect::Any, "defect")),
                };
                (number, commit(&db, member).await)
            })
        })
        .collect();
    let mut expected = Vec::new();
    for member in members {
        let (number, result) = member.await.unwrap();
        match number % 4 {
            0 => {
                assert_eq!(result.unwrap(), Outcome::Committed);
                expected.push(format!("event {number:03}"));
            }
            1 => assert_eq!(result.unwrap(), refused_at(1, "insert code", false, false)),
            _ => assert!(result.is_err()),
        }
    }
    assert_eq!(events(&db).await, expected);
}

async fn a_lone_statement_that_changes_too_much_takes_only_itself_back(place: TestDb) {
    const RAISE_ALL: Sql = Sql::same("UPDATE items SET version = version + 1 WHERE tenant = ?1");
    let db = place.open(Options::default()).await;
    for number in [1, 2] {
        must(
            &db,
            batch().push(insert_item(tenant(1), agent(number), "0", Expect::Rows(1))),
        )
        .await;
    }
    let raise = |tenant_number, expect| {
        Statement::new(
            &RAISE_ALL,
            vec![Value::id(tenant(tenant_number))],
            expect,
            "raise",
        )
    };
    let members = (0..60).map(|number: u32| {
        db.commit(batch().push(match number % 3 {
            0 => event(&format!("event {number:03}")),
            1 => raise(2, Expect::Rows(1)),
            _ => raise(1, Expect::Rows(1)),
        }))
    });
    let results = futures_util::future::join_all(members).await;
    for (number, result) in results.into_iter().enumerate() {
        match number % 3 {
            0 => assert_eq!(result.unwrap(), Outcome::Committed),
            _ => assert_eq!(result.unwrap(), refused_at(0, "raise", false, false)),
        }
    }
    assert_eq!(events(&db).await.len(), 20);
    let versions: Vec<_> = items(&db, tenant(1)).await.iter().map(|item| item.1).collect();
    assert_eq!(versions, [0, 0]);
}

async fn a_constraint_checked_at_commit_fails_only_its_batch(place: TestDb) {
    const INSERT_CHILD: Sql = Sql::same("INSERT INTO children (parent) VALUES (?1)");
    let db = place.open(Options::default()).await;
    must(&db, batch().push(insert_code("parent"))).await;
    let members = (0..40).map(|number| {
        let parent = if number % 8 == 0 { "nobody" } else { "parent" };
        let child = Statement::new(&INSERT_CHILD, vec![parent.into()], Expect::Rows(1), "child");
        db.commit(batch().push(event("x")).push(child))
    });
    let results = futures_util::future::join_all(members).await;
    for (number, result) in results.into_iter().enumerate() {
        if number % 8 == 0 {
            let error = result.unwrap_err();
            assert!(
                matches!(error, DbError::Constraint { label: "commit", .. }),
                "{error}"
            );
        } else {
            assert_eq!(result.unwrap(), Outcome::Committed);
        }
    }
    assert_eq!(events(&db).await.len(), 35);
}

async fn a_caller_that_stops_waiting_leaves_no_open_transaction(place: TestDb) {
    let mut options = Options::default();
    options.pool = 2;
    let db = place.open(options).await;
    for number in 0..40 {
        let commit = db.commit(batch().push(event(&format!("e{number}"))));
        let patience = std::time::Duration::from_micros(number * 50);
        drop(tokio::time::timeout(patience, commit).await);
    }
    must(&db, batch().push(event("last"))).await;
    assert!(events(&db).await.contains(&"last".to_owned()));
}
