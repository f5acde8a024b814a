//! Signing in at an outside issuer, and sessions: what an attacker tries with each step.

use crate::browser::*;
use crate::estate::*;
use crate::harness::*;
use crate::identity_provider::{IdentityProvider, now};
use crate::outside;
use chancery_core::session::SessionSpec;
use chancery_core::time::Ttl;
use chancery_server::store::record::list_by_parent;
use serde_json::{Value, json};

on_both_engines!(
    a_person_signs_in_and_out,
    a_flood_of_begun_sign_ins_is_refused_for_a_while,
    a_session_that_is_over_is_forgotten_and_one_that_is_not_stays,
    a_callback_without_the_cookie_signs_nobody_in,
    a_state_is_used_once_and_for_ten_minutes,
    an_answer_of_another_issuer_is_refused,
    an_id_token_for_another_request_is_refused,
    a_sign_in_that_proves_nobody_is_recorded,
    a_session_is_new_at_each_sign_in,
    a_session_ends_unused_and_at_its_limit,
    a_session_falls_with_its_person_issuer_and_by_its_name,
    a_form_of_another_site_does_not_sign_out,
    return_to_never_leaves_our_origin,
    a_person_is_led_to_their_issuer,
    our_secret_for_an_issuer_is_sealed_and_sent_to_it_alone,
    an_assertion_of_our_own_proves_us,
    a_proof_that_is_too_old_is_refused,
    a_tenant_that_shares_its_host_has_no_pages,
    pages_keep_to_themselves,
);

const SESSION: &str = "__Host-chancery-session";

async fn world(place: &Place) -> (Estate, IdentityProvider) {
    world_with(place, json!({})).await
}

async fn world_with(place: &Place, sign_in: Value) -> (Estate, IdentityProvider) {
    let idp = IdentityProvider::start(true).await;
    let node = outside::node(place, |_, _| {}).await;
    let estate = Estate::on(node, "").await;
    estate
        .apply(json!({ "trusted_issuers": [idp.trusted("company", &sign_in)] }))
        .await;
    (estate, idp)
}

/// Begins to sign in and gives where the issuer would send the browser.
async fn back(estate: &Estate, idp: &IdentityProvider, browser: &mut Browser, extra: &Value) -> String {
    let sent = browser.get("/sign-in?return_to=/me/agents").await;
    idp.approve(
        sent.header("location").unwrap(),
        "alice",
        extra,
        now(&estate.node),
    )
}

async fn is_signed_in(browser: &mut Browser) -> bool {
    let answer = browser.get("/sign-in?return_to=/me/agents").await;
    answer.header("location") == Some("/me/agents")
}

async fn a_person_signs_in_and_out(place: Place) {
    let (estate, idp) = world(&place).await;
    let mut browser = idp.sign_in(&estate.node, "alice").await;
    assert!(is_signed_in(&mut browser).await);
    let user = estate.show("users", "company:alice").await;
    assert_eq!(user["spec"]["roles"], json!(["staff"]));
    let made = estate.events("session.created").await;
    assert_eq!(made[0]["parts"]["state"]["spec"]["user"], "company:alice");
    assert!(!made[0].to_string().contains(browser.cookie(SESSION).unwrap()));
    let secret = browser.cookie(SESSION).unwrap().to_owned();

    let page = browser.get("/sign-in?issuer=nobody").await;
    assert_eq!(page.status, 303);
    let page = browser.get("/me/agents").await;
    let out = browser.submit("/sign-out", &[("csrf", &csrf(&page))]).await;
    assert_eq!(out.status, 200);
    assert_eq!(browser.cookie(SESSION), None);
    browser.cookies.insert(SESSION.to_owned(), secret);
    assert!(!is_signed_in(&mut browser).await);
    assert_eq!(estate.events("session.retired").await.len(), 1);
}

async fn a_session_that_is_over_is_forgotten_and_one_that_is_not_stays(place: Place) {
    let (estate, idp) = world(&place).await;
    idp.sign_in(&estate.node, "alice").await;
    estate.node.advance(Ttl::from_minutes(36 * 60)).await;
    let mut late = idp.sign_in(&estate.node, "alice").await;
    let app = &estate.node.app;
    let tenant = app.tenants.find_by_name("default");
    let tenant = tenant.unwrap().tenant.id;
    let sessions = || async {
        let all = list_by_parent::<SessionSpec>(&app.db, tenant, "company:alice").await;
        all.unwrap().len()
    };
    estate.node.expire().await;
    assert_eq!(sessions().await, 2, "there is a day to look at it");
    estate.node.advance(Ttl::from_minutes(20)).await;
    assert!(is_signed_in(&mut late).await);
    estate.node.expire().await;
    assert_eq!(sessions().await, 1);
    assert!(is_signed_in(&mut late).await);
}

