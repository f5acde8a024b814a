//! The consent page, and taking back what was given there.

use crate::approval::{CIBA, approve, prepare, waits};
use crate::authorize::World;
use crate::browser::*;
use crate::estate::*;
use crate::harness::*;
use chancery_core::time::Ttl;
use serde_json::{Value, json};

on_both_engines!(
    a_request_is_answered_once,
    what_needs_anothers_yes_is_offered_and_waits_for_it,
    a_request_is_answered_in_its_session_alone,
    a_forged_answer_is_refused,
    a_no_is_sent_to_the_client,
    a_name_that_deceives_is_made_plain,
    a_grant_lasts_as_long_and_as_often_as_was_said,
    what_was_given_is_shown_and_taken_back,
    what_an_administrator_granted_for_a_person_is_shown_to_that_person_alone,
    what_an_administrator_stopped_is_not_given_again,
    a_page_lets_its_form_lead_to_the_client,
    an_exchange_that_lacks_a_grant_gets_it_at_its_page,
);

async fn what_needs_anothers_yes_is_offered_and_waits_for_it(place: Place) {
    let world = World::start(&place).await;
    let estate = &world.estate;
    prepare(
        estate,
        r#"@id("writing-needs-a-yes")
           forbid (principal is Agent, action == Action::"issue_token", resource == Scope::"notes:write")
           unless { context has approval && context.approval.count >= 1 };"#,
    )
    .await;
    let mut browser = world.signed_in().await;
    let (_, page) = world.asked(&mut browser, &[]).await;
    let text = page.text();
    assert_eq!(text.matches("needs another").count(), 1, "{text}");
    let code = world.code(&mut browser, &[]).await;
    let answer = world.redeem(&code, &[]).await;
    // The rest works without it, and says so.
    assert_eq!(answer.scope(), "read");
    let token = answer.json()["refresh_token"].as_str().unwrap().to_owned();
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", world.app.as_str()),
        ("refresh_token", token.as_str()),
        ("scope", "read write"),
    ];
    let (handle, id) = waits(&estate.node.form("/token", &form).await);
    let poll = [
        ("grant_type", CIBA),
        ("client_id", world.app.as_str()),
        ("auth_req_id", handle.as_str()),
    ];
    // The person's own consent is no second pair of eyes.
    assert_eq!(
        estate.node.form("/token", &poll).await.error().1,
        "authorization_pending"
    );
    approve(estate, "carol", &id).await.unwrap();
    assert_eq!(estate.node.form("/token", &poll).await.scope(), "read write");
    // It was agreed to: nobody is asked again, and nothing but it waits at once.
    let location = browser
        .get(&world.path(&[("prompt", "none"), ("scope", "write")]))
        .await
        .header("location")
        .unwrap()
        .to_owned();
    let code = parameter(&location, "code").unwrap_or_else(|| panic!("{location}"));
    waits(&world.redeem(&code, &[]).await);
    // What no yes would cure is not offered.
    let answer = browser.get(&world.path(&[("scope", "admin")])).await;
    let location = answer.header("location").unwrap();
    assert_eq!(parameter(location, "error").as_deref(), Some("access_denied"));
}

async fn a_request_is_answered_once(place: Place) {
    let world = World::start(&place).await;
    let mut browser = world.signed_in().await;
    let (path, page) = world.asked(&mut browser, &[]).await;
    let token = csrf(&page);
    let form = [
        ("csrf", token.as_str()),
        ("answer", "allow"),
        ("scope", "notes:read"),
    ];
    assert_eq!(browser.submit(&path, &form).await.status, 303);
    // The button pressed twice, the back button, another tab.
    assert_eq!(browser.submit(&path, &form).await.status, 404);
    assert_eq!(browser.get(&path).await.status, 404);
    let (path, page) = world.asked(&mut browser, &[]).await;
    let token = csrf(&page);
    let form = [
        ("csrf", token.as_str()),
        ("answer", "allow"),
        ("scope", "notes:write"),
    ];
    let tries: Vec<_> = (0..4)
        .map(|_| {
            let (mut browser, path) = (browser.clone(), path.clone());
            let form: Vec<(String, String)> = form
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            tokio::spawn(async move {
                let pairs: Vec<(&str, &str)> = form
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()))
                    .collect();
                browser.submit(&path, &pairs).await.status
            })
        })
        .collect();
    let mut answered = 0;
    for status in tries {
        answered += usize::from(status.await.unwrap() == 303);
    }
    assert_eq!(answered, 1);
    let (late, page) = world.asked(&mut browser, &[("prompt", "consent")]).await;
    world.estate.node.advance(Ttl::from_minutes(10)).await;
    let token = csrf(&page);
    assert_eq!(
        browser
            .submit(
                &late,
                &[("csrf", &token), ("answer", "allow"), ("scope", "notes:read")]
            )
            .await
            .status,
        404
    );
}

