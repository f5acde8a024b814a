//! The pages of approvals: the inbox, and one request with everything that a yes would be a yes to. All of it is made
//! from the record that is hashed; what the agent says of itself stands in a box of its own.

use super::frame::{self, FormAction, Frame};
use super::outside::Shown;
use super::{Visitor, asset, forgery, sign_out, words};
use crate::app::App;
use crate::approve::answer::{self, Given};
use crate::approve::step_up::{self, Signed, StepUp};
use crate::approve::view::{self, ApprovalView};
use crate::error::Failure;
use crate::people::passkey::Offer;
use askama::Template;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chancery_core::approval::{ApprovalKind, ApprovalMethod, ApprovalState, Asked, AskedCall, MAX_RECORD};
use chancery_core::id::ApprovalId;
use chancery_core::name::Name;
use chancery_core::time::Timestamp;
use chancery_policy::ApprovalAnswer;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// The inbox.
#[derive(Debug, Template)]
#[template(path = "approvals.html")]
struct Inbox {
    frame: Frame,
    cards: Vec<Card>,
}

#[derive(Debug)]
struct Card {
    id: String,
    href: String,
    agent: Shown,
    wants: String,
    user: Option<Shown>,
    deadline: String,
    may_approve: bool,
}

/// One request.
#[derive(Debug, Template)]
#[template(path = "approval.html")]
struct Detail {
    frame: Frame,
    action: String,
    csrf: String,
    hash: String,
    state: &'static str,
    badge: &'static str,
    agent: Shown,
    wants: String,
    user: Option<Shown>,
    says: Option<Shown>,
    facts: Vec<Fact>,
    arguments: Vec<Fact>,
    /// The lines of the body of a request.
    body: Option<Vec<Shown>>,
    /// What stands in the place of a body that is not shown.
    body_note: Option<&'static str>,
    answers: Vec<Fact>,
    numbers: Vec<u32>,
    may_approve: bool,
    may_reject: bool,
    note: Option<&'static str>,
    /// What a passkey is asked, where the yes is signed.
    passkey: Option<Offer>,
    /// Whether the yes is signed, and the person has nothing to sign with.
    lacks_passkey: bool,
    script: &'static str,
}

/// A label and what it is about.
#[derive(Debug)]
struct Fact {
    label: String,
    value: String,
}

/// The form of an answer.
#[derive(Debug, Deserialize)]
pub struct Answered {
    #[serde(default)]
    csrf: Option<String>,
    answer: String,
    /// The hash of the record that the page showed.
    record: String,
    #[serde(default)]
    number: Option<u32>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    ticket: Option<String>,
    #[serde(default)]
    credential: Option<String>,
}

/// `GET {base}/approvals`.
pub async fn inbox(State(app): State<Arc<App>>, visitor: Visitor) -> Response {
    let caller = visitor.signed_in.caller(visitor.now);
    let page = view::list(
        &app,
        &visitor.served,
        &caller,
        ApprovalState::Pending,
        (None, MOST),
    )
    .await;
    let page = match page {
        Ok(page) => page,
        Err(failure) => return frame::failed(&failure),
    };
    let open = page
        .items
        .iter()
        .filter(|view| view.may_approve || view.may_reject);
    let inbox = Inbox {
        frame: Frame::of("Approvals", &visitor.served, &visitor.signed_in, "/approvals"),
        cards: open.map(card).collect(),
    };
    frame::render(StatusCode::OK, &inbox, &FormAction::Own)
}

/// `GET {base}/approvals/{id}`.
pub async fn show(State(app): State<Arc<App>>, visitor: Visitor, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<ApprovalId>() else {
        return unknown(&visitor);
    };
    let caller = visitor.signed_in.caller(visitor.now);
    let shown = async {
        let view = view::show(&app, &visitor.served, &caller, id).await?;
        let asked = if view.may_approve {
            let about = (id, &view.record, &view.record_hash);
            step_up::offer(&app, &visitor.served, &visitor.signed_in, about, visitor.now).await?
        } else {
            StepUp::None
        };
        Ok::<_, Failure>((view, asked))
    };
    match shown.await {
        Ok((view, asked)) => {
            let page = detail(&visitor, &view, asked);
            frame::render(StatusCode::OK, &page, &FormAction::Own)
        }
        Err(failure) => frame::failed(&failure),
    }
}

