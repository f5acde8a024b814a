//! What the product asks of both engines: every query is valid, and each noun's file keeps its promises, always
//! with two tenants.

use crate::harness::*;
use chancery_core::agent::{Agent, AgentSpec};
use chancery_core::event::EventOutcome;
use chancery_core::id::{AgentId, EventId, GrantId, Id as _, NodeId, TenantId, TokenId};
use chancery_core::lineage::Guard;
use chancery_core::noun::{Lifecycle, Noun, Record};
use chancery_core::time::{Timestamp, Ttl};
use chancery_store::consumed::{ConsumedKind, consume};
use chancery_store::db::{Engine, Options};
use chancery_store::event::EventRow;
use chancery_store::lease::{self, LOST};
use chancery_store::log::{self, Head};
use chancery_store::{Db, MIGRATIONS, Outcome, Page, event, guard, record, spend_budget};

conformance!(
    every_query_is_valid,
    a_record_reads_back_as_it_was_written,
    names_and_keys_are_unique_in_their_tenant_and_never_reused,
    an_update_needs_the_version_it_read,
    a_list_has_its_tenants_rows_alone_in_order,
    a_guard_holds_for_its_tenant_and_version_alone,
    a_thing_is_consumed_once_among_many_at_once,
    a_budget_is_spent_exactly,
    a_lease_fences_its_former_holder_off,
    an_event_gets_its_place_once,
    a_head_moves_from_what_it_was_alone,
    a_tile_is_written_over_its_shorter_self,
    a_revoked_token_is_listed_until_it_would_have_ended,
);

const NOW: Timestamp = Timestamp::from_seconds(1_768_478_400);

async fn open(place: &TestDb) -> Db {
    let db = Db::open(&place.url, Options::default()).await.unwrap();
    db.migrate(MIGRATIONS).await.unwrap();
    db
}

async fn every_query_is_valid(place: TestDb) {
    let db = open(&place).await;
    let queries = chancery_store::queries();
    assert!(queries.len() > 100);
    db.prepare_all(&queries).await.unwrap();
}

fn bot(number: u8, name: &str) -> Agent {
    Record {
        id: AgentId::from_bytes([number; 16]),
        name: name.parse().unwrap(),
        state: Lifecycle::Active,
        generation: 0,
        version: 1,
        created_at: NOW,
        updated_at: NOW,
        spec: AgentSpec {
            owner: Some("ops".parse().unwrap()),
            blueprint: Some("workers".parse().unwrap()),
            ..AgentSpec::default()
        },
    }
}

async fn a_record_reads_back_as_it_was_written(place: TestDb) {
    let db = open(&place).await;
    let (here, there) = (tenant(1), tenant(2));
    let written = bot(7, "bot");
    must(&db, batch().push(record::insert(here, &written))).await;
    let by_id = record::find_by_id::<AgentSpec>(&db, here, written.id)
        .await
        .unwrap();
    let by_name = record::find_by_name::<AgentSpec>(&db, here, &written.name)
        .await
        .unwrap();
    let by_parent = record::list_by_parent::<AgentSpec>(&db, here, "workers")
        .await
        .unwrap();
    assert_eq!(
        (by_id.as_ref(), by_name.as_ref()),
        (Some(&written), Some(&written))
    );
    assert_eq!(by_parent, std::slice::from_ref(&written));
    assert_eq!(
        record::find_by_id::<AgentSpec>(&db, there, written.id)
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        record::find_by_name::<AgentSpec>(&db, there, &written.name)
            .await
            .unwrap(),
        None
    );
    assert!(
        record::list_by_parent::<AgentSpec>(&db, there, "workers")
            .await
            .unwrap()
            .is_empty()
    );
}

async fn names_and_keys_are_unique_in_their_tenant_and_never_reused(place: TestDb) {
    let db = open(&place).await;
    let (here, there) = (tenant(1), tenant(2));
    let mut first = bot(1, "bot");
    must(&db, batch().push(record::insert(here, &first))).await;
    must(&db, batch().push(record::insert(there, &bot(1, "bot")))).await;
    let again = || batch().push(record::insert(here, &bot(2, "bot")));
    assert_eq!(
        commit(&db, again()).await.unwrap(),
        refused("exists", false, false)
    );
    first.state = Lifecycle::Retired;
    first.version = 2;
    must(&db, batch().push(record::update(here, &first))).await;
    assert_eq!(
        commit(&db, again()).await.unwrap(),
        refused("exists", false, false)
    );
}

async fn an_update_needs_the_version_it_read(place: TestDb) {
    let db = open(&place).await;
    let (here, there) = (tenant(1), tenant(2));
    let mut agent = bot(1, "bot");
    must(&db, batch().push(record::insert(here, &agent))).await;
    agent.version = 2;
    assert_eq!(
        commit(&db, batch().push(record::update(there, &agent)))
            .await
            .unwrap(),
        refused("changed", false, false)
    );
    must(&db, batch().push(record::update(here, &agent))).await;
    assert_eq!(
        commit(&db, batch().push(record::update(here, &agent)))
            .await
            .unwrap(),
        refused("changed", false, false)
    );
}

