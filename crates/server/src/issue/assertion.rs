//! The assertion of the JWT bearer grant (RFC 7523 §2.1, §3; ID-JAG draft -04): verified against the one trusted issuer
//! that may send it, about a person, used once.

use crate::app::App;
use crate::error::Failure;
use crate::issue::subject::{Learned, current_user, stated};
use crate::setup::sha256;
use crate::tenants::Served;
use chancery_core::issuer::{IssuerPurpose, TrustedIssuer};
use chancery_core::secret::Secret;
use chancery_core::time::{Timestamp, Ttl};
use chancery_oauth::authentication::AuthenticatedClient;
use chancery_oauth::error::{ErrorCode, OAuthError};
use chancery_oauth::grant::VerifiedUser;
use chancery_oauth::grant::jwt_bearer::{self, Bounds};
use chancery_oauth::jose::{UnverifiedJwt, VerifiedClaims};
use chancery_oauth::user_token;
use chancery_store::Statement;
use chancery_store::consumed::{self, ConsumedKind};
use std::sync::Arc;

/// An assertion that may be used.
#[derive(Debug)]
pub(super) struct Asserted {
    /// The person.
    pub(super) user: VerifiedUser,
    /// Who vouches.
    pub(super) issuer: Arc<TrustedIssuer>,
    /// When it ends.
    pub(super) expires_at: Timestamp,
    /// How far it goes.
    pub(super) bounds: Bounds,
    /// What was learned of the person.
    pub(super) learned: Option<Learned>,
    /// What uses it, once. Fails with [`consumed::GRANT_REPLAYED`].
    pub(super) spend: Statement,
}

/// Verifies an assertion.
///
/// # Errors
/// `invalid_grant`, whatever is wrong with it.
pub(super) async fn find(
    app: &App,
    served: &Served,
    client: &AuthenticatedClient,
    assertion: &Secret<String>,
    now: Timestamp,
) -> Result<Asserted, Failure> {
    let tenant = served.tenant.id;
    let jwt = UnverifiedJwt::parse(assertion.expose_secret()).map_err(|_| INVALID)?;
    let claims = jwt.unverified_claims().map_err(|_| INVALID)?;
    let issuer = claims.unverified_issuer().ok_or(INVALID)?;
    let kind = jwt_bearer::kind_of(&jwt);
    let key = chancery_store::issuer_key(issuer);
    let issuer = app.directory.issuers.find_by_key(tenant, key).await?;
    let may_send = |issuer: &TrustedIssuer| {
        issuer.state.is_active()
            && issuer.spec.serves(IssuerPurpose::Users)
            && issuer.spec.assertions.contains(&kind)
    };
    let issuer = issuer.filter(|issuer| may_send(issuer)).ok_or(INVALID)?;

    let profile = jwt_bearer::profile(&issuer, &served.tenant.spec.base_url, kind);
    let verified = app
        .verify_from(&served.tenant.name, &issuer, &jwt, &profile, now)
        .await
        .map_err(|error| {
            tracing::warn!(%error, issuer = %issuer.name, "the keys of a trusted issuer could not be loaded");
            Failure::Stale("the keys of a trusted issuer could not be loaded")
        })?;
    let claims = verified.map_err(|error| {
        tracing::info!(%error, issuer = %issuer.name, "an assertion was refused");
        INVALID
    })?;
    let bounds = jwt_bearer::bounds(kind, &claims, client.client(), &served.tenant.name);
    let bounds = bounds.map_err(|error| {
        tracing::info!(%error, issuer = %issuer.name, "an assertion was refused");
        INVALID
    })?;
    let expires_at = claims.expires_at().ok_or(INVALID)?;
    let spend = spend(served, &issuer, &claims, expires_at)?;
    let (user, learned) = person(app, served, &issuer, &claims, now).await?;
    Ok(Asserted {
        user,
        issuer,
        expires_at,
        bounds,
        learned,
        spend,
    })
}

fn spend(
    served: &Served,
    issuer: &TrustedIssuer,
    claims: &VerifiedClaims,
    expires_at: Timestamp,
) -> Result<Statement, Failure> {
    // SECURITY: a restore forgets which assertions were used; those that may have been are not taken again.
    if served.may_be_used(claims.issued_at(), claims.expires_at()) {
        return Err(INVALID.into());
    }
    let jwt_id = claims.jwt_id().ok_or(INVALID)?;
    let digest = sha256(format!("{} {jwt_id}", issuer.id).as_bytes());
    Ok(consumed::consume(
        served.tenant.id,
        ConsumedKind::Grant,
        &digest,
        expires_at.plus(CLOCKS_DIFFER),
    ))
}

/// The person that the assertion names. What it does not say of them is not lost: only a token that carries the claims that
/// the issuer maps says who has which role.
async fn person(
    app: &App,
    served: &Served,
    issuer: &TrustedIssuer,
    claims: &VerifiedClaims,
    now: Timestamp,
) -> Result<(VerifiedUser, Option<Learned>), Failure> {
    let tenant = served.tenant.id;
    let spec = user_token::user_spec(issuer, claims).ok_or(INVALID)?;
    let known = if user_token::says_all(issuer, claims) {
        None
    } else {
        stated(app, tenant, &spec).await?
    };
    let (user, learned) = match known {
        Some(user) => (user, None),
        None => current_user(app, tenant, spec, now)
            .await
            .map_err(|failure| match failure {
                Failure::OAuth(_) => INVALID.into(),
                other @ (Failure::Refused(_)
                | Failure::Denied(_)
                | Failure::Database(_)
                | Failure::KeyService(_)
                | Failure::Stale(_)
                | Failure::Limited(_)
                | Failure::Start(_)
                | Failure::Internal(_)) => other,
            })?,
    };
    if !user.user.state.is_active() {
        return Err(INVALID.into());
    }
    // An identity provider may say whom it means here by our own name for them (ID-JAG §3, `aud_sub`).
    let means = claims.string("aud_sub");
    let is_meant = |named: &str| named == user.user.id.to_string() || named == user.user.name.as_str();
    if means.is_some_and(|named| !is_meant(named)) {
        return Err(INVALID.into());
    }
    Ok((user, learned))
}

/// Always the same, whatever is wrong.
pub(super) const INVALID: OAuthError = OAuthError::new(
    ErrorCode::InvalidGrant,
    "the assertion is not valid here: not of an issuer that may send it, not for this server or client, over, or used",
);
/// How far the issuer's clock may be off.
const CLOCKS_DIFFER: Ttl = Ttl::from_minutes(1);
