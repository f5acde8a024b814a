//! A person's yes: asked for where policy wants it, given by people whom policy lets, used once, for exactly what was
//! asked, and for nothing once anything it hung on is gone.

use crate::estate::*;
use crate::harness::*;
use chancery_core::actor::Actor;
use chancery_core::approval::ApprovalMethod;
use chancery_core::time::{Clock as _, Ttl};
use chancery_policy::{ApprovalAnswer, Manager};
use chancery_server::Failure;
use chancery_server::approve::answer::{self, Given};
use chancery_server::approve::view::ApprovalView;
use chancery_server::directory::change::Caller;
use serde_json::{Value, json};

on_both_engines!(
    what_needs_a_yes_waits_and_is_given_once,
    the_same_request_asks_once_and_gives_the_same_handle,
    nobody_says_yes_to_what_they_asked_for_or_own_alone,
    whoever_is_at_the_machine_says_no_and_never_yes,
    a_no_ends_the_request_with_its_reason,
    nobody_answers_what_is_over,
    a_yes_that_nobody_uses_in_time_is_over,
    another_client_cannot_poll_or_use_it,
    a_poll_names_nothing_and_widens_nothing,
    two_uses_at_once_give_one_token,
    a_kill_between_yes_and_use_leaves_nothing,
    an_approver_who_is_stopped_after_the_yes_does_not_count,
    an_approver_who_lost_the_role_does_not_count,
    a_quorum_counts_people_and_not_answers,
    a_wrong_number_is_a_no,
    a_flood_of_requests_is_capped,
    a_record_that_was_changed_behind_our_back_is_refused_and_told,
    what_does_not_fit_on_a_page_cannot_be_approved,
    polling_too_fast_is_slowed_down,
    a_token_of_ours_must_still_be_good_when_the_yes_comes,
    what_is_over_is_ended_by_the_job_and_recorded,
    a_yes_in_one_tenant_is_unknown_in_another,
);

pub(crate) const CIBA: &str = "urn:openid:params:grant-type:ciba";

/// Writing to notes needs a yes.
const NEEDS_A_YES: &str = r#"@id("writing-needs-a-yes")
forbid (principal is Agent, action == Action::"issue_token", resource == Scope::"notes:write")
unless { context has approval && context.approval.count >= 1 };"#;

/// The estate with more policies, and people who may answer.
pub(crate) async fn estate_with(place: &Place, policy: &str) -> Estate {
    let estate = Estate::start(place).await;
    prepare(&estate, policy).await;
    estate
}

pub(crate) async fn prepare(estate: &Estate, policy: &str) {
    let text = estate.admin("GET", "/policy", Value::Null).await["text"]
        .as_str()
        .unwrap()
        .to_owned();
    estate
        .admin("PUT", "/policy", json!({ "text": format!("{text}\n{policy}") }))
        .await;
    let person = |name: &str, roles: &[&str], groups: &[&str]| json!({ "name": name, "issuer": "corp", "subject": name, "roles": roles, "groups": groups });
    estate
        .apply(json!({ "users": [
            person("carol", &["administrator"], &[]), person("dave", &[], &["lab"]), person("erin", &[], &["lab"]),
            person("ops", &[], &["lab"]),
        ] }))
        .await;
}

/// A caller who is this person.
pub(crate) async fn caller(estate: &Estate, name: &str) -> Caller {
    let record = estate.show("users", name).await;
    let set = |field: &str| record["spec"][field].as_array().cloned().unwrap_or_default();
    Caller {
        actor: Actor::User(record["id"].as_str().unwrap().parse().unwrap()),
        manager: Manager::User {
            name: name.parse().unwrap(),
            roles: set("roles")
                .iter()
                .map(|role| role.as_str().unwrap().parse().unwrap())
                .collect(),
            groups: set("groups")
                .iter()
                .map(|group| group.as_str().unwrap().to_owned())
                .collect(),
        },
        now: estate.node.clock.now(),
        once: None,
    }
}

