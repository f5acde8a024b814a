//! The world of the measurements: one resource, agents with a secret each, a company's issuer whose key is
//! ours, ten policies; and the requests that are sent.

use crate::http::{self, Connection};
use crate::server::{Place, Server};
use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A set-up server's clients and keys.
pub(crate) struct Scenario {
    /// Where the server is.
    pub(crate) address: SocketAddr,
    base: String,
    client: (String, String),
    person: EcdsaKeyPair,
}

/// The URI of the resource.
pub(crate) const RESOURCE: &str = "https://notes.example/api";

/// Policies in force where nothing else is said: the seven of a new tenant, and three more.
pub(crate) const POLICIES: usize = 10;

impl Scenario {
    /// Applies the document of the scenario.
    pub(crate) fn set_up(place: &Place, server: &Server) -> Result<Self> {
        let person = key()?;
        let steps = server.apply(&document(&place.base(), &jwk(&person)))?;
        let client = steps
            .iter()
            .find(|step| step.get("noun") == Some(&json!("client")))
            .context("no client was made")?;
        let text = |name: &str| client.get(name).and_then(Value::as_str).map(str::to_owned);
        let client = (text("id").context("no id")?, text("secret").context("no secret")?);
        Ok(Self {
            address: place.address(),
            base: place.base(),
            client,
            person,
        })
    }

    /// A request for a token for the agent itself.
    pub(crate) fn client_credentials(&self) -> Requests {
        Rc::new(vec![self.post(
            "/token",
            &[("grant_type", "client_credentials"), ("resource", RESOURCE)],
        )])
    }

    /// The same by other clients that share one secret.
    pub(crate) fn client_credentials_of(&self, clients: &[String], secret: &str) -> Requests {
        let request = |client: &String| {
            let fields = [
                ("grant_type", "client_credentials"),
                ("resource", RESOURCE),
                ("client_id", client),
                ("client_secret", secret),
            ];
            http::form(self.address, "/token", &fields)
        };
        Rc::new(clients.iter().map(request).collect())
    }

    /// Exchanges of people's ID tokens, one request for each person.
    pub(crate) fn exchange_of_people(&self, people: usize) -> Result<Requests> {
        let mut requests = Vec::with_capacity(people);
        for number in 0..people {
            let token = self.id_token(number)?;
            requests.push(self.exchange("id_token", &token, "read write"));
        }
        Ok(Rc::new(requests))
    }

    /// Exchanges of our own tokens for narrower ones.
    pub(crate) async fn exchange_of_own(&self, tokens: usize) -> Result<Requests> {
        let own = self.tokens(tokens).await?;
        Ok(Rc::new(
            own.iter()
                .map(|token| self.exchange("access_token", token, "read"))
                .collect(),
        ))
    }

    /// Introspections of different tokens.
    pub(crate) async fn introspection(&self, tokens: usize) -> Result<Requests> {
        let own = self.tokens(tokens).await?;
        Ok(Rc::new(
            own.iter()
                .map(|token| self.post("/introspect", &[("token", token)]))
                .collect(),
        ))
    }

    async fn tokens(&self, count: usize) -> Result<Vec<String>> {
        let mut connection = Connection::open(self.address).await?;
        let mut tokens = Vec::with_capacity(count);
        for request in self.exchange_of_people(count)?.iter() {
            let answer = connection.send(request).await?;
            let body: Value = serde_json::from_slice(&answer.body)?;
            ensure!(answer.status == 200, "a token was refused: {body}");
            let token = body.get("access_token").and_then(Value::as_str);
            tokens.push(token.context("no token")?.to_owned());
        }
        Ok(tokens)
    }

    fn exchange(&self, kind: &str, token: &str, scope: &str) -> Vec<u8> {
        let kind = format!("urn:ietf:params:oauth:token-type:{kind}");
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", token),
            ("subject_token_type", &kind),
            ("resource", RESOURCE),
            ("scope", scope),
        ];
        self.post("/token", &fields)
    }

    fn post(&self, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut all = fields.to_vec();
        all.push(("client_id", &self.client.0));
        all.push(("client_secret", &self.client.1));
        http::form(self.address, path, &all)
    }

    fn id_token(&self, number: usize) -> Result<String> {
        let now = now()?;
        let claims = json!({
            "iss": ISSUER, "sub": format!("person-{number}"), "aud": self.base, "iat": now, "exp": now + 3_600,
            "roles": ["editor"],
        });
        signed(&self.person, &claims)
    }

    /// The issuer's URL.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }
}

/// Prepared requests.
pub(crate) type Requests = Rc<Vec<Vec<u8>>>;

/// A policy set of so many policies in all: those of a new tenant, and ones for single agents and resources.
pub(crate) fn policies(count: usize) -> String {
    let mut text = include_str!("../../../policies/default.cedar").to_owned();
    for number in text.matches("@id(").count()..count {
        let condition = if number % 2 == 0 {
            format!(
                "principal == Agent::\"other-{number}\", action == Action::\"issue_token\", resource is Scope"
            )
        } else {
            format!(
                "principal is Agent, action == Action::\"issue_token\", resource in Resource::\"other-{number}\""
            )
        };
        let _ = write!(
            text,
            "\n@id(\"extra-{number}\")\npermit ({condition})\nwhen {{ resource.sensitivity == \"read\" && context.depth <= 2 }};\n"
        );
    }
    text
}

fn document(base: &str, key: &Value) -> Value {
    let scope = |sensitivity: &str| json!({ "description": "", "sensitivity": sensitivity });
    json!({
        "trusted_issuers": [{
            "name": "company", "issuer": ISSUER, "purposes": ["users"], "audiences": [base],
            "keys": { "inline": { "keys": [key] } }, "claims": { "roles": "roles" },
        }],
        "resources": [{
            "name": "notes", "uri": RESOURCE, "default_scopes": ["read"], "lifetime": 3_600,
            "scopes": { "read": scope("read"), "write": scope("write") },
            "holders": { "editor": ["read", "write"] },
        }],
        "agents": [{ "name": "worker", "owner": "group:lab", "ceiling": { "notes": ["read", "write"] } }],
        "clients": [{ "name": "worker-secret", "agent": "worker", "method": "client_secret_post" }],
        "grants": [
            { "agent": "worker", "principal": "itself", "resource": "notes", "scopes": ["read", "write"] },
            { "agent": "worker", "principal": "tenant", "resource": "notes", "scopes": ["read", "write"] },
        ],
        "policy": policies(POLICIES),
    })
}

/// A new key for ES256.
pub(crate) fn key() -> Result<EcdsaKeyPair> {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())?;
    Ok(EcdsaKeyPair::from_pkcs8(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        pkcs8.as_ref(),
    )?)
}

/// Claims under a key's signature.
pub(crate) fn signed(key: &EcdsaKeyPair, claims: &Value) -> Result<String> {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "alg": "ES256", "kid": KEY_ID, "typ": "JWT" });
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
}

/// Seconds since 1970.
pub(crate) fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// The public half of a key.
pub(crate) fn jwk(key: &EcdsaKeyPair) -> Value {
    // An uncompressed point: 4, x, y.
    let point = key.public_key().as_ref();
    let coordinate =
        |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(point.get(range).unwrap_or_default());
    json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
        "x": coordinate(1..33), "y": coordinate(33..65),
    })
}

const KEY_ID: &str = "company";
const ISSUER: &str = "https://idp.example";
