//! The authorization code flow: from a client's request over the person's answer to a token, and what is tried with
//! each step.

use crate::browser::*;
use crate::estate::*;
use crate::harness::*;
use crate::identity_provider::IdentityProvider;
use crate::outside;
use chancery_core::time::Ttl;
use serde_json::{Value, json};

on_both_engines!(
    a_person_agrees_and_the_client_gets_a_token,
    a_bad_client_or_redirect_uri_is_never_redirected_to,
    every_other_error_is_sent_to_the_client_with_issuer_and_state,
    prompt_none_answers_at_once,
    an_id_token_hint_names_the_person_and_nobody_is_guessed,
    prompt_login_asks_once_and_not_for_ever,
    an_old_proof_is_asked_for_again,
    a_code_is_redeemed_once_and_its_second_use_ends_everything,
    a_code_is_redeemed_once_among_many_at_once,
    a_code_is_for_its_client_verifier_redirect_and_minute,
    a_code_ends_with_what_it_hangs_on,
    a_token_never_exceeds_what_was_agreed_to,
    an_id_token_says_who_signed_in,
    user_info_is_for_tokens_of_chancery_itself,
    signing_out_ends_what_the_session_gave,
    metadata_says_what_is_there,
);

pub(crate) const CALLBACK: &str = "https://app.example/cb";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A node with a public client of planner and people who sign in.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) estate: Estate,
    pub(crate) idp: IdentityProvider,
    /// The public client's id.
    pub(crate) app: String,
}

impl World {
    pub(crate) async fn start(place: &Place) -> Self {
        let idp = IdentityProvider::start(true).await;
        let estate = Estate::on(outside::node(place, |_, _| {}).await, "").await;
        let app = json!({ "name": "app", "agent": "planner", "method": "none", "redirect_uris": [CALLBACK],
            "grant_types": ["authorization_code", "refresh_token"] });
        let other = json!({ "name": "other-app", "agent": "planner", "method": "none", "redirect_uris": [CALLBACK, "http://127.0.0.1/cb"] });
        estate
            .apply(
                json!({ "trusted_issuers": [idp.trusted("company", &json!({}))], "clients": [app, other] }),
            )
            .await;
        let app = estate.show("clients", "app").await["id"]
            .as_str()
            .unwrap()
            .to_owned();
        Self { estate, idp, app }
    }

    /// The path of an authorization request: the usual one, with parameters changed or left out (`""`).
    pub(crate) fn path(&self, changes: &[(&str, &str)]) -> String {
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", self.app.as_str()),
            ("redirect_uri", CALLBACK),
            ("scope", "read write"),
            ("state", "xyz"),
            ("resource", NOTES),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        pairs.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        pairs.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        format!("/authorize?{query}")
    }

    pub(crate) async fn signed_in(&self) -> Browser {
        self.idp.sign_in(&self.estate.node, "alice").await
    }

    /// The consent page that a request leads to, and its path.
    pub(crate) async fn asked(&self, browser: &mut Browser, changes: &[(&str, &str)]) -> (String, Answer) {
        let sent = browser.get(&self.path(changes)).await;
        let path = sent
            .header("location")
            .unwrap_or_else(|| panic!("{}", sent.text()))
            .to_owned();
        assert!(path.starts_with("/consent/"), "{path}");
        let page = browser.get(&path).await;
        (path, page)
    }

    /// The person's yes to these scopes; gives where the browser is sent.
    pub(crate) async fn agree(
        &self,
        browser: &mut Browser,
        changes: &[(&str, &str)],
        scopes: &[&str],
    ) -> String {
        let (path, page) = self.asked(browser, changes).await;
        let token = csrf(&page);
        let mut form = vec![("csrf", token.as_str()), ("answer", "allow"), ("lasts", "day")];
        form.extend(scopes.iter().map(|scope| ("scope", *scope)));
        let answer = browser.submit(&path, &form).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        answer.header("location").unwrap().to_owned()
    }

    /// The code that a yes to both scopes gives.
    pub(crate) async fn code(&self, browser: &mut Browser, changes: &[(&str, &str)]) -> String {
        let location = self.agree(browser, changes, &["notes:read", "notes:write"]).await;
        parameter(&location, "code").unwrap_or_else(|| panic!("{location}"))
    }

    pub(crate) async fn redeem(&self, code: &str, changes: &[(&str, &str)]) -> Answer {
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("client_id", self.app.as_str()),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        pairs.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        pairs.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
        self.estate.node.form("/token", &pairs).await
    }

