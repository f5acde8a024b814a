//! Two tenants with two people and two agents each, and one server behind all of them: whatever they do in whatever
//! order, each request carries the credential of the account that belongs to that tenant, owner and connection, and
//! nobody sees what was meant for another.

use crate::estate::*;
use crate::harness::*;
use crate::upstream::{Seen, Upstream, result_of};
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::Request;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

on_both_engines!(
    whatever_is_done_in_whatever_order_nobody_gets_anothers,
    callers_at_once_each_get_their_own,
);

/// Who calls: which tenant, which agent, and for which person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Who {
    tenant: usize,
    agent: usize,
    /// `None` for the agent itself, which calls the desk through the broker; people's calls go to the bank.
    user: Option<usize>,
}

impl Who {
    /// Whose account is used.
    fn owner(self) -> Owner {
        (self.tenant, self.user.map_or(2 + self.agent, |user| user))
    }

    fn audience(self) -> &'static str {
        if self.user.is_some() { "bank" } else { "desk" }
    }
}

/// A tenant, and its owners of accounts: two people, then two agents.
type Owner = (usize, usize);

const TENANTS: [&str; 2] = ["", "/t/acme"];
const AGENTS: [&str; 2] = ["planner", "third"];
const OWNERS: [&str; 4] = ["alice", "bob", "planner", "third"];

#[derive(Clone, Debug)]
enum Step {
    /// A call, by whatever is that caller's.
    Call(Who),
    /// The same token, at the other tenant's address.
    Astray(Who),
    /// A call by the bank's token at the desk, or the other way round.
    Elsewhere(Who),
    Open(Who),
    /// A session that somebody opened, by somebody.
    Use(usize, Who),
    Set(Owner),
    Disconnect(Owner),
    Kill(usize, usize),
    Revive(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || {
        (
            0..2_usize,
            0..2_usize,
            proptest::option::weighted(0.7, 0..2_usize),
        )
            .prop_map(|(tenant, agent, user)| Who { tenant, agent, user })
    };
    let person = || {
        (0..2_usize, 0..2_usize, 0..2_usize).prop_map(|(tenant, agent, user)| Who {
            tenant,
            agent,
            user: Some(user),
        })
    };
    let agent = || (0..2_usize, 0..2_usize);
    prop_oneof![
        8 => who().prop_map(Step::Call),
        2 => who().prop_map(Step::Astray),
        2 => who().prop_map(Step::Elsewhere),
        3 => person().prop_map(Step::Open),
        6 => (any::<usize>(), person()).prop_map(|(session, who)| Step::Use(session, who)),
        4 => (0..2_usize, 0..4_usize).prop_map(Step::Set),
        2 => (0..2_usize, 0..4_usize).prop_map(Step::Disconnect),
        1 => agent().prop_map(|(tenant, agent)| Step::Kill(tenant, agent)),
        2 => agent().prop_map(|(tenant, agent)| Step::Revive(tenant, agent)),
    ]
}

struct Session {
    presented: String,
    upstream: String,
    opener: Who,
}

/// The node, the server behind it, and what should be true of them.
struct World {
    estates: [Estate; 2],
    upstream: Upstream,
    /// The credential of each account that is connected, and the account's name.
    accounts: HashMap<Owner, (String, String)>,
    is_killed: [[bool; 2]; 2],
    /// How often each agent was killed.
    generations: [[u64; 2]; 2],
    tokens: HashMap<Who, (String, u64)>,
    sessions: Vec<Session>,
    keys: u64,
}

impl World {
    async fn open(place: &Place) -> Self {
        let limits = "off".parse().unwrap();
        let node = crate::outside::node(place, |config, _| config.call_limits = limits).await;
        node.add_tenant("acme").await;
        let upstream = Upstream::start().await;
        upstream.script(|seen| async move { Some(answer(&seen)) });
        let estates = [
            Estate::on(node.clone(), TENANTS[0]).await,
            Estate::on(node, TENANTS[1]).await,
        ];
        for estate in &estates {
            estate.apply(document(&upstream)).await;
        }
        let mut world = Self {
            estates,
            upstream,
            accounts: HashMap::new(),
            is_killed: [[false; 2]; 2],
            generations: [[0; 2]; 2],
            tokens: HashMap::new(),
            sessions: Vec::new(),
            keys: 0,
        };
        for owner in everybody()
            .map(Who::owner)
            .collect::<std::collections::BTreeSet<_>>()
        {
            world.set(owner).await;
        }
        for tenant in 0..2 {
            // The first list pins what the server offers.
            let who = Who {
                tenant,
                agent: 0,
                user: Some(0),
            };
            let token = world.token(who).await.unwrap();
            let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
            assert_eq!(world.post(tenant, &token, &body, None).await.status, 200);
        }
        world.upstream.take();
        world
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Call(who) => self.call(who).await,
            Step::Astray(who) => self.astray(who).await,
            Step::Elsewhere(who) => self.elsewhere(who).await,
            Step::Open(who) => self.open_session(who).await,
            Step::Use(session, who) => self.use_session(session, who).await,
            Step::Set(owner) => self.set(owner).await,
            Step::Disconnect(owner) => self.disconnect(owner).await,
            Step::Kill(tenant, agent) => {
                self.estates[tenant].kill("agent", AGENTS[agent]).await;
                self.is_killed[tenant][agent] = true;
                self.generations[tenant][agent] += 1;
            }
            Step::Revive(tenant, agent) if self.is_killed[tenant][agent] => {
                let path = format!("/agents/{}/activate", AGENTS[agent]);
                self.estates[tenant].admin("POST", &path, Value::Null).await;
                self.is_killed[tenant][agent] = false;
            }
            Step::Revive(..) => {}
        }
        assert!(
            self.upstream.take().is_empty(),
            "{step:?}: a request that nobody expected"
        );
    }

