//! Authorization details (RFC 9396): asked for, shown, taken away, carried, and never widened.

use crate::approval::{CIBA, approve, poll, prepare, waits};
use crate::authorize::World;
use crate::browser::*;
use crate::estate::*;
use crate::harness::*;
use serde_json::{Value, json};

on_both_engines!(
    a_token_has_the_details_that_were_asked_for,
    what_does_not_fit_its_type_is_refused,
    a_detail_needs_client_and_grant,
    a_detail_goes_with_its_scopes_and_they_with_it,
    an_exchange_keeps_or_narrows_and_never_widens,
    a_delegation_carries_no_detail_that_its_parent_lacks,
    policy_is_asked_about_each_detail,
    a_type_is_refused_where_nobody_would_look_at_it,
    a_person_sees_each_detail_and_takes_one_away,
    a_scope_goes_with_its_last_detail,
    what_was_agreed_to_once_is_asked_again,
    hostile_text_in_a_detail_is_made_plain,
    a_refresh_keeps_or_narrows_and_never_widens,
    a_device_gets_the_details_that_a_person_left,
    a_backchannel_yes_is_to_its_details_alone,
    an_approval_for_one_detail_is_none_for_another,
    the_metadata_names_the_types_of_resources,
);

const TEN: &str = r#"{"type":"payment","to":"bob","amount":10}"#;
const TWENTY: &str = r#"{"type":"payment","to":"bob","amount":20}"#;
const CODE: &str = "invalid_authorization_details";

fn list(details: &[&str]) -> String {
    format!("[{}]", details.join(","))
}

fn read(details: &[&str]) -> Value {
    serde_json::from_str(&list(details)).unwrap()
}

fn types() -> Value {
    json!({
        "payment": {
            "description": "Pay this, once", "scopes": ["write"],
            "schema": { "type": "object", "required": ["amount"], "properties": {
                "amount": { "type": "integer" }, "to": { "type": "string" }, "pin": { "type": "string", "writeOnly": true },
            } },
        },
        "copy": { "description": "Take a copy", "scopes": ["read"], "required": false },
    })
}

/// Resource, grants and clients know the types.
async fn detailed(estate: &Estate) {
    let all = json!(["payment", "copy"]);
    estate
        .change(
            "resources",
            "notes",
            json!({ "authorization_details_types": types() }),
        )
        .await;
    for client in ["planner", "helper"] {
        estate
            .change("clients", client, json!({ "authorization_details_types": all }))
            .await;
    }
    for grant in ["planner-notes", "alice-notes"] {
        estate
            .change("grants", grant, json!({ "authorization_details_types": all }))
            .await;
    }
}

async fn start(place: &Place) -> Estate {
    let estate = Estate::start(place).await;
    detailed(&estate).await;
    estate
}

async fn own(estate: &Estate, details: &str) -> Answer {
    let ask = [("resource", NOTES), ("authorization_details", details)];
    estate.own("planner", &ask).await
}

async fn for_alice(estate: &Estate, details: &[&str]) -> Answer {
    let alice = estate.user("alice", &["staff"]);
    let text = list(details);
    let ask = [("resource", NOTES), ("authorization_details", text.as_str())];
    estate.exchange_as("planner", (&alice, JWT), &ask).await
}

#[track_caller]
fn refused(answer: &Answer) {
    assert_eq!(answer.error(), (400, CODE.to_owned()), "{}", answer.text());
}

async fn a_token_has_the_details_that_were_asked_for(place: Place) {
    let estate = start(&place).await;
    let secret = r#"{"type":"payment","amount":20,"pin":"hush"}"#;
    let answer = own(&estate, &list(&[TEN, secret])).await;
    assert_eq!(answer.scope(), "write");
    let expected = read(&[TEN, secret]);
    assert_eq!(answer.json()["authorization_details"], expected);
    assert_eq!(answer.claims()["authorization_details"], expected);
    let told = estate.introspect("planner", &answer.token()).await;
    assert_eq!(told["authorization_details"], expected);
    let decision = answer.claims()["jti"].as_str().unwrap().replace("tok_", "dec_");
    let why = estate
        .admin("GET", &format!("/why/{decision}"), Value::Null)
        .await;
    let text = why.to_string();
    assert!(
        text.contains("authorization detail of type payment: amount = 10, to = \\\"bob\\\""),
        "{text}"
    );
    assert!(!text.contains("hush"), "{text}");
    let without = estate.own("planner", &[("resource", NOTES)]).await;
    assert_eq!(without.json().get("authorization_details"), None);
    assert_eq!(without.claims().get("authorization_details"), None);
}