    pub(crate) async fn is_active(&self, token: &str) -> bool {
        self.estate.is_active("planner", token).await
    }
}

fn error_of(answer: &Answer) -> (String, String) {
    let location = answer
        .header("location")
        .unwrap_or_else(|| panic!("{}", answer.text()));
    let (to, _) = location.split_once('?').unwrap();
    (
        to.to_owned(),
        parameter(location, "error").unwrap_or_else(|| panic!("{location}")),
    )
}

async fn a_person_agrees_and_the_client_gets_a_token(place: Place) {
    let world = World::start(&place).await;
    // Not signed in: to the issuer first, and back.
    let mut browser = Browser::at(&world.estate.node);
    let sent = browser.visit(&world.path(&[])).await;
    let location = sent.header("location").unwrap().to_owned();
    let back = world.idp.approve(
        &location,
        "alice",
        &json!({}),
        crate::identity_provider::now(&world.estate.node),
    );
    let page = browser.visit(&back).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let text = page.text();
    for shown in [
        "planner",
        "ops",
        "app.example",
        "notes",
        "read",
        "write",
        "set up by an administrator",
    ] {
        assert!(text.contains(shown), "{shown} in {text}");
    }
    let location = world.agree(&mut browser, &[], &["notes:read"]).await;
    assert!(location.starts_with(&format!("{CALLBACK}?code=")), "{location}");
    assert_eq!(parameter(&location, "state").as_deref(), Some("xyz"));
    assert_eq!(parameter(&location, "iss").as_deref(), Some(BASE));
    let answer = world.redeem(&parameter(&location, "code").unwrap(), &[]).await;
    assert_eq!(answer.scope(), "read");
    let said = answer.claims();
    let alice = world.estate.show("users", "company:alice").await["id"].clone();
    assert_eq!((&said["sub"], &said["aud"]), (&alice, &json!(NOTES)));
    assert!(said["act"]["sub"].as_str().unwrap().starts_with("agt_"));
    assert!(world.is_active(&answer.token()).await);
    let grants = world.estate.events("grant.created").await;
    assert_eq!(grants[0]["parts"]["state"]["spec"]["source"], "consent");
    // Agreed to for this much: the next time nobody is asked, for more somebody is.
    let again = browser.get(&world.path(&[("scope", "read")])).await;
    assert!(
        again
            .header("location")
            .unwrap()
            .starts_with(&format!("{CALLBACK}?code="))
    );
    world.asked(&mut browser, &[]).await;
    world
        .asked(&mut browser, &[("scope", "read"), ("prompt", "consent")])
        .await;
}

async fn a_bad_client_or_redirect_uri_is_never_redirected_to(place: Place) {
    let world = World::start(&place).await;
    let mut browser = world.signed_in().await;
    let other = world.estate.show("clients", "other-app").await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for changes in [
        vec![("client_id", "")],
        vec![("client_id", "nobody")],
        vec![("redirect_uri", "https://evil.example/cb")],
        vec![("redirect_uri", "https://app.example/cb/")],
        vec![("redirect_uri", "https://app.example/cb?x=1")],
        vec![("redirect_uri", "https://app.example/CB")],
        vec![("redirect_uri", "https://app.example:8443/cb")],
        vec![("redirect_uri", "https://app.example@evil.example/cb")],
        vec![("redirect_uri", "http://app.example/cb")],
        vec![("redirect_uri", "javascript:alert(1)")],
        vec![
            ("client_id", other.as_str()),
            ("redirect_uri", "http://127.0.0.1:81/other"),
        ],
        vec![
            ("client_id", other.as_str()),
            ("redirect_uri", "http://localhost:81/cb"),
        ],
        vec![("client_id", other.as_str()), ("redirect_uri", "")],
    ] {
        let answer = browser.get(&world.path(&changes)).await;
        assert_eq!(answer.status, 400, "{changes:?}");
        assert_eq!(answer.header("location"), None, "{changes:?}");
    }
    let repeated = format!("{}&redirect_uri=https://evil.example/cb", world.path(&[]));
    assert_eq!(browser.get(&repeated).await.status, 400);
    // The port of a loopback address is free (RFC 8252 §7.3).
    let native = [
        ("client_id", other.as_str()),
        ("redirect_uri", "http://127.0.0.1:50123/cb"),
    ];
    world.asked(&mut browser, &native).await;
    // The only one of a client need not be said.
    world.asked(&mut browser, &[("redirect_uri", "")]).await;
    world
        .estate
        .admin("POST", "/clients/app/suspend", Value::Null)
        .await;
    assert_eq!(browser.get(&world.path(&[])).await.status, 400);
}

