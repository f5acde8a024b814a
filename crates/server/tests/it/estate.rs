//! The estate that most tests work in: two outside issuers, resources, agents with every kind of proof, and
//! grants. Applied through the administration interface, as an operator would.

use crate::harness::*;
use chancery_core::time::Ttl;
use chancery_oauth::jose::{Algorithm, HeaderTemplate, SigningKey};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

pub(crate) const NOTES: &str = "https://notes.example";
pub(crate) const MAIL: &str = "https://mail.example";
pub(crate) const HELPER_API: &str = "https://helper.example";
pub(crate) const IDP: &str = "https://idp.example";
pub(crate) const CLUSTER: &str = "https://cluster.example";
pub(crate) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub(crate) const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
pub(crate) const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// A node with the estate in one tenant.
#[derive(Debug)]
pub(crate) struct Estate {
    pub(crate) node: Chancery,
    /// `""` for the default tenant, else `/t/NAME`.
    pub(crate) prefix: String,
    idp: SigningKey,
    cluster: SigningKey,
    planner: SigningKey,
    /// Name of a client → (client_id, secret).
    clients: HashMap<String, (String, String)>,
}

impl Estate {
    /// The estate in the default tenant of a fresh node.
    pub(crate) async fn start(place: &Place) -> Self {
        Self::on(Chancery::start(place).await, "").await
    }

    /// The estate in a tenant of a node.
    pub(crate) async fn on(node: Chancery, prefix: &str) -> Self {
        let mut estate = Self {
            node,
            prefix: prefix.to_owned(),
            idp: key("idp-1"),
            cluster: key("cluster-1"),
            planner: key("planner-1"),
            clients: HashMap::new(),
        };
        let document = estate.document();
        let steps = estate.apply(document).await;
        for step in steps["steps"].as_array().unwrap() {
            if step["noun"] == "client" {
                let text = |field: &str| step[field].as_str().unwrap_or_default().to_owned();
                estate.clients.insert(text("name"), (text("id"), text("secret")));
            }
        }
        estate
    }

    /// The same estate on the same node, to put something else beside it.
    pub(crate) fn again(&self) -> Self {
        Self {
            node: self.node.clone(),
            prefix: self.prefix.clone(),
            idp: key("idp-1"),
            cluster: key("cluster-1"),
            planner: key("planner-1"),
            clients: self.clients.clone(),
        }
    }

    /// The estate in the default tenant and in a second one, on one node.
    pub(crate) async fn twins(place: &Place) -> (Self, Self) {
        let node = Chancery::start(place).await;
        node.add_tenant("acme").await;
        let first = Self::on(node.clone(), "").await;
        let second = Self::on(node, "/t/acme").await;
        (first, second)
    }

    pub(crate) fn base(&self) -> String {
        format!("{BASE}{}", self.prefix)
    }

    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    pub(crate) async fn apply(&self, document: Value) -> Value {
        self.node
            .admin("POST", &self.path("/api/v1/apply"), document)
            .await
    }

    pub(crate) async fn admin(&self, method: &str, path: &str, body: Value) -> Value {
        self.node
            .admin(method, &self.path(&format!("/api/v1{path}")), body)
            .await
    }

    pub(crate) async fn try_admin(&self, method: &str, path: &str, body: Value) -> Answer {
        self.node
            .local(method, &self.path(&format!("/api/v1{path}")), body)
            .await
    }

    pub(crate) async fn kill(&self, noun: &str, name: &str) -> Value {
        self.admin("POST", &format!("/kill/{noun}/{name}"), Value::Null)
            .await
    }

    pub(crate) async fn show(&self, collection: &str, name: &str) -> Value {
        self.admin("GET", &format!("/{collection}/{name}"), Value::Null)
            .await
    }

    /// Changes fields of a noun's spec and keeps the rest.
    pub(crate) async fn change(&self, collection: &str, name: &str, fields: Value) {
        let mut spec = self.show(collection, name).await["spec"].clone();
        let members = spec.as_object_mut().unwrap();
        for (field, value) in fields.as_object().unwrap() {
            members.insert(field.clone(), value.clone());
        }
        self.admin("PUT", &format!("/{collection}/{name}"), spec).await;
    }

    pub(crate) fn client_id(&self, client: &str) -> &str {
        &self.clients[client].0
    }

    pub(crate) fn secret(&self, client: &str) -> &str {
        &self.clients[client].1
    }

    pub(crate) fn basic(&self, client: &str) -> String {
        basic(self.client_id(client), self.secret(client))
    }

    pub(crate) async fn post(&self, path: &str, client: &str, pairs: &[(&str, &str)]) -> Answer {
        self.node
            .form_with(&self.path(path), pairs, Some(&self.basic(client)))
            .await
    }

