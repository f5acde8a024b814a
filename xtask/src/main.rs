//! Project tasks: `cargo xtask help` lists them.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match xtask::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            xtask::steps::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
