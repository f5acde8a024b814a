//! Clients that sign an assertion with a key of their own (RFC 7523 §3).

use crate::estate::*;
use crate::harness::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery_core::time::Ttl;
use serde_json::{Value, json};

on_both_engines!(
    an_assertion_proves_its_client,
    the_audience_is_the_issuer_alone_and_as_a_string,
    an_assertion_is_used_once_among_many_at_once,
    an_assertion_is_used_once_at_every_endpoint,
    an_assertion_is_spent_by_a_refused_request,
    a_replayed_assertion_of_a_denied_request_is_invalid_client,
    an_assertion_stays_spent_until_nobody_would_take_it,
    an_assertion_without_end_or_id_is_refused,
    an_expired_assertion_is_refused,
    an_unsigned_assertion_is_refused,
    an_assertion_by_another_key_is_refused,
    an_assertion_names_its_own_client,
);

async fn an_assertion_proves_its_client(place: Place) {
    let estate = Estate::start(&place).await;
    let id = estate.client_id("planner-key").to_owned();
    let answer = estate
        .asserted(&estate.assertion("j-1", plain()), &[("resource", NOTES)])
        .await;
    let claims = answer.claims();
    assert_eq!(
        (claims["client_id"].as_str(), claims["scope"].as_str()),
        (Some(id.as_str()), Some("read"))
    );
    assert_eq!(claims["chancery"]["assurance"], "key");
    let named = [("resource", NOTES), ("client_id", id.as_str())];
    assert_eq!(
        estate
            .asserted(&estate.assertion("j-2", plain()), &named)
            .await
            .status,
        200
    );
    let other = [("client_id", estate.client_id("planner"))];
    let answer = estate.asserted(&estate.assertion("j-3", plain()), &other).await;
    assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
}

async fn the_audience_is_the_issuer_alone_and_as_a_string(place: Place) {
    let estate = Estate::start(&place).await;
    let base = estate.base();
    let wrong = [
        json!([base]),
        json!([base, "https://other.example"]),
        json!(format!("{base}/token")),
        json!(format!("{base}/")),
        json!("https://other.example"),
        Value::Null,
    ];
    for (number, audience) in wrong.into_iter().enumerate() {
        let assertion = estate.assertion(&format!("a-{number}"), json!({ "aud": audience }));
        let answer = estate.asserted(&assertion, &[]).await;
        assert!(
            estate
                .reason(&answer)
                .await
                .starts_with("the assertion does not verify")
        );
    }
}

async fn an_assertion_is_used_once_among_many_at_once(place: Place) {
    let estate = std::sync::Arc::new(Estate::start(&place).await);
    let assertion = estate.assertion("once", plain());
    let tries = (0..16).map(|_| {
        let (estate, assertion) = (estate.clone(), assertion.clone());
        tokio::spawn(async move { estate.asserted(&assertion, &[("resource", NOTES)]).await })
    });
    let mut given = 0;
    for answer in tries.collect::<Vec<_>>() {
        let answer = answer.await.unwrap();
        if answer.status == 200 {
            given += 1;
        } else {
            assert_eq!(estate.reason(&answer).await, "the assertion was used before");
        }
    }
    assert_eq!(given, 1);
    let issued = estate.events("token.issued").await;
    assert_eq!(issued.len(), 1);
}

async fn an_assertion_is_used_once_at_every_endpoint(place: Place) {
    let estate = Estate::start(&place).await;
    for (number, path) in ["/introspect", "/revoke"].into_iter().enumerate() {
        let assertion = estate.assertion(&format!("e-{number}"), plain());
        let form = [
            ("token", "unknown"),
            ("client_assertion_type", ASSERTION),
            ("client_assertion", assertion.as_str()),
        ];
        assert_eq!(estate.node.form(path, &form).await.status, 200);
        let again = estate.node.form(path, &form).await;
        assert_eq!(estate.reason(&again).await, "the assertion was used before");
    }
}

