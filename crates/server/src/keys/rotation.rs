//! What a rotation of the vault needs of keys: a new tenant key, records wrapped under it, tenant keys wrapped under
//! another root key. None of it opens a record, and each needs a [`Mandate`].

use super::{KeyUse, Opening, TenantKeys, event_mac};
use crate::error::Failure;
use crate::roots::Root;
use chancery_core::id::TenantId;
use chancery_core::random::Random;
use chancery_core::resource::TokenAlgorithm;
use chancery_core::secret::Secret;
use chancery_store::vault::TenantKeyRow;
use chancery_vault::{AssociatedData, DerivedKey, Purpose, Sealed, SealedTenantKey, TenantKey, TenantKeyId};

/// Work of Chancery's own on sealed things, which no agent asked for. Each names what it may use and where the result
/// goes; whoever has one still gets nothing in the clear (design, section 4, rule 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mandate {
    /// From the tenant's key before to the present one, back into the row it came from.
    RewrapRecords,
    /// From one root key to the other, back into the row of the tenant's keys.
    RewrapTenantKeys,
    /// An assertion of ourselves, to a trusted issuer where people sign in.
    ProveToIssuer,
    /// An assertion of an agent, to the cloud that its connection names.
    FederateWorkload,
    /// An ID token, to the client that a person signed in to.
    IdToken,
}

impl Mandate {
    /// The key, the algorithm and the type of what it lets be signed, if it lets anything be.
    pub(super) const fn signs(self) -> Option<(KeyUse, TokenAlgorithm, &'static str)> {
        match self {
            Self::ProveToIssuer => Some((KeyUse::AccessToken, TokenAlgorithm::Es256, "JWT")),
            // Entra takes no other.
            Self::FederateWorkload => Some((KeyUse::Federation, TokenAlgorithm::Rs256, "JWT")),
            // Every client must take it (OpenID Connect Core §15.1).
            Self::IdToken => Some((KeyUse::IdToken, TokenAlgorithm::Rs256, "JWT")),
            Self::RewrapRecords | Self::RewrapTenantKeys => None,
        }
    }
}

/// A tenant key that is to replace the present one.
#[derive(Debug)]
pub struct NewTenantKey {
    /// Its id.
    pub id: TenantKeyId,
    /// It, under the root key.
    pub sealed: Vec<u8>,
    /// The MAC key of the one before, under it.
    pub former_mac: Vec<u8>,
}

impl TenantKeys {
    /// The id of the present key.
    pub fn tenant_key_id(&self) -> TenantKeyId {
        self.tenant_key.id()
    }

    /// The id of the key before, while something may be sealed under it.
    pub fn previous_key_id(&self) -> Option<TenantKeyId> {
        self.previous_key.as_deref().map(TenantKey::id)
    }

    /// The row of the tenant's keys, as it was read.
    pub(crate) fn row(&self) -> &TenantKeyRow {
        &self.row
    }

    /// A new key for the tenant.
    ///
    /// # Errors
    /// Generation or sealing fails; a key service's.
    pub async fn new_tenant_key(&self, root: &Root, random: &dyn Random) -> Result<NewTenantKey, Failure> {
        let tenant = self.tenant_key.tenant();
        let key = TenantKey::generate(tenant, random).map_err(Failure::internal)?;
        let mac = Secret::new(self.mac.expose_secret().to_vec());
        let former_mac =
            chancery_vault::seal(&key, &mac_bound_to(&key), &mac, random).map_err(Failure::internal)?;
        Ok(NewTenantKey {
            id: key.id(),
            sealed: root.seal(&key, random).await?.to_bytes(),
            former_mac: former_mac.to_bytes(),
        })
    }

    /// A record of the tenant's with its data key wrapped under the present key. Its content is not opened.
    ///
    /// # Errors
    /// No rotation runs; a record that is not sealed under the key before.
    pub fn rewrap(&self, mandate: Mandate, sealed: &[u8], random: &dyn Random) -> Result<Vec<u8>, Failure> {
        require(mandate, Mandate::RewrapRecords)?;
        let previous = self.previous_key.as_deref();
        let previous = previous.ok_or_else(|| Failure::Internal("no rotation runs".to_owned()))?;
        let sealed = Sealed::parse(sealed).map_err(Failure::internal)?;
        let wrapped = chancery_vault::rewrap(previous, &self.tenant_key, &sealed, random);
        Ok(wrapped.map_err(Failure::internal)?.to_bytes())
    }
}

/// A tenant's keys, wrapped under another root key: nothing below them is touched.
///
/// # Errors
/// Keys that are wrapped under neither; a key service's.
pub async fn rewrap_tenant(
    mandate: Mandate,
    (tenant, row): (TenantId, &TenantKeyRow),
    (opening, to): (Opening<'_>, &Root),
    random: &dyn Random,
) -> Result<TenantKeyRow, Failure> {
    require(mandate, Mandate::RewrapTenantKeys)?;
    let wrap = async |sealed: &Vec<u8>| {
        let parsed = SealedTenantKey::parse(sealed).map_err(Failure::internal)?;
        if parsed.root_key_id() == to.id() {
            return Ok(sealed.clone());
        }
        let key = opening.open(tenant, sealed).await?;
        Ok::<_, Failure>(to.seal(&key, random).await?.to_bytes())
    };
    Ok(TenantKeyRow {
        sealed: wrap(&row.sealed).await?,
        previous: match &row.previous {
            Some(sealed) => Some(wrap(sealed).await?),
            None => None,
        },
        ..row.clone()
    })
}

/// The MAC keys of the key before: derived from it while it is there, and afterwards the one that was kept.
pub(super) fn former_macs(
    present: &TenantKey,
    previous: Option<&TenantKey>,
    row: &TenantKeyRow,
) -> Result<Vec<Secret<[u8; 32]>>, Failure> {
    if let Some(previous) = previous {
        return Ok(vec![event_mac(previous)?]);
    }
    let Some(sealed) = &row.former_mac else {
        return Ok(Vec::new());
    };
    let sealed = Sealed::parse(sealed).map_err(Failure::internal)?;
    let opened = chancery_vault::open(present, &mac_bound_to(present), &sealed).map_err(Failure::internal)?;
    let mac: [u8; 32] = opened
        .expose_secret()
        .as_slice()
        .try_into()
        .map_err(|_| Failure::Internal("a former MAC key has another length".to_owned()))?;
    Ok(vec![Secret::new(mac)])
}

fn mac_bound_to(key: &TenantKey) -> AssociatedData {
    AssociatedData::DerivedKey(DerivedKey {
        tenant: key.tenant(),
        purpose: Purpose::EventMac,
        sealed_by: key.id(),
    })
}

fn require(given: Mandate, needed: Mandate) -> Result<(), Failure> {
    if given == needed {
        return Ok(());
    }
    Err(Failure::Internal(format!("{given:?} does not allow {needed:?}")))
}
