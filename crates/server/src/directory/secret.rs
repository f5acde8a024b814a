//! Client secrets: generated, shown once, kept as digests.

use crate::app::App;
use crate::directory::change::{self, Caller, Work};
use crate::error::{Failure, Refusal};
use crate::setup::sha256;
use crate::tenants::Served;
use chancery_core::client::{Client, ClientSpec};
use chancery_core::event::Change;
use chancery_core::id::{ClientId, TenantId};
use chancery_core::noun::Noun;
use chancery_core::secret::{Secret, TokenDigest, generate};
use chancery_core::time::Timestamp;
use chancery_store::Statement;

/// A new secret for a client that is being made, and the statement that stores its digest.
pub fn first(app: &App, tenant: TenantId, client: ClientId, now: Timestamp) -> (Secret<String>, Statement) {
    let secret = generate(PREFIX, &*app.random);
    let digest = TokenDigest::new(sha256(secret.expose_secret().as_bytes()));
    let statement = chancery_store::insert_secret(tenant, client, &digest, now);
    (secret, statement)
}

/// Replaces a client's secret. The old ones end at once, and so does everything issued to the client.
///
/// # Errors
/// A client that has no secret; policy's refusal; the database's.
pub async fn reset(
    app: &App,
    served: &Served,
    caller: &Caller,
    client: Client,
) -> Result<(Client, Secret<String>), Failure> {
    if !client.spec.method.uses_secret() {
        let text = format!(
            "client `{}` authenticates with {}, not with a secret",
            client.name,
            client.spec.method.as_str()
        );
        return Err(Refusal::Invalid(text).into());
    }
    let tenant = served.tenant.id;
    let (client, work) = change::plan_step::<ClientSpec>(app, served, caller, client, Change::SecretReset)?;
    let retire = chancery_store::retire_secrets(tenant, client.id, caller.now);
    let (secret, insert) = first(app, tenant, client.id, caller.now);
    let about = (Noun::Client, &client.name);
    let mut all = Work::on(about, vec![retire, insert], Vec::new());
    all.extend(work);
    change::commit(app, caller, all).await?;
    Ok((client, secret))
}

/// Lets secret scanners recognise a client secret.
const PREFIX: &str = "chs_";
