//! Offline verification: what it reports of an honest log, and that every manipulation is found and
//! named.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stand outside of test functions"
)]

mod fixture;

use chancery_audit::export::End;
use chancery_audit::{
    BundleError, Checkpoint, Commitment, Finding, InclusionProof, Leaf, LeafContent, NoteSigner, Origin,
    PartFault, PartState, ProofBundle, Report, Restored, Source, VerifierKey, verify,
};
use chancery_core::id::{Id as _, TenantId};
use chancery_core::time::Timestamp;
use fixture::{Item, TestLog, export};

fn trusted() -> Vec<VerifierKey> {
    vec![TestLog::new(1).signer.verifier().clone()]
}

fn check(lines: &[String], kept: &[String]) -> Result<Report, Vec<Finding>> {
    verify(lines, trusted(), kept)
}

fn findings(lines: &[String], kept: &[String]) -> Vec<Finding> {
    check(lines, kept).unwrap_err()
}

fn origin() -> Origin {
    Origin::new("id.example/log", 1).unwrap()
}

/// The line of an entry of the first generation.
fn entry_line(lines: &[String], index: u64) -> usize {
    let start = format!("{{\"entry\":{{\"index\":{index},");
    lines.iter().position(|line| line.starts_with(&start)).unwrap()
}

/// Changes the leaf at a position as someone with the database would: the tree is not touched.
fn change_leaf(log: &mut TestLog, position: usize, change: impl Fn(&mut LeafContent)) {
    if let Some(Item::Entry(leaf, _)) = log.items.get_mut(position) {
        let mut content = leaf.content().clone();
        change(&mut content);
        *leaf = Leaf::new(content).unwrap();
    }
}

#[test]
fn honest_log_is_verified_and_unwitnessed_without_kept_checkpoints() {
    let log = TestLog::with_entries(10, 4);
    let report = check(&export(&[&log], 0), &[]).unwrap();
    assert!(report.is_unwitnessed());
    assert_eq!((report.entries, report.checkpoints), (10, 3));
    assert_eq!((report.parts_present, report.parts_erased), (20, 0));
    assert_eq!(report.tenant, Some(TenantId::from_bytes([1; 16])));
    assert_eq!(report.logs.len(), 1);
    assert_eq!((report.logs[0].size, report.logs[0].root), (10, log.root));
}

#[test]
fn kept_checkpoint_makes_the_log_witnessed() {
    let mut log = TestLog::with_entries(5, 3);
    let kept = log.checkpoint();
    log.append("token.issued", Vec::new());
    log.checkpoint();
    let report = check(&export(&[&log], 0), &[kept]).unwrap();
    assert!(!report.is_unwitnessed());
    assert_eq!(report.kept_confirmed, 1);
}

#[test]
fn changed_leaf_is_found() {
    let mut log = TestLog::with_entries(10, 4);
    // Item 5 is entry 4: a checkpoint stands after the first four.
    change_leaf(&mut log, 5, |content| content.time = Timestamp::from_micros(1));
    let changed = Finding::EntriesChanged {
        origin: origin(),
        from: 4,
        to: 7,
    };
    assert_eq!(findings(&export(&[&log], 0), &[]), [changed]);
}

#[test]
fn changed_part_is_found() {
    let mut lines = export(&[&TestLog::with_entries(10, 4)], 0);
    let line = entry_line(&lines, 6);
    lines[line] = lines[line].replace("\\\"number\\\":6", "\\\"number\\\":7");
    let fault = PartFault::Changed("request".to_owned());
    assert_eq!(
        findings(&lines, &[]),
        [Finding::Part {
            origin: origin(),
            index: 6,
            fault
        }]
    );
}

#[test]
fn removed_part_is_found() {
    let mut log = TestLog::with_entries(2, 4);
    if let Item::Entry(_, parts) = &mut log.items[1] {
        parts.remove(0);
    }
    let fault = PartFault::Missing("request".to_owned());
    let finding = Finding::Part {
        origin: origin(),
        index: 1,
        fault,
    };
    assert_eq!(findings(&export(&[&log], 0), &[]), [finding]);
}

