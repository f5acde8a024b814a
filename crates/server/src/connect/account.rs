//! Looking at connected accounts: what is stored, and whether it can be used now.

use crate::app::App;
use crate::connect::{destination_fingerprint, hexadecimal};
use crate::directory::change::{self, Caller};
use crate::directory::managed::Managed as _;
use crate::error::Failure;
use crate::tenants::Served;
use chancery_core::connected_account::{ConnectedAccount, ConnectedAccountSpec};
use chancery_core::noun::{Lifecycle, Noun};
use chancery_core::time::Timestamp;
use chancery_policy::ManagementAction;
use chancery_store::Page;
use serde::Serialize;

/// Whether an account can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    /// It can.
    Active,
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
    let (state, fingerprint) = connection.map_or((Lifecycle::Retired, String::new()), |connection| {
        (
            connection.state,
            hexadecimal(&destination_fingerprint(&connection.spec)),
        )
    });
    let status = match (account.state, state) {
        (Lifecycle::Retired, _) | (_, Lifecycle::Retired) => AccountStatus::Retired,
        (Lifecycle::Suspended | Lifecycle::Staged, _) | (_, Lifecycle::Suspended | Lifecycle::Staged) => {
            AccountStatus::Suspended
        }
        (Lifecycle::Active, Lifecycle::Active) if account.spec.fingerprint != fingerprint => {
            AccountStatus::NeedsConsent
        }
        (Lifecycle::Active, Lifecycle::Active) if account.spec.is_over(now) => AccountStatus::Expired,
        (Lifecycle::Active, Lifecycle::Active) => AccountStatus::Active,
    };
    Ok(AccountView { account, status })
}
