//! No path answers before policy was asked. Every route that the router has, found in its source so that a new one
//! is here too, is tried by callers who prove nothing; with a policy that permits nothing by those who prove
//! everything; and calls are varied until they break, while the server behind looks into the log for the decision on
//! each request that reaches it.

use crate::broker::Provider;
use crate::estate::*;
use crate::gateway::Bank;
use crate::harness::*;
use crate::upstream::{Seen, Upstream};
use axum::body::Body;
use chancery_server::App;
use chancery_server::http::api::operations::COLLECTIONS;
use chancery_server::listener::LocalPeer;
use chancery_server::store::Sql;
use http::Request;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

on_both_engines!(
    no_route_answers_whoever_proves_nothing,
    with_a_policy_that_permits_nothing_only_public_documents_are_answered,
    whatever_is_changed_is_in_the_log_before_it_is_answered,
    no_variation_of_a_call_reaches_a_server_undecided,
);

/// A bank behind the gateway and a provider behind the broker in one tenant, and a bank in another.
struct World {
    bank: Bank,
    provider: Provider,
    foreign: Bank,
    log: Log,
}

impl World {
    async fn open(place: &Place) -> Self {
        let limits = "off".parse().unwrap();
        let node = crate::outside::node(place, |config, _| config.call_limits = limits).await;
        node.add_tenant("acme").await;
        let foreign = Bank::on(Estate::on(node.clone(), "/t/acme").await).await;
        let mut provider = Provider::on(node).await;
        let mut bank = Bank::on(provider.estate.again()).await;
        let ceiling =
            json!({ "ceiling": { "notes": ["read"], "files": ["read", "write"], "bank": ["look", "pay"] } });
        provider.estate.change("agents", "planner", ceiling).await;
        provider.renew().await;
        bank.renew().await;
        let log = Log(bank.estate.node.app.clone());
        Self {
            bank,
            provider,
            foreign,
            log,
        }
    }

    fn estate(&self) -> &Estate {
        &self.bank.estate
    }

    fn upstreams(&self) -> [&Upstream; 3] {
        [
            &self.bank.upstream,
            &self.provider.upstream,
            &self.foreign.upstream,
        ]
    }

    fn is_untouched(&self) -> bool {
        self.upstreams().iter().all(|upstream| upstream.take().is_empty())
    }

    /// Credentials that prove nothing here, each with its name.
    async fn strangers(&self) -> Vec<(&'static str, Option<String>)> {
        let estate = self.estate();
        let bearer = |token: &str| Some(format!("Bearer {token}"));
        let target = [("audience", "bank"), ("scope", "look")];
        estate
            .apply(json!({
                "agents": [{ "name": "third", "owner": "ops", "ceiling": { "bank": ["look"] } }],
                "grants": [{ "agent": "third", "principal": "itself", "resource": "bank", "scopes": ["look"] },
                           { "agent": "third", "principal": "itself", "connection": "bank" }] }))
            .await;
        let killed = estate.own("third", &target).await.token();
        estate.kill("agent", "third").await;
        let revoked = estate.own("planner", &target).await.token();
        let answer = estate.post("/revoke", "planner", &[("token", &revoked)]).await;
        assert_eq!(answer.status, 200);
        let notes = estate.own("planner", &[("resource", NOTES)]).await.token();
        let agent_token = estate.own("planner", &[]).await.token();
        let mut altered = self.bank.token.clone();
        let last = if altered.ends_with('A') { "B" } else { "A" };
        altered.replace_range(altered.len() - 1.., last);
        let unsigned = format!("{}.", self.bank.token.rsplit_once('.').unwrap().0);
        vec![
            ("nobody", None),
            ("nonsense", bearer("nonsense")),
            (
                "a client with a wrong secret",
                Some(basic(estate.client_id("planner"), "wrong")),
            ),
            ("another tenant's token", bearer(&self.foreign.token)),
            ("a token for another audience", bearer(&notes)),
            ("an agent token", bearer(&agent_token)),
            ("a killed agent", bearer(&killed)),
            ("a revoked token", bearer(&revoked)),
            ("a token without its signature", bearer(&unsigned)),
            ("a token with another signature", bearer(&altered)),
        ]
    }
}