#[test]
fn dropped_leaf_is_found() {
    let mut lines = export(&[&TestLog::with_entries(10, 4)], 0);
    let line = entry_line(&lines, 6);
    lines.remove(line);
    let found = findings(&lines, &[]);
    assert!(
        found.contains(&Finding::EntriesMissing {
            origin: origin(),
            from: 6,
            to: 6
        }),
        "{found:?}"
    );
}

#[test]
fn dropped_leaf_is_found_if_the_others_are_renumbered() {
    let mut log = TestLog::with_entries(10, 4);
    log.items.remove(1);
    let found = findings(&export(&[&log], 0), &[]);
    let misplaced = Finding::CheckpointMisplaced {
        origin: origin(),
        size: 4,
    };
    let (present, size, against) = (9, 10, Source::Exported);
    let truncated = Finding::Truncated {
        origin: origin(),
        present,
        size,
        against,
    };
    assert!(
        found.contains(&misplaced) && found.contains(&truncated),
        "{found:?}"
    );
}

#[test]
fn reordered_pair_is_found() {
    let mut lines = export(&[&TestLog::with_entries(10, 10)], 0);
    let line = entry_line(&lines, 6);
    lines.swap(line, line + 1);
    let reordered = Finding::EntryReordered {
        origin: origin(),
        index: 6,
    };
    assert_eq!(findings(&lines, &[]), [reordered]);
}

#[test]
fn reordered_pair_is_found_if_renumbered() {
    let mut log = TestLog::with_entries(10, 10);
    log.items.swap(6, 7);
    let changed = Finding::EntriesChanged {
        origin: origin(),
        from: 0,
        to: 9,
    };
    assert_eq!(findings(&export(&[&log], 0), &[]), [changed]);
}

#[test]
fn repeated_entry_is_found() {
    let mut lines = export(&[&TestLog::with_entries(10, 10)], 0);
    let line = entry_line(&lines, 6);
    lines.insert(line, lines[line].clone());
    let found = findings(&lines, &[]);
    assert!(
        found.contains(&Finding::EntryRepeated {
            origin: origin(),
            index: 6
        }),
        "{found:?}"
    );
}

#[test]
fn truncated_tail_is_found_by_a_kept_checkpoint() {
    let kept = TestLog::with_entries(10, 4).checkpoint();
    let rolled_back = TestLog::with_entries(6, 4);
    let lines = export(&[&rolled_back], 0);
    assert!(check(&lines, &[]).is_ok());
    let (present, size, against) = (6, 10, Source::Kept);
    let truncated = Finding::Truncated {
        origin: origin(),
        present,
        size,
        against,
    };
    assert_eq!(findings(&lines, &[kept]), [truncated]);
}

#[test]
fn rolled_back_log_that_grew_again_is_found_by_a_kept_checkpoint() {
    let kept = TestLog::with_entries(10, 4).checkpoint();
    let mut rewritten = TestLog::with_entries(6, 4);
    for _ in 0..6 {
        rewritten.append("token.revoked", Vec::new());
    }
    rewritten.checkpoint();
    let lines = export(&[&rewritten], 0);
    assert!(check(&lines, &[]).is_ok());
    let finding = Finding::HistoryRewritten {
        origin: origin(),
        size: 10,
    };
    assert_eq!(findings(&lines, &[kept]), [finding]);
}

#[test]
fn log_signed_twice_at_one_size_is_found() {
    let kept = TestLog::with_entries(4, 4).checkpoint();
    let mut other = TestLog::new(1);
    for _ in 0..4 {
        other.append("token.revoked", Vec::new());
    }
    other.checkpoint();
    let finding = Finding::HistoryRewritten {
        origin: origin(),
        size: 4,
    };
    assert_eq!(findings(&export(&[&other], 0), &[kept]), [finding]);
}

