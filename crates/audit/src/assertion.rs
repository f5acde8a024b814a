//! What a passkey signed when its owner said yes, verified with nothing but itself (WebAuthn Level 3 §7.2, steps 10 to 21):
//! record → hash → challenge → client data → signature. Whoever keeps the log cannot make one up.
//!
//! The challenge is SHA-256 over a nonce and the hash of the record, so what was signed names what was approved.
//!
//! Says nothing about who holds the key: that is the event with which the key was registered ([`Registered`]). Counters and
//! backup flags are signals for the server, and not looked at.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery_core::approval::{self, ApprovalRecord};
use chancery_core::id::{ApprovalId, TenantId, UserId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The public key of a passkey, as a JWK (RFC 7517; RFC 8037 §2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kty", deny_unknown_fields)]
pub enum PasskeyKey {
    /// ECDSA: ES256 or ES384.
    #[serde(rename = "EC")]
    Ec {
        /// The curve.
        crv: Curve,
        /// The point's first coordinate.
        x: Bytes,
        /// Its second.
        y: Bytes,
    },
    /// RSA with PKCS #1 padding and SHA-256: RS256.
    #[serde(rename = "RSA")]
    Rsa {
        /// The modulus.
        n: Bytes,
        /// The exponent.
        e: Bytes,
    },
    /// EdDSA.
    #[serde(rename = "OKP")]
    Okp {
        /// The curve.
        crv: OkpCurve,
        /// The key.
        x: Bytes,
    },
}

/// Curves of ECDSA keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Curve {
    /// NIST P-256.
    #[serde(rename = "P-256")]
    P256,
    /// NIST P-384.
    #[serde(rename = "P-384")]
    P384,
}

/// Curves of EdDSA keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OkpCurve {
    /// Ed25519.
    Ed25519,
}

impl PasskeyKey {
    fn is_signature(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ec { crv, x, y } => {
                let point = [&[4], x.0.as_slice(), &y.0].concat();
                let algorithm = match crv {
                    Curve::P256 => &ECDSA_P256_SHA256_ASN1,
                    Curve::P384 => &ECDSA_P384_SHA384_ASN1,
                };
                UnparsedPublicKey::new(algorithm, point)
                    .verify(message, signature)
                    .is_ok()
            }
            Self::Rsa { n, e } => RsaPublicKeyComponents { n: &n.0, e: &e.0 }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            Self::Okp {
                crv: OkpCurve::Ed25519,
                x,
            } => UnparsedPublicKey::new(&ED25519, &x.0)
                .verify(message, signature)
                .is_ok(),
        }
    }
}

/// What the event of a registered passkey says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The id that the authenticator gave it.
    pub credential: Bytes,
    /// Its public key.
    pub key: PasskeyKey,
}

/// What a passkey signed with a yes, and everything that is needed to check it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// The canonical text of the record that was approved.
    pub record: String,
    /// What makes the challenge another one each time.
    pub nonce: Bytes,
    /// The relying party (`rpId`).
    pub relying_party: String,
    /// Where it was signed.
    pub origin: String,
    /// Whose passkey it is.
    pub person: UserId,
    /// The passkey.
    pub credential: Bytes,
    /// Its public key.
    pub key: PasskeyKey,
    /// What the authenticator says (WebAuthn §6.1).
    pub authenticator_data: Bytes,
    /// What the browser says (WebAuthn §5.8.1).
    pub client_data_json: Bytes,
    /// The signature over both.
    pub signature: Bytes,
}

/// What is wrong with an assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionFault {
    /// It cannot be read.
    #[error("what a passkey signed cannot be read")]
    Format,
    /// The event is of another request or of another person.
    #[error("what a passkey signed belongs to another request or person")]
    Elsewhere,
    /// It is over another challenge than the record's.
    #[error("what a passkey signed is not the record that was approved")]
    Challenge,
    /// It was made for another site, or is no assertion.
    #[error("what a passkey signed was not signed for this server")]
    Site,
    /// Nobody was there, or the person was not verified.
    #[error("the passkey did not verify its owner")]
    Verification,
    /// The signature is not the key's.
    #[error("the signature is not the passkey's")]
    Signature,
    /// The passkey was registered with another key, or by somebody else.
    #[error("the passkey was registered with another key or by another person")]
    Registration,
    /// The passkey was removed before.
    #[error("the passkey was removed before it signed this")]
    Removed,
}

