//! Which agent a client that makes itself known comes to, by the tenant's rules (draft-ietf-oauth-client-id-metadata-
//! document §6.1; RFC 7591 §3.1). Where two rules name different agents nobody is guessed: it is staged.

use chancery_core::client::{ClientGrant, ClientSpec};
use chancery_core::name::Name;
use chancery_core::registration::{RegistrationOutcome, RegistrationRuleSpec, RegistrationWay};
use chancery_core::uri::is_loopback;
use std::collections::BTreeSet;
use url::Url;

/// What the rules say of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It belongs to this agent.
    Adopt(Name),
    /// It waits for somebody to adopt it.
    Stage,
    /// It is not taken.
    Refuse,
    /// The way is closed.
    Off,
}

/// Whether a way is closed as a whole.
pub fn is_off<'a>(rules: impl IntoIterator<Item = &'a RegistrationRuleSpec>, way: RegistrationWay) -> bool {
    rules
        .into_iter()
        .any(|rule| rule.covers(way) && rule.outcome == RegistrationOutcome::Off)
}

/// What the rules say of a client: a rule that names its host before one that speaks of all, a refusal before an
/// adoption, and staging where none speaks or two name different agents.
pub fn rule<'a>(
    rules: impl IntoIterator<Item = &'a RegistrationRuleSpec>,
    way: RegistrationWay,
    client: &ClientSpec,
) -> Ruling {
    let matching: Vec<&RegistrationRuleSpec> = rules
        .into_iter()
        .filter(|rule| rule.covers(way) && matches(rule, way, client))
        .collect();
    let has = |general: bool, outcome| {
        matching
            .iter()
            .any(|rule| rule.is_general() == general && rule.outcome == outcome)
    };
    if has(true, RegistrationOutcome::Off) {
        return Ruling::Off;
    }
    if has(false, RegistrationOutcome::Refuse) {
        return Ruling::Refuse;
    }
    if has(false, RegistrationOutcome::Stage) {
        return Ruling::Stage;
    }
    let agents: BTreeSet<&Name> = matching.iter().filter_map(|rule| rule.agent.as_ref()).collect();
    match (agents.len(), agents.first()) {
        (1, Some(agent)) => Ruling::Adopt((*agent).clone()),
        (0, _) if has(true, RegistrationOutcome::Refuse) => Ruling::Refuse,
        _ => Ruling::Stage,
    }
}

/// A client that a rule adopted by the hosts of its redirect URIs alone proved nothing but that: it gets what passes
/// through those hosts, a person's codes, and never acts for the agent itself.
pub fn within_proof(way: RegistrationWay, client: ClientSpec) -> ClientSpec {
    let is_proved = way == RegistrationWay::MetadataDocument && !client.method.is_public();
    if is_proved {
        return client;
    }
    let through_a_person =
        |grant: &ClientGrant| matches!(grant, ClientGrant::AuthorizationCode | ClientGrant::RefreshToken);
    let grant_types: Vec<ClientGrant> = client
        .grant_types
        .iter()
        .copied()
        .filter(through_a_person)
        .collect();
    let grant_types = if grant_types.is_empty() {
        vec![ClientGrant::AuthorizationCode]
    } else {
        grant_types
    };
    ClientSpec {
        grant_types,
        ..client
    }
}

fn matches(rule: &RegistrationRuleSpec, way: RegistrationWay, client: &ClientSpec) -> bool {
    let is_named = rule.software_ids.is_empty()
        || client
            .software_id
            .as_ref()
            .is_some_and(|id| rule.software_ids.contains(id));
    if rule.hosts.is_empty() {
        return is_named;
    }
    let is_listed = |host: &str| rule.hosts.iter().any(|pattern| covers(pattern, host));
    is_named
        && match way {
            RegistrationWay::MetadataDocument => {
                let url = client
                    .metadata_uri
                    .as_ref()
                    .and_then(|text| Url::parse(text).ok());
                url.and_then(|url| url.host_str().map(is_listed)).unwrap_or(false)
            }
            // SECURITY: every one of them, or one good address would carry a bad one along.
            RegistrationWay::Registered => {
                !client.redirect_uris.is_empty()
                    && client
                        .redirect_uris
                        .iter()
                        .all(|uri| host_of(uri).is_some_and(|host| is_listed(&host)))
            }
        }
}

/// The host that a redirect URI leads to. Plain http leads to the person's own machine and nowhere else: a rule that
/// names `localhost` or `127.0.0.1` lets in any program there.
fn host_of(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let counts = match url.scheme() {
        "https" => true,
        "http" => is_loopback(&url),
        _ => false,
    };
    url.host_str().filter(|_| counts).map(str::to_owned)
}

fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => host
            .strip_suffix(parent)
            .is_some_and(|front| front.len() > 1 && front.ends_with('.')),
        None => pattern == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chancery_core::client::{ClientAuthenticationMethod, Provenance};
    use serde_json::{Value, json};

    fn rules(list: Value) -> Vec<RegistrationRuleSpec> {
        serde_json::from_value(list).unwrap()
    }

    fn client(redirects: &[&str], software: Option<&str>) -> ClientSpec {
        ClientSpec {
            agent: None,
            provenance: Provenance::Registered,
            redirect_uris: redirects.iter().map(|uri| (*uri).to_owned()).collect(),
            software_id: software.map(str::to_owned),
            ..ClientSpec::new(
                "x".parse().unwrap(),
                ClientAuthenticationMethod::ClientSecretBasic,
            )
        }
    }

    fn ruled(list: Value, redirects: &[&str], software: Option<&str>) -> Ruling {
        rule(
            &rules(list),
            RegistrationWay::Registered,
            &client(redirects, software),
        )
    }

    const HOME: &[&str] = &["https://app.example/callback"];

    fn adopt() -> Value {
        json!({ "outcome": "adopt", "agent": "bot", "hosts": ["app.example", "*.corp.example"] })
    }

    #[test]
    fn a_client_comes_to_an_agent_by_every_one_of_its_hosts() {
        let bot = Ruling::Adopt("bot".parse().unwrap());
        assert_eq!(ruled(json!([adopt()]), HOME, None), bot);
        assert_eq!(ruled(json!([adopt()]), &["https://a.b.corp.example/"], None), bot);
        for redirects in [
            &["https://app.example/", "https://evil.example/"][..],
            &["https://app.example/", "http://localhost/"],
            &["https://app.example.evil.example/"],
            &["https://evilapp.example/"],
            &["https://corp.example/"],
            &["https://evilcorp.example/"],
            &["app.example:/callback"],
            &[],
        ] {
            assert_eq!(
                ruled(json!([adopt()]), redirects, None),
                Ruling::Stage,
                "{redirects:?}"
            );
        }
    }

    #[test]
    fn a_program_on_peoples_machines_comes_in_only_where_a_rule_names_their_machine() {
        let local = json!({ "outcome": "adopt", "agent": "bot", "hosts": ["localhost", "127.0.0.1"] });
        let both = &["http://localhost:3334/callback", "http://127.0.0.1/callback"][..];
        let bot = Ruling::Adopt("bot".parse().unwrap());
        assert_eq!(ruled(json!([local]), both, None), bot);
        assert_eq!(ruled(json!([adopt()]), both, None), Ruling::Stage);
        for redirects in [
            &["http://localhost/", "https://evil.example/"][..],
            &["http://localhost.evil.example/"],
            &["http://[::1]/"],
            &["localhost:/callback"],
        ] {
            assert_eq!(
                ruled(json!([local]), redirects, None),
                Ruling::Stage,
                "{redirects:?}"
            );
        }
    }

    #[test]
    fn software_that_only_says_so_is_nobodys() {
        let named =
            json!({ "outcome": "adopt", "agent": "bot", "hosts": ["app.example"], "software_ids": ["s"] });
        assert_eq!(
            ruled(json!([named]), &["https://evil.example/"], Some("s")),
            Ruling::Stage
        );
        assert_eq!(ruled(json!([named]), HOME, Some("other")), Ruling::Stage);
        assert_eq!(ruled(json!([named]), HOME, None), Ruling::Stage);
        assert_eq!(
            ruled(json!([named]), HOME, Some("s")),
            Ruling::Adopt("bot".parse().unwrap())
        );
    }

    #[test]
    fn two_agents_are_never_guessed_between() {
        let other = json!({ "outcome": "adopt", "agent": "other", "hosts": ["app.example"] });
        assert_eq!(ruled(json!([adopt(), other]), HOME, None), Ruling::Stage);
    }

    #[test]
    fn a_refusal_goes_before_an_adoption_and_a_named_host_before_all() {
        let refuse = json!({ "outcome": "refuse", "hosts": ["app.example"] });
        assert_eq!(ruled(json!([adopt(), refuse]), HOME, None), Ruling::Refuse);
        let all = json!({ "outcome": "refuse" });
        assert_eq!(
            ruled(json!([adopt(), all]), HOME, None),
            Ruling::Adopt("bot".parse().unwrap())
        );
        assert_eq!(
            ruled(json!([adopt(), all]), &["https://evil.example/"], None),
            Ruling::Refuse
        );
        let off = json!({ "outcome": "off", "ways": ["registered"] });
        assert_eq!(ruled(json!([adopt(), off]), HOME, None), Ruling::Off);
        assert!(is_off(&rules(json!([off])), RegistrationWay::Registered));
        assert!(!is_off(&rules(json!([off])), RegistrationWay::MetadataDocument));
    }

    #[test]
    fn whoever_names_a_redirect_host_does_not_act_for_the_agent_itself() {
        let asked = ClientSpec {
            grant_types: vec![ClientGrant::ClientCredentials, ClientGrant::TokenExchange],
            ..client(HOME, None)
        };
        let kept = within_proof(RegistrationWay::Registered, asked.clone());
        assert_eq!(kept.grant_types, [ClientGrant::AuthorizationCode]);
        let document = ClientSpec {
            method: ClientAuthenticationMethod::PrivateKeyJwt,
            ..asked.clone()
        };
        let proved = within_proof(RegistrationWay::MetadataDocument, document.clone());
        assert_eq!(proved, document);
        let public = ClientSpec {
            method: ClientAuthenticationMethod::None,
            ..asked
        };
        let kept = within_proof(RegistrationWay::MetadataDocument, public);
        assert_eq!(kept.grant_types, [ClientGrant::AuthorizationCode]);
    }
}