async fn a_list_has_its_tenants_rows_alone_in_order(place: TestDb) {
    let db = open(&place).await;
    let (here, there) = (tenant(1), tenant(2));
    for (number, name) in [(3, "c"), (1, "a"), (2, "b")] {
        must(&db, batch().push(record::insert(here, &bot(number, name)))).await;
        must(
            &db,
            batch().push(record::insert(there, &bot(number, &format!("x-{name}")))),
        )
        .await;
    }
    let page = |after, limit| Page {
        after,
        state: None,
        limit,
    };
    let names = |rows: Vec<Agent>| rows.iter().map(|row| row.name.to_string()).collect::<Vec<_>>();
    let first = record::list::<AgentSpec>(&db, here, &page("", 2)).await.unwrap();
    assert_eq!(names(first), ["a", "b"]);
    let second = record::list::<AgentSpec>(&db, here, &page("b", 2)).await.unwrap();
    assert_eq!(names(second), ["c"]);
    let suspended = Page {
        state: Some(Lifecycle::Suspended),
        ..page("", 9)
    };
    assert!(
        record::list::<AgentSpec>(&db, here, &suspended)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn a_guard_holds_for_its_tenant_and_version_alone(place: TestDb) {
    let db = open(&place).await;
    let (here, there) = (tenant(1), tenant(2));
    must(&db, batch().push(record::insert(here, &bot(1, "bot")))).await;
    let guarded = |of: TenantId, version| {
        let guard = Guard {
            noun: Noun::Agent,
            id: [1; 16],
            version,
        };
        guard::statements(of, &[guard])
            .into_iter()
            .fold(batch(), chancery_store::Batch::guard)
    };
    must(&db, guarded(here, 1)).await;
    for stale in [guarded(here, 2), guarded(there, 1)] {
        assert_eq!(
            commit(&db, stale).await.unwrap(),
            refused(guard::STALE, true, false)
        );
    }
}

async fn a_thing_is_consumed_once_among_many_at_once(place: TestDb) {
    let db = open(&place).await;
    for of in [tenant(1), tenant(2)] {
        for kind in [
            ConsumedKind::ClientAssertion,
            ConsumedKind::UserAssertion,
            ConsumedKind::Grant,
        ] {
            let tries = (0..8).map(|_| {
                let db = db.clone();
                tokio::spawn(async move {
                    db.commit(batch().push(consume(of, kind, &[9; 32], NOW)))
                        .await
                        .unwrap()
                })
            });
            let mut first = 0;
            for outcome in tries.collect::<Vec<_>>() {
                first += u32::from(outcome.await.unwrap().is_committed());
            }
            assert_eq!(first, 1);
        }
    }
}

async fn a_budget_is_spent_exactly(place: TestDb) {
    let db = open(&place).await;
    let grant = GrantId::from_bytes([5; 16]);
    for of in [tenant(1), tenant(2)] {
        let tries = (0..12).map(|_| {
            let db = db.clone();
            tokio::spawn(async move { db.commit(batch().push(spend_budget(of, grant, 5))).await.unwrap() })
        });
        let mut spent = 0;
        for outcome in tries.collect::<Vec<_>>() {
            match outcome.await.unwrap() {
                Outcome::Committed => spent += 1,
                other @ Outcome::Refused { .. } => assert_eq!(other, refused("budget", false, false)),
            }
        }
        assert_eq!(spent, 5);
        let none = batch().push(spend_budget(of, GrantId::from_bytes([6; 16]), 0));
        assert_eq!(commit(&db, none).await.unwrap(), refused("budget", false, false));
    }
}

async fn a_lease_fences_its_former_holder_off(place: TestDb) {
    let db = open(&place).await;
    let (first, second) = (NodeId::from_bytes([1; 16]), NodeId::from_bytes([2; 16]));
    must(&db, batch().push(lease::create("work", first, NOW))).await;
    let again = batch().push(lease::create("work", second, NOW));
    assert_eq!(commit(&db, again).await.unwrap(), refused(LOST, false, false));
    let seen = lease::find(&db, "work").await.unwrap().unwrap();
    must(
        &db,
        batch().push(lease::take("work", &seen, first, NOW.plus(Ttl::from_seconds(1)))),
    )
    .await;
    let renewed = lease::find(&db, "work").await.unwrap().unwrap();
    assert_eq!(renewed.epoch, seen.epoch, "renewing keeps the epoch");
    must(&db, batch().guard(lease::fence("work", renewed.epoch))).await;
    must(&db, batch().push(lease::take("work", &renewed, second, NOW))).await;
    for late in [
        batch().guard(lease::fence("work", renewed.epoch)),
        batch().push(lease::take("work", &renewed, first, NOW)),
    ] {
        assert!(matches!(
            commit(&db, late).await.unwrap(),
            Outcome::Refused { label: LOST, .. }
        ));
    }
    let held = lease::find(&db, "work").await.unwrap().unwrap();
    assert_eq!((held.holder, held.epoch), (second, renewed.epoch + 1));
}

fn row(number: u8) -> EventRow {
    EventRow {
        seq: 0,
        id: EventId::from_bytes([number; 16]),
        time: NOW,
        kind: "token.issued".to_owned(),
        outcome: EventOutcome::Ok.as_str().to_owned(),
        log_generation: 1,
        position: None,
        leaf: format!("{{\"n\":\"{number}\"}}"),
        mac: vec![number; 32],
        parts: "[]".to_owned(),
    }
}

async fn an_event_gets_its_place_once(place: TestDb) {
    let db = open(&place).await;
    let (here, there) = (tenant(1), tenant(2));
    let empty = Head {
        log_generation: 1,
        size: 0,
        root: [0; 32],
        signed_size: 0,
    };
    for tenant in [here, there] {
        must(&db, batch().push(log::insert_head(tenant, &empty))).await;
    }
    for number in 1..=3 {
        must(&db, batch().push(event::insert(here, &row(number)))).await;
        must(&db, batch().push(event::insert(there, &row(number)))).await;
    }
    let pending = event::pending(&db, here, 10).await.unwrap();
    assert_eq!(pending.len(), 3);
    assert!(event::integrated(&db, here, 1, 0, 10).await.unwrap().is_empty());
    let places: Vec<(i64, u64)> = pending.iter().map(|row| row.seq).zip(0..).collect();
    let is_placed = pending.iter().all(|row| row.position.is_some());
    assert_eq!(is_placed, db.engine() == Engine::Sqlite);
    let crossed = batch().push(event::assign(there, &places));
    assert_eq!(
        commit(&db, crossed).await.unwrap(),
        refused("integrate", false, false)
    );
    let grown = Head { size: 3, ..empty };
    let mut folded = batch().push(log::advance_head(here, &empty, &grown));
    if !is_placed {
        folded = folded.push(event::assign(here, &places));
    }
    must(&db, folded).await;
    let again = batch().push(event::assign(here, &places));
    assert_eq!(
        commit(&db, again).await.unwrap(),
        refused("integrate", false, false)
    );
    let integrated = event::integrated(&db, here, 1, 0, 10).await.unwrap();
    let positions: Vec<_> = integrated.iter().map(|row| row.position.unwrap()).collect();
    assert_eq!(positions, [0, 1, 2]);
    let taken = batch().push(event::take_pending(here, integrated[0].id));
    assert_eq!(
        commit(&db, taken).await.unwrap(),
        refused("pending", false, false)
    );
    assert!(event::pending(&db, here, 10).await.unwrap().is_empty());
    assert_eq!(event::pending(&db, there, 10).await.unwrap().len(), 3);
    assert_eq!(event::count_pending(&db, 10).await.unwrap(), 3);
    let waiting = event::find(&db, there, EventId::from_bytes([1; 16]))
        .await
        .unwrap();
    assert_eq!(waiting.unwrap().position, None);
    assert_eq!(
        event::find(&db, there, EventId::from_bytes([9; 16]))
            .await
            .unwrap(),
        None
    );
}

async fn a_head_moves_from_what_it_was_alone(place: TestDb) {
    let db = open(&place).await;
    let head = |size| Head {
        log_generation: 1,
        size,
        root: [u8::try_from(size).unwrap(); 32],
        signed_size: size,
    };
    for of in [tenant(1), tenant(2)] {
        must(&db, batch().push(log::insert_head(of, &head(0)))).await;
    }
    must(
        &db,
        batch().push(log::advance_head(tenant(1), &head(0), &head(3))),
    )
    .await;
    let late = batch().push(log::advance_head(tenant(1), &head(0), &head(2)));
    assert_eq!(commit(&db, late).await.unwrap(), refused("head", false, false));
    assert_eq!(log::find_head(&db, tenant(1)).await.unwrap(), Some(head(3)));
    assert_eq!(log::find_head(&db, tenant(2)).await.unwrap(), Some(head(0)));
}

async fn a_tile_is_written_over_its_shorter_self(place: TestDb) {
    let db = open(&place).await;
    for of in [tenant(1), tenant(2)] {
        for width in [1_usize, 2, 256] {
            must(
                &db,
                batch().push(log::put_tile(of, 1, 0, 4, &vec![7; width * 32])),
            )
            .await;
            let stored = log::find_tile(&db, of, 1, 0, 4).await.unwrap().unwrap();
            assert_eq!(stored.len(), width * 32);
        }
        assert_eq!(log::find_tile(&db, of, 2, 0, 4).await.unwrap(), None);
        assert_eq!(log::find_tile(&db, of, 1, 1, 4).await.unwrap(), None);
    }
}

async fn a_revoked_token_is_listed_until_it_would_have_ended(place: TestDb) {
    use chancery_store::change::{revoke_token, revoked_tokens};
    let db = open(&place).await;
    let token = TokenId::from_bytes([3; 16]);
    let end = NOW.plus(Ttl::from_seconds(5));
    for of in [tenant(1), tenant(2)] {
        must(&db, batch().push(revoke_token(of, token, end))).await;
        must(&db, batch().push(revoke_token(of, token, end))).await;
    }
    let listed = revoked_tokens(&db, NOW).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert!(revoked_tokens(&db, end).await.unwrap().is_empty());
}
