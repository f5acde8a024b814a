//! Project tasks: test, lint, bench, interop.
fn main() {}
