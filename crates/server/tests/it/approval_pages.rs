//! The pages of approvals, as a browser sees them; and the messages that tell people of them.

use crate::approval::{poll, prepare, waits};
use crate::browser::*;
use crate::estate::*;
use crate::harness::*;
use crate::identity_provider::IdentityProvider;
use crate::outside;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use chancery_core::secret::Secret;
use chancery_core::time::Ttl;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

on_both_engines!(
    a_person_looks_and_approves_on_the_page,
    an_answer_that_another_site_sends_is_refused,
    an_answer_is_to_the_record_that_the_page_showed,
    a_hostile_message_stands_in_its_box_and_nowhere_else,
    a_request_is_posted_signed_and_tried_again_until_it_is_taken,
    nobody_answers_and_the_owner_is_told,
);

const POLICY: &str = r#"@id("writing-needs-a-yes")
forbid (principal is Agent, action == Action::"issue_token", resource == Scope::"notes:write")
unless { context has approval };
@id("carol-approves") permit (principal == User::"company:carol", action in [Action::"approve", Action::"reject"], resource is Approval);"#;

async fn world(place: &Place) -> (Estate, Browser) {
    let idp = IdentityProvider::start(true).await;
    let node = outside::node(place, |_, _| {}).await;
    let estate = Estate::on(node, "").await;
    estate
        .apply(json!({ "trusted_issuers": [idp.trusted("company", &json!({}))] }))
        .await;
    prepare(&estate, POLICY).await;
    let carol = idp.sign_in(&estate.node, "carol").await;
    (estate, carol)
}

async fn a_person_looks_and_approves_on_the_page(place: Place) {
    let (estate, mut carol) = world(&place).await;
    assert!(
        carol
            .visit("/approvals")
            .await
            .text()
            .contains("Nothing waits for you")
    );
    let (handle, id) = waits(&estate.planner_for_alice("write").await);
    let inbox = carol.visit("/approvals").await.text();
    assert!(inbox.contains(&format!("href=\"/approvals/{id}\"")), "{inbox}");
    let page = carol.visit(&format!("/approvals/{id}")).await;
    let text = page.text();
    for part in [
        "planner",
        "alice",
        "write at notes",
        "ops",
        "sensitivity",
        "Approve once",
        "Deny",
    ] {
        assert!(
            text.to_lowercase().contains(&part.to_lowercase()),
            "{part}: {text}"
        );
    }
    let form = [
        ("csrf", csrf(&page)),
        ("answer", "approve".to_owned()),
        ("record", hidden(&text, "record")),
    ];
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let sent = carol.submit(&format!("/approvals/{id}"), &form).await;
    assert_eq!(
        (sent.status.as_u16(), sent.header("location")),
        (303, Some(format!("/approvals/{id}").as_str()))
    );
    // Sent twice, as people do: it is answered already.
    assert_eq!(carol.submit(&format!("/approvals/{id}"), &form).await.status, 409);
    assert_eq!(poll(&estate, "planner", &handle).await.scope(), "write");
    assert!(
        carol
            .visit(&format!("/approvals/{id}"))
            .await
            .text()
            .contains("approved and used")
    );
}

async fn an_answer_that_another_site_sends_is_refused(place: Place) {
    let (estate, mut carol) = world(&place).await;
    let (handle, id) = waits(&estate.planner_for_alice("write").await);
    let path = format!("/approvals/{id}");
    let page = carol.visit(&path).await;
    let (token, record) = (csrf(&page), hidden(&page.text(), "record"));
    let own = [
        ("csrf", token.as_str()),
        ("answer", "approve"),
        ("record", &record),
    ];
    let elsewhere = [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.example"),
    ];
    assert_eq!(carol.submit_from(&path, &own, &elsewhere).await.status, 403);
    let forged = [("csrf", "x"), ("answer", "approve"), ("record", record.as_str())];
    assert_eq!(carol.submit(&path, &forged).await.status, 403);
    let nobody = Browser::at(&estate.node).submit(&path, &own).await;
    assert_eq!(nobody.status, 303);
    assert!(nobody.header("location").unwrap().starts_with("/sign-in"));
    assert_eq!(
        poll(&estate, "planner", &handle).await.error().1,
        "authorization_pending"
    );
}

async fn an_answer_is_to_the_record_that_the_page_showed(place: Place) {
    let (estate, mut carol) = world(&place).await;
    let (_, shown) = waits(&estate.planner_for_alice("write").await);
    let (handle, other) = waits(&estate.planner_for_alice("read write").await);
    let page = carol.visit(&format!("/approvals/{shown}")).await;
    let (token, record) = (csrf(&page), hidden(&page.text(), "record"));
    let form = [
        ("csrf", token.as_str()),
        ("answer", "approve"),
        ("record", &record),
    ];
    assert_eq!(
        carol.submit(&format!("/approvals/{other}"), &form).await.status,
        404
    );
    assert_eq!(
        poll(&estate, "planner", &handle).await.error().1,
        "authorization_pending"
    );
}

