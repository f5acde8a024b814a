//! Agents by the thousand, written straight into the database of a stopped server through the store's own
//! statements: an agent, its client, the client's secret and a grant each. Not through the administration
//! interface, and so without audit events.

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use chancery_core::agent::AgentSpec;
use chancery_core::client::{ClientAuthenticationMethod, ClientSpec};
use chancery_core::grant::{GrantSource, GrantSpec, Principal};
use chancery_core::id::{AgentId, BatchId, ClientId, GrantId, Id, TenantId};
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Record};
use chancery_core::scope::{Authority, ScopeSet};
use chancery_core::secret::TokenDigest;
use chancery_core::time::Timestamp;
use chancery_store::db::{DatabaseUrl, Options};
use chancery_store::{Batch, Db, insert_secret, record};
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
            owner: Some("group:lab".parse()?),
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
