//! What proves us to the provider of a connection: a secret or a private key, sealed for exactly this connection and
//! provider, or an assertion that the tenant's key signs (RFC 7523 §2.2).

use super::private_key::PrivateKey;
use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::egress::provider::ClientProof;
use crate::error::{Failure, Refusal};
use crate::keys::Mandate;
use crate::setup::sha256;
use crate::tenants::Served;
use chancery_core::connection::{Connection, ConnectionSpec, OAuthSpec, ProofKind};
use chancery_core::event::Change;
use chancery_core::id::{EventId, Id as _};
use chancery_core::issuer::SignInAuthentication;
use chancery_core::noun::{Lifecycle, Noun};
use chancery_core::secret::Secret;
use chancery_core::time::{Timestamp, Ttl};
use chancery_policy::ManagementAction;
use chancery_store::{connected_account as store, record};
use chancery_vault::{AssociatedData, ConnectionSecret, Sealed};
use serde_json::json;

/// Sets the secret for the provider of a connection. It is not shown again.
///
/// # Errors
/// A connection that takes none, or is retired; policy's refusal; the database's.
pub async fn set(
    app: &App,
    served: &Served,
    caller: &Caller,
    (named, secret): (&str, &Secret<String>),
) -> Result<Connection, Failure> {
    let tenant = served.tenant.id;
    let old = change::load::<ConnectionSpec>(app, tenant, named).await?;
    match old.spec.credential.proof() {
        ProofKind::None => {
            let text = format!("connection `{}` does not take a secret of ours", old.name);
            return Err(Refusal::Invalid(text).into());
        }
        ProofKind::PrivateKey(algorithm) => {
            let read = PrivateKey::read(secret, algorithm, None);
            read.map_err(|error| Refusal::Invalid(error.to_string()))?;
        }
        ProofKind::Secret => {}
    }
    if old.state == Lifecycle::Retired {
        return Err(Refusal::Invalid(format!("connection `{}` is retired", old.name)).into());
    }
    if !(1..=16_384).contains(&secret.expose_secret().len()) {
        return Err(Refusal::Invalid("the secret has 1 to 16,384 bytes".to_owned()).into());
    }
    let subject = (Noun::Connection, old.name.as_str(), old.spec.owner.as_ref());
    change::permit(served, caller, ManagementAction::WriteDestination, subject)?;

    let plain = Secret::new(secret.expose_secret().as_bytes().to_vec());
    let bound = bound_to(served, &old)?;
    let sealed =
        chancery_vault::seal(served.keys.vault(), &bound, &plain, &*app.random).map_err(Failure::internal)?;
    let connection = Connection {
        version: old.version + 1,
        updated_at: caller.now,
        ..old
    };
    let written = (Change::SecretReset, record::update(tenant, &connection));
    let mut work = change::recorded(app, served, caller, &connection, written)?;
    work.statements.push(served.keys.assert_current());
    work.statements.push(store::put_connection_secret(
        tenant,
        connection.id,
        &sealed.to_bytes(),
        caller.now,
    ));
    change::commit(app, caller, work).await?;
    Ok(connection)
}

/// What proves us to the provider of a connection now.
///
/// # Errors
/// No secret is set, or it was set for another destination; the database's.
pub(super) async fn proof(
    app: &App,
    served: &Served,
    (connection, oauth, token_endpoint): (&Connection, &OAuthSpec, &str),
    now: Timestamp,
) -> Result<ClientProof, Failure> {
    match oauth.authentication {
        SignInAuthentication::None => Ok(ClientProof::None),
        SignInAuthentication::ClientSecretBasic => {
            Ok(ClientProof::Basic(open(app, served, connection).await?))
        }
        SignInAuthentication::ClientSecretPost => Ok(ClientProof::Post(open(app, served, connection).await?)),
        SignInAuthentication::PrivateKeyJwt => {
            // For this provider alone (RFC 7523 §3): its issuer, or where it takes tokens to be asked for.
            let audience = oauth.issuer.as_deref().unwrap_or(token_endpoint);
            let claims = json!({
                "iss": oauth.client_id,
                "sub": oauth.client_id,
                "aud": audience,
                "jti": EventId::generate(now, &*app.random).to_string(),
                "iat": now.as_seconds(),
                "exp": now.plus(ASSERTION).as_seconds(),
            });
            let assertion = served.keys.sign_for(Mandate::ProveToIssuer, &claims)?;
            Ok(ClientProof::Assertion(assertion))
        }
    }
}

/// What is set with the connection, for its provider as it is now.
pub(super) async fn open(
    app: &App,
    served: &Served,
    connection: &Connection,
) -> Result<Secret<String>, Failure> {
    const UNSET: Failure =
        Failure::Stale("no secret is set for the connection's provider, or it was set for another one");
    let sealed = store::find_connection_secret(&app.db, served.tenant.id, connection.id).await?;
    let sealed = Sealed::parse(&sealed.ok_or(UNSET)?).map_err(Failure::internal)?;
    let plain = super::open::unseal(app, served, &bound_to(served, connection)?, &sealed)
        .await
        .map_err(|_| UNSET)?;
    let text = String::from_utf8(plain.expose_secret().clone()).map_err(|_| UNSET)?;
    Ok(Secret::new(text))
}

fn bound_to(served: &Served, connection: &Connection) -> Result<AssociatedData, Failure> {
    let destination = connection.spec.secret_destination();
    let destination =
        destination.ok_or_else(|| Failure::Internal("a connection without a provider".to_owned()))?;
    Ok(AssociatedData::ConnectionSecret(ConnectionSecret {
        tenant: served.tenant.id,
        connection: connection.id,
        destination_fingerprint: sha256(&destination),
    }))
}

const ASSERTION: Ttl = Ttl::from_minutes(1);