async fn a_request_is_answered_in_its_session_alone(place: Place) {
    let world = World::start(&place).await;
    let mut alice = world.signed_in().await;
    let (path, _) = world.asked(&mut alice, &[]).await;
    let mut mallory = world.idp.sign_in(&world.estate.node, "mallory").await;
    assert_eq!(mallory.get(&path).await.status, 404);
    let token = csrf(&mallory.get("/me/agents").await);
    let form = [
        ("csrf", token.as_str()),
        ("answer", "allow"),
        ("scope", "notes:read"),
    ];
    assert_eq!(mallory.submit(&path, &form).await.status, 404);
    let mut nobody = Browser::at(&world.estate.node);
    assert!(
        nobody
            .get(&path)
            .await
            .header("location")
            .unwrap()
            .starts_with("/sign-in?")
    );
    assert!(alice.get(&path).await.status == 200);
    assert_eq!(alice.get("/consent/req_0").await.status, 404);
}

async fn a_forged_answer_is_refused(place: Place) {
    let world = World::start(&place).await;
    let mut browser = world.signed_in().await;
    let (path, page) = world.asked(&mut browser, &[]).await;
    let token = csrf(&page);
    let with = [
        ("csrf", token.as_str()),
        ("answer", "allow"),
        ("scope", "notes:read"),
    ];
    let without = [("answer", "allow"), ("scope", "notes:read")];
    let foreign = [("origin", "https://evil.example")];
    assert_eq!(browser.submit_from(&path, &with, &foreign).await.status, 403);
    assert_eq!(
        browser
            .submit_from(&path, &with, &[("sec-fetch-site", "cross-site")])
            .await
            .status,
        403
    );
    assert_eq!(browser.submit(&path, &without).await.status, 403);
    assert_eq!(browser.submit(&path, &with).await.status, 303);
}

async fn a_no_is_sent_to_the_client(place: Place) {
    let world = World::start(&place).await;
    let mut browser = world.signed_in().await;
    for form in [vec![("answer", "deny")], vec![("answer", "allow")], vec![]] {
        let (path, page) = world.asked(&mut browser, &[]).await;
        let token = csrf(&page);
        let mut pairs = vec![("csrf", token.as_str())];
        pairs.extend(form);
        let location = browser
            .submit(&path, &pairs)
            .await
            .header("location")
            .unwrap()
            .to_owned();
        assert_eq!(parameter(&location, "error").as_deref(), Some("access_denied"));
        assert_eq!(parameter(&location, "state").as_deref(), Some("xyz"));
    }
    assert!(
        world
            .estate
            .events("grant.created")
            .await
            .iter()
            .all(|event| event["parts"]["state"]["spec"]["source"] != "consent")
    );
    assert_eq!(world.estate.events("authorization.answered").await.len(), 3);
}

async fn a_name_that_deceives_is_made_plain(place: Place) {
    let world = World::start(&place).await;
    // What turns or hides text is not registered at all; a page takes it out once more, and escapes the rest.
    let name = "Payroll <script>alert(1)</script>";
    world
        .estate
        .change("clients", "app", json!({ "display_name": name }))
        .await;
    let mut browser = world.signed_in().await;
    let (_, page) = world.asked(&mut browser, &[]).await;
    let text = page.text();
    assert!(text.contains("<bdi>Payroll &#60;script&#62;") && text.contains("calls itself"));
    assert!(!text.contains("<script"));
}

async fn a_grant_lasts_as_long_and_as_often_as_was_said(place: Place) {
    let world = World::start(&place).await;
    let mut browser = world.signed_in().await;
    let (path, page) = world.asked(&mut browser, &[("scope", "read")]).await;
    let token = csrf(&page);
    let form = [
        ("csrf", token.as_str()),
        ("answer", "allow"),
        ("scope", "notes:read"),
        ("lasts", "hour"),
        ("budget", "2"),
    ];
    let location = browser
        .submit(&path, &form)
        .await
        .header("location")
        .unwrap()
        .to_owned();
    let first = world.redeem(&parameter(&location, "code").unwrap(), &[]).await;
    let refresh = first.json()["refresh_token"].as_str().unwrap().to_owned();
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", world.app.as_str()),
        ("refresh_token", refresh.as_str()),
    ];
    let second = world.estate.node.form("/token", &form).await;
    let next = second.json()["refresh_token"].as_str().unwrap().to_owned();
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", world.app.as_str()),
        ("refresh_token", next.as_str()),
    ];
    assert_eq!(
        world.estate.node.form("/token", &form).await.error().1,
        "access_denied"
    );
    world.estate.node.advance(Ttl::from_minutes(25)).await;
    browser.get("/me/agents").await;
    world.estate.node.advance(Ttl::from_minutes(25)).await;
    browser.get("/me/agents").await;
    world.estate.node.advance(Ttl::from_minutes(11)).await;
    world.asked(&mut browser, &[("scope", "read")]).await;
}

