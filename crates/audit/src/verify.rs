//! Offline verification: an export, the public keys that the verifier trusts, and the checkpoints
//! that the verifier kept (design, section 9).
//!
//! Every leaf is hashed again, every root computed again and compared with every checkpoint in
//! order, which is stronger than a consistency proof between them; every part is compared with its
//! leaf; every generation must name the last known checkpoint of the one before. Memory does not
//! grow with the number of entries, only with that of registered passkeys.
//!
//! What this cannot see without a kept checkpoint: a log that its operator rewrote and signed again.
//! The report then says `unwitnessed`.

use crate::checkpoint::{Checkpoint, CheckpointError, UnverifiedCheckpoint};
use crate::commitment::check_parts;
use crate::export::{End, Entry, Line, Log};
use crate::finding::{Finding, LogReport, Loss, Report, Source};
use crate::key::VerifierKey;
use crate::leaf::{Leaf, Restored};
use crate::note::NoteError;
use crate::origin::Origin;
use crate::passkeys::Passkeys;
use crate::section::{Closed, Section};
use crate::tree::{empty_root, leaf_hash};

/// Verifies a whole export. `kept` are the signed notes that the verifier kept.
///
/// # Errors
/// Every [`Finding`], at most 1,000.
pub fn verify<S: AsRef<str>>(
    lines: impl IntoIterator<Item = S>,
    trusted: Vec<VerifierKey>,
    kept: &[String],
) -> Result<Report, Vec<Finding>> {
    let mut verifier = Verifier::new(trusted, kept);
    for line in lines {
        verifier.line(line.as_ref());
    }
    verifier.finish().into_result()
}

/// What a verification gives: the report says what was read even if something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// What was verified.
    pub report: Report,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Verification {
    /// The report, if nothing is wrong.
    ///
    /// # Errors
    /// The findings.
    pub fn into_result(self) -> Result<Report, Vec<Finding>> {
        if self.findings.is_empty() {
            Ok(self.report)
        } else {
            Err(self.findings)
        }
    }
}

/// A verification while the lines come in.
#[derive(Debug)]
pub struct Verifier {
    trusted: Vec<VerifierKey>,
    /// Kept checkpoints whose log has not come yet.
    kept: Vec<Checkpoint>,
    line: u64,
    is_ended: bool,
    section: Option<Section>,
    passkeys: Passkeys,
    previous: Option<Closed>,
    /// Checkpoints that stand in the export, valid or not.
    checkpoint_lines: u64,
    report: Report,
    findings: Vec<Finding>,
}

impl Verifier {
    /// Begins a verification with the keys that are trusted and the signed notes that were kept.
    pub fn new(trusted: Vec<VerifierKey>, kept: &[String]) -> Self {
        let mut verifier = Self {
            trusted,
            kept: Vec::new(),
            line: 0,
            is_ended: false,
            section: None,
            passkeys: Passkeys::default(),
            previous: None,
            checkpoint_lines: 0,
            report: Report::default(),
            findings: Vec::new(),
        };
        for note in kept {
            if let Some(checkpoint) = verifier.open(note, Source::Kept) {
                verifier.kept.push(checkpoint);
            }
        }
        verifier
    }

    /// The next line of the export, without its line feed.
    pub fn line(&mut self, text: &str) {
        self.line = self.line.saturating_add(1);
        let is_first = self.line == 1;
        match Line::parse(text) {
            Ok(Line::Header(header)) if is_first => self.report.tenant = Some(header.tenant),
            Ok(Line::Log(log)) if !is_first && !self.is_ended => self.begin_log(log),
            Ok(Line::Entry(entry)) if !self.is_ended => self.entry(&entry),
            Ok(Line::Checkpoint(note)) if !self.is_ended => self.checkpoint(&note.note),
            Ok(Line::End(end)) if !is_first && !self.is_ended => self.end(end),
            Ok(_) | Err(_) => self.malformed(),
        }
        if self.findings.len() > MAX_FINDINGS {
            self.findings.truncate(MAX_FINDINGS - 1);
            self.findings.push(Finding::More);
        }
    }

    /// Ends the verification.
    pub fn finish(mut self) -> Verification {
        self.end_log();
        if let Some(previous) = self.previous.take() {
            self.report_truncation(previous);
        }
        self.report_missing_logs();
        if !self.is_ended {
            self.findings.push(Finding::EndMissing);
        }
        self.findings.truncate(MAX_FINDINGS);
        Verification {
            report: self.report,
            findings: self.findings,
        }
    }

