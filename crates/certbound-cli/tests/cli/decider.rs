//! A running `verify --serve`, for tests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{certbound, signal};

/// A running `verify --serve`. The process ends with the test.
pub(crate) struct Decider {
    pub(crate) child: Child,
    pub(crate) ready: Value,
}

impl Decider {
    /// Starts a server that accepts tokens of every client and trusts loopback.
    pub(crate) fn start(issuer: &[String], more: &[&str]) -> Self {
        Self::spawn(Self::command("127.0.0.1:0", issuer, more))
    }

    /// Returns the command of a server at this socket.
    pub(crate) fn command(socket: &str, issuer: &[String], more: &[&str]) -> Command {
        let mut command = certbound();
        command.args(["verify", "--serve", socket, "--dangerous-any-caller"]);
        command.args(["--trust-proxy", "127.0.0.1/32", "--certificate-header", "rfc9440"]);
        command.args(issuer).args(more);
        command
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| {
            let mut said = String::new();
            let _ = child.stderr.take().unwrap().read_to_string(&mut said);
            panic!("{error}: {line}{said}")
        });
        Self { child, ready }
    }

    /// Returns the address of the TCP socket.
    pub(crate) fn address(&self) -> &str {
        self.ready["listen"].as_str().unwrap().strip_prefix("http://").unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).unwrap()
    }

    /// Requests a decision about this token. Returns the status of the answer.
    pub(crate) fn ask(&self, token: &str) -> String {
        self.get("/", &format!("Authorization: Bearer {token}\r\n"))
    }

    /// Requests a path with these headers. Returns the status of the answer.
    pub(crate) fn get(&self, path: &str, headers: &str) -> String {
        let answer = request(self.address(), "GET", path, headers);
        answer.split(' ').nth(1).unwrap().to_owned()
    }

    pub(crate) fn signal(&self, with: Signal) {
        signal(&self.child, with);
    }

    /// Stops the process by SIGTERM. Returns its exit code and its stderr.
    pub(crate) fn stop(self) -> (Option<i32>, String) {
        self.signal(Signal::TERM);
        self.end()
    }

    /// Waits for the end of the process. Returns its exit code and its stderr.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        // The process ends before anybody reads its stderr.
        let code = self.child.wait().unwrap().code();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (code, said)
    }
}

impl Drop for Decider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a request on a new connection and returns the whole answer.
pub(crate) fn request(address: &str, method: &str, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
    stream.write_all(format!("{head}{headers}\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
