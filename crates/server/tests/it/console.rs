//! The administrators' console: every page asks policy for whoever is signed in, and changes only by its own forms.

use crate::approval::{caller, prepare};
use crate::browser::*;
use crate::estate::*;
use crate::harness::*;
use crate::identity_provider::IdentityProvider;
use crate::outside;
use chancery_server::govern::audit::list_near;
use chancery_server::store::event::EventFilter;
use serde_json::{Value, json};

on_both_engines!(
    an_administrator_sees_agents_and_one_with_its_clients_and_grants,
    whoever_is_nobody_is_refused_plainly_on_every_page,
    connections_are_shown_with_whose_accounts_there_are,
    an_auditor_looks_and_changes_nothing,
    an_owner_sees_and_stops_what_they_own_alone,
    a_kill_is_rehearsed_and_then_stops_at_once,
    a_form_of_another_site_stops_nothing,
    a_waiting_client_is_adopted_with_its_own_words_set_apart,
    a_decision_is_shown_with_its_table,
    the_audit_explorer_filters_and_goes_on,
    what_is_far_back_is_found_a_stretch_at_a_time,
);

const PAGES: [&str; 9] = [
    "/console/agents",
    "/console/agents/planner",
    "/console/agents/planner/kill",
    "/console/agents/planner/suspend",
    "/console/connections",
    "/console/clients",
    "/console/decisions",
    "/console/audit",
    "/console/audit?agent=planner",
];

async fn world(place: &Place) -> (Estate, IdentityProvider) {
    let idp = IdentityProvider::start(true).await;
    let node = outside::node(place, |_, _| {}).await;
    let estate = Estate::on(node, "").await;
    let mut company = idp.trusted("company", &json!({}));
    // Only an explicit entry gives a built-in role.
    company["claims"]["role_map"] = json!({ "boss": "administrator", "checker": "auditor" });
    estate.apply(json!({ "trusted_issuers": [company] })).await;
    (estate, idp)
}

async fn person(estate: &Estate, idp: &IdentityProvider, name: &str, roles: &[&str]) -> Browser {
    let mut browser = Browser::at(&estate.node);
    let claims = json!({ "roles": roles });
    idp.sign_in_with(&estate.node, &mut browser, (name, &claims))
        .await;
    browser
}

async fn an_administrator_sees_agents_and_one_with_its_clients_and_grants(place: Place) {
    let (estate, idp) = world(&place).await;
    estate.planner_for_alice("read").await.token();
    let mut browser = person(&estate, &idp, "boss", &["boss"]).await;
    for page in PAGES {
        let answer = browser.get(page).await;
        assert_eq!(answer.status, 200, "{page}: {}", answer.text());
        assert!(
            answer
                .header("content-security-policy")
                .unwrap()
                .contains("frame-ancestors 'none'")
        );
    }
    let list = browser.get("/console/agents").await.text();
    assert!(list.contains("/console/agents/planner") && list.contains("ops"));
    let none = browser.get("/console/agents?state=retired").await.text();
    assert!(!none.contains("/console/agents/planner"));
    let one = browser.get("/console/agents/planner").await.text();
    for part in [
        "planner-key",
        "private_key_jwt",
        "alice-notes",
        "was given a token for notes",
    ] {
        assert!(one.contains(part), "{part}: {one}");
    }
}

async fn whoever_is_nobody_is_refused_plainly_on_every_page(place: Place) {
    let (estate, idp) = world(&place).await;
    let mut stranger = Browser::at(&estate.node);
    for page in PAGES {
        let answer = stranger.get(page).await;
        assert!(
            answer
                .header("location")
                .is_some_and(|to| to.starts_with("/sign-in?")),
            "{page}"
        );
    }
    let mut nobody = person(&estate, &idp, "nobody", &[]).await;
    for page in PAGES {
        let answer = nobody.get(page).await;
        assert_eq!(answer.status, 403, "{page}");
        assert!(
            answer.text().contains("denied_by_policy") && !answer.text().contains("planner-key"),
            "{page}"
        );
    }
}

