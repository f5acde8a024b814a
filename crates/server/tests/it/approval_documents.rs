//! Prompts and documents that need a person's yes: asked for in the way of the era, sent on as they were shown, once;
//! and what is not put before people at all.

use crate::approval::{approve, prepare};
use crate::gateway::Bank;
use crate::harness::*;
use axum::body::Body;
use chancery_core::time::Ttl;
use http::Request;
use serde_json::{Value, json};

on_both_engines!(
    a_prompt_waits_for_a_yes_and_is_fetched_once,
    a_yes_to_other_arguments_of_a_prompt_is_no_yes,
    arguments_of_a_prompt_are_decided_on_and_fit_what_it_declares,
    a_document_waits_for_a_yes_and_is_read_once,
    a_yes_to_one_document_is_no_yes_to_another_or_to_notices_of_it,
    each_era_is_told_in_its_way,
    a_parameter_that_nobody_is_shown_is_refused,
    two_reads_at_once_read_once,
    a_kill_between_yes_and_read_leaves_nothing,
);

const NEED_A_YES: &str = r#"
@id("prompts-need-a-yes")
forbid (principal is Agent, action == Action::"get_prompt", resource) unless { context has approval };
@id("documents-need-a-yes")
forbid (principal is Agent, action == Action::"read_resource", resource) unless { context has approval };"#;

async fn bank(place: &Place, policy: &str) -> Bank {
    let bank = Bank::open(place).await;
    prepare(&bank.estate, policy).await;
    let list = bank.call("prompts/list", json!({})).await.text();
    assert!(
        list.contains("letter"),
        "what a yes would permit is listed: {list}"
    );
    bank.upstream.take();
    bank
}

/// The id of the request that a JSON-RPC error names.
#[track_caller]
fn asked(answer: &Answer) -> String {
    let body = answer.json();
    assert_eq!(
        (answer.status.as_u16(), &body["error"]["code"]),
        (200, &json!(-32602)),
        "{body}"
    );
    assert_eq!(body["error"]["data"]["reason"], "approval_required");
    let uri = body["error"]["data"]["approval_uri"].as_str().unwrap();
    let id = uri.strip_prefix(&format!("{BASE}/approvals/")).unwrap();
    assert!(body["error"]["message"].as_str().unwrap().ends_with(uri));
    id.to_owned()
}

#[track_caller]
fn done(answer: &Answer) {
    assert!(answer.json()["result"].is_object(), "{}", answer.text());
}

async fn letter(bank: &Bank, arguments: Value) -> Answer {
    let params = json!({ "name": "letter", "arguments": arguments });
    bank.call("prompts/get", params).await
}

async fn read(bank: &Bank, uri: &str) -> Answer {
    bank.call("resources/read", json!({ "uri": uri })).await
}

