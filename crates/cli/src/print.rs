//! What people see: tables, sentences, problems with their fix. The only file that writes to the terminal.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// JSON instead of text.
    pub(crate) json: bool,
}

/// Prints a line.
#[expect(clippy::print_stdout, reason = "this is where the command prints")]
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// Prints a line to standard error.
#[expect(clippy::print_stderr, reason = "this is where the command prints")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// Writes a line of a protocol whose other end is a program, at once.
///
/// # Errors
/// The other end is gone.
pub(crate) fn protocol(text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints JSON, indented.
pub(crate) fn json(value: &Value) {
    line(&serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()));
}

/// Prints an error with its causes.
pub(crate) fn failure(error: &anyhow::Error) {
    note(&format!("error: {error:#}"));
}

/// Prints a table.
pub(crate) fn table(columns: &[&str], rows: Vec<Vec<String>>) {
    line(&table_text(columns, rows));
}

/// A table as text.
pub(crate) fn table_text(columns: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.to_vec());
    for row in rows {
        table.add_row(row);
    }
    let text = table.to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// A field of a JSON object as text.
pub(crate) fn field(value: &Value, path: &[&str]) -> String {
    let found = path.iter().try_fold(value, |value, name| value.get(*name));
    match found {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
