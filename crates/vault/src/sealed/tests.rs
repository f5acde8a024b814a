//! Properties of sealed records.

use super::*;
use crate::associated::{Credential, Owner, SigningKey, SigningUse};
use crate::derive::Purpose;
use crate::root::RootKey;
use crate::tenant::SealedTenantKey;
use chancery_core::id::{AgentId, Id as _, KeyId, TenantId, UserId};
use chancery_core::random::DangerSeededRandom;
use proptest::prelude::*;

fn tenant(byte: u8) -> TenantId {
    TenantId::from_bytes([byte; 16])
}

fn credential() -> Credential {
    Credential {
        tenant: tenant(1),
        account: [2; 16],
        owner: Owner::User(UserId::from_bytes([3; 16])),
        connection: [4; 16],
        destination_fingerprint: [5; 32],
    }
}

/// Every way to move a credential elsewhere within its tenant.
fn moved() -> Vec<AssociatedData> {
    let account = Credential {
        account: [9; 16],
        ..credential()
    };
    let owner = Credential {
        owner: Owner::User(UserId::from_bytes([9; 16])),
        ..credential()
    };
    let kind = Credential {
        owner: Owner::Agent(AgentId::from_bytes([3; 16])),
        ..credential()
    };
    let connection = Credential {
        connection: [9; 16],
        ..credential()
    };
    let destination = Credential {
        destination_fingerprint: [9; 32],
        ..credential()
    };
    let swapped = Credential {
        account: [4; 16],
        connection: [2; 16],
        ..credential()
    };
    let mut moved: Vec<_> = [account, owner, kind, connection, destination, swapped]
        .into_iter()
        .map(AssociatedData::Credential)
        .collect();
    moved.push(AssociatedData::SigningKey(SigningKey {
        tenant: tenant(1),
        kid: KeyId::from_bytes([2; 16]),
        signs: SigningUse::Token,
    }));
    moved
}

fn key(tenant_byte: u8, seed: u64) -> TenantKey {
    TenantKey::generate(tenant(tenant_byte), &DangerSeededRandom::new(seed)).unwrap()
}

fn seal_bytes(plaintext: &[u8], seed: u64) -> Sealed {
    let associated = AssociatedData::Credential(credential());
    let plaintext = Secret::new(plaintext.to_vec());
    seal(
        &key(1, 1),
        &associated,
        &plaintext,
        &DangerSeededRandom::new(seed),
    )
    .unwrap()
}

proptest! {
    #[test]
    fn what_was_sealed_opens(plaintext: Vec<u8>, seed: u64) {
        let sealed = seal_bytes(&plaintext, seed);
        let bytes = sealed.to_bytes();
        prop_assert_eq!(bytes.len(), plaintext.len() + 97);
        let read = Sealed::parse(&bytes).unwrap();
        prop_assert_eq!(&read, &sealed);
        let opened = open(&key(1, 1), &AssociatedData::Credential(credential()), &read).unwrap();
        prop_assert_eq!(opened.expose_secret(), &plaintext);
    }

    #[test]
    fn any_flipped_bit_is_refused(plaintext: Vec<u8>, seed: u64, bit: prop::sample::Index) {
        let mut bytes = seal_bytes(&plaintext, seed).to_bytes();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let associated = AssociatedData::Credential(credential());
        let opened = Sealed::parse(&bytes).and_then(|sealed| open(&key(1, 1), &associated, &sealed));
        prop_assert!(opened.is_err());
    }

    #[test]
    fn rewrapped_record_opens_to_the_same(plaintext: Vec<u8>, seed: u64) {
        let sealed = seal_bytes(&plaintext, seed);
        let new = key(1, 2);
        let rewrapped = rewrap(&key(1, 1), &new, &sealed, &DangerSeededRandom::new(seed ^ 1)).unwrap();
        prop_assert_eq!(&rewrapped.ciphertext, &sealed.ciphertext);
        let associated = AssociatedData::Credential(credential());
        let opened = open(&new, &associated, &rewrapped).unwrap();
        prop_assert_eq!(opened.expose_secret(), &plaintext);
        prop_assert_eq!(open(&key(1, 1), &associated, &rewrapped).err(), Some(VaultError::WrongTenantKey));
    }

    #[test]
    fn arbitrary_bytes_never_open(bytes: Vec<u8>) {
        let associated = AssociatedData::Credential(credential());
        let opened = Sealed::parse(&bytes).and_then(|sealed| open(&key(1, 1), &associated, &sealed));
        prop_assert!(opened.is_err());
    }
}

