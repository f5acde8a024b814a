//! Policy sets: validated when written, versioned, never a way to lock everybody out, and tested with what was
//! decided.

use crate::estate::*;
use crate::harness::*;
use chancery_core::time::Ttl;
use serde_json::{Value, json};

on_both_engines!(
    a_set_is_validated_and_nothing_is_stored,
    a_set_that_locks_everybody_out_is_refused,
    a_new_set_decides_and_the_old_is_kept,
    sets_written_at_once_have_one_order,
    observing_permits_for_a_while_within_limits,
    a_stored_decision_is_evaluated_again_by_a_candidate,
    the_active_set_agrees_with_its_own_decisions,
    a_policy_that_fails_to_evaluate_refuses,
    the_floor_cannot_be_edited_away,
);

const READ: [(&str, &str); 2] = [("resource", NOTES), ("scope", "read")];

async fn text(estate: &Estate) -> String {
    let policy = estate.admin("GET", "/policy", Value::Null).await;
    policy["text"].as_str().unwrap().to_owned()
}

async fn a_set_is_validated_and_nothing_is_stored(place: Place) {
    let estate = Estate::start(&place).await;
    let before = estate.admin("GET", "/policy", Value::Null).await;
    let good = json!({ "text": text(&estate).await });
    assert_eq!(
        estate.admin("POST", "/policy/validate", good).await["valid"],
        true
    );
    let bad = [
        ("permit (principal, action, resource)", "parse"),
        ("\n\nnonsense", "line 3"),
        ("permit (principal, action, resource);", "@id"),
        (
            "@id(\"x\") permit (principal is Agent, action == Action::\"issue_token\", resource) when { principal.salary > 3 };",
            "schema",
        ),
        (
            "@id(\"floor:x\") permit (principal, action, resource);",
            "reserved",
        ),
    ];
    for (text, said) in bad {
        for (method, path) in [("POST", "/policy/validate"), ("PUT", "/policy")] {
            let answer = estate.try_admin(method, path, json!({ "text": text })).await;
            assert_eq!(answer.problem(), (422, "invalid".to_owned()), "{text}");
            assert!(answer.text().contains(said), "{}", answer.text());
        }
    }
    assert_eq!(estate.admin("GET", "/policy", Value::Null).await, before);
}

async fn a_set_that_locks_everybody_out_is_refused(place: Place) {
    let estate = Estate::start(&place).await;
    let only_agents = "@id(\"a\") permit (principal is Agent, action == Action::\"issue_token\", resource);";
    let forbidding = format!(
        "{}\n@id(\"no\") forbid (principal, action == Action::\"write_policy\", resource);",
        text(&estate).await
    );
    for text in [only_agents, &forbidding, ""] {
        let answer = estate.try_admin("PUT", "/policy", json!({ "text": text })).await;
        assert_eq!(answer.problem(), (422, "invalid".to_owned()));
    }
    assert_eq!(estate.own("planner", &READ).await.status, 200);
}

async fn a_new_set_decides_and_the_old_is_kept(place: Place) {
    let estate = Estate::start(&place).await;
    let old = text(&estate).await;
    let strict = format!(
        "{old}\n@id(\"stop\") forbid (principal is Agent, action == Action::\"issue_token\", resource);"
    );
    let set = estate
        .admin("PUT", "/policy", json!({ "text": strict, "comment": "stop" }))
        .await;
    assert_eq!((&set["name"], &set["state"]), (&json!("set-2"), &json!("active")));
    assert_eq!(
        estate.own("planner", &READ).await.error(),
        (400, "invalid_scope".to_owned())
    );
    let versions = estate.admin("GET", "/policy/versions", Value::Null).await;
    let states: Vec<_> = versions["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|set| set["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["retired", "active"]);
    estate.admin("PUT", "/policy", json!({ "text": old })).await;
    assert_eq!(estate.own("planner", &READ).await.status, 200);
    let events = estate.events("policy_set.").await;
    assert_eq!(events.len(), 2);
}

async fn sets_written_at_once_have_one_order(place: Place) {
    let estate = std::sync::Arc::new(Estate::start(&place).await);
    let base = text(&estate).await;
    let tries = (0..4).map(|number| {
        let (estate, text) = (estate.clone(), format!("{base}\n// {number}\n"));
        tokio::spawn(async move { estate.try_admin("PUT", "/policy", json!({ "text": text })).await })
    });
    let mut stored = 0;
    for answer in tries.collect::<Vec<_>>() {
        let answer = answer.await.unwrap();
        if answer.status == 200 {
            stored += 1;
        } else {
            assert_eq!(answer.status, 409, "{}", answer.text());
        }
    }
    let versions = estate.admin("GET", "/policy/versions", Value::Null).await;
    let items = versions["items"].as_array().unwrap();
    assert_eq!(items.len(), stored + 1);
    assert_eq!(items.iter().filter(|set| set["state"] == "active").count(), 1);
}

