//! A node: everything that `chancery serve` starts and stops, and what it needs to be told.

use crate::app::App;
use crate::approve::notice::{Channels, Webhook};
use crate::connect::refresh::Refreshes;
use crate::directory::cache::Directory;
use crate::egress::jwks::{IssuerKeys, IssuerKeysConfig};
use crate::egress::openid::Providers;
use crate::egress::{AllowedHost, Egress, EgressConfig, MailConfig, Mailer};
use crate::error::Failure;
use crate::gateway::{Gateway, ends};
use crate::issue::flood::{self, Flood};
use crate::issue::own::Verified;
use crate::jobs::feed::{self, FeedPosition};
use crate::jobs::freshness::Freshness;
use crate::jobs::{self, expiry};
use crate::limits::{CallLimits, Limits as CallLimiter, refused};
use crate::listener::{Endpoint, Limits, TlsConfig, TrustedProxies, serve};
use crate::metrics::Metrics;
use crate::people::hashing::Hashing;
use crate::people::password::KnownPasswords;
use crate::registration::document::Documents;
use crate::roots::{Root, RootSource, Roots};
use crate::setup;
use crate::sinks::Sinks;
use crate::tenants::Tenants;
use crate::test_mode;
use crate::witness;
use crate::world::{SystemClock, SystemRandom};
use chancery_core::id::{Id as _, NodeId};
use chancery_core::random::Random;
use chancery_core::secret::Secret;
use chancery_core::time::{Clock, Ttl};
use chancery_store::db::{DatabaseUrl, Observer, Options};
use chancery_store::{Db, change};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The interface of github.com.
pub const GITHUB_API: &str = "https://api.github.com";

/// What a node is told when it starts.
#[derive(Debug)]
pub struct NodeConfig {
    /// Where the data is.
    pub database: DatabaseUrl,
    /// The root key.
    pub root: RootSource,
    /// The root key that is to replace it, while it is being replaced.
    pub next_root: Option<RootSource>,
    /// The base URL of the default tenant. Never changes.
    pub public_url: String,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The local socket for administration, if any.
    pub socket: Option<PathBuf>,
    /// Certificate chain and key, in PEM files that are read again when they change.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Proxies in front of this node.
    pub proxies: TrustedProxies,
    /// Where metrics are served, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// How much may be asked for.
    pub call_limits: CallLimits,
    /// Bounds of what a peer may make this node wait for, and keep.
    pub limits: Limits,
    /// Hosts and networks of special use that may be called.
    pub allowed_hosts: Vec<AllowedHost>,
    /// Certificate authorities trusted for outgoing calls beside the public ones.
    pub extra_ca_file: Option<PathBuf>,
    /// A file that every signed checkpoint is appended to.
    pub checkpoint_file: Option<PathBuf>,
    /// A URL that every signed checkpoint is posted to.
    pub checkpoint_url: Option<String>,
    /// Where requests for a person's yes are posted, and the secret that signs them.
    pub approval_webhook: Option<(String, Secret<String>)>,
    /// The relay by which people are written to of such requests.
    pub mail: Option<MailConfig>,
    /// An address that is written to of every request.
    pub approval_mail_to: Option<String>,
    /// Passwords that nobody may set.
    pub known_passwords: KnownPasswords,
    /// The base URL of GitHub's interface: [`GITHUB_API`], or that of an Enterprise server.
    pub github_api: String,
    /// Whether suites of tests may do what nobody else may: see [`crate::test_mode`].
    pub test_mode: bool,
}

/// The parts of the world that a test replaces.
#[derive(Clone, Debug)]
pub struct World {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The random source.
    pub random: Arc<dyn Random>,
    /// Whether the clock is compared with the database's.
    pub checks_clock: bool,
    /// How long one call to the outside may take.
    pub outbound_timeout: Ttl,
}

impl Default for World {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            checks_clock: true,
            outbound_timeout: EgressConfig::default().total_timeout,
        }
    }
}

