//! Refresh tokens: derived successors, one use, and the end of the family on any other.

use crate::approval::{CIBA, approve, prepare, waits};
use crate::authorize::World;
use crate::browser::*;
use crate::estate::*;
use crate::harness::*;
use chancery_core::time::Ttl;
use serde_json::json;

on_both_engines!(
    a_refresh_token_is_given_where_it_was_asked_for,
    a_lost_reply_gets_the_same_successor,
    any_other_reuse_ends_the_family,
    many_at_once_get_one_successor,
    a_refresh_stays_within_what_was_agreed_to,
    a_client_may_ask_for_the_very_scope_that_it_was_answered,
    a_refresh_token_is_its_clients_and_ends_with_what_it_hangs_on,
    a_confidential_client_keeps_its_refresh_token,
    a_client_gives_its_refresh_token_up,
    a_guess_at_a_refresh_token_ends_nothing,
    a_refresh_that_needs_a_yes_waits_for_it_and_keeps_its_token,
);

async fn begun(world: &World) -> (Browser, String, String) {
    let mut browser = world.signed_in().await;
    let code = world.code(&mut browser, &[]).await;
    let answer = world.redeem(&code, &[]).await;
    let refresh = answer.json()["refresh_token"].as_str().unwrap().to_owned();
    (browser, answer.token(), refresh)
}

pub(crate) async fn refresh(world: &World, token: &str, more: &[(&str, &str)]) -> Answer {
    let mut pairs = vec![
        ("grant_type", "refresh_token"),
        ("client_id", world.app.as_str()),
        ("refresh_token", token),
    ];
    pairs.extend_from_slice(more);
    world.estate.node.form("/token", &pairs).await
}

fn next(answer: &Answer) -> String {
    answer.json()["refresh_token"]
        .as_str()
        .unwrap_or_else(|| panic!("{}", answer.text()))
        .to_owned()
}

async fn a_refresh_token_is_given_where_it_was_asked_for(place: Place) {
    let world = World::start(&place).await;
    let (mut browser, _, first) = begun(&world).await;
    let answer = refresh(&world, &first, &[]).await;
    assert_eq!(answer.scope(), "read write");
    assert_ne!(next(&answer), first);
    assert!(world.is_active(&answer.token()).await);
    let other = world.estate.show("clients", "other-app").await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for (scope, has) in [("read write", false), ("read write offline_access", true)] {
        let changes = [("client_id", other.as_str()), ("scope", scope)];
        let location = browser
            .get(&world.path(&changes))
            .await
            .header("location")
            .unwrap()
            .to_owned();
        let code = parameter(&location, "code").unwrap();
        let answer = world.redeem(&code, &[("client_id", other.as_str())]).await;
        assert_eq!(answer.json().get("refresh_token").is_some(), has, "{scope}");
    }
}

async fn a_lost_reply_gets_the_same_successor(place: Place) {
    let world = World::start(&place).await;
    let (_, _, first) = begun(&world).await;
    let second = next(&refresh(&world, &first, &[]).await);
    world.estate.node.advance(Ttl::from_seconds(29)).await;
    let again = refresh(&world, &first, &[]).await;
    assert_eq!(next(&again), second);
    assert!(world.is_active(&again.token()).await);
    let third = next(&refresh(&world, &second, &[]).await);
    assert_ne!(third, second);
}

async fn any_other_reuse_ends_the_family(place: Place) {
    let world = World::start(&place).await;
    for (wait, steps) in [(31, 1), (1, 2)] {
        let (_, token, first) = begun_again(&world).await;
        let mut newest = first.clone();
        for _ in 0..steps {
            newest = next(&refresh(&world, &newest, &[]).await);
        }
        world.estate.node.advance(Ttl::from_seconds(wait)).await;
        assert_eq!(refresh(&world, &first, &[]).await.error().1, "invalid_grant");
        assert_eq!(refresh(&world, &newest, &[]).await.error().1, "invalid_grant");
        assert!(!world.is_active(&token).await);
    }
    assert_eq!(world.estate.events("agreement.reused").await.len(), 2);
}