async fn every_other_error_is_sent_to_the_client_with_issuer_and_state(place: Place) {
    let world = World::start(&place).await;
    let mut browser = world.signed_in().await;
    for (changes, code) in [
        (vec![("response_type", "token")], "unsupported_response_type"),
        (vec![("response_type", "")], "invalid_request"),
        (vec![("code_challenge", "")], "invalid_request"),
        (vec![("code_challenge_method", "plain")], "invalid_request"),
        (vec![("code_challenge_method", "")], "invalid_request"),
        (vec![("scope", "unheard-of")], "invalid_scope"),
        (vec![("resource", "https://unknown.example")], "invalid_target"),
        (vec![("resource", "not a uri")], "invalid_target"),
        (vec![("request", "eyJ")], "request_not_supported"),
        (
            vec![("request_uri", "https://a.example")],
            "request_uri_not_supported",
        ),
        (
            vec![("authorization_details", "[1]")],
            "invalid_authorization_details",
        ),
        (vec![("prompt", "none login")], "invalid_request"),
        // Nothing of it may ever be given.
        (vec![("scope", "admin")], "access_denied"),
    ] {
        let answer = browser.get(&world.path(&changes)).await;
        assert_eq!(
            error_of(&answer),
            (CALLBACK.to_owned(), code.to_owned()),
            "{changes:?}"
        );
        let location = answer.header("location").unwrap();
        assert_eq!(parameter(location, "state").as_deref(), Some("xyz"));
        assert_eq!(parameter(location, "iss").as_deref(), Some(BASE));
    }
    // As a form too.
    let path = world.path(&[("scope", "unheard-of")]);
    let form: Vec<(String, String)> = url::Url::parse(&format!("{BASE}{path}"))
        .unwrap()
        .query_pairs()
        .into_owned()
        .collect();
    let pairs: Vec<(&str, &str)> = form
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let answer = browser.submit_from("/authorize", &pairs, &[]).await;
    assert_eq!(error_of(&answer).1, "invalid_scope");
}

async fn prompt_none_answers_at_once(place: Place) {
    let world = World::start(&place).await;
    let quiet = world.path(&[("prompt", "none")]);
    let mut browser = Browser::at(&world.estate.node);
    assert_eq!(error_of(&browser.get(&quiet).await).1, "login_required");
    let mut browser = world.signed_in().await;
    assert_eq!(error_of(&browser.get(&quiet).await).1, "consent_required");
    world.code(&mut browser, &[]).await;
    let location = browser.get(&quiet).await.header("location").unwrap().to_owned();
    assert!(parameter(&location, "code").is_some());
}

async fn an_id_token_hint_names_the_person_and_nobody_is_guessed(place: Place) {
    let world = World::start(&place).await;
    let node = &world.estate.node;
    let mut alice = world.signed_in().await;
    let code = world.code(&mut alice, &[("scope", "openid read write")]).await;
    let answer = world.redeem(&code, &[]).await;
    let hint = answer.json()["id_token"].as_str().unwrap().to_owned();
    let loud = world.path(&[("id_token_hint", &hint)]);
    let quiet = world.path(&[("id_token_hint", &hint), ("prompt", "none")]);
    let code_of = |answer: &Answer| parameter(answer.header("location").unwrap_or_default(), "code");
    assert!(code_of(&alice.get(&quiet).await).is_some());

    // In another person's session nobody is answered for her, and she is asked to sign in herself.
    let mut mallory = world.idp.sign_in(node, "mallory").await;
    node.advance(Ttl::from_seconds(1)).await;
    assert_eq!(error_of(&mallory.get(&quiet).await).1, "login_required");
    let back = async |browser: &mut Browser, subject: &str| {
        let location = browser.visit(&loud).await.header("location").unwrap().to_owned();
        assert_eq!(
            parameter(&location, "prompt").as_deref(),
            Some("login"),
            "{location}"
        );
        let now = crate::identity_provider::now(node);
        let path = world.idp.approve(&location, subject, &json!({}), now);
        browser.visit(&path).await
    };
    assert_eq!(error_of(&back(&mut mallory, "mallory").await).1, "login_required");
    assert!(code_of(&back(&mut mallory, "alice").await).is_some());

    // A hint that tells nobody is refused, and not left out.
    let other = world.estate.show("clients", "other-app").await["id"].clone();
    let unsigned = format!("{}.", hint.rsplit_once('.').unwrap().0);
    for (bad, client) in [
        ("x", world.app.as_str()),
        (&unsigned, &world.app),
        (&answer.token(), &world.app),
        (&hint, other.as_str().unwrap()),
    ] {
        let asked = [("id_token_hint", bad), ("client_id", client)];
        assert_eq!(
            error_of(&alice.get(&world.path(&asked)).await).1,
            "invalid_request",
            "{bad}"
        );
        let asked = [asked[0], asked[1], ("prompt", "none")];
        assert_eq!(
            error_of(&alice.get(&world.path(&asked)).await).1,
            "login_required",
            "{bad}"
        );
    }
    // It may be over.
    node.advance(Ttl::from_minutes(20)).await;
    assert!(code_of(&alice.get(&quiet).await).is_some());
}

