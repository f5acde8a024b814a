//! What proves us to a trusted issuer where people sign in: a secret, sealed for exactly this issuer and our id there,
//! or an assertion that the tenant's key signs (RFC 7523 §2.2).

use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::error::{Failure, Refusal};
use crate::keys::Mandate;
use crate::setup::sha256;
use crate::tenants::Served;
use chancery_core::event::Change;
use chancery_core::id::{EventId, Id as _};
use chancery_core::issuer::{SignInSpec, TrustedIssuer, TrustedIssuerSpec};
use chancery_core::noun::Noun;
use chancery_core::secret::Secret;
use chancery_core::time::{Timestamp, Ttl};
use chancery_policy::ManagementAction;
use chancery_store::{connected_account as store, record};
use chancery_vault::{AssociatedData, IssuerSecret, Sealed};
use serde_json::json;

/// Sets the secret for an issuer. It is not shown again.
///
/// # Errors
/// An issuer that takes none; policy's refusal; the database's.
pub async fn set(
    app: &App,
    served: &Served,
    caller: &Caller,
    (named, secret): (&str, &Secret<String>),
) -> Result<TrustedIssuer, Failure> {
    let tenant = served.tenant.id;
    let old = change::load::<TrustedIssuerSpec>(app, tenant, named).await?;
    let uses_secret = old
        .spec
        .sign_in
        .as_ref()
        .is_some_and(|sign_in| sign_in.authentication.uses_secret());
    if !uses_secret {
        let text = format!("trusted issuer `{}` does not take a secret of ours", old.name);
        return Err(Refusal::Invalid(text).into());
    }
    if !(1..=4_096).contains(&secret.expose_secret().len()) {
        return Err(Refusal::Invalid("the secret has 1 to 4,096 bytes".to_owned()).into());
    }
    let subject = (Noun::TrustedIssuer, old.name.as_str(), None);
    change::permit(served, caller, ManagementAction::WriteDestination, subject)?;

    let plain = Secret::new(secret.expose_secret().as_bytes().to_vec());
    let sealed = chancery_vault::seal(served.keys.vault(), &bound_to(served, &old), &plain, &*app.random)
        .map_err(Failure::internal)?;
    let issuer = TrustedIssuer {
        version: old.version + 1,
        updated_at: caller.now,
        ..old
    };
    let statement = record::update(tenant, &issuer);
    let mut work = change::recorded(app, served, caller, &issuer, (Change::SecretReset, statement))?;
    work.statements.push(served.keys.assert_current());
    work.statements.push(store::put_issuer_secret(
        tenant,
        issuer.id,
        &sealed.to_bytes(),
        caller.now,
    ));
    change::commit(app, caller, work).await?;
    Ok(issuer)
}

/// The secret for an issuer.
///
/// # Errors
/// None is set, or it was set for another destination; the database's.
pub(super) async fn open(
    app: &App,
    served: &Served,
    issuer: &TrustedIssuer,
) -> Result<Secret<String>, Failure> {
    const UNSET: Failure =
        Failure::Stale("no secret is set for the issuer, or it was set for another destination");
    let sealed = store::find_issuer_secret(&app.db, served.tenant.id, issuer.id).await?;
    let sealed = Sealed::parse(&sealed.ok_or(UNSET)?).map_err(Failure::internal)?;
    let key = served.keys.vault_for(&sealed).ok_or(UNSET)?;
    let plain = chancery_vault::open(key, &bound_to(served, issuer), &sealed).map_err(|_| UNSET)?;
    let text = String::from_utf8(plain.expose_secret().clone()).map_err(|_| UNSET)?;
    Ok(Secret::new(text))
}

/// Our assertion of ourselves, for this issuer alone.
///
/// # Errors
/// No key signs.
pub(super) fn assertion(
    app: &App,
    served: &Served,
    (issuer, spec): (&TrustedIssuer, &SignInSpec),
    now: Timestamp,
) -> Result<String, Failure> {
    let claims = json!({
        "iss": spec.client_id,
        "sub": spec.client_id,
        "aud": issuer.spec.issuer,
        "jti": EventId::generate(now, &*app.random).to_string(),
        "iat": now.as_seconds(),
        "exp": now.plus(ASSERTION).as_seconds(),
    });
    served.keys.sign_for(Mandate::ProveToIssuer, &claims)
}

fn bound_to(served: &Served, issuer: &TrustedIssuer) -> AssociatedData {
    let sign_in = issuer.spec.sign_in.as_ref();
    let endpoints = sign_in.and_then(|sign_in| sign_in.endpoints.as_ref());
    let destination = json!([
        issuer.spec.issuer,
        sign_in.map(|sign_in| &sign_in.client_id),
        endpoints.map(|endpoints| &endpoints.token),
    ]);
    AssociatedData::IssuerSecret(IssuerSecret {
        tenant: served.tenant.id,
        issuer: issuer.id,
        destination_fingerprint: sha256(destination.to_string().as_bytes()),
    })
}

const ASSERTION: Ttl = Ttl::from_minutes(1);
