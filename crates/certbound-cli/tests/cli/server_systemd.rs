//! The servers as services of systemd: passed sockets, and messages to the service manager.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::decider::Decider;
use crate::support::{Emulator, certbound, json, refusal, signal, stderr, text};
use crate::verify_callers::Idp;

/// A socket at which the test is the service manager.
struct Manager {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, folder }
    }

    fn watch(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
    }

    /// Returns the next message that is not of the watchdog, as lines.
    fn next(&self) -> Vec<String> {
        loop {
            let message = self.any();
            if message != ["WATCHDOG=1"] {
                return message;
            }
        }
    }

    fn any(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }
}

fn status(text: &str) -> String {
    format!("STATUS={text}")
}

#[test]
fn the_service_manager_is_told_each_change() {
    let (manager, idp) = (Manager::new(), Idp::new());
    let mut command = Decider::command("127.0.0.1:0", &idp.flags(), &[]);
    manager.watch(&mut command);
    let decider = Decider::spawn(command);
    let listening = format!("listening on {}", decider.ready["listen"].as_str().unwrap());
    assert_eq!(manager.next(), ["READY=1".to_owned(), status(&listening)]);

    decider.signal(Signal::HUP);
    let reloading = manager.next();
    assert_eq!((reloading.len(), reloading[0].as_str()), (3, "RELOADING=1"), "{reloading:?}");
    let since = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!(since.parse::<u64>().unwrap() > 0);
    assert_eq!(manager.next(), ["READY=1".to_owned(), status(&listening)]);

    std::fs::write(idp.keys_file(), "{").unwrap();
    decider.signal(Signal::HUP);
    assert_eq!(manager.next()[0], "RELOADING=1");
    let failed = manager.next();
    assert_eq!(failed[0], "READY=1");
    assert!(
        failed[1].starts_with(&format!("{}; the last reload failed: ", status(&listening))),
        "{failed:?}"
    );

    decider.signal(Signal::TERM);
    assert_eq!(manager.next()[0], "STOPPING=1");
    assert_eq!(decider.end().0, Some(0));
}

#[test]
fn the_watchdog_is_told_that_the_server_works() {
    let (manager, idp) = (Manager::new(), Idp::new());
    let mut command = Decider::command("127.0.0.1:0", &idp.flags(), &[]);
    manager.watch(&mut command);
    command.env("WATCHDOG_USEC", "20000");
    let decider = Decider::spawn(command);
    assert_eq!(manager.any()[0], "READY=1");
    for _ in 0..3 {
        assert_eq!(manager.any(), ["WATCHDOG=1"]);
    }
    assert_eq!(decider.stop().0, Some(0));
}

#[test]
fn an_emulator_tells_it_too_and_its_program_does_not() {
    let manager = Manager::new();
    let mut command = certbound();
    command.args(["emulator", "start"]);
    manager.watch(&mut command);
    let emulator = Emulator::spawn(command);
    let expected = status(&format!("listening on {}", emulator.text("proxy")));
    assert_eq!(manager.next(), ["READY=1".to_owned(), expected.clone()]);
    // The emulator does not reload, but the service manager waits for an answer.
    signal(&emulator.child, Signal::HUP);
    assert_eq!(manager.next()[0], "RELOADING=1");
    assert_eq!(manager.next(), ["READY=1".to_owned(), expected]);
    assert_eq!(emulator.stop(Signal::TERM), Some(0));
    assert_eq!(manager.next()[0], "STOPPING=1");

    let mut command = certbound();
    command.args([
        "emulator",
        "run",
        "--",
        "sh",
        "-c",
        "env | grep -c -e ^NOTIFY_ -e ^WATCHDOG_ -e ^LISTEN_",
    ]);
    manager.watch(&mut command);
    command
        .env("WATCHDOG_USEC", "1")
        .env("LISTEN_FDNAMES", "a")
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", "1");
    assert_eq!(crate::support::stdout(&command.output().unwrap()), "0\n");
}

/// A server that systemd-socket-activate starts at the first connection.
struct Activated {
    child: Child,
}

impl Activated {
    /// Starts the real program. `sockets` are its options, and the server gets `flags`.
    fn spawn(sockets: &[&str], serve: &str, idp: &Idp, flags: &[&str]) -> Self {
        let server = Decider::command(serve, &idp.flags(), flags);
        let mut command = Command::new("systemd-socket-activate");
        command.args(sockets).arg(server.get_program()).args(server.get_args());
        // This program gives the server a clean environment.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.spawn().unwrap() }
    }

    /// Waits until the program listens.
    fn listens(&mut self, sockets: usize) -> BufReader<std::process::ChildStderr> {
        let mut said = BufReader::new(self.child.stderr.take().unwrap());
        for _ in 0..sockets {
            let mut line = String::new();
            assert!(said.read_line(&mut line).unwrap() > 0, "systemd-socket-activate has ended");
            assert!(line.contains("Listening on "), "{line}");
        }
        said
    }