    /// A token of this caller. One from before a kill is dead; a killed agent gets none.
    async fn token(&mut self, who: Who) -> Option<String> {
        let generation = self.generations[who.tenant][who.agent];
        if let Some((token, issued)) = self.tokens.get(&who).cloned() {
            if issued == generation {
                return Some(token);
            }
            let answer = self.request(who, &token, None).await;
            assert_eq!(answer.status, 401, "{who:?}: a token from before the kill");
            assert!(self.upstream.take().is_empty());
            self.tokens.remove(&who);
        }
        let estate = &self.estates[who.tenant];
        let target = [("audience", who.audience()), ("scope", "use")];
        let answer = match who.user {
            Some(user) => {
                let person = estate.user(OWNERS[user], &["staff"]);
                estate
                    .exchange_as(AGENTS[who.agent], (&person, JWT), &target)
                    .await
            }
            None => estate.own(AGENTS[who.agent], &target).await,
        };
        if self.is_killed[who.tenant][who.agent] {
            assert_ne!(answer.status, 200, "{who:?}: a killed agent got a token");
            return None;
        }
        self.tokens.insert(who, (answer.token(), generation));
        Some(answer.token())
    }

    async fn call(&mut self, who: Who) {
        let Some(token) = self.token(who).await else {
            return;
        };
        let answer = self.request(who, &token, None).await;
        self.holds(who, &answer, None);
    }

    /// Sends what this caller calls for, and tells the server whose account that should be.
    async fn request(&self, who: Who, token: &str, session: Option<&str>) -> Answer {
        request(&self.estates[who.tenant], who, token, session).await
    }

    async fn post(&self, tenant: usize, token: &str, body: &Value, session: Option<&str>) -> Answer {
        post(&self.estates[tenant], token, body, session).await
    }

    /// What came back, and what the server saw, is this caller's own and nobody else's.
    fn holds(&self, who: Who, answer: &Answer, session: Option<&str>) {
        let seen = self.upstream.take();
        let Some((key, _)) = self.accounts.get(&who.owner()) else {
            assert!(
                seen.is_empty(),
                "{who:?}: a call without an account went out: {seen:?}"
            );
            assert!(!answer.text().contains("MARK-"), "{who:?}: {}", answer.text());
            return;
        };
        assert_eq!(seen.len(), 1, "{who:?}: {}", answer.text());
        assert_eq!(credential(&seen[0]).as_ref(), Some(key), "{who:?}");
        assert_eq!(seen[0].header("mcp-session-id"), session, "{who:?}");
        only_own(who, answer);
    }

    async fn astray(&mut self, who: Who) {
        let Some(token) = self.token(who).await else {
            return;
        };
        let other = Who {
            tenant: 1 - who.tenant,
            ..who
        };
        let answer = self.request(other, &token, None).await;
        assert_eq!(answer.status, 401, "{who:?}: {}", answer.text());
    }

    async fn elsewhere(&mut self, who: Who) {
        let Some(token) = self.token(who).await else {
            return;
        };
        let user = if who.user.is_some() { None } else { Some(0) };
        let answer = self.request(Who { user, ..who }, &token, None).await;
        assert_eq!(answer.status, 401, "{who:?}: {}", answer.text());
    }

