//! Who called and from where, as the outer process tells the inner one.

use std::ffi::OsStr;
use std::io;

/// Set for the inner process alone.
pub(super) const VARIABLE: &str = "CERTBOUND_EMULATOR_INSIDE";

/// The user who called, and the namespaces he called from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) uid: u32,
    pub(super) gid: u32,
    namespaces: String,
}

impl Caller {
    /// This process.
    pub(super) fn of_process() -> io::Result<Self> {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        Ok(Self { uid, gid, namespaces: namespaces()? })
    }

    /// As the variable's value.
    pub(super) fn to_variable(&self) -> String {
        format!("{}:{}:{}", self.uid, self.gid, self.namespaces)
    }

    /// The caller, if this is the inner process. A variable alone proves nothing: one that was left over would let root
    /// cover the machine's own files, so the namespaces must be others than the caller's.
    pub(super) fn of_inner_process() -> Option<Self> {
        let caller = Self::parse(&std::env::var_os(VARIABLE)?)?;
        let here = namespaces().ok()?;
        caller.shares_none_of(&here).then_some(caller)
    }

    fn parse(text: &OsStr) -> Option<Self> {
        let mut parts = text.to_str()?.splitn(3, ':');
        let mut number = || parts.next()?.parse().ok();
        let (uid, gid) = (number()?, number()?);
        let namespaces = parts.next().filter(|all| all.split(',').count() == NAMESPACES.len())?;
        Some(Self { uid, gid, namespaces: namespaces.to_owned() })
    }

    fn shares_none_of(&self, here: &str) -> bool {
        self.namespaces.split(',').zip(here.split(',')).all(|(there, here)| there != here)
    }
}

/// What is changed inside: mounts and addresses.
const NAMESPACES: [&str; 2] = ["mnt", "net"];

/// Their names, such as `mnt:[4026531841],net:[4026531840]`.
fn namespaces() -> io::Result<String> {
    let name = |kind| Ok(std::fs::read_link(format!("/proc/self/ns/{kind}"))?.to_string_lossy().into_owned());
    let all: io::Result<Vec<String>> = NAMESPACES.into_iter().map(name).collect();
    Ok(all?.join(","))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn who_shares_a_namespace_with_the_caller_is_not_inside() {
        let caller = Caller { uid: 1000, gid: 100, namespaces: "mnt:[1],net:[2]".to_owned() };
        assert_eq!(Caller::parse(caller.to_variable().as_ref()), Some(caller));
        let caller = Caller::of_process().unwrap();
        assert!(!caller.shares_none_of(&namespaces().unwrap()));
        let caller = |namespaces: &str| Caller::parse(format!("0:0:{namespaces}").as_ref()).unwrap();
        assert!(caller("mnt:[1],net:[2]").shares_none_of("mnt:[3],net:[4]"));
        assert!(!caller("mnt:[1],net:[2]").shares_none_of("mnt:[3],net:[2]"));
        assert!(!caller("mnt:[1],net:[2]").shares_none_of("mnt:[1],net:[4]"));
        for text in ["", "0:0", "0:0:", "0:0:mnt:[1]", "x:0:mnt:[1],net:[2]", "-1:0:mnt:[1],net:[2]"] {
            assert_eq!(Caller::parse(text.as_ref()), None, "{text}");
        }
    }
}
