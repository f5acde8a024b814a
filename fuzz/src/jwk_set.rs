//! Key sets from outside: what is read prints and reads back the same, and never has private material.

use chancery_oauth::jose::{Jwk, JwkSet, JwkSetLimits, KeySource as _};
use serde_json::Value;

pub fn run(input: &[u8]) {
    let limits = JwkSetLimits {
        max_bytes: 16 << 10,
        max_keys: 16,
    };
    let _ = JwkSet::parse_spiffe_bundle(input, limits);
    let Ok(set) = JwkSet::parse(input, limits) else {
        return;
    };

    let text: Value = serde_json::from_slice(input).expect("what we read is JSON");
    let entries = text["keys"].as_array().expect("a set has keys");
    assert!(set.keys().len() + set.skipped().len() <= entries.len());
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
        assert!(
            entries.iter().all(|entry| entry.get(member).is_none()),
            "a set with `{member}` was taken"
        );
    }

    let printed = serde_json::to_vec(&set).expect("prints");
    let again = JwkSet::parse(&printed, JwkSetLimits::default()).expect("what we print we read");
    assert_eq!(again.keys().len(), set.keys().len());
    assert!(again.skipped().is_empty());
    for (key, twin) in set.keys().iter().zip(again.keys()) {
        assert_eq!((key.jwk(), key.thumbprint()), (twin.jwk(), twin.thumbprint()));
        assert_eq!(Jwk::from_members(&key.jwk().to_members()).as_ref(), Ok(key.jwk()));
        for algorithm in key.jwk().algorithms() {
            if let Ok(found) = set.find(key.kid(), *algorithm) {
                assert!(found.allows(*algorithm));
                assert!(key.kid().is_none() || found.kid() == key.kid());
            }
        }
    }
}
