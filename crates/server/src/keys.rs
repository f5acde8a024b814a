//! Keys in use: the root key, each tenant's key, and what signs tokens and checkpoints. The only place that
//! signs, and it signs an access token only for a [`Permit`].

use crate::error::Failure;
use crate::record::EventSeal;
use crate::roots::Root;
use crate::setup::sha256;
use chancery_audit::{EventMac, NoteSigner, Origin, VerifierKey};
use chancery_core::id::{EventId, Id as _, KeyId, TenantId, TokenId};
use chancery_core::random::Random;
use chancery_core::resource::TokenAlgorithm;
use chancery_core::secret::Secret;
use chancery_core::tenant::Tenant;
use chancery_core::time::{Timestamp, Ttl};
use chancery_oauth::claims::AccessTokenClaims;
use chancery_oauth::jose::{Algorithm, HeaderTemplate, JwkSet, SigningKey};
use chancery_policy::Permit;
use chancery_store::key::SigningKeyRow;
use chancery_store::vault::TenantKeyRow;
use chancery_store::{Db, Statement, key, log, vault};
use chancery_vault::{AssociatedData, Purpose, Sealed, SigningUse, TenantKey};
use std::fmt;
use std::sync::Arc;

mod key_use;
mod opening;
mod rotation;
mod tag;

pub use chancery_vault::RootKey;
pub use key_use::KeyUse;
pub use opening::Opening;
pub use rotation::{Mandate, NewTenantKey, rewrap_tenant};
use tag::Tags;

/// A tenant's keys, opened.
pub struct TenantKeys {
    tenant_key: Arc<TenantKey>,
    /// The one before, while something is sealed under it.
    previous_key: Option<Arc<TenantKey>>,
    /// The row that holds both, as it was read.
    row: TenantKeyRow,
    mac: Secret<[u8; 32]>,
    /// MAC keys of the key before: what was written just before a rotation is still taken into the log.
    former_macs: Vec<Secret<[u8; 32]>>,
    tags: Tags,
    log_name: String,
    log_generation: u64,
    checkpoint_seed: Secret<Vec<u8>>,
    tokens: Vec<TokenKey>,
    published: JwkSet,
    access_tokens: JwkSet,
    published_digest: [u8; 32],
}

struct TokenKey {
    kid: String,
    signs: KeyUse,
    algorithm: TokenAlgorithm,
    state: KeyState,
    key: SigningKey,
    header: HeaderTemplate,
}

/// Where a signing key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Published, so that verifiers learn of it before it signs.
    Next,
    /// Signs.
    Active,
    /// Published until the last token that it signed has ended.
    Retiring,
}

impl KeyState {
    /// The word stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Retiring => "retiring",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Next, Self::Active, Self::Retiring]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

/// What the key of checkpoints signs, as stored; of the others see [`KeyUse`].
pub const CHECKPOINT: &str = "checkpoint";

/// How long a new key is published before it signs.
pub const PUBLISH_AHEAD: Ttl = Ttl::from_minutes(10);
/// How long a key is published after it signed for the last time: longer than any token lives.
pub const PUBLISH_AFTER: Ttl = Ttl::from_days(2);

impl TenantKeys {
    /// Opens a tenant's keys. What was open before is not opened anew.
    ///
    /// # Errors
    /// The database's, a key service's, or a key that does not open.
    pub async fn load(db: &Db, opening: Opening<'_>, tenant: &Tenant) -> Result<Self, Failure> {
        // Rows are read one after the other: a rotation that moved on between two is read once more.
        match Self::load_once(db, opening, tenant).await {
            Err(Failure::Internal(_)) => Self::load_once(db, opening, tenant).await,
            loaded => loaded,
        }
    }

