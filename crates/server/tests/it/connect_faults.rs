//! A process is killed between any two steps of connecting an account and of refreshing its tokens. On SQLite it was the
//! only one; on PostgreSQL another goes on beside it. Afterwards the account is there whole or not at all, and whoever
//! lost it to a kill connects again.

use crate::connect::Drive;
use crate::harness::*;
use crate::people_faults::{killed, node};
use chancery_core::time::{Clock as _, Timestamp, Ttl};
use chancery_server::store::db::Options;
use serde_json::{Value, json};

on_both_engines!(
    a_kill_around_any_commit_of_a_connect,
    a_kill_around_any_commit_of_a_refresh_at_the_provider,
);

/// A drive, and where its database is.
struct Ground {
    drive: Drive,
    place: Place,
}

impl Ground {
    async fn open(place: &Place) -> Self {
        Self {
            drive: Drive::open(place).await,
            place: place.clone(),
        }
    }

    fn node(&self) -> &Chancery {
        &self.drive.estate.node
    }

    fn at(&self) -> Timestamp {
        self.node().clock.now()
    }

    fn is_alone(&self) -> bool {
        self.place.text.starts_with("sqlite:")
    }

    /// Another process does it, and is killed. Whether it came so far.
    async fn killed(&mut self, act: &Value, boundary: usize) -> bool {
        if self.is_alone() {
            self.node().app.db.close().await;
        }
        let was_killed = killed(&self.place, self.at(), act, boundary);
        // A refresh is somebody else's after half a minute.
        let wait = Ttl::from_seconds(31);
        if self.is_alone() {
            let later = self.at().plus(wait);
            self.drive.estate.node = node(&self.place, later, Options::default()).await;
        } else {
            self.node().advance(wait).await;
        }
        was_killed
    }

    async fn written(&self, kind: &str) -> usize {
        let events = self.drive.estate.events(kind).await;
        events.iter().filter(|event| event["outcome"] == "ok").count()
    }

    async fn connect(&self, person: &str) {
        let mut browser = self.drive.signed_in(person).await;
        let subject = format!("{person}-there");
        let lasts = [("lasts", "always")];
        let done = self
            .drive
            .connect(&mut browser, ("planner", &subject), &lasts)
            .await;
        assert_eq!(done.status, 200, "{}", done.text());
    }

    /// The agent uses the person's account and no other, or the person is sent to connect it. Whether it was used.
    async fn is_used(&self, person: &str, what: &str) -> bool {
        let answer = self.drive.use_by("planner", person).await;
        if answer.status == 200 {
            assert_eq!(answer.text(), format!("files of {person}-there"), "{what}");
            return true;
        }
        assert_eq!(
            answer.problem(),
            (403, "account_not_connected".to_owned()),
            "{what}: {}",
            answer.text()
        );
        false
    }
}

async fn a_kill_around_any_commit_of_a_connect(place: Place) {
    let mut ground = Ground::open(&place).await;
    let (mut done, mut not_done) = (0, 0);
    for boundary in 0.. {
        let person = format!("person-{boundary}");
        let mut browser = ground.drive.signed_in(&person).await;
        let location = ground.drive.begun(&mut browser, "planner", &[]).await;
        let back = ground
            .drive
            .provider
            .approve(&location, &format!("{person}-there"));
        let (keeping, kept) = ground.node().keeping_any(http::Method::GET, "/connect/callback");
        browser.through(&keeping).get(&back).await;
        let act = kept.lock().unwrap().take().unwrap();
        ground.drive.provider.asked("/token");
        let before = ground.written("connected_account.created").await;

        let was_killed = ground.killed(&act, boundary).await;
        let written = ground.written("connected_account.created").await - before;
        let what = format!("killed at {boundary}");
        assert!(written <= 1, "{what}");
        assert_eq!(ground.is_used(&person, &what).await, written == 1, "{what}");
        if !was_killed {
            assert_eq!(written, 1, "undisturbed");
            break;
        }
        // The way back goes to the provider once.
        let again = browser.through(ground.node()).get(&back).await;
        assert!(
            [200, 400, 502].contains(&again.status.as_u16()),
            "{what}: {}",
            again.text()
        );
        assert!(ground.drive.provider.asked("/token").len() <= 1, "{what}");
        ground.connect(&person).await;
        assert!(ground.is_used(&person, &what).await, "{what}");
        done += written;
        not_done += 1 - written;
    }
    assert!(done > 0 && not_done > 0, "{done} and {not_done}");
}

async fn a_kill_around_any_commit_of_a_refresh_at_the_provider(place: Place) {
    let mut ground = Ground::open(&place).await;
    let (mut kept_on, mut lost) = (0, 0);
    for boundary in 0.. {
        let person = format!("person-{boundary}");
        ground.connect(&person).await;
        ground.node().advance(Ttl::from_minutes(61)).await;
        let token = ground.drive.token("planner", &person).await;
        let headers = json!([
            ["host", "id.example"],
            ["authorization", format!("Bearer {token}")]
        ]);
        let act = json!({ "method": "GET", "path": "/broker/drive/files", "headers": headers, "body": "" });
        ground.drive.provider.asked("/token");
        let before = ground.written("connected_account.refreshed").await;

        let was_killed = ground.killed(&act, boundary).await;
        let written = ground.written("connected_account.refreshed").await - before;
        let asked = ground.drive.provider.asked("/token").len();
        let what = format!("killed at {boundary}: asked {asked}, written {written}");
        assert!(written <= asked && asked <= 1, "{what}");
        let is_used = ground.is_used(&person, &what).await;
        // Only what the provider had given and nobody stored is lost.
        assert_eq!(is_used, asked == written, "{what}");
        if !was_killed {
            assert!(is_used && written == 1, "undisturbed");
            break;
        }
        if is_used {
            kept_on += 1;
        } else {
            lost += 1;
            ground.connect(&person).await;
            assert!(ground.is_used(&person, &what).await, "{what}");
        }
    }
    assert!(kept_on > 2 && lost > 0, "{kept_on} and {lost}");
}
