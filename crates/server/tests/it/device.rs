//! Device authorization (RFC 8628): from a device's request over a person's answer at a browser of their own to a token,
//! and what is tried with each step.

use crate::approval::{CIBA, approve, prepare, waits};
use crate::authorize::World;
use crate::browser::*;
use crate::estate::*;
use crate::harness::*;
use chancery_core::time::Ttl;
use chancery_server::store::device_code;
use serde_json::json;

on_both_engines!(
    a_person_answers_and_the_device_gets_its_token_once,
    a_link_with_the_code_does_nothing_by_itself,
    the_person_sees_who_asks_from_where_and_when,
    guesses_of_a_code_are_counted,
    a_code_is_typed_as_people_type,
    only_the_client_that_asked_polls,
    a_client_asks_only_if_it_is_registered_for_it_by_name,
    what_is_not_known_bothers_nobody,
    polling_a_device_code_too_fast_is_slowed_down,
    a_no_is_told_to_the_device,
    both_codes_end_after_ten_minutes,
    a_device_is_answered_once_among_many_sessions,
    what_ends_between_answer_and_poll_ends_the_code,
    many_polls_at_once_redeem_a_device_code_once,
    a_device_code_is_of_its_tenant,
    nothing_of_a_code_can_be_read_from_the_database,
    a_device_code_that_needs_a_yes_is_used_by_asking,
);

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

pub(crate) struct Living {
    pub(crate) world: World,
    tv: String,
}

/// What a device was told.
pub(crate) struct Codes {
    pub(crate) device: String,
    pub(crate) user: String,
}

impl Living {
    pub(crate) async fn room(place: &Place) -> Self {
        let world = World::start(place).await;
        let tv = json!({ "name": "tv", "agent": "planner", "method": "none", "display_name": "Telly",
            "grant_types": [DEVICE_CODE, "refresh_token"] });
        world.estate.apply(json!({ "clients": [tv] })).await;
        let tv = world.estate.show("clients", "tv").await["id"]
            .as_str()
            .unwrap()
            .to_owned();
        Self { world, tv }
    }

    async fn ask(&self, changes: &[(&str, &str)]) -> Answer {
        let mut form = vec![
            ("client_id", self.tv.as_str()),
            ("scope", "read write"),
            ("resource", NOTES),
        ];
        form.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        form.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
        self.world.estate.node.form("/device_authorization", &form).await
    }

    pub(crate) async fn asked(&self, changes: &[(&str, &str)]) -> Codes {
        let answer = self.ask(changes).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        Codes {
            device: text("device_code"),
            user: text("user_code"),
        }
    }

    pub(crate) async fn poll(&self, code: &str) -> Answer {
        self.poll_as(&self.tv, code).await
    }

    async fn poll_as(&self, client: &str, code: &str) -> Answer {
        let form = [
            ("grant_type", DEVICE_CODE),
            ("client_id", client),
            ("device_code", code),
        ];
        self.world.estate.node.form("/token", &form).await
    }

    /// The consent page that a typed code leads to, and its path.
    async fn typed(&self, browser: &mut Browser, code: &str) -> (String, Answer) {
        let answer = self.type_in(browser, code).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        let path = answer.header("location").unwrap().to_owned();
        let page = browser.get(&path).await;
        assert_eq!(page.status, 200, "{}", page.text());
        (path, page)
    }

    async fn type_in(&self, browser: &mut Browser, code: &str) -> Answer {
        let token = csrf(&browser.get("/device").await);
        browser
            .submit("/device", &[("csrf", &token), ("user_code", code)])
            .await
    }

    async fn answer(&self, browser: &mut Browser, code: &str, answer: &str) -> Answer {
        let (path, page) = self.typed(browser, code).await;
        submit_answer(browser, (&path, &page), answer).await
    }

    pub(crate) async fn allow(&self, browser: &mut Browser, code: &str) {
        let answer = self.answer(browser, code, "allow").await;
        assert_eq!(answer.header("location"), Some("/device/allowed"), "{answer:?}");
    }
}

async fn submit_answer(browser: &mut Browser, (path, page): (&str, &Answer), answer: &str) -> Answer {
    let token = csrf(page);
    let form = [
        ("csrf", token.as_str()),
        ("answer", answer),
        ("lasts", "day"),
        ("scope", "notes:read"),
    ];
    browser.submit(path, &form).await
}

