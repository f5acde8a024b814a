//! A batch: the only way to write. A list of statements with expected effects, committed whole or not at
//! all (design, section 5).
//!
//! Preconditions live in each statement's `WHERE`, or in guards that are asserted first. A batch is data,
//! so the engine can run it again whole after a serialisation failure or a deadlock.

use super::sql::Sql;
use super::value::Value;
use chancery_core::id::BatchId;

/// What a statement must have done. For a query the rows returned are counted, for a write the rows
/// affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expect {
    /// Exactly so many rows.
    Rows(u64),
    /// At least so many rows.
    AtLeast(u64),
    /// At most so many rows.
    AtMost(u64),
    /// Any number of rows.
    Any,
    /// No uniqueness violation; any number of rows otherwise. With every other expectation a
    /// uniqueness violation is an error, not a failed expectation.
    Unique,
}

impl Expect {
    /// Whether this many rows are what was expected.
    pub fn is_met_by(self, rows: u64) -> bool {
        match self {
            Self::Rows(expected) => rows == expected,
            Self::AtLeast(least) => rows >= least,
            Self::AtMost(most) => rows <= most,
            Self::Any | Self::Unique => true,
        }
    }
}

/// One SQL statement, its parameters and what it must do.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The text.
    pub sql: Sql,
    /// The parameters `?1`, `?2`, … in order.
    pub params: Vec<Value>,
    /// What it must do, or the batch fails with its label.
    pub expect: Expect,
    /// What it stands for; the result of a batch names the first label that failed.
    pub label: &'static str,
    /// It only adds rows, to a table that no guard reads.
    pub(crate) is_append: bool,
}

impl Statement {
    /// A statement.
    pub fn new(sql: &Sql, params: Vec<Value>, expect: Expect, label: &'static str) -> Self {
        Self {
            sql: *sql,
            params,
            expect,
            label,
            is_append: false,
        }
    }

    /// Promises that it only adds rows, to a table that no guard reads: what guards were found to hold is then not
    /// looked up again.
    #[must_use]
    pub fn append(self) -> Self {
        Self {
            is_append: true,
            ..self
        }
    }
}

/// Statements that are committed whole or not at all.
#[derive(Clone, Debug)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    /// Names the batch, once: PostgreSQL keeps it, so that an unknown outcome can be looked up.
    pub id: BatchId,
    pub(crate) guards: Vec<Statement>,
    pub(crate) statements: Vec<Statement>,
    pub(crate) on_failure: Vec<(&'static str, Vec<Statement>)>,
}

impl Batch {
    /// An empty batch.
    pub fn new(id: BatchId) -> Self {
        Self {
            id,
            guards: Vec::new(),
            statements: Vec::new(),
            on_failure: Vec::new(),
        }
    }

    /// Adds a guard: a query asserted before any statement, `FOR SHARE` on PostgreSQL. Callers add guards
    /// in one fixed order, so that two batches never wait for each other.
    ///
    /// A row that the batch itself changes needs no guard: put the condition in the `WHERE` of the change.
    /// Two batches that share a row and then both want to change it wait for each other until one is undone.
    pub fn guard(mut self, guard: Statement) -> Self {
        self.guards.push(guard);
        self
    }

    /// Adds a statement; statements run in the order in which they were added.
    pub fn push(mut self, statement: Statement) -> Self {
        self.statements.push(statement);
        self
    }

    /// Adds statements.
    pub fn extend(mut self, statements: impl IntoIterator<Item = Statement>) -> Self {
        self.statements.extend(statements);
        self
    }

    /// Names what to commit instead if the guard or statement with this label is the first to fail. These
    /// statements run without the guards: their own preconditions are in their `WHERE`.
    pub fn or_else(mut self, label: &'static str, statements: Vec<Statement>) -> Self {
        self.on_failure.push((label, statements));
        self
    }

    /// Whether committing it would do nothing.
    pub fn is_empty(&self) -> bool {
        self.guards.is_empty() && self.statements.is_empty()
    }

    /// Every parameter of every statement.
    pub(crate) fn params(&self) -> impl Iterator<Item = &Value> {
        let branches = self.on_failure.iter().flat_map(|(_, statements)| statements);
        let all = self.guards.iter().chain(&self.statements).chain(branches);
        all.flat_map(|statement| &statement.params)
    }

    /// What to commit when this label fails first.
    pub(crate) fn branch(&self, label: &str) -> Option<&[Statement]> {
        self.on_failure
            .iter()
            .find(|(name, _)| *name == label)
            .map(|(_, statements)| statements.as_slice())
    }
}

/// How a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a refused batch has changed nothing"]
pub enum Outcome {
    /// Everything was committed.
    Committed,
    /// An expectation failed, and nothing of the batch was committed.
    Refused {
        /// The first guard or statement whose expectation failed.
        label: &'static str,
        /// Whether it was a guard.
        guard: bool,
        /// Its place among the guards, or among the statements, from 0.
        position: usize,
        /// Whether the statements named for this label were committed instead. `false` also if one of
        /// their own expectations failed.
        recorded: bool,
    },
}

impl Outcome {
    /// Whether the batch was committed.
    pub fn is_committed(self) -> bool {
        self == Self::Committed
    }
}
