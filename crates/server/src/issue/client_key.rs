//! Verifying a client's own assertion (RFC 7523 §3) with its keys: those it was registered with, or those at its
//! `jwks_uri`, fetched through the fence for addresses that clients supply.

use crate::app::App;
use crate::tenants::Served;
use chancery_core::client::Client;
use chancery_core::id::{Id as _, IssuerId};
use chancery_core::issuer::{ClaimMapping, IssuerPurpose, KeySource, TrustedIssuer, TrustedIssuerSpec};
use chancery_core::noun::Record;
use chancery_core::time::Timestamp;
use chancery_oauth::authentication::AuthenticationError;
use chancery_oauth::jose::{
    self, JwkSet, JwkSetLimits, KeyLookupError, Profile, UnverifiedJwt, VerifiedClaims, VerifyError,
};

/// Verifies an assertion with its client's keys, read again once if the `kid` is new.
///
/// # Errors
/// What is wrong with the keys or the assertion.
pub(super) async fn verify(
    app: &App,
    served: &Served,
    client: &Client,
    jwt: &UnverifiedJwt<'_>,
    profile: &Profile<'_>,
    now: Timestamp,
) -> Result<VerifiedClaims, AuthenticationError> {
    let Some(uri) = &client.spec.jwks_uri else {
        let keys = registered_keys(client).ok_or(AuthenticationError::Keys)?;
        return Ok(jose::verify(jwt, profile, &keys, now)?);
    };
    let (tenant, place) = (&served.tenant.name, place(client, uri));
    let unusable = |error| {
        tracing::info!(%error, client = %client.name, "the keys of a client could not be loaded");
        AuthenticationError::Keys
    };
    let keys = app
        .client_keys
        .keys_for(tenant, &place, now)
        .await
        .map_err(unusable)?;
    match jose::verify(jwt, profile, &*keys, now) {
        Err(VerifyError::Key(KeyLookupError::UnknownKid)) => {
            let keys = app
                .client_keys
                .refresh_on_unknown_kid(tenant, &place, now)
                .await
                .map_err(unusable)?;
            Ok(jose::verify(jwt, profile, &*keys, now)?)
        }
        verified => Ok(verified?),
    }
}

fn registered_keys(client: &Client) -> Option<JwkSet> {
    let members = client.spec.jwks.as_ref()?.as_object()?;
    JwkSet::from_members(members, JwkSetLimits::default()).ok()
}

/// Keys are kept by what they belong to and its version, whoever that is.
fn place(client: &Client, uri: &str) -> TrustedIssuer {
    Record {
        id: IssuerId::from_bytes(*client.id.as_bytes()),
        name: client.name.clone(),
        state: client.state,
        generation: client.generation,
        version: client.version,
        created_at: client.created_at,
        updated_at: client.updated_at,
        spec: TrustedIssuerSpec {
            issuer: uri.to_owned(),
            purposes: vec![IssuerPurpose::Runtimes],
            keys: KeySource::JwksUri(uri.to_owned()),
            audiences: Vec::new(),
            claims: ClaimMapping::default(),
            assertions: Vec::new(),
            sign_in: None,
        },
    }
}
