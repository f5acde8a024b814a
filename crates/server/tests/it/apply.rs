//! Configuration as code: a plan changes nothing, a document is applied whole or not at all, and what is
//! exported applies to itself.

use crate::estate::*;
use crate::harness::*;
use serde_json::{Value, json};

on_both_engines!(
    a_plan_changes_nothing_and_shows_no_secret,
    a_second_apply_changes_nothing,
    an_export_applies_to_itself_without_change,
    an_export_holds_no_secret,
    an_export_leaves_out_what_every_tenant_is_made_with,
    the_uri_of_the_own_interface_never_comes_from_a_file,
    one_bad_item_changes_nothing,
    a_malformed_item_is_named_by_its_place,
    a_reference_to_nothing_is_refused,
    items_may_refer_to_each_other_in_any_order,
    a_name_is_never_reused,
    what_clashes_is_named_among_many,
    an_agent_needs_an_owner_to_be_active,
    a_public_key_is_checked_when_it_is_registered,
    no_private_key_is_taken_for_a_public_one,
    a_stale_update_is_a_conflict,
    updates_at_once_never_lose_one,
);

async fn actions(estate: &Estate, path: &str, document: Value) -> Vec<(String, String)> {
    let answer = estate.admin("POST", path, document).await;
    let steps = answer["steps"].as_array().unwrap();
    let text = |step: &Value, field: &str| step[field].as_str().unwrap().to_owned();
    steps
        .iter()
        .map(|step| (text(step, "action"), text(step, "name")))
        .collect()
}

async fn export(estate: &Estate) -> Value {
    estate.admin("GET", "/export", Value::Null).await
}

async fn a_plan_changes_nothing_and_shows_no_secret(place: Place) {
    let estate = Estate::start(&place).await;
    let (before, events) = (export(&estate).await, estate.events("").await.len());
    let document = json!({
        "agents": [{ "name": "new", "owner": "ops" }, { "name": "planner", "owner": "ops", "description": "x" }],
        "clients": [{ "name": "new", "agent": "new", "method": "client_secret_basic" }],
    });
    let answer = estate.admin("POST", "/apply?plan=true", document).await;
    let steps = answer["steps"].to_string();
    assert!(steps.contains("create") && steps.contains("update"));
    assert!(!steps.contains("chs_") && !steps.contains("secret"), "{steps}");
    assert_eq!(
        (export(&estate).await, estate.events("").await.len()),
        (before, events)
    );
}

async fn a_second_apply_changes_nothing(place: Place) {
    let estate = Estate::start(&place).await;
    let (before, events) = (export(&estate).await, estate.events("").await.len());
    for path in ["/apply?plan=true", "/apply"] {
        for (action, name) in actions(&estate, path, estate.document()).await {
            assert_eq!(action, "unchanged", "{name}");
        }
    }
    assert_eq!(
        (export(&estate).await, estate.events("").await.len()),
        (before, events)
    );
}

async fn an_export_applies_to_itself_without_change(place: Place) {
    let (estate, other) = Estate::twins(&place).await;
    estate.planner_for_alice("read").await.token();
    estate.admin("POST", "/agents/third/suspend", Value::Null).await;
    estate.admin("POST", "/agents/fourth/retire", Value::Null).await;
    let document = export(&estate).await;
    for (action, name) in actions(&estate, "/apply", document.clone()).await {
        assert_eq!(action, "unchanged", "{name}");
    }
    assert_eq!(export(&estate).await, document);
    assert_eq!(
        document["resources"],
        export(&other).await["resources"],
        "what every tenant has is left out, so that the same estate looks the same everywhere"
    );
}

async fn an_export_holds_no_secret(place: Place) {
    let estate = Estate::start(&place).await;
    let text = export(&estate).await.to_string();
    for client in ["planner", "helper", "third"] {
        assert!(!text.contains(estate.secret(client)));
    }
    assert!(!text.contains("chs_"));
}

async fn one_bad_item_changes_nothing(place: Place) {
    let estate = Estate::start(&place).await;
    let (before, events) = (export(&estate).await, estate.events("").await.len());
    let good = json!({ "name": "good", "owner": "ops" });
    let bad = [
        json!({ "name": "bad", "owner": "ops", "ceiling": { "nothing": ["read"] } }),
        json!({ "name": "bad", "owner": "ops", "ceiling": { "notes": ["nothing"] } }),
        json!({ "name": "bad", "owner": "ops", "blueprint": "nothing" }),
        json!({ "name": "bad" }),
        json!({ "name": "BAD", "owner": "ops" }),
        json!({ "owner": "ops" }),
    ];
    for bad in bad {
        let document = json!({ "agents": [good, bad] });
        let answer = estate.try_admin("POST", "/apply", document).await;
        assert!(matches!(answer.problem().0, 404 | 422), "{bad}");
        assert_eq!(
            (export(&estate).await, estate.events("").await.len()),
            (before.clone(), events),
            "{bad}"
        );
    }
    let document = json!({ "agents": [good], "policy": "nonsense" });
    assert_eq!(
        estate.try_admin("POST", "/apply", document).await.problem().0,
        422
    );
    assert_eq!(export(&estate).await, before);
}

