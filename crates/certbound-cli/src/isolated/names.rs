//! Name resolution inside the namespace: emulated hosts are on this machine, and no other host exists.

use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use certbound_emulator::Emulator;
use rustix::mount::mount_bind;
use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Packet, QTYPE, RCODE, ResourceRecord, TYPE};
use tempfile::NamedTempFile;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// A DNS server. It answers queries until this value is dropped.
pub(super) struct Names {
    server: JoinHandle<()>,
    _files: Vec<NamedTempFile>,
}

impl Drop for Names {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Names {
    /// Mounts its own files over the machine's files, for the processes inside only, and answers the queries to the
    /// name server of `/etc/resolv.conf`. The name server is necessary because a list of all regions and vaults would
    /// be too long.
    pub(super) async fn answer(emulator: &Arc<Emulator>) -> io::Result<Self> {
        let mut hosts = "127.0.0.1 localhost\n".to_owned();
        let machine = rustix::system::uname();
        hosts.push_str(&format!("127.0.0.1 {}\n", machine.nodename().to_string_lossy()));
        for name in emulator.host_names() {
            hosts.push_str(&format!("127.0.0.1 {name}\n"));
        }
        let switch = std::fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
        let files = [
            replace("/etc/hosts", &hosts)?,
            replace("/etc/resolv.conf", "nameserver 127.0.0.1\noptions ndots:0\n")?,
            replace("/etc/nsswitch.conf", &by_files_and_dns(&switch))?,
        ];
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).await?;
        let server = tokio::spawn(serve(socket, Arc::clone(emulator)));
        Ok(Self { server, _files: files.into_iter().flatten().collect() })
    }
}

/// Mounts a file with `content` over the file `path`, until the last process in the namespace ends. Returns `None` if
/// the file does not exist: programs then query the name server of their own machine, and this name server is
/// [`Names`].
fn replace(path: &str, content: &str) -> io::Result<Option<NamedTempFile>> {
    use std::os::unix::fs::PermissionsExt as _;

    let about = |error: io::Error| io::Error::new(error.kind(), format!("{path}: {error}"));
    let target = match Path::new(path).canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        target => target.map_err(about)?,
    };
    let mut file = NamedTempFile::new()?;
    file.write_all(content.as_bytes())?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    mount_bind(file.path(), &target).map_err(|error| about(error.into()))?;
    Ok(Some(file))
}

/// Returns the text of `nsswitch.conf` with the machine's look-ups, but with `files dns` for hosts. Modules such as
/// `resolve` query a service of the machine through a socket, which a network namespace does not hide.
fn by_files_and_dns(switch: &str) -> String {
    let others = switch.lines().filter(|line| !line.trim_start().starts_with("hosts:"));
    others.chain(["hosts: files dns"]).flat_map(|line| [line, "\n"]).collect()
}

async fn serve(socket: UdpSocket, emulator: Arc<Emulator>) {
    let mut buffer = [0; 1232];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let answer = buffer.get(..length).and_then(|question| reply(question, &emulator));
        if let Some(answer) = answer {
            // A failure is ignored, because a program without an answer repeats its query.
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// Returns the answer to one query, or `None` for a packet without exactly one question.
fn reply(question: &[u8], emulator: &Emulator) -> Option<Vec<u8>> {
    let question = Packet::parse(question).ok()?;
    let mut answer = Packet::new_reply(question.id());
    answer.questions = question.questions.clone();
    let [asked] = question.questions.as_slice() else { return None };
    let name = asked.qname.to_string();
    if !emulator.is_emulated(&name) {
        *answer.rcode_mut() = RCODE::NameError;
    } else if matches!(asked.qtype, QTYPE::TYPE(TYPE::A) | QTYPE::ANY) {
        let address = RData::A(A { address: u32::from(Ipv4Addr::LOCALHOST) });
        answer.answers.push(ResourceRecord::new(asked.qname.clone(), CLASS::IN, 60, address));
    }
    answer.build_bytes_vec().ok()
}
