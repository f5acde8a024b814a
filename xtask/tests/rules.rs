//! The workspace keeps its own rules. This makes `cargo test` say so, not only `cargo xtask rules`.

#[cfg(test)]
mod rules {
    #[test]
    fn the_workspace_keeps_its_rules() {
        let violations = xtask::rules::check(&xtask::root()).unwrap();
        let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
    }
}
