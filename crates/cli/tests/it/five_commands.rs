//! From nothing to a permitted call: five commands, and what the program that calls cannot find.

use crate::notes::{KEY, Notes};
use crate::world::{World, texts};
use rmcp::ServiceExt as _;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::StreamableHttpClientTransport;
use std::io::{BufRead as _, BufReader, Write as _};

#[test]
fn five_commands_lead_from_nothing_to_a_permitted_call() {
    let notes = Notes::start();
    let mut world = World::serve();
    world.enrol();
    let added = world.good(
        &["add", &notes.url, "--name", "notes", "--key", "-", "--yes"],
        KEY,
    );
    assert!(
        added.contains("read_note") && added.contains("is behind the gateway"),
        "{added}"
    );
    let made = world.good(
        &[
            "agent",
            "create",
            "bot",
            "--owner",
            "me",
            "--allow",
            "notes:read",
            "--secret-file",
            "bot.secret",
        ],
        "",
    );
    assert!(made.contains("agent") && !made.contains("chs_"), "{made}");
    let program = std::env::current_exe().unwrap();
    let program = program.to_str().unwrap();
    let child = [
        "--ignored",
        "--exact",
        "five_commands::the_program_that_run_starts",
        "--nocapture",
    ];
    let mut words = vec![
        "run",
        "--agent",
        "bot",
        "--secret-file",
        "bot.secret",
        "--",
        program,
    ];
    words.extend(child);
    let said = world.good(&words, "go\n");
    assert!(said.contains("answered: did read_note"), "{said}");
    assert!(world.commands() <= 5, "{} commands", world.commands());

    // What a sixth shows: both calls, the refused one with its reason.
    let calls = world.good(&["calls", "--agent", "bot"], "");
    assert!(
        calls.contains("bot called read_note on notes: permitted"),
        "{calls}"
    );
    assert!(
        calls.contains("bot called write_note on notes: refused"),
        "{calls}"
    );
    assert_eq!(notes.called(), ["read_note"]);
}

/// Not a test: what `run` starts above.
#[test]
#[ignore = "started by another test"]
#[expect(
    clippy::disallowed_methods,
    reason = "this program looks at what it was given"
)]
fn the_program_that_run_starts() {
    let url = std::env::var("CHANCERY_MCP_URL").unwrap();
    println!("url: {url}");
    for (name, value) in std::env::vars() {
        assert!(
            !value.contains("chs_") && !value.contains("eyJ"),
            "{name} holds a secret"
        );
        assert!(
            !name.contains("SECRET") && !name.contains("TOKEN_FILE"),
            "{name} is handed on"
        );
    }
    let config = std::fs::read_to_string(std::env::var("CHANCERY_MCP_CONFIG").unwrap()).unwrap();
    assert!(config.contains(&url) && !config.contains("Bearer"), "{config}");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let client = ().serve(StreamableHttpClientTransport::from_uri(url)).await.unwrap();
        let tools = client.list_all_tools().await.unwrap();
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
        println!("tools: {}", names.join(" "));
        let answer = client
            .call_tool(CallToolRequestParams::new("read_note"))
            .await
            .unwrap();
        let text = serde_json::to_value(&answer).unwrap();
        println!("answered: {}", text["content"][0]["text"].as_str().unwrap());
        let refused = client.call_tool(CallToolRequestParams::new("write_note")).await;
        println!("the other: {refused:?}");
        assert!(refused.is_err() || refused.unwrap().is_error == Some(true));
    });
}

