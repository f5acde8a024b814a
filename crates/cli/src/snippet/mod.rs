//! `chancery snippet CLIENT --agent A --resource R`: configuration ready to paste, without a secret.
//!
//! Programs that start other programs get `chancery mcp connect`, which proves the agent and renews its tokens. Code
//! gets the SDK's own provider for client credentials (MCP authorization, extension "client credentials"), which reads
//! the secret from the environment.

use crate::connection::Connection;
use crate::credentials::client_of;
use crate::noun::encode;
use crate::print::{self, Output, field};
use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Arguments of `snippet`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SnippetArguments {
    /// What the configuration is for.
    client: Client,
    /// The agent.
    #[arg(long)]
    agent: String,
    /// The resource behind the gateway.
    #[arg(long)]
    resource: String,
    /// The file with the agent's secret, as `agent create --secret-file` writes it. Default: `AGENT.secret` here.
    #[arg(long)]
    secret_file: Option<PathBuf>,
    /// The file with the runtime's own token, instead of a secret.
    #[arg(long, conflicts_with = "secret_file")]
    assertion_file: Option<PathBuf>,
}

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Client {
    /// `.mcp.json`.
    ClaudeCode,
    /// `.cursor/mcp.json`.
    Cursor,
    /// `.vscode/mcp.json`.
    Vscode,
    /// Python with `langchain-mcp-adapters`.
    Langgraph,
    /// Python with `openai-agents`.
    OpenaiAgents,
    /// Python with `mcp`.
    Python,
    /// TypeScript with `@modelcontextprotocol/client`.
    Typescript,
    /// A shell with `curl`.
    Curl,
}

/// What a snippet is about.
struct Facts {
    agent: String,
    resource: String,
    url: String,
    issuer: String,
    endpoint: String,
    /// The option that proves the agent, and its file.
    proof: [String; 2],
}

/// `chancery snippet`.
///
/// # Errors
/// An unknown agent, or a resource that is not behind the gateway.
pub(crate) async fn run(
    arguments: SnippetArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let facts = facts(&arguments, connection).await?;
    let text = text(arguments.client, &facts);
    if output.json {
        print::json(&json!({ "url": facts.url, "issuer": facts.issuer, "text": text }));
    } else {
        print::line(text.trim_end());
    }
    Ok(())
}

async fn facts(arguments: &SnippetArguments, connection: &Connection) -> anyhow::Result<Facts> {
    let resource = connection
        .read(&format!("/resources/{}", encode(&arguments.resource)))
        .await?;
    ensure!(
        resource.pointer("/spec/upstream/mcp").is_some(),
        "`{}` is no MCP server behind the gateway\nhint: chancery add URL --name NAME",
        arguments.resource
    );
    let agent = connection
        .read(&format!("/agents/{}", encode(&arguments.agent)))
        .await?;
    let metadata = connection
        .bytes("/.well-known/oauth-authorization-server")
        .await?;
    let metadata: Value = serde_json::from_slice(&metadata).context("the server does not describe itself")?;
    let proof = match (&arguments.assertion_file, &arguments.secret_file) {
        (Some(file), _) => ["--assertion-file".to_owned(), absolute(file)?],
        (None, Some(file)) => ["--secret-file".to_owned(), absolute(file)?],
        (None, None) => {
            let file = PathBuf::from(format!("{}.secret", arguments.agent));
            ["--secret-file".to_owned(), absolute(&file)?]
        }
    };
    Ok(Facts {
        agent: field(&agent, &["name"]),
        resource: field(&resource, &["name"]),
        url: field(&resource, &["spec", "uri"]),
        issuer: field(&metadata, &["issuer"]),
        endpoint: field(&metadata, &["token_endpoint"]),
        proof,
    })
}

/// Clients start `mcp connect` where they like.
fn absolute(file: &std::path::Path) -> anyhow::Result<String> {
    let path = std::path::absolute(file)?;
    let text = path.to_str().context("the file's name is not UTF-8")?;
    Ok(text.to_owned())
}

