//! `chancery mcp connect URL`: a client that speaks MCP on standard input and output only reaches a server behind the
//! gateway, as an agent. Standard output carries the protocol and nothing else.

use crate::credentials::CredentialArguments;
use crate::mcp::bridge;
use crate::print;
use crate::tokens::{Issuer, NoToken, Tokens};
use crate::upstream::Upstream;
use crate::wire::Wire;
use anyhow::Context as _;
use clap::Args;
use std::process::ExitCode;
use std::sync::Arc;

/// Arguments of `mcp connect`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectArguments {
    /// The server's URL, as in `https://id.example/mcp/notes`.
    server: url::Url,
    #[command(flatten)]
    credentials: CredentialArguments,
    /// Scopes to ask for at first; more are asked for when a call needs them.
    #[arg(long)]
    scope: Vec<String>,
}

/// `chancery mcp connect`.
///
/// # Errors
/// No token, no server, or an answer that is no MCP.
pub(crate) async fn run(arguments: ConnectArguments) -> anyhow::Result<ExitCode> {
    let wire = Wire::new();
    let tokens = match arguments.credentials.open()? {
        None => None,
        Some(credentials) => {
            let issuer = Issuer::find(&wire, &arguments.server).await?;
            let issuer = issuer.with_context(|| {
                format!(
                    "`{}` does not say where its tokens come from (RFC 9728)\nhint: is it the URL of a resource behind the gateway?",
                    arguments.server
                )
            })?;
            Some(Tokens::new(
                wire.clone(),
                issuer,
                Arc::new(credentials),
                &arguments.scope,
            ))
        }
    };
    let upstream = Upstream::new(wire, arguments.server, tokens);
    match upstream.prepare().await {
        Err(error) if error.is::<NoToken>() => {
            print::failure(&error);
            return Ok(ExitCode::from(bridge::REFUSED));
        }
        prepared => prepared?,
    }
    bridge::run(upstream).await
}
