//! Keeping a provider's tokens good: once for everybody, and safe when a node dies on the way.

use crate::connect::Drive;
use crate::harness::*;
use axum::response::IntoResponse as _;
use chancery_core::id::{ConnectedAccountId, Id as _, NodeId, TenantId};
use chancery_core::time::{Clock as _, Ttl};
use chancery_server::store::db::Batch;
use chancery_server::store::provider_token::{self, RefreshEnd};
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

on_both_engines!(
    many_calls_near_the_end_of_a_token_make_one_refresh,
    many_calls_after_the_end_of_a_token_make_one_refresh,
    a_refresh_that_another_node_has_is_waited_for,
    nobody_begins_with_the_tokens_of_before_anothers_refresh,
    a_refresh_that_was_cut_off_is_tried_again_when_its_time_is_over,
    what_a_dead_refresh_got_is_not_written,
    a_refresh_token_that_is_refused_sends_the_person_to_connect_again,
    a_provider_that_fails_is_no_end_and_is_not_hammered,
    a_token_endpoint_that_moved_gets_no_refresh_token,
    another_accounts_token_is_refused,
    a_refresh_is_recorded_before_and_after,
    a_token_that_the_interface_refuses_is_refreshed,
    a_token_that_the_interface_refuses_and_nothing_refreshes_is_over,
);

/// A drive with one account, whose token ends in an hour.
async fn connected(place: &Place) -> Drive {
    connected_with(place, &json!({})).await
}

async fn connected_with(place: &Place, oauth: &Value) -> Drive {
    let drive = Drive::with(place, oauth).await;
    let mut alice = drive.signed_in("alice").await;
    let done = drive
        .connect(&mut alice, ("planner", "alice-there"), &[("lasts", "always")])
        .await;
    assert_eq!(done.status, 200, "{}", done.text());
    drive.provider.asked("/token");
    drive
}

fn id_of(account: &Value) -> ConnectedAccountId {
    account["id"].as_str().unwrap().parse().unwrap()
}

async fn at_once(drive: Drive, count: usize) -> (Drive, Vec<StatusCode>) {
    let token = drive.token("planner", "alice").await;
    let drive = Arc::new(drive);
    let tries: Vec<_> = (0..count)
        .map(|_| {
            let (drive, token) = (drive.clone(), token.clone());
            tokio::spawn(async move { drive.call(&token).await.status })
        })
        .collect();
    let mut answers = Vec::new();
    for status in tries {
        answers.push(status.await.unwrap());
    }
    (Arc::into_inner(drive).unwrap(), answers)
}

async fn many_calls_near_the_end_of_a_token_make_one_refresh(place: Place) {
    let drive = connected(&place).await;
    drive.estate.node.advance(Ttl::from_minutes(59)).await;
    let (drive, answers) = at_once(drive, 200).await;
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    assert_eq!(drive.provider.asked("/token").len(), 1);
}

async fn many_calls_after_the_end_of_a_token_make_one_refresh(place: Place) {
    let drive = connected(&place).await;
    drive.estate.node.advance(Ttl::from_minutes(90)).await;
    let (drive, answers) = at_once(drive, 50).await;
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    let asked = drive.provider.asked("/token");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].form["refresh_token"], "MARKER-refresh-1-of-alice-there");
    // The successor is held: it serves the next hour.
    drive.estate.node.advance(Ttl::from_minutes(90)).await;
    assert_eq!(drive.use_by("planner", "alice").await.status, 200);
    let asked = drive.provider.asked("/token").remove(0);
    assert_eq!(asked.form["refresh_token"], "MARKER-refresh-2-of-alice-there");
}

/// Another node takes the refresh and leaves it so.
async fn taken_by_another(drive: &Drive) -> u64 {
    let db = &drive.estate.node.app.db;
    let (tenant, account) = ids(drive).await;
    let now = drive.estate.node.clock.now();
    let row = provider_token::find(db, tenant, account).await.unwrap().unwrap();
    let holder = (NodeId::from_bytes([9; 16]), now.plus(Ttl::from_seconds(30)));
    let begin = provider_token::begin(tenant, account, &row, holder, now);
    let outcome = db.commit(batch(drive).push(begin)).await.unwrap();
    assert!(outcome.is_committed());
    row.attempt + 1
}