    async fn load_once(db: &Db, opening: Opening<'_>, tenant: &Tenant) -> Result<Self, Failure> {
        let row = vault::find_tenant_keys(db, tenant.id).await?;
        let row = row.ok_or_else(|| Failure::Internal("the tenant has no key".to_owned()))?;
        let tenant_key = opening.open(tenant.id, &row.sealed).await?;
        let previous_key = match &row.previous {
            Some(sealed) => Some(opening.open(tenant.id, sealed).await?),
            None => None,
        };
        let mut tokens = Vec::new();
        let mut checkpoint_seed = None;
        for row in &key::load_signing_keys(db, tenant.id).await? {
            let sealed = Sealed::parse(&row.sealed).map_err(Failure::internal)?;
            let sealing = sealing_key(&tenant_key, previous_key.as_deref(), &sealed);
            let sealing =
                sealing.ok_or_else(|| Failure::Internal("no key opens a signing key".to_owned()))?;
            let private = open(sealing, tenant.id, row)?;
            if row.purpose == CHECKPOINT {
                checkpoint_seed = Some(private);
            } else {
                tokens.push(TokenKey::load(row, &private)?);
            }
        }
        Ok(Self {
            tags: Tags::new(&tenant_key, previous_key.as_deref())?,
            mac: event_mac(&tenant_key)?,
            former_macs: rotation::former_macs(&tenant_key, previous_key.as_deref(), &row)?,
            log_name: log_name(&tenant.spec.base_url),
            log_generation: log::find_head(db, tenant.id)
                .await?
                .map_or(1, |head| head.log_generation),
            checkpoint_seed: checkpoint_seed
                .ok_or_else(|| Failure::Internal("the tenant has no checkpoint key".to_owned()))?,
            published: public(&tokens, |_| true),
            access_tokens: public(&tokens, |key| key.signs == KeyUse::AccessToken),
            published_digest: published_digest(&tokens),
            tokens,
            row,
            previous_key,
            tenant_key,
        })
    }

    /// Signs the access token that a permit allows. Consumes the permit: one permit, one token.
    ///
    /// # Errors
    /// No key for the algorithm, or the signature fails.
    pub fn sign(&self, permit: &Permit) -> Result<String, Failure> {
        let plan = permit.plan();
        let key = self.active(KeyUse::AccessToken, plan.algorithm)?;
        let claims = AccessTokenClaims::new(plan, permit.given(), TokenId::from(permit.decision().id));
        key.key
            .sign_compact(&key.header, &claims)
            .map_err(Failure::internal)
    }

    /// Signs what a mandate lets be signed: it fixes the algorithm and the type, so that it passes for nothing else.
    ///
    /// # Errors
    /// A mandate of another kind; no key for the algorithm; the signature fails.
    pub fn sign_for<C: serde::Serialize>(&self, mandate: Mandate, claims: &C) -> Result<String, Failure> {
        let (signs, algorithm, typ) = mandate
            .signs()
            .ok_or_else(|| Failure::Internal(format!("{mandate:?} signs nothing")))?;
        let key = self.active(signs, algorithm)?;
        let header = HeaderTemplate::new(jose(algorithm), Some(&key.kid), Some(typ));
        key.key.sign_compact(&header, claims).map_err(Failure::internal)
    }

    fn active(&self, signs: KeyUse, algorithm: TokenAlgorithm) -> Result<&TokenKey, Failure> {
        let found = self.tokens.iter().find(|key| key.is_active(signs, algorithm));
        found.ok_or_else(|| Failure::Internal(format!("no active {algorithm:?} key for {signs:?}")))
    }

    /// The public keys, those to come and those that retire included.
    pub fn published(&self) -> &JwkSet {
        &self.published
    }

    /// The public keys of access tokens. What another key of ours signed is no access token, whatever it says.
    pub(crate) const fn access_tokens(&self) -> &JwkSet {
        &self.access_tokens
    }

    /// Names the set of public keys: it changes with each key that comes or goes.
    pub(crate) const fn published_digest(&self) -> &[u8; 32] {
        &self.published_digest
    }

    /// Whether a key of this use and algorithm signs.
    pub fn has_active(&self, signs: KeyUse, algorithm: TokenAlgorithm) -> bool {
        self.tokens.iter().any(|key| key.is_active(signs, algorithm))
    }

    /// Every token key: kid, use, algorithm and state.
    pub fn token_keys(&self) -> impl Iterator<Item = (&str, KeyUse, TokenAlgorithm, KeyState)> {
        let keys = self.tokens.iter();
        keys.map(|key| (key.kid.as_str(), key.signs, key.algorithm, key.state))
    }

    /// The key that credentials of the tenant are sealed with. Whoever has it still needs what each is bound to.
    pub(crate) fn vault(&self) -> &TenantKey {
        &self.tenant_key
    }

    /// The key that opens something sealed: the present one, or while a rotation runs the one before.
    pub(crate) fn vault_for(&self, sealed: &Sealed) -> Option<&TenantKey> {
        sealing_key(&self.tenant_key, self.previous_key.as_deref(), sealed)
    }

    /// Asserts in a batch that what was sealed with [`Self::vault`] is sealed under the present key.
    pub(crate) fn assert_current(&self) -> Statement {
        vault::assert_tenant_key(self.tenant_key.tenant(), &self.row.sealed)
    }

