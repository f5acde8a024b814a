//! `chancery backup` and `chancery restore`.

use crate::connection::{Connection, ConnectionArguments, as_json};
use crate::print::{self, Output};
use crate::serve::DatabaseArguments;
use anyhow::{Context as _, bail};
use chancery_server::error::Failure;
use chancery_server::govern::restore;
use chancery_server::node::World;
use chancery_server::roots::Roots;
use chancery_server::store::Db;
use chancery_server::store::db::{DatabaseUrl, Options};
use chancery_server::witness;
use clap::Args;
use hyper::Method;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Arguments of `backup`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BackupArguments {
    /// The file to write, which must not exist yet.
    to: PathBuf,
    /// No server runs: copy the file of the database itself. Without it the copy comes from the server on this machine.
    #[arg(long)]
    at_rest: bool,
    #[command(flatten)]
    database: DatabaseArguments,
}

/// Arguments of `restore`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RestoreArguments {
    /// The backup of an SQLite database, which is put in the database's place. Leave it out if the database was put
    /// there by other means, as PostgreSQL's is.
    from: Option<PathBuf>,
    /// Files of checkpoints that were kept elsewhere: how far the log is known to have reached.
    #[arg(long)]
    checkpoints: Vec<PathBuf>,
    /// Confirm, at a running server, that what was lost has been looked at. The tenant issues again.
    #[arg(long, conflicts_with_all = ["from", "checkpoints"])]
    confirm: bool,
    #[command(flatten)]
    database: DatabaseArguments,
}

/// `chancery backup`.
pub(crate) async fn backup(arguments: BackupArguments, connection: &Connection) -> anyhow::Result<()> {
    let to = &arguments.to;
    if arguments.at_rest {
        let database = address(&arguments.database)?;
        if database.sqlite_path().is_some_and(|path| !path.exists()) {
            bail!("there is no database at {database}");
        }
        let db = Db::open(&database, Options::default()).await?;
        let copied = db.copy_to(to).await;
        db.close().await;
        copied?;
    } else {
        download(to, &connection.in_tenant("system")).await?;
    }
    print::line(&format!("the database is copied to `{}`", to.display()));
    print::note(
        "it holds every tenant's data, credentials and signing keys sealed. It does not hold the root key: keep a copy \
         of that apart from it; without it nothing in the backup opens",
    );
    Ok(())
}

async fn download(to: &Path, connection: &Connection) -> anyhow::Result<()> {
    let mut file = private(to)?;
    let written = async {
        connection.download("/api/v1/backup", &mut file).await?;
        file.sync_all().context("the backup cannot be written")
    };
    let written = written.await;
    if written.is_err() {
        // What came so far is no backup.
        std::fs::remove_file(to).ok();
    }
    written
}

/// `chancery restore`.
pub(crate) async fn restore(
    arguments: RestoreArguments,
    connection: &ConnectionArguments,
    output: Output,
) -> anyhow::Result<()> {
    if arguments.confirm {
        let connection = connection.open()?;
        let confirmed = connection
            .send(Method::POST, "/restore/confirm", &Value::Null)
            .await?;
        if !as_json(output, &confirmed) {
            print::line("confirmed: the tenant issues again");
        }
        return Ok(());
    }
    let data = &arguments.database.data;
    std::fs::create_dir_all(data).with_context(|| format!("`{}` cannot be made", data.display()))?;
    let database = address(&arguments.database)?;
    // Before anything is put anywhere: without its key a backup opens nothing.
    let root = arguments.database.root()?;
    let notes = read_checkpoints(&arguments.checkpoints).await?;
    if let Some(from) = &arguments.from {
        put_in_place(from, &database)?;
    }
    if database.sqlite_path().is_some_and(|path| !path.exists()) {
        bail!(
            "there is no database at {database}\nhint: name the backup to put there: chancery restore FILE"
        );
    }
    let world = World::default();
    let db = Db::open(&database, Options::default()).await?;
    let continued = restore::run(
        &db,
        Roots::alone(root, arguments.database.outside()?, world.clock.clone())?,
        &notes,
        (world.clock.now(), &*world.random),
    )
    .await;
    db.close().await;
    report(&continued.map_err(Failure::at_start)?, notes.is_empty(), output);
    Ok(())
}

async fn read_checkpoints(files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let mut notes = Vec::new();
    for path in files {
        let read = witness::read(path, None).await;
        notes.extend(read.with_context(|| format!("`{}` cannot be read", path.display()))?);
    }
    Ok(notes)
}

fn report(continued: &[restore::Continued], is_unwitnessed: bool, output: Output) {
    let rows = continued.iter().map(|one| {
        json!({
            "tenant": one.tenant, "log_generation": one.log_generation, "previous_generation": one.previous.0,
            "previous_size": one.previous.1, "kept": one.kept,
        })
    });
    let rows = Value::Array(rows.collect());
    if as_json(output, &rows) {
        return;
    }
    for one in continued {
        let lost = one.previous.1.saturating_sub(one.kept);
        print::line(&format!(
            "tenant {}: log generation {} begins; of generation {} {} entries are here and {lost} are known to be lost",
            one.tenant, one.log_generation, one.previous.0, one.kept
        ));
    }
    if is_unwitnessed {
        print::note(
            "no kept checkpoint was given, so it is not known what is missing: --checkpoints FILE says it",
        );
    }
    print::note(
        "every token that was ever issued is dead. What was revoked, killed or changed after the backup stands as it was \
         before: start the server, look at it, do it again, and then let each tenant issue: chancery restore --confirm \
         --tenant NAME",
    );
}

/// Copies a backup to where the database is to be. Nothing is ever overwritten.
fn put_in_place(from: &Path, database: &DatabaseUrl) -> anyhow::Result<()> {
    let Some(to) = database.sqlite_path() else {
        bail!(
            "PostgreSQL is restored with its own tools (pg_restore, or a base backup)\nhint: then run `chancery restore` without a file"
        );
    };
    let leftovers = ["", "-wal", "-shm"].map(|end| {
        let mut path = to.as_os_str().to_owned();
        path.push(end);
        PathBuf::from(path)
    });
    if let Some(found) = leftovers.iter().find(|path| path.exists()) {
        bail!(
            "`{}` exists\nhint: move it away first; or, if it is the backup already, leave FROM out",
            found.display()
        );
    }
    let mut source =
        std::fs::File::open(from).with_context(|| format!("`{}` cannot be read", from.display()))?;
    // The database appears whole, or not at all.
    let mut part = to.as_os_str().to_owned();
    part.push(".restoring");
    let part = PathBuf::from(part);
    let mut target = private(&part)?;
    let copied = std::io::copy(&mut source, &mut target).and_then(|_| target.sync_all());
    if let Err(error) = copied.and_then(|()| std::fs::rename(&part, to)) {
        std::fs::remove_file(&part).ok();
        return Err(error).with_context(|| format!("`{}` cannot be written", to.display()));
    }
    Ok(())
}

fn private(path: &Path) -> anyhow::Result<std::fs::File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("`{}` cannot be made", path.display()))
}

fn address(arguments: &DatabaseArguments) -> anyhow::Result<DatabaseUrl> {
    Ok(match &arguments.database {
        Some(text) => text.parse()?,
        None => DatabaseUrl::sqlite(arguments.data.join("chancery.db")),
    })
}