async fn prompt_login_asks_once_and_not_for_ever(place: Place) {
    let world = World::start(&place).await;
    let mut browser = world.signed_in().await;
    world.estate.node.advance(Ttl::from_seconds(1)).await;
    let path = world.path(&[("prompt", "login")]);
    let sent = browser.visit(&path).await;
    let location = sent.header("location").unwrap().to_owned();
    assert_eq!(parameter(&location, "prompt").as_deref(), Some("login"));
    let back = world.idp.approve(
        &location,
        "alice",
        &json!({}),
        crate::identity_provider::now(&world.estate.node),
    );
    let page = browser.visit(&back).await;
    assert!(page.text().contains("Allow this agent?"), "{}", page.text());
    // A moment that we did not write, or for another request, does not count.
    for forged in ["&chancery_since=1.00", "&chancery_since=0."] {
        let answer = browser.get(&format!("{path}{forged}")).await;
        assert!(
            answer.header("location").unwrap().starts_with("/sign-in?"),
            "{forged}"
        );
    }
}

async fn an_old_proof_is_asked_for_again(place: Place) {
    let world = World::start(&place).await;
    let mut browser = world.signed_in().await;
    world.estate.node.advance(Ttl::from_minutes(2)).await;
    let young = browser.get(&world.path(&[("max_age", "300")])).await;
    assert!(young.header("location").unwrap().starts_with("/consent/"));
    let old = browser.get(&world.path(&[("max_age", "60")])).await;
    assert!(old.header("location").unwrap().starts_with("/sign-in?"));
    let quiet = browser
        .get(&world.path(&[("max_age", "60"), ("prompt", "none")]))
        .await;
    assert_eq!(error_of(&quiet).1, "login_required");
    let strong = browser.get(&world.path(&[("acr_values", "phr")])).await;
    assert!(
        strong.header("location").unwrap().contains("acr_values%3Dphr")
            || strong.header("location").unwrap().contains("acr_values=phr")
    );
}

async fn a_code_is_redeemed_once_and_its_second_use_ends_everything(place: Place) {
    let world = World::start(&place).await;
    let mut browser = world.signed_in().await;
    let code = world.code(&mut browser, &[]).await;
    let first = world.redeem(&code, &[]).await;
    let (token, refresh) = (
        first.token(),
        first.json()["refresh_token"].as_str().unwrap().to_owned(),
    );
    assert!(world.is_active(&token).await);
    world.estate.node.advance(Ttl::from_seconds(40)).await;
    assert_eq!(
        world.redeem(&code, &[]).await.error(),
        (400, "invalid_grant".to_owned())
    );
    assert!(!world.is_active(&token).await);
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", world.app.as_str()),
        ("refresh_token", refresh.as_str()),
    ];
    assert_eq!(
        world.estate.node.form("/token", &form).await.error().1,
        "invalid_grant"
    );
    assert_eq!(world.estate.events("agreement.reused").await.len(), 1);
    assert!(!place_has(&place, &world, &code).await);
}

/// Whether what is kept of events holds a text.
async fn place_has(_: &Place, world: &World, text: &str) -> bool {
    let events = world
        .estate
        .admin("GET", "/audit/events?limit=500", Value::Null)
        .await;
    events.to_string().contains(text)
}