async fn a_person_answers_and_the_device_gets_its_token_once(place: Place) {
    let living = Living::room(&place).await;
    let answer = living.ask(&[("scope", "openid read write")]).await;
    let told = answer.json();
    assert_eq!(told["verification_uri"], format!("{BASE}/device"));
    let user_code = told["user_code"].as_str().unwrap();
    assert_eq!(
        told["verification_uri_complete"],
        format!("{BASE}/device?user_code={user_code}")
    );
    assert_eq!((&told["expires_in"], &told["interval"]), (&json!(600), &json!(5)));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let device_code = told["device_code"].as_str().unwrap();
    assert_eq!(
        living.poll(device_code).await.error(),
        (400, "authorization_pending".to_owned())
    );

    let mut browser = living.world.signed_in().await;
    living.allow(&mut browser, user_code).await;
    assert_eq!(browser.get("/device/allowed").await.status, 200);

    let given = living.poll(device_code).await;
    assert_eq!(given.scope(), "openid read");
    let body = given.json();
    let alice = living.world.estate.show("users", "company:alice").await["id"].clone();
    let planner = living.world.estate.show("agents", "planner").await["id"].clone();
    assert_eq!(
        (&given.claims()["sub"], &given.claims()["act"]["sub"]),
        (&alice, &planner)
    );
    let identity = claims(body["id_token"].as_str().unwrap());
    assert_eq!((&identity["aud"], &identity["sub"]), (&json!(living.tv), &alice));
    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", living.tv.as_str()),
        ("refresh_token", body["refresh_token"].as_str().unwrap()),
    ];
    let refreshed = living.world.estate.node.form("/token", &refresh).await.token();
    assert!(living.world.is_active(&refreshed).await);
    let issued = living.world.estate.events("token.issued").await;
    assert!(
        issued
            .iter()
            .any(|event| event["parts"]["decision"]["facts"]["grant_type"] == "device_code"),
        "{issued:?}"
    );
    assert_eq!(
        living.world.estate.events("authorization.answered").await.len(),
        1
    );

    // A second use is two parties with one code: what was issued on it ends.
    assert_eq!(living.poll(device_code).await.error().1, "invalid_grant");
    assert!(!living.world.is_active(&given.token()).await);
    assert!(!living.world.is_active(&refreshed).await);
}

async fn a_link_with_the_code_does_nothing_by_itself(place: Place) {
    let living = Living::room(&place).await;
    let codes = living.asked(&[]).await;
    let link = format!("/device?user_code={}", codes.user);
    let mut nobody = Browser::at(&living.world.estate.node);
    let sent = nobody.get(&link).await;
    assert!(
        sent.header("location")
            .unwrap()
            .starts_with("/sign-in?return_to=")
    );
    let mut browser = living.world.signed_in().await;
    let page = browser.get(&link).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains(&codes.user) && page.text().contains("Does your device"));
    assert!(!page.text().contains("Allow this agent?"));
    // Neither without the form's token nor from another site.
    let token = csrf(&page);
    let form = [("csrf", token.as_str()), ("user_code", codes.user.as_str())];
    let foreign = [("origin", "https://evil.example")];
    assert_eq!(browser.submit("/device", &form[1..]).await.status, 403);
    assert_eq!(browser.submit_from("/device", &form, &foreign).await.status, 403);
    assert_eq!(
        living.poll(&codes.device).await.error().1,
        "authorization_pending"
    );
    // Nothing that is no code is shown.
    let page = browser.get("/device?user_code=%22%3E%3Cscript%3E").await;
    assert!(!page.text().contains("<script"));
    assert_eq!(hidden_value(&page.text()), "");
    // What is granted already is asked for all the same: it is another device.
    living.allow(&mut browser, &codes.user).await;
    let again = living.asked(&[("scope", "read")]).await;
    living.typed(&mut browser, &again.user).await;
    assert_eq!(
        living.poll(&again.device).await.error().1,
        "authorization_pending"
    );
}

fn hidden_value(page: &str) -> String {
    let from = page.split("name=\"user_code\" value=\"").nth(1).unwrap();
    from.split('"').next().unwrap().to_owned()
}

async fn the_person_sees_who_asks_from_where_and_when(place: Place) {
    let living = Living::room(&place).await;
    let codes = living.asked(&[]).await;
    let mut browser = living.world.signed_in().await;
    let (_, page) = living.typed(&mut browser, &codes.user).await;
    let text = page.text();
    for shown in [
        "planner",
        "ops",
        "Telly",
        codes.user.as_str(),
        "this machine",
        "2026-01-15 12:00 UTC",
        "notes",
        "Allow this only if you started it yourself",
    ] {
        assert!(text.contains(shown), "{shown} in {text}");
    }
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .ends_with("form-action 'self'")
    );
}

