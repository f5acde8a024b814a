//! Providers whose keys are told by their form or their name, and where requests with them go.

/// A provider's HTTP interface.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Api {
    /// What a connection to it is called.
    pub(super) name: &'static str,
    /// Where requests go.
    pub(super) base_url: &'static str,
    /// The header that the key goes into.
    pub(super) header: &'static str,
    /// What stands before the key there.
    pub(super) prefix: &'static str,
    /// Words in the name of a variable that tell it.
    words: &'static [&'static str],
}

/// The provider that the words of a variable's name tell.
pub(super) fn by_words(words: &[&str]) -> Option<&'static Api> {
    ALL.iter()
        .copied()
        .find(|api| api.words.iter().any(|word| words.contains(word)))
}

const fn bearer(name: &'static str, base_url: &'static str, words: &'static [&'static str]) -> Api {
    Api {
        name,
        base_url,
        header: "Authorization",
        prefix: "Bearer ",
        words,
    }
}

pub(super) static ANTHROPIC: Api = Api {
    header: "x-api-key",
    prefix: "",
    ..bearer("anthropic", "https://api.anthropic.com", &["ANTHROPIC", "CLAUDE"])
};
pub(super) static GITHUB: Api = bearer("github", "https://api.github.com", &["GITHUB", "GH"]);
pub(super) static GITLAB: Api = bearer("gitlab", "https://gitlab.com", &["GITLAB"]);
pub(super) static HUBSPOT: Api = bearer("hubspot", "https://api.hubapi.com", &["HUBSPOT"]);
pub(super) static HUGGING_FACE: Api = bearer("huggingface", "https://huggingface.co", &["HF", "HUGGINGFACE"]);
pub(super) static LINEAR: Api = Api {
    prefix: "",
    ..bearer("linear", "https://api.linear.app", &["LINEAR"])
};
pub(super) static NOTION: Api = bearer("notion", "https://api.notion.com", &["NOTION"]);
pub(super) static OPENAI: Api = bearer("openai", "https://api.openai.com", &["OPENAI"]);
pub(super) static SENDGRID: Api = bearer("sendgrid", "https://api.sendgrid.com", &["SENDGRID"]);
pub(super) static SLACK: Api = bearer("slack", "https://slack.com", &["SLACK"]);
pub(super) static STRIPE: Api = bearer("stripe", "https://api.stripe.com", &["STRIPE"]);

static ALL: [&Api; 11] = [
    &ANTHROPIC,
    &GITHUB,
    &GITLAB,
    &HUBSPOT,
    &HUGGING_FACE,
    &LINEAR,
    &NOTION,
    &OPENAI,
    &SENDGRID,
    &SLACK,
    &STRIPE,
];