/// `POST {base}/approvals/{id}`: an answer.
pub async fn answer(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(form): Form<Answered>,
) -> Response {
    if let Err(error) = forgery::check(
        &visitor.served,
        &headers,
        &visitor.signed_in,
        form.csrf.as_deref(),
    ) {
        return sign_out::refused(error);
    }
    let Ok(id) = id.parse::<ApprovalId>() else {
        return unknown(&visitor);
    };
    let answer = match form.answer.as_str() {
        "approve" => ApprovalAnswer::Approve,
        "deny" => ApprovalAnswer::Reject,
        _ => return unknown(&visitor),
    };
    let caller = visitor.signed_in.caller(visitor.now);
    // SECURITY: the answer is to the record that the page showed, whatever the address says.
    let is_shown = match view::show(&app, &visitor.served, &caller, id).await {
        Ok(view) => view.record_sha256 == form.record,
        Err(failure) => return frame::failed(&failure),
    };
    if !is_shown {
        return unknown(&visitor);
    }
    let given = Given {
        id,
        answer,
        method: ApprovalMethod::Page,
        number: form.number,
        reason: form.reason.as_deref(),
        signed: form
            .ticket
            .as_deref()
            .zip(form.credential.as_deref())
            .map(|(ticket, credential)| Signed {
                session: visitor.signed_in.session.id,
                ticket,
                credential,
            }),
    };
    match answer::give(&app, &visitor.served, &caller, given).await {
        Ok(_) => frame::see_other(&format!("/approvals/{id}")),
        Err(failure) => frame::failed(&failure),
    }
}

fn unknown(visitor: &Visitor) -> Response {
    frame::Message::new("No such request", "There is nothing here that you can answer.")
        .for_person(&visitor.served, &visitor.signed_in)
        .with_code("not_found")
        .with_link("/approvals", "All approvals")
        .respond(StatusCode::NOT_FOUND)
}

fn card(view: &ApprovalView) -> Card {
    let asked = &view.record.subject;
    Card {
        id: view.id.to_string(),
        href: format!("/approvals/{}", view.id),
        agent: Shown::new(asked.agent.name.as_str()),
        wants: wants(asked),
        user: user(asked),
        deadline: moment(view.deadline),
        may_approve: view.may_approve,
    }
}

fn detail(visitor: &Visitor, view: &ApprovalView, asked_for: StepUp) -> Detail {
    let asked = &view.record.subject;
    let (state, badge) = match view.state {
        ApprovalState::Pending if view.deadline <= visitor.now => ("over", ""),
        ApprovalState::Pending => ("waits for an answer", "warn"),
        ApprovalState::Approved => ("approved", "good"),
        ApprovalState::Denied => ("denied", "bad"),
        ApprovalState::Expired => ("over", ""),
        ApprovalState::Used => ("approved and used", "good"),
    };
    let is_open = view.state == ApprovalState::Pending && view.deadline > visitor.now;
    let (passkey, lacks_passkey) = match asked_for {
        StepUp::None => (None, false),
        StepUp::Sign(offer) => (Some(*offer), false),
        StepUp::Unable => (None, true),
    };
    let (body, body_note) = body(asked);
    Detail {
        frame: Frame::of("Approval", &visitor.served, &visitor.signed_in, "/approvals"),
        action: format!("/approvals/{}", view.id),
        csrf: visitor.signed_in.form_token(&visitor.served),
        hash: view.record_sha256.clone(),
        state,
        badge,
        agent: Shown::new(asked.agent.name.as_str()),
        wants: wants(asked),
        user: user(asked),
        says: asked.says.as_ref().map(|says| Shown::long(says.as_str(), 200)),
        facts: facts(view),
        arguments: arguments(asked),
        body,
        body_note,
        answers: view.answers.iter().map(answered).collect(),
        numbers: view.numbers.clone(),
        may_approve: view.may_approve,
        may_reject: view.may_reject,
        note: (is_open && !view.may_approve)
            .then_some("You cannot approve this: nobody approves what they asked for or own alone, or policy names others."),
        passkey,
        lacks_passkey,
        script: asset::passkey_script(),
    }
}

/// What is asked, in plain words.
fn wants(asked: &Asked) -> String {
    let resource = asked
        .resource
        .as_ref()
        .map_or("Chancery", |resource| resource.name.as_str());
    match (&asked.kind, &asked.call, &asked.hand_over_to) {
        (_, Some(call), _) => format!(
            "to {} {} at {resource}, once",
            asked.verb(),
            Shown::new(&call.target)
        ),
        (ApprovalKind::Access, None, _) => format!("access to what is yours at {resource}"),
        (_, None, Some(agent)) => format!("to hand work over to the agent {agent}"),
        (ApprovalKind::Token | ApprovalKind::Call, None, None) => format!("a token for {resource}"),
    }
}

fn user(asked: &Asked) -> Option<Shown> {
    asked.user.as_ref().map(|user| Shown::new(user.name.as_str()))
}

