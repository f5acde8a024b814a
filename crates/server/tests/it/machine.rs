//! Accounts that no person connects: their tokens are fetched by proving who we are. A stand-in plays each provider.

use crate::estate::*;
use crate::harness::*;
use crate::oauth_provider::{AskedOf, OAuthProvider};
use crate::outside;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{Request, StatusCode};
use serde_json::{Value, json};

/// A provider behind the broker, for agents with nobody behind them.
pub(crate) struct Machine {
    pub(crate) estate: Estate,
    pub(crate) provider: OAuthProvider,
}

impl Machine {
    /// With this connection, called `crm`, in the default tenant.
    pub(crate) async fn of(place: &Place, connection: impl FnOnce(&OAuthProvider) -> Value) -> Self {
        let provider = OAuthProvider::start().await;
        let limits = "off".parse().unwrap();
        let node = outside::node(place, |config, _| config.call_limits = limits).await;
        let estate = Estate::on(node, "").await;
        estate.apply(document(&connection(&provider))).await;
        Self { estate, provider }
    }

    /// What proves us is set, and the account named.
    pub(crate) async fn ready(&self, secret: &str, owner: Value) -> Value {
        self.prove(secret).await;
        self.name(owner).await.json()
    }

    pub(crate) async fn prove(&self, secret: &str) -> Value {
        let secret = json!({ "secret": secret });
        self.estate.admin("PUT", "/connections/crm/secret", secret).await
    }

    pub(crate) async fn name(&self, owner: Value) -> Answer {
        let account = json!({ "connection": "crm", "owner": owner, "values": {} });
        self.estate
            .try_admin("POST", "/connected_accounts", account)
            .await
    }

    pub(crate) async fn token(&self, agent: &str) -> String {
        let target = [("audience", "crm"), ("scope", "read")];
        self.estate.own(agent, &target).await.token()
    }

    pub(crate) async fn call(&self, token: &str) -> Answer {
        self.request(token, "GET", "/files").await
    }

    pub(crate) async fn request(&self, token: &str, method: &str, path: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(self.estate.path(&format!("/broker/crm{path}")))
            .header("host", "id.example")
            .header("authorization", format!("Bearer {token}"));
        self.estate.node.send(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn use_by(&self, agent: &str) -> Answer {
        let token = self.token(agent).await;
        self.call(&token).await
    }

    /// The one account that there is and that has not ended.
    pub(crate) async fn account(&self) -> Value {
        let list = self.estate.admin("GET", "/connected_accounts", Value::Null).await;
        let mut items = list["items"].as_array().unwrap().clone();
        items.retain(|account| account["state"] != "retired");
        assert_eq!(items.len(), 1, "{items:?}");
        items[0].clone()
    }

    pub(crate) async fn given_up(&self) -> Value {
        let id = self.account().await["id"].as_str().unwrap().to_owned();
        let path = format!("/connected_accounts/{id}/retire");
        self.estate.admin("POST", &path, Value::Null).await["revocation"].clone()
    }

    /// Everything that an administrator, the log or the disk shows holds none of these.
    pub(crate) async fn shows_none_of(&self, place: &Place, secrets: &[&str]) {
        let mut said = Vec::new();
        for path in [
            "/api/v1/connected_accounts",
            "/api/v1/connections",
            "/api/v1/audit/events?limit=500",
            "/api/v1/export",
        ] {
            let answer = self.estate.node.local("GET", path, Value::Null).await;
            assert_eq!(answer.status, 200, "{path}");
            said.extend(answer.body);
        }
        if place.is_postgres() {
            said.extend(place.dump().await);
        } else {
            let file = place.text.strip_prefix("sqlite:").unwrap();
            said.extend(std::fs::read(file).unwrap());
            said.extend(std::fs::read(format!("{file}-wal")).unwrap_or_default());
        }
        for secret in secrets {
            assert_eq!(memchr::memmem::find(&said, secret.as_bytes()), None, "{secret}");
        }
        // The search can find.
        assert!(memchr::memmem::find(&said, b"crm").is_some());
    }
}

pub(crate) fn body(value: &Value) -> Response {
    axum::Json(value.clone()).into_response()
}

/// An interface that takes this token alone.
pub(crate) fn interface(asked: &AskedOf, token: &str) -> Response {
    if asked.header("authorization") == format!("Bearer {token}") {
        "theirs".into_response()
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    }
}

pub(crate) fn document(connection: &Value) -> Value {
    let grant =
        |agent: &str| json!({ "agent": agent, "principal": "itself", "resource": "crm", "scopes": ["read"] });
    let ceiling = json!({ "notes": ["read"], "crm": ["read"] });
    json!({
        "connections": [connection],
        "resources": [{
            "name": "crm", "scopes": { "read": { "sensitivity": "read" } }, "default_scopes": ["read"],
            "upstream": { "http": { "connection": "crm", "routes": [
                { "methods": ["GET", "POST"], "path": "/**", "scopes": ["read"] } ] } },
        }],
        "agents": [
            { "name": "planner", "owner": "ops", "ceiling": ceiling },
            { "name": "helper", "owner": "ops", "ceiling": ceiling },
        ],
        "grants": [
            grant("planner"), grant("helper"),
            { "name": "planner-crm", "agent": "planner", "principal": "itself", "connection": "crm" },
        ],
    })
}