#[test]
fn changed_leaf_is_not_taken_for_a_rewritten_log() {
    let mut log = TestLog::with_entries(10, 4);
    let kept = log.checkpoint();
    change_leaf(&mut log, 10, |content| content.time = Timestamp::from_micros(1));
    let found = findings(&export(&[&log], 0), &[kept]);
    assert!(matches!(found[..], [Finding::EntriesChanged { .. }]), "{found:?}");
}

#[test]
fn forged_signature_is_found() {
    let mut log = TestLog::with_entries(4, 4);
    let note = log.checkpoint();
    // The checkpoint of another state under the signature of this one.
    let forged = note.replace("\n4\n", "\n3\n");
    log.items.pop();
    log.items.push(Item::Note(forged.clone()));
    let finding = |source_of| Finding::ForgedSignature {
        origin: origin(),
        size: 3,
        source_of,
    };
    assert_eq!(findings(&export(&[&log], 0), &[]), [finding(Source::Exported)]);
    let honest = export(&[&TestLog::with_entries(4, 4)], 0);
    assert_eq!(findings(&honest, &[forged]), [finding(Source::Kept)]);
}

#[test]
fn checkpoint_of_a_stranger_is_not_trusted() {
    let mut log = TestLog::with_entries(4, 4);
    log.signer = NoteSigner::from_seed(&origin(), &[1; 32]).unwrap();
    let kept = log.checkpoint();
    let untrusted = |source_of| Finding::UntrustedCheckpoint {
        origin: origin(),
        size: 4,
        source_of,
    };
    let found = findings(&export(&[&log], 0), std::slice::from_ref(&kept));
    assert_eq!(found, [untrusted(Source::Kept), untrusted(Source::Exported)]);
}

#[test]
fn wrong_origin_is_found() {
    let elsewhere = Origin::new("other.example/log", 1).unwrap();
    let mut log = TestLog::new(1);
    log.origin = elsewhere.clone();
    log.signer = NoteSigner::from_seed(&elsewhere, &[42; 32]).unwrap();
    log.append("token.issued", Vec::new());
    log.checkpoint();
    let wrong = Finding::WrongOrigin {
        expected: "id.example/log/1".to_owned(),
        found: "other.example/log/1".to_owned(),
    };
    assert!(findings(&export(&[&log], 0), &[]).contains(&wrong));
}

#[test]
fn checkpoint_of_another_generation_is_found() {
    let mut log = TestLog::with_entries(4, 4);
    let mut other = TestLog::new(2);
    other.append("token.issued", Vec::new());
    log.items.push(Item::Note(other.checkpoint()));
    let wrong = Finding::WrongOrigin {
        expected: "id.example/log/1".to_owned(),
        found: "id.example/log/2".to_owned(),
    };
    assert_eq!(findings(&export(&[&log], 0), &[]), [wrong]);
}

#[test]
fn erased_part_leaves_the_log_valid_and_is_counted() {
    let mut log = TestLog::with_entries(10, 4);
    let kept = log.checkpoint();
    if let Item::Entry(_, parts) = &mut log.items[2] {
        parts[0].erase(Timestamp::from_seconds(9));
        assert!(matches!(parts[0].state, PartState::Erased { .. }));
    }
    let report = check(&export(&[&log], 0), &[kept]).unwrap();
    assert_eq!((report.parts_present, report.parts_erased), (19, 1));
}

#[test]
fn leaf_of_another_tenant_or_generation_is_found() {
    let mut log = TestLog::new(1);
    log.origin = origin().with_generation(1);
    log.append("token.issued", Vec::new());
    log.append("token.issued", Vec::new());
    change_leaf(&mut log, 0, |content| {
        content.tenant = TenantId::from_bytes([2; 16]);
    });
    change_leaf(&mut log, 1, |content| content.generation = 7);
    let found = findings(&export(&[&log], 0), &[]);
    let generation = Finding::WrongGeneration {
        origin: origin(),
        index: 1,
        generation: 7,
    };
    assert!(found.contains(&Finding::WrongTenant {
        origin: origin(),
        index: 0
    }));
    assert!(found.contains(&generation), "{found:?}");
}

