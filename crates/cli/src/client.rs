//! `chancery client`: what all nouns can, and replacing a secret.

use crate::connection::Connection;
use crate::noun::{self, ListArguments, NounArguments, NounCommand};
use crate::print::Output;
use clap::{Args, Subcommand};

/// Arguments of `client`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClientArguments {
    #[command(subcommand)]
    command: ClientCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum ClientCommand {
    /// Replace the secret; the new one is shown once, and everything issued to the client ends.
    ResetSecret {
        /// Name or id.
        name: String,
    },
    /// List, in order of names.
    List(ListArguments),
    /// Show one by name or id.
    Show {
        /// Name or id.
        name: String,
    },
    /// Stop until activated again.
    Suspend {
        /// Name or id.
        name: String,
    },
    /// Put into use, or back into it.
    Activate {
        /// Name or id.
        name: String,
    },
    /// End for good.
    Retire {
        /// Name or id.
        name: String,
    },
}

/// `chancery client`.
pub(crate) async fn run(
    arguments: ClientArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let command = match arguments.command {
        ClientCommand::ResetSecret { name } => {
            return noun::step("clients", &name, "reset-secret", connection, output).await;
        }
        ClientCommand::List(arguments) => NounCommand::List(arguments),
        ClientCommand::Show { name } => NounCommand::Show { name },
        ClientCommand::Suspend { name } => NounCommand::Suspend { name },
        ClientCommand::Activate { name } => NounCommand::Activate { name },
        ClientCommand::Retire { name } => NounCommand::Retire { name },
    };
    noun::run("clients", NounArguments { command }, connection, output).await
}
