//! `chancery why`.

use crate::connection::{Connection, as_json};
use crate::noun::encode;
use crate::print::{self, Output, field};
use clap::Args;
use serde_json::Value;

/// Arguments of `why`.
#[derive(Clone, Debug, Args)]
pub(crate) struct WhyArguments {
    /// A decision (`dec_…`), a token's id (`tok_…`) or a reference of a failed authentication (`ref_…`).
    id: String,
}

/// `chancery why`.
pub(crate) async fn run(
    arguments: WhyArguments,
    connection: &Connection,
    output: Output,
) -> anyhow::Result<()> {
    let why = connection
        .read(&format!("/why/{}", encode(&arguments.id)))
        .await?;
    if !as_json(output, &why) {
        print::line(&text(&why));
    }
    Ok(())
}

/// A decision as a table with its notes, or the reason of a failure.
pub(crate) fn text(why: &Value) -> String {
    if let Some(failed) = why.get("authentication_failed") {
        return format!(
            "the caller could not be authenticated: {}\nit called itself {}",
            field(failed, &["reason"]),
            field(failed, &["client_id"])
        );
    }
    let explanation = why
        .get("decision")
        .and_then(|decision| decision.get("explanation"))
        .cloned()
        .unwrap_or_default();
    let texts = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .map(|text| text.as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let columns = explanation.get("columns").map(texts).unwrap_or_default();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let rows = explanation
        .get("rows")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(texts)
        .collect();
    let mut text = format!(
        "{}\n{}",
        field(&explanation, &["summary"]),
        print::table_text(&columns, rows)
    );
    for note in explanation.get("notes").map(texts).unwrap_or_default() {
        text.push_str("\n→ ");
        text.push_str(&note);
    }
    text
}
