//! People whose accounts Chancery itself keeps: the one-time code, the password, and everything that must not help somebody
//! who guesses.

use crate::browser::*;
use crate::harness::*;
use chancery_core::time::Ttl;
use chancery_server::people::password::KnownPasswords;
use serde_json::{Value, json};

on_both_engines!(
    a_person_sets_a_password_with_a_code_and_signs_in,
    a_code_is_used_once,
    a_code_ends_with_the_next_one_and_with_its_time_and_person,
    nobody_learns_which_accounts_there_are,
    wrong_passwords_are_slower_and_slower_on_every_node,
    one_account_under_attack_leaves_others_alone,
    a_form_of_another_browser_or_site_signs_nobody_in,
    a_session_that_was_planted_is_not_taken_over,
    a_known_short_or_unequal_password_is_refused_and_the_code_stays_good,
    a_new_password_ends_every_other_session,
    a_password_is_changed_by_whoever_proved_it_lately,
    a_reset_ends_everything_that_somebody_signs_in_with,
    a_stopped_person_does_not_sign_in,
    an_account_of_an_outside_issuer_has_no_password,
    no_outside_issuer_is_called_local,
    no_password_or_code_is_stored,
    malformed_forms_are_never_our_fault,
);

pub(crate) const PASSWORD: &str = "long enough to be good";
pub(crate) const OTHER: &str = "another one, just as long";

/// Makes a local person. The code is for `/enrol`.
pub(crate) async fn invited(node: &Chancery, name: &str, roles: &[&str]) -> String {
    let body = json!({ "name": name, "issuer": "local", "roles": roles });
    node.admin("POST", "/api/v1/users", body).await;
    reset(node, name).await
}

async fn reset(node: &Chancery, name: &str) -> String {
    let path = format!("/api/v1/users/{name}/reset-secret");
    let answer = node.admin("POST", &path, json!({})).await;
    assert_eq!(answer["enrolment_uri"], json!(format!("{BASE}/enrol")));
    answer["secret"].as_str().unwrap().to_owned()
}

/// Another node, where the engine has room for one.
pub(crate) async fn twin(place: &Place, node: &Chancery) -> Chancery {
    if place.is_postgres() {
        Chancery::start(place).await
    } else {
        node.clone()
    }
}

/// Enters the code; the page that asks how to sign in.
pub(crate) async fn opened(browser: &mut Browser, code: &str) -> Answer {
    let page = browser.get("/enrol").await;
    let form = [("csrf", csrf(&page)), ("code", code.to_owned())];
    browser.submit("/enrol", &borrowed(&form)).await
}

pub(crate) async fn enrolled(node: &Chancery, name: &str, roles: &[&str]) -> Browser {
    let code = invited(node, name, roles).await;
    let mut browser = Browser::at(node);
    let answer = chosen(&mut browser, &code, PASSWORD, PASSWORD).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (303, Some("/me/sign-in"))
    );
    browser
}

pub(crate) async fn chosen(browser: &mut Browser, code: &str, password: &str, again: &str) -> Answer {
    let page = opened(browser, code).await;
    assert_eq!(page.status, 200, "{}", page.text());
    choose(browser, &csrf(&page), code, (password, again)).await
}

async fn choose(browser: &mut Browser, csrf: &str, code: &str, (password, again): (&str, &str)) -> Answer {
    let form = [
        ("csrf", csrf),
        ("code", code),
        ("password", password),
        ("again", again),
    ];
    browser.submit("/enrol/password", &form).await
}

