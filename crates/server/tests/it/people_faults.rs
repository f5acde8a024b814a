//! What people and their clients do once: a code, a refresh, a device's poll, a yes, a password, a passkey, an
//! enrolment. The process is killed, the database fails, or the disk is full between any two steps of it: afterwards it
//! is done with its record, or not done and can be done again.
//!
//! The process that is killed is this very test program, started again.

use crate::approval::{approve, poll, prepare};
use crate::authenticator::Authenticator;
use crate::backchannel;
use crate::browser::Browser;
use crate::device::Living;
use crate::estate::NOTES;
use crate::harness::*;
use crate::local_users::{OTHER, PASSWORD, change, chosen, enrolled, invited};
use crate::outside;
use crate::passkeys::registered;
use crate::refresh::refresh;
use chancery_core::time::{Timestamp, Ttl};
use chancery_server::node::NodeConfig;
use chancery_server::store::db::{FaultAction, Options, Point};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

on_both_engines!(
    a_kill_around_any_commit_of_a_code,
    a_kill_around_any_commit_of_a_refresh,
    a_kill_around_any_commit_of_a_device_poll,
    a_kill_around_any_commit_of_a_use_of_a_yes,
    a_kill_around_any_commit_of_a_new_password,
    a_kill_around_any_commit_of_a_new_passkey,
    a_kill_around_any_commit_of_an_enrolment,
    a_fault_between_any_two_steps_of_what_people_do,
);

/// What is done once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Code,
    Refresh,
    Device,
    Yes,
    Password,
    Passkey,
    Enrolment,
}

const ALL: [Deed; 7] = [
    Deed::Code,
    Deed::Refresh,
    Deed::Device,
    Deed::Yes,
    Deed::Password,
    Deed::Passkey,
    Deed::Enrolment,
];

impl Deed {
    /// The event that it writes, its status, and the status of the very same request once it was done.
    const fn marks(self) -> (&'static str, u16, u16) {
        match self {
            Self::Code | Self::Device | Self::Yes => ("token.issued", 200, 400),
            // A reply that was lost is given again.
            Self::Refresh => ("token.issued", 200, 200),
            // The session went with what it hung on: the form leads to the sign-in page.
            Self::Password => ("password.set", 303, 303),
            Self::Passkey => ("passkey.added", 303, 403),
            Self::Enrolment => ("password.set", 303, 404),
        }
    }
}

/// A node with everybody who does something.
struct Ground {
    living: Living,
    place: Place,
    at: Timestamp,
    turn: u8,
}

impl Ground {
    async fn new(place: &Place) -> Self {
        let living = Living::room(place).await;
        prepare(&living.world.estate, "").await;
        Self {
            living,
            place: place.clone(),
            at: START,
            turn: 0,
        }
    }

    fn node(&self) -> &Chancery {
        &self.living.world.estate.node
    }

    /// Everything up to the last request of a deed, and that request.
    async fn before(&mut self, deed: Deed) -> Value {
        self.turn += 1;
        let name = format!("person-{}", self.turn);
        let node = self.node().clone();
        let path = match deed {
            Deed::Code | Deed::Refresh | Deed::Device | Deed::Yes => "/token",
            Deed::Password => "/me/password",
            Deed::Passkey => "/me/passkeys",
            Deed::Enrolment => "/enrol/password",
        };
        let (keeping, kept) = node.keeping(path);
        match deed {
            Deed::Code => {
                let code = self.code().await;
                self.living.world.estate.node = keeping;
                self.living.world.redeem(&code, &[]).await;
            }
            Deed::Refresh => {
                let code = self.code().await;
                let given = self.living.world.redeem(&code, &[]).await.json();
                let token = given["refresh_token"].as_str().unwrap().to_owned();
                self.living.world.estate.node = keeping;
                refresh(&self.living.world, &token, &[]).await;
            }
            Deed::Device => {
                let codes = self.living.asked(&[]).await;
                let mut browser = self.living.world.signed_in().await;
                self.living.allow(&mut browser, &codes.user).await;
                self.living.world.estate.node = keeping;
                self.living.poll(&codes.device).await;
            }
            Deed::Yes => {
                let estate = &mut self.living.world.estate;
                let hint = [("login_hint", "alice"), ("binding_message", name.as_str())];
                let (handle, id) = backchannel::asked(&backchannel::ask(estate, &hint).await);
                approve(estate, "alice", &id).await.unwrap();
                estate.node = keeping;
                poll(estate, "planner", &handle).await;
            }
            Deed::Password => {
                let browser = enrolled(&node, &name, &[]).await;
                change(&mut browser.through(&keeping), PASSWORD, OTHER).await;
            }
            Deed::Passkey => {
                let browser = enrolled(&node, &name, &[]).await;
                let mut passkey = Authenticator::new(self.turn);
                registered(&mut browser.through(&keeping), &mut passkey).await;
            }
            Deed::Enrolment => {
                let code = invited(&node, &name, &[]).await;
                chosen(&mut Browser::at(&keeping), &code, PASSWORD, PASSWORD).await;
            }
        }
        self.living.world.estate.node = node;
        kept.lock().unwrap().take().unwrap()
    }

