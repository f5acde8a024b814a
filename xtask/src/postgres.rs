//! A throw-away PostgreSQL server for tests: its own data directory, reachable only through a Unix socket
//! in it, gone when the value is dropped.
//!
//! It needs PostgreSQL 15 or newer on this machine. Where there is none, and this runs as root with
//! `apt-get`, it installs Debian's package. PostgreSQL refuses to run as root, so root drops to `postgres`
//! or `nobody`.

use crate::steps::{capture, which};
use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A running server. Dropping it stops the server and removes its files.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Where to connect, as the superuser `chancery`.
    pub(crate) url: String,
    folder: PathBuf,
    programs: PathBuf,
    account: Account,
}

/// Who runs the server.
#[derive(Clone, Debug)]
enum Account {
    /// Whoever runs this.
    Own,
    /// Another user, since this runs as root.
    Other { name: String, changer: &'static str },
}

impl Cluster {
    /// Makes and starts a server, with `fsync` on.
    ///
    /// # Errors
    /// If there is no suitable PostgreSQL and none can be installed, or it does not start; the message
    /// says what to do.
    pub(crate) fn start() -> Result<Self> {
        let programs = find_programs()?;
        let account = Account::choose()?;
        sweep(&programs, &account);
        let folder = make_folder(&account)?;
        let cluster = Self {
            url: format!("postgres:///postgres?host={}&user=chancery", folder.display()),
            folder,
            programs,
            account,
        };

        let data = cluster.data();
        let data = data.as_os_str();
        cluster.run(
            "initdb",
            &[
                "-D".as_ref(),
                data,
                "--username=chancery".as_ref(),
                "--auth=trust".as_ref(),
            ],
            &["--encoding=UTF8", "--locale=C", "--no-sync"],
        )?;
        let settings = format!(
            "-c listen_addresses='' -c unix_socket_directories='{}' -c fsync=on -c max_connections=300",
            cluster.folder.display()
        );
        let log = cluster.folder.join("log");
        cluster.run(
            "pg_ctl",
            &[
                "-D".as_ref(),
                data,
                "-l".as_ref(),
                log.as_os_str(),
                "-o".as_ref(),
                settings.as_ref(),
            ],
            &["-w", "-t", "60", "start"],
        )?;
        Ok(cluster)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Runs one of the server's programs as the right user.
    fn run(&self, program: &str, paths: &[&OsStr], arguments: &[&str]) -> Result<()> {
        let output_path = self.folder.join(format!("{program}.out"));
        let output = fs::File::create(&output_path)?;
        let status = self
            .account
            .command(&self.programs.join(program))
            .args(paths)
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .status()
            .with_context(|| format!("cannot run `{program}`"))?;
        if status.success() {
            return Ok(());
        }
        let said = fs::read_to_string(&output_path).unwrap_or_default();
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        bail!("`{program}` failed ({status}):\n{said}{log}")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.data();
        // A server that is gone already is as good as stopped.
        self.run(
            "pg_ctl",
            &["-D".as_ref(), data.as_os_str()],
            &["-m", "immediate", "-w", "stop"],
        )
        .ok();
        fs::remove_dir_all(&self.folder).ok();
    }
}

impl Account {
    fn choose() -> Result<Self> {
        if capture("id", &["-u"])?.trim() != "0" {
            return Ok(Self::Own);
        }
        let name = ["postgres", "nobody"]
            .into_iter()
            .find(|name| capture("id", &["-u", name]).is_ok())
            .context("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")?;
        let changer = ["runuser", "setpriv", "su"]
            .into_iter()
            .find(|program| which(program).is_some())
            .context("PostgreSQL does not run as root; install `runuser`, `setpriv` or `su`")?;
        let name = name.to_owned();
        Ok(Self::Other { name, changer })
    }

