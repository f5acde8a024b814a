//! Limits: what is refused is refused before anything is decided or sent, is told of once a minute, and takes nothing
//! from anybody else.

use crate::broker::Provider;
use crate::estate::*;
use crate::gateway::Bank;
use crate::harness::*;
use axum::body::{Body, Bytes};
use chancery_core::time::Ttl;
use http::Request;
use serde_json::json;
use std::convert::Infallible;

on_both_engines!(
    an_agent_past_its_rate_is_refused_and_reaches_nothing,
    a_client_past_its_rate_gets_no_token_and_others_do,
    calls_that_are_refused_are_told_of_once_a_minute,
    a_server_that_hangs_holds_up_no_other,
    a_request_that_is_too_long_is_cut_and_its_end_is_recorded,
    an_answer_that_is_too_long_is_cut,
    a_client_that_leaves_before_the_head_takes_no_record_with_it,
    what_is_hidden_is_recorded_as_refused,
    metrics_tell_of_all_this_and_name_nobody,
);

async fn bank(place: &Place, limits: &str) -> Bank {
    let limits = limits.parse().unwrap();
    let node = crate::outside::node(place, |config, _| config.call_limits = limits).await;
    Bank::on(Estate::on(node, "").await).await
}

async fn provider(place: &Place, limits: &str) -> Provider {
    let limits = limits.parse().unwrap();
    Provider::on(crate::outside::node(place, |config, _| config.call_limits = limits).await).await
}