async fn guesses_of_a_code_are_counted(place: Place) {
    let living = Living::room(&place).await;
    let codes = living.asked(&[]).await;
    let mut mallory = living
        .world
        .idp
        .sign_in(&living.world.estate.node, "mallory")
        .await;
    for guess in 0..10 {
        let code = format!("BBBB-BBB{}", b"CDFGHJKLMN"[guess] as char);
        assert_eq!(living.type_in(&mut mallory, &code).await.status, 404);
    }
    // The right one too, once the share is used up.
    assert_eq!(living.type_in(&mut mallory, &codes.user).await.status, 429);
    // Whoever signs in anew to go on guessing is held up by where they are; others go on.
    let mut alice = living.world.signed_in().await;
    living.typed(&mut alice, &codes.user).await;
    for _ in 0..39 {
        let mut fresh = living
            .world
            .idp
            .sign_in(&living.world.estate.node, "mallory")
            .await;
        assert_eq!(living.type_in(&mut fresh, "BBBB-BBBB").await.status, 404);
    }
    let mut fresh = living
        .world
        .idp
        .sign_in(&living.world.estate.node, "mallory")
        .await;
    assert_eq!(living.type_in(&mut fresh, "BBBB-BBBB").await.status, 429);
    living.world.estate.node.advance(Ttl::from_minutes(10)).await;
    assert_eq!(living.type_in(&mut fresh, "BBBB-BBBB").await.status, 404);
    // So are the requests, which need no proof.
    let mut last = living.ask(&[]).await;
    for _ in 0..60 {
        last = living.ask(&[]).await;
    }
    assert_eq!(last.status, 429, "{}", last.text());
}

async fn a_code_is_typed_as_people_type(place: Place) {
    let living = Living::room(&place).await;
    let mut browser = living.world.signed_in().await;
    let codes = living.asked(&[]).await;
    let lower = codes.user.replace('-', " ").to_lowercase();
    living.typed(&mut browser, &format!(" {lower} ")).await;
    assert_eq!(living.type_in(&mut browser, "").await.status, 404);
}

async fn only_the_client_that_asked_polls(place: Place) {
    let living = Living::room(&place).await;
    let codes = living.asked(&[]).await;
    let mut browser = living.world.signed_in().await;
    living.allow(&mut browser, &codes.user).await;
    let other = living.world.estate.show("clients", "other-app").await["id"].clone();
    let other = living.poll_as(other.as_str().unwrap(), &codes.device).await;
    assert_eq!(other.error(), (400, "invalid_grant".to_owned()));
    assert_eq!(living.poll("cdc_unknown").await.error().1, "invalid_grant");
    assert_eq!(living.poll(&codes.user).await.error().1, "invalid_grant");
    living.poll(&codes.device).await.token();
}

async fn a_client_asks_only_if_it_is_registered_for_it_by_name(place: Place) {
    let living = Living::room(&place).await;
    let other = living.world.estate.show("clients", "other-app").await["id"].clone();
    for client in [living.world.app.as_str(), other.as_str().unwrap()] {
        let answer = living.ask(&[("client_id", client)]).await;
        assert_eq!(answer.error(), (400, "unauthorized_client".to_owned()));
    }
    assert_eq!(living.ask(&[("client_id", "")]).await.error().1, "invalid_client");
    assert_eq!(
        living.ask(&[("client_id", "nobody")]).await.error(),
        (401, "invalid_client".to_owned())
    );
}

async fn what_is_not_known_bothers_nobody(place: Place) {
    let living = Living::room(&place).await;
    for (changes, code) in [
        (("scope", "unheard-of"), "invalid_scope"),
        (("resource", "https://unknown.example"), "invalid_target"),
        (("authorization_details", "[1]"), "invalid_authorization_details"),
    ] {
        assert_eq!(living.ask(&[changes]).await.error().1, code, "{changes:?}");
    }
}

