//! Looking up what a binding to a GitHub repository pins: ids, because names can be given up and taken by others.

use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::egress::{RepositoryIds, RepositoryName};
use crate::error::{Failure, Refusal};
use crate::tenants::Served;
use chancery_core::noun::Noun;
use chancery_policy::ManagementAction;

/// The immutable ids of a repository. Nothing is stored.
///
/// # Errors
/// Policy's refusal; [`Refusal::Repository`], with the way around it.
pub async fn ids(
    app: &App,
    served: &Served,
    caller: &Caller,
    repository: &str,
) -> Result<RepositoryIds, Failure> {
    // Who may not make a binding has no business making this server ask around.
    change::permit(
        served,
        caller,
        ManagementAction::Create,
        (Noun::RuntimeBinding, "*", None),
    )?;
    let refused = |error| Refusal::Repository {
        repository: repository.to_owned(),
        error,
    };
    let name: RepositoryName = repository.parse().map_err(refused)?;
    app.egress
        .find_repository(&served.tenant.name, &app.github_api, &name)
        .await
        .map_err(|error| refused(error).into())
}
