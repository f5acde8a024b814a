//! The log: every effect has its record, records explain themselves, and nobody edits one without being found
//! out.

use crate::estate::*;
use crate::harness::*;
use chancery_audit::{ProofBundle, VerifierKey, verify};
use chancery_core::time::Ttl;
use serde_json::{Value, json};
use std::fmt::Write as _;

on_both_engines!(
    every_token_answered_has_its_record_with_the_decision,
    a_denied_decision_has_a_table,
    a_change_is_recorded_with_actor_and_new_state,
    an_export_verifies_offline_with_the_key_alone,
    a_changed_export_is_found_out,
    a_later_log_is_consistent_with_a_kept_checkpoint,
    an_inclusion_proof_verifies_offline,
    an_erased_part_leaves_every_proof_valid,
    tiles_are_served_as_c2sp_lays_them_out,
    a_record_edited_before_integration_never_enters_the_log,
    one_damaged_log_does_not_stop_another_tenants,
    a_record_edited_after_integration_is_found_out,
    a_list_shows_what_the_leaf_says_whatever_the_columns_say,
    sentences_call_everybody_by_name,
    an_administrator_of_the_tenant_is_named_in_what_they_do,
);

pub(crate) async fn export(estate: &Estate) -> Vec<String> {
    let answer = estate.try_admin("GET", "/audit/export", Value::Null).await;
    assert_eq!(answer.header("content-type"), Some("application/jsonl"));
    answer.text().lines().map(str::to_owned).collect()
}

pub(crate) async fn log_key(estate: &Estate) -> VerifierKey {
    let log = estate.admin("GET", "/audit/log", Value::Null).await;
    log["verifier_key"].as_str().unwrap().parse().unwrap()
}

async fn every_token_answered_has_its_record_with_the_decision(place: Place) {
    let estate = Estate::start(&place).await;
    let handed = estate.handed_over("notes:read").await;
    let tokens = [
        estate.own("planner", &[("resource", NOTES)]).await,
        estate.planner_for_alice("read write").await,
        estate.exchange("helper", &handed, &[("resource", NOTES)]).await,
        estate.asserted(&estate.pod("planner", plain()), &[]).await,
    ];
    for answer in tokens {
        let claims = answer.claims();
        let jti = claims["jti"].as_str().unwrap();
        let event = estate
            .admin(
                "GET",
                &format!("/audit/events/{}", jti.replace("tok_", "evt_")),
                Value::Null,
            )
            .await;
        assert_eq!(
            (&event["kind"], &event["outcome"]),
            (&json!("token.issued"), &json!("ok"))
        );
        assert!(event["ids"].to_string().contains(jti));
        let why = estate.admin("GET", &format!("/why/{jti}"), Value::Null).await;
        let decision = &why["decision"]["decision"];
        assert_eq!(
            (&decision["outcome"], &event["parts"]["decision"]),
            (&json!("permit"), decision)
        );
        let given: Vec<_> = decision["rows"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| row["given"] == true)
            .collect();
        assert_eq!(given.len(), claims["scope"].as_str().unwrap().split(' ').count());
    }
}

async fn a_denied_decision_has_a_table(place: Place) {
    let estate = Estate::start(&place).await;
    let answer = estate.planner_for_alice("read delete admin").await;
    let decision = answer.json()["decision"].as_str().unwrap().to_owned();
    let why = estate
        .admin("GET", &format!("/why/{decision}"), Value::Null)
        .await;
    let table = &why["decision"]["explanation"];
    let columns = json!([
        "scope", "asked", "parent", "ceiling", "grant", "holders", "policy", "given"
    ]);
    assert_eq!(table["columns"], columns);
    let rows = table["rows"].as_array().unwrap();
    let row = |scope: &str| rows.iter().find(|row| row[0] == scope).unwrap().clone();
    assert_eq!(row("notes:admin")[3], "NO");
    assert_eq!(row("notes:delete")[5], "NO");
    assert!(rows.iter().all(|row| row.as_array().unwrap().len() == 8));
    let events = estate.events("token.issued").await;
    assert_eq!((&events[0]["outcome"], events.len()), (&json!("denied"), 1));
}

