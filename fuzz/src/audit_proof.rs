//! Proofs of one event: only events of the log that was signed are proved, and a proof has one spelling.

use chancery_audit::{ProofBundle, VerifierKey};
use std::sync::LazyLock;

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(bundle) = ProofBundle::parse(text) else {
        return;
    };
    assert_eq!(
        bundle.to_json().as_deref(),
        Ok(text),
        "a proof with two spellings"
    );
    if let Ok(proven) = bundle.verify(&TRUSTED) {
        assert!(
            LEAVES.contains(&proven.leaf.as_text().to_owned()),
            "an event that never was: {text}"
        );
        assert_eq!(proven.leaf.as_text(), bundle.leaf);
        assert!(proven.index < proven.checkpoint.size);
    }
}

/// The public key of the log of the seeds.
pub(crate) static TRUSTED: LazyLock<Vec<VerifierKey>> = LazyLock::new(|| {
    vec![
        include_str!("../keys/log.txt")
            .trim()
            .parse()
            .expect("our own key"),
    ]
});

/// Every event of that log, one leaf a line.
pub(crate) static LEAVES: LazyLock<Vec<String>> = LazyLock::new(|| {
    include_str!("../keys/leaves.txt")
        .lines()
        .map(str::to_owned)
        .collect()
});
