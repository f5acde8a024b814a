//! PostgreSQL over the network: TLS, the server's certificate and its name. In front of the real server stands one that
//! answers as PostgreSQL does to a request for TLS (its message SSLRequest) and hands everything on.

use crate::harness::*;
use chancery_store::db::Options;
use chancery_store::{Db, DbError};
use rustls::pki_types::PrivateKeyDer;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_postgres::config::Host;
use tokio_rustls::TlsAcceptor;

/// Runs on a database of its own, if there is a server.
macro_rules! on_postgres {
    ($($name:ident),* $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(place) = crate::harness::TestDb::postgres().await {
                    super::$name(place.clone()).await;
                    place.drop_database().await;
                }
            })*
        }
    };
}

on_postgres!(
    a_server_that_is_vouched_for_is_used,
    a_server_that_nobody_vouches_for_is_refused,
    a_server_of_another_name_is_refused,
    a_server_without_tls_is_told_nothing,
);

/// What stands in front.
struct Front {
    port: u16,
    /// How many have come through to the server.
    through: Arc<AtomicUsize>,
}

/// A certificate, and the file in which it is trusted.
struct Identity {
    acceptor: TlsAcceptor,
    trusted: tempfile::NamedTempFile,
}

impl Identity {
    fn of(name: &str) -> Self {
        let signed = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let trusted = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(trusted.path(), signed.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.der().clone()], key)
            .unwrap();
        Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            trusted,
        }
    }
}

impl Front {
    /// Without an acceptor it says that it has no TLS, and goes on in the clear with whoever does.
    async fn before(place: &TestDb, acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let through = Arc::new(AtomicUsize::new(0));
        let server: tokio_postgres::Config = place.text.parse().unwrap();
        let count = through.clone();
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let (acceptor, server, count) = (acceptor.clone(), server.clone(), count.clone());
                tokio::spawn(async move {
                    let mut request = [0; 8];
                    client.read_exact(&mut request).await.unwrap();
                    assert_eq!(request, TLS_REQUEST);
                    let Some(acceptor) = acceptor else {
                        client.write_all(b"N").await.unwrap();
                        return hand_on(client, &server, &count).await;
                    };
                    client.write_all(b"S").await.unwrap();
                    // Whoever does not trust the certificate goes away.
                    if let Ok(client) = acceptor.accept(client).await {
                        hand_on(client, &server, &count).await;
                    }
                });
            }
        });
        Self { port, through }
    }

    /// The address of a database of the server, through here.
    async fn open(&self, place: &TestDb, trusted: &Identity) -> Result<Db, DbError> {
        let server: tokio_postgres::Config = place.text.parse().unwrap();
        let url = format!(
            "postgres://{}@localhost:{}/{}?sslmode=require&sslrootcert={}",
            server.get_user().unwrap_or("postgres"),
            self.port,
            server.get_dbname().unwrap(),
            trusted.trusted.path().display()
        );
        let db = Db::open(&url.parse().unwrap(), Options::default()).await?;
        db.migrate(SCHEMA).await?;
        Ok(db)
    }
}

/// Copies both ways between a client, once it has said something, and the server.
async fn hand_on(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    server: &tokio_postgres::Config,
    count: &AtomicUsize,
) {
    let mut first = [0; 1];
    if client.read_exact(&mut first).await.is_err() {
        return;
    }
    count.fetch_add(1, Ordering::SeqCst);
    let port = server.get_ports().first().copied().unwrap_or(5432);
    match server.get_hosts().first().unwrap() {
        Host::Unix(folder) => {
            let path = folder.join(format!(".s.PGSQL.{port}"));
            let mut stream = UnixStream::connect(path).await.unwrap();
            stream.write_all(&first).await.unwrap();
            let _ = copy_bidirectional(&mut client, &mut stream).await;
        }
        Host::Tcp(host) => {
            let mut stream = TcpStream::connect((host.as_str(), port)).await.unwrap();
            stream.write_all(&first).await.unwrap();
            let _ = copy_bidirectional(&mut client, &mut stream).await;
        }
    }
}

async fn a_server_that_is_vouched_for_is_used(place: TestDb) {
    let identity = Identity::of("localhost");
    let front = Front::before(&place, Some(identity.acceptor.clone())).await;
    let db = front.open(&place, &identity).await.unwrap();
    must(&db, batch().push(insert_code("c")).push(event("x"))).await;
    assert_eq!(events(&db).await, ["x"]);
    assert!(front.through.load(Ordering::SeqCst) > 0);
}

async fn a_server_that_nobody_vouches_for_is_refused(place: TestDb) {
    let (identity, other) = (Identity::of("localhost"), Identity::of("localhost"));
    let front = Front::before(&place, Some(identity.acceptor.clone())).await;
    assert!(front.open(&place, &other).await.is_err());
    assert_eq!(front.through.load(Ordering::SeqCst), 0);
}

async fn a_server_of_another_name_is_refused(place: TestDb) {
    let identity = Identity::of("elsewhere.example");
    let front = Front::before(&place, Some(identity.acceptor.clone())).await;
    assert!(front.open(&place, &identity).await.is_err());
    assert_eq!(front.through.load(Ordering::SeqCst), 0);
}

/// A server in the middle that takes TLS away sees neither name nor password.
async fn a_server_without_tls_is_told_nothing(place: TestDb) {
    let identity = Identity::of("localhost");
    let front = Front::before(&place, None).await;
    assert!(front.open(&place, &identity).await.is_err());
    assert_eq!(front.through.load(Ordering::SeqCst), 0);
}

/// The length of the message and the code of a request for TLS.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