    async fn open_session(&mut self, who: Who) {
        let Some(token) = self.token(who).await else {
            return;
        };
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "t", "version": "1" } });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
        let answer = self.post(who.tenant, &token, &body, None).await;
        self.holds(who, &answer, None);
        if let Some(presented) = answer.header("mcp-session-id") {
            self.sessions.push(Session {
                presented: presented.to_owned(),
                upstream: answer.json()["result"]["serverInfo"]["session"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
                opener: who,
            });
        }
    }

    async fn use_session(&mut self, session: usize, who: Who) {
        if self.sessions.is_empty() {
            return;
        }
        let Some(token) = self.token(who).await else {
            return;
        };
        let session = &self.sessions[session % self.sessions.len()];
        let answer = self.request(who, &token, Some(&session.presented)).await;
        if session.opener == who {
            self.holds(who, &answer, Some(&session.upstream));
        } else {
            assert_eq!(
                answer.status, 404,
                "{who:?} uses a session of {:?}",
                session.opener
            );
            assert!(self.upstream.take().is_empty());
        }
    }

    async fn set(&mut self, owner: Owner) {
        self.keys += 1;
        let (tenant, number) = owner;
        let key = format!(
            "KEY-{tenant}-{}-{:06}-0123456789abcdef",
            OWNERS[number], self.keys
        );
        let (connection, kind) = if number < 2 {
            ("bank", "user")
        } else {
            ("desk", "agent")
        };
        let body =
            json!({ "connection": connection, "owner": { kind: OWNERS[number] }, "values": { "key": key } });
        let account = self.estates[tenant]
            .admin("POST", "/connected_accounts", body)
            .await;
        let name = account["name"].as_str().unwrap().to_owned();
        self.accounts.insert(owner, (key, name));
    }

    async fn disconnect(&mut self, owner: Owner) {
        if let Some((_, name)) = self.accounts.remove(&owner) {
            let path = format!("/connected_accounts/{name}/retire");
            self.estates[owner.0].admin("POST", &path, Value::Null).await;
        }
    }
}

/// Sends what this caller calls for.
async fn request(estate: &Estate, who: Who, token: &str, session: Option<&str>) -> Answer {
    if who.user.is_none() {
        let request = Request::get(estate.path("/broker/desk/papers"))
            .header("host", "id.example")
            .header("authorization", format!("Bearer {token}"));
        return estate.node.send(request.body(Body::empty()).unwrap()).await;
    }
    let params = json!({ "name": "list_accounts", "arguments": {} });
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
    post(estate, token, &body, session).await
}

async fn post(estate: &Estate, token: &str, body: &Value, session: Option<&str>) -> Answer {
    let mut request = Request::post(estate.path("/mcp/bank"))
        .header("host", "id.example")
        .header("content-type", "application/json")
        .header("mcp-protocol-version", "2025-11-25")
        .header("authorization", format!("Bearer {token}"));
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
    }
    estate
        .node
        .send(request.body(Body::from(body.to_string())).unwrap())
        .await
}

/// The answer holds what the server says to this caller's owner, and to nobody else.
#[track_caller]
fn only_own(who: Who, answer: &Answer) {
    let text = answer.text();
    assert_eq!(answer.status, 200, "{who:?}: {text}");
    for (tenant, number) in (0..2).flat_map(|tenant| (0..4).map(move |number| (tenant, number))) {
        let is_own = (tenant, number) == who.owner();
        assert_eq!(
            text.contains(&mark(tenant, OWNERS[number])),
            is_own,
            "{who:?}: {text}"
        );
    }
    assert!(!text.contains("KEY-"), "{who:?}: {text}");
}

fn mark(tenant: usize, owner: &str) -> String {
    format!("MARK-{tenant}-{owner}.")
}

/// The credential of a request, wherever it stands. Two are none.
fn credential(seen: &Seen) -> Option<String> {
    let text = format!("{:?} {}", seen.headers, String::from_utf8_lossy(&seen.body));
    if text.matches("KEY-").count() != 1 {
        return None;
    }
    let value = seen
        .header("authorization")
        .or_else(|| seen.header("x-api-key"))?;
    Some(value.trim_start_matches("Bearer ").to_owned())
}

/// Says for whom it takes the caller by the credential alone.
fn answer(seen: &Seen) -> Response {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let key = credential(seen).unwrap_or_default();
    let mut words = key.split('-').skip(1);
    let tenant = words.next().and_then(|tenant| tenant.parse().ok()).unwrap_or(9);
    let mark = mark(tenant, words.next().unwrap_or_default());
    let message = seen.json();
    let id = &message["id"];
    match message["method"].as_str() {
        Some("initialize") => {
            let session = format!("session-{}", NEXT.fetch_add(1, Ordering::Relaxed));
            let server = json!({ "name": mark, "version": "1", "session": session });
            let result = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": server });
            ([("mcp-session-id", session)], result_of(id, &result)).into_response()
        }
        Some("tools/list") => {
            let tool =
                json!({ "name": "list_accounts", "inputSchema": { "type": "object", "properties": {} } });
            result_of(id, &json!({ "tools": [tool] }))
        }
        Some(_) => result_of(id, &json!({ "content": [{ "type": "text", "text": mark }] })),
        None => mark.into_response(),
    }
}