pub(crate) fn borrowed<'a>(form: &'a [(&'a str, String)]) -> Vec<(&'a str, &'a str)> {
    form.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Types name and password into the page, whether it works or not.
pub(crate) async fn typed(browser: &mut Browser, name: &str, password: &str) -> Answer {
    let page = browser.get("/sign-in?issuer=local&prompt=login").await;
    let form = [
        ("csrf", csrf(&page)),
        ("name", name.to_owned()),
        ("password", password.to_owned()),
        ("return_to", "/me/agents".to_owned()),
    ];
    browser.submit("/sign-in", &borrowed(&form)).await
}

async fn is_signed_in(browser: &mut Browser) -> bool {
    browser.get("/me/agents").await.status == 200
}

async fn events(node: &Chancery, kind: &str) -> Vec<Value> {
    let page = node
        .admin("GET", &format!("/api/v1/audit/events?kind={kind}"), Value::Null)
        .await;
    page["items"].as_array().unwrap().clone()
}

async fn a_person_sets_a_password_with_a_code_and_signs_in(place: Place) {
    let node = Chancery::start(&place).await;
    assert_eq!(node.get("/sign-in").await.status, 404, "nobody can sign in yet");
    let mut ada = enrolled(&node, "ada", &["administrator"]).await;
    assert!(is_signed_in(&mut ada).await);
    assert_eq!(
        ada.get("/console/agents").await.status,
        200,
        "the record's roles hold"
    );
    assert!(
        ada.get("/me/sign-in")
            .await
            .text()
            .contains("Change your password")
    );

    let mut elsewhere = Browser::at(&node);
    let page = elsewhere.visit("/me/agents").await.text();
    assert!(page.contains("type=\"password\""), "{page}");
    let answer = typed(&mut elsewhere, "ada", PASSWORD).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (303, Some("/me/agents"))
    );
    assert!(is_signed_in(&mut elsewhere).await);
    let sessions = node.admin("GET", "/api/v1/sessions", Value::Null).await;
    let all = sessions["items"].as_array().unwrap();
    assert!(
        all.iter()
            .all(|session| session["issuer"] == "local" && session["user"] == "ada")
    );
    assert_eq!(events(&node, "password.set").await.len(), 1);
    assert_eq!(events(&node, "session.created").await.len(), 2);
    assert_eq!(events(&node, "user.secret_reset").await.len(), 1);
}

async fn a_code_is_used_once(place: Place) {
    let node = Chancery::start(&place).await;
    let code = invited(&node, "ada", &[]).await;
    let mut first = Browser::at(&node);
    let page = opened(&mut first, &code).await;
    let mut second = Browser::at(&node);
    let other = opened(&mut second, &code).await;
    let (one, two) = (csrf(&page), csrf(&other));
    let (one, two) = tokio::join!(
        choose(&mut first, &one, &code, (PASSWORD, PASSWORD)),
        choose(&mut second, &two, &code, (OTHER, OTHER)),
    );
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 404]);
    assert_eq!(opened(&mut second, &code).await.status, 404);
    assert_eq!(events(&node, "password.set").await.len(), 1);
}

async fn a_code_ends_with_the_next_one_and_with_its_time_and_person(place: Place) {
    let node = Chancery::start(&place).await;
    let mut browser = Browser::at(&node);
    let first = invited(&node, "ada", &[]).await;
    let second = reset(&node, "ada").await;
    assert_eq!(opened(&mut browser, &first).await.status, 404);
    assert_eq!(opened(&mut browser, &second).await.status, 200);
    node.admin("POST", "/api/v1/users/ada/suspend", json!({})).await;
    assert_eq!(opened(&mut browser, &second).await.status, 404);
    node.admin("POST", "/api/v1/users/ada/activate", json!({})).await;
    assert_eq!(
        opened(&mut browser, &second).await.status,
        404,
        "it does not come back"
    );
    let third = reset(&node, "ada").await;
    node.advance(Ttl::from_days(4)).await;
    assert_eq!(opened(&mut browser, &third).await.status, 404);
    assert_eq!(opened(&mut browser, "civ_x").await.status, 404);
}

