//! Setting a key: the credential of one owner at one connection is sealed and stored. Where tokens are fetched without a
//! person there is none to seal, and naming the account is all.

use crate::app::App;
use crate::connect::{bound_to, destination_fingerprint, hexadecimal};
use crate::directory::change::{self, Caller};
use crate::directory::managed::Managed as _;
use crate::directory::view::View;
use crate::error::{Failure, Refusal};
use crate::tenants::Served;
use chancery_core::agent::AgentSpec;
use chancery_core::connected_account::{
    AccountOwner, ConnectedAccount, ConnectedAccountSpec, OwnerId, default_name,
};
use chancery_core::connection::{Connection, ConnectionSpec, CredentialKind};
use chancery_core::event::Change;
use chancery_core::id::{ConnectedAccountId, Id as _};
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun, Record, Spec as _};
use chancery_core::secret::Secret;
use chancery_core::time::Timestamp;
use chancery_core::user::UserSpec;
use chancery_policy::ManagementAction;
use chancery_store::connected_account as store;
use chancery_store::{Statement, provider_token, record};
use std::collections::{BTreeMap, BTreeSet};

/// A key to set.
#[derive(Debug)]
pub struct KeyToSet {
    /// The account's name, if it is new; one is made if none is given.
    pub name: Option<Name>,
    /// The connection's name or id.
    pub connection: String,
    /// Whose key it is.
    pub owner: AccountOwner,
    /// One line for people; the one before stays if there is none.
    pub label: Option<String>,
    /// Until when the key is good.
    pub expires_at: Option<Timestamp>,
    /// The value of every part.
    pub values: BTreeMap<Name, Secret<String>>,
}

/// An account with the key that was set.
#[derive(Debug)]
pub struct KeySet {
    /// The account. It has no values.
    pub account: ConnectedAccount,
    /// Whether it is new.
    pub is_new: bool,
}

/// Makes an account with its key, or replaces the key of the one that there is. A replaced key ends what was built
/// on the one before, and an account that was stopped stays stopped.
///
/// # Errors
/// An unknown connection or owner, an owner of another level, parts that are not exactly the connection's, a value
/// that its place cannot take; policy's refusal; somebody else was first.
pub async fn set_key(
    app: &App,
    served: &Served,
    caller: &Caller,
    wanted: KeyToSet,
) -> Result<KeySet, Failure> {
    let tenant = served.tenant.id;

    // 1. What it is about.
    let connection = change::load::<ConnectionSpec>(app, tenant, &wanted.connection).await?;
    if connection.state == Lifecycle::Retired {
        return Err(Refusal::Invalid(format!("connection `{}` is retired", connection.name)).into());
    }
    let key = ConnectedAccountSpec::key(&connection.name, &wanted.owner);
    let old = record::find_by_natural_key::<ConnectedAccountSpec>(&app.db, tenant, &key).await?;
    let fingerprint = destination_fingerprint(&connection.spec);

    // 2. The rules.
    check_values(&connection, &wanted.values)?;
    let spec = spec(&connection, &wanted, old.as_ref(), &fingerprint);
    spec.check_references(&View::new(app, tenant)).await?;
    let account = next_account(app, caller, (wanted.name.as_ref(), old.as_ref()), spec)?;
    account
        .spec
        .check(&account.name)
        .map_err(|error| Refusal::spec(&error))?;
    // Whoever answers for the connection answers for what is nobody's own there.
    let answers = match &account.spec.owner {
        AccountOwner::User(user) => Some(user),
        AccountOwner::Agent(_) | AccountOwner::Tenant => connection.spec.owner.as_ref(),
    };
    let subject = (Noun::ConnectedAccount, account.name.as_str(), answers);
    change::permit(served, caller, ManagementAction::Connect, subject)?;

    // 3. Seal for exactly this account, owner and destination, and store it with its record.
    let credential = credential(app, served, (&connection, &account), &wanted.values, caller.now).await?;
    let written = match old {
        None => (Change::Created, record::insert(tenant, &account)),
        Some(_) => (Change::SecretReset, record::update(tenant, &account)),
    };
    let is_new = written.0 == Change::Created;
    let mut work = change::recorded(app, served, caller, &account, written)?;
    work.statements.extend(credential);
    change::commit(app, caller, work).await?;
    Ok(KeySet { account, is_new })
}

/// What is stored of a credential beside its account.
async fn credential(
    app: &App,
    served: &Served,
    (connection, account): (&Connection, &ConnectedAccount),
    values: &BTreeMap<Name, Secret<String>>,
    now: Timestamp,
) -> Result<Vec<Statement>, Failure> {
    let tenant = served.tenant.id;
    if connection.spec.credential.fetches_itself() {
        // Its first use fetches a token, as if the one before were over. An installation has many, each with an end of its own.
        let is_one = !matches!(connection.spec.credential, CredentialKind::AppInstallation(_));
        let end = is_one.then_some(now);
        return Ok(vec![
            store::delete_sealed(tenant, account.id),
            provider_token::connect(tenant, account.id, (true, end), now),
        ]);
    }
    let owner = owner_id(app, served, &account.spec.owner).await?;
    let fingerprint = destination_fingerprint(&connection.spec);
    let bound = bound_to(tenant, (account.id, owner), (connection.id, fingerprint));
    let sealed = chancery_vault::seal(served.keys.vault(), &bound, &content(values)?, &*app.random);
    let sealed = sealed.map_err(Failure::internal)?.to_bytes();
    Ok(vec![
        served.keys.assert_current(),
        store::put_sealed(tenant, account.id, &sealed, now),
    ])
}