async fn an_assertion_is_spent_by_a_refused_request(place: Place) {
    let estate = Estate::start(&place).await;
    let unknown = [("resource", "https://nowhere.example")];
    let assertion = estate.assertion("spent", plain());
    let answer = estate.asserted(&assertion, &unknown).await;
    assert_eq!(answer.error(), (400, "invalid_target".to_owned()));
    let again = estate.asserted(&assertion, &[("resource", NOTES)]).await;
    assert_eq!(estate.reason(&again).await, "the assertion was used before");
}

async fn a_replayed_assertion_of_a_denied_request_is_invalid_client(place: Place) {
    let estate = Estate::start(&place).await;
    let denied = [("resource", NOTES), ("scope", "delete")];
    let assertion = estate.assertion("denied", plain());
    let answer = estate.asserted(&assertion, &denied).await;
    assert_eq!(answer.status, 400);
    let again = estate.asserted(&assertion, &denied).await;
    assert_eq!(estate.reason(&again).await, "the assertion was used before");
    assert_eq!(
        estate.events("token.issued").await.len(),
        1,
        "every decision answered is recorded, once"
    );
}

async fn an_assertion_stays_spent_until_nobody_would_take_it(place: Place) {
    let estate = Estate::start(&place).await;
    let assertion = estate.assertion("late", plain());
    assert_eq!(
        estate.asserted(&assertion, &[("resource", NOTES)]).await.status,
        200
    );
    // Its `exp` has passed, but clocks may differ, so that it would still be taken.
    estate.node.advance(Ttl::from_seconds(65)).await;
    estate.node.expire().await;
    let again = estate.asserted(&assertion, &[("resource", NOTES)]).await;
    assert_eq!(again.error(), (401, "invalid_client".to_owned()));
}

async fn an_assertion_without_end_or_id_is_refused(place: Place) {
    let estate = Estate::start(&place).await;
    let far = START.as_seconds() + 2 * 86_400;
    for extra in [
        json!({ "exp": null }),
        json!({ "jti": null }),
        json!({ "exp": far }),
        json!({ "sub": null }),
    ] {
        let answer = estate.asserted(&estate.assertion("x", extra), &[]).await;
        assert!(
            estate
                .reason(&answer)
                .await
                .starts_with("the assertion does not verify")
        );
    }
}

async fn an_expired_assertion_is_refused(place: Place) {
    let estate = Estate::start(&place).await;
    let assertion = estate.assertion("old", plain());
    estate.node.advance(Ttl::from_seconds(60 + 11)).await;
    let answer = estate.asserted(&assertion, &[("resource", NOTES)]).await;
    assert!(
        estate
            .reason(&answer)
            .await
            .starts_with("the assertion does not verify")
    );
}

async fn an_unsigned_assertion_is_refused(place: Place) {
    let estate = Estate::start(&place).await;
    let signed = estate.assertion("none", plain());
    let payload = signed.split('.').nth(1).unwrap();
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS256"}"#] {
        let forged = format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(header));
        let answer = estate.asserted(&forged, &[("resource", NOTES)]).await;
        assert_eq!(answer.error(), (401, "invalid_client".to_owned()), "{header}");
    }
    let (body, _) = signed.rsplit_once('.').unwrap();
    let answer = estate
        .asserted(&format!("{body}.{}", URL_SAFE_NO_PAD.encode([0; 64])), &[])
        .await;
    assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
    let answer = estate.asserted("not a token", &[]).await;
    assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
}

async fn an_assertion_by_another_key_is_refused(place: Place) {
    let estate = Estate::start(&place).await;
    for kid in ["planner-1", "other"] {
        let assertion = estate.assertion_by(&key(kid), "k", plain());
        let answer = estate.asserted(&assertion, &[("resource", NOTES)]).await;
        assert_eq!(answer.error(), (401, "invalid_client".to_owned()), "{kid}");
    }
}

async fn an_assertion_names_its_own_client(place: Place) {
    let estate = Estate::start(&place).await;
    let other = estate.client_id("planner").to_owned();
    for extra in [json!({ "sub": other }), json!({ "iss": other, "sub": other })] {
        let answer = estate.asserted(&estate.assertion("o", extra), &[]).await;
        assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
    }
}
