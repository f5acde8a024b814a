//! Chains of agents (RFC 8693 §4.1, §4.4): `act` only grows, is bounded, and cannot be restarted.

use crate::estate::*;
use crate::harness::*;
use serde_json::{Value, json};

on_both_engines!(
    the_newest_actor_is_outermost,
    a_hop_is_a_delegation_of_its_own,
    only_the_named_agent_may_take_over,
    a_hop_is_narrowed_by_each_agents_ceiling,
    a_chain_cannot_be_restarted,
    policy_bounds_the_depth,
    no_policy_makes_a_chain_longer_than_eight,
    a_killed_ancestor_takes_its_descendants_along,
    an_agent_for_itself_hands_over_within_its_own_grants,
    an_unknown_agent_takes_nothing_over,
);

async fn id(estate: &Estate, agent: &str) -> Value {
    estate.show("agents", agent).await["id"].clone()
}

async fn the_newest_actor_is_outermost(place: Place) {
    let estate = Estate::start(&place).await;
    let handed = estate.handed_over("notes:read").await;
    assert_eq!(claims(&handed)["may_act"]["sub"], id(&estate, "helper").await);
    let target = [("audience", "agent:third"), ("scope", "notes:read")];
    let second = estate.exchange("helper", &handed, &target).await;
    let third = estate
        .exchange("third", &second.token(), &[("resource", NOTES)])
        .await;
    let (planner, helper) = (id(&estate, "planner").await, id(&estate, "helper").await);
    let inner = json!({ "sub": helper, "act": { "sub": planner } });
    assert_eq!(second.claims()["act"], inner);
    assert_eq!(
        third.claims()["act"],
        json!({ "sub": id(&estate, "third").await, "act": inner })
    );
    assert_eq!(third.claims()["sub"], estate.show("users", "alice").await["id"]);
    assert_eq!(
        estate.introspect("third", &third.token()).await["act"],
        third.claims()["act"]
    );
}

async fn a_hop_is_a_delegation_of_its_own(place: Place) {
    let estate = Estate::start(&place).await;
    let handed = estate.handed_over("notes:read").await;
    let answer = estate.exchange("helper", &handed, &[("resource", NOTES)]).await;
    let lineage = answer.claims()["chancery"]["lineage"].to_string();
    assert!(lineage.contains("dlg_"), "{lineage}");
    let issued = estate.events("token.issued").await;
    let ids = issued[0]["ids"].to_string();
    assert!(ids.contains("delegation") && ids.contains("chain"), "{ids}");
    let parent_lineage = claims(&handed)["chancery"]["lineage"].as_array().unwrap().clone();
    assert!(
        parent_lineage
            .iter()
            .all(|link| lineage.contains(link.as_str().unwrap()))
    );
}

async fn only_the_named_agent_may_take_over(place: Place) {
    let estate = Estate::start(&place).await;
    let handed = estate.handed_over("notes:read").await;
    let answer = estate.exchange("third", &handed, &[("resource", NOTES)]).await;
    assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
    assert_eq!(
        estate
            .exchange("helper", &handed, &[("resource", NOTES)])
            .await
            .scope(),
        "read"
    );
}

async fn a_hop_is_narrowed_by_each_agents_ceiling(place: Place) {
    let estate = Estate::start(&place).await;
    let handed = estate.handed_over("notes:read notes:write").await;
    let write = [("resource", NOTES), ("scope", "write")];
    assert_eq!(estate.exchange("helper", &handed, &write).await.scope(), "write");
    let second = [("audience", "agent:third")];
    let narrowed = estate.exchange("helper", &handed, &second).await;
    assert_eq!(narrowed.scope(), "notes:read notes:write");
    let answer = estate.exchange("third", &narrowed.token(), &write).await;
    assert_eq!(answer.error(), (400, "invalid_scope".to_owned()));
    assert_eq!(
        estate.exchange("third", &narrowed.token(), &[]).await.scope(),
        "notes:read"
    );
}

