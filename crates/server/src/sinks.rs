//! Where signed checkpoints go besides the database, so that a rewritten database can be found out.

use crate::egress::{Destination, Egress, UrlSource};
use chancery_core::tenant::Tenant;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The sinks of this node. With none, verification says `unwitnessed`.
#[derive(Debug)]
pub struct Sinks {
    /// A file to which every note is appended.
    pub file: Option<PathBuf>,
    /// A URL to which every note is posted as `text/plain`.
    pub url: Option<String>,
    /// The way out.
    pub egress: Arc<Egress>,
}

impl Sinks {
    /// Hands a note to every sink. A sink that fails is logged: the next note covers the lost one.
    pub async fn publish(&self, tenant: &Tenant, note: &str) {
        if let Some(path) = &self.file
            && let Err(error) = append(path, note).await
        {
            tracing::error!(%error, tenant = %tenant.name, path = %path.display(), "a checkpoint could not be written");
        }
        if let Some(url) = &self.url {
            self.post(tenant, url, note).await;
        }
    }

    /// Whether any sink is configured.
    pub fn is_empty(&self) -> bool {
        self.file.is_none() && self.url.is_none()
    }

    async fn post(&self, tenant: &Tenant, url: &str, note: &str) {
        let destination = Destination {
            tenant: None,
            source: UrlSource::Configured,
            url,
        };
        match self.egress.post_text(destination, note).await {
            Ok(status) if status.is_success() => {}
            Ok(status) => {
                tracing::error!(status = status.as_u16(), tenant = %tenant.name, url, "a checkpoint was refused");
            }
            Err(error) => {
                tracing::error!(%error, tenant = %tenant.name, url, "a checkpoint could not be posted");
            }
        }
    }
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
