//! `chancery mcp`: bridges between standard input and output, which programs on one machine speak, and streamable HTTP.

mod bridge;
mod child;
mod connect;
mod session;
mod wrap;

use crate::connection::ConnectionArguments;
use crate::print::Output;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Arguments of `mcp`.
#[derive(Clone, Debug, Args)]
pub(crate) struct McpArguments {
    #[command(subcommand)]
    command: McpCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum McpCommand {
    /// Speak MCP on standard input and output, and with a server by HTTP, as an agent. Ends with 3 if it may not in.
    Connect(connect::ConnectArguments),
    /// Serve a local program that speaks MCP on standard input and output by HTTP on this machine, behind a key.
    Wrap(wrap::WrapArguments),
}

/// `chancery mcp`.
///
/// # Errors
/// The command's.
pub(crate) async fn run(
    arguments: McpArguments,
    connection: &ConnectionArguments,
    output: Output,
) -> anyhow::Result<ExitCode> {
    match arguments.command {
        McpCommand::Connect(arguments) => connect::run(arguments).await,
        McpCommand::Wrap(arguments) => wrap::run(arguments, connection, output).await,
    }
}
