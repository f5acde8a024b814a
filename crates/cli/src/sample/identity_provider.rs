//! A stand-in for a company's identity provider: an OpenID Connect issuer with a handful of people.
//!
//! It serves discovery (OpenID Connect Discovery 1.0 §4), its JWKS, and `POST /login?user=NAME`, which takes the
//! place of a person at a sign-in page: no password, any local program may ask. It has no authorization
//! endpoint, no clients and no sessions. Never trust this issuer outside a demonstration.

use super::listener::{Body, Bound, Serving, json, query_parameter, text};
use super::signer::Signer;
use super::{now, unique};
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Someone the identity provider knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    /// The name to sign in with.
    pub(crate) user: &'static str,
    /// The `sub` of the person's tokens.
    pub(crate) subject: &'static str,
    /// The full name.
    pub(crate) name: &'static str,
    /// The `roles` claim.
    pub(crate) roles: &'static [&'static str],
    /// The `groups` claim.
    pub(crate) groups: &'static [&'static str],
}

impl Person {
    /// The one with this sign-in name.
    pub(crate) fn find(user: &str) -> Option<&'static Self> {
        PEOPLE.iter().find(|person| person.user == user)
    }
}

/// The running identity provider.
pub(crate) struct IdentityProvider {
    issuer: Arc<Issuer>,
    serving: Serving,
}

impl IdentityProvider {
    /// Starts on a loopback port, 0 for any. Tokens of the `/login` endpoint are for `default_audience` where the
    /// query names no other.
    ///
    /// # Errors
    /// If the port is taken.
    pub(crate) async fn start(port: u16, default_audience: String) -> anyhow::Result<Self> {
        let bound = Bound::to_loopback(port).await?;
        let issuer = Arc::new(Issuer {
            url: bound.base(),
            signer: Signer::es256()?,
            default_audience,
        });
        let shared = Arc::clone(&issuer);
        let serving = bound.serve(move |request| {
            let response = shared.answer(&request);
            async move { response }
        });
        Ok(Self { issuer, serving })
    }

    /// The issuer URL.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer.url
    }

    /// A signed ID token, as the person's browser would bring it back from signing in.
    ///
    /// # Errors
    /// If signing fails, which no input causes.
    pub(crate) fn id_token(
        &self,
        person: &Person,
        audience: &str,
        lifetime: Duration,
    ) -> anyhow::Result<String> {
        self.issuer.id_token(person, audience, lifetime)
    }

    /// Stops.
    pub(crate) async fn stop(self) {
        self.serving.stop().await;
    }
}

struct Issuer {
    url: String,
    signer: Signer,
    default_audience: String,
}

impl Issuer {
    fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/.well-known/openid-configuration") => json(StatusCode::OK, &self.discovery()),
            (&Method::GET, "/jwks") => json(StatusCode::OK, &self.signer.key_set()),
            (&Method::POST, "/login") => self.login(request),
            (_, "/authorize") => text(
                StatusCode::NOT_IMPLEMENTED,
                "people sign in here with: POST /login?user=alice\n",
            ),
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    fn discovery(&self) -> Value {
        let url = &self.url;
        json!({
            "issuer": url,
            "authorization_endpoint": format!("{url}/authorize"),
            "jwks_uri": format!("{url}/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.signer.algorithm_name()],
            "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "name", "roles", "groups"],
        })
    }

    fn login<B>(&self, request: &Request<B>) -> Response<Body> {
        let user = query_parameter(request, "user").unwrap_or_default();
        let Some(person) = Person::find(&user) else {
            let known: Vec<&str> = PEOPLE.iter().map(|person| person.user).collect();
            return json(
                StatusCode::NOT_FOUND,
                &json!({ "error": "no such user", "users": known }),
            );
        };
        let audience = query_parameter(request, "audience").unwrap_or_else(|| self.default_audience.clone());

        match self.id_token(person, &audience, LOGIN_LIFETIME) {
            Ok(token) if query_parameter(request, "format").as_deref() == Some("text") => {
                text(StatusCode::OK, token)
            }
            Ok(token) => json(
                StatusCode::OK,
                &json!({
                    "id_token": token,
                    "expires_in": LOGIN_LIFETIME.as_secs(),
                }),
            ),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    fn id_token(&self, person: &Person, audience: &str, lifetime: Duration) -> anyhow::Result<String> {
        let now = now();
        let claims = json!({
            "iss": self.url,
            "sub": person.subject,
            "aud": audience,
            "iat": now,
            "auth_time": now,
            "exp": now.saturating_add(lifetime.as_secs()),
            "jti": unique()?,
            "name": person.name,
            "preferred_username": person.user,
            "roles": person.roles,
            "groups": person.groups,
        });
        self.signer.sign(Some("JWT"), &claims)
    }
}

/// How long a token of the `/login` endpoint lives.
const LOGIN_LIFETIME: Duration = Duration::from_mins(10);

/// Everybody in the company.
pub(crate) const PEOPLE: &[Person] = &[
    Person {
        user: "alice",
        subject: "00u-alice",
        name: "Alice Ansah",
        roles: &["editor"],
        groups: &["research"],
    },
    Person {
        user: "bob",
        subject: "00u-bob",
        name: "Bob Berger",
        roles: &["reader"],
        groups: &["support"],
    },
];
