//! Brokered requests that need a person's yes: everything that is sent on is what was shown, the same request made
//! again uses the yes once, and any other request is another request.

use crate::approval::{approve, prepare};
use crate::broker::Provider;
use crate::harness::*;
use crate::identity_provider::IdentityProvider;
use axum::body::{Body, Bytes};
use chancery_core::time::Ttl;
use http::Request;
use serde_json::{Value, json};

on_both_engines!(
    a_request_waits_for_a_yes_and_is_sent_once,
    another_method_path_query_header_or_body_is_another_request,
    a_yes_is_for_this_client_and_nobody_else,
    two_requests_at_once_are_sent_once,
    a_kill_between_yes_and_request_leaves_nothing,
    a_connection_that_leads_elsewhere_has_no_yes,
    what_cannot_be_shown_whole_is_refused_and_says_why,
    a_caller_s_secrets_are_bound_and_not_shown,
    hostile_text_in_a_request_stays_as_it_is_sent,
    a_number_that_must_be_chosen_is_told_to_the_caller,
    the_page_shows_everything_that_is_sent,
);

const WRITES: &str = r#"@id("writes-need-a-yes")
forbid (principal is Agent, action == Action::"request", resource is Endpoint)
unless { context has method && context.method == "GET" || (context has approval && context.approval.count >= 1) };"#;

async fn provider(place: &Place, policy: &str) -> Provider {
    let provider = Provider::open(place).await;
    prepare(&provider.estate, policy).await;
    provider
}

/// A request as a caller makes it.
#[derive(Clone, Copy)]
struct Sent<'a> {
    method: &'a str,
    path: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: &'a str,
}

const PUT: Sent<'static> = Sent {
    method: "PUT",
    path: "/files/a?mode=replace",
    headers: &[("content-type", "application/json"), ("x-dry-run", "no")],
    body: r#"{"text":"new"}"#,
};

async fn send(provider: &Provider, sent: Sent<'_>) -> Answer {
    send_as(provider, &provider.token, sent).await
}

async fn send_as(provider: &Provider, token: &str, sent: Sent<'_>) -> Answer {
    send_body(provider, token, sent, Body::from(sent.body.to_owned())).await
}

async fn send_body(provider: &Provider, token: &str, sent: Sent<'_>, body: Body) -> Answer {
    let mut request = Request::builder()
        .method(sent.method)
        .uri(format!("/broker/files{}", sent.path))
        .header("host", "id.example")
        .header("authorization", format!("Bearer {token}"));
    for (name, value) in sent.headers {
        request = request.header(*name, *value);
    }
    provider.estate.node.send(request.body(body).unwrap()).await
}

/// The id of the request that an answer names.
#[track_caller]
fn asked(answer: &Answer) -> String {
    assert_eq!(answer.status, 403, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["code"], "approval_required", "{body}");
    let id = body["auth_req_id"].as_str().unwrap().to_owned();
    assert_eq!(body["approval_uri"], format!("{BASE}/approvals/{id}"));
    id
}

#[track_caller]
fn is_a_problem(answer: &Answer) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(
        (&problem["interval"], &problem["expires_in"]),
        (&json!(5), &json!(600))
    );
    assert!(problem["decision"].as_str().unwrap().starts_with("dec_") && problem["number"].is_null());
}

