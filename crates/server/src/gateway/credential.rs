//! The credential in the upstream request: put in last, each part exactly once; and looked for in what comes back.

use crate::connect::open::OpenedCredential;
use crate::egress::{EgressError, StreamRequest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chancery_core::connection::Placement;
use chancery_core::secret::Secret;
use std::fmt;
use url::Url;

/// Puts a credential into a request. Whatever stood in its places is replaced, never added to.
///
/// # Errors
/// [`EgressError::Header`] if a value cannot stand in a header.
pub fn place(
    credential: &OpenedCredential,
    url: &mut Url,
    request: &mut StreamRequest,
) -> Result<(), EgressError> {
    let mut user = None;
    let mut password = None;
    for part in credential.parts() {
        let value = part.value.expose_secret();
        match &part.placement {
            Placement::Header { name, prefix } => {
                let text = Secret::new(format!("{prefix}{value}"));
                request.set_secret_header(name, text.expose_secret())?;
            }
            Placement::Query { name } => set_query(url, name, value),
            Placement::BasicUsername => user = Some(value),
            Placement::BasicPassword => password = Some(value),
        }
    }
    if user.is_some() || password.is_some() {
        let pair = Secret::new(format!(
            "{}:{}",
            user.map_or("", String::as_str),
            password.map_or("", String::as_str)
        ));
        let text = Secret::new(format!("Basic {}", BASE64.encode(pair.expose_secret())));
        request.set_secret_header("authorization", text.expose_secret())?;
    }
    Ok(())
}

fn set_query(url: &mut Url, name: &str, value: &str) {
    let others: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(known, _)| known != name)
        .map(|(known, other)| (known.into_owned(), other.into_owned()))
        .collect();
    let mut pairs = url.query_pairs_mut();
    pairs.clear();
    for (known, other) in &others {
        pairs.append_pair(known, other);
    }
    pairs.append_pair(name, value);
}

/// Looks for a credential in what comes back, in the forms in which an upstream would repeat it: as it is, as JSON
/// writes it, as a URL writes it, and in base64. A provider that transforms it otherwise is not caught.
#[derive(Default)]
pub struct Search {
    needles: Vec<Secret<Vec<u8>>>,
}

impl Search {
    /// What to look for. Values of less than eight bytes are found everywhere and are left out.
    pub fn new(credential: &OpenedCredential) -> Self {
        let values: Vec<&str> = credential
            .parts()
            .iter()
            .map(|part| part.value.expose_secret().as_str())
            .collect();
        Self::of(&values)
    }

    /// As [`Self::new`], for values by themselves.
    pub(crate) fn of(values: &[&str]) -> Self {
        let mut needles = Vec::new();
        for value in values {
            if value.len() < SHORTEST {
                continue;
            }
            needles.push(value.as_bytes().to_vec());
            let encoded: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
            needles.push(encoded.into_bytes());
            if let Ok(quoted) = serde_json::to_string(value) {
                needles.push(quoted.trim_matches('"').as_bytes().to_vec());
            }
            needles.push(BASE64.encode(value).trim_end_matches('=').as_bytes().to_vec());
        }
        needles.sort();
        needles.dedup();
        Self {
            needles: needles.into_iter().map(Secret::new).collect(),
        }
    }

    /// Whether the credential stands in these bytes.
    pub fn finds(&self, bytes: &[u8]) -> bool {
        self.needles
            .iter()
            .any(|needle| memchr::memmem::find(bytes, needle.expose_secret()).is_some())
    }

    /// The longest form: what a search over pieces must keep of the piece before, plus one.
    pub fn longest(&self) -> usize {
        self.needles
            .iter()
            .map(|needle| needle.expose_secret().len())
            .max()
            .unwrap_or(0)
    }
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search")
            .field("needles", &self.needles.len())
            .finish()
    }
}

/// Shorter values would be found in anything.
const SHORTEST: usize = 8;