async fn a_hostile_message_stands_in_its_box_and_nowhere_else(place: Place) {
    let (estate, mut carol) = world(&place).await;
    let grant = json!({ "agent": "planner", "principal": { "user": "company:carol" }, "resource": "notes", "scopes": ["read"] });
    estate.apply(json!({ "grants": [grant] })).await;
    let message = "</blockquote><script>alert(1)</script><h2>Approved</h2>";
    let form = [
        ("scope", "openid read"),
        ("resource", NOTES),
        ("login_hint", "company:carol"),
        ("binding_message", message),
    ];
    let asked = estate.post("/bc-authorize", "planner", &form).await;
    let uri = asked.json()["approval_uri"]
        .as_str()
        .unwrap_or_else(|| panic!("{}", asked.text()))
        .to_owned();
    let page = carol.visit(uri.strip_prefix(BASE).unwrap()).await.text();
    assert!(page.contains("The agent says") && page.contains("access to what is yours"));
    assert!(
        !page.contains("<script") && !page.contains("<h2>Approved"),
        "{page}"
    );
}

/// What a webhook took: signature and body.
#[derive(Clone, Debug, Default)]
struct Hook {
    taken: Arc<Mutex<Vec<(String, String)>>>,
    status: Arc<AtomicU16>,
}

impl Hook {
    async fn start() -> (Self, String) {
        let hook = Self::default();
        hook.status.store(500, Ordering::SeqCst);
        let this = hook.clone();
        let take = move |headers: HeaderMap, body: String| async move {
            let signature = headers["chancery-signature"].to_str().unwrap().to_owned();
            this.taken.lock().unwrap().push((signature, body));
            StatusCode::from_u16(this.status.load(Ordering::SeqCst)).unwrap()
        };
        let address = outside::serve(Router::new().route("/services/MARKER", post(take))).await;
        (hook, format!("http://{address}/services/MARKER"))
    }

    fn taken(&self) -> Vec<(String, String)> {
        std::mem::take(&mut *self.taken.lock().unwrap())
    }
}

async fn hooked(place: &Place) -> (Estate, Hook) {
    let (hook, url) = Hook::start().await;
    let node = outside::node(place, |config, _| {
        config.approval_webhook = Some((url, Secret::new("a secret of the tests".to_owned())));
    })
    .await;
    let estate = Estate::on(node, "").await;
    prepare(&estate, POLICY).await;
    (estate, hook)
}

async fn deliver(estate: &Estate) {
    chancery_server::approve::deliver::run(&estate.node.app)
        .await
        .unwrap();
}

async fn a_request_is_posted_signed_and_tried_again_until_it_is_taken(place: Place) {
    let (estate, hook) = hooked(&place).await;
    let (_, id) = waits(&estate.planner_for_alice("write").await);
    deliver(&estate).await;
    assert_eq!(hook.taken().len(), 1);
    deliver(&estate).await;
    assert!(hook.taken().is_empty(), "it waits before it tries again");
    let show = || async {
        estate
            .admin("GET", &format!("/approvals/{id}"), Value::Null)
            .await
    };
    let view = show().await;
    assert_eq!(
        (&view["messages"][0]["state"], &view["messages"][0]["error"]),
        (&json!("waiting"), &json!("status 500"))
    );
    assert!(
        !view.to_string().contains("MARKER"),
        "the URL of a webhook is a secret"
    );

    hook.status.store(200, Ordering::SeqCst);
    estate.node.advance(Ttl::from_seconds(3)).await;
    deliver(&estate).await;
    let (signature, body) = hook.taken().remove(0);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["chancery"]["approval"], json!(id));
    assert!(
        body["text"]
            .as_str()
            .unwrap()
            .ends_with(&format!("{BASE}/approvals/{id}"))
    );
    assert!(
        signature.starts_with("t=17684784") && signature.contains(",v1="),
        "{signature}"
    );
    assert_eq!(show().await["messages"][0]["state"], "sent");
    deliver(&estate).await;
    assert!(hook.taken().is_empty());
}

async fn nobody_answers_and_the_owner_is_told(place: Place) {
    let (estate, hook) = hooked(&place).await;
    hook.status.store(200, Ordering::SeqCst);
    waits(&estate.planner_for_alice("write").await);
    deliver(&estate).await;
    estate.node.advance(Ttl::from_minutes(4)).await;
    deliver(&estate).await;
    deliver(&estate).await;
    let events: Vec<Value> = hook
        .taken()
        .iter()
        .map(|(_, body)| serde_json::from_str::<Value>(body).unwrap()["chancery"]["event"].clone())
        .collect();
    assert_eq!(events, [json!("approval.requested"), json!("approval.escalated")]);
    assert_eq!(estate.events("approval.escalated").await.len(), 1);
}
