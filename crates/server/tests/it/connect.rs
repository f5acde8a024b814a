//! Connecting an account at an OAuth 2 provider, and what others try with each step of it.

use crate::browser::*;
use crate::estate::*;
use crate::harness::*;
use crate::identity_provider::IdentityProvider;
use crate::oauth_provider::{CLIENT_SECRET, OAuthProvider};
use crate::outside;
use axum::body::Body;
use axum::response::IntoResponse as _;
use chancery_core::time::{Clock as _, Ttl};
use chancery_server::store::{Expect, Sql, Statement};
use http::{Request, StatusCode};
use serde_json::{Value, json};

on_both_engines!(
    a_person_connects_an_account_and_the_agent_uses_it,
    an_account_is_finished_by_the_session_that_began_it_alone,
    an_answer_is_used_once_and_in_time,
    an_account_connected_for_one_agent_is_not_anothers,
    one_persons_account_is_not_anothers,
    a_forged_yes_connects_nothing,
    a_no_changes_nothing,
    another_account_is_taken_only_where_the_person_said_so,
    a_provider_that_answers_nonsense_connects_nothing,
    a_shrunken_scope_is_shown,
    a_connection_that_changed_meanwhile_is_not_finished,
    tokens_do_not_follow_a_changed_destination,
    what_an_administrator_stopped_is_not_connected_again,
    disconnecting_revokes_at_the_provider,
    what_could_not_be_revoked_is_told_and_deleted,
    a_revocation_that_was_cut_off_is_gone_on_with,
    a_yes_lasts_as_long_and_as_often_as_was_said,
    no_token_of_a_provider_is_shown_or_kept_in_the_clear,
    taking_back_and_leaving_stop_the_very_next_use,
);

/// A provider behind the broker, and people who sign in.
pub(crate) struct Drive {
    pub(crate) estate: Estate,
    pub(crate) idp: IdentityProvider,
    pub(crate) provider: OAuthProvider,
}

impl Drive {
    pub(crate) async fn open(place: &Place) -> Self {
        Self::with(place, &json!({})).await
    }

    pub(crate) async fn with(place: &Place, oauth: &Value) -> Self {
        Self::of(place, |provider| provider.connection("drive", oauth)).await
    }

    /// With a connection of the test's own, called `drive`.
    pub(crate) async fn of(place: &Place, connection: impl FnOnce(&OAuthProvider) -> Value) -> Self {
        let idp = IdentityProvider::start(true).await;
        let provider = OAuthProvider::start().await;
        let limits = "off".parse().unwrap();
        let node = outside::node(place, |config, _| config.call_limits = limits).await;
        let estate = Estate::on(node, "").await;
        let mut document = drive(&connection(&provider));
        document["trusted_issuers"] = json!([idp.trusted("company", &json!({}))]);
        estate.apply(document).await;
        let secret = json!({ "secret": CLIENT_SECRET });
        estate.admin("PUT", "/connections/drive/secret", secret).await;
        Self {
            estate,
            idp,
            provider,
        }
    }

    pub(crate) async fn signed_in(&self, subject: &str) -> Browser {
        self.idp.sign_in(&self.estate.node, subject).await
    }

    /// A token of an agent for a person, for the broker.
    pub(crate) async fn token(&self, agent: &str, subject: &str) -> String {
        let person = self.idp.token(&self.estate.node, subject);
        let target = [("audience", "drive"), ("scope", "read")];
        self.estate
            .exchange_as(agent, (&person, JWT), &target)
            .await
            .token()
    }

    pub(crate) async fn call(&self, token: &str) -> Answer {
        let request = Request::get("/broker/drive/files")
            .header("host", "id.example")
            .header("authorization", format!("Bearer {token}"));
        self.estate.node.send(request.body(Body::empty()).unwrap()).await
    }

    /// What an agent gets for a person.
    pub(crate) async fn use_by(&self, agent: &str, subject: &str) -> Answer {
        let token = self.token(agent, subject).await;
        self.call(&token).await
    }

