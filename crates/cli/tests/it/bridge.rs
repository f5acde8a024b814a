//! `mcp connect`: a client that speaks on standard input and output only.

use crate::notes::wire::{Asked, Reply, serve};
use crate::notes::{KEY, Notes, result_of};
use crate::world::World;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};

/// A client, as a program that started the bridge.
struct Client {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn start(world: &mut World, words: &[&str]) -> Self {
        Self::of(world.command(words).spawn().unwrap())
    }

    /// A bridge to a server that wants no token.
    fn to(url: &str) -> Self {
        let mut command = Command::new(crate::world::BINARY);
        command
            .args(["mcp", "connect", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Self::of(command.spawn().unwrap())
    }

    fn of(mut child: Child) -> Self {
        Self {
            stdin: child.stdin.take().unwrap(),
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.stdin, "{message}").unwrap();
    }

    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    fn open(&mut self) {
        self.send(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize",
            "params": { "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } } }));
        assert_eq!(self.next()["result"]["serverInfo"]["name"], "notes");
        self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    }

    fn ask(&mut self, id: u32, method: &str, params: &Value) -> Value {
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let answer = self.next();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }
}

fn words(url: &str) -> Vec<String> {
    let words = [
        "mcp",
        "connect",
        url,
        "--agent",
        "bot",
        "--secret-file",
        "bot.secret",
    ];
    words.map(str::to_owned).to_vec()
}

#[test]
fn lines_become_calls_and_answers_become_lines() {
    let notes = Notes::start();
    let mut world = World::ready(&notes.url, KEY);
    let words = words(&format!("{}/mcp/notes", world.base));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut client = Client::start(&mut world, &words);
    client.open();
    let tools = client.ask(1, "tools/list", &json!({}));
    assert!(tools.to_string().contains("read_note"), "{tools}");
    let answer = client.ask(2, "tools/call", &json!({ "name": "read_note", "arguments": {} }));
    assert_eq!(answer["result"]["content"][0]["text"], "did read_note");
    // A refused call is an answer; the bridge stays.
    let refused = client.ask(3, "tools/call", &json!({ "name": "write_note", "arguments": {} }));
    assert!(
        refused.get("error").is_some() || refused["result"]["isError"] == true,
        "{refused}"
    );
    client.ask(4, "tools/list", &json!({}));
    drop(client.stdin);
    assert!(client.child.wait().unwrap().success());
    assert_eq!(notes.called(), ["read_note"]);
}

#[test]
fn answers_come_after_standard_input_has_ended() {
    let notes = Notes::start();
    let mut world = World::ready(&notes.url, KEY);
    let words = words(&format!("{}/mcp/notes", world.base));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let initialize = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    let input = format!(
        "{initialize}\n{}\n{}\n",
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#
    );
    let said = world.good(&words, &input);
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert_eq!(lines[1]["id"], 1);
}

#[test]
fn whoever_is_not_let_in_ends_with_three_and_an_empty_protocol() {
    let notes = Notes::start();
    let mut world = World::ready(&notes.url, KEY);
    let url = format!("{}/mcp/notes", world.base);
    let initialize = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    // Without a proof the server answers 401; the client gets an error in place of an answer.
    let output = world.run(&["mcp", "connect", &url], &format!("{initialize}\n"));
    assert_eq!(output.status.code(), Some(3));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("401") && error.contains("--secret-file"),
        "{error}"
    );
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line.get("error").is_some(), "{line}");
    }
    // A killed agent gets no token.
    world.good(&["kill", "agent", "bot"], "");
    let words = words(&url);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = world.run(&words, "");
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr).unwrap().contains("no token"));
}

/// A server that hands out one session after another, and forgets the first on the second call.
fn forgetful(asked: &Asked, seen: &Mutex<Vec<String>>) -> Reply {
    let message: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    let method = message["method"].as_str().unwrap_or_default().to_owned();
    let session = asked.header("mcp-session-id").unwrap_or("-").to_owned();
    let mut seen = seen.lock().unwrap();
    let opened = seen.iter().filter(|line| line.starts_with("initialize")).count();
    seen.push(format!("{method} {session}"));
    if asked.method == "GET" {
        return (405, Vec::new(), String::new());
    }
    match method.as_str() {
        "initialize" => {
            let server = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": { "name": "notes" } });
            let (status, mut headers, body) = result_of(&message["id"], &server);
            headers.push(("mcp-session-id", format!("session-{}", opened + 1)));
            (status, headers, body)
        }
        "tools/list" if session == "session-1" && opened == 1 && message["id"] == 2 => {
            (404, Vec::new(), String::new())
        }
        "tools/list" => result_of(&message["id"], &json!({ "tools": [], "session": session })),
        _ => (202, Vec::new(), String::new()),
    }
}

