//! A stand-in for a provider of files with OAuth 2: people keep accounts there, and let others use them.
//!
//! It has an authorization endpoint whose page has one button, a token endpoint for codes with PKCE (RFC 7636) and for
//! refresh tokens, which are good for one use, revocation (RFC 7009), an address that says whose token it is, and one
//! file for each account. Whoever comes is Alice. Its one client is the Chancery it was started for.

use super::application::challenge;
use super::listener::{Body, Bound, Serving, form, html, json, text};
use super::unique;
use http::header::{AUTHORIZATION, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use url::{Url, form_urlencoded};

/// The running drive.
pub(crate) struct DriveServer {
    base: String,
    kept: Arc<Kept>,
    serving: Serving,
}

impl DriveServer {
    /// Starts on a loopback port, 0 for any. `chancery` is the base URL of its one client.
    ///
    /// # Errors
    /// If the port is taken.
    pub(crate) async fn start(port: u16, chancery: String) -> anyhow::Result<Self> {
        let bound = Bound::to_loopback(port).await?;
        let base = bound.base();
        let kept = Arc::new(Kept {
            back: format!("{chancery}/connect/callback"),
            tokens: Mutex::default(),
        });
        let shared = Arc::clone(&kept);
        let serving = bound.serve(move |request| {
            let kept = Arc::clone(&shared);
            async move { kept.answer(request).await }
        });
        Ok(Self { base, kept, serving })
    }

    /// Its origin.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// How many tokens open something, those that make new ones included.
    pub(crate) fn tokens_in_force(&self) -> usize {
        let tokens = self.kept.tokens();
        tokens.access.len() + tokens.refresh.len()
    }

    /// Stops.
    pub(crate) async fn stop(self) {
        self.serving.stop().await;
    }
}

/// What the drive keeps.
struct Kept {
    /// Where the browser goes back to.
    back: String,
    tokens: Mutex<Tokens>,
}

#[derive(Default)]
struct Tokens {
    /// Code → its challenge.
    codes: HashMap<String, String>,
    access: HashSet<String>,
    refresh: HashSet<String>,
}

impl Kept {
    fn tokens(&self) -> std::sync::MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::GET, "/authorize") => self.ask(request.uri().query().unwrap_or_default()),
            (&Method::POST, "/authorize") => self.allow(request.uri().query().unwrap_or_default()),
            (&Method::POST, "/token") => self.redeem(&form(request).await),
            (&Method::POST, "/revoke") => self.revoke(&form(request).await),
            (&Method::GET, "/me") if self.is_open(&request) => {
                json(StatusCode::OK, &json!({ "id": "4711", "login": "alice.ansah" }))
            }
            (&Method::GET, "/api/plans.txt") if self.is_open(&request) => {
                text(StatusCode::OK, "Alice's plans: more chairs")
            }
            (&Method::GET, "/me" | "/api/plans.txt") => text(StatusCode::UNAUTHORIZED, "no such token\n"),
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    /// The page with its button.
    fn ask(&self, query: &str) -> Response<Body> {
        if self.asked(query).is_none() {
            return text(StatusCode::BAD_REQUEST, "this is no request of the client here\n");
        }
        let page = format!(
            "<!doctype html><html lang=\"en\"><title>Sample drive</title><h1>Let Chancery read your files?</h1>\n\
             <form method=\"post\" action=\"/authorize?{}\">\n<p><button>Let it read</button></p></form></html>\n",
            query.replace('&', "&#38;").replace('"', "&#34;")
        );
        html(StatusCode::OK, page)
    }

    /// The button was pressed: the browser goes back with a code.
    fn allow(&self, query: &str) -> Response<Body> {
        let (Some((challenge, state)), Ok(code), Ok(mut back)) =
            (self.asked(query), unique(), Url::parse(&self.back))
        else {
            return text(StatusCode::BAD_REQUEST, "nobody is asked\n");
        };
        back.query_pairs_mut()
            .extend_pairs([("code", code.as_str()), ("state", &state)]);
        self.tokens().codes.insert(code, challenge);
        let mut response = text(StatusCode::SEE_OTHER, "");
        if let Ok(location) = HeaderValue::from_str(back.as_str()) {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }

    /// Challenge and state of a request, if the one client that is known here makes it.
    fn asked(&self, query: &str) -> Option<(String, String)> {
        let mut asked: HashMap<String, String> =
            form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let mut is = |name: &str, value: &str| asked.remove(name).is_some_and(|given| given == value);
        let is_ours = is("response_type", "code")
            && is("code_challenge_method", "S256")
            && is("client_id", CLIENT)
            && is("redirect_uri", &self.back);
        let (challenge, state) = asked.remove("code_challenge").zip(asked.remove("state"))?;
        is_ours.then_some((challenge, state))
    }

    fn redeem(&self, form: &[(String, String)]) -> Response<Body> {
        let value = |name: &str| {
            let found = form.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let mut tokens = self.tokens();
        let is_good = match value("grant_type") {
            "authorization_code" => {
                let expected = tokens.codes.remove(value("code"));
                expected.is_some_and(|expected| challenge(value("code_verifier")) == expected)
            }
            "refresh_token" => tokens.refresh.remove(value("refresh_token")),
            _ => false,
        };
        let (true, Ok(access), Ok(refresh)) = (is_good, unique(), unique()) else {
            return json(StatusCode::BAD_REQUEST, &json!({ "error": "invalid_grant" }));
        };
        let (access, refresh) = (
            format!("drive-access-{access}"),
            format!("drive-refresh-{refresh}"),
        );
        tokens.access.insert(access.clone());
        tokens.refresh.insert(refresh.clone());
        json(
            StatusCode::OK,
            &json!({ "access_token": access, "refresh_token": refresh, "token_type": "Bearer",
                     "expires_in": 3600, "scope": "files.read" }),
        )
    }

    /// With a refresh token everything that came from it ends; whoever comes is Alice, so all of it.
    fn revoke(&self, form: &[(String, String)]) -> Response<Body> {
        let mut tokens = self.tokens();
        let mut given = form.iter().filter(|(name, _)| name == "token");
        if given.any(|(_, token)| tokens.refresh.contains(token) || tokens.access.contains(token)) {
            *tokens = Tokens::default();
        }
        text(StatusCode::OK, "")
    }

    fn is_open(&self, request: &Request<Incoming>) -> bool {
        let presented = request.headers().get(AUTHORIZATION);
        let presented = presented.and_then(|presented| presented.to_str().ok());
        let token = presented.and_then(|presented| presented.strip_prefix("Bearer "));
        token.is_some_and(|token| self.tokens().access.contains(token))
    }
}

/// What Chancery is called here.
const CLIENT: &str = "chancery";
