//! Client authentication (RFC 6749 §2.3, RFC 7523 §3): the only way to an [`AuthenticatedClient`].

use crate::error::OAuthError;
use crate::jose::{self, VerifiedClaims};
use crate::runtime;
use chancery_core::agent::Agent;
use chancery_core::assurance::AgentAssurance;
use chancery_core::binding::RuntimeBinding;
use chancery_core::blueprint::Blueprint;
use chancery_core::client::{Client, ClientAuthenticationMethod};
use chancery_core::issuer::{IssuerPurpose, TrustedIssuer};
use chancery_core::lineage::{Guard, Lineage, Link};
use chancery_core::name::Name;
use chancery_core::noun::{Noun, Record};
use chancery_core::scope::Authority;
use chancery_core::secret::TokenDigest;
use chancery_core::tenant::Tenant;
use chancery_core::time::{Timestamp, Ttl};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything about a client that its authentication relies on, as loaded.
#[derive(Clone, Debug)]
pub struct ClientFacts {
    /// The tenant of the URL.
    pub tenant: Arc<Tenant>,
    /// The client.
    pub client: Arc<Client>,
    /// Its agent.
    pub agent: Arc<Agent>,
    /// The agent's blueprint, if it has one.
    pub blueprint: Option<Arc<Blueprint>>,
}

/// A stored client secret.
#[derive(Clone, Debug)]
pub struct ClientSecret {
    /// SHA-256 of the secret.
    pub digest: TokenDigest,
    /// When it stops working, if it does.
    pub expires_at: Option<Timestamp>,
}

/// A client whose proof was checked.
#[derive(Clone, Debug)]
pub struct AuthenticatedClient {
    facts: ClientFacts,
    assurance: AgentAssurance,
    instance: BTreeMap<String, String>,
    runtime: Option<(Arc<TrustedIssuer>, Arc<RuntimeBinding>)>,
    single_use: Option<SingleUse>,
}

/// An assertion that may be used once: what to consume in the batch that acts on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SingleUse {
    /// Whose it is.
    pub client: chancery_core::id::ClientId,
    /// Its `jti`.
    pub jwt_id: String,
    /// Until when it must be remembered.
    pub expires_at: Timestamp,
}

