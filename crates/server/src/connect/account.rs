//! Looking at connected accounts: what is stored, and whether it can be used now.

use crate::app::App;
use crate::connect::{destination_fingerprint, hexadecimal};
use crate::directory::change::{self, Caller};
use crate::directory::managed::Managed as _;
use crate::error::Failure;
use crate::tenants::Served;
use chancery_core::connected_account::{AccountOwner, ConnectedAccount, ConnectedAccountSpec};
use chancery_core::connection::Connection;
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun};
use chancery_core::time::Timestamp;
use chancery_policy::ManagementAction;
use chancery_store::provider_token::{self, ProviderState, ProviderTokenRow};
use chancery_store::{Page, connected_account};
use serde::Serialize;

/// Whether an account can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// It can.
    Active,
    /// It can: its tokens at the provider are in use.
    Connected,
    /// It can be tried: the last refresh of its tokens did not succeed.
    Error,
    /// The provider no longer takes what we hold: its owner connects again.
    Revoked,
    /// The connection goes elsewhere now than where the credential was sealed for: its owner sets it again.
    NeedsConsent,
    /// Its time is over.
    Expired,
    /// It, or its connection, is stopped.
    Suspended,
    /// It has ended, or its connection has.
    Retired,
}

/// An account with what can be said of it now.
#[derive(Clone, Debug, Serialize)]
pub struct AccountView {
    /// The record.
    #[serde(flatten)]
    pub account: ConnectedAccount,
    /// Whether it can be used.
    pub status: AccountStatus,
    /// Until when its token at the provider is good; it is refreshed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_expires_at: Option<Timestamp>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// One page of accounts.
///
/// # Errors
/// Policy's refusal; the database's.
pub async fn list(
    app: &App,
    served: &Served,
    caller: &Caller,
    page: &Page<'_>,
) -> Result<Vec<AccountView>, Failure> {
    change::permit(
        served,
        caller,
        ManagementAction::View,
        (Noun::ConnectedAccount, "*", None),
    )?;
    let accounts = change::list::<ConnectedAccountSpec>(app, served.tenant.id, page).await?;
    let mut views = Vec::with_capacity(accounts.len());
    for account in accounts {
        views.push(view(app, served, account, caller.now).await?);
    }
    Ok(views)
}

/// A person's own accounts in use, in order of connections.
///
/// # Errors
/// The database's.
pub async fn of_person(
    app: &App,
    served: &Served,
    user: &Name,
    now: Timestamp,
) -> Result<Vec<AccountView>, Failure> {
    let owner = AccountOwner::User(user.clone());
    let mut views = Vec::new();
    for account in connected_account::of_owner(&app.db, served.tenant.id, &owner).await? {
        views.push(view(app, served, account, now).await?);
    }
    Ok(views)
}

/// Accounts at a connection that have not ended, in order of names, those after one.
///
/// # Errors
/// Policy's refusal; the database's.
pub async fn of_connection(
    app: &App,
    served: &Served,
    caller: &Caller,
    (connection, after, limit): (&Name, &str, u32),
) -> Result<Vec<AccountView>, Failure> {
    let subject = (Noun::ConnectedAccount, "*", None);
    change::permit(served, caller, ManagementAction::View, subject)?;
    let page = (after, limit);
    let accounts = connected_account::of_connection(&app.db, served.tenant.id, connection, page).await?;
    let mut views = Vec::with_capacity(accounts.len());
    for account in accounts {
        views.push(view(app, served, account, caller.now).await?);
    }
    Ok(views)
}

/// One account by name or id.
///
/// # Errors
/// No such account; policy's refusal; the database's.
pub async fn show(app: &App, served: &Served, caller: &Caller, named: &str) -> Result<AccountView, Failure> {
    let account = change::load::<ConnectedAccountSpec>(app, served.tenant.id, named).await?;
    let subject = (
        Noun::ConnectedAccount,
        account.name.as_str(),
        account.spec.owner(),
    );
    change::permit(served, caller, ManagementAction::View, subject)?;
    view(app, served, account, caller.now).await
}

/// An account with its status.
///
/// # Errors
/// The database's.
pub async fn view(
    app: &App,
    served: &Served,
    account: ConnectedAccount,
    now: Timestamp,
) -> Result<AccountView, Failure> {
    let connection = app
        .directory
        .connections
        .find_by_name(served.tenant.id, &account.spec.connection)
        .await?;
    let tokens = provider_token::find(&app.db, served.tenant.id, account.id).await?;
    let (state, fingerprint, by_oauth) =
        connection.map_or((Lifecycle::Retired, String::new(), false), |connection| {
            let by_oauth = connection.spec.credential.is_token();
            (connection.state, fingerprint(&connection), by_oauth)
        });
    let status = match (account.state, state) {
        (Lifecycle::Retired, _) | (_, Lifecycle::Retired) => AccountStatus::Retired,
        (Lifecycle::Suspended | Lifecycle::Staged, _) | (_, Lifecycle::Suspended | Lifecycle::Staged) => {
            AccountStatus::Suspended
        }
        (Lifecycle::Active, Lifecycle::Active) if account.spec.fingerprint != fingerprint => {
            AccountStatus::NeedsConsent
        }
        (Lifecycle::Active, Lifecycle::Active) if by_oauth => of_tokens(tokens.as_ref(), now),
        (Lifecycle::Active, Lifecycle::Active) if account.spec.is_over(now) => AccountStatus::Expired,
        (Lifecycle::Active, Lifecycle::Active) => AccountStatus::Active,
    };
    Ok(AccountView {
        account,
        status,
        token_expires_at: tokens.as_ref().and_then(|tokens| tokens.expires_at),
        last_error: tokens.and_then(|tokens| tokens.last_error),
    })
}

/// Whether a provider's tokens can be used.
fn of_tokens(tokens: Option<&ProviderTokenRow>, now: Timestamp) -> AccountStatus {
    let Some(tokens) = tokens else {
        return AccountStatus::NeedsConsent;
    };
    match tokens.state {
        ProviderState::Revoked | ProviderState::Revoking => AccountStatus::Revoked,
        ProviderState::Connected | ProviderState::Error if !tokens.is_usable(now) => AccountStatus::Expired,
        ProviderState::Connected => AccountStatus::Connected,
        ProviderState::Error => AccountStatus::Error,
    }
}

/// The digest of where a connection's credentials go, as it is stored and shown.
pub(super) fn fingerprint(connection: &Connection) -> String {
    hexadecimal(&destination_fingerprint(&connection.spec))
}