pub(crate) async fn answer_as(
    estate: &Estate,
    name: &str,
    id: &str,
    (answer, number): (ApprovalAnswer, Option<u32>),
) -> Result<ApprovalView, Failure> {
    let caller = caller(estate, name).await;
    let given = Given {
        id: id.parse().unwrap(),
        answer,
        method: ApprovalMethod::Page,
        number,
        reason: Some("because"),
        signed: None,
    };
    let base = estate.base();
    let all = estate.node.app.tenants.all();
    let served = all
        .iter()
        .find(|served| served.tenant.spec.base_url == base)
        .unwrap()
        .clone();
    answer::give(&estate.node.app, &served, &caller, given).await
}

pub(crate) async fn approve(estate: &Estate, name: &str, id: &str) -> Result<ApprovalView, Failure> {
    answer_as(estate, name, id, (ApprovalAnswer::Approve, None)).await
}

/// The handle and the id of a request that waits.
#[track_caller]
pub(crate) fn waits(answer: &Answer) -> (String, String) {
    assert_eq!(
        answer.error(),
        (400, "approval_required".to_owned()),
        "{}",
        answer.text()
    );
    let body = answer.json();
    let text = |field: &str| body[field].as_str().unwrap().to_owned();
    let id = text("approval_uri").rsplit('/').next().unwrap().to_owned();
    (text("auth_req_id"), id)
}

pub(crate) async fn poll(estate: &Estate, client: &str, handle: &str) -> Answer {
    let form = [("grant_type", CIBA), ("auth_req_id", handle)];
    estate.post("/token", client, &form).await
}

#[track_caller]
fn refused(answer: &Answer, code: &str) {
    assert_eq!(answer.error(), (400, code.to_owned()), "{}", answer.text());
}

async fn what_needs_a_yes_waits_and_is_given_once(place: Place) {
    let estate = estate_with(&place, NEEDS_A_YES).await;
    assert_eq!(estate.planner_for_alice("read").await.scope(), "read");
    let answer = estate.planner_for_alice("read write").await;
    let (handle, id) = waits(&answer);
    let body = answer.json();
    assert_eq!((&body["interval"], &body["expires_in"]), (&json!(5), &json!(600)));
    assert!(body["approval_uri"].as_str().unwrap().starts_with(BASE));
    assert!(body["decision"].is_string() && handle.len() == 43);
    refused(&poll(&estate, "planner", &handle).await, "authorization_pending");

    let view = approve(&estate, "carol", &id).await.unwrap();
    assert_eq!(view.answers[0].name, "carol");
    // The person's own token is long over: who they are was proved, and everything else is looked at again.
    estate.node.advance(Ttl::from_minutes(9)).await;
    let given = poll(&estate, "planner", &handle).await;
    assert_eq!(given.scope(), "read write");
    let alice = estate.show("users", "alice").await["id"].clone();
    assert_eq!(
        (&given.claims()["sub"], &given.claims()["aud"]),
        (&alice, &json!(NOTES))
    );
    refused(&poll(&estate, "planner", &handle).await, "invalid_grant");
    refused(&estate.planner_for_alice("write").await, "approval_required");

    for (kind, count) in [
        ("approval.requested", 2),
        ("approval.given", 1),
        ("approval.used", 1),
    ] {
        assert_eq!(estate.events(kind).await.len(), count, "{kind}");
    }
    let given = &estate.events("approval.given").await[0];
    assert_eq!(given["parts"]["answer"]["record_sha256"], view.record_sha256);
}

async fn the_same_request_asks_once_and_gives_the_same_handle(place: Place) {
    let estate = estate_with(&place, NEEDS_A_YES).await;
    let first = waits(&estate.planner_for_alice("write").await);
    estate.node.advance(Ttl::from_seconds(30)).await;
    assert_eq!(waits(&estate.planner_for_alice("write").await), first);
    let other = waits(&estate.planner_for_alice("read write").await);
    assert_ne!(other, first);
    assert_eq!(estate.events("approval.requested").await.len(), 2);
    // Asked again after it was revoked, it is another request: the first can come to nothing.
    estate.kill("grant", "alice-notes").await;
    estate
        .admin("POST", "/grants/alice-notes/activate", json!({}))
        .await;
    assert_ne!(waits(&estate.planner_for_alice("write").await), first);
    refused(&poll(&estate, "planner", &first.0).await, "expired_token");
}