async fn ids(drive: &Drive) -> (TenantId, ConnectedAccountId) {
    let served = drive.estate.node.app.tenants.find_by_name("default").unwrap();
    (served.tenant.id, id_of(&drive.account().await))
}

fn batch(drive: &Drive) -> Batch {
    drive.estate.node.app.batch(drive.estate.node.clock.now())
}

async fn a_refresh_that_another_node_has_is_waited_for(place: Place) {
    let drive = connected(&place).await;
    // A token that is still good is used meanwhile.
    drive.estate.node.advance(Ttl::from_minutes(59)).await;
    let attempt = taken_by_another(&drive).await;
    assert_eq!(drive.use_by("planner", "alice").await.status, 200);
    assert!(drive.provider.asked("/token").is_empty());

    // One that is over is not, and the answer is the other node's.
    drive.estate.node.advance(Ttl::from_seconds(20)).await;
    let token = drive.token("planner", "alice").await;
    drive.edit("UPDATE provider_tokens SET expires_at = 1").await;
    let waiting = {
        let drive = Arc::new(drive);
        let other = drive.clone();
        let task = tokio::spawn(async move { other.call(&token).await.status });
        let (tenant, account) = ids(&drive).await;
        let now = drive.estate.node.clock.now();
        let end = RefreshEnd::Refreshed {
            expires_at: Some(now.plus(Ttl::from_minutes(60))),
        };
        let end = provider_token::end(tenant, account, (attempt, &end), now);
        assert!(
            drive
                .estate
                .node
                .app
                .db
                .commit(batch(&drive).push(end))
                .await
                .unwrap()
                .is_committed()
        );
        assert_eq!(task.await.unwrap(), 200);
        drive
    };
    assert!(waiting.provider.asked("/token").is_empty());
}

/// The refresh token that was read is used up by then: asking with it would end the account.
async fn nobody_begins_with_the_tokens_of_before_anothers_refresh(place: Place) {
    let drive = connected(&place).await;
    drive.estate.node.advance(Ttl::from_minutes(59)).await;
    let attempt = taken_by_another(&drive).await;
    let (tenant, account) = ids(&drive).await;
    let db = &drive.estate.node.app.db;
    let seen = provider_token::find(db, tenant, account).await.unwrap().unwrap();
    let now = drive.estate.node.clock.now();
    let end = RefreshEnd::Refreshed {
        expires_at: Some(now.plus(Ttl::from_minutes(60))),
    };
    let end = provider_token::end(tenant, account, (attempt, &end), now);
    assert!(db.commit(batch(&drive).push(end)).await.unwrap().is_committed());

    let holder = (NodeId::from_bytes([8; 16]), now.plus(Ttl::from_seconds(30)));
    let begin = provider_token::begin(tenant, account, &seen, holder, now);
    assert!(!db.commit(batch(&drive).push(begin)).await.unwrap().is_committed());
    // Whoever reads anew may.
    let seen = provider_token::find(db, tenant, account).await.unwrap().unwrap();
    let begin = provider_token::begin(tenant, account, &seen, holder, now);
    assert!(db.commit(batch(&drive).push(begin)).await.unwrap().is_committed());
}

async fn a_refresh_that_was_cut_off_is_tried_again_when_its_time_is_over(place: Place) {
    let drive = connected(&place).await;
    drive.estate.node.advance(Ttl::from_minutes(59)).await;
    taken_by_another(&drive).await;
    // The node died before it asked. Its time is over before the token's is.
    drive.estate.node.advance(Ttl::from_seconds(31)).await;
    assert_eq!(drive.use_by("planner", "alice").await.status, 200);
    assert_eq!(drive.provider.asked("/token").len(), 1);
    assert_eq!(drive.account().await["status"], "connected");

    // Or after the provider had rotated: then what it held is lost, and the person is asked.
    drive.estate.node.advance(Ttl::from_minutes(90)).await;
    taken_by_another(&drive).await;
    drive.provider.forget_everything();
    drive.estate.node.advance(Ttl::from_seconds(31)).await;
    let refused = drive.use_by("planner", "alice").await;
    assert_eq!(refused.problem(), (403, "account_not_connected".to_owned()));
    assert_eq!(drive.account().await["status"], "revoked");
}

