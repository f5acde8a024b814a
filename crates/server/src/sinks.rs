//! Where signed checkpoints go besides the database, so that a rewritten database can be found out.
//!
//! A file takes every note. A URL takes the newest: it is posted until it is taken, each time a little later, and a
//! newer note takes the place of one that waits, since it covers it.

use crate::egress::{Destination, Egress, UrlSource};
use chancery_core::id::TenantId;
use chancery_core::tenant::Tenant;
use chancery_core::time::{Timestamp, Ttl};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The sinks of this node. With none, verification says `unwitnessed`.
#[derive(Debug)]
pub struct Sinks {
    file: Option<PathBuf>,
    url: Option<String>,
    egress: Arc<Egress>,
    waiting: Mutex<HashMap<TenantId, Waiting>>,
    /// Generation and size of the newest note that this node has signed.
    signed: Mutex<HashMap<TenantId, (u64, u64)>>,
}

/// A note that the URL has not taken yet.
#[derive(Clone, Debug)]
struct Waiting {
    note: String,
    since: Timestamp,
    next_try: Timestamp,
    /// Zero until a try has failed.
    pause: Ttl,
}

impl Sinks {
    /// A file that every note is appended to, and a URL that it is posted to as `text/plain`.
    pub fn new(file: Option<PathBuf>, url: Option<String>, egress: Arc<Egress>) -> Self {
        Self {
            file,
            url,
            egress,
            waiting: Mutex::default(),
            signed: Mutex::default(),
        }
    }

    /// This node has signed a note over so many entries of a generation.
    pub fn signed(&self, tenant: TenantId, place: (u64, u64)) {
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = signed.entry(tenant).or_default();
        *newest = place.max(*newest);
    }

    /// Whether this node has signed a note beyond this one.
    pub fn has_signed_beyond(&self, tenant: TenantId, place: (u64, u64)) -> bool {
        let signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        signed.get(&tenant).is_some_and(|newest| *newest > place)
    }

    /// The file that notes are appended to.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Hands a note to every sink. A file that fails is logged: the next note covers the lost one.
    pub async fn publish(&self, tenant: &Tenant, note: &str, now: Timestamp) {
        if let Some(path) = &self.file
            && let Err(error) = append(path, note).await
        {
            tracing::error!(%error, tenant = %tenant.name, path = %path.display(), "a checkpoint could not be written");
        }
        if self.url.is_some() {
            let fresh = Waiting {
                note: String::new(),
                since: now,
                next_try: now,
                pause: Ttl::ZERO,
            };
            note.clone_into(&mut self.waiting().entry(tenant.id).or_insert(fresh).note);
        }
    }

    /// Posts what waits and whose time has come.
    pub async fn deliver(&self, now: Timestamp) {
        let Some(url) = &self.url else { return };
        let is_due = |(_, waiting): &(&TenantId, &Waiting)| waiting.next_try <= now;
        let due: Vec<(TenantId, String)> = self
            .waiting()
            .iter()
            .filter(is_due)
            .map(|(tenant, waiting)| (*tenant, waiting.note.clone()))
            .collect();
        for (tenant, note) in due {
            let is_taken = self.post(tenant, url, &note).await;
            self.settle(tenant, &note, is_taken, now);
        }
    }

    /// Since when the URL has not taken a note of this tenant, if a try has failed.
    pub fn behind_since(&self, tenant: TenantId) -> Option<Timestamp> {
        let waiting = self.waiting();
        let behind = waiting.get(&tenant).filter(|waiting| waiting.pause > Ttl::ZERO);
        behind.map(|waiting| waiting.since)
    }

    /// Whether any sink is configured.
    pub fn is_empty(&self) -> bool {
        self.file.is_none() && self.url.is_none()
    }

    async fn post(&self, tenant: TenantId, url: &str, note: &str) -> bool {
        let destination = Destination {
            tenant: None,
            source: UrlSource::Configured,
            url,
        };
        match self.egress.post_text(destination, note).await {
            Ok(status) if status.is_success() => return true,
            Ok(status) => {
                tracing::error!(status = status.as_u16(), %tenant, url, "a checkpoint was refused");
            }
            Err(error) => tracing::error!(%error, %tenant, url, "a checkpoint could not be posted"),
        }
        false
    }

    fn settle(&self, tenant: TenantId, note: &str, is_taken: bool, now: Timestamp) {
        let mut all = self.waiting();
        let Some(waiting) = all.get_mut(&tenant) else {
            return;
        };
        if is_taken && waiting.note == note {
            all.remove(&tenant);
        } else if is_taken {
            // A newer note came meanwhile.
            (waiting.since, waiting.next_try, waiting.pause) = (now, now, Ttl::ZERO);
        } else {
            waiting.pause = next_pause(waiting.pause);
            waiting.next_try = now.plus(waiting.pause);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<TenantId, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Doubles, from one second to a minute.
fn next_pause(pause: Ttl) -> Ttl {
    Ttl::from_seconds(pause.as_seconds() * 2)
        .max(SHORTEST)
        .min(LONGEST)
}

async fn append(path: &Path, note: &str) -> std::io::Result<()> {
    use tokio::io::AsyncWriteExt as _;
    let mut file = tokio::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .await?;
    file.write_all(note.as_bytes()).await?;
    file.write_all(b"\n").await?;
    file.sync_data().await
}

const SHORTEST: Ttl = Ttl::from_seconds(1);
const LONGEST: Ttl = Ttl::from_minutes(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_that_fails_is_tried_less_and_less_often_but_always_again() {
        let mut pauses = Vec::new();
        let mut pause = Ttl::ZERO;
        for _ in 0..9 {
            pause = next_pause(pause);
            pauses.push(pause.as_seconds());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }
}