    fn begin_log(&mut self, log: Log) {
        self.end_log();
        self.check_origin(&log.origin);
        if let Some(previous) = &self.previous {
            let (before, after) = (&previous.origin, &log.origin);
            let follows = before.log() == after.log() && before.generation() < after.generation();
            if !follows || log.first_index != 0 {
                let origin = log.origin.clone();
                self.findings.push(Finding::ContinuityBroken { origin });
            }
        }
        let is_own = |checkpoint: &mut Checkpoint| checkpoint.origin == log.origin;
        let kept = self.kept.extract_if(.., is_own).collect();
        self.section = Section::begin(log, kept, &mut self.findings);
        if self.section.is_none() {
            self.malformed();
        }
    }

    fn entry(&mut self, entry: &Entry) {
        let Some(section) = &mut self.section else {
            return self.malformed();
        };
        let origin = section.origin().clone();
        let is_first = section.is_at_start() && entry.index == 0;
        section.entry(entry.index, leaf_hash(entry.leaf.as_bytes()), &mut self.findings);
        self.report.entries += 1;
        match Leaf::parse(entry.leaf.as_bytes()) {
            Ok(leaf) => {
                self.check_leaf(&origin, entry, &leaf);
                if is_first {
                    self.check_continuity(&origin, &leaf);
                }
            }
            Err(_) => self.findings.push(Finding::LeafMalformed {
                origin,
                index: entry.index,
            }),
        }
    }

    fn checkpoint(&mut self, note: &str) {
        self.checkpoint_lines += 1;
        let checkpoint = self.open(note, Source::Exported);
        let Some(section) = &mut self.section else {
            return self.malformed();
        };
        let Some(checkpoint) = checkpoint else { return };
        if checkpoint.origin == *section.origin() {
            section.checkpoint(checkpoint, &mut self.findings);
        } else {
            self.findings.push(Finding::WrongOrigin {
                expected: section.origin().to_string(),
                found: checkpoint.origin.to_string(),
            });
        }
    }

    fn end(&mut self, end: End) {
        self.is_ended = true;
        let found = End {
            entries: self.report.entries,
            checkpoints: self.checkpoint_lines,
        };
        if end != found {
            self.findings.push(Finding::EndMismatch { counted: end, found });
        }
    }

    fn check_leaf(&mut self, origin: &Origin, entry: &Entry, leaf: &Leaf) {
        let index = entry.index;
        let content = leaf.content();
        if Some(content.tenant) != self.report.tenant {
            let origin = origin.clone();
            self.findings.push(Finding::WrongTenant { origin, index });
        }
        if content.generation != origin.generation() {
            self.findings.push(Finding::WrongGeneration {
                origin: origin.clone(),
                index,
                generation: content.generation,
            });
        }
        self.check_passkeys(origin, entry, leaf);
        match check_parts(leaf, &entry.parts) {
            Ok(count) => {
                self.report.parts_present += count.present;
                self.report.parts_erased += count.erased;
            }
            Err(faults) => self.findings.extend(faults.into_iter().map(|fault| {
                let origin = origin.clone();
                Finding::Part { origin, index, fault }
            })),
        }
    }

    /// Takes note of a passkey that was registered, and verifies what one signed with a yes.
    fn check_passkeys(&mut self, origin: &Origin, entry: &Entry, leaf: &Leaf) {
        match self.passkeys.look(leaf, &entry.parts) {
            Ok(None) => {}
            Ok(Some(is_anchored)) => {
                self.report.assertions += 1;
                self.report.assertions_unanchored += u64::from(!is_anchored);
            }
            Err(fault) => self.findings.push(Finding::Assertion {
                origin: origin.clone(),
                index: entry.index,
                fault,
            }),
        }
    }

    /// The first leaf of a generation after the first names the last known checkpoint of the one
    /// before.
    fn check_continuity(&mut self, origin: &Origin, leaf: &Leaf) {
        if origin.generation() == 1 {
            return;
        }
        let Some(restored) = Restored::find(leaf) else {
            self.findings.push(Finding::ContinuityBroken {
                origin: origin.clone(),
            });
            return;
        };
        match self.previous.take() {
            Some(previous) => self.check_restore(origin, restored, previous),
            None => self.check_restore_alone(origin, restored),
        }
    }

    /// A restore whose predecessor stands before it in the export.
    fn check_restore(&mut self, origin: &Origin, restored: Restored, previous: Closed) {
        let names_previous = restored.generation == previous.origin.generation();
        let last = previous
            .last_agreed
            .map(|checkpoint| (checkpoint, Source::Exported));
        let known: Vec<_> = last.into_iter().chain(previous.ahead).collect();
        let is_known = known
            .iter()
            .any(|(checkpoint, _)| checkpoint.size >= restored.size);
        let is_lost = restored.size > previous.size;
        // INVARIANT: the size named is that of a checkpoint: one that is known, or one that was lost
        // with the entries that it covered.
        let is_named = is_known || is_lost || restored.root == empty_root();
        if !names_previous || !(is_named || previous.is_broken) {
            self.findings.push(Finding::ContinuityBroken {
                origin: origin.clone(),
            });
        }
        let kept = known.iter().filter(|(_, source)| *source == Source::Kept).count();
        self.report.kept_unchecked += u64::try_from(kept).unwrap_or(u64::MAX);
        for (checkpoint, source) in known {
            self.compare_restore(origin, restored, &checkpoint, source);
        }
        if is_lost {
            self.report.losses.push(Loss {
                origin: previous.origin,
                from: previous.size,
                to: restored.size - 1,
            });
        }
    }

