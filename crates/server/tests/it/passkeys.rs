//! Passkeys: registered, named, removed, and signing in; and every answer that must not be taken.

use crate::authenticator::*;
use crate::browser::*;
use crate::harness::*;
use crate::identity_provider::IdentityProvider;
use crate::local_users::{PASSWORD, borrowed, enrolled, invited, opened, twin, typed};
use crate::outside;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery_core::time::Ttl;
use serde_json::{Value, json};

on_both_engines!(
    a_person_registers_a_passkey_and_signs_in_with_it,
    a_code_is_used_with_a_passkey_alone,
    an_answer_for_another_site_or_without_the_person_is_refused,
    a_challenge_is_answered_once,
    a_challenge_is_for_its_browser_session_and_purpose,
    a_challenge_is_over_after_a_while,
    a_passkey_of_somebody_else_does_not_sign_in,
    a_passkey_that_is_registered_is_not_registered_again,
    a_passkey_that_is_removed_does_nothing_and_other_sessions_end,
    a_passkey_is_changed_by_whoever_proved_it_lately_and_owns_it,
    a_person_of_an_outside_issuer_has_passkeys_and_signs_in_there,
    a_counter_that_goes_back_is_a_signal_only,
    an_address_has_no_passkeys,
    malformed_answers_are_never_our_fault,
    no_byte_of_an_attestation_is_our_fault,
    an_administrator_sees_passkeys_and_removes_one_that_was_lost,
    a_reset_names_every_passkey_that_it_ends,
);

/// Registers a passkey of whoever is signed in.
pub(crate) async fn registered(browser: &mut Browser, passkey: &mut Authenticator) -> Answer {
    let page = browser.get("/me/sign-in").await.text();
    let (options, ticket) = asked(&page, "/me/passkeys");
    let answer = passkey.create(&options);
    register(browser, &ticket, &answer).await
}

async fn register(browser: &mut Browser, ticket: &str, answer: &str) -> Answer {
    let page = browser.get("/me/sign-in").await;
    let form = [
        ("csrf", csrf(&page)),
        ("ticket", ticket.to_owned()),
        ("credential", answer.to_owned()),
        ("name", "my phone".to_owned()),
    ];
    browser.submit("/me/passkeys", &borrowed(&form)).await
}

/// What the sign-in page asks a passkey: options, ticket and the form's token.
async fn asks(browser: &mut Browser) -> (Value, String, String) {
    let page = browser.get("/sign-in?issuer=local&prompt=login").await;
    let (options, ticket) = asked(&page.text(), "/sign-in/passkey");
    (options, ticket, csrf(&page))
}

async fn send(browser: &mut Browser, (ticket, token): (&str, &str), answer: &str) -> Answer {
    let form = [("csrf", token), ("ticket", ticket), ("credential", answer)];
    browser.submit("/sign-in/passkey", &form).await
}

async fn signed_in(browser: &mut Browser, passkey: &mut Authenticator) -> Answer {
    let (options, ticket, token) = asks(browser).await;
    let answer = passkey.get(&options);
    send(browser, (&ticket, &token), &answer).await
}

async fn is_signed_in(browser: &mut Browser) -> bool {
    browser.get("/me/agents").await.status == 200
}

/// Somebody with a passkey.
async fn with_passkey(node: &Chancery, name: &str, id: u8) -> (Browser, Authenticator) {
    let mut browser = enrolled(node, name, &[]).await;
    let mut passkey = Authenticator::new(id);
    let answer = registered(&mut browser, &mut passkey).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    (browser, passkey)
}

async fn events(node: &Chancery, kind: &str) -> Vec<Value> {
    let page = node
        .admin("GET", &format!("/api/v1/audit/events?kind={kind}"), Value::Null)
        .await;
    page["items"].as_array().unwrap().clone()
}

