//! Whether a value is a static key: by the form that its provider gives it, or by the name that it stands under. What
//! only refers to a key, or keeps its place free, is none.

use super::api::{self, Api};

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recognized {
    /// In words, for `NAME is …`.
    pub(super) what: &'static str,
    /// Where requests with it go, if that is known.
    pub(super) api: Option<&'static Api>,
}

/// Whether this value under this name is a static key.
pub(super) fn recognize(name: &str, value: &str) -> Option<Recognized> {
    let value = value.trim();
    let value = value
        .strip_prefix("Bearer ")
        .or_else(|| value.strip_prefix("bearer "))
        .or_else(|| value.strip_prefix("token "))
        .unwrap_or(value)
        .trim();
    if is_reference(value) || keeps_a_place(value) {
        return None;
    }
    by_form(value).or_else(|| {
        let words: Vec<String> = name
            .split(|part: char| !part.is_alphanumeric())
            .map(str::to_uppercase)
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        (is_secret(&words) && value.len() >= SHORTEST).then(|| Recognized {
            what: "a secret by its name",
            api: api::by_words(&words),
        })
    })
}

fn by_form(value: &str) -> Option<Recognized> {
    if value.starts_with("-----BEGIN ") && value.contains("PRIVATE KEY-----") {
        return Some(Recognized {
            what: "a private key",
            api: None,
        });
    }
    if holds_a_password(value) {
        return Some(Recognized {
            what: "a URL with a password",
            api: None,
        });
    }
    let is_one_word = value.chars().all(|char| char.is_ascii_graphic());
    let form = FORMS
        .iter()
        .find(|form| is_one_word && value.starts_with(form.prefix) && value.len() >= form.least)?;
    Some(Recognized {
        what: form.what,
        api: form.api,
    })
}

/// Whether the name says that a secret stands there.
fn is_secret(words: &[&str]) -> bool {
    let public = ["PUBLIC", "PUBLISHABLE"];
    if words.iter().any(|word| public.contains(word)) {
        return false;
    }
    match words {
        [.., before, "KEY"] => {
            ["API", "ACCESS", "AUTH", "PRIVATE", "SECRET", "SERVICE", "SIGNING"].contains(before)
        }
        [.., last] => {
            let alone = [
                "APIKEY",
                "AUTHORIZATION",
                "PASSWD",
                "PASSWORD",
                "PAT",
                "SECRET",
                "TOKEN",
            ];
            alone.contains(last)
        }
        [] => false,
    }
}

/// `scheme://user:password@host`.
fn holds_a_password(value: &str) -> bool {
    url::Url::parse(value).is_ok_and(|url| {
        let password = url.password().unwrap_or_default();
        !password.is_empty() && !is_reference(password) && !keeps_a_place(password)
    })
}

/// Whether the value says where the key is instead of being it.
fn is_reference(value: &str) -> bool {
    let starts = [
        "$",
        "%24",
        "{{",
        "op://",
        "vault:",
        "ref+",
        "env:",
        "file:",
        "keychain:",
        "arn:",
        "/",
        "./",
        "~/",
    ];
    starts.iter().any(|start| value.starts_with(start)) || (value.starts_with('%') && value.ends_with('%'))
}

/// Whether the value only keeps a place free, as in an example.
fn keeps_a_place(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let words = [
        "your",
        "xxx",
        "changeme",
        "change-me",
        "change_me",
        "example",
        "placeholder",
        "replace",
        "insert",
        "dummy",
        "...",
        "***",
        "todo",
    ];
    let first = value.chars().next();
    value.is_empty()
        || value.starts_with('<')
        || value.chars().all(|char| Some(char) == first)
        || words.iter().any(|word| lower.contains(word))
}

/// The form of a provider's keys.
struct Form {
    prefix: &'static str,
    least: usize,
    what: &'static str,
    api: Option<&'static Api>,
}

const fn form(prefix: &'static str, least: usize, what: &'static str, api: Option<&'static Api>) -> Form {
    Form {
        prefix,
        least,
        what,
        api,
    }
}

