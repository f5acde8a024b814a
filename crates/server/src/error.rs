//! What can go wrong in a use case, apart from the errors of a protocol.

use crate::connect::inspect::InspectError;
use crate::egress::RepositoryError;
use crate::kms::KeyServiceFault;
use crate::limits::Limited;
use chancery_oauth::error::{ErrorCode, OAuthError};
use chancery_store::DbError;

/// Why a use case did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The protocol's own error.
    #[error(transparent)]
    OAuth(#[from] OAuthError),
    /// A request of the administration interface that cannot be carried out as it is.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// Policy does not permit a management action.
    #[error(transparent)]
    Denied(#[from] chancery_policy::manage::ManagementDenied),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The service that holds the root key.
    #[error(transparent)]
    KeyService(#[from] KeyServiceFault),
    /// This node does not know the present state well enough to answer.
    #[error("this node is not sure of the present state: {0}")]
    Stale(&'static str),
    /// More was asked for than may be.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// A node that cannot start as it was told to.
    #[error("{0}")]
    Start(String),
    /// A fault of ours.
    #[error("internal fault: {0}")]
    Internal(String),
}

/// Why an administration request cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such thing.
    #[error("no {noun} `{name}`")]
    NotFound {
        /// What kind of thing.
        noun: chancery_core::noun::Noun,
        /// What was asked for.
        name: String,
    },
    /// There is nothing of this id that the caller may see.
    #[error("no {what} `{name}`")]
    Unknown {
        /// What kind of thing.
        what: &'static str,
        /// What was asked for.
        name: String,
    },
    /// The name, or what else must be unique, is taken; names are never reused.
    #[error("the {noun} `{name}` exists or has existed: names and keys are never reused")]
    Exists {
        /// What kind of thing.
        noun: chancery_core::noun::Noun,
        /// The name.
        name: String,
    },
    /// Somebody changed it meanwhile.
    #[error("`{0}` was changed by somebody else meanwhile; read it again")]
    Conflict(String),
    /// The lifecycle does not allow this step.
    #[error("a {noun} that is {from} cannot become {to}")]
    Lifecycle {
        /// What kind of thing.
        noun: chancery_core::noun::Noun,
        /// Its state.
        from: chancery_core::noun::Lifecycle,
        /// The state asked for.
        to: chancery_core::noun::Lifecycle,
    },
    /// A value breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// The ids of a repository could not be looked up.
    #[error("the ids of `{repository}` are not known: {error}")]
    Repository {
        /// The repository.
        repository: String,
        /// Why not.
        error: RepositoryError,
    },
    /// An MCP server could not be looked at.
    #[error("the MCP server at {url} cannot be added: {error}")]
    Upstream {
        /// Its URL.
        url: String,
        /// Why not.
        error: InspectError,
    },
    /// The person behind a call has no account at a connection that its agent may use.
    #[error("no account at `{connection}` may be used here; decision {decision}")]
    NotConnected {
        /// The connection.
        connection: chancery_core::name::Name,
        /// The page where the person connects one.
        url: String,
        /// The decision.
        decision: chancery_core::id::DecisionId,
    },
    /// The provider of a connection gives no token now.
    #[error("the provider of connection `{connection}` gives no token now; decision {decision}")]
    ProviderUnavailable {
        /// The connection.
        connection: chancery_core::name::Name,
        /// The decision.
        decision: chancery_core::id::DecisionId,
    },
    /// The request's idempotency key was used for another request.
    #[error("this idempotency key was used for another request")]
    KeyReused,
}

impl Refusal {
    /// How to fix it, where there is a way.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Repository { repository, error } => Some(repository_hint(repository, error)),
            Self::Upstream { url, error } => error.hint(url),
            Self::NotConnected { url, .. } => Some(format!("the person connects an account at {url}")),
            Self::ProviderUnavailable { connection, .. } => Some(format!(
                "`chancery account list` shows what went wrong last at `{connection}`"
            )),
            Self::NotFound { .. }
            | Self::Unknown { .. }
            | Self::Exists { .. }
            | Self::Conflict(_)
            | Self::Lifecycle { .. }
            | Self::Invalid(_)
            | Self::KeyReused => None,
        }
    }

    /// A spec that breaks a rule of its own.
    pub fn spec(error: &chancery_core::noun::SpecError) -> Self {
        Self::Invalid(error.to_string())
    }
}

fn repository_hint(repository: &str, error: &RepositoryError) -> String {
    if *error == RepositoryError::Name {
        return "write github:OWNER/REPO, or github:OWNER/REPO@ID with the repository's id".to_owned();
    }
    let fence = match error {
        RepositoryError::Unreachable(error) => error.hint().map(|hint| format!("{hint}; or ")),
        RepositoryError::Name
        | RepositoryError::Unknown
        | RepositoryError::Renamed
        | RepositoryError::Limited
        | RepositoryError::Status(_)
        | RepositoryError::Malformed => None,
    };
    format!(
        "{}give the id yourself: github:{repository}@ID. `gh api repos/{repository} --jq .id` prints it, and in a \
         workflow it is github.repository_id",
        fence.unwrap_or_default()
    )
}

impl Failure {
    /// A fault of ours, with what is known about it.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        Self::Internal(error.to_string())
    }

    /// What keeps a node from starting.
    pub fn start(error: impl std::fmt::Display) -> Self {
        Self::Start(error.to_string())
    }

    /// The same where it keeps a node from starting: with what to do about it.
    #[must_use]
    pub fn at_start(self) -> Self {
        match self {
            Self::KeyService(fault) => Self::Start(format!("{fault}\nhint: {}", fault.error.hint())),
            other @ (Self::OAuth(_)
            | Self::Refused(_)
            | Self::Denied(_)
            | Self::Database(_)
            | Self::Stale(_)
            | Self::Limited(_)
            | Self::Start(_)
            | Self::Internal(_)) => other,
        }
    }

    /// The error of an OAuth endpoint that stands for this failure.
    pub fn to_oauth(&self) -> OAuthError {
        match self {
            Self::OAuth(error) => error.clone(),
            Self::Database(DbError::TextWithNul) => {
                OAuthError::invalid_request("a text holds the character U+0000")
            }
            Self::Limited(_) => OAuthError::new(
                ErrorCode::TemporarilyUnavailable,
                "too many requests of this client; try again later",
            ),
            Self::Stale(_) | Self::Database(_) | Self::KeyService(_) => OAuthError::new(
                ErrorCode::TemporarilyUnavailable,
                "not available at the moment; try again",
            ),
            Self::Refused(_) | Self::Denied(_) | Self::Start(_) | Self::Internal(_) => OAuthError::new(
                ErrorCode::ServerError,
                "an internal fault; the operator's log has the details",
            ),
        }
    }
}
