//! Dynamic client registration (RFC 7591 §3). Fenced: by rules, by initial access tokens, by a share for each source,
//! by how many clients may wait for an agent, and by how long they wait.

use super::{MOST_WAITING, WAITS, digest_of, is_agent_active, rules, ruling, taking_in};
use crate::app::App;
use crate::connect::hexadecimal;
use crate::directory::change::{self, Work};
use crate::directory::secret;
use crate::error::{Failure, Refusal};
use crate::issue::arrival::{Arrival, Source};
use crate::tenants::Served;
use chancery_core::client::{Client, ClientAuthenticationMethod, ClientSpec, Provenance};
use chancery_core::event::Change;
use chancery_core::id::{ClientId, Id as _};
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun, Record, Spec as _};
use chancery_core::registration::{RegistrationToken, RegistrationTokenSpec, RegistrationWay};
use chancery_core::secret::{Secret, generate};
use chancery_core::time::Timestamp;
use chancery_oauth::error::{ErrorCode, OAuthError};
use chancery_oauth::registration::RegistrationError;
use chancery_oauth::registration::metadata::ClientMetadata;
use chancery_oauth::registration::rule::{self, Ruling};
use chancery_store::{Registration, record};
use serde_json::{Map, Value};

/// A client that registered, with what is shown once.
#[derive(Debug)]
pub struct Registered {
    /// The client.
    pub client: Client,
    /// Its secret, if it has one.
    pub secret: Option<Secret<String>>,
    /// What manages the registration.
    pub token: Option<Secret<String>>,
}

/// Registers a client.
///
/// # Errors
/// The standard's error for what it says; the way is closed or its share used up; an initial access token that is
/// not good.
pub async fn register(
    app: &App,
    served: &Served,
    members: &Map<String, Value>,
    bearer: Option<&str>,
    source: Source,
) -> Result<Registered, Failure> {
    let now = app.serving_now()?;
    let tenant = served.tenant.id;
    app.limits.registration(tenant, Arrival { now, source })?;
    if rule::is_off(&rules(app, served).await?, RegistrationWay::Registered) {
        return Err(CLOSED.into());
    }

    let metadata = ClientMetadata::parse(members, ClientAuthenticationMethod::ClientSecretBasic)
        .map_err(RegistrationError::to_wire)?;
    let spec = metadata.to_spec(Provenance::Registered);
    let bearer = match bearer {
        Some(bearer) => Some(initial_access(app, served, bearer, now).await?),
        None => None,
    };
    let (spec, state) = place(app, served, spec, bearer.as_ref()).await?;
    if state == Lifecycle::Staged && chancery_store::count_waiting(&app.db, tenant).await? >= MOST_WAITING {
        return Err(app.limits.too_many_waiting().into());
    }

    commit(app, served, (spec, state), bearer, now).await
}

/// Whom the client belongs to, and whether it may be used at once.
async fn place(
    app: &App,
    served: &Served,
    spec: ClientSpec,
    bearer: Option<&RegistrationToken>,
) -> Result<(ClientSpec, Lifecycle), Failure> {
    let adopted = |agent: Name, spec: ClientSpec| ClientSpec {
        agent: Some(agent),
        ..spec
    };
    if let Some(bearer) = bearer {
        return Ok((adopted(bearer.spec.agent.clone(), spec), Lifecycle::Active));
    }
    match ruling(app, served, RegistrationWay::Registered, &spec).await? {
        // SECURITY: anybody can name a redirect URI. What they get by it is what passes through it, and no more.
        Ruling::Adopt(agent) => {
            let spec = rule::within_proof(RegistrationWay::Registered, spec);
            Ok((adopted(agent, spec), Lifecycle::Active))
        }
        Ruling::Stage => Ok((spec, Lifecycle::Staged)),
        Ruling::Refuse => Err(NEEDS_TOKEN.into()),
        Ruling::Off => Err(CLOSED.into()),
    }
}

