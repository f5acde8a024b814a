//! A person lets an agent use an account of theirs at an OAuth 2 provider, or connects that of an agent or of the whole
//! tenant: what is asked, and the way there (RFC 6749 §4.1.1, RFC 7636).
//!
//! The way back is bound to this session alone: `state` to a row that names it and is finished once, the verifier to the
//! state, from which it is derived under a key of the tenant. Nothing secret is stored.

use super::account::{self, AccountStatus, AccountView};
use super::provider::{AskError, ReadyProvider};
use crate::app::App;
use crate::directory::change;
use crate::error::Failure;
use crate::people::consent;
use crate::people::session::{SignedIn, hexadecimal};
use crate::setup::sha256;
use crate::tenants::Served;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery_core::agent::Agent;
use chancery_core::connected_account::{AccountOwner, ConnectedAccountSpec};
use chancery_core::connection::{Connection, OAuthSpec, OwnerLevel};
use chancery_core::event::Change;
use chancery_core::grant::{Grant, GrantSource, GrantSpec, Hours, Principal};
use chancery_core::id::{AgentId, TenantId};
use chancery_core::lineage::Guard;
use chancery_core::name::Name;
use chancery_core::noun::Noun;
use chancery_core::scope::ScopeSet;
use chancery_core::secret::{TokenDigest, generate};
use chancery_core::time::{Timestamp, Ttl};
use chancery_oauth::authentication::guard;
use chancery_oauth::provider::{ConnectRequest, ProviderAnswerError};
use chancery_oauth::sign_in::SignInError;
use chancery_policy::ManagementAction;
use chancery_store::begun_connect::{self as begun, BegunConnect};
use chancery_store::record;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Why an account is not connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectRefusal {
    /// There is no such connection where people connect accounts of their own, or it is stopped.
    #[error("people do not connect accounts of their own here")]
    NotOffered,
    /// There is no such agent, or it is stopped.
    #[error("there is no such agent in use")]
    AgentUnknown,
    /// Somebody stopped the agent's grant: that is not for the person to undo.
    #[error("an administrator has stopped the agent's use of this connection")]
    Stopped,
    /// This session began nothing that can still be finished with this answer.
    #[error("this was finished before, is over, or was begun by somebody else or elsewhere")]
    Over,
    /// The connection goes elsewhere than when the person agreed.
    #[error("the connection was changed meanwhile")]
    Changed,
    /// The provider says no.
    #[error("the provider answered `{0}`")]
    Provider(String),
    /// The provider's answer breaks a rule.
    #[error(transparent)]
    Rule(#[from] SignInError),
    /// The provider does not do its part.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The account is at another interface than the connection's. SECURITY: its token would go to somebody else's.
    #[error("the account is at `{0}`, which is not where this connection goes")]
    OtherInterface(String),
    /// The person signed in to another account there than the one that is connected, and had not said that.
    #[error("the provider's account is `{now}`, and `{before}` is connected")]
    OtherAccount {
        /// The one that is connected.
        before: String,
        /// The one that answered.
        now: String,
    },
    /// This node cannot answer.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl From<ProviderAnswerError> for ConnectRefusal {
    fn from(error: ProviderAnswerError) -> Self {
        Self::Ask(error.into())
    }
}

/// What a person is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Where.
    pub connection: Arc<Connection>,
    /// Who will use it, or whose it is; nobody named for an account of the whole tenant.
    pub agent: Option<Arc<Agent>>,
    /// Whose account it is.
    pub owner: AccountOwner,
    /// The account that there is.
    pub account: Option<AccountView>,
    /// The grant that there is.
    grant: Option<Arc<Grant>>,
}

impl Question {
    /// How accounts are connected there.
    ///
    /// # Errors
    /// Not by OAuth 2.
    pub fn spec(&self) -> Result<&OAuthSpec, ConnectRefusal> {
        self.connection
            .spec
            .credential
            .by_page()
            .ok_or(ConnectRefusal::NotOffered)
    }

    /// Whether the account can be used as it is.
    pub fn is_connected(&self) -> bool {
        let usable =
            |view: &AccountView| matches!(view.status, AccountStatus::Connected | AccountStatus::Error);
        self.account.as_ref().is_some_and(usable)
    }

    /// What the answer relies on.
    pub(super) fn guards(&self) -> Vec<Guard> {
        let mut guards = vec![guard(Noun::Connection, &self.connection)];
        guards.extend(self.agent.as_deref().map(|agent| guard(Noun::Agent, agent)));
        guards
    }
}