async fn a_change_is_recorded_with_actor_and_new_state(place: Place) {
    let estate = Estate::start(&place).await;
    estate
        .admin("POST", "/agents", json!({ "name": "new", "owner": "ops" }))
        .await;
    estate
        .change("agents", "new", json!({ "description": "second" }))
        .await;
    for step in ["suspend", "activate", "retire"] {
        estate
            .admin("POST", &format!("/agents/new/{step}"), Value::Null)
            .await;
    }
    let id = estate.show("agents", "new").await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let list = estate
        .admin("GET", &format!("/audit/events?id={id}"), Value::Null)
        .await;
    let events = list["items"].as_array().unwrap();
    let kinds: Vec<_> = events
        .iter()
        .rev()
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "agent.created",
            "agent.updated",
            "agent.suspended",
            "agent.activated",
            "agent.retired"
        ]
    );
    assert_eq!(events[0]["parts"]["state"], estate.show("agents", "new").await);
    assert!(
        events
            .iter()
            .all(|event| event["ids"].to_string().contains("local:1000"))
    );
}

async fn an_export_verifies_offline_with_the_key_alone(place: Place) {
    let estate = Estate::start(&place).await;
    for _ in 0..5 {
        estate.own("planner", &[("resource", NOTES)]).await.token();
        estate.node.integrate().await;
    }
    let lines = export(&estate).await;
    let report = verify(&lines, vec![log_key(&estate).await], &[]).unwrap();
    let events = estate.events("").await.len();
    assert_eq!(report.entries, u64::try_from(events).unwrap());
    assert!(report.checkpoints >= 5 && report.is_unwitnessed());
}

async fn a_changed_export_is_found_out(place: Place) {
    let estate = Estate::start(&place).await;
    for _ in 0..3 {
        estate.own("planner", &[("resource", NOTES)]).await.token();
    }
    estate.node.integrate().await;
    let (lines, key) = (export(&estate).await, log_key(&estate).await);
    let check = |lines: &[String]| verify(lines, vec![key.clone()], &[]);
    assert!(check(&lines).is_ok());
    let middle = lines.len() / 2;
    let mut flipped = lines.clone();
    flipped[middle] = flipped[middle].replacen("ok", "no", 1);
    let mut dropped = lines.clone();
    dropped.remove(middle);
    let mut swapped = lines.clone();
    swapped.swap(middle, middle + 1);
    for changed in [flipped, dropped, swapped, lines[..lines.len() - 2].to_vec()] {
        assert!(check(&changed).is_err());
    }
    let other: VerifierKey = {
        let node = Estate::on(estate.node.clone(), "").await;
        node.node.add_tenant("acme").await;
        let log = node
            .node
            .admin("GET", "/t/acme/api/v1/audit/log", Value::Null)
            .await;
        log["verifier_key"].as_str().unwrap().parse().unwrap()
    };
    assert!(verify(&lines, vec![other], &[]).is_err(), "another log's key");
}

async fn a_later_log_is_consistent_with_a_kept_checkpoint(place: Place) {
    let estate = Estate::start(&place).await;
    estate.node.integrate().await;
    let kept = vec![estate.node.get("/log/checkpoint").await.text()];
    estate.own("planner", &[("resource", NOTES)]).await.token();
    estate.node.integrate().await;
    let (lines, key) = (export(&estate).await, log_key(&estate).await);
    let report = verify(&lines, vec![key.clone()], &kept).unwrap();
    assert_eq!((report.kept_confirmed, report.is_unwitnessed()), (1, false));
    let later = vec![estate.node.get("/log/checkpoint").await.text()];
    assert_ne!(kept, later);
    let older: Vec<String> = lines
        .iter()
        .filter(|line| !line.contains("token.issued"))
        .cloned()
        .collect();
    assert!(verify(&older, vec![key], &later).is_err(), "a truncated tail");
}

