//! The first start: schema, root key, the system tenant and the default one.

use crate::app::App;
use crate::directory::change::Caller;
use crate::error::{Failure, Refusal};
use crate::keys;
use crate::record::{self as audit, EventSeal};
use crate::roots::{Root, Roots};
use chancery_core::actor::{Actor, SystemActor};
use chancery_core::event::{Change, Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::ResourceId;
use chancery_core::id::{BatchId, EventId, Id as _, PolicySetId, TenantId};
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun, Record};
use chancery_core::random::Random;
use chancery_core::resource::{Enforcement, ResourceSpec, ScopeSpec, Sensitivity, TokenAlgorithm};
use chancery_core::scope::ScopeSet;
use chancery_core::secret::{Secret, TokenDigest};
use chancery_core::tenant::{Tenant, TenantSpec};
use chancery_core::time::{Timestamp, Ttl};
use chancery_policy::{DEFAULT_POLICIES, PolicySet};
use chancery_store::db::Batch;
use chancery_store::log::{self, Head};
use chancery_store::{Db, MIGRATIONS, Outcome, PolicySetSpec, change, enrolment, key, record, vault};

/// The name of the tenant whose base is the public URL.
pub const DEFAULT_TENANT: &str = "default";
/// The name of the tenant that creates, suspends and destroys tenants.
pub const SYSTEM_TENANT: &str = "system";

/// Brings the schema up to date and writes the root key's check value if there is none. Gives the root keys as the
/// database's record has them.
///
/// # Errors
/// The database's; a key service's; a root key that is not the one that the data was sealed under.
pub async fn prepare(db: &Db, roots: Roots, now: Timestamp, random: &dyn Random) -> Result<Roots, Failure> {
    db.migrate(MIGRATIONS).await?;
    if key::find_root(db).await?.is_none() {
        let statement = key::insert_root(&roots.current().record(random).await?);
        let _ = db
            .commit(Batch::new(BatchId::generate(now, random)).push(statement))
            .await?;
    }
    roots.settled(db).await
}

/// Creates the system tenant and the default tenant if they are missing.
///
/// # Errors
/// The database's, or a default tenant with another base URL: it never changes.
pub async fn ensure_tenants(
    db: &Db,
    root: &Root,
    public_url: &str,
    now: Timestamp,
    random: &dyn Random,
) -> Result<(), Failure> {
    let existing = chancery_store::all_tenants(db).await?;
    if let Some(tenant) = existing
        .iter()
        .find(|tenant| tenant.name.as_str() == DEFAULT_TENANT)
    {
        if tenant.spec.base_url != public_url {
            return Err(Failure::Start(format!(
                "the default tenant's base URL is {} and never changes; start with --public-url {0}",
                tenant.spec.base_url
            )));
        }
        return Ok(());
    }
    // Another node that starts at the same time may be first; then there is nothing left to do.
    let system = format!("{public_url}/t/{SYSTEM_TENANT}");
    let by = (&Actor::System(SystemActor::Setup), now);
    let _ = create_tenant(db, root, (SYSTEM_TENANT, &system), by, random).await?;
    let _ = create_tenant(db, root, (DEFAULT_TENANT, public_url), by, random).await?;
    Ok(())
}

/// Creates one tenant with its keys, the default policies and the start of its log, in one batch that names who
/// asked for it, and is refused with label `exists` if the name or base URL is taken.
///
/// # Errors
/// The database's; a base URL that breaks a rule.
pub async fn create_tenant(
    db: &Db,
    root: &Root,
    (name, base_url): (&str, &str),
    (actor, now): (&Actor, Timestamp),
    random: &dyn Random,
) -> Result<Outcome, Failure> {
    let id = TenantId::generate(now, random);
    let spec = TenantSpec {
        base_url: base_url.to_owned(),
    };
    let name = name.parse().map_err(Failure::internal)?;
    chancery_core::noun::Spec::check(&spec, &name).map_err(Failure::internal)?;
    let tenant: Tenant = Record {
        id,
        name,
        state: Lifecycle::Active,
        generation: 0,
        version: 1,
        created_at: now,
        updated_at: now,
        spec,
    };
    let head = Head {
        log_generation: 1,
        size: 0,
        root: *chancery_audit::tree::empty_root().as_bytes(),
        signed_size: 0,
    };
    let (key_statements, mac) = keys::create(root, id, now, random).await?;
    let seal = EventSeal {
        mac: mac.expose_secret(),
        log_generation: head.log_generation,
    };
    let started = event(&tenant, EventKind::LogStarted, (actor, now), random);
    let created = event(
        &tenant,
        EventKind::Changed(Noun::Tenant, Change::Created),
        (actor, now),
        random,
    );
    let batch = Batch::new(BatchId::generate(now, random))
        .guard(vault::assert_root(&root.id().to_string()))
        .push(record::insert(id, &tenant))
        .push(log::insert_head(id, &head))
        .extend(key_statements)
        .push(record::insert(id, &default_policy(now, random)?))
        .push(record::insert(id, &own_interface(base_url, now, random)?))
        .push(audit::statement(seal, &started, random)?)
        .push(audit::statement(seal, &created, random)?)
        .push(change::insert(id, Noun::Tenant, *id.as_bytes(), 0, now));
    Ok(db.commit(batch).await?)
}