    /// The person says yes on our page: where the provider's is.
    pub(crate) async fn begun(&self, browser: &mut Browser, agent: &str, more: &[(&str, &str)]) -> String {
        let answer = self.agreed(browser, agent, more).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        answer.header("location").unwrap().to_owned()
    }

    async fn agreed(&self, browser: &mut Browser, agent: &str, more: &[(&str, &str)]) -> Answer {
        let page = browser.get(&format!("/connect/drive?agent={agent}")).await;
        assert_eq!(page.status, 200, "{}", page.text());
        let token = csrf(&page);
        let mut form = vec![("csrf", token.as_str()), ("agent", agent), ("answer", "allow")];
        form.extend_from_slice(more);
        if !more.iter().any(|(name, _)| *name == "lasts") {
            form.push(("lasts", "month"));
        }
        browser.submit("/connect/drive", &form).await
    }

    /// The person connects, and is this subject there.
    pub(crate) async fn connect(
        &self,
        browser: &mut Browser,
        (agent, subject): (&str, &str),
        more: &[(&str, &str)],
    ) -> Answer {
        let location = self.begun(browser, agent, more).await;
        browser.get(&self.provider.approve(&location, subject)).await
    }

    /// Changes the database as another node would, or as one that died left it.
    pub(crate) async fn edit(&self, sql: &'static str) {
        let sql = Sql::same(sql);
        let statement = Statement::new(&sql, Vec::new(), Expect::AtLeast(1), "edit");
        let app = &self.estate.node.app;
        let batch = app.batch(self.estate.node.clock.now()).push(statement);
        assert!(app.db.commit(batch).await.unwrap().is_committed());
    }

    /// The one account that there is.
    pub(crate) async fn account(&self) -> Value {
        let list = self.estate.admin("GET", "/connected_accounts", Value::Null).await;
        let items = list["items"].as_array().unwrap().clone();
        assert_eq!(items.len(), 1, "{items:?}");
        items[0].clone()
    }
}

fn drive(connection: &Value) -> Value {
    let grant = |agent: &str| json!({ "agent": agent, "principal": "tenant", "resource": "drive", "scopes": ["read"] });
    json!({
        "connections": [connection],
        "resources": [{
            "name": "drive", "scopes": { "read": { "sensitivity": "read" } }, "default_scopes": ["read"],
            "holders": { "staff": ["read"] },
            "upstream": { "http": { "connection": "drive", "routes": [
                { "methods": ["GET"], "path": "/**", "scopes": ["read"] } ] } },
        }],
        "agents": [
            { "name": "planner", "owner": "ops", "ceiling": { "notes": ["read"], "drive": ["read"] } },
            { "name": "helper", "owner": "ops", "ceiling": { "notes": ["read"], "drive": ["read"] } },
        ],
        "grants": [grant("planner"), grant("helper")],
    })
}

/// The address that an agent is told to send its person to, as a path.
fn link(answer: &Answer) -> String {
    assert_eq!(answer.problem(), (403, "account_not_connected".to_owned()));
    let problem = answer.json();
    let url = problem["hint"].as_str().unwrap().rsplit(' ').next().unwrap();
    url.strip_prefix(BASE).unwrap().to_owned()
}

