//! Signing in at a trusted issuer: the browser is sent there, and comes back with a code that becomes an ID token, a
//! person and a session (OpenID Connect Core §3.1, RFC 7636, RFC 9207).
//!
//! A sign-in is bound three ways: `state` to a row that is finished once and fixes the issuer, a cookie to the browser
//! that began, and `nonce` and verifier to the state. The two are derived from the state under a key of the tenant, so
//! that nothing secret is stored.

use super::issuer_secret;
use super::local;
use super::session::{self, Proved, SignedIn, hexadecimal};
use crate::app::App;
use crate::egress::openid::{CodeToRedeem, ProviderError};
use crate::error::Failure;
use crate::issue::arrival::Arrival;
use crate::issue::subject::{self, Learned};
use crate::setup::sha256;
use crate::tenants::Served;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery_core::actor::Actor;
use chancery_core::id::Id as _;
use chancery_core::issuer::{
    IssuerPurpose, SignInAuthentication, SignInSpec, TrustedIssuer, TrustedIssuerSpec,
};
use chancery_core::noun::{Lifecycle, Noun};
use chancery_core::secret::{Secret, TokenDigest, generate};
use chancery_core::time::{Timestamp, Ttl};
use chancery_core::user::UserSpec;
use chancery_oauth::authentication::guard;
use chancery_oauth::grant::VerifiedUser;
use chancery_oauth::jose::{UnverifiedJwt, VerifiedClaims};
use chancery_oauth::sign_in::{self as rules, SignInAnswer, SignInError, SignInRequest, SignInWishes};
use chancery_oauth::{urn, user_token};
use chancery_store::change::Changed;
use chancery_store::sign_in::{self as begun, BegunSignIn};
use chancery_store::{Outcome, Page, guard as guards, record};
use std::sync::Arc;

/// Why nobody is signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInRefusal {
    /// No issuer with that name lets people sign in.
    #[error("no trusted issuer of this name lets people sign in")]
    IssuerUnknown,
    /// The answer is to no sign-in that can still be finished.
    #[error("this sign-in is over, or was finished before")]
    Over,
    /// Another browser began it.
    #[error("this sign-in was begun in another browser")]
    OtherBrowser,
    /// The issuer says no.
    #[error("the issuer answered `{0}`")]
    Issuer(String),
    /// The answer or the token breaks a rule.
    #[error(transparent)]
    Rule(#[from] SignInError),
    /// The issuer does not do its part.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The ID token does not verify.
    #[error("the ID token is not acceptable: {0}")]
    Token(String),
    /// The person may not sign in here.
    #[error("this person may not sign in here")]
    Person,
    /// This node cannot answer.
    #[error(transparent)]
    Failure(#[from] Failure),
}

/// Issuers at which people sign in, in order of names.
///
/// # Errors
/// The database's.
pub async fn issuers(app: &App, served: &Served) -> Result<Vec<TrustedIssuer>, Failure> {
    let page = Page {
        after: "",
        state: Some(Lifecycle::Active),
        limit: MAX_ISSUERS,
    };
    let all = record::list::<TrustedIssuerSpec>(&app.db, served.tenant.id, &page).await?;
    Ok(all
        .into_iter()
        .filter(|issuer| method(issuer).is_some())
        .collect())
}

/// The issuer where people with this e-mail address sign in.
pub fn of_address<'a>(issuers: &'a [TrustedIssuer], address: &str) -> Option<&'a TrustedIssuer> {
    let domain = address.trim().rsplit_once('@')?.1.to_ascii_lowercase();
    let has = |issuer: &&TrustedIssuer| method(issuer).is_some_and(|method| method.domains.contains(&domain));
    issuers.iter().find(has)
}

/// How people sign in at an issuer.
pub fn method(issuer: &TrustedIssuer) -> Option<&SignInSpec> {
    issuer
        .spec
        .sign_in
        .as_ref()
        .filter(|_| issuer.spec.serves(IssuerPurpose::Users) && issuer.state.is_active())
}

/// A sign-in that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser goes.
    pub location: String,
    /// The secret that the browser keeps until it comes back.
    pub browser: Secret<String>,
}

