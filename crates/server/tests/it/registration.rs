//! Dynamic client registration and its management (RFC 7591, RFC 7592): who may register, whose agent it becomes, and
//! what nobody gets by it.

use crate::estate::*;
use crate::harness::*;
use axum::body::Body;
use chancery_core::time::Ttl;
use http::Request;
use serde_json::{Value, json};

on_both_engines!(
    a_client_without_a_rule_is_staged_until_somebody_adopts_it,
    a_client_by_rule_belongs_to_its_agent_and_never_acts_for_it,
    a_software_id_is_no_claim_to_an_agent,
    an_initial_access_token_registers_once_and_until_it_ends,
    an_initial_access_token_used_by_two_at_once_registers_one,
    what_is_closed_or_refused_registers_nobody,
    each_bad_registration_has_its_exact_error,
    everything_registered_is_echoed,
    a_flood_of_registrations_is_refused_and_stores_nothing,
    what_nobody_adopts_ends,
    a_management_token_manages_its_own_client_only,
    a_replaced_registration_is_not_widened_nor_moved_unseen,
    a_deleted_client_and_everything_issued_on_it_is_dead,
    secrets_of_registration_are_kept_as_digests,
    the_metadata_says_what_is_open,
);

async fn send(estate: &Estate, method: &str, path: &str, (bearer, body): (Option<&str>, Value)) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(estate.path(path))
        .header("host", "id.example")
        .header("content-type", "application/json");
    if let Some(bearer) = bearer {
        request = request.header("authorization", format!("Bearer {bearer}"));
    }
    let body = if body.is_null() {
        Body::empty()
    } else {
        Body::from(body.to_string())
    };
    estate.node.send(request.body(body).unwrap()).await
}

async fn register(estate: &Estate, bearer: Option<&str>, body: Value) -> Answer {
    send(estate, "POST", "/register", (bearer, body)).await
}

fn app() -> Value {
    json!({ "redirect_uris": ["https://app.example/callback"], "client_name": "App" })
}

#[track_caller]
fn created(answer: &Answer) -> Value {
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.json()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap()
}

async fn rule(estate: &Estate, rule: Value) {
    estate.admin("POST", "/registration_rules", rule).await;
}

async fn adopting(estate: &Estate) {
    let adopt = json!({ "name": "app", "outcome": "adopt", "agent": "planner", "hosts": ["app.example"] });
    rule(estate, adopt).await;
}

async fn token(estate: &Estate, uses: u64) -> String {
    let wanted = json!({ "agent": "planner", "uses": uses, "lifetime": 600 });
    let made = estate.admin("POST", "/registration_tokens", wanted).await;
    text(&made, "token").to_owned()
}

/// What a client gets for its agent itself.
async fn itself(estate: &Estate, client: &Value) -> Answer {
    let form = [("grant_type", "client_credentials"), ("resource", NOTES)];
    let header = basic(text(client, "client_id"), text(client, "client_secret"));
    estate.node.form_with("/token", &form, Some(&header)).await
}

async fn a_client_without_a_rule_is_staged_until_somebody_adopts_it(place: Place) {
    let estate = Estate::start(&place).await;
    let body = json!({ "grant_types": ["client_credentials"], "client_name": "Bot" });
    let client = created(&register(&estate, None, body).await);
    let id = text(&client, "client_id");
    assert!(text(&client, "chancery_staged").contains(&format!("chancery client adopt {id} --agent")));
    let stored = estate.show("clients", id).await;
    assert_eq!(
        (&stored["state"], &stored["spec"]["agent"]),
        (&json!("staged"), &Value::Null)
    );
    let refused = itself(&estate, &client).await;
    assert!(estate.reason(&refused).await.contains("belongs to no agent yet"));
    // A person whom it sends is told whom to ask, and nothing that the client says of itself.
    let page = estate
        .node
        .get(&format!("/authorize?client_id={id}&response_type=code"))
        .await;
    assert_eq!(page.status, 403);
    for shown in ["client_staged", "administrator", text(&stored, "name")] {
        assert!(page.text().contains(shown), "{shown}: {}", page.text());
    }
    assert!(!page.text().contains("Bot"));
    // Activating is not adopting.
    let activated = estate
        .try_admin("POST", &format!("/clients/{id}/activate"), Value::Null)
        .await;
    assert_eq!(activated.problem(), (422, "invalid".to_owned()));

    let adoption = json!({ "agent": "planner" });
    let path = format!("/clients/{id}/adopt");
    estate.admin("POST", &path, adoption.clone()).await;
    assert_eq!(itself(&estate, &client).await.claims()["client_id"], id);
    let again = estate
        .try_admin("POST", &path, json!({ "agent": "helper" }))
        .await;
    assert_eq!(
        again.problem(),
        (422, "invalid".to_owned()),
        "it is nobody else's then"
    );
    let manual = estate.try_admin("POST", "/clients/planner/adopt", adoption).await;
    assert_eq!(manual.problem(), (422, "invalid".to_owned()));
}

