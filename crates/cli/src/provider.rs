//! `chancery connection`: downstream providers. `create` makes one whose accounts people connect by OAuth 2; the secret
//! that proves us there is read from the terminal without echo, or from standard input, and is never an argument.

use crate::account;
use crate::connection::{Connection, as_json};
use crate::noun::{self, NounArguments, NounCommand, encode};
use crate::print::{self, Output, field};
use anyhow::ensure;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};

/// Arguments of `connection`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ProviderArguments {
    #[command(subcommand)]
    command: ProviderCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum ProviderCommand {
    /// Make a connection where people connect accounts of their own by OAuth 2.
    Create(CreateArguments),
    /// Set the secret that proves us to the provider. It is asked for, or read from standard input.
    Secret {
        /// The connection.
        name: String,
    },
    #[command(flatten)]
    Noun(NounCommand),
}

/// Arguments of `connection create`.
#[derive(Clone, Debug, Args)]
struct CreateArguments {
    /// Its name.
    name: String,
    /// A provider that is known: github, google, salesforce or slack. Whatever is not given here comes from it.
    #[arg(long)]
    preset: Option<String>,
    /// The provider's issuer, which says where its endpoints are.
    #[arg(long)]
    issuer: Option<String>,
    /// Our id there.
    #[arg(long)]
    client_id: String,
    /// How we prove ourselves there: `client_secret_basic`, `client_secret_post`, `private_key_jwt` or `none`.
    #[arg(long)]
    authentication: Option<String>,
    /// What is asked for. May be given several times.
    #[arg(long)]
    scope: Vec<String>,
    /// Where calls go.
    #[arg(long)]
    base_url: Option<String>,
    /// The accountable person or group.
    #[arg(long)]
    owner: Option<String>,
}

/// `chancery connection`.
pub(crate) async fn run(
    arguments: ProviderArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    match arguments.command {
        ProviderCommand::Create(arguments) => create(arguments, connection, output).await,
        ProviderCommand::Secret { name } => secret(&name, connection, output).await,
        ProviderCommand::Noun(command) => {
            noun::run("connections", NounArguments { command }, connection, output).await
        }
    }
}

async fn create(arguments: CreateArguments, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let made = connection
        .send(Method::POST, "/connections", &document(&arguments)?)
        .await?;
    if !as_json(output, &made) {
        print::line(&format!(
            "{} is {} ({})",
            field(&made, &["name"]),
            field(&made, &["state"]),
            field(&made, &["id"])
        ));
        print::note(&format!("next: chancery connection secret {}", arguments.name));
    }
    Ok(())
}

fn document(arguments: &CreateArguments) -> anyhow::Result<Value> {
    ensure!(
        arguments.preset.is_some() || arguments.issuer.is_some(),
        "say which provider it is: --preset NAME or --issuer URL\nhint: `chancery apply` takes explicit endpoints"
    );
    let mut oauth = Map::new();
    oauth.insert("client_id".to_owned(), json!(arguments.client_id));
    for (name, value) in [
        ("preset", &arguments.preset),
        ("issuer", &arguments.issuer),
        ("authentication", &arguments.authentication),
    ] {
        oauth.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
    }
    if !arguments.scope.is_empty() {
        oauth.insert("scopes".to_owned(), json!(arguments.scope));
    }
    let mut item = Map::new();
    item.insert("name".to_owned(), json!(arguments.name));
    item.insert("credential".to_owned(), json!({ "oauth2": oauth }));
    if arguments.preset.is_none() {
        item.insert("owner_level".to_owned(), json!("user"));
    }
    for (name, value) in [("base_url", &arguments.base_url), ("owner", &arguments.owner)] {
        item.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
    }
    Ok(Value::Object(item))
}

async fn secret(name: &str, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let secret = account::read(&["secret".to_owned()])?;
    let path = format!("/connections/{}/secret", encode(name));
    connection
        .send(Method::PUT, &path, &Value::Object(secret))
        .await?;
    if !output.json {
        print::line(&format!("the secret for {name} is set"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> CreateArguments {
        CreateArguments {
            name: "github".to_owned(),
            preset: Some("github".to_owned()),
            issuer: None,
            client_id: "our-id".to_owned(),
            authentication: None,
            scope: vec!["repo".to_owned()],
            base_url: None,
            owner: Some("ops".to_owned()),
        }
    }

    #[test]
    fn a_preset_is_left_to_say_what_was_not_said() {
        let document = document(&arguments()).unwrap();
        let expected = json!({ "name": "github", "owner": "ops",
            "credential": { "oauth2": { "client_id": "our-id", "preset": "github", "scopes": ["repo"] } } });
        assert_eq!(document, expected);
    }

    #[test]
    fn a_provider_that_nobody_names_is_none() {
        let nobody = CreateArguments {
            preset: None,
            ..arguments()
        };
        assert!(document(&nobody).is_err());
    }
}