async fn a_person_connects_an_account_and_the_agent_uses_it(place: Place) {
    let drive = Drive::open(&place).await;
    let refused = drive.use_by("planner", "alice").await;
    let path = link(&refused);
    assert_eq!(path, "/connect/drive?agent=planner");

    let mut browser = drive.signed_in("alice").await;
    let page = browser.get(&path).await;
    assert_eq!(page.status, 200);
    for shown in ["planner", "drive", "files.read", "127.0.0.1"] {
        assert!(page.text().contains(shown), "{shown}");
    }
    let location = drive.begun(&mut browser, "planner", &[]).await;
    assert_eq!(
        parameter(&location, "scope").as_deref(),
        Some("files.read profile")
    );
    assert_eq!(
        parameter(&location, "redirect_uri").as_deref(),
        Some("https://id.example/connect/callback")
    );
    let done = browser
        .get(&drive.provider.approve(&location, "alice-there"))
        .await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(done.text().contains("alice-there") && !done.text().contains("MARKER"));

    let answer = drive.use_by("planner", "alice").await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (200, "files of alice-there")
    );
    let account = drive.account().await;
    assert_eq!(
        (&account["status"], &account["spec"]["provider_account"]),
        (
            &json!("connected"),
            &json!({ "subject": "id-alice-there", "label": "alice-there" })
        )
    );
    let created = drive.estate.events("connected_account.created").await;
    assert_eq!(created.len(), 1, "{created:?}");
    let mine = browser.get("/me/agents").await.text();
    assert!(mine.contains("alice-there") && mine.contains("Disconnect"));
}

async fn an_account_is_finished_by_the_session_that_began_it_alone(place: Place) {
    let drive = Drive::open(&place).await;
    let mut alice = drive.signed_in("alice").await;
    let location = drive.begun(&mut alice, "planner", &[]).await;
    let back = drive.provider.approve(&location, "alice-there");
    // Whoever is sent the way back: somebody else, the same person elsewhere, nobody.
    let mut mallory = drive.signed_in("mallory").await;
    let mut elsewhere = drive.signed_in("alice").await;
    let mut nobody = Browser::at(&drive.estate.node);
    for browser in [&mut mallory, &mut elsewhere, &mut nobody] {
        let answer = browser.get(&back).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains("connect_over"));
    }
    assert!(drive.provider.asked("/token").is_empty(), "the code went nowhere");
    // It is still Alice's to finish.
    assert_eq!(alice.get(&back).await.status, 200);
    assert_eq!(drive.use_by("planner", "alice").await.status, 200);
    link(&drive.use_by("planner", "mallory").await);
}

async fn an_answer_is_used_once_and_in_time(place: Place) {
    let drive = Drive::open(&place).await;
    let mut alice = drive.signed_in("alice").await;
    let location = drive.begun(&mut alice, "planner", &[]).await;
    let back = drive.provider.approve(&location, "alice-there");
    let tries: Vec<_> = (0..4)
        .map(|_| {
            let (mut browser, back) = (alice.clone(), back.clone());
            tokio::spawn(async move { browser.get(&back).await.status })
        })
        .collect();
    let mut finished = 0;
    for status in tries {
        finished += usize::from(status.await.unwrap() == 200);
    }
    assert_eq!(finished, 1);
    assert_eq!(drive.provider.asked("/token").len(), 1);
    let again = drive.provider.approve(&location, "alice-there");
    assert_eq!(alice.get(&again).await.status, 400, "its state is spent");

    let late = drive.begun(&mut alice, "planner", &[]).await;
    let back = drive.provider.approve(&late, "alice-there");
    drive.estate.node.advance(Ttl::from_minutes(10)).await;
    assert_eq!(alice.get(&back).await.status, 400);
    let forged = back.replace("state=ccs_", "state=ccs_x");
    for path in [forged.as_str(), "/connect/callback", "/connect/callback?code=x"] {
        assert_eq!(alice.get(path).await.status, 400, "{path}");
    }
}

async fn an_account_connected_for_one_agent_is_not_anothers(place: Place) {
    let drive = Drive::open(&place).await;
    let mut alice = drive.signed_in("alice").await;
    drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
    let refused = drive.use_by("helper", "alice").await;
    assert_eq!(link(&refused), "/connect/drive?agent=helper");
    // Her yes is enough: the account is there.
    drive.provider.asked("/token");
    let answer = drive
        .agreed(&mut alice, "helper", &[("account", "connected")])
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (303, Some("/me/agents"))
    );
    assert_eq!(drive.use_by("helper", "alice").await.status, 200);
    assert!(drive.provider.asked("/token").is_empty());
}

