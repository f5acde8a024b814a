//! `scan` as people run it: it names keys and prints none.

use crate::world::BINARY;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const KEY: &str = "0123456789abcdef0123";

fn scan(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.arg("scan").arg(folder).args(words);
    command.output().unwrap()
}

fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(".env", format!("DEBUG=1\nSTRIPE_API_KEY={KEY}\n"));
    write(
        ".cursor/mcp.json",
        format!(
            r#"{{ "mcpServers": {{ "Bank": {{ "url": "https://mcp.bank.example/mcp", "headers": {{ "X-Key": "a", "X-Api-Key": "{KEY}" }} }},
                "files": {{ "command": "npx", "args": ["-y", "files", "--token={KEY}"] }} }} }}"#
        ),
    );
    write("node_modules/other/.env", format!("A_TOKEN={KEY}\n"));
    write("broken/mcp.json", "{ no".to_owned());
    folder
}

#[test]
fn keys_are_named_with_what_replaces_them_and_no_value_is_printed() {
    let folder = project();
    let output = scan(folder.path(), &[]);
    let (out, error) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(output.status.success(), "{error}");
    assert!(!out.contains(KEY) && !error.contains(KEY), "{out}{error}");
    for told in [
        ".env:2: STRIPE_API_KEY is a secret by its name",
        "mcp.json:1: mcpServers.Bank.headers.X-Api-Key",
        "chancery add https://mcp.bank.example/mcp --name bank --key - --header X-Api-Key",
        "chancery mcp wrap --name files -- npx -y files \"--token=${TOKEN}\"",
        "chancery snippet cursor --agent AGENT --resource bank",
        "base_url = \"https://api.stripe.com\"",
        "chancery account set stripe --tenant-wide",
        "Static keys: 3; files looked at: 3",
    ] {
        assert!(out.contains(told), "{told} in {out}");
    }
    assert!(!out.contains("node_modules"), "{out}");
    assert!(
        error.contains("not looked at") && error.contains("broken/mcp.json"),
        "{error}"
    );
}

#[test]
fn programs_get_json_and_a_check_fails() {
    let folder = project();
    let output = scan(folder.path(), &["--json", "--check"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains(KEY), "{text}");
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["findings"].as_array().unwrap().len(), 3, "{text}");
    assert_eq!(found["skipped"].as_array().unwrap().len(), 1, "{text}");

    let clean = tempfile::tempdir().unwrap();
    std::fs::write(clean.path().join(".env"), "GITHUB_TOKEN=${GITHUB_TOKEN}\n").unwrap();
    let output = scan(clean.path(), &["--check"]);
    assert!(output.status.success());
    assert!(!scan(Path::new("/no/such/folder"), &[]).status.success());
}

#[test]
fn a_connection_that_is_proposed_has_the_form_that_apply_reads() {
    let folder = project();
    let out = String::from_utf8(scan(folder.path(), &[]).stdout).unwrap();
    let document = out
        .split("<<'END'\n")
        .nth(1)
        .unwrap()
        .split("\nEND")
        .next()
        .unwrap();
    let document: toml::Table = toml::from_str(document).unwrap();
    let connection = &document["connections"].as_array().unwrap()[0];
    assert_eq!(connection["name"].as_str(), Some("stripe"));
    let header = &connection["credential"]["api_key"]["parts"][0]["placement"]["header"];
    assert_eq!(header["name"].as_str(), Some("Authorization"));
}
