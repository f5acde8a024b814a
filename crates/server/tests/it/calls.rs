//! `GET /calls`: one row for a call, from its decision to its end.

use crate::gateway::Bank;
use crate::harness::*;
use chancery_core::time::Ttl;
use serde_json::{Value, json};

on_both_engines!(
    a_call_and_its_end_are_one_row_and_one_sentence,
    a_refused_call_says_why,
    filters_find_by_name_and_nothing_else,
    pages_go_on_where_the_one_before_ended,
    times_bound_the_list,
    whoever_may_not_read_the_log_may_not_read_calls,
);

async fn calls(bank: &Bank, query: &str) -> Value {
    bank.estate
        .admin("GET", &format!("/calls{query}"), Value::Null)
        .await
}

fn targets(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["target"].as_str().unwrap())
        .collect()
}

/// The newest call, once its end is recorded: that is done beside the answer.
async fn ended(bank: &Bank) -> Value {
    for _ in 0..5_000 {
        let page = calls(bank, "?limit=1").await;
        if !page["items"][0]["end"].is_null() {
            return page["items"][0].clone();
        }
        tokio::task::yield_now().await;
    }
    panic!("the end of the call was not recorded");
}

async fn a_call_and_its_end_are_one_row_and_one_sentence(place: Place) {
    let bank = Bank::open(&place).await;
    bank.tool("list_accounts", json!({})).await;
    let call = ended(&bank).await;
    assert_eq!(call["agent"], "planner");
    assert_eq!(call["resource"], "bank");
    assert_eq!(call["target"], "list_accounts");
    assert_eq!(call["action"], "call_tool");
    assert_eq!(call["connection"], "bank");
    assert_eq!(call["outcome"], "permitted");
    assert_eq!(call["end"]["status"], 200);
    let decision = call["decision"].as_str().unwrap();
    let took = call["end"]["milliseconds"].as_u64().unwrap();
    assert_eq!(
        call["sentence"],
        format!("planner called list_accounts on bank: permitted, answered in {took} ms ({decision})")
    );
    let why = bank
        .estate
        .admin("GET", &format!("/why/{decision}"), Value::Null)
        .await;
    assert!(why.to_string().contains("list_accounts"));
}

async fn a_refused_call_says_why(place: Place) {
    let bank = Bank::open(&place).await;
    bank.tool("close_account", json!({})).await;
    let page = calls(&bank, "?denied=true").await;
    let call = &page["items"][0];
    assert_eq!(call["outcome"], "refused");
    assert!(call["end"].is_null());
    let sentence = call["sentence"].as_str().unwrap();
    assert!(
        sentence.starts_with("planner called close_account on bank: refused ("),
        "{sentence}"
    );
    assert_eq!(targets(&page), ["close_account"]);
}

async fn filters_find_by_name_and_nothing_else(place: Place) {
    let bank = Bank::open(&place).await;
    bank.tool("list_accounts", json!({})).await;
    bank.tool("pay", json!({ "amount": 5, "to": "list_accounts" }))
        .await;
    assert_eq!(
        targets(&calls(&bank, "?tool=list_accounts").await),
        ["list_accounts"]
    );
    assert_eq!(
        targets(&calls(&bank, "?tool=pay&agent=planner&resource=bank").await),
        ["pay"]
    );
    assert!(targets(&calls(&bank, "?tool=list%25").await).is_empty());
    assert!(targets(&calls(&bank, "?agent=helper").await).is_empty());
    assert!(targets(&calls(&bank, "?resource=notes").await).is_empty());
    let unknown = bank
        .estate
        .try_admin("GET", "/calls?agent=nobody", Value::Null)
        .await;
    assert_eq!(unknown.problem(), (404, "not_found".to_owned()));
}

async fn pages_go_on_where_the_one_before_ended(place: Place) {
    let bank = Bank::open(&place).await;
    for _ in 0..3 {
        bank.tool("list_accounts", json!({})).await;
    }
    let all = calls(&bank, "").await;
    let mut found = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = calls(&bank, &query).await;
        found.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        query = format!("?limit=2&cursor={next}");
    }
    let decisions = |items: &[Value]| {
        items
            .iter()
            .map(|item| item["decision"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(decisions(&found), decisions(all["items"].as_array().unwrap()));
    assert!(found.len() >= 4, "the list and three calls: {}", found.len());
    let wrong = bank
        .estate
        .try_admin("GET", "/calls?cursor=dec_1", Value::Null)
        .await;
    assert_eq!(wrong.problem(), (422, "invalid".to_owned()));
}

async fn times_bound_the_list(place: Place) {
    let bank = Bank::open(&place).await;
    bank.estate.node.advance(Ttl::from_minutes(5)).await;
    bank.tool("list_accounts", json!({})).await;
    let newest = calls(&bank, "?limit=1").await["items"][0]["time"].clone();
    let newest = newest.as_str().unwrap();
    assert_eq!(
        targets(&calls(&bank, &format!("?since={newest}")).await),
        ["list_accounts"]
    );
    let before = calls(&bank, &format!("?until={newest}")).await;
    assert!(!targets(&before).is_empty());
    assert!(!targets(&before).contains(&"list_accounts"));
    let wrong = bank
        .estate
        .try_admin("GET", "/calls?since=yesterday", Value::Null)
        .await;
    assert_eq!(wrong.problem(), (422, "invalid".to_owned()));
}

async fn whoever_may_not_read_the_log_may_not_read_calls(place: Place) {
    let bank = Bank::open(&place).await;
    let answer = bank
        .estate
        .node
        .api("GET", "/api/v1/calls", &bank.token, Value::Null)
        .await;
    assert_eq!(answer.status, 401, "{}", answer.text());
}