async fn nobody_says_yes_to_what_they_asked_for_or_own_alone(place: Place) {
    let estate = estate_with(&place, NEEDS_A_YES).await;
    estate
        .change("users", "alice", json!({ "roles": ["staff", "administrator"] }))
        .await;
    let all = "@id(\"open\") permit (principal, action, resource);";
    let text = estate.admin("GET", "/policy", Value::Null).await["text"]
        .as_str()
        .unwrap()
        .to_owned();
    estate
        .admin("PUT", "/policy", json!({ "text": format!("{text}\n{all}") }))
        .await;
    let alice = estate.user("alice", &["staff", "administrator"]);
    let target = [("resource", NOTES), ("scope", "write")];
    let (_, id) = waits(&estate.exchange_as("planner", (&alice, JWT), &target).await);
    // Alice asked for it; ops owns the agent alone.
    for person in ["alice", "ops"] {
        assert!(
            matches!(approve(&estate, person, &id).await, Err(Failure::Denied(_))),
            "{person}"
        );
    }
    let denied = approve(&estate, "ops", &id).await.unwrap_err();
    let Failure::Denied(denied) = denied else {
        panic!("{denied}")
    };
    assert_eq!(
        denied.policies,
        ["floor:nobody-approves-what-they-asked-for-or-own-alone"]
    );
    assert!(
        approve(&estate, "dave", &id).await.is_ok(),
        "the set lets anybody else"
    );
}

async fn whoever_is_at_the_machine_says_no_and_never_yes(place: Place) {
    let estate = estate_with(&place, NEEDS_A_YES).await;
    let (handle, id) = waits(&estate.planner_for_alice("write").await);
    let list = estate.admin("GET", "/approvals", Value::Null).await;
    assert_eq!(list["items"][0]["id"], json!(id));
    assert_eq!(list["items"][0]["may_approve"], false);
    let yes = estate
        .try_admin("POST", &format!("/approvals/{id}/approve"), json!({}))
        .await;
    assert_eq!(yes.problem(), (403, "denied_by_policy".to_owned()));
    assert_eq!(estate.events("management.denied").await.len(), 1);
    estate
        .admin(
            "POST",
            &format!("/approvals/{id}/deny"),
            json!({ "reason": "not today" }),
        )
        .await;
    refused(&poll(&estate, "planner", &handle).await, "access_denied");
}

async fn a_no_ends_the_request_with_its_reason(place: Place) {
    let estate = estate_with(&place, NEEDS_A_YES).await;
    let (handle, id) = waits(&estate.planner_for_alice("write").await);
    let view = answer_as(&estate, "carol", &id, (ApprovalAnswer::Reject, None))
        .await
        .unwrap();
    assert_eq!(view.answers[0].reason.as_deref(), Some("because"));
    refused(&poll(&estate, "planner", &handle).await, "access_denied");
    assert!(matches!(
        approve(&estate, "carol", &id).await,
        Err(Failure::Refused(_))
    ));
    assert_eq!(estate.events("approval.denied").await.len(), 1);
    assert_eq!(estate.events("approval.given").await.len(), 0);
}

async fn nobody_answers_what_is_over(place: Place) {
    let estate = estate_with(&place, NEEDS_A_YES).await;
    let (handle, id) = waits(&estate.planner_for_alice("write").await);
    estate.node.advance(Ttl::from_seconds(601)).await;
    assert!(matches!(
        approve(&estate, "carol", &id).await,
        Err(Failure::Refused(_))
    ));
    refused(&poll(&estate, "planner", &handle).await, "expired_token");
}

async fn a_yes_that_nobody_uses_in_time_is_over(place: Place) {
    let estate = estate_with(&place, NEEDS_A_YES).await;
    let (handle, id) = waits(&estate.planner_for_alice("write").await);
    approve(&estate, "carol", &id).await.unwrap();
    estate.node.advance(Ttl::from_seconds(601)).await;
    refused(&poll(&estate, "planner", &handle).await, "expired_token");
}

