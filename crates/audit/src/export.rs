//! The export of an audit log: JSON lines, in an order that lets them be verified in one pass with
//! little memory.
//!
//! ```text
//! {"format":"chancery-audit-export/1","tenant":"ten_…","keys":["<verifier key>",…]}
//! {"log":{"origin":"<log>/<generation>","first_index":0,"subtrees":[]}}
//! {"entry":{"index":0,"leaf":"<the leaf's text>","parts":[…]}}
//! {"checkpoint":{"note":"<signed note>"}}
//! {"end":{"entries":1,"checkpoints":1}}
//! ```
//!
//! After the header come one or more logs, the generations of the tenant's log in ascending order.
//! In each, entries stand by index, and every known checkpoint stands right after the last entry that
//! it covers; one that covers more entries than there are stands at the end of its log. A log that
//! does not start at index 0 names the roots of the perfect subtrees before it. The keys in the header
//! are for information: a verifier trusts only keys that it has from elsewhere.
//!
//! Every line has one encoding: the members in this order, no white space. Others are refused.

use crate::commitment::PartRecord;
use crate::key::VerifierKey;
use crate::leaf::Leaf;
use crate::origin::Origin;
use crate::tree::Hash;
use chancery_core::id::TenantId;
use serde::{Deserialize, Serialize};

/// Why a line cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The line is not of this format, or not in its one encoding.
    #[error("not a line of an audit export")]
    Format,
    /// The line does not belong at this place: an entry before its log, an index out of order.
    #[error("the line does not belong at this place of the export")]
    Order,
}

/// A line of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The first line.
    Header(Header),
    /// A generation of the log begins.
    Log(Log),
    /// A leaf and its parts.
    Entry(Entry),
    /// A signed checkpoint.
    Checkpoint(Note),
    /// The last line.
    End(End),
}

/// What is exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    format: Format,
    /// The tenant whose log it is.
    pub tenant: TenantId,
    /// The keys that signed, for information.
    pub keys: Vec<VerifierKey>,
}

/// One generation of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Its origin.
    pub origin: Origin,
    /// The index of the first entry that follows.
    pub first_index: u64,
    /// The roots of the perfect subtrees of the entries before it, the largest first.
    pub subtrees: Vec<Hash>,
}

/// A leaf and its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The leaf's index in its log.
    pub index: u64,
    /// The leaf's text.
    pub leaf: String,
    /// Its parts, present or erased.
    pub parts: Vec<PartRecord>,
}

/// A signed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// The signed note.
    pub note: String,
}

/// The counts that end an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// How many entries there were.
    pub entries: u64,
    /// How many checkpoints there were.
    pub checkpoints: u64,
}

impl Line {
    /// Reads a line, without its line feed.
    ///
    /// # Errors
    /// [`ExportError::Format`].
    pub fn parse(text: &str) -> Result<Self, ExportError> {
        let line = if text.starts_with("{\"format\":") {
            serde_json::from_str(text).map(Self::Header)
        } else {
            serde_json::from_str(text).map(Body::into_line)
        };
        // INVARIANT: what is read is what is printed, so no change of a line goes unseen.
        line.ok()
            .filter(|line| line.print().is_ok_and(|printed| printed == text))
            .ok_or(ExportError::Format)
    }

    /// The text of the line, without a line feed.
    ///
    /// # Errors
    /// [`ExportError::Format`] if it cannot be written.
    pub fn print(&self) -> Result<String, ExportError> {
        let printed = match self {
            Self::Header(header) => serde_json::to_string(header),
            Self::Log(log) => serde_json::to_string(&BodyRef::Log(log)),
            Self::Entry(entry) => serde_json::to_string(&BodyRef::Entry(entry)),
            Self::Checkpoint(note) => serde_json::to_string(&BodyRef::Checkpoint(note)),
            Self::End(end) => serde_json::to_string(&BodyRef::End(end)),
        };
        printed.map_err(|_| ExportError::Format)
    }
}

/// Reads an export line by line. The order of the lines is left to the reader; [`crate::verify()`]
/// checks it.
pub fn read<S: AsRef<str>>(
    lines: impl IntoIterator<Item = S>,
) -> impl Iterator<Item = Result<Line, ExportError>> {
    lines.into_iter().map(|line| Line::parse(line.as_ref()))
}

/// Writes an export line by line. It gives each line as text, to be written with a line feed after
/// it, and sees to their order.
#[derive(Debug)]
pub struct Exporter {
    next_index: Option<u64>,
    totals: End,
}

impl Exporter {
    /// Begins an export: the exporter and its first line.
    ///
    /// # Errors
    /// [`ExportError::Format`].
    pub fn begin(tenant: TenantId, keys: Vec<VerifierKey>) -> Result<(Self, String), ExportError> {
        let header = Header {
            format: Format::Version1,
            tenant,
            keys,
        };
        let exporter = Self {
            next_index: None,
            totals: End::default(),
        };
        Ok((exporter, Line::Header(header).print()?))
    }