async fn a_code_is_redeemed_once_among_many_at_once(place: Place) {
    let world = std::sync::Arc::new(World::start(&place).await);
    let mut browser = world.signed_in().await;
    let code = world.code(&mut browser, &[]).await;
    let tries: Vec<_> = (0..8)
        .map(|_| {
            let (world, code) = (world.clone(), code.clone());
            tokio::spawn(async move { world.redeem(&code, &[]).await })
        })
        .collect();
    let mut tokens = Vec::new();
    for answer in tries {
        let answer = answer.await.unwrap();
        if answer.status == 200 {
            tokens.push(answer.token());
        } else {
            assert_eq!(answer.error().1, "invalid_grant");
        }
    }
    assert_eq!(tokens.len(), 1);
    assert!(!world.is_active(&tokens[0]).await);
}

async fn a_code_is_for_its_client_verifier_redirect_and_minute(place: Place) {
    let world = World::start(&place).await;
    let mut browser = world.signed_in().await;
    let code = world.code(&mut browser, &[]).await;
    let other = world.estate.show("clients", "other-app").await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for (changes, error) in [
        (vec![("client_id", other.as_str())], "invalid_grant"),
        (vec![("code_verifier", "")], "invalid_request"),
        (vec![("code_verifier", CHALLENGE)], "invalid_grant"),
        (
            vec![("code_verifier", VERIFIER.get(1..).unwrap())],
            "invalid_grant",
        ),
        (vec![("redirect_uri", "")], "invalid_grant"),
        (
            vec![("redirect_uri", "https://app.example/other")],
            "invalid_grant",
        ),
        (vec![("code", "cac_guess")], "invalid_grant"),
        (vec![("resource", MAIL)], "invalid_target"),
    ] {
        assert_eq!(
            world.redeem(&code, &changes).await.error().1,
            error,
            "{changes:?}"
        );
    }
    // None of these spent it.
    world.redeem(&code, &[("resource", NOTES)]).await.token();
    let location = browser
        .get(&world.path(&[]))
        .await
        .header("location")
        .unwrap()
        .to_owned();
    let late = parameter(&location, "code").unwrap();
    world.estate.node.advance(Ttl::from_seconds(60)).await;
    assert_eq!(world.redeem(&late, &[]).await.error().1, "invalid_grant");
}

async fn a_code_ends_with_what_it_hangs_on(place: Place) {
    let world = World::start(&place).await;
    let mut browser = world.signed_in().await;
    let code = world.code(&mut browser, &[]).await;
    world.estate.kill("client", "app").await;
    world
        .estate
        .admin("POST", "/clients/app/activate", Value::Null)
        .await;
    assert_eq!(world.redeem(&code, &[]).await.error().1, "invalid_grant");
    // Taken back between the answer and the redemption: policy says no, by name.
    let location = browser
        .get(&world.path(&[]))
        .await
        .header("location")
        .unwrap()
        .to_owned();
    let code = parameter(&location, "code").unwrap();
    let grants = world.estate.events("grant.created").await;
    let grant = grants[0]["parts"]["state"]["name"].as_str().unwrap().to_owned();
    world.estate.kill("grant", &grant).await;
    assert_eq!(world.redeem(&code, &[]).await.error().1, "consent_required");
}

async fn a_token_never_exceeds_what_was_agreed_to(place: Place) {
    let world = World::start(&place).await;
    let mut browser = world.signed_in().await;
    // `delete` is above what staff holds: not on offer, and not given though a form asks for it.
    let (path, page) = world.asked(&mut browser, &[("scope", "read write delete")]).await;
    assert!(page.text().contains("1 more permission was asked for") && !page.text().contains("notes:delete"));
    let token = csrf(&page);
    let forged = [
        ("csrf", token.as_str()),
        ("answer", "allow"),
        ("scope", "notes:read"),
        ("scope", "notes:delete"),
    ];
    assert_eq!(browser.submit(&path, &forged).await.status, 404);
    let fair = [
        ("csrf", token.as_str()),
        ("answer", "allow"),
        ("scope", "notes:read"),
    ];
    let location = browser
        .submit(&path, &fair)
        .await
        .header("location")
        .unwrap()
        .to_owned();
    let code = parameter(&location, "code").unwrap();
    assert_eq!(
        world.redeem(&code, &[("scope", "read write")]).await.error().1,
        "invalid_scope"
    );
    assert_eq!(world.redeem(&code, &[]).await.scope(), "read");
}

