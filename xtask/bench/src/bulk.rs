//! Agents by the thousand, written straight into the database of a stopped server through the store's own
//! statements: an agent, its client, the client's secret and a grant each; grants of people, and their sessions. Not
//! through the administration interface, and so without audit events.

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use chancery_core::agent::AgentSpec;
use chancery_core::client::{ClientAuthenticationMethod, ClientSpec};
use chancery_core::grant::{GrantSource, GrantSpec, Principal};
use chancery_core::id::{AgentId, BatchId, ClientId, GrantId, Id, SessionId, TenantId};
use chancery_core::issuer::TrustedIssuerSpec;
use chancery_core::lineage::Link;
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun, Record};
use chancery_core::scope::{Authority, ScopeSet};
use chancery_core::secret::TokenDigest;
use chancery_core::session::{ABSOLUTE, SessionSpec};
use chancery_core::time::Timestamp;
use chancery_core::user::UserSpec;
use chancery_store::db::{DatabaseUrl, Options};
use chancery_store::{Batch, Db, insert_secret, record};
use std::fmt::Write as _;
use std::path::Path;

/// The one secret of all these clients.
pub(crate) const SECRET: &str = "chs_a-secret-of-the-benchmark-and-of-nothing-else";

/// Adds agents with these numbers; the `client_id` of every `step`th.
pub(crate) async fn agents(file: &Path, numbers: std::ops::Range<u64>, step: u64) -> Result<Vec<String>> {
    let db = Db::open(&DatabaseUrl::sqlite(file), Options::default()).await?;
    let tenant = default_tenant(&db).await?;
    let mut clients = Vec::new();
    let mut next = numbers.start;
    while next < numbers.end {
        let end = (next + PORTION).min(numbers.end);
        let mut batch = Batch::new(BatchId::from_bytes(id_bytes(b'b', next)));
        for number in next..end {
            batch = add(batch, tenant, number)?;
            if number % step == 0 {
                clients.push(ClientId::from_bytes(id_bytes(b'c', number)).to_string());
            }
        }
        let outcome = db.commit(batch).await?;
        ensure!(outcome.is_committed(), "agents could not be added");
        next = end;
    }
    db.close().await;
    Ok(clients)
}

/// Adds grants of people that nobody asks about, to an agent that everybody uses.
pub(crate) async fn grants(file: &Path, agent: &str, numbers: std::ops::Range<u64>) -> Result<()> {
    let db = Db::open(&DatabaseUrl::sqlite(file), Options::default()).await?;
    let tenant = default_tenant(&db).await?;
    let mut next = numbers.start;
    while next < numbers.end {
        let end = (next + PORTION).min(numbers.end);
        let mut batch = Batch::new(BatchId::from_bytes(id_bytes(b'h', next)));
        for number in next..end {
            let user: Name = format!("nobody-{number}").parse()?;
            let spec = GrantSpec {
                agent: agent.parse()?,
                principal: Principal::User(user.clone()),
                resource: Some("notes".parse()?),
                connection: None,
                scopes: ScopeSet::parse("read")?,
                authorization_details_types: std::collections::BTreeSet::new(),
                source: GrantSource::Consent,
                expires_at: None,
                budget: None,
                hours: None,
            };
            let grant = made(GrantId::from_bytes(id_bytes(b'p', number)), user, spec);
            batch = batch.push(record::insert(tenant, &grant));
        }
        let outcome = db.commit(batch).await?;
        ensure!(outcome.is_committed(), "grants could not be added");
        next = end;
    }
    db.close().await;
    Ok(())
}