async fn an_inclusion_proof_verifies_offline(place: Place) {
    let estate = Estate::start(&place).await;
    estate.own("planner", &[("resource", NOTES)]).await.token();
    let id = estate.events("token.issued").await[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/audit/events/{id}/proof");
    assert_eq!(
        estate.try_admin("GET", &path, Value::Null).await.problem().0,
        422,
        "not integrated yet"
    );
    estate.node.integrate().await;
    let proof = estate.admin("GET", &path, Value::Null).await.to_string();
    let key = log_key(&estate).await;
    assert!(
        ProofBundle::parse(&proof)
            .unwrap()
            .verify(std::slice::from_ref(&key))
            .is_ok()
    );
    let forged = proof.replacen("token.issued", "token.issuEd", 1);
    let accepted = ProofBundle::parse(&forged)
        .ok()
        .and_then(|bundle| bundle.verify(&[key]).ok());
    assert!(accepted.is_none());
}

async fn tiles_are_served_as_c2sp_lays_them_out(place: Place) {
    use base64::Engine as _;
    use chancery_audit::tile::{self, Tile, TileId, TileSet};
    let estate = Estate::start(&place).await;
    let agents: Vec<Value> = (0..260)
        .map(|number| json!({ "name": format!("a-{number}"), "owner": "ops" }))
        .collect();
    estate.apply(json!({ "agents": agents })).await;
    estate.node.integrate().await;
    let note = estate.node.get("/log/checkpoint").await.text();
    let mut lines = note.lines().skip(1);
    let size: u64 = lines.next().unwrap().parse().unwrap();
    let root = lines.next().unwrap();
    assert!((257..512).contains(&size), "one full tile and a part: {size}");

    let rest = u16::try_from(size - 256).unwrap();
    let mut tiles = Vec::new();
    for (path, (level, index), width) in [
        ("0/000".to_owned(), (0, 0), 256),
        (format!("0/001.p/{rest}"), (0, 1), rest),
        ("1/000.p/1".to_owned(), (1, 0), 1),
    ] {
        let answer = estate.node.get(&format!("/log/tile/{path}")).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.len()),
            (200, usize::from(width) * 32),
            "{path}"
        );
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
        tiles.push(Tile::from_bytes(TileId { level, index }, &answer.body).unwrap());
    }
    let tiles: TileSet = tiles.into_iter().collect();
    let computed = tile::root(&tiles, size).unwrap();
    let computed = base64::engine::general_purpose::STANDARD.encode(computed.as_bytes());
    assert_eq!(computed, root, "the tiles are the tree that was signed");
    // A narrower part of what has grown since is still there; nothing else is.
    assert_eq!(estate.node.get("/log/tile/0/000.p/7").await.body.len(), 7 * 32);
    let absent = [
        "0/001".to_owned(),
        format!("0/001.p/{}", rest + 1),
        "0/002.p/1".to_owned(),
        "2/000.p/1".to_owned(),
        "0/0".to_owned(),
        "0/000.p/0".to_owned(),
        "0/000.p/256".to_owned(),
        "entries/000".to_owned(),
        "64/000".to_owned(),
    ];
    for path in absent {
        let answer = estate.node.get(&format!("/log/tile/{path}")).await;
        assert_eq!(answer.problem(), (404, "no_such_endpoint".to_owned()), "{path}");
    }
}

async fn an_erased_part_leaves_every_proof_valid(place: Place) {
    let estate = Estate::start(&place).await;
    estate.planner_for_alice("read").await.token();
    estate.node.integrate().await;
    let created = &estate.events("user.").await[0];
    let id = created["id"].as_str().unwrap().to_owned();
    assert!(!created["parts"]["state"].is_null());
    let path = format!("/audit/events/{id}/parts/state");
    assert_eq!(estate.try_admin("DELETE", &path, Value::Null).await.status, 204);
    let shown = estate
        .admin("GET", &format!("/audit/events/{id}"), Value::Null)
        .await;
    assert_eq!(shown["parts"]["state"], Value::Null);
    estate.node.integrate().await;
    let report = verify(export(&estate).await, vec![log_key(&estate).await], &[]).unwrap();
    assert_eq!(report.parts_erased, 1);
    assert_eq!(estate.events("part.erased").await.len(), 1);
    let answer = estate
        .try_admin(
            "DELETE",
            &format!("/audit/events/{id}/parts/nothing"),
            Value::Null,
        )
        .await;
    assert_eq!(answer.problem().0, 422);
}

/// Stops the node, edits the database and starts again, as somebody with the disk in hand would.
async fn edited(estate: &mut Estate, place: &Place, sql: &str) {
    use chancery_core::time::Clock as _;
    estate.node.app.db.close().await;
    place.behind_the_back(sql).await;
    estate.node = Chancery::start_at(place, estate.node.clock.now().plus(Ttl::from_seconds(11))).await;
}

