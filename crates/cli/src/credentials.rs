//! How a command proves an agent to the token endpoint: with a client's secret, or with its runtime's own token, as a
//! client assertion (RFC 6749 §2.3.1; RFC 7523 §2.2). Neither is ever an argument: others on the machine can read those.

use anyhow::{Context as _, bail};
use chancery_core::secret::Secret;
use clap::Args;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// How the agent is proved.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct CredentialArguments {
    /// The agent. Its client is the one that `agent create --secret` makes, if --client names no other.
    #[arg(long)]
    agent: Option<String>,
    /// The `client_id`, or the client's name.
    #[arg(long, env = "CHANCERY_CLIENT_ID")]
    client: Option<String>,
    /// A file with the client's secret, readable by its owner only. Or the variable `CHANCERY_CLIENT_SECRET`.
    #[arg(long, env = "CHANCERY_SECRET_FILE")]
    secret_file: Option<PathBuf>,
    /// A file with the runtime's own token (Kubernetes, a CI job), read again whenever a token is asked for.
    #[arg(long, env = "CHANCERY_ASSERTION_FILE", conflicts_with = "secret_file")]
    assertion_file: Option<PathBuf>,
}

/// What proves the agent.
#[derive(Debug)]
pub(crate) struct Credentials {
    client: Option<String>,
    proof: Proof,
}

#[derive(Debug)]
enum Proof {
    Secret(Secret<String>),
    Assertion(PathBuf),
}

/// Parameters of a request to the token endpoint.
pub(crate) type Form = Vec<(&'static str, String)>;

impl CredentialArguments {
    /// The agent that was named.
    pub(crate) fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    /// What the arguments and the environment name; `None` if they name nothing.
    ///
    /// # Errors
    /// A file that cannot be read or that others can read, or a secret without a client.
    pub(crate) fn open(&self) -> anyhow::Result<Option<Credentials>> {
        if let Some(file) = &self.assertion_file {
            read(file)?;
            return Ok(Some(Credentials {
                client: self.client.clone(),
                proof: Proof::Assertion(file.clone()),
            }));
        }
        let secret = match &self.secret_file {
            Some(file) => {
                check_mode(file)?;
                Some(read(file)?)
            }
            None => secret_of_environment(),
        };
        let Some(secret) = secret else {
            if self.client.is_some() || self.agent.is_some() {
                bail!(
                    "nothing proves the agent\n\
                     hint: --secret-file FILE, or --assertion-file FILE with its runtime's token"
                );
            }
            return Ok(None);
        };
        let of_agent = || self.agent.as_ref().map(|agent| client_of(agent));
        let client = self.client.clone().or_else(of_agent);
        if client.is_none() {
            bail!("a secret belongs to a client\nhint: --agent NAME, or --client ID");
        }
        Ok(Some(Credentials {
            client,
            proof: Proof::Secret(Secret::new(secret)),
        }))
    }
}

impl Credentials {
    /// The parameters that prove the client.
    ///
    /// # Errors
    /// The file with the runtime's token cannot be read.
    pub(crate) fn form(&self) -> anyhow::Result<Form> {
        let mut form = Form::new();
        form.extend(self.client.clone().map(|client| ("client_id", client)));
        match &self.proof {
            Proof::Secret(secret) => form.push(("client_secret", secret.expose_secret().clone())),
            Proof::Assertion(file) => {
                form.push(("client_assertion_type", ASSERTION.to_owned()));
                form.push(("client_assertion", read(file)?));
            }
        }
        Ok(form)
    }
}

/// The client that `agent create --secret` makes for an agent.
pub(crate) fn client_of(agent: &str) -> String {
    format!("{agent}-secret")
}

/// Variables that prove an agent or an administrator: what a program started by `run` does not get.
pub(crate) const VARIABLES: &[&str] = &[
    "CHANCERY_ASSERTION_FILE",
    "CHANCERY_CLIENT_ID",
    SECRET,
    "CHANCERY_SECRET_FILE",
    "CHANCERY_TOKEN_FILE",
];

#[expect(
    clippy::disallowed_methods,
    reason = "the environment is read at the edge, here"
)]
fn secret_of_environment() -> Option<String> {
    std::env::var(SECRET).ok().filter(|secret| !secret.is_empty())
}

fn read(file: &Path) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("`{}` cannot be read", file.display()))?;
    Ok(text.trim().to_owned())
}

fn check_mode(file: &Path) -> anyhow::Result<()> {
    let found = std::fs::metadata(file).with_context(|| format!("`{}` cannot be read", file.display()))?;
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!(
            "the secret in `{}` can be read by others (mode {mode:o})\nhint: chmod 600 {0}",
            file.display()
        );
    }
    Ok(())
}

const SECRET: &str = "CHANCERY_CLIENT_SECRET";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(secret: &Path) -> CredentialArguments {
        CredentialArguments {
            agent: Some("bot".to_owned()),
            secret_file: Some(secret.to_owned()),
            ..CredentialArguments::default()
        }
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        std::fs::write(&file, "chs_x\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = arguments(&file).open().unwrap_err().to_string();
        assert!(error.contains("can be read by others"), "{error}");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let form = arguments(&file).open().unwrap().unwrap().form().unwrap();
        let expected = [
            ("client_id", "bot-secret".to_owned()),
            ("client_secret", "chs_x".to_owned()),
        ];
        assert_eq!(form, expected);
    }

    #[test]
    fn an_agent_without_a_proof_is_not_taken_for_nobody() {
        let named = CredentialArguments {
            agent: Some("bot".to_owned()),
            ..CredentialArguments::default()
        };
        assert!(named.open().is_err());
    }
}