async fn a_person_registers_a_passkey_and_signs_in_with_it(place: Place) {
    let node = Chancery::start(&place).await;
    let (mut ada, mut passkey) = with_passkey(&node, "ada", 1).await;
    let page = ada.get("/me/sign-in").await.text();
    assert!(
        page.contains("my phone") && page.contains("A passkey needs JavaScript"),
        "{page}"
    );
    let mut elsewhere = Browser::at(&node);
    let answer = signed_in(&mut elsewhere, &mut passkey).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (303, Some("/me/agents"))
    );
    assert!(is_signed_in(&mut elsewhere).await);
    let begun = events(&node, "session.created").await;
    let newest = &begun[0]["parts"]["state"]["spec"];
    assert_eq!(
        (&newest["amr"], &newest["acr"]),
        (&json!(["mfa", "hwk", "user"]), &json!("phr"))
    );
    let added = events(&node, "passkey.added").await;
    assert_eq!(added[0]["parts"]["passkey"]["key"]["crv"], "P-256");
    // It still does on the other node, and by a name that its owner gave it.
    let twin = twin(&place, &node).await;
    assert_eq!(signed_in(&mut Browser::at(&twin), &mut passkey).await.status, 303);
    let script = page
        .split("src=\"/assets/passkey-")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let script = node.get(&format!("/assets/passkey-{script}")).await;
    assert_eq!(
        script.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
}

async fn a_code_is_used_with_a_passkey_alone(place: Place) {
    let node = Chancery::start(&place).await;
    let code = invited(&node, "ada", &[]).await;
    let mut browser = Browser::at(&node);
    let page = opened(&mut browser, &code).await;
    let (options, ticket) = asked(&page.text(), "/enrol/passkey");
    let mut passkey = Authenticator::new(1);
    let form = [
        ("csrf", csrf(&page)),
        ("code", code.clone()),
        ("ticket", ticket),
        ("credential", passkey.create(&options)),
    ];
    // In another browser, or with another code, it is not the challenge that was asked.
    let other = invited(&node, "bea", &[]).await;
    let mut swapped = form.clone();
    swapped[1].1 = other;
    assert_eq!(
        browser.submit("/enrol/passkey", &borrowed(&swapped)).await.status,
        403
    );
    assert_eq!(
        browser.submit("/enrol/passkey", &borrowed(&form)).await.status,
        303
    );
    assert!(is_signed_in(&mut browser).await);
    assert_eq!(
        opened(&mut Browser::at(&node), &code).await.status,
        404,
        "the code is spent"
    );
    assert_eq!(
        typed(&mut Browser::at(&node), "ada", PASSWORD).await.status,
        403,
        "there is no password"
    );
    assert_eq!(signed_in(&mut Browser::at(&node), &mut passkey).await.status, 303);
}

async fn an_answer_for_another_site_or_without_the_person_is_refused(place: Place) {
    let node = Chancery::start(&place).await;
    let (_, mut passkey) = with_passkey(&node, "ada", 1).await;
    let mut browser = Browser::at(&node);
    let good = (
        passkey.origin.clone(),
        passkey.relying_party.clone(),
        passkey.flags,
    );
    for (origin, relying_party, flags) in [
        ("https://evil.example", "id.example", good.2),
        ("http://id.example", "id.example", good.2),
        ("https://id.example:8443", "id.example", good.2),
        ("https://sub.id.example", "id.example", good.2),
        ("https://id.example", "evil.example", good.2),
        ("https://id.example", "id.example", PRESENT),
        ("https://id.example", "id.example", VERIFIED),
        ("https://id.example", "id.example", 0),
    ] {
        origin.clone_into(&mut passkey.origin);
        relying_party.clone_into(&mut passkey.relying_party);
        passkey.flags = flags;
        let answer = signed_in(&mut browser, &mut passkey).await;
        assert_eq!(answer.status, 403, "{origin} {relying_party} {flags}");
        let mut other = Authenticator::new(9);
        origin.clone_into(&mut other.origin);
        relying_party.clone_into(&mut other.relying_party);
        other.flags = flags;
        let mut bea = enrolled_once(&node, &format!("bea-{origin}-{relying_party}-{flags}")).await;
        let answer = registered(&mut bea, &mut other).await;
        assert_eq!(answer.status, 403, "{origin} {relying_party} {flags}");
    }
    (passkey.origin, passkey.relying_party, passkey.flags) = good;
    // An answer of another kind, and one over another challenge.
    let (options, ticket, token) = asks(&mut browser).await;
    let created = passkey.sign("webauthn.create", &options["publicKey"]["challenge"]);
    assert_eq!(send(&mut browser, (&ticket, &token), &created).await.status, 403);
    let invented = passkey.sign("webauthn.get", &json!("AAAA"));
    assert_eq!(send(&mut browser, (&ticket, &token), &invented).await.status, 403);
    assert!(!is_signed_in(&mut browser).await);
    assert_eq!(signed_in(&mut browser, &mut passkey).await.status, 303);
    assert!(events(&node, "authentication.failed").await.len() >= 10);
}

