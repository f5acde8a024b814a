//! A software authenticator of the tests' own, with the browser in front of it (WebAuthn Level 3 §6.1, §6.5): one ES256 key each,
//! and every lie that a test wants told.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// One passkey.
#[derive(Debug)]
pub(crate) struct Authenticator {
    key: EcdsaKeyPair,
    pub(crate) credential: Vec<u8>,
    pub(crate) counter: u32,
    /// What the browser says where the page is.
    pub(crate) origin: String,
    /// The relying party that the authenticator signs for.
    pub(crate) relying_party: String,
    /// User present, user verified.
    pub(crate) flags: u8,
    pub(crate) user_handle: Option<Vec<u8>>,
}

pub(crate) const PRESENT: u8 = 0x01;
pub(crate) const VERIFIED: u8 = 0x04;
const ATTESTED: u8 = 0x40;

impl Authenticator {
    pub(crate) fn new(id: u8) -> Self {
        Self {
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
            credential: vec![id; 32],
            counter: 0,
            origin: "https://id.example".to_owned(),
            relying_party: "id.example".to_owned(),
            flags: PRESENT | VERIFIED,
            user_handle: None,
        }
    }

    /// Answers `navigator.credentials.create`.
    pub(crate) fn create(&mut self, options: &Value) -> String {
        let asked = &options["publicKey"];
        assert_eq!(asked["rp"]["id"], "id.example");
        assert_eq!(asked["attestation"], "none");
        assert_eq!(asked["authenticatorSelection"]["userVerification"], "required");
        self.user_handle = Some(decoded(&asked["user"]["id"]));
        let mut data = self.data(self.flags | ATTESTED);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.credential.len()).unwrap().to_be_bytes());
        data.extend(&self.credential);
        data.extend(self.cose_key());
        let mut object = vec![0xa3];
        text(&mut object, "fmt");
        text(&mut object, "none");
        text(&mut object, "attStmt");
        object.push(0xa0);
        text(&mut object, "authData");
        bytes(&mut object, &data);
        let response = json!({
            "attestationObject": encoded(&object),
            "clientDataJSON": encoded(&self.client_data("webauthn.create", &asked["challenge"])),
        });
        self.wrapped(&response)
    }

    /// Answers `navigator.credentials.get`.
    pub(crate) fn get(&mut self, options: &Value) -> String {
        let asked = &options["publicKey"];
        assert_eq!(asked["rpId"], "id.example");
        assert_eq!(asked["userVerification"], "required");
        self.sign("webauthn.get", &asked["challenge"])
    }

    /// Signs any challenge.
    pub(crate) fn sign(&mut self, kind: &str, challenge: &Value) -> String {
        let data = self.data(self.flags);
        let client_data = self.client_data(kind, challenge);
        let message = [data.as_slice(), digest(&SHA256, &client_data).as_ref()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &message).unwrap();
        let response = json!({
            "authenticatorData": encoded(&data),
            "clientDataJSON": encoded(&client_data),
            "signature": encoded(signature.as_ref()),
            "userHandle": self.user_handle.as_ref().map(|handle| encoded(handle)),
        });
        self.wrapped(&response)
    }

    fn data(&self, flags: u8) -> Vec<u8> {
        let mut data = digest(&SHA256, self.relying_party.as_bytes()).as_ref().to_vec();
        data.push(flags);
        data.extend(self.counter.to_be_bytes());
        data
    }

    fn client_data(&self, kind: &str, challenge: &Value) -> Vec<u8> {
        let said =
            json!({ "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false });
        said.to_string().into_bytes()
    }

    fn wrapped(&self, response: &Value) -> String {
        let id = encoded(&self.credential);
        json!({ "id": id, "rawId": id, "type": "public-key", "response": response, "extensions": {} })
            .to_string()
    }

    /// RFC 9052 §7, RFC 9053 §7.1: `{1: 2, 3: -7, -1: 1, -2: x, -3: y}`.
    fn cose_key(&self) -> Vec<u8> {
        let point = self.key.public_key().as_ref();
        let mut key = vec![0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21];
        bytes(&mut key, &point[1..33]);
        key.push(0x22);
        bytes(&mut key, &point[33..65]);
        key
    }
}

/// What a form of a page asks a passkey, and the form's ticket.
pub(crate) fn asked(page: &str, action: &str) -> (Value, String) {
    let form = page
        .split(&format!("action=\"{action}\" data-passkey="))
        .nth(1)
        .unwrap_or_else(|| panic!("no form for a passkey at `{action}`: {page}"));
    let options = form
        .split("data-options=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let options = options
        .replace("&#34;", "\"")
        .replace("&quot;", "\"")
        .replace("&#38;", "&")
        .replace("&amp;", "&");
    let ticket = crate::browser::hidden(form, "ticket");
    (serde_json::from_str(&options).unwrap(), ticket)
}

fn decoded(value: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(value.as_str().unwrap()).unwrap()
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A CBOR text of fewer than 24 bytes (RFC 8949 §3.1).
fn text(into: &mut Vec<u8>, text: &str) {
    into.push(0x60 | u8::try_from(text.len()).unwrap());
    into.extend(text.as_bytes());
}

/// A CBOR byte string.
fn bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    if let Ok(length) = u8::try_from(bytes.len()) {
        into.extend([0x58, length]);
    } else {
        into.push(0x59);
        into.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
    }
    into.extend(bytes);
}
