//! The page where a person connects an account at a provider for an agent, `{base}/connect/{connection}?agent=…`; where
//! providers send the browser back to, `{base}/connect/callback`; and giving an account up.

use super::frame::{self, FormAction, Frame, Message};
use super::outside::Shown;
use super::sign_out::{Confirmed, refused};
use super::{Visitor, consent, forgery};
use crate::app::App;
use crate::connect::account::AccountView;
use crate::connect::begin::{self, AFTER, Agreement, ChosenAccount, ConnectRefusal, Question};
use crate::connect::disconnect::{self, Revocation};
use crate::connect::finish;
use crate::connect::provider::AskError;
use crate::http::tenant::RequestTenant;
use askama::Template;
use axum::extract::{Extension, Form, Path, Query, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chancery_core::connected_account::{AccountOwner, ProviderAccount};
use chancery_core::grant::Hours;
use chancery_oauth::sign_in::SignInAnswer;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Debug, Template)]
#[template(path = "connect.html")]
struct ConnectPage {
    frame: Frame,
    csrf: String,
    action: String,
    /// Nobody for an account of the whole tenant.
    agent: Option<Shown>,
    agent_name: String,
    owner: Option<Shown>,
    /// Whether the account will be the person's own, and not an agent's or the tenant's.
    is_own: bool,
    connection: Shown,
    calls: Shown,
    provider: Shown,
    account: Option<Shown>,
    is_connected: bool,
    last_error: Option<Shown>,
    scopes: Vec<Shown>,
}

/// For which agent.
#[derive(Debug, Deserialize)]
pub struct ForAgent {
    #[serde(default)]
    agent: String,
}

/// The form of the page.
#[derive(Debug, Deserialize)]
pub struct Answered {
    #[serde(default)]
    csrf: Option<String>,
    #[serde(default)]
    agent: String,
    #[serde(default)]
    answer: String,
    #[serde(default)]
    account: String,
    #[serde(default)]
    lasts: String,
    #[serde(default)]
    budget: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    until: String,
}

/// `GET {base}/connect/{connection}`.
pub async fn show(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(connection): Path<String>,
    Query(asked): Query<ForAgent>,
) -> Response {
    let Visitor {
        served,
        signed_in,
        now,
    } = visitor;
    let loaded = async {
        let names = (connection.as_str(), asked.agent.as_str());
        let question = begin::question(&app, &served, &signed_in, names, now).await?;
        let endpoint = begin::authorization_endpoint(&app, &served, &question).await?;
        Ok::<_, ConnectRefusal>((question, endpoint))
    };
    let (question, endpoint) = match loaded.await {
        Ok(loaded) => loaded,
        Err(refusal) => return not_connected(&refusal),
    };
    let title = if matches!(question.owner, AccountOwner::User(_)) {
        TITLE
    } else {
        TITLE_SHARED
    };
    let frame = Frame::of(title, &served, &signed_in, "");
    match page(frame, signed_in.form_token(&served), &question, &endpoint) {
        // The provider may send the browser on before it comes back, and browsers hold that against the form too.
        Ok(page) => frame::render(
            StatusCode::OK,
            &page,
            &FormAction::OwnAnd(consent::source(&endpoint)),
        ),
        Err(refusal) => not_connected(&refusal),
    }
}

fn page(
    frame: Frame,
    csrf: String,
    question: &Question,
    endpoint: &str,
) -> Result<ConnectPage, ConnectRefusal> {
    let connection = &question.connection;
    let agent = question.agent.as_deref();
    let scopes = question
        .spec()?
        .scopes
        .iter()
        .map(|scope| Shown::new(scope))
        .collect();
    let view = question.account.as_ref();
    let shown = |view: &AccountView| {
        let known = view.account.spec.provider_account.as_ref();
        known.map_or("connected", ProviderAccount::shown).to_owned()
    };
    Ok(ConnectPage {
        frame,
        csrf,
        action: format!("/connect/{}", connection.name),
        agent: agent.map(|agent| Shown::new(agent.name.as_str())),
        agent_name: agent.map(|agent| agent.name.to_string()).unwrap_or_default(),
        owner: agent
            .and_then(|agent| agent.spec.owner.as_ref())
            .map(|owner| Shown::new(owner.as_str())),
        is_own: matches!(question.owner, AccountOwner::User(_)),
        connection: Shown::new(connection.name.as_str()),
        calls: Shown::new(connection.spec.base_url.as_str()),
        provider: Shown::new(&consent::host(endpoint)),
        account: view.map(|view| Shown::new(&shown(view))),
        is_connected: question.is_connected(),
        last_error: view.and_then(|view| view.last_error.as_deref()).map(Shown::new),
        scopes,
    })
}

