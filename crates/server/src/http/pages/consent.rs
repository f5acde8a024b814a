//! The consent page: what an agent asks for, in plain words; a form to take scopes away, say for how long, and answer. At
//! `{base}/consent/{id}` for an authorization request, and at `{base}/consent?decision=…` for an exchange that lacked a grant.

use super::frame::{self, FormAction, Frame, Message};
use super::outside::Shown;
use super::sign_out::refused;
use super::{Visitor, forgery, words};
use crate::app::App;
use crate::error::{Failure, Refusal};
use crate::people::consent::{self, Allowed, Reply};
use crate::people::missing_grant;
use crate::people::offer::{Offer, OfferError};
use crate::people::pending::{AnswerTo, DeviceAsks};
use askama::Template;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chancery_core::authorization_details::{AuthorizationDetail, DetailTypeSpec};
use chancery_core::client::{Client, Provenance};
use chancery_core::decision::ScopeRow;
use chancery_core::id::{AuthorizationRequestId, DecisionId};
use chancery_core::time::Ttl;
use chancery_oauth::authentication::ClientFacts;
use chancery_oauth::form::Parameters;
use std::sync::Arc;

#[derive(Debug, Template)]
#[template(path = "consent.html")]
struct ConsentPage {
    frame: Frame,
    csrf: String,
    action: String,
    agent: Shown,
    owner: Option<Shown>,
    calls_itself: Option<Shown>,
    vouched: ClientOrigin,
    goes_to: Option<Shown>,
    place: Option<Shown>,
    place_uri: Option<Shown>,
    scopes: Vec<OfferedScope>,
    details: Vec<OfferedDetail>,
    not_offered: usize,
    identity: Vec<&'static str>,
    device: Option<DeviceShown>,
}

/// A device that asks, and how it can be told from another's.
#[derive(Debug)]
struct DeviceShown {
    user_code: Shown,
    source: Shown,
    asked_at: String,
}

#[derive(Debug)]
enum ClientOrigin {
    Administrator,
    BuiltIn,
    Host(Shown),
    Itself,
}

#[derive(Debug)]
struct OfferedScope {
    value: String,
    words: Shown,
    /// Its name, where the words are not the name.
    name: Option<Shown>,
    badge: &'static str,
    badge_class: &'static str,
    is_held: bool,
    is_awaited: bool,
}

/// One authorization detail, as it will stand in tokens.
#[derive(Debug)]
struct OfferedDetail {
    place: usize,
    words: Shown,
    kind: Shown,
    members: Vec<(String, String)>,
}

/// `GET {base}/consent/{id}`.
pub async fn show(State(app): State<Arc<App>>, visitor: Visitor, Path(id): Path<String>) -> Response {
    let Visitor {
        served,
        signed_in,
        now,
    } = visitor;
    let Ok(id) = id.parse::<AuthorizationRequestId>() else {
        return over();
    };
    let question = match consent::load(&app, &served, &signed_in, id, now).await {
        Ok(question) => question,
        Err(error) => return cannot_ask(error),
    };
    let pending = &question.pending;
    let frame = Frame::of(TITLE, &served, &signed_in, "");
    let to = (format!("/consent/{id}"), signed_in.form_token(&served));
    let identity = pending.asked.identity.iter();
    let (goes_to, device, forms) = match &pending.answer {
        AnswerTo::Redirect { redirect, .. } => (
            Some(Shown::new(&host(&redirect.uri))),
            None,
            FormAction::OwnAnd(source(&redirect.uri)),
        ),
        AnswerTo::Device(asks) => (None, Some(device_shown(asks)), FormAction::Own),
    };
    let page = ConsentPage {
        goes_to,
        device,
        identity: identity.filter_map(|scope| identity_words(scope)).collect(),
        ..page(
            frame,
            to,
            (&question.client, &question.offer),
            pending.asked.resource.is_some(),
        )
    };
    frame::render(StatusCode::OK, &page, &forms)
}

fn device_shown(asks: &DeviceAsks) -> DeviceShown {
    DeviceShown {
        user_code: Shown::new(&asks.user_code),
        source: Shown::new(&asks.source),
        asked_at: words::moment(asks.asked_at),
    }
}

/// `GET {base}/consent?decision=…`.
pub async fn show_missing(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    RawQuery(query): RawQuery,
) -> Response {
    let Visitor {
        served,
        signed_in,
        now,
    } = visitor;
    let Some(id) = decision(query.as_deref()) else {
        return over();
    };
    let lack = match missing_grant::load(&app, &served, &signed_in, id, now).await {
        Ok(lack) => lack,
        Err(error) => return cannot_ask(error),
    };
    if lack.offer.is_covered() {
        return granted();
    }
    let frame = Frame::of(TITLE, &served, &signed_in, "");
    let to = (format!("/consent?decision={id}"), signed_in.form_token(&served));
    let page = page(frame, to, (&lack.client, &lack.offer), lack.resource.is_some());
    frame::render(StatusCode::OK, &page, &FormAction::Own)
}