/// Everything of the record, in plain words.
fn facts(view: &ApprovalView) -> Vec<Fact> {
    let record = &view.record;
    let asked = &record.subject;
    let chain: Vec<&str> = asked.chain.iter().map(|link| link.name.as_str()).collect();
    let scopes: Vec<String> = asked
        .scopes
        .pairs()
        .map(|(resource, scope)| format!("{scope} at {resource}"))
        .collect();
    let user = asked.user.as_ref().map(|user| &user.name);
    let resource = asked.resource.as_ref().map(|resource| &resource.name);
    let connection = asked
        .connection
        .as_ref()
        .map(|connection| connection.name.to_string());
    let mut list = vec![
        fact("Agent", asked.agent.name.as_str()),
        fact("Answers for the agent", name(asked.owner.as_ref(), "nobody")),
        fact("Came in through", asked.client.name.as_str()),
        fact("Acts for", name(user, "itself")),
        fact("Where", name(resource, "Chancery")),
        fact("Answers for that", name(asked.resource_owner.as_ref(), "nobody")),
        fact("Scopes", &scopes.join(", ")),
        fact("Sensitivity", asked.sensitivity.as_str()),
    ];
    list.extend(details(asked));
    if chain.len() > 1 {
        list.push(fact("Through the agents", &chain.join(" ← ")));
    }
    list.extend(connection.map(|connection| fact("With the credential of", &connection)));
    list.extend(asked.call.iter().flat_map(called));
    if asked.call.is_none() {
        list.push(fact(
            "Lives at most",
            &format!("{} seconds", asked.lifetime.as_seconds()),
        ));
    }
    list.push(fact(
        "Needs",
        &format!("{} of {} yes", view.votes, record.requirement.count),
    ));
    list.push(fact("Asked", &moment(record.requested_at)));
    list.push(fact("Answer until", &moment(record.expires_at)));
    list.push(fact("Request", &view.id.to_string()));
    list
}

/// What is called, whole: a name or address may be longer than the sentence that it stands in.
fn called(call: &AskedCall) -> Vec<Fact> {
    let Some(request) = &call.request else {
        let definition = call.definition.iter();
        let definition = definition.map(|digest| fact("Definition that was accepted", digest));
        return std::iter::once(fact("What", &call.target))
            .chain(definition)
            .collect();
    };
    let mut list = vec![
        fact("Method", &request.method),
        fact("To", &request.origin),
        fact("Path", &request.path),
        fact("Query", request.query.as_deref().unwrap_or("none")),
    ];
    let headers = request.headers.iter();
    list.extend(headers.map(|(name, value)| fact(&format!("Header {name}"), value)));
    list.push(match &request.body {
        None => fact("Body", "none"),
        Some(body) => fact("Body", &format!("{} bytes, SHA-256 {}", body.bytes, body.sha256)),
    });
    list
}

/// The body of a request: its lines where it is shown, and a note where it is not.
fn body(asked: &Asked) -> (Option<Vec<Shown>>, Option<&'static str>) {
    let request = asked.call.as_ref().and_then(|call| call.request.as_ref());
    let Some(body) = request.and_then(|request| request.body.as_ref()) else {
        return (None, None);
    };
    let lines = body.text.as_ref().map(|text| {
        let line = |line: &str| {
            let line = line.trim_end_matches('\r').replace('\t', "    ");
            Shown::long(&line, chancery_core::approval::MAX_RECORD)
        };
        text.split('\n').map(line).collect()
    });
    let note = lines.is_none().then_some(HIDDEN_BODY);
    (lines, note)
}

/// A name, or what stands where there is none.
fn name<'a>(name: Option<&'a Name>, none: &'a str) -> &'a str {
    name.map_or(none, Name::as_str)
}

/// The authorization details that the token gets, one member a row.
fn details(asked: &Asked) -> Vec<Fact> {
    let mut rows = Vec::new();
    for detail in asked.authorization_details.iter() {
        let kind = Shown::long(detail.kind().as_str(), MAX_RECORD);
        rows.push(fact("Exactly this", kind.as_str()));
        let members = words::members(&detail.members()).into_iter();
        rows.extend(members.map(|(name, value)| fact(&format!("{kind}: {name}"), &value)));
    }
    rows
}

/// The arguments of a call, one a row.
fn arguments(asked: &Asked) -> Vec<Fact> {
    let arguments = asked.call.as_ref().and_then(|call| call.arguments.as_ref());
    let Some(Value::Object(members)) = arguments else {
        return Vec::new();
    };
    let row = |(name, value): (&String, &Value)| fact(Shown::new(name).as_str(), &value.to_string());
    members.iter().map(row).collect()
}

fn answered(answer: &view::AnswerView) -> Fact {
    fact(
        &format!("{} {} it", answer.name, answer.answer),
        answer.reason.as_deref().unwrap_or_default(),
    )
}

/// SECURITY: nothing on the page is seen otherwise than it is: what turns or hides text shows as `�`. Nothing is cut,
/// since what does not fit on the page cannot be approved.
fn fact(label: &str, value: &str) -> Fact {
    Fact {
        label: label.to_owned(),
        value: Shown::long(value, MAX_RECORD).to_string(),
    }
}

/// A moment for people: minutes, in UTC.
fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    let minutes = text.get(..16).unwrap_or(&text).replace('T', " ");
    format!("{minutes} UTC")
}

const MOST: u32 = 100;
const HIDDEN_BODY: &str = "The request has a body that is not shown: it is long, or not plain text. A yes is to bytes that you do not see.";
