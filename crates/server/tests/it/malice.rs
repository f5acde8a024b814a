//! Servers and callers that are against us: answers that carry the credential, belong to others, never end or break
//! off, redirects, headers that would drop or double the credential, sessions that are forged, and a stop in the
//! middle. What `gateway` and `broker` test already is not tested again.

use crate::broker::Provider;
use crate::estate::*;
use crate::gateway::{Bank, KEY};
use crate::harness::*;
use crate::upstream::{Seen, Upstream, result_of};
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use tokio::sync::{Barrier, Notify};
use tower::ServiceExt as _;

on_both_engines!(
    a_credential_comes_back_in_no_header_and_no_event,
    an_event_that_answers_another_request_ends_the_stream,
    calls_that_are_answered_in_the_other_order_get_their_own_answers,
    an_answer_that_never_ends_is_cut,
    a_stream_that_breaks_off_gives_whole_events_and_its_end_is_recorded,
    a_body_that_breaks_off_does_not_look_whole,
    a_redirect_is_neither_followed_nor_handed_on,
    headers_that_would_drop_or_double_the_credential_change_nothing,
    a_token_in_the_query_is_no_token,
    a_forged_session_listens_to_nothing_and_ends_nothing,
    a_kill_ends_an_open_stream_of_events,
    a_kill_ends_an_open_answer_of_the_broker,
);

/// A bank behind the gateway and a provider behind the broker, in one tenant.
async fn both(place: &Place) -> (Bank, Provider) {
    let mut provider = Provider::open(place).await;
    let mut bank = Bank::on(provider.estate.again()).await;
    let ceiling = json!({ "ceiling": { "files": ["read", "write"], "bank": ["look", "pay"] } });
    provider.estate.change("agents", "planner", ceiling).await;
    bank.renew().await;
    provider.renew().await;
    (bank, provider)
}

/// Has a server answer calls of tools by this; everything else as it would.
fn tools<F>(upstream: &Upstream, answer: impl Fn(Value, Seen) -> F + Send + Sync + 'static)
where
    F: Future<Output = Response> + Send + 'static,
{
    let answer = Arc::new(answer);
    upstream.script(move |seen| {
        let answer = answer.clone();
        async move {
            let message = seen.json();
            if message["method"] != "tools/call" {
                return None;
            }
            Some(answer(message["id"].clone(), seen).await)
        }
    });
}

fn events(text: String) -> Response {
    ([("content-type", "text/event-stream")], text).into_response()
}

fn event(message: &Value) -> String {
    format!("data: {message}\n\n")
}

fn progress() -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progress": 1, "progressToken": 1 } })
}

/// The fault in the record of the newest call, once its end is there.
async fn fault(estate: &Estate) -> Value {
    loop {
        let newest = estate.admin("GET", "/calls?limit=1", Value::Null).await["items"][0].clone();
        if !newest["end"].is_null() {
            return newest["end"]["fault"].clone();
        }
        tokio::task::yield_now().await;
    }
}

async fn a_credential_comes_back_in_no_header_and_no_event(place: Place) {
    let (bank, provider) = both(&place).await;
    tools(&bank.upstream, |id, seen| async move {
        let key = seen
            .header("authorization")
            .unwrap_or_default()
            .replace("Bearer ", "");
        let result = json!({ "content": [] });
        let kind = ("content-type", "application/json".to_owned());
        match seen.json()["params"]["name"].as_str().unwrap_or_default() {
            "leak" => ([("mcp-session-id", key), kind], result_of(&id, &result)).into_response(),
            "pay" => {
                let mut response = result_of(&id, &result);
                let kind = format!("application/json; charset={key}").parse().unwrap();
                response.headers_mut().insert("content-type", kind);
                response
            }
            _ => {
                let mut notice = progress();
                notice["params"]["message"] = json!(format!("the key is {key}"));
                let last = json!({ "jsonrpc": "2.0", "id": id, "result": result });
                events(event(&progress()) + &event(&notice) + &event(&last))
            }
        }
    });
    for tool in ["leak", "pay"] {
        let answer = bank.tool(tool, json!({})).await;
        assert_eq!(answer.status, 502, "{tool}: {}", answer.text());
        assert_eq!(answer.header("mcp-session-id"), None);
        assert!(!format!("{answer:?}").contains(KEY), "{tool}: {answer:?}");
        assert_eq!(fault(&bank.estate).await, "credential_in_answer", "{tool}");
    }
    let answer = bank.tool("stream", json!({})).await;
    assert_eq!(
        answer.text(),
        event(&progress()),
        "what came before it, and nothing after"
    );
    assert_eq!(fault(&bank.estate).await, "credential_in_answer");

    provider.upstream.script(|seen| async move {
        let key = seen.header("x-api-key").unwrap_or_default().to_owned();
        Some(([("x-request", key)], "fine").into_response())
    });
    let answer = provider.send(&provider.token, "GET", "/files/a", &[]).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!(answer.header("x-request"), None);
}