async fn one_persons_account_is_not_anothers(place: Place) {
    let drive = Drive::open(&place).await;
    let mut alice = drive.signed_in("alice").await;
    drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
    link(&drive.use_by("planner", "bob").await);
    let name = drive.account().await["id"].as_str().unwrap().to_owned();
    let mut bob = drive.signed_in("bob").await;
    let token = csrf(&bob.get("/me/agents").await);
    let path = format!("/me/accounts/{name}/disconnect");
    assert_eq!(bob.submit(&path, &[("csrf", &token)]).await.status, 404);
    drive.connect(&mut bob, ("planner", "bob-there"), &[]).await;
    let answers = [
        drive.use_by("planner", "alice").await,
        drive.use_by("planner", "bob").await,
    ];
    assert_eq!(
        answers.map(|answer| answer.text()),
        ["files of alice-there", "files of bob-there"]
    );
}

async fn a_forged_yes_connects_nothing(place: Place) {
    let drive = Drive::open(&place).await;
    let mut alice = drive.signed_in("alice").await;
    let page = alice.get("/connect/drive?agent=planner").await;
    let token = csrf(&page);
    let with = [
        ("csrf", token.as_str()),
        ("agent", "planner"),
        ("answer", "allow"),
    ];
    let foreign = [("origin", "https://evil.example")];
    assert_eq!(
        alice.submit_from("/connect/drive", &with, &foreign).await.status,
        403
    );
    assert_eq!(alice.submit("/connect/drive", &with[1..]).await.status, 403);
    let mut nobody = Browser::at(&drive.estate.node);
    let asked = nobody.get("/connect/drive?agent=planner").await;
    assert!(asked.header("location").unwrap().starts_with("/sign-in?"));
    for path in [
        "/connect/drive?agent=nobody",
        "/connect/drive",
        "/connect/none?agent=planner",
    ] {
        assert_eq!(alice.get(path).await.status, 404, "{path}");
    }
}

async fn a_no_changes_nothing(place: Place) {
    let drive = Drive::open(&place).await;
    let mut alice = drive.signed_in("alice").await;
    let token = csrf(&alice.get("/connect/drive?agent=planner").await);
    let no = [("csrf", token.as_str()), ("agent", "planner"), ("answer", "deny")];
    assert_eq!(alice.submit("/connect/drive", &no).await.status, 200);
    // Or there.
    let location = drive.begun(&mut alice, "planner", &[]).await;
    let state = parameter(&location, "state").unwrap();
    let back = format!("/connect/callback?error=access_denied&state={state}");
    let answer = alice.get(&back).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("access_denied"));
    link(&drive.use_by("planner", "alice").await);
}

async fn another_account_is_taken_only_where_the_person_said_so(place: Place) {
    let drive = Drive::open(&place).await;
    let mut alice = drive.signed_in("alice").await;
    drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
    let same = [("account", "same")];
    let other = drive
        .connect(&mut alice, ("planner", "mallory-there"), &same)
        .await;
    assert_eq!(other.status, 409);
    assert!(other.text().contains("other_account") && other.text().contains("alice-there"));
    assert_eq!(
        drive.use_by("planner", "alice").await.text(),
        "files of alice-there"
    );
    let again = drive.connect(&mut alice, ("planner", "alice-there"), &same).await;
    assert_eq!(again.status, 200);
    let any = [("account", "any")];
    let other = drive.connect(&mut alice, ("planner", "work-there"), &any).await;
    assert_eq!(other.status, 200);
    assert_eq!(
        drive.use_by("planner", "alice").await.text(),
        "files of work-there"
    );
}

