//! The HTTP clients. A lane has one for each route of the fence; lanes and routes share no connection.

use super::error::{EgressError, causes};
use super::fence::{Fence, Route};
use super::resolver::{FencedResolver, Lookup, RefusedAddress};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Why the clients cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum EgressSetupError {
    /// The file of extra certificate authorities cannot be read, is not PEM, or holds no certificate.
    #[error("cannot read certificate authorities from `{path}`")]
    ExtraAuthorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, if it could be parsed at all.
        #[source]
        source: Option<rustls::pki_types::pem::Error>,
    },
    /// An extra certificate authority is not a usable certificate.
    #[error("`{path}` holds a certificate that cannot be an authority")]
    UnusableAuthority {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// TLS refuses its configuration.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The HTTP client refuses its configuration.
    #[error("cannot set up the HTTP client")]
    Client(#[from] reqwest::Error),
}

/// One way out: a fence and its clients.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) fence: Arc<Fence>,
    public: reqwest::Client,
    allowed: reqwest::Client,
    loopback: reqwest::Client,
}

/// What all clients have in common.
#[derive(Debug)]
pub(super) struct ClientParts {
    pub(super) tls: rustls::ClientConfig,
    pub(super) connect_timeout: Duration,
    pub(super) total_timeout: Duration,
}

impl Lane {
    pub(super) fn new(
        fence: Fence,
        lookup: &Arc<dyn Lookup>,
        parts: &ClientParts,
    ) -> Result<Self, EgressSetupError> {
        let fence = Arc::new(fence);
        let build = |route| {
            let resolver = FencedResolver {
                fence: Arc::clone(&fence),
                route,
                lookup: Arc::clone(lookup),
            };
            build(resolver, parts)
        };
        Ok(Self {
            public: build(Route::Public)?,
            allowed: build(Route::Allowed)?,
            loopback: build(Route::Loopback)?,
            fence,
        })
    }

    pub(super) const fn client(&self, route: Route) -> &reqwest::Client {
        match route {
            Route::Public => &self.public,
            Route::Allowed => &self.allowed,
            Route::Loopback => &self.loopback,
        }
    }
}

fn build(resolver: FencedResolver, parts: &ClientParts) -> Result<reqwest::Client, EgressSetupError> {
    let is_plain = resolver.route == Route::Loopback;
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(parts.tls.clone())
        .dns_resolver(Arc::new(resolver))
        .https_only(!is_plain)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(parts.connect_timeout)
        .timeout(parts.total_timeout)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_PER_HOST)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .user_agent(USER_AGENT)
        .build()?;
    Ok(client)
}

/// TLS with the public roots, and with those of a file for private authorities.
pub(super) fn tls_config(extra_ca_file: Option<PathBuf>) -> Result<rustls::ClientConfig, EgressSetupError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(path) = extra_ca_file {
        add_authorities(&mut roots, path)?;
    }

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn add_authorities(roots: &mut rustls::RootCertStore, path: PathBuf) -> Result<(), EgressSetupError> {
    for certificate in authorities(path.clone())? {
        if let Err(source) = roots.add(certificate) {
            return Err(EgressSetupError::UnusableAuthority { path, source });
        }
    }
    Ok(())
}

/// The certificate authorities of a file, at least one.
pub(super) fn authorities(path: PathBuf) -> Result<Vec<CertificateDer<'static>>, EgressSetupError> {
    let read = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(EgressSetupError::ExtraAuthorities { path, source: None }),
        Err(source) => Err(EgressSetupError::ExtraAuthorities {
            path,
            source: Some(source),
        }),
    }
}

/// What an error of the HTTP client means here. Its text is kept without the URL.
pub(super) fn translate(error: &reqwest::Error) -> EgressError {
    if let Some(refused) = causes(error).find_map(|inner| inner.downcast_ref::<RefusedAddress>()) {
        return EgressError::AddressNotAllowed { address: refused.0 };
    }
    if error.is_timeout() {
        return EgressError::Timeout;
    }
    if error.is_dns() {
        return EgressError::Unresolved;
    }
    let reason = causes(error)
        .last()
        .map_or_else(|| Arc::from("unknown"), |cause| Arc::from(cause.to_string()));
    if error.is_connect() {
        return EgressError::Connect { reason };
    }
    EgressError::Transport { reason }
}

const USER_AGENT: &str = concat!("chancery/", env!("CARGO_PKG_VERSION"));
const POOL_IDLE: Duration = Duration::from_secs(30);
const POOL_PER_HOST: usize = 64;
const MAX_HEADER_BYTES: u32 = 16 * 1024;
