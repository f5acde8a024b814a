//! Isolation: what belongs to another tenant is unknown, not forbidden; and a tenant is found by its URL alone.

use crate::estate::*;
use crate::harness::*;
use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

on_both_engines!(
    a_token_of_another_tenant_is_no_token,
    a_client_of_another_tenant_is_unknown,
    an_assertion_for_another_tenant_is_refused,
    ids_and_names_of_another_tenant_are_unknown,
    a_cursor_of_another_tenant_opens_nothing,
    records_of_another_tenant_are_unknown,
    keys_and_logs_are_a_tenants_own,
    a_kill_stops_in_its_own_tenant_only,
    metadata_is_found_in_three_forms,
    an_unknown_host_is_misdirected,
    the_tenant_never_comes_from_a_header,
    over_http2_the_authority_names_the_tenant_and_nothing_may_contradict_it,
    the_system_tenant_alone_makes_tenants,
    who_made_a_tenant_is_in_its_log,
    what_was_read_earlier_never_replaces_what_was_read_later,
    a_tenants_name_is_never_taken_twice,
);

async fn a_token_of_another_tenant_is_no_token(place: Place) {
    let (first, second) = Estate::twins(&place).await;
    let token = first.planner_for_alice("read").await.token();
    assert_eq!(
        second.introspect("planner", &token).await,
        json!({ "active": false })
    );
    let answer = second
        .exchange("planner", &token, &[("resource", NOTES), ("scope", "read")])
        .await;
    assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
    assert_eq!(
        second
            .post("/revoke", "planner", &[("token", &token)])
            .await
            .status,
        200
    );
    assert!(first.is_active("planner", &token).await);
    let answer = second
        .node
        .api("GET", "/t/acme/api/v1/agents", &token, Value::Null)
        .await;
    assert_eq!(answer.problem(), (401, "unauthenticated".to_owned()));
}

async fn a_client_of_another_tenant_is_unknown(place: Place) {
    let (first, second) = Estate::twins(&place).await;
    let form = [("grant_type", "client_credentials"), ("resource", NOTES)];
    let foreign = first.basic("planner");
    let answer = second
        .node
        .form_with("/t/acme/token", &form, Some(&foreign))
        .await;
    assert_eq!(
        second.reason(&answer).await,
        "no client has this id in this tenant"
    );
    let by_name = basic("planner", first.secret("planner"));
    let answer = second
        .node
        .form_with("/t/acme/token", &form, Some(&by_name))
        .await;
    assert_eq!(second.reason(&answer).await, "the secret is wrong or has expired");
}

async fn an_assertion_for_another_tenant_is_refused(place: Place) {
    let (first, second) = Estate::twins(&place).await;
    let assertion = first.assertion("j", json!({ "aud": second.base() }));
    assert_eq!(second.asserted(&assertion, &[]).await.error().0, 401);
    let own = second.assertion("j", json!({ "aud": first.base() }));
    assert_eq!(second.asserted(&own, &[]).await.error().0, 401);
    let pod = first.pod("planner", plain());
    assert_eq!(second.asserted(&pod, &[]).await.error().0, 401);
    let same_jti = [
        first.assertion("same", plain()),
        second.assertion("same", plain()),
    ];
    assert_eq!(
        first.asserted(&same_jti[0], &[("resource", NOTES)]).await.status,
        200
    );
    assert_eq!(
        second.asserted(&same_jti[1], &[("resource", NOTES)]).await.status,
        200
    );
}

async fn ids_and_names_of_another_tenant_are_unknown(place: Place) {
    let (first, second) = Estate::twins(&place).await;
    let only_first = json!({ "name": "lonely", "owner": "ops" });
    first.admin("POST", "/agents", only_first).await;
    let names = [
        ("agents", "planner"),
        ("clients", "planner"),
        ("users", "alice"),
        ("resources", "notes"),
        ("grants", "alice-notes"),
        ("trusted_issuers", "corp"),
        ("blueprints", "workers"),
        ("runtime_bindings", "planner-pod"),
        ("agents", "lonely"),
    ];
    for (collection, name) in names {
        let id = first.show(collection, name).await["id"]
            .as_str()
            .unwrap()
            .to_owned();
        for (method, path) in [
            ("GET", format!("/{collection}/{id}")),
            ("POST", format!("/{collection}/{id}/suspend")),
            ("PUT", format!("/{collection}/{id}")),
        ] {
            let body = if method == "PUT" { json!({}) } else { Value::Null };
            let answer = second.try_admin(method, &path, body).await;
            assert_eq!(answer.problem(), (404, "not_found".to_owned()), "{method} {path}");
        }
    }
    let answer = second.try_admin("GET", "/agents/lonely", Value::Null).await;
    assert_eq!(answer.problem(), (404, "not_found".to_owned()));
    let answer = second.own("planner", &[("audience", "agent:lonely")]).await;
    assert_eq!(answer.error(), (400, "invalid_target".to_owned()));
}