/// Like [`begun`], where the person may have agreed before.
async fn begun_again(world: &World) -> (Browser, String, String) {
    let mut browser = world.signed_in().await;
    let code = world.code(&mut browser, &[("prompt", "consent")]).await;
    let answer = world.redeem(&code, &[]).await;
    let refresh = next(&answer);
    (browser, answer.token(), refresh)
}

async fn many_at_once_get_one_successor(place: Place) {
    let world = std::sync::Arc::new(World::start(&place).await);
    let (_, _, first) = begun(&world).await;
    let tries: Vec<_> = (0..6)
        .map(|_| {
            let (world, first) = (world.clone(), first.clone());
            tokio::spawn(async move { refresh(&world, &first, &[]).await })
        })
        .collect();
    let mut successors = std::collections::BTreeSet::new();
    for answer in tries {
        let answer = answer.await.unwrap();
        if answer.status == 200 {
            successors.insert(next(&answer));
        } else {
            assert_eq!(answer.status, 503, "{}", answer.text());
        }
    }
    assert_eq!(successors.len(), 1);
}

async fn a_refresh_stays_within_what_was_agreed_to(place: Place) {
    let world = World::start(&place).await;
    let (_, _, first) = begun(&world).await;
    assert_eq!(
        refresh(&world, &first, &[("scope", "read delete")])
            .await
            .error()
            .1,
        "invalid_scope"
    );
    assert_eq!(
        refresh(&world, &first, &[("resource", MAIL)]).await.error().1,
        "invalid_target"
    );
    let less = refresh(&world, &first, &[("scope", "read")]).await;
    assert_eq!(less.scope(), "read");
    // Less was asked for once; what was agreed to is still the most.
    assert_eq!(refresh(&world, &next(&less), &[]).await.scope(), "read write");
}

/// Client libraries keep the `scope` of an answer and send it with each refresh.
async fn a_client_may_ask_for_the_very_scope_that_it_was_answered(place: Place) {
    let world = World::start(&place).await;
    let mut browser = world.signed_in().await;
    let scope = "read write openid offline_access";
    let code = world.code(&mut browser, &[("scope", scope)]).await;
    let answer = world.redeem(&code, &[]).await;
    let given = answer.scope();
    assert_eq!(given, "openid offline_access read write");
    let again = refresh(&world, &next(&answer), &[("scope", &given)]).await;
    assert_eq!(again.scope(), given);
    let less = refresh(&world, &next(&again), &[("scope", "offline_access read")]).await;
    assert_eq!(
        world.estate.introspect("planner", &less.token()).await["scope"],
        "read"
    );
    // What was not agreed to about the person is as unknown as any other word.
    let more = [("scope", "read profile")];
    assert_eq!(
        refresh(&world, &next(&less), &more).await.error().1,
        "invalid_scope"
    );
}

async fn a_refresh_token_is_its_clients_and_ends_with_what_it_hangs_on(place: Place) {
    let world = World::start(&place).await;
    let (mut browser, _, first) = begun(&world).await;
    let other = world.estate.show("clients", "other-app").await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", other.as_str()),
        ("refresh_token", first.as_str()),
    ];
    assert_eq!(
        world.estate.node.form("/token", &form).await.error().1,
        "invalid_grant"
    );
    let second = next(&refresh(&world, &first, &[]).await);
    let page = browser.get("/me/agents").await;
    browser.submit("/sign-out", &[("csrf", &csrf(&page))]).await;
    assert_eq!(refresh(&world, &second, &[]).await.error().1, "invalid_grant");
    // With a grant taken back there is nothing left to give.
    let (_, _, third) = begun_again(&world).await;
    world.estate.kill("user", "company:alice").await;
    assert_eq!(refresh(&world, &third, &[]).await.error().1, "invalid_grant");
}