async fn a_callback_without_the_cookie_signs_nobody_in(place: Place) {
    let (estate, idp) = world(&place).await;
    let mut attacker = Browser::at(&estate.node);
    let path = back(&estate, &idp, &mut attacker, &json!({})).await;
    let mut victim = Browser::at(&estate.node);
    let answer = victim.get(&path).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("other_browser") && victim.cookies.is_empty());
    // Not even in a browser that has begun a sign-in of its own.
    victim.get("/sign-in").await;
    assert!(victim.get(&path).await.text().contains("other_browser"));
    assert_eq!(attacker.get(&path).await.status, 303);
}

async fn a_state_is_used_once_and_for_ten_minutes(place: Place) {
    let (estate, idp) = world(&place).await;
    let mut browser = Browser::at(&estate.node);
    let path = back(&estate, &idp, &mut browser, &json!({})).await;
    assert_eq!(browser.get(&path).await.status, 303);
    assert!(browser.get(&path).await.text().contains("sign_in_over"));
    let mut late = Browser::at(&estate.node);
    let path = back(&estate, &idp, &mut late, &json!({})).await;
    estate.node.advance(Ttl::from_minutes(10)).await;
    assert!(late.get(&path).await.text().contains("sign_in_over"));
    let unknown = path.split("state=").next().unwrap().to_owned() + "state=cst_guess";
    assert!(late.get(&unknown).await.text().contains("sign_in_over"));
}

async fn an_answer_of_another_issuer_is_refused(place: Place) {
    let (estate, idp) = world(&place).await;
    for (from, to) in [
        ("&iss=", "&other="),
        (
            &*format!("&iss={}", encoded(&idp.issuer)),
            "&iss=https%3A%2F%2Fevil.example",
        ),
    ] {
        let mut browser = Browser::at(&estate.node);
        let path = back(&estate, &idp, &mut browser, &json!({})).await;
        assert!(path.contains(from), "{path}");
        let answer = browser.get(&path.replace(from, to)).await;
        assert!(answer.text().contains("answer_refused"), "{}", answer.text());
        assert!(!is_signed_in(&mut browser).await);
    }
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

async fn a_sign_in_that_proves_nobody_is_recorded(place: Place) {
    let (estate, idp) = world(&place).await;
    let mut browser = Browser::at(&estate.node);
    let path = back(&estate, &idp, &mut browser, &json!({ "nonce": "another" })).await;
    // In another browser first, which does not use it up.
    assert!(
        Browser::at(&estate.node)
            .get(&path)
            .await
            .text()
            .contains("other_browser")
    );
    assert!(browser.get(&path).await.text().contains("answer_refused"));
    let events = estate.events("authentication.failed").await;
    assert_eq!(events.len(), 2, "{events:?}");
    // What is over, or was never begun, proves nothing and disproves nothing.
    assert!(browser.get(&path).await.text().contains("sign_in_over"));
    assert_eq!(estate.events("authentication.failed").await.len(), 2);
}

async fn an_id_token_for_another_request_is_refused(place: Place) {
    let (estate, idp) = world(&place).await;
    for extra in [
        json!({ "nonce": "another" }),
        json!({ "aud": "another" }),
        json!({ "aud": ["chancery", "another"] }),
        json!({ "azp": "another" }),
        json!({ "iss": "https://evil.example" }),
        json!({ "exp": 1 }),
    ] {
        let mut browser = Browser::at(&estate.node);
        let path = back(&estate, &idp, &mut browser, &extra).await;
        let answer = browser.get(&path).await;
        assert!(
            answer.text().contains("answer_refused"),
            "{extra}: {}",
            answer.text()
        );
        assert!(!is_signed_in(&mut browser).await);
    }
}

async fn a_session_is_new_at_each_sign_in(place: Place) {
    let (estate, idp) = world(&place).await;
    let mut browser = idp.sign_in(&estate.node, "alice").await;
    let first = browser.cookie(SESSION).unwrap().to_owned();
    // Somebody planted the secret of a session of their own, or the person signs in again.
    idp.sign_in_with(&estate.node, &mut browser, ("alice", &json!({})))
        .await;
    assert_ne!(browser.cookie(SESSION), Some(first.as_str()));
    let mut old = Browser::at(&estate.node);
    old.cookies.insert(SESSION.to_owned(), first);
    assert!(!is_signed_in(&mut old).await && is_signed_in(&mut browser).await);
}

async fn a_session_ends_unused_and_at_its_limit(place: Place) {
    let (estate, idp) = world(&place).await;
    let mut idle = idp.sign_in(&estate.node, "alice").await;
    let mut busy = idp.sign_in(&estate.node, "bob").await;
    estate.node.advance(Ttl::from_minutes(29)).await;
    assert!(is_signed_in(&mut busy).await);
    estate.node.advance(Ttl::from_minutes(2)).await;
    assert!(!is_signed_in(&mut idle).await);
    for _ in 0..27 {
        assert!(is_signed_in(&mut busy).await);
        estate.node.advance(Ttl::from_minutes(25)).await;
    }
    assert!(is_signed_in(&mut busy).await);
    estate.node.advance(Ttl::from_minutes(20)).await;
    assert!(!is_signed_in(&mut busy).await);
}

async fn a_session_falls_with_its_person_issuer_and_by_its_name(place: Place) {
    let (estate, idp) = world(&place).await;
    let mut alice = idp.sign_in(&estate.node, "alice").await;
    let mut bob = idp.sign_in(&estate.node, "bob").await;
    let mut carol = idp.sign_in(&estate.node, "carol").await;
    estate.kill("user", "company:alice").await;
    assert!(!is_signed_in(&mut alice).await && is_signed_in(&mut bob).await);
    let list = estate.admin("GET", "/sessions", Value::Null).await;
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 3);
    assert!(!list.to_string().contains("digest"));
    let of_bob = items.iter().find(|item| item["user"] == "company:bob").unwrap();
    let path = format!("/sessions/{}/retire", of_bob["id"].as_str().unwrap());
    estate.admin("POST", &path, Value::Null).await;
    assert!(!is_signed_in(&mut bob).await && is_signed_in(&mut carol).await);
    estate.kill("trusted_issuer", "company").await;
    assert!(carol.get("/me/agents").await.status == 303);
}

