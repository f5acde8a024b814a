//! Running programs, one step after the other, with a line for each and how long it took.

use anyhow::{Context as _, Result, ensure};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Prints one line.
pub fn say(line: &str) {
    // A closed terminal is no reason to stop.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// A series of steps that runs to its end even if one fails, and then names those that did.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<(String, Duration)>,
    failed: Vec<String>,
}

impl Steps {
    /// Runs one step.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) {
        say(&format!("\n==> {name}"));
        let (outcome, taken) = timed(work);
        match outcome {
            Ok(()) => say(&format!("    {name}: ok, {:.1} s", taken.as_secs_f64())),
            Err(error) => {
                say(&format!(
                    "    {name}: FAILED, {:.1} s: {error:#}",
                    taken.as_secs_f64()
                ));
                self.failed.push(name.to_owned());
            }
        }
        self.done.push((name.to_owned(), taken));
    }

    /// The summary.
    ///
    /// # Errors
    /// A step failed.
    pub(crate) fn finish(self, task: &str) -> Result<()> {
        let total: Duration = self.done.iter().map(|(_, taken)| *taken).sum();
        ensure!(
            self.failed.is_empty(),
            "{task}: failed: {}",
            self.failed.join(", ")
        );
        let names: Vec<&str> = self.done.iter().map(|(name, _)| name.as_str()).collect();
        say(&format!(
            "\n{task}: ok in {:.0} s: {}",
            total.as_secs_f64(),
            names.join(", ")
        ));
        Ok(())
    }
}

/// A program in the workspace's folder that is asked nothing.
pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(crate::root()).stdin(Stdio::null());
    command
}

/// Cargo, at the version that the workspace fixes.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = program("cargo");
    command.args(arguments);
    command
}

/// Runs a command to its success.
///
/// # Errors
/// It cannot be run or fails.
pub(crate) fn must(command: &mut Command) -> Result<()> {
    let text = text_of(command);
    let status = command.status().with_context(|| format!("cannot run `{text}`"))?;
    ensure!(status.success(), "`{text}` failed ({status})");
    Ok(())
}

/// What a command prints, if it succeeds.
///
/// # Errors
/// It cannot be run or fails; the message is what it said.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let text = text_of(command);
    let output = command.output().with_context(|| format!("cannot run `{text}`"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`{text}` failed ({}): {}",
        output.status,
        said.trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// A command as a person would type it.
fn text_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// What a program prints, if it succeeds.
///
/// # Errors
/// As [`output`].
pub(crate) fn capture(name: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Result<String> {
    output(program(name).args(arguments))
}

/// Where a program is, as the shell finds it.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    let found = capture("sh", &["-c", "command -v \"$0\"", name]).ok()?;
    let path = Path::new(found.trim());
    path.is_absolute().then(|| path.to_owned())
}

/// How long some work takes.
#[expect(
    clippy::disallowed_methods,
    reason = "a duration to print for people; nothing is decided by it"
)]
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = std::time::Instant::now();
    let outcome = work();
    (outcome, start.elapsed())
}