async fn enrolled_once(node: &Chancery, text: &str) -> Browser {
    let name: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    enrolled(node, &name, &[]).await
}

async fn a_challenge_is_answered_once(place: Place) {
    let node = Chancery::start(&place).await;
    let (mut ada, mut passkey) = with_passkey(&node, "ada", 1).await;
    let mut browser = Browser::at(&node);
    let (options, ticket, token) = asks(&mut browser).await;
    let answer = passkey.get(&options);
    let (mut one, mut two) = (browser.clone(), browser.clone());
    let (first, second) = tokio::join!(
        send(&mut one, (&ticket, &token), &answer),
        send(&mut two, (&ticket, &token), &answer),
    );
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 409]);
    assert_eq!(send(&mut browser, (&ticket, &token), &answer).await.status, 409);
    // Nor is a registration.
    let page = ada.get("/me/sign-in").await.text();
    let (options, ticket) = asked(&page, "/me/passkeys");
    let answer = Authenticator::new(2).create(&options);
    assert_eq!(register(&mut ada, &ticket, &answer).await.status, 303);
    let again = Authenticator::new(3).create(&options);
    assert_eq!(register(&mut ada, &ticket, &again).await.status, 409);
}

async fn a_challenge_is_for_its_browser_session_and_purpose(place: Place) {
    let node = Chancery::start(&place).await;
    let (mut ada, mut passkey) = with_passkey(&node, "ada", 1).await;
    let (mut mallory, _) = with_passkey(&node, "mallory", 2).await;
    // Mallory's challenge, which Ada's passkey was made to sign.
    let (options, ticket, _) = asks(&mut mallory).await;
    let answer = passkey.get(&options);
    let mut victim = Browser::at(&node);
    let (_, _, token) = asks(&mut victim).await;
    assert_eq!(send(&mut victim, (&ticket, &token), &answer).await.status, 403);
    // A challenge of the sign-in page registers nothing, and the other way about.
    let created = Authenticator::new(3).create(&json!({ "publicKey": {
        "rp": { "id": "id.example" }, "attestation": "none", "user": { "id": "AAAA" },
        "authenticatorSelection": { "userVerification": "required" },
        "challenge": options["publicKey"]["challenge"] } }));
    assert_eq!(register(&mut mallory, &ticket, &created).await.status, 403);
    let page = ada.get("/me/sign-in").await.text();
    let (options, ticket) = asked(&page, "/me/passkeys");
    let answer = passkey.sign("webauthn.get", &options["publicKey"]["challenge"]);
    let (_, _, token) = asks(&mut ada).await;
    assert_eq!(send(&mut ada, (&ticket, &token), &answer).await.status, 403);
    // What Ada's page asked does not register anything for Mallory.
    let created = Authenticator::new(4).create(&options);
    assert_eq!(register(&mut mallory, &ticket, &created).await.status, 403);
}

async fn a_challenge_is_over_after_a_while(place: Place) {
    let node = Chancery::start(&place).await;
    let (_, mut passkey) = with_passkey(&node, "ada", 1).await;
    let mut browser = Browser::at(&node);
    let (options, ticket, token) = asks(&mut browser).await;
    let answer = passkey.get(&options);
    node.advance(Ttl::from_minutes(5)).await;
    assert_eq!(send(&mut browser, (&ticket, &token), &answer).await.status, 400);
}

