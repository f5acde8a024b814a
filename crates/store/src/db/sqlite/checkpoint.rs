//! Moves the write-ahead log into the file, on a thread and a connection of its own, so that no commit
//! waits for it.

use super::Health;
use super::code::is_fatal;
use rusqlite::Connection;
use std::sync::mpsc::Receiver;

/// Runs until the writer is gone, then empties the log.
pub(super) fn run(connection: &Connection, wake: &Receiver<()>, threshold: u32, health: &Health) {
    while wake.recv().is_ok() {
        let left = checkpoint(connection, PASSIVE, health);
        // Readers that overlap without end keep the log from starting over. Wait for them, briefly.
        if left.is_some_and(|frames| frames > i64::from(threshold).saturating_mul(TOO_LONG)) {
            checkpoint(connection, RESTART, health);
        }
    }
    if health.check().is_ok() {
        checkpoint(connection, TRUNCATE, health);
    }
}

/// Runs one checkpoint; returns the length of the log in frames, if it is known.
fn checkpoint(connection: &Connection, sql: &str, health: &Health) -> Option<i64> {
    match connection.query_row(sql, [], |row| row.get(1)) {
        Ok(frames) => Some(frames),
        Err(error) => {
            if is_fatal(&error) {
                health.take_out_of_service(&format!("a checkpoint failed: {error}"));
            }
            tracing::warn!(%error, "a checkpoint failed");
            None
        }
    }
}

const PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";
const RESTART: &str = "PRAGMA wal_checkpoint(RESTART)";
const TRUNCATE: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// How many times the threshold the log may grow before readers are waited for.
const TOO_LONG: i64 = 64;