async fn a_client_by_rule_belongs_to_its_agent_and_never_acts_for_it(place: Place) {
    let estate = Estate::start(&place).await;
    adopting(&estate).await;
    let mut body = app();
    body["grant_types"] = json!(["authorization_code", "client_credentials", EXCHANGE]);
    let client = created(&register(&estate, None, body).await);
    assert_eq!(client["grant_types"], json!(["authorization_code"]));
    let stored = estate.show("clients", text(&client, "client_id")).await;
    assert_eq!(
        (&stored["state"], &stored["spec"]["agent"]),
        (&json!("active"), &json!("planner"))
    );
    let answer = itself(&estate, &client).await;
    assert_eq!(answer.error(), (400, "unauthorized_client".to_owned()));
}

async fn a_software_id_is_no_claim_to_an_agent(place: Place) {
    let estate = Estate::start(&place).await;
    let alone = json!({ "name": "x", "outcome": "adopt", "agent": "planner", "software_ids": ["planner"] });
    let refused = estate.try_admin("POST", "/registration_rules", alone).await;
    assert_eq!(refused.problem(), (422, "invalid".to_owned()));
    let narrowed = json!({
        "name": "y", "outcome": "adopt", "agent": "planner", "hosts": ["app.example"], "software_ids": ["planner"],
    });
    rule(&estate, narrowed).await;
    let elsewhere = json!({ "redirect_uris": ["https://evil.example/"], "software_id": "planner" });
    let client = created(&register(&estate, None, elsewhere).await);
    assert_eq!(
        estate.show("clients", text(&client, "client_id")).await["state"],
        "staged"
    );
}

async fn an_initial_access_token_registers_once_and_until_it_ends(place: Place) {
    let estate = Estate::start(&place).await;
    let once = token(&estate, 1).await;
    let body = json!({ "grant_types": ["client_credentials"] });
    let client = created(&register(&estate, Some(&once), body.clone()).await);
    assert_eq!(itself(&estate, &client).await.scope(), "read");
    let again = register(&estate, Some(&once), body.clone()).await;
    assert_eq!(again.error(), (401, "invalid_token".to_owned()));
    assert_eq!(
        again.header("www-authenticate"),
        Some("Bearer error=\"invalid_token\"")
    );

    let twice = token(&estate, 2).await;
    for _ in 0..2 {
        created(&register(&estate, Some(&twice), body.clone()).await);
    }
    assert_eq!(register(&estate, Some(&twice), body.clone()).await.status, 401);

    let late = token(&estate, 1).await;
    estate.node.advance(Ttl::from_seconds(600)).await;
    assert_eq!(register(&estate, Some(&late), body.clone()).await.status, 401);
    for wrong in ["", "chi_wrong", &once.to_uppercase()] {
        assert_eq!(register(&estate, Some(wrong), body.clone()).await.status, 401);
    }
    let ended = token(&estate, 1).await;
    let list = estate
        .admin("GET", "/registration_tokens?state=active&limit=500", Value::Null)
        .await;
    for item in list["items"].as_array().unwrap() {
        let path = format!("/registration_tokens/{}/retire", text(item, "name"));
        estate.admin("POST", &path, Value::Null).await;
    }
    assert_eq!(register(&estate, Some(&ended), body).await.status, 401);
}

