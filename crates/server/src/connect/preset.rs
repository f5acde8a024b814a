//! What is known of providers, as data: `presets/*.toml` at the root of the repository. A connection that names one is
//! filled in with whatever it does not say itself, when it is written; what is stored is whole.

use crate::error::Refusal;
use chancery_core::connection::ConnectionSpec;
use serde_json::{Map, Value};

/// Whether there is the preset that a connection names.
///
/// # Errors
/// [`Refusal::Invalid`] with the names that there are.
pub fn check(spec: &ConnectionSpec) -> Result<(), Refusal> {
    let named = spec.credential.oauth().and_then(|oauth| oauth.preset.as_ref());
    match named {
        Some(named) if !PRESETS.iter().any(|(known, _)| known == named) => {
            let all: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
            let text = format!("there is no preset `{named}`; there are {}", all.join(", "));
            Err(Refusal::Invalid(text))
        }
        Some(_) | None => Ok(()),
    }
}

/// Fills in a connection as it was written. What it says stays.
pub fn fill_in(item: &mut Map<String, Value>) {
    let oauth = item
        .get("credential")
        .and_then(|credential| credential.get("oauth2"));
    let text = |name: &str| oauth?.get(name)?.as_str().map(str::to_owned);
    let Some(preset) = text("preset") else {
        return;
    };
    let client_id = text("client_id").unwrap_or_default();
    let found = PRESETS.iter().find(|(known, _)| *known == preset);
    let Some(Ok(Value::Object(preset))) =
        found.map(|(_, text)| toml::from_str::<Value>(&text.replace("{client_id}", &client_id)))
    else {
        return;
    };
    merge(item, preset);
}

/// Members that are missing; what both have is gone into, and of anything else that both have the first stays.
fn merge(item: &mut Map<String, Value>, preset: Map<String, Value>) {
    for (name, known) in preset {
        match (item.get_mut(&name), known) {
            (Some(Value::Object(said)), Value::Object(known)) => merge(said, known),
            (Some(_), _) => {}
            (None, known) => {
                item.insert(name, known);
            }
        }
    }
}

/// Every preset: its name, and an incomplete connection.
const PRESETS: &[(&str, &str)] = &[
    ("github", include_str!("../../../../presets/github.toml")),
    ("google", include_str!("../../../../presets/google.toml")),
    ("salesforce", include_str!("../../../../presets/salesforce.toml")),
    ("slack", include_str!("../../../../presets/slack.toml")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use chancery_core::noun::Spec as _;
    use serde_json::json;

    fn filled(mut item: Value) -> ConnectionSpec {
        fill_in(item.as_object_mut().unwrap());
        serde_json::from_value(item).unwrap()
    }

    #[test]
    fn every_preset_makes_a_whole_connection() {
        for (name, _) in PRESETS {
            let mut item = json!({ "credential": { "oauth2": { "preset": name, "client_id": "our-id" } } });
            if *name == "salesforce" {
                item["base_url"] = json!("https://acme.my.salesforce.com");
            }
            let spec = filled(item);
            assert_eq!(spec.check(&name.parse().unwrap()), Ok(()), "{name}");
            let endpoints = spec.credential.oauth().unwrap().endpoints.clone().unwrap();
            assert!(endpoints.revocation.is_some(), "{name}");
        }
        let spec =
            filled(json!({ "credential": { "oauth2": { "preset": "github", "client_id": "our-id" } } }));
        let endpoints = spec.credential.oauth().unwrap().endpoints.clone().unwrap();
        assert_eq!(
            endpoints.revocation.as_deref(),
            Some("https://api.github.com/applications/our-id/grant")
        );
        assert!(spec.allows("GET", "/user") && !spec.allows("POST", "/user/keys"));
    }

    #[test]
    fn what_a_connection_says_itself_stays() {
        let spec = filled(json!({
            "base_url": "https://github.example.com/api/v3",
            "credential": { "oauth2": { "preset": "github", "client_id": "x", "scopes": ["repo"],
                "endpoints": { "token": "https://github.example.com/token" } } },
        }));
        let oauth = spec.credential.oauth().unwrap();
        assert_eq!(spec.base_url.as_str(), "https://github.example.com/api/v3");
        let endpoints = oauth.endpoints.as_ref().unwrap();
        assert_eq!(endpoints.token, "https://github.example.com/token");
        assert_eq!(
            endpoints.authorization,
            "https://github.com/login/oauth/authorize"
        );
        assert_eq!(oauth.scope(), "repo");
    }
}
