//! What nouns refer to: that it is there, and what is said where it is not.

use crate::directory::view::View;
use crate::error::{Failure, Refusal};
use chancery_core::name::Name;
use chancery_core::noun::Noun;
use chancery_core::resource::ResourceSpec;
use chancery_core::scope::Authority;
use chancery_store::Stored;

/// Every scope of a ceiling is one of its resource.
pub(super) async fn check_ceiling(view: &View<'_>, ceiling: &Authority) -> Result<(), Failure> {
    for (name, scopes) in ceiling.iter() {
        let resource = view
            .spec::<ResourceSpec>(name)
            .await?
            .ok_or_else(|| missing(Noun::Resource, name))?;
        if !scopes.is_subset(&resource.all_scopes()) {
            return Err(invalid(&format!(
                "`ceiling` names a scope that resource `{name}` does not have"
            )));
        }
    }
    Ok(())
}

/// There is a noun of this kind with this name.
pub(super) async fn require<S: Stored>(view: &View<'_>, name: &Name) -> Result<(), Failure> {
    if view.has::<S>(name).await? {
        Ok(())
    } else {
        Err(missing(S::NOUN, name))
    }
}

/// What is referred to is not there.
pub(super) fn missing(noun: Noun, name: &Name) -> Failure {
    Refusal::NotFound {
        noun,
        name: name.to_string(),
    }
    .into()
}

/// What was sent cannot be.
pub(super) fn invalid(text: &str) -> Failure {
    Refusal::Invalid(text.to_owned()).into()
}
