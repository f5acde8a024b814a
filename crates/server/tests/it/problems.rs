//! Errors of the administration interface (RFC 9457), and secrets that must appear in none.

use crate::estate::*;
use crate::harness::*;
use axum::body::Body;
use http::Request;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

on_both_engines!(
    every_problem_has_the_same_shape,
    a_caller_without_a_token_is_challenged,
    a_token_opens_only_what_its_scopes_name,
    a_request_that_is_not_json_is_a_problem,
    a_list_is_read_page_by_page,
    a_text_with_nul_is_the_callers_fault_wherever_it_is,
    no_secret_appears_in_an_answer_a_record_or_a_line_of_the_log,
    health_says_whether_the_node_may_serve,
);

async fn every_problem_has_the_same_shape(place: Place) {
    let estate = Estate::start(&place).await;
    let answers = [
        estate.try_admin("GET", "/agents/nobody", Value::Null).await,
        estate.try_admin("GET", "/nothing/at/all", Value::Null).await,
        estate.try_admin("GET", "/nothing", Value::Null).await,
        estate
            .try_admin("POST", "/agents/planner/jump", Value::Null)
            .await,
        estate.try_admin("DELETE", "/agents/planner", Value::Null).await,
        estate.try_admin("GET", "/why/nonsense", Value::Null).await,
        estate.node.get("/nothing").await,
        estate.node.get("/t/nobody/token").await,
    ];
    for answer in answers {
        let (status, code) = answer.problem();
        let body = answer.json();
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], format!("urn:chancery:problem:{code}"));
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        assert!((400..500).contains(&status), "{body}");
    }
}

async fn a_caller_without_a_token_is_challenged(place: Place) {
    let estate = Estate::start(&place).await;
    for header in [None, Some("Bearer nonsense"), Some("Basic YTpi"), Some("Bearer")] {
        let mut request = Request::get("/api/v1/agents").header("host", "id.example");
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let answer = estate.node.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(
            answer.problem(),
            (401, "unauthenticated".to_owned()),
            "{header:?}"
        );
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
    }
}

async fn a_token_opens_only_what_its_scopes_name(place: Place) {
    let estate = Estate::start(&place).await;
    let text = estate.admin("GET", "/policy", Value::Null).await["text"]
        .as_str()
        .unwrap()
        .to_owned();
    let looking = format!(
        "{text}\n@id(\"planner-looks\") permit (principal == Agent::\"planner\", action in Action::\"look\", resource);"
    );
    estate.admin("PUT", "/policy", json!({ "text": looking })).await;
    estate
        .change(
            "agents",
            "planner",
            json!({ "ceiling": { "chancery": ["read"] } }),
        )
        .await;
    let grant =
        json!({ "agent": "planner", "principal": "itself", "resource": "chancery", "scopes": ["read"] });
    estate.apply(json!({ "grants": [grant] })).await;
    let uri = format!("{BASE}/api/v1");
    let token = estate
        .own("planner", &[("resource", &uri), ("scope", "read")])
        .await
        .token();
    assert_eq!(
        estate
            .node
            .api("GET", "/api/v1/agents", &token, Value::Null)
            .await
            .status,
        200
    );
    for (method, path, body) in [
        ("GET", "/api/v1/audit/events", Value::Null),
        ("POST", "/api/v1/kill/agent/helper", Value::Null),
        ("POST", "/api/v1/agents", json!({ "name": "x", "owner": "ops" })),
        ("POST", "/api/v1/agents/planner/suspend", Value::Null),
        ("PUT", "/api/v1/policy", json!({ "text": text })),
        ("GET", "/api/v1/why/dec_00000000000000000000000000", Value::Null),
    ] {
        let answer = estate.node.api(method, path, &token, body).await;
        assert_eq!(answer.problem(), (403, "insufficient_scope".to_owned()), "{path}");
    }
}

