//! Handing a credential out, at the vault's own address and as a token exchange: to whom, what, and what is recorded.

use crate::approval::{approve, prepare};
use crate::connect::Drive;
use crate::estate::*;
use crate::harness::*;
use axum::body::Body;
use chancery_core::time::Ttl;
use http::Request;
use serde_json::{Value, json};

on_both_engines!(
    a_providers_token_is_handed_out_and_the_record_says_that_it_left,
    a_key_is_handed_out_with_a_lease,
    what_is_for_the_broker_only_is_never_handed_out,
    a_credential_goes_to_the_agent_and_person_of_the_grant_alone,
    no_token_but_an_agent_token_opens_the_vault,
    a_credential_is_handed_out_under_policy_budget_and_hours,
    a_yes_comes_before_a_credential_leaves,
    what_does_not_leave_is_recorded_so,
    a_token_is_refreshed_before_it_is_handed_out,
    an_exchange_hands_out_the_same_in_standard_form,
    an_exchange_takes_only_the_agents_own_agent_token,
    an_exchange_refuses_what_it_cannot_answer_before_anything_leaves,
);

const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";
const API_KEY_TYPE: &str = "urn:chancery:token-type:api_key";
const KEY: &str = "MARKER-key-that-leaves";

/// A drive whose tokens may be handed out, and a key that may be, both with a grant to the planner.
struct Vault {
    drive: Drive,
}

impl Vault {
    async fn open(place: &Place) -> Self {
        let drive = Drive::of(place, |provider| {
            let mut connection = provider.connection("drive", &json!({}));
            connection["handling"] = json!("release");
            connection
        })
        .await;
        let key = |name: &str, parts: &Value| {
            json!({ "name": name, "base_url": "https://api.example", "owner_level": "agent", "handling": "release",
                    "credential": { "api_key": { "parts": parts } } })
        };
        let part =
            |name: &str, header: &str| json!({ "name": name, "placement": { "header": { "name": header } } });
        drive
            .estate
            .apply(json!({
                "connections": [
                    key("keyed", &json!([part("token", "X-Api-Key")])),
                    key("paired", &json!([part("id", "X-Id"), part("secret", "X-Secret")])),
                    { "name": "open", "base_url": "https://open.example", "owner_level": "agent", "handling": "release",
                      "credential": "none" },
                ],
                "grants": [
                    { "agent": "planner", "principal": "itself", "connection": "keyed" },
                    { "agent": "planner", "principal": "itself", "connection": "paired" },
                    { "agent": "planner", "principal": "itself", "connection": "open" },
                ],
            }))
            .await;
        for (connection, values) in [
            ("keyed", json!({ "token": KEY })),
            ("paired", json!({ "id": "MARKER-id", "secret": "MARKER-secret" })),
        ] {
            let account =
                json!({ "connection": connection, "owner": { "agent": "planner" }, "values": values });
            drive.estate.admin("POST", "/connected_accounts", account).await;
        }
        Self { drive }
    }

    /// Alice has connected for the planner.
    async fn connected(place: &Place) -> Self {
        let vault = Self::open(place).await;
        vault.connect("alice").await;
        vault
    }

    async fn connect(&self, person: &str) {
        let mut browser = self.drive.signed_in(person).await;
        let subject = format!("{person}-there");
        let done = self.drive.connect(&mut browser, ("planner", &subject), &[]).await;
        assert_eq!(done.status, 200, "{}", done.text());
    }

    fn estate(&self) -> &Estate {
        &self.drive.estate
    }

    /// An agent token for a person.
    async fn agent_token(&self, agent: &str, person: &str) -> String {
        let subject = self.drive.idp.token(&self.estate().node, person);
        let answer = self.estate().exchange_as(agent, (&subject, JWT), &[]).await;
        answer.token()
    }

    /// An agent token for the agent itself.
    async fn own(&self, agent: &str) -> String {
        self.estate().own(agent, &[]).await.token()
    }

    async fn ask(&self, token: &str, connection: &str) -> Answer {
        let request = Request::post(format!("/vault/{connection}"))
            .header("host", "id.example")
            .header("authorization", format!("Bearer {token}"));
        let request = request.body(Body::empty()).unwrap();
        self.estate().node.send(request).await
    }

    async fn ask_for(&self, agent: &str, person: &str) -> Answer {
        let token = self.agent_token(agent, person).await;
        self.ask(&token, "drive").await
    }

