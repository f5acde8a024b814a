//! The relying party's side of WebAuthn (Level 3 §7.1, §7.2), by webauthn-rs: this file alone imports it, so that it can be
//! replaced. It brings a crypto stack of its own, which verifies signatures of passkeys and nothing else.
//!
//! Challenges are ours: they are put in place of the library's, whose state is never kept. Nothing here is about who may do
//! what; attestation is not asked for, and counters are a signal (§6.1.1) that the caller is told.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery_audit::assertion::{Bytes, Curve, PasskeyKey};
use chancery_core::id::{Id as _, UserId};
use serde_json::{Value, json};
use std::time::Duration;
use webauthn_rs::prelude::{
    COSEKeyType, ECDSACurve, Passkey, PasskeyAuthentication, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, Url, Uuid, Webauthn, WebauthnBuilder,
};

/// A tenant's base URL as the place where passkeys are used.
#[derive(Clone, Debug)]
pub struct RelyingParty {
    webauthn: Webauthn,
    /// The relying party's id: the host.
    pub id: String,
    /// The origin.
    pub origin: String,
}

/// Why a passkey's answer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebauthnError {
    /// It is longer than any answer.
    #[error("the answer is too long")]
    TooLong,
    /// It cannot be read.
    #[error("the answer cannot be read")]
    Malformed,
    /// A rule of WebAuthn does not hold: challenge, origin, relying party, presence, verification, signature.
    #[error("the answer is not acceptable here")]
    Refused,
    /// The algorithm is none of those that were asked for.
    #[error("passkeys of this kind are not taken")]
    Algorithm,
    /// What is stored of the passkey cannot be read.
    #[error("a stored passkey cannot be read")]
    Stored,
}

/// A passkey that was registered.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The id that the authenticator gave it.
    pub credential: Vec<u8>,
    /// Its public key.
    pub key: PasskeyKey,
    /// What is kept of it.
    pub content: String,
    /// Whether it may be on several devices.
    pub is_synced: bool,
}

/// An answer that holds.
#[derive(Clone, Debug)]
pub struct Verified {
    /// What is kept of the passkey from now on.
    pub content: String,
    /// Its public key.
    pub key: PasskeyKey,
    /// Whether the authenticator's counter went back: there may be a copy of it.
    pub went_back: bool,
    /// Whether the passkey may be on several devices.
    pub is_synced: bool,
    /// What the authenticator says.
    pub authenticator_data: Vec<u8>,
    /// What the browser says.
    pub client_data_json: Vec<u8>,
    /// The signature over both.
    pub signature: Vec<u8>,
}

impl RelyingParty {
    /// The relying party of a base URL. A host that is an address is none (WebAuthn §5.1.3).
    pub fn of(base_url: &str) -> Option<Self> {
        let origin = Url::parse(base_url).ok()?;
        let id = origin.domain()?.to_owned();
        let webauthn = WebauthnBuilder::new(&id, &origin)
            .ok()?
            .rp_name("Chancery")
            .timeout(Duration::from_mins(5))
            .build()
            .ok()?;
        Some(Self {
            webauthn,
            id,
            origin: origin.origin().ascii_serialization(),
        })
    }

    /// What the browser is asked to register a passkey with, as JSON.
    ///
    /// # Errors
    /// [`WebauthnError::Stored`].
    pub fn creation(
        &self,
        (person, name): (UserId, &str),
        known: &[Vec<u8>],
        challenge: &[u8; 32],
    ) -> Result<Value, WebauthnError> {
        let begun = self.begin(person, name, known)?;
        let mut options = serde_json::to_value(begun.0).map_err(|_| WebauthnError::Stored)?;
        let options = options
            .get_mut("publicKey")
            .and_then(Value::as_object_mut)
            .ok_or(WebauthnError::Stored)?;
        options.insert("challenge".to_owned(), encoded(challenge));
        let kept = options.get("pubKeyCredParams").and_then(Value::as_array);
        let kept = kept.into_iter().flatten().filter(|parameters| {
            let algorithm = parameters.get("alg").and_then(Value::as_i64);
            algorithm.is_some_and(|algorithm| ALGORITHMS.contains(&algorithm))
        });
        let kept: Vec<Value> = kept.cloned().collect();
        options.insert("pubKeyCredParams".to_owned(), Value::from(kept));
        // Signing in without a name needs a passkey that the authenticator finds by itself.
        let selection = json!({
            "residentKey": "preferred", "requireResidentKey": false, "userVerification": "required",
        });
        options.insert("authenticatorSelection".to_owned(), selection);
        options.remove("extensions");
        Ok(json!({ "publicKey": options }))
    }

