//! A node with a database of its own on either engine, a clock that a test moves, and requests to its router.

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chancery_core::random::DangerSeededRandom;
use chancery_core::time::{FixedClock, Timestamp, Ttl};
use chancery_server::App;
use chancery_server::keys::RootKey;
use chancery_server::limits::CallLimits;
use chancery_server::listener::{Limits, LocalPeer, TrustedProxies};
use chancery_server::node::{self, NodeConfig, World};
use chancery_server::people::password::KnownPasswords;
use chancery_server::store::db::{DatabaseUrl, Options};
use chancery_server::store::{Batch, Db, Expect, Sql, Statement};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tower::ServiceExt as _;

/// Runs each scenario on each engine, as a test of its own.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::harness::Place::sqlite()).await;
            })*
        }
        crate::harness::on_postgres!($($name),*);
    };
}
pub(crate) use on_both_engines;

/// Runs each scenario on PostgreSQL alone.
macro_rules! on_postgres {
    ($($name:ident),* $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(place) = crate::harness::Place::postgres().await {
                    super::$name(place.clone()).await;
                    place.drop_schema().await;
                }
            })*
        }
    };
}
pub(crate) use on_postgres;

/// The base URL of the default tenant.
pub(crate) const BASE: &str = "https://id.example";
/// The moment at which every test begins: 2026-01-15T12:00:00Z.
pub(crate) const START: Timestamp = Timestamp::from_seconds(1_768_478_400);

/// Where one test keeps its data: an SQLite file, or a PostgreSQL schema.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The address as text, for a process of its own.
    pub(crate) text: String,
    schema: Option<String>,
    _folder: Option<Arc<tempfile::TempDir>>,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            text: format!("sqlite:{}", folder.path().join("chancery.db").display()),
            schema: None,
            _folder: Some(Arc::new(folder)),
        }
    }

    /// A schema of its own on the server that `TEST_POSTGRES_URL` names. Without it the test fails, unless
    /// `CHANCERY_TEST_ENGINES=sqlite` says that PostgreSQL is left out on purpose.
    pub(crate) async fn postgres() -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let server = server_url()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let schema = format!("s_{}_{number}", std::process::id());
        administer(&server, format!("CREATE SCHEMA {schema}")).await;
        let mark = if server.contains('?') { '&' } else { '?' };
        Some(Self {
            text: format!("{server}{mark}options=-csearch_path%3D{schema}"),
            schema: Some(schema),
            _folder: None,
        })
    }

    /// A place that another process made.
    pub(crate) fn at(text: String) -> Self {
        Self {
            text,
            schema: None,
            _folder: None,
        }
    }

    pub(crate) async fn drop_schema(&self) {
        if let (Some(schema), Some(server)) = (&self.schema, server_url()) {
            administer(&server, format!("DROP SCHEMA {schema} CASCADE")).await;
        }
    }

    /// Every column of every row, as text.
    pub(crate) async fn dump(&self) -> Vec<u8> {
        let (server, schema) = self.server_and_schema();
        let dump = tokio::task::spawn_blocking(move || {
            let command = std::process::Command::new("pg_dump")
                .args(["--data-only", "--schema", &schema])
                .arg(server)
                .output();
            command.unwrap()
        });
        let dump = dump.await.unwrap();
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        dump.stdout
    }

    /// The server's address and the schema on it.
    pub(crate) fn server_and_schema(&self) -> (String, String) {
        (server_url().unwrap(), self.schema.clone().unwrap())
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.schema.is_some()
    }

    pub(crate) fn url(&self) -> DatabaseUrl {
        self.text.parse().unwrap()
    }

    /// The database beside the node, for what nobody should be able to do.
    pub(crate) async fn behind_the_back(&self, sql: &str) {
        let db = Db::open(&self.url(), Options::default()).await.unwrap();
        edit(&db, sql).await;
        db.close().await;
    }
}

async fn edit(db: &Db, sql: &str) {
    let sql = Sql::same(String::from(sql).leak());
    let statement = Statement::new(&sql, Vec::new(), Expect::AtLeast(1), "edit");
    assert!(db.commit(batch().push(statement)).await.unwrap().is_committed());
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test is the edge that reads the environment"
)]
fn server_url() -> Option<String> {
    if let Ok(url) = std::env::var("TEST_POSTGRES_URL") {
        return Some(url);
    }
    assert_eq!(
        std::env::var("CHANCERY_TEST_ENGINES").as_deref(),
        Ok("sqlite"),
        "PostgreSQL is not there to be tested: run `cargo xtask test`, or set CHANCERY_TEST_ENGINES=sqlite to \
         leave it out on purpose"
    );
    println!("NOT TESTED ON POSTGRESQL: CHANCERY_TEST_ENGINES=sqlite");
    None
}

async fn administer(server: &str, sql: String) {
    let db = Db::open(&server.parse().unwrap(), Options::default())
        .await
        .unwrap();
    db.migrate(&[]).await.unwrap();
    let sql = Sql::same(sql.leak());
    let statement = Statement::new(&sql, Vec::new(), Expect::Any, "schema");
    assert!(db.commit(batch().push(statement)).await.unwrap().is_committed());
    db.close().await;
}