async fn connections_are_shown_with_whose_accounts_there_are(place: Place) {
    let (estate, idp) = world(&place).await;
    let connection = json!({
        "name": "hub", "base_url": "https://hub.example", "owner_level": "agent", "owner": "ops",
        "credential": { "api_key": { "parts": [{ "name": "key", "placement": { "header": { "name": "X-Key" } } }] } },
        "rules": [
            { "effect": "allow", "path": "/**" }, { "effect": "deny", "methods": ["POST"], "path": "/keys" },
        ],
    });
    estate.apply(json!({ "connections": [connection] })).await;
    let account = json!({
        "connection": "hub", "owner": { "agent": "planner" }, "values": { "key": "MARKER-console" },
    });
    estate.admin("POST", "/connected_accounts", account).await;
    let mut boss = person(&estate, &idp, "boss", &["boss"]).await;
    let list = boss.get("/console/connections").await.text();
    assert!(list.contains("/console/connections/hub") && list.contains("https://hub.example"));
    let page = boss.get("/console/connections/hub").await;
    for shown in ["agent:planner", "deny POST /keys", "never leaves", "connected"] {
        assert!(page.text().contains(shown), "{shown}: {}", page.text());
    }
    assert!(!page.text().contains("MARKER"));

    // Looking stops nothing; the form does, and only its own.
    let kill = "/console/connections/hub/kill";
    let rehearsed = boss.get(kill).await;
    assert_eq!(estate.show("connections", "hub").await["state"], "active");
    let mut auditor = person(&estate, &idp, "auditor", &["checker"]).await;
    let theirs = csrf(&auditor.get("/console/connections/hub").await);
    assert_eq!(auditor.submit(kill, &[("csrf", &theirs)]).await.status, 403);
    assert_eq!(boss.submit(kill, &[("csrf", "forged")]).await.status, 403);
    let done = boss.submit(kill, &[("csrf", &csrf(&rehearsed))]).await;
    assert_eq!(done.header("location"), Some("/console/connections/hub"));
    assert_eq!(estate.show("connections", "hub").await["state"], "suspended");
    let mut nobody = person(&estate, &idp, "mallory", &[]).await;
    for path in ["/console/connections", "/console/connections/hub", kill] {
        assert_eq!(nobody.get(path).await.status, 403, "{path}");
    }
}

async fn an_auditor_looks_and_changes_nothing(place: Place) {
    let (estate, idp) = world(&place).await;
    let mut auditor = person(&estate, &idp, "auditor", &["checker"]).await;
    let page = auditor.get("/console/agents/planner").await;
    assert_eq!(page.status, 200);
    let token = csrf(&page);
    assert_eq!(auditor.get("/console/audit").await.status, 200);
    for step in ["suspend", "kill"] {
        let path = format!("/console/agents/planner/{step}");
        assert_eq!(
            auditor.submit(&path, &[("csrf", &token)]).await.status,
            403,
            "{step}"
        );
    }
    assert_eq!(estate.show("agents", "planner").await["state"], "active");
}

