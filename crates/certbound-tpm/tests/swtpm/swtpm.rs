//! A software TPM on two free ports, with its state in a folder.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use certbound_tpm::{Tpm, TpmOptions};

/// A running swtpm. It accepts one connection at a time, so a tool can use it only when no [`Tpm`] is open.
pub(crate) struct Swtpm {
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Swtpm {
    /// Starts a new TPM. Another program can take the ports before swtpm binds them, so it can need several attempts.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("first");
        fs::create_dir(&state).unwrap();
        loop {
            let port = free_pair();
            if let Some(child) = serve(&state, port) {
                return Self { folder, port, child };
            }
        }
    }

    pub(crate) fn address(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    pub(crate) fn open(&self) -> Tpm {
        Tpm::open(&self.address(), TpmOptions::default()).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Ends the TPM.
    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends the TPM and starts it again with the state of this name, which is a new TPM at the first time.
    pub(crate) fn restart(&mut self, state: &str) {
        self.stop();
        fs::create_dir_all(self.path(state)).unwrap();
        self.restart_stopped(state);
    }

    /// Starts the TPM again after [`stop`](Self::stop).
    pub(crate) fn restart_stopped(&mut self, state: &str) {
        self.child = serve(&self.path(state), self.port).expect("the ports are free again");
    }

    /// Stops the process, so that it answers nothing.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = without_descriptors("kill").arg(signal).arg(self.child.id().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// Whether a command waits in the receive buffer of the TPM, which is frozen.
    pub(crate) fn has_unread_command(&self) -> bool {
        let local = format!("0100007F:{:04X}", self.port);
        let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
        sockets.lines().any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let unread = fields.get(4).and_then(|queues| queues.split(':').nth(1));
            // The state 01 is an open connection.
            fields.get(1) == Some(&local.as_str())
                && fields.get(3) == Some(&"01")
                && unread.is_some_and(|unread| unread != "00000000")
        })
    }

    /// Runs a program of tpm2-tools in the folder.
    pub(crate) fn tool(&self, program: &str, args: &[&str]) -> String {
        let output = self.try_tool(program, args);
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn try_tool(&self, program: &str, args: &[&str]) -> Output {
        let mut tool = without_descriptors(program);
        tool.current_dir(self.folder.path()).args(args).env("TPM2TOOLS_TCTI", self.address());
        let output = tool.output().unwrap();
        assert_ne!(
            output.status.code(),
            MISSING,
            "tpm2-tools is needed: run the tests by `cargo xtask test`"
        );
        output
    }

    /// Makes an object with tpm2-tools and puts it at the handle.
    pub(crate) fn put(&self, handle: &str, template: &[&str]) {
        self.tool("tpm2_createprimary", &[&["-Q", "-C", "o", "-c", "key.ctx"], template].concat());
        self.tool("tpm2_evictcontrol", &["-Q", "-C", "o", "-c", "key.ctx", handle]);
        // Without a resource manager the primary key stays in the memory of the TPM.
        self.tool("tpm2_flushcontext", &["-t"]);
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The exit code of a shell that does not find the program.
const MISSING: Option<i32> = Some(127);

/// Returns a command that starts a program without the open files of this process.
///
/// The TPM Software Stack does not close its sockets in programs that another test starts. A TPM would then see the end of
/// a connection only when these programs have ended.
pub(crate) fn without_descriptors(program: &str) -> Command {
    const START: &str = r#"
        for open in /proc/self/fd/*; do
            number=${open##*/}
            ((number > 2)) && eval "exec $number>&-"
        done
        exec "$@"
    "#;
    let mut command = Command::new("bash");
    command.args(["-c", START, "bash", program]);
    command
}

/// The TPM Software Stack expects the control channel of swtpm at the next port.
///
/// The ports are below the range from which the system gives ports to other programs, so they stay free when a test starts
/// its TPM again. Tests of one process never share a pair; two processes can, and then one of them tries the next pair.
fn free_pair() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 97).unwrap() * 64;
    loop {
        let port = 20_000 + (start + 2 * NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if is_free(port) && is_free(port + 1) {
            return port;
        }
    }
}

/// Starts swtpm. `None` if it ends at once, because a port is taken.
fn serve(state: &Path, port: u16) -> Option<Child> {
    let mut child = without_descriptors("swtpm")
        .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
        .args(["--tpmstate", &format!("dir={}", state.display())])
        .args(["--server", &format!("type=tcp,port={port},bindaddr=127.0.0.1")])
        .args(["--ctrl", &format!("type=tcp,port={},bindaddr=127.0.0.1", port + 1)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // A connection to the first port would be the only one that swtpm accepts. Another program can have the second port.
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port + 1)).is_err() {
        if let Some(ended) = child.try_wait().unwrap() {
            assert_ne!(ended.code(), MISSING, "swtpm is needed: run the tests by `cargo xtask test`");
            return None;
        }
        std::thread::yield_now();
    }
    std::thread::yield_now();
    match child.try_wait().unwrap() {
        Some(_) => None,
        None => Some(child),
    }
}
