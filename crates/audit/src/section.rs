//! The verification of one generation of the log: its entries, in order, and its checkpoints.

use crate::checkpoint::Checkpoint;
use crate::export::Log;
use crate::finding::{Finding, Source};
use crate::origin::Origin;
use crate::tree::{Frontier, Hash};
use std::collections::BTreeMap;

/// One generation while its lines come in.
#[derive(Debug)]
pub(crate) struct Section {
    origin: Origin,
    first_index: u64,
    tree: Frontier,
    /// The index after the highest one seen.
    next: u64,
    /// Ranges of indexes, from and up to, that were skipped so far.
    missing: Vec<(u64, u64)>,
    /// Whether something is wrong that makes every later root different.
    is_broken: bool,
    /// How many entries the last checkpoint that agrees covers.
    agreed: u64,
    last_agreed: Option<Checkpoint>,
    /// Kept checkpoints that are still to be reached, by size.
    kept: BTreeMap<u64, Vec<Hash>>,
    /// Sizes of kept checkpoints that disagree, until the next exported one says why.
    suspects: Vec<u64>,
    /// Checkpoints over more entries than there were when they came in.
    ahead: Vec<(Checkpoint, Source)>,
    counts: Counts,
}

/// What a generation contributes to the report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) checkpoints: u64,
    pub(crate) kept_confirmed: u64,
    pub(crate) kept_unchecked: u64,
}

/// What remains of a generation after its last line.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) origin: Origin,
    pub(crate) first_index: u64,
    pub(crate) size: u64,
    pub(crate) root: Hash,
    pub(crate) last_agreed: Option<Checkpoint>,
    /// Whether something was found wrong with its entries.
    pub(crate) is_broken: bool,
    /// Checkpoints over entries that are not there: a truncation, unless a restore says so.
    pub(crate) ahead: Vec<(Checkpoint, Source)>,
    pub(crate) counts: Counts,
}

impl Section {
    /// Begins a generation, with the kept checkpoints of its origin. `None` if there is not one
    /// subtree for each bit set in the first index.
    pub(crate) fn begin(log: Log, kept: Vec<Checkpoint>, findings: &mut Vec<Finding>) -> Option<Self> {
        let tree = Frontier::from_subtrees(log.first_index, log.subtrees)?;
        let mut section = Self {
            origin: log.origin,
            first_index: log.first_index,
            tree,
            next: log.first_index,
            missing: Vec::new(),
            is_broken: false,
            agreed: log.first_index,
            last_agreed: None,
            kept: BTreeMap::new(),
            suspects: Vec::new(),
            ahead: Vec::new(),
            counts: Counts::default(),
        };
        for checkpoint in kept {
            if checkpoint.size < section.first_index {
                section.counts.kept_unchecked += 1;
            } else {
                section
                    .kept
                    .entry(checkpoint.size)
                    .or_default()
                    .push(checkpoint.root);
            }
        }
        section.compare_kept(findings);
        Some(section)
    }

    pub(crate) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether the entry that comes next is the first of the whole generation.
    pub(crate) const fn is_at_start(&self) -> bool {
        self.next == 0
    }

    /// The next entry.
    pub(crate) fn entry(&mut self, index: u64, leaf: Hash, findings: &mut Vec<Finding>) {
        if index < self.next {
            self.is_broken = true;
            findings.push(self.take_missing(index));
            return;
        }
        if index > self.next {
            self.is_broken = true;
            self.missing.push((self.next, index));
        }
        self.next = index.saturating_add(1);
        self.tree.push(leaf);
        self.compare_kept(findings);
    }