async fn nobody_learns_which_accounts_there_are(place: Place) {
    let node = Chancery::start(&place).await;
    enrolled(&node, "ada", &[]).await;
    invited(&node, "bea", &[]).await;
    let mut said = Vec::new();
    for name in ["ada", "bea", "nobody", "corp:alice", "x y"] {
        let answer = typed(&mut Browser::at(&node), name, "not the password").await;
        assert_eq!(answer.status, 403);
        let mut headers: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        headers.sort();
        said.push((headers, answer.text()));
    }
    assert!(said.windows(2).all(|pair| pair[0] == pair[1]), "{said:#?}");
    let failures = events(&node, "authentication.failed").await;
    assert_eq!(failures.len(), 5);
    assert!(!json!(failures).to_string().contains("not the password"));
    // Nor do they by trying until they have to wait.
    for name in ["ada", "nobody"] {
        for _ in 0..4 {
            assert_eq!(typed(&mut Browser::at(&node), name, "wrong").await.status, 403);
        }
        assert_eq!(typed(&mut Browser::at(&node), name, "wrong").await.status, 429);
    }
}

async fn wrong_passwords_are_slower_and_slower_on_every_node(place: Place) {
    let node = Chancery::start(&place).await;
    let twin = twin(&place, &node).await;
    enrolled(&node, "ada", &[]).await;
    // After the fifth, each waits twice as long as the one before.
    let mut before = 0;
    for number in 1..=14 {
        let answer = typed(&mut Browser::at(&node), "ada", "wrong").await;
        assert_eq!(answer.status, 403, "{number}");
        if number < 5 {
            continue;
        }
        let next = typed(&mut Browser::at(&twin), "ada", PASSWORD).await;
        assert_eq!(next.status, 429, "even the right one waits");
        let seconds: u64 = next.header("retry-after").unwrap().parse().unwrap();
        assert!(seconds >= before && seconds <= 901, "{seconds} after {before}");
        before = seconds;
        node.advance(Ttl::from_seconds(seconds)).await;
        if place.is_postgres() {
            twin.advance(Ttl::from_seconds(seconds)).await;
        }
    }
    assert!(before >= 128, "{before}");
    assert_eq!(typed(&mut Browser::at(&twin), "ada", PASSWORD).await.status, 303);
    assert_eq!(
        typed(&mut Browser::at(&twin), "ada", "wrong").await.status,
        403,
        "it is forgotten"
    );
}

async fn one_account_under_attack_leaves_others_alone(place: Place) {
    let node = Chancery::start(&place).await;
    enrolled(&node, "ada", &[]).await;
    enrolled(&node, "bea", &[]).await;
    for _ in 0..8 {
        typed(&mut Browser::at(&node), "ada", "wrong").await;
    }
    assert_eq!(typed(&mut Browser::at(&node), "ada", PASSWORD).await.status, 429);
    assert_eq!(typed(&mut Browser::at(&node), "bea", PASSWORD).await.status, 303);
    // Many accounts from one source wait for the source.
    let mut last = 403;
    for number in 0..40 {
        let answer = typed(&mut Browser::at(&node), &format!("guess-{number}"), "wrong").await;
        last = answer.status.as_u16();
    }
    assert_eq!(last, 429);
}

async fn a_form_of_another_browser_or_site_signs_nobody_in(place: Place) {
    let node = Chancery::start(&place).await;
    enrolled(&node, "ada", &[]).await;
    let mut attacker = Browser::at(&node);
    let theirs = csrf(&attacker.get("/sign-in").await);
    let mut victim = Browser::at(&node);
    let own = csrf(&victim.get("/sign-in").await);
    let form = |token: &str| {
        vec![
            ("csrf", token.to_owned()),
            ("name", "ada".to_owned()),
            ("password", PASSWORD.to_owned()),
        ]
    };
    let theirs = form(&theirs);
    assert_eq!(victim.submit("/sign-in", &borrowed(&theirs)).await.status, 403);
    let own = form(&own);
    let elsewhere = [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.example"),
    ];
    let answer = victim.submit_from("/sign-in", &borrowed(&own), &elsewhere).await;
    assert_eq!(answer.status, 403);
    assert!(!is_signed_in(&mut victim).await);
    assert_eq!(victim.submit("/sign-in", &borrowed(&own)).await.status, 303);
}

