//! Ends of calls on their way into the log. They are gathered for a moment and committed together, so that an end
//! is never a sync of its own in the way of the next decision.
//!
//! What is gathered when the process is killed is lost, as is an end whose call was under way then: a decision
//! without an end says that the end is not known.

use crate::app::App;
use crate::error::Failure;
use chancery_store::Statement;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Ends that wait to be recorded.
#[derive(Debug, Default)]
pub struct Ends(Mutex<Vec<Statement>>);

impl Ends {
    /// Puts an end with the others that wait. The first of them sets the moment when all are recorded.
    pub fn add(app: &Arc<App>, end: Statement) {
        let waiting = {
            let mut ends = app.gateway.ends.lock();
            ends.push(end);
            ends.len()
        };
        if waiting == 1 {
            let app = app.clone();
            tokio::spawn(async move {
                tokio::time::sleep(GATHERED_FOR).await;
                record(&app).await;
            });
        } else if waiting >= MOST {
            let app = app.clone();
            tokio::spawn(async move { record(&app).await });
        }
    }

    fn take(&self) -> Vec<Statement> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Statement>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records every end that waits.
pub async fn record(app: &App) {
    let ends = app.gateway.ends.take();
    if ends.is_empty() {
        return;
    }
    let together = commit(app, ends.clone()).await;
    let Err(error) = together else { return };
    tracing::warn!(%error, ends = ends.len(), "ends of calls were not recorded together");
    // One that cannot be recorded does not take the others with it.
    for end in ends {
        if let Err(error) = commit(app, vec![end]).await {
            tracing::error!(%error, "the end of a call could not be recorded");
        }
    }
}

async fn commit(app: &App, ends: Vec<Statement>) -> Result<(), Failure> {
    let batch = app.batch(app.clock.now()).extend(ends);
    if app.commit(batch, &[]).await?.is_committed() {
        Ok(())
    } else {
        Err(Failure::Internal("an end is in the log already".to_owned()))
    }
}

const GATHERED_FOR: Duration = Duration::from_millis(50);
/// More are not kept waiting.
const MOST: usize = 256;