    /// A token for the agent itself.
    pub(crate) async fn own(&self, client: &str, pairs: &[(&str, &str)]) -> Answer {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend_from_slice(pairs);
        self.post("/token", client, &form).await
    }

    /// Exchanges a token of ours.
    pub(crate) async fn exchange(&self, client: &str, subject: &str, pairs: &[(&str, &str)]) -> Answer {
        self.exchange_as(client, (subject, ACCESS_TOKEN), pairs).await
    }

    pub(crate) async fn exchange_as(
        &self,
        client: &str,
        (subject, kind): (&str, &str),
        pairs: &[(&str, &str)],
    ) -> Answer {
        let mut form = vec![
            ("grant_type", EXCHANGE),
            ("subject_token", subject),
            ("subject_token_type", kind),
        ];
        form.extend_from_slice(pairs);
        self.post("/token", client, &form).await
    }

    /// Planner for Alice at notes.
    pub(crate) async fn planner_for_alice(&self, scope: &str) -> Answer {
        let alice = self.user("alice", &["staff"]);
        let target = [("resource", NOTES), ("scope", scope)];
        self.exchange_as("planner", (&alice, JWT), &target).await
    }

    /// An agent token of planner for Alice, which helper may take over.
    pub(crate) async fn handed_over(&self, scope: &str) -> String {
        let alice = self.user("alice", &["staff"]);
        let target = [("audience", "agent:helper"), ("scope", scope)];
        self.exchange_as("planner", (&alice, JWT), &target).await.token()
    }

