//! Revocation of one token by the client that holds it (RFC 7009).

use crate::app::App;
use crate::error::Failure;
use crate::issue::arrival::{Arrival, Source};
use crate::issue::{authenticate, own, refresh, token};
use crate::record;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::event::{Event, EventKind, EventOutcome};
use chancery_core::id::{EventId, Id as _};
use chancery_oauth::request::revocation::RevocationRequest;
use chancery_store::change::{self, Changed};
use chancery_store::{Outcome, consumed};

/// Revokes a token. Unknown tokens and those of other clients are ignored: the caller learns nothing.
///
/// # Errors
/// The OAuth error, or why this node cannot answer.
pub async fn revoke(
    app: &App,
    served: &Served,
    request: &RevocationRequest,
    source: Source,
) -> Result<(), Failure> {
    let now = app.serving_now()?;
    let arrival = Arrival { now, source };
    let tenant = served.tenant.id;
    let client = authenticate::client(app, served, &request.client, arrival).await?;
    let mut batch = app.batch(now).extend(
        client
            .single_use()
            .map(|single_use| token::consume(tenant, single_use)),
    );
    let mut changed = Vec::new();
    if let Some(family) = refresh::of_client(app, served, &client, &request.token).await? {
        let (statements, news) = refresh::given_up(app, served, &client, &family, now)?;
        batch = batch.extend(statements);
        changed.push((tenant, news));
    }
    let found = own::verify(app, served, request.token.expose_secret(), now);
    if let Some(token) = found.filter(|token| token.client == client.client().id) {
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
            ids: vec![("token", token.id.to_string())],
            decision: None,
            parts: Vec::new(),
        };
        batch = batch
            .push(change::revoke_token(tenant, token.id, token.expires_at))
            .push(change::insert_token(tenant, token.id, now))
            .push(record::statement(served.keys.seal(), &event, &*app.random)?);
        changed.push((tenant, Changed::Token(token.id)));
    }
    match app.commit(batch, &changed).await? {
        Outcome::Refused {
            label: consumed::REPLAYED,
            ..
        } => Err(authenticate::replayed(app, served, &client, arrival)
            .await?
            .into()),
        Outcome::Committed | Outcome::Refused { .. } => Ok(()),
    }
}