/// What a person agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// The agent; nobody for an account of the whole tenant.
    pub agent: Option<AgentId>,
    /// Which account is meant.
    pub account: ChosenAccount,
    /// For how long the agent may use it; until it is taken back if not said.
    pub lasts: Option<Ttl>,
    /// How many calls it may make.
    pub budget: Option<u64>,
    /// At which hours.
    pub hours: Option<Hours>,
}

/// Which account at the provider an agreement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChosenAccount {
    /// The one that is connected, as it is.
    Connected,
    /// The one that is connected, connected again; or a first one.
    Same,
    /// Whichever the person signs in to.
    Any,
}

/// What a person is asked about an agent at a connection.
///
/// # Errors
/// There is nothing to ask; policy's refusal; the database's.
pub async fn question(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    (connection, agent): (&str, &str),
    now: Timestamp,
) -> Result<Question, ConnectRefusal> {
    let tenant = served.tenant.id;
    let name: Name = connection.parse().map_err(|_| ConnectRefusal::NotOffered)?;
    let connection = app.directory.connections.find_by_name(tenant, &name).await?;
    let connection = connection.ok_or(ConnectRefusal::NotOffered)?;
    let agent = match agent.parse::<Name>() {
        Ok(agent) => app.directory.agents.find_by_name(tenant, &agent).await?,
        Err(_) => None,
    };
    asked(app, served, signed_in, (connection, agent), now).await
}

/// As [`question`], for what was found already.
pub(super) async fn asked(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    (connection, agent): (Arc<Connection>, Option<Arc<Agent>>),
    now: Timestamp,
) -> Result<Question, ConnectRefusal> {
    let tenant = served.tenant.id;
    if !connection.state.is_active() || connection.spec.credential.by_page().is_none() {
        return Err(ConnectRefusal::NotOffered);
    }
    let agent = agent.filter(|agent| agent.state.is_active());
    let (owner, agent) = owner_of(&connection, agent, signed_in)?;
    // Whoever answers for the connection answers for what is nobody's own there.
    let answers = match &owner {
        AccountOwner::User(user) => Some(user),
        AccountOwner::Agent(_) | AccountOwner::Tenant => connection.spec.owner.as_ref(),
    };
    let subject = (Noun::ConnectedAccount, connection.name.as_str(), answers);
    change::permit(served, &signed_in.caller(now), ManagementAction::Connect, subject)?;

    let key = ConnectedAccountSpec::key(&connection.name, &owner);
    let found = record::find_by_natural_key::<ConnectedAccountSpec>(&app.db, tenant, &key).await;
    let account = match found.map_err(Failure::from)? {
        Some(found) => Some(account::view(app, served, found, now).await?),
        None => None,
    };
    let grant = match (&owner, &agent) {
        (AccountOwner::User(user), Some(agent)) => {
            grant_of(app, tenant, (&agent.name, user), &connection.name).await?
        }
        (AccountOwner::User(_) | AccountOwner::Agent(_) | AccountOwner::Tenant, _) => None,
    };
    if grant.as_ref().is_some_and(|grant| !grant.state.is_active()) {
        return Err(ConnectRefusal::Stopped);
    }
    Ok(Question {
        connection,
        agent,
        owner,
        account,
        grant,
    })
}

/// Whose account it will be, and for which agent.
fn owner_of(
    connection: &Connection,
    agent: Option<Arc<Agent>>,
    signed_in: &SignedIn,
) -> Result<(AccountOwner, Option<Arc<Agent>>), ConnectRefusal> {
    match (connection.spec.owner_level, agent) {
        (OwnerLevel::Tenant, _) => Ok((AccountOwner::Tenant, None)),
        (OwnerLevel::User | OwnerLevel::Agent, None) => Err(ConnectRefusal::AgentUnknown),
        (OwnerLevel::User, agent) => Ok((AccountOwner::User(signed_in.user.name.clone()), agent)),
        (OwnerLevel::Agent, Some(agent)) => Ok((AccountOwner::Agent(agent.name.clone()), Some(agent))),
    }
}

