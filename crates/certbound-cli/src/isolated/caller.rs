//! Checks that this process is inside an isolated run, and determines the user of the command. The code checks the
//! kernel's facts about this process, and does not trust the environment.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;

/// The user who started the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Caller {
    /// Returns the caller if this process is the process inside an isolated run. If a process outside passed this check
    /// by mistake, it would hide files and change addresses of the machine. Therefore three conditions must be true:
    /// the user namespace has one user, no other process has these mounts or this network, and the network is new.
    ///
    /// # Errors
    /// The condition that is not true or cannot be checked, as a sentence.
    pub(super) fn of_inner_process() -> Result<Self, String> {
        let only = |map: &str| {
            let text = fs::read_to_string(map).map_err(|error| unreadable(map, &error))?;
            only_id(&text).ok_or_else(|| format!("{map} does not map root as the only id"))
        };
        let caller = Self { uid: only("/proc/self/uid_map")?, gid: only("/proc/self/gid_map")? };
        for (kind, what) in [("mnt", "mounts"), ("net", "network")] {
            if let Some(other) =
                sharer(Path::new("/proc"), kind).map_err(|error| unreadable("/proc", &error))?
            {
                return Err(format!("process {other} uses the same {what}"));
            }
        }
        // Loopback is down in a new network, so even this machine has no address in this network. The check sends
        // nothing.
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
        if socket.is_ok_and(|socket| socket.connect((Ipv4Addr::LOCALHOST, 9)).is_ok()) {
            return Err("the network is already in use".to_owned());
        }
        Ok(caller)
    }
}

fn unreadable(path: &str, error: &io::Error) -> String {
    format!("{path} cannot be read: {error}")
}

/// Returns the outer id of the inner root, if there is no other id (`user_namespaces(7)`).
fn only_id(map: &str) -> Option<u32> {
    let mut numbers = map.split_ascii_whitespace().map(|number| number.parse::<u32>().ok());
    let (inside, outside, length) = (numbers.next()??, numbers.next()??, numbers.next()??);
    (inside == 0 && length == 1 && numbers.next().is_none()).then_some(outside)
}

/// Returns the number of another process that is in the same namespace as this process. A process that cannot be
/// examined is in a different user namespace.
fn sharer(proc: &Path, kind: &str) -> io::Result<Option<u32>> {
    let own = fs::read_link(proc.join("self/ns").join(kind))?;
    // The link contains the number that this process has in `/proc`.
    let this = fs::read_link(proc.join("self"))?;
    for entry in fs::read_dir(proc)? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        let there = fs::read_link(proc.join(&name).join("ns").join(kind));
        if name != this.as_os_str() && there.is_ok_and(|there| there == own) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_namespace_of_one_user_will_do() {
        assert_eq!(only_id("         0       1000          1\n"), Some(1000));
        for map in [
            "0 0 4294967295\n",
            "0 1000 2\n",
            "1000 0 1\n",
            "0 1000 1\n1 100000 65536\n",
            "0 1000\n",
            "0 -1 1\n",
            "",
        ] {
            assert_eq!(only_id(map), None, "{map}");
        }
    }

    #[test]
    fn whoever_has_this_processs_mounts_is_seen() {
        // The shell or the test runner that started the tests still runs and has the same mounts.
        assert!(sharer(Path::new("/proc"), "mnt").unwrap().is_some());
        assert!(Caller::of_inner_process().is_err());
        // This folder imitates `/proc` of a machine with one process in these mounts.
        let folder = tempfile::tempdir().unwrap();
        let process = |name: &str, mounts: &str| {
            let namespaces = folder.path().join(name).join("ns");
            fs::create_dir_all(&namespaces).unwrap();
            std::os::unix::fs::symlink(mounts, namespaces.join("mnt")).unwrap();
        };
        process("7", "mnt:[1]");
        process("8", "mnt:[2]");
        fs::create_dir(folder.path().join("9")).unwrap();
        fs::create_dir(folder.path().join("sys")).unwrap();
        std::os::unix::fs::symlink("7", folder.path().join("self")).unwrap();
        assert_eq!(sharer(folder.path(), "mnt").unwrap(), None);
        process("10", "mnt:[1]");
        assert_eq!(sharer(folder.path(), "mnt").unwrap(), Some(10));
    }
}
