//! Passkeys that a log registered, what they signed later in it, and when they were removed. A passkey is remembered by the
//! digest of its credential id, with its owner and the digest of its key.

use crate::assertion::{Assertion, AssertionFault, Bytes, PasskeyKey, Registered};
use crate::commitment::{PartRecord, PartState};
use crate::leaf::Leaf;
use aws_lc_rs::digest::{SHA256, digest};
use chancery_core::event::EventKind;
use chancery_core::id::UserId;
use std::collections::BTreeMap;

/// What was registered so far.
#[derive(Debug, Default)]
pub(crate) struct Passkeys(BTreeMap<Vec<u8>, Known>);

/// A passkey that was registered.
#[derive(Debug)]
struct Known {
    owner: UserId,
    key: Vec<u8>,
    /// What the log calls it.
    id: Option<String>,
    is_removed: bool,
}

impl Passkeys {
    /// Looks at one event. Of a yes that a passkey signed: whether the passkey was registered in this log.
    pub(crate) fn look(&mut self, leaf: &Leaf, parts: &[PartRecord]) -> Result<Option<bool>, AssertionFault> {
        let content = leaf.content();
        let id = |role: &str| {
            content
                .ids
                .iter()
                .find(|(name, _)| name == role)
                .map(|(_, id)| id)
        };
        let actor = || id("actor").and_then(|id| id.parse::<UserId>().ok());
        if content.kind == EventKind::PasskeyAdded.to_string() {
            if let (Some(text), Some(person)) = (present(parts, REGISTERED), actor()) {
                let passkey: Registered = serde_json::from_str(text).map_err(|_| AssertionFault::Format)?;
                let (credential, key) = names(&passkey.credential, &passkey.key);
                let known = Known {
                    owner: person,
                    key,
                    id: id("passkey").cloned(),
                    is_removed: false,
                };
                self.0.insert(credential, known);
            }
            return Ok(None);
        }
        if content.kind == EventKind::PasskeyRemoved.to_string() {
            // The log is in the order in which things were done: whatever it signs from here on is too late.
            let gone = id("passkey");
            for known in self.0.values_mut() {
                known.is_removed |= gone.is_some() && known.id.as_ref() == gone;
            }
            return Ok(None);
        }
        let is_yes = content.kind == EventKind::ApprovalGiven.to_string();
        let Some(text) = present(parts, ASSERTION).filter(|_| is_yes) else {
            return Ok(None);
        };
        let assertion = Assertion::parse(text)?;
        let approval = id("approval").and_then(|id| id.parse().ok());
        let (Some(approval), Some(person)) = (approval, actor()) else {
            return Err(AssertionFault::Elsewhere);
        };
        assertion.verify((content.tenant, approval, person))?;
        let (credential, key) = names(&assertion.credential, &assertion.key);
        match self.0.get(&credential) {
            Some(known) if known.is_removed => Err(AssertionFault::Removed),
            Some(known) if (known.owner, &known.key) == (person, &key) => Ok(Some(true)),
            Some(_) => Err(AssertionFault::Registration),
            None => Ok(Some(false)),
        }
    }
}

/// The content of a part that is there.
fn present<'a>(parts: &'a [PartRecord], name: &str) -> Option<&'a str> {
    let part = parts.iter().find(|part| part.name == name)?;
    match &part.state {
        PartState::Present { content, .. } => Some(content),
        PartState::Erased { .. } => None,
    }
}

fn names(credential: &Bytes, key: &PasskeyKey) -> (Vec<u8>, Vec<u8>) {
    let key = serde_json::to_vec(key).unwrap_or_default();
    let hash = |bytes: &[u8]| digest(&SHA256, bytes).as_ref().to_vec();
    (hash(&credential.0), hash(&key))
}