async fn an_owner_sees_and_stops_what_they_own_alone(place: Place) {
    let (estate, idp) = world(&place).await;
    let mut owner = person(&estate, &idp, "carol", &[]).await;
    let users = estate.admin("GET", "/users?limit=500", Value::Null).await;
    let carol = users["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|user| user["spec"]["subject"] == "carol")
        .unwrap()["name"]
        .clone();
    estate.change("agents", "helper", json!({ "owner": carol })).await;
    let page = owner.get("/console/agents/helper").await;
    assert_eq!(page.status, 200);
    assert_eq!(owner.get("/console/agents/planner").await.status, 403);
    let token = csrf(&page);
    let stopped = owner
        .submit("/console/agents/helper/suspend", &[("csrf", &token)])
        .await;
    assert_eq!(stopped.header("location"), Some("/console/agents/helper"));
    assert_eq!(estate.show("agents", "helper").await["state"], "suspended");
    let other = owner
        .submit("/console/agents/planner/suspend", &[("csrf", &token)])
        .await;
    assert_eq!(other.status, 403);
}

async fn a_kill_is_rehearsed_and_then_stops_at_once(place: Place) {
    let (estate, idp) = world(&place).await;
    let issued = estate.planner_for_alice("read").await.token();
    let mut boss = person(&estate, &idp, "boss", &["boss"]).await;
    let page = boss.get("/console/agents/planner/kill").await;
    assert!(page.text().contains("client(s) of the agent") && page.text().contains("until they end"));
    assert!(
        estate.is_active("planner", &issued).await,
        "looking stops nothing"
    );
    let done = boss
        .submit("/console/agents/planner/kill", &[("csrf", &csrf(&page))])
        .await;
    assert_eq!(
        (done.status.as_u16(), done.header("location")),
        (303, Some("/console/agents/planner"))
    );
    assert_eq!(estate.show("agents", "planner").await["state"], "suspended");
    let events = estate.events("agent.killed").await;
    assert!(events[0]["sentence"].as_str().unwrap().contains("planner"));
    let resumed = boss
        .submit("/console/agents/planner/activate", &[("csrf", &csrf(&page))])
        .await;
    assert_eq!(resumed.status, 303);
    assert!(!estate.is_active("planner", &issued).await, "nothing revives");
}

async fn a_form_of_another_site_stops_nothing(place: Place) {
    let (estate, idp) = world(&place).await;
    let mut boss = person(&estate, &idp, "boss", &["boss"]).await;
    let token = csrf(&boss.get("/console/agents/planner/kill").await);
    let path = "/console/agents/planner/kill";
    let evil = [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.example"),
    ];
    assert_eq!(
        boss.submit_from(path, &[("csrf", &token)], &evil).await.status,
        403
    );
    for pairs in [&[][..], &[("csrf", "00")], &[("csrf", "")]] {
        assert_eq!(boss.submit(path, pairs).await.status, 403);
    }
    assert_eq!(estate.show("agents", "planner").await["state"], "active");
}

async fn a_waiting_client_is_adopted_with_its_own_words_set_apart(place: Place) {
    let (estate, idp) = world(&place).await;
    let body = json!({
        "redirect_uris": ["https://app.example/callback"], "client_name": "<script>alert(1)</script> Payroll",
    });
    let request = http::Request::post("/register")
        .header("host", "id.example")
        .header("content-type", "application/json");
    let answer = estate
        .node
        .send(request.body(axum::body::Body::from(body.to_string())).unwrap())
        .await;
    let id = answer.json()["client_id"].as_str().unwrap().to_owned();
    let mut boss = person(&estate, &idp, "boss", &["boss"]).await;
    let page = boss.get("/console/clients").await;
    let text = page.text();
    assert!(text.contains(&id) && text.contains("https://app.example/callback"));
    assert!(!text.contains("<script>alert") && text.contains("class=\"says\""));
    let path = format!("/console/clients/{id}/adopt");
    let mut nobody = person(&estate, &idp, "nobody", &[]).await;
    let own = csrf(&nobody.get("/me/agents").await);
    let refused = nobody
        .submit(&path, &[("csrf", &own), ("agent", "planner")])
        .await;
    assert_eq!(refused.status, 403);
    let form = [("csrf", csrf(&page)), ("agent", "planner".to_owned())];
    let pairs: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(
        boss.submit(&path, &pairs).await.header("location"),
        Some("/console/agents/planner")
    );
    assert_eq!(estate.show("clients", &id).await["spec"]["agent"], "planner");
    assert!(!boss.get("/console/clients").await.text().contains(&id));
}

async fn a_decision_is_shown_with_its_table(place: Place) {
    let (estate, idp) = world(&place).await;
    assert_eq!(estate.planner_for_alice("delete").await.status, 400);
    let mut boss = person(&estate, &idp, "boss", &["boss"]).await;
    let list = boss.get("/console/decisions?outcome=denied").await.text();
    let href = list.split("href=\"/console/decisions/").nth(1).unwrap();
    let id = href.split('"').next().unwrap();
    let page = boss.get(&format!("/console/decisions/{id}")).await;
    assert_eq!(page.status, 200);
    for part in ["<th scope=\"col\">holders</th>", "delete", "What was missing"] {
        assert!(page.text().contains(part), "{part}: {}", page.text());
    }
    assert_eq!(
        boss.get("/console/decisions/dec_00000000000000000000000000")
            .await
            .status,
        422
    );
}

async fn the_audit_explorer_filters_and_goes_on(place: Place) {
    let (estate, idp) = world(&place).await;
    let mut boss = person(&estate, &idp, "boss", &["boss"]).await;
    for _ in 0..51 {
        estate.own("planner", &[("resource", NOTES)]).await.token();
    }
    let first = boss
        .get("/console/audit?kind=token.issued&agent=planner")
        .await
        .text();
    assert_eq!(first.matches("</span> <code>token.issued</code>").count(), 50);
    let next = first
        .split("href=\"/console/audit?")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let next = format!(
        "/console/audit?{}",
        next.replace("&#38;", "&").replace("&amp;", "&")
    );
    let second = boss.get(&next).await.text();
    assert_eq!(second.matches("</span> <code>token.issued</code>").count(), 1);
    let none = boss
        .get("/console/audit?kind=token.issued&outcome=denied")
        .await
        .text();
    assert_eq!(none.matches("</span> <code>token.issued</code>").count(), 0);
    let other = boss.get("/console/audit?agent=nobody-there").await;
    assert_eq!(other.status, 404);
}

async fn what_is_far_back_is_found_a_stretch_at_a_time(place: Place) {
    let (estate, _) = world(&place).await;
    prepare(&estate, "").await;
    estate.own("planner", &[("resource", NOTES)]).await.token();
    for _ in 0..12 {
        estate.own("helper", &[("resource", NOTES)]).await.token();
    }
    let planner = estate.show("agents", "planner").await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let app = &estate.node.app;
    let served = app.tenants.find_by_name("default");
    let (served, carol) = (served.unwrap(), caller(&estate, "carol").await);
    let (mut before, mut looked, mut found) = (i64::MAX, 0, Vec::new());
    loop {
        let filter = EventFilter {
            before,
            since: 0,
            kind: "token.issued",
            id: &planner,
            limit: 10,
        };
        let (entries, next) = list_near(app, &served, &carol, filter, 5).await.unwrap();
        found.extend(entries);
        looked += 1;
        match next {
            Some(next) => {
                assert!(next < before, "it must go on");
                before = next;
            }
            None => break,
        }
    }
    assert_eq!(found.len(), 1);
    assert!(looked > 3, "a stretch has five events: {looked}");
}