async fn who_made_a_tenant_is_in_its_log(place: Place) {
    let node = Chancery::start(&place).await;
    node.add_tenant("acme").await;
    for (prefix, actor) in [("/t/acme", "local:1000"), ("", "system:setup")] {
        let path = format!("{prefix}/api/v1/audit/events?kind=tenant.created");
        let events = node.admin("GET", &path, Value::Null).await;
        assert_eq!(events["items"][0]["ids"][0], json!(["actor", actor]), "{events}");
    }
}

async fn what_was_read_earlier_never_replaces_what_was_read_later(place: Place) {
    let node = Chancery::start(&place).await;
    node.add_tenant("acme").await;
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (app, done) = (node.app.clone(), done.clone());
            tokio::spawn(async move {
                while !done.load(std::sync::atomic::Ordering::SeqCst) {
                    app.tenants.reload(&app.db).await.unwrap();
                }
            })
        })
        .collect();
    for round in 0..60 {
        let step = if round % 2 == 0 { "suspend" } else { "activate" };
        let path = format!("/t/system/api/v1/tenants/acme/{step}");
        let wanted = node.admin("POST", &path, Value::Null).await["state"].clone();
        // Whoever read before this step was committed may put its reading in place only now.
        for _ in 0..50 {
            let served = node.app.tenants.find_by_name("acme").unwrap();
            assert_eq!(served.tenant.state.as_str(), wanted, "round {round}");
            tokio::task::yield_now().await;
        }
    }
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
}

async fn over_http2_the_authority_names_the_tenant_and_nothing_may_contradict_it(place: Place) {
    let node = Chancery::start(&place).await;
    let tenant = json!({ "name": "acme", "base_url": "https://acme.example" });
    node.admin("POST", "/t/system/api/v1/tenants", tenant).await;
    let ask = |uri: &str, host: Option<&str>| {
        let mut request = Request::get(uri).version(http::Version::HTTP_2);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        request.body(Body::empty()).unwrap()
    };
    let keys = |prefix: &'static str| {
        let node = node.clone();
        async move { node.admin("GET", &format!("{prefix}/jwks"), Value::Null).await }
    };
    let (acme, default) = (keys("/t/acme").await, keys("").await);
    for (uri, host, expected) in [
        ("https://acme.example/jwks", None, &acme),
        ("https://ACME.example/jwks", Some("acme.example"), &acme),
        ("https://id.example/jwks", None, &default),
    ] {
        assert_eq!(&node.send(ask(uri, host)).await.json(), expected, "{uri}");
    }
    for (uri, host) in [
        ("https://id.example/jwks", Some("acme.example")),
        ("https://acme.example/jwks", Some("id.example")),
        ("https://nobody.example/jwks", Some("id.example")),
        ("https://acme.example:444/jwks", None),
        ("https://acme.example/t/acme/jwks", None),
    ] {
        let answer = node.send(ask(uri, host)).await;
        assert_eq!(
            answer.problem(),
            (421, "unknown_host".to_owned()),
            "{uri} {host:?}"
        );
    }
}

async fn a_cursor_of_another_tenant_opens_nothing(place: Place) {
    let (first, second) = Estate::twins(&place).await;
    first
        .admin("POST", "/agents", json!({ "name": "zz-first", "owner": "ops" }))
        .await;
    let page = first.admin("GET", "/agents?limit=2", Value::Null).await;
    let cursor = page["next_cursor"].as_str().unwrap().to_owned();
    let list = second
        .admin("GET", &format!("/agents?limit=500&cursor={cursor}"), Value::Null)
        .await;
    assert!(!list.to_string().contains("zz-first"));
    let events = first.admin("GET", "/audit/events?limit=1", Value::Null).await;
    let cursor = events["next_cursor"].as_i64().unwrap() + 1;
    let tenant = second
        .node
        .app
        .tenants
        .find_by_name("acme")
        .unwrap()
        .tenant
        .id
        .to_string();
    let other = second
        .admin(
            "GET",
            &format!("/audit/events?limit=500&cursor={cursor}"),
            Value::Null,
        )
        .await;
    for event in other["items"].as_array().unwrap() {
        let shown = second
            .admin(
                "GET",
                &format!("/audit/events/{}", event["id"].as_str().unwrap()),
                Value::Null,
            )
            .await;
        assert_eq!(shown["id"], event["id"]);
    }
    assert!(!other.to_string().contains("zz-first") && !tenant.is_empty());
}