/// `POST {base}/connect/{connection}`.
pub async fn answer(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    headers: HeaderMap,
    Path(connection): Path<String>,
    Form(form): Form<Answered>,
) -> Response {
    let Visitor {
        served,
        signed_in,
        now,
    } = visitor;
    if let Err(error) = forgery::check(&served, &headers, &signed_in, form.csrf.as_deref()) {
        return refused(error);
    }
    if form.answer != "allow" {
        return Message::new("Nothing was connected", "You said no, and nothing has changed.")
            .for_person(&served, &signed_in)
            .with_link(AFTER, MY_AGENTS)
            .respond(StatusCode::OK);
    }
    let begun = async {
        let names = (connection.as_str(), form.agent.as_str());
        let question = begin::question(&app, &served, &signed_in, names, now).await?;
        let agreement = agreement(&form, &question);
        begin::begin(&app, &served, &signed_in, (&question, &agreement), now).await
    };
    match begun.await {
        Ok(location) => frame::see_other(&location),
        Err(refusal) => not_connected(&refusal),
    }
}

fn agreement(form: &Answered, question: &Question) -> Agreement {
    let pairs = [("lasts", &form.lasts), ("budget", &form.budget)];
    let pairs: Vec<(String, String)> = pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect();
    let allowed = consent::allowed(&pairs);
    let hour = |text: &str| text.trim().parse::<u8>().ok().filter(|hour| *hour < 24);
    let hours = hour(&form.from).zip(hour(&form.until));
    Agreement {
        agent: question.agent.as_ref().map(|agent| agent.id),
        account: match form.account.as_str() {
            "connected" => ChosenAccount::Connected,
            "any" => ChosenAccount::Any,
            // What is not understood changes least.
            _ => ChosenAccount::Same,
        },
        lasts: allowed.lasts,
        budget: allowed.budget,
        hours: hours.map(|(from, until)| Hours { from, until }),
    }
}

/// `GET {base}/connect/callback`.
pub async fn callback(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let finished = async {
        let now = app.serving_now()?;
        let answer = SignInAnswer::parse(query.unwrap_or_default().as_bytes())?;
        // SECURITY: nobody signs in on the way back: it is finished in the session that began it or not at all.
        let signed_in = super::session(&app, &served, &headers, now).await?;
        let signed_in = signed_in.ok_or(ConnectRefusal::Over)?;
        let connected = finish::finish(&app, &served, &signed_in, &answer, now).await?;
        Ok::<_, ConnectRefusal>((connected, signed_in))
    };
    let (connected, signed_in) = match finished.await {
        Ok(finished) => finished,
        Err(refusal) => return not_connected(&refusal),
    };
    let account = connected.account.spec.provider_account.as_ref();
    let account = account.map_or_else(String::new, |account| {
        format!(" as {}", Shown::new(account.shown()))
    });
    let name = &connected.question.connection.name;
    let text = match (&connected.question.owner, &connected.question.agent) {
        (AccountOwner::User(_), Some(agent)) => {
            format!("{name} is connected{account}, and {} may use it.", agent.name)
        }
        (AccountOwner::Agent(agent), _) => {
            format!("{name} is connected{account} for {agent}. Agents use it where a grant says so.")
        }
        (AccountOwner::User(_) | AccountOwner::Tenant, _) => {
            format!("{name} is connected{account} for everybody here. Agents use it where a grant says so.")
        }
    };
    Message::new("Connected", text)
        .for_person(&served, &signed_in)
        .with_hint("If the agent was waiting for this, it can try again now.")
        .with_link(AFTER, MY_AGENTS)
        .respond(StatusCode::OK)
}

