//! Checkpoints that were kept outside the database, read back: what shows that a database was restored from a backup,
//! or rewritten.
//!
//! A file of checkpoints is only ever appended to. At the start its end is read, which has the newest note of every log
//! that is written to; a restore reads all of it. It does not ask a URL that checkpoints were posted to.

use crate::error::Failure;
use crate::keys::TenantKeys;
use crate::tenants::Served;
use chancery_audit::Checkpoint;
use chancery_store::{Db, log};
use std::io::SeekFrom;
use std::path::Path;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

/// Every signed note of a file, the oldest first; of a long file only those of its last part, if `at_most` bytes are
/// not all of it.
///
/// # Errors
/// The file cannot be read.
pub async fn read(path: &Path, at_most: Option<u64>) -> std::io::Result<Vec<String>> {
    let mut file = tokio::fs::File::open(path).await?;
    let length = file.metadata().await?.len();
    if let Some(skipped) = at_most.and_then(|most| length.checked_sub(most)) {
        file.seek(SeekFrom::Start(skipped)).await?;
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).await?;
    Ok(notes(&String::from_utf8_lossy(&bytes)))
}

/// The notes of a text. A note is a text, an empty line, and lines of signatures; what is cut off is left out.
pub fn notes(text: &str) -> Vec<String> {
    let blocks: Vec<&str> = text
        .split("\n\n")
        .map(|block| block.trim_matches('\n'))
        .filter(|block| !block.is_empty())
        .collect();
    let pairs = blocks.iter().zip(blocks.iter().skip(1));
    pairs
        .filter(|(body, signatures)| !is_signatures(body) && is_signatures(signatures))
        .map(|(body, signatures)| format!("{body}\n\n{signatures}\n"))
        .collect()
}

/// The newest of these notes that this tenant's log signed: in the highest generation the one over most entries.
///
/// # Errors
/// The tenant's key is unusable.
pub fn newest(keys: &TenantKeys, notes: &[String]) -> Result<Option<Checkpoint>, Failure> {
    let trusted = [keys.verifier(1)?];
    let name = keys.origin(1)?;
    let known = notes
        .iter()
        .filter_map(|note| Checkpoint::open(note, &trusted).ok())
        .filter(|checkpoint| checkpoint.origin.log() == name.log());
    Ok(known.max_by_key(|checkpoint| (checkpoint.origin.generation(), checkpoint.size)))
}

/// Refuses a database that is behind a checkpoint which was kept of it: it was restored from a backup, and must be
/// continued in a new log generation first.
///
/// # Errors
/// The database is behind, or says something else; the file cannot be read; the database's.
pub async fn check(db: &Db, path: &Path, all: &[std::sync::Arc<Served>]) -> Result<(), Failure> {
    let notes = match read(path, Some(TAIL)).await {
        Ok(notes) => notes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(Failure::Start(format!(
                "the checkpoint file `{}` cannot be read: {error}",
                path.display()
            )));
        }
    };
    for served in all {
        let Some(kept) = newest(&served.keys, &notes)? else {
            continue;
        };
        let own = log::newest_checkpoint(db, served.tenant.id).await?;
        let own = newest(&served.keys, own.as_slice())?;
        let place = |checkpoint: &Checkpoint| (checkpoint.origin.generation(), checkpoint.size);
        let own_place = own.as_ref().map_or((0, 0), place);
        let generation = log::find_head(db, served.tenant.id).await?;
        let generation = generation.map_or(0, |head| head.log_generation);
        if generation > kept.origin.generation() || place(&kept) < own_place {
            continue;
        }
        if place(&kept) == own_place && own.is_some_and(|own| own.root == kept.root) {
            continue;
        }
        return Err(behind(served, path, &kept, own_place.1));
    }
    Ok(())
}

fn behind(served: &Served, path: &Path, kept: &Checkpoint, known: u64) -> Failure {
    Failure::Start(format!(
        "the log of tenant `{}` was signed over {} entries ({}), but this database has signed {known}: it was \
         restored from a backup, or rewritten\nhint: if it was restored: chancery restore --checkpoints {}",
        served.tenant.name,
        kept.size,
        path.display(),
        path.display()
    ))
}

fn is_signatures(block: &str) -> bool {
    block.lines().all(|line| line.starts_with("— "))
}

/// How much of the end of a file is read at the start.
const TAIL: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const NOTES: &str = "a/log/1\n3\nr\n\n— a/log/1 sig\n\na/log/1\n4\ns\n\n— a/log/1 sig\n— w x\n\n";

    #[test]
    fn every_whole_note_is_read() {
        let read = notes(NOTES);
        assert_eq!(read.len(), 2);
        assert_eq!(read[0], "a/log/1\n3\nr\n\n— a/log/1 sig\n");
        assert_eq!(read[1], "a/log/1\n4\ns\n\n— a/log/1 sig\n— w x\n");
    }

    #[test]
    fn what_is_cut_off_is_no_note() {
        for cut in (0..NOTES.len()).filter(|cut| NOTES.is_char_boundary(*cut)) {
            let (_, tail) = NOTES.split_at(cut);
            let last = notes(tail);
            assert!(last.len() <= 2);
            assert!(last.iter().all(|note| note.contains("\n\n— ")));
        }
    }
}