async fn a_session_that_was_planted_is_not_taken_over(place: Place) {
    let node = Chancery::start(&place).await;
    let mut ada = enrolled(&node, "ada", &[]).await;
    let mallory = enrolled(&node, "mallory", &[]).await;
    let name = "__Host-chancery-session";
    let planted = mallory.cookie(name).unwrap().to_owned();
    ada.cookies.insert(name.to_owned(), planted.clone());
    assert_eq!(typed(&mut ada, "ada", PASSWORD).await.status, 303);
    assert_ne!(ada.cookie(name).unwrap(), planted);
    let mut attacker = Browser::at(&node);
    attacker.cookies.insert(name.to_owned(), planted);
    assert!(!is_signed_in(&mut attacker).await, "it ended with the sign-in");
}

async fn a_known_short_or_unequal_password_is_refused_and_the_code_stays_good(place: Place) {
    let node = Chancery::start_with(&place, |config, _| {
        config.known_passwords = KnownPasswords::parse("correct horse battery staple\n");
    })
    .await;
    let code = invited(&node, "adelheid", &[]).await;
    let mut browser = Browser::at(&node);
    for (password, again) in [
        ("correct horse battery staple", "correct horse battery staple"),
        ("short", "short"),
        ("I am Adelheid 2026", "I am Adelheid 2026"),
        (PASSWORD, OTHER),
    ] {
        let answer = chosen(&mut browser, &code, password, again).await;
        assert_eq!(answer.status, 422, "{password}");
        assert!(!answer.text().contains(password), "a password is not said again");
    }
    let answer = chosen(
        &mut browser,
        &code,
        "correct horse battery staples",
        "correct horse battery staples",
    );
    assert_eq!(answer.await.status, 303);
}

pub(crate) async fn change(browser: &mut Browser, present: &str, new: &str) -> Answer {
    let page = browser.get("/me/agents").await;
    let form = [
        ("csrf", csrf(&page)),
        ("present", present.to_owned()),
        ("password", new.to_owned()),
        ("again", new.to_owned()),
    ];
    browser.submit("/me/password", &borrowed(&form)).await
}

async fn a_new_password_ends_every_other_session(place: Place) {
    let node = Chancery::start(&place).await;
    let mut ada = enrolled(&node, "ada", &[]).await;
    let mut elsewhere = Browser::at(&node);
    typed(&mut elsewhere, "ada", PASSWORD).await;
    assert!(is_signed_in(&mut elsewhere).await);
    assert_eq!(change(&mut ada, "wrong password", OTHER).await.status, 403);
    assert_eq!(change(&mut ada, PASSWORD, "short").await.status, 422);
    let answer = change(&mut ada, PASSWORD, OTHER).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (303, Some("/me/sign-in"))
    );
    assert!(is_signed_in(&mut ada).await && !is_signed_in(&mut elsewhere).await);
    assert_eq!(typed(&mut elsewhere, "ada", PASSWORD).await.status, 403);
    assert_eq!(typed(&mut elsewhere, "ada", OTHER).await.status, 303);
    assert_eq!(events(&node, "password.set").await.len(), 2);
}

async fn a_password_is_changed_by_whoever_proved_it_lately(place: Place) {
    let node = Chancery::start(&place).await;
    let mut ada = enrolled(&node, "ada", &[]).await;
    node.advance(Ttl::from_minutes(6)).await;
    assert!(!ada.get("/me/sign-in").await.text().contains("name=\"present\""));
    let answer = change(&mut ada, PASSWORD, OTHER).await;
    assert!(
        answer.header("location").unwrap().starts_with("/sign-in?"),
        "{answer:?}"
    );
    assert_eq!(typed(&mut ada, "ada", PASSWORD).await.status, 303);
    assert_eq!(
        change(&mut ada, PASSWORD, OTHER).await.header("location"),
        Some("/me/sign-in")
    );
}

