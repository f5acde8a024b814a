//! Tenants, as the system tenant manages them: it makes, stops and ends them, and can read none.

use crate::app::App;
use crate::directory::change::{self, Caller, Work};
use crate::error::{Failure, Refusal};
use crate::setup::{self, SYSTEM_TENANT};
use crate::tenants::Served;
use chancery_core::event::Change;
use chancery_core::name::Name;
use chancery_core::noun::Noun;
use chancery_core::tenant::{Tenant, TenantSpec};
use chancery_policy::ManagementAction;

/// Every tenant's record: name, base URL and state, nothing of what is inside.
///
/// # Errors
/// Asked outside the system tenant; policy's refusal; the database's.
pub async fn list(app: &App, served: &Served, caller: &Caller) -> Result<Vec<Tenant>, Failure> {
    require_system(served)?;
    change::permit(served, caller, ManagementAction::View, (Noun::Tenant, "*", None))?;
    Ok(chancery_store::all_tenants(&app.db).await?)
}

/// Makes a tenant.
///
/// # Errors
/// Asked outside the system tenant; policy's refusal; a name or base URL that is taken or breaks a rule.
pub async fn create(
    app: &App,
    served: &Served,
    caller: &Caller,
    (name, base_url): (&Name, Option<&str>),
) -> Result<Tenant, Failure> {
    require_system(served)?;
    change::permit(
        served,
        caller,
        ManagementAction::Create,
        (Noun::Tenant, name.as_str(), None),
    )?;
    setup::add_tenant(app, name, base_url, caller).await
}

/// Stops, resumes or ends a tenant. The event stands in the tenant's own log.
///
/// # Errors
/// Asked outside the system tenant, or about the system or default tenant; policy's refusal; the database's.
pub async fn step(
    app: &App,
    served: &Served,
    caller: &Caller,
    name: &str,
    step: Change,
) -> Result<Tenant, Failure> {
    require_system(served)?;
    if [SYSTEM_TENANT, setup::DEFAULT_TENANT].contains(&name) {
        return Err(Refusal::Invalid(format!(
            "the tenant `{name}` stays: the server cannot do without it"
        ))
        .into());
    }
    let missing = || Refusal::NotFound {
        noun: Noun::Tenant,
        name: name.to_owned(),
    };
    let target = app.tenants.find_by_name(name).ok_or_else(missing)?;
    // The system tenant's policies decide; the tenant's own have no say in whether it may be stopped.
    let action = match step {
        Change::Activated => ManagementAction::Activate,
        Change::Retired => ManagementAction::Retire,
        Change::Created | Change::Updated | Change::Suspended | Change::Killed | Change::SecretReset => {
            ManagementAction::Suspend
        }
    };
    change::permit(served, caller, action, (Noun::Tenant, name, None))?;
    let old = change::load::<TenantSpec>(app, target.tenant.id, name).await?;
    let (record, work): (Tenant, Work) = change::plan_step(app, &target, caller, old, step)?;
    change::commit(app, caller, work).await?;
    Ok(record)
}

fn require_system(served: &Served) -> Result<(), Failure> {
    if served.tenant.name.as_str() == SYSTEM_TENANT {
        return Ok(());
    }
    Err(Refusal::Invalid("tenants are managed in the system tenant: use `--tenant system`".to_owned()).into())
}