async fn a_request_waits_for_a_yes_and_is_sent_once(place: Place) {
    let provider = provider(&place, WRITES).await;
    let get = Sent {
        method: "GET",
        body: "",
        ..PUT
    };
    assert_eq!(send(&provider, get).await.status, 200, "needs none");
    provider.upstream.take();

    let answer = send(&provider, PUT).await;
    let id = asked(&answer);
    is_a_problem(&answer);
    let again = Sent {
        path: "/files/%61?mode=replace",
        ..PUT
    };
    assert_eq!(
        asked(&send(&provider, again).await),
        id,
        "one request in two spellings"
    );
    assert!(provider.upstream.take().is_empty(), "nothing was sent");

    let view = approve(&provider.estate, "carol", &id).await.unwrap();
    let call = view.record.subject.call.unwrap();
    let request = call.request.unwrap();
    assert_eq!(
        (
            call.target.as_str(),
            request.method.as_str(),
            request.path.as_str()
        ),
        ("PUT /files/a", "PUT", "/v1/files/a")
    );
    assert_eq!(request.origin, provider.upstream.url(""));
    assert_eq!(request.query.as_deref(), Some("mode=replace"));
    assert_eq!(request.headers["x-dry-run"], "no");
    let body = request.body.unwrap();
    assert_eq!((body.bytes, body.text.as_deref()), (14, Some(PUT.body)));
    assert_eq!(body.sha256.len(), 64);

    // What only names the attempt may differ.
    let headers = [PUT.headers, &[("idempotency-key", "2"), ("traceparent", "00-1")]].concat();
    let again = Sent {
        headers: &headers,
        ..PUT
    };
    assert_eq!(send(&provider, again).await.status, 200);
    let sent = provider.upstream.take().remove(0);
    assert_eq!(
        (sent.method.as_str(), sent.body.as_slice()),
        ("PUT", PUT.body.as_bytes())
    );
    assert!(sent.path.starts_with("/v1/files/a?mode=replace"), "{}", sent.path);
    assert_ne!(asked(&send(&provider, PUT).await), id, "a yes is used once");
    assert_eq!(provider.estate.events("approval.used").await.len(), 1);
    assert!(provider.upstream.take().is_empty());
}

/// The same request, but for one thing.
const OTHERS: &[Sent<'_>] = &[
    Sent {
        method: "POST",
        ..PUT
    },
    Sent {
        path: "/files/b?mode=replace",
        ..PUT
    },
    Sent {
        path: "/files/a/?mode=replace",
        ..PUT
    },
    Sent {
        path: "/files/a?mode=delete",
        ..PUT
    },
    Sent {
        path: "/files/a?mode=replace&mode=delete",
        ..PUT
    },
    Sent {
        path: "/files/a",
        ..PUT
    },
    Sent {
        headers: &[("content-type", "application/json"), ("x-dry-run", "yes")],
        ..PUT
    },
    Sent {
        headers: &[("content-type", "text/plain"), ("x-dry-run", "no")],
        ..PUT
    },
    Sent {
        headers: &[("content-type", "application/json")],
        ..PUT
    },
    Sent {
        body: r#"{"text":"old"}"#,
        ..PUT
    },
    Sent {
        body: r#"{"text":"new"} "#,
        ..PUT
    },
    Sent { body: "", ..PUT },
];

async fn another_method_path_query_header_or_body_is_another_request(place: Place) {
    let provider = provider(&place, WRITES).await;
    let id = asked(&send(&provider, PUT).await);
    approve(&provider.estate, "carol", &id).await.unwrap();
    for (number, other) in OTHERS.iter().enumerate() {
        // One at a time: many open requests of one agent are a flood.
        if number % 5 == 0 {
            provider.estate.node.advance(Ttl::from_seconds(1)).await;
        }
        let answer = send(&provider, *other).await;
        let code = answer.json()["code"].as_str().unwrap().to_owned();
        assert!(
            code == "not_approvable" || asked(&answer) != id,
            "{number}: {}",
            answer.text()
        );
    }
    assert!(provider.upstream.take().is_empty());
    assert_eq!(send(&provider, PUT).await.status, 200);
}

async fn a_yes_is_for_this_client_and_nobody_else(place: Place) {
    let provider = provider(&place, WRITES).await;
    let id = asked(&send(&provider, PUT).await);
    approve(&provider.estate, "carol", &id).await.unwrap();
    let proof = provider.estate.assertion("j-1", json!({}));
    let other = provider
        .estate
        .asserted(&proof, &[("audience", "files"), ("scope", "read write")])
        .await
        .token();
    assert_ne!(
        asked(&send_as(&provider, &other, PUT).await),
        id,
        "another client"
    );
    assert!(provider.upstream.take().is_empty());
    assert_eq!(send(&provider, PUT).await.status, 200);
}