/// Every part has a value that its place can take, and nothing else has one.
fn check_values(connection: &Connection, values: &BTreeMap<Name, Secret<String>>) -> Result<(), Refusal> {
    if connection.spec.credential.fetches_itself() {
        return if values.is_empty() {
            Ok(())
        } else {
            Err(Refusal::Invalid(format!(
                "an account at connection `{}` has no key of its own: what proves us is set with `chancery connection secret {}`",
                connection.name, connection.name
            )))
        };
    }
    if connection.spec.credential.by_page().is_some() {
        return Err(Refusal::Invalid(format!(
            "connection `{}` has no key: its accounts are connected at `{{base}}/connect/{}`",
            connection.name, connection.name
        )));
    }
    let parts = connection.spec.credential.parts();
    if parts.is_empty() {
        return Err(Refusal::Invalid(format!(
            "connection `{}` has no credential",
            connection.name
        )));
    }
    let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
    if values.len() != parts.len() || !parts.iter().all(|part| values.contains_key(&part.name)) {
        return Err(Refusal::Invalid(format!(
            "the key of connection `{}` has exactly the parts {}",
            connection.name,
            names.join(", ")
        )));
    }
    let unfit = parts.iter().find(|part| {
        let value = values.get(&part.name);
        value.is_none_or(|value| !part.placement.accepts(value.expose_secret()))
    });
    match unfit {
        None => Ok(()),
        Some(part) => Err(Refusal::Invalid(format!(
            "the value of `{}` cannot stand where it goes: it is empty, too long, or has a control character, a \
             colon in a user name, or white space around it",
            part.name
        ))),
    }
}

fn spec(
    connection: &Connection,
    wanted: &KeyToSet,
    old: Option<&ConnectedAccount>,
    fingerprint: &[u8; 32],
) -> ConnectedAccountSpec {
    let label = wanted.label.clone();
    ConnectedAccountSpec {
        connection: connection.name.clone(),
        owner: wanted.owner.clone(),
        label: label
            .or_else(|| old.map(|old| old.spec.label.clone()))
            .unwrap_or_default(),
        fingerprint: hexadecimal(fingerprint),
        parts: connection
            .spec
            .credential
            .parts()
            .iter()
            .map(|part| part.name.clone())
            .collect(),
        expires_at: wanted.expires_at,
        provider_account: None,
        scopes: BTreeSet::new(),
    }
}

/// The account with this spec: the next version of the one that there is, which stays as stopped as it is, or a new one.
pub(super) fn next_account(
    app: &App,
    caller: &Caller,
    (name, old): (Option<&Name>, Option<&ConnectedAccount>),
    spec: ConnectedAccountSpec,
) -> Result<ConnectedAccount, Failure> {
    let now = caller.now;
    if let Some(old) = old {
        if let Some(name) = name.filter(|name| **name != old.name) {
            return Err(Refusal::Invalid(format!(
                "the account of {} at connection `{}` is `{}`, not `{name}`",
                spec.owner.as_key(),
                spec.connection,
                old.name
            ))
            .into());
        }
        return Ok(Record {
            generation: old.generation + 1,
            version: old.version + 1,
            updated_at: now,
            spec,
            ..old.clone()
        });
    }
    let id = ConnectedAccountId::generate(now, &*app.random);
    let name = name
        .cloned()
        .or_else(|| default_name(id, &spec.connection, &spec.owner));
    Ok(Record {
        id,
        name: name.ok_or_else(|| Failure::Internal("no name for an account".to_owned()))?,
        state: Lifecycle::Active,
        generation: 0,
        version: 1,
        created_at: now,
        updated_at: now,
        spec,
    })
}

/// Whether an account is this person's.
pub(super) fn is_of(account: &ConnectedAccount, user: &Name) -> bool {
    account.spec.owner == AccountOwner::User(user.clone())
}

/// The owner of an account by id.
///
/// # Errors
/// There is none of this name.
pub(super) async fn owner_id(app: &App, served: &Served, owner: &AccountOwner) -> Result<OwnerId, Failure> {
    let tenant = served.tenant.id;
    match owner {
        AccountOwner::User(name) => change::load::<UserSpec>(app, tenant, name.as_str())
            .await
            .map(|user| OwnerId::User(user.id)),
        AccountOwner::Agent(name) => change::load::<AgentSpec>(app, tenant, name.as_str())
            .await
            .map(|agent| OwnerId::Agent(agent.id)),
        AccountOwner::Tenant => Ok(OwnerId::Tenant(tenant)),
    }
}

/// What is sealed: an object of part and value, in order of names.
fn content(values: &BTreeMap<Name, Secret<String>>) -> Result<Secret<Vec<u8>>, Failure> {
    let values: BTreeMap<&str, &str> = values
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose_secret().as_str()))
        .collect();
    serde_json::to_vec(&values)
        .map(Secret::new)
        .map_err(Failure::internal)
}