async fn an_event_that_answers_another_request_ends_the_stream(place: Place) {
    let bank = Bank::open(&place).await;
    tools(&bank.upstream, |id, _| async move {
        let foreign = json!({ "jsonrpc": "2.0", "id": 8, "result": { "content": ["somebody else's"] } });
        let own = json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [] } });
        events(event(&progress()) + &event(&foreign) + &event(&own))
    });
    let answer = bank.tool("stream", json!({})).await;
    assert_eq!(answer.text(), event(&progress()));
    assert_eq!(fault(&bank.estate).await, "foreign_answer");
}

async fn calls_that_are_answered_in_the_other_order_get_their_own_answers(place: Place) {
    let bank = Bank::open(&place).await;
    let both = Arc::new(Barrier::new(2));
    let first = Arc::new(Notify::new());
    tools(&bank.upstream, move |id, seen| {
        let (both, first) = (both.clone(), first.clone());
        async move {
            let to = seen.json()["params"]["arguments"]["to"].clone();
            both.wait().await;
            // The one for bob waits until the other's answer is on its way.
            if to == "bob" {
                first.notified().await;
            } else {
                first.notify_one();
            }
            result_of(&id, &json!({ "content": [{ "type": "text", "text": to }] }))
        }
    });
    // Both have the same id: it means nothing beyond its own request.
    let call = |to: &'static str| bank.tool("pay", json!({ "to": to }));
    let (bob, carol) = tokio::join!(call("bob"), call("carol"));
    assert!(
        bob.text().contains("bob") && !bob.text().contains("carol"),
        "{}",
        bob.text()
    );
    assert!(
        carol.text().contains("carol") && !carol.text().contains("bob"),
        "{}",
        carol.text()
    );
}

async fn an_answer_that_never_ends_is_cut(place: Place) {
    let bank = Bank::open(&place).await;
    tools(&bank.upstream, |_, seen| async move {
        let is_stream = seen.json()["params"]["name"] == "stream";
        let kind = if is_stream {
            "text/event-stream"
        } else {
            "application/json"
        };
        let start = if is_stream {
            "data: "
        } else {
            "{\"jsonrpc\":\"2.0\",\"x\":\""
        };
        let first = stream::iter([Ok::<_, Infallible>(Bytes::from(start))]);
        let more = stream::repeat_with(|| Ok(Bytes::from(vec![b'x'; 1 << 20])));
        let body = Body::from_stream(first.chain(more));
        ([("content-type", kind)], body).into_response()
    });
    let answer = bank.tool("list_accounts", json!({})).await;
    assert_eq!(answer.status, 502);
    assert_eq!(fault(&bank.estate).await, "answer_too_large");
    let answer = bank.tool("stream", json!({})).await;
    assert_eq!(answer.text(), "");
    assert_eq!(fault(&bank.estate).await, "answer_too_large");
}

async fn a_stream_that_breaks_off_gives_whole_events_and_its_end_is_recorded(place: Place) {
    let bank = Bank::open(&place).await;
    let go_on = Arc::new(Notify::new());
    let told = go_on.clone();
    tools(&bank.upstream, move |_, _| {
        let told = told.clone();
        async move {
            let first = stream::iter([Ok(Bytes::from(event(&progress())))]);
            let half = stream::once(async move {
                told.notified().await;
                Ok(Bytes::from_static(b"data: {\"jsonrpc\":"))
            });
            let gone = stream::iter([Err(io::Error::other("gone"))]);
            let body = Body::from_stream(first.chain(half).chain(gone));
            ([("content-type", "text/event-stream")], body).into_response()
        }
    });
    let mut body = opened(&bank.estate, stream_call(&bank)).await;
    assert_eq!(piece(&mut body).await, event(&progress()));
    go_on.notify_one();
    assert!(body.frame().await.is_none(), "half of an event is no event");
    assert_eq!(fault(&bank.estate).await, "upstream_broke_off");
}

async fn a_body_that_breaks_off_does_not_look_whole(place: Place) {
    let provider = Provider::open(&place).await;
    provider.upstream.script(|_| async {
        let pieces = [
            Ok(Bytes::from_static(b"half of it")),
            Err(io::Error::other("gone")),
        ];
        Some(Body::from_stream(stream::iter(pieces)).into_response())
    });
    let request = broker_get(&provider.token, "/files/a");
    if let Ok(answer) = provider.estate.node.try_send(request).await {
        assert_eq!(
            answer.status, 502,
            "it broke off before its head was there: {answer:?}"
        );
    }
    assert_eq!(fault(&provider.estate).await, "upstream_broke_off");
}

