//! What a person is asked at the consent page, as it waits for their answer: what a client asks for, and to whom the
//! answer goes, to a client by its redirect URI (RFC 6749 §4.1.2) or to a device that polls (RFC 8628 §3.4). It waits in
//! one session, and is answered once.

use super::session::SignedIn;
use crate::app::App;
use crate::error::Failure;
use crate::tenants::Served;
use chancery_core::authorization_details::AuthorizationDetails;
use chancery_core::id::{AuthorizationRequestId, Id as _};
use chancery_core::time::{Timestamp, Ttl};
use chancery_core::uri::ResourceUri;
use chancery_oauth::request::authorize::{AuthorizationRequest, Redirect};
use chancery_store::{Outcome, authorization as store};
use serde::{Deserialize, Serialize};

/// A request as it waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The client, as it named itself.
    pub client_id: String,
    /// What it asks for.
    pub asked: AskedFor,
    /// To whom the answer goes.
    pub answer: AnswerTo,
}

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedFor {
    /// Scopes of the resource; none asks for its default.
    pub scope: Option<String>,
    /// What is asked for about the person and for their absence: `openid`, `profile`, `email`, `offline_access`.
    pub identity: Vec<String>,
    /// Where the token will be used.
    pub resource: Option<ResourceUri>,
    /// Authorization details.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<AuthorizationDetails>,
}

/// To whom an answer goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerTo {
    /// To the client, through the browser.
    Redirect {
        /// Where.
        redirect: Redirect,
        /// The client's own value, sent back as it is.
        state: Option<String>,
        /// The digest of the client's verifier.
        code_challenge: String,
        /// Stands in the ID token.
        nonce: Option<String>,
    },
    /// To a device, which polls.
    Device(DeviceAsks),
}

/// A device that asks, as the person sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceAsks {
    /// The id of its request.
    pub id: AuthorizationRequestId,
    /// The code that it shows.
    pub user_code: String,
    /// When it asked.
    pub asked_at: Timestamp,
    /// From where.
    pub source: String,
}

impl Pending {
    /// The authorization request of a client.
    pub fn of_request(client_id: &str, request: &AuthorizationRequest) -> Self {
        let request = request.clone();
        Self {
            client_id: client_id.to_owned(),
            asked: AskedFor {
                scope: request.scope,
                identity: request.identity,
                resource: request.resource,
                details: request.details,
            },
            answer: AnswerTo::Redirect {
                redirect: request.redirect,
                state: request.state,
                code_challenge: request.code_challenge,
                nonce: request.nonce,
            },
        }
    }
}

/// Keeps the request until the person answers, in this session.
///
/// # Errors
/// The database's.
pub async fn wait(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    pending: &Pending,
    now: Timestamp,
) -> Result<AuthorizationRequestId, Failure> {
    let id = AuthorizationRequestId::generate(now, &*app.random);
    let text = serde_json::to_string(pending).map_err(Failure::internal)?;
    let key = (id, signed_in.session.id);
    let batch = app.batch(now).push(store::insert_request(
        served.tenant.id,
        key,
        &text,
        now.plus(LIFETIME),
    ));
    match app.commit(batch, &[]).await? {
        Outcome::Committed => Ok(id),
        Outcome::Refused { .. } => Err(Failure::Stale("the request could not be kept")),
    }
}

const LIFETIME: Ttl = Ttl::from_minutes(10);
