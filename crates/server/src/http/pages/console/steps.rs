//! Suspending, resuming and killing an agent or a connection: first a page that says what would stop and what would remain, then the
//! form of that page.

use super::{frame, segment, visible};
use crate::app::App;
use crate::directory::change;
use crate::directory::kill::{self, KillReport};
use crate::directory::managed::Managed;
use crate::error::{Failure, Refusal};
use crate::http::pages::frame::{self as page_frame, FormAction, Frame};
use crate::http::pages::sign_out::{Confirmed, refused};
use crate::http::pages::{Visitor, forgery};
use askama::Template;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chancery_core::event::Change;
use chancery_core::noun::{Lifecycle, Record};
use std::sync::Arc;

#[derive(Debug, Template)]
#[template(path = "console_step.html")]
struct Confirm {
    frame: Frame,
    csrf: String,
    action: String,
    back: String,
    button: &'static str,
    is_bad: bool,
    says: &'static str,
    stops: Vec<String>,
    remains: Vec<String>,
    seconds: u64,
}

/// A link to one of the pages here.
#[derive(Debug)]
pub(super) struct StepLink {
    pub(super) href: String,
    pub(super) text: &'static str,
    pub(super) is_bad: bool,
}

impl StepLink {
    /// What may be done to something in its state.
    pub(super) fn all<S: Managed>(found: &Record<S::Id, S>) -> Vec<Self> {
        let place = place::<S>(found.name.as_str());
        let link = |step: Step, text| Self {
            href: format!("{place}/{}", step_word(step)),
            text,
            is_bad: step == Step::Kill,
        };
        match found.state {
            Lifecycle::Active => vec![link(Step::Suspend, "Suspend"), link(Step::Kill, "Kill")],
            Lifecycle::Staged => vec![link(Step::Activate, "Put into use")],
            Lifecycle::Suspended => vec![link(Step::Activate, "Resume"), link(Step::Kill, "Kill")],
            Lifecycle::Retired => Vec::new(),
        }
    }
}

/// What may be done here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Suspend,
    Activate,
    Kill,
}

impl Step {
    fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "suspend" => Ok(Self::Suspend),
            "activate" => Ok(Self::Activate),
            "kill" => Ok(Self::Kill),
            _ => Err(Refusal::Invalid(format!("`{text}` is nothing that can be done here")).into()),
        }
    }

    const fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Suspend => ("Suspend", "Suspend", "It stops until somebody resumes it."),
            Self::Activate => (
                "Put into use",
                "Put into use",
                "It may work again. Nothing that was issued to it before comes back to life.",
            ),
            Self::Kill => (
                "Kill",
                "Kill now",
                "It stops at once, with everything that hangs on it. It may be resumed later; what was issued stays dead.",
            ),
        }
    }
}

/// `GET {base}/console/{nouns}/{name}/{step}`: what it would do.
pub(super) async fn confirm<S: Managed>(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path((name, step)): Path<(String, String)>,
) -> Response {
    match rehearse::<S>(&app, &visitor, &name, &step).await {
        Ok(page) => page_frame::render(StatusCode::OK, &page, &FormAction::Own),
        Err(failure) => page_frame::failed(&failure),
    }
}

/// `POST {base}/console/{nouns}/{name}/{step}`.
pub(super) async fn take<S: Managed>(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    headers: HeaderMap,
    Path((name, step)): Path<(String, String)>,
    Form(form): Form<Confirmed>,
) -> Response {
    let signed_in = &visitor.signed_in;
    if let Err(error) = forgery::check(&visitor.served, &headers, signed_in, form.csrf.as_deref()) {
        return refused(error);
    }
    match carry_out::<S>(&app, &visitor, &name, &step).await {
        Ok(()) => page_frame::see_other(&place::<S>(&name)),
        Err(failure) => page_frame::failed(&failure),
    }
}

async fn rehearse<S: Managed>(
    app: &App,
    visitor: &Visitor,
    name: &str,
    step: &str,
) -> Result<Confirm, Failure> {
    let step = Step::parse(step)?;
    let served = &visitor.served;
    let caller = visitor.signed_in.caller(visitor.now);
    let found = visible::<S>(app, served, &caller, name).await?;
    let report = match step {
        Step::Suspend | Step::Kill => {
            let subject = (S::NOUN, found.name.as_str());
            Some(kill::kill(app, served, &caller, subject, true).await?)
        }
        Step::Activate => None,
    };
    let (title, button, says) = step.words();
    let of = |pick: fn(&KillReport) -> Vec<String>| report.as_ref().map(pick).unwrap_or_default();
    let back = place::<S>(found.name.as_str());
    Ok(Confirm {
        frame: frame(format!("{title} {}?", found.name), served, &visitor.signed_in, ""),
        csrf: visitor.signed_in.form_token(served),
        action: format!("{back}/{}", step_word(step)),
        back,
        button,
        is_bad: step == Step::Kill,
        says,
        stops: of(|report| report.stops.clone()),
        remains: of(|report| report.remains.clone()),
        seconds: report
            .as_ref()
            .map_or(0, |report| report.reaches_every_node_within_seconds),
    })
}

async fn carry_out<S: Managed>(app: &App, visitor: &Visitor, name: &str, step: &str) -> Result<(), Failure> {
    let served = &visitor.served;
    let caller = visitor.signed_in.caller(visitor.now);
    let change = match Step::parse(step)? {
        Step::Kill => {
            kill::kill(app, served, &caller, (S::NOUN, name), false).await?;
            return Ok(());
        }
        Step::Suspend => Change::Suspended,
        Step::Activate => Change::Activated,
    };
    let old = change::load::<S>(app, served.tenant.id, name).await?;
    let (_, work) = change::plan_step(app, served, &caller, old, change)?;
    change::commit(app, &caller, work).await
}

/// The page of what is stopped or resumed.
fn place<S: Managed>(name: &str) -> String {
    format!("/console/{}s/{}", S::NOUN, segment(name))
}

const fn step_word(step: Step) -> &'static str {
    match step {
        Step::Suspend => "suspend",
        Step::Activate => "activate",
        Step::Kill => "kill",
    }
}