    /// A checkpoint of the export, its signature verified.
    pub(crate) fn checkpoint(&mut self, checkpoint: Checkpoint, findings: &mut Vec<Finding>) {
        if checkpoint.size > self.next {
            self.ahead.push((checkpoint, Source::Exported));
            return;
        }
        if checkpoint.size < self.next {
            let (origin, size) = (self.origin.clone(), checkpoint.size);
            findings.push(Finding::CheckpointMisplaced { origin, size });
            return;
        }
        if self.is_broken {
            return;
        }
        if checkpoint.root == self.tree.root() {
            self.counts.checkpoints += 1;
            self.agreed = checkpoint.size;
            self.last_agreed = Some(checkpoint);
            self.report_suspects(findings);
        } else {
            self.is_broken = true;
            self.suspects.clear();
            findings.push(Finding::EntriesChanged {
                origin: self.origin.clone(),
                from: self.agreed.min(checkpoint.size.saturating_sub(1)),
                to: checkpoint.size.saturating_sub(1),
            });
        }
    }

    /// Ends the generation.
    pub(crate) fn end(mut self, findings: &mut Vec<Finding>) -> Closed {
        for (from, to) in std::mem::take(&mut self.missing) {
            findings.push(Finding::EntriesMissing {
                origin: self.origin.clone(),
                from,
                to: to.saturating_sub(1),
            });
        }
        self.report_suspects(findings);
        if !self.is_broken && self.agreed < self.next {
            findings.push(Finding::Unsigned {
                origin: self.origin.clone(),
                from: self.agreed,
                to: self.next.saturating_sub(1),
            });
        }
        let ahead = self.beyond_the_end(findings);
        Closed {
            first_index: self.first_index,
            size: self.next,
            root: self.tree.root(),
            last_agreed: self.last_agreed,
            is_broken: self.is_broken,
            ahead,
            counts: self.counts,
            origin: self.origin,
        }
    }

    /// The checkpoints, exported and kept, that cover more entries than there are.
    fn beyond_the_end(&mut self, findings: &mut Vec<Finding>) -> Vec<(Checkpoint, Source)> {
        let mut beyond = Vec::new();
        for (checkpoint, source) in std::mem::take(&mut self.ahead) {
            if checkpoint.size > self.next {
                beyond.push((checkpoint, source));
            } else {
                let (origin, size) = (self.origin.clone(), checkpoint.size);
                findings.push(Finding::CheckpointMisplaced { origin, size });
            }
        }
        let kept = std::mem::take(&mut self.kept);
        for (size, roots) in kept.into_iter().filter(|(size, _)| *size > self.next) {
            beyond.extend(roots.into_iter().map(|root| {
                let origin = self.origin.clone();
                (Checkpoint { origin, size, root }, Source::Kept)
            }));
        }
        beyond
    }

    /// Compares the kept checkpoints of the present size.
    fn compare_kept(&mut self, findings: &mut Vec<Finding>) {
        let Some(roots) = self.kept.remove(&self.next) else {
            return;
        };
        if self.is_broken {
            return;
        }
        let root = self.tree.root();
        for kept in roots {
            if kept == root {
                self.counts.kept_confirmed += 1;
            } else {
                self.suspects.push(self.next);
            }
        }
        // SECURITY: entries that a checkpoint of the export already covers are signed; if a kept one
        // of the same size disagrees, two histories were signed.
        if self.agreed == self.next && self.last_agreed.is_some() {
            self.report_suspects(findings);
        }
    }

    fn report_suspects(&mut self, findings: &mut Vec<Finding>) {
        for size in std::mem::take(&mut self.suspects) {
            let origin = self.origin.clone();
            findings.push(Finding::HistoryRewritten { origin, size });
        }
    }

    /// What it means that this index comes after a higher one.
    fn take_missing(&mut self, index: u64) -> Finding {
        let origin = self.origin.clone();
        let skipped = self
            .missing
            .iter()
            .position(|(from, to)| (*from..*to).contains(&index));
        let Some(skipped) = skipped else {
            return Finding::EntryRepeated { origin, index };
        };
        let (from, to) = self.missing.swap_remove(skipped);
        for rest in [(from, index), (index.saturating_add(1), to)] {
            if rest.0 < rest.1 {
                self.missing.push(rest);
            }
        }
        Finding::EntryReordered { origin, index }
    }
}
