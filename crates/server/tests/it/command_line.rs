//! `chancery login` from the server's side: the command line is a client in a person's own hands. What it is given is the
//! person's, within what they ticked and what policy lets them do; nothing else passes for it.

use crate::browser::*;
use crate::estate::*;
use crate::harness::*;
use crate::identity_provider::IdentityProvider;
use crate::outside;
use serde_json::{Value, json};

on_both_engines!(
    the_command_line_acts_as_the_person_within_what_they_ticked,
    what_a_person_may_not_do_their_command_line_may_not,
    the_command_line_is_at_the_interface_and_nowhere_else,
    nobody_makes_another_client_of_this_kind,
    an_agent_of_the_same_name_is_an_agent,
    the_command_line_is_killed_as_any_agent,
);

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const INTERFACE: &str = "https://id.example/api/v1";

struct Office {
    estate: Estate,
    idp: IdentityProvider,
}

impl Office {
    async fn open(place: &Place) -> Self {
        let idp = IdentityProvider::start(true).await;
        let estate = Estate::on(outside::node(place, |_, _| {}).await, "").await;
        let mut company = idp.trusted("company", &json!({}));
        company["claims"]["role_map"] = json!({ "boss": "administrator", "staff": "staff" });
        estate.apply(json!({ "trusted_issuers": [company] })).await;
        Self { estate, idp }
    }

    async fn ask(&self, client: &str, scope: &str, resource: &str) -> Answer {
        let form = [("client_id", client), ("scope", scope), ("resource", resource)];
        self.estate.node.form("/device_authorization", &form).await
    }

    /// The page that a person with these roles sees for a request of a client, where it is, and their browser.
    async fn page(&self, name: &str, roles: &[&str], asked: &Answer) -> (Browser, String, Answer) {
        let mut browser = Browser::at(&self.estate.node);
        let extra = json!({ "roles": roles });
        self.idp
            .sign_in_with(&self.estate.node, &mut browser, (name, &extra))
            .await;
        let token = csrf(&browser.get("/device").await);
        let code = asked.json()["user_code"].as_str().unwrap().to_owned();
        let typed = browser
            .submit("/device", &[("csrf", &token), ("user_code", &code)])
            .await;
        let path = typed.header("location").unwrap().to_owned();
        let page = browser.get(&path).await;
        (browser, path, page)
    }

    /// What a client gets for a person with these roles who ticks these scopes.
    async fn login(&self, client: &str, (name, roles): (&str, &[&str]), scopes: &[&str]) -> Answer {
        let asked = self.ask(client, "read write kill", INTERFACE).await;
        assert_eq!(asked.status, 200, "{}", asked.text());
        let (mut browser, path, page) = self.page(name, roles, &asked).await;
        let token = csrf(&page);
        let mut form = vec![("csrf", token.as_str()), ("answer", "allow"), ("lasts", "day")];
        form.extend(scopes.iter().map(|scope| ("scope", *scope)));
        let answered = browser.submit(&path, &form).await;
        assert_eq!(answered.status, 303, "{}", answered.text());
        let code = asked.json()["device_code"].as_str().unwrap().to_owned();
        let poll = [
            ("grant_type", DEVICE_CODE),
            ("client_id", client),
            ("device_code", code.as_str()),
        ];
        self.estate.node.form("/token", &poll).await
    }

    async fn api(&self, method: &str, path: &str, token: &str, body: Value) -> Answer {
        let path = format!("/api/v1{path}");
        self.estate.node.api(method, &path, token, body).await
    }
}

const BOSS: (&str, &[&str]) = ("boss", &["boss"]);
const READ_AND_WRITE: &[&str] = &["chancery:read", "chancery:write"];

fn new_agent(name: &str) -> Value {
    json!({ "agents": [{ "name": name, "owner": "ops" }] })
}

async fn the_command_line_acts_as_the_person_within_what_they_ticked(place: Place) {
    let office = Office::open(&place).await;
    let asked = office.ask("chancery-cli", "read write", INTERFACE).await;
    let (_, _, page) = office.page("boss", BOSS.1, &asked).await;
    assert!(page.text().contains("the command line of this server"));

    let given = office.login("chancery-cli", BOSS, READ_AND_WRITE).await;
    assert_eq!(given.scope(), "read write");
    let said = given.claims();
    let boss = office.estate.show("users", "company:boss").await["id"].clone();
    assert_eq!(
        (&said["sub"], &said["act"], &said["aud"]),
        (&boss, &Value::Null, &json!(INTERFACE))
    );
    assert!(given.json()["refresh_token"].is_string());
    let token = given.token();
    let me = office.api("GET", "/me", &token, Value::Null).await.json();
    assert_eq!(me["user"], "company:boss");
    let made = office.api("POST", "/apply", &token, new_agent("fresh")).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let events = office.estate.events("agent.created").await;
    assert_eq!(events[0]["ids"][0], json!(["actor", boss]));
    let kill = office.api("POST", "/kill/agent/fresh", &token, Value::Null).await;
    assert_eq!(kill.problem(), (403, "insufficient_scope".to_owned()));
}