/// One batch: the client, its secrets' digests, and one use of the initial access token.
async fn commit(
    app: &App,
    served: &Served,
    (spec, state): (ClientSpec, Lifecycle),
    bearer: Option<RegistrationToken>,
    now: Timestamp,
) -> Result<Registered, Failure> {
    let tenant = served.tenant.id;
    let caller = taking_in(now);
    let id = ClientId::generate(now, &*app.random);
    let client = made(id, spec, state, now)?;
    let insert = record::insert(tenant, &client);
    let mut work = change::recorded(app, served, &caller, &client, (Change::Created, insert))?;
    let about = (Noun::Client, &client.name);
    let secret = client.spec.method.uses_secret().then(|| {
        let (secret, statement) = secret::first(app, tenant, id, now);
        work.extend(Work::on(about, vec![statement], Vec::new()));
        secret
    });
    let token = generate(MANAGEMENT, &*app.random);
    let registration = Registration {
        digest: Some(digest_of(token.expose_secret())),
        created_at: now,
        expires_at: (state == Lifecycle::Staged).then(|| now.plus(WAITS)),
    };
    let noted = chancery_store::insert_registration(tenant, id, &registration);
    work.extend(Work::on(about, vec![noted], Vec::new()));
    if let Some(bearer) = bearer {
        work.extend(spent(app, served, bearer, now)?);
    }
    match change::commit(app, &caller, work).await {
        Ok(()) => Ok(Registered {
            client,
            secret,
            token: Some(token),
        }),
        // Somebody used the same token at the same moment.
        Err(Failure::Refused(Refusal::Conflict(_))) => Err(BAD_TOKEN.into()),
        Err(failure) => Err(failure),
    }
}

fn made(id: ClientId, spec: ClientSpec, state: Lifecycle, now: Timestamp) -> Result<Client, Failure> {
    let digits = id.to_string();
    let digits = digits.strip_prefix(ClientId::PREFIX).unwrap_or(&digits);
    let name: Name = format!("registered-{digits}")
        .parse()
        .map_err(Failure::internal)?;
    spec.check(&name).map_err(|error| Refusal::spec(&error))?;
    Ok(Record {
        id,
        name,
        state,
        generation: 0,
        version: 1,
        created_at: now,
        updated_at: now,
        spec,
    })
}

/// The initial access token that a caller bears.
async fn initial_access(
    app: &App,
    served: &Served,
    bearer: &str,
    now: Timestamp,
) -> Result<RegistrationToken, Failure> {
    let digest = hexadecimal(&crate::setup::sha256(bearer.as_bytes()));
    let found =
        record::find_by_natural_key::<RegistrationTokenSpec>(&app.db, served.tenant.id, &digest).await?;
    let Some(token) = found else {
        return Err(BAD_TOKEN.into());
    };
    let is_good = token.state.is_active() && token.spec.uses > 0 && now < token.spec.expires_at;
    if is_good && is_agent_active(app, served, &token.spec.agent).await? {
        return Ok(token);
    }
    Err(BAD_TOKEN.into())
}

/// One use less; the last one ends it. The version in the statement lets one of two at once win.
fn spent(app: &App, served: &Served, token: RegistrationToken, now: Timestamp) -> Result<Work, Failure> {
    let uses = token.spec.uses.saturating_sub(1);
    let (state, change) = if uses == 0 {
        (Lifecycle::Retired, Change::Retired)
    } else {
        (token.state, Change::Updated)
    };
    let token = RegistrationToken {
        state,
        version: token.version + 1,
        updated_at: now,
        spec: RegistrationTokenSpec { uses, ..token.spec },
        ..token
    };
    let update = record::update(served.tenant.id, &token);
    change::recorded(app, served, &taking_in(now), &token, (change, update))
}

/// Lets secret scanners recognise what manages a registration.
const MANAGEMENT: &str = "chr_";
const CLOSED: OAuthError = OAuthError::new(
    ErrorCode::AccessDenied,
    "clients do not register themselves here; ask an administrator for a client",
);
const NEEDS_TOKEN: OAuthError = OAuthError::new(
    ErrorCode::AccessDenied,
    "no rule takes this client; ask an administrator for an initial access token",
);
/// Unknown, used up, over, or of an agent that is not in use: the bearer learns no more.
pub(super) const BAD_TOKEN: OAuthError = OAuthError::new(
    ErrorCode::InvalidToken,
    "the token is unknown, used up or over; ask an administrator for another",
);
