//! The drill: a backup made under load is put back, the log goes on in a new generation, and nothing that was issued or
//! revoked since comes back to life by itself.

use crate::estate::*;
use crate::gateway::Bank;
use crate::harness::*;
use chancery_audit::{VerifierKey, verify};
use chancery_core::time::{Timestamp, Ttl};
use chancery_server::govern::restore;
use chancery_server::keys::RootKey;
use chancery_server::roots::Roots;
use chancery_server::store::Db;
use chancery_server::store::db::Options;
use chancery_server::witness;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

on_both_engines!(
    a_restored_log_goes_on_in_a_new_generation_that_verifies_with_the_old,
    nothing_issued_or_revoked_after_the_backup_revives_by_itself,
    a_node_that_finds_a_restored_database_does_not_start,
    a_backup_restored_twice_never_uses_a_name_twice,
    a_proof_that_was_used_after_the_backup_is_not_taken_again,
    sealed_credentials_open_after_a_restore,
);

mod on_postgres {
    crate::harness::on_postgres!(a_node_that_loses_what_it_signed_stops);
    use super::a_node_that_loses_what_it_signed_stops;
}

mod on_sqlite {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_backup_is_made_on_the_servers_own_machine_only_and_holds_no_root_key() {
        super::a_backup_is_private(crate::harness::Place::sqlite()).await;
    }
}

const LATER: Timestamp = Timestamp::from_seconds(1_768_482_000);

/// A database and what is kept beside it.
struct Drill {
    place: Place,
    folder: tempfile::TempDir,
}