/// The log as a reading connection sees it: what is committed, and nothing else.
#[derive(Clone)]
struct Log(Arc<App>);

impl Log {
    async fn count(&self, sql: &'static str) -> i64 {
        let row = self.0.db.query_one(&Sql::same(sql), Vec::new()).await;
        row.unwrap().integer(0).unwrap()
    }

    async fn permits(&self) -> i64 {
        self.count("SELECT COUNT(*) FROM events WHERE kind = 'call.decided' AND outcome = 'ok'")
            .await
    }

    async fn events(&self) -> i64 {
        self.count("SELECT COUNT(*) FROM events").await
    }
}

/// Every path of the router, parameters filled with what exists. Read from the source: a route that is put in
/// otherwise fails here.
fn paths(world: &Ids) -> Vec<String> {
    let own = routes(include_str!("../../src/http/mod.rs"));
    let pages = routes(include_str!("../../src/http/pages/mod.rs"));
    let console = routes(include_str!("../../src/http/pages/console/mod.rs"));
    let api = routes(include_str!("../../src/http/api/mod.rs"));
    let registration = routes(include_str!("../../src/http/api/registration.rs"));
    let people = routes(include_str!("../../src/http/api/people.rs"));
    assert!(
        own.len() >= 15 && pages.len() >= 10 && console.len() >= 8,
        "{own:?} {pages:?} {console:?}"
    );
    assert!(
        api.len() >= 40 && registration.len() >= 3 && people.len() >= 5,
        "{api:?} {registration:?} {people:?}"
    );
    let api = api
        .iter()
        .chain(&registration)
        .chain(&people)
        .map(|path| format!("/api/v1{path}"));
    own.iter()
        .chain(&pages)
        .chain(&console)
        .map(|path| (*path).to_owned())
        .chain(api)
        .flat_map(|path| world.filled(&path))
        .collect()
}

fn routes(source: &'static str) -> Vec<&'static str> {
    for other in [".route_service(", ".nest_service("] {
        assert!(
            !source.contains(other),
            "routes are put in by `{other}` too: read them here"
        );
    }
    let read: usize = MERGED.iter().map(|merge| source.matches(merge).count()).sum();
    assert_eq!(
        source.matches(".merge(").count(),
        read,
        "read its routes in `paths`"
    );
    let nested = source.matches(".nest(").count();
    assert_eq!(nested, source.matches(".nest(\"/api/v1\", api::router").count());
    let routes = source.split(".route(").skip(1);
    routes.map(|rest| rest.split('"').nth(1).unwrap()).collect()
}

/// What is put in from files that [`paths`] reads too.
const MERGED: &[&str] = &[
    ".merge(pages::router(",
    ".merge(console::router(",
    ".merge(registration::router(",
    ".merge(people::router(",
];

/// Things that exist, by which parameters are filled.
struct Ids {
    event: String,
    decision: String,
}

impl Ids {
    async fn of(estate: &Estate) -> Self {
        let event = estate.events("call.decided").await.remove(0);
        let text = |field: &str| event[field].as_str().unwrap().to_owned();
        Self {
            event: text("id"),
            decision: text("id").replace("evt_", "dec_"),
        }
    }

    fn filled(&self, path: &str) -> Vec<String> {
        if path.contains("{collection}") {
            let each = COLLECTIONS.iter().map(|(collection, _)| *collection);
            return each
                .flat_map(|collection| self.filled(&path.replace("{collection}", collection)))
                .collect();
        }
        let name = NAMES
            .iter()
            .find(|(start, _)| path.starts_with(start))
            .map_or("x", |(_, name)| name);
        let rest = if path.starts_with("/broker") {
            "files/a"
        } else if path.starts_with("/log") {
            "0/000"
        } else {
            "mcp/bank"
        };
        let id = if path.contains("/why/") {
            &self.decision
        } else {
            &self.event
        };
        let filled = path
            .replace("{resource}", "bank")
            .replace("{connection}", "files")
            .replace("{*path}", rest)
            .replace("{client}", "x")
            .replace("{noun}", "agent")
            .replace("{name}", name)
            .replace("{id}", id)
            .replace("{part}", "decision")
            .replace("{step}", "suspend")
            .replace("{file}", "style.css");
        assert!(!filled.contains('{'), "a parameter that nobody fills: {path}");
        vec![filled]
    }
}

const NAMES: &[(&str, &str)] = &[
    ("/api/v1/kill", "fourth"),
    ("/api/v1/agents", "helper"),
    ("/api/v1/blueprints", "workers"),
    ("/api/v1/clients", "third"),
    ("/api/v1/connections", "files"),
    ("/api/v1/grants", "helper-notes"),
    ("/api/v1/resources", "mail"),
    ("/api/v1/runtime_bindings", "planner-pod"),
    ("/api/v1/trusted_issuers", "cluster"),
    ("/api/v1/users", "alice"),
    ("/api/v1/tenants", "acme"),
    ("/api/v1/connected_accounts", "bank-key"),
];

/// What anybody may read.
fn is_public(path: &str) -> bool {
    // The entrance of the console only names its first page.
    path == "/console" || PUBLIC.iter().any(|public| path.starts_with(public))
}

const PUBLIC: &[&str] = &[
    "/healthz",
    "/readyz",
    "/jwks",
    "/.well-known/",
    "/log/",
    "/api/v1/openapi.json",
    "/sign-in",
    "/enrol",
    "/assets/",
];

/// Whether more came back than a refusal. Pages refuse by sending people to sign in.
fn is_answered(answer: &Answer) -> bool {
    let to_sign_in = answer
        .header("location")
        .unwrap_or_default()
        .contains("/sign-in?");
    answer.status.is_success() || answer.status.is_redirection() && !to_sign_in
}

const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE",
];

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"list_accounts","arguments":{}}}"#;

