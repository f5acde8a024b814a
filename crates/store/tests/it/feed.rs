//! The revocation feed: no reader misses a change, in whatever order transactions begin and commit.

use crate::harness::*;
use chancery_core::id::{AgentId, Id as _, TokenId};
use chancery_core::noun::Noun;
use chancery_core::time::Timestamp;
use chancery_store::change::{self, Changed};
use chancery_store::db::{FaultAction, Options, Point};
use chancery_store::{Db, MIGRATIONS};
use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};

conformance!(
    a_reader_sees_every_change_of_every_tenant_once_it_was_made,
    a_reader_beside_many_writers_misses_nothing,
    an_early_transaction_that_commits_late_is_not_missed,
);

const NOW: Timestamp = Timestamp::from_seconds(1_768_478_400);

async fn open(place: &TestDb, options: Options) -> Db {
    let db = Db::open(&place.url, options).await.unwrap();
    db.migrate(MIGRATIONS).await.unwrap();
    db
}

fn changed(number: u64) -> chancery_store::Statement {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    change::insert(
        tenant(u8::try_from(number % 2).unwrap()),
        Noun::Agent,
        id,
        number,
        NOW,
    )
}

/// The numbers of the changes that a look returned.
fn numbers(changes: &[change::Change]) -> BTreeSet<u64> {
    let number = |change: &change::Change| match change.subject {
        Changed::Noun {
            noun: Noun::Agent,
            id,
            generation,
        } => {
            assert_eq!(
                AgentId::from_bytes(id).as_bytes()[15],
                u8::try_from(generation % 256).unwrap()
            );
            assert_eq!(change.tenant, tenant(u8::try_from(generation % 2).unwrap()));
            generation
        }
        Changed::Noun { .. } | Changed::Token(_) | Changed::Keys => panic!("{change:?}"),
    };
    changes.iter().map(number).collect()
}

async fn a_reader_sees_every_change_of_every_tenant_once_it_was_made(place: TestDb) {
    let db = open(&place, Options::default()).await;
    must(&db, batch().push(changed(1))).await;
    let end = change::end(&db).await.unwrap();
    must(&db, batch().push(changed(2)).push(changed(3))).await;
    let (changes, next) = change::since(&db, end).await.unwrap();
    assert!(numbers(&changes).is_superset(&BTreeSet::from([2, 3])));
    must(
        &db,
        batch().push(change::insert_token(tenant(1), TokenId::from_bytes([4; 16]), NOW)),
    )
    .await;
    must(&db, batch().push(change::insert_keys(tenant(2), NOW))).await;
    let (changes, _) = change::since(&db, next).await.unwrap();
    let subjects: Vec<_> = changes.iter().map(|change| change.subject.clone()).collect();
    assert!(subjects.contains(&Changed::Token(TokenId::from_bytes([4; 16]))));
    assert!(subjects.contains(&Changed::Keys));
}

async fn a_reader_beside_many_writers_misses_nothing(place: TestDb) {
    let db = open(&place, Options::default()).await;
    let mut cursor = change::end(&db).await.unwrap();
    let writers: Vec<_> = (0..8_u64)
        .map(|writer| {
            let db = db.clone();
            tokio::spawn(async move {
                for round in 0..25 {
                    must(&db, batch().push(changed(writer * 25 + round))).await;
                }
            })
        })
        .collect();
    let mut seen = BTreeSet::new();
    loop {
        let is_over = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let (changes, next) = change::since(&db, cursor).await.unwrap();
        seen.extend(numbers(&changes));
        cursor = next;
        if is_over {
            break;
        }
    }
    assert_eq!(seen, (0..200).collect());
}

/// Holds the first commit back just before its end until it is let go.
#[derive(Default)]
struct Gate {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    fn wait_inside(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 = true;
        self.changed.notify_all();
        while !state.1 {
            state = self.changed.wait(state).unwrap();
        }
    }

    fn wait_until_held(&self) {
        let mut state = self.state.lock().unwrap();
        while !state.0 {
            state = self.changed.wait(state).unwrap();
        }
    }

    fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

async fn an_early_transaction_that_commits_late_is_not_missed(place: TestDb) {
    let other = open(&place, Options::default()).await;
    if change::is_ordered(other.engine()) {
        return; // SQLite has one writer, so that none can be early and late.
    }
    let gate = Arc::new(Gate::default());
    let mut options = Options::default();
    let held = gate.clone();
    options.fault = Some(Arc::new(move |point| {
        if point == Point::BeforeCommit {
            tokio::task::block_in_place(|| held.wait_inside());
        }
        FaultAction::Continue
    }));
    let slow = Db::open(&place.url, options).await.unwrap();
    let mut cursor = change::end(&other).await.unwrap();
    let early = tokio::spawn(async move { must(&slow, batch().push(changed(1))).await });
    tokio::task::block_in_place(|| gate.wait_until_held());

    must(&other, batch().push(changed(2))).await;
    let (changes, next) = change::since(&other, cursor).await.unwrap();
    assert_eq!(numbers(&changes), BTreeSet::from([2]));
    cursor = next;
    must(&other, batch().push(changed(3))).await;
    gate.open();
    early.await.unwrap();

    let (changes, _) = change::since(&other, cursor).await.unwrap();
    assert!(
        numbers(&changes).is_superset(&BTreeSet::from([1, 3])),
        "{changes:?}"
    );
}
