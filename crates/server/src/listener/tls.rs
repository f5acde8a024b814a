//! TLS with a certificate that can be renewed while the server runs.
//!
//! The files are looked at every few seconds and on SIGHUP. New ones replace the certificate in one step,
//! for new connections; broken ones are logged, and the old certificate stays.

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or is not PEM.
    #[error("cannot read `{path}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// The certificate file holds no certificate.
    #[error("`{path}` holds no certificate")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The key is of no use, or belongs to another certificate.
    #[error("the key does not fit the certificate")]
    KeyMismatch(#[source] rustls::Error),
    /// TLS refuses its configuration.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
}

impl TlsError {
    /// How to fix it, where there is a way.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreadable { .. } => Some("give a PEM file that this user may read"),
            Self::NoCertificate { .. } => Some("give the chain in PEM, the server's own certificate first"),
            Self::KeyMismatch(_) => Some("give the key that the certificate was issued for"),
            Self::Setup(_) => None,
        }
    }
}

/// The certificate of a listener.
#[derive(Debug)]
pub struct TlsConfig {
    files: Files,
    current: Arc<Current>,
    seen: Mutex<Option<Fingerprint>>,
    server: Arc<rustls::ServerConfig>,
}

impl TlsConfig {
    /// Reads a certificate chain and its key from PEM files.
    ///
    /// # Errors
    /// Every rule of [`TlsError`].
    pub fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let files = Files { certificate, key };
        let seen = files.fingerprint();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let current = Arc::new(Current(ArcSwap::from_pointee(files.read(&provider)?)));

        let mut server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            files,
            current,
            seen: Mutex::new(seen),
            server: Arc::new(server),
        })
    }

    /// Reads the files again, whether or not they changed.
    ///
    /// # Errors
    /// Every rule of [`TlsError`]; the certificate in use then stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let renewed = self.files.read(self.server.crypto_provider())?;
        self.current.0.store(Arc::new(renewed));
        Ok(())
    }

    /// Reads the files again when they changed (looked at at this interval) or on SIGHUP, until `stop`.
    pub async fn watch(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut hangup = Hangup::new();
        loop {
            let is_forced = tokio::select! {
                () = stop.cancelled() => return,
                () = hangup.recv() => true,
                () = tokio::time::sleep(every) => false,
            };
            let this = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || this.look(is_forced)).await;
            if let Err(error) = looked {
                tracing::error!(%error, "looking at the certificate files failed");
            }
        }
    }

    pub(super) fn server(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.server)
    }

    /// Reloads if the files are not those seen last. A broken pair is tried, and reported, once.
    fn look(&self, is_forced: bool) {
        let found = self.files.fingerprint();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == found && !is_forced {
            return;
        }
        *seen = found;
        drop(seen);

        let path = self.files.certificate.display();
        match self.reload() {
            Ok(()) => tracing::info!(%path, "the TLS certificate was renewed"),
            Err(error) => {
                let cause = std::error::Error::source(&error)
                    .map(ToString::to_string)
                    .unwrap_or_default();
                tracing::error!(%path, %error, cause, "the new TLS certificate is broken; the old one stays");
            }
        }
    }
}

/// The certificate in use.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Where a certificate and its key are.
#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn read(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::Unreadable { path, source }
        };
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(unreadable(&self.certificate))?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate {
                path: self.certificate.clone(),
            });
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(unreadable(&self.key))?;
        CertifiedKey::from_der(chain, key, provider).map_err(TlsError::KeyMismatch)
    }

    /// What tells a new pair of files from the old one; symbolic links are followed.
    fn fingerprint(&self) -> Option<Fingerprint> {
        let one = |path: &Path| {
            let found = std::fs::metadata(path).ok()?;
            Some([
                found.mtime(),
                found.mtime_nsec(),
                found.ino().cast_signed(),
                found.len().cast_signed(),
            ])
        };
        Some([one(&self.certificate)?, one(&self.key)?])
    }
}

type Fingerprint = [[i64; 4]; 2];

/// SIGHUP, if the process can hear it.
struct Hangup(Option<tokio::signal::unix::Signal>);

impl Hangup {
    fn new() -> Self {
        let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup());
        if let Err(error) = &signal {
            tracing::warn!(%error, "SIGHUP is not heard; certificates are renewed by looking at the files only");
        }
        Self(signal.ok())
    }

    async fn recv(&mut self) {
        let heard = match &mut self.0 {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if heard.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