fn request(method: &str, path: &str, authorization: Option<&str>) -> Request<Body> {
    let is_form = [
        "/token",
        "/introspect",
        "/revoke",
        "/authorize",
        "/bc-authorize",
        "/device_authorization",
    ]
    .contains(&path);
    let (kind, body) = if is_form {
        (
            "application/x-www-form-urlencoded",
            "grant_type=client_credentials&token=x&audience=bank",
        )
    } else if path.starts_with("/mcp") {
        ("application/json", CALL)
    } else if path == "/api/v1/apply" {
        (
            "application/json",
            r#"{"agents":[{"name":"newcomer","owner":"ops"}]}"#,
        )
    } else {
        ("application/json", "{}")
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "id.example")
        .header("content-type", kind);
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let has_body = !["GET", "HEAD", "TRACE"].contains(&method);
    request
        .body(if has_body { Body::from(body) } else { Body::empty() })
        .unwrap()
}

async fn no_route_answers_whoever_proves_nothing(place: Place) {
    let world = World::open(&place).await;
    let (node, ids) = (&world.estate().node, Ids::of(world.estate()).await);
    let strangers = world.strangers().await;
    assert!(world.is_untouched());
    let permits = world.log.permits().await;
    for path in paths(&ids) {
        for method in METHODS {
            for (who, authorization) in &strangers {
                let answer = node.send(request(method, &path, authorization.as_deref())).await;
                let is_answered = is_answered(&answer);
                assert!(
                    !is_answered || is_public(&path),
                    "{method} {path} answers {who}: {answer:?}"
                );
            }
        }
    }
    assert!(world.is_untouched());
    assert_eq!(world.log.permits().await, permits);
    // Whoever proves to be somebody is answered.
    let header = format!("Bearer {}", world.bank.token);
    assert_eq!(
        node.send(request("POST", "/mcp/bank", Some(&header)))
            .await
            .status,
        200
    );
    assert_eq!(world.log.permits().await, permits + 1);
    let header = format!("Bearer {}", world.provider.token);
    let answer = node
        .send(request("GET", "/broker/files/files/a", Some(&header)))
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(world.log.permits().await, permits + 2);
}