    /// A code of a person who is asked each time.
    async fn code(&self) -> String {
        let mut browser = self.living.world.signed_in().await;
        let asked = [("prompt", "consent")];
        self.living.world.code(&mut browser, &asked).await
    }

    async fn written(&self, deed: Deed) -> usize {
        self.living.world.estate.events(deed.marks().0).await.len()
    }

    /// The node goes and comes back, a little later.
    async fn reopen(&mut self, options: Options) {
        self.node().app.db.close().await;
        self.at = self.at.plus(Ttl::from_seconds(6));
        self.living.world.estate.node = node(&self.place, self.at, options).await;
    }

    /// What holds however a deed ended: it is in the log once or not at all, and doing it again says which.
    async fn check(&mut self, deed: Deed, act: &Value, before: usize, what: &str) -> usize {
        let written = self.written(deed).await - before;
        assert!(written <= 1, "{deed:?} {what}");
        let (_, done, again) = deed.marks();
        let answer = self.node().send_kept(act).await;
        let expected = if written == 1 { again } else { done };
        assert_eq!(answer.status, expected, "{deed:?} {what}: {}", answer.text());
        if written == 0 || deed != Deed::Refresh {
            assert_eq!(self.written(deed).await - before, 1, "{deed:?} {what}");
        }
        written
    }
}

pub(crate) async fn node(place: &Place, at: Timestamp, options: Options) -> Chancery {
    let change = |config: &mut NodeConfig, _: &mut _| config.allowed_hosts = outside::loopback();
    Chancery::build(place, at, options, change).await.unwrap()
}

/// Counts boundaries of commits down, and strikes at the one that is due.
#[derive(Clone, Debug)]
struct Trap(Arc<AtomicI64>);

impl Trap {
    fn new(
        counts: impl Fn(&Point) -> bool + Send + Sync + 'static,
        strike: impl Fn() -> FaultAction + Send + Sync + 'static,
    ) -> (Self, Options) {
        let trap = Self(Arc::new(AtomicI64::new(i64::MAX)));
        let (left, mut options) = (trap.clone(), Options::default());
        options.fault = Some(Arc::new(move |point: Point| {
            let is_armed = left.0.load(Ordering::SeqCst) != i64::MAX;
            if is_armed && counts(&point) && left.0.fetch_sub(1, Ordering::SeqCst) == 0 {
                return strike();
            }
            FaultAction::Continue
        }));
        (trap, options)
    }

    fn arm(&self, boundary: i64) {
        self.0.store(boundary, Ordering::SeqCst);
    }

    /// Whether it struck.
    fn disarm(&self) -> bool {
        self.0.swap(i64::MAX, Ordering::SeqCst) < 0
    }
}

async fn killed_at_every_step(place: Place, deed: Deed) {
    let mut ground = Ground::new(&place).await;
    let (mut done, mut not_done) = (0, 0);
    for boundary in 0.. {
        let act = ground.before(deed).await;
        let before = ground.written(deed).await;
        ground.node().app.db.close().await;
        let was_killed = killed(&place, ground.at, &act, boundary);
        ground.reopen(Options::default()).await;
        if !was_killed {
            assert_eq!(ground.written(deed).await - before, 1, "{deed:?} undisturbed");
            break;
        }
        match ground
            .check(deed, &act, before, &format!("killed at {boundary}"))
            .await
        {
            0 => not_done += 1,
            _ => done += 1,
        }
    }
    assert!(not_done > 0 && done > 0, "{deed:?}: {not_done} and {done}");
    is_sound(&ground).await;
}

/// Has another process do something, and kills it at a boundary of its commits. Whether it came so far.
pub(crate) fn killed(place: &Place, at: Timestamp, act: &Value, boundary: usize) -> bool {
    tokio::task::block_in_place(|| {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["people_faults::victim", "--exact", "--ignored", "--nocapture"])
            .env("CRASH_URL", &place.text)
            .env("CRASH_ACT", act.to_string())
            .env("CRASH_AT", at.as_seconds().to_string())
            .env("CRASH_BOUNDARY", boundary.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        !status.unwrap().success()
    })
}

/// The log is whole, and the node works.
async fn is_sound(ground: &Ground) {
    let estate = &ground.living.world.estate;
    estate.node.integrate().await;
    let key = estate.admin("GET", "/audit/log", Value::Null).await["verifier_key"].clone();
    let export = estate.try_admin("GET", "/audit/export", Value::Null).await.text();
    let report = chancery_audit::verify(export.lines(), vec![key.as_str().unwrap().parse().unwrap()], &[]);
    assert!(report.unwrap().entries > 0);
    estate.own("planner", &[("resource", NOTES)]).await.token();
}

