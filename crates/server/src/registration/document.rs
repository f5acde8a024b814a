//! Clients whose `client_id` is the URL of their metadata document (draft-ietf-oauth-client-id-metadata-document §4):
//! fetched through the fence for URLs that clients supply, kept as long as HTTP says within bounds, compared with what
//! was seen before. Errors and refused documents are never kept as if they were documents.

use super::{MOST_WAITING, WAITS, rules, ruling, taking_in};
use crate::app::App;
use crate::connect::hexadecimal;
use crate::directory::change::{self, Work};
use crate::egress::{Destination, DocumentRules, EgressError, UrlSource};
use crate::error::{Failure, Refusal};
use crate::issue::arrival::Arrival;
use crate::setup::sha256;
use crate::tenants::Served;
use chancery_core::client::{Client, ClientSpec};
use chancery_core::event::Change;
use chancery_core::id::{ClientId, Id as _, TenantId};
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun, Record};
use chancery_core::registration::RegistrationWay;
use chancery_core::time::{Timestamp, Ttl};
use chancery_oauth::registration::document::{
    self as rule_of, DocumentError, Drift, MAX_DOCUMENT, MetadataUrl, MetadataUrlError,
};
use chancery_oauth::registration::rule::{self, Ruling};
use chancery_store::{Registration, record};
use quick_cache::sync::Cache;
use std::sync::Arc;

/// Why a client that names a metadata document cannot be used. For people and the log; on the wire it is
/// `invalid_client`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The URL breaks a rule.
    #[error("{0}")]
    Url(#[from] MetadataUrlError),
    /// The document cannot be fetched.
    #[error("the metadata document cannot be fetched: {0}")]
    Fetch(EgressError),
    /// The document breaks a rule.
    #[error("{0}")]
    Document(#[from] DocumentError),
    /// The client was retired. Its URL is never free again.
    #[error("the client at this URL was retired")]
    Retired,
    /// The tenant takes no such clients, or not this one.
    #[error("clients with a metadata document are not taken here, or not this one")]
    NotTaken,
    /// Too many clients wait for an agent.
    #[error("too many clients wait to be adopted; an administrator can adopt this one by its URL")]
    TooMany,
}

/// What was read of each URL, in this node's memory.
#[derive(Debug)]
pub struct Documents {
    kept: Cache<(TenantId, MetadataUrl), Kept>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    fresh_until: Timestamp,
    usable_until: Timestamp,
}

impl Default for Documents {
    fn default() -> Self {
        Self {
            kept: Cache::new(MAX_DOCUMENTS),
        }
    }
}

/// The client whose metadata is at a URL, as its document says now. It may be staged or in quarantine: whoever relies
/// on it looks at its state.
///
/// # Errors
/// The database's; the source's share of unknown URLs is used up. The inner error is the client's.
pub async fn find(
    app: &App,
    served: &Served,
    client_id: &str,
    arrival: Arrival,
) -> Result<Result<Arc<Client>, Unusable>, Failure> {
    let now = arrival.now;
    let tenant = served.tenant.id;
    let url: MetadataUrl = match client_id.parse() {
        Ok(url) => url,
        Err(error) => return Ok(Err(Unusable::Url(error))),
    };
    if rule::is_off(&rules(app, served).await?, RegistrationWay::MetadataDocument) {
        return Ok(Err(Unusable::NotTaken));
    }
    let known = app
        .directory
        .clients
        .find_by_name(tenant, &name_of(&url)?)
        .await?;
    let kept = app.documents.kept.get(&(tenant, url.clone()));
    match (&known, kept) {
        (Some(client), _) if client.state == Lifecycle::Retired => return Ok(Err(Unusable::Retired)),
        (Some(client), Some(kept)) if now < kept.fresh_until => return Ok(Ok(client.clone())),
        (Some(_), _) => {}
        // Only who names URLs that nobody has seen makes this server ask around.
        (None, _) => app.limits.registration(tenant, arrival)?,
    }
    let seen = match fetch(app, served, &url, now).await {
        Ok(seen) => seen,
        Err(Unusable::Fetch(error)) if is_silence(&error) => {
            let usable = kept.is_some_and(|kept| now < kept.usable_until);
            return Ok(match known {
                Some(client) if usable => Ok(client),
                Some(_) | None => Err(Unusable::Fetch(error)),
            });
        }
        Err(error) => return Ok(Err(error)),
    };
    match known {
        Some(client) => renew(app, served, (*client).clone(), seen, now).await.map(Ok),
        None => admit(app, served, &url, seen, now).await,
    }
}

/// The client at a URL for somebody who may adopt it: made if nobody has seen it, whatever the rules say.
///
/// # Errors
/// What is wrong with URL or document, in words; the database's.
pub(super) async fn take_in(
    app: &App,
    served: &Served,
    client_id: &str,
    now: Timestamp,
) -> Result<Client, Failure> {
    let invalid = |error: Unusable| Failure::from(Refusal::Invalid(error.to_string()));
    let url: MetadataUrl = client_id.parse().map_err(|error| invalid(Unusable::Url(error)))?;
    let name = name_of(&url)?;
    if let Some(client) = record::find_by_name::<ClientSpec>(&app.db, served.tenant.id, &name).await? {
        return Ok(client);
    }
    let seen = fetch(app, served, &url, now).await.map_err(invalid)?;
    let client = store(app, served, &url, (seen, Lifecycle::Staged), now).await?;
    Ok((*client).clone())
}

/// The name of the client at a URL: its host, and what tells it from others there. Names are never reused, so that
/// a retired URL stays retired.
fn name_of(url: &MetadataUrl) -> Result<Name, Failure> {
    let digest = hexadecimal(&sha256(url.as_str().as_bytes()));
    let plain = |character: char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || ".-".contains(character)
    };
    let host: String = url
        .host()
        .chars()
        .filter(|character| plain(*character))
        .take(90)
        .collect();
    let digits: String = digest.chars().take(32).collect();
    format!("{host}:{digits}").parse().map_err(Failure::internal)
}