#[test]
fn unsigned_entries_are_found() {
    let mut log = TestLog::with_entries(4, 4);
    log.append("token.issued", Vec::new());
    let unsigned = Finding::Unsigned {
        origin: origin(),
        from: 4,
        to: 4,
    };
    assert_eq!(findings(&export(&[&log], 0), &[]), [unsigned]);
}

#[test]
fn cut_or_miscounted_export_is_found() {
    let mut lines = export(&[&TestLog::with_entries(4, 4)], 0);
    let end = lines.pop().unwrap();
    assert_eq!(findings(&lines, &[]), [Finding::EndMissing]);
    lines.push(end.replace("\"entries\":4", "\"entries\":5"));
    assert_eq!(
        findings(&lines, &[]),
        [Finding::EndMismatch {
            counted: End {
                entries: 5,
                checkpoints: 1
            },
            found: End {
                entries: 4,
                checkpoints: 1
            }
        }]
    );
    lines.push(end);
    assert!(findings(&lines, &[]).contains(&Finding::Malformed { line: 9 }));
    assert_eq!(findings(&[], &[]), [Finding::EndMissing]);
}

#[test]
fn partial_export_is_verified_from_its_first_index() {
    let mut log = TestLog::with_entries(300, 100);
    let kept = log.checkpoint();
    let early = TestLog::with_entries(5, 5).checkpoint();
    let report = check(&export(&[&log], 269), &[kept, early]).unwrap();
    assert_eq!(
        (report.entries, report.kept_confirmed, report.kept_unchecked),
        (31, 1, 1)
    );
    let lines = export(&[&log], 269);
    let subtree = chancery_audit::tile::subtrees(&log.tiles, 269).unwrap()[0].to_string();
    let other = Commitment::from_bytes([0; 32]);
    let zeroes = chancery_audit::Hash::from_bytes(*other.as_bytes()).to_string();
    let changed: Vec<_> = lines.iter().map(|line| line.replace(&subtree, &zeroes)).collect();
    assert!(check(&changed, &[]).is_err());
}

#[test]
fn log_of_a_kept_checkpoint_must_be_there() {
    let mut second = TestLog::new(2);
    second.append("token.issued", Vec::new());
    let kept = second.checkpoint();
    let lines = export(&[&TestLog::with_entries(4, 4)], 0);
    let origin = origin().with_generation(2);
    assert_eq!(
        findings(&lines, &[kept]),
        [Finding::LogMissing { origin, size: 1 }]
    );
}

/// A second generation that says what is known of the first.
fn restored(known: &Checkpoint) -> TestLog {
    let mut log = TestLog::new(2);
    let (generation, size, root) = (known.origin.generation(), known.size, known.root);
    log.append(
        Restored::KIND,
        Restored {
            generation,
            size,
            root,
        }
        .to_ids(),
    );
    log.append("token.issued", Vec::new());
    log.checkpoint();
    log
}

fn state(log: &TestLog) -> Checkpoint {
    Checkpoint {
        origin: log.origin.clone(),
        size: log.size,
        root: log.root,
    }
}

#[test]
fn restore_that_names_the_last_checkpoint_continues_the_log() {
    let mut first = TestLog::with_entries(6, 4);
    let kept = first.checkpoint();
    let second = restored(&state(&first));
    let report = check(&export(&[&first, &second], 0), &[kept]).unwrap();
    assert_eq!((report.logs.len(), report.kept_confirmed), (2, 1));
    assert_eq!(report.losses, []);
}

#[test]
fn restore_that_admits_lost_entries_reports_them() {
    let mut before = TestLog::with_entries(10, 4);
    let kept = before.checkpoint();
    let backup = TestLog::with_entries(6, 4);
    let second = restored(&state(&before));
    let report = check(&export(&[&backup, &second], 0), &[kept]).unwrap();
    assert_eq!((report.losses.len(), report.kept_unchecked), (1, 1));
    assert_eq!((report.losses[0].from, report.losses[0].to), (6, 9));
    assert!(report.is_unwitnessed());
}