async fn what_does_not_fit_its_type_is_refused(place: Place) {
    let estate = start(&place).await;
    let long = format!(
        r#"[{{"type":"payment","amount":1,"to":"{}"}}]"#,
        "x".repeat(2_048)
    );
    let many: Vec<String> = (0..9)
        .map(|n| format!(r#"{{"type":"payment","amount":{n}}}"#))
        .collect();
    let many = format!("[{}]", many.join(","));
    for details in [
        "{",
        "{}",
        "[1]",
        "[{}]",
        &long,
        &many,
        r#"[{"type":"transfer","amount":1}]"#,
        r#"[{"type":"payment"}]"#,
        r#"[{"type":"payment","amount":"1"}]"#,
        r#"[{"type":"payment","amount":1,"speed":"fast"}]"#,
        r#"[{"type":"payment","amount":1,"amount":2}]"#,
        r#"[{"type":"payment","amount":1},{"amount":1,"type":"payment"}]"#,
        r#"[{"type":"payment","amount":1,"locations":["https://mail.example"]}]"#,
        r#"[{"type":"payment","amount":1,"locations":["https://notes.example","https://mail.example"]}]"#,
        r#"[{"type":"copy","amount":1}]"#,
    ] {
        refused(&own(&estate, details).await);
    }
    let here = r#"[{"type":"payment","amount":1,"locations":["https://notes.example"]}]"#;
    assert_eq!(own(&estate, here).await.status, 200);
    // Without a resource nobody knows what a type means.
    refused(
        &estate
            .own("planner", &[("authorization_details", &list(&[TEN]))])
            .await,
    );
}

async fn a_detail_needs_client_and_grant(place: Place) {
    let estate = start(&place).await;
    for (collection, name) in [("clients", "planner"), ("grants", "planner-notes")] {
        let only = |types: Value| json!({ "authorization_details_types": types });
        estate.change(collection, name, only(json!(["copy"]))).await;
        refused(&own(&estate, &list(&[TEN])).await);
        refused(&own(&estate, &list(&[r#"{"type":"copy"}"#, TEN])).await);
        assert_eq!(own(&estate, r#"[{"type":"copy"}]"#).await.scope(), "read");
        estate
            .change(collection, name, only(json!(["copy", "payment"])))
            .await;
        assert_eq!(own(&estate, &list(&[TEN])).await.status, 200);
    }
    let mut unknown = estate.show("grants", "planner-notes").await["spec"].clone();
    unknown["authorization_details_types"] = json!(["transfer"]);
    let answer = estate.try_admin("PUT", "/grants/planner-notes", unknown).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
}

async fn a_detail_goes_with_its_scopes_and_they_with_it(place: Place) {
    let estate = start(&place).await;
    let ask = |scope: &'static str, details: String| {
        let estate = &estate;
        async move {
            let ask = [
                ("resource", NOTES),
                ("scope", scope),
                ("authorization_details", details.as_str()),
            ];
            estate.own("planner", &ask).await
        }
    };
    refused(&ask("read", list(&[TEN])).await);
    refused(&ask("write", "[]".to_owned()).await);
    refused(&ask("read write", list(&[r#"{"type":"copy"}"#])).await);
    refused(
        &estate
            .own("planner", &[("resource", NOTES), ("scope", "write")])
            .await,
    );
    assert_eq!(ask("read write", list(&[TEN])).await.scope(), "read write");
    assert_eq!(ask("read", "[]".to_owned()).await.scope(), "read");
    // What the person does not hold, no detail brings.
    let outsider = estate.user("alice", &["nobody"]);
    let details = list(&[TEN]);
    let ask = [("resource", NOTES), ("authorization_details", details.as_str())];
    let answer = estate.exchange_as("planner", (&outsider, JWT), &ask).await;
    assert_eq!(answer.error(), (400, "invalid_scope".to_owned()));
}

async fn an_exchange_keeps_or_narrows_and_never_widens(place: Place) {
    let estate = start(&place).await;
    let parent = for_alice(&estate, &[TEN, TWENTY]).await.token();
    let narrowed = |pairs: Vec<(&'static str, String)>| {
        let (estate, parent) = (&estate, &parent);
        async move {
            let mut form = vec![("resource", NOTES)];
            form.extend(pairs.iter().map(|(name, value)| (*name, value.as_str())));
            estate.exchange("planner", parent, &form).await
        }
    };
    let details = |answer: &Answer| answer.claims()["authorization_details"].clone();
    let kept = narrowed(vec![("scope", "write".to_owned())]).await;
    assert_eq!(details(&kept), read(&[TEN, TWENTY]));
    let fewer = narrowed(vec![("authorization_details", list(&[TWENTY]))]).await;
    assert_eq!(details(&fewer), read(&[TWENTY]));
    for wider in [
        list(&[r#"{"type":"payment","to":"bob","amount":30}"#]),
        list(&[TEN, r#"{"type":"payment","to":"eve","amount":10}"#]),
        // Less of something is not less: it is something else.
        list(&[r#"{"type":"payment","to":"bob","amount":9}"#]),
        list(&[r#"{"type":"payment","amount":10}"#]),
        list(&[TEN, r#"{"type":"copy"}"#]),
    ] {
        refused(&narrowed(vec![("authorization_details", wider)]).await);
    }
    refused(
        &narrowed(vec![
            ("authorization_details", "[]".to_owned()),
            ("scope", "write".to_owned()),
        ])
        .await,
    );
    // A child without them gets none back.
    let child = fewer.token();
    let ten = list(&[TEN]);
    let again = [("resource", NOTES), ("authorization_details", ten.as_str())];
    refused(&estate.exchange("planner", &child, &again).await);
}

async fn a_delegation_carries_no_detail_that_its_parent_lacks(place: Place) {
    let estate = start(&place).await;
    let mut types = types();
    types["payment"]["scopes"] = json!(["plan"]);
    types.as_object_mut().unwrap().remove("copy");
    estate
        .change(
            "resources",
            "helper-api",
            json!({ "enforcement": "self", "authorization_details_types": types,
                "scopes": { "plan": { "carries": { "notes": ["read", "write"] } } } }),
        )
        .await;
    estate
        .change(
            "grants",
            "alice-helper",
            json!({ "authorization_details_types": ["payment"] }),
        )
        .await;
    let alice = estate.user("alice", &["staff"]);
    let at_helper = |details: String| {
        let (estate, alice) = (&estate, &alice);
        async move {
            let ask = [
                ("resource", HELPER_API),
                ("authorization_details", details.as_str()),
            ];
            estate.exchange_as("planner", (alice, JWT), &ask).await
        }
    };
    let handed = at_helper(list(&[TEN])).await.token();
    let on = |details: Option<String>| {
        let (estate, handed) = (&estate, &handed);
        async move {
            let mut ask = vec![("resource", NOTES), ("scope", "write")];
            ask.extend(
                details
                    .iter()
                    .map(|details| ("authorization_details", details.as_str())),
            );
            estate.exchange("helper", handed, &ask).await
        }
    };
    let child = on(None).await;
    assert_eq!(
        child.claims()["authorization_details"],
        read(&[TEN]),
        "{}",
        child.text()
    );
    assert!(child.claims()["act"]["act"].is_object());
    refused(&on(Some(list(&[TWENTY]))).await);
    refused(&on(Some(list(&[TEN, TWENTY]))).await);
    // An agent token stands for no detail: none comes of it, and nothing that is given only with one.
    let bare = estate.handed_over("notes:read").await;
    let ten = list(&[TEN]);
    let ask = [("resource", NOTES), ("authorization_details", ten.as_str())];
    refused(&estate.exchange("helper", &bare, &ask).await);
}

async fn policy_is_asked_about_each_detail(place: Place) {
    let estate = start(&place).await;
    prepare(
        &estate,
        r#"@id("small-payments") forbid (principal is Agent, action == Action::"issue_token", resource)
           when { context has authorization_detail && context.authorization_detail.type == "payment"
                  && context.authorization_detail.members.number.hasTag("amount")
                  && context.authorization_detail.members.number.getTag("amount") > 10 };"#,
    )
    .await;
    assert_eq!(own(&estate, &list(&[TEN])).await.status, 200);
    for details in [list(&[TWENTY]), list(&[TEN, TWENTY]), list(&[TWENTY, TEN])] {
        assert_eq!(
            own(&estate, &details).await.error(),
            (400, "invalid_scope".to_owned())
        );
    }
}

async fn a_type_is_refused_where_nobody_would_look_at_it(place: Place) {
    let estate = start(&place).await;
    let with = |collection: &'static str, name: &'static str, fields: Value| {
        let estate = &estate;
        async move {
            let mut spec = estate.show(collection, name).await["spec"].clone();
            for (field, value) in fields.as_object().unwrap() {
                spec[field] = value.clone();
            }
            estate
                .try_admin("PUT", &format!("/{collection}/{name}"), spec)
                .await
                .status
        }
    };
    let one = |spec: Value| json!({ "authorization_details_types": { "x": spec } });
    let good = json!({ "description": "X", "scopes": ["send"] });
    assert_eq!(
        with("resources", "mail", one(good)).await,
        422,
        "the gateway looks at no details"
    );
    for bad in [
        json!({ "description": "X", "scopes": ["unknown"] }),
        json!({ "description": "X", "scopes": [] }),
        json!({ "description": "", "scopes": ["write"] }),
        json!({ "description": "X", "scopes": ["write"], "schema": { "type": 7 } }),
        json!({ "description": "X", "scopes": ["write"], "schema": { "$ref": "https://evil.example/schema" } }),
        json!({ "description": "X", "scopes": ["read"] }),
    ] {
        assert_eq!(with("resources", "notes", one(bad.clone())).await, 422, "{bad}");
    }
}

/// The world of people, whose application knows the types.
async fn world(place: &Place) -> World {
    let world = World::start(place).await;
    detailed(&world.estate).await;
    let all = json!({ "authorization_details_types": ["payment", "copy"] });
    world.estate.change("clients", "app", all).await;
    world
}

/// The person's answer at a consent page: these scopes and these details, by their places.
async fn say_yes(
    browser: &mut Browser,
    (path, page): (&str, &Answer),
    scopes: &[&str],
    details: &[&str],
) -> Answer {
    let token = csrf(page);
    let mut form = vec![("csrf", token.as_str()), ("answer", "allow"), ("lasts", "day")];
    form.extend(scopes.iter().map(|scope| ("scope", *scope)));
    form.extend(details.iter().map(|place| ("detail", *place)));
    browser.submit(path, &form).await
}

async fn agreed(
    world: &World,
    browser: &mut Browser,
    asked: &str,
    (scopes, details): (&[&str], &[&str]),
) -> Answer {
    let changes = [("authorization_details", asked)];
    let (path, page) = world.asked(browser, &changes).await;
    let answer = say_yes(browser, (&path, &page), scopes, details).await;
    let location = answer
        .header("location")
        .unwrap_or_else(|| panic!("{}", answer.text()));
    match parameter(location, "code") {
        Some(code) => world.redeem(&code, &[]).await,
        None => answer,
    }
}

async fn a_person_sees_each_detail_and_takes_one_away(place: Place) {
    let world = world(&place).await;
    let mut browser = world.signed_in().await;
    let asked = list(&[TEN, TWENTY]);
    let changes = [("authorization_details", asked.as_str())];
    let (path, page) = world.asked(&mut browser, &changes).await;
    let text = page.text();
    for shown in ["Pay this, once", "payment", "amount", "10", "20", "bob"] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    // A detail that is not on the page is not given.
    let forged = say_yes(&mut browser, (&path, &page), &["notes:write"], &["2"]).await;
    assert_ne!(forged.status, 303, "{}", forged.text());
    let both: &[&str] = &["notes:read", "notes:write"];
    let answer = agreed(&world, &mut browser, &asked, (both, &["1"])).await;
    assert_eq!(answer.scope(), "read write");
    assert_eq!(answer.json()["authorization_details"], read(&[TWENTY]));
    assert_eq!(answer.claims()["authorization_details"], read(&[TWENTY]));
    // At the client: what nobody knows, or what it is not registered for.
    for bad in [r#"[{"type":"transfer"}]"#, r#"[{"type":"payment","amount":"1"}]"#] {
        let sent = browser.get(&world.path(&[("authorization_details", bad)])).await;
        let location = sent.header("location").unwrap();
        assert_eq!(parameter(location, "error").as_deref(), Some(CODE), "{location}");
    }
}

async fn a_scope_goes_with_its_last_detail(place: Place) {
    let world = world(&place).await;
    let mut browser = world.signed_in().await;
    let asked = list(&[TEN]);
    let both: &[&str] = &["notes:read", "notes:write"];
    let answer = agreed(&world, &mut browser, &asked, (both, &[])).await;
    assert_eq!(answer.scope(), "read");
    assert_eq!(answer.json().get("authorization_details"), None);
    let answer = agreed(&world, &mut browser, &asked, (&["notes:read"], &["0"])).await;
    assert_eq!(
        (
            answer.scope().as_str(),
            answer.json().get("authorization_details")
        ),
        ("read", None)
    );
    let answer = agreed(&world, &mut browser, &asked, (&["notes:write"], &[])).await;
    let location = answer.header("location").unwrap();
    assert_eq!(parameter(location, "error").as_deref(), Some("access_denied"));
}

async fn what_was_agreed_to_once_is_asked_again(place: Place) {
    let world = world(&place).await;
    let mut browser = world.signed_in().await;
    let asked = list(&[TEN]);
    let both: &[&str] = &["notes:read", "notes:write"];
    agreed(&world, &mut browser, &asked, (both, &["0"])).await;
    let changes = [("authorization_details", asked.as_str()), ("prompt", "none")];
    let sent = browser.get(&world.path(&changes)).await;
    let location = sent.header("location").unwrap();
    assert_eq!(parameter(location, "error").as_deref(), Some("consent_required"));
    // The scopes that were agreed to with it give nothing without one.
    let sent = browser.get(&world.path(&[("prompt", "none")])).await;
    let location = sent.header("location").unwrap();
    assert_eq!(parameter(location, "error").as_deref(), Some(CODE));
}

async fn hostile_text_in_a_detail_is_made_plain(place: Place) {
    let world = world(&place).await;
    let mut browser = world.signed_in().await;
    let hostile = r#"[{"type":"payment","amount":10,"to":"<script>bob</script>\u202e\u200b\u0000"}]"#;
    let (_, page) = world
        .asked(&mut browser, &[("authorization_details", hostile)])
        .await;
    let text = page.text();
    assert!(!text.contains("<script>bob"), "{text}");
    assert!(
        !text.contains('\u{202e}') && !text.contains('\u{200b}') && !text.contains('\0'),
        "{text}"
    );
    assert!(text.contains('\u{fffd}'), "{text}");
}

async fn a_refresh_keeps_or_narrows_and_never_widens(place: Place) {
    let world = world(&place).await;
    let mut browser = world.signed_in().await;
    let both: &[&str] = &["notes:read", "notes:write"];
    let asked = list(&[TEN, TWENTY]);
    let answer = agreed(&world, &mut browser, &asked, (both, &["0", "1"])).await;
    let mut token = answer.json()["refresh_token"].as_str().unwrap().to_owned();
    for (more, expected) in [
        (vec![], Some(vec![TEN, TWENTY])),
        (
            vec![("authorization_details", list(&[TWENTY]))],
            Some(vec![TWENTY]),
        ),
        // A narrower token narrows nothing that comes after it.
        (vec![("authorization_details", list(&[TEN]))], Some(vec![TEN])),
        (vec![("scope", "read".to_owned())], Some(vec![])),
        (
            vec![(
                "authorization_details",
                list(&[r#"{"type":"payment","to":"bob","amount":11}"#]),
            )],
            None,
        ),
        (
            vec![("authorization_details", list(&[TEN, r#"{"type":"copy"}"#]))],
            None,
        ),
    ] {
        let mut pairs = vec![
            ("grant_type", "refresh_token"),
            ("client_id", world.app.as_str()),
            ("refresh_token", token.as_str()),
        ];
        pairs.extend(more.iter().map(|(name, value)| (*name, value.as_str())));
        let answer = world.estate.node.form("/token", &pairs).await;
        match expected {
            None => refused(&answer),
            Some(expected) => {
                let given = answer.json().get("authorization_details").cloned();
                assert_eq!(given.unwrap_or(json!([])), read(&expected), "{}", answer.text());
                token = answer.json()["refresh_token"].as_str().unwrap().to_owned();
            }
        }
    }
}

async fn a_device_gets_the_details_that_a_person_left(place: Place) {
    const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
    let world = world(&place).await;
    let tv = json!({ "name": "tv", "agent": "planner", "method": "none", "grant_types": [DEVICE_CODE],
        "authorization_details_types": ["payment"] });
    world.estate.apply(json!({ "clients": [tv] })).await;
    let tv = world.estate.show("clients", "tv").await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let ask = |details: String| {
        let (world, tv) = (&world, &tv);
        async move {
            let form = [
                ("client_id", tv.as_str()),
                ("resource", NOTES),
                ("authorization_details", details.as_str()),
            ];
            world.estate.node.form("/device_authorization", &form).await
        }
    };
    refused(&ask(r#"[{"type":"copy"}]"#.to_owned()).await);
    let told = ask(list(&[TEN, TWENTY])).await.json();
    let mut browser = world.signed_in().await;
    let token = csrf(&browser.get("/device").await);
    let typed = [
        ("csrf", token.as_str()),
        ("user_code", told["user_code"].as_str().unwrap()),
    ];
    let path = browser
        .submit("/device", &typed)
        .await
        .header("location")
        .unwrap()
        .to_owned();
    let page = browser.get(&path).await;
    assert!(page.text().contains("Pay this, once"), "{}", page.text());
    say_yes(&mut browser, (&path, &page), &["notes:write"], &["0"]).await;
    let form = [
        ("grant_type", DEVICE_CODE),
        ("client_id", tv.as_str()),
        ("device_code", told["device_code"].as_str().unwrap()),
    ];
    let answer = world.estate.node.form("/token", &form).await;
    assert_eq!(
        answer.json()["authorization_details"],
        read(&[TEN]),
        "{}",
        answer.text()
    );
}

async fn a_backchannel_yes_is_to_its_details_alone(place: Place) {
    let estate = start(&place).await;
    prepare(&estate, "").await;
    // No grant names the type: the person's own yes is to the very detail.
    estate
        .change(
            "grants",
            "alice-notes",
            json!({ "authorization_details_types": [] }),
        )
        .await;
    let ten = list(&[TEN]);
    let form = [
        ("scope", "openid write"),
        ("resource", NOTES),
        ("login_hint", "alice"),
        ("authorization_details", ten.as_str()),
    ];
    let asked = estate.post("/bc-authorize", "planner", &form).await;
    assert_eq!(asked.status, 200, "{}", asked.text());
    let body = asked.json();
    let id = body["approval_uri"]
        .as_str()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    let handle = body["auth_req_id"].as_str().unwrap();
    let view = approve(&estate, "alice", &id).await.unwrap();
    assert_eq!(json!(view.record.subject.authorization_details), read(&[TEN]));
    let more = list(&[TEN, TWENTY]);
    let widened = [
        ("grant_type", CIBA),
        ("auth_req_id", handle),
        ("authorization_details", more.as_str()),
    ];
    refused(&estate.post("/token", "planner", &widened).await);
    let given = poll(&estate, "planner", handle).await;
    assert_eq!(
        given.claims()["authorization_details"],
        read(&[TEN]),
        "{}",
        given.text()
    );
    // An exchange still finds no grant that names the type.
    refused(&for_alice(&estate, &[TEN]).await);
}

async fn an_approval_for_one_detail_is_none_for_another(place: Place) {
    let estate = start(&place).await;
    prepare(
        &estate,
        r#"@id("writing-needs-a-yes")
           forbid (principal is Agent, action == Action::"issue_token", resource == Scope::"notes:write")
           unless { context has approval && context.approval.count >= 1 };"#,
    )
    .await;
    let (ten, first) = waits(&for_alice(&estate, &[TEN]).await);
    let (twenty, second) = waits(&for_alice(&estate, &[TWENTY]).await);
    assert_ne!((&ten, &first), (&twenty, &second));
    // The same details in another spelling are the same question.
    let spelled = r#"{"amount":10.0,"to":"b\u006fb","type":"payment"}"#;
    assert_eq!(
        waits(&for_alice(&estate, &[spelled]).await),
        (ten.clone(), first.clone())
    );
    let view = approve(&estate, "carol", &first).await.unwrap();
    assert_eq!(json!(view.record.subject.authorization_details), read(&[TEN]));
    assert_eq!(
        poll(&estate, "planner", &twenty).await.error().1,
        "authorization_pending"
    );
    let given = poll(&estate, "planner", &ten).await;
    assert_eq!(given.claims()["authorization_details"], read(&[TEN]));
    // A type that the grant lost meanwhile is not given on an old yes.
    approve(&estate, "carol", &second).await.unwrap();
    estate
        .change(
            "grants",
            "alice-notes",
            json!({ "authorization_details_types": [] }),
        )
        .await;
    let late = poll(&estate, "planner", &twenty).await;
    assert_eq!(late.status, 400, "{}", late.text());
}

async fn the_metadata_names_the_types_of_resources(place: Place) {
    let estate = Estate::start(&place).await;
    let types = || async {
        let path = "/.well-known/oauth-authorization-server";
        estate.node.get(path).await.json()["authorization_details_types_supported"].clone()
    };
    assert_eq!(types().await, Value::Null);
    detailed(&estate).await;
    assert_eq!(types().await, json!(["copy", "payment"]));
    estate.admin("POST", "/resources/notes/suspend", json!({})).await;
    assert_eq!(types().await, Value::Null);
}
