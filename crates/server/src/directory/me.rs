//! Who the caller is, by the name that owns things: what `me` stands for where an owner is named.
//!
//! Somebody at the local socket is a user id of the machine and no person of the directory. Where exactly one
//! administrator is enrolled that is who `me` means; where there are several, the caller says which.

use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::error::Failure;
use crate::tenants::Served;
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun};
use chancery_core::user::{ADMINISTRATOR, UserSpec};
use chancery_policy::{ManagementAction, Manager};
use chancery_store::Page;
use serde::Serialize;

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Me {
    /// The caller, as the log calls them.
    pub actor: String,
    /// The person that `me` means, if that is clear.
    pub user: Option<Name>,
    /// The administrators among whom a caller at the local socket may be.
    pub administrators: Vec<Name>,
}

/// Who calls.
///
/// # Errors
/// Policy's refusal; the database's.
pub async fn me(app: &App, served: &Served, caller: &Caller) -> Result<Me, Failure> {
    let actor = caller.actor.to_string();
    let (user, administrators) = match &caller.manager {
        Manager::User { name, .. } => (Some(name.clone()), Vec::new()),
        Manager::Agent { .. } => (None, Vec::new()),
        Manager::Local => {
            change::permit(served, caller, ManagementAction::View, (Noun::User, "*", None))?;
            let found = administrators(app, served).await?;
            let only = match found.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            };
            (only, found)
        }
    };
    Ok(Me {
        actor,
        user,
        administrators,
    })
}

/// The first few people who administer the tenant.
async fn administrators(app: &App, served: &Served) -> Result<Vec<Name>, Failure> {
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = Page {
            after: &after,
            state: Some(Lifecycle::Active),
            limit: PAGE,
        };
        let users = chancery_store::record::list::<UserSpec>(&app.db, served.tenant.id, &page).await?;
        found.extend(
            users
                .iter()
                .filter(|user| user.spec.holds(ADMINISTRATOR))
                .map(|user| user.name.clone()),
        );
        match users.last() {
            Some(last) if users.len() == PAGE_LENGTH && found.len() < ENOUGH => {
                after = last.name.to_string();
            }
            Some(_) | None => break,
        }
    }
    found.truncate(ENOUGH);
    Ok(found)
}

const PAGE: u32 = 500;
const PAGE_LENGTH: usize = 500;

/// More need not be known: two are not one.
const ENOUGH: usize = 8;