/// Makes a tenant on request of the system tenant, under its own host name or `/t/{name}` below the default one.
///
/// # Errors
/// A name or base URL that is taken or breaks a rule; the database's.
pub async fn add_tenant(
    app: &App,
    name: &Name,
    base_url: Option<&str>,
    caller: &Caller,
) -> Result<Tenant, Failure> {
    let default = app
        .tenants
        .find_by_name(DEFAULT_TENANT)
        .ok_or(Failure::Stale("the default tenant is gone"))?;
    let base = base_url.map_or_else(
        || format!("{}/t/{name}", default.tenant.spec.base_url),
        str::to_owned,
    );
    let location = base.split_once("://").map_or(base.as_str(), |(_, rest)| rest);
    let exists = || Refusal::Exists {
        noun: Noun::Tenant,
        name: name.to_string(),
    };
    if app.tenants.find_at(location).is_some() || app.tenants.find_by_name(name.as_str()).is_some() {
        return Err(exists().into());
    }
    let outcome = create_tenant(
        &app.db,
        app.tenants.roots().current(),
        (name.as_str(), &base),
        (&caller.actor, caller.now),
        &*app.random,
    )
    .await?;
    if !outcome.is_committed() {
        return Err(exists().into());
    }
    app.tenants.reload(&app.db).await?;
    let made = app.tenants.find_by_name(name.as_str());
    made.map(|served| Tenant::clone(&served.tenant))
        .ok_or(Failure::Stale("the new tenant is not there yet"))
}

/// A one-time code that enrols an administrator within 15 minutes.
///
/// # Errors
/// The database's.
pub async fn enrolment_code(
    db: &Db,
    tenant: TenantId,
    now: Timestamp,
    random: &dyn Random,
) -> Result<Secret<String>, Failure> {
    let code = chancery_core::secret::generate("che_", random);
    let digest = sha256(code.expose_secret().as_bytes());
    let statement = enrolment::insert(tenant, &TokenDigest::new(digest), now.plus(ENROLMENT));
    let _ = db
        .commit(Batch::new(BatchId::generate(now, random)).push(statement))
        .await?;
    Ok(code)
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    // PROOF: a SHA-256 digest has 32 bytes.
    digest.as_ref().try_into().unwrap_or([0; 32])
}

fn default_policy(
    now: Timestamp,
    random: &dyn Random,
) -> Result<Record<PolicySetId, PolicySetSpec>, Failure> {
    let set = PolicySet::compile(DEFAULT_POLICIES).map_err(Failure::internal)?;
    Ok(Record {
        id: PolicySetId::generate(now, random),
        name: "set-1".parse().map_err(Failure::internal)?,
        state: Lifecycle::Active,
        generation: 0,
        version: 1,
        created_at: now,
        updated_at: now,
        spec: PolicySetSpec {
            text: DEFAULT_POLICIES.to_owned(),
            hash: set.hash().to_owned(),
            comment: "the default policies".to_owned(),
        },
    })
}

/// The administration interface as a resource, so that its tokens are asked for, decided and recorded as all
/// others are.
fn own_interface(
    base_url: &str,
    now: Timestamp,
    random: &dyn Random,
) -> Result<Record<ResourceId, ResourceSpec>, Failure> {
    let scopes = [
        ("read", "read the directory and policies", Sensitivity::Read),
        ("audit", "read the audit log and decisions", Sensitivity::Read),
        (
            "write",
            "change the directory and policies",
            Sensitivity::Sensitive,
        ),
        (
            "kill",
            "stop agents, clients, users, issuers, grants and blueprints",
            Sensitivity::Sensitive,
        ),
    ];
    let scope = |(name, description, sensitivity): (&str, &str, Sensitivity)| {
        let spec = ScopeSpec {
            description: description.to_owned(),
            sensitivity,
            ..ScopeSpec::default()
        };
        name.parse().map(|name| (name, spec)).map_err(Failure::internal)
    };
    Ok(Record {
        id: ResourceId::generate(now, random),
        name: OWN_INTERFACE.parse().map_err(Failure::internal)?,
        state: Lifecycle::Active,
        generation: 0,
        version: 1,
        created_at: now,
        updated_at: now,
        spec: ResourceSpec {
            uri: format!("{base_url}{API_PATH}")
                .parse()
                .map_err(Failure::internal)?,
            scopes: scopes.into_iter().map(scope).collect::<Result<_, _>>()?,
            authorization_details_types: std::collections::BTreeMap::new(),
            default_scopes: ScopeSet::default(),
            upstream: None,
            tools: std::collections::BTreeMap::new(),
            prompts: std::collections::BTreeMap::new(),
            documents: std::collections::BTreeMap::new(),
            holders: std::collections::BTreeMap::new(),
            enforcement: Enforcement::Gateway,
            owner: None,
            agent: None,
            algorithm: TokenAlgorithm::Es256,
            lifetime: None,
        },
    })
}

fn event(tenant: &Tenant, kind: EventKind, (actor, now): (&Actor, Timestamp), random: &dyn Random) -> Event {
    let state = serde_json::to_string(tenant).unwrap_or_default();
    Event {
        id: EventId::generate(now, random),
        tenant: tenant.id,
        time: now,
        kind,
        outcome: EventOutcome::Ok,
        actor: actor.clone(),
        ids: vec![("tenant", tenant.id.to_string())],
        decision: None,
        parts: vec![Part {
            name: "state",
            class: PartClass::Operational,
            content: state,
        }],
    }
}

/// The name of the resource that the administration interface is. Every tenant is made with it.
pub const OWN_INTERFACE: &str = "chancery";
/// Where the administration interface lies below a tenant's base.
pub const API_PATH: &str = chancery_core::tenant::INTERFACE_PATH;

const ENROLMENT: Ttl = Ttl::from_minutes(15);
