//! A stand-in for a company's identity provider: an OpenID Connect issuer with a handful of people.
//!
//! It serves discovery (OpenID Connect Discovery 1.0 §4), its JWKS, an authorization endpoint whose page has a button
//! for each person, a token endpoint for codes with PKCE, and `POST /login?user=NAME`, which takes the place of a
//! person at that page: no password, any local program may ask. Its one client is the Chancery it was started for. It
//! has no sessions. Never trust this issuer outside a demonstration.

use super::application::challenge;
use super::listener::{Body, Bound, Serving, form, html, json, query_parameter, text};
use super::signer::Signer;
use super::{now, unique};
use http::header::{HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use url::{Url, form_urlencoded};

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
            codes: Mutex::default(),
        });
        let shared = Arc::clone(&issuer);
        let serving = bound.serve(move |request| {
            let issuer = Arc::clone(&shared);
            async move { issuer.answer(request).await }
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
    codes: Mutex<HashMap<String, SignedIn>>,
}

/// Somebody who signed in, until the code is redeemed.
struct SignedIn {
    person: &'static Person,
    asked: Asked,
}

/// What a client asks at the authorization endpoint.
struct Asked {
    client_id: String,
    redirect_uri: String,
    state: String,
    nonce: String,
    code_challenge: String,
}

impl Issuer {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::GET, "/.well-known/openid-configuration") => json(StatusCode::OK, &self.discovery()),
            (&Method::GET, "/jwks") => json(StatusCode::OK, &self.signer.key_set()),
            (&Method::POST, "/login") => self.login(&request),
            (&Method::GET, "/authorize") => self.ask(request.uri().query().unwrap_or_default()),
            (&Method::POST, "/authorize") => {
                let query = request.uri().query().unwrap_or_default().to_owned();
                self.sign_in(&query, &form(request).await)
            }
            (&Method::POST, "/token") => self.redeem(&form(request).await),
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    /// The page with a button for each person.
    fn ask(&self, query: &str) -> Response<Body> {
        if self.asked(query).is_none() {
            return text(StatusCode::BAD_REQUEST, "this is no request of the client here\n");
        }
        let mut buttons = String::new();
        for person in PEOPLE {
            let (user, name) = (person.user, person.name);
            let _ = writeln!(
                buttons,
                "<p><button name=\"user\" value=\"{user}\">{name}</button></p>"
            );
        }
        let page = format!(
            "<!doctype html><html lang=\"en\"><title>Sample company</title><h1>Who are you?</h1>\n\
             <form method=\"post\" action=\"/authorize?{}\">\n{buttons}</form></html>\n",
            query.replace('&', "&#38;").replace('"', "&#34;")
        );
        html(StatusCode::OK, page)
    }

    /// The button was pressed: the browser goes back with a code.
    fn sign_in(&self, query: &str, form: &[(String, String)]) -> Response<Body> {
        let person = value(form, "user").and_then(Person::find);
        let (Some(asked), Some(person), Ok(code)) = (self.asked(query), person, unique()) else {
            return text(StatusCode::BAD_REQUEST, "nobody signed in\n");
        };
        let Ok(mut back) = Url::parse(&asked.redirect_uri) else {
            return text(StatusCode::BAD_REQUEST, "there is no way back\n");
        };
        back.query_pairs_mut().extend_pairs([
            ("code", code.as_str()),
            ("state", &asked.state),
            ("iss", &self.url),
        ]);
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        codes.insert(code, SignedIn { person, asked });
        let mut response = text(StatusCode::SEE_OTHER, "");
        if let Ok(location) = HeaderValue::from_str(back.as_str()) {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }

    /// A code becomes an ID token, once.
    fn redeem(&self, form: &[(String, String)]) -> Response<Body> {
        let refused = || json(StatusCode::BAD_REQUEST, &json!({ "error": "invalid_grant" }));
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(SignedIn { person, asked }) = value(form, "code").and_then(|code| codes.remove(code)) else {
            return refused();
        };
        let verifier = value(form, "code_verifier").unwrap_or_default();
        let is_same = challenge(verifier) == asked.code_challenge
            && value(form, "client_id") == Some(&asked.client_id)
            && value(form, "redirect_uri") == Some(&asked.redirect_uri);
        if !is_same {
            return refused();
        }
        let token = self.signed(person, (&asked.client_id, Some(&asked.nonce)), LOGIN_LIFETIME);
        match token {
            Ok(token) => json(
                StatusCode::OK,
                &json!({ "access_token": "not-for-use", "token_type": "Bearer", "id_token": token }),
            ),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    /// What is asked, if the one client that is known here asks it.
    fn asked(&self, query: &str) -> Option<Asked> {
        let mut asked: HashMap<String, String> =
            form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let mut take = |name: &str| asked.remove(name);
        let is_code = take("response_type")? == "code" && take("code_challenge_method")? == "S256";
        let asked = Asked {
            client_id: take("client_id")?,
            redirect_uri: take("redirect_uri")?,
            state: take("state")?,
            nonce: take("nonce")?,
            code_challenge: take("code_challenge")?,
        };
        let back = format!("{}/sign-in/callback", self.default_audience);
        (is_code && asked.client_id == CLIENT && asked.redirect_uri == back).then_some(asked)
    }

    fn discovery(&self) -> Value {
        let url = &self.url;
        json!({
            "issuer": url,
            "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"),
            "jwks_uri": format!("{url}/jwks"),
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "authorization_response_iss_parameter_supported": true,
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
        self.signed(person, (audience, None), lifetime)
    }

    fn signed(
        &self,
        person: &Person,
        (audience, nonce): (&str, Option<&str>),
        lifetime: Duration,
    ) -> anyhow::Result<String> {
        let now = now();
        let mut claims = json!({
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
        if let (Some(nonce), Some(members)) = (nonce, claims.as_object_mut()) {
            members.insert("nonce".to_owned(), nonce.into());
        }
        self.signer.sign(Some("JWT"), &claims)
    }
}

fn value<'a>(form: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = form.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}

/// What Chancery is called here.
const CLIENT: &str = "chancery";

/// How long a token lives.
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