async fn an_initial_access_token_used_by_two_at_once_registers_one(place: Place) {
    let estate = Estate::start(&place).await;
    let once = token(&estate, 1).await;
    let tries = (0..6).map(|_| register(&estate, Some(&once), app()));
    let answers = futures_util::future::join_all(tries).await;
    let registered = answers.iter().filter(|answer| answer.status == 201).count();
    let refused = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!((registered, refused), (1, 5));
}

async fn what_is_closed_or_refused_registers_nobody(place: Place) {
    let estate = Estate::start(&place).await;
    rule(&estate, json!({ "name": "all", "outcome": "refuse" })).await;
    let denied = register(&estate, None, app()).await;
    assert_eq!(denied.error(), (400, "access_denied".to_owned()));
    let bearer = token(&estate, 2).await;
    created(&register(&estate, Some(&bearer), app()).await);
    rule(&estate, json!({ "name": "off", "outcome": "off" })).await;
    let closed = register(&estate, Some(&bearer), app()).await;
    assert_eq!(closed.error(), (400, "access_denied".to_owned()));
    estate
        .admin("POST", "/registration_rules/off/retire", Value::Null)
        .await;
    created(&register(&estate, Some(&bearer), app()).await);
}

async fn each_bad_registration_has_its_exact_error(place: Place) {
    let estate = Estate::start(&place).await;
    for (body, code) in [
        (
            json!({ "redirect_uris": ["http://evil.example/"] }),
            "invalid_redirect_uri",
        ),
        (
            json!({ "redirect_uris": ["https://a.example/#x"] }),
            "invalid_redirect_uri",
        ),
        (json!({}), "invalid_redirect_uri"),
        (
            json!({ "redirect_uris": ["https://a.example/"], "software_statement": "x" }),
            "invalid_software_statement",
        ),
        (
            json!({ "redirect_uris": ["https://a.example/"], "client_name": "a\u{202e}b" }),
            "invalid_client_metadata",
        ),
        (
            json!({ "redirect_uris": ["https://a.example/"], "client_name": "x".repeat(100_000) }),
            "invalid_client_metadata",
        ),
        (
            json!({ "redirect_uris": ["https://a.example/"], "token_endpoint_auth_method": "private_key_jwt",
                    "jwks": { "keys": [{ "kty": "oct", "k": "AAAA" }] } }),
            "invalid_client_metadata",
        ),
    ] {
        let answer = register(&estate, None, body).await;
        assert_eq!(answer.error(), (400, code.to_owned()));
    }
    let form = estate.node.raw_form("/register", "redirect_uris=x", None).await;
    assert_eq!(form.error(), (400, "invalid_client_metadata".to_owned()));
    let header = Request::post("/register")
        .header("host", "id.example")
        .header("content-type", "application/json")
        .header("authorization", "Basic abc");
    let answer = estate.node.send(header.body(Body::from("{}")).unwrap()).await;
    assert_eq!(answer.error(), (401, "invalid_token".to_owned()));
}

