//! `cargo xtask fuzz`: builds the targets of `fuzz/` and lets each search for an input that breaks what it
//! asserts.
//!
//! The compiler is the one that the workspace fixes: coverage instrumentation is a pass of LLVM that the stable
//! compiler runs too. Sanitizers would need an unstable one; the product has no `unsafe` for them to watch.

use crate::root;
use crate::steps::{capture, cargo, must, program, say, timed, which};
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    /// The targets; none means all.
    targets: Vec<String>,
    /// How long each runs.
    seconds: u32,
}

/// Builds every target, runs those that are asked for, one after the other, and fails if one found something.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let request = parse(arguments)?;
    let known = targets()?;
    let unknown = request.targets.iter().find(|target| !known.contains(target));
    if let Some(unknown) = unknown {
        bail!("no fuzz target `{unknown}`; there are: {}", known.join(", "));
    }
    let chosen = if request.targets.is_empty() {
        known
    } else {
        request.targets
    };

    let (programs, taken) = timed(|| build(&chosen));
    let programs = programs?;
    say(&format!(
        "built {} fuzz targets in {:.0} s",
        chosen.len(),
        taken.as_secs_f64()
    ));
    let mut failed = Vec::new();
    for target in &chosen {
        if let Err(error) = fuzz(&programs.join(target), target, request.seconds) {
            say(&format!("{target}: FAILED: {error:#}"));
            failed.push(target.as_str());
        }
    }
    ensure!(failed.is_empty(), "fuzz: failed: {}", failed.join(", "));
    say(&format!(
        "fuzz: ok: {} targets, {} s each, no input breaks what they assert",
        chosen.len(),
        request.seconds
    ));
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Request> {
    let mut request = Request {
        targets: Vec::new(),
        seconds: DEFAULT_SECONDS,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--seconds" {
            let number = rest.next().context("`--seconds` takes a number")?;
            request.seconds = number
                .parse()
                .with_context(|| format!("`{number}` is no number of seconds"))?;
            // libFuzzer takes zero for "without end".
            ensure!(request.seconds > 0, "`--seconds` is at least 1");
        } else {
            ensure!(!argument.starts_with('-'), "unknown option `{argument}`: {USAGE}");
            request.targets.push(argument.clone());
        }
    }
    Ok(request)
}

