//! What a second use of a code, a device code or a refresh token ends: the family, and with it all that was issued on it
//! (RFC 6749 §4.1.2; RFC 9700 §2.2.2, §4.14.2).

use super::agreement::{INVALID, actor};
use super::refresh::Redeeming;
use crate::app::App;
use crate::error::Failure;
use crate::record as audit;
use crate::tenants::Served;
use chancery_core::event::{Event, EventKind, EventOutcome};
use chancery_core::id::{EventId, Id as _, TokenFamilyId};
use chancery_core::noun::Noun;
use chancery_core::time::Timestamp;
use chancery_oauth::authentication::AuthenticatedClient;
use chancery_store::authorization as store;
use chancery_store::change::{self as feed, Changed};

/// The answer to a code that was redeemed before: what was issued on it ends.
pub(super) async fn again<T>(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    family: TokenFamilyId,
    now: Timestamp,
) -> Result<T, Failure> {
    let statements = ended(app, served, client, family, now)?;
    end(app, served, family, statements, now).await?;
    Err(INVALID.into())
}

/// What ends a family, with its record.
pub(super) fn ended(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    family: TokenFamilyId,
    now: Timestamp,
) -> Result<Redeeming, Failure> {
    let tenant = served.tenant.id;
    let event = Event {
        id: EventId::generate(now, &*app.random),
        tenant,
        time: now,
        kind: EventKind::AgreementReused,
        outcome: EventOutcome::Denied,
        actor: actor(client),
        ids: vec![("token_family", family.to_string())],
        decision: None,
        parts: Vec::new(),
    };
    Ok(vec![
        store::end_family(tenant, family, now),
        feed::insert(tenant, Noun::TokenFamily, *family.as_bytes(), 1, now),
        audit::statement(served.keys.seal(), &event, &*app.random)?,
    ])
}

/// Ends a family now.
pub(super) async fn end(
    app: &App,
    served: &Served,
    family: TokenFamilyId,
    statements: Redeeming,
    now: Timestamp,
) -> Result<(), Failure> {
    tracing::warn!(%family, "a code or refresh token was used again; what was issued on it ends");
    let news = Changed::Noun {
        noun: Noun::TokenFamily,
        id: *family.as_bytes(),
        generation: 1,
    };
    let batch = app.batch(now).extend(statements);
    let _ = app.commit(batch, &[(served.tenant.id, news)]).await?;
    Ok(())
}