/// A node that serves.
#[derive(Debug)]
pub struct Node {
    /// Its state, for those who run it in their own process.
    pub app: Arc<App>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it serves metrics.
    pub metrics_address: Option<SocketAddr>,
    /// The enrolment code, if nobody was enrolled yet.
    pub enrolment_code: Option<Secret<String>>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    /// Opens the database, brings it up to date, and serves.
    ///
    /// # Errors
    /// Anything that keeps the node from serving; nothing is left running then.
    pub async fn start(config: NodeConfig, world: World) -> Result<Self, Failure> {
        let tls = config
            .tls
            .clone()
            .map(|(certificate, key)| TlsConfig::load(certificate, key).map(Arc::new));
        let tls = tls.transpose().map_err(Failure::start)?;
        let public = Endpoint::tcp(config.listen, tls.clone(), &config.proxies)
            .await
            .map_err(Failure::start)?;
        let address = public.local_address().unwrap_or(config.listen);
        let metrics = match config.metrics {
            Some(listen) => Some(
                Endpoint::tcp(listen, tls.clone(), &config.proxies)
                    .await
                    .map_err(Failure::start)?,
            ),
            None => None,
        };
        let metrics_address = metrics.as_ref().and_then(Endpoint::local_address);
        let local = match &config.socket {
            Some(path) => Some(Endpoint::unix(path).await.map_err(Failure::start)?),
            None => None,
        };
        let limits = config.limits;
        let (app, enrolment_code) = open(config, world).await?;
        let stop = CancellationToken::new();
        let router = crate::http::router(app.clone());
        let mut tasks = vec![tokio::spawn(jobs::run(app.clone(), stop.clone()))];
        let beside = metrics.map(|endpoint| (endpoint, crate::http::metrics_router(app.clone())));
        let endpoints = std::iter::once(public).chain(local);
        for (endpoint, router) in endpoints.map(|endpoint| (endpoint, router.clone())).chain(beside) {
            let work = serve(endpoint, router, limits, stop.clone());
            tasks.push(tokio::spawn(async move {
                let _cut = work.await;
            }));
        }
        if let Some(tls) = tls {
            tasks.push(tokio::spawn(
                tls.watch(Ttl::from_seconds(5).as_std(), stop.clone()),
            ));
        }
        Ok(Self {
            app,
            address,
            metrics_address,
            enrolment_code,
            stop,
            tasks,
        })
    }

    /// Takes no more requests, finishes those under way, folds the last events into the log, and closes.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            let _ = task.await;
        }
        ends::record(&self.app).await;
        if let Err(error) = flood::record_omitted(&self.app).await {
            tracing::warn!(%error, "how many failed authentications were left out was not recorded");
        }
        if let Err(error) = refused::record(&self.app).await {
            tracing::warn!(%error, "how many requests were refused was not recorded");
        }
        if let Err(error) = jobs::integrator::run(&self.app).await {
            tracing::warn!(%error, "the last events were not folded into the log; the next start does it");
        }
        if let Err(error) = jobs::integrator::give_up(&self.app).await {
            tracing::warn!(%error, "the log goes on only when the lease of this node runs out");
        }
        self.app.sinks.deliver(self.app.clock.now()).await;
        self.app.db.close().await;
    }
}

/// Opens the database and makes the state of a node, without serving.
///
/// # Errors
/// The database's; a root key that does not fit.
pub async fn open(config: NodeConfig, world: World) -> Result<(Arc<App>, Option<Secret<String>>), Failure> {
    open_with(config, world, Options::default()).await
}

/// The same with limits of the caller's own for the database.
///
/// # Errors
/// As [`open`].
pub async fn open_with(
    mut config: NodeConfig,
    world: World,
    options: Options,
) -> Result<(Arc<App>, Option<Secret<String>>), Failure> {
    test_mode::apply(&mut config)?;
    let (metrics, observer) = Metrics::new();
    let db = Db::open(&config.database, with_observer(options, observer)).await?;
    let opened = on(db.clone(), config, world, metrics)
        .await
        .map_err(Failure::at_start);
    if opened.is_err() {
        // Whoever tries again must find the file free.
        db.close().await;
    }
    opened
}