async fn a_prompt_waits_for_a_yes_and_is_fetched_once(place: Place) {
    let bank = bank(&place, NEED_A_YES).await;
    let id = asked(&letter(&bank, json!({ "to": "bob", "tone": "warm" })).await);
    assert!(bank.upstream.take().is_empty());
    let view = approve(&bank.estate, "carol", &id).await.unwrap();
    let asked_for = view.record.subject;
    assert_eq!(asked_for.action, "get_prompt");
    let call = asked_for.call.unwrap();
    assert_eq!(call.arguments.unwrap(), json!({ "to": "bob", "tone": "warm" }));
    assert!(call.definition.unwrap().starts_with("sha256:"));
    done(&letter(&bank, json!({ "tone": "warm", "to": "bob" })).await);
    let sent = bank.upstream.take().remove(0);
    let sent = String::from_utf8(sent.body).unwrap();
    assert!(
        sent.contains(r#""arguments":{"to":"bob","tone":"warm"}"#),
        "canonical: {sent}"
    );
    assert_ne!(
        asked(&letter(&bank, json!({ "to": "bob", "tone": "warm" })).await),
        id
    );
    assert_eq!(bank.estate.events("approval.used").await.len(), 1);
}

async fn a_yes_to_other_arguments_of_a_prompt_is_no_yes(place: Place) {
    let bank = bank(&place, NEED_A_YES).await;
    let id = asked(&letter(&bank, json!({ "to": "bob" })).await);
    approve(&bank.estate, "carol", &id).await.unwrap();
    for other in [
        json!({ "to": "eve" }),
        json!({ "to": "bob", "tone": "" }),
        json!({ "to": "bob " }),
    ] {
        assert_ne!(asked(&letter(&bank, other).await), id);
    }
    let completion = json!({ "ref": { "type": "ref/prompt", "name": "letter" },
        "argument": { "name": "to", "value": "b" } });
    let answer = bank.call("completion/complete", completion).await;
    assert!(answer.json()["error"]["data"]["approval_uri"].is_null());
    assert!(answer.json()["result"].is_null(), "{}", answer.text());
    assert!(bank.upstream.take().is_empty());
    done(&letter(&bank, json!({ "to": "bob" })).await);
}

async fn arguments_of_a_prompt_are_decided_on_and_fit_what_it_declares(place: Place) {
    let to_bob = r#"@id("to-bob") forbid (principal is Agent, action == Action::"get_prompt", resource)
        unless { context.arguments.text.hasTag("to") && context.arguments.text.getTag("to") == "bob" };"#;
    let bank = bank(&place, to_bob).await;
    done(&letter(&bank, json!({ "to": "bob" })).await);
    bank.upstream.take();
    for refused in [
        json!({ "to": "eve" }),
        json!({ "to": ["bob"] }),
        json!({ "to": "bob", "cc": "eve" }),
        json!({}),
    ] {
        let answer = letter(&bank, refused.clone()).await;
        assert_eq!(
            answer.json()["error"]["code"],
            -32602,
            "{refused}: {}",
            answer.text()
        );
    }
    assert!(bank.upstream.take().is_empty());
}

async fn a_document_waits_for_a_yes_and_is_read_once(place: Place) {
    let bank = bank(&place, NEED_A_YES).await;
    let id = asked(&read(&bank, "bank://statements/7").await);
    assert_eq!(
        asked(&read(&bank, "bank://statements/7").await),
        id,
        "one question"
    );
    let view = approve(&bank.estate, "carol", &id).await.unwrap();
    let call = view.record.subject.call.unwrap();
    assert_eq!(
        (call.target.as_str(), call.arguments),
        ("bank://statements/7", None)
    );
    done(&read(&bank, "bank://statements/7").await);
    let sent = bank.upstream.take().remove(0).json();
    assert_eq!(sent["params"], json!({ "uri": "bank://statements/7" }));
    assert_ne!(asked(&read(&bank, "bank://statements/7").await), id, "used once");
}

async fn a_yes_to_one_document_is_no_yes_to_another_or_to_notices_of_it(place: Place) {
    let bank = bank(&place, NEED_A_YES).await;
    let id = asked(&read(&bank, "bank://a").await);
    approve(&bank.estate, "carol", &id).await.unwrap();
    for other in [
        "bank://b",
        "bank://a/",
        "bank://a#b",
        "bank://A",
        "bank://%61",
        "bank://a\u{200b}",
    ] {
        assert_ne!(asked(&read(&bank, other).await), id, "{other}");
    }
    let notices = bank
        .call("resources/subscribe", json!({ "uri": "bank://a" }))
        .await;
    assert!(notices.json()["result"].is_null(), "{}", notices.text());
    let own = bank.token.clone();
    let proof = bank.estate.assertion("j-1", json!({}));
    let target = [("audience", "bank"), ("scope", "look pay")];
    let other = bank.estate.asserted(&proof, &target).await.token();
    let bank = Bank { token: other, ..bank };
    assert_ne!(asked(&read(&bank, "bank://a").await), id, "another client");
    assert!(bank.upstream.take().is_empty());
    let bank = Bank { token: own, ..bank };
    done(&read(&bank, "bank://a").await);
}

async fn each_era_is_told_in_its_way(place: Place) {
    let bank = bank(&place, NEED_A_YES).await;
    let stateless = async |opens: Value| {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": opens,
        });
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "resources/read",
            "params": { "uri": "bank://a", "_meta": meta } });
        let request = Request::post("/mcp/bank")
            .header("host", "id.example")
            .header("content-type", "application/json")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "resources/read")
            .header("mcp-name", "bank://a")
            .header("authorization", format!("Bearer {}", bank.token));
        let request = request.body(Body::from(body.to_string())).unwrap();
        bank.estate.node.send(request).await
    };
    let answer = stateless(json!({ "elicitation": { "url": {} } })).await;
    let result = &answer.json()["result"];
    assert_eq!(result["resultType"], "input_required", "{}", answer.text());
    let (id, visit) = result["inputRequests"]
        .as_object()
        .unwrap()
        .iter()
        .next()
        .unwrap();
    assert_eq!(visit["params"]["url"], json!(format!("{BASE}/approvals/{id}")));
    assert_eq!(&asked(&stateless(json!({})).await), id);
    assert_eq!(
        &asked(&read(&bank, "bank://a").await),
        id,
        "it is the same question in any era"
    );
}

async fn a_parameter_that_nobody_is_shown_is_refused(place: Place) {
    let bank = bank(&place, NEED_A_YES).await;
    let id = asked(&read(&bank, "bank://a").await);
    approve(&bank.estate, "carol", &id).await.unwrap();
    for params in [
        json!({ "uri": "bank://a", "version": "all" }),
        json!({ "uri": "bank://a", "arguments": { "all": true } }),
        json!({ "uri": "bank://a", "task": {} }),
    ] {
        let answer = bank.call("resources/read", params.clone()).await;
        assert!(answer.json()["result"].is_null(), "{params}: {}", answer.text());
        assert!(answer.json()["error"]["data"]["approval_uri"].is_null());
    }
    assert!(bank.upstream.take().is_empty());
    done(&read(&bank, "bank://a").await);
}

async fn two_reads_at_once_read_once(place: Place) {
    let bank = bank(&place, NEED_A_YES).await;
    let id = asked(&read(&bank, "bank://a").await);
    approve(&bank.estate, "carol", &id).await.unwrap();
    let answers = futures_util::future::join_all((0..6).map(|_| read(&bank, "bank://a"))).await;
    let done = answers
        .iter()
        .filter(|answer| answer.text().contains("\"result\""))
        .count();
    assert_eq!((done, bank.upstream.take().len()), (1, 1), "{answers:?}");
}

async fn a_kill_between_yes_and_read_leaves_nothing(place: Place) {
    let mut bank = bank(&place, NEED_A_YES).await;
    let id = asked(&read(&bank, "bank://a").await);
    approve(&bank.estate, "carol", &id).await.unwrap();
    bank.estate.kill("grant", "planner-bank").await;
    let activate = "/grants/planner-bank/activate";
    bank.estate.admin("POST", activate, json!({})).await;
    bank.estate.node.advance(Ttl::from_seconds(1)).await;
    bank.renew().await;
    assert_ne!(asked(&read(&bank, "bank://a").await), id);
    assert!(bank.upstream.take().is_empty());
}