/// Every target: the programs in `fuzz/targets/`.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("fuzz/targets"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.file_stem().and_then(|name| name.to_str());
            names.push(name.context("a target with a strange name")?.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Fixes the versions of what is fuzzed to those that are shipped; Cargo takes away what the targets do not use,
/// and adds libFuzzer.
pub(crate) fn lock() -> Result<()> {
    fs::copy(root().join("Cargo.lock"), root().join("fuzz/Cargo.lock"))?;
    Ok(())
}

/// Builds the targets; the folder of their programs.
fn build(targets: &[String]) -> Result<PathBuf> {
    ensure!(
        COMPILERS.iter().any(|compiler| which(compiler).is_some()),
        "libFuzzer is C++ and there is no C++ compiler; install one (on Debian: apt-get install g++)"
    );
    lock()?;
    let host = host()?;
    let folder = root().join("target/fuzz");
    let mut command = cargo(&[
        "build",
        "--quiet",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--target",
        &host,
    ]);
    for target in targets {
        command.args(["--bin", target]);
    }
    command
        .env("CARGO_TARGET_DIR", &folder)
        .env("RUSTFLAGS", INSTRUMENTATION.join(" "))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        // Whatever CI chose for the product's profile, a crash is to be found in its source.
        .env_remove("CARGO_PROFILE_DEV_DEBUG");
    must(&mut command).context("the fuzz targets do not build")?;
    Ok(folder.join(host).join("debug"))
}

/// With a target named, flags reach the product and not the programs that build it.
fn host() -> Result<String> {
    let version = capture("rustc", &["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

fn fuzz(program_path: &Path, target: &str, seconds: u32) -> Result<()> {
    let work = root().join("target/fuzz");
    let found = work.join("found").join(target);
    let corpus = work.join("corpus").join(target);
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&corpus)?;
    let log = work.join(format!("{target}.log"));

    let mut command = program(program_path);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(LIMITS);
    let dictionary = root().join(format!("fuzz/dictionaries/{target}.dict"));
    if dictionary.is_file() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    // New inputs go to the first folder; the seeds are read only.
    command.arg(&corpus).arg(root().join("fuzz/corpus").join(target));
    command.stdout(Stdio::null()).stderr(fs::File::create(&log)?);
    let status = command
        .status()
        .with_context(|| format!("cannot run `{}`", program_path.display()))?;

    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if status.success() {
        say(&format!("{target}: ok: {}", summary(&said)));
        return Ok(());
    }
    for line in said.lines().filter(|line| is_telling(line)).take(12) {
        say(&format!("    {line}"));
    }
    let Some(input) = artifact(&said) else {
        bail!(
            "the target ended with {status}; all it said is in `{}`",
            log.display()
        );
    };
    let input = Path::new(input)
        .strip_prefix(root())
        .map_or(input, |path| path.to_str().unwrap_or(input));
    let program_path = program_path.strip_prefix(root()).unwrap_or(program_path);
    bail!(
        "`{input}` breaks what the target asserts\n\
         \n    look again:  {} {input}\
         \n    make it small:  {} -minimize_crash=1 -max_total_time=30 {input}\
         \n    keep it:  copy it to `fuzz/corpus/{target}/` under the name of the rule that it breaks, and write a test of\
         \n              that name, with the input in it, in the crate at fault; it fails first, then comes the fix",
        program_path.display(),
        program_path.display(),
    );
}

/// What a run did, in a few words.
fn summary(said: &str) -> String {
    let last = |name: &str| {
        let line = said.lines().rev().find(|line| line.starts_with(name))?;
        line.split_whitespace().last().map(str::to_owned)
    };
    let covered = said
        .lines()
        .rev()
        .find_map(|line| line.split_once("cov: ")?.1.split_whitespace().next());
    format!(
        "{} inputs, {} new, {} edges covered",
        last("stat::number_of_executed_units").unwrap_or_default(),
        last("stat::new_units_added").unwrap_or_default(),
        covered.unwrap_or("no")
    )
}

/// Where libFuzzer wrote the input that ended it.
fn artifact(said: &str) -> Option<&str> {
    let line = said.lines().find(|line| line.contains("Test unit written to "))?;
    line.split_once("Test unit written to ")
        .map(|(_, path)| path.trim())
}

/// What the panic said, and libFuzzer's last word.
fn is_telling(line: &str) -> bool {
    let is_noise = line.is_empty()
        || line.starts_with(['#', '=', ' ', '\t', '0'])
        || NOISE.iter().any(|start| line.starts_with(start));
    !is_noise || line.contains("ERROR: libFuzzer")
}

/// Short enough that nobody minds, long enough to pass over every seed.
const DEFAULT_SECONDS: u32 = 10;

const NOISE: [&str; 11] = [
    "INFO",
    "WARNING",
    "NOTE",
    "MS:",
    "Dictionary",
    "Running",
    "SUMMARY",
    "artifact_prefix",
    "Base64",
    "stack backtrace",
    "note:",
];

const USAGE: &str = "cargo xtask fuzz [TARGET …] [--seconds N]";

const COMPILERS: [&str; 3] = ["c++", "g++", "clang++"];

/// An input that takes ten seconds or two gigabytes is a fault too.
const LIMITS: [&str; 5] = [
    "-print_final_stats=1",
    "-timeout=10",
    "-rss_limit_mb=2048",
    "-max_len=16384",
    "-verbosity=1",
];

/// What makes libFuzzer see which way an input went, and the checks of the debug profile.
const INSTRUMENTATION: [&str; 9] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Coverflow-checks",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn arguments_are_targets_and_seconds() {
        let request = parse(&words("json jwt --seconds 3")).unwrap();
        assert_eq!((request.targets, request.seconds), (words("json jwt"), 3));
        assert_eq!(parse(&[]).unwrap().seconds, DEFAULT_SECONDS);
        for wrong in ["--seconds", "--seconds x", "--seconds 0", "--runs 3"] {
            assert!(parse(&words(wrong)).is_err(), "{wrong}");
        }
        assert!(
            run(&words("nonsense"))
                .unwrap_err()
                .to_string()
                .contains("nonsense")
        );
    }

    #[test]
    fn every_target_is_declared_and_has_seeds() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        for target in targets().unwrap() {
            assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
            let seeds = fs::read_dir(root().join("fuzz/corpus").join(&target));
            assert!(seeds.unwrap().count() >= 3, "{target}");
        }
    }

    #[test]
    fn a_crash_is_found_in_what_libfuzzer_says() {
        let said = "INFO: Seed: 1\n#2 INITED cov: 41 ft: 42\nthread '<unnamed>' panicked at src/x.rs:1:1:\nboom\nartifact_prefix='x/'; Test unit written to x/crash-1\n";
        assert_eq!(artifact(said), Some("x/crash-1"));
        assert!(summary(said).contains("41 edges"));
        let telling: Vec<&str> = said.lines().filter(|line| is_telling(line)).collect();
        assert!(telling.contains(&"boom") && !telling.iter().any(|line| line.starts_with("INFO")));
    }
}