async fn a_passkey_of_somebody_else_does_not_sign_in(place: Place) {
    let node = Chancery::start(&place).await;
    let (_, mut passkey) = with_passkey(&node, "ada", 1).await;
    let (_, bea) = with_passkey(&node, "bea", 2).await;
    let mut browser = Browser::at(&node);
    // Bea's handle with Ada's passkey.
    let own = passkey.user_handle.clone();
    passkey.user_handle = bea.user_handle;
    assert_eq!(signed_in(&mut browser, &mut passkey).await.status, 403);
    passkey.user_handle = own;
    // Ada's id with another key.
    let mut forged = Authenticator::new(1);
    forged.user_handle.clone_from(&passkey.user_handle);
    assert_eq!(signed_in(&mut browser, &mut forged).await.status, 403);
    // One that is unknown here says the same.
    let mut unknown = Authenticator::new(7);
    let answer = signed_in(&mut browser, &mut unknown).await;
    let refused = signed_in(&mut browser, &mut forged).await;
    assert_eq!((answer.status, answer.text()), (refused.status, refused.text()));
    // Nor does one whose owner was stopped.
    node.admin("POST", "/api/v1/kill/user/ada", json!({})).await;
    assert_eq!(signed_in(&mut browser, &mut passkey).await.status, 403);
}

async fn a_passkey_that_is_registered_is_not_registered_again(place: Place) {
    let node = Chancery::start(&place).await;
    let (mut ada, mut passkey) = with_passkey(&node, "ada", 1).await;
    assert_eq!(
        registered(&mut ada, &mut passkey).await.status,
        403,
        "it is excluded"
    );
    let mut bea = enrolled(&node, "bea", &[]).await;
    let mut same_id = Authenticator::new(1);
    assert_eq!(registered(&mut bea, &mut same_id).await.status, 409);
}

async fn remove(browser: &mut Browser, id: &str) -> Answer {
    let token = csrf(&browser.get("/me/agents").await);
    browser
        .submit(&format!("/me/passkeys/{id}/remove"), &[("csrf", &token)])
        .await
}

async fn passkey_id(browser: &mut Browser) -> String {
    let page = browser.get("/me/sign-in").await.text();
    let id = page
        .split("/me/passkeys/psk_")
        .nth(1)
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    format!("psk_{id}")
}

async fn a_passkey_that_is_removed_does_nothing_and_other_sessions_end(place: Place) {
    let node = Chancery::start(&place).await;
    let (mut ada, mut passkey) = with_passkey(&node, "ada", 1).await;
    let mut elsewhere = Browser::at(&node);
    assert_eq!(signed_in(&mut elsewhere, &mut passkey).await.status, 303);
    let id = passkey_id(&mut ada).await;
    let token = csrf(&ada.get("/me/agents").await);
    let form = [("csrf", token.as_str()), ("name", "\u{202e}old <b>phone</b>")];
    assert_eq!(
        ada.submit(&format!("/me/passkeys/{id}/name"), &form).await.status,
        303
    );
    assert!(
        ada.get("/me/sign-in")
            .await
            .text()
            .contains("old &#60;b&#62;phone")
    );
    assert_eq!(
        remove(&mut ada, &id).await.header("location"),
        Some("/me/sign-in")
    );
    assert!(is_signed_in(&mut ada).await && !is_signed_in(&mut elsewhere).await);
    assert_eq!(signed_in(&mut elsewhere, &mut passkey).await.status, 403);
    assert_eq!(remove(&mut ada, &id).await.status, 404);
    for kind in ["passkey.added", "passkey.renamed", "passkey.removed"] {
        assert_eq!(events(&node, kind).await.len(), 1, "{kind}");
    }
}

async fn a_passkey_is_changed_by_whoever_proved_it_lately_and_owns_it(place: Place) {
    let node = Chancery::start(&place).await;
    let (mut ada, _) = with_passkey(&node, "ada", 1).await;
    let (mut bea, _) = with_passkey(&node, "bea", 2).await;
    let id = passkey_id(&mut ada).await;
    assert_eq!(remove(&mut bea, &id).await.status, 404);
    let token = csrf(&bea.get("/me/agents").await);
    let form = [("csrf", token.as_str()), ("name", "mine")];
    assert_eq!(
        bea.submit(&format!("/me/passkeys/{id}/name"), &form).await.status,
        404
    );
    let page = ada.get("/me/sign-in").await.text();
    let (options, ticket) = asked(&page, "/me/passkeys");
    node.advance(Ttl::from_minutes(6)).await;
    let to_sign_in = |answer: &Answer| answer.header("location").unwrap().starts_with("/sign-in?");
    assert!(to_sign_in(&remove(&mut ada, &id).await));
    let answer = Authenticator::new(3).create(&options);
    let form = [
        ("csrf", csrf(&ada.get("/me/agents").await)),
        ("ticket", ticket),
        ("credential", answer),
    ];
    assert!(to_sign_in(&ada.submit("/me/passkeys", &borrowed(&form)).await));
}

