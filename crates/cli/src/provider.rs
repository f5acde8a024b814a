//! `chancery connection`: downstream providers. `create` makes one whose accounts people connect by OAuth 2; the secret
//! that proves us there is read from the terminal without echo, or from standard input, and is never an argument.

use crate::account;
use crate::connection::{Connection, as_json};
use crate::noun::{self, NounArguments, NounCommand, encode};
use crate::print::{self, Output, field};
use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};
use std::io::{IsTerminal as _, Read as _};

/// Arguments of `connection`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ProviderArguments {
    #[command(subcommand)]
    command: ProviderCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum ProviderCommand {
    /// Make a connection to an OAuth 2 provider: people connect accounts of their own there, or tokens are fetched without
    /// a person.
    Create(Box<CreateArguments>),
    /// Set the secret that proves us to the provider. It is asked for, or read from standard input; a private key (PEM, or
    /// the key file of a Google service account) comes on standard input.
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
    /// A provider that is known: github, github-app, google, google-service-account, salesforce, salesforce-jwt or slack. Whatever is
    /// not given here comes from it.
    #[arg(long)]
    preset: Option<String>,
    /// The provider's issuer, which says where its endpoints are.
    #[arg(long)]
    issuer: Option<String>,
    /// Our id there; of a key that signs assertions, whose it is (`iss`).
    #[arg(long)]
    client_id: String,
    /// For whom a key signs assertions (`sub`).
    #[arg(long)]
    subject: Option<String>,
    /// How we prove ourselves there: `client_secret_basic`, `client_secret_post`, `private_key_jwt` or `none`.
    #[arg(long)]
    authentication: Option<String>,
    /// The number of a GitHub App's installation.
    #[arg(long)]
    installation: Option<u64>,
    /// What tokens of an installation may do at most: `contents=read`. May be given several times.
    #[arg(long)]
    permission: Vec<String>,
    /// A repository that tokens of an installation may be for, by its name alone. May be given several times.
    #[arg(long)]
    repository: Vec<String>,
    /// Whose repositories they are: then a call about one gets a token for that one alone.
    #[arg(long)]
    account: Option<String>,
    /// How tokens come to be: `authorization_code`, by which people connect accounts, or `client_credentials`.
    #[arg(long)]
    flow: Option<String>,
    /// Whose accounts there are: `user`, `agent` or `tenant`. Default: the preset's; else `user`, and `tenant` for client
    /// credentials.
    #[arg(long)]
    owner_level: Option<String>,
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
        ProviderCommand::Create(arguments) => create(&arguments, connection, output).await,
        ProviderCommand::Secret { name } => secret(&name, connection, output).await,
        ProviderCommand::Noun(command) => {
            noun::run("connections", NounArguments { command }, connection, output).await
        }
    }
}

async fn create(arguments: &CreateArguments, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let made = connection
        .send(Method::POST, "/connections", &document(arguments)?)
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
    let (kind, id) = match arguments.preset.as_deref() {
        Some("google-service-account" | "salesforce-jwt") => ("signed_assertion", "issuer"),
        Some("github-app") => ("app_installation", "issuer"),
        Some(_) | None => ("oauth2", "client_id"),
    };
    let mut credential = Map::new();
    credential.insert(id.to_owned(), json!(arguments.client_id));
    for (name, value) in [
        ("preset", &arguments.preset),
        ("issuer", &arguments.issuer),
        ("authentication", &arguments.authentication),
        ("flow", &arguments.flow),
        ("subject", &arguments.subject),
        ("account", &arguments.account),
    ] {
        credential.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
    }
    if !arguments.scope.is_empty() {
        credential.insert("scopes".to_owned(), json!(arguments.scope));
    }
    credential.extend(
        arguments
            .installation
            .map(|number| ("installation".to_owned(), json!(number))),
    );
    if !arguments.repository.is_empty() {
        credential.insert("repositories".to_owned(), json!(arguments.repository));
    }
    if !arguments.permission.is_empty() {
        credential.insert("permissions".to_owned(), permissions(&arguments.permission)?);
    }
    let mut item = Map::new();
    item.insert("name".to_owned(), json!(arguments.name));
    item.insert("credential".to_owned(), json!({ kind: credential }));
    let assumed = match arguments.flow.as_deref() {
        Some("client_credentials") => Some("tenant"),
        _ if arguments.preset.is_none() => Some("user"),
        _ => None,
    };
    let level = arguments.owner_level.as_deref().or(assumed);
    item.extend(level.map(|level| ("owner_level".to_owned(), json!(level))));
    for (name, value) in [("base_url", &arguments.base_url), ("owner", &arguments.owner)] {
        item.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
    }
    Ok(Value::Object(item))
}

