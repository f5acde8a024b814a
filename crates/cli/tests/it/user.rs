//! `chancery user`: a local person from the invitation to the end, and what is said and done about somebody's passkeys.

use crate::notes::wire::{Reply, serve};
use crate::world::{BINARY, World, texts};
use serde_json::{Value, json};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

#[test]
fn a_person_is_made_shown_begun_anew_stopped_and_ended() {
    let mut world = World::serve();
    let made = world.good(
        &[
            "user",
            "create",
            "ada",
            "--role",
            "auditor",
            "--group",
            "lab",
            "--attribute",
            "email=ada@example.com",
        ],
        "",
    );
    assert!(made.contains(&format!("{}/enrol", world.base)), "{made}");
    let code = |said: &str| said.trim().rsplit(' ').next().unwrap().to_owned();
    let first = code(&made);
    assert!(made.contains("shown once") && first.len() > 40, "{made}");
    let again = world.good(&["user", "reset", "ada"], "");
    assert_ne!(code(&again), first, "a code of its own");

    let shown = world.json(&["user", "show", "ada"]);
    assert_eq!(
        (
            &shown["spec"]["roles"],
            &shown["spec"]["groups"],
            &shown["spec"]["issuer"]
        ),
        (&json!(["auditor"]), &json!(["lab"]), &json!("local"))
    );
    assert_eq!(shown["spec"]["attributes"]["email"], "ada@example.com");
    assert!(!shown.to_string().contains(&first));
    assert!(world.good(&["user", "list"], "").contains("ada"));
    assert_eq!(world.json(&["user", "passkeys", "ada"])["items"], json!([]));

    world.good(&["user", "suspend", "ada"], "");
    assert!(
        world
            .bad(&["user", "reset", "ada"], "")
            .contains("chancery user activate")
    );
    world.good(&["user", "activate", "ada"], "");
    world.good(&["user", "retire", "ada"], "");
    world.bad(&["user", "create", "ada"], "");
    world.bad(&["user", "passkeys", "nobody"], "");
    world.bad(&["user", "passkeys", "ada", "--remove", "psk_nonsense"], "");
    assert!(
        world
            .bad(&["user", "create", "bob", "--attribute", "nonsense"], "")
            .contains("NAME=VALUE")
    );
}

/// A server that has one passkey of ada, and notes what it is asked.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
    folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let address = serve(move |asked| {
            log.lock()
                .unwrap()
                .push(format!("{} {}", asked.method, asked.path));
            if asked.method == "POST" {
                return (204, Vec::new(), String::new());
            }
            let passkey = json!({ "id": "psk_1", "name": "my phone", "signs_in": false, "created_at": "2026-01-15T12:00:00Z" });
            said(&json!({ "items": [passkey] }))
        });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "MARKER-token").unwrap();
        Self {
            url: format!("http://{address}"),
            seen,
            folder,
        }
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(BINARY);
        command.args(words).current_dir(self.folder.path());
        command
            .env("CHANCERY_URL", &self.url)
            .env("CHANCERY_TOKEN_FILE", "token");
        command.output().unwrap()
    }
}

fn said(body: &Value) -> Reply {
    (
        200,
        vec![("content-type", "application/json".to_owned())],
        body.to_string(),
    )
}

#[test]
fn passkeys_are_listed_in_words_and_one_is_removed_by_its_id() {
    let server = Server::start();
    let (out, err) = texts(&server.run(&["user", "passkeys", "ada"]));
    for part in ["psk_1", "my phone", "says yes", "2026-01-15"] {
        assert!(out.contains(part), "{part}: {out}{err}");
    }
    assert!(!out.contains("signs in"), "{out}");
    let (out, err) = texts(&server.run(&["user", "passkeys", "ada lovelace", "--remove", "psk_1"]));
    assert!(out.contains("psk_1 is removed"), "{out}{err}");
    assert_eq!(
        *server.seen.lock().unwrap(),
        [
            "GET /api/v1/users/ada/passkeys",
            "POST /api/v1/users/ada%20lovelace/passkeys/psk_1/remove"
        ]
    );
}
