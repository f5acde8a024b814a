//! Introspection (RFC 7662): whether a token is in force, and what it says, for those it concerns.

use crate::app::App;
use crate::error::Failure;
use crate::issue::arrival::{Arrival, Source};
use crate::issue::{authenticate, own, token};
use crate::tenants::Served;
use chancery_core::authorization_details::AuthorizationDetails;
use chancery_core::id::AgentId;
use chancery_oauth::authentication::AuthenticatedClient;
use chancery_oauth::claims::{Act, OwnToken};
use chancery_oauth::error::OAuthError;
use chancery_oauth::request::introspection::IntrospectionRequest;
use chancery_store::{Outcome, consumed};
use serde::Serialize;

/// The answer (RFC 7662 §2.2). For a token that is not in force, unknown or not the caller's: nothing but
/// `active: false`.
#[derive(Debug, Default, Serialize)]
pub struct Introspection {
    active: bool,
    #[serde(flatten)]
    token: Option<Description>,
}

#[derive(Debug, Serialize)]
struct Description {
    iss: String,
    sub: String,
    aud: String,
    client_id: String,
    scope: String,
    /// RFC 9396 §9.2.
    #[serde(skip_serializing_if = "AuthorizationDetails::is_empty")]
    authorization_details: AuthorizationDetails,
    token_type: &'static str,
    exp: i64,
    iat: i64,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Act>,
    assurance: &'static str,
}

/// Answers an introspection request.
///
/// # Errors
/// The OAuth error, or why this node cannot answer.
pub async fn introspect(
    app: &App,
    served: &Served,
    request: &IntrospectionRequest,
    source: Source,
) -> Result<Introspection, Failure> {
    let now = app.serving_now()?;
    let arrival = Arrival { now, source };
    let client = authenticate::client(app, served, &request.client, arrival).await?;
    // RFC 7662 §2.1: whoever asks is authorized to. A name alone is no authorization.
    if client.client().spec.method.is_public() {
        return Err(OAuthError::invalid_client().into());
    }
    if let Some(single_use) = client.single_use() {
        let batch = app.batch(now).push(token::consume(served.tenant.id, single_use));
        if let Outcome::Refused {
            label: consumed::REPLAYED,
            ..
        } = app.commit(batch, &[]).await?
        {
            return Err(authenticate::replayed(app, served, &client, arrival)
                .await?
                .into());
        }
    }
    let Some(own) = own::in_force(app, served, request.token.expose_secret(), now).await? else {
        return Ok(Introspection::default());
    };
    if !concerns(app, served, &client, &own.token).await? {
        return Ok(Introspection::default());
    }
    Ok(Introspection {
        active: true,
        token: Some(describe(served, &own.token)),
    })
}

/// A token concerns the agent that holds it, the agent it may be handed to, and the agent behind its audience.
async fn concerns(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    token: &OwnToken,
) -> Result<bool, Failure> {
    let caller: AgentId = client.agent().id;
    if token.current_actor() == Some(caller) || token.may_act == Some(caller) {
        return Ok(true);
    }
    let audience = app
        .directory
        .resources
        .find_by_key(served.tenant.id, token.audience.clone())
        .await?;
    Ok(audience.is_some_and(|resource| resource.spec.agent.as_ref() == Some(&client.agent().name)))
}

fn describe(served: &Served, token: &OwnToken) -> Description {
    let nest = |inner: Option<Act>, agent: &AgentId| {
        Some(Act {
            sub: *agent,
            act: inner.map(Box::new),
        })
    };
    Description {
        iss: served.tenant.spec.base_url.clone(),
        sub: token.subject.to_string(),
        aud: token.audience.clone(),
        client_id: token.client.to_string(),
        scope: token.scope.clone(),
        authorization_details: token.authorization_details.clone(),
        token_type: "Bearer",
        exp: token.expires_at.as_seconds(),
        iat: token.issued_at.as_seconds(),
        jti: token.id.to_string(),
        act: token.actors.iter().rev().fold(None, nest),
        assurance: token.assurance.as_str(),
    }
}