async fn another_client_cannot_poll_or_use_it(place: Place) {
    let estate = estate_with(&place, NEEDS_A_YES).await;
    let (handle, id) = waits(&estate.planner_for_alice("write").await);
    refused(&poll(&estate, "helper", &handle).await, "invalid_grant");
    approve(&estate, "carol", &id).await.unwrap();
    refused(&poll(&estate, "helper", &handle).await, "invalid_grant");
    // Another client of the same agent neither.
    let form = [
        ("grant_type", CIBA),
        ("auth_req_id", &handle),
        ("client_assertion_type", ASSERTION),
        ("client_assertion", &estate.assertion("j-1", plain())),
    ];
    refused(&estate.node.form("/token", &form).await, "invalid_grant");
    assert_eq!(poll(&estate, "planner", &handle).await.scope(), "write");
    refused(&poll(&estate, "planner", &id).await, "invalid_grant");
}

async fn a_poll_names_nothing_and_widens_nothing(place: Place) {
    let estate = estate_with(&place, NEEDS_A_YES).await;
    let (handle, id) = waits(&estate.planner_for_alice("write").await);
    approve(&estate, "carol", &id).await.unwrap();
    let form = [
        ("grant_type", CIBA),
        ("auth_req_id", handle.as_str()),
        ("scope", "read write delete"),
        ("resource", MAIL),
    ];
    let given = estate.post("/token", "planner", &form).await;
    assert_eq!(
        (given.scope(), &given.claims()["aud"]),
        ("write".to_owned(), &json!(NOTES))
    );
}

async fn two_uses_at_once_give_one_token(place: Place) {
    let estate = estate_with(&place, NEEDS_A_YES).await;
    let (handle, id) = waits(&estate.planner_for_alice("write").await);
    approve(&estate, "carol", &id).await.unwrap();
    let polls = (0..8).map(|_| poll(&estate, "planner", &handle));
    let answers = futures_util::future::join_all(polls).await;
    let given = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(given, 1, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        refused(answer, "invalid_grant");
    }
    assert_eq!(estate.events("approval.used").await.len(), 1);
}

async fn a_kill_between_yes_and_use_leaves_nothing(place: Place) {
    let estate = estate_with(&place, NEEDS_A_YES).await;
    for (noun, name, back) in [
        ("grant", "alice-notes", "/grants/alice-notes/activate"),
        ("user", "alice", "/users/alice/activate"),
        ("agent", "planner", "/agents/planner/activate"),
    ] {
        let (handle, id) = waits(&estate.planner_for_alice("write").await);
        approve(&estate, "carol", &id).await.unwrap();
        estate.kill(noun, name).await;
        assert_ne!(poll(&estate, "planner", &handle).await.status, 200, "{noun}");
        // Nothing revives it.
        estate.admin("POST", back, json!({})).await;
        refused(&poll(&estate, "planner", &handle).await, "access_denied");
        estate.node.advance(Ttl::from_minutes(11)).await;
    }
}

async fn an_approver_who_is_stopped_after_the_yes_does_not_count(place: Place) {
    let estate = estate_with(&place, NEEDS_A_YES).await;
    let (handle, id) = waits(&estate.planner_for_alice("write").await);
    approve(&estate, "carol", &id).await.unwrap();
    estate.kill("user", "carol").await;
    assert_eq!(poll(&estate, "planner", &handle).await.status, 400);
    estate.admin("POST", "/users/carol/activate", json!({})).await;
    assert_eq!(
        poll(&estate, "planner", &handle).await.status,
        400,
        "what was revoked stays revoked"
    );
    assert_eq!(estate.events("approval.used").await.len(), 0);
}

async fn an_approver_who_lost_the_role_does_not_count(place: Place) {
    let estate = estate_with(&place, NEEDS_A_YES).await;
    let (handle, id) = waits(&estate.planner_for_alice("write").await);
    approve(&estate, "carol", &id).await.unwrap();
    estate.change("users", "carol", json!({ "roles": [] })).await;
    assert_eq!(poll(&estate, "planner", &handle).await.status, 400);
}

async fn a_quorum_counts_people_and_not_answers(place: Place) {
    let estate = estate_with(&place, &NEEDS_A_YES.replace("count >= 1", "count >= 2")).await;
    estate
        .change("agents", "planner", json!({ "owner": "group:lab" }))
        .await;
    let (handle, id) = waits(&estate.planner_for_alice("write").await);
    assert_eq!(approve(&estate, "dave", &id).await.unwrap().votes, 1);
    assert!(
        approve(&estate, "dave", &id).await.is_err(),
        "one person counts once"
    );
    refused(&poll(&estate, "planner", &handle).await, "authorization_pending");
    approve(&estate, "erin", &id).await.unwrap();
    assert_eq!(poll(&estate, "planner", &handle).await.scope(), "write");
}