async fn a_person_of_an_outside_issuer_has_passkeys_and_signs_in_there(place: Place) {
    let idp = IdentityProvider::start(true).await;
    let node = outside::node(&place, |_, _| {}).await;
    let estate = crate::estate::Estate::on(node, "").await;
    estate
        .apply(json!({ "trusted_issuers": [idp.trusted("company", &json!({}))] }))
        .await;
    let mut carol = idp.sign_in(&estate.node, "carol").await;
    let mut passkey = Authenticator::new(1);
    let answer = registered(&mut carol, &mut passkey).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    // People still go straight to the issuer, and the passkey does not pass it by.
    let sent = Browser::at(&estate.node).get("/sign-in?prompt=login").await;
    assert!(
        sent.header("location").unwrap().starts_with(&idp.issuer),
        "{sent:?}"
    );
    assert_eq!(
        signed_in(&mut Browser::at(&estate.node), &mut passkey)
            .await
            .status,
        403
    );
    // Removing it ends what hangs on the person, and goes on here.
    let id = passkey_id(&mut carol).await;
    assert_eq!(
        remove(&mut carol, &id).await.header("location"),
        Some("/me/sign-in")
    );
    assert!(is_signed_in(&mut carol).await);
    assert_eq!(
        registered(&mut carol, &mut Authenticator::new(2)).await.status,
        303
    );
    estate
        .admin("POST", "/users/company:carol/reset-secret", json!({}))
        .await;
    assert!(!is_signed_in(&mut carol).await);
}

async fn a_counter_that_goes_back_is_a_signal_only(place: Place) {
    let node = Chancery::start(&place).await;
    let (_, mut passkey) = with_passkey(&node, "ada", 1).await;
    for counter in [5, 6, 2, 6] {
        passkey.counter = counter;
        let answer = signed_in(&mut Browser::at(&node), &mut passkey).await;
        assert_eq!(answer.status, 303, "{counter}");
    }
}

async fn an_address_has_no_passkeys(place: Place) {
    let node = Chancery::start_with(&place, |config, _| {
        "http://127.0.0.1:1".clone_into(&mut config.public_url);
    })
    .await;
    let request = http::Request::get("/sign-in?issuer=local")
        .header("host", "127.0.0.1:1")
        .body(axum::body::Body::empty())
        .unwrap();
    let page = node.send(request).await;
    assert_eq!(page.status, 200);
    assert!(!page.text().contains("passkey"), "{}", page.text());
}

async fn malformed_answers_are_never_our_fault(place: Place) {
    let node = Chancery::start(&place).await;
    let (mut ada, mut passkey) = with_passkey(&node, "ada", 1).await;
    let mut browser = Browser::at(&node);
    let (options, ticket, token) = asks(&mut browser).await;
    let good: Value = serde_json::from_str(&passkey.get(&options)).unwrap();
    let page = ada.get("/me/sign-in").await.text();
    let (create, create_ticket) = asked(&page, "/me/passkeys");
    let created: Value = serde_json::from_str(&Authenticator::new(5).create(&create)).unwrap();
    let long = "A".repeat(20_000);
    let junk = [
        "",
        "{}",
        "[]",
        "null",
        "\0",
        "AAAA",
        "oWNmbXRkbm9uZQ",
        "_____w",
        long.as_str(),
    ];
    for word in junk {
        let sent = [
            send(&mut browser, (&ticket, &token), word).await,
            send(&mut browser, (word, &token), &good.to_string()).await,
            register(&mut ada, &create_ticket, word).await,
            register(&mut ada, word, &created.to_string()).await,
        ];
        assert!(
            sent.iter().all(|answer| answer.status.is_client_error()),
            "{word}"
        );
        for field in ["authenticatorData", "clientDataJSON", "signature", "userHandle"] {
            let broken = with(&good, field, word);
            let answer = send(&mut browser, (&ticket, &token), &broken).await;
            assert!(
                answer.status.is_client_error(),
                "{field} {word}: {}",
                answer.status
            );
        }
        for field in ["attestationObject", "clientDataJSON"] {
            let broken = with(&created, field, word);
            let answer = register(&mut ada, &create_ticket, &broken).await;
            assert!(
                answer.status.is_client_error(),
                "{field} {word}: {}",
                answer.status
            );
        }
    }
}

