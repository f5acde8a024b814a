//! `chancery serve`.

use crate::{logging, print, root_key};
use anyhow::{Context as _, bail};
use chancery_core::secret::Secret;
use chancery_server::egress::{AllowedHost, EgressConfig, MailConfig};
use chancery_server::listener::{Limits, TrustedProxies};
use chancery_server::node::{GITHUB_API, Node, NodeConfig, World};
use chancery_server::people::password::KnownPasswords;
use chancery_server::roots::RootSource;
use chancery_server::store::db::{DatabaseUrl, Options};
use chancery_server::store::{Db, MIGRATIONS};
use chancery_server::test_mode;
use clap::Args;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where the data is.
#[derive(Clone, Debug, Args)]
pub(crate) struct DatabaseArguments {
    /// The directory for the database, the root key and the local socket.
    #[arg(long, env = "CHANCERY_DATA", default_value = "chancery-data")]
    pub(crate) data: PathBuf,
    /// `sqlite:PATH` or `postgres://…`. Default: a file in the data directory.
    #[arg(long, env = "CHANCERY_DATABASE", hide_env_values = true)]
    pub(crate) database: Option<String>,
    /// The file with the root key; `credential:NAME` is one that systemd passes, `env:NAME` a variable, and
    /// `transit:https://HOST/v1/MOUNT/KEY` a key of OpenBao or HashiCorp Vault; `aws-kms:`, `gcp-kms:` and `azure-kms:` name
    /// keys of theirs. Default: `root.key` in the data directory, made with a new SQLite database.
    #[arg(long, visible_alias = "root-key", env = "CHANCERY_ROOT_KEY_FILE")]
    pub(crate) root_key_file: Option<PathBuf>,
    /// What proves to a key service that its key may be used: a file that is read for every request, `credential:NAME` or
    /// `env:NAME`. It holds a token, for AWS a shared credentials file.
    #[arg(long, env = "CHANCERY_ROOT_KEY_CREDENTIAL")]
    pub(crate) root_key_credential: Option<PathBuf>,
    /// Hosts, host:port or networks of special use (private, loopback) that may be called.
    #[arg(long, env = "CHANCERY_ALLOW_HOSTS", value_delimiter = ',')]
    pub(crate) allow_hosts: Vec<String>,
    /// A PEM file of certificate authorities to trust for outgoing calls.
    #[arg(long, env = "CHANCERY_EXTRA_CA_FILE")]
    pub(crate) extra_ca_file: Option<PathBuf>,
}

impl DatabaseArguments {
    /// The file with the root key.
    pub(crate) fn root_key_path(&self) -> PathBuf {
        let given = self.root_key_file.clone();
        given.unwrap_or_else(|| self.data.join("root.key"))
    }

    /// The root key, which is there already.
    pub(crate) fn root(&self) -> anyhow::Result<RootSource> {
        root_key::source(&self.root_key_path(), self.root_key_credential.as_deref(), false)
    }

    /// How the outside is reached, for a key service.
    pub(crate) fn outside(&self) -> anyhow::Result<EgressConfig> {
        Ok(EgressConfig {
            allowed_hosts: self.allowed_hosts()?,
            extra_ca_file: self.extra_ca_file.clone(),
            ..EgressConfig::default()
        })
    }

    fn allowed_hosts(&self) -> anyhow::Result<Vec<AllowedHost>> {
        let parse = |host: &String| host.parse().map(AllowedHost::new);
        let parsed: Result<_, _> = self.allow_hosts.iter().map(parse).collect();
        parsed.context("--allow-hosts")
    }
}