#[test]
fn a_process_that_run_did_not_start_is_refused() {
    let notes = Notes::start();
    let mut world = World::ready(&notes.url, KEY);
    let program = std::env::current_exe().unwrap();
    let words = [
        "run",
        "--agent",
        "bot",
        "--secret-file",
        "bot.secret",
        "--",
        program.to_str().unwrap(),
        "--ignored",
        "--exact",
        "five_commands::the_program_that_run_starts",
        "--nocapture",
    ];
    let mut child = world.command(&words).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines
        .map(Result::unwrap)
        .find_map(|line| Some(line.split_once("url: ")?.1.to_owned()))
        .unwrap();
    // The program waits for its input: the proxy is there, and this process may not use it.
    let address = url
        .trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    let mut stream = std::net::TcpStream::connect(&address).unwrap();
    let request = format!("GET /mcp/notes HTTP/1.1\r\nhost: {address}\r\n\r\n");
    drop(stream.write_all(request.as_bytes()));
    let mut answer = String::new();
    let read = std::io::Read::read_to_string(&mut stream, &mut answer);
    assert!(read.is_err() || answer.is_empty(), "{answer}");
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn run_ends_with_what_the_program_ends_with() {
    let notes = Notes::start();
    let mut world = World::ready(&notes.url, KEY);
    for (script, code) in [("exit 7", 7), ("kill -9 $$", 137), ("exit 0", 0)] {
        let words = [
            "run",
            "--agent",
            "bot",
            "--secret-file",
            "bot.secret",
            "--",
            "sh",
            "-c",
            script,
        ];
        assert_eq!(world.run(&words, "").status.code(), Some(code), "{script}");
    }
    // A signal reaches the program.
    let words = [
        "run",
        "--agent",
        "bot",
        "--secret-file",
        "bot.secret",
        "--",
        "sh",
        "-c",
        "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done",
    ];
    let mut child = world.command(&words).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn without_a_proof_or_a_token_nothing_is_started() {
    let notes = Notes::start();
    let mut world = World::ready(&notes.url, KEY);
    let without = world.bad(&["run", "--resource", "notes", "--", "touch", "started"], "");
    assert!(without.contains("nothing proves the agent"), "{without}");
    std::fs::write(world.path("wrong.secret"), "chs_wrong").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(world.path("wrong.secret"), mode).unwrap();
    let words = [
        "run",
        "--agent",
        "bot",
        "--secret-file",
        "wrong.secret",
        "--",
        "touch",
        "started",
    ];
    let wrong = world.bad(&words, "");
    assert!(
        wrong.contains("no token") && wrong.contains("chancery why"),
        "{wrong}"
    );
    assert!(!world.path("started").exists());
}

#[test]
fn saying_it_again_changes_nothing_and_saying_something_else_is_refused() {
    let notes = Notes::start();
    let mut world = World::ready(&notes.url, KEY);
    let words = [
        "agent",
        "create",
        "bot",
        "--owner",
        "me",
        "--allow",
        "notes:read",
        "--secret",
    ];
    let again = world.good(&words, "");
    assert!(again.contains("0 of") && !again.contains("chs_"), "{again}");
    let other = world.bad(
        &[
            "agent",
            "create",
            "bot",
            "--owner",
            "me",
            "--allow",
            "notes:write",
        ],
        "",
    );
    assert!(other.contains("is not what these arguments say"), "{other}");
    let planned = world.good(
        &["agent", "create", "new", "--owner", "me", "--secret", "--plan"],
        "",
    );
    assert!(
        planned.contains("would change") && !planned.contains("chs_"),
        "{planned}"
    );
    assert_eq!(
        world.json(&["agent", "list"])["items"].as_array().unwrap().len(),
        1
    );
    let add = ["add", &notes.url, "--name", "notes", "--key", "-"];
    let silent = world.bad(&add, KEY);
    assert!(silent.contains("nobody is there to say yes"), "{silent}");
}

#[test]
fn without_an_administrator_me_is_nobody() {
    let mut world = World::serve();
    let refused = world.bad(&["agent", "create", "bot", "--owner", "me"], "");
    assert!(refused.contains("hint: chancery enrol"), "{refused}");
}

#[test]
fn snippets_name_the_server_and_hold_no_secret() {
    let notes = Notes::start();
    let mut world = World::ready(&notes.url, KEY);
    let secret = std::fs::read_to_string(world.path("bot.secret")).unwrap();
    let base = world.base.clone();
    for client in [
        "claude-code",
        "cursor",
        "vscode",
        "langgraph",
        "openai-agents",
        "python",
        "typescript",
        "curl",
    ] {
        let output = world.run(&["snippet", client, "--agent", "bot", "--resource", "notes"], "");
        let (text, err) = texts(&output);
        assert!(
            text.contains(&format!("{base}/mcp/notes")),
            "{client}: {text} {err}"
        );
        assert!(!text.contains(secret.trim()), "{client}");
    }
    let unknown = world.bad(
        &["snippet", "curl", "--agent", "bot", "--resource", "nothing"],
        "",
    );
    assert!(unknown.contains("no resource `nothing`"), "{unknown}");
    // The one for a shell works as it stands.
    let curl = world.good(&["snippet", "curl", "--agent", "bot", "--resource", "notes"], "");
    let shell = std::process::Command::new("sh")
        .args(["-c", &curl])
        .env("CHANCERY_CLIENT_SECRET", secret.trim())
        .output();
    let shell = shell.unwrap();
    let (text, err) = texts(&shell);
    assert!(
        text.contains("read_note") && !text.contains("write_note"),
        "{text} {err}"
    );
}

#[test]
fn calls_are_followed_over_a_restart_of_the_server_each_once() {
    let notes = Notes::start();
    let mut world = World::ready(&notes.url, KEY);
    let mut following = world
        .command(&[
            "calls",
            "--follow",
            "--since",
            "1h",
            "--tool",
            "read_note",
            "--json",
        ])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut next = || serde_json::from_str::<serde_json::Value>(&lines.next().unwrap()).unwrap();
    let mut decisions = Vec::new();
    for round in 0..3 {
        if round == 2 {
            world.restart();
        }
        let url = format!("{}/mcp/notes", world.base);
        let input = concat!(
            r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#,
            "\n",
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            "\n",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
            "\n",
        );
        let words = [
            "mcp",
            "connect",
            &url,
            "--agent",
            "bot",
            "--secret-file",
            "bot.secret",
        ];
        world.good(&words, input);
        let call =
            r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"read_note","arguments":{}}}"#;
        world.good(&words, &format!("{input}{call}\n"));
        let call = next();
        assert_eq!(
            (&call["target"], &call["end"]["status"]),
            (&"read_note".into(), &200.into()),
            "{call}"
        );
        decisions.push(call["decision"].as_str().unwrap().to_owned());
    }
    decisions.dedup();
    assert_eq!(decisions.len(), 3);
    following.kill().unwrap();
    following.wait().unwrap();
}
