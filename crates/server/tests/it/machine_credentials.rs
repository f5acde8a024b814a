//! Client credentials at a provider: one token for an agent or a tenant, fetched on first use.

use crate::harness::*;
use crate::machine::*;
use crate::oauth_provider::{CLIENT_SECRET, OAuthProvider};
use axum::response::IntoResponse as _;
use chancery_core::time::Ttl;
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

on_both_engines!(
    a_named_account_gets_its_token_on_first_use_and_a_new_one_in_time,
    first_uses_at_once_make_one_request,
    what_nobody_named_is_not_used,
    an_agents_token_is_no_other_agents,
    another_tenants_account_is_not_used,
    a_machine_has_no_page_and_no_key,
    a_provider_that_answers_nonsense_gives_no_token_and_is_asked_again,
    a_shrunken_scope_is_recorded,
    a_secret_that_was_wrong_is_mended_by_the_right_one,
    a_changed_destination_gets_no_token,
    a_token_that_the_interface_refuses_is_fetched_anew,
    giving_up_takes_the_token_back,
    no_token_of_a_machine_is_shown_or_kept_in_the_clear,
    a_machine_proves_itself_with_a_key_of_ours,
);

fn crm(provider: &OAuthProvider, level: &str, changes: &Value) -> Value {
    let url = &provider.url;
    let mut oauth = json!({
        "flow": "client_credentials", "client_id": "chancery", "authentication": "client_secret_basic",
        "scopes": ["files.read"], "token_parameters": { "audience": "https://crm.example" },
        "endpoints": { "token": format!("{url}/token"), "revocation": format!("{url}/revoke") },
    });
    for (field, value) in changes.as_object().unwrap() {
        oauth[field] = value.clone();
    }
    json!({ "name": "crm", "base_url": format!("{url}/api"), "owner_level": level, "owner": "ops",
        "credential": { "oauth2": oauth } })
}

async fn tenant_wide(place: &Place) -> Machine {
    let machine = Machine::of(place, |provider| crm(provider, "tenant", &json!({}))).await;
    machine.ready(CLIENT_SECRET, json!("tenant")).await;
    machine
}

async fn a_named_account_gets_its_token_on_first_use_and_a_new_one_in_time(place: Place) {
    let machine = tenant_wide(&place).await;
    assert!(machine.provider.asked("/token").is_empty(), "nobody used it yet");
    let answer = machine.use_by("planner").await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (200, "files of chancery")
    );
    let asked = machine.provider.asked("/token");
    assert_eq!(asked.len(), 1);
    let form = &asked[0].form;
    assert_eq!(
        (
            form["grant_type"].as_str(),
            form["scope"].as_str(),
            form["audience"].as_str()
        ),
        ("client_credentials", "files.read", "https://crm.example")
    );
    assert_eq!(machine.use_by("planner").await.status, 200);
    assert!(machine.provider.asked("/token").is_empty(), "it is kept");
    assert_eq!(machine.account().await["status"], "connected");
    let began = machine.estate.events("connected_account.refreshing").await;
    let ended = machine.estate.events("connected_account.refreshed").await;
    assert_eq!((began.len(), ended.len()), (1, 1));
    machine.estate.node.advance(Ttl::from_minutes(59)).await;
    assert_eq!(machine.use_by("planner").await.status, 200);
    assert_eq!(machine.provider.asked("/token").len(), 1);
}

async fn first_uses_at_once_make_one_request(place: Place) {
    let machine = tenant_wide(&place).await;
    let token = machine.token("planner").await;
    let machine = Arc::new(machine);
    let tries: Vec<_> = (0..50)
        .map(|_| {
            let (machine, token) = (machine.clone(), token.clone());
            tokio::spawn(async move { machine.call(&token).await.status })
        })
        .collect();
    for status in tries {
        assert_eq!(status.await.unwrap(), 200);
    }
    assert_eq!(machine.provider.asked("/token").len(), 1);
}

async fn what_nobody_named_is_not_used(place: Place) {
    let machine = Machine::of(&place, |provider| crm(provider, "tenant", &json!({}))).await;
    machine.prove(CLIENT_SECRET).await;
    assert_eq!(machine.use_by("planner").await.status, 403);
    assert!(machine.provider.asked("/token").is_empty());
    machine.name(json!("tenant")).await;
    assert_eq!(machine.use_by("planner").await.status, 200);
    // Helper may call the resource, and nobody granted it the connection.
    assert_eq!(machine.use_by("helper").await.status, 403);
    assert_eq!(machine.provider.asked("/api/files").len(), 1);
}