fn permissions(given: &[String]) -> anyhow::Result<Value> {
    let mut permissions = Map::new();
    for permission in given {
        let (name, access) = permission.split_once('=').with_context(|| {
            format!("`{permission}` does not say how far it goes\nhint: --permission contents=read")
        })?;
        permissions.insert(name.to_owned(), json!(access));
    }
    Ok(Value::Object(permissions))
}

async fn secret(name: &str, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let at = format!("/connections/{}", encode(name));
    let known = connection.read(&at).await?;
    let is = |kind: &str| known.pointer(&format!("/spec/credential/{kind}")).is_some();
    let secret = if is("signed_assertion") || is("app_installation") {
        key_file()?
    } else {
        account::read(&["secret".to_owned()])?
    };
    let path = format!("/connections/{}/secret", encode(name));
    connection
        .send(Method::PUT, &path, &Value::Object(secret))
        .await?;
    if !output.json {
        print::line(&format!("the secret for {name} is set"));
    }
    Ok(())
}

/// A private key: a file of many lines, which nobody types.
fn key_file() -> anyhow::Result<Map<String, Value>> {
    let input = std::io::stdin();
    ensure!(
        !input.is_terminal(),
        "the key is a file, and nobody types it\nhint: chancery connection secret NAME < key.pem"
    );
    let mut text = String::new();
    input
        .lock()
        .read_to_string(&mut text)
        .context("standard input cannot be read")?;
    let mut body = Map::new();
    body.insert("secret".to_owned(), Value::from(text));
    Ok(body)
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
            subject: None,
            authentication: None,
            installation: None,
            permission: Vec::new(),
            repository: Vec::new(),
            account: None,
            flow: None,
            owner_level: None,
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
    fn a_key_speaks_for_whom_the_connection_says() {
        let google = CreateArguments {
            preset: Some("google-service-account".to_owned()),
            subject: Some("alice@acme.example".to_owned()),
            ..arguments()
        };
        let credential = json!({ "signed_assertion": { "issuer": "our-id", "preset": "google-service-account",
            "subject": "alice@acme.example", "scopes": ["repo"] } });
        assert_eq!(document(&google).unwrap()["credential"], credential);
    }

    #[test]
    fn an_installation_says_what_its_tokens_may_do() {
        let app = CreateArguments {
            preset: Some("github-app".to_owned()),
            installation: Some(7),
            permission: vec!["contents=read".to_owned()],
            scope: Vec::new(),
            ..arguments()
        };
        let credential = json!({ "app_installation": { "issuer": "our-id", "preset": "github-app", "installation": 7,
            "permissions": { "contents": "read" } } });
        assert_eq!(document(&app).unwrap()["credential"], credential);
        let unsaid = CreateArguments {
            permission: vec!["contents".to_owned()],
            ..app
        };
        assert!(document(&unsaid).is_err());
    }

    #[test]
    fn what_needs_no_person_is_nobodys_own() {
        let level = |owner_level: Option<&str>| {
            let machine = CreateArguments {
                preset: None,
                issuer: Some("https://id.example".to_owned()),
                flow: Some("client_credentials".to_owned()),
                owner_level: owner_level.map(str::to_owned),
                ..arguments()
            };
            document(&machine).unwrap()["owner_level"].clone()
        };
        assert_eq!(
            (level(None), level(Some("agent"))),
            (json!("tenant"), json!("agent"))
        );
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