    /// Whether this is the MAC of an event of this tenant, under the present key or the one before.
    pub(crate) fn is_event_mac(&self, mac: EventMac, event: EventId, leaf: &[u8]) -> bool {
        let mut all = std::iter::once(&self.mac).chain(&self.former_macs);
        all.any(|key| mac.matches(key.expose_secret(), event, leaf))
    }

    /// What binds event rows to this tenant's log.
    pub fn seal(&self) -> EventSeal<'_> {
        EventSeal {
            mac: self.mac.expose_secret(),
            log_generation: self.log_generation,
        }
    }

    /// What signs checkpoints of a log generation.
    ///
    /// # Errors
    /// The key is unusable.
    pub fn checkpoint_signer(&self, log_generation: u64) -> Result<NoteSigner, Failure> {
        let origin = self.origin(log_generation)?;
        NoteSigner::from_pkcs8(&origin, self.checkpoint_seed.expose_secret()).map_err(Failure::internal)
    }

    /// The name of a log generation.
    ///
    /// # Errors
    /// The base URL gives no valid name.
    pub fn origin(&self, log_generation: u64) -> Result<Origin, Failure> {
        Origin::new(&self.log_name, log_generation).map_err(Failure::internal)
    }

    /// The public key that checkpoints verify with.
    ///
    /// # Errors
    /// As [`Self::checkpoint_signer`].
    pub fn verifier(&self, log_generation: u64) -> Result<VerifierKey, Failure> {
        Ok(self.checkpoint_signer(log_generation)?.verifier().clone())
    }

    /// A new token key, sealed, as a row.
    ///
    /// # Errors
    /// Generation or sealing fails.
    pub fn generate(
        &self,
        (signs, algorithm): (KeyUse, TokenAlgorithm),
        state: KeyState,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<SigningKeyRow, Failure> {
        generate_token_key(&self.tenant_key, (signs, algorithm), state, now, random)
    }
}

fn public(tokens: &[TokenKey], counts: impl Fn(&TokenKey) -> bool) -> JwkSet {
    let counted = tokens.iter().filter(|token| counts(token));
    let keys: Vec<_> = counted.map(|token| token.key.verifying_key().clone()).collect();
    JwkSet::from_keys(keys)
}

fn published_digest(tokens: &[TokenKey]) -> [u8; 32] {
    let names: Vec<&str> = tokens.iter().map(|token| token.kid.as_str()).collect();
    sha256(names.join(" ").as_bytes())
}

impl fmt::Debug for TenantKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantKeys")
            .field("log", &self.log_name)
            .finish_non_exhaustive()
    }
}

/// The statements that give a new tenant its keys (a tenant key, a token key for ES256 and for EdDSA, and a
/// checkpoint key), and the key of the MAC over its events.
///
/// # Errors
/// Generation or sealing fails; a key service's.
pub async fn create(
    root: &Root,
    tenant: TenantId,
    now: Timestamp,
    random: &dyn Random,
) -> Result<NewKeys, Failure> {
    let tenant_key = TenantKey::generate(tenant, random).map_err(Failure::internal)?;
    let sealed = root.seal(&tenant_key, random).await?;
    let mut statements = vec![key::insert_tenant_key(tenant, &sealed.to_bytes())];
    for algorithm in [TokenAlgorithm::Es256, TokenAlgorithm::EdDsa] {
        let signs = (KeyUse::AccessToken, algorithm);
        let row = generate_token_key(&tenant_key, signs, KeyState::Active, now, random)?;
        statements.push(key::insert_signing_key(tenant, &row));
    }
    let checkpoint = SigningKey::generate(Algorithm::EdDsa).map_err(Failure::internal)?;
    let row = row(
        &tenant_key,
        CHECKPOINT,
        &checkpoint,
        KeyState::Active,
        now,
        random,
    )?;
    statements.push(key::insert_signing_key(tenant, &row));
    Ok((statements, event_mac(&tenant_key)?))
}

type NewKeys = (Vec<Statement>, Secret<[u8; 32]>);

fn sealing_key<'a>(
    present: &'a TenantKey,
    previous: Option<&'a TenantKey>,
    sealed: &Sealed,
) -> Option<&'a TenantKey> {
    let id = sealed.tenant_key_id();
    std::iter::once(present)
        .chain(previous)
        .find(|key| key.id() == id)
}

fn event_mac(key: &TenantKey) -> Result<Secret<[u8; 32]>, Failure> {
    key.derive(Purpose::EventMac, b"").map_err(Failure::internal)
}