async fn an_agents_token_is_no_other_agents(place: Place) {
    let machine = Machine::of(&place, |provider| crm(provider, "agent", &json!({}))).await;
    let grant = json!({ "grants": [{ "agent": "helper", "principal": "itself", "connection": "crm" }] });
    machine.estate.apply(grant).await;
    machine.ready(CLIENT_SECRET, json!({ "agent": "planner" })).await;
    assert_eq!(machine.use_by("planner").await.status, 200);
    assert_eq!(machine.use_by("helper").await.status, 403);
    assert_eq!(machine.provider.asked("/token").len(), 1);
    for owner in [
        json!("tenant"),
        json!({ "user": "alice" }),
        json!({ "agent": "nobody" }),
    ] {
        assert!(!machine.name(owner.clone()).await.status.is_success(), "{owner}");
    }
}

async fn another_tenants_account_is_not_used(place: Place) {
    let machine = tenant_wide(&place).await;
    machine.estate.node.add_tenant("acme").await;
    let there = crate::estate::Estate::on(machine.estate.node.clone(), "/t/acme").await;
    there
        .apply(crate::machine::document(&crm(
            &machine.provider,
            "tenant",
            &json!({}),
        )))
        .await;
    let there = Machine {
        estate: there,
        provider: machine.provider.clone(),
    };
    assert_eq!(machine.use_by("planner").await.status, 200);
    machine.provider.asked("/api/files");
    machine.provider.asked("/token");
    assert_eq!(there.use_by("planner").await.status, 403);
    // Named, and with no secret of its own: nothing is asked with the other's.
    assert_eq!(there.name(json!("tenant")).await.status, 201);
    let answer = there.use_by("planner").await;
    assert_eq!(answer.problem(), (502, "provider_unavailable".to_owned()));
    assert!(machine.provider.asked("/token").is_empty() && machine.provider.asked("/api/files").is_empty());
    let token = machine.token("planner").await;
    assert_eq!(there.call(&token).await.status, 401);
}

async fn a_machine_has_no_page_and_no_key(place: Place) {
    let machine = Machine::of(&place, |provider| crm(provider, "tenant", &json!({}))).await;
    let account =
        json!({ "connection": "crm", "owner": "tenant", "values": { "access_token": "MARKER-key" } });
    let refused = machine
        .estate
        .try_admin("POST", "/connected_accounts", account)
        .await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(!refused.text().contains("MARKER"));
    let of_users = crm(&machine.provider, "user", &json!({}));
    let document = json!({ "connections": [of_users] });
    let refused = machine.estate.try_admin("POST", "/apply", document).await;
    assert!(refused.text().contains("owner_level"), "{}", refused.text());
}

async fn a_provider_that_answers_nonsense_gives_no_token_and_is_asked_again(place: Place) {
    let machine = tenant_wide(&place).await;
    let answers: [fn() -> axum::response::Response; 6] = [
        || "<html>".into_response(),
        || body(&json!({})),
        || body(&json!({ "access_token": "a\r\nHost: evil" })),
        || body(&json!({ "ok": false, "error": "nope" })),
        || StatusCode::BAD_GATEWAY.into_response(),
        || {
            (
                StatusCode::BAD_REQUEST,
                axum::Json(json!({ "error": "invalid_grant" })),
            )
                .into_response()
        },
    ];
    for answer in answers {
        machine
            .provider
            .script(move |asked| (asked.path == "/token").then(answer));
        for _ in 0..2 {
            let refused = machine.use_by("planner").await;
            assert_eq!(refused.problem(), (502, "provider_unavailable".to_owned()));
        }
        assert_eq!(machine.provider.asked("/token").len(), 1, "it is not hammered");
        let account = machine.account().await;
        assert_eq!(account["status"], "error");
        assert!(account["last_error"].is_string(), "{account}");
        machine.estate.node.advance(Ttl::from_seconds(11)).await;
    }
    assert!(machine.provider.asked("/api/files").is_empty());
    machine.provider.behave();
    assert_eq!(machine.use_by("planner").await.status, 200);
    assert_eq!(machine.account().await["last_error"], Value::Null);
}