/// Fetches and checks, and remembers for how long the answer holds.
async fn fetch(
    app: &App,
    served: &Served,
    url: &MetadataUrl,
    now: Timestamp,
) -> Result<ClientSpec, Unusable> {
    let destination = Destination {
        tenant: Some(&served.tenant.name),
        source: UrlSource::Client,
        url: url.as_str(),
    };
    let fetched = app.egress.fetch_document(destination, DOCUMENT).await;
    let document = fetched.map_err(Unusable::Fetch)?;
    let seen = rule_of::read(url, &document.body)?;
    let fresh = document
        .max_age
        .unwrap_or(LEAST_FRESH)
        .max(LEAST_FRESH)
        .min(MOST_FRESH);
    let fresh_until = now.plus(fresh);
    let kept = Kept {
        fresh_until,
        usable_until: fresh_until.plus(MOST_FRESH),
    };
    app.documents.kept.insert((served.tenant.id, url.clone()), kept);
    Ok(seen)
}

/// Takes in a client that nobody has seen before, as the rules say.
async fn admit(
    app: &App,
    served: &Served,
    url: &MetadataUrl,
    seen: ClientSpec,
    now: Timestamp,
) -> Result<Result<Arc<Client>, Unusable>, Failure> {
    let tenant = served.tenant.id;
    let placed = match ruling(app, served, RegistrationWay::MetadataDocument, &seen).await? {
        Ruling::Adopt(agent) => {
            let agent = Some(agent);
            (ClientSpec { agent, ..seen }, Lifecycle::Active)
        }
        Ruling::Stage => {
            if chancery_store::count_waiting(&app.db, tenant).await? >= MOST_WAITING {
                return Ok(Err(Unusable::TooMany));
            }
            (seen, Lifecycle::Staged)
        }
        Ruling::Refuse | Ruling::Off => return Ok(Err(Unusable::NotTaken)),
    };
    store(app, served, url, placed, now).await.map(Ok)
}

