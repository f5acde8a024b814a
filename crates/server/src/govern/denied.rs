//! Refused management requests are events: who asked for what, and which policies forbade it.

use crate::app::App;
use crate::error::Failure;
use crate::record;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::event::{Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::{EventId, Id as _};
use chancery_policy::manage::ManagementDenied;

/// Records a refusal. `asked` is the request in words.
///
/// # Errors
/// The database's.
pub async fn record_denied(
    app: &App,
    served: &Served,
    actor: Actor,
    (asked, denied): (&str, &ManagementDenied),
) -> Result<(), Failure> {
    let now = app.clock.now();
    let content = serde_json::json!({
        "request": asked, "action": denied.action, "noun": denied.what, "policies": denied.policies,
    });
    let event = Event {
        id: EventId::generate(now, &*app.random),
        tenant: served.tenant.id,
        time: now,
        kind: EventKind::ManagementDenied,
        outcome: EventOutcome::Denied,
        actor,
        ids: Vec::new(),
        decision: None,
        parts: vec![Part {
            name: "request",
            class: PartClass::Operational,
            content: content.to_string(),
        }],
    };
    let statement = record::statement(served.keys.seal(), &event, &*app.random)?;
    let _ = app.commit(app.batch(now).push(statement), &[]).await?;
    Ok(())
}