fn text(client: Client, facts: &Facts) -> String {
    let template = match client {
        Client::ClaudeCode | Client::Cursor => {
            return pretty(&json!({ "mcpServers": { facts.resource.as_str(): stdio(facts) } }));
        }
        Client::Vscode => return pretty(&json!({ "servers": { facts.resource.as_str(): stdio(facts) } })),
        Client::Langgraph => include_str!("langgraph.py"),
        Client::OpenaiAgents => include_str!("openai_agents.py"),
        Client::Python => include_str!("python.py"),
        Client::Typescript => include_str!("typescript.ts"),
        Client::Curl => return filled(include_str!("curl.sh"), facts, &word),
    };
    filled(template, facts, &|text| Value::from(text).to_string())
}

/// A server that the client starts.
fn stdio(facts: &Facts) -> Value {
    json!({ "type": "stdio", "command": "chancery", "args": words(facts) })
}

fn words(facts: &Facts) -> Vec<String> {
    let mut words = ["mcp", "connect", &facts.url, "--agent", &facts.agent]
        .map(str::to_owned)
        .to_vec();
    words.extend(facts.proof.clone());
    words
}

/// Fills a template. `quote` writes a text as the language does; JSON's texts and lists are those of Python and
/// TypeScript too.
fn filled(template: &str, facts: &Facts, quote: &dyn Fn(&str) -> String) -> String {
    template
        .replace(
            "{args}",
            &json!(words(facts)).to_string().replace("\",\"", "\", \""),
        )
        .replace("{url}", &quote(&facts.url))
        .replace("{issuer}", &quote(&facts.issuer))
        .replace("{endpoint}", &quote(&facts.endpoint))
        .replace("{agent}", &quote(&facts.agent))
        .replace("{resource}", &quote(&facts.resource))
        .replace("{client}", &quote(&client_of(&facts.agent)))
}

/// A word of a shell: names and URLs of ours have no quotes and no spaces.
fn word(text: &str) -> String {
    text.to_owned()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            agent: "bot".to_owned(),
            resource: "notes".to_owned(),
            url: "https://id.example/mcp/notes".to_owned(),
            issuer: "https://id.example".to_owned(),
            endpoint: "https://id.example/token".to_owned(),
            proof: ["--secret-file".to_owned(), "/home/a/bot.secret".to_owned()],
        }
    }

    #[test]
    fn clients_that_start_programs_start_mcp_connect() {
        let args = json!([
            "mcp",
            "connect",
            "https://id.example/mcp/notes",
            "--agent",
            "bot",
            "--secret-file",
            "/home/a/bot.secret"
        ]);
        let server = json!({ "notes": { "type": "stdio", "command": "chancery", "args": args } });
        let of = |client| serde_json::from_str::<Value>(&text(client, &facts())).unwrap();
        assert_eq!(of(Client::ClaudeCode), json!({ "mcpServers": server }));
        assert_eq!(of(Client::Cursor), json!({ "mcpServers": server }));
        assert_eq!(of(Client::Vscode), json!({ "servers": server }));
    }

    #[test]
    fn templates_are_filled_and_hold_no_secret() {
        for client in [
            Client::Langgraph,
            Client::OpenaiAgents,
            Client::Python,
            Client::Typescript,
            Client::Curl,
        ] {
            let text = text(client, &facts());
            for hole in [
                "{url}",
                "{issuer}",
                "{endpoint}",
                "{agent}",
                "{resource}",
                "{client}",
                "{args}",
            ] {
                assert!(!text.contains(hole), "{client:?} {hole}");
            }
            assert!(text.contains("https://id.example/mcp/notes"), "{client:?}");
        }
    }

    #[test]
    fn the_curl_snippet_reads_as_written() {
        let text = text(Client::Curl, &facts());
        assert!(
            text.contains(r#""${CHANCERY_CLIENT_ID:-bot-secret}" "$CHANCERY_CLIENT_SECRET""#),
            "{text}"
        );
        assert!(
            text.contains("--data-urlencode resource=https://id.example/mcp/notes |"),
            "{text}"
        );
    }

    #[test]
    fn the_openai_snippet_reads_as_written() {
        let text = text(Client::OpenaiAgents, &facts());
        let args = r#"    "args": ["mcp", "connect", "https://id.example/mcp/notes", "--agent", "bot", "--secret-file", "/home/a/bot.secret"],"#;
        assert!(text.contains(args), "{text}");
        assert!(
            text.contains(r#"MCPServerStdio(name="notes", params=PARAMS)"#),
            "{text}"
        );
    }
}
