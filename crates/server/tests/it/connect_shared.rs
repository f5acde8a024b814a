//! Accounts of an agent or of the whole tenant, that somebody connects on the page of people's own.

use crate::browser::*;
use crate::connect::Drive;
use crate::harness::*;
use crate::machine::body;
use crate::oauth_provider::OAuthProvider;
use axum::response::IntoResponse as _;
use http::StatusCode;
use serde_json::{Value, json};

on_both_engines!(
    an_administrator_connects_the_tenants_account,
    whoever_answers_for_the_connection_connects_its_account,
    nobody_else_connects_what_is_everybodys,
    an_agents_account_is_no_other_agents_and_no_persons,
    slack_installs_its_bot_for_the_tenant,
);

fn shared(provider: &OAuthProvider, level: &str) -> Value {
    let mut connection = provider.connection("drive", &json!({}));
    connection["owner_level"] = json!(level);
    connection["owner"] = json!("group:crew");
    connection
}

async fn at(place: &Place, level: &str) -> Drive {
    of(place, |provider| shared(provider, level)).await
}

async fn of(place: &Place, connection: impl FnOnce(&OAuthProvider) -> Value) -> Drive {
    let drive = Drive::of(place, connection).await;
    let mut company = drive.idp.trusted("company", &json!({}));
    company["claims"]["role_map"] = json!({ "boss": "administrator", "staff": "staff" });
    let grant = |agent: &str| json!({ "agent": agent, "principal": "itself", "resource": "drive", "scopes": ["read"] });
    let used = |agent: &str| json!({ "agent": agent, "principal": "itself", "connection": "drive" });
    let document = json!({ "trusted_issuers": [company],
        "grants": [grant("planner"), used("planner"), grant("helper")] });
    drive.estate.apply(document).await;
    drive
}

async fn signed_in(drive: &Drive, subject: &str, extra: Value) -> Browser {
    let node = &drive.estate.node;
    let mut browser = Browser::at(node);
    drive
        .idp
        .sign_in_with(node, &mut browser, (subject, &extra))
        .await;
    browser
}

/// Somebody connects, and is this subject there.
async fn connect(drive: &Drive, browser: &mut Browser, agent: &str, subject: &str) -> Answer {
    let page = browser.get(&format!("/connect/drive?agent={agent}")).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let token = csrf(&page);
    let form = [("csrf", token.as_str()), ("agent", agent), ("answer", "allow")];
    let begun = browser.submit("/connect/drive", &form).await;
    let location = begun.header("location").unwrap().to_owned();
    browser.get(&drive.provider.approve(&location, subject)).await
}

async fn use_by(drive: &Drive, agent: &str) -> Answer {
    let token = drive
        .estate
        .own(agent, &[("audience", "drive"), ("scope", "read")])
        .await;
    drive.call(&token.token()).await
}

async fn an_administrator_connects_the_tenants_account(place: Place) {
    let drive = at(&place, "tenant").await;
    assert_eq!(use_by(&drive, "planner").await.status, 403);
    let mut boss = signed_in(&drive, "boss", json!({ "roles": ["boss"] })).await;
    let page = boss.get("/connect/drive").await;
    assert!(
        page.text().contains("everybody") && !page.text().contains("For how long"),
        "{}",
        page.text()
    );
    let grants = drive.estate.events("grant.created").await.len();
    let done = connect(&drive, &mut boss, "", "company-there").await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(use_by(&drive, "planner").await.text(), "files of company-there");
    let account = drive.account().await;
    assert_eq!(
        (&account["spec"]["owner"], &account["status"]),
        (&json!("tenant"), &json!("connected"))
    );
    // Connecting grants nobody anything.
    assert_eq!(drive.estate.events("grant.created").await.len(), grants);
    assert_eq!(use_by(&drive, "helper").await.status, 403);
    // It is not on anybody's own page, and another account does not take its place unasked.
    assert!(!boss.get("/me/agents").await.text().contains("company-there"));
    let other = connect(&drive, &mut boss, "", "mallory-there").await;
    assert_eq!(other.status, 409, "{}", other.text());
}

async fn whoever_answers_for_the_connection_connects_its_account(place: Place) {
    let drive = at(&place, "tenant").await;
    let mut owner = signed_in(&drive, "olga", json!({ "groups": ["crew"] })).await;
    let done = connect(&drive, &mut owner, "", "company-there").await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(use_by(&drive, "planner").await.status, 200);
}

