//! The immutable ids of a GitHub repository, by its name.
//!
//! Names can be given up and taken by others, ids cannot; so a binding pins ids, and this finds them. Without a
//! credential: a repository that only its members see is unknown here, and its id must be given.

use super::{Destination, Egress, EgressError, OutboundRequest, UrlSource};
use bytes::Bytes;
use chancery_core::json::{JsonLimits, parse_object};
use chancery_core::name::Name;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Map, Value};
use std::fmt;

/// `OWNER/REPO`, in the characters that GitHub allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryName(String);

/// The ids that never pass to anybody else. GitHub's tokens carry them as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryIds {
    /// The claim `repository_id`.
    pub repository_id: String,
    /// The claim `repository_owner_id`.
    pub repository_owner_id: String,
}

/// Why the ids of a repository are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    /// The name has another form.
    #[error("a repository is named OWNER/REPO")]
    Name,
    /// GitHub cannot be asked.
    #[error("GitHub cannot be asked: {0}")]
    Unreachable(EgressError),
    /// GitHub shows no such repository to the public.
    #[error("GitHub shows no such repository to the public")]
    Unknown,
    /// The repository has another name now.
    #[error("the repository has another name now")]
    Renamed,
    /// GitHub answers no more questions for a while (its limit on anonymous requests).
    #[error("GitHub answers no more anonymous requests for a while")]
    Limited,
    /// GitHub answered something else.
    #[error("GitHub answered with status {0}")]
    Status(u16),
    /// The answer does not say what it should.
    #[error("the answer does not describe the repository")]
    Malformed,
}

impl std::str::FromStr for RepositoryName {
    type Err = RepositoryError;

    fn from_str(text: &str) -> Result<Self, RepositoryError> {
        // SECURITY: the two parts become segments of a path, so they hold nothing that could leave it.
        let plain = |part: &str| {
            (1..=100).contains(&part.len())
                && part.bytes().any(|byte| byte != b'.')
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        match text.split_once('/') {
            Some((owner, repository)) if plain(owner) && plain(repository) => Ok(Self(text.to_owned())),
            _ => Err(RepositoryError::Name),
        }
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Egress {
    /// Asks GitHub's interface at `base` for the ids of a repository (`GET {base}/repos/OWNER/REPO`).
    ///
    /// # Errors
    /// Every rule of [`RepositoryError`] but [`RepositoryError::Name`].
    pub async fn find_repository(
        &self,
        tenant: &Name,
        base: &str,
        repository: &RepositoryName,
    ) -> Result<RepositoryIds, RepositoryError> {
        let url = format!("{}/repos/{repository}", base.trim_end_matches('/'));
        let mut headers = HeaderMap::new();
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_static("application/vnd.github+json"),
        );
        let request = OutboundRequest {
            method: Method::GET,
            headers,
            body: Bytes::new(),
            max_response_bytes: MAX_BYTES,
        };
        let destination = Destination {
            tenant: Some(tenant),
            source: UrlSource::Configured,
            url: &url,
        };
        let answer = self
            .send(destination, request)
            .await
            .map_err(RepositoryError::Unreachable)?;
        match answer.status {
            StatusCode::OK => read(&answer.body, repository),
            StatusCode::NOT_FOUND => Err(RepositoryError::Unknown),
            StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => Err(RepositoryError::Limited),
            status if status.is_redirection() => Err(RepositoryError::Renamed),
            status => Err(RepositoryError::Status(status.as_u16())),
        }
    }
}

fn read(body: &[u8], repository: &RepositoryName) -> Result<RepositoryIds, RepositoryError> {
    let members =
        parse_object(body, JsonLimits::of_bytes(MAX_BYTES)).map_err(|_| RepositoryError::Malformed)?;
    let name = members.get("full_name").and_then(Value::as_str);
    let is_asked_for = name.is_some_and(|name| name.eq_ignore_ascii_case(&repository.0));
    let owner = members.get("owner").and_then(Value::as_object);
    match (id(Some(&members)), id(owner)) {
        (Some(repository_id), Some(repository_owner_id)) if is_asked_for => Ok(RepositoryIds {
            repository_id,
            repository_owner_id,
        }),
        _ => Err(RepositoryError::Malformed),
    }
}

fn id(members: Option<&Map<String, Value>>) -> Option<String> {
    members?.get("id")?.as_u64().map(|id| id.to_string())
}

const MAX_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_name_never_leaves_its_path() {
        for text in [
            "acme",
            "acme/",
            "/app",
            "acme/app/x",
            "../app",
            "acme/..",
            "acme/.",
            "acme/a b",
            "acme/a?x",
            "acme/a#x",
            "acme/%2e",
            "",
            "acme/é",
        ] {
            assert_eq!(
                text.parse::<RepositoryName>(),
                Err(RepositoryError::Name),
                "{text}"
            );
        }
        for text in ["acme/app", "Acme-1/.github", "a/my_app.js"] {
            assert!(text.parse::<RepositoryName>().is_ok(), "{text}");
        }
    }

    #[test]
    fn an_answer_about_another_repository_is_refused() {
        let asked = "acme/app".parse().unwrap();
        let answer = |name: &str| {
            let body = serde_json::json!({ "id": 42, "full_name": name, "owner": { "id": 7 } });
            read(body.to_string().as_bytes(), &asked)
        };
        assert_eq!(answer("Acme/App").unwrap().repository_id, "42");
        assert_eq!(answer("evil/app"), Err(RepositoryError::Malformed));
        assert_eq!(read(b"{\"id\":42}", &asked), Err(RepositoryError::Malformed));
    }
}