fn broker_get(token: &str, path: &str) -> Request<Body> {
    let request = Request::get(format!("/broker/files{path}"))
        .header("host", "id.example")
        .header("authorization", format!("Bearer {token}"));
    request.body(Body::empty()).unwrap()
}

async fn a_redirect_is_neither_followed_nor_handed_on(place: Place) {
    let bank = Bank::open(&place).await;
    let elsewhere = Upstream::start().await;
    for status in [301, 302, 303, 307, 308] {
        let location = elsewhere.url("/mcp");
        tools(&bank.upstream, move |_, _| {
            let location = location.clone();
            async move { (StatusCode::from_u16(status).unwrap(), [("location", location)]).into_response() }
        });
        let answer = bank.tool("list_accounts", json!({})).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (502, None),
            "{status}"
        );
    }
    assert_eq!(bank.upstream.take().len(), 5);
    assert!(elsewhere.take().is_empty());
}

/// What a caller might send to have the credential dropped, doubled or sent elsewhere.
const HEADERS: &[(&str, &str)] = &[
    ("connection", "authorization"),
    ("connection", "x-api-key, close"),
    ("connection", "keep-alive, Authorization, X-Api-Key"),
    ("proxy-authorization", "Bearer mine"),
    ("x-api-key", "mine"),
    ("te", "trailers"),
    ("trailer", "authorization"),
    ("cookie", "authorization=mine"),
    ("x-forwarded-authorization", "mine"),
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-host", "evil.example"),
    ("x-original-url", "/v1/keys/1"),
    ("x-http-method-override", "DELETE"),
    ("forwarded", "for=127.0.0.1"),
    ("via", "1.1 evil.example"),
];

async fn headers_that_would_drop_or_double_the_credential_change_nothing(place: Place) {
    let (bank, provider) = both(&place).await;
    for (name, value) in HEADERS {
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": "list_accounts" } });
        let answer = bank
            .send_as(&bank.token, &body.to_string(), &[(*name, *value)])
            .await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let seen = bank.upstream.take().remove(0);
        let sent: Vec<_> = seen.headers.get_all("authorization").iter().collect();
        assert_eq!(sent, [format!("Bearer {KEY}").as_str()], "{name}: {value}");
        assert!(
            !format!("{:?}", seen.headers).contains("mine"),
            "{name}: {:?}",
            seen.headers
        );

        let answer = provider
            .send(&provider.token, "PUT", "/files/a", &[(*name, *value)])
            .await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let seen = provider.upstream.take().remove(0);
        assert_eq!(
            seen.headers.get_all("x-api-key").iter().count(),
            1,
            "{name}: {value}"
        );
        assert!(
            seen.header("x-api-key")
                .unwrap()
                .starts_with("MARKER-key-of-the-provider")
        );
        assert_eq!(
            (seen.method.as_str(), seen.path.as_str()),
            ("PUT", "/v1/files/a?account=acct+7")
        );
        let rest = format!("{:?}", seen.headers);
        assert!(
            !rest.contains("mine") && !rest.contains("evil") && !rest.contains("127.0.0.1\""),
            "{name}: {rest}"
        );
    }
    // Two tokens are none, whichever comes first.
    for other in ["Bearer other", "Basic eDp5"] {
        let authorization = [("authorization", other)];
        let answer = bank.send_as(&bank.token, "{}", &authorization).await;
        assert!(matches!(answer.status.as_u16(), 400 | 401), "{}", answer.status);
        let answer = provider
            .send(&provider.token, "GET", "/files/a", &authorization)
            .await;
        assert!(matches!(answer.status.as_u16(), 400 | 401), "{}", answer.status);
    }
    assert!(bank.upstream.take().is_empty() && provider.upstream.take().is_empty());
}

async fn a_token_in_the_query_is_no_token(place: Place) {
    let provider = Provider::open(&place).await;
    for name in ["access_token", "token", "authorization"] {
        let path = format!("/broker/files/files/a?{name}={}", provider.token);
        let answer = provider.estate.node.get(&path).await;
        assert_eq!(answer.status, 401, "{name}");
    }
    assert!(provider.upstream.take().is_empty());
    assert!(provider.estate.events("call.decided").await.is_empty());
}

