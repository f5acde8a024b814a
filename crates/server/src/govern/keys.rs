//! Rotation of the keys that sign access tokens and ID tokens: a new key is published first, signs later, and the old one
//! stays published until the last token that it signed has ended.

use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::error::{Failure, Refusal};
use crate::keys::{KeyState, KeyUse, PUBLISH_AFTER};
use crate::record as audit;
use crate::tenants::Served;
use chancery_core::actor::{Actor, SystemActor};
use chancery_core::event::{Event, EventKind, EventOutcome};
use chancery_core::id::{EventId, Id as _};
use chancery_core::noun::Noun;
use chancery_core::resource::TokenAlgorithm;
use chancery_core::time::Timestamp;
use chancery_policy::ManagementAction;
use chancery_store::change::{self as feed, Changed};
use chancery_store::{Statement, key};

/// Publishes a new key of a use and an algorithm. It starts to sign when every verifier can have learned of it.
///
/// # Errors
/// A key is already waiting; policy's refusal; the database's.
pub async fn rotate(
    app: &App,
    served: &Served,
    caller: &Caller,
    (signs, algorithm): (KeyUse, TokenAlgorithm),
) -> Result<String, Failure> {
    change::permit(
        served,
        caller,
        ManagementAction::RotateKey,
        (Noun::Tenant, served.tenant.name.as_str(), None),
    )?;
    let is_fixed = matches!(signs, KeyUse::IdToken | KeyUse::Federation);
    if is_fixed && algorithm != TokenAlgorithm::Rs256 {
        let text = "ID tokens and assertions to clouds are signed with RS256";
        return Err(Refusal::Invalid(text.to_owned()).into());
    }
    let waiting = served
        .keys
        .token_keys()
        .any(|(_, use_, of, state)| (use_, of, state) == (signs, algorithm, KeyState::Next));
    if waiting {
        return Err(Refusal::Invalid(
            "a new key of this use and algorithm is already published and will sign soon".to_owned(),
        )
        .into());
    }
    let state = if served.keys.has_active(signs, algorithm) {
        KeyState::Next
    } else {
        KeyState::Active
    };
    let row = served
        .keys
        .generate((signs, algorithm), state, caller.now, &*app.random)?;
    let kid = row.kid.clone();
    let insert = key::insert_signing_key(served.tenant.id, &row);
    commit(app, served, (&caller.actor, caller.now), vec![insert], &kid).await?;
    Ok(kid)
}

/// Makes the first key of each of these uses and algorithms.
///
/// # Errors
/// The database's.
pub async fn ensure(
    app: &App,
    served: &Served,
    missing: &[(KeyUse, TokenAlgorithm)],
    now: Timestamp,
) -> Result<(), Failure> {
    for wanted in missing {
        let row = served
            .keys
            .generate(*wanted, KeyState::Active, now, &*app.random)?;
        let insert = vec![key::insert_signing_key(served.tenant.id, &row)];
        let actor = Actor::System(SystemActor::KeyRotation);
        commit(app, served, (&actor, now), insert, &row.kid).await?;
    }
    Ok(())
}

/// Moves keys on whose time has come: a published one starts to sign and the one before retires.
///
/// # Errors
/// The database's.
pub async fn advance(app: &App, served: &Served, now: Timestamp) -> Result<(), Failure> {
    let tenant = served.tenant.id;
    let rows = key::load_signing_keys(&app.db, tenant).await?;
    for next in rows.iter().filter(|row| row.state == KeyState::Next.as_str()) {
        if next.created_at.plus(crate::keys::PUBLISH_AHEAD) > now {
            continue;
        }
        let is_old = |row: &&key::SigningKeyRow| {
            row.state == KeyState::Active.as_str()
                && row.algorithm == next.algorithm
                && row.purpose == next.purpose
        };
        let (active, retiring) = (KeyState::Active.as_str(), KeyState::Retiring.as_str());
        let mut statements: Vec<Statement> = rows
            .iter()
            .filter(is_old)
            .map(|old| {
                key::move_signing_key(tenant, &old.kid, active, retiring, Some(now.plus(PUBLISH_AFTER)))
            })
            .collect();
        statements.push(key::move_signing_key(
            tenant,
            &next.kid,
            KeyState::Next.as_str(),
            active,
            None,
        ));
        commit(
            app,
            served,
            (&Actor::System(SystemActor::KeyRotation), now),
            statements,
            &next.kid,
        )
        .await?;
    }
    let is_over = |row: &key::SigningKeyRow| row.retires_at.is_some_and(|end| end < now);
    if rows.iter().any(is_over) {
        let prune = key::prune_signing_keys(tenant, now);
        commit(
            app,
            served,
            (&Actor::System(SystemActor::KeyRotation), now),
            vec![prune],
            "retired",
        )
        .await?;
    }
    Ok(())
}

async fn commit(
    app: &App,
    served: &Served,
    (actor, now): (&Actor, Timestamp),
    statements: Vec<Statement>,
    kid: &str,
) -> Result<(), Failure> {
    let tenant = served.tenant.id;
    let event = Event {
        id: EventId::generate(now, &*app.random),
        tenant,
        time: now,
        kind: EventKind::KeyChanged,
        outcome: EventOutcome::Ok,
        actor: actor.clone(),
        ids: vec![("key", kid.to_owned())],
        decision: None,
        parts: Vec::new(),
    };
    let batch = app
        .batch(now)
        .guard(served.keys.assert_current())
        .extend(statements)
        .push(feed::insert_keys(tenant, now))
        .push(audit::statement(served.keys.seal(), &event, &*app.random)?);
    // Another node may have been first; then its change is what counts.
    let _ = app.commit(batch, &[(tenant, Changed::Keys)]).await?;
    Ok(())
}