async fn what_a_dead_refresh_got_is_not_written(place: Place) {
    let drive = connected(&place).await;
    drive.estate.node.advance(Ttl::from_minutes(59)).await;
    let attempt = taken_by_another(&drive).await;
    drive.estate.node.advance(Ttl::from_seconds(31)).await;
    assert_eq!(drive.use_by("planner", "alice").await.status, 200);
    // The node that was taken for dead wakes up.
    let (tenant, account) = ids(&drive).await;
    let now = drive.estate.node.clock.now();
    let end = RefreshEnd::Refreshed { expires_at: None };
    let late = provider_token::end(tenant, account, (attempt, &end), now);
    assert!(
        !drive
            .estate
            .node
            .app
            .db
            .commit(batch(&drive).push(late))
            .await
            .unwrap()
            .is_committed()
    );
    assert_eq!(drive.use_by("planner", "alice").await.status, 200);
}

async fn a_refresh_token_that_is_refused_sends_the_person_to_connect_again(place: Place) {
    let drive = connected(&place).await;
    drive.provider.forget_everything();
    drive.estate.node.advance(Ttl::from_minutes(70)).await;
    for _ in 0..2 {
        let refused = drive.use_by("planner", "alice").await;
        assert_eq!(refused.problem(), (403, "account_not_connected".to_owned()));
        let hint = refused.json()["hint"].as_str().unwrap().to_owned();
        assert!(hint.ends_with("/connect/drive?agent=planner"), "{hint}");
    }
    assert_eq!(drive.provider.asked("/token").len(), 1, "it is not asked again");
    let account = drive.account().await;
    assert_eq!(account["status"], "revoked");
    assert!(
        account["last_error"].as_str().unwrap().contains("invalid_grant"),
        "{account}"
    );
    let mut alice = drive.signed_in("alice").await;
    assert!(alice.get("/me/agents").await.text().contains("invalid_grant"));
    let same = [("account", "same")];
    let done = drive.connect(&mut alice, ("planner", "alice-there"), &same).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(drive.use_by("planner", "alice").await.status, 200);
}

async fn a_provider_that_fails_is_no_end_and_is_not_hammered(place: Place) {
    let drive = connected(&place).await;
    drive
        .provider
        .script(|asked| (asked.path == "/token").then(|| StatusCode::BAD_GATEWAY.into_response()));
    drive.estate.node.advance(Ttl::from_minutes(59)).await;
    // The token is still good.
    for expected in [502, 200, 200] {
        assert_eq!(drive.use_by("planner", "alice").await.status.as_u16(), expected);
    }
    drive.estate.node.advance(Ttl::from_minutes(20)).await;
    for _ in 0..3 {
        let answer = drive.use_by("planner", "alice").await;
        assert_eq!(answer.problem(), (502, "provider_unavailable".to_owned()));
    }
    assert_eq!(drive.provider.asked("/token").len(), 2);
    let account = drive.account().await;
    assert_eq!(account["status"], "error");
    assert!(
        account["last_error"].as_str().unwrap().contains("502"),
        "{account}"
    );
    drive.provider.behave();
    drive.estate.node.advance(Ttl::from_seconds(11)).await;
    assert_eq!(drive.use_by("planner", "alice").await.status, 200);
    let account = drive.account().await;
    assert_eq!(
        (&account["status"], &account["last_error"]),
        (&json!("connected"), &Value::Null)
    );
}

async fn a_token_endpoint_that_moved_gets_no_refresh_token(place: Place) {
    let issuer = crate::oauth_provider::OAuthProvider::start().await;
    let evil = crate::oauth_provider::OAuthProvider::start().await;
    let (url, elsewhere) = (issuer.url.clone(), evil.url.clone());
    let metadata = move |url: &str, token: &str| {
        let said = json!({ "issuer": url, "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{token}/token"), "userinfo_endpoint": format!("{url}/me") });
        axum::Json(said).into_response()
    };
    let own = url.clone();
    issuer.script(move |asked| {
        (asked.path == "/.well-known/oauth-authorization-server").then(|| metadata(&own, &own))
    });
    let oauth = json!({ "issuer": issuer.url, "endpoints": null });
    let mut drive = Drive::with(&place, &oauth).await;
    drive.provider = issuer.clone();
    let mut alice = drive.signed_in("alice").await;
    let done = drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
    assert_eq!(done.status, 200, "{}", done.text());
    issuer.script(move |asked| {
        (asked.path == "/.well-known/oauth-authorization-server").then(|| metadata(&url, &elsewhere))
    });
    drive.estate.node.advance(Ttl::from_minutes(70)).await;
    let refused = drive.use_by("planner", "alice").await;
    assert_eq!(refused.problem(), (403, "account_not_connected".to_owned()));
    assert!(evil.asked("/token").is_empty());
}