/// Why a client was not authenticated. Goes to the log under a reference, never on the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// No client has this id in this tenant.
    #[error("no client has this id in this tenant")]
    ClientUnknown,
    /// Something the client depends on is not active.
    #[error("{noun} `{name}` is not active")]
    NotActive {
        /// What.
        noun: Noun,
        /// Its name.
        name: Name,
    },
    /// The agent's own end date has passed.
    #[error("agent `{0}` has expired")]
    AgentExpired(Name),
    /// The client registered itself and belongs to no agent yet.
    #[error("client `{0}` belongs to no agent yet: chancery client adopt {0} --agent AGENT")]
    NotAdopted(Name),
    /// The client that a metadata document describes cannot be used.
    #[error("{0}")]
    Document(String),
    /// The client is registered for another method.
    #[error("the client is registered for `{registered}`, not for this method")]
    WrongMethod {
        /// The registered method.
        registered: &'static str,
    },
    /// No stored secret matches.
    #[error("the secret is wrong or has expired")]
    WrongSecret,
    /// The assertion is not a token.
    #[error("the assertion is malformed: {0}")]
    Malformed(#[from] jose::JwtError),
    /// The assertion does not verify.
    #[error("the assertion does not verify: {0}")]
    Assertion(#[from] jose::VerifyError),
    /// The registered keys cannot be used.
    #[error("the client's registered keys are unusable")]
    Keys,
    /// The assertion was used before.
    #[error("the assertion was used before")]
    Replayed,
    /// The assertion's issuer is not trusted for runtimes here.
    #[error("no trusted issuer for runtimes has the issuer of this token")]
    IssuerUnknown,
    /// The issuer's keys could not be had.
    #[error("the keys of trusted issuer `{0}` could not be loaded")]
    IssuerKeys(Name),
    /// The binding does not accept the token.
    #[error("{0}")]
    Binding(#[from] runtime::MatchError),
}

impl AuthenticationError {
    /// What goes on the wire: always the same.
    pub const fn to_wire(&self) -> OAuthError {
        OAuthError::invalid_client()
    }
}

impl AuthenticatedClient {
    /// Checks a secret (RFC 6749 §2.3.1).
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn by_secret(
        facts: ClientFacts,
        presented: &TokenDigest,
        stored: &[ClientSecret],
        now: Timestamp,
    ) -> Result<Self, AuthenticationError> {
        // Both secret methods carry the same proof; a client may use either, as most libraries pick one.
        if !facts.client.spec.method.uses_secret() {
            return Err(wrong_method(&facts));
        }
        let is_open = |secret: &&ClientSecret| secret.expires_at.is_none_or(|end| now < end);
        if !stored
            .iter()
            .filter(is_open)
            .any(|secret| secret.digest == *presented)
        {
            return Err(AuthenticationError::WrongSecret);
        }
        Self::new(facts, AgentAssurance::Secret, now)
    }

    /// Takes a public client at its word (RFC 6749 §2.1). Whatever is built on it needs a signed-in person.
    ///
    /// # Errors
    /// A client that is registered with a proof, or the first thing that is wrong.
    pub fn by_name(facts: ClientFacts, now: Timestamp) -> Result<Self, AuthenticationError> {
        // SECURITY: a confidential client that could come without its proof would need none.
        if !facts.client.spec.method.is_public() {
            return Err(wrong_method(&facts));
        }
        Self::new(facts, AgentAssurance::Claimed, now)
    }

    /// Takes a client's own assertion, which was verified with its registered keys (RFC 7523 §3). The
    /// assertion must still be consumed: see [`Self::single_use`].
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn by_assertion(
        facts: ClientFacts,
        claims: &VerifiedClaims,
        now: Timestamp,
    ) -> Result<Self, AuthenticationError> {
        if facts.client.spec.method != ClientAuthenticationMethod::PrivateKeyJwt {
            return Err(wrong_method(&facts));
        }
        let (Some(jwt_id), Some(expires_at)) = (claims.jwt_id(), claims.expires_at()) else {
            return Err(AuthenticationError::WrongSecret);
        };
        let single_use = SingleUse {
            client: facts.client.id,
            jwt_id: jwt_id.to_owned(),
            expires_at: expires_at.plus(CLOCKS_DIFFER),
        };
        Ok(Self {
            single_use: Some(single_use),
            ..Self::new(facts, AgentAssurance::Key, now)?
        })
    }

    /// Takes a platform's token, which was verified with its issuer's keys and matches this one binding.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn by_runtime(
        facts: ClientFacts,
        issuer: Arc<TrustedIssuer>,
        binding: Arc<RuntimeBinding>,
        claims: &VerifiedClaims,
        now: Timestamp,
    ) -> Result<Self, AuthenticationError> {
        if facts.client.spec.method != ClientAuthenticationMethod::Runtime {
            return Err(wrong_method(&facts));
        }
        require_active(Noun::TrustedIssuer, &issuer)?;
        require_active(Noun::RuntimeBinding, &binding)?;
        if !issuer.spec.serves(IssuerPurpose::Runtimes) {
            return Err(AuthenticationError::IssuerUnknown);
        }
        runtime::check(&binding, claims, now)?;
        let instance = runtime::instance(&binding, claims);
        let client = Self::new(facts, AgentAssurance::Runtime, now)?;
        Ok(Self {
            instance,
            runtime: Some((issuer, binding)),
            ..client
        })
    }

    /// A client that has not proved itself, as it would be if it did: to see what it may be offered. Stays in this crate,
    /// so that nothing is ever signed on it.
    pub(crate) fn presumed(facts: ClientFacts, now: Timestamp) -> Result<Self, AuthenticationError> {
        let assurance = match facts.client.spec.method {
            ClientAuthenticationMethod::ClientSecretBasic | ClientAuthenticationMethod::ClientSecretPost => {
                AgentAssurance::Secret
            }
            ClientAuthenticationMethod::PrivateKeyJwt => AgentAssurance::Key,
            ClientAuthenticationMethod::Runtime => AgentAssurance::Runtime,
            ClientAuthenticationMethod::None => AgentAssurance::Claimed,
        };
        Self::new(facts, assurance, now)
    }

    /// Everything loaded about the client.
    pub fn facts(&self) -> &ClientFacts {
        &self.facts
    }

    /// The agent.
    pub fn agent(&self) -> &Agent {
        &self.facts.agent
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.facts.client
    }

    /// How the agent was proved.
    pub fn assurance(&self) -> AgentAssurance {
        self.assurance
    }

    /// Verified claims that name the instance.
    pub fn instance(&self) -> &BTreeMap<String, String> {
        &self.instance
    }

    /// The assertion to consume, if the proof may be used once only.
    pub fn single_use(&self) -> Option<&SingleUse> {
        self.single_use.as_ref()
    }

    /// The most that this agent may ever be given: its ceiling within its blueprint's.
    pub fn ceiling(&self) -> Authority {
        let own = &self.facts.agent.spec.ceiling;
        match &self.facts.blueprint {
            Some(blueprint) => own.intersection(&blueprint.spec.ceiling),
            None => own.clone(),
        }
    }

    /// What everything issued to this client hangs on.
    pub fn lineage(&self) -> Lineage {
        let facts = &self.facts;
        let mut lineage = Lineage::default();
        lineage.push(link(Noun::Tenant, &facts.tenant));
        lineage.push(link(Noun::Agent, &facts.agent));
        lineage.push(link(Noun::Client, &facts.client));
        if let Some(blueprint) = &facts.blueprint {
            lineage.push(link(Noun::Blueprint, blueprint));
        }
        if let Some((issuer, binding)) = &self.runtime {
            lineage.push(link(Noun::TrustedIssuer, issuer));
            lineage.push(link(Noun::RuntimeBinding, binding));
        }
        lineage
    }

    /// Every row that the authentication relied on.
    pub fn guards(&self) -> Vec<Guard> {
        let facts = &self.facts;
        let mut guards = vec![
            guard(Noun::Tenant, &facts.tenant),
            guard(Noun::Agent, &facts.agent),
            guard(Noun::Client, &facts.client),
        ];
        guards.extend(
            facts
                .blueprint
                .as_ref()
                .map(|blueprint| guard(Noun::Blueprint, blueprint)),
        );
        if let Some((issuer, binding)) = &self.runtime {
            guards.push(guard(Noun::TrustedIssuer, issuer));
            guards.push(guard(Noun::RuntimeBinding, binding));
        }
        guards
    }

    fn new(
        facts: ClientFacts,
        assurance: AgentAssurance,
        now: Timestamp,
    ) -> Result<Self, AuthenticationError> {
        require_active(Noun::Tenant, &facts.tenant)?;
        require_active(Noun::Client, &facts.client)?;
        require_active(Noun::Agent, &facts.agent)?;
        if let Some(blueprint) = &facts.blueprint {
            require_active(Noun::Blueprint, blueprint)?;
        }
        if facts.agent.spec.expires_at.is_some_and(|end| end <= now) {
            return Err(AuthenticationError::AgentExpired(facts.agent.name.clone()));
        }
        Ok(Self {
            facts,
            assurance,
            instance: BTreeMap::new(),
            runtime: None,
            single_use: None,
        })
    }
}

/// The link to a record at its present generation.
pub fn link<I: chancery_core::id::Id, S>(noun: Noun, record: &Record<I, S>) -> Link {
    Link {
        noun,
        id: *record.id.as_bytes(),
        generation: record.generation,
    }
}

/// The guard that asserts a record unchanged.
pub fn guard<I: chancery_core::id::Id, S>(noun: Noun, record: &Record<I, S>) -> Guard {
    Guard {
        noun,
        id: *record.id.as_bytes(),
        version: record.version,
    }
}

fn require_active<I, S>(noun: Noun, record: &Record<I, S>) -> Result<(), AuthenticationError> {
    if record.state.is_active() {
        return Ok(());
    }
    Err(AuthenticationError::NotActive {
        noun,
        name: record.name.clone(),
    })
}

/// SECURITY: an assertion is taken for a while past its `exp`, since clocks differ; it must be remembered for
/// longer than that, or it could be used again once it was forgotten.
const CLOCKS_DIFFER: Ttl = Ttl::from_minutes(1);

fn wrong_method(facts: &ClientFacts) -> AuthenticationError {
    AuthenticationError::WrongMethod {
        registered: facts.client.spec.method.as_str(),
    }
}