fn generate_token_key(
    tenant_key: &TenantKey,
    (signs, algorithm): (KeyUse, TokenAlgorithm),
    state: KeyState,
    now: Timestamp,
    random: &dyn Random,
) -> Result<SigningKeyRow, Failure> {
    let key = SigningKey::generate(jose(algorithm)).map_err(Failure::internal)?;
    row(tenant_key, signs.as_str(), &key, state, now, random)
}

fn row(
    tenant_key: &TenantKey,
    purpose: &str,
    key: &SigningKey,
    state: KeyState,
    now: Timestamp,
    random: &dyn Random,
) -> Result<SigningKeyRow, Failure> {
    let kid = KeyId::generate(now, random);
    let private = key.to_pkcs8().map_err(Failure::internal)?;
    let associated = associated(tenant_key.tenant(), kid, purpose)?;
    let sealed =
        chancery_vault::seal(tenant_key, &associated, &private, random).map_err(Failure::internal)?;
    let public = key.public_jwk().clone().with_kid(kid.to_string());
    Ok(SigningKeyRow {
        kid: kid.to_string(),
        purpose: purpose.to_owned(),
        algorithm: key.algorithm().name().to_owned(),
        state: state.as_str().to_owned(),
        public: serde_json::to_string(&public).map_err(Failure::internal)?,
        sealed: sealed.to_bytes(),
        created_at: now,
        retires_at: None,
    })
}

fn open(tenant_key: &TenantKey, tenant: TenantId, row: &SigningKeyRow) -> Result<Secret<Vec<u8>>, Failure> {
    let kid: KeyId = row.kid.parse().map_err(Failure::internal)?;
    let sealed = Sealed::parse(&row.sealed).map_err(Failure::internal)?;
    chancery_vault::open(tenant_key, &associated(tenant, kid, &row.purpose)?, &sealed)
        .map_err(Failure::internal)
}

fn associated(tenant: TenantId, kid: KeyId, purpose: &str) -> Result<AssociatedData, Failure> {
    let signs = if purpose == CHECKPOINT {
        SigningUse::Checkpoint
    } else {
        KeyUse::parse(purpose)?.sealed_for()
    };
    let key = chancery_vault::SigningKey { tenant, kid, signs };
    Ok(AssociatedData::SigningKey(key))
}

impl TokenKey {
    fn load(row: &SigningKeyRow, private: &Secret<Vec<u8>>) -> Result<Self, Failure> {
        let algorithm: Algorithm = row.algorithm.parse().map_err(Failure::internal)?;
        let key = SigningKey::from_pkcs8(algorithm, private.expose_secret()).map_err(Failure::internal)?;
        let key = key.with_kid(row.kid.as_str()).map_err(Failure::internal)?;
        let state = KeyState::parse(&row.state)
            .ok_or_else(|| Failure::Internal("a key has an unknown state".to_owned()))?;
        Ok(Self {
            kid: row.kid.clone(),
            signs: KeyUse::parse(&row.purpose)?,
            algorithm: token_algorithm(algorithm)?,
            state,
            header: HeaderTemplate::new(algorithm, Some(&row.kid), Some("at+jwt")),
            key,
        })
    }
}

impl TokenKey {
    fn is_active(&self, signs: KeyUse, algorithm: TokenAlgorithm) -> bool {
        (self.signs, self.algorithm, self.state) == (signs, algorithm, KeyState::Active)
    }
}

/// The algorithm as the code of tokens knows it.
pub(crate) fn jose(algorithm: TokenAlgorithm) -> Algorithm {
    match algorithm {
        TokenAlgorithm::Es256 => Algorithm::Es256,
        TokenAlgorithm::EdDsa => Algorithm::EdDsa,
        TokenAlgorithm::Rs256 => Algorithm::Rs256,
    }
}

fn token_algorithm(algorithm: Algorithm) -> Result<TokenAlgorithm, Failure> {
    let all = [
        TokenAlgorithm::Es256,
        TokenAlgorithm::EdDsa,
        TokenAlgorithm::Rs256,
    ];
    let found = all.into_iter().find(|candidate| jose(*candidate) == algorithm);
    found.ok_or_else(|| {
        Failure::Internal(format!(
            "{} is not an algorithm of access tokens",
            algorithm.name()
        ))
    })
}

/// The log's name: the base URL without its scheme, as C2SP logs are named.
fn log_name(base_url: &str) -> String {
    let name = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
    format!("{name}/log")
}