/// Adds a session for each of these people; the secrets of their browsers.
pub(crate) async fn sessions(file: &Path, people: &[String]) -> Result<Vec<String>> {
    let db = Db::open(&DatabaseUrl::sqlite(file), Options::default()).await?;
    let tenants = chancery_store::all_tenants(&db).await?;
    let tenant = tenants.iter().find(|tenant| tenant.name.as_str() == "default");
    let tenant = tenant.context("no default tenant")?;
    let issuer = record::find_by_name::<TrustedIssuerSpec>(&db, tenant.id, &"company".parse()?).await?;
    let issuer = issuer.context("no issuer")?;
    let now = Timestamp::from_seconds(i64::try_from(crate::scenario::now()?)?);
    let mut batch = Batch::new(BatchId::from_bytes(id_bytes(b't', 0)));
    let mut secrets = Vec::new();
    for (number, name) in (0_u64..).zip(people) {
        let user = record::find_by_name::<UserSpec>(&db, tenant.id, &name.parse()?).await?;
        let user = user.context("no such person")?;
        let secret = format!("cse_a-browser-of-the-benchmark-and-of-nothing-else-{number}");
        let hash = digest(&SHA256, secret.as_bytes());
        let mut hexadecimal = String::new();
        for byte in hash.as_ref() {
            let _ = write!(hexadecimal, "{byte:02x}");
        }
        let lineage = [
            link(Noun::Tenant, tenant),
            link(Noun::TrustedIssuer, &issuer),
            link(Noun::User, &user),
        ];
        let spec = SessionSpec {
            user: user.name.clone(),
            issuer: issuer.name.clone(),
            digest: hexadecimal,
            authenticated_at: now,
            acr: None,
            amr: Vec::new(),
            expires_at: now.plus(ABSOLUTE),
            lineage: lineage.into_iter().collect(),
        };
        let id = SessionId::from_bytes(id_bytes(b's', number));
        let session = Record {
            created_at: now,
            updated_at: now,
            ..made(id, format!("session-{number}").parse()?, spec)
        };
        batch = batch.push(record::insert(tenant.id, &session));
        secrets.push(secret);
    }
    let outcome = db.commit(batch).await?;
    ensure!(outcome.is_committed(), "sessions could not be added");
    db.close().await;
    Ok(secrets)
}

fn link<I: Id, S>(noun: Noun, record: &Record<I, S>) -> Link {
    Link {
        noun,
        id: *record.id.as_bytes(),
        generation: record.generation,
    }
}

/// The tenant at the public URL.
pub(crate) async fn default_tenant(db: &Db) -> Result<TenantId> {
    let tenants = chancery_store::all_tenants(db).await?;
    let found = tenants.iter().find(|tenant| tenant.name.as_str() == "default");
    Ok(found.context("no default tenant")?.id)
}

fn add(batch: Batch, tenant: TenantId, number: u64) -> Result<Batch> {
    let name: Name = format!("agent-{number}").parse()?;
    let notes: Name = "notes".parse()?;
    let read = ScopeSet::parse("read")?;
    let agent = made(
        AgentId::from_bytes(id_bytes(b'a', number)),
        name.clone(),
        AgentSpec {
            // Each its own: so many requests for a yes may wait for one owner, and no more.
            owner: Some(format!("group:lab-{number}").parse()?),
            ceiling: Authority::at(notes.clone(), read.clone()),
            ..AgentSpec::default()
        },
    );
    let client = made(
        ClientId::from_bytes(id_bytes(b'c', number)),
        name.clone(),
        ClientSpec::new(name.clone(), ClientAuthenticationMethod::ClientSecretPost),
    );
    let grant = made(
        GrantId::from_bytes(id_bytes(b'g', number)),
        name.clone(),
        GrantSpec {
            agent: name,
            principal: Principal::Itself,
            resource: Some(notes),
            connection: None,
            scopes: read,
            authorization_details_types: std::collections::BTreeSet::new(),
            source: GrantSource::Administrator,
            expires_at: None,
            budget: None,
            hours: None,
        },
    );
    let hash: [u8; 32] = digest(&SHA256, SECRET.as_bytes()).as_ref().try_into()?;
    Ok(batch
        .push(record::insert(tenant, &agent))
        .push(record::insert(tenant, &client))
        .push(insert_secret(
            tenant,
            client.id,
            &TokenDigest::new(hash),
            LONG_AGO,
        ))
        .push(record::insert(tenant, &grant)))
}

fn made<I: Id, S>(id: I, name: Name, spec: S) -> Record<I, S> {
    Record {
        id,
        name,
        state: Lifecycle::Active,
        generation: 0,
        version: 1,
        created_at: LONG_AGO,
        updated_at: LONG_AGO,
        spec,
    }
}

/// Distinct for each kind and number, in the order of numbers like the ids of agents made one after another.
fn id_bytes(kind: u8, number: u64) -> [u8; 16] {
    let mut id = [kind; 16];
    for (place, byte) in id.iter_mut().zip(number.to_be_bytes()) {
        *place = byte;
    }
    id
}

const PORTION: u64 = 2_000;
const LONG_AGO: Timestamp = Timestamp::from_seconds(1_750_000_000);