#[test]
fn a_session_that_the_server_forgot_is_opened_again() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let address = serve(move |asked| forgetful(asked, &log));
    let mut client = Client::to(&format!("http://{address}/mcp"));
    client.open();
    assert_eq!(
        client.ask(1, "tools/list", &json!({}))["result"]["session"],
        "session-1"
    );
    assert_eq!(
        client.ask(2, "tools/list", &json!({}))["result"]["session"],
        "session-2"
    );
    drop(client.stdin);
    assert!(client.child.wait().unwrap().success());
    let seen = seen.lock().unwrap();
    let ready = seen
        .iter()
        .filter(|line| line.starts_with("notifications/initialized"))
        .count();
    assert_eq!(ready, 2, "{seen:?}");
}

/// A server that asks the client something within its answer, and answers once the client has.
fn curious(asked: &Asked, said: &Mutex<Option<String>>) -> Reply {
    let events = vec![("content-type", "text/event-stream".to_owned())];
    let message: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    if asked.method == "GET" {
        // The stream was cut after the question; what follows is taken up from there.
        if asked.header("last-event-id") != Some("e-1") {
            return (405, Vec::new(), String::new());
        }
        let answer = said.lock().unwrap().clone();
        let body = answer.map_or_else(
            || "id: e-1\n\n".to_owned(),
            |answer| {
                let result = json!({ "jsonrpc": "2.0", "id": 1, "result": { "heard": answer } });
                format!("id: e-2\ndata: {result}\n\n")
            },
        );
        return (200, events, body);
    }
    match message["method"].as_str() {
        Some("initialize") => {
            let server = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": { "name": "notes" } });
            result_of(&message["id"], &server)
        }
        Some("tools/call") => {
            let question =
                json!({ "jsonrpc": "2.0", "id": "q", "method": "sampling/createMessage", "params": {} });
            (200, events, format!("id: e-1\ndata: {question}\n\n"))
        }
        Some(_) => (202, Vec::new(), String::new()),
        None => {
            *said.lock().unwrap() = message["result"]["text"].as_str().map(str::to_owned);
            (202, Vec::new(), String::new())
        }
    }
}

#[test]
fn a_question_of_the_server_reaches_the_client_and_a_cut_stream_is_taken_up_again() {
    let said = Arc::new(Mutex::new(None));
    let address = serve(move |asked| curious(asked, &said));
    let mut client = Client::to(&format!("http://{address}/mcp"));
    client.open();
    client.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "x" } }));
    let question = client.next();
    assert_eq!(question["method"], "sampling/createMessage");
    client.send(&json!({ "jsonrpc": "2.0", "id": "q", "result": { "text": "yes" } }));
    let answer = client.next();
    assert_eq!(
        (&answer["id"], &answer["result"]["heard"]),
        (&json!(1), &json!("yes")),
        "{answer}"
    );
    drop(client.stdin);
    assert!(client.child.wait().unwrap().success());
}

/// A server that begins to answer the first request and never ends, and answers the others. It tells when a request
/// begins, and when the far end of the first hangs up.
fn endless() -> (SocketAddr, mpsc::Receiver<&'static str>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().map(Result::unwrap).enumerate() {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut stream = stream;
                let mut length = 0;
                for line in reader
                    .by_ref()
                    .lines()
                    .map(Result::unwrap)
                    .take_while(|line| !line.is_empty())
                {
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                        length = value.parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                if number > 0 {
                    tell.send(if String::from_utf8_lossy(&body).contains("cancelled") {
                        "cancelled"
                    } else {
                        "other"
                    })
                    .unwrap();
                    let text = r#"{"jsonrpc":"2.0","id":2,"result":{}}"#;
                    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}", text.len()).unwrap();
                    return;
                }
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n8\r\n: wait\n\n\r\n";
                stream.write_all(head.as_bytes()).unwrap();
                tell.send("begun").unwrap();
                // Nothing more comes from there until it hangs up.
                let _gone = reader.read(&mut [0; 1]);
                tell.send("hung up").unwrap();
            });
        }
    });
    (address, told)
}

#[test]
fn to_cancel_without_a_session_is_to_hang_up() {
    let (address, told) = endless();
    let mut client = Client::to(&format!("http://{address}/mcp"));
    let meta = json!({ "_meta": { "io.modelcontextprotocol/protocolVersion": "2026-07-28" } });
    client.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": meta }));
    assert_eq!(told.recv().unwrap(), "begun");
    let mut params = meta.clone();
    params["requestId"] = json!(1);
    client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }));
    assert_eq!(told.recv().unwrap(), "hung up");
    let answer = client.ask(2, "tools/list", &meta);
    assert!(answer.get("result").is_some(), "{answer}");
    assert_eq!(told.recv().unwrap(), "other");
    drop(client.stdin);
    assert!(client.child.wait().unwrap().success());
}