/// The longer prefix first, where one begins another.
static FORMS: &[Form] = &[
    form("ghp_", 20, "a GitHub personal access token", Some(&api::GITHUB)),
    form(
        "github_pat_",
        30,
        "a GitHub personal access token",
        Some(&api::GITHUB),
    ),
    form("gho_", 20, "a GitHub OAuth token", Some(&api::GITHUB)),
    form("ghu_", 20, "a GitHub user token", Some(&api::GITHUB)),
    form("ghs_", 20, "a GitHub installation token", Some(&api::GITHUB)),
    form("glpat-", 16, "a GitLab access token", Some(&api::GITLAB)),
    form("sk-ant-", 20, "an Anthropic key", Some(&api::ANTHROPIC)),
    form("sk-proj-", 20, "an OpenAI key", Some(&api::OPENAI)),
    form("sk-", 32, "a key in OpenAI's form", Some(&api::OPENAI)),
    form("xoxb-", 16, "a Slack bot token", Some(&api::SLACK)),
    form("xoxp-", 16, "a Slack user token", Some(&api::SLACK)),
    form("xoxe", 16, "a Slack refresh token", Some(&api::SLACK)),
    form("xapp-", 16, "a Slack app token", Some(&api::SLACK)),
    form("sk_live_", 16, "a Stripe secret key", Some(&api::STRIPE)),
    form("rk_live_", 16, "a Stripe restricted key", Some(&api::STRIPE)),
    form("sk_test_", 16, "a Stripe test key", Some(&api::STRIPE)),
    form("ntn_", 16, "a Notion token", Some(&api::NOTION)),
    form("lin_api_", 16, "a Linear key", Some(&api::LINEAR)),
    form("hf_", 20, "a Hugging Face token", Some(&api::HUGGING_FACE)),
    form("SG.", 30, "a SendGrid key", Some(&api::SENDGRID)),
    form("pat-na1-", 20, "a HubSpot token", Some(&api::HUBSPOT)),
    form("pat-eu1-", 20, "a HubSpot token", Some(&api::HUBSPOT)),
    form("AIza", 30, "a Google key", None),
    form("GOCSPX-", 20, "a Google client secret", None),
    form("ya29.", 20, "a Google access token", None),
    form("ATATT3", 20, "an Atlassian token", None),
    form("npm_", 20, "an npm token", None),
    form("pypi-", 20, "a PyPI token", None),
    form("dop_v1_", 20, "a DigitalOcean token", None),
    form("shpat_", 20, "a Shopify token", None),
    form("AKIA", 16, "an AWS access key", None),
    form("eyJ", 60, "a JWT", None),
];

/// Shorter values under the name of a secret are switches and counts.
const SHORTEST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn what(name: &str, value: &str) -> Option<&'static str> {
        recognize(name, value).map(|recognized| recognized.what)
    }

    #[test]
    fn a_key_is_told_by_its_form_whatever_it_is_called() {
        let token = ["gh", "p_", &"A1b2".repeat(9)].concat();
        assert_eq!(what("X", &token), Some("a GitHub personal access token"));
        assert_eq!(
            what("Authorization", &format!("Bearer {token}")),
            Some("a GitHub personal access token")
        );
        let key = ["sk-", "ant-", &"A1b2".repeat(9)].concat();
        assert_eq!(what("X", &key), Some("an Anthropic key"));
        assert_eq!(
            what("X", "-----BEGIN PRIVATE KEY-----\nMII"),
            Some("a private key")
        );
        assert_eq!(
            what("DB", "postgres://app:s3cretpw@db/app"),
            Some("a URL with a password")
        );
    }

    #[test]
    fn a_secret_is_told_by_its_name() {
        let found = recognize("GITHUB_API_KEY", "0123456789abcdef").unwrap();
        assert_eq!(
            (found.what, found.api),
            ("a secret by its name", Some(&api::GITHUB))
        );
        for name in [
            "TOKEN",
            "X_TOKEN",
            "x-api-key",
            "DB_PASSWORD",
            "CLIENT_SECRET",
            "apikey",
        ] {
            assert!(what(name, "0123456789abcdef").is_some(), "{name}");
        }
        for name in [
            "TOKEN_URL",
            "MAX_TOKENS",
            "KEYBOARD",
            "MONKEY",
            "NEXT_PUBLIC_API_KEY",
            "SECRET_FILE",
            "PRIMARY_KEY",
        ] {
            assert!(what(name, "0123456789abcdef").is_none(), "{name}");
        }
    }

    #[test]
    fn what_only_refers_to_a_key_is_none() {
        for value in [
            "",
            "${GITHUB_TOKEN}",
            "$TOKEN",
            "op://vault/github/token",
            "<your token>",
            "your-api-key-here",
            "xxxxxxxxxxxxxxxxxxxx",
            "changeme",
            "/run/secrets/token",
            "true",
            "Bearer ${GITHUB_TOKEN}",
            "************",
            "ghp_xxxxxxxxxxxxxxxxxxxxxxxx",
        ] {
            assert_eq!(what("GITHUB_TOKEN", value), None, "{value}");
        }
        assert_eq!(what("DB", "postgres://app:${PASSWORD}@db/app"), None);
        assert_eq!(what("DB", "postgres://app@db/app"), None);
    }
}