    /// What introspection by a client says of a token.
    pub(crate) async fn introspect(&self, client: &str, token: &str) -> Value {
        let answer = self.post("/introspect", client, &[("token", token)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    pub(crate) async fn is_active(&self, client: &str, token: &str) -> bool {
        self.introspect(client, token).await["active"].as_bool().unwrap()
    }

    fn now(&self) -> i64 {
        use chancery_core::time::Clock as _;
        self.node.clock.now().as_seconds()
    }

    /// A person's token, issued now for ten minutes.
    pub(crate) fn user(&self, subject: &str, roles: &[&str]) -> String {
        self.user_with(subject, json!({ "roles": roles }))
    }

    /// A person's token with claims of the test's own; `null` leaves a claim out.
    pub(crate) fn user_with(&self, subject: &str, extra: Value) -> String {
        let claims = json!({
            "iss": IDP, "sub": subject, "aud": "chancery", "iat": self.now(), "exp": self.now() + 600,
        });
        sign(&self.idp, None, &merged(claims, extra))
    }

    /// What the people's issuer signs for us and nobody else, with a type and claims of the test's own.
    pub(crate) fn vouched(&self, typ: Option<&str>, extra: Value) -> String {
        let claims = json!({
            "iss": IDP, "sub": "alice", "aud": self.base(), "iat": self.now(), "exp": self.now() + 300,
        });
        sign(&self.idp, typ, &merged(claims, extra))
    }

    /// A pod's token.
    pub(crate) fn pod(&self, service_account: &str, extra: Value) -> String {
        let claims = json!({
            "iss": CLUSTER, "sub": format!("system:serviceaccount:prod:{service_account}"),
            "aud": [self.base()], "iat": self.now(), "exp": self.now() + 600,
            "kubernetes.io": { "namespace": "prod", "pod": { "name": format!("{service_account}-0") } },
        });
        sign(&self.cluster, None, &merged(claims, extra))
    }

    /// Planner's assertion of itself.
    pub(crate) fn assertion(&self, jti: &str, extra: Value) -> String {
        self.assertion_by(&self.planner, jti, extra)
    }

    pub(crate) fn assertion_by(&self, key: &SigningKey, jti: &str, extra: Value) -> String {
        let id = self.client_id("planner-key");
        let claims = json!({
            "iss": id, "sub": id, "aud": self.base(), "jti": jti, "iat": self.now(), "exp": self.now() + 60,
        });
        sign(key, None, &merged(claims, extra))
    }

    /// Asks for a token of the agent itself with an assertion as the proof.
    pub(crate) async fn asserted(&self, assertion: &str, pairs: &[(&str, &str)]) -> Answer {
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_assertion_type", ASSERTION),
            ("client_assertion", assertion),
        ];
        form.extend_from_slice(pairs);
        self.node.form(&self.path("/token"), &form).await
    }

    /// The reason that is recorded under the reference of a failed authentication.
    pub(crate) async fn reason(&self, answer: &Answer) -> String {
        assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
        let reference = answer.json()["reference"].as_str().unwrap().to_owned();
        let why = self.admin("GET", &format!("/why/{reference}"), Value::Null).await;
        why["authentication_failed"]["reason"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// The newest events of a kind.
    pub(crate) async fn events(&self, kind: &str) -> Vec<Value> {
        let path = format!("/audit/events?limit=500&kind={kind}");
        let list = self.admin("GET", &path, Value::Null).await;
        list["items"].as_array().unwrap().clone()
    }

    pub(crate) fn document(&self) -> Value {
        json!({
            "trusted_issuers": [
                { "name": "corp", "issuer": IDP, "purposes": ["users"], "audiences": ["chancery"],
                  "keys": { "inline": jwks(&self.idp) },
                  "claims": { "roles": "roles", "groups": "groups" } },
                { "name": "cluster", "issuer": CLUSTER, "purposes": ["runtimes"],
                  "keys": { "inline": jwks(&self.cluster) } },
            ],
            "resources": resources(),
            "blueprints": [{ "name": "workers", "owner": "ops", "ceiling": { "notes": ["read", "write", "delete"], "mail": ["send"] } }],
            "users": [{ "name": "alice", "issuer": "corp", "subject": "alice", "roles": ["staff"] }],
            "agents": [
                { "name": "planner", "owner": "ops", "ceiling": { "notes": ["read", "write", "delete"], "mail": ["send"], "helper-api": ["plan"] } },
                { "name": "helper", "owner": "ops", "blueprint": "workers", "ceiling": { "notes": ["read", "write"], "helper-api": ["plan"] } },
                { "name": "third", "owner": "ops", "ceiling": { "notes": ["read"] } },
                { "name": "fourth", "owner": "ops", "ceiling": { "notes": ["read"] } },
            ],
            "clients": [
                { "name": "planner", "agent": "planner", "method": "client_secret_basic" },
                { "name": "helper", "agent": "helper", "method": "client_secret_post" },
                { "name": "third", "agent": "third", "method": "client_secret_basic" },
                { "name": "fourth", "agent": "fourth", "method": "client_secret_basic" },
                { "name": "planner-key", "agent": "planner", "method": "private_key_jwt", "jwks": jwks(&self.planner) },
            ],
            "runtime_bindings": [
                { "name": "planner-pod", "issuer": "cluster", "agent": "planner", "audience": self.base(),
                  "claims": { "sub": "system:serviceaccount:prod:planner", "/kubernetes.io/namespace": "prod" },
                  "instance": ["/kubernetes.io/pod/name"], "max_age": 300 },
            ],
            "grants": [
                { "name": "planner-notes", "agent": "planner", "principal": "itself", "resource": "notes", "scopes": ["read", "write"] },
                { "name": "helper-notes", "agent": "helper", "principal": "itself", "resource": "notes", "scopes": ["read"] },
                { "name": "alice-notes", "agent": "planner", "principal": { "user": "alice" }, "resource": "notes", "scopes": ["read", "write", "delete"] },
                { "name": "alice-helper", "agent": "planner", "principal": { "user": "alice" }, "resource": "helper-api", "scopes": ["plan"] },
            ],
        })
    }
}

fn resources() -> Value {
    json!([
        { "name": "notes", "uri": NOTES, "default_scopes": ["read"],
          "scopes": {
              "read": { "sensitivity": "read" }, "write": { "sensitivity": "write" },
              "delete": { "sensitivity": "sensitive" }, "admin": { "sensitivity": "sensitive" },
          },
          "holders": { "staff": ["read", "write"], "manager": ["read", "write", "delete"], "group:night": ["read"] } },
        { "name": "mail", "uri": MAIL, "scopes": { "send": {} }, "enforcement": "gateway",
          "holders": { "staff": ["send"] } },
        { "name": "helper-api", "uri": HELPER_API, "agent": "helper", "enforcement": "gateway",
          "scopes": { "plan": { "carries": { "notes": ["read"] } } }, "holders": { "staff": ["plan"] } },
    ])
}

/// A new key.
pub(crate) fn key(kid: &str) -> SigningKey {
    SigningKey::generate(Algorithm::Es256)
        .unwrap()
        .with_kid(kid)
        .unwrap()
}

/// The public half of a key as a JWK set.
pub(crate) fn jwks(key: &SigningKey) -> Value {
    json!({ "keys": [key.public_jwk().clone().with_kid(key.kid()).to_members()] })
}

pub(crate) fn sign(key: &SigningKey, typ: Option<&str>, claims: &Value) -> String {
    let header = HeaderTemplate::new(Algorithm::Es256, Some(key.kid()), typ);
    key.sign_compact(&header, claims).unwrap()
}

fn merged(claims: Value, extra: Value) -> Value {
    let Value::Object(mut members) = claims else {
        panic!()
    };
    let Value::Object(extra) = extra else { panic!() };
    for (name, value) in extra {
        if value.is_null() {
            members.remove(&name);
        } else {
            members.insert(name, value);
        }
    }
    Value::Object(members)
}

/// No extra claims.
pub(crate) fn plain() -> Value {
    Value::Object(Map::new())
}

/// The bound within which a revocation reaches every node, and a little.
pub(crate) const PAST_THE_BOUND: Ttl = Ttl::from_millis(2_001);