async fn a_request_that_is_not_json_is_a_problem(place: Place) {
    let estate = Estate::start(&place).await;
    let peer = chancery_server::listener::LocalPeer { uid: 1_000 };
    let cases = [
        ("application/json", "{"),
        ("application/json", "{\"agents\": 1}"),
        ("text/plain", "{}"),
        ("application/json", ""),
    ];
    for (kind, body) in cases {
        let request = Request::post("/api/v1/apply")
            .extension(peer)
            .header("content-type", kind);
        let answer = estate.node.send(request.body(Body::from(body)).unwrap()).await;
        assert!((400..500).contains(&answer.problem().0), "{kind} {body}");
    }
    for query in ["?limit=x", "?colour=red"] {
        let answer = estate
            .try_admin("GET", &format!("/agents{query}"), Value::Null)
            .await;
        assert!((400..500).contains(&answer.problem().0), "{query}");
    }
}

async fn a_list_is_read_page_by_page(place: Place) {
    let estate = Estate::start(&place).await;
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = estate
            .admin("GET", &format!("/agents?limit=3&cursor={cursor}"), Value::Null)
            .await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        names.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(names, ["fourth", "helper", "planner", "third"]);
    estate.admin("POST", "/agents/third/suspend", Value::Null).await;
    let suspended = estate.admin("GET", "/agents?state=suspended", Value::Null).await;
    assert_eq!(suspended["items"].as_array().unwrap().len(), 1);
}

async fn a_text_with_nul_is_the_callers_fault_wherever_it_is(place: Place) {
    let estate = Estate::start(&place).await;
    for (method, path, body) in bodies_with_nul(&estate).await {
        let answer = estate.try_admin(method, path, body).await;
        assert_eq!(answer.problem(), (422, "invalid".to_owned()), "{path}");
        assert!(answer.text().contains("U+0000"), "{path}: {}", answer.text());
    }
    for path in [
        "/agents?cursor=%00",
        "/audit/events?id=a%00",
        "/audit/events?kind=%00",
        "/audit/events?kind=token.%00",
        "/agents/%00",
        "/why/%00",
        "/audit/events/%00",
        "/kill/agent/%00?dry_run=true",
    ] {
        let method = if path.starts_with("/kill") { "POST" } else { "GET" };
        let answer = estate.try_admin(method, path, Value::Null).await;
        assert!((400..500).contains(&answer.problem().0), "{path}");
    }
    for name in ["audience", "resource", "scope", "client_id"] {
        let answer = estate.own("planner", &[(name, NUL)]).await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()), "{name}");
    }
    let form = [("grant_type", "client_credentials")];
    let header = basic(NUL, NUL);
    let answer = estate.node.form_with("/token", &form, Some(&header)).await;
    assert!(answer.status.is_client_error(), "{}", answer.text());
    // Text that is kept as JSON inside a record may hold it, as an escape.
    let token = estate.user_with("alice", json!({ "roles": ["staff"], "email": NUL }));
    let answer = estate
        .exchange_as("planner", (&token, JWT), &[("resource", NOTES)])
        .await;
    assert!(answer.status.as_u16() < 500, "{}", answer.text());
}

const NUL: &str = "a\0b";

async fn bodies_with_nul(estate: &Estate) -> Vec<(&'static str, &'static str, Value)> {
    let policy = estate.admin("GET", "/policy", Value::Null).await;
    let text = policy["text"].as_str().unwrap();
    let issuer = json!({
        "name": "new", "issuer": NUL, "purposes": ["runtimes"], "keys": { "inline": { "keys": [] } },
    });
    let tagged = json!({ "name": "new", "owner": "ops", "tags": { NUL: "x" } });
    let described = json!({ "name": "new", "owner": "ops", "description": NUL });
    let user = json!({ "name": "new", "issuer": "corp", "subject": NUL });
    vec![
        ("PUT", "/policy", json!({ "text": format!("{text}\n// {NUL}") })),
        ("PUT", "/policy", json!({ "text": text, "comment": NUL })),
        ("POST", "/policy/validate", json!({ "text": NUL })),
        (
            "POST",
            "/policy/observe",
            json!({ "resource": NUL, "seconds": 60 }),
        ),
        ("POST", "/agents", described),
        ("POST", "/agents", tagged),
        ("POST", "/users", user),
        ("POST", "/trusted_issuers", issuer),
        ("POST", "/enrol", json!({ "name": "new", "code": NUL })),
        ("POST", "/bindings/github", json!({ "repository": NUL })),
        ("POST", "/apply", json!({ "policy": format!("// {NUL}") })),
    ]
}