/// `POST {base}/me/accounts/{name}/disconnect`.
pub async fn disconnect(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    headers: HeaderMap,
    Path(named): Path<String>,
    Form(form): Form<Confirmed>,
) -> Response {
    let Visitor {
        served,
        signed_in,
        now,
    } = visitor;
    if let Err(error) = forgery::check(&served, &headers, &signed_in, form.csrf.as_deref()) {
        return refused(error);
    }
    let gone = match disconnect::disconnect_own(&app, &served, &signed_in, &named, now).await {
        Ok(gone) => gone,
        Err(failure) => return frame::failed(&failure),
    };
    match gone.revocation {
        Some(Revocation::NotRevoked { reason }) => {
            tracing::info!(%reason, "tokens were not revoked at their provider");
            Message::new(
                "Disconnected here, not there",
                "No agent can use the account any more and what was kept of it is deleted. The provider was not \
                 reached or did not take it back: take back its access in your settings there.",
            )
            .for_person(&served, &signed_in)
            .with_code("not_revoked")
            .with_link(AFTER, MY_AGENTS)
            .respond(StatusCode::OK)
        }
        Some(Revocation::Revoked) | None => frame::see_other(AFTER),
    }
}

/// The page that says why nothing is connected.
fn not_connected(refusal: &ConnectRefusal) -> Response {
    let (status, code, text) = match refusal {
        ConnectRefusal::Failure(failure) | ConnectRefusal::Ask(AskError::Failure(failure)) => {
            return frame::failed(failure);
        }
        ConnectRefusal::Provider(error) => {
            let text = format!("The provider answered: {}.", Shown::new(error));
            (StatusCode::FORBIDDEN, "provider_refused", text)
        }
        ConnectRefusal::OtherInterface(url) => {
            let url = Shown::new(url);
            let text = format!(
                "Your account is at {url}, and this connection goes elsewhere. An administrator sets `base_url`."
            );
            (StatusCode::CONFLICT, "other_interface", text)
        }
        ConnectRefusal::OtherAccount { before, now } => {
            let (before, now) = (Shown::new(before), Shown::new(now));
            let text = format!(
                "You signed in as {now}, and your account here is {before}. Nothing was changed. To put another account \
                 in its place, begin again and choose “Another one”."
            );
            (StatusCode::CONFLICT, "other_account", text)
        }
        ConnectRefusal::NotOffered
        | ConnectRefusal::AgentUnknown
        | ConnectRefusal::Stopped
        | ConnectRefusal::Over
        | ConnectRefusal::Changed
        | ConnectRefusal::Rule(_)
        | ConnectRefusal::Ask(_) => {
            let (status, code, text) = fixed(refusal);
            (status, code, text.to_owned())
        }
    };
    tracing::info!(error = %refusal, "no account was connected");
    Message::new("Nothing was connected", text)
        .with_code(code)
        .with_link(AFTER, MY_AGENTS)
        .respond(status)
}

/// What is said in the same words each time.
const fn fixed(refusal: &ConnectRefusal) -> (StatusCode, &'static str, &'static str) {
    match refusal {
        ConnectRefusal::NotOffered => (
            StatusCode::NOT_FOUND,
            "not_offered",
            "Nobody connects an account of their own here.",
        ),
        ConnectRefusal::AgentUnknown => (
            StatusCode::NOT_FOUND,
            "agent_unknown",
            "There is no such agent in use.",
        ),
        ConnectRefusal::Stopped => (
            StatusCode::CONFLICT,
            "grant_stopped",
            "An administrator has stopped what this agent may do for you here.",
        ),
        ConnectRefusal::Changed => (
            StatusCode::CONFLICT,
            "connection_changed",
            "The connection was changed meanwhile. Look at what it asks for now.",
        ),
        ConnectRefusal::Rule(_) => (
            StatusCode::BAD_REQUEST,
            "answer_refused",
            "What the provider answered is not acceptable.",
        ),
        ConnectRefusal::Ask(_) => (
            StatusCode::BAD_GATEWAY,
            "provider_unavailable",
            "The provider cannot be used at the moment.",
        ),
        ConnectRefusal::Over
        | ConnectRefusal::Provider(_)
        | ConnectRefusal::OtherInterface(_)
        | ConnectRefusal::OtherAccount { .. }
        | ConnectRefusal::Failure(_) => (
            StatusCode::BAD_REQUEST,
            "connect_over",
            "This was finished before, has waited too long, or was begun by somebody else or in another browser.",
        ),
    }
}

const TITLE: &str = "Let this agent use your account?";
const TITLE_SHARED: &str = "Connect this account?";
const MY_AGENTS: &str = "See what agents may do for you";