async fn a_form_of_another_site_does_not_sign_out(place: Place) {
    let (estate, idp) = world(&place).await;
    let mut browser = idp.sign_in(&estate.node, "alice").await;
    let token = csrf(&browser.get("/me/agents").await);
    let mut other = idp.sign_in(&estate.node, "mallory").await;
    let of_mallory = csrf(&other.get("/me/agents").await);
    for (pairs, headers) in [
        (
            vec![("csrf", token.as_str())],
            vec![
                ("sec-fetch-site", "cross-site"),
                ("origin", "https://evil.example"),
            ],
        ),
        (
            vec![("csrf", token.as_str())],
            vec![("origin", "https://evil.example")],
        ),
        (vec![], vec![("sec-fetch-site", "same-origin")]),
        (
            vec![("csrf", of_mallory.as_str())],
            vec![("sec-fetch-site", "same-origin")],
        ),
        (vec![("csrf", "zz")], vec![("origin", BASE)]),
    ] {
        let answer = browser.submit_from("/sign-out", &pairs, &headers).await;
        assert_eq!(answer.status, 403, "{pairs:?} {headers:?}");
        assert!(is_signed_in(&mut browser).await);
    }
}

async fn return_to_never_leaves_our_origin(place: Place) {
    let (estate, idp) = world(&place).await;
    let mut browser = idp.sign_in(&estate.node, "alice").await;
    for elsewhere in [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/%09/evil.example\t",
        "javascript:alert(1)",
    ] {
        let path = format!("/sign-in?return_to={}", encoded(elsewhere));
        assert_eq!(
            browser.get(&path).await.header("location"),
            Some("/me/agents"),
            "{elsewhere}"
        );
    }
    let answer = browser.get("/sign-in?return_to=%2Fauthorize%3Fx%3D1").await;
    assert_eq!(answer.header("location"), Some("/authorize?x=1"));
}

async fn a_person_is_led_to_their_issuer(place: Place) {
    let (estate, first) = world_with(
        &place,
        json!({ "domains": ["company.example"], "label": "Company \u{202e}account" }),
    )
    .await;
    let second = IdentityProvider::start(false).await;
    let nameless = second.trusted("partner", &json!({ "domains": ["partner.example"] }));
    estate.apply(json!({ "trusted_issuers": [nameless] })).await;
    let mut browser = Browser::at(&estate.node);
    let page = browser.get("/sign-in").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Company \u{fffd}account") && page.text().contains("partner"));
    let routed = browser.get("/sign-in?email=bob%40Partner.example").await;
    let location = routed.header("location").unwrap().to_owned();
    assert!(location.starts_with(&second.issuer));
    assert_eq!(
        parameter(&location, "login_hint").as_deref(),
        Some("bob@Partner.example")
    );
    // An issuer that does not say that it names itself need not.
    let path = second.approve(&location, "bob", &json!({}), now(&estate.node));
    assert_eq!(browser.get(&path).await.status, 303);
    let mut browser = Browser::at(&estate.node);
    let named = browser.get("/sign-in?issuer=company").await;
    assert!(named.header("location").unwrap().starts_with(&first.issuer));
    assert_eq!(browser.get("/sign-in?issuer=corp").await.status, 404);
    assert!(
        browser
            .get("/sign-in?email=x%40else.example")
            .await
            .text()
            .contains("else.example")
    );
}