async fn observing_permits_for_a_while_within_limits(place: Place) {
    let estate = Estate::start(&place).await;
    let strict = "@id(\"admins\") permit (principal in Role::\"administrator\", action in Action::\"manage\", resource);";
    estate.admin("PUT", "/policy", json!({ "text": strict })).await;
    assert_eq!(
        estate.own("planner", &READ).await.error(),
        (400, "invalid_scope".to_owned())
    );
    estate
        .admin(
            "POST",
            "/policy/observe",
            json!({ "resource": "notes", "seconds": 60 }),
        )
        .await;
    assert_eq!(estate.own("planner", &READ).await.scope(), "read");
    let outside = [("resource", NOTES), ("scope", "admin")];
    assert_eq!(
        estate.own("planner", &outside).await.error(),
        (400, "invalid_scope".to_owned())
    );
    estate.node.advance(Ttl::from_seconds(60)).await;
    assert_eq!(
        estate.own("planner", &READ).await.error(),
        (400, "invalid_scope".to_owned())
    );
    for seconds in [0, 31 * 86_400] {
        let body = json!({ "resource": "notes", "seconds": seconds });
        assert_eq!(
            estate
                .try_admin("POST", "/policy/observe", body)
                .await
                .problem()
                .0,
            422
        );
    }
}

async fn a_stored_decision_is_evaluated_again_by_a_candidate(place: Place) {
    let estate = Estate::start(&place).await;
    let jti = estate.own("planner", &READ).await.claims()["jti"]
        .as_str()
        .unwrap()
        .to_owned();
    let decision = jti.replace("tok_", "dec_");
    let case = json!({ "name": "planner reads", "decision": decision, "expect": "permit" });
    let stop = format!(
        "{}\n@id(\"stop\") forbid (principal, action == Action::\"issue_token\", resource);",
        text(&estate).await
    );
    let live = estate
        .admin("POST", "/policy/test", json!({ "cases": [case] }))
        .await;
    assert_eq!(live["failed"], 0);
    let candidate = estate
        .admin("POST", "/policy/test", json!({ "cases": [case], "text": stop }))
        .await;
    assert_eq!(
        (&candidate["failed"], &candidate["results"][0]["outcome"]),
        (&json!(1), &json!("deny"))
    );
    assert_eq!(
        estate.own("planner", &READ).await.status,
        200,
        "a candidate decides nothing"
    );
}

async fn the_active_set_agrees_with_its_own_decisions(place: Place) {
    let estate = Estate::start(&place).await;
    estate.planner_for_alice("read").await.token();
    let _ = estate.planner_for_alice("delete").await;
    let _ = estate
        .own("helper", &[("resource", NOTES), ("scope", "write")])
        .await;
    estate.own("planner", &[]).await.token();
    let handed = estate.handed_over("notes:read").await;
    estate
        .exchange("helper", &handed, &[("resource", NOTES)])
        .await
        .token();
    let mut cases = Vec::new();
    for event in estate.events("token.issued").await {
        let decision = &event["parts"]["decision"];
        cases.push(
            json!({ "name": event["sentence"], "decision": decision["id"], "expect": decision["outcome"] }),
        );
    }
    assert_eq!(cases.len(), 6);
    let replayed = estate
        .admin("POST", "/policy/test", json!({ "cases": cases }))
        .await;
    assert_eq!(replayed["failed"], 0, "{replayed}");
}

async fn a_policy_that_fails_to_evaluate_refuses(place: Place) {
    let estate = Estate::start(&place).await;
    let broken = format!(
        "{}\n@id(\"overflow\") forbid (principal is Agent, action == Action::\"issue_token\", resource) \
         when {{ context.hour * 9223372036854775807 > 1 }};",
        text(&estate).await
    );
    estate.admin("PUT", "/policy", json!({ "text": broken })).await;
    let answer = estate.own("planner", &READ).await;
    assert_eq!(
        answer.error(),
        (400, "invalid_scope".to_owned()),
        "a forbid that fails does not let through"
    );
    let decision = answer.json()["decision"].as_str().unwrap().to_owned();
    let why = estate
        .admin("GET", &format!("/why/{decision}"), Value::Null)
        .await;
    assert!(
        why["decision"]["explanation"]["notes"]
            .to_string()
            .contains("failed to evaluate")
    );
}

async fn the_floor_cannot_be_edited_away(place: Place) {
    let estate = Estate::start(&place).await;
    let free = "@id(\"all\") permit (principal, action, resource);";
    estate.admin("PUT", "/policy", json!({ "text": free })).await;
    let grant = json!({ "agent": "planner", "principal": "itself", "resource": "chancery", "scopes": ["read", "write", "kill"] });
    let agent = json!({ "ceiling": { "chancery": ["read", "write", "kill"] } });
    estate.change("agents", "planner", agent).await;
    estate.apply(json!({ "grants": [grant] })).await;
    let uri = format!("{BASE}/api/v1");
    let token = estate
        .own("planner", &[("resource", &uri), ("scope", "read write kill")])
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
        ("POST", "/api/v1/agents", json!({ "name": "x", "owner": "ops" })),
        ("POST", "/api/v1/kill/agent/helper", Value::Null),
        ("PUT", "/api/v1/policy", json!({ "text": free })),
    ] {
        let answer = estate.node.api(method, path, &token, body).await;
        assert_eq!(answer.problem(), (403, "denied_by_policy".to_owned()), "{path}");
    }
}