async fn a_provider_that_answers_nonsense_connects_nothing(place: Place) {
    let drive = Drive::open(&place).await;
    let mut alice = drive.signed_in("alice").await;
    let token = |body: Value| (StatusCode::OK, axum::Json(body)).into_response();
    for (path, number) in (0..7).map(|number| (if number < 5 { "/token" } else { "/me" }, number)) {
        drive.provider.script(move |asked| {
            (asked.path == path).then(|| match number {
                0 => "<html>".into_response(),
                1 => token(json!({ "error": "bad_verification_code" })),
                2 => token(json!({ "ok": false, "error": "invalid_code" })),
                3 => token(json!({ "access_token": "a\r\nb", "token_type": "Bearer" })),
                4 => StatusCode::BAD_GATEWAY.into_response(),
                5 => token(json!({ "login": "nobody" })),
                _ => StatusCode::FOUND.into_response(),
            })
        });
        let answer = drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
        assert_eq!(answer.status, 502, "{number} {}", answer.text());
    }
    drive.provider.behave();
    link(&drive.use_by("planner", "alice").await);
    let list = drive
        .estate
        .admin("GET", "/connected_accounts", Value::Null)
        .await;
    assert_eq!(list["items"], json!([]));
}

async fn a_shrunken_scope_is_shown(place: Place) {
    let drive = Drive::open(&place).await;
    drive.provider.script(|asked| {
        let body = json!({ "access_token": "MARKER-access-x", "token_type": "bearer", "scope": "profile" });
        match asked.path.as_str() {
            "/token" => Some(axum::Json(body).into_response()),
            "/me" => Some(axum::Json(json!({ "id": 7, "login": "alice" })).into_response()),
            _ => None,
        }
    });
    let mut alice = drive.signed_in("alice").await;
    let done = drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let account = drive.account().await;
    assert_eq!(account["spec"]["scopes"], json!(["profile"]));
    assert_eq!(account["spec"]["provider_account"]["subject"], "7");
}

async fn a_connection_that_changed_meanwhile_is_not_finished(place: Place) {
    let drive = Drive::open(&place).await;
    let mut alice = drive.signed_in("alice").await;
    let location = drive.begun(&mut alice, "planner", &[]).await;
    let evil = OAuthProvider::start().await;
    let elsewhere = evil.connection("drive", &json!({}));
    drive.estate.apply(json!({ "connections": [elsewhere] })).await;
    let back = drive.provider.approve(&location, "alice-there");
    let answer = alice.get(&back).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(evil.asked("/token").is_empty(), "the code went nowhere else");
}

async fn tokens_do_not_follow_a_changed_destination(place: Place) {
    let drive = Drive::open(&place).await;
    let mut alice = drive.signed_in("alice").await;
    drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
    let evil = OAuthProvider::start().await;
    let elsewhere = evil.connection("drive", &json!({}));
    drive.estate.apply(json!({ "connections": [elsewhere] })).await;
    link(&drive.use_by("planner", "alice").await);
    assert_eq!(drive.account().await["status"], "needs_consent");
    drive.estate.node.advance(Ttl::from_minutes(70)).await;
    link(&drive.use_by("planner", "alice").await);
    // Nor does the secret that proves us.
    let mut alice = drive.signed_in("alice").await;
    let page = alice.get("/connect/drive?agent=planner").await;
    let form = [("csrf", &*csrf(&page)), ("agent", "planner"), ("answer", "allow")];
    let begun = alice.submit("/connect/drive", &form).await;
    assert_eq!(begun.status, 503, "{}", begun.text());
    for path in ["/token", "/revoke", "/api/files", "/me"] {
        assert!(evil.asked(path).is_empty(), "{path}");
    }
}