async fn a_shrunken_scope_is_recorded(place: Place) {
    let machine = tenant_wide(&place).await;
    machine.provider.script(|asked| match asked.path.as_str() {
        "/token" => Some(body(
            &json!({ "access_token": "MARKER-access-s", "token_type": "bearer", "scope": "less" }),
        )),
        _ => Some(interface(asked, "MARKER-access-s")),
    });
    assert_eq!(machine.use_by("planner").await.status, 200);
    let ended = machine.estate.events("connected_account.refreshed").await;
    assert!(ended[0].to_string().contains("less"), "{ended:?}");
}

async fn a_secret_that_was_wrong_is_mended_by_the_right_one(place: Place) {
    let machine = Machine::of(&place, |provider| crm(provider, "tenant", &json!({}))).await;
    machine.ready("MARKER-wrong", json!("tenant")).await;
    let refused = machine.use_by("planner").await;
    assert_eq!(refused.problem(), (502, "provider_unavailable".to_owned()));
    let error = machine.account().await["last_error"].as_str().unwrap().to_owned();
    assert!(error.contains("invalid_client"), "{error}");
    machine.prove(CLIENT_SECRET).await;
    machine.estate.node.advance(Ttl::from_seconds(11)).await;
    assert_eq!(machine.use_by("planner").await.status, 200);
}

async fn a_changed_destination_gets_no_token(place: Place) {
    let machine = tenant_wide(&place).await;
    assert_eq!(machine.use_by("planner").await.status, 200);
    let evil = OAuthProvider::start().await;
    let url = json!(format!("{}/api", evil.url));
    machine
        .estate
        .change("connections", "crm", json!({ "base_url": url }))
        .await;
    let token = machine
        .estate
        .own("planner", &[("audience", "crm"), ("scope", "read")])
        .await;
    assert_eq!(machine.call(&token.token()).await.status, 403);
    assert_eq!(machine.account().await["status"], "needs_consent");
    assert!(evil.asked("/api/files").is_empty() && evil.asked("/token").is_empty());
}

async fn a_token_that_the_interface_refuses_is_fetched_anew(place: Place) {
    let machine = tenant_wide(&place).await;
    assert_eq!(machine.use_by("planner").await.status, 200);
    machine.provider.forget_access();
    machine.estate.node.advance(Ttl::from_minutes(2)).await;
    let answer = machine.use_by("planner").await;
    assert_eq!(answer.problem(), (502, "provider_unavailable".to_owned()));
    assert_eq!(machine.use_by("planner").await.status, 200);
    assert_eq!(machine.provider.asked("/token").len(), 2);
}

async fn giving_up_takes_the_token_back(place: Place) {
    let machine = tenant_wide(&place).await;
    assert_eq!(machine.use_by("planner").await.status, 200);
    let token = machine.token("planner").await;
    assert_eq!(machine.given_up().await, json!({ "outcome": "revoked" }));
    let asked = machine.provider.asked("/revoke").remove(0);
    assert_eq!(asked.form["token_type_hint"], "access_token");
    assert_eq!(machine.call(&token).await.status, 403);
    // One that was never used has nothing to take back.
    machine.name(json!("tenant")).await;
    assert_eq!(machine.given_up().await, json!({ "outcome": "revoked" }));
    assert!(machine.provider.asked("/revoke").is_empty());
}

async fn no_token_of_a_machine_is_shown_or_kept_in_the_clear(place: Place) {
    let machine = tenant_wide(&place).await;
    assert_eq!(machine.use_by("planner").await.status, 200);
    machine
        .shows_none_of(&place, &["MARKER-access", CLIENT_SECRET])
        .await;
}

async fn a_machine_proves_itself_with_a_key_of_ours(place: Place) {
    let own = json!({ "authentication": "private_key_jwt" });
    let machine = Machine::of(&place, |provider| crm(provider, "tenant", &own)).await;
    machine.name(json!("tenant")).await;
    machine.provider.script(|asked| match asked.path.as_str() {
        "/token" => Some(body(
            &json!({ "access_token": "MARKER-access-k", "token_type": "bearer" }),
        )),
        _ => Some(interface(asked, "MARKER-access-k")),
    });
    assert_eq!(machine.use_by("planner").await.status, 200);
    let asked = machine.provider.asked("/token").remove(0);
    assert_eq!(asked.form["client_assertion_type"], crate::estate::ASSERTION);
    let claims = claims(&asked.form["client_assertion"]);
    assert_eq!(claims["aud"], json!(format!("{}/token", machine.provider.url)));
    assert_eq!(
        (&claims["iss"], &claims["sub"]),
        (&json!("chancery"), &json!("chancery"))
    );
}
