//! Connections and connected accounts: whose credential opens for whom, and that none is ever shown.

use crate::estate::*;
use crate::harness::*;
use chancery_core::actor::Actor;
use chancery_core::agent::Agent;
use chancery_core::assurance::{AgentAssurance, UserAssurance};
use chancery_core::call::{CallAction, CallFacts, ConnectionFacts, UsePlan, UseProposal};
use chancery_core::event::{Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::{ClientId, DecisionId, EventId, Id as _, ResourceId, TokenId};
use chancery_core::name::Name;
use chancery_core::proposal::{AgentFacts, Facts, Limits, ResourceFacts, UserFacts};
use chancery_core::scope::Authority;
use chancery_core::user::User;
use chancery_policy::{UsePermit, UseVerdict, decide_use};
use chancery_server::Failure;
use chancery_server::connect::find::{self, Calling};
use chancery_server::connect::open::open;
use chancery_server::store::{Expect, Sql, Statement};
use serde_json::{Value, json};
use std::collections::BTreeMap;

on_both_engines!(
    an_account_is_made_replaced_and_given_up,
    an_account_belongs_to_an_owner_of_the_connections_level,
    a_key_has_exactly_the_parts_that_the_connection_lists,
    a_credential_opens_for_its_owner_alone,
    tenants_cannot_reach_each_others_accounts,
    a_sealed_row_that_was_moved_does_not_open,
    a_changed_destination_needs_consent,
    a_killed_connection_or_account_opens_nothing_any_more,
    a_connections_grant_never_widens_a_token,
    no_key_appears_in_an_answer_an_event_or_an_export,
    what_is_exported_applies_elsewhere,
    a_gateways_resource_has_its_place_and_its_connection_reaches_it,
    stored_calls_are_tested_and_explained,
);

const KEY: &str = "MARKER-key-of-alice-0123456789";

async fn start(place: &Place) -> Estate {
    let estate = Estate::start(place).await;
    estate.apply(connections()).await;
    estate
}

fn connections() -> Value {
    let bearer = json!({ "api_key": { "parts": [
        { "name": "token", "placement": { "header": { "name": "Authorization", "prefix": "Bearer " } } },
    ] } });
    json!({
        "connections": [
            { "name": "github", "owner": "ops", "base_url": "https://api.github.example/v3", "owner_level": "user",
              "credential": bearer, "rules": [{ "effect": "allow", "methods": ["GET"], "path": "/repos/**" }] },
            { "name": "shared", "base_url": "https://shared.example", "owner_level": "tenant", "credential": bearer },
            { "name": "weather", "base_url": "https://weather.example", "owner_level": "tenant", "credential": "none" },
            { "name": "legacy", "base_url": "https://legacy.example", "owner_level": "agent", "credential": { "api_key": {
                "parts": [{ "name": "login", "placement": "basic_username" }, { "name": "password", "placement": "basic_password" }] } } },
        ],
        "users": [{ "name": "bob", "issuer": "corp", "subject": "bob", "roles": ["staff"] }],
        "grants": [
            { "agent": "planner", "principal": { "user": "alice" }, "connection": "github" },
            { "agent": "planner", "principal": { "user": "bob" }, "connection": "github" },
            { "agent": "planner", "principal": "itself", "connection": "shared", "budget": 5 },
            { "agent": "planner", "principal": "itself", "connection": "weather" },
        ],
    })
}

fn alices(key: &str) -> Value {
    json!({ "name": "alice-github", "connection": "github", "owner": { "user": "alice" }, "values": { "token": key } })
}

async fn set(estate: &Estate, body: Value) -> Answer {
    estate.try_admin("POST", "/connected_accounts", body).await
}

async fn must_set(estate: &Estate, body: Value) -> Value {
    let answer = set(estate, body).await;
    assert!(answer.status.is_success(), "{}", answer.text());
    answer.json()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// What planner would do through a connection, for somebody or for itself. `None` if there is no such connection.
async fn proposal(estate: &Estate, connection: &str, user: Option<&str>) -> Option<UseProposal> {
    let app = &estate.node.app;
    let tenant_name = estate.prefix.strip_prefix("/t/").unwrap_or("default");
    let tenant = app.tenants.find_by_name(tenant_name).unwrap().tenant.id;
    let agent = app.directory.agents.find_by_name(tenant, &name("planner")).await;
    let agent = agent.unwrap().unwrap();
    let user = match user {
        Some(user) => app
            .directory
            .users
            .find_by_name(tenant, &name(user))
            .await
            .unwrap(),
        None => None,
    };
    let calling = Calling {
        agent: &agent,
        user: user.as_deref(),
        now: START,
    };
    let found = find::connection(app, tenant, &name(connection), calling)
        .await
        .unwrap()?;
    let facts = facts(tenant_name, &agent, user.as_deref(), found.facts);
    Some(UseProposal {
        decision: DecisionId::generate(START, &*app.random),
        facts,
        plan: UsePlan {
            tenant,
            agent: agent.id,
            client: ClientId::from_bytes([1; 16]),
            user: user.map(|user| user.id),
            token: TokenId::from_bytes([2; 16]),
            resource: Some(ResourceId::from_bytes([3; 16])),
            connection: Some(found.usage),
            issued_at: START,
            now: START,
            lineage: found.lineage,
            guards: found.guards,
            spends: found.spends,
        },
    })
}

/// What policy sees of a request to `GET /repos/a` through a connection.
fn facts(tenant: &str, agent: &Agent, user: Option<&User>, connection: ConnectionFacts) -> Facts {
    Facts {
        tenant: name(tenant),
        now: START,
        grant_type: None,
        call: Some(CallFacts {
            action: CallAction::Request,
            target: "GET /repos/a".to_owned(),
            arguments: BTreeMap::new(),
            connection: Some(connection),
            host: None,
            method: Some("GET".to_owned()),
            path: Some("/repos/a".to_owned()),
            obstacle: None,
        }),
        agent: AgentFacts {
            name: agent.name.clone(),
            owner: agent.spec.owner.clone(),
            blueprint: None,
            tags: BTreeMap::new(),
        },
        delegated_by: None,
        client: name("planner"),
        assurance: AgentAssurance::Secret,
        instance: BTreeMap::new(),
        user: user.map(|user| UserFacts {
            name: user.name.clone(),
            issuer: user.spec.issuer.clone(),
            roles: user.spec.roles.clone(),
            groups: user.spec.groups.clone(),
            attributes: BTreeMap::new(),
            as_of: START,
            assurance: UserAssurance::Verified,
        }),
        approval: None,
        chain: vec![agent.name.clone()],
        resource: Some(ResourceFacts {
            name: name("broker"),
            owner: None,
        }),
        scopes: BTreeMap::new(),
        asked: None,
        authorization_details: Vec::new(),
        limits: Limits {
            parent: Some(Authority::default()),
            ..Limits::default()
        },
    }
}

async fn permit(estate: &Estate, connection: &str, user: Option<&str>) -> Result<UsePermit, String> {
    let proposal = proposal(estate, connection, user).await;
    let proposal = proposal.ok_or_else(|| "no connection".to_owned())?;
    let served = estate.node.app.tenants.find(proposal.plan.tenant).unwrap();
    match decide_use(&served.policy.set, proposal) {
        UseVerdict::Permit(permit) => Ok(*permit),
        UseVerdict::Deny(decision) => Err(format!("{:?}", decision.reason.unwrap())),
        UseVerdict::NeedsApproval(_) => Err("ApprovalRequired".to_owned()),
    }
}

async fn opened(estate: &Estate, permit: &UsePermit) -> Result<Vec<String>, Failure> {
    let app = &estate.node.app;
    let served = app.tenants.find(permit.plan().tenant).unwrap();
    let credential = open(app, &served, permit).await?;
    assert!(!format!("{credential:?}").contains("MARKER"));
    let parts = credential.parts().iter();
    Ok(parts.map(|part| part.value.expose_secret().clone()).collect())
}

/// The values that open for planner through a connection, or why none do.
async fn values(estate: &Estate, connection: &str, user: Option<&str>) -> Result<Vec<String>, String> {
    let permit = permit(estate, connection, user).await?;
    opened(estate, &permit)
        .await
        .map_err(|failure| failure.to_string())
}

async fn an_account_is_made_replaced_and_given_up(place: Place) {
    let estate = start(&place).await;
    let made = set(&estate, alices(KEY)).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    assert_eq!(
        (&made["status"], &made["generation"]),
        (&json!("active"), &json!(0))
    );
    assert_eq!(
        values(&estate, "github", Some("alice")).await,
        Ok(vec![KEY.to_owned()])
    );

    let replaced = set(&estate, alices("MARKER-second")).await;
    assert_eq!(replaced.status, 200);
    let replaced = replaced.json();
    assert_eq!(
        (&replaced["id"], &replaced["generation"]),
        (&made["id"], &json!(1))
    );
    let body = json!({ "values": { "token": "MARKER-third" } });
    estate
        .admin("PUT", "/connected_accounts/alice-github/credential", body)
        .await;
    assert_eq!(
        values(&estate, "github", Some("alice")).await,
        Ok(vec!["MARKER-third".to_owned()])
    );
    assert_eq!(estate.events("connected_account.created").await.len(), 1);
    assert_eq!(estate.events("connected_account.secret_reset").await.len(), 2);

    let permit = permit(&estate, "github", Some("alice")).await.unwrap();
    estate
        .admin("POST", "/connected_accounts/alice-github/retire", Value::Null)
        .await;
    assert!(matches!(opened(&estate, &permit).await, Err(Failure::Stale(_))));
    assert_eq!(count(&estate, "SELECT COUNT(*) FROM credentials").await, 0);
    assert_eq!(
        estate.show("connected_accounts", "alice-github").await["status"],
        "retired"
    );
    // The owner may connect again; the name is never free again.
    assert_eq!(set(&estate, alices(KEY)).await.problem().0, 409);
    let again = json!({ "connection": "github", "owner": { "user": "alice" }, "values": { "token": KEY } });
    let again = must_set(&estate, again).await;
    assert!(
        again["name"].as_str().unwrap().starts_with("github:user:alice:"),
        "{again}"
    );
}

async fn count(estate: &Estate, sql: &'static str) -> i64 {
    let row = estate
        .node
        .app
        .db
        .query_one(&Sql::same(sql), Vec::new())
        .await
        .unwrap();
    row.integer(0).unwrap()
}

async fn an_account_belongs_to_an_owner_of_the_connections_level(place: Place) {
    let estate = start(&place).await;
    for (connection, owner) in [
        ("github", json!("tenant")),
        ("github", json!({ "agent": "planner" })),
        ("shared", json!({ "user": "alice" })),
        ("legacy", json!("tenant")),
        ("weather", json!("tenant")),
    ] {
        let body = json!({ "connection": connection, "owner": owner, "values": { "token": KEY } });
        let answer = set(&estate, body).await;
        assert_eq!(
            answer.problem(),
            (422, "invalid".to_owned()),
            "{connection} {owner}"
        );
    }
    let nobody = json!({ "connection": "github", "owner": { "user": "nobody" }, "values": { "token": KEY } });
    assert_eq!(set(&estate, nobody).await.problem().0, 404);
    let nowhere = json!({ "connection": "nowhere", "owner": "tenant", "values": { "token": KEY } });
    assert_eq!(set(&estate, nowhere).await.problem().0, 404);
    // One account for each connection and owner, whatever it is called.
    must_set(&estate, alices(KEY)).await;
    let mut other = alices(KEY);
    other["name"] = json!("another");
    assert_eq!(set(&estate, other).await.problem().0, 422);
}

async fn a_key_has_exactly_the_parts_that_the_connection_lists(place: Place) {
    let estate = start(&place).await;
    let legacy =
        |values: Value| json!({ "connection": "legacy", "owner": { "agent": "planner" }, "values": values });
    for values in [
        json!({}),
        json!({ "login": "MARKER" }),
        json!({ "login": "MARKER", "password": "MARKER", "more": "MARKER" }),
        json!({ "login": "MARKER:colon", "password": "MARKER" }),
        json!({ "login": "MARKER", "password": "MARKER\r\nHost: evil" }),
        json!({ "login": "MARKER", "password": "" }),
        json!("MARKER"),
        json!({ "login": ["MARKER"] }),
        json!({ "MARKER": "MARKER" }),
    ] {
        let answer = set(&estate, legacy(values.clone())).await;
        assert_eq!(answer.problem().0, 422, "{values}");
        assert!(!answer.text().contains("MARKER"), "{}", answer.text());
    }
    must_set(&estate, legacy(json!({ "login": "bot", "password": "a:b" }))).await;
    assert_eq!(count(&estate, "SELECT COUNT(*) FROM credentials").await, 1);
}

async fn a_credential_opens_for_its_owner_alone(place: Place) {
    let estate = start(&place).await;
    must_set(&estate, alices(KEY)).await;
    // Bob has a grant for the same agent and connection, but no account: there is no fallback to Alice's.
    let none = Err("AccountMissing".to_owned());
    assert_eq!(values(&estate, "github", Some("bob")).await, none);
    assert_eq!(
        permit(&estate, "github", None).await.unwrap_err(),
        "ConnectionNotGranted"
    );
    must_set(
        &estate,
        json!({ "connection": "github", "owner": { "user": "bob" }, "values": { "token": "MARKER-bob" } }),
    )
    .await;
    assert_eq!(
        values(&estate, "github", Some("bob")).await,
        Ok(vec!["MARKER-bob".to_owned()])
    );
    assert_eq!(
        values(&estate, "github", Some("alice")).await,
        Ok(vec![KEY.to_owned()])
    );
    // The tenant's account needs the agent's own grant, which covers nobody it acts for.
    must_set(
        &estate,
        json!({ "connection": "shared", "owner": "tenant", "values": { "token": "MARKER-all" } }),
    )
    .await;
    assert_eq!(
        values(&estate, "shared", None).await,
        Ok(vec!["MARKER-all".to_owned()])
    );
    assert_eq!(
        values(&estate, "shared", Some("alice")).await,
        Err("ConnectionNotGranted".to_owned())
    );
    // A public upstream has nothing to open.
    assert_eq!(values(&estate, "weather", None).await, Ok(Vec::new()));
    // A permit that names Alice's account for Bob does not open it: it is sealed for Alice.
    let mut stolen = proposal(&estate, "github", Some("bob")).await.unwrap();
    let alice = proposal(&estate, "github", Some("alice")).await.unwrap();
    let account = alice.plan.connection.as_ref().unwrap().account.unwrap();
    stolen
        .plan
        .connection
        .as_mut()
        .unwrap()
        .account
        .as_mut()
        .unwrap()
        .id = account.id;
    stolen.plan.guards.extend(alice.plan.guards);
    let served = estate.node.app.tenants.find(stolen.plan.tenant).unwrap();
    let UseVerdict::Permit(permit) = decide_use(&served.policy.set, stolen) else {
        panic!()
    };
    assert!(matches!(
        opened(&estate, &permit).await,
        Err(Failure::Internal(_))
    ));
}

async fn tenants_cannot_reach_each_others_accounts(place: Place) {
    let (first, second) = Estate::twins(&place).await;
    first.apply(connections()).await;
    second.apply(connections()).await;
    must_set(&first, alices(KEY)).await;
    assert_eq!(
        values(&second, "github", Some("alice")).await,
        Err("AccountMissing".to_owned())
    );
    let list = second.admin("GET", "/connected_accounts", Value::Null).await;
    assert_eq!(list["items"], json!([]));
    let id = first.show("connected_accounts", "alice-github").await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let foreign = second
        .try_admin("GET", &format!("/connected_accounts/{id}"), Value::Null)
        .await;
    assert_eq!(foreign.problem(), (404, "not_found".to_owned()));
    // A permit of one tenant opens nothing in another.
    let permit = permit(&first, "github", Some("alice")).await.unwrap();
    let app = &second.node.app;
    let other = app.tenants.find_by_name("acme").unwrap();
    assert!(matches!(
        open(app, &other, &permit).await,
        Err(Failure::Internal(_))
    ));
}

async fn a_sealed_row_that_was_moved_does_not_open(place: Place) {
    let estate = start(&place).await;
    must_set(&estate, alices(KEY)).await;
    must_set(
        &estate,
        json!({ "connection": "github", "owner": { "user": "bob" }, "values": { "token": "MARKER-bob" } }),
    )
    .await;
    let bob = permit(&estate, "github", Some("bob")).await.unwrap();
    let sql = Sql::same(
        "UPDATE credentials SET sealed = (SELECT c.sealed FROM credentials AS c ORDER BY c.account LIMIT 1)",
    );
    let swap = Statement::new(&sql, Vec::new(), Expect::AtLeast(2), "swap");
    let batch = estate.node.app.batch(START).push(swap);
    assert!(estate.node.app.db.commit(batch).await.unwrap().is_committed());
    // Both rows are the same now: one of them is where it does not belong.
    let alice = permit(&estate, "github", Some("alice")).await.unwrap();
    let results = [opened(&estate, &alice).await, opened(&estate, &bob).await];
    let refused = results
        .iter()
        .filter(|result| matches!(result, Err(Failure::Internal(_))))
        .count();
    assert_eq!(refused, 1);
}

async fn a_changed_destination_needs_consent(place: Place) {
    let estate = start(&place).await;
    must_set(&estate, alices(KEY)).await;
    let before = permit(&estate, "github", Some("alice")).await.unwrap();
    let generation = estate.show("connections", "github").await["generation"].as_u64();
    estate
        .change(
            "connections",
            "github",
            json!({ "base_url": "https://evil.example/v3" }),
        )
        .await;
    let connection = estate.show("connections", "github").await;
    assert_eq!(
        connection["generation"].as_u64(),
        generation.map(|generation| generation + 1)
    );
    assert_eq!(
        estate.show("connected_accounts", "alice-github").await["status"],
        "needs_consent"
    );
    assert!(matches!(opened(&estate, &before).await, Err(Failure::Stale(_))));
    assert_eq!(
        values(&estate, "github", Some("alice")).await,
        Err("AccountMissing".to_owned())
    );
    // Going back revives it: it is the destination that it was sealed for.
    estate
        .change(
            "connections",
            "github",
            json!({ "base_url": "https://api.github.example/v3" }),
        )
        .await;
    assert_eq!(
        values(&estate, "github", Some("alice")).await,
        Ok(vec![KEY.to_owned()])
    );
    // So does setting the key again for the new place.
    estate
        .change(
            "connections",
            "github",
            json!({ "hosts": ["uploads.github.example"] }),
        )
        .await;
    assert_eq!(
        estate.show("connected_accounts", "alice-github").await["status"],
        "needs_consent"
    );
    must_set(&estate, alices(KEY)).await;
    assert_eq!(
        values(&estate, "github", Some("alice")).await,
        Ok(vec![KEY.to_owned()])
    );
}

async fn a_killed_connection_or_account_opens_nothing_any_more(place: Place) {
    let estate = start(&place).await;
    must_set(&estate, alices(KEY)).await;
    for (noun, collection, killed) in [
        ("connection", "connections", "github"),
        ("account", "connected_accounts", "alice-github"),
    ] {
        let before = permit(&estate, "github", Some("alice")).await.unwrap();
        let report = estate.kill(noun, killed).await;
        assert_eq!(report["state"], "suspended");
        assert!(
            report["stops"].to_string().contains("no credential is opened"),
            "{report}"
        );
        // A permit from just before is worth nothing, now and after it is put back into use.
        assert!(
            matches!(opened(&estate, &before).await, Err(Failure::Stale(_))),
            "{noun}"
        );
        assert!(values(&estate, "github", Some("alice")).await.is_err(), "{noun}");
        assert_eq!(
            estate.show("connected_accounts", "alice-github").await["status"],
            "suspended"
        );
        estate
            .admin("POST", &format!("/{collection}/{killed}/activate"), Value::Null)
            .await;
        assert!(
            matches!(opened(&estate, &before).await, Err(Failure::Stale(_))),
            "{noun}"
        );
        assert_eq!(
            values(&estate, "github", Some("alice")).await,
            Ok(vec![KEY.to_owned()]),
            "{noun}"
        );
    }
    // A new key does not put what was stopped back into use.
    estate.kill("account", "alice-github").await;
    must_set(&estate, alices("MARKER-new")).await;
    assert_eq!(
        values(&estate, "github", Some("alice")).await,
        Err("AccountMissing".to_owned())
    );
    estate.kill("grant", "planner:alice:connection:github").await;
    estate
        .admin("POST", "/connected_accounts/alice-github/activate", Value::Null)
        .await;
    assert_eq!(
        values(&estate, "github", Some("alice")).await,
        Err("ConnectionNotGranted".to_owned())
    );
}

/// A connection may be called what a resource is called; its grant is still no grant at the resource.
async fn a_connections_grant_never_widens_a_token(place: Place) {
    let estate = start(&place).await;
    let target = [("resource", MAIL), ("scope", "send")];
    let before = estate.own("planner", &target).await;
    assert_ne!(before.status, 200);
    estate
        .apply(json!({
            "connections": [{ "name": "mail", "base_url": "https://mail.example", "owner_level": "tenant", "credential": "none" }],
            "grants": [{ "agent": "planner", "principal": "itself", "connection": "mail" }],
        }))
        .await;
    let after = estate.own("planner", &target).await;
    assert_eq!(before.error(), after.error());
    let everything = estate.own("planner", &[]).await;
    assert!(!everything.scope().contains("mail"), "{}", everything.scope());
    // With scopes, or for both at once, it is refused when it is made.
    for grant in [
        json!({ "agent": "planner", "principal": "itself", "connection": "mail", "scopes": ["send"] }),
        json!({ "agent": "planner", "principal": "itself", "connection": "mail", "resource": "mail", "scopes": ["send"] }),
        json!({ "agent": "planner", "principal": "itself", "connection": "nowhere" }),
    ] {
        let answer = estate
            .try_admin("POST", "/apply", json!({ "grants": [grant] }))
            .await;
        assert!(answer.status.is_client_error(), "{grant}");
    }
}

async fn no_key_appears_in_an_answer_an_event_or_an_export(place: Place) {
    let estate = start(&place).await;
    let mut seen = must_set(&estate, alices(KEY)).await.to_string();
    seen += &set(&estate, alices("MARKER-second")).await.text();
    for path in [
        "/connected_accounts",
        "/connected_accounts/alice-github",
        "/export",
        "/audit/events?limit=500",
    ] {
        seen += &estate.admin("GET", path, Value::Null).await.to_string();
    }
    seen += &estate.kill("account", "alice-github").await.to_string();
    let text = "SELECT parts FROM events";
    for row in estate
        .node
        .app
        .db
        .query(&Sql::same(text), Vec::new())
        .await
        .unwrap()
    {
        seen += &row.text(0).unwrap();
    }
    for row in estate
        .node
        .app
        .db
        .query(&Sql::same("SELECT spec FROM connected_accounts"), Vec::new())
        .await
        .unwrap()
    {
        seen += &row.text(0).unwrap();
    }
    for row in estate
        .node
        .app
        .db
        .query(&Sql::same("SELECT sealed FROM credentials"), Vec::new())
        .await
        .unwrap()
    {
        seen += &String::from_utf8_lossy(&row.blob(0).unwrap());
    }
    assert!(
        seen.contains("alice-github") && !seen.contains("MARKER"),
        "a key is shown"
    );
}

async fn what_is_exported_applies_elsewhere(place: Place) {
    let (first, second) = Estate::twins(&place).await;
    first.apply(connections()).await;
    first
        .apply(json!({ "resources": [{ "name": "github", "scopes": { "read": {} }, "upstream": { "http": {
            "connection": "github", "routes": [{ "methods": ["GET"], "path": "/**", "scopes": ["read"] }] } } }] }))
        .await;
    must_set(&first, alices(KEY)).await;
    let exported = first.admin("GET", "/export", Value::Null).await;
    assert!(exported.get("connected_accounts").is_none());
    let again = first.apply(exported.clone()).await;
    let steps = again["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["action"] == "unchanged"), "{again}");
    second.apply(exported.clone()).await;
    assert_eq!(
        second.show("resources", "github").await["spec"]["uri"],
        format!("{}/broker/github", second.base())
    );
    let moved = second.admin("GET", "/export", Value::Null).await;
    assert_eq!(moved["connections"], exported["connections"]);
    assert_eq!(moved["grants"], exported["grants"]);
    // An account is not part of a document.
    let body = json!({ "connected_accounts": [{ "name": "x" }] });
    assert_eq!(second.try_admin("POST", "/apply", body).await.problem().0, 422);
}

async fn a_gateways_resource_has_its_place_and_its_connection_reaches_it(place: Place) {
    let estate = start(&place).await;
    let resource = |extra: Value| {
        let mut resource = json!({ "name": "gh", "scopes": { "read": {} }, "tools": { "list": ["read"] } });
        for (field, value) in extra.as_object().unwrap() {
            resource[field] = value.clone();
        }
        json!({ "resources": [resource] })
    };
    let mcp = |url: &str| json!({ "upstream": { "mcp": { "url": url, "connection": "github" } } });
    for refused in [
        mcp("https://evil.example/mcp"),
        mcp("https://api.github.example/v4/mcp"),
        json!({ "upstream": { "mcp": { "url": "https://a.example", "connection": "nowhere" } } }),
        json!({ "uri": "https://elsewhere.example", "upstream": { "mcp": { "url": "https://a.example" } } }),
        json!({ "enforcement": "self", "upstream": { "mcp": { "url": "https://a.example" } } }),
        json!({ "upstream": { "mcp": { "url": "http://a.example" } } }),
    ] {
        let answer = estate
            .try_admin("POST", "/apply", resource(refused.clone()))
            .await;
        assert!(answer.status.is_client_error(), "{refused}: {}", answer.text());
    }
    estate
        .apply(resource(mcp("https://api.github.example/v3/mcp")))
        .await;
    let stored = estate.show("resources", "gh").await;
    assert_eq!(stored["spec"]["uri"], format!("{}/mcp/gh", estate.base()));
    assert_eq!(stored["spec"]["enforcement"], "gateway");
    // Taking a mapping away, or sending calls elsewhere, ends tokens.
    estate
        .change(
            "resources",
            "gh",
            json!({ "tools": { "list": ["read"], "show": ["read"] } }),
        )
        .await;
    assert_eq!(estate.show("resources", "gh").await["generation"], 0);
    estate
        .change("resources", "gh", json!({ "tools": { "list": ["read"] } }))
        .await;
    assert_eq!(estate.show("resources", "gh").await["generation"], 1);
    estate
        .change(
            "resources",
            "gh",
            json!({ "upstream": { "mcp": { "url": "https://other.example" } } }),
        )
        .await;
    assert_eq!(estate.show("resources", "gh").await["generation"], 2);
}

/// A decision on a call, stored as the gateway will store it, is explained and evaluated again like any other.
async fn stored_calls_are_tested_and_explained(place: Place) {
    let estate = start(&place).await;
    must_set(&estate, alices(KEY)).await;
    let permit = permit(&estate, "github", Some("alice")).await.unwrap();
    let decision = permit.decision();
    let app = &estate.node.app;
    let served = app.tenants.find(permit.plan().tenant).unwrap();
    let event = Event {
        id: EventId::from(decision.id),
        tenant: permit.plan().tenant,
        time: START,
        kind: EventKind::TokenIssued,
        outcome: EventOutcome::Ok,
        actor: Actor::Unknown,
        ids: Vec::new(),
        decision: Some(decision.id),
        parts: vec![Part {
            name: "decision",
            class: PartClass::Decision,
            content: serde_json::to_string(decision).unwrap(),
        }],
    };
    let statement = chancery_server::record::statement(served.keys.seal(), &event, &*app.random).unwrap();
    let batch = app.batch(START).push(statement);
    assert!(app.db.commit(batch).await.unwrap().is_committed());

    let path = format!("/why/{}", decision.id);
    let why = estate.admin("GET", &path, Value::Null).await.to_string();
    assert!(
        why.contains("request GET /repos/a at broker") && why.contains("use_connection github"),
        "{why}"
    );
    let text = format!(
        "{}\n@id(\"stop\") forbid (principal is Agent, action == Action::\"use_connection\", resource is Connection);",
        chancery_policy::DEFAULT_POLICIES
    );
    let case = |expect: &str| json!({ "name": "call", "decision": decision.id, "expect": expect });
    let now = estate
        .admin("POST", "/policy/test", json!({ "cases": [case("permit")] }))
        .await;
    assert_eq!(now["failed"], 0, "{now}");
    let then = estate
        .admin(
            "POST",
            "/policy/test",
            json!({ "cases": [case("deny")], "text": text }),
        )
        .await;
    assert_eq!(then["failed"], 0, "{then}");
}
