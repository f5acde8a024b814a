//! Somebody's passkeys, for those who answer for accounts: which there are, and an end to one that was lost. Nothing here
//! adds one: only its owner can.

use super::passkey as own;
use crate::app::App;
use crate::directory::change::{self, Caller, Work};
use crate::error::{Failure, Refusal};
use crate::record;
use crate::tenants::Served;
use chancery_core::event::{Change, Event, EventKind, EventOutcome};
use chancery_core::id::{EventId, Id as _, PasskeyId, UserId};
use chancery_core::noun::Noun;
use chancery_core::time::Timestamp;
use chancery_core::user::UserSpec;
use chancery_policy::ManagementAction;
use chancery_store::{Statement, passkey as store};
use serde::Serialize;

/// What is said of a passkey: nothing that helps to use it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PasskeyView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: PasskeyId,
    /// What its owner calls it.
    pub name: String,
    /// Whether it signs its owner in; any says yes.
    pub signs_in: bool,
    /// When it was registered.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it was last used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub used_at: Option<Timestamp>,
}

/// Passkeys of a person, the oldest first.
///
/// # Errors
/// No such person; policy's refusal; the database's.
pub async fn list(
    app: &App,
    served: &Served,
    caller: &Caller,
    named: &str,
) -> Result<Vec<PasskeyView>, Failure> {
    change::permit(served, caller, ManagementAction::View, (Noun::User, named, None))?;
    let user = change::load::<UserSpec>(app, served.tenant.id, named).await?;
    let rows = own::list(app, served, user.id).await?;
    let view = |row: store::PasskeyRow| PasskeyView {
        id: row.id,
        name: row.name,
        signs_in: row.signs_in,
        created_at: row.created_at,
        used_at: row.used_at,
    };
    Ok(rows.into_iter().map(view).collect())
}

/// Removes a passkey of a person. Everything that hangs on the person ends with it, since it may be in other hands.
///
/// # Errors
/// No such person or passkey; policy's refusal; the database's.
pub async fn remove(
    app: &App,
    served: &Served,
    caller: &Caller,
    (named, id): (&str, PasskeyId),
) -> Result<(), Failure> {
    let tenant = served.tenant.id;
    let user = change::load::<UserSpec>(app, tenant, named).await?;
    let (name, person) = (user.name.clone(), user.id);
    let (_, work) = change::plan_step::<UserSpec>(app, served, caller, user, Change::SecretReset)?;
    if !own::list(app, served, person)
        .await?
        .iter()
        .any(|row| row.id == id)
    {
        let unknown = Refusal::Unknown {
            what: "passkey",
            name: id.to_string(),
        };
        return Err(unknown.into());
    }
    let statements = vec![
        store::remove(tenant, person, id),
        removed(app, served, caller, (person, id))?,
    ];
    let mut all = Work::on((Noun::User, &name), statements, Vec::new());
    all.extend(work);
    change::commit(app, caller, all).await
}

/// The record that somebody's passkey is gone.
///
/// # Errors
/// The event does not fit a leaf.
pub(super) fn removed(
    app: &App,
    served: &Served,
    caller: &Caller,
    (person, passkey): (UserId, PasskeyId),
) -> Result<Statement, Failure> {
    let event = Event {
        id: EventId::generate(caller.now, &*app.random),
        tenant: served.tenant.id,
        time: caller.now,
        kind: EventKind::PasskeyRemoved,
        outcome: EventOutcome::Ok,
        actor: caller.actor.clone(),
        ids: vec![("user", person.to_string()), ("passkey", passkey.to_string())],
        decision: None,
        parts: Vec::new(),
    };
    record::statement(served.keys.seal(), &event, &*app.random)
}
