//! `chancery doctor`: checks what a server needs and prints the fix for what is wrong.

use crate::print::{self, Output};
use crate::root_key::Place;
use crate::serve::{self, ServeArguments};
use anyhow::bail;
use chancery_server::kms::KeyService;
use chancery_server::listener::{TlsConfig, check_bind};
use chancery_server::roots::Roots;
use chancery_server::store::db::{DatabaseUrl, Options};
use chancery_server::store::{Db, DbError, MIGRATIONS};
use chancery_server::test_mode;
use chancery_server::world::{SystemClock, SystemRandom};
use clap::Args;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// Arguments of `doctor`: those of `serve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    serve: ServeArguments,
}

/// One check.
struct Check {
    name: &'static str,
    /// What is wrong and how to mend it; nothing if all is well.
    fault: Option<(String, String)>,
}

/// `chancery doctor`.
pub(crate) async fn run(arguments: DoctorArguments, output: Output) -> anyhow::Result<()> {
    let serve = arguments.serve;
    let mut checks = vec![
        public_url(&serve),
        tls(&serve),
        binding(&serve),
        permissions(&serve),
        proxies(&serve),
    ];
    checks.extend(key_service(&serve).await);
    checks.extend(serve.test_mode.then(|| test_mode(&serve)));
    checks.extend(database(&serve).await);
    let faults = checks.iter().filter(|check| check.fault.is_some()).count();
    if output.json {
        let rows = checks.iter().map(|check| {
            let (fault, fix) = check.fault.clone().unzip();
            serde_json::json!({ "check": check.name, "ok": fault.is_none(), "fault": fault, "fix": fix })
        });
        print::json(&serde_json::Value::Array(rows.collect()));
    } else {
        for check in &checks {
            match &check.fault {
                None => print::line(&format!("ok    {}", check.name)),
                Some((fault, fix)) => {
                    print::line(&format!("FAULT {}: {fault}\n      fix: {fix}", check.name));
                }
            }
        }
    }
    if faults > 0 {
        bail!("{faults} fault(s)");
    }
    Ok(())
}

fn check(name: &'static str, fault: Option<(String, String)>) -> Check {
    Check { name, fault }
}

fn public_url(arguments: &ServeArguments) -> Check {
    let fault = chancery_core::uri::check_base_url(arguments.public_url.trim_end_matches('/'))
        .err()
        .map(|error| {
            (
                format!("`{}`: {error}", arguments.public_url),
                "give --public-url as https://host without a final slash".to_owned(),
            )
        });
    check("public URL", fault)
}

fn tls(arguments: &ServeArguments) -> Check {
    let pair = arguments.tls_certificate.clone().zip(arguments.tls_key.clone());
    let fault = pair.and_then(|(certificate, key)| TlsConfig::load(certificate, key).err()).map(|error| {
        (error.to_string(), "--tls-certificate is the chain in PEM with the server's certificate first, --tls-key its key".to_owned())
    });
    check("certificate", fault)
}

fn binding(arguments: &ServeArguments) -> Check {
    let proxies = serve::trusted_proxies(&arguments.trusted_proxies).unwrap_or_default();
    let fault = check_bind(arguments.listen, arguments.tls_certificate.is_some(), &proxies).err();
    let fix = "give a certificate, name the proxies in front with --trusted-proxies, or listen on 127.0.0.1"
        .to_owned();
    check("listening address", fault.map(|error| (error.to_string(), fix)))
}

/// Has the service that is to hold the root key wrap a key and give it back.
async fn key_service(arguments: &ServeArguments) -> Option<Check> {
    let database = &arguments.database;
    if !is_in_service(arguments) {
        return None;
    }
    let tried = async {
        let roots = Roots::alone(database.root()?, database.outside()?, Arc::new(SystemClock))?;
        for service in roots.services() {
            if let Err(fault) = service.try_out(&SystemRandom).await {
                return anyhow::Ok(Some((fault.to_string(), fault.error.hint())));
            }
        }
        Ok(None)
    };
    let fault = tried.await.unwrap_or_else(|error| {
        let fix = "name the key as in transit:https://HOST/v1/MOUNT/KEY, and --root-key-credential";
        Some((error.to_string(), fix.to_owned()))
    });
    Some(check("root key in a key service", fault))
}