async fn what_an_administrator_stopped_is_not_connected_again(place: Place) {
    let drive = Drive::open(&place).await;
    let mut alice = drive.signed_in("alice").await;
    drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
    let grants = drive.estate.admin("GET", "/grants", Value::Null).await;
    let grants = grants["items"].as_array().unwrap().clone();
    let grant = grants.iter().find(|grant| grant["spec"]["connection"] == "drive");
    let name = grant.unwrap()["name"].as_str().unwrap().to_owned();
    drive.estate.kill("grant", &name).await;
    assert_eq!(drive.use_by("planner", "alice").await.status, 403);
    let answer = alice.get("/connect/drive?agent=planner").await;
    assert_eq!(answer.status, 409, "{}", answer.text());
}

async fn disconnecting_revokes_at_the_provider(place: Place) {
    let drive = Drive::open(&place).await;
    let mut alice = drive.signed_in("alice").await;
    drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
    let token = drive.token("planner", "alice").await;
    assert_eq!(drive.call(&token).await.status, 200);
    let id = drive.account().await["id"].as_str().unwrap().to_owned();
    let csrf = csrf(&alice.get("/me/agents").await);
    let path = format!("/me/accounts/{id}/disconnect");
    let answer = alice.submit(&path, &[("csrf", &csrf)]).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    let asked = drive.provider.asked("/revoke").remove(0);
    assert_eq!(asked.form["token"], "MARKER-refresh-1-of-alice-there");
    assert_eq!(asked.form["token_type_hint"], "refresh_token");
    assert_eq!(drive.provider.in_force(), 0);
    assert_ne!(drive.call(&token).await.status, 200, "the very next use");
    let events = drive.estate.events("connected_account.revoked").await;
    assert_eq!(events[0]["outcome"], "ok");
    // A new account may be connected.
    drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
    assert_eq!(drive.use_by("planner", "alice").await.status, 200);
}

async fn what_could_not_be_revoked_is_told_and_deleted(place: Place) {
    let drive = Drive::open(&place).await;
    let mut alice = drive.signed_in("alice").await;
    drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
    drive
        .provider
        .script(|asked| (asked.path == "/revoke").then(|| StatusCode::SERVICE_UNAVAILABLE.into_response()));
    let id = drive.account().await["id"].as_str().unwrap().to_owned();
    let path = format!("/connected_accounts/{id}/retire");
    let gone = drive.estate.admin("POST", &path, Value::Null).await;
    assert_eq!(gone["revocation"]["outcome"], "not_revoked", "{gone}");
    assert!(gone["revocation"]["reason"].as_str().unwrap().contains("503"));
    let event = drive.estate.events("connected_account.revoked").await.remove(0);
    assert_eq!(event["outcome"], "failed");
    link(&drive.use_by("planner", "alice").await);
    drive
        .edit(
            "UPDATE connections SET updated_at = updated_at WHERE NOT EXISTS (SELECT 1 FROM provider_tokens)",
        )
        .await;
}

async fn a_revocation_that_was_cut_off_is_gone_on_with(place: Place) {
    let drive = Drive::open(&place).await;
    let mut alice = drive.signed_in("alice").await;
    drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
    let id = drive.account().await["id"].as_str().unwrap().to_owned();
    // As a node leaves it that dies between the two batches of a disconnect.
    drive
        .edit("UPDATE provider_tokens SET state = 'revoking', attempt = attempt + 1")
        .await;
    link(&drive.use_by("planner", "alice").await);
    drive.estate.node.expire().await;
    assert!(
        drive.provider.asked("/revoke").is_empty(),
        "it may still be under way"
    );
    drive.estate.node.advance(Ttl::from_minutes(2)).await;
    drive.estate.node.expire().await;
    drive.estate.node.expire().await;
    assert_eq!(drive.provider.asked("/revoke").len(), 1);
    assert_eq!(drive.provider.in_force(), 0);
    let event = drive.estate.events("connected_account.revoked").await.remove(0);
    assert_eq!(event["outcome"], "ok", "{id}");
}