async fn a_malformed_item_is_named_by_its_place(place: Place) {
    let estate = Estate::start(&place).await;
    let document = json!({ "agents": [{ "name": "a", "owner": "ops" }, { "name": "b", "owner": "ops", "colour": "red" }] });
    let answer = estate.try_admin("POST", "/apply", document).await;
    assert_eq!(answer.problem(), (422, "invalid".to_owned()));
    let text = answer.text();
    assert!(
        text.contains("agent number 2") && text.contains("colour"),
        "{text}"
    );
    let answer = estate.try_admin("POST", "/apply", json!({ "robots": [] })).await;
    assert!(answer.problem().0 == 400 || answer.problem().0 == 422);
    assert!(answer.text().contains("robots"), "{}", answer.text());
}

async fn a_reference_to_nothing_is_refused(place: Place) {
    let estate = Estate::start(&place).await;
    let documents = [
        json!({ "clients": [{ "name": "c", "agent": "nobody", "method": "client_secret_basic" }] }),
        json!({ "grants": [{ "agent": "nobody", "principal": "itself", "resource": "notes", "scopes": ["read"] }] }),
        json!({ "grants": [{ "agent": "planner", "principal": { "user": "nobody" }, "resource": "notes", "scopes": ["read"] }] }),
        json!({ "grants": [{ "agent": "planner", "principal": "itself", "resource": "nothing", "scopes": ["read"] }] }),
        json!({ "runtime_bindings": [{ "name": "b", "issuer": "nobody", "agent": "planner", "audience": "x", "claims": { "sub": "y" } }] }),
        json!({ "users": [{ "name": "u", "issuer": "nobody", "subject": "u" }] }),
        json!({ "resources": [{ "name": "r", "uri": "https://r.example", "scopes": { "x": {} }, "agent": "nobody" }] }),
    ];
    for document in documents {
        let answer = estate.try_admin("POST", "/apply", document.clone()).await;
        assert_eq!(answer.problem(), (404, "not_found".to_owned()), "{document}");
    }
}

async fn items_may_refer_to_each_other_in_any_order(place: Place) {
    let estate = Estate::start(&place).await;
    let document = json!({
        "grants": [{ "agent": "front", "principal": "itself", "resource": "back-api", "scopes": ["go"] }],
        "agents": [{ "name": "front", "owner": "ops", "ceiling": { "back-api": ["go"] } }, { "name": "back", "owner": "ops" }],
        "resources": [{ "name": "back-api", "uri": "https://back.example", "agent": "back", "scopes": { "go": {} } }],
    });
    let done = actions(&estate, "/apply", document).await;
    assert_eq!(done.len(), 4);
    assert!(done.iter().all(|(action, _)| action == "create"));
}

async fn a_name_is_never_reused(place: Place) {
    let estate = Estate::start(&place).await;
    estate.admin("POST", "/agents/third/retire", Value::Null).await;
    let agent = json!({ "name": "third", "owner": "ops", "description": "again" });
    let answer = estate.try_admin("POST", "/agents", agent.clone()).await;
    assert_eq!(answer.problem(), (409, "exists".to_owned()));
    let answer = estate
        .try_admin("POST", "/apply", json!({ "agents": [agent] }))
        .await;
    assert_eq!(answer.problem(), (409, "lifecycle".to_owned()));
    let answer = estate
        .try_admin("POST", "/agents/third/activate", Value::Null)
        .await;
    assert_eq!(answer.problem(), (409, "lifecycle".to_owned()));
    let taken = json!({ "name": "second-notes", "uri": NOTES, "scopes": { "x": {} } });
    let answer = estate.try_admin("POST", "/resources", taken).await;
    assert_eq!(answer.problem(), (409, "exists".to_owned()));
}

async fn what_clashes_is_named_among_many(place: Place) {
    let estate = Estate::start(&place).await;
    let document = json!({
        "users": [{ "name": "zoe", "issuer": "corp", "subject": "zoe" }],
        "agents": [{ "name": "new", "owner": "ops" }],
        "resources": [
            { "name": "fine", "uri": "https://fine.example", "scopes": { "read": {} } },
            { "name": "copy", "uri": NOTES, "scopes": { "read": {} } },
        ],
    });
    let answer = estate.try_admin("POST", "/apply", document).await;
    assert_eq!(answer.problem(), (409, "exists".to_owned()));
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("resource `copy`"), "{detail}");
    // The key that makes the request once comes first in the batch, and shifts nothing.
    let body = json!({ "agents": [{ "name": "new", "owner": "ops" }], "users": [
        { "name": "two", "issuer": "corp", "subject": "alice" } ] });
    let request = http::Request::post(estate.path("/api/v1/apply"))
        .extension(chancery_server::listener::LocalPeer { uid: 1_000 })
        .header("content-type", "application/json")
        .header("idempotency-key", "clash");
    let answer = estate
        .node
        .send(request.body(body.to_string().into()).unwrap())
        .await;
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("user `two`"), "{detail}");
}

