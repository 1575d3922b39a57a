//! Whether this process is the one inside, and who called it: by what the kernel says of this process, never by what its
//! environment says.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;

/// The user who called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Caller {
    /// The caller, if this is the process inside. Whoever were taken for it wrongly would cover files and change addresses
    /// of the machine, so each of these must hold: the user namespace has one user, no other process has these mounts or
    /// this network, and the network is new.
    ///
    /// # Errors
    /// What does not hold, as a sentence.
    pub(super) fn of_inner_process() -> Result<Self, String> {
        let only = |map: &str| {
            let text = fs::read_to_string(map).map_err(|error| unreadable(map, &error))?;
            only_id(&text).ok_or_else(|| format!("{map} does not name root as the only id"))
        };
        let caller = Self { uid: only("/proc/self/uid_map")?, gid: only("/proc/self/gid_map")? };
        for (kind, what) in [("mnt", "mounts"), ("net", "network")] {
            if let Some(other) =
                sharer(Path::new("/proc"), kind).map_err(|error| unreadable("/proc", &error))?
            {
                return Err(format!("process {other} has the same {what}"));
            }
        }
        // Loopback is down in a new network, so not even this machine has an address in it. Nothing is sent here.
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
        if socket.is_ok_and(|socket| socket.connect((Ipv4Addr::LOCALHOST, 9)).is_ok()) {
            return Err("the network is in use".to_owned());
        }
        Ok(caller)
    }
}

fn unreadable(path: &str, error: &io::Error) -> String {
    format!("{path} cannot be read: {error}")
}

/// The id outside that is root inside, where there is no other id (`user_namespaces(7)`).
fn only_id(map: &str) -> Option<u32> {
    let mut numbers = map.split_ascii_whitespace().map(|number| number.parse::<u32>().ok());
    let (inside, outside, length) = (numbers.next()??, numbers.next()??, numbers.next()??);
    (inside == 0 && length == 1 && numbers.next().is_none()).then_some(outside)
}

/// Another process in this one's namespace. Those that may not be looked at are in another user namespace.
fn sharer(proc: &Path, kind: &str) -> io::Result<Option<u32>> {
    let own = fs::read_link(proc.join("self/ns").join(kind))?;
    // By the number that it has in there.
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
        // The shell that started the tests, or the runner of the tests, is still there.
        assert!(sharer(Path::new("/proc"), "mnt").unwrap().is_some());
        assert!(Caller::of_inner_process().is_err());
        // A machine with one process in these mounts.
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
