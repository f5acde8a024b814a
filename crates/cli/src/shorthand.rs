//! Shorthands of `agent create`: `--trust` for runtime bindings, `--allow` for ceiling and grant.

use anyhow::anyhow;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What proves an agent, as `--trust` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// `k8s:ISSUER/NAMESPACE/SERVICEACCOUNT`.
    Kubernetes {
        /// The trusted issuer's name.
        issuer: String,
        /// The namespace.
        namespace: String,
        /// The service account.
        account: String,
    },
    /// `github:OWNER/REPO`, whose ids the server looks up.
    Repository(String),
    /// `github:OWNER/REPO@ID`.
    RepositoryId(String),
    /// `oidc:ISSUER,CLAIM=VALUE…`.
    Claims {
        /// The trusted issuer's name.
        issuer: String,
        /// Each claim and the one value that it has.
        claims: BTreeMap<String, String>,
    },
}

impl std::str::FromStr for Trust {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let unknown = || {
            anyhow!(
                "`{text}` is neither k8s:ISSUER/NAMESPACE/SERVICEACCOUNT nor github:OWNER/REPO nor github:OWNER/REPO@ID \
                 nor oidc:ISSUER,CLAIM=VALUE"
            )
        };
        let (kind, rest) = text.split_once(':').ok_or_else(unknown)?;
        match (kind, rest.split_once('@')) {
            ("k8s", _) => {
                let parts: Vec<&str> = rest.split('/').collect();
                let [issuer, namespace, account] = parts.as_slice() else {
                    return Err(unknown());
                };
                Ok(Self::Kubernetes {
                    issuer: (*issuer).to_owned(),
                    namespace: (*namespace).to_owned(),
                    account: (*account).to_owned(),
                })
            }
            ("oidc", _) => claims(rest).ok_or_else(unknown),
            ("github", None) if rest.contains('/') => Ok(Self::Repository(rest.to_owned())),
            ("github", Some((repository, id))) if repository.contains('/') && is_number(id) => {
                Ok(Self::RepositoryId(id.to_owned()))
            }
            _ => Err(unknown()),
        }
    }
}

fn claims(text: &str) -> Option<Trust> {
    let (issuer, rest) = text.split_once(',')?;
    let mut claims = BTreeMap::new();
    for pair in rest.split(',') {
        let (claim, value) = pair.split_once('=')?;
        if claim.is_empty() || value.is_empty() || claims.insert(claim.to_owned(), value.to_owned()).is_some()
        {
            return None;
        }
    }
    let issuer = issuer.to_owned();
    Some(Trust::Claims { issuer, claims })
}

/// A runtime binding of an agent to exactly these claims.
pub(crate) fn exactly(
    agent: &str,
    (issuer, claims): (&str, &BTreeMap<String, String>),
    audience: &str,
) -> Value {
    json!({
        "name": format!("{agent}-{issuer}"),
        "issuer": issuer,
        "audience": audience,
        "agent": agent,
        "claims": claims,
    })
}

/// A runtime binding of an agent to a Kubernetes service account.
pub(crate) fn kubernetes(
    agent: &str,
    (issuer, namespace, account): (&str, &str, &str),
    audience: &str,
) -> Value {
    json!({
        "name": format!("{agent}-{namespace}-{account}"),
        "issuer": issuer,
        "audience": audience,
        "agent": agent,
        "claims": {
            "/kubernetes.io/namespace": namespace,
            "/kubernetes.io/serviceaccount/name": account,
        },
        "instance": ["/kubernetes.io/pod/name", "/kubernetes.io/pod/uid"],
    })
}

/// A runtime binding of an agent to a GitHub repository. Names can be given up and taken by others, ids cannot:
/// only ids are pinned, the owner's too where it is known.
pub(crate) fn github(agent: &str, (repository, owner): (&str, Option<&str>), audience: &str) -> Value {
    let mut claims = Map::new();
    claims.insert("repository_id".to_owned(), Value::from(repository));
    if let Some(owner) = owner {
        claims.insert("repository_owner_id".to_owned(), Value::from(owner));
    }
    json!({
        "name": format!("{agent}-github-{repository}"),
        "issuer": "github",
        "audience": audience,
        "agent": agent,
        "claims": claims,
        "instance": ["run_id", "sha", "ref"],
    })
}

/// The ceiling of `resource:scope` texts.
///
/// # Errors
/// A text without a resource.
pub(crate) fn ceiling(allowed: &[String]) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let mut ceiling: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for text in allowed {
        let (resource, scope) = text
            .split_once(':')
            .ok_or_else(|| anyhow!("`{text}` is not resource:scope"))?;
        ceiling
            .entry(resource.to_owned())
            .or_default()
            .push(scope.to_owned());
    }
    Ok(ceiling)
}

/// One grant to the agent itself for each resource of a ceiling.
pub(crate) fn grants(agent: &str, ceiling: &BTreeMap<String, Vec<String>>) -> Vec<Map<String, Value>> {
    let grant = |(resource, scopes): (&String, &Vec<String>)| {
        let mut grant = Map::new();
        grant.insert("agent".to_owned(), json!(agent));
        grant.insert("principal".to_owned(), json!("itself"));
        grant.insert("resource".to_owned(), json!(resource));
        grant.insert("scopes".to_owned(), json!(scopes));
        grant
    };
    ceiling.iter().map(grant).collect()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_pins_namespace_and_account() {
        let binding = kubernetes("bot", ("cluster", "prod", "bot"), "https://id.example");
        assert_eq!(binding["claims"]["/kubernetes.io/namespace"], "prod");
        assert_eq!(binding["claims"]["/kubernetes.io/serviceaccount/name"], "bot");
        assert!("k8s:cluster/prod".parse::<Trust>().is_err());
    }

    #[test]
    fn github_pins_ids_and_never_the_name() {
        let binding = github("bot", ("42", Some("7")), "https://id.example");
        let pinned = json!({ "repository_id": "42", "repository_owner_id": "7" });
        assert_eq!(binding["claims"], pinned);
        assert_eq!(
            github("bot", ("42", None), "x")["claims"],
            json!({ "repository_id": "42" })
        );
    }

    #[test]
    fn oidc_pins_what_is_written_and_nothing_twice() {
        let Trust::Claims { issuer, claims } = "oidc:ci,sub=repo:a/b,ref=main".parse().unwrap() else {
            panic!("another kind");
        };
        let binding = exactly("bot", (&issuer, &claims), "chancery");
        assert_eq!(binding["claims"], json!({ "sub": "repo:a/b", "ref": "main" }));
        for text in ["oidc:ci", "oidc:ci,sub", "oidc:ci,sub=", "oidc:ci,sub=a,sub=b"] {
            assert!(text.parse::<Trust>().is_err(), "{text}");
        }
    }

    #[test]
    fn github_takes_a_name_to_look_up_or_an_id() {
        let parse = |text: &str| text.parse::<Trust>();
        let (name, id) = (
            parse("github:acme/app").unwrap(),
            parse("github:acme/app@42").unwrap(),
        );
        assert_eq!(name, Trust::Repository("acme/app".to_owned()));
        assert_eq!(id, Trust::RepositoryId("42".to_owned()));
        for text in [
            "github:acme",
            "github:acme/app@",
            "github:acme/app@x",
            "gitlab:a/b",
            "acme/app",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