async fn polling_a_device_code_too_fast_is_slowed_down(place: Place) {
    let living = Living::room(&place).await;
    let codes = living.asked(&[]).await;
    let node = &living.world.estate.node;
    for (wait, expected) in [
        (0, "authorization_pending"),
        (5, "authorization_pending"),
        (1, "slow_down"),
        (9, "slow_down"),
        (15, "authorization_pending"),
    ] {
        node.advance(Ttl::from_seconds(wait)).await;
        assert_eq!(
            living.poll(&codes.device).await.error().1,
            expected,
            "after {wait}"
        );
    }
}

async fn a_no_is_told_to_the_device(place: Place) {
    let living = Living::room(&place).await;
    let mut browser = living.world.signed_in().await;
    let codes = living.asked(&[]).await;
    let answer = living.answer(&mut browser, &codes.user, "deny").await;
    assert_eq!(answer.header("location"), Some("/device/denied"));
    assert_eq!(
        living.poll(&codes.device).await.error(),
        (400, "access_denied".to_owned())
    );
    assert_eq!(living.type_in(&mut browser, &codes.user).await.status, 404);
    // Nothing left ticked is a no too.
    let codes = living.asked(&[]).await;
    let (path, page) = living.typed(&mut browser, &codes.user).await;
    let token = csrf(&page);
    browser
        .submit(&path, &[("csrf", &token), ("answer", "allow")])
        .await;
    assert_eq!(living.poll(&codes.device).await.error().1, "access_denied");
}

async fn both_codes_end_after_ten_minutes(place: Place) {
    let living = Living::room(&place).await;
    let (codes, answered) = (living.asked(&[]).await, living.asked(&[]).await);
    let mut browser = living.world.signed_in().await;
    let (path, page) = living.typed(&mut browser, &codes.user).await;
    living.allow(&mut browser, &answered.user).await;
    living.world.estate.node.advance(Ttl::from_minutes(10)).await;
    assert_eq!(living.poll(&codes.device).await.error().1, "expired_token");
    assert_eq!(living.poll(&answered.device).await.error().1, "expired_token");
    assert_eq!(living.type_in(&mut browser, &codes.user).await.status, 404);
    let late = submit_answer(&mut browser, (&path, &page), "allow").await;
    assert_eq!(late.status, 404);
    // Forgotten, but for what was agreed to: its second use is still known as one.
    living.world.estate.node.advance(Ttl::from_minutes(1)).await;
    living.world.estate.node.expire().await;
    assert_eq!(living.poll(&codes.device).await.error().1, "invalid_grant");
    assert_eq!(living.poll(&answered.device).await.error().1, "expired_token");
}

async fn a_device_is_answered_once_among_many_sessions(place: Place) {
    let living = Living::room(&place).await;
    let codes = living.asked(&[]).await;
    let mut alice = living.world.signed_in().await;
    let mut mallory = living
        .world
        .idp
        .sign_in(&living.world.estate.node, "mallory")
        .await;
    let (hers, her_page) = living.typed(&mut alice, &codes.user).await;
    let (theirs, their_page) = living.typed(&mut mallory, &codes.user).await;
    // Nobody answers at the other's page.
    assert_eq!(mallory.get(&hers).await.status, 404);
    let first = submit_answer(&mut alice, (&hers, &her_page), "allow").await;
    assert_eq!(first.status, 303);
    let second = submit_answer(&mut mallory, (&theirs, &their_page), "allow").await;
    assert_eq!(second.status, 404, "{}", second.text());
    let alice = living.world.estate.show("users", "company:alice").await["id"].clone();
    assert_eq!(living.poll(&codes.device).await.claims()["sub"], alice);
}

async fn what_ends_between_answer_and_poll_ends_the_code(place: Place) {
    let living = Living::room(&place).await;
    let estate = &living.world.estate;
    let mut browser = living.world.signed_in().await;
    let (first, second) = (living.asked(&[]).await, living.asked(&[]).await);
    living.allow(&mut browser, &first.user).await;
    living.allow(&mut browser, &second.user).await;
    // What was given hangs on the session in which it was given.
    let token = csrf(&browser.get("/me/agents").await);
    browser.submit("/sign-out", &[("csrf", &token)]).await;
    assert_eq!(living.poll(&first.device).await.error().1, "invalid_grant");
    estate.kill("agent", "planner").await;
    assert_eq!(
        living.poll(&second.device).await.error(),
        (401, "invalid_client".to_owned())
    );
}

