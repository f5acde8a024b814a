//! A folder of its own, a server that runs in it, and commands that are counted.

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_chancery");

/// A folder, and the server in it.
pub(crate) struct World {
    pub(crate) base: String,
    folder: tempfile::TempDir,
    server: Child,
    code: String,
    commands: usize,
}

impl World {
    /// One command: the server, with all that it needs made new.
    pub(crate) fn serve() -> Self {
        Self::serve_in(tempfile::tempdir().unwrap())
    }

    /// Ends the server and starts it again on the same data.
    pub(crate) fn restart(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        let listen = self.base.trim_start_matches("http://").to_owned();
        self.server = start(self.folder.path(), &self.base, &listen).spawn().unwrap();
        while self.run(&["agent", "list"], "").status.code() != Some(0) {}
    }

    /// Ends the server and starts it again with more arguments; what it says goes to `server.log`.
    pub(crate) fn restart_with(&mut self, more: &[&str]) {
        self.stop();
        let log = std::fs::File::create(self.path("server.log")).unwrap();
        self.server = self.server(more).stderr(log).spawn().unwrap();
        while self.run(&["agent", "list"], "").status.code() != Some(0) {
            assert!(self.server.try_wait().unwrap().is_none(), "{}", self.log());
        }
    }

    /// Starts a server that must refuse to; what it says.
    pub(crate) fn refuses(&mut self, more: &[&str]) -> String {
        self.stop();
        self.server = self.server(more).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(self.server.stderr.take().unwrap()).lines();
        let mut said = String::new();
        for line in lines.map(Result::unwrap) {
            assert!(!line.contains("chancery serves"), "{said}{line}");
            said.push_str(&line);
            said.push('\n');
        }
        assert_eq!(self.server.wait().unwrap().code(), Some(1), "{said}");
        said
    }

    /// Ends the server as an operator does.
    pub(crate) fn stop(&mut self) {
        if self.server.try_wait().unwrap().is_some() {
            return;
        }
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.server.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.server.wait().unwrap();
    }

    /// What the server started by [`Self::restart_with`] has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("server.log")).unwrap()
    }

    fn server(&self, more: &[&str]) -> Command {
        let listen = self.base.trim_start_matches("http://");
        let mut command = start(self.folder.path(), &self.base, listen);
        command.args(more);
        command
    }

    fn serve_in(folder: tempfile::TempDir) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let base = format!("http://127.0.0.1:{port}");
        let listen = format!("127.0.0.1:{port}");
        let mut server = start(folder.path(), &base, &listen)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let code = lines
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| Some(line.split_once("--code ")?.1.to_owned()))
            .expect("the server prints an enrolment code");
        // Whatever else it says must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            base,
            folder,
            server,
            code,
            commands: 1,
        }
    }

    /// With an administrator, an MCP server behind the gateway as `notes`, and an agent `bot` that may read there.
    pub(crate) fn ready(notes: &str, key: &str) -> Self {
        let mut world = Self::serve();
        world.enrol();
        world.good(&["add", notes, "--name", "notes", "--key", "-", "--yes"], key);
        world.good(
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
        world
    }

    pub(crate) fn enrol(&mut self) -> String {
        let code = self.code.clone();
        self.good(&["enrol", "--name", "alice", "--code", &code], "")
    }

    pub(crate) fn commands(&self) -> usize {
        self.commands
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&mut self, words: &[&str]) -> Command {
        self.commands += 1;
        let mut command = clean(self.folder.path());
        command
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&mut self, words: &[&str], input: &str) -> Output {
        let mut child = self.command(words).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs a command that succeeds; what it printed.
    pub(crate) fn good(&mut self, words: &[&str], input: &str) -> String {
        let output = self.run(words, input);
        let (out, err) = texts(&output);
        assert!(output.status.success(), "{words:?}\n{out}\n{err}");
        out
    }

    /// Runs a command that fails; what it said.
    pub(crate) fn bad(&mut self, words: &[&str], input: &str) -> String {
        let output = self.run(words, input);
        let (out, err) = texts(&output);
        assert!(!output.status.success(), "{words:?}\n{out}\n{err}");
        err
    }

    pub(crate) fn json(&mut self, words: &[&str]) -> Value {
        let mut all = words.to_vec();
        all.push("--json");
        serde_json::from_str(&self.good(&all, "")).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

pub(crate) fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn start(folder: &Path, base: &str, listen: &str) -> Command {
    let mut command = clean(folder);
    command.args(["serve", "--public-url", base, "--listen", listen]);
    command
        .args(["--allow-hosts", "127.0.0.1", "--checkpoint-file", "kept"])
        .env("CHANCERY_LOG", "warn");
    command.stderr(Stdio::null());
    command
}

/// The binary, in a folder, without what the environment of the tests says of servers and agents.
fn clean(folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.current_dir(folder);
    for name in [
        "CHANCERY_SOCKET",
        "CHANCERY_URL",
        "CHANCERY_TOKEN_FILE",
        "CHANCERY_TENANT",
    ] {
        command.env_remove(name);
    }
    command
}