/// Not a test of its own: the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the victim of the tests above"]
#[expect(
    clippy::disallowed_methods,
    reason = "the parent process says what to do by the environment"
)]
async fn victim() {
    let text = |name: &str| std::env::var(name).unwrap();
    let place = Place::at(text("CRASH_URL"));
    let at = Timestamp::from_seconds(text("CRASH_AT").parse().unwrap());
    let act: Value = serde_json::from_str(&text("CRASH_ACT")).unwrap();
    // A process that is killed at one statement has committed as little as at any other.
    let is_commit = |point: &Point| matches!(point, Point::BeforeCommit | Point::AfterCommit);
    let (trap, options) = Trap::new(is_commit, || {
        let own = std::process::id().to_string();
        Command::new("kill").args(["-9", &own]).status().unwrap();
        loop {
            std::thread::park();
        }
    });
    let node = node(&place, at, options).await;
    trap.arm(text("CRASH_BOUNDARY").parse().unwrap());
    let answer = node.send_kept(&act).await;
    assert!(
        answer.status.is_success() || answer.status == 303,
        "{}",
        answer.text()
    );
}

async fn a_kill_around_any_commit_of_a_code(place: Place) {
    killed_at_every_step(place, Deed::Code).await;
}

async fn a_kill_around_any_commit_of_a_refresh(place: Place) {
    killed_at_every_step(place, Deed::Refresh).await;
}

async fn a_kill_around_any_commit_of_a_device_poll(place: Place) {
    killed_at_every_step(place, Deed::Device).await;
}

async fn a_kill_around_any_commit_of_a_use_of_a_yes(place: Place) {
    killed_at_every_step(place, Deed::Yes).await;
}

async fn a_kill_around_any_commit_of_a_new_password(place: Place) {
    killed_at_every_step(place, Deed::Password).await;
}

async fn a_kill_around_any_commit_of_a_new_passkey(place: Place) {
    killed_at_every_step(place, Deed::Passkey).await;
}

async fn a_kill_around_any_commit_of_an_enrolment(place: Place) {
    killed_at_every_step(place, Deed::Enrolment).await;
}

/// A database that fails at one step. Statements of one kind that follow each other are one step.
fn failing() -> (Trap, Options) {
    let last = Mutex::new("");
    let is_step = move |point: &Point| match point {
        Point::Group(_) => false,
        Point::BeforeCommit | Point::AfterCommit => true,
        Point::Statement(label) => std::mem::replace(&mut *last.lock().unwrap(), label) != *label,
    };
    Trap::new(is_step, || FaultAction::Fail)
}

async fn a_fault_between_any_two_steps_of_what_people_do(place: Place) {
    let mut ground = Ground::new(&place).await;
    let (mut trap, options) = failing();
    ground.reopen(options).await;
    for deed in ALL {
        for boundary in 0.. {
            let act = ground.before(deed).await;
            let before = ground.written(deed).await;
            trap.arm(boundary);
            let answer = ground.node().send_kept(&act).await;
            if !trap.disarm() {
                assert!(boundary > 3, "{deed:?}: only {boundary} boundaries were tried");
                break;
            }
            let (next, options) = failing();
            ground.reopen(options).await;
            trap = next;
            let done = answer.status == deed.marks().1;
            assert!(
                done || answer.status == 503,
                "{deed:?} {boundary}: {}",
                answer.text()
            );
            if done {
                assert_eq!(ground.written(deed).await - before, 1, "{deed:?} {boundary}");
            }
            let what = format!("failed at {boundary}");
            ground.check(deed, &act, before, &what).await;
        }
    }
    is_sound(&ground).await;
}

/// On SQLite alone: PostgreSQL's disk is its own affair, and a statement that fails there is tried above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_halves_nothing_that_people_do() {
    let place = Place::sqlite();
    let file = place.text.strip_prefix("sqlite:").unwrap().to_owned();
    let mut ground = Ground::new(&place).await;
    let mut refused = Vec::new();
    for deed in ALL {
        let act = ground.before(deed).await;
        ground.reopen(Options::default()).await;
        ground.node().app.db.close().await;
        let mut options = Options::default();
        let pages = std::fs::metadata(&file).unwrap().len() / 4_096;
        options.max_pages = Some(u32::try_from(pages).unwrap() + 1);
        ground.reopen(options).await;
        while ground
            .living
            .world
            .estate
            .own("planner", &[("resource", NOTES)])
            .await
            .status
            == 200
        {}
        let before = ground.written(deed).await;
        let answer = ground.node().send_kept(&act).await;
        if answer.status == 503 {
            refused.push(deed);
        } else {
            assert_eq!(answer.status, deed.marks().1, "{deed:?}: {}", answer.text());
        }
        assert_eq!(ground.node().get("/enrol").await.status, 200, "reading goes on");
        ground.reopen(Options::default()).await;
        ground.check(deed, &act, before, "on a full disk").await;
    }
    assert!(refused.len() >= 5, "only {refused:?} were refused");
    is_sound(&ground).await;
}