    /// A command that runs a program as this account.
    fn command(&self, program: &Path) -> Command {
        let Self::Other { name, changer } = self else {
            return Command::new(program);
        };
        let mut command = Command::new(changer);
        match *changer {
            "runuser" => command.args(["-u", name, "--"]).arg(program),
            "setpriv" => command
                .args(["--reuid", name, "--clear-groups", "--inh-caps=-all", "--"])
                .arg(program),
            _ => command
                .args([name, "-s", "/bin/sh", "-c", "exec \"$0\" \"$@\"", "--"])
                .arg(program),
        };
        command
    }
}

/// The folder of the newest suitable server's programs.
fn find_programs() -> Result<PathBuf> {
    if let Some(found) = newest_programs() {
        return Ok(found);
    }
    let is_root = capture("id", &["-u"]).is_ok_and(|id| id.trim() == "0");
    ensure!(
        is_root && which("apt-get").is_some(),
        "no PostgreSQL {OLDEST} or newer found; install the server, on Debian or Ubuntu with \
         `sudo apt-get install postgresql`, on Fedora with `sudo dnf install postgresql-server`"
    );
    for arguments in [
        &["update", "-qq"][..],
        &["install", "-y", "-qq", "--no-install-recommends", "postgresql"],
    ] {
        let status = Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .context("cannot run `apt-get`")?;
        ensure!(
            status.success(),
            "`apt-get {}` failed ({status})",
            arguments.join(" ")
        );
    }
    newest_programs()
        .with_context(|| format!("`apt-get` installed no PostgreSQL {OLDEST} or newer; install one by hand"))
}

fn newest_programs() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Some(path) = which("pg_ctl").and_then(|path| path.canonicalize().ok()) {
        folders.extend(path.parent().map(Path::to_owned));
    }
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    folders.push("/usr/pgsql/bin".into());
    folders
        .into_iter()
        .filter_map(|folder| Some((major_version(&folder)?, folder)))
        .filter(|(version, _)| *version >= OLDEST)
        .max()
        .map(|(_, folder)| folder)
}

/// The major version of the server in a folder that has all programs.
fn major_version(folder: &Path) -> Option<u32> {
    let is_complete = ["initdb", "pg_ctl", "postgres"]
        .iter()
        .all(|name| folder.join(name).exists());
    if !is_complete {
        return None;
    }
    let text = capture(folder.join("postgres"), &["--version"]).ok()?;
    let version = text.split_whitespace().nth(2)?;
    version
        .split(|character: char| !character.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// Stops and removes what interrupted runs left behind.
fn sweep(programs: &Path, account: &Account) {
    let Ok(entries) = fs::read_dir(parent_folder()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|rest| rest.split('-').next());
        let Some(owner) = owner.filter(|owner| owner.parse::<u32>().is_ok()) else {
            continue;
        };
        if is_dead(owner) {
            drop(Cluster {
                url: String::new(),
                folder: entry.path(),
                programs: programs.to_owned(),
                account: account.clone(),
            });
        }
    }
}

/// Whether no process has this number any more, or only the remains of one. Unknown without `/proc`.
fn is_dead(process: &str) -> bool {
    let program = fs::read_link(Path::new("/proc").join(process).join("exe"));
    Path::new("/proc/self").exists()
        && program.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// An empty folder that the account owns. Its path is short: a socket's path has about 100 bytes.
fn make_folder(account: &Account) -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "{PREFIX}{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let folder = parent_folder().join(name);
    if folder.exists() {
        // Left by a process that was killed and had our number.
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    if let Account::Other { name, .. } = account {
        let status = Command::new("chown").arg(name).arg(&folder).status()?;
        ensure!(status.success(), "cannot give `{}` to `{name}`", folder.display());
    }
    Ok(folder)
}

fn parent_folder() -> PathBuf {
    Some(std::env::temp_dir())
        .filter(|parent| parent.as_os_str().len() < 50)
        .unwrap_or_else(|| "/tmp".into())
}

/// What the folders of all clusters begin with; the number of the owning process follows.
const PREFIX: &str = "chancery-pg-";

/// The oldest major version that the product supports.
const OLDEST: u32 = 15;