async fn nobody_else_connects_what_is_everybodys(place: Place) {
    let drive = at(&place, "tenant").await;
    let mut alice = drive.signed_in("alice").await;
    for path in ["/connect/drive", "/connect/drive?agent=planner"] {
        assert_eq!(alice.get(path).await.status, 403, "{path}");
    }
    // Nor by finishing what the owner began.
    let mut boss = signed_in(&drive, "boss", json!({ "roles": ["boss"] })).await;
    let token = csrf(&boss.get("/connect/drive").await);
    let begun = boss
        .submit("/connect/drive", &[("csrf", &token), ("answer", "allow")])
        .await;
    let back = drive
        .provider
        .approve(begun.header("location").unwrap(), "alice-there");
    assert_eq!(alice.get(&back).await.status, 400);
    assert_eq!(use_by(&drive, "planner").await.status, 403);
    assert!(drive.provider.asked("/token").is_empty());
}

async fn an_agents_account_is_no_other_agents_and_no_persons(place: Place) {
    let drive = at(&place, "agent").await;
    let used = json!({ "agent": "helper", "principal": "itself", "connection": "drive" });
    drive.estate.apply(json!({ "grants": [used] })).await;
    let mut boss = signed_in(&drive, "boss", json!({ "roles": ["boss"] })).await;
    assert_eq!(boss.get("/connect/drive").await.status, 404, "whose would it be");
    let done = connect(&drive, &mut boss, "planner", "planner-there").await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(use_by(&drive, "planner").await.text(), "files of planner-there");
    assert_eq!(use_by(&drive, "helper").await.status, 403);
    assert_eq!(
        drive.account().await["spec"]["owner"],
        json!({ "agent": "planner" })
    );
}

async fn slack_installs_its_bot_for_the_tenant(place: Place) {
    let drive = of(&place, |provider| {
        let url = &provider.url;
        json!({ "name": "drive", "base_url": format!("{url}/api"), "owner": "ops", "rules": [],
            "credential": { "oauth2": { "preset": "slack-bot", "client_id": "chancery", "scopes": ["chat:write", "users:read"],
                "endpoints": { "authorization": format!("{url}/authorize"), "token": format!("{url}/token"),
                    "revocation": format!("{url}/revoke") } } } })
    })
    .await;
    drive.provider.script(|asked| match asked.path.as_str() {
        "/token" => Some(body(&json!({ "ok": true, "access_token": "MARKER-access-xoxb", "token_type": "bot",
            "scope": "chat:write,users:read", "bot_user_id": "U0", "app_id": "A1", "team": { "id": "T1", "name": "Acme" },
            "authed_user": { "id": "U1" } }))),
        "/revoke" => Some(body(&json!({ "ok": true, "revoked": true }))),
        _ if asked.header("authorization") == "Bearer MARKER-access-xoxb" => Some("theirs".into_response()),
        _ => Some(StatusCode::UNAUTHORIZED.into_response()),
    });
    let mut boss = signed_in(&drive, "boss", json!({ "roles": ["boss"] })).await;
    let token = csrf(&boss.get("/connect/drive").await);
    let begun = boss
        .submit("/connect/drive", &[("csrf", &token), ("answer", "allow")])
        .await;
    let location = begun.header("location").unwrap().to_owned();
    assert_eq!(
        (
            parameter(&location, "scope").as_deref(),
            parameter(&location, "user_scope")
        ),
        (Some("chat:write,users:read"), None)
    );
    let done = boss.get(&drive.provider.approve(&location, "boss-there")).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(use_by(&drive, "planner").await.text(), "theirs");
    let account = drive.account().await;
    assert_eq!(
        account["spec"]["provider_account"],
        json!({ "subject": "T1", "label": "Acme" })
    );
    let path = format!("/connected_accounts/{}/retire", account["id"].as_str().unwrap());
    let gone = drive.estate.admin("POST", &path, Value::Null).await;
    assert_eq!(gone["revocation"], json!({ "outcome": "revoked" }));
    let asked = drive.provider.asked("/revoke").remove(0);
    assert_eq!(asked.header("authorization"), "Bearer MARKER-access-xoxb");
}