async fn two_requests_at_once_are_sent_once(place: Place) {
    let provider = provider(&place, WRITES).await;
    let id = asked(&send(&provider, PUT).await);
    approve(&provider.estate, "carol", &id).await.unwrap();
    let answers = futures_util::future::join_all((0..6).map(|_| send(&provider, PUT))).await;
    let sent = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((sent, provider.upstream.take().len()), (1, 1), "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert!(answer.status == 403 || answer.status == 503, "{answer:?}");
    }
}

async fn a_kill_between_yes_and_request_leaves_nothing(place: Place) {
    let mut provider = provider(&place, WRITES).await;
    let id = asked(&send(&provider, PUT).await);
    approve(&provider.estate, "carol", &id).await.unwrap();
    provider.estate.kill("agent", "planner").await;
    assert_eq!(send(&provider, PUT).await.status, 401);
    provider
        .estate
        .admin("POST", "/agents/planner/activate", json!({}))
        .await;
    provider.estate.node.advance(Ttl::from_seconds(1)).await;
    provider.renew().await;
    assert_ne!(asked(&send(&provider, PUT).await), id);
    assert!(provider.upstream.take().is_empty());
}

async fn a_connection_that_leads_elsewhere_has_no_yes(place: Place) {
    let provider = provider(&place, WRITES).await;
    let id = asked(&send(&provider, PUT).await);
    approve(&provider.estate, "carol", &id).await.unwrap();
    let elsewhere = crate::upstream::Upstream::start().await;
    let mut connection = provider.estate.show("connections", "files").await["spec"].clone();
    connection["name"] = json!("files");
    connection["base_url"] = json!(elsewhere.url("/v1"));
    provider
        .estate
        .apply(json!({ "connections": [connection] }))
        .await;
    let account =
        json!({ "values": { "key": "k-2", "account": "a" }, "connection": "files", "owner": "tenant" });
    let _ = provider
        .estate
        .try_admin("POST", "/connected_accounts", account)
        .await;
    let answer = send(&provider, PUT).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(provider.upstream.take().is_empty() && elsewhere.take().is_empty());
}

async fn what_cannot_be_shown_whole_is_refused_and_says_why(place: Place) {
    let provider = provider(&place, WRITES).await;
    let refused = |answer: &Answer, why: &str| {
        assert_eq!(answer.status, 403, "{}", answer.text());
        let body = answer.json();
        assert_eq!(body["code"], "not_approvable", "{body}");
        assert!(body["detail"].as_str().unwrap().contains(why), "{body}");
        assert!(body["decision"].as_str().unwrap().starts_with("dec_"));
    };
    let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"a piece"))]);
    let streamed = send_body(&provider, &provider.token, PUT, Body::from_stream(pieces)).await;
    refused(&streamed, "without saying how long it is");
    let long = "x".repeat((64 << 10) + 1);
    refused(
        &send(&provider, Sent { body: &long, ..PUT }).await,
        "longer than 65536 bytes",
    );
    let query = format!("/files/a?{}", "q".repeat(4_000));
    let value = "v".repeat(5_000);
    let wide = Sent {
        path: &query,
        headers: &[("x-wide", &value)],
        ..PUT
    };
    refused(&send(&provider, wide).await, "does not fit on a page");
    assert!(provider.estate.events("approval.").await.is_empty());
    let decided = provider.estate.events("call.decided").await;
    assert_eq!(decided.len(), 3, "each refusal is recorded");

    let most = "x".repeat(64 << 10);
    let id = asked(&send(&provider, Sent { body: &most, ..PUT }).await);
    let view = approve(&provider.estate, "carol", &id).await.unwrap();
    let body = view.record.subject.call.unwrap().request.unwrap().body.unwrap();
    assert_eq!((body.bytes, body.text), (64 << 10, None), "bound, not shown");
    assert_eq!(send(&provider, Sent { body: &most, ..PUT }).await.status, 200);
}

