//! `chancery login` and `chancery logout`: a person at their own command line signs in at a server by the browser, wherever
//! that is (RFC 8628), and from then on commands with `--url` use what they were given.
//!
//! What is kept is in `~/.config/chancery/logins/`, one file for each server, which only the owner may read. It is a
//! credential: whoever reads it acts as the person until it ends or is revoked.

use crate::connection::{Connection, Refused};
use crate::print::{self, Output, field};
use anyhow::{Context as _, anyhow, bail, ensure};
use chancery_server::node::World;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments of `login`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LoginArguments {
    /// The base URL of the server; the same as the global --url.
    #[arg(long)]
    server: Option<String>,
    /// What to ask for, with spaces between: read, audit, write, kill.
    #[arg(long, default_value = "read audit write kill")]
    scope: String,
    /// Stay signed in for 30 days, and not only as long as in the browser.
    #[arg(long)]
    keep: bool,
}

/// Arguments of `logout`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogoutArguments {
    /// The base URL of the server; the same as the global --url.
    #[arg(long)]
    server: Option<String>,
}

/// What a server gave.
#[derive(Serialize, Deserialize)]
struct Login {
    url: String,
    access_token: String,
    /// Seconds since the epoch.
    expires_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

/// `chancery login`.
///
/// # Errors
/// Nobody answered, or the answer was no.
pub(crate) async fn login(
    arguments: LoginArguments,
    url: Option<&str>,
    output: Output,
) -> anyhow::Result<()> {
    let base = base(arguments.server.as_deref().or(url))?;
    let connection = Connection::to_url(&base)?;
    let resource = format!("{base}/api/v1");
    let mut scope = arguments.scope.clone();
    if arguments.keep {
        scope.push_str(" offline_access");
    }
    let asked = [
        ("client_id", CLIENT),
        ("scope", scope.as_str()),
        ("resource", resource.as_str()),
    ];
    let begun = connection.form("/device_authorization", &asked).await?;
    let text = |name: &str| {
        let found = begun.get(name).and_then(Value::as_str);
        found
            .map(str::to_owned)
            .with_context(|| format!("the server gave no `{name}`"))
    };
    let (device_code, user_code) = (text("device_code")?, text("user_code")?);
    let (page, link) = (text("verification_uri")?, text("verification_uri_complete")?);
    if output.json {
        print::note(
            &json!({ "verification_uri": page, "verification_uri_complete": link, "user_code": user_code })
                .to_string(),
        );
    } else {
        print::note(&format!(
            "open {link}\nor type {user_code} at {page}\nwaiting for your answer there …"
        ));
    }
    let interval = begun.get("interval").and_then(Value::as_u64).unwrap_or(5);
    let given = answer(&connection, &device_code, interval).await?;
    let login = Login::of(&base, &given, None)?;
    let file = login.keep()?;
    if !crate::connection::as_json(
        output,
        &json!({ "url": base, "scope": given.get("scope"), "file": file }),
    ) {
        print::line(&format!(
            "signed in at {base} with {}; kept in {}",
            field(&given, &["scope"]),
            file.display()
        ));
    }
    Ok(())
}

/// Polls until the person has answered.
async fn answer(connection: &Connection, device_code: &str, interval: u64) -> anyhow::Result<Value> {
    let form = [
        ("grant_type", DEVICE_CODE),
        ("client_id", CLIENT),
        ("device_code", device_code),
    ];
    let mut wait = Duration::from_secs(interval);
    loop {
        tokio::time::sleep(wait).await;
        let error = match connection.form("/token", &form).await {
            Ok(given) => return Ok(given),
            Err(error) => error,
        };
        match error
            .downcast_ref::<Refused>()
            .map(|refused| refused.code.as_str())
        {
            Some("authorization_pending") => {}
            Some("slow_down") => wait += Duration::from_secs(5),
            Some("access_denied") => bail!("you said no"),
            Some("expired_token") => bail!("nobody answered in time\nhint: chancery login"),
            Some(_) | None => return Err(error),
        }
    }
}

/// `chancery logout`: nothing that was given is good any more, here or anywhere.
///
/// # Errors
/// Nobody is signed in there.
pub(crate) async fn logout(
    arguments: LogoutArguments,
    url: Option<&str>,
    output: Output,
) -> anyhow::Result<()> {
    let base = base(arguments.server.as_deref().or(url))?;
    let file = file(&base)?;
    let login = Login::read(&file)?.with_context(|| format!("nobody is signed in at {base}"))?;
    let connection = Connection::to_url(&base)?;
    // The refresh token ends all that was issued with it; where there is none, the access token is all there is.
    let token = login.refresh_token.as_ref().unwrap_or(&login.access_token);
    let revoked = connection
        .form("/revoke", &[("client_id", CLIENT), ("token", token)])
        .await;
    // What cannot be revoked is at least not left lying about.
    fs::remove_file(&file).with_context(|| format!("`{}` cannot be removed", file.display()))?;
    revoked.context("what was kept is removed, but the server did not revoke it")?;
    if !output.json {
        print::line(&format!("signed out at {base}"));
    }
    Ok(())
}

/// A token for the server at this URL, if somebody is signed in there; a new one if the one that is kept is about to end.
///
/// # Errors
/// The file cannot be read, or the server gives no new token.
pub(crate) async fn token(url: &str) -> anyhow::Result<Option<String>> {
    let base = base(Some(url))?;
    let Ok(file) = file(&base) else {
        return Ok(None);
    };
    let Some(login) = Login::read(&file)? else {
        return Ok(None);
    };
    if now() + SOON < login.expires_at {
        return Ok(Some(login.access_token));
    }
    let ended = || anyhow!("you are not signed in at {base} any more\nhint: chancery login --server {base}");
    let Some(refresh) = &login.refresh_token else {
        return Err(ended());
    };
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", CLIENT),
        ("refresh_token", refresh.as_str()),
    ];
    // Another command may renew at the same moment: it gets the same successor.
    let given = match Connection::to_url(&base)?.form("/token", &form).await {
        Ok(given) => given,
        Err(error) => {
            let refused = error.downcast_ref::<Refused>();
            let is_over = refused.is_some_and(|refused| refused.code == "invalid_grant");
            return Err(if is_over { ended() } else { error });
        }
    };
    let renewed = Login::of(&base, &given, login.refresh_token.clone())?;
    renewed.keep()?;
    Ok(Some(renewed.access_token))
}