fn batch() -> Batch {
    use chancery_core::id::{BatchId, Id as _};
    static RANDOM: std::sync::LazyLock<DangerSeededRandom> =
        std::sync::LazyLock::new(|| DangerSeededRandom::new(u64::from(std::process::id()) << 20));
    Batch::new(BatchId::generate(START, &*RANDOM))
}

/// A node that a test drives by hand: no background job runs.
#[derive(Clone, Debug)]
pub(crate) struct Chancery {
    pub(crate) app: Arc<App>,
    pub(crate) clock: Arc<FixedClock>,
    /// The enrolment code of the first start.
    pub(crate) code: Option<String>,
    /// What requests are sent to.
    host: String,
    router: Router,
}

impl Chancery {
    pub(crate) async fn start(place: &Place) -> Self {
        Self::start_at(place, START).await
    }

    /// A node whose clock begins at a moment.
    pub(crate) async fn start_at(place: &Place, at: Timestamp) -> Self {
        Self::try_start(place, at, Options::default()).await.unwrap()
    }

    /// A node that is told or given something of the test's own.
    pub(crate) async fn start_with(place: &Place, change: impl FnOnce(&mut NodeConfig, &mut World)) -> Self {
        Self::build(place, START, Options::default(), change)
            .await
            .unwrap()
    }

    pub(crate) async fn try_start(
        place: &Place,
        at: Timestamp,
        options: Options,
    ) -> Result<Self, chancery_server::Failure> {
        Self::build(place, at, options, |_, _| {}).await
    }

    /// A node that is told something of the test's own, if it starts.
    pub(crate) async fn try_start_with(
        place: &Place,
        at: Timestamp,
        change: impl FnOnce(&mut NodeConfig, &mut World),
    ) -> Result<Self, chancery_server::Failure> {
        Self::build(place, at, Options::default(), change).await
    }

    /// A node with a database that is told something, and a configuration of the test's own.
    pub(crate) async fn try_start_as(
        place: &Place,
        options: Options,
        change: impl FnOnce(&mut NodeConfig),
    ) -> Result<Self, chancery_server::Failure> {
        Self::build(place, START, options, |config, _| change(config)).await
    }

    pub(crate) async fn build(
        place: &Place,
        at: Timestamp,
        mut options: Options,
        change: impl FnOnce(&mut NodeConfig, &mut World),
    ) -> Result<Self, chancery_server::Failure> {
        static SEED: AtomicU64 = AtomicU64::new(1);
        let seed = SEED.fetch_add(1, Ordering::Relaxed) + (u64::from(std::process::id()) << 32);
        let clock = Arc::new(FixedClock::new(at));
        let mut world = World {
            clock: clock.clone(),
            random: Arc::new(DangerSeededRandom::new(seed)),
            checks_clock: false,
            ..World::default()
        };
        let mut config = config(place);
        change(&mut config, &mut world);
        let host = config.public_url.split_once("://").unwrap().1.to_owned();
        options.pool = 8;
        let (app, code) = node::open_with(config, world, options).await?;
        let router = chancery_server::http::router(app.clone());
        Ok(Self {
            app,
            clock,
            code: code.map(|code| code.expose_secret().clone()),
            host,
            router,
        })
    }

    /// What nobody should be able to do to the database, while the node has it.
    pub(crate) async fn edit(&self, sql: &str) {
        edit(&self.app.db, sql).await;
    }

    /// Moves the clock and follows the feed, as the background job would have.
    pub(crate) async fn advance(&self, by: Ttl) {
        self.clock.advance(by);
        self.follow().await;
    }

    pub(crate) async fn follow(&self) {
        chancery_server::jobs::feed::follow(&self.app).await.unwrap();
    }

    pub(crate) async fn integrate(&self) {
        chancery_server::jobs::integrator::run(&self.app).await.unwrap();
    }

    pub(crate) async fn expire(&self) {
        chancery_server::jobs::expiry::run(&self.app).await.unwrap();
    }