/// The part of a registration, and that of a yes.
const REGISTERED: &str = "passkey";
const ASSERTION: &str = "assertion";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assertion::{Curve, OkpCurve};
    use crate::leaf::LeafContent;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    };
    use chancery_core::approval::{self, ApprovalKind, ApprovalRecord, Asked, Basis, Party, Requirement};
    use chancery_core::event::{EventOutcome, Part, PartClass};
    use chancery_core::id::{AgentId, ApprovalId, ClientId, EventId, Id as _, TenantId};
    use chancery_core::lineage::Lineage;
    use chancery_core::random::DangerSeededRandom;
    use chancery_core::resource::Sensitivity;
    use chancery_core::scope::Authority;
    use chancery_core::time::{Timestamp, Ttl};
    use serde_json::{Value, json};
    use std::collections::BTreeSet;

    fn tenant() -> TenantId {
        TenantId::from_bytes([2; 16])
    }

    /// A passkey of any kind.
    enum Signer {
        P256(EcdsaKeyPair),
        Ed25519(Ed25519KeyPair),
        Rsa(RsaKeyPair),
    }

    impl Signer {
        fn p256() -> Self {
            Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
        }

        fn key(&self) -> PasskeyKey {
            match self {
                Self::P256(key) => {
                    let point = key.public_key().as_ref();
                    PasskeyKey::Ec {
                        crv: Curve::P256,
                        x: Bytes(point[1..33].to_vec()),
                        y: Bytes(point[33..].to_vec()),
                    }
                }
                Self::Ed25519(key) => PasskeyKey::Okp {
                    crv: OkpCurve::Ed25519,
                    x: Bytes(key.public_key().as_ref().to_vec()),
                },
                // PKCS #1: the modulus of 256 bytes, then the exponent 65537 as `02 03 01 00 01`.
                Self::Rsa(key) => {
                    let der = key.public_key().as_ref();
                    let end = der.len() - 5;
                    PasskeyKey::Rsa {
                        n: Bytes(der[end - 256..end].to_vec()),
                        e: Bytes(der[end + 2..].to_vec()),
                    }
                }
            }
        }

        fn sign(&self, message: &[u8]) -> Vec<u8> {
            let random = SystemRandom::new();
            match self {
                Self::P256(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
                Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
                Self::Rsa(key) => {
                    let mut signature = vec![0; key.public_modulus_len()];
                    key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                        .unwrap();
                    signature
                }
            }
        }
    }

    fn sha256(bytes: &[u8]) -> Vec<u8> {
        digest(&SHA256, bytes).as_ref().to_vec()
    }

    fn person(id: u8) -> UserId {
        UserId::from_bytes([id; 16])
    }

    fn record() -> String {
        let party = || "planner".parse().unwrap();
        let record = ApprovalRecord {
            version: 1,
            id: ApprovalId::from_bytes([1; 16]),
            tenant: tenant(),
            subject: Asked {
                kind: ApprovalKind::Token,
                agent: Party {
                    id: AgentId::from_bytes([3; 16]),
                    name: party(),
                },
                owner: None,
                client: Party {
                    id: ClientId::from_bytes([4; 16]),
                    name: party(),
                },
                user: None,
                chain: Vec::new(),
                action: "issue_token".to_owned(),
                grant_type: None,
                resource: None,
                resource_owner: None,
                hand_over_to: None,
                connection: None,
                call: None,
                scopes: Authority::parse("notes:delete").unwrap(),
                authorization_details: chancery_core::authorization_details::AuthorizationDetails::default(),
                sensitivity: Sensitivity::Sensitive,
                lifetime: Ttl::from_minutes(1),
                says: None,
            },
            basis: Basis::Itself,
            lineage: Lineage::default(),
            requirement: Requirement {
                count: 1,
                methods: BTreeSet::new(),
            },
            policy_set: "x".to_owned(),
            requested_at: Timestamp::from_seconds(1),
            expires_at: Timestamp::from_seconds(2),
            nonce: "n".to_owned(),
        };
        record.to_text().unwrap()
    }

    fn signed(signer: &Signer, record: &str, flags: u8, said: impl Fn(&mut Value)) -> Assertion {
        let nonce = [9; 32];
        let hash: [u8; 32] = sha256(&ApprovalRecord::to_hash(record)).try_into().unwrap();
        let challenge = sha256(&approval::challenge(&nonce, &hash));
        let mut client_data = json!({
            "type": "webauthn.get", "challenge": Bytes(challenge), "origin": "https://id.example:8443", "crossOrigin": false,
        });
        said(&mut client_data);
        let client_data = client_data.to_string().into_bytes();
        let mut data = sha256(b"id.example");
        data.push(flags);
        data.extend([0, 0, 0, 1]);
        let signature = signer.sign(&[data.as_slice(), &sha256(&client_data)].concat());
        Assertion {
            record: record.to_owned(),
            nonce: Bytes(nonce.to_vec()),
            relying_party: "id.example".to_owned(),
            origin: "https://id.example:8443".to_owned(),
            person: person(5),
            credential: Bytes(vec![7; 32]),
            key: signer.key(),
            authenticator_data: Bytes(data),
            client_data_json: Bytes(client_data),
            signature: Bytes(signature),
        }
    }

    fn good(signer: &Signer) -> Assertion {
        signed(signer, &record(), 0b101, |_| {})
    }

    fn checked(assertion: &Assertion) -> Result<(), AssertionFault> {
        assertion.verify((tenant(), ApprovalId::from_bytes([1; 16]), person(5)))
    }

    #[test]
    fn an_assertion_holds_for_its_record_person_and_key() {
        for signer in [
            Signer::p256(),
            Signer::Ed25519(Ed25519KeyPair::generate().unwrap()),
            Signer::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        ] {
            let assertion = good(&signer);
            assert_eq!(checked(&assertion), Ok(()));
            let text = serde_json::to_string(&assertion).unwrap();
            assert_eq!(Assertion::parse(&text), Ok(assertion.clone()));
            let elsewhere = |tenant, approval, id| assertion.verify((tenant, approval, person(id)));
            let approval = ApprovalId::from_bytes([1; 16]);
            let other = ApprovalId::from_bytes([2; 16]);
            for wrong in [
                elsewhere(tenant(), other, 5),
                elsewhere(tenant(), approval, 6),
                elsewhere(TenantId::from_bytes([3; 16]), approval, 5),
            ] {
                assert_eq!(wrong, Err(AssertionFault::Elsewhere));
            }
            let mut stranger = assertion.clone();
            stranger.key = Signer::p256().key();
            assert_eq!(checked(&stranger), Err(AssertionFault::Signature));
        }
    }

    #[test]
    fn what_a_browser_or_authenticator_should_not_say_is_refused() {
        let signer = Signer::p256();
        let said = |flags, change: &dyn Fn(&mut Value)| checked(&signed(&signer, &record(), flags, change));
        assert_eq!(said(0b001, &|_| {}), Err(AssertionFault::Verification));
        assert_eq!(said(0b100, &|_| {}), Err(AssertionFault::Verification));
        for (member, value, fault) in [
            ("type", json!("webauthn.create"), AssertionFault::Site),
            ("origin", json!("https://evil.example"), AssertionFault::Site),
            ("crossOrigin", json!(true), AssertionFault::Site),
            ("challenge", json!("AAAA"), AssertionFault::Challenge),
            ("challenge", json!(7), AssertionFault::Format),
        ] {
            assert_eq!(
                said(0b101, &|data| data[member] = value.clone()),
                Err(fault),
                "{member}"
            );
        }
        let mut elsewhere = good(&signer);
        elsewhere.relying_party = "example".to_owned();
        assert_eq!(checked(&elsewhere), Err(AssertionFault::Site));
    }

    #[test]
    fn an_assertion_for_one_record_is_none_for_another() {
        let mut moved = good(&Signer::p256());
        moved.record = moved.record.replace("delete", "remove");
        assert_eq!(checked(&moved), Err(AssertionFault::Challenge));
    }

    #[test]
    fn every_changed_byte_of_an_assertion_is_found() {
        let assertion = good(&Signer::p256());
        let fields: [fn(&mut Assertion) -> &mut Vec<u8>; 4] = [
            |assertion| &mut assertion.nonce.0,
            |assertion| &mut assertion.authenticator_data.0,
            |assertion| &mut assertion.client_data_json.0,
            |assertion| &mut assertion.signature.0,
        ];
        for field in fields {
            let length = field(&mut assertion.clone()).len();
            for place in 0..length {
                let mut changed = assertion.clone();
                field(&mut changed)[place] ^= 1;
                assert!(checked(&changed).is_err(), "byte {place} of {length}");
            }
        }
        for junk in ["", "{}", "[]", "null"] {
            assert_eq!(Assertion::parse(junk), Err(AssertionFault::Format));
        }
    }

    /// An event about the passkey that the log calls `pky_1`.
    fn event(kind: EventKind, person: UserId, part: (&'static str, String)) -> (Leaf, Vec<PartRecord>) {
        event_of("pky_1", kind, person, part)
    }

    fn event_of(
        passkey: &str,
        kind: EventKind,
        person: UserId,
        part: (&'static str, String),
    ) -> (Leaf, Vec<PartRecord>) {
        let part = Part {
            name: part.0,
            class: PartClass::Personal,
            content: part.1,
        };
        let part = PartRecord::new(&part, &DangerSeededRandom::new(1));
        let leaf = Leaf::new(LeafContent {
            tenant: tenant(),
            generation: 1,
            time: Timestamp::from_seconds(1),
            event: EventId::from_bytes([8; 16]),
            kind: kind.to_string(),
            outcome: EventOutcome::Ok,
            ids: vec![
                ("actor".to_owned(), person.to_string()),
                ("approval".to_owned(), ApprovalId::from_bytes([1; 16]).to_string()),
                ("passkey".to_owned(), passkey.to_owned()),
            ],
            commitments: vec![(part.name.clone(), part.commitment().unwrap())],
        });
        (leaf.unwrap(), vec![part])
    }

    #[test]
    fn an_assertion_by_another_key_than_was_registered_is_found() {
        let signer = Signer::p256();
        let assertion = serde_json::to_string(&good(&signer)).unwrap();
        let (yes, yes_parts) = event(EventKind::ApprovalGiven, person(5), (ASSERTION, assertion));
        let registered = |key: PasskeyKey, owner| {
            let content = Registered {
                credential: Bytes(vec![7; 32]),
                key,
            };
            let text = serde_json::to_string(&content).unwrap();
            event(EventKind::PasskeyAdded, owner, (REGISTERED, text))
        };
        let look = |(leaf, parts): (Leaf, Vec<PartRecord>)| {
            let mut passkeys = Passkeys::default();
            assert_eq!(passkeys.look(&leaf, &parts), Ok(None));
            passkeys.look(&yes, &yes_parts)
        };
        assert_eq!(look(registered(signer.key(), person(5))), Ok(Some(true)));
        let other = registered(Signer::p256().key(), person(5));
        assert_eq!(look(other), Err(AssertionFault::Registration));
        assert_eq!(
            look(registered(signer.key(), person(6))),
            Err(AssertionFault::Registration)
        );
        assert_eq!(Passkeys::default().look(&yes, &yes_parts), Ok(Some(false)));
    }

    #[test]
    fn a_yes_that_a_removed_passkey_signed_is_found() {
        let signer = Signer::p256();
        let assertion = serde_json::to_string(&good(&signer)).unwrap();
        let yes = event(EventKind::ApprovalGiven, person(5), (ASSERTION, assertion));
        let registered = Registered {
            credential: Bytes(vec![7; 32]),
            key: signer.key(),
        };
        let text = serde_json::to_string(&registered).unwrap();
        let added = event(EventKind::PasskeyAdded, person(5), (REGISTERED, text));
        let removed = |passkey| {
            let note = ("note", String::new());
            // Whoever removed it: an administrator may.
            event_of(passkey, EventKind::PasskeyRemoved, person(9), note)
        };
        let last = |events: &[&(Leaf, Vec<PartRecord>)]| {
            let mut passkeys = Passkeys::default();
            let looked = events.iter().map(|(leaf, parts)| passkeys.look(leaf, parts));
            looked.last().unwrap()
        };
        let (gone, other) = (removed("pky_1"), removed("pky_2"));
        assert_eq!(last(&[&added, &yes, &gone]), Ok(None), "before its end it holds");
        assert_eq!(last(&[&added, &gone, &yes]), Err(AssertionFault::Removed));
        assert_eq!(
            last(&[&added, &other, &yes]),
            Ok(Some(true)),
            "another was removed"
        );
        assert_eq!(last(&[&added, &gone, &added, &yes]), Ok(Some(true)), "it is back");
    }
}