async fn another_accounts_token_is_refused(place: Place) {
    let oauth = json!({ "account": { "of": "token", "subject": "/person" } });
    let drive = Drive::with(&place, &oauth).await;
    let answers = |person: &'static str| {
        move |asked: &crate::oauth_provider::AskedOf| {
            let body = json!({ "access_token": format!("MARKER-access-of-{person}"), "token_type": "Bearer",
                "expires_in": 3600, "refresh_token": "MARKER-refresh-x", "person": person });
            (asked.path == "/token").then(|| axum::Json(body).into_response())
        }
    };
    drive.provider.script(answers("alice"));
    let mut alice = drive.signed_in("alice").await;
    let done = drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
    assert_eq!(done.status, 200, "{}", done.text());
    drive.provider.script(answers("mallory"));
    drive.estate.node.advance(Ttl::from_minutes(70)).await;
    let refused = drive.use_by("planner", "alice").await;
    assert_eq!(refused.problem(), (403, "account_not_connected".to_owned()));
    assert!(drive.provider.asked("/api/files").is_empty());
}

async fn a_refresh_is_recorded_before_and_after(place: Place) {
    let drive = connected(&place).await;
    drive.estate.node.advance(Ttl::from_minutes(59)).await;
    let app = drive.estate.node.app.clone();
    let (sender, receiver) = std::sync::mpsc::channel();
    drive.provider.script(move |asked| {
        if asked.path == "/token" {
            let sql = chancery_server::store::Sql::same(
                "SELECT COUNT(*) FROM events WHERE kind = 'connected_account.refreshing'",
            );
            let count = tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(app.db.query_one(&sql, Vec::new()))
            });
            sender.send(count.unwrap().integer(0).unwrap()).unwrap();
        }
        None
    });
    assert_eq!(drive.use_by("planner", "alice").await.status, 200);
    assert_eq!(
        receiver.recv().unwrap(),
        1,
        "the intent is in the log before the provider is asked"
    );
    let done = drive.estate.events("connected_account.refreshed").await;
    assert_eq!((done.len(), &done[0]["outcome"]), (1, &json!("ok")));
    assert!(done[0]["ids"].to_string().contains("dec_"), "{done:?}");
}

async fn a_token_that_the_interface_refuses_is_refreshed(place: Place) {
    let drive = connected(&place).await;
    // One that is new is not what it refuses, and its status is not ours.
    drive.provider.forget_access();
    for _ in 0..2 {
        let answer = drive.use_by("planner", "alice").await;
        assert_eq!(answer.problem(), (502, "provider_unavailable".to_owned()));
    }
    assert!(drive.provider.asked("/token").is_empty());
    drive.estate.node.advance(Ttl::from_minutes(2)).await;
    let answer = drive.use_by("planner", "alice").await;
    assert_eq!(answer.problem(), (502, "provider_unavailable".to_owned()));
    assert_eq!(drive.use_by("planner", "alice").await.status, 200);
    assert_eq!(drive.provider.asked("/token").len(), 1);
    assert_eq!(drive.estate.events("connected_account.refused").await.len(), 1);
}

async fn a_token_that_the_interface_refuses_and_nothing_refreshes_is_over(place: Place) {
    let drive = Drive::open(&place).await;
    drive.provider.script(|asked| {
        let token = json!({ "access_token": "MARKER-access-x", "token_type": "bearer" });
        match asked.path.as_str() {
            "/token" => Some(axum::Json(token).into_response()),
            "/me" => Some(axum::Json(json!({ "id": 7, "login": "alice" })).into_response()),
            _ => None,
        }
    });
    let mut alice = drive.signed_in("alice").await;
    let done = drive
        .connect(&mut alice, ("planner", "alice-there"), &[("lasts", "always")])
        .await;
    assert_eq!(done.status, 200, "{}", done.text());
    drive.estate.node.advance(Ttl::from_minutes(2)).await;
    for _ in 0..2 {
        let refused = drive.use_by("planner", "alice").await;
        assert_eq!(refused.problem(), (403, "account_not_connected".to_owned()));
    }
    assert_eq!(drive.provider.asked("/api/files").len(), 1);
    assert_eq!(drive.account().await["status"], "revoked");
}