async fn a_reset_ends_everything_that_somebody_signs_in_with(place: Place) {
    let node = Chancery::start(&place).await;
    let mut ada = enrolled(&node, "ada", &[]).await;
    let code = reset(&node, "ada").await;
    assert!(!is_signed_in(&mut ada).await);
    assert_eq!(typed(&mut ada, "ada", PASSWORD).await.status, 403);
    assert_eq!(chosen(&mut ada, &code, OTHER, OTHER).await.status, 303);
    assert_eq!(typed(&mut ada, "ada", OTHER).await.status, 303);
}

async fn a_stopped_person_does_not_sign_in(place: Place) {
    let node = Chancery::start(&place).await;
    let mut ada = enrolled(&node, "ada", &[]).await;
    node.admin("POST", "/api/v1/kill/user/ada", json!({})).await;
    assert!(!is_signed_in(&mut ada).await);
    assert_eq!(typed(&mut ada, "ada", PASSWORD).await.status, 403);
    let answer = node
        .local("POST", "/api/v1/users/ada/reset-secret", json!({}))
        .await;
    assert_eq!(answer.status, 422, "{}", answer.text());
}

async fn an_account_of_an_outside_issuer_has_no_password(place: Place) {
    let estate = crate::estate::Estate::start(&place).await;
    let answer = estate.admin("POST", "/users/alice/reset-secret", json!({})).await;
    assert_eq!((answer.get("secret"), answer.get("enrolment_uri")), (None, None));
    enrolled(&estate.node, "ada", &[]).await;
    assert_eq!(
        typed(&mut Browser::at(&estate.node), "alice", PASSWORD)
            .await
            .status,
        403
    );
}

async fn no_outside_issuer_is_called_local(place: Place) {
    let node = Chancery::start(&place).await;
    let issuer = json!({ "name": "local", "issuer": "https://evil.example", "purposes": ["users"],
        "audiences": ["x"], "keys": { "inline": { "keys": [] } } });
    let answer = node.local("POST", "/api/v1/trusted_issuers", issuer).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
}

async fn no_password_or_code_is_stored(place: Place) {
    let node = Chancery::start(&place).await;
    let code = invited(&node, "ada", &[]).await;
    let mut browser = Browser::at(&node);
    chosen(&mut browser, &code, PASSWORD, PASSWORD).await;
    change(&mut browser, PASSWORD, OTHER).await;
    typed(&mut browser, "ada", "a wrong one of length").await;
    let stored = crate::secrets::stored(&place).await;
    for secret in [PASSWORD, OTHER, code.as_str(), "a wrong one of length"] {
        assert!(!contains(&stored, secret), "{secret}");
    }
    assert!(contains(&stored, "$argon2id$v=19$"));
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

async fn malformed_forms_are_never_our_fault(place: Place) {
    let node = Chancery::start(&place).await;
    enrolled(&node, "ada", &[]).await;
    let mut browser = Browser::at(&node);
    let token = csrf(&browser.get("/sign-in").await);
    let long = "x".repeat(100_000);
    for name in ["", "\0", "a\0b", "\u{202e}ada", "ада", long.as_str()] {
        for password in ["", "\0", long.as_str()] {
            let form = [("csrf", token.as_str()), ("name", name), ("password", password)];
            let answer = browser.submit("/sign-in", &form).await;
            assert!(answer.status.is_client_error(), "{}", answer.status);
        }
    }
    for path in ["/sign-in", "/enrol", "/enrol/password", "/me/password"] {
        for form in [
            vec![],
            vec![("csrf", token.as_str())],
            vec![("csrf", token.as_str()), ("code", "\0")],
        ] {
            let answer = browser.submit(path, &form).await;
            assert!(
                !answer.status.is_server_error() && !answer.status.is_success(),
                "{path}"
            );
        }
    }
}