async fn a_record_edited_before_integration_never_enters_the_log(place: Place) {
    let mut estate = Estate::start(&place).await;
    estate.node.integrate().await;
    let before = estate.admin("GET", "/audit/log", Value::Null).await["size"].clone();
    estate.own("planner", &[("resource", NOTES)]).await.token();
    let sql = "UPDATE events SET leaf = REPLACE(leaf, '\"ok\"', '\"denied\"') WHERE kind = 'token.issued'";
    edited(&mut estate, &place, sql).await;
    let failure = chancery_server::jobs::integrator::run(&estate.node.app)
        .await
        .unwrap_err();
    assert!(
        failure
            .to_string()
            .contains("was changed before it was integrated"),
        "{failure}"
    );
    assert_eq!(
        estate.admin("GET", "/audit/log", Value::Null).await["size"],
        before
    );
}

/// On SQLite an event has its place when it is written, so that one that goes missing leaves a gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_deleted_before_integration_stops_the_log() {
    let place = Place::sqlite();
    let mut estate = Estate::start(&place).await;
    estate.node.integrate().await;
    let before = estate.admin("GET", "/audit/log", Value::Null).await["size"].clone();
    for _ in 0..3 {
        estate.own("planner", &[("resource", NOTES)]).await.token();
    }
    let sql = "DELETE FROM events WHERE seq = (SELECT MAX(seq) - 1 FROM events WHERE kind = 'token.issued')";
    edited(&mut estate, &place, sql).await;
    let failure = chancery_server::jobs::integrator::run(&estate.node.app)
        .await
        .unwrap_err();
    assert!(
        failure
            .to_string()
            .contains("was deleted before it was integrated"),
        "{failure}"
    );
    assert_eq!(
        estate.admin("GET", "/audit/log", Value::Null).await["size"],
        before
    );
}

async fn one_damaged_log_does_not_stop_another_tenants(place: Place) {
    let (mut first, second) = Estate::twins(&place).await;
    for estate in [&first, &second] {
        estate.own("planner", &[("resource", NOTES)]).await.token();
    }
    let default = first.node.app.tenants.find_by_name("default").unwrap().tenant.id;
    let mut hex = String::new();
    for byte in chancery_core::id::Id::as_bytes(&default) {
        write!(hex, "{byte:02x}").unwrap();
    }
    let tenant = if place.is_postgres() {
        format!("'\\x{hex}'")
    } else {
        format!("x'{hex}'")
    };
    let sql =
        format!("UPDATE events SET leaf = REPLACE(leaf, '\"ok\"', '\"denied\"') WHERE tenant = {tenant}");
    edited(&mut first, &place, &sql).await;
    assert!(
        chancery_server::jobs::integrator::run(&first.node.app)
            .await
            .is_err()
    );
    let other = first
        .node
        .admin("GET", "/t/acme/api/v1/audit/log", Value::Null)
        .await;
    assert!(
        other["size"].as_u64().unwrap() > 0,
        "the other tenant's log goes on"
    );
}

async fn a_record_edited_after_integration_is_found_out(place: Place) {
    let mut estate = Estate::start(&place).await;
    estate.own("planner", &[("resource", NOTES)]).await.token();
    estate.node.integrate().await;
    let key = log_key(&estate).await;
    assert!(verify(export(&estate).await, vec![key.clone()], &[]).is_ok());
    let sql = "UPDATE events SET leaf = REPLACE(leaf, '\"ok\"', '\"denied\"') WHERE kind = 'token.issued'";
    edited(&mut estate, &place, sql).await;
    assert!(verify(export(&estate).await, vec![key], &[]).is_err());
}