async fn a_confidential_client_keeps_its_refresh_token(place: Place) {
    let world = World::start(&place).await;
    world
        .estate
        .change(
            "clients",
            "planner",
            json!({ "redirect_uris": [crate::authorize::CALLBACK] }),
        )
        .await;
    let mut browser = world.signed_in().await;
    let id = world.estate.client_id("planner").to_owned();
    let code = world
        .code(
            &mut browser,
            &[("client_id", &id), ("scope", "read write offline_access")],
        )
        .await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", crate::authorize::CALLBACK),
        ("code_verifier", crate::authorize::VERIFIER),
    ];
    let token = next(&world.estate.post("/token", "planner", &form).await);
    for _ in 0..2 {
        world.estate.node.advance(Ttl::from_minutes(1)).await;
        let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
        let answer = world.estate.post("/token", "planner", &form).await;
        assert_eq!(answer.scope(), "offline_access read write");
        assert!(answer.json().get("refresh_token").is_none());
    }
    // Without its proof it is nobody's.
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", id.as_str()),
        ("refresh_token", token.as_str()),
    ];
    assert_eq!(
        world.estate.node.form("/token", &form).await.error(),
        (401, "invalid_client".to_owned())
    );
}

async fn a_client_gives_its_refresh_token_up(place: Place) {
    let world = World::start(&place).await;
    let (_, access, token) = begun(&world).await;
    let form = [("client_id", world.app.as_str()), ("token", token.as_str())];
    assert_eq!(world.estate.node.form("/revoke", &form).await.status, 200);
    assert_eq!(refresh(&world, &token, &[]).await.error().1, "invalid_grant");
    assert!(!world.is_active(&access).await);
    assert_eq!(world.estate.events("token.revoked").await.len(), 1);
}

async fn a_guess_at_a_refresh_token_ends_nothing(place: Place) {
    let world = World::start(&place).await;
    let (_, access, token) = begun(&world).await;
    let changed = |place: usize| {
        let mut text: Vec<char> = token.chars().collect();
        text[place] = if text[place] == 'A' { 'B' } else { 'A' };
        text.into_iter().collect::<String>()
    };
    for guess in [
        changed(6),
        changed(30),
        changed(70),
        "crt_AAAA".to_owned(),
        "crt_".to_owned(),
    ] {
        assert_eq!(refresh(&world, &guess, &[]).await.error().1, "invalid_grant");
    }
    assert!(world.is_active(&access).await);
    refresh(&world, &token, &[]).await.token();
}

async fn a_refresh_that_needs_a_yes_waits_for_it_and_keeps_its_token(place: Place) {
    let world = World::start(&place).await;
    let estate = &world.estate;
    let mut browser = world.signed_in().await;
    let code = world.code(&mut browser, &[]).await;
    let first = world.redeem(&code, &[]).await;
    let token = first.json()["refresh_token"].as_str().unwrap().to_owned();
    let policy = r#"@id("writing-again-needs-a-yes")
        forbid (principal is Agent, action == Action::"issue_token", resource == Scope::"notes:write")
        when { context.grant_type == "refresh_token" }
        unless { context has approval && context.approval.count >= 1 };"#;
    prepare(estate, policy).await;
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", world.app.as_str()),
        ("refresh_token", token.as_str()),
    ];
    let (handle, id) = waits(&estate.node.form("/token", &form).await);
    // Nothing was used: it asks for the same once more, and no reuse is seen in it.
    assert_eq!(waits(&estate.node.form("/token", &form).await).0, handle);
    approve(estate, "carol", &id).await.unwrap();
    let poll = [
        ("grant_type", CIBA),
        ("client_id", world.app.as_str()),
        ("auth_req_id", handle.as_str()),
    ];
    let given = estate.node.form("/token", &poll).await;
    assert_eq!(given.scope(), "read write");
    assert!(given.json()["refresh_token"].is_null());
    assert!(world.is_active(&given.token()).await && world.is_active(&first.token()).await);
    // Less than needs a yes needs none.
    let mut less = form.to_vec();
    less.push(("scope", "read"));
    assert_eq!(estate.node.form("/token", &less).await.scope(), "read");
    // What was given hangs on the session, as all that was agreed to in it.
    let csrf = csrf(&browser.get("/me/agents").await);
    browser.submit("/sign-out", &[("csrf", &csrf)]).await;
    assert!(!world.is_active(&given.token()).await);
}
