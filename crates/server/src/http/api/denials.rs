//! Refused management requests are recorded: who asked for what, and which policies forbade it.

use crate::app::App;
use crate::http::error::DeniedManagement;
use crate::http::tenant::RequestTenant;
use crate::record;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use chancery_core::actor::Actor;
use chancery_core::event::{Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::{EventId, Id as _};
use std::sync::{Arc, Mutex};

/// Who turned out to be calling, told by the extractor to the middleware.
#[derive(Clone, Debug, Default)]
pub struct CallerSeen(Arc<Mutex<Option<Actor>>>);

impl CallerSeen {
    /// Tells who calls.
    pub fn tell(&self, actor: &Actor) {
        if let Ok(mut place) = self.0.lock() {
            *place = Some(actor.clone());
        }
    }
}

/// Records a refusal of policy before it is answered. No audit, no answer.
pub async fn middleware(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let seen = CallerSeen::default();
    request.extensions_mut().insert(seen.clone());
    let tenant = request.extensions().get::<RequestTenant>().cloned();
    let asked = format!("{} {}", request.method(), request.uri().path());
    let response = next.run(request).await;
    let Some(DeniedManagement(denied)) = response.extensions().get::<DeniedManagement>().cloned() else {
        return response;
    };
    let actor = seen
        .0
        .lock()
        .ok()
        .and_then(|mut place| place.take())
        .unwrap_or(Actor::Unknown);
    let Some(RequestTenant(served)) = tenant else {
        return response;
    };
    let now = app.clock.now();
    let content = serde_json::json!({ "request": asked, "action": denied.action, "noun": denied.noun, "policies": denied.policies });
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
    let recorded = async {
        let statement = record::statement(served.keys.seal(), &event, &*app.random)?;
        app.commit(app.batch(now).push(statement), &[]).await
    };
    match recorded.await {
        Ok(_) => response,
        Err(failure) => failure.into_response(),
    }
}
