//! What a sealed record is bound to: the associated data of its encryption (design, section 8).
//!
//! The encoding is a list of fields, each preceded by its length as four bytes, big-endian: the
//! format version, the kind of record, then the kind's own fields in the order they are declared.

use crate::derive::Purpose;
use crate::field;
use crate::tenant::TenantKeyId;
use chancery_core::id::{AgentId, ConnectionId, Id as _, IssuerId, KeyId, TenantId, UserId};

/// What a record is and whose it is. A record opens only with exactly the value it was sealed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssociatedData {
    /// The credential of a connected account.
    Credential(Credential),
    /// A private key with which this server signs.
    SigningKey(SigningKey),
    /// A key that was derived from a tenant key which is no longer there.
    DerivedKey(DerivedKey),
    /// The secret with which we prove ourselves to a trusted issuer.
    IssuerSecret(IssuerSecret),
    /// The secret with which we prove ourselves to the provider of a connection.
    ConnectionSecret(ConnectionSecret),
}

impl AssociatedData {
    /// The tenant of the record.
    pub const fn tenant(&self) -> TenantId {
        match self {
            Self::Credential(credential) => credential.tenant,
            Self::SigningKey(key) => key.tenant,
            Self::DerivedKey(key) => key.tenant,
            Self::IssuerSecret(secret) => secret.tenant,
            Self::ConnectionSecret(secret) => secret.tenant,
        }
    }

    /// The bytes that are authenticated with the ciphertext.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Credential(credential) => field::join(&[
                &[VERSION],
                b"credential",
                credential.tenant.as_bytes(),
                &credential.account,
                credential.owner.kind().as_bytes(),
                credential.owner.id(),
                &credential.connection,
                &credential.destination_fingerprint,
            ]),
            Self::SigningKey(key) => field::join(&[
                &[VERSION],
                b"signing-key",
                key.tenant.as_bytes(),
                key.kid.as_bytes(),
                key.signs.label().as_bytes(),
            ]),
            Self::DerivedKey(key) => field::join(&[
                &[VERSION],
                b"derived-key",
                key.tenant.as_bytes(),
                key.purpose.label().as_bytes(),
                key.sealed_by.as_bytes(),
            ]),
            Self::IssuerSecret(secret) => field::join(&[
                &[VERSION],
                b"issuer-secret",
                secret.tenant.as_bytes(),
                secret.issuer.as_bytes(),
                &secret.destination_fingerprint,
            ]),
            Self::ConnectionSecret(secret) => field::join(&[
                &[VERSION],
                b"connection-secret",
                secret.tenant.as_bytes(),
                secret.connection.as_bytes(),
                &secret.destination_fingerprint,
            ]),
        }
    }
}

/// What the credential of a connected account is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The tenant.
    pub tenant: TenantId,
    /// The bytes of the connected account's id.
    pub account: [u8; 16],
    /// The one owner of the account.
    pub owner: Owner,
    /// The bytes of the connection's id.
    pub connection: [u8; 16],
    /// The digest of issuer, endpoints, authentication method and allowed hosts of the connection:
    /// a credential never follows a changed destination.
    pub destination_fingerprint: [u8; 32],
}

/// What the secret for a trusted issuer is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSecret {
    /// The tenant.
    pub tenant: TenantId,
    /// The issuer.
    pub issuer: IssuerId,
    /// The digest of the issuer's URL, its token endpoint where that is fixed, and our id there: the secret never
    /// follows a changed destination.
    pub destination_fingerprint: [u8; 32],
}

/// What the secret for the provider of a connection is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSecret {
    /// The tenant.
    pub tenant: TenantId,
    /// The connection.
    pub connection: ConnectionId,
    /// The digest of the provider's issuer and endpoints, our id there and how we prove it: the secret never follows a
    /// changed destination.
    pub destination_fingerprint: [u8; 32],
}

/// Who owns a connected account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A person.
    User(UserId),
    /// An agent.
    Agent(AgentId),
    /// The whole tenant.
    Tenant(TenantId),
}

impl Owner {
    const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Agent(_) => "agent",
            Self::Tenant(_) => "tenant",
        }
    }

    fn id(&self) -> &[u8; 16] {
        match self {
            Self::User(id) => id.as_bytes(),
            Self::Agent(id) => id.as_bytes(),
            Self::Tenant(id) => id.as_bytes(),
        }
    }
}

/// What a derived key that outlives its tenant key is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerivedKey {
    /// The tenant.
    pub tenant: TenantId,
    /// What it was derived for.
    pub purpose: Purpose,
    /// The tenant key that now seals it.
    pub sealed_by: TenantKeyId,
}

/// What a private signing key is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The key's id, its `kid` (RFC 7517 §4.5).
    pub kid: KeyId,
    /// The only thing that it may sign.
    pub signs: SigningUse,
}

/// What a signing key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningUse {
    /// Access tokens of the tenant.
    Token,
    /// ID tokens of the tenant.
    IdToken,
    /// Assertions of the tenant's agents to clouds.
    Federation,
    /// Checkpoints of the tenant's audit log.
    Checkpoint,
}

impl SigningUse {
    const fn label(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::IdToken => "id_token",
            Self::Federation => "federation",
            Self::Checkpoint => "checkpoint",
        }
    }
}

const VERSION: u8 = 1;