fn document(upstream: &Upstream) -> Value {
    let key = |header: Value| json!({ "api_key": { "parts": [{ "name": "key", "placement": { "header": header } }] } });
    let mut grants = Vec::new();
    for agent in AGENTS {
        grants.push(json!({ "agent": agent, "principal": "itself", "resource": "desk", "scopes": ["use"] }));
        grants.push(json!({ "agent": agent, "principal": "itself", "connection": "desk" }));
        for user in &OWNERS[..2] {
            let principal = json!({ "user": user });
            grants.push(
                json!({ "agent": agent, "principal": principal, "resource": "bank", "scopes": ["use"] }),
            );
            grants.push(json!({ "agent": agent, "principal": principal, "connection": "bank" }));
        }
    }
    let agents = AGENTS.map(
        |agent| json!({ "name": agent, "owner": "ops", "ceiling": { "bank": ["use"], "desk": ["use"], "notes": ["read"] } }),
    );
    json!({
        "users": [{ "name": "bob", "issuer": "corp", "subject": "bob", "roles": ["staff"] }],
        "connections": [
            { "name": "bank", "base_url": upstream.url(""), "owner_level": "user",
              "credential": key(json!({ "name": "Authorization", "prefix": "Bearer " })) },
            { "name": "desk", "base_url": upstream.url("/v1"), "owner_level": "agent",
              "credential": key(json!({ "name": "X-Api-Key" })) },
        ],
        "resources": [
            { "name": "bank", "upstream": { "mcp": { "url": upstream.url("/mcp"), "connection": "bank" } },
              "scopes": { "use": {} }, "default_scopes": ["use"], "holders": { "staff": ["use"] },
              "tools": { "list_accounts": ["use"] } },
            { "name": "desk", "scopes": { "use": {} }, "default_scopes": ["use"],
              "upstream": { "http": { "connection": "desk", "routes": [{ "path": "/**", "scopes": ["use"] }] } } },
        ],
        "agents": agents,
        "grants": grants,
    })
}

/// Everybody who calls.
fn everybody() -> impl Iterator<Item = Who> {
    let pairs = (0..2).flat_map(|tenant| (0..2).map(move |agent| (tenant, agent)));
    pairs.flat_map(|(tenant, agent)| [Some(0), Some(1), None].map(|user| Who { tenant, agent, user }))
}

async fn whatever_is_done_in_whatever_order_nobody_gets_anothers(place: Place) {
    let mut world = World::open(&place).await;
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    for _ in 0..CASES {
        // What one sequence leaves is where the next begins.
        let steps = vec(step(), 4..16).new_tree(&mut runner).unwrap().current();
        println!("{steps:?}");
        for step in &steps {
            world.take(step).await;
        }
    }
    // Whatever was done to them, all of them work again as they should.
    for who in everybody() {
        world.take(&Step::Revive(who.tenant, who.agent)).await;
        world.take(&Step::Set(who.owner())).await;
        world.take(&Step::Open(Who { user: Some(0), ..who })).await;
    }
    for who in everybody() {
        world.take(&Step::Call(who)).await;
        for session in 0..world.sessions.len() {
            if who.user.is_some() {
                world.take(&Step::Use(session, who)).await;
            }
        }
    }
}

async fn callers_at_once_each_get_their_own(place: Place) {
    let mut world = World::open(&place).await;
    let mut callers = Vec::new();
    for who in everybody() {
        callers.push((who, world.token(who).await.unwrap()));
    }
    world.upstream.take();
    let calls = callers.iter().flat_map(|caller| std::iter::repeat_n(caller, 12));
    let calls = calls.map(|(who, token)| {
        let (estate, who, token) = (world.estates[who.tenant].again(), *who, token.clone());
        tokio::spawn(async move { (who, request(&estate, who, &token, None).await) })
    });
    for call in calls.collect::<Vec<_>>() {
        let (who, answer) = call.await.unwrap();
        only_own(who, &answer);
    }
    for seen in world.upstream.take() {
        let key = credential(&seen).unwrap();
        assert!(world.accounts.values().any(|(known, _)| *known == key));
    }
}

const CASES: usize = 24;