async fn a_wrong_number_is_a_no(place: Place) {
    let policy = NEEDS_A_YES.replace(
        "count >= 1",
        "count >= 1 && context.approval.methods.contains(\"number\")",
    );
    let estate = estate_with(&place, &policy).await;
    let answer = estate.planner_for_alice("write").await;
    let (handle, id) = waits(&answer);
    let shown = u32::try_from(answer.json()["number"].as_u64().unwrap()).unwrap();
    assert!(
        matches!(approve(&estate, "carol", &id).await, Err(Failure::Refused(_))),
        "without a number"
    );
    let yes = |number: u32| (ApprovalAnswer::Approve, Some(number));
    let view = answer_as(&estate, "carol", &id, yes(shown)).await.unwrap();
    assert_eq!(view.state.as_str(), "approved");
    assert_eq!(poll(&estate, "planner", &handle).await.scope(), "write");

    let answer = estate.planner_for_alice("write").await;
    let (handle, id) = waits(&answer);
    let shown = u32::try_from(answer.json()["number"].as_u64().unwrap()).unwrap();
    answer_as(&estate, "carol", &id, yes(shown + 1)).await.unwrap();
    refused(&poll(&estate, "planner", &handle).await, "access_denied");
}

async fn a_flood_of_requests_is_capped(place: Place) {
    let estate = estate_with(&place, NEEDS_A_YES).await;
    let scopes: Vec<String> = (0..12).map(|number| format!("x{number}")).collect();
    let mut resource = estate.show("resources", "notes").await["spec"].clone();
    let mut ceiling = vec![json!("write")];
    for scope in &scopes {
        resource["scopes"][scope] = json!({ "sensitivity": "write" });
        resource["holders"]["staff"]
            .as_array_mut()
            .unwrap()
            .push(json!(scope));
        ceiling.push(json!(scope));
    }
    estate.admin("PUT", "/resources/notes", resource).await;
    estate
        .change("agents", "planner", json!({ "ceiling": { "notes": ceiling } }))
        .await;
    estate
        .change("grants", "alice-notes", json!({ "scopes": ceiling }))
        .await;
    let mut codes = Vec::new();
    for scope in &scopes {
        let answer = estate.planner_for_alice(&format!("write {scope}")).await;
        codes.push(answer.error().1);
    }
    assert_eq!(
        codes.iter().filter(|code| *code == "approval_required").count(),
        10
    );
    assert_eq!(codes.last().unwrap(), "temporarily_unavailable");
    assert_eq!(estate.events("approval.requested").await.len(), 10);
    let denied = estate.events("token.issued").await;
    assert_eq!(denied.len(), 12, "each refusal is recorded all the same");
}

async fn a_record_that_was_changed_behind_our_back_is_refused_and_told(place: Place) {
    let mut estate = estate_with(&place, NEEDS_A_YES).await;
    let (handle, id) = waits(&estate.planner_for_alice("write").await);
    approve(&estate, "carol", &id).await.unwrap();
    estate.node.app.db.close().await;
    place
        .behind_the_back("UPDATE approvals SET record = replace(record, '\"write\"', '\"delete\"')")
        .await;
    estate.node = Chancery::start_at(&place, estate.node.clock.now()).await;
    refused(&poll(&estate, "planner", &handle).await, "invalid_grant");
    assert!(!estate.events("approval.tampered").await.is_empty());
    let answer = estate
        .try_admin("GET", &format!("/approvals/{id}"), Value::Null)
        .await;
    assert_eq!(answer.problem(), (404, "not_found".to_owned()));
}

async fn what_does_not_fit_on_a_page_cannot_be_approved(place: Place) {
    let estate = estate_with(&place, NEEDS_A_YES).await;
    let scopes: Vec<String> = (0..200)
        .map(|number| format!("{}{number}", "s".repeat(60)))
        .collect();
    let mut resource = estate.show("resources", "notes").await["spec"].clone();
    let mut all = vec![json!("write")];
    for scope in &scopes {
        resource["scopes"][scope] = json!({ "sensitivity": "write" });
        resource["holders"]["staff"]
            .as_array_mut()
            .unwrap()
            .push(json!(scope));
        all.push(json!(scope));
    }
    estate.admin("PUT", "/resources/notes", resource).await;
    estate
        .change("agents", "planner", json!({ "ceiling": { "notes": all } }))
        .await;
    estate
        .change("grants", "alice-notes", json!({ "scopes": all }))
        .await;
    let answer = estate
        .planner_for_alice(&format!("write {}", scopes.join(" ")))
        .await;
    refused(&answer, "access_denied");
    assert!(estate.events("approval.requested").await.is_empty());
}

