//! Exports of the audit log: a line has one spelling, and an export without a finding holds only what was
//! signed, in its order.

use crate::audit_proof::{LEAVES, TRUSTED};
use chancery_audit::{Checkpoint, Leaf, Line, UnverifiedNote, verify};

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let lines: Vec<&str> = text.lines().collect();
    let mut leaves = Vec::new();
    for line in &lines {
        let Ok(read) = Line::parse(line) else { continue };
        assert_eq!(read.print().as_deref(), Ok(*line), "a line with two spellings");
        match read {
            Line::Entry(entry) => {
                if let Ok(leaf) = Leaf::parse(entry.leaf.as_bytes()) {
                    assert_eq!(leaf.as_text(), entry.leaf);
                }
                leaves.push(entry);
            }
            Line::Checkpoint(note) => {
                let _ = UnverifiedNote::parse(&note.note);
                let _ = Checkpoint::open(&note.note, &TRUSTED);
            }
            Line::Header(_) | Line::Log(_) | Line::End(_) => {}
        }
    }

    if let Ok(report) = verify(&lines, TRUSTED.clone(), &[]) {
        assert!(report.is_unwitnessed());
        assert_eq!(report.entries, leaves.len() as u64);
        for entry in &leaves {
            let index = usize::try_from(entry.index).expect("an index");
            assert_eq!(
                LEAVES.get(index),
                Some(&entry.leaf),
                "an event that never was passed"
            );
        }
    }
    // With the checkpoint that somebody kept, a log that verifies is the whole log.
    let kept = include_str!("../keys/checkpoint.txt").to_owned();
    if let Ok(report) = verify(&lines, TRUSTED.clone(), &[kept]) {
        assert_eq!(
            report.kept_confirmed + report.kept_unchecked,
            1,
            "a kept checkpoint was passed over"
        );
    }
}