async fn a_yes_lasts_as_long_and_as_often_as_was_said(place: Place) {
    let drive = Drive::open(&place).await;
    let mut alice = drive.signed_in("alice").await;
    // The clock stands at noon.
    let twice = [("budget", "2")];
    drive
        .connect(&mut alice, ("planner", "alice-there"), &twice)
        .await;
    for expected in [200, 200, 403] {
        assert_eq!(drive.use_by("planner", "alice").await.status.as_u16(), expected);
    }
    let hours = [("account", "connected"), ("from", "13"), ("until", "14")];
    drive.agreed(&mut alice, "planner", &hours).await;
    assert_eq!(drive.use_by("planner", "alice").await.status, 403);
    drive.estate.node.advance(Ttl::from_minutes(65)).await;
    // She is away: nobody is signed in any more, and the agent goes on.
    assert_eq!(drive.use_by("planner", "alice").await.status, 200);
    drive.estate.node.advance(Ttl::from_minutes(60)).await;
    assert_eq!(drive.use_by("planner", "alice").await.status, 403);
}

async fn no_token_of_a_provider_is_shown_or_kept_in_the_clear(place: Place) {
    let drive = Drive::open(&place).await;
    let mut alice = drive.signed_in("alice").await;
    let mut said = Vec::new();
    let done = drive.connect(&mut alice, ("planner", "alice-there"), &[]).await;
    said.extend(done.body);
    drive.estate.node.advance(Ttl::from_minutes(59)).await;
    said.extend(drive.use_by("planner", "alice").await.body);
    for path in [
        "/connected_accounts",
        "/connections/drive",
        "/export",
        "/audit/events?limit=500",
    ] {
        let answer = drive.estate.try_admin("GET", path, Value::Null).await;
        assert_eq!(answer.status, 200, "{path}");
        said.extend(answer.body);
    }
    said.extend(alice.get("/me/agents").await.body);
    let id = drive.account().await["id"].as_str().unwrap().to_owned();
    let path = format!("/connected_accounts/{id}/retire");
    said.extend(drive.estate.try_admin("POST", &path, Value::Null).await.body);
    if place.is_postgres() {
        said.extend(place.dump().await);
    } else {
        let file = place.text.strip_prefix("sqlite:").unwrap();
        said.extend(std::fs::read(file).unwrap());
        said.extend(std::fs::read(format!("{file}-wal")).unwrap_or_default());
    }
    for secret in [
        "MARKER-access",
        "MARKER-refresh",
        "MARKER-client-secret",
        "MARKER-code",
        "ccs_",
    ] {
        let found = memchr::memmem::find(&said, secret.as_bytes());
        assert_eq!(found, None, "{secret}");
    }
    // The search can find.
    assert!(memchr::memmem::find(&said, b"alice-there").is_some());
}

async fn taking_back_and_leaving_stop_the_very_next_use(place: Place) {
    let drive = Drive::open(&place).await;
    let mut alice = drive.signed_in("alice").await;
    drive
        .connect(&mut alice, ("planner", "alice-there"), &[("lasts", "always")])
        .await;
    let token = drive.token("planner", "alice").await;
    assert_eq!(drive.call(&token).await.status, 200);
    let page = alice.get("/me/agents").await;
    let text = page.text();
    let grants = text.split("/me/grants/").nth(1).unwrap();
    let path = format!("/me/grants/{}/revoke", grants.split('/').next().unwrap());
    let form = [("csrf", &*csrf(&page))];
    assert_eq!(alice.submit(&path, &form).await.status, 303);
    link(&drive.call(&token).await);

    drive
        .agreed(
            &mut alice,
            "planner",
            &[("account", "connected"), ("lasts", "always")],
        )
        .await;
    let token = drive.token("planner", "alice").await;
    assert_eq!(drive.call(&token).await.status, 200);
    let user = drive.account().await["spec"]["owner"]["user"].clone();
    drive.estate.kill("user", user.as_str().unwrap()).await;
    assert_eq!(drive.call(&token).await.status, 401);
    assert_eq!(drive.provider.asked("/api/files").len(), 2);
}
