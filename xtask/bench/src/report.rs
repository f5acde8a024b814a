//! What was measured: lines on the terminal, a table and JSON in a folder.

use crate::load::Outcome;
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

/// Prints one line.
pub(crate) fn say(line: &str) {
    // A closed terminal is no reason to stop.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Everything measured so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
    verdicts: Vec<Verdict>,
    busiest: f64,
}

#[derive(Debug)]
struct Figure {
    section: &'static str,
    name: String,
    value: f64,
    unit: &'static str,
}

/// A goal, and whether it was reached.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Its number.
    pub(crate) goal: &'static str,
    /// What was found.
    pub(crate) found: String,
    /// Whether what must be reached was; `None` where it was not measured.
    pub(crate) must: Option<bool>,
    /// Whether what is aimed at was.
    pub(crate) aim: Option<bool>,
    /// What bounds it.
    pub(crate) bound: &'static str,
}

impl Report {
    /// Adds a figure and prints it.
    pub(crate) fn add(
        &mut self,
        section: &'static str,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
    ) {
        let name = name.into();
        say(&format!("{section:<12} {name:<48} {:>12} {unit}", shown(value)));
        self.figures.push(Figure {
            section,
            name,
            value,
            unit,
        });
    }

    fn add_silently(&mut self, section: &'static str, name: String, value: f64, unit: &'static str) {
        self.figures.push(Figure {
            section,
            name,
            value,
            unit,
        });
    }

    /// Adds what came of a load.
    pub(crate) fn add_load(&mut self, section: &'static str, name: &str, outcome: &Outcome) {
        let name = format!("{name}, {} conn", outcome.connections);
        self.add(section, format!("{name}: rate"), outcome.rate, "per s");
        self.add(section, format!("{name}: p50"), outcome.p50, "ms");
        self.add(section, format!("{name}: p99"), outcome.p99, "ms");
        self.add(section, format!("{name}: CPU each"), outcome.cpu, "us");
        for (whose, share) in [
            ("server", outcome.server_share),
            ("others", outcome.others_share),
            ("generator", outcome.own_share),
        ] {
            self.add_silently(
                section,
                format!("{name}: core used by {whose}"),
                share * 100.0,
                "%",
            );
        }
        self.busiest = self.busiest.max(outcome.others_share);
    }

    /// A figure by its section and name.
    pub(crate) fn find(&self, section: &str, name: &str) -> Option<f64> {
        let found = |figure: &&Figure| figure.section == section && figure.name == name;
        self.figures.iter().find(found).map(|figure| figure.value)
    }

    /// Adds a verdict and prints it.
    pub(crate) fn judge(&mut self, verdict: Verdict) {
        say(&format!(
            "{:<4} must {:<12} aim {:<12} {}; {}",
            verdict.goal,
            word(verdict.must),
            word(verdict.aim),
            verdict.found,
            verdict.bound
        ));
        self.verdicts.push(verdict);
    }

    /// Writes the table and the JSON.
    pub(crate) fn keep(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("latest.md"), self.table())?;
        let mut sections: Map<String, Value> = Map::new();
        for figure in &self.figures {
            let section = sections.entry(figure.section).or_insert_with(|| json!({}));
            if let Some(members) = section.as_object_mut() {
                members.insert(
                    figure.name.clone(),
                    json!({ "value": figure.value, "unit": figure.unit }),
                );
            }
        }
        let verdicts: Vec<Value> = self.verdicts.iter().map(Verdict::to_json).collect();
        let text = serde_json::to_string_pretty(&json!({ "figures": sections, "goals": verdicts }))?;
        fs::write(folder.join("latest.json"), text + "\n")?;
        Ok(())
    }

    fn table(&self) -> String {
        let mut text = String::from(HEAD);
        let _ = writeln!(
            text,
            "Something else used up to {:.0} % of the server's core while it was measured.",
            self.busiest * 100.0
        );
        text.push_str(
            "\n## Goals\n\n| goal | found | must | aim | what bounds it |\n|---|---|---|---|---|\n",
        );
        for verdict in &self.verdicts {
            let (must, aim) = (word(verdict.must), word(verdict.aim));
            let _ = writeln!(
                text,
                "| {} | {} | {must} | {aim} | {} |",
                verdict.goal, verdict.found, verdict.bound
            );
        }
        let mut section = "";
        for figure in &self.figures {
            if figure.section != section {
                section = figure.section;
                let _ = write!(
                    text,
                    "\n## {section}\n\n| figure | value | unit |\n|---|--:|---|\n"
                );
            }
            let _ = writeln!(
                text,
                "| {} | {} | {} |",
                figure.name,
                shown(figure.value),
                figure.unit
            );
        }
        text
    }
}

impl Verdict {
    fn to_json(&self) -> Value {
        json!({ "goal": self.goal, "found": self.found, "must": self.must, "aim": self.aim, "bound": self.bound })
    }
}

fn word(reached: Option<bool>) -> &'static str {
    match reached {
        Some(true) => "reached",
        Some(false) => "NOT reached",
        None => "not measured",
    }
}

fn shown(value: f64) -> String {
    if value.abs() >= 100.0 {
        return format!("{value:.0}");
    }
    if value.abs() >= 1.0 {
        return format!("{value:.1}");
    }
    format!("{value:.3}")
}

const HEAD: &str = "# Benchmark, last run\n\nWritten by `cargo xtask bench`. The server is pinned to one core, the load \
generator to another; absolute figures are this machine's, ratios are what to compare.\nGoals and the costs behind \
them: the table of goals in `docs/bench/README.md`.\n";