    /// Verifies the answer to [`Self::creation`].
    ///
    /// # Errors
    /// [`WebauthnError`].
    pub fn register(
        &self,
        (person, name): (UserId, &str),
        known: &[Vec<u8>],
        challenge: &[u8; 32],
        answer: &str,
    ) -> Result<Registered, WebauthnError> {
        let answer: RegisterPublicKeyCredential = parse(answer)?;
        let begun = self.begin(person, name, known)?;
        let mut state = serde_json::to_value(begun.1).map_err(|_| WebauthnError::Stored)?;
        *state.pointer_mut("/rs/challenge").ok_or(WebauthnError::Stored)? = encoded(challenge);
        let state: PasskeyRegistration = serde_json::from_value(state).map_err(|_| WebauthnError::Stored)?;
        let passkey = self
            .webauthn
            .finish_passkey_registration(&answer, &state)
            .map_err(|error| refused(&error))?;
        if passkey.cred_id().len() > MAX_CREDENTIAL
            || passkey.cred_id().as_slice() != answer.raw_id.as_slice()
        {
            return Err(WebauthnError::Refused);
        }
        let content = serde_json::to_value(&passkey).map_err(|_| WebauthnError::Stored)?;
        let is_synced = content.pointer("/cred/backup_eligible") == Some(&Value::Bool(true));
        Ok(Registered {
            credential: passkey.cred_id().clone(),
            key: key(&passkey)?,
            content: content.to_string(),
            is_synced,
        })
    }

    /// What the browser is asked to sign with: one of these passkeys, or with none named any that it finds.
    ///
    /// # Errors
    /// [`WebauthnError::Stored`].
    pub fn request(&self, contents: &[&str], challenge: &[u8; 32]) -> Result<Value, WebauthnError> {
        let passkeys = contents.iter().map(|content| read(content));
        let passkeys = passkeys.collect::<Result<Vec<_>, _>>()?;
        let begun = self.webauthn.start_passkey_authentication(&passkeys);
        let (options, _) = begun.map_err(|error| refused(&error))?;
        let mut options = serde_json::to_value(options).map_err(|_| WebauthnError::Stored)?;
        *options
            .pointer_mut("/publicKey/challenge")
            .ok_or(WebauthnError::Stored)? = encoded(challenge);
        Ok(options)
    }

    /// Verifies the answer to [`Self::request`] by this passkey of this person.
    ///
    /// # Errors
    /// [`WebauthnError`].
    pub fn verify(
        &self,
        (person, content): (UserId, &str),
        challenge: &[u8; 32],
        answer: &str,
    ) -> Result<Verified, WebauthnError> {
        let answer: PublicKeyCredential = parse(answer)?;
        // WebAuthn §7.2 step 6: the user handle is the owner of the passkey.
        let is_owner = answer
            .get_user_unique_id()
            .is_none_or(|handle| handle == person.as_bytes());
        if !is_owner {
            return Err(WebauthnError::Refused);
        }
        let mut stored: Value = serde_json::from_str(content).map_err(|_| WebauthnError::Stored)?;
        let counter = stored.pointer_mut("/cred/counter").ok_or(WebauthnError::Stored)?;
        let before = counter.as_u64().ok_or(WebauthnError::Stored)?;
        // A counter that goes back is told, and not refused: synced passkeys have none to speak of.
        *counter = Value::from(0);
        let mut passkey: Passkey = serde_json::from_value(stored).map_err(|_| WebauthnError::Stored)?;

        let begun = self.webauthn.start_passkey_authentication(&[passkey.clone()]);
        let (_, state) = begun.map_err(|error| refused(&error))?;
        let mut state = serde_json::to_value(state).map_err(|_| WebauthnError::Stored)?;
        *state.pointer_mut("/ast/challenge").ok_or(WebauthnError::Stored)? = encoded(challenge);
        let state: PasskeyAuthentication =
            serde_json::from_value(state).map_err(|_| WebauthnError::Stored)?;
        let result = self
            .webauthn
            .finish_passkey_authentication(&answer, &state)
            .map_err(|error| refused(&error))?;
        if !result.user_verified() {
            return Err(WebauthnError::Refused);
        }

        let after = u64::from(result.counter());
        passkey.update_credential(&result);
        let mut kept = serde_json::to_value(&passkey).map_err(|_| WebauthnError::Stored)?;
        *kept.pointer_mut("/cred/counter").ok_or(WebauthnError::Stored)? = Value::from(before.max(after));
        Ok(Verified {
            content: kept.to_string(),
            key: key(&passkey)?,
            went_back: before > 0 && after <= before,
            is_synced: result.backup_eligible(),
            authenticator_data: answer.response.authenticator_data,
            client_data_json: answer.response.client_data_json,
            signature: answer.response.signature,
        })
    }

