//! Consent for an exchange: an agent that holds a person's token asked for something that no grant covers, and was told
//! to send the person here (`consent_required`). The question is rebuilt from the decision that refused it; the answer is a grant, and the
//! agent asks again. Nothing is sent to anybody.
//!
//! Not for a chain of agents: what a later agent lacks is granted to the first, which did not ask.

use super::authorize::asserted;
use super::consent::{Allowed, chosen, grant};
use super::offer::{self, Asked, Offer, OfferError};
use super::session::SignedIn;
use crate::app::App;
use crate::error::{Failure, Refusal};
use crate::govern::why;
use crate::issue::arrival::{Arrival, Source};
use crate::tenants::Served;
use chancery_core::decision::{Decision, DenyReason};
use chancery_core::id::DecisionId;
use chancery_core::time::{Timestamp, Ttl};
use chancery_core::uri::ResourceUri;
use chancery_oauth::authentication::ClientFacts;
use chancery_store::Outcome;

/// What an agent lacks, and what may be offered of it.
#[derive(Debug)]
pub struct Lack {
    /// The client that asked.
    pub client: ClientFacts,
    /// Where, if at one resource.
    pub resource: Option<ResourceUri>,
    /// What may be offered.
    pub offer: Offer,
}

/// The question behind a decision.
///
/// # Errors
/// A decision about another person is as unknown as one that was not refused for want of a grant.
pub async fn load(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    id: DecisionId,
    now: Timestamp,
) -> Result<Lack, OfferError> {
    let decision = why::stored(app, served, id).await?.ok_or_else(gone)?;
    if !concerns(&decision, signed_in, now) {
        return Err(gone().into());
    }
    let facts = &decision.facts;
    let named = app
        .directory
        .clients
        .find_by_name(served.tenant.id, &facts.client)
        .await?;
    let named = named.ok_or_else(gone)?;
    // A client with a metadata document goes by its URL.
    let client_id = named
        .spec
        .metadata_uri
        .clone()
        .unwrap_or_else(|| named.id.to_string());
    let arrival = Arrival {
        now,
        // Not known here, and looked at only where a client's document is read again.
        source: Source::Others,
    };
    let client = offer::client(app, served, &client_id, arrival).await?;
    if client.agent.name != facts.agent.name {
        return Err(gone().into());
    }
    let resource = match &facts.resource {
        Some(resource) => {
            let found = app
                .directory
                .resources
                .find_by_name(served.tenant.id, &resource.name)
                .await?;
            Some(found.ok_or_else(gone)?.spec.uri.clone())
        }
        None => None,
    };
    let words = decision.rows.iter().map(|row| match &resource {
        Some(_) => row.scope.to_string(),
        None => format!("{}:{}", row.resource, row.scope),
    });
    let scope = words.collect::<Vec<_>>().join(" ");
    let asked = Asked {
        client: &client,
        resource: resource.as_ref(),
        scope: Some(&scope),
        details: None,
    };
    let offer = offer::offer(app, served, signed_in, asked, now).await?;
    Ok(Lack {
        client,
        resource,
        offer,
    })
}

fn concerns(decision: &Decision, signed_in: &SignedIn, now: Timestamp) -> bool {
    let facts = &decision.facts;
    decision.reason == Some(DenyReason::ConsentRequired)
        && facts
            .user
            .as_ref()
            .is_some_and(|user| user.name == signed_in.user.name)
        && facts.chain.len() <= 1
        && now.since(facts.now) < OPEN
}

/// Grants what the person left.
///
/// # Errors
/// As [`load`]; a fact that changed.
pub async fn allow(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    (id, allowed): (DecisionId, &Allowed),
    now: Timestamp,
) -> Result<(), OfferError> {
    let lack = load(app, served, signed_in, id, now).await?;
    let chosen = chosen(&lack.offer, allowed)?;
    let mut batch = app.batch(now);
    for guard in asserted(served, &lack.offer.guards) {
        batch = batch.guard(guard);
    }
    let mut changed = Vec::new();
    for (resource, scopes) in chosen.iter() {
        let about = (&lack.client, &lack.offer, resource, scopes);
        let work = grant(app, served, signed_in, about, allowed, now)?;
        batch = batch.extend(work.statements);
        changed.extend(work.changed);
    }
    match app.commit(batch, &changed).await? {
        Outcome::Committed => Ok(()),
        Outcome::Refused { .. } => Err(Failure::Stale("what was asked changed meanwhile; try again").into()),
    }
}

fn gone() -> Failure {
    Refusal::Invalid("this request is over, or is not yours".to_owned()).into()
}

/// How long after the refusal the person can still agree.
const OPEN: Ttl = Ttl::from_days(1);