async fn a_chain_cannot_be_restarted(place: Place) {
    let estate = Estate::start(&place).await;
    let handed = estate.handed_over("notes:read").await;
    let child = estate.exchange("helper", &handed, &[]).await.token();
    let answer = estate.exchange("planner", &child, &[("resource", NOTES)]).await;
    assert_eq!(
        answer.error(),
        (400, "invalid_request".to_owned()),
        "planner is not the current actor"
    );
    let again = estate
        .exchange("helper", &child, &[("resource", NOTES)])
        .await
        .claims();
    let chain = json!({ "sub": id(&estate, "helper").await, "act": { "sub": id(&estate, "planner").await } });
    assert_eq!(again["act"], chain, "narrowing keeps the chain as it is");
}

async fn policy_bounds_the_depth(place: Place) {
    let estate = Estate::start(&place).await;
    let first = estate.handed_over("notes:read").await;
    let second = estate
        .exchange("helper", &first, &[("audience", "agent:third")])
        .await
        .token();
    let third = estate
        .exchange("third", &second, &[("audience", "agent:fourth")])
        .await
        .token();
    let answer = estate.exchange("fourth", &third, &[("resource", NOTES)]).await;
    assert_eq!(
        answer.error(),
        (400, "access_denied".to_owned()),
        "the default policies stop at three"
    );
    let decision = answer.json()["decision"].as_str().unwrap().to_owned();
    let why = estate
        .admin("GET", &format!("/why/{decision}"), Value::Null)
        .await;
    assert!(
        why["decision"]["explanation"]["notes"]
            .to_string()
            .contains("delegate")
    );
}

async fn no_policy_makes_a_chain_longer_than_eight(place: Place) {
    let estate = Estate::start(&place).await;
    let text = estate.admin("GET", "/policy", Value::Null).await["text"]
        .as_str()
        .unwrap()
        .to_owned();
    let free =
        format!("{text}\n@id(\"any-depth\") permit (principal, action == Action::\"delegate\", resource);");
    estate.admin("PUT", "/policy", json!({ "text": free })).await;
    let mut token = estate.handed_over("notes:read").await;
    let (mut here, mut next) = ("helper", "third");
    for depth in 2..=8 {
        let target = format!("agent:{next}");
        let answer = estate
            .exchange(here, &token, &[("audience", &target), ("scope", "notes:read")])
            .await;
        token = answer.token();
        let mut act = &answer.claims()["act"];
        let mut length = 0;
        while !act.is_null() {
            (act, length) = (&act["act"], length + 1);
        }
        assert_eq!(length, depth);
        std::mem::swap(&mut here, &mut next);
    }
    let answer = estate.exchange(here, &token, &[("resource", NOTES)]).await;
    assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
}

async fn a_killed_ancestor_takes_its_descendants_along(place: Place) {
    let estate = Estate::start(&place).await;
    let handed = estate.handed_over("notes:read").await;
    let child = estate
        .exchange("helper", &handed, &[("resource", NOTES)])
        .await
        .token();
    assert!(estate.is_active("helper", &child).await);
    estate.kill("agent", "planner").await;
    assert!(!estate.is_active("helper", &child).await);
    let answer = estate.exchange("helper", &handed, &[("resource", NOTES)]).await;
    assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
    assert_eq!(
        estate.own("helper", &[("resource", NOTES)]).await.scope(),
        "read",
        "its own work goes on"
    );
}

async fn an_agent_for_itself_hands_over_within_its_own_grants(place: Place) {
    let estate = Estate::start(&place).await;
    let own = estate.own("planner", &[("audience", "agent:helper")]).await;
    assert_eq!(own.scope(), "notes:read notes:write");
    let write = [("resource", NOTES), ("scope", "write")];
    let answer = estate.exchange("helper", &own.token(), &write).await;
    let claims = answer.claims();
    assert_eq!(
        (&claims["sub"], &claims["scope"]),
        (&id(&estate, "planner").await, &json!("write"))
    );
    assert_eq!(claims["act"], json!({ "sub": id(&estate, "helper").await }));
    let answer = estate.exchange("planner", &answer.token(), &write).await;
    assert_eq!(
        answer.error(),
        (400, "invalid_request".to_owned()),
        "the subject is not the current actor"
    );
}

async fn an_unknown_agent_takes_nothing_over(place: Place) {
    let estate = Estate::start(&place).await;
    estate.admin("POST", "/agents/third/suspend", Value::Null).await;
    for audience in ["agent:nobody", "agent:third", "agent:"] {
        let answer = estate.own("planner", &[("audience", audience)]).await;
        assert_eq!(answer.error(), (400, "invalid_target".to_owned()), "{audience}");
    }
}