    /// Sends one request through the router.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes().to_vec(),
        }
    }

    /// Sends one request; an error if the body of the answer breaks off.
    pub(crate) async fn try_send(&self, request: Request<Body>) -> Result<Answer, axum::Error> {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await?.to_bytes().to_vec(),
        })
    }

    /// The same node, but for one POST, which is kept and not sent.
    pub(crate) fn keeping(&self, path: &'static str) -> (Self, Arc<std::sync::Mutex<Option<Value>>>) {
        self.keeping_any(http::Method::POST, path)
    }

    /// The same node, but for one request, which is kept and not sent.
    pub(crate) fn keeping_any(
        &self,
        method: http::Method,
        path: &'static str,
    ) -> (Self, Arc<std::sync::Mutex<Option<Value>>>) {
        let kept = Arc::new(std::sync::Mutex::new(None));
        let (keep, router) = (kept.clone(), self.router.clone());
        let answer = move |request: Request<Body>| {
            let (keep, router, method) = (keep.clone(), router.clone(), method.clone());
            async move {
                if request.method() != method || request.uri().path() != path {
                    return router.oneshot(request).await.unwrap();
                }
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes().to_vec();
                let headers: Vec<_> = parts.headers.iter().collect();
                let headers: Vec<[&str; 2]> = headers
                    .into_iter()
                    .map(|(name, value)| [name.as_str(), value.to_str().unwrap()])
                    .collect();
                let body = String::from_utf8(body).unwrap();
                let path = parts.uri.path_and_query().unwrap().as_str();
                *keep.lock().unwrap() = Some(serde_json::json!({
                    "method": method.as_str(), "path": path, "headers": headers, "body": body,
                }));
                http::Response::new(Body::empty())
            }
        };
        let node = Self {
            router: Router::new().fallback(answer),
            ..self.clone()
        };
        (node, kept)
    }

    /// Sends what was kept.
    pub(crate) async fn send_kept(&self, kept: &Value) -> Answer {
        let mut request = Request::builder()
            .method(kept["method"].as_str().unwrap())
            .uri(kept["path"].as_str().unwrap());
        for header in kept["headers"].as_array().unwrap() {
            request = request.header(header[0].as_str().unwrap(), header[1].as_str().unwrap());
        }
        let body = Body::from(kept["body"].as_str().unwrap().to_owned());
        self.send(request.body(body).unwrap()).await
    }

    /// Posts a form to a tenant's base, which is `""` or `/t/NAME`.
    pub(crate) async fn form(&self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        self.form_with(path, pairs, None).await
    }

    pub(crate) async fn form_with(
        &self,
        path: &str,
        pairs: &[(&str, &str)],
        authorization: Option<&str>,
    ) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        self.raw_form(path, body, authorization).await
    }

    pub(crate) async fn raw_form(
        &self,
        path: &str,
        body: impl Into<Body>,
        authorization: Option<&str>,
    ) -> Answer {
        let mut request = Request::post(path)
            .header("host", &self.host)
            .header("content-type", "application/x-www-form-urlencoded");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).header("host", &self.host);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Calls the administration interface with a token.
    pub(crate) async fn api(&self, method: &str, path: &str, token: &str, body: Value) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("authorization", format!("Bearer {token}"));
        self.send(json_body(request, &body)).await
    }

    /// Calls the administration interface as somebody on the server's own machine.
    pub(crate) async fn local(&self, method: &str, path: &str, body: Value) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .extension(LocalPeer { uid: 1_000 });
        self.send(json_body(request, &body)).await
    }

    /// The same, and it must succeed.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.local(method, path, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {answer:?}");
        if answer.body.is_empty() {
            return Value::Null;
        }
        answer.json()
    }

    /// Makes a second tenant under `/t/NAME`.
    pub(crate) async fn add_tenant(&self, name: &str) {
        let body = serde_json::json!({ "name": name });
        self.admin("POST", "/t/system/api/v1/tenants", body).await;
    }
}

fn json_body(request: http::request::Builder, body: &Value) -> Request<Body> {
    if body.is_null() {
        return request.body(Body::empty()).unwrap();
    }
    let request = request.header("content-type", "application/json");
    request.body(Body::from(body.to_string())).unwrap()
}

fn config(place: &Place) -> NodeConfig {
    NodeConfig {
        database: place.url(),
        root: RootKey::from_bytes(&[7; 32]).unwrap().into(),
        public_url: BASE.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        socket: None,
        next_root: None,
        metrics: None,
        call_limits: CallLimits::default(),
        tls: None,
        proxies: TrustedProxies::default(),
        limits: Limits::default(),
        allowed_hosts: Vec::new(),
        extra_ca_file: None,
        checkpoint_file: None,
        checkpoint_url: None,
        approval_webhook: None,
        mail: None,
        approval_mail_to: None,
        known_passwords: KnownPasswords::default(),
        github_api: "http://127.0.0.1:1".to_owned(),
        test_mode: false,
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The status and the value of `error` of an OAuth error.
    #[track_caller]
    pub(crate) fn error(&self) -> (u16, String) {
        let error = self.json()["error"].as_str().map(str::to_owned);
        (
            self.status.as_u16(),
            error.unwrap_or_else(|| panic!("no error: {}", self.text())),
        )
    }

    /// The status and the code of a problem.
    #[track_caller]
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let code = self.json()["code"].as_str().map(str::to_owned);
        (
            self.status.as_u16(),
            code.unwrap_or_else(|| panic!("{}", self.text())),
        )
    }

    /// The access token of a successful answer.
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        self.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// The claims of the access token of a successful answer.
    #[track_caller]
    pub(crate) fn claims(&self) -> Value {
        claims(&self.token())
    }

    /// The scopes of a successful answer.
    #[track_caller]
    pub(crate) fn scope(&self) -> String {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        self.json()["scope"].as_str().unwrap().to_owned()
    }
}

/// The claims of a signed token, believed.
pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// An `Authorization` header with a client's secret.
pub(crate) fn basic(client: &str, secret: &str) -> String {
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!(
        "Basic {}",
        STANDARD.encode(format!("{}:{}", encode(client), encode(secret)))
    )
}
