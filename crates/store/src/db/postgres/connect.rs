//! Making connections: the pool, TLS, and the settings of each session.

use super::super::error::DbError;
use super::super::options::{Options, PostgresAddress, describe};
use chancery_core::time::Ttl;
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;
use std::sync::Arc;
use tokio_postgres::NoTls;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// A pool that makes its connections when they are first needed.
pub(super) fn pool(address: &PostgresAddress, options: &Options) -> Result<Pool, DbError> {
    let mut config = address.config.clone();
    config.connect_timeout(options.connect_timeout.as_std());
    config.keepalives_idle(KEEPALIVE.as_std());
    config.tcp_user_timeout(KEEPALIVE.as_std());
    if config.get_application_name().is_none() {
        config.application_name("chancery");
    }

    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = if config.get_ssl_mode() == SslMode::Disable {
        Manager::from_config(config, NoTls, recycling)
    } else {
        Manager::from_config(config, tls(address)?, recycling)
    };

    let settings: Arc<str> = session_settings(options).into();
    Pool::builder(manager)
        .max_size(options.pool.max(2))
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(options.pool_wait.as_std()))
        .create_timeout(Some(options.connect_timeout.as_std()))
        .recycle_timeout(Some(options.connect_timeout.as_std()))
        .post_create(Hook::async_fn(move |client, _| {
            let settings = Arc::clone(&settings);
            Box::pin(async move { client.batch_execute(&settings).await.map_err(HookError::Backend) })
        }))
        .build()
        .map_err(|error| DbError::unavailable(error.to_string()))
}

/// SECURITY: read-only by default, so that only a batch, which opens its transaction for writing, can
/// change anything. A transaction whose client vanished is ended by the server soon, so that its row locks
/// do not outlive it.
fn session_settings(options: &Options) -> String {
    format!(
        "SET default_transaction_read_only = on; SET default_transaction_isolation = 'read committed'; \
         SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}",
        millis(options.statement_timeout),
        millis(options.lock_timeout),
        millis(IDLE_IN_TRANSACTION),
    )
}

fn millis(ttl: Ttl) -> i64 {
    (ttl.as_micros() / 1_000).clamp(1, i64::from(i32::MAX))
}

/// TLS that always verifies the server's certificate and name.
fn tls(address: &PostgresAddress) -> Result<MakeRustlsConnect, DbError> {
    let roots = match &address.root_certificates {
        Some(path) => roots_from_file(path)?,
        None => system_roots()?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| DbError::unavailable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn roots_from_file(path: &Path) -> Result<rustls::RootCertStore, DbError> {
    let failed = |reason: String| DbError::invalid_url(format!("`sslrootcert`: {reason}"));
    let mut roots = rustls::RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(failed("no certificate in the file".to_owned()));
    }
    Ok(roots)
}

fn system_roots() -> Result<rustls::RootCertStore, DbError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let reason = found
        .errors
        .first()
        .map(|error| describe(error))
        .unwrap_or_default();
    Err(DbError::unavailable(format!(
        "the system has no root certificates; name some with `sslrootcert` {reason}"
    )))
}

/// When an idle connection is probed, and how long sent data may stay unacknowledged.
const KEEPALIVE: Ttl = Ttl::from_seconds(15);

/// A batch leaves its transaction idle only between its last answer and the commit.
const IDLE_IN_TRANSACTION: Ttl = Ttl::from_seconds(10);
