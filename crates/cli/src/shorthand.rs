//! Shorthands of `agent create`: `--trust` for runtime bindings, `--allow` for ceiling and grant.

use anyhow::{anyhow, bail};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A runtime binding from `k8s:ISSUER/NAMESPACE/SERVICEACCOUNT` or `github:OWNER/REPO@REPOSITORY_ID`.
///
/// # Errors
/// A text of neither form.
pub(crate) fn binding(agent: &str, trust: &str, audience: &str) -> anyhow::Result<Value> {
    let (kind, rest) = trust.split_once(':').ok_or_else(|| unknown(trust))?;
    match kind {
        "k8s" => {
            let parts: Vec<&str> = rest.split('/').collect();
            let [issuer, namespace, account] = parts.as_slice() else {
                return Err(unknown(trust));
            };
            Ok(json!({
                "name": format!("{agent}-{namespace}-{account}"),
                "issuer": issuer,
                "audience": audience,
                "agent": agent,
                "claims": {
                    "/kubernetes.io/namespace": namespace,
                    "/kubernetes.io/serviceaccount/name": account,
                },
                "instance": ["/kubernetes.io/pod/name", "/kubernetes.io/pod/uid"],
            }))
        }
        "github" => github(agent, rest, audience),
        _ => Err(unknown(trust)),
    }
}

/// Names can be given up and taken by others, ids cannot: only the id is pinned.
fn github(agent: &str, rest: &str, audience: &str) -> anyhow::Result<Value> {
    let Some((repository, id)) = rest.split_once('@') else {
        bail!("give the repository's immutable id: github:{rest}@ID\nhint: gh api repos/{rest} --jq .id");
    };
    if !id.bytes().all(|byte| byte.is_ascii_digit()) || id.is_empty() || !repository.contains('/') {
        bail!("`github:{rest}` is not github:OWNER/REPO@ID");
    }
    Ok(json!({
        "name": format!("{agent}-github-{id}"),
        "issuer": "github",
        "audience": audience,
        "agent": agent,
        "claims": { "repository_id": id },
        "instance": ["run_id", "sha", "ref"],
    }))
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

fn unknown(trust: &str) -> anyhow::Error {
    anyhow!("`{trust}` is neither k8s:ISSUER/NAMESPACE/SERVICEACCOUNT nor github:OWNER/REPO@ID")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_pins_namespace_and_account() {
        let binding = binding("bot", "k8s:cluster/prod/bot", "https://id.example").unwrap();
        assert_eq!(binding["claims"]["/kubernetes.io/namespace"], "prod");
        assert!(super::binding("bot", "k8s:cluster/prod", "x").is_err());
    }

    #[test]
    fn github_pins_the_id_and_never_the_name() {
        let binding = binding("bot", "github:acme/app@42", "https://id.example").unwrap();
        assert_eq!(binding["claims"], json!({ "repository_id": "42" }));
        assert!(super::binding("bot", "github:acme/app", "x").is_err());
    }
}