async fn our_secret_for_an_issuer_is_sealed_and_sent_to_it_alone(place: Place) {
    let (estate, idp) = world_with(&place, json!({ "authentication": "client_secret_basic" })).await;
    let mut browser = Browser::at(&estate.node);
    let path = back(&estate, &idp, &mut browser, &json!({})).await;
    assert_eq!(browser.get(&path).await.status, 503);
    let secret = json!({ "secret": "marker secret/+" });
    estate
        .admin("PUT", "/trusted_issuers/company/secret", secret)
        .await;
    let mut browser = idp.sign_in(&estate.node, "alice").await;
    assert!(is_signed_in(&mut browser).await);
    let (headers, form) = idp.last_seen();
    assert_eq!(
        headers["authorization"].to_str().unwrap(),
        basic("chancery", "marker secret/+")
    );
    assert!(!form.contains_key("client_secret"));
    let stored = estate.show("trusted_issuers", "company").await;
    assert!(!stored.to_string().contains("marker"));
    assert!(!format!("{:?}", estate.events("trusted_issuer.secret_reset").await).contains("marker"));
    // The secret does not follow to another id.
    let mut sign_in = stored["spec"]["sign_in"].clone();
    sign_in["client_id"] = json!("another");
    estate
        .change("trusted_issuers", "company", json!({ "sign_in": sign_in }))
        .await;
    let mut browser = Browser::at(&estate.node);
    let path = back(&estate, &idp, &mut browser, &json!({})).await;
    assert_eq!(browser.get(&path).await.status, 503);
}

async fn an_assertion_of_our_own_proves_us(place: Place) {
    let (estate, idp) = world_with(&place, json!({ "authentication": "private_key_jwt" })).await;
    let mut browser = idp.sign_in(&estate.node, "alice").await;
    assert!(is_signed_in(&mut browser).await);
    let (_, form) = idp.last_seen();
    let said = claims(&form["client_assertion"]);
    assert_eq!(
        (&said["iss"], &said["sub"], &said["aud"]),
        (&json!("chancery"), &json!("chancery"), &json!(idp.issuer))
    );
    assert_eq!(form["client_assertion_type"], ASSERTION);
}

async fn a_proof_that_is_too_old_is_refused(place: Place) {
    let (estate, idp) = world(&place).await;
    for (auth_time, status) in [(now(&estate.node) - 30, 303), (now(&estate.node) - 300, 400)] {
        let mut browser = Browser::at(&estate.node);
        let sent = browser.get("/sign-in?max_age=60").await;
        let location = sent.header("location").unwrap().to_owned();
        assert_eq!(parameter(&location, "max_age").as_deref(), Some("60"));
        let extra = json!({ "auth_time": auth_time });
        let path = idp.approve(&location, "alice", &extra, now(&estate.node));
        assert_eq!(browser.get(&path).await.status, status);
    }
}

async fn a_tenant_that_shares_its_host_has_no_pages(place: Place) {
    let (_, second) = Estate::twins(&place).await;
    for path in ["/sign-in", "/sign-in/callback?code=a&state=b", "/me/agents"] {
        let answer = second.node.get(&second.path(path)).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.text().contains("no_pages"), "{path}");
    }
}

async fn pages_keep_to_themselves(place: Place) {
    let (estate, idp) = world(&place).await;
    let mut browser = idp.sign_in(&estate.node, "alice").await;
    let page = browser.get("/me/agents").await;
    let policy = page.header("content-security-policy").unwrap();
    for rule in [
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    ] {
        assert!(policy.contains(rule), "{rule}");
    }
    assert!(
        !policy.contains("unsafe") && !page.text().contains("<script") && !page.text().contains("style=")
    );
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let text = page.text();
    let sheet = text
        .split("stylesheet\" href=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let style = browser.get(sheet).await;
    assert_eq!(
        (style.status.as_u16(), style.header("content-type")),
        (200, Some("text/css; charset=utf-8"))
    );
    assert!(!style.text().contains("http") && !style.text().contains("@import"));
    assert_eq!(browser.get("/assets/style-0.css").await.status, 404);
}

async fn a_flood_of_begun_sign_ins_is_refused_for_a_while(place: Place) {
    let (estate, idp) = world(&place).await;
    let mut flooding = Browser::at(&estate.node);
    let mut last = flooding.get("/sign-in").await;
    for _ in 0..300 {
        last = flooding.get("/sign-in").await;
    }
    assert_eq!(last.status, 429, "{}", last.text());
    estate.node.advance(Ttl::from_minutes(11)).await;
    let mut alice = idp.sign_in(&estate.node, "alice").await;
    assert!(is_signed_in(&mut alice).await);
}