async fn records_of_another_tenant_are_unknown(place: Place) {
    let (first, second) = Estate::twins(&place).await;
    let jti = first.own("planner", &[("resource", NOTES)]).await.claims()["jti"]
        .as_str()
        .unwrap()
        .to_owned();
    let failed = first
        .node
        .form(
            "/token",
            &[
                ("grant_type", "client_credentials"),
                ("client_id", "x"),
                ("client_secret", "y"),
            ],
        )
        .await;
    let reference = failed.json()["reference"].as_str().unwrap().to_owned();
    let event = first.events("token.issued").await[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for path in [
        format!("/why/{jti}"),
        format!("/why/{reference}"),
        format!("/audit/events/{event}"),
        format!("/audit/events/{event}/proof"),
    ] {
        assert!(first.node.app.db.now().await.is_ok());
        assert_eq!(
            second.try_admin("GET", &path, Value::Null).await.problem().0,
            422,
            "{path}"
        );
    }
    let path = format!("/audit/events/{event}/parts/decision");
    assert_eq!(
        second.try_admin("DELETE", &path, Value::Null).await.problem().0,
        422
    );
}

async fn keys_and_logs_are_a_tenants_own(place: Place) {
    let (first, second) = Estate::twins(&place).await;
    first.node.integrate().await;
    assert_ne!(
        first.node.get("/jwks").await.body,
        second.node.get("/t/acme/jwks").await.body
    );
    let logs = [
        first.node.get("/log/checkpoint").await.text(),
        second.node.get("/t/acme/log/checkpoint").await.text(),
    ];
    assert!(
        logs[0].starts_with("id.example/log") && logs[1].starts_with("id.example/t/acme/log"),
        "{logs:?}"
    );
}

async fn a_kill_stops_in_its_own_tenant_only(place: Place) {
    let (first, second) = Estate::twins(&place).await;
    let token = second.own("planner", &[("resource", NOTES)]).await.token();
    first.kill("agent", "planner").await;
    assert!(second.is_active("planner", &token).await);
    assert_eq!(second.own("planner", &[("resource", NOTES)]).await.status, 200);
}

async fn metadata_is_found_in_three_forms(place: Place) {
    let (first, second) = Estate::twins(&place).await;
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        let metadata = first.node.get(path).await.json();
        assert_eq!(
            (&metadata["issuer"], &metadata["token_endpoint"]),
            (&json!(BASE), &json!(format!("{BASE}/token")))
        );
    }
    for path in [
        "/.well-known/oauth-authorization-server/t/acme",
        "/.well-known/openid-configuration/t/acme",
        "/t/acme/.well-known/openid-configuration",
    ] {
        let metadata = second.node.get(path).await.json();
        assert_eq!(metadata["issuer"], second.base(), "{path}");
        assert_eq!(metadata["jwks_uri"], format!("{}/jwks", second.base()));
        let grants = metadata["grant_types_supported"].to_string();
        assert!(grants.contains("client_credentials") && grants.contains("token-exchange"));
    }
}

async fn an_unknown_host_is_misdirected(place: Place) {
    let estate = Estate::start(&place).await;
    for host in [
        Some("evil.example"),
        Some("id.example:444"),
        Some("id.example.evil"),
        None,
    ] {
        let mut request = Request::get("/jwks");
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let answer = estate.node.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.problem(), (421, "unknown_host".to_owned()), "{host:?}");
    }
    assert_eq!(
        estate.node.get("/t/nobody/jwks").await.problem(),
        (421, "unknown_host".to_owned())
    );
    let request = Request::get("/jwks")
        .header("host", "ID.Example")
        .body(Body::empty())
        .unwrap();
    assert_eq!(
        estate.node.send(request).await.status,
        200,
        "host names have no case"
    );
}

async fn the_tenant_never_comes_from_a_header(place: Place) {
    let (first, _) = Estate::twins(&place).await;
    for (name, value) in [
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "host=evil.example"),
        ("x-forwarded-prefix", "/t/acme"),
        ("x-original-url", "/t/acme"),
    ] {
        let request = Request::get("/.well-known/oauth-authorization-server")
            .header("host", "id.example")
            .header(name, value);
        let answer = first.node.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.json()["issuer"], BASE, "{name}");
    }
}

async fn the_system_tenant_alone_makes_tenants(place: Place) {
    let (first, second) = Estate::twins(&place).await;
    for estate in [&first, &second] {
        let answer = estate
            .try_admin("POST", "/tenants", json!({ "name": "other" }))
            .await;
        assert_eq!(answer.problem().0, 422);
    }
    assert_eq!(first.node.get("/t/other/jwks").await.status, 421);
}

async fn a_tenants_name_is_never_taken_twice(place: Place) {
    let node = Chancery::start(&place).await;
    let tries = (0..4).map(|_| {
        let node = node.clone();
        tokio::spawn(async move {
            node.local("POST", "/t/system/api/v1/tenants", json!({ "name": "acme" }))
                .await
        })
    });
    let mut made = 0;
    for answer in tries.collect::<Vec<_>>() {
        let answer = answer.await.unwrap();
        made += u32::from(answer.status == 201);
        assert!(answer.status == 201 || answer.problem() == (409, "exists".to_owned()));
    }
    assert_eq!(made, 1);
    let tenants = chancery_server::store::all_tenants(&node.app.db).await.unwrap();
    assert_eq!(tenants.len(), 3);
}
