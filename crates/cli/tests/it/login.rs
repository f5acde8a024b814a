//! `chancery login` and `chancery logout`: what is asked of a server, what is kept and where, and what is done with it.

use crate::notes::wire::{Asked, Reply, serve};
use crate::world::{BINARY, World, texts};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

/// A path, and the form that was sent there.
type Sent = (String, HashMap<String, String>);

/// A server that a person answers, as far as the command can see.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<Sent>>>,
    home: tempfile::TempDir,
}

impl Server {
    /// One whose person answers at the second poll.
    fn start(answer: &'static str) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let address = serve(move |asked| {
            let form: HashMap<String, String> =
                url::form_urlencoded::parse(&asked.body).into_owned().collect();
            let mut log = log.lock().unwrap();
            log.push((asked.path.clone(), form.clone()));
            let polls = log
                .iter()
                .filter(|(_, form)| form.contains_key("device_code"))
                .count();
            reply(asked, &form, (polls, answer))
        });
        Self {
            url: format!("http://{address}"),
            seen,
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(BINARY);
        command
            .args(words)
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .env_remove("CHANCERY_URL")
            .env_remove("CHANCERY_TOKEN_FILE");
        command.output().unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let folder = self.home.path().join(".config/chancery/logins");
        let Ok(entries) = std::fs::read_dir(folder) else {
            return Vec::new();
        };
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// What was sent to a path, in order.
    fn sent(&self, path: &str) -> Vec<HashMap<String, String>> {
        let seen = self.seen.lock().unwrap();
        let to = seen.iter().filter(|(named, _)| named == path);
        to.map(|(_, form)| form.clone()).collect()
    }
}

fn reply(asked: &Asked, form: &HashMap<String, String>, (polls, answer): (usize, &str)) -> Reply {
    let is = |name: &str, value: &str| form.get(name).is_some_and(|found| found == value);
    let tokens = |access: &str, refresh: &str, seconds: u32| {
        said(
            200,
            &json!({ "access_token": access, "token_type": "Bearer", "expires_in": seconds, "scope": "read",
            "refresh_token": refresh }),
        )
    };
    match asked.path.as_str() {
        "/device_authorization" => said(
            200,
            &json!({ "device_code": "MARKER-device", "user_code": "WDJB-MJHT", "interval": 0, "expires_in": 600,
                "verification_uri": "https://id.example/device",
                "verification_uri_complete": "https://id.example/device?user_code=WDJB-MJHT" }),
        ),
        "/token" if is("device_code", "MARKER-device") => match (polls, answer) {
            (1, _) => said(400, &json!({ "error": "authorization_pending" })),
            (_, "yes") => tokens("MARKER-first", "MARKER-refresh-1", 10),
            (_, _) => said(400, &json!({ "error": answer })),
        },
        "/token" if is("refresh_token", "MARKER-refresh-1") => {
            tokens("MARKER-second", "MARKER-refresh-2", 3_600)
        }
        "/token" => said(400, &json!({ "error": "invalid_grant" })),
        "/revoke" => said(200, &json!({})),
        "/api/v1/agents" if asked.header("authorization") == Some("Bearer MARKER-second") => {
            said(200, &json!({ "items": [] }))
        }
        _ => said(
            401,
            &json!({ "code": "unauthenticated", "detail": "no bearer token was sent" }),
        ),
    }
}

fn said(status: u16, body: &Value) -> Reply {
    let kind = vec![("content-type", "application/json".to_owned())];
    (status, kind, body.to_string())
}

#[test]
fn what_is_given_is_kept_for_its_owner_alone_and_used_renewed_and_revoked() {
    let server = Server::start("yes");
    let output = server.run(&["login", "--server", &server.url]);
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{out}\n{err}");
    assert!(err.contains("WDJB-MJHT") && err.contains("https://id.example/device"));
    assert!(!out.contains("MARKER") && !err.contains("MARKER"));
    let asked = &server.sent("/device_authorization")[0];
    assert_eq!(asked["client_id"], "chancery-cli");
    assert_eq!(asked["resource"], format!("{}/api/v1", server.url));
    assert_eq!(asked["scope"], "read audit write kill");

    let files = server.files();
    let [file] = files.as_slice() else {
        panic!("{files:?}");
    };
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let folder = std::fs::metadata(file.parent().unwrap())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(folder & 0o777, 0o700);

    // The first token is about to end: it is renewed once, and then used.
    for _ in 0..2 {
        let listed = server.run(&["--url", &server.url, "agent", "list", "--json"]);
        assert!(listed.status.success(), "{:?}", texts(&listed));
    }
    let renewals = server.sent("/token");
    let renewals = renewals
        .iter()
        .filter(|form| form["grant_type"] == "refresh_token");
    assert_eq!(renewals.count(), 1);
    // A server that nobody signed in to is told nothing.
    let other = Server::start("yes");
    let listed = server.run(&["--url", &other.url, "agent", "list"]);
    assert!(texts(&listed).1.contains("no bearer token"));

    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(file, open).unwrap();
    let refused = server.run(&["--url", &server.url, "agent", "list"]);
    assert!(texts(&refused).1.contains("others can read"), "{refused:?}");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();

    let output = server.run(&["logout", "--server", &server.url]);
    assert!(output.status.success(), "{:?}", texts(&output));
    assert_eq!(server.sent("/revoke")[0]["token"], "MARKER-refresh-2");
    assert!(server.files().is_empty());
    let listed = server.run(&["--url", &server.url, "agent", "list"]);
    assert!(texts(&listed).1.contains("no bearer token"));
    assert!(!server.run(&["logout", "--server", &server.url]).status.success());
}

#[test]
fn a_no_and_a_server_in_the_clear_leave_nothing() {
    for (answer, said) in [
        ("access_denied", "you said no"),
        ("expired_token", "nobody answered in time"),
        ("invalid_client", "400"),
    ] {
        let server = Server::start(answer);
        let output = server.run(&["login", "--server", &server.url]);
        assert!(!output.status.success());
        assert!(texts(&output).1.contains(said), "{answer}: {output:?}");
        assert!(server.files().is_empty());
    }
    let server = Server::start("yes");
    let output = server.run(&["login", "--server", "http://id.example"]);
    assert!(texts(&output).1.contains("is not https"));
}

#[test]
fn a_server_of_ours_knows_the_command_line() {
    let mut world = World::serve();
    world.enrol();
    let base = world.base.clone();
    let mut login = world.command(&["login", "--server", &base]);
    let mut login = login.spawn().unwrap();
    let mut lines = BufReader::new(login.stderr.take().unwrap()).lines();
    let shown = lines.by_ref().map(Result::unwrap);
    let link = shown
        .take_while(|line| !line.contains("waiting"))
        .find(|line| line.starts_with("open "));
    login.kill().unwrap();
    login.wait().unwrap();
    let link = link.expect("the command shows where to answer");
    assert!(
        link.starts_with(&format!("open {base}/device?user_code=")),
        "{link}"
    );
    let agent = world.json(&["agent", "show", "chancery-cli"]);
    assert_eq!(agent["state"], "active");
}
