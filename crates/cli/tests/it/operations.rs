//! What an operator does: a backup while calls go on, a restore, rotations, and reading logs and metrics.

use crate::notes::{KEY, Notes};
use crate::world::World;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One request: the status, and head and body as they came.
fn ask(address: &str, head: &str, body: &str) -> (u16, String) {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let length = body.len();
    let request =
        format!("{head}\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
    (status.unwrap_or_default(), answer)
}

/// A client that has a token.
#[derive(Clone)]
struct Caller {
    address: String,
    token: String,
}

impl Caller {
    fn of(world: &mut World) -> Self {
        let token = issue(world);
        let caller = Self {
            address: world.base.trim_start_matches("http://").to_owned(),
            token,
        };
        // What the server shows is pinned when it is seen.
        caller.send("tools/list", &json!({}));
        caller
    }

    fn send(&self, method: &str, params: &Value) -> (u16, String) {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let head = format!(
            "POST /mcp/notes HTTP/1.1\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nmcp-protocol-version: 2025-11-25",
            self.token
        );
        ask(&self.address, &head, &message.to_string())
    }

    fn call(&self) -> (u16, String) {
        self.send("tools/call", &json!({ "name": "read_note", "arguments": {} }))
    }

    fn works(&self) {
        let (status, answer) = self.call();
        assert!(status == 200 && answer.contains("did read_note"), "{answer}");
    }

    /// Calls from a thread of its own, until told to stop; then the answers that were none.
    fn load(&self) -> impl FnOnce() -> (usize, Vec<String>) + use<> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (caller, told) = (self.clone(), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            let (mut good, mut bad) = (0, Vec::new());
            while !told.load(Ordering::SeqCst) || good + bad.len() == 0 {
                let (status, answer) = caller.call();
                if status == 200 && answer.contains("did read_note") {
                    good += 1;
                } else {
                    bad.push(answer);
                }
            }
            (good, bad)
        });
        move || {
            is_over.store(true, Ordering::SeqCst);
            thread.join().unwrap()
        }
    }
}

const ISSUE: [&str; 10] = [
    "token",
    "issue",
    "--client",
    "bot-secret",
    "--secret-file",
    "bot.secret",
    "--audience",
    "notes",
    "--scope",
    "read",
];

fn issue(world: &mut World) -> String {
    world.good(&ISSUE, "").trim().to_owned()
}

/// A world after an accident: a copy was made while calls went on, more was done, and then the data was lost.
struct Lost {
    world: World,
    /// Whose tokens are from before the copy, and from after it.
    callers: [Caller; 2],
    _notes: Notes,
}

const RESTORE: [&str; 4] = ["restore", "copy.db", "--checkpoints", "kept"];

impl Lost {
    fn after_an_accident() -> Self {
        let notes = Notes::start();
        let mut world = World::ready(&notes.url, KEY);
        let before = Caller::of(&mut world);
        let over = before.load();
        world.good(&["backup", "copy.db"], "");
        let (good, bad) = over();
        assert!(good > 0 && bad.is_empty(), "{bad:?}");
        let again = world.bad(&["backup", "copy.db"], "");
        assert!(again.contains("`copy.db` cannot be made"), "{again}");

        // What the copy does not know: a token, and a grant that is killed.
        let after = Caller::of(&mut world);
        after.works();
        world.good(&["kill", "grant", "bot:self:notes"], "");
        assert_eq!(after.call().0, 401);
        let origin = format!("{}/log/1", before.address);
        let signed = |world: &World| {
            let kept = std::fs::read_to_string(world.path("kept")).unwrap_or_default();
            kept.lines().filter(|line| *line == origin).count()
        };
        let so_far = signed(&world);
        world.good(&["agent", "create", "late", "--owner", "me"], "");
        eventually(&mut world, |world| signed(world) > so_far);
        world.stop();
        std::fs::rename(world.path("chancery-data"), world.path("lost")).unwrap();
        std::fs::create_dir(world.path("chancery-data")).unwrap();
        Self {
            world,
            callers: [before, after],
            _notes: notes,
        }
    }
}