async fn a_list_shows_what_the_leaf_says_whatever_the_columns_say(place: Place) {
    let mut estate = Estate::start(&place).await;
    for _ in 0..2 {
        estate.own("planner", &[("resource", NOTES)]).await.token();
        let events = estate.events("").await;
        assert!(
            events.iter().all(|event| event["altered"].is_null()),
            "integrated or not"
        );
        estate.node.integrate().await;
    }
    let sql = "UPDATE events SET kind = 'agent.created', outcome = 'denied' WHERE kind = 'token.issued'";
    edited(&mut estate, &place, sql).await;
    // Looked for by what it is or by what it was made to look like, the leaf is what is shown.
    for kind in ["token.issued", "token.", "agent.created"] {
        let events = estate.events(kind).await;
        let forged = events.iter().find(|event| !event["altered"].is_null()).unwrap();
        assert_eq!(
            (&forged["kind"], &forged["outcome"], &forged["altered"]),
            (&json!("token.issued"), &json!("ok"), &json!("kind, outcome"))
        );
        assert!(forged["sentence"].as_str().unwrap().starts_with("ALTERED"));
    }
    let sql = "UPDATE events SET parts = REPLACE(parts, 'planner', 'somebody') WHERE kind = 'agent.created'";
    edited(&mut estate, &place, sql).await;
    let events = estate.events("token.issued").await;
    assert_eq!(events[0]["altered"], "kind, outcome, parts");
    let sql = "UPDATE events SET leaf = REPLACE(leaf, '\"ok\"', '\"denied\"') WHERE outcome = 'denied'";
    edited(&mut estate, &place, sql).await;
    let events = estate.events("token.issued").await;
    assert_eq!(events[0]["altered"], "leaf, kind, parts");
    let sql = "UPDATE events SET leaf = 'x' WHERE outcome = 'denied'";
    edited(&mut estate, &place, sql).await;
    assert!(
        estate
            .events("")
            .await
            .iter()
            .any(|event| event["kind"] == "unreadable")
    );
}

async fn sentences_call_everybody_by_name(place: Place) {
    let estate = Estate::start(&place).await;
    let token = estate.own("planner", &[("resource", NOTES)]).await.token();
    estate.post("/revoke", "planner", &[("token", &token)]).await;
    estate.planner_for_alice("read").await.token();
    let code = estate.node.code.clone().unwrap();
    estate
        .admin("POST", "/enrol", json!({ "code": code, "name": "ada" }))
        .await;
    let created = &estate.events("user.created").await[0];
    let id = created["id"].as_str().unwrap().to_owned();
    let path = format!("/audit/events/{id}/parts/state");
    assert_eq!(estate.try_admin("DELETE", &path, Value::Null).await.status, 204);
    let wrong = basic("nobody", "wrong");
    estate
        .node
        .form_with("/token", &[("grant_type", "client_credentials")], Some(&wrong))
        .await;

    let sentence = |events: Vec<Value>| events[0]["sentence"].as_str().unwrap().to_owned();
    let jti = claims(&token)["jti"].as_str().unwrap().to_owned();
    for (kind, expected) in [
        ("token.revoked", format!("planner revoked token {jti}")),
        ("user.enrolled", "ada enrolled as administrator with the one-time code".to_owned()),
        ("part.erased", format!("local:1000 erased part state of event {id}")),
        (
            "authentication.failed",
            "a caller that calls itself `nobody` could not be authenticated: no client has this id in this tenant"
                .to_owned(),
        ),
    ] {
        assert_eq!(sentence(estate.events(kind).await), expected, "{kind}");
    }
    let updated = estate.events("user.updated").await;
    if let Some(event) = updated.first() {
        let sentence = event["sentence"].as_str().unwrap();
        assert!(
            sentence.starts_with("planner for alice updated user"),
            "{sentence}"
        );
    }
    let erased = estate
        .admin("GET", &format!("/audit/events/{id}"), Value::Null)
        .await;
    assert!(
        erased["sentence"].as_str().unwrap().contains("usr_"),
        "what was erased leaves an id only"
    );
}

async fn an_administrator_of_the_tenant_is_named_in_what_they_do(place: Place) {
    let estate = Estate::start(&place).await;
    let body = json!({ "code": estate.node.code.clone().unwrap(), "name": "ada" });
    let enrolled = estate.node.get("/api/v1/enrol").await;
    assert_ne!(enrolled.status, 200);
    let user = estate.admin("POST", "/enrol", body.clone()).await;
    assert_eq!(
        (&user["name"], &user["spec"]["roles"]),
        (&json!("ada"), &json!(["administrator"]))
    );
    assert_eq!(
        estate.try_admin("POST", "/enrol", body).await.problem().0,
        422,
        "a code is used once"
    );
    let events = estate.events("user.enrolled").await;
    assert!(
        events[0]["ids"]
            .to_string()
            .contains(user["id"].as_str().unwrap())
    );
}