async fn polling_too_fast_is_slowed_down(place: Place) {
    let estate = estate_with(&place, NEEDS_A_YES).await;
    let (handle, _) = waits(&estate.planner_for_alice("write").await);
    refused(&poll(&estate, "planner", &handle).await, "authorization_pending");
    refused(&poll(&estate, "planner", &handle).await, "slow_down");
    estate.node.advance(Ttl::from_seconds(6)).await;
    refused(&poll(&estate, "planner", &handle).await, "slow_down");
    estate.node.advance(Ttl::from_seconds(15)).await;
    refused(&poll(&estate, "planner", &handle).await, "authorization_pending");
}

async fn a_token_of_ours_must_still_be_good_when_the_yes_comes(place: Place) {
    let estate = estate_with(&place, NEEDS_A_YES).await;
    let policy = "@id(\"agent-tokens\") permit (principal is Agent, action == Action::\"mint_agent_token\", resource);";
    let text = estate.admin("GET", "/policy", Value::Null).await["text"]
        .as_str()
        .unwrap()
        .to_owned();
    // Only the last step needs the yes: the token that is handed over does not.
    let text = text.replace(
        "action == Action::\"issue_token\", resource == Scope::\"notes:write\")",
        "action == Action::\"issue_token\", resource == Scope::\"notes:write\")\nwhen { principal == Agent::\"helper\" }",
    );
    estate
        .admin("PUT", "/policy", json!({ "text": format!("{text}\n{policy}") }))
        .await;
    let handed = estate.handed_over("notes:write").await;
    let target = [("resource", NOTES), ("scope", "write")];
    let (handle, id) = waits(&estate.exchange("helper", &handed, &target).await);
    approve(&estate, "carol", &id).await.unwrap();
    let given = poll(&estate, "helper", &handle).await;
    assert_eq!(given.scope(), "write");
    let act = &given.claims()["act"];
    assert_eq!(act["sub"], estate.show("agents", "helper").await["id"]);
    assert_eq!(act["act"]["sub"], estate.show("agents", "planner").await["id"]);

    let (handle, id) = waits(&estate.exchange("helper", &handed, &target).await);
    approve(&estate, "carol", &id).await.unwrap();
    estate.post("/revoke", "planner", &[("token", &handed)]).await;
    refused(&poll(&estate, "helper", &handle).await, "access_denied");
}

async fn what_is_over_is_ended_by_the_job_and_recorded(place: Place) {
    let estate = estate_with(&place, NEEDS_A_YES).await;
    let (_, id) = waits(&estate.planner_for_alice("write").await);
    estate.node.advance(Ttl::from_minutes(11)).await;
    estate.node.expire().await;
    let events = estate.events("approval.expired").await;
    assert_eq!(events.len(), 1, "{events:?}");
    let view = estate
        .admin("GET", &format!("/approvals/{id}"), Value::Null)
        .await;
    assert_eq!(view["state"], "expired");
    estate.node.expire().await;
    assert_eq!(estate.events("approval.expired").await.len(), 1);
}

async fn a_yes_in_one_tenant_is_unknown_in_another(place: Place) {
    let (first, second) = Estate::twins(&place).await;
    prepare(&first, NEEDS_A_YES).await;
    prepare(&second, NEEDS_A_YES).await;
    let (handle, id) = waits(&first.planner_for_alice("write").await);
    refused(&poll(&second, "planner", &handle).await, "invalid_grant");
    assert!(matches!(
        approve(&second, "carol", &id).await,
        Err(Failure::Refused(_))
    ));
    let answer = second
        .try_admin("GET", &format!("/approvals/{id}"), Value::Null)
        .await;
    assert_eq!(answer.problem(), (404, "not_found".to_owned()));
}