/// How to serve.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    /// The URL that clients use: the issuer. It is written once and never changes.
    #[arg(long, env = "CHANCERY_PUBLIC_URL", default_value = "http://127.0.0.1:8440")]
    pub(crate) public_url: String,
    /// The address to listen on. Off loopback this needs a certificate or trusted proxies.
    #[arg(long, env = "CHANCERY_LISTEN", default_value = "127.0.0.1:8440")]
    pub(crate) listen: SocketAddr,
    /// The certificate chain, PEM. Read again when the file changes.
    #[arg(long, env = "CHANCERY_TLS_CERTIFICATE", requires = "tls_key")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// The certificate's private key, PEM.
    #[arg(long, env = "CHANCERY_TLS_KEY", requires = "tls_certificate")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Networks of proxies that terminate TLS in front of this server (CIDR).
    #[arg(long, env = "CHANCERY_TRUSTED_PROXIES", value_delimiter = ',')]
    pub(crate) trusted_proxies: Vec<String>,
    /// How many connections one address (of IPv6: one /64) may have open. This machine and trusted proxies are excepted.
    #[arg(long, env = "CHANCERY_MAX_CONNECTIONS_PER_ADDRESS", default_value_t = Limits::default().max_connections_per_source)]
    pub(crate) max_connections_per_address: usize,
    /// A file that every signed checkpoint of the audit log is appended to, best on another machine.
    #[arg(long, env = "CHANCERY_CHECKPOINT_FILE")]
    pub(crate) checkpoint_file: Option<PathBuf>,
    /// A URL that every signed checkpoint is posted to.
    #[arg(long, env = "CHANCERY_CHECKPOINT_URL")]
    pub(crate) checkpoint_url: Option<String>,
    /// A URL that requests for a person's yes are posted to, as Slack takes them. With it `--approval-webhook-secret-file`.
    #[arg(
        long,
        env = "CHANCERY_APPROVAL_WEBHOOK",
        requires = "approval_webhook_secret_file"
    )]
    pub(crate) approval_webhook: Option<String>,
    /// A file with the secret that signs what is posted there.
    #[arg(long, env = "CHANCERY_APPROVAL_WEBHOOK_SECRET_FILE")]
    pub(crate) approval_webhook_secret_file: Option<PathBuf>,
    /// The relay by which people are written to of requests for their yes: `smtps://[USER@]HOST[:465]`, or
    /// `smtp://[USER@]HOST[:587]` for STARTTLS. With it `--mail-from`.
    #[arg(long, env = "CHANCERY_MAIL_RELAY", requires = "mail_from")]
    pub(crate) mail_relay: Option<String>,
    /// Whom e-mail is from, as in `Chancery <chancery@example.com>`.
    #[arg(long, env = "CHANCERY_MAIL_FROM", requires = "mail_relay")]
    pub(crate) mail_from: Option<String>,
    /// A file with the password of the relay's user.
    #[arg(long, env = "CHANCERY_MAIL_PASSWORD_FILE", requires = "mail_relay")]
    pub(crate) mail_password_file: Option<PathBuf>,
    /// An address that is written to of every request for a yes, as of a group's list.
    #[arg(long, env = "CHANCERY_APPROVAL_MAIL_TO", requires = "mail_relay")]
    pub(crate) approval_mail_to: Option<String>,
    /// A file of passwords that nobody may set, one a line: SHA-1 or SHA-256 in hexadecimal, with a count behind a colon or
    /// not, or the password itself. It is read at the start and kept in memory; at most 256 MiB.
    #[arg(long, env = "CHANCERY_KNOWN_PASSWORDS_FILE")]
    pub(crate) known_passwords_file: Option<PathBuf>,
    /// The base URL of GitHub's interface, for `--trust github:OWNER/REPO`. An Enterprise server's ends in `/api/v3`.
    #[arg(long, env = "CHANCERY_GITHUB_API", default_value = GITHUB_API)]
    pub(crate) github_api: String,
    /// For suites of tests: servers on this machine may be called over http, and `POST {base}/test/ciba` answers for
    /// people. Refused unless address and public URL are on loopback. Never with anything real.
    #[arg(long, env = "CHANCERY_TEST_MODE")]
    pub(crate) test_mode: bool,
    /// The root key that is to replace the present one, while `vault rotate --root` runs.
    #[arg(long, visible_alias = "next-root-key", env = "CHANCERY_NEXT_ROOT_KEY_FILE")]
    pub(crate) next_root_key_file: Option<PathBuf>,
    /// The credential for it, if it is in a key service.
    #[arg(long, env = "CHANCERY_NEXT_ROOT_KEY_CREDENTIAL")]
    pub(crate) next_root_key_credential: Option<PathBuf>,
    /// Serve metrics for Prometheus at this address, path `/metrics`.
    #[arg(long, env = "CHANCERY_METRICS")]
    pub(crate) metrics: Option<SocketAddr>,
    /// How much may be asked for: requests a second and, after a slash, calls under way, as in
    /// `agent=500/64,user=500/64,tool=1000/256,tenant=5000/2048,token=200,request_bytes=67108864`; 0 is no limit, `off`
    /// none at all.
    #[arg(long, env = "CHANCERY_LIMITS", default_value = "")]
    pub(crate) limits: String,
    /// What to log, as in `info` or `chancery_server=debug`.
    #[arg(long, env = "CHANCERY_LOG", default_value = "info")]
    pub(crate) log: String,
    /// How to log: lines for people, or JSON.
    #[arg(long, env = "CHANCERY_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// The same as `--log-format json`.
    #[arg(long, env = "CHANCERY_LOG_JSON", hide = true)]
    pub(crate) log_json: bool,
}