async fn an_id_token_says_who_signed_in(place: Place) {
    let world = World::start(&place).await;
    let mut browser = Browser::at(&world.estate.node);
    let extra = json!({ "acr": "phr", "amr": ["hwk", "pin"] });
    world
        .idp
        .sign_in_with(&world.estate.node, &mut browser, ("alice", &extra))
        .await;
    let code = world
        .code(
            &mut browser,
            &[("scope", "openid read write"), ("nonce", "n-0S6")],
        )
        .await;
    let answer = world.redeem(&code, &[]).await;
    assert_eq!(answer.scope(), "openid read write");
    let said = claims(answer.json()["id_token"].as_str().unwrap());
    assert_eq!(said["aud"], world.app);
    assert_eq!((&said["iss"], &said["nonce"]), (&json!(BASE), &json!("n-0S6")));
    assert_eq!(
        (&said["acr"], &said["amr"]),
        (&json!("phr"), &json!(["hwk", "pin"]))
    );
    assert_eq!(said["sub"], answer.claims()["sub"]);
    assert!(
        said["sid"].as_str().unwrap().starts_with("ses_") && said["at_hash"].as_str().unwrap().len() == 22
    );
    // It is no access token, of ours or anybody's.
    assert!(!world.is_active(answer.json()["id_token"].as_str().unwrap()).await);
    let plain = world.path(&[]);
    let location = browser.get(&plain).await.header("location").unwrap().to_owned();
    let without = world.redeem(&parameter(&location, "code").unwrap(), &[]).await;
    assert!(without.json().get("id_token").is_none());
}

async fn user_info_is_for_tokens_of_chancery_itself(place: Place) {
    let world = World::start(&place).await;
    let mut browser = world.signed_in().await;
    let identity = [("scope", "openid profile"), ("resource", "")];
    let location = world.agree(&mut browser, &identity, &[]).await;
    let token = world
        .redeem(&parameter(&location, "code").unwrap(), &[])
        .await
        .token();
    let ask = async |token: &str| {
        world
            .estate
            .node
            .api("GET", "/userinfo", token, Value::Null)
            .await
    };
    let answer = ask(&token).await;
    assert_eq!(answer.json()["sub"], claims(&token)["sub"]);
    assert_eq!(answer.json()["preferred_username"], "company:alice");
    // Known by now, so that nobody is asked again.
    assert!(
        browser
            .get(&world.path(&identity))
            .await
            .header("location")
            .unwrap()
            .contains("code=")
    );
    let code = world.code(&mut browser, &[("scope", "openid read write")]).await;
    let at_notes = world.redeem(&code, &[]).await.token();
    assert_eq!(ask(&at_notes).await.status, 401);
    assert_eq!(ask("nonsense").await.status, 401);
    assert_eq!(
        world
            .estate
            .node
            .get("/userinfo")
            .await
            .header("www-authenticate"),
        Some("Bearer")
    );
}

async fn signing_out_ends_what_the_session_gave(place: Place) {
    let world = World::start(&place).await;
    let mut browser = world.signed_in().await;
    let code = world.code(&mut browser, &[]).await;
    let token = world.redeem(&code, &[]).await.token();
    let lasting = browser
        .get(&world.path(&[("scope", "read write offline_access")]))
        .await;
    let code = parameter(lasting.header("location").unwrap(), "code").unwrap();
    let offline = world.redeem(&code, &[]).await.token();
    let page = browser.get("/me/agents").await;
    browser.submit("/sign-out", &[("csrf", &csrf(&page))]).await;
    assert!(!world.is_active(&token).await);
    assert!(world.is_active(&offline).await);
}

async fn metadata_says_what_is_there(place: Place) {
    let world = World::start(&place).await;
    let said = world
        .estate
        .node
        .get("/.well-known/openid-configuration")
        .await
        .json();
    assert_eq!(said["response_types_supported"], json!(["code"]));
    assert_eq!(said["authorization_response_iss_parameter_supported"], true);
    assert_eq!(said["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(said["userinfo_endpoint"], format!("{BASE}/userinfo"));
    for grant in ["authorization_code", "refresh_token"] {
        assert!(said["grant_types_supported"].to_string().contains(grant));
    }
    assert_eq!(
        (
            &said["request_uri_parameter_supported"],
            &said["request_parameter_supported"]
        ),
        (&json!(false), &json!(false))
    );
    world.estate.node.add_tenant("acme").await;
    let said = world
        .estate
        .node
        .get("/t/acme/.well-known/openid-configuration")
        .await
        .json();
    assert_eq!(said["response_types_supported"], json!([]));
}
