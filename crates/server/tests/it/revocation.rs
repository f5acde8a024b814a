//! Revocation of one token by the client that holds it (RFC 7009).

use crate::estate::*;
use crate::harness::*;
use chancery_core::time::Ttl;

on_both_engines!(
    a_revoked_token_is_inactive_and_its_siblings_are_not,
    revoking_twice_or_nothing_answers_the_same,
    a_token_of_another_client_is_not_revoked,
    a_revoked_token_stays_revoked_after_a_restart_and_a_sweep,
    a_revocation_is_recorded,
    a_missing_token_is_invalid_request,
);

async fn a_revoked_token_is_inactive_and_its_siblings_are_not(place: Place) {
    let estate = Estate::start(&place).await;
    let first = estate.own("planner", &[("resource", NOTES)]).await.token();
    let second = estate.own("planner", &[("resource", NOTES)]).await.token();
    let answer = estate.post("/revoke", "planner", &[("token", &first)]).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    assert!(!estate.is_active("planner", &first).await && estate.is_active("planner", &second).await);
}

async fn revoking_twice_or_nothing_answers_the_same(place: Place) {
    let estate = Estate::start(&place).await;
    let token = estate.own("planner", &[("resource", NOTES)]).await.token();
    for text in [token.as_str(), &token, "unknown", "a.b.c"] {
        let form = [("token", text), ("token_type_hint", "refresh_token")];
        let answer = estate.post("/revoke", "planner", &form).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    }
}

async fn a_token_of_another_client_is_not_revoked(place: Place) {
    let estate = Estate::start(&place).await;
    let token = estate.own("planner", &[("resource", NOTES)]).await.token();
    assert_eq!(
        estate
            .post("/revoke", "helper", &[("token", &token)])
            .await
            .status,
        200
    );
    assert!(estate.is_active("planner", &token).await);
    assert!(estate.events("token.revoked").await.is_empty());
}

async fn a_revoked_token_stays_revoked_after_a_restart_and_a_sweep(place: Place) {
    let mut estate = Estate::start(&place).await;
    let token = estate.own("planner", &[("resource", NOTES)]).await.token();
    estate.post("/revoke", "planner", &[("token", &token)]).await;
    estate.node.expire().await;
    assert!(!estate.is_active("planner", &token).await);
    estate.node.app.db.close().await;
    estate.node = Chancery::start_at(&place, START.plus(Ttl::from_seconds(1))).await;
    assert!(!estate.is_active("planner", &token).await);
}

async fn a_revocation_is_recorded(place: Place) {
    let estate = Estate::start(&place).await;
    let token = estate.own("planner", &[("resource", NOTES)]).await.token();
    estate.post("/revoke", "planner", &[("token", &token)]).await;
    let events = estate.events("token.revoked").await;
    let ids = events[0]["ids"].to_string();
    assert!(ids.contains(claims(&token)["jti"].as_str().unwrap()), "{ids}");
}

async fn a_missing_token_is_invalid_request(place: Place) {
    let estate = Estate::start(&place).await;
    let answer = estate.post("/revoke", "planner", &[]).await;
    assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
}