/// How lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Serves until interrupted.
pub(crate) async fn run(arguments: ServeArguments) -> anyhow::Result<()> {
    let json = arguments.log_json || arguments.log_format == LogFormat::Json;
    logging::start(&arguments.log, json);
    let public_url = arguments.public_url.clone();
    let data = arguments.database.data.clone();
    let is_test_mode = arguments.test_mode;
    let node = Node::start(config(arguments)?, World::default()).await?;
    if json {
        announce_to_log(&node, &public_url, &data)?;
    } else {
        announce(&node, &public_url);
    }
    if is_test_mode && !json {
        // Whatever level the log has.
        print::note(test_mode::WARNING);
    }
    stopped().await;
    if json {
        tracing::info!("stopping: finishing requests under way");
    } else {
        print::note("stopping: finishing requests under way");
    }
    node.stop().await;
    Ok(())
}

/// What a node is told, from arguments.
pub(crate) fn config(arguments: ServeArguments) -> anyhow::Result<NodeConfig> {
    let socket = arguments.database.data.join("chancery.sock");
    let (database, root) = open_keys(&arguments.database)?;
    let next = arguments.next_root_key_file.as_deref();
    let next_credential = arguments.next_root_key_credential.as_deref();
    let next_root = next.map(|path| root_key::source(path, next_credential, false));
    let proxies = trusted_proxies(&arguments.trusted_proxies)?;
    let allowed_hosts = arguments.database.allowed_hosts()?;
    Ok(NodeConfig {
        database,
        root,
        next_root: next_root.transpose()?,
        metrics: arguments.metrics,
        call_limits: arguments.limits.parse().context("--limits")?,
        public_url: arguments.public_url.trim_end_matches('/').to_owned(),
        listen: arguments.listen,
        socket: Some(socket),
        tls: arguments.tls_certificate.zip(arguments.tls_key),
        proxies,
        limits: Limits {
            max_connections_per_source: arguments.max_connections_per_address,
            ..Limits::default()
        },
        allowed_hosts,
        extra_ca_file: arguments.database.extra_ca_file,
        checkpoint_file: arguments.checkpoint_file,
        checkpoint_url: arguments.checkpoint_url,
        approval_webhook: approval_webhook(
            arguments.approval_webhook,
            arguments.approval_webhook_secret_file.as_deref(),
        )?,
        mail: mail(
            arguments.mail_relay.zip(arguments.mail_from),
            arguments.mail_password_file.as_deref(),
        )?,
        approval_mail_to: arguments.approval_mail_to,
        known_passwords: known_passwords(arguments.known_passwords_file.as_deref())?,
        github_api: arguments.github_api,
        test_mode: arguments.test_mode,
    })
}

/// The relay of e-mail, with its user's password from a file.
fn mail(
    relay_and_sender: Option<(String, String)>,
    file: Option<&Path>,
) -> anyhow::Result<Option<MailConfig>> {
    let Some((relay, from)) = relay_and_sender else {
        return Ok(None);
    };
    let password = match file {
        Some(file) => Some(
            std::fs::read_to_string(file).with_context(|| format!("`{}` cannot be read", file.display()))?,
        ),
        None => None,
    };
    let password = password.map(|password| Secret::new(password.trim_end_matches(['\r', '\n']).to_owned()));
    Ok(Some(MailConfig {
        relay,
        password,
        from,
    }))
}

/// The passwords that nobody may set.
fn known_passwords(file: Option<&Path>) -> anyhow::Result<KnownPasswords> {
    let Some(file) = file else {
        return Ok(KnownPasswords::default());
    };
    let unreadable = || format!("`{}` cannot be read", file.display());
    let length = std::fs::metadata(file).with_context(unreadable)?.len();
    if length > MAX_KNOWN_PASSWORDS {
        bail!(
            "`{}` is larger than 256 MiB; take the most frequent ones",
            file.display()
        );
    }
    let text = std::fs::read(file).with_context(unreadable)?;
    Ok(KnownPasswords::parse(&String::from_utf8_lossy(&text)))
}

const MAX_KNOWN_PASSWORDS: u64 = 256 << 20;