    fn ready(&mut self) -> Value {
        let mut line = String::new();
        BufReader::new(self.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the status of the answer on a Unix socket.
fn ask(path: &std::path::Path, target: &str) -> String {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--unix-socket"]);
    let url = format!("http://a{target}");
    String::from_utf8(curl.arg(path).arg(url).output().unwrap().stdout).unwrap()
}

#[test]
fn it_serves_on_the_sockets_of_systemd() {
    let (folder, idp) = (tempfile::tempdir().unwrap(), Idp::new());
    let path = |name: &str| folder.path().join(name);
    let (web, admin) = (path("web.sock"), path("admin.sock"));
    // The socket of the admin listener is the first one. It has a name, so it is not the first socket of --serve.
    let sockets = ["-l", text(&admin), "-l", text(&web), "--fdname=admin:web"];
    for serve in ["systemd", "systemd:web"] {
        let mut activated = Activated::spawn(&sockets, serve, &idp, &["--admin-listen", "systemd:admin"]);
        let mut said = activated.listens(2);
        assert_eq!(ask(&web, "/healthz"), "401", "{serve}");
        assert_eq!(ask(&admin, "/healthz"), "200", "{serve}");
        let ready = activated.ready();
        assert_eq!(ready["listen"], format!("unix:{}", text(&web)));
        assert_eq!(ready["admin"], format!("unix:{}", text(&admin)));
        signal(&activated.child, Signal::TERM);
        assert_eq!(activated.child.wait().unwrap().code(), Some(0));
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        // These files belong to systemd.
        assert!(web.exists() && admin.exists(), "{rest}");
        std::fs::remove_file(&web).unwrap();
        std::fs::remove_file(&admin).unwrap();
    }
}

/// systemd lets every user connect by default. Then a client could send the certificate of another client.
#[test]
fn a_socket_that_every_user_can_open_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let (folder, idp) = (tempfile::tempdir().unwrap(), Idp::new());
    let path = folder.path().join("open.sock");
    let mut activated = Activated::spawn(&["-l", text(&path)], "systemd", &idp, &["-o", "json"]);
    let mut said = activated.listens(1);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    ask(&path, "/");
    assert_eq!(activated.child.wait().unwrap().code(), Some(2));
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("socket_unusable") && rest.contains("SocketMode=0660"), "{rest}");
}

/// Opens a socket on a free port and starts the server as systemd does. systemd-socket-activate refuses port 0.
const PASS_A_SOCKET: &str = "
import os, socket, sys
listener = socket.create_server(('127.0.0.1', 0))
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')
os.execv(sys.argv[1], sys.argv[1:])
";

#[test]
fn a_tcp_socket_of_systemd_needs_the_addresses_of_the_proxy() {
    let idp = Idp::new();
    let server = Decider::command("systemd", &idp.flags(), &["--admin-listen", "127.0.0.1:0"]);
    let mut command = Command::new("python3");
    command.args(["-c", PASS_A_SOCKET]).arg(server.get_program()).args(server.get_args());
    let decider = Decider::spawn(command);
    assert_eq!(decider.get("/healthz", ""), "401");
    assert_eq!(decider.stop().0, Some(0));

    let mut command = Command::new("python3");
    command.args(["-c", PASS_A_SOCKET]).arg(server.get_program()).args(["verify", "--serve", "systemd"]);
    command
        .args(["--dangerous-any-caller", "--certificate-header", "rfc9440", "-o", "json"])
        .args(idp.flags());
    assert_eq!(refusal(&command.output().unwrap()), (2, "trusted_proxy_required".to_owned()));
}

/// Opens sockets as systemd does: for each argument before `--` an address and a name. Prints their addresses first.
const PASS_SOCKETS: &str = "
import json, os, socket, sys
end = sys.argv.index('--')
sockets = [socket.create_server((address, 0)) for address in sys.argv[1:end:2]]
print(json.dumps([listener.getsockname()[1] for listener in sockets]), flush=True)
for at, listener in enumerate(sockets):
    listener = socket.socket(fileno=os.dup(listener.fileno()))
    os.dup2(listener.fileno(), 103 + at)
for at in range(len(sockets)):
    os.dup2(103 + at, 3 + at)
    os.set_inheritable(3 + at, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(sockets)), LISTEN_FDNAMES=':'.join(sys.argv[2:end:2]))
os.execv(sys.argv[end + 1], sys.argv[end + 1:])
";

/// Returns a command that starts an emulator with these sockets (address and name) and flags.
fn emulator_with(sockets: &[(&str, &str)], flags: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).stdin(Stdio::null());
    command.args(["-c", PASS_SOCKETS]).args(sockets.iter().flat_map(|(address, name)| [address, name]));
    command.args(["--", env!("CARGO_BIN_EXE_certbound"), "emulator", "start"]).args(flags);
    command
}

