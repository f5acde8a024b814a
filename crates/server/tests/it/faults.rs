//! The disk, the connection or the database fails between any two steps: the answer is 503 and nothing is half
//! written, or the token was recorded.

use crate::estate::*;
use crate::harness::*;
use chancery_core::time::Ttl;
use chancery_server::store::db::{FaultAction, Options, Point};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

on_both_engines!(a_fault_between_any_two_steps_loses_nothing_and_halves_nothing,);

/// Counts boundaries of commits down, and fails at the one that is due.
#[derive(Clone, Debug)]
struct Trap(Arc<AtomicI64>);

impl Trap {
    fn new() -> (Self, Options) {
        let trap = Self(Arc::new(AtomicI64::new(i64::MAX)));
        let (left, mut options) = (trap.clone(), Options::default());
        options.fault = Some(Arc::new(move |point: Point| {
            let is_counted = !matches!(point, Point::Group(_)) && left.0.load(Ordering::SeqCst) != i64::MAX;
            if is_counted && left.0.fetch_sub(1, Ordering::SeqCst) == 0 {
                return FaultAction::Fail;
            }
            FaultAction::Continue
        }));
        (trap, options)
    }

    fn arm(&self, boundary: i64) {
        self.0.store(boundary, Ordering::SeqCst);
    }

    /// Whether the fault struck.
    fn disarm(&self) -> bool {
        self.0.swap(i64::MAX, Ordering::SeqCst) < 0
    }
}

async fn a_fault_between_any_two_steps_loses_nothing_and_halves_nothing(place: Place) {
    let mut estate = Estate::start(&place).await;
    let mut at = START;
    for boundary in 0.. {
        let before = estate.events("token.issued").await.len();
        estate.node.app.db.close().await;
        at = at.plus(Ttl::from_seconds(1));
        let (trap, options) = Trap::new();
        estate.node = Chancery::try_start(&place, at, options).await.unwrap();
        let assertion = estate.assertion(&format!("f-{boundary}"), plain());

        trap.arm(boundary);
        let answer = estate.asserted(&assertion, &[("resource", NOTES)]).await;
        let struck = trap.disarm();

        estate.node.app.db.close().await;
        estate.node = Chancery::start_at(&place, at).await;
        let after = estate.events("token.issued").await;
        let written = after.len() - before;
        assert!(written <= 1, "boundary {boundary}");
        if answer.status == 200 {
            let jti = answer.claims()["jti"].as_str().unwrap().to_owned();
            assert!(
                written == 1 && after[0]["ids"].to_string().contains(&jti),
                "boundary {boundary}"
            );
        } else {
            assert_eq!(
                answer.error(),
                (503, "temporarily_unavailable".to_owned()),
                "boundary {boundary}"
            );
        }
        // The record and the spent assertion stand or fall together.
        let again = estate
            .asserted(&assertion, &[("resource", NOTES)])
            .await
            .status
            .as_u16();
        assert_eq!(again, if written == 1 { 401 } else { 200 }, "boundary {boundary}");
        if !struck {
            assert!(boundary > 3, "only {boundary} boundaries were tried");
            return;
        }
    }
}

/// On SQLite alone: PostgreSQL's disk is its own affair, and a statement that fails there is tried above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_temporarily_unavailable_and_halves_nothing() {
    let place = Place::sqlite();
    let mut estate = Estate::start(&place).await;
    estate.node.app.db.close().await;
    let mut options = Options::default();
    options.max_pages = Some(260);
    estate.node = Chancery::try_start(&place, START, options).await.unwrap();
    let mut given = Vec::new();
    let refused = loop {
        let answer = estate.own("planner", &[("resource", NOTES)]).await;
        if answer.status != 200 {
            break answer;
        }
        given.push(answer.claims()["jti"].as_str().unwrap().to_owned());
        assert!(given.len() < 2_000, "the disk never filled up");
    };
    assert_eq!(refused.error(), (503, "temporarily_unavailable".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    let read = estate.try_admin("GET", "/agents/planner", Value::Null).await;
    assert_eq!(read.status, 200, "reading goes on");

    estate.node.app.db.close().await;
    estate.node = Chancery::start(&place).await;
    for jti in given {
        let event = jti.replace("tok_", "evt_");
        estate
            .admin("GET", &format!("/audit/events/{event}"), Value::Null)
            .await;
    }
    estate.node.integrate().await;
    estate.own("planner", &[("resource", NOTES)]).await.token();
}
