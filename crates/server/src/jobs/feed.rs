//! Following the revocation feed: what other nodes changed is dropped from this node's caches.

use crate::app::App;
use crate::error::Failure;
use crate::jobs::freshness::MAX_SKEW;
use chancery_store::change::{self, Cursor};
use std::sync::Mutex;

/// How far this node has read.
#[derive(Debug, Default)]
pub struct FeedPosition(Mutex<Cursor>);

impl FeedPosition {
    /// Starts at a cursor.
    pub fn new(cursor: Cursor) -> Self {
        Self(Mutex::new(cursor))
    }

    fn read(&self) -> Result<Cursor, Failure> {
        self.0
            .lock()
            .map(|cursor| *cursor)
            .map_err(|_| Failure::Stale("the feed's position is unusable"))
    }

    fn write(&self, cursor: Cursor) {
        if let Ok(mut place) = self.0.lock() {
            *place = cursor;
        }
    }
}

/// Reads the feed once: applies every change and renews the freshness lease.
///
/// # Errors
/// The database's; then the lease is not renewed.
pub async fn follow(app: &App) -> Result<(), Failure> {
    let began = app.clock.now();
    let database = app.db.now().await?;
    let skew = began.since(database).max(database.since(app.clock.now()));
    app.freshness
        .set_clock_is_off(app.checks_clock && skew > MAX_SKEW);
    if app.freshness.has_lapsed(began) {
        app.directory.forget_all();
    }
    let cursor = app.feed.read()?;
    let (changes, next) = change::since(&app.db, cursor).await?;
    for change in &changes {
        app.apply(change.tenant, &change.subject).await?;
    }
    app.feed.write(next);
    app.freshness.renew(began);
    Ok(())
}

pub(super) async fn follow_logged(app: &App) {
    if let Err(error) = follow(app).await {
        tracing::error!(%error, "the revocation feed could not be read");
    }
}