#[test]
fn every_bit_of_one_record_counts() {
    let bytes = seal_bytes(b"refresh token", 7).to_bytes();
    let associated = AssociatedData::Credential(credential());
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let opened = Sealed::parse(&changed).and_then(|sealed| open(&key(1, 1), &associated, &sealed));
        assert!(opened.is_err(), "bit {bit}");
    }
}

#[test]
fn moved_record_is_refused() {
    let sealed = seal_bytes(b"refresh token", 7);
    for associated in moved() {
        let opened = open(&key(1, 1), &associated, &sealed).err();
        assert_eq!(opened, Some(VaultError::NotAuthentic), "{associated:?}");
    }
}

#[test]
fn another_tenant_is_refused() {
    let sealed = seal_bytes(b"refresh token", 7);
    let associated = AssociatedData::Credential(credential());
    let elsewhere = AssociatedData::Credential(Credential {
        tenant: tenant(2),
        ..credential()
    });
    assert_eq!(
        open(&key(2, 1), &associated, &sealed).err(),
        Some(VaultError::OtherTenant)
    );
    assert_eq!(
        open(&key(1, 1), &elsewhere, &sealed).err(),
        Some(VaultError::OtherTenant)
    );
    // The same key bytes recorded for two tenants still do not make the record portable.
    assert_eq!(
        open(&key(2, 1), &elsewhere, &sealed).err(),
        Some(VaultError::NotAuthentic)
    );
    let random = DangerSeededRandom::new(1);
    assert_eq!(
        rewrap(&key(1, 1), &key(2, 1), &sealed, &random),
        Err(VaultError::OtherTenant)
    );
}

#[test]
fn swapped_wrapped_keys_are_refused() {
    let (one, two) = (seal_bytes(b"one", 1), seal_bytes(b"two", 2));
    let mixed = Sealed {
        wrapped: two.wrapped,
        ..one
    };
    let associated = AssociatedData::Credential(credential());
    assert_eq!(
        open(&key(1, 1), &associated, &mixed).err(),
        Some(VaultError::NotAuthentic)
    );
}

#[test]
fn signing_key_is_bound_to_its_use() {
    let binding = |signs| {
        AssociatedData::SigningKey(SigningKey {
            tenant: tenant(1),
            kid: KeyId::from_bytes([1; 16]),
            signs,
        })
    };
    let plaintext = Secret::new(b"pkcs8".to_vec());
    let random = DangerSeededRandom::new(1);
    let sealed = seal(&key(1, 1), &binding(SigningUse::Token), &plaintext, &random).unwrap();
    assert!(open(&key(1, 1), &binding(SigningUse::Token), &sealed).is_ok());
    assert!(open(&key(1, 1), &binding(SigningUse::Checkpoint), &sealed).is_err());
}

#[test]
fn sealing_twice_gives_different_bytes() {
    let (one, two) = (seal_bytes(b"same", 1), seal_bytes(b"same", 2));
    assert_ne!(one.ciphertext, two.ciphertext);
    assert_ne!(one.wrapped, two.wrapped);
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
        .collect()
}

/// Bytes that another implementation of the documented format made, with Python's `cryptography`:
/// the format is stored for years and must not change unnoticed.
#[test]
fn stored_format_is_stable() {
    let root = RootKey::from_bytes(&[7; 32]).unwrap();
    let tenant_key = SealedTenantKey::parse(&from_hex(TENANT_KEY)).unwrap();
    let key = TenantKey::open(tenant(1), &tenant_key, &root).unwrap();
    let sealed = Sealed::parse(&from_hex(RECORD)).unwrap();
    let opened = open(&key, &AssociatedData::Credential(credential()), &sealed).unwrap();
    assert_eq!(opened.expose_secret(), b"refresh token");
    let derived = key.derive(Purpose::EventMac, b"ctx").unwrap();
    assert_eq!(derived.expose_secret().as_slice(), from_hex(EVENT_MAC));
}

const TENANT_KEY: &str = concat!(
    "016badd214adaab9040c0c0c0c0c0c0c0c0c0c0c0cd99720d383b0d91ad98d6f5a3e89d99cd0a77fd1381be57e",
    "4593b2a24dc6575269b1896460ecbdfe6400e3b5b3fe95d5",
);
const RECORD: &str = concat!(
    "0186c7c2d5b5edd9320a0a0a0a0a0a0a0a0a0a0a0a1c2c56622b365fa3c81cb20f764477f57805cc411719774f",
    "ce6deb04aa252c5a2bba99c54b573a70c3256025dc8e06970b0b0b0b0b0b0b0b0b0b0b0b8d8ce04e9223f0e530",
    "d590ce75272ea6ea57332b18701e9832e1a8fd98",
);
const EVENT_MAC: &str = "becea57b45081564c0c42cbd622d341e7d777c6e40883c836dcf54042b34a9ae";