async fn a_forged_session_listens_to_nothing_and_ends_nothing(place: Place) {
    let bank = Bank::open(&place).await;
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": { "name": "t", "version": "1" } });
    let session = bank
        .call("initialize", params)
        .await
        .header("mcp-session-id")
        .unwrap()
        .to_owned();
    bank.upstream.take();
    let (id, tag) = session.split_once('.').unwrap();
    let forged = [
        String::new(),
        ".".to_owned(),
        format!("{id}."),
        format!(".{tag}"),
        format!("{id}.{id}"),
        format!("{session}.{tag}"),
        format!("{id}=.{tag}"),
        "session-of-the-upstream".to_owned(),
    ];
    let send = async |method: &str, sessions: &[&str]| {
        let mut request = Request::builder()
            .method(method)
            .uri("/mcp/bank")
            .header("host", "id.example")
            .header("mcp-protocol-version", "2025-11-25")
            .header("authorization", format!("Bearer {}", bank.token));
        for session in sessions {
            request = request.header("mcp-session-id", *session);
        }
        bank.estate.node.send(request.body(Body::empty()).unwrap()).await
    };
    for method in ["GET", "DELETE"] {
        for session in &forged {
            assert_eq!(send(method, &[session]).await.status, 404, "{method} {session}");
        }
        let twice = send(method, &[&session, "another"]).await;
        assert_eq!(twice.status, 404, "{method}: two sessions are none");
    }
    assert!(bank.upstream.take().is_empty());
    // The server of these tests has neither; that it says so shows that the true one got there.
    assert_eq!(send("DELETE", &[&session]).await.status, 405);
    let seen = bank.upstream.take().remove(0);
    assert_eq!(seen.header("mcp-session-id"), Some("session-of-the-upstream"));
}

/// A piece at once, and then nothing for as long as anybody listens.
fn open_ended(piece: String) -> Body {
    let first = stream::iter([Ok::<_, Infallible>(Bytes::from(piece))]);
    Body::from_stream(first.chain(stream::pending()))
}

/// A call that is answered by a stream.
fn stream_call(bank: &Bank) -> Request<Body> {
    let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": "stream" } });
    let request = Request::post("/mcp/bank")
        .header("host", "id.example")
        .header("content-type", "application/json")
        .header("mcp-protocol-version", "2025-11-25")
        .header("authorization", format!("Bearer {}", bank.token));
    request.body(Body::from(call.to_string())).unwrap()
}

/// An answer whose body is still open.
async fn opened(estate: &Estate, request: Request<Body>) -> Body {
    let router = chancery_server::http::router(estate.node.app.clone());
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body()
}

async fn piece(body: &mut Body) -> Bytes {
    body.frame().await.unwrap().unwrap().into_data().unwrap()
}

async fn a_kill_ends_an_open_stream_of_events(place: Place) {
    let mut bank = Bank::open(&place).await;
    tools(&bank.upstream, |_, _| async move {
        let body = open_ended(event(&progress()));
        ([("content-type", "text/event-stream")], body).into_response()
    });
    for (noun, collection, name) in KILLS {
        bank.renew().await;
        let mut body = opened(&bank.estate, stream_call(&bank)).await;
        assert_eq!(piece(&mut body).await, event(&progress()));
        bank.estate.kill(noun, name).await;
        assert!(body.frame().await.is_none(), "{noun}: the stream goes on");
        assert_eq!(fault(&bank.estate).await, "revoked", "{noun}");
        let path = format!("/{collection}/{name}/activate");
        bank.estate.admin("POST", &path, Value::Null).await;
    }
}

/// Things that a call hangs on.
const KILLS: [(&str, &str, &str); 4] = [
    ("agent", "agents", "planner"),
    ("grant", "grants", "planner-bank-key"),
    ("account", "connected_accounts", "bank-key"),
    ("connection", "connections", "bank"),
];

async fn a_kill_ends_an_open_answer_of_the_broker(place: Place) {
    let mut provider = Provider::open(&place).await;
    // Longer than what is held back in search of the credential.
    provider
        .upstream
        .script(|_| async { Some(open_ended("x".repeat(4_096)).into_response()) });
    for (noun, collection, name) in [
        ("agent", "agents", "planner"),
        ("connection", "connections", "files"),
    ] {
        provider.renew().await;
        let request = broker_get(&provider.token, "/files/a");
        let mut body = opened(&provider.estate, request).await;
        assert!(piece(&mut body).await.starts_with(b"xxx"));
        provider.estate.kill(noun, name).await;
        let end = body.frame().await.unwrap();
        assert!(
            end.is_err(),
            "{noun}: a body that was cut looks whole, or goes on"
        );
        assert_eq!(fault(&provider.estate).await, "revoked", "{noun}");
        let path = format!("/{collection}/{name}/activate");
        provider.estate.admin("POST", &path, Value::Null).await;
    }
}