async fn with_a_policy_that_permits_nothing_only_public_documents_are_answered(place: Place) {
    let world = World::open(&place).await;
    let (estate, ids) = (world.estate(), Ids::of(world.estate()).await);
    // A set that nobody could replace is refused.
    let nothing = r#"@id("nothing-else") permit (principal in Role::"administrator", action == Action::"write_policy", resource);"#;
    estate.admin("PUT", "/policy", json!({ "text": nothing })).await;
    world.is_untouched();
    let permits = world.log.permits().await;
    let mut unasked = Vec::new();
    for path in paths(&ids) {
        for method in METHODS {
            for who in ["administrator", &world.bank.token, &world.provider.token] {
                let mut request = match who {
                    "administrator" => request(method, &path, None),
                    token => request(method, &path, Some(&format!("Bearer {token}"))),
                };
                if who == "administrator" {
                    request.extensions_mut().insert(LocalPeer { uid: 1_000 });
                }
                let answer = estate.node.send(request).await;
                let is_answered = is_answered(&answer);
                // JSON-RPC says no with a status of success (MCP streamable HTTP).
                if is_answered && path == "/mcp/bank" {
                    assert!(answer.json()["error"].is_object(), "{method}: {}", answer.text());
                    continue;
                }
                if is_answered && !is_public(&path) && !NOTHING_OF_OTHERS.contains(&path.as_str()) {
                    unasked.push(format!("{method} {path} answers {who}"));
                }
            }
        }
    }
    assert!(unasked.is_empty(), "{unasked:#?}");
    assert!(world.is_untouched());
    assert_eq!(world.log.permits().await, permits);
}

/// What a token or the local socket is enough for, since there is nothing in it for policy to keep: names of public
/// keys, the public state of the log, who the caller is, whether a text is a policy, and of requests for a yes those
/// that policy shows to the caller one by one: here none.
const NOTHING_OF_OTHERS: &[&str] = &[
    "/api/v1/keys",
    "/api/v1/audit/log",
    "/api/v1/me",
    "/api/v1/policy/validate",
    "/api/v1/approvals",
];

async fn whatever_is_changed_is_in_the_log_before_it_is_answered(place: Place) {
    let world = World::open(&place).await;
    let (estate, ids) = (world.estate(), Ids::of(world.estate()).await);
    let mut changed = Vec::new();
    for path in paths(&ids) {
        for method in ["DELETE", "POST", "PUT"] {
            let mut request = request(method, &path, None);
            request.extensions_mut().insert(LocalPeer { uid: 1_000 });
            let before = world.log.events().await;
            let answer = estate.node.send(request).await;
            if !answer.status.is_success() || READING.contains(&path.as_str()) {
                continue;
            }
            let recorded = world.log.events().await - before;
            assert!(recorded > 0, "{method} {path} is in no record: {answer:?}");
            changed.push(path.clone());
        }
    }
    assert!(changed.len() >= 10, "{changed:?}");
}

/// Questions that are asked with a body.
const READING: &[&str] = &[
    "/api/v1/policy/validate",
    "/api/v1/policy/test",
    "/api/v1/bindings/test",
    "/api/v1/bindings/github",
    "/api/v1/upstreams/inspect",
];

