//! Connections in the console: the list with where each goes, and one connection with its rules and the accounts at it.

use super::agents::{Choice, ListQuery, choices};
use super::steps::StepLink;
use super::{badge, frame, segment, visible, with_query};
use crate::app::App;
use crate::connect::account::{self, AccountView};
use crate::directory::change::{self, Caller};
use crate::error::Failure;
use crate::http::pages::Visitor;
use crate::http::pages::frame::{self as page_frame, FormAction, Frame};
use crate::http::pages::outside::Shown;
use crate::http::pages::words;
use crate::tenants::Served;
use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chancery_core::connected_account::ProviderAccount;
use chancery_core::connection::{Connection, ConnectionSpec, Handling, RequestRule, RuleEffect};
use chancery_core::noun::{Lifecycle, Noun};
use chancery_policy::ManagementAction;
use chancery_store::Page;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Debug, Template)]
#[template(path = "console_connections.html")]
struct Connections {
    frame: Frame,
    states: Vec<Choice>,
    rows: Vec<Row>,
    next: Option<String>,
}

#[derive(Debug)]
struct Row {
    href: String,
    name: Shown,
    state: &'static str,
    badge: &'static str,
    kind: &'static str,
    level: &'static str,
    goes_to: Shown,
}

#[derive(Debug, Template)]
#[template(path = "console_connection.html")]
struct OneConnection {
    frame: Frame,
    state: &'static str,
    badge: &'static str,
    owner: Shown,
    kind: &'static str,
    level: &'static str,
    handling: &'static str,
    goes_to: Vec<Shown>,
    rules: Vec<Shown>,
    steps: Vec<StepLink>,
    accounts: Option<Vec<AccountRow>>,
    next: Option<String>,
    audit: String,
}

#[derive(Debug)]
struct AccountRow {
    owner: Shown,
    account: Option<Shown>,
    status: &'static str,
    badge: &'static str,
    last_error: Option<Shown>,
}

/// Query of one connection: after which account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AccountsQuery {
    after: String,
}

/// `GET {base}/console/connections`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Query(query): Query<ListQuery>,
) -> Response {
    let caller = visitor.signed_in.caller(visitor.now);
    match rows(&app, &visitor.served, &caller, &query).await {
        Ok((rows, next)) => {
            let page = Connections {
                frame: frame("Connections", &visitor.served, &visitor.signed_in, HERE),
                states: choices(&query.state),
                rows,
                next,
            };
            page_frame::render(StatusCode::OK, &page, &FormAction::Own)
        }
        Err(failure) => page_frame::failed(&failure),
    }
}

/// `GET {base}/console/connections/{name}`.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    visitor: Visitor,
    Path(name): Path<String>,
    Query(query): Query<AccountsQuery>,
) -> Response {
    match one(&app, &visitor, (&name, &query.after)).await {
        Ok(page) => page_frame::render(StatusCode::OK, &page, &FormAction::Own),
        Err(failure) => page_frame::failed(&failure),
    }
}

async fn rows(
    app: &App,
    served: &Served,
    caller: &Caller,
    query: &ListQuery,
) -> Result<(Vec<Row>, Option<String>), Failure> {
    change::permit(
        served,
        caller,
        ManagementAction::View,
        (Noun::Connection, "*", None),
    )?;
    let page = Page {
        after: &query.after,
        state: Lifecycle::parse(&query.state),
        limit: PAGE + 1,
    };
    let mut found = change::list::<ConnectionSpec>(app, served.tenant.id, &page).await?;
    let last = cut(&mut found);
    let next = last.map(|last| {
        let pairs = [("state", query.state.as_str()), ("after", last.name.as_str())];
        with_query(HERE, &pairs)
    });
    Ok((found.iter().map(row).collect(), next))
}

fn row(connection: &Connection) -> Row {
    let (state, badge) = badge(connection.state);
    Row {
        href: format!("{HERE}/{}", segment(connection.name.as_str())),
        name: Shown::new(connection.name.as_str()),
        state,
        badge,
        kind: connection.spec.credential.as_str(),
        level: connection.spec.owner_level.as_str(),
        goes_to: Shown::new(connection.spec.base_url.as_str()),
    }
}

async fn one(app: &App, visitor: &Visitor, (name, after): (&str, &str)) -> Result<OneConnection, Failure> {
    let Visitor {
        served,
        signed_in,
        now,
    } = visitor;
    let caller = signed_in.caller(*now);
    let connection = visible::<ConnectionSpec>(app, served, &caller, name).await?;
    let (accounts, next) = accounts(app, served, &caller, (&connection, after)).await?;
    let spec = &connection.spec;
    let (state, badge) = badge(connection.state);
    let goes_to = std::iter::once(spec.base_url.as_str()).chain(spec.hosts.iter().map(String::as_str));
    let owner = spec.owner.as_ref();
    Ok(OneConnection {
        frame: frame(connection.name.to_string(), served, signed_in, ""),
        state,
        badge,
        owner: Shown::new(owner.map_or("nobody", |owner| owner.as_str())),
        kind: spec.credential.as_str(),
        level: spec.owner_level.as_str(),
        handling: match spec.handling {
            Handling::BrokerOnly => "never leaves",
            Handling::Release => "may be handed to an agent that policy permits it to",
        },
        goes_to: goes_to.map(Shown::new).collect(),
        rules: spec.rules.iter().map(rule).collect(),
        steps: StepLink::all(&connection),
        accounts,
        next,
        audit: with_query("/console/audit", &[("kind", "connected_account.")]),
    })
}

/// Accounts at a connection, a page of them; nothing for those who may not see whose there are.
async fn accounts(
    app: &App,
    served: &Served,
    caller: &Caller,
    (connection, after): (&Connection, &str),
) -> Result<(Option<Vec<AccountRow>>, Option<String>), Failure> {
    let asked = (&connection.name, after, PAGE + 1);
    let mut views = match account::of_connection(app, served, caller, asked).await {
        Ok(views) => views,
        Err(Failure::Denied(_)) => return Ok((None, None)),
        Err(failure) => return Err(failure),
    };
    let next = cut(&mut views).map(|last| {
        let place = format!("{HERE}/{}", segment(connection.name.as_str()));
        with_query(&place, &[("after", last.account.name.as_str())])
    });
    Ok((Some(views.iter().map(account_row).collect()), next))
}

fn account_row(view: &AccountView) -> AccountRow {
    let spec = &view.account.spec;
    let (status, badge) = words::account(view.status);
    let known = spec.provider_account.as_ref().map(ProviderAccount::shown);
    AccountRow {
        owner: Shown::new(&spec.owner.as_key()),
        account: known.map(Shown::new),
        status,
        badge,
        last_error: view.last_error.as_deref().map(Shown::new),
    }
}

fn rule(rule: &RequestRule) -> Shown {
    let effect = match rule.effect {
        RuleEffect::Allow => "allow",
        RuleEffect::Deny => "deny",
    };
    let methods: Vec<&str> = rule.methods.iter().map(String::as_str).collect();
    let methods = match methods.as_slice() {
        [] => "any method".to_owned(),
        some => some.join(" "),
    };
    Shown::new(&format!("{effect} {methods} {}", rule.path.as_str()))
}

/// Leaves one page. The last of it, if there is more.
fn cut<T>(found: &mut Vec<T>) -> Option<&T> {
    let most = usize::try_from(PAGE).unwrap_or(usize::MAX);
    let has_more = found.len() > most;
    found.truncate(most);
    found.last().filter(|_| has_more)
}

const HERE: &str = "/console/connections";
const PAGE: u32 = 25;
