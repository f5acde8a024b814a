//! Enrolment: the one-time code of the first start makes one person an administrator.

use crate::app::App;
use crate::error::{Failure, Refusal};
use crate::record as audit;
use crate::setup::sha256;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::event::{Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::{EventId, Id as _, UserId};
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun, Record};
use chancery_core::secret::{Secret, TokenDigest};
use chancery_core::time::Timestamp;
use chancery_core::user::{ADMINISTRATOR, LOCAL_ISSUER, User, UserSpec};
use chancery_store::change::{self as feed, Changed};
use chancery_store::{Outcome, enrolment, record};
use std::collections::{BTreeMap, BTreeSet};

/// Uses an enrolment code: makes a local account with the role administrator.
///
/// # Errors
/// A code that is unknown, used or over; a name that is taken.
pub async fn enrol(app: &App, served: &Served, code: &Secret<String>, name: Name) -> Result<User, Failure> {
    let now = app.serving_now()?;
    let tenant = served.tenant.id;
    let user = administrator(UserId::generate(now, &*app.random), name, now)?;
    let digest = TokenDigest::new(sha256(code.expose_secret().as_bytes()));
    let event = Event {
        id: EventId::generate(now, &*app.random),
        tenant,
        time: now,
        kind: EventKind::Enrolled,
        outcome: EventOutcome::Ok,
        actor: Actor::User(user.id),
        ids: vec![("user", user.id.to_string())],
        decision: None,
        parts: vec![Part {
            name: "state",
            class: PartClass::Personal,
            content: serde_json::to_string(&user).map_err(Failure::internal)?,
        }],
    };
    let id = *user.id.as_bytes();
    let batch = app
        .batch(now)
        .push(enrolment::consume(tenant, &digest, now))
        .push(record::insert(tenant, &user))
        .push(feed::insert(tenant, Noun::User, id, 0, now))
        .push(audit::statement(served.keys.seal(), &event, &*app.random)?);
    let changed = [(
        tenant,
        Changed::Noun {
            noun: Noun::User,
            id,
            generation: 0,
        },
    )];
    match app.commit(batch, &changed).await? {
        Outcome::Committed => Ok(user),
        Outcome::Refused { label: "exists", .. } => Err(Refusal::Exists {
            noun: Noun::User,
            name: user.name.to_string(),
        }
        .into()),
        Outcome::Refused { .. } => Err(Refusal::Invalid(
            "the enrolment code is unknown, used or over; `chancery recover` prints a new one".to_owned(),
        )
        .into()),
    }
}

/// A local account with the role administrator.
fn administrator(id: UserId, name: Name, now: Timestamp) -> Result<User, Failure> {
    let local: Name = LOCAL_ISSUER.parse().map_err(Failure::internal)?;
    let role: Name = ADMINISTRATOR.parse().map_err(Failure::internal)?;
    Ok(Record {
        id,
        state: Lifecycle::Active,
        generation: 0,
        version: 1,
        created_at: now,
        updated_at: now,
        spec: UserSpec {
            issuer: local,
            subject: name.to_string(),
            roles: BTreeSet::from([role]),
            groups: BTreeSet::new(),
            attributes: BTreeMap::new(),
            as_of: now,
        },
        name,
    })
}
