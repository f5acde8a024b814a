//! Guards that were found to hold, so that they are not looked up again before something is written that could
//! change them. Right only because one connection writes, in one process that has the file to itself.

use super::super::batch::{Expect, Statement};
use super::super::value::Value;
use std::cell::RefCell;
use std::collections::HashSet;

/// Guards that hold, as of the last write.
#[derive(Debug, Default)]
pub(super) struct KnownGuards(RefCell<HashSet<Known>>);

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Known {
    /// The text's place in memory: two places with one text are known twice, which is harmless.
    sql: usize,
    params: Vec<Value>,
    expect: Expect,
}

impl KnownGuards {
    /// Whether this guard is known to hold.
    pub(super) fn holds(&self, guard: &Known) -> bool {
        self.0.borrow().contains(guard)
    }

    /// Remembers that it does.
    pub(super) fn keep(&self, guard: Known) {
        let mut known = self.0.borrow_mut();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(guard);
    }

    /// SECURITY: after every write but an append, and whenever something is taken back, nothing is known.
    pub(super) fn forget_all(&self) {
        self.0.borrow_mut().clear();
    }
}

impl Known {
    pub(super) fn of(guard: &Statement) -> Self {
        Self {
            sql: guard.sql.sqlite.as_ptr().addr(),
            params: guard.params.clone(),
            expect: guard.expect,
        }
    }
}

const MAX_KNOWN: usize = 16_384;