    /// A restore whose predecessor is not in the export: only kept checkpoints say anything of it.
    fn check_restore_alone(&mut self, origin: &Origin, restored: Restored) {
        let before = origin.with_generation(restored.generation);
        if restored.generation >= origin.generation() {
            self.findings.push(Finding::ContinuityBroken {
                origin: origin.clone(),
            });
        }
        let is_before = |checkpoint: &mut Checkpoint| checkpoint.origin == before;
        let kept: Vec<_> = self.kept.extract_if(.., is_before).collect();
        for checkpoint in kept {
            self.report.kept_unchecked += 1;
            self.compare_restore(origin, restored, &checkpoint, Source::Kept);
        }
    }

    /// Compares what a restore says with one checkpoint of the generation before.
    fn compare_restore(
        &mut self,
        origin: &Origin,
        restored: Restored,
        checkpoint: &Checkpoint,
        against: Source,
    ) {
        if checkpoint.size > restored.size {
            self.findings.push(Finding::RestoreForgets {
                origin: origin.clone(),
                named: restored.size,
                known: checkpoint.size,
                against,
            });
        } else if checkpoint.size == restored.size && checkpoint.root != restored.root {
            self.findings.push(Finding::ContinuityBroken {
                origin: origin.clone(),
            });
        }
    }

    fn end_log(&mut self) {
        let Some(section) = self.section.take() else {
            return;
        };
        let closed = section.end(&mut self.findings);
        self.report.logs.push(LogReport {
            origin: closed.origin.clone(),
            first_index: closed.first_index,
            size: closed.size,
            root: closed.root,
        });
        self.report.checkpoints += closed.counts.checkpoints;
        self.report.kept_confirmed += closed.counts.kept_confirmed;
        self.report.kept_unchecked += closed.counts.kept_unchecked;
        if let Some(unclaimed) = self.previous.replace(closed) {
            self.report_truncation(unclaimed);
        }
    }

    /// Checkpoints over entries that are not there, and no restore that says so.
    fn report_truncation(&mut self, closed: Closed) {
        for (checkpoint, against) in closed.ahead {
            self.findings.push(Finding::Truncated {
                origin: closed.origin.clone(),
                present: closed.size,
                size: checkpoint.size,
                against,
            });
        }
    }

    /// Kept checkpoints of logs that are not in the export. Generations before the first one of the
    /// export may be left out.
    fn report_missing_logs(&mut self) {
        let first = self.report.logs.first().map(|log| log.origin.clone());
        for checkpoint in std::mem::take(&mut self.kept) {
            let is_before = first.as_ref().is_some_and(|first| {
                let origin = &checkpoint.origin;
                origin.log() == first.log() && origin.generation() < first.generation()
            });
            if is_before {
                self.report.kept_unchecked += 1;
            } else {
                let Checkpoint { origin, size, .. } = checkpoint;
                self.findings.push(Finding::LogMissing { origin, size });
            }
        }
    }

    /// Refuses a log for which no key is trusted, before anything is said about its signatures.
    fn check_origin(&mut self, origin: &Origin) {
        let Some(first) = self.trusted.first() else { return };
        if !self.trusted.iter().any(|key| key.for_origin(origin).is_some()) {
            self.findings.push(Finding::WrongOrigin {
                expected: first.name().to_owned(),
                found: origin.to_string(),
            });
        }
    }

    /// Reads a note and verifies its signature.
    fn open(&mut self, note: &str, source_of: Source) -> Option<Checkpoint> {
        let Ok(unverified) = UnverifiedCheckpoint::parse(note) else {
            self.findings.push(Finding::CheckpointMalformed { source_of });
            return None;
        };
        let Checkpoint { origin, size, .. } = unverified.unverified().clone();
        match unverified.verify(&self.trusted) {
            Ok(checkpoint) => Some(checkpoint),
            Err(CheckpointError::Note(NoteError::Forged(_))) => {
                self.findings.push(Finding::ForgedSignature {
                    origin,
                    size,
                    source_of,
                });
                None
            }
            Err(_) => {
                self.findings.push(Finding::UntrustedCheckpoint {
                    origin,
                    size,
                    source_of,
                });
                None
            }
        }
    }

    fn malformed(&mut self) {
        self.findings.push(Finding::Malformed { line: self.line });
    }
}

const MAX_FINDINGS: usize = 1_000;