impl Drill {
    fn new(place: &Place) -> Self {
        Self {
            place: place.clone(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn checkpoints(&self) -> PathBuf {
        self.folder.path().join("checkpoints")
    }

    fn copy(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    async fn node(&self, at: Timestamp) -> Result<Chancery, chancery_server::Failure> {
        Chancery::try_start_with(&self.place, at, |config, _| {
            config.checkpoint_file = Some(self.checkpoints());
            config.allowed_hosts = crate::outside::loopback();
        })
        .await
    }

    /// Copies the database while it is in use, as an operator does on this engine.
    async fn back_up(&self, node: &Chancery) {
        if self.place.is_postgres() {
            let (server, schema) = self.place.server_and_schema();
            let copy = self.copy();
            let dumped = tokio::task::spawn_blocking(move || {
                Command::new("pg_dump")
                    .args(["--schema", &schema, "--file"])
                    .arg(copy)
                    .arg(server)
                    .status()
            });
            assert!(dumped.await.unwrap().unwrap().success());
            return;
        }
        let answer = node.local("GET", "/t/system/api/v1/backup", Value::Null).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        std::fs::write(self.copy(), &answer.body).unwrap();
    }

    /// Puts the copy where the database was. No node runs.
    async fn put_back(&self) {
        if self.place.is_postgres() {
            let (server, schema) = self.place.server_and_schema();
            let copy = self.copy();
            let restored = tokio::task::spawn_blocking(move || {
                Command::new("psql")
                    .args(["--quiet", "--set", "ON_ERROR_STOP=1"])
                    .args([
                        "--command",
                        &format!("SET client_min_messages TO warning; DROP SCHEMA {schema} CASCADE"),
                    ])
                    .arg("--file")
                    .arg(copy)
                    .arg(server)
                    .stdout(std::process::Stdio::null())
                    .status()
            });
            assert!(restored.await.unwrap().unwrap().success());
            return;
        }
        let url = self.place.url();
        let path = url.sqlite_path().unwrap();
        for end in ["-wal", "-shm"] {
            let mut other = path.as_os_str().to_owned();
            other.push(end);
            std::fs::remove_file(PathBuf::from(other)).ok();
        }
        std::fs::copy(self.copy(), path).unwrap();
    }

    /// What `chancery restore` does once the copy is in its place.
    async fn go_on(&self, at: Timestamp) -> Vec<restore::Continued> {
        let notes = read(&self.checkpoints()).await;
        let db = Db::open(&self.place.url(), Options::default()).await.unwrap();
        let roots = Roots::new(RootKey::from_bytes(&[7; 32]).unwrap().into(), None);
        let random = chancery_server::world::SystemRandom;
        let continued = restore::run(&db, roots, &notes, (at, &random)).await.unwrap();
        db.close().await;
        continued
    }
}

async fn read(path: &Path) -> Vec<String> {
    // Without a checkpoint there is no file yet.
    witness::read(path, None).await.unwrap_or_default()
}

async fn stop(estate: &Estate) {
    estate.node.app.db.close().await;
}

async fn confirm(estate: &Estate) {
    estate.admin("POST", "/restore/confirm", Value::Null).await;
}

async fn exported(estate: &Estate) -> (Vec<String>, VerifierKey) {
    estate.node.integrate().await;
    let answer = estate.try_admin("GET", "/audit/export", Value::Null).await;
    let lines = answer.text().lines().map(str::to_owned).collect();
    let log = estate.admin("GET", "/audit/log", Value::Null).await;
    (lines, log["verifier_key"].as_str().unwrap().parse().unwrap())
}

async fn a_restored_log_goes_on_in_a_new_generation_that_verifies_with_the_old(place: Place) {
    let drill = Drill::new(&place);
    let mut estate = Estate::on(drill.node(START).await.unwrap(), "").await;
    estate.own("planner", &[("resource", NOTES)]).await.token();
    estate.node.integrate().await;

    // Under load, so that the copy holds events that are in no tree yet.
    let header = estate.basic("planner");
    let load = (0..4).map(|_| {
        let (node, header) = (estate.node.clone(), header.clone());
        tokio::spawn(async move {
            for _ in 0..15 {
                let form = [("grant_type", "client_credentials"), ("resource", NOTES)];
                node.form_with("/token", &form, Some(&header)).await.token();
            }
        })
    });
    let load: Vec<_> = load.collect();
    drill.back_up(&estate.node).await;
    for client in load {
        client.await.unwrap();
    }
    let (old, old_key) = exported(&estate).await;
    assert!(verify(&old, vec![old_key.clone()], &[]).is_ok());
    stop(&estate).await;
    drill.put_back().await;

    let continued = drill.go_on(LATER).await;
    assert_eq!(continued.len(), 2, "the default tenant and the system tenant");
    estate.node = drill.node(LATER).await.unwrap();
    confirm(&estate).await;
    estate.own("planner", &[("resource", NOTES)]).await.token();
    let (lines, key) = exported(&estate).await;

    let kept = read(&drill.checkpoints()).await;
    let own: Vec<String> = kept
        .into_iter()
        .filter(|note| note.starts_with("id.example/log/"))
        .collect();
    let report = verify(&lines, vec![key.clone()], &own).unwrap_or_else(|found| panic!("{found:?}"));
    assert_eq!(report.logs.len(), 2);
    assert!(report.logs[1].origin.generation() > report.logs[0].origin.generation());
    let lost: u64 = report.losses.iter().map(|loss| loss.to - loss.from + 1).sum();
    let default = continued
        .iter()
        .find(|one| one.tenant.as_str() == "default")
        .unwrap();
    assert_eq!(lost, default.previous.1 - default.kept);
    assert!(lost > 0);
    assert!(
        verify(&old, vec![key], &[]).is_ok(),
        "the key outlives the restore"
    );
    // What was written before the backup and was in no tree yet is in the new one.
    let events = estate.events("").await.len();
    assert_eq!(report.entries, u64::try_from(events).unwrap());
    assert_eq!(estate.events("log.restored").await.len(), 1);
    assert_eq!(estate.events("restore.confirmed").await.len(), 1);

    // A log that hides the restore does not verify.
    let hidden: Vec<String> = lines
        .iter()
        .filter(|line| !line.contains("log.restored"))
        .cloned()
        .collect();
    assert!(verify(&hidden, vec![old_key], &[]).is_err());
}

async fn nothing_issued_or_revoked_after_the_backup_revives_by_itself(place: Place) {
    let drill = Drill::new(&place);
    let mut estate = Estate::on(drill.node(START).await.unwrap(), "").await;
    let before = estate.own("planner", &[("resource", NOTES)]).await.token();
    drill.back_up(&estate.node).await;
    let after = estate.own("planner", &[("resource", NOTES)]).await.token();
    estate.kill("grant", "planner-notes").await;
    stop(&estate).await;
    drill.put_back().await;
    drill.go_on(LATER).await;

    estate.node = drill.node(LATER).await.unwrap();
    let refused = estate.own("planner", &[("resource", NOTES)]).await;
    assert_eq!(refused.problem(), (503, "restore_unconfirmed".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    for path in ["/mcp/notes", "/broker/notes/x", "/introspect"] {
        let request = http::Request::post(path).header("host", "id.example");
        let answer = estate
            .node
            .send(request.body(axum::body::Body::empty()).unwrap())
            .await;
        assert_eq!(answer.problem().1, "restore_unconfirmed", "{path}");
    }
    // What an administrator needs in order to look is there; the revoked grant is among what must be looked at.
    assert_eq!(estate.show("grants", "planner-notes").await["state"], "active");

    confirm(&estate).await;
    let again = estate.try_admin("POST", "/restore/confirm", Value::Null).await;
    assert_eq!(again.problem().0, 422);
    estate.kill("grant", "planner-notes").await;
    for token in [&before, &after] {
        assert!(!estate.is_active("planner", token).await);
    }
    assert_eq!(
        estate.own("planner", &[("resource", NOTES)]).await.error().1,
        "consent_required"
    );
}

async fn a_node_that_finds_a_restored_database_does_not_start(place: Place) {
    let drill = Drill::new(&place);
    let estate = Estate::on(drill.node(START).await.unwrap(), "").await;
    estate.node.integrate().await;
    drill.back_up(&estate.node).await;
    estate.own("planner", &[("resource", NOTES)]).await.token();
    estate.node.integrate().await;
    stop(&estate).await;
    let same = drill.node(START).await.unwrap();
    same.app.db.close().await;

    drill.put_back().await;
    let refused = drill.node(LATER).await.unwrap_err().to_string();
    assert!(refused.contains("restored from a backup"), "{refused}");
    assert!(refused.contains("chancery restore --checkpoints"), "{refused}");
    drill.go_on(LATER).await;
    drill.node(LATER).await.unwrap();
}

async fn a_backup_restored_twice_never_uses_a_name_twice(place: Place) {
    let drill = Drill::new(&place);
    let mut estate = Estate::on(drill.node(START).await.unwrap(), "").await;
    estate.node.integrate().await;
    drill.back_up(&estate.node).await;
    let mut generations = Vec::new();
    for round in 1..=2 {
        stop(&estate).await;
        drill.put_back().await;
        let at = LATER.plus(Ttl::from_minutes(round));
        let continued = drill.go_on(at).await;
        generations.push(continued[0].log_generation);
        estate.node = drill.node(at).await.unwrap();
        confirm(&estate).await;
        estate.node.integrate().await;
    }
    assert_ne!(generations[0], generations[1]);
    let (lines, key) = exported(&estate).await;
    let kept = read(&drill.checkpoints()).await;
    let kept: Vec<String> = kept
        .into_iter()
        .filter(|note| note.starts_with("id.example/log/"))
        .collect();
    let report = verify(&lines, vec![key], &kept).unwrap_or_else(|found| panic!("{found:?}"));
    assert_eq!(
        report.logs.len(),
        3,
        "the first restore is named, and its loss said"
    );
    assert_eq!(report.losses.len(), 1);
}

async fn a_proof_that_was_used_after_the_backup_is_not_taken_again(place: Place) {
    let drill = Drill::new(&place);
    let mut estate = Estate::on(drill.node(START).await.unwrap(), "").await;
    drill.back_up(&estate.node).await;
    let used = estate.assertion("used", plain());
    estate.asserted(&used, &[("resource", NOTES)]).await.token();
    stop(&estate).await;
    drill.put_back().await;
    let soon = START.plus(Ttl::from_seconds(5));
    drill.go_on(soon).await;
    estate.node = drill.node(soon).await.unwrap();
    confirm(&estate).await;
    let refused = estate.asserted(&used, &[("resource", NOTES)]).await;
    assert_eq!(estate.reason(&refused).await, "the assertion was used before");
    // One that was made after the restore, by a clock that may be a minute off, is taken.
    estate.node.advance(Ttl::from_seconds(70)).await;
    let fresh = estate.assertion("fresh", plain());
    estate.asserted(&fresh, &[("resource", NOTES)]).await.token();
}

async fn sealed_credentials_open_after_a_restore(place: Place) {
    let drill = Drill::new(&place);
    let mut bank = Bank::on(Estate::on(drill.node(START).await.unwrap(), "").await).await;
    drill.back_up(&bank.estate.node).await;
    stop(&bank.estate).await;
    drill.put_back().await;
    drill.go_on(LATER).await;
    bank.estate.node = drill.node(LATER).await.unwrap();
    confirm(&bank.estate).await;
    let dead = bank.tool("list_accounts", json!({})).await;
    assert_eq!(dead.status, 401);
    bank.renew().await;
    let answer = bank.tool("list_accounts", json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        bank.upstream.take()[0]
            .header("authorization")
            .unwrap()
            .contains("MARKER-key")
    );
}

async fn a_node_that_loses_what_it_signed_stops(place: Place) {
    let estate = Estate::start(&place).await;
    estate.own("planner", &[("resource", NOTES)]).await.token();
    estate.node.integrate().await;
    place
        .behind_the_back("UPDATE log_heads SET size = size - 1, signed_size = signed_size - 1 WHERE size > 3")
        .await;
    let failed = chancery_server::jobs::integrator::run(&estate.node.app).await;
    assert!(failed.unwrap_err().to_string().contains("chancery restore"));
    let answer = estate.own("planner", &[("resource", NOTES)]).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable".to_owned()));
}

async fn a_backup_is_private(place: Place) {
    let estate = Estate::start(&place).await;
    let root = RootKey::from_bytes(&[7; 32]).unwrap().to_file_text();
    let answer = estate
        .node
        .local("GET", "/t/system/api/v1/backup", Value::Null)
        .await;
    assert_eq!(answer.header("content-type"), Some("application/vnd.sqlite3"));
    assert!(answer.body.starts_with(b"SQLite format 3"));
    let holds = |needle: &[u8]| answer.body.windows(needle.len()).any(|window| window == needle);
    assert!(holds(b"planner"));
    assert!(!holds(&[7; 32]) && !holds(root.expose_secret().trim().as_bytes()));
    // Not in another tenant, and nothing of it is left on the server's disk.
    let elsewhere = estate.node.local("GET", "/api/v1/backup", Value::Null).await;
    assert_eq!(elsewhere.problem().0, 422);
    let url = place.url();
    let folder = url.sqlite_path().unwrap().parent().unwrap();
    let left = std::fs::read_dir(folder).unwrap();
    assert!(
        left.flatten()
            .all(|entry| !entry.file_name().to_string_lossy().contains("backup"))
    );
    let recorded = estate
        .node
        .admin(
            "GET",
            "/t/system/api/v1/audit/events?kind=database.backed_up",
            Value::Null,
        )
        .await;
    assert_eq!(recorded["items"].as_array().unwrap().len(), 1);
}