    /// Begins a generation of the log.
    ///
    /// # Errors
    /// [`ExportError::Order`] if there is not one subtree for each bit set in the first index.
    pub fn log(&mut self, log: Log) -> Result<String, ExportError> {
        if log.subtrees.len() != usize::try_from(log.first_index.count_ones()).unwrap_or(usize::MAX) {
            return Err(ExportError::Order);
        }
        self.next_index = Some(log.first_index);
        Line::Log(log).print()
    }

    /// The next entry.
    ///
    /// # Errors
    /// [`ExportError::Order`] before the first log, or if the index is not the next one.
    pub fn entry(&mut self, index: u64, leaf: &Leaf, parts: Vec<PartRecord>) -> Result<String, ExportError> {
        if self.next_index != Some(index) {
            return Err(ExportError::Order);
        }
        self.next_index = index.checked_add(1);
        self.totals.entries += 1;
        let leaf = leaf.as_text().to_owned();
        Line::Entry(Entry { index, leaf, parts }).print()
    }

    /// A checkpoint of the entries so far; at the end of a log also one that covers more. The note is
    /// written as it is: judging it is the verifier's part, and an export must not fail on a log that
    /// was tampered with.
    ///
    /// # Errors
    /// [`ExportError::Order`] before the first log.
    pub fn checkpoint(&mut self, note: String) -> Result<String, ExportError> {
        if self.next_index.is_none() {
            return Err(ExportError::Order);
        }
        self.totals.checkpoints += 1;
        Line::Checkpoint(Note { note }).print()
    }

    /// The last line.
    ///
    /// # Errors
    /// [`ExportError::Format`].
    pub fn end(self) -> Result<String, ExportError> {
        Line::End(self.totals).print()
    }
}

/// The name and version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "chancery-audit-export/1")]
    Version1,
}

/// All lines but the first, to be read.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Body {
    Log(Log),
    Entry(Entry),
    Checkpoint(Note),
    End(End),
}

impl Body {
    fn into_line(self) -> Line {
        match self {
            Self::Log(log) => Line::Log(log),
            Self::Entry(entry) => Line::Entry(entry),
            Self::Checkpoint(note) => Line::Checkpoint(note),
            Self::End(end) => Line::End(end),
        }
    }
}

/// All lines but the first, to be written.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum BodyRef<'a> {
    Log(&'a Log),
    Entry(&'a Entry),
    Checkpoint(&'a Note),
    End(&'a End),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf::tests::content;

    #[test]
    fn lines_are_the_documented_ones() {
        let origin = Origin::new("id.example/log", 1).unwrap();
        let (mut exporter, header) = Exporter::begin(content().tenant, Vec::new()).unwrap();
        let tenant = content().tenant;
        let expected = format!(r#"{{"format":"chancery-audit-export/1","tenant":"{tenant}","keys":[]}}"#);
        assert_eq!(header, expected);
        let log = Log {
            origin,
            first_index: 0,
            subtrees: Vec::new(),
        };
        let log = exporter.log(log).unwrap();
        let expected = r#"{"log":{"origin":"id.example/log/1","first_index":0,"subtrees":[]}}"#;
        assert_eq!(log, expected);
        let leaf = Leaf::new(content()).unwrap();
        let entry = exporter.entry(0, &leaf, Vec::new()).unwrap();
        assert!(
            entry.starts_with(r#"{"entry":{"index":0,"leaf":"{\"v\":1,"#),
            "{entry}"
        );
        let note = exporter.checkpoint("a\n\n— b c\n".to_owned()).unwrap();
        assert_eq!(note, r#"{"checkpoint":{"note":"a\n\n— b c\n"}}"#);
        let end = exporter.end().unwrap();
        assert_eq!(end, r#"{"end":{"entries":1,"checkpoints":1}}"#);
        for line in read([header, log, entry, note, end]) {
            assert!(line.is_ok());
        }
    }

    #[test]
    fn lines_out_of_order_are_not_written() {
        let (mut exporter, _) = Exporter::begin(content().tenant, Vec::new()).unwrap();
        let leaf = Leaf::new(content()).unwrap();
        assert_eq!(exporter.entry(0, &leaf, Vec::new()), Err(ExportError::Order));
        assert_eq!(exporter.checkpoint(String::new()), Err(ExportError::Order));
        let origin = Origin::new("id.example/log", 1).unwrap();
        let log = Log {
            origin,
            first_index: 3,
            subtrees: Vec::new(),
        };
        assert_eq!(exporter.log(log.clone()), Err(ExportError::Order));
        exporter
            .log(Log {
                first_index: 0,
                ..log
            })
            .unwrap();
        assert_eq!(exporter.entry(1, &leaf, Vec::new()), Err(ExportError::Order));
    }

    #[test]
    fn other_encodings_of_a_line_are_refused() {
        for text in [
            "",
            "{}",
            r#"{"end":{"entries":1,"checkpoints":1} }"#,
            r#"{"end":{"checkpoints":1,"entries":1}}"#,
            r#"{"end":{"entries":1,"checkpoints":1,"more":1}}"#,
            r#"{"end":{"entries":1}}"#,
            r#"{"checkpoint":{"note":"\u0061"}}"#,
            r#"{"format":"chancery-audit-export/2","tenant":"x","keys":[]}"#,
        ] {
            assert_eq!(Line::parse(text), Err(ExportError::Format), "{text}");
        }
    }
}
