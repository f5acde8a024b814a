//! The frame of every page: layout, and the headers that keep a page to itself (Content Security Policy 3,
//! clickjacking, caching, referrer). No page has inline script or style, and nothing comes from elsewhere.

use super::asset;
use super::outside::Shown;
use crate::error::Failure;
use crate::people::session::SignedIn;
use crate::tenants::Served;
use askama::Template;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::header::{LOCATION, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

/// What the layout shows around a page.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The page's title and heading.
    pub title: String,
    /// Where the style sheet is.
    pub stylesheet: &'static str,
    /// Who is signed in.
    pub person: Option<Person>,
    /// The pages of whoever is signed in.
    pub links: Vec<NavigationLink>,
    /// Whether the page uses the whole width, for tables.
    pub is_wide: bool,
}

/// Who is signed in, as the layout shows it.
#[derive(Clone, Debug)]
pub struct Person {
    /// The name.
    pub name: Shown,
    /// The token that every form of the page carries.
    pub csrf: String,
}

/// A page of the navigation.
#[derive(Clone, Debug)]
pub struct NavigationLink {
    /// Where.
    pub href: &'static str,
    /// What it is called.
    pub text: &'static str,
    /// Whether it is this page.
    pub is_here: bool,
}

impl Frame {
    /// A page for anybody.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            stylesheet: asset::stylesheet(),
            person: None,
            links: Vec::new(),
            is_wide: false,
        }
    }

    /// A page for whoever is signed in. `here` is the path of the page.
    pub fn of(title: impl Into<String>, served: &Served, signed_in: &SignedIn, here: &str) -> Self {
        let link = |(href, text): &(&'static str, &'static str)| NavigationLink {
            href,
            text,
            is_here: *href == here,
        };
        Self {
            person: Some(Person {
                name: Shown::new(signed_in.user.name.as_str()),
                csrf: signed_in.form_token(served),
            }),
            links: LINKS.iter().chain(console(signed_in)).map(link).collect(),
            ..Self::new(title)
        }
    }

    /// The same over the whole width.
    #[must_use]
    pub fn wide(self) -> Self {
        Self {
            is_wide: true,
            ..self
        }
    }
}

/// The way to the console, for roles that the default policies let in. Others may get there by its address: the pages
/// ask policy.
fn console(signed_in: &SignedIn) -> &'static [(&'static str, &'static str)] {
    let roles = &signed_in.user.spec.roles;
    let is_let_in = roles
        .iter()
        .any(|role| matches!(role.as_str(), "administrator" | "auditor"));
    if is_let_in { CONSOLE } else { &[] }
}

const CONSOLE: &[(&str, &str)] = &[("/console/agents", "Console")];
/// The pages in the navigation.
const LINKS: &[(&str, &str)] = &[
    ("/me/agents", "My agents"),
    ("/approvals", "Approvals"),
    ("/me/sign-in", "Sign-in"),
];

/// Where forms of a page may lead, redirects included: browsers apply `form-action` to both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormAction {
    /// To our own pages.
    Own,
    /// Also to this source, which a redirect after the form leads to.
    OwnAnd(String),
}

/// A page as a response.
pub fn render(status: StatusCode, page: &impl Template, forms: &FormAction) -> Response {
    match page.render() {
        Ok(body) => closed((status, body).into_response(), forms),
        Err(error) => crate::http::error::internal(&error),
    }
}

/// A page that says one thing.
#[derive(Debug, Template)]
#[template(path = "message.html")]
pub struct Message {
    frame: Frame,
    text: String,
    code: Option<String>,
    hint: Option<String>,
    onward: Option<Onward>,
}

/// A link onward.
#[derive(Clone, Debug)]
pub struct Onward {
    /// Where, a path of ours.
    pub href: String,
    /// What it says.
    pub text: String,
}

impl Message {
    /// A title and a sentence.
    pub fn new(title: &str, text: impl Into<String>) -> Self {
        Self {
            frame: Frame::new(title),
            text: text.into(),
            code: None,
            hint: None,
            onward: None,
        }
    }

    /// With the frame of whoever is signed in.
    #[must_use]
    pub fn for_person(self, served: &Served, signed_in: &SignedIn) -> Self {
        let frame = Frame::of(self.frame.title, served, signed_in, "");
        Self { frame, ..self }
    }

    /// With a stable code.
    #[must_use]
    pub fn with_code(self, code: impl Into<String>) -> Self {
        Self {
            code: Some(code.into()),
            ..self
        }
    }

    /// With what to do about it.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// With a link to a page of ours.
    #[must_use]
    pub fn with_link(self, href: impl Into<String>, text: impl Into<String>) -> Self {
        let (href, text) = (href.into(), text.into());
        Self {
            onward: Some(Onward { href, text }),
            ..self
        }
    }

    /// The response.
    pub fn respond(&self, status: StatusCode) -> Response {
        render(status, self, &FormAction::Own)
    }
}

/// A failure as a page.
pub fn failed(failure: &Failure) -> Response {
    let problem = crate::http::error::problem(failure);
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let title = if status.is_server_error() {
        "This did not work"
    } else {
        "This is not possible"
    };
    let mut text: String = problem
        .detail
        .chars()
        .take(1)
        .flat_map(char::to_uppercase)
        .collect();
    text.extend(problem.detail.chars().skip(1));
    text.push('.');
    Message::new(title, text)
        .with_code(problem.code)
        .with_link("/me/agents", "My agents")
        .respond(status)
}

/// Leads the browser on with GET (RFC 9110 §15.4.4).
pub fn see_other(location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        return Message::new("This is not possible", "The address to go on to is malformed.")
            .respond(StatusCode::BAD_REQUEST);
    };
    let mut response = closed(StatusCode::SEE_OTHER.into_response(), &FormAction::Own);
    response.headers_mut().insert(LOCATION, location);
    response
}

fn closed(mut response: Response, forms: &FormAction) -> Response {
    let policy = match forms {
        FormAction::Own => format!("{POLICY}; form-action 'self'"),
        FormAction::OwnAnd(source) => format!("{POLICY}; form-action 'self' {source}"),
    };
    let Ok(policy) = HeaderValue::from_str(&policy) else {
        return crate::http::error::internal(&"a content security policy is malformed");
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; frame-ancestors 'none'; base-uri 'none'";
