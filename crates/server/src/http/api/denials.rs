//! Refused management requests are recorded: who asked for what, and which policies forbade it.

use crate::app::App;
use crate::govern::denied::record_denied;
use crate::http::error::DeniedManagement;
use crate::http::tenant::RequestTenant;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use chancery_core::actor::Actor;
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
    match record_denied(&app, &served, actor, (&asked, &denied)).await {
        Ok(()) => response,
        Err(failure) => failure.into_response(),
    }
}