/// `POST {base}/consent?decision=…`.
pub async fn answer_missing(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    let Visitor {
        served,
        signed_in,
        now,
    } = visitor;
    let (pairs, token) = read(&body);
    if let Err(error) = forgery::check(&served, &headers, &signed_in, token.as_deref()) {
        return refused(error);
    }
    let Some(id) = decision(query.as_deref()) else {
        return over();
    };
    let Reply::Allow(allowed) = reply(&pairs) else {
        return Message::new("Not allowed", "The agent may not do what it asked for.")
            .with_link("/me/agents", MY_AGENTS)
            .respond(StatusCode::OK);
    };
    match missing_grant::allow(&app, &served, &signed_in, (id, &allowed), now).await {
        Ok(()) => granted(),
        Err(error) => cannot_ask(error),
    }
}

fn granted() -> Response {
    Message::new("Allowed", "The agent may do what you left ticked.")
        .with_hint("Go back to the agent and let it try again.")
        .with_link("/me/agents", MY_AGENTS)
        .respond(StatusCode::OK)
}

fn decision(query: Option<&str>) -> Option<DecisionId> {
    let mut parameters = Parameters::parse(query?.as_bytes()).ok()?;
    parameters.take("decision")?.parse().ok()
}

fn page(
    frame: Frame,
    (action, csrf): (String, String),
    (client, offer): (&ClientFacts, &Offer),
    has_resource: bool,
) -> ConsentPage {
    let agent = &client.agent;
    let spec = &client.client.spec;
    let resource = offer.resources.first().filter(|_| has_resource);
    ConsentPage {
        frame,
        csrf,
        action,
        agent: Shown::new(agent.name.as_str()),
        owner: agent.spec.owner.as_ref().map(|owner| Shown::new(owner.as_str())),
        calls_itself: spec.display_name.as_deref().map(|name| Shown::long(name, 60)),
        vouched: origin(&client.client),
        goes_to: None,
        place: resource.map(|resource| Shown::new(resource.name.as_str())),
        place_uri: resource.map(|resource| Shown::new(resource.spec.uri.as_str())),
        scopes: offer.offered().map(|row| offered(offer, row)).collect(),
        details: offer.offered_details().map(detail).collect(),
        not_offered: offer.not_offered() + offer.details.iter().count() - offer.offered_details().count(),
        identity: Vec::new(),
        device: None,
    }
}

fn origin(client: &Client) -> ClientOrigin {
    let spec = &client.spec;
    match (spec.provenance, &spec.metadata_uri) {
        (Provenance::MetadataDocument, Some(uri)) => ClientOrigin::Host(Shown::new(&host(uri))),
        (Provenance::Manual | Provenance::Runtime, _) => ClientOrigin::Administrator,
        (Provenance::BuiltIn, _) => ClientOrigin::BuiltIn,
        (Provenance::Registered | Provenance::MetadataDocument, _) => ClientOrigin::Itself,
    }
}

fn offered(offer: &Offer, row: &ScopeRow) -> OfferedScope {
    let resource = offer.resource(&row.resource).map(Arc::as_ref);
    let spec = resource.and_then(|resource| resource.spec.scopes.get(&row.scope));
    let (badge, badge_class) = words::sensitivity(spec.map(|spec| spec.sensitivity).unwrap_or_default());
    let words = words::scope(resource, &row.scope);
    OfferedScope {
        value: format!("{}:{}", row.resource, row.scope),
        words: Shown::new(&words),
        name: (words != row.scope.as_str()).then(|| Shown::new(row.scope.as_str())),
        badge,
        badge_class,
        is_held: row.given,
        is_awaited: offer.is_awaited(row),
    }
}

fn detail((place, detail, spec): (usize, &AuthorizationDetail, &DetailTypeSpec)) -> OfferedDetail {
    OfferedDetail {
        place,
        words: Shown::long(&spec.description, 200),
        kind: Shown::long(detail.kind().as_str(), 128),
        members: words::members(&detail.members()),
    }
}

fn identity_words(scope: &str) -> Option<&'static str> {
    match scope {
        "openid" => Some("Know who you are here"),
        "profile" => Some("See your name here"),
        "email" => Some("See your e-mail address"),
        "offline_access" => Some("Go on while you are signed out"),
        _ => None,
    }
}

/// `POST {base}/consent/{id}`.
pub async fn answer(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    let Visitor {
        served,
        signed_in,
        now,
    } = visitor;
    let (pairs, token) = read(&body);
    if let Err(error) = forgery::check(&served, &headers, &signed_in, token.as_deref()) {
        return refused(error);
    }
    let Ok(id) = id.parse::<AuthorizationRequestId>() else {
        return over();
    };
    match consent::answer(&app, &served, &signed_in, (id, reply(&pairs)), now).await {
        Ok(location) => frame::see_other(&location),
        Err(error) => cannot_ask(error),
    }
}