/// The state of a node on an open database.
async fn on(
    db: Db,
    config: NodeConfig,
    world: World,
    metrics: Arc<Metrics>,
) -> Result<(Arc<App>, Option<Secret<String>>), Failure> {
    let (now, random) = (world.clock.now(), &*world.random);
    let is_new = !db.pending(chancery_store::MIGRATIONS).await?.is_empty();
    let backup_place = config.database.sqlite_path().map(folder_of);
    let channels = channels(&config)?;
    let egress = Egress::new(
        EgressConfig {
            allowed_hosts: config.allowed_hosts,
            extra_ca_file: config.extra_ca_file,
            total_timeout: world.outbound_timeout,
            ..EgressConfig::default()
        },
        world.clock.clone(),
    );
    let egress = Arc::new(egress.map_err(Failure::internal)?);
    let next_root = config
        .next_root
        .map(|root| Root::new(root, &egress))
        .transpose()?;
    let roots = Roots::new(Root::new(config.root, &egress)?, next_root);
    let roots = setup::prepare(&db, roots, now, random).await?;
    setup::ensure_tenants(&db, roots.current(), &config.public_url, now, random).await?;
    // The feed's end is read before anything is loaded, so that no change can fall between.
    let end = change::end(&db).await?;
    let issuer_keys = IssuerKeys::new(egress.clone(), world.clock.clone(), IssuerKeysConfig::default());
    let client_keys = IssuerKeys::new(egress.clone(), world.clock.clone(), IssuerKeysConfig::default());
    let app = Arc::new(App {
        node: NodeId::generate(now, random),
        directory: Directory::new(db.clone()),
        tenants: Tenants::new(roots),
        freshness: Freshness::default(),
        feed: FeedPosition::new(end),
        checks_clock: world.checks_clock,
        flood: Flood::default(),
        verified: Verified::default(),
        gateway: Gateway::default(),
        refreshes: Refreshes::default(),
        proxies: config.proxies,
        egress: egress.clone(),
        channels,
        hashing: Hashing::default(),
        known_passwords: config.known_passwords,
        github_api: config.github_api,
        test_mode: config.test_mode,
        issuer_keys,
        providers: Providers::new(egress.clone(), world.clock.clone()),
        client_keys: client_keys.of_clients(),
        documents: Documents::default(),
        limits: CallLimiter::new(config.call_limits, metrics.clone()),
        metrics,
        backup_place,
        sinks: Sinks::new(config.checkpoint_file, config.checkpoint_url, egress),
        db,
        clock: world.clock,
        random: world.random,
    });
    let code = ready(&app, is_new).await?;
    Ok((app, code))
}

/// How people are told of requests for a yes.
fn channels(config: &NodeConfig) -> Result<Channels, Failure> {
    let webhook = match &config.approval_webhook {
        Some((url, secret)) => Some(
            Webhook::new(url.clone(), secret)
                .ok_or_else(|| Failure::start("the URL of the approval webhook is malformed"))?,
        ),
        None => None,
    };
    let mail = config.mail.as_ref();
    let mail = mail.map(|mail| Mailer::new(mail, config.extra_ca_file.clone()));
    Ok(Channels {
        webhook,
        mail: mail
            .transpose()
            .map_err(|error| Failure::start(error.to_string()))?,
        mail_to: config.approval_mail_to.clone(),
    })
}

/// Loads what a node must know before it serves; gives the enrolment code of a first start.
async fn ready(app: &App, is_new: bool) -> Result<Option<Secret<String>>, Failure> {
    app.tenants.open_all(&app.db).await?;
    if let Some(path) = app.sinks.file() {
        witness::check(&app.db, path, &app.tenants.all()).await?;
    }
    expiry::run(app).await?;
    feed::follow(app).await?;
    if is_new { first_code(app).await } else { Ok(None) }
}

fn with_observer(mut options: Options, observer: Observer) -> Options {
    options.observer = Some(observer);
    options
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_owned()
}

async fn first_code(app: &App) -> Result<Option<Secret<String>>, Failure> {
    let Some(served) = app.tenants.find_by_name(setup::DEFAULT_TENANT) else {
        return Ok(None);
    };
    setup::enrolment_code(&app.db, served.tenant.id, app.clock.now(), &*app.random)
        .await
        .map(Some)
}
