//! The folder in which clients of Azure Arc expect the files of the agent's challenges.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use certbound_emulator::{ArcKey, Emulator};
use rustix::mount::{MountFlags, mount};

/// The Filesystem Hierarchy Standard 3.0 requires this folder (section 5.12). A mount hides its content.
const COVERED: &str = "/var/opt";
const TOKENS: &str = "/var/opt/azcmagent/tokens";

/// Mounts a folder in memory over [`COVERED`], for the processes inside only, and writes the key into this folder.
pub(super) fn install(emulator: &Arc<Emulator>) -> io::Result<()> {
    mount("tmpfs", COVERED, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, None)?;
    fs::create_dir_all(TOKENS)?;
    let path = Path::new(TOKENS).join("certbound-emulator.key");
    let key = ArcKey::new(path.to_string_lossy());
    fs::write(&path, key.content().expose())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o440))?;
    emulator.install_arc_agent(key);
    Ok(())
}