async fn no_byte_of_an_attestation_is_our_fault(place: Place) {
    let node = Chancery::start(&place).await;
    let mut ada = enrolled(&node, "ada", &[]).await;
    let page = ada.get("/me/sign-in").await.text();
    let (create, ticket) = asked(&page, "/me/passkeys");
    let created: Value = serde_json::from_str(&Authenticator::new(5).create(&create)).unwrap();
    // Bytes of the attestation object, one after the other, are another value, or missing.
    let object = created["response"]["attestationObject"].as_str().unwrap();
    let object = URL_SAFE_NO_PAD.decode(object).unwrap();
    for place in (0..object.len()).step_by(7) {
        let mut bytes = object.clone();
        bytes[place] ^= 0xff;
        let broken = with(&created, "attestationObject", &URL_SAFE_NO_PAD.encode(&bytes));
        let answer = register(&mut ada, &ticket, &broken).await;
        assert!(!answer.status.is_server_error(), "{place}: {}", answer.status);
        let cut = URL_SAFE_NO_PAD.encode(&object[..place]);
        let answer = register(&mut ada, &ticket, &with(&created, "attestationObject", &cut)).await;
        assert!(answer.status.is_client_error(), "{place}: {}", answer.status);
    }
}

/// An answer with something else in one field.
fn with(answer: &Value, field: &str, word: &str) -> String {
    let mut broken = answer.clone();
    broken["response"][field] = json!(word);
    broken.to_string()
}

async fn an_administrator_sees_passkeys_and_removes_one_that_was_lost(place: Place) {
    let node = Chancery::start(&place).await;
    let (mut ada, mut passkey) = with_passkey(&node, "ada", 1).await;
    let (mut bob, _) = with_passkey(&node, "bob", 2).await;
    let listed = node.admin("GET", "/api/v1/users/ada/passkeys", Value::Null).await;
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{listed}");
    let mut members: Vec<_> = items[0].as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(
        members,
        ["created_at", "id", "name", "signs_in"],
        "nothing that helps"
    );
    assert_eq!(
        (&items[0]["name"], &items[0]["signs_in"]),
        (&json!("my phone"), &json!(true))
    );
    let id = items[0]["id"].as_str().unwrap();

    for path in [
        format!("/api/v1/users/bob/passkeys/{id}/remove"),
        format!("/api/v1/users/nobody/passkeys/{id}/remove"),
        "/api/v1/users/ada/passkeys/nonsense/remove".to_owned(),
    ] {
        assert_eq!(node.local("POST", &path, Value::Null).await.status, 404, "{path}");
    }
    assert!(is_signed_in(&mut ada).await);
    let path = format!("/api/v1/users/ada/passkeys/{id}/remove");
    assert_eq!(node.local("POST", &path, Value::Null).await.status, 204);
    assert!(!is_signed_in(&mut ada).await && is_signed_in(&mut bob).await);
    assert_eq!(signed_in(&mut Browser::at(&node), &mut passkey).await.status, 403);
    assert_eq!(
        typed(&mut Browser::at(&node), "ada", PASSWORD).await.status,
        303,
        "the password stays"
    );
    assert_eq!(
        node.local("POST", &path, Value::Null).await.status,
        404,
        "it is gone"
    );
    let removed = events(&node, "passkey.removed").await;
    assert_eq!(removed.len(), 1);
    assert!(removed[0]["ids"].to_string().contains(id), "{}", removed[0]);
    assert!(
        removed[0]["sentence"].as_str().unwrap().contains("local:1000"),
        "{}",
        removed[0]
    );
}

async fn a_reset_names_every_passkey_that_it_ends(place: Place) {
    let node = Chancery::start(&place).await;
    let (mut ada, _) = with_passkey(&node, "ada", 1).await;
    assert_eq!(registered(&mut ada, &mut Authenticator::new(3)).await.status, 303);
    node.admin("POST", "/api/v1/users/ada/reset-secret", json!({}))
        .await;
    assert_eq!(events(&node, "passkey.removed").await.len(), 2);
    let listed = node.admin("GET", "/api/v1/users/ada/passkeys", Value::Null).await;
    assert_eq!(listed["items"], json!([]));
}