fn is_in_service(arguments: &ServeArguments) -> bool {
    let path = arguments.database.root_key_path();
    path.to_str().is_some_and(KeyService::is_named_by)
}

fn permissions(arguments: &ServeArguments) -> Check {
    if is_in_service(arguments) {
        return check("root key permissions", None);
    }
    let fault = match Place::parse(&arguments.database.root_key_path()) {
        Ok(Place::File(file)) => readable(&file),
        Ok(Place::Environment(_)) => None,
        Err(error) => Some((
            error.to_string(),
            "name the credential as the unit does".to_owned(),
        )),
    };
    check("root key permissions", fault)
}

/// What is wrong with a file that others can read.
fn readable(file: &Path) -> Option<(String, String)> {
    let mode = std::fs::metadata(file).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        (
            format!("`{}` has mode {mode:o}", file.display()),
            format!("chmod 600 {}", file.display()),
        )
    })
}

/// Named loudly even where nothing is wrong with it.
fn test_mode(arguments: &ServeArguments) -> Check {
    let has_proxies = !arguments.trusted_proxies.is_empty();
    let public_url = arguments.public_url.trim_end_matches('/');
    let fault = test_mode::check(arguments.listen, public_url, has_proxies).err();
    let fix = "leave out --test-mode; it is for suites of tests on one machine".to_owned();
    check(test_mode::WARNING, fault.map(|error| (error.to_string(), fix)))
}

fn proxies(arguments: &ServeArguments) -> Check {
    let parsed = serve::trusted_proxies(&arguments.trusted_proxies);
    let fault = parsed.err().map(|error| {
        (
            error.to_string(),
            "give networks as in 10.0.0.0/8,fd00::/8".to_owned(),
        )
    });
    check("trusted proxies", fault)
}

async fn database(arguments: &ServeArguments) -> Vec<Check> {
    let url = match &arguments.database.database {
        Some(text) => text.parse(),
        None => Ok(DatabaseUrl::sqlite(arguments.database.data.join("chancery.db"))),
    };
    let url = match url {
        Ok(url) => url,
        Err(error) => {
            return vec![check(
                "database",
                Some((
                    error.to_string(),
                    "--database sqlite:PATH or postgres://…".to_owned(),
                )),
            )];
        }
    };
    if url.sqlite_path().is_some_and(|path| !path.exists()) {
        return vec![check("database (not made yet)", None)];
    }
    let db = match Db::open(&url, Options::default()).await {
        Ok(db) => db,
        // A server that runs on the file holds it, and then the file is in good hands.
        Err(DbError::Locked { .. }) if serves(arguments) => {
            return vec![check("database (a server is running on it)", None)];
        }
        Err(error) => {
            let fix = "is the server running on this file already? then all is well; else check the address and permissions".to_owned();
            return vec![check("database", Some((error.to_string(), fix)))];
        }
    };
    let pending = db.pending(MIGRATIONS).await.map_or_else(
        |error| {
            Some((
                error.to_string(),
                "use the version of chancery that made this database, or a newer one".to_owned(),
            ))
        },
        |_| None,
    );
    let skew = clock(&db).await;
    db.close().await;
    vec![check("database schema", pending), check("clock", skew)]
}

/// Whether a server answers on the local socket.
fn serves(arguments: &ServeArguments) -> bool {
    std::os::unix::net::UnixStream::connect(arguments.database.data.join("chancery.sock")).is_ok()
}

async fn clock(db: &Db) -> Option<(String, String)> {
    use chancery_core::time::Clock as _;
    let here = chancery_server::world::SystemClock.now();
    match db.now().await {
        Ok(there) => {
            let skew = here.since(there).max(there.since(here));
            let is_off = skew > chancery_core::time::Ttl::from_seconds(1);
            is_off.then(|| {
                (
                    format!("{} ms off the database's clock", skew.as_micros() / 1_000),
                    "synchronise both clocks (NTP)".to_owned(),
                )
            })
        }
        Err(error) => Some((error.to_string(), "check the database".to_owned())),
    }
}
