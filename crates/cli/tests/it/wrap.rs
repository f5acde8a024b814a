//! `mcp wrap`: a program that speaks on standard input and output, behind the gateway.

use crate::world::World;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

const SERVER: &str = r#"
while IFS= read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case "$line" in
    *'"method":"initialize"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"local","version":"1"}}}\n' "$id" ;;
    *'"method":"tools/list"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"look","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}]}}\n' "$id" ;;
    *'"method":"tools/call"'*) printf '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"working"}}\n{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"looked"}]}}\n' "$id" ;;
  esac
done
"#;

#[test]
fn a_local_program_is_called_through_the_gateway() {
    let mut world = World::serve();
    world.enrol();
    std::fs::write(world.path("server.sh"), SERVER).unwrap();
    let mut wrap = world
        .command(&["mcp", "wrap", "--name", "local", "--yes", "--", "sh", "server.sh"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(wrap.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let url = lines
        .find_map(|line| Some(line.strip_prefix("serving ")?.to_owned()))
        .unwrap();
    assert!(lines.any(|line| line.contains("Ctrl-C stops")));
    std::thread::spawn(move || lines.for_each(drop));

    world.good(
        &[
            "agent",
            "create",
            "bot",
            "--owner",
            "me",
            "--allow",
            "local:read",
            "--secret-file",
            "bot.secret",
        ],
        "",
    );
    let gateway = format!("{}/mcp/local", world.base);
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
        &gateway,
        "--agent",
        "bot",
        "--secret-file",
        "bot.secret",
    ];
    assert!(world.good(&words, input).contains("look"));
    let call = format!(
        "{input}{}\n",
        r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"look","arguments":{}}}"#
    );
    let said = world.good(&words, &call);
    assert!(said.contains("looked"), "{said}");

    assert_no_one_else_gets_in(&url);
    wrap.kill().unwrap();
    wrap.wait().unwrap();
}

/// Whoever finds the port has no key.
fn assert_no_one_else_gets_in(url: &str) {
    let address = url.trim_start_matches("http://").trim_end_matches("/mcp");
    let mut stream = TcpStream::connect(address).unwrap();
    let body = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}"#;
    let request = format!(
        "POST /mcp HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}