/// A request as it could be sent, to be varied.
#[derive(Clone, Debug)]
struct Draft {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Variation {
    Method(&'static str),
    /// Something put into the path at a place.
    Path(usize, &'static str),
    PathCharacter(usize, char),
    Header(&'static str, &'static str),
    Double(usize),
    Drop(usize),
    /// The token of somebody else.
    Token(usize),
    /// A character of the token.
    TokenCharacter(usize, char),
    Body(usize, &'static str),
    BodyByte(usize, u8),
    Cut(usize),
    /// One word for another.
    Word(&'static str, &'static str),
}

fn variation() -> impl Strategy<Value = Variation> {
    let place = any::<usize>;
    prop_oneof![
        select(METHODS).prop_map(Variation::Method),
        (place(), select(PATH_PIECES)).prop_map(|(at, piece)| Variation::Path(at, piece)),
        (place(), "[!-~]").prop_map(|(at, text)| Variation::PathCharacter(at, text.chars().next().unwrap())),
        select(HEADERS).prop_map(|(name, value)| Variation::Header(name, value)),
        place().prop_map(Variation::Double),
        place().prop_map(Variation::Drop),
        place().prop_map(Variation::Token),
        (place(), "[A-Za-z0-9_.-]")
            .prop_map(|(at, text)| Variation::TokenCharacter(at, text.chars().next().unwrap())),
        (place(), select(BODY_PIECES)).prop_map(|(at, piece)| Variation::Body(at, piece)),
        (place(), any::<u8>()).prop_map(|(at, byte)| Variation::BodyByte(at, byte)),
        place().prop_map(Variation::Cut),
        select(WORDS).prop_map(|(from, to)| Variation::Word(from, to)),
    ]
}

const PATH_PIECES: &[&str] = &[
    "/",
    "//",
    "/../",
    "/./",
    "%2e%2e/",
    "%2f",
    "%5c",
    "%00",
    "%252e",
    ";x",
    "?",
    "?access_token=x",
    "/t/acme",
    "/keys/",
    "files",
    "bank",
    "%c3%a9",
];
const HEADERS: &[(&str, &str)] = &[
    ("authorization", "Bearer x"),
    ("connection", "authorization"),
    ("connection", "x-api-key, close"),
    ("x-api-key", "mine"),
    ("x-forwarded-host", "evil.example"),
    ("x-http-method-override", "DELETE"),
    ("x-original-url", "/v1/keys/1"),
    ("host", "evil.example"),
    ("mcp-session-id", "session-of-the-upstream"),
    ("mcp-method", "tools/list"),
    ("mcp-name", "list_accounts"),
    ("mcp-protocol-version", "2026-07-28"),
    ("mcp-protocol-version", "2025-03-26"),
    ("origin", "https://evil.example"),
    ("content-type", "text/plain"),
    ("content-type", "application/json"),
    ("transfer-encoding", "chunked"),
    ("content-length", "3"),
    ("upgrade", "websocket"),
    ("last-event-id", "1"),
    ("expect", "100-continue"),
];
const BODY_PIECES: &[&str] = &[
    "\"",
    "{",
    "}",
    ",",
    "0",
    "00000",
    "1e400",
    "\\ud800",
    "\"amount\":9999,",
    ",\"amount\":9999",
    "\"name\":\"pay\",",
    ",\"name\":\"pay\"",
    ",\"Amount\":9999",
    "\"method\":\"tools/list\",",
    "null",
    "\u{0}",
    "[",
    "]",
    "-",
    ".5",
];
const WORDS: &[(&str, &str)] = &[
    ("list_accounts", "pay"),
    ("list_accounts", "close_account"),
    ("pay", "unmapped"),
    ("tools/call", "tools/list"),
    ("tools/call", "ping"),
    ("tools/call", "notifications/cancelled"),
    ("tools/call", "tasks/result"),
    ("tools/call", "resources/read"),
    ("\"id\":7", "\"id\":null"),
    ("\"id\":7,", ""),
    ("7", "100000"),
    ("2025-11-25", "2026-07-28"),
    ("files/a", "keys/1"),
    ("mcp", "broker"),
    ("bank", "files"),
];

impl Draft {
    fn mcp(token: &str, body: &str) -> Self {
        Self {
            method: "POST".to_owned(),
            path: "/mcp/bank".to_owned(),
            headers: vec![
                ("host".to_owned(), "id.example".to_owned()),
                ("authorization".to_owned(), format!("Bearer {token}")),
                ("content-type".to_owned(), "application/json".to_owned()),
                ("mcp-protocol-version".to_owned(), "2025-11-25".to_owned()),
            ],
            body: body.as_bytes().to_vec(),
        }
    }

    fn broker(token: &str, method: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: "/broker/files/files/a?q=1".to_owned(),
            headers: Self::mcp(token, "").headers[..2].to_vec(),
            body: b"7".to_vec(),
        }
    }

    fn vary(&mut self, variation: &Variation, tokens: &[String]) {
        let spot = |at: usize, length: usize| at % (length + 1);
        match *variation {
            Variation::Method(method) => method.clone_into(&mut self.method),
            Variation::Path(at, piece) => self.path.insert_str(spot(at, self.path.len()), piece),
            Variation::PathCharacter(at, letter) => self.path.insert(spot(at, self.path.len()), letter),
            Variation::Header(name, value) => self.headers.push((name.to_owned(), value.to_owned())),
            Variation::Double(at) => {
                if let Some(header) = self.headers.get(at % 4).cloned() {
                    self.headers.push(header);
                }
            }
            Variation::Drop(at) => {
                let length = self.headers.len();
                if length > 0 {
                    self.headers.remove(at % length);
                }
            }
            Variation::Token(at) => self.authorize(|_| format!("Bearer {}", tokens[at % tokens.len()])),
            Variation::TokenCharacter(at, letter) => self.authorize(|old| {
                let mut text = old.to_owned();
                let at = spot(at, text.len() - 1);
                text.replace_range(at..=at, &letter.to_string());
                text
            }),
            Variation::Body(at, piece) => {
                let at = spot(at, self.body.len());
                self.body.splice(at..at, piece.bytes());
            }
            Variation::BodyByte(at, byte) => {
                let length = self.body.len();
                if length > 0 {
                    self.body[at % length] = byte;
                }
            }
            Variation::Cut(at) => self.body.truncate(spot(at, self.body.len())),
            Variation::Word(from, to) => self.word(from, to),
        }
    }

    fn carries(&self, token: &str) -> bool {
        let bearer = format!("Bearer {token}");
        let mut headers = self.headers.iter();
        headers.any(|(name, value)| name == "authorization" && *value == bearer)
    }

    fn authorize(&mut self, change: impl FnOnce(&str) -> String) {
        if let Some((_, value)) = self.headers.iter_mut().find(|(name, _)| name == "authorization") {
            *value = change(value);
        }
    }

    fn word(&mut self, from: &str, to: &str) {
        self.path = self.path.replacen(from, to, 1);
        for (name, value) in &mut self.headers {
            if name != "authorization" {
                *value = value.replace(from, to);
            }
        }
        if let Ok(text) = std::str::from_utf8(&self.body) {
            self.body = text.replacen(from, to, 1).into_bytes();
        }
    }

    /// `None` if it is no request at all.
    fn request(&self) -> Option<Request<Body>> {
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(self.path.as_str());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Body::from(self.body.clone())).ok()
    }
}

/// What a server saw for which there was no decision in the log.
#[derive(Clone, Default)]
struct Undecided {
    /// Permits before this request, and how many requests it made at servers.
    since: Arc<Mutex<(i64, i64)>>,
    found: Arc<Mutex<Vec<String>>>,
}

impl Undecided {
    fn watch(&self, upstream: &Upstream, log: &Log) {
        let (own, log) = (self.clone(), log.clone());
        upstream.script(move |seen: Seen| {
            let (own, log) = (own.clone(), log.clone());
            async move {
                let permits = log.permits().await;
                let mut since = own.since.lock().unwrap();
                since.1 += 1;
                if permits - since.0 < since.1 {
                    own.found
                        .lock()
                        .unwrap()
                        .push(format!("{} {}", seen.method, seen.path));
                }
                None
            }
        });
    }
}

/// Requests that are permitted as they stand.
fn drafts(world: &World) -> Vec<Draft> {
    let bank = &world.bank.token;
    vec![
        Draft::mcp(bank, CALL),
        Draft::mcp(
            bank,
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"pay","arguments":{"amount":7,"to":"bob"}}}"#,
        ),
        Draft::mcp(
            bank,
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{}}"#,
        ),
        Draft::mcp(bank, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#),
        Draft::broker(&world.provider.token, "GET"),
        Draft::broker(&world.provider.token, "PUT"),
    ]
}