impl Assertion {
    /// Reads the JSON text.
    ///
    /// # Errors
    /// [`AssertionFault::Format`].
    pub fn parse(text: &str) -> Result<Self, AssertionFault> {
        serde_json::from_str(text).map_err(|_| AssertionFault::Format)
    }

    /// Verifies it as this person's yes to this request.
    ///
    /// # Errors
    /// The first fault.
    pub fn verify(
        &self,
        (tenant, approval, person): (TenantId, ApprovalId, UserId),
    ) -> Result<(), AssertionFault> {
        let record: ApprovalRecord =
            serde_json::from_str(&self.record).map_err(|_| AssertionFault::Format)?;
        if (record.tenant, record.id, self.person) != (tenant, approval, person) {
            return Err(AssertionFault::Elsewhere);
        }
        let challenge = self.challenge()?;
        self.check_client_data(&challenge)?;
        self.check_authenticator_data()?;
        let hash = sha256(&self.client_data_json.0);
        let signed = [self.authenticator_data.0.as_slice(), &hash].concat();
        if self.key.is_signature(&signed, &self.signature.0) {
            Ok(())
        } else {
            Err(AssertionFault::Signature)
        }
    }

    /// The challenge that follows from record and nonce.
    fn challenge(&self) -> Result<[u8; 32], AssertionFault> {
        let nonce: [u8; 32] = self
            .nonce
            .0
            .as_slice()
            .try_into()
            .map_err(|_| AssertionFault::Format)?;
        let hash = sha256(&ApprovalRecord::to_hash(&self.record));
        Ok(sha256(&approval::challenge(&nonce, &hash)))
    }

    fn check_client_data(&self, challenge: &[u8; 32]) -> Result<(), AssertionFault> {
        let said: ClientData =
            serde_json::from_slice(&self.client_data_json.0).map_err(|_| AssertionFault::Format)?;
        if said.challenge != URL_SAFE_NO_PAD.encode(challenge) {
            return Err(AssertionFault::Challenge);
        }
        let is_here = said.kind == "webauthn.get"
            && said.origin == self.origin
            && !said.cross_origin
            && host(&self.origin) == Some(self.relying_party.as_str());
        if is_here {
            Ok(())
        } else {
            Err(AssertionFault::Site)
        }
    }

    fn check_authenticator_data(&self) -> Result<(), AssertionFault> {
        let data = &self.authenticator_data.0;
        let (hash, rest) = data.split_at_checked(32).ok_or(AssertionFault::Format)?;
        let (flags, rest) = rest.split_first().ok_or(AssertionFault::Format)?;
        if rest.len() < 4 {
            return Err(AssertionFault::Format);
        }
        if hash != sha256(self.relying_party.as_bytes()) {
            return Err(AssertionFault::Site);
        }
        if flags & VERIFIED == VERIFIED {
            Ok(())
        } else {
            Err(AssertionFault::Verification)
        }
    }
}

/// The members of the client data that are looked at.
#[derive(Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: bool,
}

/// Bytes, in JSON as base64url without padding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        URL_SAFE_NO_PAD
            .decode(text)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// The host of an origin, without its port.
fn host(origin: &str) -> Option<&str> {
    let (_, rest) = origin.split_once("://")?;
    rest.split(':').next()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    // INVARIANT: SHA-256 gives 32 bytes.
    digest(&SHA256, bytes).as_ref().try_into().unwrap_or([0; 32])
}

/// The person was there (UP), and was verified (UV).
const VERIFIED: u8 = 0b101;
