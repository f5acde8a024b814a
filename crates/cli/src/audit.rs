//! `chancery audit`: the log as sentences, exported, proved, and verified offline.

use crate::connection::{Connection, ConnectionArguments, as_json};
use crate::noun::encode;
use crate::print::{self, Output, field};
use anyhow::{Context as _, bail};
use chancery_audit::{ProofBundle, Verifier, VerifierKey};
use clap::{Args, Subcommand};
use serde_json::Value;
use std::io::{BufRead as _, Read as _};
use std::path::{Path, PathBuf};

/// Arguments of `audit`.
#[derive(Clone, Debug, Args)]
pub(crate) struct AuditArguments {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum AuditCommand {
    /// List events as sentences, newest last.
    List {
        /// Only this kind, as in `token.issued`, or all that start with `agent.`.
        #[arg(long, default_value = "")]
        kind: String,
        /// Only events that name this id.
        #[arg(long, default_value = "")]
        id: String,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Go on before this cursor.
        #[arg(long)]
        before: Option<i64>,
    },
    /// Show one event with its parts.
    Show {
        /// The event's id.
        id: String,
    },
    /// Write the log for offline verification.
    Export {
        /// The file to write; standard output if none.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Prove that one event is in the log.
    Prove {
        /// The event's id.
        id: String,
    },
    /// Print the public key and the newest checkpoint: what an auditor keeps.
    Key,
    /// Verify an export or a proof offline.
    Verify {
        /// The export (JSON lines) or a proof (`audit prove`).
        file: PathBuf,
        /// The log's public key, or a file with it.
        #[arg(long)]
        key: String,
        /// A file with checkpoints that were kept elsewhere.
        #[arg(long)]
        checkpoints: Vec<PathBuf>,
    },
    /// Erase one part of an event. Every proof stays valid.
    Erase {
        /// The event's id.
        id: String,
        /// The part.
        part: String,
    },
}

/// `chancery audit`.
pub(crate) async fn run(
    arguments: AuditArguments,
    connection: &ConnectionArguments,
    output: Output,
) -> anyhow::Result<()> {
    match arguments.command {
        AuditCommand::Verify {
            file,
            key,
            checkpoints,
        } => verify(&file, &key, &checkpoints, output),
        AuditCommand::List {
            kind,
            id,
            limit,
            before,
        } => list(&connection.open()?, (&kind, &id, limit, before), output).await,
        AuditCommand::Show { id } => {
            print::json(
                &connection
                    .open()?
                    .read(&format!("/audit/events/{}", encode(&id)))
                    .await?,
            );
            Ok(())
        }
        AuditCommand::Export { out } => export(&connection.open()?, out.as_deref()).await,
        AuditCommand::Prove { id } => {
            print::json(
                &connection
                    .open()?
                    .read(&format!("/audit/events/{}/proof", encode(&id)))
                    .await?,
            );
            Ok(())
        }
        AuditCommand::Key => key(&connection.open()?, output).await,
        AuditCommand::Erase { id, part } => {
            let path = format!("/audit/events/{}/parts/{}", encode(&id), encode(&part));
            connection
                .open()?
                .send(hyper::Method::DELETE, &path, &Value::Null)
                .await?;
            print::line("erased; every proof stays valid");
            Ok(())
        }
    }
}

async fn list(
    connection: &Connection,
    (kind, id, limit, before): (&str, &str, u32, Option<i64>),
    output: Output,
) -> anyhow::Result<()> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("kind", kind)
        .append_pair("id", id)
        .append_pair("limit", &limit.to_string());
    if let Some(before) = before {
        query.append_pair("cursor", &before.to_string());
    }
    let page = connection
        .read(&format!("/audit/events?{}", query.finish()))
        .await?;
    if as_json(output, &page) {
        return Ok(());
    }
    let items = page
        .get("items")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for item in items.iter().rev() {
        print::line(&format!(
            "{}  {}",
            field(item, &["time"]),
            field(item, &["sentence"])
        ));
    }
    if let Some(next) = page.get("next_cursor").and_then(Value::as_i64) {
        print::note(&format!("older: --before {next}"));
    }
    Ok(())
}

async fn export(connection: &Connection, out: Option<&Path>) -> anyhow::Result<()> {
    let bytes = connection.bytes("/api/v1/audit/export").await?;
    match out {
        Some(path) => {
            std::fs::write(path, &bytes)
                .with_context(|| format!("`{}` cannot be written", path.display()))?;
            print::note(&format!("{} bytes in {}", bytes.len(), path.display()));
        }
        None => print::line(String::from_utf8_lossy(&bytes).trim_end()),
    }
    Ok(())
}

async fn key(connection: &Connection, output: Output) -> anyhow::Result<()> {
    let state = connection.read("/audit/log").await?;
    if as_json(output, &state) {
        return Ok(());
    }
    print::line(&field(&state, &["verifier_key"]));
    print::note(&format!("\n{}", field(&state, &["checkpoint"])));
    if let Some(since) = state.get("behind_since").and_then(Value::as_str) {
        print::note(&format!(
            "behind: the URL that checkpoints are posted to has taken none since {since}; the server's log says why"
        ));
    }
    if state.get("witnessed").and_then(Value::as_bool) != Some(true) {
        print::note(
            "unwitnessed: no checkpoint leaves this host; start the server with --checkpoint-file, or keep this one yourself",
        );
    }
    Ok(())
}

/// Verifies offline. Prints what was checked, or every finding and fails.
pub(crate) fn verify(file: &Path, key: &str, checkpoints: &[PathBuf], output: Output) -> anyhow::Result<()> {
    let text = if Path::new(key).exists() {
        std::fs::read_to_string(key)?
    } else {
        key.to_owned()
    };
    let key: VerifierKey = text.trim().parse().context("--key is not a verifier key")?;
    let mut kept = Vec::new();
    for path in checkpoints {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?;
        // One file may hold the checkpoints of many logs; those of others say nothing of this one.
        let before = kept.len();
        kept.extend(notes(&text).into_iter().filter(|note| is_of(note, &key)));
        if kept.len() == before {
            bail!("`{}` holds no checkpoint of this log", path.display());
        }
    }
    let opened = std::fs::File::open(file).with_context(|| format!("`{}` cannot be read", file.display()))?;
    let mut reader = std::io::BufReader::new(opened);
    if let Some(proof) = proof_in(&mut reader)? {
        let proven = proof.verify(&[key])?;
        let content = proven.leaf.content();
        print::line(&format!(
            "event {} ({}) is entry {} of {}, under the signed checkpoint over {} entries; {} part(s) present, {} erased",
            content.event,
            content.kind,
            proven.index,
            proven.checkpoint.origin,
            proven.checkpoint.size,
            proven.parts.present,
            proven.parts.erased
        ));
        return Ok(());
    }
    let mut verifier = Verifier::new(vec![key], &kept);
    let mut line = String::new();
    loop {
        line.clear();
        if reader.by_ref().take(MAX_LINE).read_line(&mut line)? == 0 {
            break;
        }
        verifier.line(line.trim_end_matches('\n'));
    }
    let verification = verifier.finish();
    for finding in &verification.findings {
        print::note(&format!("FOUND: {finding}"));
    }
    if !verification.findings.is_empty() {
        bail!(
            "the log does not verify: {} finding(s)",
            verification.findings.len()
        );
    }
    report(&verification.report, output);
    Ok(())
}

fn report(report: &chancery_audit::Report, _output: Output) {
    print::line(&format!(
        "verified: {} entries, {} checkpoints, {} parts present, {} erased",
        report.entries, report.checkpoints, report.parts_present, report.parts_erased
    ));
    if report.assertions > 0 {
        print::line(&format!(
            "{} yes(es) signed by a passkey hold; of {} the passkey's registration is not in the export",
            report.assertions, report.assertions_unanchored
        ));
    }
    if report.is_unwitnessed() {
        print::line(
            "unwitnessed: no checkpoint kept elsewhere was given, so a rewritten log could not be told from this one",
        );
    } else {
        print::line(&format!(
            "{} checkpoint(s) kept elsewhere confirmed",
            report.kept_confirmed
        ));
    }
}

/// A proof is one JSON object over several lines or one; an export begins with a header line.
fn proof_in(reader: &mut std::io::BufReader<std::fs::File>) -> anyhow::Result<Option<ProofBundle>> {
    let start = reader.fill_buf()?;
    let looks_like_export = start
        .split(|&byte| byte == b'\n')
        .next()
        .is_some_and(|line| line.ends_with(b"}") && line.len() > 1);
    if looks_like_export {
        return Ok(None);
    }
    let mut text = String::new();
    reader.take(16 << 20).read_to_string(&mut text)?;
    let value: Value = serde_json::from_str(&text).context("neither an export nor a proof")?;
    Ok(Some(ProofBundle::parse(&value.to_string())?))
}

/// Whether a note is a checkpoint of the log that a key belongs to, of any generation.
fn is_of(note: &str, key: &VerifierKey) -> bool {
    let origin = note
        .lines()
        .next()
        .unwrap_or_default()
        .parse::<chancery_audit::Origin>();
    origin.is_ok_and(|origin| key.for_origin(&origin).is_some())
}

/// Signed notes in a file, each ending with an empty line after its signatures.
fn notes(text: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = String::new();
    let mut in_signatures = false;
    for line in text.lines() {
        let is_signature = line.starts_with('\u{2014}');
        if in_signatures && !is_signature {
            notes.push(std::mem::take(&mut note));
            in_signatures = false;
            if line.is_empty() {
                continue;
            }
        }
        if note.is_empty() && line.is_empty() {
            continue;
        }
        in_signatures |= is_signature;
        note.push_str(line);
        note.push('\n');
    }
    if in_signatures {
        notes.push(note);
    }
    notes
}

const MAX_LINE: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::notes;

    #[test]
    fn notes_are_told_apart_by_their_signatures() {
        let one = "log/1\n1\nroot=\n\n\u{2014} log/1 sig\n";
        let two = "log/1\n2\nroot=\n\n\u{2014} log/1 sig\n\u{2014} other sig\n";
        assert_eq!(
            notes(&format!("{one}\n{two}\n")),
            vec![one.to_owned(), two.to_owned()]
        );
    }
}