async fn an_agent_past_its_rate_is_refused_and_reaches_nothing(place: Place) {
    let bank = bank(&place, "off,agent=2/0").await;
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(bank.tool("list_accounts", json!({})).await);
    }
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(passed, 3, "four at once, of which the first list took one");
    let refused = answers.last().unwrap();
    assert_eq!(refused.problem(), (429, "limit_reached".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(bank.upstream.take().len(), passed);
    let decided = bank.estate.events("call.decided").await;
    assert_eq!(decided.len(), passed + 1, "what is refused is not decided");

    bank.estate.node.advance(Ttl::from_seconds(1)).await;
    assert_eq!(bank.tool("list_accounts", json!({})).await.status, 200);
}

async fn a_client_past_its_rate_gets_no_token_and_others_do(place: Place) {
    let limits = "off,token=2".parse().unwrap();
    let node = Chancery::start_with(&place, |config, _| config.call_limits = limits).await;
    let estate = Estate::on(node, "").await;
    let ask = async |client| estate.own(client, &[("resource", NOTES)]).await;
    for _ in 0..4 {
        ask("planner").await.token();
    }
    let refused = ask("planner").await;
    assert_eq!(refused.error(), (429, "temporarily_unavailable".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    ask("helper").await.token();
    // Nobody who has not proved to be the client uses its limit up.
    let header = basic(estate.client_id("helper"), "wrong");
    for _ in 0..9 {
        let form = [("grant_type", "client_credentials")];
        let answer = estate.node.form_with("/token", &form, Some(&header)).await;
        assert_eq!(answer.status, 401);
    }
    ask("helper").await.token();
}

async fn calls_that_are_refused_are_told_of_once_a_minute(place: Place) {
    let bank = bank(&place, "off,agent=1/0").await;
    for _ in 0..20 {
        bank.tool("list_accounts", json!({})).await;
    }
    assert!(bank.estate.events("limit.reached").await.is_empty());
    bank.estate.node.expire().await;
    bank.estate.node.expire().await;
    let told = bank.estate.events("limit.reached").await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["parts"]["omitted"]["count"], 19);
    assert_eq!(told[0]["outcome"], "denied");
    assert!(told[0]["sentence"].as_str().unwrap().contains("planner"));
}

async fn a_server_that_hangs_holds_up_no_other(place: Place) {
    let mut provider = provider(&place, "off,agent=0/4,tenant=0/6").await;
    let mut fast = Bank::on(provider.estate.again()).await;
    let ceiling = json!({ "ceiling": { "files": ["read", "write"], "bank": ["look", "pay"] } });
    provider.estate.change("agents", "planner", ceiling).await;
    fast.renew().await;
    provider.renew().await;
    let hanging: Vec<_> = (0..4)
        .map(|_| {
            let (node, token) = (provider.estate.node.clone(), provider.token.clone());
            tokio::spawn(async move {
                let request = Request::get("/broker/files/hang")
                    .header("host", "id.example")
                    .header("authorization", format!("Bearer {token}"));
                node.try_send(request.body(Body::empty()).unwrap()).await
            })
        })
        .collect();
    provider.upstream.wait_for(4).await;
    let refused = provider.send(&provider.token, "GET", "/hang", &[]).await;
    assert_eq!(refused.problem(), (429, "limit_reached".to_owned()));
    for _ in 0..20 {
        let answer = fast.tool("list_accounts", json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    for call in hanging {
        call.abort();
    }
}

async fn a_request_that_is_too_long_is_cut_and_its_end_is_recorded(place: Place) {
    let provider = provider(&place, "request_bytes=1000").await;
    let put = async |body: Body| {
        let request = Request::put("/broker/files/files/a")
            .header("host", "id.example")
            .header("authorization", format!("Bearer {}", provider.token));
        provider.estate.node.send(request.body(body).unwrap()).await
    };
    let told = put(Body::from(vec![b'x'; 1001])).await;
    assert_eq!(told.problem(), (413, "too_large".to_owned()));
    assert!(
        provider.estate.events("call.decided").await.is_empty(),
        "its length said so"
    );
    let pieces = (0..8).map(|_| Ok::<_, Infallible>(Bytes::from(vec![b'x'; 200])));
    let streamed = put(Body::from_stream(futures_util::stream::iter(pieces))).await;
    assert_eq!(streamed.problem(), (413, "too_large".to_owned()));
    let ended = provider.ended().await;
    assert_eq!(ended["fault"], "request_too_large");
    assert_eq!(put(Body::from(vec![b'x'; 1000])).await.body.len(), 1000);
}

async fn an_answer_that_is_too_long_is_cut(place: Place) {
    let provider = provider(&place, "response_bytes=100").await;
    let request = Request::put("/broker/files/files/a")
        .header("host", "id.example")
        .header("authorization", format!("Bearer {}", provider.token));
    let request = request.body(Body::from(vec![b'x'; 500])).unwrap();
    assert!(provider.estate.node.try_send(request).await.is_err());
    assert_eq!(provider.ended().await["fault"], "answer_too_large");
}

async fn a_client_that_leaves_before_the_head_takes_no_record_with_it(place: Place) {
    let provider = provider(&place, "").await;
    let (node, token) = (provider.estate.node.clone(), provider.token.clone());
    let call = tokio::spawn(async move {
        let request = Request::get("/broker/files/slow")
            .header("host", "id.example")
            .header("authorization", format!("Bearer {token}"));
        node.try_send(request.body(Body::empty()).unwrap()).await
    });
    provider.upstream.wait_for(1).await;
    call.abort();
    let ended = provider.ended().await;
    assert!(
        ended["status"] == 200 || ended["fault"] == "client_gone",
        "{ended}"
    );
}

async fn what_is_hidden_is_recorded_as_refused(place: Place) {
    let bank = bank(&place, "").await;
    let before = bank.estate.events("call.decided").await.len();
    let answer = bank.tool("close_account", json!({})).await;
    assert!(answer.text().contains("nknown tool"), "{}", answer.text());
    let decided = bank.estate.events("call.decided").await;
    assert_eq!(decided.len(), before + 1);
    assert_eq!(decided[0]["outcome"], "denied");
    assert!(bank.upstream.take().is_empty());
}

async fn metrics_tell_of_all_this_and_name_nobody(place: Place) {
    let bank = bank(&place, "off,agent=2/0").await;
    for _ in 0..8 {
        bank.tool("list_accounts", json!({})).await;
    }
    bank.tool("close_account", json!({})).await;
    bank.estate
        .own("planner", &[("resource", "https://nobody.example")])
        .await;
    let app = &bank.estate.node.app;
    let text = app.metrics.text(app).await.unwrap();
    for line in [
        "chancery_limits_reached_total{limit=\"agent\"} 6",
        "chancery_decisions_total{action=\"call\",outcome=\"permit\",reason=\"none\"} 4",
        "chancery_token_requests_total{grant=\"client_credentials\",error=\"none\"} 1",
        "chancery_token_requests_total{grant=\"client_credentials\",error=\"invalid_target\"} 1",
        "chancery_upstream_head_seconds_count{kind=\"mcp\"} 4",
        "chancery_database_waiting_batches ",
        "chancery_database_group_batches_count ",
        "chancery_database_commit_seconds_sum ",
        "chancery_feed_age_seconds ",
        "chancery_unintegrated_events ",
        "chancery_cached_records{noun=\"agent\"}",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    for name in ["planner", "bank", "list_accounts", "notes", "MARKER"] {
        assert!(!text.contains(name), "{name} is in\n{text}");
    }
}
