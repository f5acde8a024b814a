//! Listings as the caller may see them: what policy would deny whatever the arguments, what is not mapped, and what
//! stands in quarantine is left out. What only needs another scope stays, so that a client can ask for it.

use crate::app::App;
use crate::error::Failure;
use crate::gateway::caller::Caller;
use crate::gateway::manifest::{self, Manifest};
use crate::gateway::proposal::propose;
use crate::gateway::target;
use crate::tenants::Served;
use chancery_core::proposal::Facts;
use chancery_core::scope::Authority;
use chancery_core::time::Timestamp;
use chancery_mcp::list;
use chancery_mcp::method::Listing;
use chancery_policy::visible;
use std::collections::HashSet;

/// How a listing is filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Which listing.
    pub listing: Listing,
    /// Whether the result must say that it is for this caller alone (2026-07-28).
    pub is_private: bool,
}

impl Filter {
    /// Notes what the server shows, and leaves out what the caller may not see. `None` if nothing changes.
    ///
    /// # Errors
    /// The listing cannot be read; the database's.
    pub async fn apply(
        &self,
        app: &App,
        served: &Served,
        caller: &Caller,
        text: &str,
        now: Timestamp,
    ) -> Result<Option<String>, Failure> {
        let bytes = text.as_bytes();
        let manifest = manifest::observe(app, served, &caller.resource, self.listing, bytes, now).await?;
        let mut shown = HashSet::new();
        for item in list::items(self.listing, bytes).map_err(Failure::internal)? {
            if is_shown(app, served, caller, &manifest, (self.listing, &item.key), now).await? {
                shown.insert(item.key);
            }
        }
        let filtered = list::filter(self.listing, bytes, self.is_private, |item| {
            shown.contains(&item.key)
        })
        .map_err(Failure::internal)?;
        Ok(match filtered.body {
            std::borrow::Cow::Borrowed(_) => None,
            std::borrow::Cow::Owned(body) => Some(body),
        })
    }
}

/// Whether a caller may know of one thing.
///
/// # Errors
/// The database's.
pub async fn is_shown(
    app: &App,
    served: &Served,
    caller: &Caller,
    manifest: &Manifest,
    (listing, key): (Listing, &str),
    now: Timestamp,
) -> Result<bool, Failure> {
    let wanted = target::listed(&caller.resource.spec, manifest, listing, key);
    if wanted.obstacle.is_some() || wanted.scopes.is_none() {
        return Ok(false);
    }
    let mut proposal = propose(app, served, caller, wanted, now).await?;
    curable(&mut proposal.facts, caller);
    Ok(visible(&served.policy.set, &proposal.facts))
}

/// Takes out of the facts what is no definite limit: a client may ask for more scopes, and a person may connect an
/// account or grant its use. Those calls stay in the list, and their refusal says what to do.
fn curable(facts: &mut Facts, caller: &Caller) {
    let all = caller.resource.spec.all_scopes();
    facts.limits.parent = Some(Authority::at(caller.resource.name.clone(), all));
    if let Some(connection) = facts.call.as_mut().and_then(|call| call.connection.as_mut()) {
        connection.granted = true;
        if connection.needs_account && connection.account_owner.is_none() {
            connection.account_owner = Some(connection.owner_level.as_str().to_owned());
        }
    }
}
