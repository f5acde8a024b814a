//! A Unix socket for local administration: only the user that runs the server can open it.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Why a Unix socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum UnixSocketError {
    /// Another process answers on it.
    #[error("another process listens on `{path}`")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is not a socket is in its place.
    #[error("`{path}` exists and is not a socket")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("cannot listen on `{path}`")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl UnixSocketError {
    /// How to fix it, where there is a way.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::InUse { .. } => Some("stop the other server, or choose another path"),
            Self::NotASocket { .. } => Some("choose another path"),
            Self::Socket { .. } => Some(
                "check that this user may write to the directory, and that the path is shorter than 100 bytes",
            ),
        }
    }
}

/// A Unix socket that listens; its file is removed when it is dropped.
#[derive(Debug)]
pub struct UnixEndpoint {
    pub(super) listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl UnixEndpoint {
    /// Makes the socket with mode 0600, and its directory with mode 0700 if it is missing. A socket that
    /// is there already is replaced only if nobody answers on it.
    ///
    /// # Errors
    /// Every rule of [`UnixSocketError`].
    pub async fn bind(path: &Path) -> Result<Self, UnixSocketError> {
        let failed = |source| UnixSocketError::Socket {
            path: path.to_owned(),
            source,
        };
        make_directory(path).map_err(failed)?;
        vacate(path).await?;
        let listener = listen(path).map_err(failed)?;
        let inode = std::fs::symlink_metadata(path).map_err(failed)?.ino();
        Ok(Self {
            listener,
            path: path.to_owned(),
            inode,
        })
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnixEndpoint {
    fn drop(&mut self) {
        let is_ours = std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if is_ours {
            remove(&self.path);
        }
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    let Some(directory) = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
    else {
        return Ok(());
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// Removes what a dead server left, and nothing else.
async fn vacate(path: &Path) -> Result<(), UnixSocketError> {
    let failed = |source| UnixSocketError::Socket {
        path: path.to_owned(),
        source,
    };
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => {
            return Err(UnixSocketError::NotASocket {
                path: path.to_owned(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    match tokio::time::timeout(PROBE_TIMEOUT, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            remove(path);
            Ok(())
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => Err(failed(error)),
        // It answers, or its backlog is full.
        Ok(_) | Err(_) => Err(UnixSocketError::InUse {
            path: path.to_owned(),
        }),
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    // SECURITY: the file is born with the mode that the umask leaves, but nobody can connect before the
    // socket listens.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)
}

fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %path.display(), %error, "cannot remove a socket"),
    }
}

const BACKLOG: u32 = 128;
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn socket_and_new_directory_are_closed_to_others() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("run/admin.sock");
        let endpoint = UnixEndpoint::bind(&path).await.expect("binds");

        let mode = |path: &Path| std::fs::metadata(path).expect("exists").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().expect("a parent")), 0o700);
        assert_eq!(
            std::fs::read_dir(root.path().join("run"))
                .expect("readable")
                .count(),
            1
        );

        drop(endpoint);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_live_socket_is_never_replaced() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("admin.sock");
        let _first = UnixEndpoint::bind(&path).await.expect("binds");
        let second = UnixEndpoint::bind(&path).await.expect_err("is refused");
        assert!(matches!(second, UnixSocketError::InUse { .. }), "{second}");
        UnixStream::connect(&path).await.expect("the first still answers");
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_another_file_is_not() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("binds"));
        assert!(path.exists());
        let endpoint = UnixEndpoint::bind(&path).await.expect("replaces the stale one");
        UnixStream::connect(endpoint.path()).await.expect("answers");

        let file = root.path().join("notes");
        std::fs::write(&file, "keep").expect("writes");
        let refused = UnixEndpoint::bind(&file).await.expect_err("is refused");
        assert!(matches!(refused, UnixSocketError::NotASocket { .. }), "{refused}");
        assert_eq!(std::fs::read_to_string(&file).expect("still there"), "keep");
    }
}