/// Begins a sign-in. A browser that has a secret keeps it, so that two tabs can sign in side by side.
///
/// # Errors
/// The issuer cannot be used; the database's.
pub async fn begin(
    app: &App,
    served: &Served,
    issuer: &TrustedIssuer,
    (return_to, wishes): (&str, &SignInWishes),
    browser: Option<Secret<String>>,
    now: Timestamp,
) -> Result<Begun, SignInRefusal> {
    let method = method(issuer).ok_or(SignInRefusal::IssuerUnknown)?;
    let provider = app.providers.find(&served.tenant.name, issuer).await?;

    let state = generate(STATE_PREFIX, &*app.random);
    let browser = browser.unwrap_or_else(|| generate(BROWSER_PREFIX, &*app.random));
    let row = BegunSignIn {
        state: token_digest(state.expose_secret()),
        issuer: issuer.id,
        browser: token_digest(browser.expose_secret()),
        return_to: return_to.to_owned(),
        max_age: wishes.max_age,
        expires_at: now.plus(LIFETIME),
    };
    let batch = app.batch(now).push(begun::insert(served.tenant.id, &row));
    if !app.commit(batch, &[]).await?.is_committed() {
        return Err(SignInRefusal::Over);
    }

    let verifier = derived(served, "verifier", state.expose_secret());
    let request = SignInRequest {
        authorization_endpoint: &provider.authorization_endpoint,
        client_id: &method.client_id,
        redirect_uri: &redirect_uri(served),
        scopes: &method.scopes,
        state: state.expose_secret(),
        nonce: &derived(served, "nonce", state.expose_secret()),
        code_challenge: &URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes())),
        wishes,
    };
    Ok(Begun {
        location: request.url(),
        browser,
    })
}

/// Somebody who has signed in.
#[derive(Debug)]
pub struct Finished {
    /// The secret of the new session.
    pub session: Secret<String>,
    /// The path of ours to go on to.
    pub return_to: String,
}

/// Finishes a sign-in: answer → row → code → ID token → person → session.
///
/// # Errors
/// Why nobody is signed in.
pub async fn finish(
    app: &App,
    served: &Served,
    answer: &SignInAnswer,
    (browser, before): (Option<Secret<String>>, Option<SignedIn>),
    now: Timestamp,
) -> Result<Finished, SignInRefusal> {
    let tenant = served.tenant.id;

    // 1. The sign-in that it answers, in the browser that began it.
    let state = token_digest(&answer.state);
    let row = begun::find(&app.db, tenant, &state, now)
        .await
        .map_err(Failure::from)?;
    let row = row.ok_or(SignInRefusal::Over)?;
    // SECURITY: without this, somebody could make another person's browser sign in as themselves (login CSRF).
    let is_this_browser = browser.is_some_and(|secret| token_digest(secret.expose_secret()) == row.browser);
    if !is_this_browser {
        return Err(SignInRefusal::OtherBrowser);
    }
    let issuer = app.directory.issuers.find(tenant, row.issuer).await?;
    let issuer = issuer.ok_or(SignInRefusal::IssuerUnknown)?;
    let spec = method(&issuer).ok_or(SignInRefusal::IssuerUnknown)?;
    let provider = app.providers.find(&served.tenant.name, &issuer).await?;
    answer.check_issuer(&issuer.spec.issuer, provider.names_itself)?;

    // 2. Once, whatever comes of it.
    let batch = app.batch(now).push(begun::finish(tenant, &state, now));
    if !app.commit(batch, &[]).await?.is_committed() {
        return Err(SignInRefusal::Over);
    }
    let code = answer
        .outcome
        .as_ref()
        .map_err(|error| SignInRefusal::Issuer(error.clone()))?;

    // 3. Who it is.
    let token = redeem(
        app,
        served,
        (&issuer, spec),
        (&provider.token_endpoint, code, &answer.state),
        now,
    )
    .await?;
    let claims = verify(app, served, (&issuer, spec), token.expose_secret(), now).await?;
    let nonce = derived(served, "nonce", &answer.state);
    let proof = rules::prove(&claims, (&spec.client_id, &nonce), row.max_age, now)?;

    // 4. A new session, and the end of the one before in this browser.
    for _ in 0..2 {
        let attempt = enter(app, served, (&issuer, &claims, &proof), before.as_ref(), now).await?;
        if let Some(session) = attempt {
            return Ok(Finished {
                session,
                return_to: row.return_to,
            });
        }
    }
    Err(Failure::Stale("what the sign-in relied on keeps changing").into())
}