const MARKER: &str = "marker-secret-7b1e";

async fn no_secret_appears_in_an_answer_a_record_or_a_line_of_the_log(place: Place) {
    let estate = Estate::start(&place).await;
    let lines = Lines::default();
    let guard = tracing::subscriber::set_default(lines.clone());
    let mut seen = String::new();
    let pairs = [
        vec![("client_id", "planner"), ("client_secret", MARKER)],
        vec![("client_assertion_type", ASSERTION), ("client_assertion", MARKER)],
        vec![
            ("client_assertion_type", ASSERTION),
            ("client_assertion", "bWFya2VyLXNlY3JldC03YjFl.e30.x"),
        ],
    ];
    for proof in &pairs {
        for path in ["/token", "/introspect", "/revoke"] {
            let mut form = vec![("grant_type", "client_credentials"), ("token", MARKER)];
            form.extend_from_slice(proof);
            let answer = estate.node.form(path, &form).await;
            write!(seen, "{:?} {}", answer.headers, answer.text()).unwrap();
        }
    }
    for kind in [JWT, ACCESS_TOKEN, ID_TOKEN] {
        let answer = estate
            .exchange_as("planner", (MARKER, kind), &[("resource", NOTES)])
            .await;
        seen.push_str(&answer.text());
    }
    let form = [("grant_type", "client_credentials")];
    let header = basic("planner", MARKER);
    seen.push_str(&estate.node.form_with("/token", &form, Some(&header)).await.text());
    for (path, body) in [
        ("/bindings/test", json!({ "token": MARKER })),
        ("/enrol", json!({ "code": MARKER, "name": "x" })),
        ("/enrol", json!({ "code": MARKER, "name": "x", "more": MARKER })),
    ] {
        seen.push_str(&estate.try_admin("POST", path, body).await.text());
    }
    drop(guard);
    assert!(!lines.text().is_empty(), "the log was read");
    assert!(!seen.contains(MARKER), "{seen}");
    assert!(!lines.text().contains(MARKER), "{}", lines.text());
    let issued = estate.own("planner", &[("resource", NOTES)]).await.token();
    let records = estate.admin("GET", "/audit/events?limit=500", Value::Null).await;
    for record in records["items"].as_array().unwrap() {
        let text = record.to_string();
        for secret in [MARKER, estate.secret("planner"), estate.secret("helper"), &issued] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

/// Every event of `tracing` with all its fields, as text.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<String>>);

impl Lines {
    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, _metadata: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut Writer(&mut self.0.lock().unwrap()));
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _span: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut Writer(&mut self.0.lock().unwrap()));
    }
    fn record_follows_from(&self, _span: &tracing::span::Id, _follows: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut Writer(&mut self.0.lock().unwrap()));
    }
    fn enter(&self, _span: &tracing::span::Id) {}
    fn exit(&self, _span: &tracing::span::Id) {}
}

struct Writer<'a>(&'a mut String);

impl tracing::field::Visit for Writer<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        writeln!(self.0, "{field}={value:?}").unwrap();
    }
}

async fn health_says_whether_the_node_may_serve(place: Place) {
    let node = Chancery::start(&place).await;
    assert_eq!(node.get("/healthz").await.status, 200);
    assert_eq!(node.get("/readyz").await.status, 200);
    node.clock.advance(PAST_THE_BOUND);
    assert_eq!(
        (
            node.get("/healthz").await.status.as_u16(),
            node.get("/readyz").await.status.as_u16()
        ),
        (200, 503)
    );
}
