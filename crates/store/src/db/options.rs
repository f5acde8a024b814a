//! Where the database is and how it may be used: its address, limits and time limits.

use super::error::DbError;
use chancery_core::time::Ttl;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// A parsed database address: `sqlite:PATH`, or `postgres://…` as PostgreSQL's own tools read it.
///
/// For PostgreSQL over the network the address must say `sslmode=require` (the server's certificate is
/// then always verified, against `sslrootcert=FILE` or the system's roots; `verify-full` means the same)
/// or `sslmode=disable`. On a Unix socket and on loopback, no TLS is the default.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(pub(crate) Address);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Sqlite(PathBuf),
    Postgres(Box<PostgresAddress>),
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PostgresAddress {
    pub(crate) config: tokio_postgres::Config,
    /// Whose certificates to trust; the system's roots if absent.
    pub(crate) root_certificates: Option<PathBuf>,
}

impl DatabaseUrl {
    /// The address of an SQLite file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(Address::Sqlite(path.into()))
    }

    /// The SQLite file, if it is one.
    pub fn sqlite_path(&self) -> Option<&Path> {
        match &self.0 {
            Address::Sqlite(path) => Some(path),
            Address::Postgres(_) => None,
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = DbError;

    fn from_str(text: &str) -> Result<Self, DbError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path == ":memory:" {
                return Err(DbError::invalid_url("`sqlite:` needs the path of a file"));
            }
            return Ok(Self::sqlite(path));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let address = parse_postgres(text)?;
            return Ok(Self(Address::Postgres(Box::new(address))));
        }
        Err(DbError::invalid_url(
            "it starts with neither `sqlite:` nor `postgres://`",
        ))
    }
}

impl fmt::Debug for DatabaseUrl {
    /// SECURITY: the address may hold a password; only where it points is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for DatabaseUrl {
    /// Without user, password and parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Address::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Address::Postgres(address) => {
                let hosts: Vec<String> = address.config.get_hosts().iter().map(host_name).collect();
                let name = address.config.get_dbname().unwrap_or_default();
                write!(f, "postgres://{}/{name}", hosts.join(","))
            }
        }
    }
}

/// Takes the two TLS parameters out of the address, since the driver knows fewer words for them, and
/// leaves the rest to the driver.
fn parse_postgres(text: &str) -> Result<PostgresAddress, DbError> {
    let (base, query) = text.split_once('?').unwrap_or((text, ""));
    let mut mode = None;
    let mut root_certificates = None;
    let mut others = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let decoded = url::form_urlencoded::parse(pair.as_bytes()).next();
        match decoded
            .as_ref()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
        {
            Some(("sslmode", value)) => mode = Some(value.to_owned()),
            Some(("sslrootcert", value)) => root_certificates = Some(PathBuf::from(value)),
            Some(_) | None => others.push(pair),
        }
    }
    let rest = format!("{base}?{}", others.join("&"));
    let mut config: tokio_postgres::Config = rest
        .parse()
        .map_err(|error| DbError::invalid_url(describe(&error)))?;
    config.ssl_mode(ssl_mode(mode.as_deref(), &config)?);
    Ok(PostgresAddress {
        config,
        root_certificates,
    })
}

fn ssl_mode(
    mode: Option<&str>,
    config: &tokio_postgres::Config,
) -> Result<tokio_postgres::config::SslMode, DbError> {
    use tokio_postgres::config::SslMode;
    match mode {
        Some("require" | "verify-ca" | "verify-full") => Ok(SslMode::Require),
        Some("disable") => Ok(SslMode::Disable),
        None if config.get_hosts().iter().all(is_local) => Ok(SslMode::Disable),
        None => Err(DbError::invalid_url(
            "a PostgreSQL server on the network needs `sslmode=require`, or `sslmode=disable` to accept \
             that all traffic is readable",
        )),
        Some(_) => Err(DbError::invalid_url(
            "`sslmode` is `disable`, `require` or `verify-full`",
        )),
    }
}

fn is_local(host: &tokio_postgres::config::Host) -> bool {
    match host {
        tokio_postgres::config::Host::Unix(_) => true,
        tokio_postgres::config::Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
    }
}

fn host_name(host: &tokio_postgres::config::Host) -> String {
    match host {
        tokio_postgres::config::Host::Tcp(name) => name.clone(),
        tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
    }
}