fn bring_the_key(world: &World) {
    std::fs::copy(world.path("lost/root.key"), world.path("chancery-data/root.key")).unwrap();
}

#[test]
fn a_copy_put_in_place_by_hand_is_found_out_and_nothing_is_overwritten() {
    let Lost { mut world, .. } = Lost::after_an_accident();
    bring_the_key(&world);
    std::fs::copy(world.path("copy.db"), world.path("chancery-data/chancery.db")).unwrap();
    let refused = world.refuses(&[]);
    assert!(
        refused.contains("hint: if it was restored: chancery restore --checkpoints kept"),
        "{refused}"
    );
    let exists = world.bad(&RESTORE, "");
    assert!(exists.contains("leave FROM out"), "{exists}");
    // As PostgreSQL's, which others put in place.
    world.good(&["restore", "--checkpoints", "kept"], "");
    world.restart_with(&[]);
}

#[test]
fn a_restore_ends_every_token_and_waits_until_somebody_has_looked() {
    let Lost {
        mut world, callers, ..
    } = Lost::after_an_accident();
    let keyless = world.bad(&RESTORE, "");
    assert!(keyless.contains("root key file"), "{keyless}");
    assert!(!world.path("chancery-data/chancery.db").exists());
    bring_the_key(&world);

    let restored = world.good(&RESTORE, "");
    let of_default = restored
        .lines()
        .find(|line| line.starts_with("tenant default:"))
        .unwrap();
    assert!(of_default.ends_with("are known to be lost"), "{restored}");
    assert!(!of_default.contains(" and 0 are known"), "{restored}");
    world.restart_with(&[]);
    for (status, said) in callers.iter().map(Caller::call) {
        assert!(status == 503 && said.contains("restore_unconfirmed"), "{said}");
    }
    let unissued = world.bad(&ISSUE, "");
    assert!(unissued.contains("chancery restore --confirm"), "{unissued}");
    // The grant that was killed is back: that is what somebody has to look at.
    world.good(&["kill", "grant", "bot:self:notes"], "");
    world.good(&["restore", "--confirm"], "");
    let twice = world.bad(&["restore", "--confirm"], "");
    assert!(twice.contains("no restore to confirm"), "{twice}");
    let killed = world.bad(&ISSUE, "");
    assert!(killed.contains("chancery why"), "{killed}");
    for dead in &callers {
        assert_eq!(dead.call().0, 401);
    }

    // Both generations verify, against what was kept of both.
    std::fs::copy(world.path("kept"), world.path("kept-then")).unwrap();
    world.good(&["audit", "export", "--out", "log.jsonl"], "");
    let key = world.good(&["audit", "key"], "");
    std::fs::write(world.path("log.key"), key.lines().next().unwrap()).unwrap();
    let verify = [
        "audit",
        "verify",
        "log.jsonl",
        "--key",
        "log.key",
        "--checkpoints",
        "kept-then",
    ];
    let verified = world.good(&verify, "");
    assert!(verified.contains("kept elsewhere confirmed"), "{verified}");
    let exported = std::fs::read_to_string(world.path("log.jsonl")).unwrap();
    assert_eq!(exported.matches(r#"{"log":{"origin""#).count(), 2);
}

#[test]
fn the_vault_is_rotated_while_calls_go_on_and_the_old_root_key_opens_nothing() {
    let notes = Notes::start();
    let mut world = World::ready(&notes.url, KEY);
    let caller = Caller::of(&mut world);
    caller.works();

    let over = caller.load();
    let rotated = world.good(&["vault", "rotate"], "");
    assert!(rotated.contains("opens nothing any more"), "{rotated}");
    let made = world.good(&["vault", "root-key", "new.key"], "");
    assert!(!made.contains("v1:"), "{made}");
    let there = world.bad(&["vault", "root-key", "new.key"], "");
    assert!(there.contains("cannot be made"), "{there}");
    for _ in 0..2 {
        world.good(&["vault", "rotate", "--root", "new.key"], "");
    }
    let (good, bad) = over();
    assert!(good > 0 && bad.is_empty(), "{bad:?}");

    let refused = world.refuses(&[]);
    assert!(
        refused.contains("sealed under root key") && refused.contains("hint: --root-key-file"),
        "{refused}"
    );
    world.restart_with(&["--root-key-file", "new.key"]);
    caller.works();
    issue(&mut world);
}

#[test]
fn past_a_limit_a_call_is_refused_and_metrics_and_logs_name_nobody() {
    let notes = Notes::start();
    let mut world = World::ready(&notes.url, KEY);
    let metrics = format!("127.0.0.1:{}", free_port());
    world.restart_with(&[
        "--limits",
        "agent=1/8",
        "--metrics",
        &metrics,
        "--log-format",
        "json",
        "--log",
        "info",
    ]);
    let caller = Caller::of(&mut world);
    let mut answers = (0..20).map(|_| caller.call());
    let (_, refused) = answers.find(|(status, _)| *status == 429).unwrap();
    let lower = refused.to_lowercase();
    assert!(
        lower.contains("retry-after: 1") && lower.contains("limit_reached"),
        "{refused}"
    );

    let (status, scraped) = ask(&metrics, "GET /metrics HTTP/1.1", "");
    assert_eq!(status, 200);
    for expected in [
        r#"chancery_decisions_total{action="call",outcome="permit""#,
        r#"chancery_token_requests_total{grant="client_credentials",error="none"} 1"#,
        r#"chancery_limits_reached_total{limit="agent"}"#,
        "# EOF",
    ] {
        assert!(scraped.contains(expected), "{expected}: {scraped}");
    }
    for name in ["bot", "alice", "notes", "read_note", "tenant=", "default"] {
        assert!(!scraped.contains(name), "{name}: {scraped}");
    }

    let log = world.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect();
    for route in ["/token", "/mcp/{resource}"] {
        let answered = |line: &&Value| line["fields"]["route"] == route && line["fields"]["status"] == 200;
        let line = lines.iter().rfind(answered).unwrap();
        let trace = line["span"]["trace"].as_str().unwrap();
        assert_eq!(trace.len(), 32, "{line}");
        assert!(line["fields"]["milliseconds"].is_u64(), "{line}");
        let decision = line["span"]["decision"]
            .as_str()
            .unwrap_or_else(|| panic!("{line}"));
        world.good(&["why", decision], "");
    }
    let secret = std::fs::read_to_string(world.path("bot.secret")).unwrap();
    for secret in [KEY, secret.trim(), &caller.token] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}

#[test]
fn a_log_for_machines_holds_no_enrolment_code() {
    let mut world = World::serve();
    world.stop();
    std::fs::remove_dir_all(world.path("chancery-data")).unwrap();
    world.restart_with(&["--log-format", "json", "--log", "info"]);
    eventually(&mut world, |world| world.log().contains("enrolment-code"));
    let file = world.path("chancery-data/enrolment-code");
    let code = std::fs::read_to_string(&file).unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    assert!(!world.log().contains(&code));
    world.good(&["enrol", "--name", "alice", "--code", &code], "");
}

/// Looks again and again, with a command in between that takes its time.
fn eventually(world: &mut World, is_so: impl Fn(&World) -> bool) {
    for _ in 0..300 {
        if is_so(world) {
            return;
        }
        world.good(&["agent", "list"], "");
    }
    panic!("it does not come to be so");
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn test_mode_is_said_loudly_and_refused_off_loopback() {
    let mut world = World::serve();
    world.restart_with(&["--test-mode"]);
    assert!(world.log().contains("TEST MODE"), "{}", world.log());
    let doctor = world.good(&["doctor", "--test-mode"], "");
    assert!(doctor.contains("TEST MODE"), "{doctor}");
    let open = [
        "doctor",
        "--test-mode",
        "--listen",
        "0.0.0.0:1",
        "--trusted-proxies",
        "10.0.0.0/8",
    ];
    assert!(world.bad(&open, "").contains("1 fault"));
    let said = world.refuses(&["--test-mode", "--trusted-proxies", "10.0.0.0/8"]);
    assert!(said.contains("believes no proxy"), "{said}");
}
