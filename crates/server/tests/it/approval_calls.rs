//! Calls that need a person's yes: the client is sent to the page in the way of its era, the same call again uses the
//! yes once, and any other call is another call.

use crate::approval::{answer_as, approve};
use crate::gateway::Bank;
use crate::harness::*;
use axum::body::Body;
use chancery_core::time::Ttl;
use chancery_policy::ApprovalAnswer;
use chancery_server::Failure;
use http::Request;
use serde_json::{Value, json};

on_both_engines!(
    a_payment_over_the_limit_waits_for_a_yes_and_runs_once,
    a_yes_to_other_arguments_is_no_yes,
    a_yes_is_for_this_person_client_and_tool_definition,
    two_calls_at_once_run_once,
    a_no_to_a_call_is_asked_again_and_does_not_run,
    a_client_that_opens_urls_is_sent_to_the_page,
    a_session_remembers_whether_its_client_opens_urls,
    a_tool_that_a_yes_would_permit_is_listed,
    a_kill_between_yes_and_call_leaves_nothing,
    a_secret_argument_is_bound_and_not_shown,
);

const PAYMENTS: &str = r#"@id("payments-over-100-need-a-yes")
forbid (principal is Agent, action == Action::"call_tool", resource == Tool::"bank:pay")
unless { context.arguments.number.hasTag("amount") && (context.arguments.number.getTag("amount") <= 100
         || (context has approval && context.approval.count >= 1)) };"#;

async fn bank(place: &Place) -> Bank {
    let bank = Bank::open(place).await;
    crate::approval::prepare(&bank.estate, PAYMENTS).await;
    bank
}

/// The id of the request that a tool's error names.
#[track_caller]
fn asked(answer: &Answer) -> String {
    let body = answer.json();
    assert_eq!(body["result"]["isError"], true, "{body}");
    let text = body["result"]["content"][0]["text"].as_str().unwrap();
    let (_, id) = text
        .rsplit_once("/approvals/")
        .unwrap_or_else(|| panic!("{text}"));
    id.to_owned()
}

async fn a_payment_over_the_limit_waits_for_a_yes_and_runs_once(place: Place) {
    let bank = bank(&place).await;
    assert!(
        bank.tool("pay", json!({ "amount": 100, "to": "bob" }))
            .await
            .text()
            .contains("did pay")
    );
    bank.upstream.take();
    let large = json!({ "amount": 500, "to": "bob" });
    let id = asked(&bank.tool("pay", large.clone()).await);
    assert_eq!(
        asked(&bank.tool("pay", json!({ "to": "bob", "amount": 5e2 })).await),
        id,
        "one question"
    );
    assert!(bank.upstream.take().is_empty(), "nothing reached the bank");

    let view = approve(&bank.estate, "carol", &id).await.unwrap();
    let call = view.record.subject.call.unwrap();
    assert_eq!(
        (call.target.as_str(), call.arguments.unwrap()),
        ("pay", large.clone())
    );
    assert!(call.definition.unwrap().starts_with("sha256:"));
    assert!(bank.tool("pay", large.clone()).await.text().contains("did pay"));
    let sent = bank.upstream.take().remove(0);
    assert!(
        String::from_utf8(sent.body)
            .unwrap()
            .contains(r#""arguments":{"amount":500,"to":"bob"}"#)
    );
    assert_ne!(asked(&bank.tool("pay", large).await), id, "a yes is used once");
    assert_eq!(bank.estate.events("approval.used").await.len(), 1);
}

async fn a_yes_to_other_arguments_is_no_yes(place: Place) {
    let bank = bank(&place).await;
    let id = asked(&bank.tool("pay", json!({ "amount": 500, "to": "bob" })).await);
    approve(&bank.estate, "carol", &id).await.unwrap();
    for other in [
        json!({ "amount": 501, "to": "bob" }),
        json!({ "amount": 500, "to": "eve" }),
        json!({ "amount": 500 }),
    ] {
        assert_ne!(asked(&bank.tool("pay", other.clone()).await), id, "{other}");
    }
    assert!(bank.upstream.take().is_empty());
    assert!(
        bank.tool("pay", json!({ "to": "bob", "amount": 500 }))
            .await
            .text()
            .contains("did pay")
    );
}

async fn a_yes_is_for_this_person_client_and_tool_definition(place: Place) {
    let mut bank = bank(&place).await;
    let large = json!({ "amount": 500, "to": "bob" });
    let id = asked(&bank.tool("pay", large.clone()).await);
    approve(&bank.estate, "carol", &id).await.unwrap();
    let own = std::mem::take(&mut bank.token);
    let proof = bank.estate.assertion("j-1", json!({}));
    bank.token = bank
        .estate
        .asserted(&proof, &[("audience", "bank"), ("scope", "look pay")])
        .await
        .token();
    assert_ne!(
        asked(&bank.tool("pay", large.clone()).await),
        id,
        "another client of the same agent"
    );
    bank.token = own;
    assert!(bank.tool("pay", large).await.text().contains("did pay"));
}

async fn two_calls_at_once_run_once(place: Place) {
    let bank = bank(&place).await;
    let large = json!({ "amount": 500, "to": "bob" });
    let id = asked(&bank.tool("pay", large.clone()).await);
    approve(&bank.estate, "carol", &id).await.unwrap();
    let calls = (0..6).map(|_| bank.tool("pay", large.clone()));
    let answers = futures_util::future::join_all(calls).await;
    let ran = answers
        .iter()
        .filter(|answer| answer.text().contains("did pay"))
        .count();
    assert_eq!((ran, bank.upstream.take().len()), (1, 1), "{answers:?}");
}

async fn a_no_to_a_call_is_asked_again_and_does_not_run(place: Place) {
    let bank = bank(&place).await;
    let large = json!({ "amount": 500, "to": "bob" });
    let id = asked(&bank.tool("pay", large.clone()).await);
    answer_as(&bank.estate, "carol", &id, (ApprovalAnswer::Reject, None))
        .await
        .unwrap();
    assert_ne!(asked(&bank.tool("pay", large).await), id);
    assert!(bank.upstream.take().is_empty());
    assert!(matches!(
        approve(&bank.estate, "carol", &id).await,
        Err(Failure::Refused(_))
    ));
}

async fn a_client_that_opens_urls_is_sent_to_the_page(place: Place) {
    let bank = bank(&place).await;
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": { "elicitation": { "url": {} } },
    });
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": { "name": "pay", "arguments": { "amount": 500, "to": "bob" }, "_meta": meta } });
    let request = Request::post("/mcp/bank")
        .header("host", "id.example")
        .header("content-type", "application/json")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "pay")
        .header("authorization", format!("Bearer {}", bank.token));
    let answer = bank
        .estate
        .node
        .send(request.body(Body::from(body.to_string())).unwrap())
        .await;
    let result = &answer.json()["result"];
    assert_eq!(result["resultType"], "input_required", "{}", answer.text());
    let requests = result["inputRequests"].as_object().unwrap();
    let (id, asked) = requests.iter().next().unwrap();
    assert_eq!(asked["params"]["url"], json!(format!("{BASE}/approvals/{id}")));
}

