//! The root key: from a file, made only beside an empty SQLite database.

use anyhow::{Context as _, bail};
use chancery_server::keys::RootKey;
use chancery_server::world::SystemRandom;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Reads the root key from its file, or makes the file if `may_create`.
///
/// # Errors
/// A missing file, one that others can read, or one without a key in it.
pub(crate) fn load(path: &Path, may_create: bool) -> anyhow::Result<RootKey> {
    match std::fs::metadata(path) {
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                bail!(
                    "the root key file `{}` can be read by others (mode {mode:o})\nhint: chmod 600 {0}",
                    path.display()
                );
            }
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("`{}` cannot be read", path.display()))?;
            RootKey::parse(text.trim()).with_context(|| format!("`{}` holds no root key", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && may_create => create(path),
        Err(error) => bail!(
            "the root key file `{}` cannot be used: {error}\nhint: give --root-key-file with the key that the data is \
             sealed under; for a new database on PostgreSQL make one: chancery vault root-key {0}",
            path.display()
        ),
    }
}

/// Makes a file with a new root key, which only its owner can read.
///
/// # Errors
/// A file that is there already, or cannot be written.
pub(crate) fn create(path: &Path) -> anyhow::Result<RootKey> {
    let key = RootKey::generate(&SystemRandom)?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("`{}` cannot be made", path.display()))?;
    file.write_all(key.to_file_text().expose_secret().as_bytes())?;
    file.sync_all()?;
    Ok(key)
}