/// Records that an outside issuer proved nobody, up to the bound of failures, as a wrong password is recorded. What is only
/// over, or an issuer that cannot be reached, is no failure to prove anything.
///
/// # Errors
/// The database's.
pub async fn note_refusal(
    app: &App,
    served: &Served,
    refusal: &SignInRefusal,
    arrival: Arrival,
) -> Result<(), Failure> {
    match refusal {
        SignInRefusal::OtherBrowser
        | SignInRefusal::Issuer(_)
        | SignInRefusal::Rule(_)
        | SignInRefusal::Token(_)
        | SignInRefusal::Person => {
            local::note_failure(app, served, (None, &refusal.to_string()), arrival).await
        }
        SignInRefusal::IssuerUnknown
        | SignInRefusal::Over
        | SignInRefusal::Provider(_)
        | SignInRefusal::Failure(_) => Ok(()),
    }
}

/// One try to record the person and the session. `None` if a fact changed under it.
async fn enter(
    app: &App,
    served: &Served,
    (issuer, claims, proof): (&Arc<TrustedIssuer>, &VerifiedClaims, &rules::Proof),
    before: Option<&SignedIn>,
    now: Timestamp,
) -> Result<Option<Secret<String>>, SignInRefusal> {
    let tenant = served.tenant.id;
    let spec = user_token::user_spec(issuer, claims).ok_or(SignInRefusal::Person)?;
    let (verified, learned) = person(app, served, spec, now).await?;
    let user = &verified.user;
    let proved = Proved {
        user,
        issuer: Some(issuer),
        authenticated_at: proof.authenticated_at,
        acr: proof.acr.clone(),
        amr: proof.amr.clone(),
    };
    let (secret, mut work) = session::begin(app, served, proved, now)?;
    if let Some(before) = before {
        work.extend(session::ended(app, served, &before.caller(now), &before.session)?);
    }
    let mut relied = vec![
        guard(Noun::Tenant, &served.tenant),
        guard(Noun::TrustedIssuer, issuer),
    ];
    relied.extend(verified.guard);
    let mut batch = app.batch(now);
    for statement in guards::statements(tenant, &relied) {
        batch = batch.guard(statement);
    }
    let actor = Actor::User(user.id);
    let batch = batch
        .extend(subject::written(app, served, &actor, learned.as_ref(), now)?)
        .extend(work.statements);
    let mut changed = work.changed;
    changed.extend(learned.as_ref().map(|learned: &Learned| {
        let news = Changed::Noun {
            noun: Noun::User,
            id: *learned.user.id.as_bytes(),
            generation: learned.user.generation,
        };
        (tenant, news)
    }));
    match app.commit(batch, &changed).await? {
        Outcome::Committed => Ok(Some(secret)),
        Outcome::Refused { .. } => {
            for guard in relied {
                app.directory.forget(tenant, guard.noun, guard.id);
            }
            app.directory.forget(tenant, Noun::User, *user.id.as_bytes());
            Ok(None)
        }
    }
}

/// The person as of this sign-in, who may be new.
async fn person(
    app: &App,
    served: &Served,
    spec: UserSpec,
    now: Timestamp,
) -> Result<(VerifiedUser, Option<Learned>), SignInRefusal> {
    let known = subject::current_user(app, served.tenant.id, spec, now).await;
    let (verified, learned) = known.map_err(|failure| match failure {
        Failure::OAuth(_) => SignInRefusal::Person,
        other @ (Failure::Refused(_)
        | Failure::Denied(_)
        | Failure::Database(_)
        | Failure::KeyService(_)
        | Failure::Stale(_)
        | Failure::Limited(_)
        | Failure::Start(_)
        | Failure::Internal(_)) => SignInRefusal::Failure(other),
    })?;
    if !verified.user.state.is_active() {
        return Err(SignInRefusal::Person);
    }
    Ok((verified, learned))
}