impl Login {
    /// What the token endpoint answered. A refresh token that it does not replace stays.
    fn of(base: &str, given: &Value, refresh_token: Option<String>) -> anyhow::Result<Self> {
        let text = |name: &str| given.get(name).and_then(Value::as_str).map(str::to_owned);
        let seconds = given.get("expires_in").and_then(Value::as_i64).unwrap_or(60);
        Ok(Self {
            url: base.to_owned(),
            access_token: text("access_token").context("the server gave no `access_token`")?,
            expires_at: now() + seconds,
            refresh_token: text("refresh_token").or(refresh_token),
        })
    }

    fn read(file: &Path) -> anyhow::Result<Option<Self>> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("`{}` cannot be read", file.display())),
        };
        // SECURITY: what others could read is theirs too.
        let mode = fs::metadata(file)?.permissions().mode() & 0o077;
        ensure!(
            mode == 0,
            "others can read `{}`\nhint: chancery logout, then chancery login",
            file.display()
        );
        let login = serde_json::from_str(&text);
        login.map(Some).with_context(|| {
            format!(
                "`{}` is not what was written there\nhint: remove it",
                file.display()
            )
        })
    }

    /// Writes it so that nobody else can read it at any moment, and no command finds half of it.
    fn keep(&self) -> anyhow::Result<PathBuf> {
        let file = file(&self.url)?;
        let folder = file.parent().context("the file has no folder")?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("`{}` cannot be made", folder.display()))?;
        let new = file.with_extension(format!("{}.new", std::process::id()));
        let mut options = fs::OpenOptions::new();
        let mut opened = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .with_context(|| format!("`{}` cannot be written", new.display()))?;
        opened.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        opened.sync_all()?;
        fs::rename(&new, &file).with_context(|| format!("`{}` cannot be written", file.display()))?;
        Ok(file)
    }
}

/// The base URL without what does not tell servers apart.
fn base(url: Option<&str>) -> anyhow::Result<String> {
    let url = url.context("which server? give --server URL")?;
    let parsed = url::Url::parse(url).with_context(|| format!("`{url}` is not a URL"))?;
    // SECURITY: what is given goes over the wire.
    ensure!(
        parsed.scheme() == "https" || crate::tokens::is_loopback(&parsed),
        "`{url}` is not https: what you are given would be readable on the way"
    );
    Ok(parsed.as_str().trim_end_matches('/').to_owned())
}

fn file(base: &str) -> anyhow::Result<PathBuf> {
    let home = std::env::home_dir().context("you have no home folder to keep it in")?;
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() || character == '.' {
            character
        } else {
            '_'
        }
    };
    let (_, place) = base.split_once("://").unwrap_or(("", base));
    let name: String = place.chars().map(plain).collect();
    Ok(home.join(".config/chancery/logins").join(format!("{name}.json")))
}

fn now() -> i64 {
    World::default().clock.now().as_seconds()
}

/// The client of a command line, which every server has.
const CLIENT: &str = "chancery-cli";
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// A token that ends within so many seconds is not begun with.
const SOON: i64 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_told_apart_and_none_is_reached_in_the_clear() {
        let of = |url: &str| base(Some(url)).unwrap();
        assert_eq!(of("https://id.example/"), "https://id.example");
        assert_eq!(of("HTTPS://ID.example"), "https://id.example");
        assert_eq!(of("http://127.0.0.1:8080"), "http://127.0.0.1:8080");
        assert!(base(Some("http://id.example")).is_err() && base(None).is_err());
        let name = |url: &str| file(&of(url)).unwrap().file_name().unwrap().to_owned();
        assert_eq!(name("https://id.example:8443"), "id.example_8443.json");
        assert_ne!(name("https://a.example"), name("https://b.example"));
        assert_eq!(name("https://a.example/../../x"), "a.example_x.json");
    }
}