async fn an_export_leaves_out_what_every_tenant_is_made_with(place: Place) {
    let estate = Estate::start(&place).await;
    let names = |document: &Value| {
        let resources = document["resources"].as_array().unwrap().clone();
        let name = |resource: &Value| resource["name"].as_str().unwrap().to_owned();
        resources.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(&export(&estate).await), ["helper-api", "mail", "notes"]);
    // An export of before still holds it, and changes nothing.
    let built_in = estate.show("resources", "chancery").await;
    let mut item = built_in["spec"].clone();
    item["name"] = json!("chancery");
    item["state"] = json!("active");
    let older = json!({ "resources": [item.clone()] });
    assert_eq!(
        actions(&estate, "/apply", older).await,
        [("unchanged".to_owned(), "chancery".to_owned())]
    );
    assert_eq!(estate.show("resources", "chancery").await, built_in);
    // Whoever may manage is configuration: once it is changed, it is exported.
    item["holders"] = json!({ "administrator": ["read"] });
    estate.apply(json!({ "resources": [item] })).await;
    assert!(names(&export(&estate).await).contains(&"chancery".to_owned()));
}

async fn the_uri_of_the_own_interface_never_comes_from_a_file(place: Place) {
    let (first, second) = Estate::twins(&place).await;
    let mut item = first.show("resources", "chancery").await["spec"].clone();
    item["name"] = json!("chancery");
    let steps = actions(&second, "/apply", json!({ "resources": [item] })).await;
    assert_eq!(steps, [("unchanged".to_owned(), "chancery".to_owned())]);
    let uri = second.show("resources", "chancery").await["spec"]["uri"].clone();
    assert_eq!(uri, format!("{}/api/v1", second.base()));
}

async fn an_agent_needs_an_owner_to_be_active(place: Place) {
    let estate = Estate::start(&place).await;
    let answer = estate
        .try_admin("POST", "/agents", json!({ "name": "orphan" }))
        .await;
    assert_eq!(answer.problem(), (422, "invalid".to_owned()));
    estate
        .admin("POST", "/agents", json!({ "name": "orphan", "state": "staged" }))
        .await;
    let answer = estate
        .try_admin("POST", "/agents/orphan/activate", Value::Null)
        .await;
    assert_eq!(answer.problem(), (422, "invalid".to_owned()));
    estate.change("agents", "orphan", json!({ "owner": "ops" })).await;
    estate.admin("POST", "/agents/orphan/activate", Value::Null).await;
}

async fn a_public_key_is_checked_when_it_is_registered(place: Place) {
    let estate = Estate::start(&place).await;
    for jwks in [
        json!({}),
        json!({ "keys": [] }),
        json!("x"),
        json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] }),
        Value::Null,
    ] {
        let client = json!({ "name": "k", "agent": "planner", "method": "private_key_jwt", "jwks": jwks });
        let answer = estate.try_admin("POST", "/clients", client).await;
        assert_eq!(answer.problem(), (422, "invalid".to_owned()), "{jwks}");
    }
}

async fn no_private_key_is_taken_for_a_public_one(place: Place) {
    let estate = Estate::start(&place).await;
    let mut jwks = jwks(&key("mine"));
    jwks["keys"][0]["d"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let client = json!({ "name": "k", "agent": "planner", "method": "private_key_jwt", "jwks": jwks });
    let answer = estate.try_admin("POST", "/clients", client).await;
    assert_eq!(answer.problem(), (422, "invalid".to_owned()));
}

async fn a_stale_update_is_a_conflict(place: Place) {
    let estate = Estate::start(&place).await;
    let shown = estate.show("agents", "third").await;
    let mut spec = shown["spec"].clone();
    spec["description"] = json!("first");
    spec["version"] = shown["version"].clone();
    estate.admin("PUT", "/agents/third", spec.clone()).await;
    spec["description"] = json!("second");
    let answer = estate.try_admin("PUT", "/agents/third", spec).await;
    assert_eq!(answer.problem(), (409, "conflict".to_owned()));
}

async fn updates_at_once_never_lose_one(place: Place) {
    let estate = std::sync::Arc::new(Estate::start(&place).await);
    let spec = estate.show("agents", "third").await["spec"].clone();
    let tries = (0..8).map(|number| {
        let (estate, mut spec) = (estate.clone(), spec.clone());
        spec["description"] = json!(format!("number {number}"));
        tokio::spawn(async move { estate.try_admin("PUT", "/agents/third", spec).await })
    });
    let mut stored = 0;
    for answer in tries.collect::<Vec<_>>() {
        let answer = answer.await.unwrap();
        assert!(answer.status == 200 || answer.problem() == (409, "conflict".to_owned()));
        stored += u64::from(answer.status == 200);
    }
    assert_eq!(
        estate.show("agents", "third").await["version"].as_u64().unwrap(),
        stored + 1
    );
    assert_eq!(
        u64::try_from(estate.events("agent.updated").await.len()).unwrap(),
        stored
    );
}