async fn everything_registered_is_echoed(place: Place) {
    let estate = Estate::start(&place).await;
    let body = json!({
        "redirect_uris": ["http://127.0.0.1:3118/callback"], "application_type": "native",
        "token_endpoint_auth_method": "none", "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"], "client_name": "Desk", "client_uri": "https://desk.example/about",
        "software_id": "desk", "logo_uri": "https://evil.example/track.png",
    });
    let client = created(&register(&estate, None, body.clone()).await);
    for field in [
        "redirect_uris",
        "token_endpoint_auth_method",
        "grant_types",
        "response_types",
        "client_name",
        "client_uri",
        "software_id",
    ] {
        assert_eq!(client[field], body[field], "{field}");
    }
    assert!(client.get("client_secret").is_none() && client.get("client_secret_expires_at").is_none());
    assert!(client.get("logo_uri").is_none(), "nothing is fetched from there");
    assert_eq!(client["client_id_issued_at"], START.as_seconds());
    let secret = created(&register(&estate, None, app()).await);
    assert_eq!(secret["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!(secret["client_secret_expires_at"], 0);
}

async fn a_flood_of_registrations_is_refused_and_stores_nothing(place: Place) {
    let estate = Estate::start(&place).await;
    let before = estate.events("client.created").await.len();
    for _ in 0..60 {
        created(&register(&estate, None, app()).await);
    }
    for _ in 0..3 {
        let answer = register(&estate, None, app()).await;
        assert_eq!(answer.error(), (429, "temporarily_unavailable".to_owned()));
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(estate.events("client.created").await.len(), before + 60);
    estate.node.advance(Ttl::from_minutes(60)).await;
    created(&register(&estate, None, app()).await);
}

async fn what_nobody_adopts_ends(place: Place) {
    let estate = Estate::start(&place).await;
    let waiting = created(&register(&estate, None, app()).await);
    let adopted = created(&register(&estate, None, app()).await);
    let path = format!("/clients/{}/adopt", text(&adopted, "client_id"));
    estate.admin("POST", &path, json!({ "agent": "planner" })).await;
    estate.node.advance(Ttl::from_days(14)).await;
    estate.node.expire().await;
    let state = async |client: &Value| {
        let shown = estate.show("clients", text(client, "client_id")).await;
        shown["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (state(&waiting).await.as_str(), state(&adopted).await.as_str()),
        ("retired", "active")
    );
    assert_eq!(estate.events("client.retired").await.len(), 1);
}

async fn a_management_token_manages_its_own_client_only(place: Place) {
    let estate = Estate::start(&place).await;
    let one = created(&register(&estate, None, app()).await);
    let other = created(&register(&estate, None, app()).await);
    let path = |client: &Value| format!("/register/{}", text(client, "client_id"));
    let own = text(&one, "registration_access_token");
    let read = send(&estate, "GET", &path(&one), (Some(own), Value::Null)).await;
    assert_eq!(read.status, 200);
    assert_eq!(read.json()["redirect_uris"], one["redirect_uris"]);
    assert!(
        !read.text().contains(text(&one, "client_secret")),
        "a secret is shown once"
    );
    assert_eq!(
        text(&one, "registration_client_uri"),
        format!("{BASE}{}", path(&one))
    );

    let manual = format!("/register/{}", estate.client_id("planner"));
    for (method, place, bearer) in [
        ("GET", path(&other), Some(own)),
        ("PUT", path(&other), Some(own)),
        ("DELETE", path(&other), Some(own)),
        ("DELETE", manual, Some(own)),
        (
            "GET",
            "/register/cli_00000000000000000000000000".to_owned(),
            Some(own),
        ),
        ("GET", "/register/nobody".to_owned(), Some(own)),
        ("GET", path(&one), None),
        ("DELETE", path(&one), Some("chr_wrong")),
    ] {
        let body = if method == "PUT" { app() } else { Value::Null };
        let answer = send(&estate, method, &place, (bearer, body)).await;
        assert_eq!(
            answer.error(),
            (401, "invalid_token".to_owned()),
            "{method} {place}"
        );
    }
    assert_eq!(
        send(
            &estate,
            "GET",
            &path(&other),
            (Some(text(&other, "registration_access_token")), Value::Null)
        )
        .await
        .status,
        200
    );
}

async fn a_replaced_registration_is_not_widened_nor_moved_unseen(place: Place) {
    let estate = Estate::start(&place).await;
    adopting(&estate).await;
    let client = created(&register(&estate, None, app()).await);
    let id = text(&client, "client_id").to_owned();
    let bearer = text(&client, "registration_access_token").to_owned();
    let path = format!("/register/{id}");
    let put = async |change: Value| {
        let mut body = app();
        body["client_id"] = json!(id);
        for (field, value) in change.as_object().unwrap() {
            body[field] = value.clone();
        }
        send(&estate, "PUT", &path, (Some(&bearer), body)).await
    };
    for refused in [
        json!({ "client_id": "cli_00000000000000000000000000" }),
        json!({ "registration_access_token": bearer }),
        json!({ "client_secret_expires_at": 0 }),
        json!({ "client_secret": "chs_chosen" }),
        json!({ "token_endpoint_auth_method": "none" }),
        json!({ "grant_types": ["authorization_code", "client_credentials"] }),
    ] {
        assert_eq!(
            put(refused).await.error(),
            (400, "invalid_client_metadata".to_owned())
        );
    }
    let secret = json!({ "client_secret": text(&client, "client_secret"), "client_name": "Renamed" });
    let renamed = put(secret).await;
    assert_eq!(
        (renamed.status.as_u16(), &renamed.json()["client_name"]),
        (200, &json!("Renamed"))
    );
    assert_eq!(estate.show("clients", &id).await["state"], "active");

    let moved = put(json!({ "redirect_uris": ["https://evil.example/callback"] })).await;
    assert_eq!(moved.status, 200);
    let stored = estate.show("clients", &id).await;
    assert_eq!(
        stored["state"], "suspended",
        "what was ruled on was another place"
    );
    assert_eq!(estate.events("client.suspended").await.len(), 1);
}

async fn a_deleted_client_and_everything_issued_on_it_is_dead(place: Place) {
    let estate = Estate::start(&place).await;
    let bearer = token(&estate, 1).await;
    let body = json!({ "grant_types": ["client_credentials"] });
    let client = created(&register(&estate, Some(&bearer), body).await);
    let issued = itself(&estate, &client).await.token();
    assert!(estate.is_active("planner", &issued).await);
    let path = format!("/register/{}", text(&client, "client_id"));
    let own = Some(text(&client, "registration_access_token"));
    assert_eq!(
        send(&estate, "DELETE", &path, (own, Value::Null)).await.status,
        204
    );
    assert!(!estate.is_active("planner", &issued).await);
    assert_eq!(
        itself(&estate, &client).await.error(),
        (401, "invalid_client".to_owned())
    );
    let again = send(&estate, "GET", &path, (own, Value::Null)).await;
    assert_eq!(again.error(), (401, "invalid_token".to_owned()));
}

async fn secrets_of_registration_are_kept_as_digests(place: Place) {
    let estate = Estate::start(&place).await;
    let initial = token(&estate, 1).await;
    let client = created(&register(&estate, Some(&initial), app()).await);
    let own = text(&client, "registration_access_token");
    let list = estate
        .admin("GET", "/registration_tokens", Value::Null)
        .await
        .to_string();
    assert!(!list.contains(&initial) && !list.contains("digest"));
    let export = estate.admin("GET", "/export", Value::Null).await.to_string();
    let events = estate.events("client.created").await;
    for secret in [initial.as_str(), own, text(&client, "client_secret")] {
        assert!(!export.contains(secret) && !Value::from(events.clone()).to_string().contains(secret));
    }
    assert!(
        !export.contains(text(&client, "client_id")),
        "what registered itself is no configuration"
    );
}

async fn the_metadata_says_what_is_open(place: Place) {
    let estate = Estate::start(&place).await;
    let metadata = async || {
        let path = estate.path("/.well-known/oauth-authorization-server");
        estate.node.get(&path).await.json()
    };
    let open = metadata().await;
    assert_eq!(open["registration_endpoint"], format!("{BASE}/register"));
    assert_eq!(open["client_id_metadata_document_supported"], true);
    assert!(
        open["token_endpoint_auth_methods_supported"]
            .as_array()
            .unwrap()
            .contains(&json!("none"))
    );
    rule(&estate, json!({ "name": "off", "outcome": "off" })).await;
    let closed = metadata().await;
    assert!(closed.get("registration_endpoint").is_none());
    assert_eq!(closed["client_id_metadata_document_supported"], false);
}