    async fn exchange(&self, agent: &str, token: &str, more: &[(&str, &str)]) -> Answer {
        self.estate().exchange(agent, token, more).await
    }

    /// The decisions on releases, newest first.
    async fn decided(&self) -> Vec<Value> {
        let mut events = self.estate().events("call.decided").await;
        events.retain(|event| event["parts"]["decision"]["facts"]["call"]["action"] == "release_credential");
        events
    }

    async fn left(&self) -> usize {
        let decided = self.decided().await;
        decided.iter().filter(|event| event["outcome"] == "ok").count()
    }
}

/// The one part of an answer.
#[track_caller]
fn value(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["parts"][0]["value"].as_str().unwrap().to_owned()
}

async fn a_providers_token_is_handed_out_and_the_record_says_that_it_left(place: Place) {
    let vault = Vault::connected(&place).await;
    let answer = vault.ask_for("planner", "alice").await;
    assert!(value(&answer).starts_with("MARKER-access-") && value(&answer).ends_with("-of-alice-there"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(!answer.text().contains("refresh"), "{}", answer.text());
    let body = answer.json();
    assert_eq!(
        (
            &body["connection"],
            &body["flow"],
            &body["expires_in"],
            &body["scopes"]
        ),
        (
            &json!("drive"),
            &json!("authorization_code"),
            &json!(3600),
            &json!(["files.read", "profile"])
        )
    );
    assert_eq!(
        body["parts"][0]["placement"],
        json!({ "header": { "name": "Authorization", "prefix": "Bearer " } })
    );

    let event = vault.decided().await.remove(0);
    let decision = body["decision"].as_str().unwrap();
    assert_eq!(event["outcome"], "ok");
    let sentence = event["sentence"].as_str().unwrap();
    assert!(
        sentence.contains("have the credential of drive for") && sentence.contains("which LEFT Chancery"),
        "{sentence}"
    );
    assert!(!event.to_string().contains("MARKER"));
    let facts = &event["parts"]["decision"]["facts"];
    assert_eq!(facts["call"]["connection"]["flow"], "authorization_code");
    assert_eq!(
        facts["call"]["connection"]["scopes"],
        json!(["files.read", "profile"])
    );
    assert!(facts["call"]["host"].as_str().unwrap().starts_with("127.0.0.1:"));

    let calls = vault.estate().admin("GET", "/calls", Value::Null).await;
    let call = &calls["items"][0];
    assert_eq!(
        (&call["decision"], &call["action"], &call["connection"]),
        (&json!(decision), &json!("release_credential"), &json!("drive"))
    );
    assert!(call["sentence"].as_str().unwrap().contains("it LEFT"), "{call}");
    let why = vault
        .estate()
        .admin("GET", &format!("/why/{decision}"), Value::Null)
        .await;
    assert!(why.to_string().contains("release_credential drive"), "{why}");
}

async fn a_key_is_handed_out_with_a_lease(place: Place) {
    let vault = Vault::open(&place).await;
    let token = vault.own("planner").await;
    let answer = vault.ask(&token, "keyed").await;
    assert_eq!(
        (value(&answer).as_str(), &answer.json()["expires_in"]),
        (KEY, &json!(300))
    );
    let answer = vault.ask(&token, "paired").await.json();
    let parts = answer["parts"].as_array().unwrap();
    let named = |name: &str| parts.iter().find(|part| part["name"] == name).unwrap()["value"].clone();
    assert_eq!(
        (named("id"), named("secret")),
        (json!("MARKER-id"), json!("MARKER-secret"))
    );
    // Where there is none, none is handed out.
    let none = vault.ask(&token, "open").await;
    assert_eq!(none.problem(), (403, "denied".to_owned()));
    assert_eq!(vault.left().await, 2);
}

async fn what_is_for_the_broker_only_is_never_handed_out(place: Place) {
    let vault = Vault::connected(&place).await;
    vault
        .estate()
        .change("connections", "drive", json!({ "handling": "broker_only" }))
        .await;
    let token = vault.agent_token("planner", "alice").await;
    let answer = vault.ask(&token, "drive").await;
    assert_eq!(answer.problem(), (403, "broker_only".to_owned()));
    assert!(answer.json()["decision"].as_str().unwrap().starts_with("dec_"));
    let exchanged = vault
        .exchange("planner", &token, &[("audience", "connection:drive")])
        .await;
    assert_eq!(exchanged.error(), (400, "access_denied".to_owned()));
    assert!(exchanged.text().contains("broker_only"));
    // Nor by a policy that permits everything.
    let all = r#"@id("all") permit (principal, action, resource);"#;
    vault
        .estate()
        .admin("PUT", "/policy", json!({ "text": all }))
        .await;
    let answer = vault.ask(&token, "drive").await;
    assert_eq!(answer.problem(), (403, "broker_only".to_owned()));
    assert_eq!(vault.left().await, 0);
    assert_eq!(vault.decided().await.len(), 3);
    assert_eq!(
        vault.drive.use_by("planner", "alice").await.status,
        200,
        "it is used all the same"
    );
}

async fn a_credential_goes_to_the_agent_and_person_of_the_grant_alone(place: Place) {
    let vault = Vault::connected(&place).await;
    for (agent, person) in [("planner", "bob"), ("helper", "alice")] {
        let answer = vault.ask_for(agent, person).await;
        assert_eq!(answer.problem(), (403, "account_not_connected".to_owned()));
        let link = format!("{BASE}/connect/drive?agent={agent}");
        assert!(answer.text().contains(&link), "{}", answer.text());
    }
    // The agent for itself has no account of hers, nor another agent the key of this one.
    for (agent, connection) in [("planner", "drive"), ("helper", "keyed")] {
        let token = vault.own(agent).await;
        let answer = vault.ask(&token, connection).await;
        assert_eq!(
            answer.problem(),
            (403, "denied".to_owned()),
            "{agent} {connection}"
        );
    }
    assert_eq!(vault.left().await, 0);
    vault.connect("bob").await;
    let handed: Vec<String> = [
        vault.ask_for("planner", "bob").await,
        vault.ask_for("planner", "alice").await,
    ]
    .iter()
    .map(value)
    .collect();
    assert!(handed[0].ends_with("-of-bob-there") && handed[1].ends_with("-of-alice-there"));
}

async fn no_token_but_an_agent_token_opens_the_vault(place: Place) {
    let vault = Vault::connected(&place).await;
    let estate = vault.estate();
    let broker = vault.drive.token("planner", "alice").await;
    let person = vault.drive.idp.token(&estate.node, "alice");
    for token in [broker.as_str(), &person, "nonsense", ""] {
        let answer = vault.ask(token, "drive").await;
        assert_eq!(answer.problem(), (401, "unauthorized".to_owned()), "{token}");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
    }
    let nobody = Request::post("/vault/drive").header("host", "id.example");
    let nobody = estate.node.send(nobody.body(Body::empty()).unwrap()).await;
    assert_eq!(nobody.header("www-authenticate"), Some("Bearer"));
    let token = vault.agent_token("planner", "alice").await;
    for name in ["nothing", "dri%20ve", "DRIVE"] {
        assert_eq!(vault.ask(&token, name).await.status, 404, "{name}");
    }
    value(&vault.ask(&token, "drive").await);
    let killed = estate.kill("agent", "planner").await;
    let remains = killed["remains"].to_string();
    assert!(
        remains.contains("handed out") && remains.contains("drive"),
        "{remains}"
    );
    assert_eq!(vault.ask(&token, "drive").await.status, 401);
    assert_eq!(vault.left().await, 1);
}

async fn a_credential_is_handed_out_under_policy_budget_and_hours(place: Place) {
    let vault = Vault::open(&place).await;
    let mut alice = vault.drive.signed_in("alice").await;
    let twice = [("budget", "2"), ("lasts", "month")];
    vault
        .drive
        .connect(&mut alice, ("planner", "alice-there"), &twice)
        .await;
    let token = vault.agent_token("planner", "alice").await;
    // A use and a release count alike.
    value(&vault.ask(&token, "drive").await);
    assert_eq!(vault.drive.use_by("planner", "alice").await.status, 200);
    let answer = vault.ask(&token, "drive").await;
    assert_eq!(answer.problem(), (403, "denied".to_owned()));
    assert_eq!(
        vault.decided().await[0]["parts"]["decision"]["reason"],
        "budget_used_up"
    );

    let own = vault.own("planner").await;
    value(&vault.ask(&own, "keyed").await);
    let text = vault.estate().admin("GET", "/policy", Value::Null).await["text"].clone();
    let no = r#"@id("not-at-all") forbid (principal, action == Action::"release_credential", resource == Connection::"keyed");"#;
    let text = format!("{}\n{no}", text.as_str().unwrap());
    vault
        .estate()
        .admin("PUT", "/policy", json!({ "text": text }))
        .await;
    let answer = vault.ask(&own, "keyed").await;
    assert_eq!(answer.problem(), (403, "denied".to_owned()));
    let sentence = vault.decided().await[0]["sentence"].as_str().unwrap().to_owned();
    assert!(
        sentence.contains("not-at-all") && !sentence.contains("LEFT"),
        "{sentence}"
    );
}

async fn a_yes_comes_before_a_credential_leaves(place: Place) {
    let vault = Vault::open(&place).await;
    let ask = r#"@id("ask-first") forbid (principal, action == Action::"release_credential", resource)
                 unless { context has approval && context.approval.count >= 1 };"#;
    prepare(vault.estate(), ask).await;
    let token = vault.own("planner").await;
    let answer = vault.ask(&token, "keyed").await;
    assert_eq!(answer.problem(), (403, "approval_required".to_owned()));
    let uri = answer.json()["approval_uri"].as_str().unwrap().to_owned();
    let exchange = [("audience", "connection:keyed")];
    let exchanged = vault.exchange("planner", &token, &exchange).await;
    assert_eq!(exchanged.error(), (400, "approval_required".to_owned()));
    assert_eq!(exchanged.json()["approval_uri"], uri, "one question");
    assert_eq!(vault.left().await, 0);
    let id = uri.rsplit('/').next().unwrap();
    let view = approve(vault.estate(), "carol", id).await.unwrap();
    let subject = view.record.subject;
    assert_eq!(subject.action, "release_credential");
    assert_eq!(subject.connection.unwrap().name.as_str(), "keyed");
    assert!(subject.call.unwrap().target.contains("api.example"));
    // A yes to this credential is none to another, and is used once.
    assert_eq!(vault.ask(&token, "paired").await.problem().1, "approval_required");
    assert_eq!(value(&vault.ask(&token, "keyed").await), KEY);
    assert_eq!(vault.ask(&token, "keyed").await.problem().1, "approval_required");
    assert_eq!(vault.left().await, 1);
}

async fn what_does_not_leave_is_recorded_so(place: Place) {
    let vault = Vault::connected(&place).await;
    vault.drive.provider.forget_everything();
    vault.estate().node.advance(Ttl::from_minutes(70)).await;
    let answer = vault.ask_for("planner", "alice").await;
    assert_eq!(answer.problem(), (403, "account_not_connected".to_owned()));
    let ends = loop {
        let ends = vault.estate().events("call.ended").await;
        if !ends.is_empty() {
            break ends;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(ends[0]["parts"]["end"]["fault"], "not_handed_out");
    let calls = vault.estate().admin("GET", "/calls", Value::Null).await;
    let sentence = calls["items"][0]["sentence"].as_str().unwrap();
    assert!(sentence.contains("did not leave"), "{sentence}");
}

async fn a_token_is_refreshed_before_it_is_handed_out(place: Place) {
    let vault = Vault::connected(&place).await;
    let first = value(&vault.ask_for("planner", "alice").await);
    vault.estate().node.advance(Ttl::from_minutes(30)).await;
    let answer = vault.ask_for("planner", "alice").await;
    assert_eq!(
        (value(&answer), &answer.json()["expires_in"]),
        (first.clone(), &json!(1800))
    );
    vault.estate().node.advance(Ttl::from_minutes(29)).await;
    let answer = vault.ask_for("planner", "alice").await;
    assert_ne!(value(&answer), first);
    assert_eq!(answer.json()["expires_in"], 3600);
}

async fn an_exchange_hands_out_the_same_in_standard_form(place: Place) {
    let vault = Vault::connected(&place).await;
    let token = vault.agent_token("planner", "alice").await;
    let resource = format!("{BASE}/vault/drive");
    let target = [
        ("resource", resource.as_str()),
        ("requested_token_type", ACCESS_TOKEN_TYPE),
        ("scope", "files.read"),
    ];
    let answer = vault.exchange("planner", &token, &target).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    assert!(
        body["access_token"]
            .as_str()
            .unwrap()
            .starts_with("MARKER-access-")
    );
    assert_eq!(
        (
            &body["token_type"],
            &body["issued_token_type"],
            &body["expires_in"],
            &body["scope"]
        ),
        (
            &json!("Bearer"),
            &json!(ACCESS_TOKEN_TYPE),
            &json!(3600),
            &json!("files.read profile")
        )
    );
    assert_eq!(body.get("refresh_token"), None);

    let own = vault.own("planner").await;
    let answer = vault
        .exchange("planner", &own, &[("audience", "connection:keyed")])
        .await
        .json();
    assert_eq!(
        (
            &answer["access_token"],
            &answer["token_type"],
            &answer["issued_token_type"]
        ),
        (&json!(KEY), &json!("N_A"), &json!(API_KEY_TYPE))
    );
    assert_eq!(vault.left().await, 2);

    // Where the account is missing, the answer says where the person connects one, and the same request then succeeds.
    let token = vault.agent_token("planner", "bob").await;
    let target = [("audience", "connection:drive")];
    let answer = vault.exchange("planner", &token, &target).await;
    assert_eq!(answer.error(), (400, "consent_required".to_owned()));
    assert_eq!(
        answer.json()["consent_uri"],
        format!("{BASE}/connect/drive?agent=planner")
    );
    vault.connect("bob").await;
    let answer = vault.exchange("planner", &token, &target).await;
    assert!(answer.token().ends_with("-of-bob-there"));
}

async fn an_exchange_takes_only_the_agents_own_agent_token(place: Place) {
    let vault = Vault::connected(&place).await;
    let estate = vault.estate();
    let target = [("audience", "connection:drive")];
    let own = vault.agent_token("planner", "alice").await;
    let broker = vault.drive.token("planner", "alice").await;
    let person = vault.drive.idp.token(&estate.node, "alice");
    let handed = [("audience", "agent:helper")];
    let handed_over = estate
        .exchange_as("planner", (&person, JWT), &handed)
        .await
        .token();
    for (client, token, kind) in [
        ("helper", own.as_str(), ACCESS_TOKEN),
        ("helper", &handed_over, ACCESS_TOKEN),
        ("planner", &broker, ACCESS_TOKEN),
        ("planner", &person, JWT),
        ("planner", &own, ID_TOKEN),
        ("planner", "nonsense", ACCESS_TOKEN),
    ] {
        let answer = estate.exchange_as(client, (token, kind), &target).await;
        assert_eq!(
            answer.error(),
            (400, "invalid_request".to_owned()),
            "{client} {kind}"
        );
    }
    let mut form = vec![
        ("grant_type", EXCHANGE),
        ("subject_token", own.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
        ("audience", "connection:drive"),
    ];
    let stranger = basic(estate.client_id("planner"), "wrong");
    let answer = estate.node.form_with("/token", &form, Some(&stranger)).await;
    assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
    // A proof that may be used once is spent whatever comes of it.
    let assertion = estate.assertion("once", json!({}));
    form.extend([
        ("client_assertion_type", ASSERTION),
        ("client_assertion", assertion.as_str()),
    ]);
    let first = estate.node.form("/token", &form).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let again = estate.node.form("/token", &form).await;
    assert_eq!(again.error(), (401, "invalid_client".to_owned()));
    assert_eq!(vault.left().await, 1);
}

async fn an_exchange_refuses_what_it_cannot_answer_before_anything_leaves(place: Place) {
    let vault = Vault::connected(&place).await;
    let token = vault.agent_token("planner", "alice").await;
    let own = vault.own("planner").await;
    for (token, more, error) in [
        (
            &token,
            vec![("requested_token_type", API_KEY_TYPE)],
            "invalid_request",
        ),
        (&token, vec![("requested_token_type", JWT)], "invalid_request"),
        (&token, vec![("scope", "files.write")], "invalid_scope"),
        (
            &token,
            vec![("authorization_details", r#"[{"type":"x"}]"#)],
            "invalid_authorization_details",
        ),
        (&own, vec![("audience", "connection:paired")], "invalid_target"),
        (&own, vec![("audience", "connection:open")], "invalid_target"),
        (&own, vec![("audience", "connection:nothing")], "invalid_target"),
        (
            &own,
            vec![("audience", "connection:keyed"), ("scope", "x")],
            "invalid_scope",
        ),
        (
            &own,
            vec![
                ("audience", "connection:keyed"),
                ("requested_token_type", ACCESS_TOKEN_TYPE),
            ],
            "invalid_request",
        ),
    ] {
        let mut form = more.clone();
        if !form.iter().any(|(name, _)| *name == "audience") {
            form.push(("audience", "connection:drive"));
        }
        let answer = vault.exchange("planner", token, &form).await;
        assert_eq!(answer.error(), (400, error.to_owned()), "{form:?}");
    }
    // A key is no token of ours.
    let ours = [("requested_token_type", API_KEY_TYPE)];
    let answer = vault.exchange("planner", &own, &ours).await;
    assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
    assert_eq!(vault.decided().await.len(), 0);
}
