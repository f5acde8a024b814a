//! What an MCP server says of its tools, prompts and resources, pinned: the first definition that is seen is
//! accepted; a later one that differs stands in quarantine, hidden and not callable, until somebody who may
//! change the resource accepts it. A pin in the resource's own spec goes before the one kept here.

use crate::app::App;
use crate::error::Failure;
use crate::record;
use crate::tenants::Served;
use chancery_core::actor::{Actor, SystemActor};
use chancery_core::event::{Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::{EventId, Id as _, ResourceId, TenantId};
use chancery_core::noun::Noun;
use chancery_core::resource::{Entry, Resource};
use chancery_core::time::Timestamp;
use chancery_mcp::header_parameter::HeaderParameters;
use chancery_mcp::list;
use chancery_mcp::manifest::Descriptor;
use chancery_mcp::method::Listing;
use chancery_mcp::schema::InputSchema;
use chancery_store::Statement;
use chancery_store::change::{self, Changed};
use chancery_store::manifest::{self, ManifestRow};
use quick_cache::sync::Cache;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// The manifests of every resource that is in use.
#[derive(Debug)]
pub struct Manifests {
    cache: Cache<(TenantId, ResourceId), Arc<Manifest>>,
}

/// What one server said.
#[derive(Debug, Default)]
pub struct Manifest {
    items: HashMap<(Listing, String), Pinned>,
}

/// One definition.
#[derive(Debug)]
pub struct Pinned {
    accepted: String,
    seen: String,
    descriptor: Descriptor,
    schema: OnceLock<Option<InputSchema>>,
    headers: OnceLock<Option<HeaderParameters>>,
}

/// Where a definition stands.
#[derive(Clone, Copy, Debug)]
pub enum Standing<'a> {
    /// The server never showed it.
    Unseen,
    /// What was seen last is what is accepted.
    Accepted(&'a Pinned),
    /// What was seen last is something else.
    Quarantined(&'a Pinned),
}

impl Manifests {
    /// Nothing known yet.
    pub fn new() -> Self {
        Self {
            cache: Cache::new(MAX_RESOURCES),
        }
    }

    /// What is known of a resource's server.
    ///
    /// # Errors
    /// The database's, or a stored definition that cannot be read.
    pub async fn of(
        &self,
        app: &App,
        tenant: TenantId,
        resource: ResourceId,
    ) -> Result<Arc<Manifest>, Failure> {
        if let Some(known) = self.cache.get(&(tenant, resource)) {
            return Ok(known);
        }
        let mut items = HashMap::new();
        for row in manifest::load(&app.db, tenant, resource).await? {
            let listing = parse_listing(&row.listing)
                .ok_or_else(|| Failure::Internal(format!("unknown listing `{}`", row.listing)))?;
            let descriptor =
                Descriptor::parse(listing, row.seen_content.as_bytes()).map_err(Failure::internal)?;
            items.insert((listing, row.name), Pinned::new(row.accepted_digest, descriptor));
        }
        let loaded = Arc::new(Manifest { items });
        self.cache.insert((tenant, resource), loaded.clone());
        Ok(loaded)
    }

    /// Drops what is known, after it changed here or elsewhere.
    pub fn forget(&self, tenant: TenantId, resource: [u8; 16]) {
        self.cache.remove(&(tenant, ResourceId::from_bytes(resource)));
    }
}

impl Default for Manifests {
    fn default() -> Self {
        Self::new()
    }
}

impl Manifest {
    /// Where a definition stands. `entry` is what the resource's spec says of it.
    pub fn standing(&self, listing: Listing, name: &str, entry: Option<&Entry>) -> Standing<'_> {
        let Some(pinned) = self.items.get(&(listing, name.to_owned())) else {
            return Standing::Unseen;
        };
        let pin = entry
            .and_then(|entry| entry.manifest.as_deref())
            .unwrap_or(&pinned.accepted);
        if pin == pinned.seen {
            Standing::Accepted(pinned)
        } else {
            Standing::Quarantined(pinned)
        }
    }

    /// Every definition, in order.
    pub fn items(&self) -> Vec<(Listing, &str, &Pinned)> {
        let mut items: Vec<_> = self
            .items
            .iter()
            .map(|((listing, name), pinned)| (*listing, name.as_str(), pinned))
            .collect();
        items.sort_by_key(|(listing, name, _)| (*listing, *name));
        items
    }
}

impl Pinned {
    fn new(accepted: String, descriptor: Descriptor) -> Self {
        Self {
            accepted,
            seen: text(&descriptor),
            descriptor,
            schema: OnceLock::new(),
            headers: OnceLock::new(),
        }
    }

    /// The definition that was seen last.
    pub const fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The digest of the definition that was seen last.
    pub fn seen(&self) -> &str {
        &self.seen
    }

    /// The digest that was accepted.
    pub fn accepted(&self) -> &str {
        &self.accepted
    }

    /// The input schema, compiled. `None` if there is none, or it cannot be used.
    pub fn schema(&self) -> Option<&InputSchema> {
        let compile = || InputSchema::compile(self.descriptor.input_schema()?).ok();
        self.schema.get_or_init(compile).as_ref()
    }

    /// The arguments that are repeated in headers.
    pub fn headers(&self) -> Option<&HeaderParameters> {
        let read = || HeaderParameters::of_schema(self.descriptor.input_schema()?).ok();
        self.headers.get_or_init(read).as_ref()
    }
}

/// Notes what a listing shows: what is new is accepted, what changed is put into quarantine. Both are recorded
/// before the listing is handed on.
///
/// # Errors
/// The listing cannot be read, or the database's.
pub async fn observe(
    app: &App,
    served: &Served,
    resource: &Resource,
    listing: Listing,
    response: &[u8],
    now: Timestamp,
) -> Result<Arc<Manifest>, Failure> {
    let tenant = served.tenant.id;
    let known = app.gateway.manifests.of(app, tenant, resource.id).await?;
    let mut noted = Noted::default();
    let mut statements = Vec::new();
    for item in list::items(listing, response).map_err(Failure::internal)? {
        // What cannot be pinned is not known, so it is neither shown nor callable.
        let Ok(descriptor) = Descriptor::parse(listing, item.text.as_bytes()) else {
            continue;
        };
        let digest = text(&descriptor);
        let row = ManifestRow {
            listing: listing.member().to_owned(),
            name: descriptor.key().to_owned(),
            accepted_digest: digest.clone(),
            seen_digest: digest.clone(),
            seen_content: descriptor.canonical().to_owned(),
            seen_at: now,
        };
        match known.items.get(&(listing, descriptor.key().to_owned())) {
            Some(pinned) if pinned.seen == digest => {}
            Some(pinned) => {
                statements.push(manifest::note(tenant, resource.id, &row, &pinned.seen));
                let back = pinned.accepted == digest;
                noted.push(&row, if back { "restored" } else { "changed" });
            }
            None => {
                statements.push(manifest::insert(tenant, resource.id, &row));
                noted.push(&row, "new");
            }
        }
    }
    if statements.is_empty() {
        return Ok(known);
    }
    write(app, served, resource, statements, &noted, now).await?;
    app.gateway.manifests.of(app, tenant, resource.id).await
}

/// Accepts what was seen last of one thing. The digest says which form was looked at.
///
/// # Errors
/// [`crate::error::Refusal::Conflict`] if it changed again since; the database's.
pub async fn accept(
    app: &App,
    served: &Served,
    resource: &Resource,
    (listing, name, digest): (Listing, &str, &str),
    actor: &Actor,
    now: Timestamp,
) -> Result<(), Failure> {
    let tenant = served.tenant.id;
    let statement = manifest::accept(tenant, resource.id, listing.member(), name, digest);
    let noted = Noted(vec![Note {
        listing: listing.member().to_owned(),
        name: name.to_owned(),
        digest: digest.to_owned(),
        what: "accepted",
    }]);
    let event = event(
        served,
        resource,
        actor.clone(),
        EventKind::ManifestAccepted,
        &noted,
        (now, &*app.random),
    )?;
    let batch = app
        .batch(now)
        .push(statement)
        .push(news(tenant, resource, now))
        .push(record::statement(served.keys.seal(), &event, &*app.random)?);
    if app
        .commit(batch, &[changed(tenant, resource)])
        .await?
        .is_committed()
    {
        return Ok(());
    }
    Err(crate::error::Refusal::Conflict(name.to_owned()).into())
}

async fn write(
    app: &App,
    served: &Served,
    resource: &Resource,
    statements: Vec<Statement>,
    noted: &Noted,
    now: Timestamp,
) -> Result<(), Failure> {
    let tenant = served.tenant.id;
    let actor = Actor::System(SystemActor::Gateway);
    let event = event(
        served,
        resource,
        actor,
        EventKind::ManifestSeen,
        noted,
        (now, &*app.random),
    )?;
    let batch = app
        .batch(now)
        .extend(statements)
        .push(news(tenant, resource, now))
        .push(record::statement(served.keys.seal(), &event, &*app.random)?);
    let outcome = app.commit(batch, &[changed(tenant, resource)]).await?;
    if !outcome.is_committed() {
        // Another request, or another node, noted it first: what it wrote is read again.
        app.gateway.manifests.forget(tenant, *resource.id.as_bytes());
    }
    Ok(())
}

fn news(tenant: TenantId, resource: &Resource, now: Timestamp) -> Statement {
    change::insert(
        tenant,
        Noun::Resource,
        *resource.id.as_bytes(),
        resource.generation,
        now,
    )
}

fn changed(tenant: TenantId, resource: &Resource) -> (TenantId, Changed) {
    let subject = Changed::Noun {
        noun: Noun::Resource,
        id: *resource.id.as_bytes(),
        generation: resource.generation,
    };
    (tenant, subject)
}

fn event(
    served: &Served,
    resource: &Resource,
    actor: Actor,
    kind: EventKind,
    noted: &Noted,
    (now, random): (Timestamp, &dyn chancery_core::random::Random),
) -> Result<Event, Failure> {
    Ok(Event {
        id: EventId::generate(now, random),
        tenant: served.tenant.id,
        time: now,
        kind,
        outcome: EventOutcome::Ok,
        actor,
        ids: vec![("resource", resource.id.to_string())],
        decision: None,
        parts: vec![Part {
            name: "manifest",
            class: PartClass::Operational,
            content: serde_json::to_string(noted).map_err(Failure::internal)?,
        }],
    })
}

/// What was noted of a manifest.
#[derive(Debug, Default, Serialize)]
struct Noted(Vec<Note>);

#[derive(Debug, Serialize)]
struct Note {
    listing: String,
    name: String,
    digest: String,
    what: &'static str,
}

impl Noted {
    fn push(&mut self, row: &ManifestRow, what: &'static str) {
        self.0.push(Note {
            listing: row.listing.clone(),
            name: row.name.clone(),
            digest: row.seen_digest.clone(),
            what,
        });
    }
}

fn text(descriptor: &Descriptor) -> String {
    format!("sha256:{}", descriptor.digest())
}

/// The listing that a stored word names.
pub fn parse_listing(word: &str) -> Option<Listing> {
    [
        Listing::Tools,
        Listing::Prompts,
        Listing::Resources,
        Listing::ResourceTemplates,
    ]
    .into_iter()
    .find(|listing| listing.member() == word)
}

const MAX_RESOURCES: usize = 10_000;