#[test]
fn restore_that_hides_entries_is_found() {
    let kept = TestLog::with_entries(10, 4).checkpoint();
    let backup = TestLog::with_entries(6, 4);
    let second = restored(&state(&backup));
    let forgets = Finding::RestoreForgets {
        origin: origin().with_generation(2),
        named: 6,
        known: 10,
        against: Source::Kept,
    };
    let kept = [kept];
    assert_eq!(
        findings(&export(&[&backup, &second], 0), &kept),
        std::slice::from_ref(&forgets)
    );
    // The same without the first generation in the export.
    assert_eq!(findings(&export(&[&second], 0), &kept), [forgets]);
}

#[test]
fn generation_that_does_not_name_the_one_before_is_found() {
    let first = TestLog::with_entries(6, 4);
    let broken = [Finding::ContinuityBroken {
        origin: origin().with_generation(2),
    }];
    let mut silent = TestLog::new(2);
    silent.append("token.issued", Vec::new());
    silent.checkpoint();
    assert_eq!(findings(&export(&[&first, &silent], 0), &[]), broken);
    let root = chancery_audit::Hash::from_bytes([0; 32]);
    let wrong = restored(&Checkpoint {
        root,
        ..state(&first)
    });
    assert_eq!(findings(&export(&[&first, &wrong], 0), &[]), broken);
    let wrong = restored(&Checkpoint {
        origin: origin().with_generation(5),
        ..state(&first)
    });
    assert_eq!(findings(&export(&[&first, &wrong], 0), &[]), broken);
}

#[test]
fn every_finding_reads_as_a_sentence() {
    let finding = Finding::Truncated {
        origin: origin(),
        present: 6,
        size: 10,
        against: Source::Kept,
    };
    let sentence = "`id.example/log/1` ends after 6 entries, but a checkpoint that you kept covers 10: the tail was cut off, or the export is older than the checkpoint";
    assert_eq!(finding.to_string(), sentence);
}

/// The proof of the second of three entries.
fn bundle(log: &mut TestLog) -> ProofBundle {
    let note = log.checkpoint();
    let proof = InclusionProof::build(&log.tiles, 1, log.size).unwrap();
    let Some(Item::Entry(leaf, parts)) = log.items.get(1).cloned() else {
        unreachable!("the second item is an entry")
    };
    ProofBundle::new(&leaf, proof, note, parts)
}

#[test]
fn proof_of_an_event_is_verified_with_its_erased_parts() {
    let mut bundle = bundle(&mut TestLog::with_entries(3, 3));
    bundle.parts[0].erase(Timestamp::from_seconds(9));
    let proven = bundle.verify(&trusted()).unwrap();
    assert_eq!((proven.index, proven.checkpoint.size), (1, 3));
    assert_eq!((proven.parts.present, proven.parts.erased), (1, 1));
    assert_eq!(ProofBundle::parse(&bundle.to_json().unwrap()), Ok(bundle));
}

#[test]
fn proof_of_an_event_under_anything_else_is_refused() {
    let mut log = TestLog::with_entries(3, 3);
    let honest = bundle(&mut log);
    let stranger = NoteSigner::from_seed(&origin(), &[1; 32]).unwrap();
    let untrusted = honest.verify(&[stranger.verifier().clone()]);
    assert!(matches!(untrusted, Err(BundleError::Checkpoint(_))));
    let mut moved = honest.clone();
    moved.index = 2;
    assert!(matches!(moved.verify(&trusted()), Err(BundleError::Proof(_))));
    let mut changed = honest.clone();
    changed.parts.pop();
    assert!(matches!(
        changed.verify(&trusted()),
        Err(BundleError::Part(PartFault::Missing(_)))
    ));
    let mut second = TestLog::new(2);
    second.append("token.issued", Vec::new());
    let mut elsewhere = honest;
    elsewhere.checkpoint = second.checkpoint();
    assert_eq!(elsewhere.verify(&trusted()), Err(BundleError::WrongGeneration));
}