async fn no_variation_of_a_call_reaches_a_server_undecided(place: Place) {
    let world = World::open(&place).await;
    let policy = world.estate().admin("GET", "/policy", Value::Null).await["text"].clone();
    let text = format!("{}\n{LIMIT}", policy.as_str().unwrap());
    world
        .estate()
        .admin("PUT", "/policy", json!({ "text": text }))
        .await;
    let mut tokens: Vec<String> = vec![world.bank.token.clone(), world.provider.token.clone()];
    let strangers = world
        .strangers()
        .await
        .into_iter()
        .filter_map(|(_, header)| header);
    tokens.extend(strangers.filter_map(|header| header.strip_prefix("Bearer ").map(str::to_owned)));
    let undecided = Undecided::default();
    for upstream in world.upstreams() {
        undecided.watch(upstream, &world.log);
    }
    world.is_untouched();
    let mut runner = TestRunner::new(Config {
        cases: 400,
        failure_persistence: None,
        ..Config::default()
    });
    let (reached, stopped) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let cases = (select(drafts(&world)), vec(variation(), 1..4));
    block_in_place(|| {
        let outcome = runner.run(&cases, |(mut draft, variations)| {
            for variation in &variations {
                draft.vary(variation, &tokens);
            }
            // In its own tenant that token is a caller like any other.
            if draft.path.starts_with("/t/acme/") && draft.carries(&world.foreign.token) {
                return Ok(());
            }
            let Some(request) = draft.request() else {
                return Ok(());
            };
            let seen = Handle::current().block_on(sent(&world, &undecided, request))?;
            let count = if seen == 0 { &stopped } else { &reached };
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        outcome.unwrap();
    });
    let (reached, stopped) = (reached.into_inner(), stopped.into_inner());
    assert!(
        reached >= 40 && stopped >= 40,
        "{reached} reached a server, {stopped} did not"
    );
}

/// Sends a request and holds what servers saw against the log; how much they saw.
async fn sent(world: &World, undecided: &Undecided, request: Request<Body>) -> Result<usize, TestCaseError> {
    *undecided.since.lock().unwrap() = (world.log.permits().await, 0);
    let asked = format!("{request:?}");
    // A body that is cut is an answer too.
    let _ = world.estate().node.try_send(request).await;
    let found = undecided.found.lock().unwrap().clone();
    prop_assert!(found.is_empty(), "undecided: {found:?}");
    let (bank, files) = (world.bank.upstream.take(), world.provider.upstream.take());
    prop_assert!(
        world.foreign.upstream.take().is_empty(),
        "another tenant's server was reached"
    );
    for seen in &bank {
        prop_assert_eq!(seen.path.as_str(), "/mcp");
        let message = seen.json();
        if message["method"] == "tools/call" {
            let name = message["params"]["name"].as_str().unwrap_or_default().to_owned();
            prop_assert_eq!(&name, &newest_target(world.estate()).await, "{}", &asked);
            let amount = message["params"]["arguments"]["amount"].as_f64();
            prop_assert!(
                name != "pay" || amount.is_some_and(|amount| amount <= 100.0),
                "{}",
                message
            );
        }
    }
    for seen in &files {
        let path = seen.path.split('?').next().unwrap_or_default();
        let decided = newest_target(world.estate()).await;
        prop_assert_eq!(
            decided,
            format!("{} {}", seen.method, path.trim_start_matches("/v1")),
            "{}",
            &asked
        );
        prop_assert!(
            !path.starts_with("/v1/keys/"),
            "a path that a rule denies: {}",
            path
        );
    }
    Ok(bank.len() + files.len())
}

/// What the newest decision is about.
async fn newest_target(estate: &Estate) -> String {
    let newest = estate.admin("GET", "/calls?limit=1", Value::Null).await;
    newest["items"][0]["target"].as_str().unwrap().to_owned()
}

const LIMIT: &str = r#"
@id("small-payments-only")
forbid (principal is Agent, action == Action::"call_tool", resource == Tool::"bank:pay")
unless { context.arguments.number.hasTag("amount") && context.arguments.number.getTag("amount") <= 100 };
"#;
