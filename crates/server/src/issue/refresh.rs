//! Refresh tokens (RFC 6749 §6, RFC 9700 §2.2.2). Each names its family and its place in the line, under a MAC of the
//! tenant's: successors are derived, so that a client whose reply was lost gets the same one again. Any other use of
//! one that has a successor ends the family.
//!
//! Only public clients get successors: the token of a confidential client is bound to its proof.

use super::agreement::{INVALID, Redeemed};
use super::reuse::{end, ended};
use crate::app::App;
use crate::directory::lineage;
use crate::error::Failure;
use crate::people::code::digest;
use crate::record as audit;
use crate::tenants::Served;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery_core::actor::Actor;
use chancery_core::assurance::AgentAssurance;
use chancery_core::client::ClientGrant;
use chancery_core::event::{Event, EventKind, EventOutcome};
use chancery_core::id::{EventId, Id as _, TokenFamilyId};
use chancery_core::lineage::Guard;
use chancery_core::noun::Noun;
use chancery_core::secret::Secret;
use chancery_core::time::{Timestamp, Ttl};
use chancery_core::token_family::TokenFamily;
use chancery_oauth::authentication::{AuthenticatedClient, link};
use chancery_store::Statement;
use chancery_store::authorization::end_family;
use chancery_store::change::{self as feed, Changed};
use chancery_store::refresh_token::{self as store, RefreshLine};
use std::sync::Arc;

/// Statements of a batch.
pub(super) type Redeeming = Vec<Statement>;

/// The first refresh token of a family, if the client gets one: it asked to go on in the person's absence, or is
/// registered for it by name.
pub(super) fn begin(
    served: &Served,
    client: &AuthenticatedClient,
    family: &TokenFamily,
    now: Timestamp,
) -> Option<(Secret<String>, Statement)> {
    let token = first(served, client, family)?;
    let line = RefreshLine {
        position: 0,
        digest: digest(token.expose_secret()),
        previous: None,
        rotated_at: now,
        expires_at: family.spec.expires_at,
    };
    let statement = store::insert(served.tenant.id, family.id, &line);
    Some((token, statement))
}

/// The first refresh token of a family, if there is one.
pub(super) fn first(
    served: &Served,
    client: &AuthenticatedClient,
    family: &TokenFamily,
) -> Option<Secret<String>> {
    let spec = &client.client().spec;
    let is_registered = spec.grant_types.contains(&ClientGrant::RefreshToken);
    let gets_one = spec.may_use(ClientGrant::RefreshToken) && (family.spec.is_offline || is_registered);
    gets_one.then(|| derived(served, family.id, 0))
}

/// Redeems a refresh token.
pub(super) async fn by_token(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    presented: &Secret<String>,
    now: Timestamp,
) -> Result<(Redeemed, Vec<Guard>), Failure> {
    let tenant = served.tenant.id;
    let id = genuine(served, presented.expose_secret()).ok_or(INVALID)?;
    let family = app.directory.families.find(tenant, id).await?.ok_or(INVALID)?;
    let line = store::find(&app.db, tenant, id).await?.ok_or(INVALID)?;
    if family.spec.client != client.client().id || now >= line.expires_at {
        return Err(INVALID.into());
    }
    let mut hangs_on = family.spec.lineage.clone();
    hangs_on.push(link(Noun::TokenFamily, &family));
    let relied = lineage::check(app, tenant, &hangs_on).await?.ok_or(INVALID)?;

    let shown = digest(presented.expose_secret());
    let mut redeemed = Redeemed {
        family: family.clone(),
        nonce: None,
        id_token_for: None,
        refresh_token: None,
        statements: Vec::new(),
        changed: Vec::new(),
        instead: Vec::new(),
    };
    if shown == line.digest {
        if client.assurance() == AgentAssurance::Claimed {
            let successor = derived(served, id, line.position + 1);
            let new = digest(successor.expose_secret());
            redeemed
                .statements
                .push(store::rotate(tenant, id, (&shown, &new), now));
            redeemed.refresh_token = Some(successor);
        }
        return Ok((redeemed, relied));
    }
    if line.previous == Some(shown) && now.since(line.rotated_at) <= LOST_REPLY {
        // The reply was lost: the same successor again, and nothing moves.
        let successor = derived(served, id, line.position);
        if digest(successor.expose_secret()) == line.digest {
            redeemed.refresh_token = Some(successor);
            return Ok((redeemed, relied));
        }
    }
    // SECURITY: it is genuine and has a successor, so that two parties have it. Nobody knows which is the client.
    let statements = ended(app, served, client, id, now)?;
    end(app, served, id, statements, now).await?;
    Err(INVALID.into())
}

/// The family of a refresh token that we made, present or not. Whoever only knows the family's id, which stands in
/// tokens, cannot end it.
pub(super) fn genuine(served: &Served, token: &str) -> Option<TokenFamilyId> {
    let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
    let (family, rest) = bytes.split_first_chunk::<16>()?;
    let (position, tag) = rest.split_first_chunk::<8>()?;
    let is_ours = tag.len() == 32
        && served
            .keys
            .is_refresh_tag(&[family.as_slice(), position].concat(), tag);
    is_ours.then(|| TokenFamilyId::from_bytes(*family))
}

fn derived(served: &Served, family: TokenFamilyId, position: u64) -> Secret<String> {
    let message = [family.as_bytes().as_slice(), &position.to_be_bytes()].concat();
    let tag = served.keys.refresh_tag(&message);
    Secret::new(format!(
        "{PREFIX}{}",
        URL_SAFE_NO_PAD.encode([message, tag].concat())
    ))
}

/// The family of a refresh token, if it is this client's.
///
/// # Errors
/// The database's.
pub(super) async fn of_client(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    token: &Secret<String>,
) -> Result<Option<Arc<TokenFamily>>, Failure> {
    let Some(id) = genuine(served, token.expose_secret()) else {
        return Ok(None);
    };
    let family = app.directory.families.find(served.tenant.id, id).await?;
    Ok(family.filter(|family| family.spec.client == client.client().id && family.state.is_active()))
}

/// What ends a family that its client gives up (RFC 7009 §2.1), with its record.
///
/// # Errors
/// The record does not fit an event.
pub(super) fn given_up(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    family: &TokenFamily,
    now: Timestamp,
) -> Result<(Vec<Statement>, Changed), Failure> {
    let tenant = served.tenant.id;
    let event = Event {
        id: EventId::generate(now, &*app.random),
        tenant,
        time: now,
        kind: EventKind::TokenRevoked,
        outcome: EventOutcome::Ok,
        actor: Actor::Agent {
            agent: client.agent().id,
            client: client.client().id,
            user: None,
        },
        ids: vec![("token", family.id.to_string())],
        decision: None,
        parts: Vec::new(),
    };
    let id = *family.id.as_bytes();
    let generation = family.generation + 1;
    let statements = vec![
        end_family(tenant, family.id, now),
        feed::insert(tenant, Noun::TokenFamily, id, generation, now),
        audit::statement(served.keys.seal(), &event, &*app.random)?,
    ];
    let news = Changed::Noun {
        noun: Noun::TokenFamily,
        id,
        generation,
    };
    Ok((statements, news))
}

/// How long after its successor came a client may still send a token again.
const LOST_REPLY: Ttl = Ttl::from_seconds(30);
const PREFIX: &str = "crt_";
