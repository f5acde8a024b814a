//! The root key: from a file, made only beside an empty SQLite database; from a credential of systemd; from the
//! environment; or in a key service, and then what proves to it that we may use the key.

use anyhow::{Context as _, bail};
use chancery_core::secret::Secret;
use chancery_server::keys::RootKey;
use chancery_server::kms::{CredentialPlace, KeyService, ServiceSource};
use chancery_server::roots::RootSource;
use chancery_server::world::SystemRandom;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The root key that somebody named: a place where it is, made there if `may_create`, or a key of a service with the
/// place of the credential for it.
///
/// # Errors
/// Those of [`load`]; a malformed name of a service's key; a service without a credential.
pub(crate) fn source(
    given: &Path,
    credential: Option<&Path>,
    may_create: bool,
) -> anyhow::Result<RootSource> {
    let text = given.to_str().unwrap_or_default();
    if !KeyService::is_named_by(text) {
        return Ok(load(given, may_create)?.into());
    }
    let service: KeyService = text.parse()?;
    let credential = credential.with_context(|| {
        format!(
            "there is no credential for {service}\nhint: --root-key-credential names the file that holds it"
        )
    })?;
    Ok(RootSource::Service(ServiceSource {
        credential: credential_place(credential)?,
        service,
    }))
}

/// A file is read for every request; a variable once.
fn credential_place(given: &Path) -> anyhow::Result<CredentialPlace> {
    match Place::parse(given)? {
        Place::File(path) => Ok(CredentialPlace::File(path)),
        Place::Environment(name) => Ok(CredentialPlace::Given(Secret::new(variable(&name)?))),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the environment is read at the edge, in `cli`"
)]
fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("the variable {name} is not set"))
}

/// Where the root key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a file that only its owner can read.
    File(PathBuf),
    /// In a variable of the environment, named `env:NAME`.
    Environment(String),
}

impl Place {
    /// The place that somebody named: `env:NAME`, `credential:NAME` (a file in `$CREDENTIALS_DIRECTORY`, as
    /// `LoadCredential=` of systemd makes it), else a file.
    ///
    /// # Errors
    /// A credential, where nobody passed any.
    #[expect(
        clippy::disallowed_methods,
        reason = "the environment is read at the edge, in `cli`"
    )]
    pub(crate) fn parse(given: &Path) -> anyhow::Result<Self> {
        let text = given.to_str().unwrap_or_default();
        if let Some(name) = text.strip_prefix("env:") {
            return Ok(Self::Environment(name.to_owned()));
        }
        let Some(name) = text.strip_prefix("credential:") else {
            return Ok(Self::File(given.to_owned()));
        };
        let folder = std::env::var_os("CREDENTIALS_DIRECTORY").with_context(|| {
            format!(
                "there is no credential `{name}`\nhint: LoadCredential={name}:PATH in the unit of systemd"
            )
        })?;
        if name.contains('/') || name.starts_with('.') {
            bail!("`{name}` is no name of a credential");
        }
        Ok(Self::File(Path::new(&folder).join(name)))
    }
}

/// Reads the root key from where it is; makes the file if `may_create`.
///
/// # Errors
/// A missing file, one that others can read, or a place without a key in it.
pub(crate) fn load(given: &Path, may_create: bool) -> anyhow::Result<RootKey> {
    match Place::parse(given)? {
        Place::File(path) => read(&path, may_create && path == given),
        Place::Environment(name) => {
            let text = variable(&name)?;
            RootKey::parse(text.trim()).with_context(|| format!("the variable {name} holds no root key"))
        }
    }
}

fn read(path: &Path, may_create: bool) -> anyhow::Result<RootKey> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_unless_it_says_otherwise() {
        let parse = |text: &str| Place::parse(Path::new(text)).unwrap();
        assert_eq!(parse("/etc/root.key"), Place::File("/etc/root.key".into()));
        assert_eq!(parse("env:ROOT"), Place::Environment("ROOT".to_owned()));
        assert_eq!(parse("./env:ROOT"), Place::File("./env:ROOT".into()));
    }

    #[test]
    fn a_missing_variable_and_a_missing_credential_say_what_to_do() {
        let error = load(Path::new("env:CHANCERY_NO_SUCH_VARIABLE"), true).unwrap_err();
        assert!(error.to_string().contains("CHANCERY_NO_SUCH_VARIABLE"), "{error}");
        let error = load(Path::new("credential:root-key"), true).unwrap_err();
        assert!(error.to_string().contains("LoadCredential=root-key"), "{error}");
    }
}
