//! The parties that `chancery demo` and `chancery dev` put around Chancery: a company's identity provider, the
//! cloud runtime that agents live in, a small MCP server that enforces for itself, one that knows only an API key, and
//! a provider of files where people have accounts.
//! With them, a real MCP client, an agent that believes what it reads, and the thief who counts on that; a person's
//! browser, and an application that the person lets in.
//!
//! They are foreign software: nothing here names a crate of Chancery, so what works here works for any program
//! that has an HTTP and a JWT library. They talk to Chancery and to each other by HTTP on the loopback interface,
//! keep everything in memory and give tokens to whoever asks. They are for showing, never for use.

pub(crate) mod agent;
pub(crate) mod application;
pub(crate) mod browser;
pub(crate) mod client;
pub(crate) mod desk;
pub(crate) mod drive;
pub(crate) mod identity_provider;
pub(crate) mod notes;
pub(crate) mod runtime;
pub(crate) mod sink;

mod access_token;
mod listener;
mod signer;

#[cfg(test)]
mod tests;

use self::desk::DeskServer;
use self::drive::DriveServer;
use self::identity_provider::IdentityProvider;
use self::notes::NotesServer;
use self::runtime::Runtime;
use self::sink::Sink;
use anyhow::Context as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Everything around one Chancery.
pub(crate) struct Surroundings {
    /// Where people sign in.
    pub(crate) identity_provider: IdentityProvider,
    /// Where agents run.
    pub(crate) runtime: Runtime,
    /// What agents work with.
    pub(crate) notes: NotesServer,
    /// What agents work with that knows nothing but a key.
    pub(crate) desk: DeskServer,
    /// Where people keep files.
    pub(crate) drive: DriveServer,
    /// Where stolen things go.
    pub(crate) sink: Sink,
}

/// The ports to listen on; 0 takes any free one. Desk, drive and sink take any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ports {
    /// Of the identity provider.
    pub(crate) identity_provider: u16,
    /// Of the runtime.
    pub(crate) runtime: u16,
    /// Of the notes server.
    pub(crate) notes: u16,
}

impl Surroundings {
    /// Starts all parties. `chancery_issuer` is what they know of Chancery: the audience of the tokens they issue,
    /// and the authorization server of the notes. Chancery need not answer yet.
    ///
    /// # Errors
    /// If a port is taken.
    pub(crate) async fn start(chancery_issuer: String, ports: Option<Ports>) -> anyhow::Result<Self> {
        let ports = ports.unwrap_or_default();
        let identity_provider = IdentityProvider::start(ports.identity_provider, chancery_issuer.clone())
            .await
            .context("the sample identity provider did not start")?;
        let runtime = Runtime::start(ports.runtime, chancery_issuer.clone())
            .await
            .context("the sample runtime did not start")?;
        let notes = NotesServer::start(ports.notes, chancery_issuer.clone())
            .await
            .context("the sample notes server did not start")?;
        let sink = Sink::start(0).await.context("the sample sink did not start")?;
        let drive = DriveServer::start(0, chancery_issuer)
            .await
            .context("the sample drive did not start")?;
        let desk = DeskServer::start(0, sink.url())
            .await
            .context("the sample desk did not start")?;
        Ok(Self {
            identity_provider,
            runtime,
            notes,
            desk,
            drive,
            sink,
        })
    }

    /// Stops all parties and waits until their ports are free.
    pub(crate) async fn shutdown(self) {
        tokio::join!(
            self.identity_provider.stop(),
            self.runtime.stop(),
            self.notes.stop(),
            self.desk.stop(),
            self.drive.stop(),
            self.sink.stop()
        );
    }
}

/// The time, in seconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "the sample parties stand outside Chancery and keep their own clock"
)]
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A new identifier, for `jti`.
fn unique() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).context("the system gives no random bytes")?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}
