//! What came of each check: a line on the terminal, and a table and JSON in `docs/spec/interop`.

use crate::steps::say;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The outcomes so far.
#[derive(Debug, Default)]
pub(super) struct Results {
    checks: Vec<Check>,
}

#[derive(Debug)]
struct Check {
    place: &'static str,
    name: String,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// The foreign program is at fault, and this is how.
    Known(&'static str),
    Failed,
}

impl Results {
    /// Takes one line that a program printed.
    pub(super) fn take(&mut self, place: &'static str, line: &str) -> Result<()> {
        let value: Value = serde_json::from_str(line).with_context(|| format!("not a result: `{line}`"))?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let passed = value.get("passed").and_then(Value::as_bool).unwrap_or(false);
        let (name, detail) = (text("check").to_owned(), text("detail"));
        let outcome = match known_fault(place, &name, detail) {
            _ if passed => Outcome::Passed,
            Some(fault) => Outcome::Known(fault),
            None => Outcome::Failed,
        };
        match outcome {
            Outcome::Passed => say(&format!("passed  {name}")),
            Outcome::Known(fault) => say(&format!("known   {name}: {fault}")),
            Outcome::Failed => say(&format!("failed  {name}: {detail}")),
        }
        self.checks.push(Check { place, name, outcome });
        Ok(())
    }

    /// A program that ended badly without naming a check.
    pub(super) fn fail(&mut self, place: &'static str, name: &str, detail: &str) {
        say(&format!("failed  {name}: {detail}"));
        self.checks.push(Check {
            place,
            name: name.to_owned(),
            outcome: Outcome::Failed,
        });
    }

    /// Writes the table and the JSON.
    pub(super) fn keep(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        let items: Vec<Value> = self.checks.iter().map(Check::to_json).collect();
        let text = serde_json::to_string_pretty(&json!({ "checks": items }))?;
        fs::write(folder.join("latest.json"), text + "\n")?;
        fs::write(folder.join("latest.md"), self.table())?;
        Ok(())
    }

    /// The summary.
    pub(super) fn finish(&self) -> Result<()> {
        let count = |wanted: fn(&Outcome) -> bool| {
            let outcomes = self.checks.iter().map(|check| &check.outcome);
            outcomes.filter(|outcome| wanted(outcome)).count()
        };
        let failed = count(|outcome| *outcome == Outcome::Failed);
        let known = count(|outcome| matches!(outcome, Outcome::Known(_)));
        let passed = count(|outcome| *outcome == Outcome::Passed);
        say(&format!(
            "\ninterop: {passed} passed, {known} known faults of others, {failed} failed"
        ));
        ensure!(failed == 0 && passed > 0, "interop: {failed} checks failed");
        Ok(())
    }

    fn table(&self) -> String {
        let mut text = String::from(HEAD);
        let mut place = "";
        for check in &self.checks {
            if check.place != place {
                place = check.place;
                let _ = write!(text, "\n## {place}\n\n| check | outcome |\n|---|---|\n");
            }
            let outcome = match check.outcome {
                Outcome::Passed => "passed".to_owned(),
                Outcome::Known(fault) => format!("known fault: {fault}"),
                Outcome::Failed => "**failed**".to_owned(),
            };
            let _ = writeln!(text, "| {} | {outcome} |", check.name);
        }
        text
    }
}

impl Check {
    fn to_json(&self) -> Value {
        let (outcome, fault) = match self.outcome {
            Outcome::Passed => ("passed", None),
            Outcome::Known(fault) => ("known", Some(fault)),
            Outcome::Failed => ("failed", None),
        };
        json!({ "place": self.place, "check": self.name, "outcome": outcome, "fault": fault })
    }
}

/// Why a check cannot pass, where a foreign program breaks a rule of its own accord.
fn known_fault(place: &str, name: &str, detail: &str) -> Option<&'static str> {
    let applies = |fault: &&Fault| {
        place.contains(fault.place)
            && name.starts_with(fault.program)
            && name.contains(fault.check)
            && detail.contains(fault.said)
    };
    FAULTS.iter().find(applies).map(|fault| fault.reason)
}

/// A fault of a fixed version of a foreign program.
struct Fault {
    place: &'static str,
    program: &'static str,
    check: &'static str,
    /// What the check then says; anything else is a failure.
    said: &'static str,
    reason: &'static str,
}

const FAULTS: [Fault; 5] = [
    Fault {
        place: "",
        program: "Python mcp 1.30.0",
        check: "client_secret_post",
        said: "",
        reason: "the client sends the secret without `client_id` (RFC 6749 §2.3.1 requires both)",
    },
    Fault {
        place: "without a path",
        program: "Python mcp 1.30.0",
        check: "private_key_jwt",
        said: "",
        reason: "the client appends `/` to an issuer without a path and signs that as `aud` (RFC 8414 §3.3: exact)",
    },
    Fault {
        place: "without a path",
        program: "Python mcp 2.3.0, server on mcp 1.30.0",
        check: "",
        said: "",
        reason: "SDK 1.x appends `/` to an issuer without a path in RFC 9728 metadata, SDK 2.x compares exactly",
    },
    Fault {
        place: "through the gateway",
        program: "",
        check: "sessions: an unknown resource",
        said: "-32002",
        reason: "the gateway answers -32002, as revisions with sessions ask (resources, \"Error Handling\"); the \
server's SDK answers -32602 in every revision",
    },
    Fault {
        place: "people",
        program: "conformance",
        check: "-app, authorization-server-authorization-code-grant",
        said: "401",
        reason: "the tool proves nothing where the metadata also names `none`, though it was given a secret, and the \
client is registered with one",
    },
];

const HEAD: &str = "# Interoperability, last run\n\nWritten by `cargo xtask interop`. Programs, versions and how to read \
this: `interop/README.md`.\nA *known fault* is one of the foreign program: what it does is named, and the run does not \
fail for it.\n\nIn the part \"directly and through the gateway\" each check is made twice, at the server and at the gateway in front of it, and passes when both \
came out the same: a check of the conformance tool\nthat the server itself does not pass must fail in the same way.\n";

#[cfg(test)]
mod tests {
    use super::known_fault;

    #[test]
    fn a_known_fault_excuses_only_its_own_program_and_place() {
        let name = "Python mcp 1.30.0, server on mcp 2.3.0: private_key_jwt ES256";
        assert!(known_fault("issuer without a path", name, "").is_some());
        assert!(known_fault("issuer with a path", name, "").is_none());
        assert!(known_fault("issuer without a path", "oauth4webapi 3.8.8: discovery, oidc", "").is_none());
    }

    #[test]
    fn a_known_fault_excuses_only_what_it_says() {
        let check = |name, detail| known_fault("directly and through the gateway", name, detail);
        let name = "TypeScript sdk 1.32.2, sessions: an unknown resource";
        assert!(check(name, "directly -32602, through the gateway -32002").is_some());
        assert!(check(name, "directly -32602, through the gateway fetch failed").is_none());
        assert!(check("TypeScript sdk 1.32.2, 2026-07-28: an unknown resource", "-32002").is_none());
    }
}