/// Redeems the code at the issuer, with what proves us there.
async fn redeem(
    app: &App,
    served: &Served,
    (issuer, spec): (&TrustedIssuer, &SignInSpec),
    (endpoint, code, state): (&str, &str, &str),
    now: Timestamp,
) -> Result<Secret<String>, SignInRefusal> {
    let verifier = derived(served, "verifier", state);
    let redirect_uri = redirect_uri(served);
    let mut form = vec![
        ("grant_type", urn::AUTHORIZATION_CODE),
        ("code", code),
        ("redirect_uri", &redirect_uri),
        ("code_verifier", &verifier),
    ];
    let secret = if spec.authentication.uses_secret() {
        Some(issuer_secret::open(app, served, issuer).await?)
    } else {
        None
    };
    let assertion = if spec.authentication == SignInAuthentication::PrivateKeyJwt {
        Some(issuer_secret::assertion(app, served, (issuer, spec), now)?)
    } else {
        None
    };
    let mut header = None;
    match (spec.authentication, &secret, &assertion) {
        (SignInAuthentication::ClientSecretBasic, Some(secret), _) => {
            header = Some((spec.client_id.as_str(), secret));
        }
        (SignInAuthentication::ClientSecretPost, Some(secret), _) => {
            form.push(("client_id", &spec.client_id));
            form.push(("client_secret", secret.expose_secret()));
        }
        (SignInAuthentication::PrivateKeyJwt, _, Some(assertion)) => {
            form.push(("client_id", &spec.client_id));
            form.push(("client_assertion_type", urn::JWT_BEARER_ASSERTION));
            form.push(("client_assertion", assertion));
        }
        (SignInAuthentication::None, ..) => form.push(("client_id", &spec.client_id)),
        (
            SignInAuthentication::ClientSecretBasic
            | SignInAuthentication::ClientSecretPost
            | SignInAuthentication::PrivateKeyJwt,
            ..,
        ) => return Err(Failure::Internal("nothing proves us to the issuer".to_owned()).into()),
    }
    let code = CodeToRedeem { form, basic: header };
    Ok(app.providers.redeem(&served.tenant.name, endpoint, code).await?)
}

async fn verify(
    app: &App,
    served: &Served,
    (issuer, spec): (&TrustedIssuer, &SignInSpec),
    token: &str,
    now: Timestamp,
) -> Result<VerifiedClaims, SignInRefusal> {
    let refused = |error: &dyn std::fmt::Display| SignInRefusal::Token(error.to_string());
    let jwt = UnverifiedJwt::parse(token).map_err(|error| refused(&error))?;
    let audience = [spec.client_id.clone()];
    let profile = rules::profile(&issuer.spec.issuer, &audience);
    let verified = app
        .verify_from(&served.tenant.name, issuer, &jwt, &profile, now)
        .await
        .map_err(|error| refused(&error))?;
    verified.map_err(|error| refused(&error))
}

/// Where issuers send browsers back to.
pub fn redirect_uri(served: &Served) -> String {
    format!("{}/sign-in/callback", served.tenant.spec.base_url)
}

/// A path of ours to go on to; anything that a browser would read as another place is none.
pub fn local_path(base: &str, text: &str) -> Option<String> {
    let is_path = text.starts_with('/') && !text.starts_with("//") && text.len() <= MAX_PATH;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if !is_path || !is_plain {
        return None;
    }
    // SECURITY: as a browser reads it, it stays on our own origin.
    let base = url::Url::parse(base).ok()?;
    let joined = base.join(text).ok()?;
    (joined.origin() == base.origin() && joined.username().is_empty()).then(|| text.to_owned())
}

fn derived(served: &Served, what: &str, state: &str) -> String {
    let message = [b"sign-in ".as_slice(), what.as_bytes(), b" ", state.as_bytes()].concat();
    hexadecimal(&served.keys.page_tag(&message))
}

fn token_digest(secret: &str) -> TokenDigest {
    TokenDigest::new(sha256(secret.as_bytes()))
}

const LIFETIME: Ttl = Ttl::from_minutes(10);
const STATE_PREFIX: &str = "cst_";
/// Lets secret scanners recognise the secret of a browser that signs in.
pub const BROWSER_PREFIX: &str = "csb_";
const MAX_ISSUERS: u32 = 500;
const MAX_PATH: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::local_path;

    #[test]
    fn only_a_path_of_ours_is_gone_on_to() {
        let path = |text: &str| local_path("https://id.example", text);
        for ours in [
            "/",
            "/me/agents",
            "/authorize?redirect_uri=https%3A%2F%2Fa.example&x=//y",
            "/a/../b",
        ] {
            assert_eq!(path(ours).as_deref(), Some(ours));
        }
        for other in [
            "",
            "me",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/a\r\nSet-Cookie: x",
            "/\t/evil.example",
            " /a",
            "/ä",
            "/a b",
        ] {
            assert_eq!(path(other), None, "{other}");
        }
    }
}