/// An error with its causes on one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Limits. The defaults suit a server; tests make some of them small.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// SQLite: how many threads read.
    pub readers: usize,
    /// SQLite: how many batches may wait for the writer.
    pub write_queue: usize,
    /// SQLite: how many queries may wait for the readers.
    pub read_queue: usize,
    /// SQLite: how many batches share one commit at most.
    pub group: usize,
    /// SQLite: how long to wait for a lock that another tool holds on the file.
    pub busy_timeout: Ttl,
    /// SQLite: how many pages of write-ahead log start a checkpoint.
    pub checkpoint_pages: u32,
    /// SQLite: the largest size of the file in pages, if limited.
    pub max_pages: Option<u32>,
    /// PostgreSQL: how many connections.
    pub pool: usize,
    /// PostgreSQL: how long to wait for a connection before [`DbError::Overloaded`].
    pub pool_wait: Ttl,
    /// PostgreSQL: how long making a connection may take.
    pub connect_timeout: Ttl,
    /// PostgreSQL: how long one statement may run.
    pub statement_timeout: Ttl,
    /// PostgreSQL: how long one statement may wait for a lock.
    pub lock_timeout: Ttl,
    /// How often a batch is run again after a serialisation failure, a deadlock or a busy file.
    pub retries: u32,
    /// Told of every group of batches that was committed.
    pub observer: Option<Observer>,
    /// Test hook: called at each boundary of a commit.
    #[doc(hidden)]
    pub fault: Option<Fault>,
}

/// A group of batches that was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupCommitted {
    /// How many batches shared the commit.
    pub batches: usize,
    /// How long the commit took: on SQLite the write to the disk, on PostgreSQL the answer of the server.
    pub took: std::time::Duration,
}

/// Whoever is told of commits.
pub type Observer = Arc<dyn Fn(GroupCommitted) + Send + Sync>;

impl Default for Options {
    fn default() -> Self {
        Self {
            readers: 4,
            write_queue: 4096,
            read_queue: 4096,
            group: 256,
            busy_timeout: Ttl::from_seconds(5),
            checkpoint_pages: 1000,
            max_pages: None,
            pool: 16,
            pool_wait: Ttl::from_seconds(5),
            connect_timeout: Ttl::from_seconds(10),
            statement_timeout: Ttl::from_seconds(30),
            lock_timeout: Ttl::from_seconds(5),
            retries: 6,
            observer: None,
            fault: None,
        }
    }
}

impl Options {
    /// The time of the operating system's clock that only counts on, where somebody is told how long a commit takes.
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a commit took is measured here and decides nothing"
    )]
    pub(crate) fn stopwatch(&self) -> Option<std::time::Instant> {
        self.observer.as_ref().map(|_| std::time::Instant::now())
    }

    /// Tells the observer, if there is one.
    pub(crate) fn committed(&self, batches: usize, began: Option<std::time::Instant>) {
        if let (Some(observer), Some(began)) = (&self.observer, began) {
            observer(GroupCommitted {
                batches,
                took: began.elapsed(),
            });
        }
    }

    /// Asks the test hook, if there is one.
    pub(crate) fn fault_at(&self, point: Point) -> FaultAction {
        self.fault
            .as_ref()
            .map_or(FaultAction::Continue, |fault| fault(point))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("readers", &self.readers)
            .field("write_queue", &self.write_queue)
            .field("read_queue", &self.read_queue)
            .field("group", &self.group)
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

/// A test hook that may interfere at a boundary of a commit.
#[doc(hidden)]
pub type Fault = Arc<dyn Fn(Point) -> FaultAction + Send + Sync>;

/// A boundary of a commit, for the test hook.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The writer has taken a group of so many batches (SQLite), or a connection was taken (PostgreSQL, 1).
    Group(usize),
    /// Before the guard or statement with this label.
    Statement(&'static str),
    /// Everything ran and was as expected; the commit was not asked for yet.
    BeforeCommit,
    /// The engine has committed; nobody was told yet.
    AfterCommit,
}

/// What the test hook wants done.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultAction {
    /// Nothing special.
    Continue,
    /// At a statement: behave as if the engine had rolled the transaction back (SQLite) or the connection
    /// was lost (PostgreSQL). Around the commit: as if the disk had failed (SQLite) or the connection was
    /// lost (PostgreSQL).
    Fail,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse_and_never_show_a_password() {
        let url: Result<DatabaseUrl, _> =
            "postgres://chancery:s3cret@db.example.org/main?sslmode=verify-full".parse();
        let url = url.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(format!("{url:?}"), "postgres://db.example.org/main");
        let url: Result<DatabaseUrl, _> = "postgres:///postgres?host=/tmp/x&user=chancery".parse();
        assert!(matches!(url, Ok(url) if url.to_string() == "postgres:///tmp/x/postgres"));
        let url: Result<DatabaseUrl, _> = "sqlite:data/chancery.db".parse();
        assert!(matches!(url, Ok(url) if url.sqlite_path() == Some(Path::new("data/chancery.db"))));
    }

    #[test]
    fn a_server_on_the_network_needs_a_decision_about_tls() {
        for refused in [
            "postgres://user@db.example.org/main",
            "postgres://user@db.example.org/main?sslmode=prefer",
            "mysql://x",
            "sqlite:",
        ] {
            let parsed: Result<DatabaseUrl, _> = refused.parse();
            assert!(matches!(parsed, Err(DbError::InvalidUrl { .. })), "{refused}");
        }
        for accepted in [
            "postgres://user@127.0.0.1/main",
            "postgres://u@db/x?sslmode=disable",
        ] {
            let parsed: Result<DatabaseUrl, _> = accepted.parse();
            assert!(parsed.is_ok(), "{accepted}");
        }
    }
}
