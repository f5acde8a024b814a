//! `chancery token`: what a client does at the OAuth endpoints, for trying things out.

use crate::connection::Connection;
use crate::print::{self, Output, field};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::Value;
use std::path::PathBuf;

/// Arguments of `token`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TokenArguments {
    #[command(subcommand)]
    command: TokenCommand,
}

/// How the client proves itself.
#[derive(Clone, Debug, Args)]
struct ProofArguments {
    /// The `client_id` or the client's name.
    #[arg(long)]
    client: Option<String>,
    /// A file with the client's secret.
    #[arg(long)]
    secret_file: Option<PathBuf>,
    /// A file with a signed assertion, or the runtime's own token.
    #[arg(long)]
    assertion_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
enum TokenCommand {
    /// A token for the agent itself, or with --subject-file for a person.
    Issue {
        #[command(flatten)]
        proof: ProofArguments,
        /// The resource URI that the token is for; none for an agent token.
        #[arg(long)]
        resource: Option<String>,
        /// A resource's name, or `agent:NAME` to hand the token over.
        #[arg(long, conflicts_with = "resource")]
        audience: Option<String>,
        /// Scopes, with spaces between them.
        #[arg(long)]
        scope: Option<String>,
        /// A file with the subject token of an exchange.
        #[arg(long)]
        subject_file: Option<PathBuf>,
        /// Its type: access_token, id_token or jwt.
        #[arg(long, default_value = "id_token")]
        subject_type: String,
    },
    /// Ask whether a token is in force.
    Introspect {
        #[command(flatten)]
        proof: ProofArguments,
        /// The file with the token; `-` for standard input.
        #[arg(long)]
        token: PathBuf,
    },
    /// Revoke a token of this client.
    Revoke {
        #[command(flatten)]
        proof: ProofArguments,
        /// The file with the token; `-` for standard input.
        #[arg(long)]
        token: PathBuf,
    },
}

/// `chancery token`.
pub(crate) async fn run(
    arguments: TokenArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    match arguments.command {
        TokenCommand::Issue {
            proof,
            resource,
            audience,
            scope,
            subject_file,
            subject_type,
        } => {
            let mut form = proof_form(&proof)?;
            add(&mut form, "resource", resource);
            add(&mut form, "audience", audience);
            add(&mut form, "scope", scope);
            match subject_file {
                None => form.push(("grant_type", "client_credentials".to_owned())),
                Some(file) => {
                    form.push((
                        "grant_type",
                        "urn:ietf:params:oauth:grant-type:token-exchange".to_owned(),
                    ));
                    form.push(("subject_token", read(&file)?));
                    form.push((
                        "subject_token_type",
                        format!("urn:ietf:params:oauth:token-type:{subject_type}"),
                    ));
                }
            }
            show(output, &post(connection, "/token", &form).await?);
        }
        TokenCommand::Introspect { proof, token } => {
            let mut form = proof_form(&proof)?;
            form.push(("token", read(&token)?));
            print::json(&post(connection, "/introspect", &form).await?);
        }
        TokenCommand::Revoke { proof, token } => {
            let mut form = proof_form(&proof)?;
            form.push(("token", read(&token)?));
            post(connection, "/revoke", &form).await?;
            print::line("the token is not in force");
        }
    }
    Ok(())
}

type Form = Vec<(&'static str, String)>;

fn proof_form(proof: &ProofArguments) -> anyhow::Result<Form> {
    let mut form = Form::new();
    add(&mut form, "client_id", proof.client.clone());
    if let Some(file) = &proof.secret_file {
        form.push(("client_secret", read(file)?));
    }
    if let Some(file) = &proof.assertion_file {
        form.push((
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned(),
        ));
        form.push(("client_assertion", read(file)?));
    }
    Ok(form)
}

fn add(form: &mut Form, name: &'static str, value: Option<String>) {
    form.extend(value.map(|value| (name, value)));
}

async fn post(connection: &Connection, path: &str, form: &Form) -> anyhow::Result<Value> {
    let pairs: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    connection.form(path, &pairs).await
}

fn show(output: Output, answer: &Value) {
    if output.json {
        return print::json(answer);
    }
    print::note(&format!(
        "scope {}, {} seconds",
        field(answer, &["scope"]),
        field(answer, &["expires_in"])
    ));
    print::line(&field(answer, &["access_token"]));
}

fn read(file: &PathBuf) -> anyhow::Result<String> {
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())?
    } else {
        std::fs::read_to_string(file).with_context(|| format!("`{}` cannot be read", file.display()))?
    };
    Ok(text.trim().to_owned())
}