async fn a_caller_s_secrets_are_bound_and_not_shown(place: Place) {
    let provider = provider(&place, WRITES).await;
    let with = async |value: &str| {
        let headers = [("x-upload-token", value)];
        let sent = Sent {
            headers: &headers,
            ..PUT
        };
        send(&provider, sent).await
    };
    let id = asked(&with("MARKER-4711").await);
    let view = approve(&provider.estate, "carol", &id).await.unwrap();
    assert!(!serde_json::to_string(&view).unwrap().contains("MARKER-4711"));
    assert!(
        !Value::from(provider.estate.events("approval.").await)
            .to_string()
            .contains("MARKER-4711")
    );
    assert_ne!(asked(&with("MARKER-4712").await), id);
    assert_eq!(with("MARKER-4711").await.status, 200);
    assert_eq!(
        provider.upstream.take().remove(0).header("x-upload-token"),
        Some("MARKER-4711")
    );
}

async fn hostile_text_in_a_request_stays_as_it_is_sent(place: Place) {
    let provider = provider(&place, WRITES).await;
    let hostile = Sent {
        path: "/files/%E2%80%AEexe.txt?note=%3Cscript%3E'",
        body: "approved by Ada \u{202e}",
        ..PUT
    };
    let id = asked(&send(&provider, hostile).await);
    let view = approve(&provider.estate, "carol", &id).await.unwrap();
    let request = view.record.subject.call.unwrap().request.unwrap();
    assert_eq!(request.path, "/v1/files/%E2%80%AEexe.txt");
    assert_eq!(request.query.as_deref(), Some("note=%3Cscript%3E%27"));
    assert_eq!(
        request.body.unwrap().text,
        None,
        "what turns text is not shown as text"
    );
    assert_eq!(send(&provider, hostile).await.status, 200);
    let sent = provider.upstream.take().remove(0);
    assert!(
        sent.path
            .starts_with("/v1/files/%E2%80%AEexe.txt?note=%3Cscript%3E%27"),
        "{}",
        sent.path
    );
}

async fn a_number_that_must_be_chosen_is_told_to_the_caller(place: Place) {
    let policy = r#"@id("number") forbid (principal is Agent, action == Action::"request", resource is Endpoint)
        unless { context has approval && context.approval.methods.contains("number") };"#;
    let provider = provider(&place, policy).await;
    let answer = send(&provider, PUT).await;
    let id = asked(&answer);
    let number = answer.json()["number"].as_u64().unwrap();
    let number = u32::try_from(number).unwrap();
    let given = (chancery_policy::ApprovalAnswer::Approve, Some(number));
    crate::approval::answer_as(&provider.estate, "carol", &id, given)
        .await
        .unwrap();
    assert_eq!(send(&provider, PUT).await.status, 200);
}

async fn the_page_shows_everything_that_is_sent(place: Place) {
    let idp = IdentityProvider::start(true).await;
    let approver = r#"@id("carol-approves") permit (principal == User::"company:carol", action == Action::"approve", resource is Approval);"#;
    let provider = provider(&place, &format!("{WRITES}\n{approver}")).await;
    let company = json!({ "trusted_issuers": [idp.trusted("company", &json!({}))] });
    provider.estate.apply(company).await;
    let mut carol = idp.sign_in(&provider.estate.node, "carol").await;
    let sent = Sent {
        body: "line <one>\n\tline two",
        ..PUT
    };
    let id = asked(&send(&provider, sent).await);
    let page = carol.visit(&format!("/approvals/{id}")).await.text();
    for shown in [
        "to send PUT /files/a at files, once",
        &provider.upstream.address.to_string(),
        "/v1/files/a",
        "mode=replace",
        "Header x-dry-run",
        "20 bytes, SHA-256 ",
        "line &#60;one&#62;",
        "    line two",
        "Approve once",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let unseen = Sent {
        body: "line\u{200b}",
        ..PUT
    };
    let id = asked(&send(&provider, unseen).await);
    let page = carol.visit(&format!("/approvals/{id}")).await.text();
    assert!(page.contains("A yes is to bytes that you do not see"), "{page}");
}
