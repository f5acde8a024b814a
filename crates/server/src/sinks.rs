//! Where signed checkpoints go besides the database, so that a rewritten database can be found out.

use chancery_core::tenant::Tenant;
use std::path::PathBuf;

/// The sinks of this node. With none, verification says `unwitnessed`.
#[derive(Debug, Default)]
pub struct Sinks {
    /// A file to which every note is appended.
    pub file: Option<PathBuf>,
}

impl Sinks {
    /// Hands a note to every sink. A sink that fails is logged: the next note covers the lost one.
    pub async fn publish(&self, tenant: &Tenant, note: &str) {
        let Some(path) = &self.file else { return };
        if let Err(error) = append(path, note).await {
            tracing::error!(%error, tenant = %tenant.name, path = %path.display(), "the checkpoint could not be written");
        }
    }

    /// Whether any sink is configured.
    pub fn is_empty(&self) -> bool {
        self.file.is_none()
    }
}

async fn append(path: &std::path::Path, note: &str) -> std::io::Result<()> {
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
