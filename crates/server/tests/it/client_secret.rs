//! Clients that prove themselves with a secret (RFC 6749 §2.3.1).

use crate::estate::*;
use crate::harness::*;
use serde_json::{Value, json};

on_both_engines!(
    a_secret_proves_its_client_by_header_or_form,
    a_wrong_secret_is_recorded_under_the_reference,
    every_failed_authentication_looks_the_same,
    a_reset_secret_ends_the_old_one_and_every_token_issued_on_it,
    nothing_inactive_behind_a_client_authenticates,
    an_agent_past_its_end_does_not_authenticate,
    a_suspended_tenant_is_not_served,
    a_client_of_another_method_is_refused,
);

async fn a_secret_proves_its_client_by_header_or_form(place: Place) {
    let estate = Estate::start(&place).await;
    let (id, secret) = (estate.client_id("planner"), estate.secret("planner"));
    for client in [id, "planner"] {
        let form = [("grant_type", "client_credentials"), ("resource", NOTES)];
        let by_header = estate
            .node
            .form_with("/token", &form, Some(&basic(client, secret)))
            .await;
        assert_eq!(by_header.claims()["client_id"], id);
        assert_eq!(by_header.claims()["chancery"]["assurance"], "secret");
        let mut form = form.to_vec();
        form.extend([("client_id", client), ("client_secret", secret)]);
        assert_eq!(estate.node.form("/token", &form).await.claims()["client_id"], id);
    }
}

async fn a_wrong_secret_is_recorded_under_the_reference(place: Place) {
    let estate = Estate::start(&place).await;
    let header = basic(estate.client_id("planner"), "chs_wrong");
    let form = [("grant_type", "client_credentials")];
    let answer = estate.node.form_with("/token", &form, Some(&header)).await;
    assert_eq!(estate.reason(&answer).await, "the secret is wrong or has expired");
    let events = estate.events("authentication.failed").await;
    assert_eq!((events.len(), &events[0]["outcome"]), (1, &json!("denied")));
}

async fn every_failed_authentication_looks_the_same(place: Place) {
    let estate = Estate::start(&place).await;
    let form = [("grant_type", "client_credentials")];
    let unknown = basic("cli_00000000000000000000000000", "x");
    let mut seen = Vec::new();
    for header in [
        unknown,
        basic("nobody", "x"),
        basic(estate.client_id("planner"), "x"),
    ] {
        let answer = estate.node.form_with("/token", &form, Some(&header)).await;
        assert_eq!(answer.status, 401);
        let mut body = answer.json();
        assert!(body.as_object_mut().unwrap().remove("reference").is_some());
        seen.push(body);
    }
    assert!(seen.iter().all(|body| *body == seen[0]));
}

async fn a_reset_secret_ends_the_old_one_and_every_token_issued_on_it(place: Place) {
    let estate = Estate::start(&place).await;
    let token = estate.own("planner", &[("resource", NOTES)]).await.token();
    assert!(estate.is_active("planner", &token).await);

    let reset = estate
        .admin("POST", "/clients/planner/reset-secret", Value::Null)
        .await;
    let fresh = reset["secret"].as_str().unwrap();

    let old = estate.own("planner", &[("resource", NOTES)]).await;
    assert_eq!(estate.reason(&old).await, "the secret is wrong or has expired");
    let header = basic(estate.client_id("planner"), fresh);
    let form = [("token", token.as_str())];
    let answer = estate.node.form_with("/introspect", &form, Some(&header)).await;
    assert_eq!(answer.json(), json!({ "active": false }));
    let form = [("grant_type", "client_credentials"), ("resource", NOTES)];
    let answer = estate.node.form_with("/token", &form, Some(&header)).await;
    assert_eq!(answer.scope(), "read");
    let shown = estate.show("clients", "planner").await.to_string();
    assert!(!shown.contains(fresh), "a secret is shown once");
}

async fn nothing_inactive_behind_a_client_authenticates(place: Place) {
    let estate = Estate::start(&place).await;
    let cases = [
        ("agents", "helper", "agent `helper` is not active"),
        ("clients", "helper", "client `helper` is not active"),
        ("blueprints", "workers", "blueprint `workers` is not active"),
    ];
    for (collection, name, reason) in cases {
        let step = |step: &str| format!("/{collection}/{name}/{step}");
        estate.admin("POST", &step("suspend"), Value::Null).await;
        let answer = estate.own("helper", &[("resource", NOTES)]).await;
        assert_eq!(estate.reason(&answer).await, reason);
        estate.admin("POST", &step("activate"), Value::Null).await;
        assert_eq!(estate.own("helper", &[("resource", NOTES)]).await.scope(), "read");
    }
}

async fn an_agent_past_its_end_does_not_authenticate(place: Place) {
    let estate = Estate::start(&place).await;
    let end = START.plus(chancery_core::time::Ttl::from_minutes(1)).as_micros();
    estate
        .change("agents", "helper", json!({ "expires_at": end }))
        .await;
    assert_eq!(estate.own("helper", &[("resource", NOTES)]).await.scope(), "read");
    estate
        .node
        .advance(chancery_core::time::Ttl::from_minutes(1))
        .await;
    let answer = estate.own("helper", &[("resource", NOTES)]).await;
    assert_eq!(estate.reason(&answer).await, "agent `helper` has expired");
}

async fn a_suspended_tenant_is_not_served(place: Place) {
    let (first, second) = Estate::twins(&place).await;
    let id = second.node.app.tenants.find_by_name("acme").unwrap().tenant.id;
    suspend_tenant(&second, id).await;
    let answer = second.own("planner", &[("resource", NOTES)]).await;
    assert_eq!(answer.problem(), (421, "unknown_host".to_owned()));
    assert_eq!(first.own("planner", &[("resource", NOTES)]).await.scope(), "read");
}

/// There is no operation for it yet; the row and the news of it are what every node goes by.
async fn suspend_tenant(estate: &Estate, id: chancery_core::id::TenantId) {
    use chancery_core::noun::{Lifecycle, Noun};
    use chancery_server::store::{change, record};
    let app = &estate.node.app;
    let mut tenant: chancery_core::tenant::Tenant =
        record::find_by_id(&app.db, id, id).await.unwrap().unwrap();
    tenant.state = Lifecycle::Suspended;
    tenant.version += 1;
    tenant.generation += 1;
    let bytes = *chancery_core::id::Id::as_bytes(&id);
    let batch = app
        .batch(START)
        .push(record::update(id, &tenant))
        .push(change::insert(id, Noun::Tenant, bytes, tenant.generation, START));
    assert!(app.db.commit(batch).await.unwrap().is_committed());
    estate.node.follow().await;
}

async fn a_client_of_another_method_is_refused(place: Place) {
    let estate = Estate::start(&place).await;
    let header = basic(estate.client_id("planner-key"), "anything");
    let form = [("grant_type", "client_credentials")];
    let answer = estate.node.form_with("/token", &form, Some(&header)).await;
    let reason = "the client is registered for `private_key_jwt`, not for this method";
    assert_eq!(estate.reason(&answer).await, reason);
}