/// The webhook of approvals: its URL, and the secret in a file of at least 16 characters.
fn approval_webhook(
    url: Option<String>,
    file: Option<&Path>,
) -> anyhow::Result<Option<(String, Secret<String>)>> {
    let Some((url, file)) = url.zip(file) else {
        return Ok(None);
    };
    let secret =
        std::fs::read_to_string(file).with_context(|| format!("`{}` cannot be read", file.display()))?;
    let secret = secret.trim();
    if secret.len() < 16 {
        bail!("the secret in `{}` has fewer than 16 characters", file.display());
    }
    Ok(Some((url, Secret::new(secret.to_owned()))))
}

/// The networks of trusted proxies.
///
/// # Errors
/// A text that is no network, or one that would trust everybody.
pub(crate) fn trusted_proxies(networks: &[String]) -> anyhow::Result<TrustedProxies> {
    let parse = |text: &String| {
        let network: ipnet::IpNet = text
            .parse()
            .with_context(|| format!("`{text}` is not a network such as 10.0.0.0/8"))?;
        if network.prefix_len() == 0 {
            bail!("`{text}` would trust everybody; name the proxies' own networks");
        }
        Ok(network)
    };
    Ok(TrustedProxies::new(
        networks.iter().map(parse).collect::<anyhow::Result<_>>()?,
    ))
}

/// The database's address and where the root key is. A key is made only for an SQLite database that does not exist yet.
pub(crate) fn open_keys(arguments: &DatabaseArguments) -> anyhow::Result<(DatabaseUrl, RootSource)> {
    std::fs::create_dir_all(&arguments.data)
        .with_context(|| format!("`{}` cannot be made", arguments.data.display()))?;
    let database: DatabaseUrl = match &arguments.database {
        Some(text) => text.parse()?,
        None => DatabaseUrl::sqlite(arguments.data.join("chancery.db")),
    };
    let is_new = database.sqlite_path().is_some_and(|path| !path.exists());
    let credential = arguments.root_key_credential.as_deref();
    let root = root_key::source(&arguments.root_key_path(), credential, is_new)?;
    Ok((database, root))
}

/// `chancery migrate`.
pub(crate) async fn migrate(arguments: DatabaseArguments) -> anyhow::Result<()> {
    std::fs::create_dir_all(&arguments.data)?;
    let database: DatabaseUrl = match &arguments.database {
        Some(text) => text.parse()?,
        None => DatabaseUrl::sqlite(arguments.data.join("chancery.db")),
    };
    let db = Db::open(&database, Options::default()).await?;
    let pending = db.pending(MIGRATIONS).await?;
    for migration in &pending {
        print::line(&format!("applying {:04} {}", migration.number, migration.name));
    }
    db.migrate(MIGRATIONS).await?;
    print::line(if pending.is_empty() {
        "the schema is up to date"
    } else {
        "done"
    });
    db.close().await;
    Ok(())
}

fn announce(node: &Node, public_url: &str) {
    print::note(&format!("chancery serves {public_url} on {}", node.address));
    if let Some(address) = node.metrics_address {
        print::note(&format!("metrics are at http://{address}/metrics"));
    }
    if let Some(code) = &node.enrolment_code {
        print::note(&format!(
            "nobody is enrolled yet; within 15 minutes: chancery enrol --name YOU --code {}",
            code.expose_secret()
        ));
    }
}

/// The same for machines.
///
/// SECURITY: such a log is collected and kept, so the code is not put in it but in a file that only its owner can read.
fn announce_to_log(node: &Node, public_url: &str, data: &Path) -> anyhow::Result<()> {
    tracing::info!(public_url, address = %node.address, "serving");
    if let Some(address) = node.metrics_address {
        tracing::info!(%address, "metrics are served");
    }
    if let Some(code) = &node.enrolment_code {
        let path = data.join("enrolment-code");
        write_anew(&path, code.expose_secret())
            .with_context(|| format!("`{}` cannot be written", path.display()))?;
        let file = path.display();
        tracing::info!(
            "nobody is enrolled yet; within 15 minutes: chancery enrol --name YOU --code \"$(cat {file})\""
        );
    }
    Ok(())
}

fn write_anew(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())
}

/// Waits for an interrupt or a request to end.
pub(crate) async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return drop(tokio::signal::ctrl_c().await);
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// A free port on loopback.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no port is free")?;
    match listener.local_addr()?.port() {
        0 => bail!("no port is free"),
        port => Ok(port),
    }
}