#[test]
fn an_emulator_serves_on_the_sockets_of_systemd() {
    let sockets = [("127.0.0.1", "admin"), ("127.0.0.1", "proxy"), ("127.0.0.1", "imds")];
    for (listen, imds) in [("systemd:proxy", "systemd:imds"), ("systemd", "systemd")] {
        let flags = ["--listen", listen, "--imds-listen", imds, "--admin-listen", "systemd:admin"];
        let mut command = emulator_with(&sockets, &flags);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let ports: Vec<u16> = serde_json::from_str(&lines.next().unwrap()).unwrap();
        let emulator = Emulator { child, ready: serde_json::from_str(&lines.next().unwrap()).unwrap() };
        for (member, port) in [("health", ports[0]), ("proxy", ports[1]), ("imds", ports[2])] {
            assert_eq!(emulator.text(member), format!("http://127.0.0.1:{port}"), "{listen}");
        }
        assert_eq!(emulator.ready["imds_at_real_address"], false);
        // The proxy and the metadata service answer there.
        let certificate = emulator.certificate();
        let token = emulator.run(&["token", "--scope", crate::support::VAULT, "--certificate", certificate]);
        assert_eq!(json(&token)["tokenType"], "mtls_pop", "{}", stderr(&token));
        let mut machine = emulator.certbound();
        machine.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", emulator.text("imds"));
        let scope = crate::support::VAULT;
        machine.args(["token", "--managed-identity", "system", "--bearer", "--scope", scope]);
        let token = machine.output().unwrap();
        assert_eq!(json(&token)["tokenType"], "Bearer", "{}", stderr(&token));
        assert_eq!(emulator.stop(Signal::TERM), Some(0));
    }
}

#[test]
fn an_emulator_refuses_sockets_that_it_cannot_use() {
    let all = [("0.0.0.0", "all")];
    for (flags, code) in [
        (&["--listen", "systemd:all"][..], "listen_address_not_loopback"),
        (&["--imds-listen", "systemd:all"], "socket_unusable"),
        (&["--listen", "systemd:other"], "socket_not_passed"),
        (&["--listen", "systemd", "--imds-listen", "systemd"], "socket_not_passed"),
    ] {
        let output = emulator_with(&all, &[flags, &["-o", "json"]].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        assert!(stderr(&output).contains(&format!(r#""code":"{code}""#)), "{flags:?}: {}", stderr(&output));
    }
    let output =
        certbound().args(["emulator", "start", "--listen", "unix:/tmp/a.sock", "-o", "json"]).output();
    assert_eq!(refusal(&output.unwrap()).0, 2);

    // A Unix socket of systemd is refused too.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let mut command = Command::new("systemd-socket-activate");
    command.args(["-l", text(&path), env!("CARGO_BIN_EXE_certbound"), "emulator", "start"]);
    command.args(["--listen", "systemd", "-o", "json"]).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut activated = Activated { child: command.spawn().unwrap() };
    let mut said = activated.listens(1);
    let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    assert_eq!(activated.child.wait().unwrap().code(), Some(2));
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("socket_unusable") && rest.contains("needs TCP"), "{rest}");
    drop(client);
}

#[test]
fn without_a_socket_of_systemd_the_error_says_what_to_do() {
    let idp = Idp::new();
    for serve in ["systemd", "systemd:web"] {
        for variables in [&[][..], &[("LISTEN_FDS", "1"), ("LISTEN_PID", "1")]] {
            let mut command = Decider::command(serve, &idp.flags(), &["-o", "json"]);
            let output = command.envs(variables.iter().copied()).output().unwrap();
            assert_eq!(refusal(&output), (2, "socket_not_passed".to_owned()), "{serve} {variables:?}");
        }
    }
    let mut command = Decider::command("127.0.0.1:0", &idp.flags(), &["-o", "json"]);
    let output = command.args(["--admin-listen", "systemd"]).output().unwrap();
    assert_eq!(refusal(&output), (2, "socket_not_passed".to_owned()));

    // This socket has another name.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let sockets = ["-l", text(&path), "--fdname=other"];
    let mut activated = Activated::spawn(&sockets, "systemd:web", &idp, &["-o", "json"]);
    let mut said = activated.listens(1);
    let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    assert_eq!(activated.child.wait().unwrap().code(), Some(2));
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    let expected = "no unused socket for `systemd:web`; the unused sockets are: other";
    assert!(rest.contains(expected), "{rest}");
    drop(client);

    // An abstract socket has no permissions, so every local process could send any certificate.
    let name = format!("@certbound-test-{}", std::process::id());
    let mut activated = Activated::spawn(&["-l", &name], "systemd", &idp, &["-o", "json"]);
    let mut said = activated.listens(1);
    let curl =
        Command::new("curl").args(["--silent", "--abstract-unix-socket", &name[1..], "http://a/"]).output();
    assert!(!curl.unwrap().status.success());
    assert_eq!(activated.child.wait().unwrap().code(), Some(2));
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("socket_unusable") && rest.contains("abstract"), "{rest}");

    // With --accept the server would get a connection instead of a listening socket.
    let mut command = Command::new("systemd-socket-activate");
    let server = Decider::command("systemd", &idp.flags(), &["-o", "json"]);
    let path = folder.path().join("b.sock");
    command.args(["--accept", "-l", text(&path)]).arg(server.get_program()).args(server.get_args());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut activated = Activated { child: command.spawn().unwrap() };
    let mut said = activated.listens(1);
    let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let mut line = String::new();
    while !line.contains("socket_unusable") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "the server has no error");
    }
    assert!(line.contains("Accept=no"), "{line}");
    drop(client);
}