async fn many_polls_at_once_redeem_a_device_code_once(place: Place) {
    let living = Living::room(&place).await;
    let codes = living.asked(&[]).await;
    let mut browser = living.world.signed_in().await;
    living.allow(&mut browser, &codes.user).await;
    let tries: Vec<_> = (0..4)
        .map(|_| {
            let (node, tv, code) = (
                living.world.estate.node.clone(),
                living.tv.clone(),
                codes.device.clone(),
            );
            tokio::spawn(async move {
                let form = [
                    ("grant_type", DEVICE_CODE),
                    ("client_id", tv.as_str()),
                    ("device_code", code.as_str()),
                ];
                node.form("/token", &form).await
            })
        })
        .collect();
    let mut given = Vec::new();
    for answer in tries {
        let answer = answer.await.unwrap();
        if answer.status == 200 {
            given.push(answer.token());
        } else {
            assert_eq!(answer.error().1, "invalid_grant");
        }
    }
    assert_eq!(given.len(), 1);
    assert!(!living.world.is_active(&given[0]).await);
}

async fn a_device_code_is_of_its_tenant(place: Place) {
    let living = Living::room(&place).await;
    let node = living.world.estate.node.clone();
    node.add_tenant("acme").await;
    let acme = Estate::on(node, "/t/acme").await;
    let codes = living.asked(&[]).await;
    let mut browser = living.world.signed_in().await;
    living.allow(&mut browser, &codes.user).await;
    let form = [
        ("grant_type", DEVICE_CODE),
        ("device_code", codes.device.as_str()),
    ];
    let there = acme.post("/token", "planner", &form).await;
    assert_eq!(there.error(), (400, "invalid_grant".to_owned()));
    // Without pages nobody could answer.
    acme.change("clients", "planner", json!({ "grant_types": [DEVICE_CODE] }))
        .await;
    let asked = acme
        .post("/device_authorization", "planner", &[("scope", "openid")])
        .await;
    assert_eq!(asked.error().1, "invalid_request");
    living.poll(&codes.device).await.token();
}

async fn nothing_of_a_code_can_be_read_from_the_database(place: Place) {
    let living = Living::room(&place).await;
    let codes = living.asked(&[]).await;
    let letters = codes.user.replace('-', "");
    let tenant = living
        .world
        .estate
        .node
        .app
        .tenants
        .find_by_name("default")
        .unwrap()
        .tenant
        .id;
    let db = &living.world.estate.node.app.db;
    let now = START;
    for guess in [
        letters.as_bytes().to_vec(),
        chancery_server::setup::sha256(letters.as_bytes()).to_vec(),
        chancery_server::setup::sha256(codes.user.as_bytes()).to_vec(),
    ] {
        let found = device_code::find_waiting(db, tenant, &guess, now).await.unwrap();
        assert!(found.is_none(), "a user code is kept under no key");
    }
}

async fn a_device_code_that_needs_a_yes_is_used_by_asking(place: Place) {
    let living = Living::room(&place).await;
    let estate = &living.world.estate;
    let policy = r#"@id("devices-need-a-yes")
        forbid (principal is Agent, action == Action::"issue_token", resource)
        when { context.grant_type == "device_code" }
        unless { context has approval && context.approval.count >= 1 };"#;
    prepare(estate, policy).await;
    let codes = living.asked(&[("scope", "openid read")]).await;
    let mut browser = living.world.signed_in().await;
    living.allow(&mut browser, &codes.user).await;
    let (handle, id) = waits(&living.poll(&codes.device).await);
    let poll = [
        ("grant_type", CIBA),
        ("client_id", living.tv.as_str()),
        ("auth_req_id", handle.as_str()),
    ];
    assert_eq!(
        estate.node.form("/token", &poll).await.error().1,
        "authorization_pending"
    );
    approve(estate, "carol", &id).await.unwrap();
    let given = estate.node.form("/token", &poll).await;
    assert_eq!(given.scope(), "openid read");
    // What would have come with the code comes with the yes.
    let body = given.json();
    assert_eq!(
        claims(body["id_token"].as_str().unwrap())["aud"],
        json!(living.tv)
    );
    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", living.tv.as_str()),
        ("refresh_token", body["refresh_token"].as_str().unwrap()),
    ];
    estate.node.form("/token", &refresh).await.token();
    assert!(living.world.is_active(&given.token()).await);
    // The code was used by asking. Its second use ends all of it.
    assert_eq!(living.poll(&codes.device).await.error().1, "invalid_grant");
    assert!(!living.world.is_active(&given.token()).await);
    assert_eq!(estate.node.form("/token", &poll).await.error().1, "invalid_grant");
}