async fn what_a_person_may_not_do_their_command_line_may_not(place: Place) {
    let office = Office::open(&place).await;
    let given = office
        .login("chancery-cli", ("alice", &["staff"]), READ_AND_WRITE)
        .await;
    let token = given.token();
    let made = office.api("POST", "/apply", &token, new_agent("fresh")).await;
    assert_eq!(made.status, 403, "{}", made.text());
    assert_eq!(
        office.api("GET", "/me", &token, Value::Null).await.json()["user"],
        "company:alice"
    );
}

async fn the_command_line_is_at_the_interface_and_nowhere_else(place: Place) {
    let office = Office::open(&place).await;
    office.ask("chancery-cli", "read", INTERFACE).await;
    // Nobody is asked for more than its ceiling, so that nothing else is offered.
    let asked = office.ask("chancery-cli", "read", NOTES).await;
    let (_, _, page) = office.page("alice", &["staff"], &asked).await;
    assert!(!page.text().contains("value=\"notes:read\""), "{}", page.text());
    // And if somebody raised that, it would be an agent there.
    let wide = json!({ "ceiling": { "chancery": ["read", "write"], "notes": ["read"] } });
    office.estate.change("agents", "chancery-cli", wide).await;
    let asked = office.ask("chancery-cli", "read", NOTES).await;
    let (mut browser, path, page) = office.page("alice", &["staff"], &asked).await;
    let token = csrf(&page);
    let form = [
        ("csrf", token.as_str()),
        ("answer", "allow"),
        ("scope", "notes:read"),
    ];
    browser.submit(&path, &form).await;
    let code = asked.json()["device_code"].as_str().unwrap().to_owned();
    let poll = [
        ("grant_type", DEVICE_CODE),
        ("client_id", "chancery-cli"),
        ("device_code", code.as_str()),
    ];
    let given = office.estate.node.form("/token", &poll).await;
    let agent = office.estate.show("agents", "chancery-cli").await["id"].clone();
    assert_eq!(given.claims()["act"]["sub"], agent);
}

async fn nobody_makes_another_client_of_this_kind(place: Place) {
    let office = Office::open(&place).await;
    let spec = json!({ "name": "mine", "agent": "planner", "method": "none", "provenance": "built_in",
        "grant_types": [DEVICE_CODE] });
    let path = office.estate.path("/api/v1/apply");
    let refused = office
        .estate
        .node
        .local("POST", &path, json!({ "clients": [spec] }))
        .await;
    assert!(refused.status.is_client_error(), "{}", refused.text());
    // Nor is the one there changed, or exported.
    office.ask("chancery-cli", "read", INTERFACE).await;
    let mut spec = office.estate.show("clients", "chancery-cli").await["spec"].clone();
    spec["redirect_uris"] = json!(["https://evil.example/cb"]);
    let changed = office
        .estate
        .try_admin("PUT", "/clients/chancery-cli", spec)
        .await;
    assert!(changed.status.is_client_error(), "{}", changed.text());
    let exported = office.estate.admin("GET", "/export", Value::Null).await;
    assert!(!exported.to_string().contains("chancery-cli"));
    // Without its name nothing is made.
    let other = office.ask("chancery-cl1", "read", INTERFACE).await;
    assert_eq!(other.error().1, "invalid_client");
}

async fn an_agent_of_the_same_name_is_an_agent(place: Place) {
    let office = Office::open(&place).await;
    office.ask("chancery-cli", "read", INTERFACE).await;
    let mine =
        json!({ "name": "mine", "agent": "chancery-cli", "method": "none", "grant_types": [DEVICE_CODE] });
    office.estate.apply(json!({ "clients": [mine] })).await;
    let holders = json!({ "holders": { "administrator": ["read", "write"] } });
    office.estate.change("resources", "chancery", holders).await;
    let given = office.login("mine", BOSS, READ_AND_WRITE).await;
    let agent = office.estate.show("agents", "chancery-cli").await["id"].clone();
    assert_eq!(given.claims()["act"]["sub"], agent);
    let made = office
        .api("POST", "/apply", &given.token(), new_agent("fresh"))
        .await;
    assert_eq!(made.status, 403, "{}", made.text());
}

async fn the_command_line_is_killed_as_any_agent(place: Place) {
    let office = Office::open(&place).await;
    let token = office.login("chancery-cli", BOSS, READ_AND_WRITE).await.token();
    assert_eq!(office.api("GET", "/me", &token, Value::Null).await.status, 200);
    office.estate.kill("agent", "chancery-cli").await;
    assert_eq!(office.api("GET", "/me", &token, Value::Null).await.status, 401);
    // It does not come back by asking for it.
    let again = office.ask("chancery-cli", "read", INTERFACE).await;
    assert_eq!(again.error(), (401, "invalid_client".to_owned()));
}