async fn a_session_remembers_whether_its_client_opens_urls(place: Place) {
    let bank = bank(&place).await;
    let message = |method: &str, params: Value| {
        json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string()
    };
    let pay = message(
        "tools/call",
        json!({ "name": "pay", "arguments": { "amount": 500, "to": "bob" } }),
    );
    for (capabilities, is_sent) in [
        (json!({ "elicitation": { "url": {} } }), true),
        (json!({}), false),
    ] {
        let client = json!({ "name": "t", "version": "1" });
        let initialize = message(
            "initialize",
            json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": client }),
        );
        let opened = bank.send_as(&bank.token, &initialize, &[]).await;
        let session = opened.header("mcp-session-id").unwrap().to_owned();
        let answer = bank
            .send_as(&bank.token, &pay, &[("mcp-session-id", &session)])
            .await;
        let body = answer.json();
        if is_sent {
            assert_eq!(body["error"]["code"], -32042, "{body}");
            let asked = &body["error"]["data"]["elicitations"][0];
            let id = asked["elicitationId"].as_str().unwrap();
            assert_eq!(asked["url"], json!(format!("{BASE}/approvals/{id}")));
        } else {
            assert_eq!(body["result"]["isError"], true, "{body}");
        }
        // What a session remembers cannot be changed by whoever holds it.
        let mut forged = session;
        let first = if forged.starts_with("dX") { "LX" } else { "dX" };
        forged.replace_range(..2, first);
        let answer = bank
            .send_as(&bank.token, &pay, &[("mcp-session-id", &forged)])
            .await;
        assert_eq!(answer.status, 404, "{forged}");
    }
}

async fn a_tool_that_a_yes_would_permit_is_listed(place: Place) {
    let bank = bank(&place).await;
    let needs = r#"@id("always") forbid (principal is Agent, action == Action::"call_tool", resource == Tool::"bank:leak")
        unless { context has approval };"#;
    let text = bank.estate.admin("GET", "/policy", Value::Null).await["text"]
        .as_str()
        .unwrap()
        .to_owned();
    bank.estate
        .admin("PUT", "/policy", json!({ "text": format!("{text}\n{needs}") }))
        .await;
    let list = bank.call("tools/list", json!({})).await.text();
    assert!(
        list.contains(r#""name":"pay""#) && list.contains(r#""name":"leak""#),
        "{list}"
    );
    asked(&bank.tool("leak", json!({})).await);
}

async fn a_kill_between_yes_and_call_leaves_nothing(place: Place) {
    let mut bank = bank(&place).await;
    let large = json!({ "amount": 500, "to": "bob" });
    let id = asked(&bank.tool("pay", large.clone()).await);
    approve(&bank.estate, "carol", &id).await.unwrap();
    bank.estate.kill("grant", "planner-bank").await;
    bank.estate
        .admin("POST", "/grants/planner-bank/activate", json!({}))
        .await;
    bank.estate.node.advance(Ttl::from_seconds(1)).await;
    bank.renew().await;
    assert_ne!(asked(&bank.tool("pay", large).await), id);
    assert!(bank.upstream.take().is_empty());
}

async fn a_secret_argument_is_bound_and_not_shown(place: Place) {
    let bank = bank(&place).await;
    let with_pin = |pin: &str| json!({ "amount": 500, "to": "bob", "pin": pin });
    let id = asked(&bank.tool("pay", with_pin("MARKER-4711")).await);
    let view = approve(&bank.estate, "carol", &id).await.unwrap();
    assert!(!serde_json::to_string(&view).unwrap().contains("MARKER-4711"));
    let events = bank.estate.events("approval.").await;
    assert!(!Value::from(events).to_string().contains("MARKER-4711"));
    assert_ne!(asked(&bank.tool("pay", with_pin("MARKER-4712")).await), id);
    assert!(
        bank.tool("pay", with_pin("MARKER-4711"))
            .await
            .text()
            .contains("did pay")
    );
}
