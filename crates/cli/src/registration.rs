//! `chancery registration`: how clients that make themselves known come to agents: rules, and initial access tokens.

use crate::connection::{Connection, as_json};
use crate::noun::{self, ListArguments, NounArguments, NounCommand};
use crate::print::{self, Output, field};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

/// Arguments of `registration`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RegistrationArguments {
    #[command(subcommand)]
    command: RegistrationCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum RegistrationCommand {
    /// Make a rule: which clients belong to an agent at once, wait to be adopted, or are not taken.
    Rule(RuleArguments),
    /// List rules.
    Rules(ListArguments),
    /// End a rule for good.
    RetireRule {
        /// Name or id.
        name: String,
    },
    /// Make an initial access token, shown once, with which clients of an agent register themselves.
    Token(TokenArguments),
    /// List initial access tokens; never the tokens themselves.
    Tokens,
    /// End an initial access token.
    RetireToken {
        /// Name or id.
        name: String,
    },
}

/// Arguments of `registration rule`.
#[derive(Clone, Debug, Args)]
struct RuleArguments {
    /// The rule's name; never free again.
    name: String,
    /// `adopt`, `stage`, `refuse` or `off`.
    #[arg(value_parser = ["adopt", "stage", "refuse", "off"])]
    outcome: String,
    /// The agent that the clients then belong to, for `adopt`.
    #[arg(long)]
    agent: Option<String>,
    /// A host of the client's metadata URL, or of all its redirect URIs; `*.example.com` is every host below.
    #[arg(long)]
    host: Vec<String>,
    /// Only clients that say they are this software.
    #[arg(long)]
    software_id: Vec<String>,
    /// Only clients that come this way: `registered` or `metadata_document`.
    #[arg(long, value_parser = ["registered", "metadata_document"])]
    way: Vec<String>,
}

/// Arguments of `registration token`.
#[derive(Clone, Debug, Args)]
struct TokenArguments {
    /// The agent that the clients will belong to.
    #[arg(long)]
    agent: String,
    /// How often it may be used.
    #[arg(long, default_value_t = 1)]
    uses: u64,
    /// After how many seconds it ends, at most 90 days.
    #[arg(long, default_value_t = 3_600)]
    lifetime: u64,
}

/// `chancery registration`.
pub(crate) async fn run(
    arguments: RegistrationArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let command = match arguments.command {
        RegistrationCommand::Rule(arguments) => return rule(arguments, connection, output).await,
        RegistrationCommand::Token(arguments) => return token(arguments, connection, output).await,
        RegistrationCommand::Tokens => return tokens(connection, output).await,
        RegistrationCommand::RetireToken { name } => {
            return noun::step("registration_tokens", &name, "retire", connection, output).await;
        }
        RegistrationCommand::Rules(arguments) => NounCommand::List(arguments),
        RegistrationCommand::RetireRule { name } => NounCommand::Retire { name },
    };
    noun::run(
        "registration_rules",
        NounArguments { command },
        connection,
        output,
    )
    .await
}

async fn rule(arguments: RuleArguments, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let mut body = json!({
        "name": arguments.name,
        "outcome": arguments.outcome,
        "hosts": arguments.host,
        "software_ids": arguments.software_id,
        "ways": arguments.way,
    });
    if let (Some(members), Some(agent)) = (body.as_object_mut(), arguments.agent) {
        members.insert("agent".to_owned(), Value::from(agent));
    }
    let made = connection
        .send(Method::POST, "/registration_rules", &body)
        .await?;
    if !as_json(output, &made) {
        print::line(&format!("rule {} is in force", field(&made, &["name"])));
    }
    Ok(())
}

async fn token(arguments: TokenArguments, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let body = json!({
        "agent": arguments.agent,
        "uses": arguments.uses,
        "lifetime": arguments.lifetime,
    });
    let made = connection
        .send(Method::POST, "/registration_tokens", &body)
        .await?;
    if as_json(output, &made) {
        return Ok(());
    }
    print::line(&format!("token, shown once: {}", field(&made, &["token"])));
    print::line("a client sends it as `Authorization: Bearer` to the registration endpoint, /register");
    Ok(())
}

async fn tokens(connection: &Connection, output: Output) -> anyhow::Result<()> {
    let list = connection.read("/registration_tokens").await?;
    if as_json(output, &list) {
        return Ok(());
    }
    let columns = ["name", "agent", "state", "uses"];
    let rows = list.get("items").and_then(Value::as_array).into_iter().flatten();
    let row = |item: &Value| columns.map(|column| field(item, &[column])).to_vec();
    print::table(&columns, rows.map(row).collect());
    Ok(())
}