    fn begin(
        &self,
        person: UserId,
        name: &str,
        known: &[Vec<u8>],
    ) -> Result<
        (
            webauthn_rs::prelude::CreationChallengeResponse,
            PasskeyRegistration,
        ),
        WebauthnError,
    > {
        let handle = Uuid::from_bytes(*person.as_bytes());
        let known = known.to_vec();
        self.webauthn
            .start_passkey_registration(handle, name, name, Some(known))
            .map_err(|error| refused(&error))
    }
}

/// The id of the passkey that an answer names.
///
/// # Errors
/// [`WebauthnError::TooLong`], [`WebauthnError::Malformed`].
pub fn credential_of(answer: &str) -> Result<Vec<u8>, WebauthnError> {
    let answer: PublicKeyCredential = parse(answer)?;
    Ok(answer.raw_id)
}

fn parse<T: serde::de::DeserializeOwned>(answer: &str) -> Result<T, WebauthnError> {
    if answer.len() > MAX_ANSWER {
        return Err(WebauthnError::TooLong);
    }
    serde_json::from_str(answer).map_err(|_| WebauthnError::Malformed)
}

fn read(content: &str) -> Result<Passkey, WebauthnError> {
    serde_json::from_str(content).map_err(|_| WebauthnError::Stored)
}

fn key(passkey: &Passkey) -> Result<PasskeyKey, WebauthnError> {
    match &passkey.get_public_key().key {
        COSEKeyType::EC_EC2(point) => Ok(PasskeyKey::Ec {
            crv: match point.curve {
                ECDSACurve::SECP256R1 => Curve::P256,
                ECDSACurve::SECP384R1 => Curve::P384,
                ECDSACurve::SECP521R1 => return Err(WebauthnError::Algorithm),
            },
            x: Bytes(point.x.clone()),
            y: Bytes(point.y.clone()),
        }),
        COSEKeyType::RSA(key) => Ok(PasskeyKey::Rsa {
            n: Bytes(key.n.clone()),
            e: Bytes(key.e.to_vec()),
        }),
        // The library does not verify signatures of these.
        COSEKeyType::EC_OKP(_) => Err(WebauthnError::Algorithm),
    }
}

fn refused(error: &webauthn_rs::prelude::WebauthnError) -> WebauthnError {
    tracing::info!(%error, "what a passkey answered is refused");
    WebauthnError::Refused
}

fn encoded(bytes: &[u8]) -> Value {
    Value::from(URL_SAFE_NO_PAD.encode(bytes))
}

/// ES256, ES384 and RS256 (COSE algorithms, RFC 9053 §2.1, RFC 8812 §2).
const ALGORITHMS: &[i64] = &[-7, -35, -257];
/// The longest answer of a passkey, as JSON.
const MAX_ANSWER: usize = 16 << 10;
/// The longest id of a passkey (WebAuthn §4).
const MAX_CREDENTIAL: usize = 1_023;