async fn store(
    app: &App,
    served: &Served,
    url: &MetadataUrl,
    (spec, state): (ClientSpec, Lifecycle),
    now: Timestamp,
) -> Result<Arc<Client>, Failure> {
    let tenant = served.tenant.id;
    let caller = taking_in(now);
    let client = Record {
        id: ClientId::generate(now, &*app.random),
        name: name_of(url)?,
        state,
        generation: 0,
        version: 1,
        created_at: now,
        updated_at: now,
        spec,
    };
    let insert = record::insert(tenant, &client);
    let mut work = change::recorded(app, served, &caller, &client, (Change::Created, insert))?;
    let registration = Registration {
        digest: None,
        created_at: now,
        expires_at: (state == Lifecycle::Staged).then(|| now.plus(WAITS)),
    };
    let noted = chancery_store::insert_registration(tenant, client.id, &registration);
    work.extend(Work::on((Noun::Client, &client.name), vec![noted], Vec::new()));
    match change::commit(app, &caller, work).await {
        Ok(()) => Ok(Arc::new(client)),
        // Another request, or another node, was first: it made the same.
        Err(Failure::Refused(Refusal::Exists { .. })) => {
            let first = record::find_by_name::<ClientSpec>(&app.db, tenant, &client.name).await?;
            first
                .map(Arc::new)
                .ok_or(Failure::Stale("a client was made and is gone"))
        }
        Err(failure) => Err(failure),
    }
}

/// Writes down what the document says now, and what follows from it.
async fn renew(
    app: &App,
    served: &Served,
    known: Client,
    seen: ClientSpec,
    now: Timestamp,
) -> Result<Arc<Client>, Failure> {
    let drift = rule_of::drift(&known.spec, &seen);
    let is_quarantined = drift == Drift::Quarantine && known.state == Lifecycle::Active;
    let (state, change) = match drift {
        Drift::None => return Ok(Arc::new(known)),
        Drift::Quarantine if is_quarantined => (Lifecycle::Suspended, Change::Suspended),
        Drift::Quarantine | Drift::Words | Drift::Renewed => (known.state, Change::Updated),
    };
    let client = Record {
        state,
        generation: known.generation + u64::from(drift != Drift::Words),
        version: known.version + 1,
        updated_at: now,
        spec: ClientSpec {
            agent: known.spec.agent.clone(),
            ..seen
        },
        ..known
    };
    if is_quarantined {
        tracing::warn!(client = %client.name, "the metadata document of a client says something else now; quarantined");
    }
    let caller = taking_in(now);
    let statement = record::update(served.tenant.id, &client);
    let work = change::recorded(app, served, &caller, &client, (change, statement))?;
    match change::commit(app, &caller, work).await {
        Ok(()) => Ok(Arc::new(client)),
        Err(Failure::Refused(Refusal::Conflict(_))) => {
            Err(Failure::Stale("the metadata of a client changed meanwhile"))
        }
        Err(failure) => Err(failure),
    }
}

/// Whether nothing was heard, which says nothing about the document; a wrong answer does.
fn is_silence(error: &EgressError) -> bool {
    match error {
        EgressError::Timeout
        | EgressError::Unresolved
        | EgressError::Connect { .. }
        | EgressError::Transport { .. }
        | EgressError::Busy => true,
        EgressError::Status(status) => *status >= 500 || *status == 429,
        EgressError::MalformedUrl
        | EgressError::UserInfo
        | EgressError::Fragment
        | EgressError::NotHttps
        | EgressError::AddressLiteral
        | EgressError::AddressNotAllowed { .. }
        | EgressError::Redirect
        | EgressError::ContentType
        | EgressError::ContentEncoding
        | EgressError::Header
        | EgressError::TooLarge { .. } => false,
    }
}

const DOCUMENT: DocumentRules = DocumentRules {
    max_bytes: MAX_DOCUMENT,
    content_types: &["application/json", "application/*+json"],
};
/// The least and the most time that a document is believed, whatever HTTP says (§4.4).
const LEAST_FRESH: Ttl = Ttl::from_minutes(5);
const MOST_FRESH: Ttl = Ttl::from_days(1);
const MAX_DOCUMENTS: usize = 10_000;
