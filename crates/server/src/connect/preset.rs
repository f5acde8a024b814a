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
    let named = spec.credential.preset();
    match named {
        Some(named) if !PRESETS.iter().any(|(known, _)| *known == named) => {
            let all: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
            let text = format!("there is no preset `{named}`; there are {}", all.join(", "));
            Err(Refusal::Invalid(text))
        }
        Some(_) | None => Ok(()),
    }
}

/// Fills in a connection as it was written. What it says stays.
pub fn fill_in(item: &mut Map<String, Value>) {
    let Some(Value::Object(credential)) = item.get("credential") else {
        return;
    };
    // One kind, whichever it is: a preset is of that kind too.
    let Some((kind, said)) = credential.iter().next() else {
        return;
    };
    let text = |name: &str| said.get(name).and_then(Value::as_str);
    let Some(preset) = text("preset") else {
        return;
    };
    let client_id = text("client_id").unwrap_or_default();
    let found = PRESETS.iter().find(|(known, _)| *known == preset);
    let Some(Ok(Value::Object(preset))) =
        found.map(|(_, text)| toml::from_str::<Value>(&text.replace("{client_id}", client_id)))
    else {
        return;
    };
    let is_of_kind = |preset: &Value| preset.get(kind).is_some();
    if preset.get("credential").is_some_and(is_of_kind) {
        merge(item, preset);
    }
}

/// Members that are missing; what both have is gone into, scopes are put together, and of anything else that both have
/// the first stays.
fn merge(item: &mut Map<String, Value>, preset: Map<String, Value>) {
    for (name, known) in preset {
        match (item.get_mut(&name), known) {
            (Some(Value::Object(said)), Value::Object(known)) => merge(said, known),
            // Without the preset's there is no refresh token, or nothing that says whose account it is.
            (Some(Value::Array(said)), Value::Array(known)) if name == "scopes" => {
                let missing: Vec<Value> = known.into_iter().filter(|scope| !said.contains(scope)).collect();
                said.extend(missing);
            }
            (Some(_), _) => {}
            (None, known) => {
                item.insert(name, known);
            }
        }
    }
}

/// Every preset: its name, and an incomplete connection.
const PRESETS: &[(&str, &str)] = &[
    ("atlassian", include_str!("../../../../presets/atlassian.toml")),
    ("auth0", include_str!("../../../../presets/auth0.toml")),
    ("cognito", include_str!("../../../../presets/cognito.toml")),
    ("cyberark", include_str!("../../../../presets/cyberark.toml")),
    ("dropbox", include_str!("../../../../presets/dropbox.toml")),
    ("facebook", include_str!("../../../../presets/facebook.toml")),
    ("fusionauth", include_str!("../../../../presets/fusionauth.toml")),
    ("github-app", include_str!("../../../../presets/github-app.toml")),
    ("github", include_str!("../../../../presets/github.toml")),
    (
        "google-service-account",
        include_str!("../../../../presets/google-service-account.toml"),
    ),
    ("google", include_str!("../../../../presets/google.toml")),
    ("hubspot", include_str!("../../../../presets/hubspot.toml")),
    ("linear", include_str!("../../../../presets/linear.toml")),
    ("linkedin", include_str!("../../../../presets/linkedin.toml")),
    ("microsoft", include_str!("../../../../presets/microsoft.toml")),
    ("okta", include_str!("../../../../presets/okta.toml")),
    ("onelogin", include_str!("../../../../presets/onelogin.toml")),
    ("pingone", include_str!("../../../../presets/pingone.toml")),
    ("reddit", include_str!("../../../../presets/reddit.toml")),
    (
        "salesforce-jwt",
        include_str!("../../../../presets/salesforce-jwt.toml"),
    ),
    ("salesforce", include_str!("../../../../presets/salesforce.toml")),
    ("slack-bot", include_str!("../../../../presets/slack-bot.toml")),
    ("slack", include_str!("../../../../presets/slack.toml")),
    ("spotify", include_str!("../../../../presets/spotify.toml")),
    ("stripe", include_str!("../../../../presets/stripe.toml")),
    ("twitch", include_str!("../../../../presets/twitch.toml")),
    ("x", include_str!("../../../../presets/x.toml")),
    ("yandex", include_str!("../../../../presets/yandex.toml")),
    ("zoom", include_str!("../../../../presets/zoom.toml")),
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
        for (name, text) in PRESETS {
            let known: Value = toml::from_str(text).unwrap();
            let kind = known["credential"].as_object().unwrap().keys().next().unwrap();
            let mut said = json!({ "preset": name });
            said[if kind == "oauth2" { "client_id" } else { "issuer" }] = json!("our-id");
            if kind == "app_installation" {
                said["installation"] = json!(7);
                said["permissions"] = json!({ "contents": "read" });
            }
            let mut item = json!({ "credential": { kind.clone(): said } });
            if known.get("base_url").is_none() {
                item["base_url"] = json!("https://acme.example");
            }
            let oauth = &known["credential"]["oauth2"];
            if kind == "oauth2" && oauth.get("endpoints").is_none() {
                item["credential"]["oauth2"]["issuer"] = json!("https://id.acme.example");
            }
            let spec = filled(item);
            assert_eq!(spec.check(&name.parse().unwrap()), Ok(()), "{name}");
            assert_eq!(check(&spec), Ok(()), "{name}");
            // Whoever reads whose account it is at an endpoint has one.
            let endpoints = spec.credential.oauth().and_then(|oauth| oauth.endpoints.as_ref());
            let is_asked = oauth.pointer("/account/of") == Some(&json!("userinfo"));
            assert!(
                endpoints.is_none_or(|all| all.userinfo.is_some() == is_asked),
                "{name}"
            );
        }
    }

    #[test]
    fn every_file_is_a_preset() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../presets");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let names: Vec<String> = PRESETS.iter().map(|(name, _)| format!("{name}.toml")).collect();
        assert_eq!(files, names);
    }

    #[test]
    fn the_scopes_that_a_preset_needs_are_asked_for_too() {
        let oauth = json!({ "preset": "google", "client_id": "x", "scopes": ["drive.readonly", "email"] });
        let spec = filled(json!({ "credential": { "oauth2": oauth } }));
        assert_eq!(
            spec.credential.oauth().unwrap().scope(),
            "drive.readonly email openid"
        );
    }

    #[test]
    fn a_preset_denies_what_mints_credentials() {
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
    fn a_preset_of_another_kind_fills_in_nothing() {
        let said = json!({ "credential": { "signed_assertion": { "preset": "github", "issuer": "x" } } });
        let mut item = said.clone();
        fill_in(item.as_object_mut().unwrap());
        assert_eq!(item, said);
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
            endpoints.authorization.as_deref(),
            Some("https://github.com/login/oauth/authorize")
        );
        assert_eq!(oauth.scope(), "repo");
    }
}