/// The person said yes: what leads the browser on. To the provider; or back, if the account that is connected is meant.
///
/// # Errors
/// The provider does not say where it is; the database's.
pub async fn begin(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    (question, agreement): (&Question, &Agreement),
    now: Timestamp,
) -> Result<String, ConnectRefusal> {
    if agreement.account == ChosenAccount::Connected && question.is_connected() {
        let caller = signed_in.caller(now);
        let work = granted(app, served, signed_in, (question, agreement), now)?;
        change::commit(app, &caller, work).await?;
        return Ok(AFTER.to_owned());
    }
    let spec = question.spec()?;
    let provider = ReadyProvider::of(app, served, (&question.connection, spec), now).await?;

    let state = generate(STATE_PREFIX, &*app.random);
    let row = BegunConnect {
        connection: question.connection.id,
        session: signed_in.session.id,
        content: serde_json::to_string(&Begun {
            fingerprint: account::fingerprint(&question.connection),
            agreement: *agreement,
        })
        .map_err(Failure::internal)?,
        expires_at: now.plus(LIFETIME),
    };
    let digest = state_digest(state.expose_secret());
    let batch = app
        .batch(now)
        .push(begun::insert(served.tenant.id, &digest, &row));
    if !app.commit(batch, &[]).await?.is_committed() {
        return Err(ConnectRefusal::Over);
    }
    let verifier = verifier(served, state.expose_secret());
    let request = ConnectRequest {
        authorization_endpoint: &provider.endpoints.authorization_endpoint,
        spec,
        redirect_uri: &redirect_uri(served),
        state: state.expose_secret(),
        code_challenge: &URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes())),
    };
    Ok(request.url())
}

/// Where the browser will be led to, so that the page may say so.
///
/// # Errors
/// The provider does not say where it is.
pub async fn authorization_endpoint(
    app: &App,
    served: &Served,
    question: &Question,
) -> Result<String, ConnectRefusal> {
    let found = app
        .providers
        .find_for_connection(&served.tenant.name, question.spec()?)
        .await;
    Ok(found.map_err(AskError::from)?.authorization_endpoint)
}

/// What is kept of a yes until the provider has answered.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Begun {
    /// Where tokens were to go when the person agreed.
    pub(super) fingerprint: String,
    /// What the person agreed to.
    pub(super) agreement: Agreement,
}

/// The grant that a yes makes or changes: for this agent, this person and this connection. What is no person's own is
/// granted by an administrator.
pub(super) fn granted(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    (question, agreement): (&Question, &Agreement),
    now: Timestamp,
) -> Result<change::Work, Failure> {
    let (AccountOwner::User(_), Some(agent)) = (&question.owner, &question.agent) else {
        return Ok(change::Work::default());
    };
    let caller = signed_in.caller(now);
    let fresh = GrantSpec {
        agent: agent.name.clone(),
        principal: Principal::User(signed_in.user.name.clone()),
        resource: None,
        connection: Some(question.connection.name.clone()),
        scopes: ScopeSet::default(),
        authorization_details_types: BTreeSet::new(),
        source: GrantSource::Consent,
        expires_at: agreement.lasts.map(|lasts| now.plus(lasts)),
        budget: agreement.budget,
        hours: agreement.hours,
    };
    let Some(old) = &question.grant else {
        return consent::first_grant(app, served, &caller, fresh);
    };
    // What an administrator gave, and is in force, stands as it is.
    if old.spec == fresh || old.spec.source != GrantSource::Consent && old.spec.is_open(now) {
        return Ok(change::Work::default());
    }
    let record = Grant {
        generation: old.generation + 1,
        version: old.version + 1,
        updated_at: now,
        spec: fresh,
        ..Grant::clone(old)
    };
    let statement = record::update(served.tenant.id, &record);
    change::recorded(app, served, &caller, &record, (Change::Updated, statement))
}

async fn grant_of(
    app: &App,
    tenant: TenantId,
    (agent, user): (&Name, &Name),
    connection: &Name,
) -> Result<Option<Arc<Grant>>, Failure> {
    let principal = Principal::User(user.clone());
    let mut grants = app.directory.grants_of(tenant, agent, &principal).await?;
    grants.retain(|grant| grant.spec.at_connection() == Some(connection));
    Ok(grants.pop())
}

/// Where providers send browsers back to.
pub fn redirect_uri(served: &Served) -> String {
    format!("{}/connect/callback", served.tenant.spec.base_url)
}

/// The page where a person connects an account for an agent.
pub fn link(served: &Served, connection: &Name, agent: &Name) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("agent", agent.as_str())
        .finish();
    format!("{}/connect/{connection}?{query}", served.tenant.spec.base_url)
}

pub(super) fn verifier(served: &Served, state: &str) -> String {
    let message = [b"connect verifier ".as_slice(), state.as_bytes()].concat();
    hexadecimal(&served.keys.page_tag(&message))
}

pub(super) fn state_digest(state: &str) -> TokenDigest {
    TokenDigest::new(sha256(state.as_bytes()))
}

/// Where a person is led at the end.
pub const AFTER: &str = "/me/agents";
const STATE_PREFIX: &str = "ccs_";
const LIFETIME: Ttl = Ttl::from_minutes(10);