/// The fields of a form, of which `scope` may be there many times, and its token.
fn read(body: &[u8]) -> (Vec<(String, String)>, Option<String>) {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(body).into_owned().collect();
    let token = pairs.iter().find(|(name, _)| name == "csrf");
    let token = token.map(|(_, value)| value.clone());
    (pairs, token)
}

fn reply(pairs: &[(String, String)]) -> Reply {
    if pairs
        .iter()
        .any(|(name, value)| name == "answer" && value == "allow")
    {
        Reply::Allow(allowed(pairs))
    } else {
        Reply::Deny
    }
}

pub(super) fn allowed(pairs: &[(String, String)]) -> Allowed {
    let values = |name: &str| -> Vec<String> {
        let matching = pairs.iter().filter(|(named, _)| named == name);
        matching.map(|(_, value)| value.clone()).collect()
    };
    let lasts = match values("lasts").first().map(String::as_str) {
        Some("always") => None,
        Some("month") => Some(Ttl::from_days(30)),
        Some("day") => Some(Ttl::from_days(1)),
        // What is not understood is the shortest.
        _ => Some(Ttl::from_minutes(60)),
    };
    let budget = values("budget")
        .first()
        .and_then(|number| number.trim().parse::<u64>().ok());
    Allowed {
        scopes: values("scope"),
        details: values("detail")
            .iter()
            .filter_map(|place| place.parse().ok())
            .collect(),
        lasts,
        budget: budget.filter(|number| *number > 0),
    }
}

/// The page for a question that cannot be asked any more.
fn cannot_ask(error: OfferError) -> Response {
    match error {
        OfferError::Failure(Failure::Refused(Refusal::Lifecycle { .. })) => Message::new(
            "This is stopped",
            "An administrator has stopped what this agent may do for you here.",
        )
        .with_code("grant_stopped")
        .with_link("/me/agents", MY_AGENTS)
        .respond(StatusCode::CONFLICT),
        OfferError::Failure(Failure::Refused(_)) => over(),
        OfferError::Failure(failure) => frame::failed(&failure),
        OfferError::Client(error) => {
            tracing::info!(%error, "a consent page could not be shown");
            Message::new("This request is over", "The application is not in use any more.")
                .with_code("unauthorized_client")
                .respond(StatusCode::FORBIDDEN)
        }
        OfferError::OAuth(error) => {
            Message::new("This request is over", "What it asked for is not known any more.")
                .with_code(error.code.as_str())
                .respond(StatusCode::BAD_REQUEST)
        }
    }
}

fn over() -> Response {
    Message::new(
        "This request is over",
        "It was answered before, has waited too long, or is not yours.",
    )
    .with_code("request_over")
    .with_hint("Start again from the application that sent you here.")
    .with_link("/me/agents", MY_AGENTS)
    .respond(StatusCode::NOT_FOUND)
}

/// The host of an address, or its scheme where it has none.
pub(super) fn host(uri: &str) -> String {
    let Ok(parsed) = url::Url::parse(uri) else {
        return uri.to_owned();
    };
    match parsed.host_str() {
        Some(host) => parsed
            .port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
        None => format!("{}:", parsed.scheme()),
    }
}

/// What the policy must let a form lead to, so that the redirect after it is followed: the scheme of the redirect URI.
/// The application may send the browser on to hosts of its own, and browsers hold those against the form too.
pub(super) fn source(redirect_uri: &str) -> String {
    let scheme = redirect_uri.split(':').next().unwrap_or_default();
    let is_scheme = !scheme.is_empty()
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if is_scheme {
        format!("{scheme}:")
    } else {
        "'none'".to_owned()
    }
}

const TITLE: &str = "Allow this agent?";
const MY_AGENTS: &str = "See what agents may do for you";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_to_the_scheme_of_the_redirect_uri_and_to_no_rule_of_its_own() {
        assert_eq!(source("https://app.example/cb"), "https:");
        assert_eq!(source("com.example.app:/cb"), "com.example.app:");
        assert_eq!(source("a b;script-src *:x"), "'none'");
    }

    #[test]
    fn the_host_is_what_is_shown() {
        assert_eq!(host("https://app.example/cb?x=1"), "app.example");
        assert_eq!(host("http://127.0.0.1:8080/cb"), "127.0.0.1:8080");
        assert_eq!(host("com.example.app:/cb"), "com.example.app:");
    }

    #[test]
    fn what_a_form_does_not_say_is_the_shortest() {
        assert_eq!(allowed(&[]).lasts, Some(Ttl::from_minutes(60)));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            allowed(&[pair("lasts", "for ever")]).lasts,
            Some(Ttl::from_minutes(60))
        );
        let all = allowed(&[
            pair("lasts", "always"),
            pair("scope", "a:b"),
            pair("scope", "c:d"),
            pair("budget", "0"),
        ]);
        assert_eq!((all.lasts, all.budget, all.scopes.len()), (None, None, 2));
    }
}