async fn what_an_administrator_granted_for_a_person_is_shown_to_that_person_alone(place: Place) {
    let world = World::start(&place).await;
    let mut alice = world.signed_in().await;
    let mut mallory = world.idp.sign_in(&world.estate.node, "mallory").await;
    let grant = |user: &str| json!({ "agent": "third", "principal": { "user": user }, "resource": "notes", "scopes": ["read"] });
    world
        .estate
        .apply(json!({ "grants": [grant("company:alice")] }))
        .await;
    assert!(alice.get("/me/agents").await.text().contains("third"));
    assert!(!mallory.get("/me/agents").await.text().contains("third"));
}

async fn what_was_given_is_shown_and_taken_back(place: Place) {
    let world = World::start(&place).await;
    let mut browser = world.signed_in().await;
    let code = world.code(&mut browser, &[]).await;
    let token = world.redeem(&code, &[]).await.token();
    let page = browser.get("/me/agents").await;
    assert!(page.text().contains("planner") && page.text().contains("Given by you, until"));
    let action = page
        .text()
        .split("action=\"/me/grants/")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let path = format!("/me/grants/{action}");
    let mut mallory = world.idp.sign_in(&world.estate.node, "mallory").await;
    let theirs = csrf(&mallory.get("/me/agents").await);
    assert_eq!(mallory.submit(&path, &[("csrf", &theirs)]).await.status, 404);
    assert_eq!(browser.submit(&path, &[]).await.status, 403);
    assert!(world.is_active(&token).await);
    assert_eq!(browser.submit(&path, &[("csrf", &csrf(&page))]).await.status, 303);
    assert!(!world.is_active(&token).await);
    assert!(!browser.get("/me/agents").await.text().contains("planner"));
    // A session in another browser too.
    let mut other = world.signed_in().await;
    let page = browser.get("/me/agents").await;
    let action = page
        .text()
        .split("action=\"/me/sessions/")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(
        browser
            .submit(&format!("/me/sessions/{action}"), &[("csrf", &csrf(&page))])
            .await
            .status,
        303
    );
    assert_eq!(other.get("/me/agents").await.status, 303);
}

async fn what_an_administrator_stopped_is_not_given_again(place: Place) {
    let world = World::start(&place).await;
    let mut browser = world.signed_in().await;
    world.code(&mut browser, &[]).await;
    let grants = world.estate.events("grant.created").await;
    let name = grants[0]["parts"]["state"]["name"].as_str().unwrap().to_owned();
    world
        .estate
        .admin("POST", &format!("/grants/{name}/suspend"), Value::Null)
        .await;
    let (path, page) = world.asked(&mut browser, &[]).await;
    let token = csrf(&page);
    let answer = browser
        .submit(
            &path,
            &[("csrf", &token), ("answer", "allow"), ("scope", "notes:read")],
        )
        .await;
    assert_eq!(answer.status, 409);
    assert_eq!(world.estate.show("grants", &name).await["state"], "suspended");
}

async fn a_page_lets_its_form_lead_to_the_client(place: Place) {
    let world = World::start(&place).await;
    let mut browser = world.signed_in().await;
    let (_, page) = world.asked(&mut browser, &[]).await;
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .ends_with("form-action 'self' https:")
    );
}

async fn an_exchange_that_lacks_a_grant_gets_it_at_its_page(place: Place) {
    let world = World::start(&place).await;
    let estate = &world.estate;
    let mut browser = world.signed_in().await;
    // A token of the same person, as an agent holds it.
    let token = world.idp.token(&estate.node, "alice");
    let target = [("resource", NOTES), ("scope", "read write")];
    let refused = estate.exchange_as("planner", (&token, JWT), &target).await;
    assert_eq!(refused.error(), (400, "consent_required".to_owned()));
    let uri = refused.json()["consent_uri"].as_str().unwrap().to_owned();
    let path = uri.strip_prefix(BASE).unwrap().to_owned();
    let mut nobody = Browser::at(&estate.node);
    assert!(
        nobody
            .get(&path)
            .await
            .header("location")
            .unwrap()
            .starts_with("/sign-in?")
    );
    let mut mallory = world.idp.sign_in(&estate.node, "mallory").await;
    assert_eq!(mallory.get(&path).await.status, 404);
    let page = browser.get(&path).await;
    assert!(
        page.status == 200 && page.text().contains("planner"),
        "{}",
        page.text()
    );
    let token_of_form = csrf(&page);
    let without = [("answer", "allow"), ("scope", "notes:read")];
    assert_eq!(browser.submit(&path, &without).await.status, 403);
    let form = [
        ("csrf", token_of_form.as_str()),
        ("answer", "allow"),
        ("scope", "notes:read"),
        ("lasts", "day"),
    ];
    assert_eq!(browser.submit(&path, &form).await.status, 200);
    let read = [("resource", NOTES), ("scope", "read")];
    assert_eq!(
        estate.exchange_as("planner", (&token, JWT), &read).await.scope(),
        "read"
    );
    assert_eq!(
        estate
            .exchange_as("planner", (&token, JWT), &target)
            .await
            .error()
            .1,
        "consent_required"
    );
}
