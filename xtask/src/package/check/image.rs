//! Runs the image in a user namespace, as a container engine without privileges does. The unpacked layers are a
//! read-only root, and `/tmp` is a file system in memory. The user and the variables are those of the configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::super::contents::read;
use super::super::release::sha256;
use super::super::tree::Tree;
use super::{DEMO, demo, named};
use crate::process::{capture, say};

/// Runs a command as root of a new user namespace. The users and groups in the namespace have the same numbers as
/// outside.
///
/// The parent writes the maps, because a process in the namespace can map only its own user and group.
const USER_NAMESPACE: &str = r#"
set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
here=$(readlink /proc/self/ns/user)
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
mkfifo "$folder/mapped"
unshare --user -- /bin/sh -c 'read -r line < "$0" && exec "$@"' "$folder/mapped" "$@" &
until [ "$(readlink /proc/$!/ns/user)" != "$here" ]; do
    kill -0 $!
    sleep 0.01
done
echo "0 0 65536" > /proc/$!/uid_map
echo "0 0 65536" > /proc/$!/gid_map
echo mapped > "$folder/mapped"
wait $!
"#;
/// Prepares the root in a mount namespace, and defines how a process is started in it. `$1` is the root and `$2` the
/// user.
const PREPARE: &str = r#"
set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
root=$1 user=$2
shift 2
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
for device in null zero full random urandom; do
    : > "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
mount -o remount,bind,ro "$root"
ip link set lo up
container() {
    setpriv --no-new-privs chroot --userspec="$user" --groups="${user#*:}" "$root" "$@"
}
"#;
/// Runs one command.
const RUN: &str = "container \"$@\"";
/// Checks that the health check fails without a server. Then starts a server with the entry point `$1`, and repeats the
/// health check until it succeeds.
const HEALTH: &str = r#"
entry=$1
shift
if container "$@" >/dev/null 2>&1; then
    echo "the health check succeeds without a server" >&2
    exit 1
fi
container "$entry" emulator start >/dev/null &
for attempt in $(seq 100); do
    if container "$@" 2>/dev/null; then exit 0; fi
    sleep 0.1
done
container "$@"
"#;

pub(super) fn check(out: &Path) -> Result<()> {
    let archive = named(out, |name| name.ends_with("-oci.tar"))?;
    let layout = Tree::new(out.join("work/check/layout"))?;
    capture(
        Command::new("tar").arg("--extract").arg("--file").arg(&archive).arg("--directory").arg(&layout.root),
    )?;
    let index = json(&layout.root.join("index.json"))?;
    let manifest = blob(&layout.root, &index["manifests"][0])?;
    let config = blob(&layout.root, &manifest["config"])?["config"].take();
    let root = Tree::new(out.join("work/check/image"))?;
    for layer in manifest["layers"].as_array().context("package check: the image has no layers")? {
        let mut unpack = Command::new("tar");
        unpack.args(["--extract", "--gzip", "--preserve-permissions", "--file"]);
        unpack.arg(path(&layout.root, layer)?).arg("--directory").arg(&root.root);
        capture(&mut unpack)?;
    }
    let container = Container { root: &root.root, config: &config };
    say(&format!("package check: {}", capture(&mut container.command(&["--version"])?)?.trim()));
    demo(&mut container.command(&DEMO)?)?;
    capture(&mut container.health()?)?;
    say("package check: the health check fails before a server is started, and succeeds after it");
    Ok(())
}

struct Container<'a> {
    root: &'a Path,
    config: &'a Value,
}

impl Container<'_> {
    /// Returns a command that runs the entry point with arguments.
    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.namespaces(RUN)?;
        command.args(self.entry()?).args(arguments);
        Ok(command)
    }

    /// Returns a command that runs the health check, without a server and with a server.
    fn health(&self) -> Result<Command> {
        let test = texts(&self.config["Healthcheck"]["Test"]);
        let Some((&"CMD", test)) = test.split_first() else {
            bail!("package check: the image has no health check")
        };
        let mut command = self.namespaces(HEALTH)?;
        command.args(self.entry()?).args(test);
        Ok(command)
    }

    fn entry(&self) -> Result<Vec<&str>> {
        let entry = texts(&self.config["Entrypoint"]);
        if entry.len() != 1 {
            bail!("package check: the entry point is not one program: {entry:?}");
        }
        Ok(entry)
    }

    /// Returns a command that runs a script in new namespaces, with the variables and the user of the configuration.
    fn namespaces(&self, script: &str) -> Result<Command> {
        let user = self.config["User"].as_str().context("package check: the image has no user")?;
        let mut unshare = Command::new("/bin/sh");
        unshare.env_clear();
        unshare.envs(texts(&self.config["Env"]).iter().filter_map(|variable| variable.split_once('=')));
        unshare.args(["-c", USER_NAMESPACE, "sh", "unshare"]);
        unshare.args(["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "--"]);
        unshare.args(["/bin/sh", "-c", &format!("{PREPARE}{script}"), "sh"]).arg(self.root).arg(user);
        unshare.stdin(Stdio::null());
        Ok(unshare)
    }
}

fn json(file: &Path) -> Result<Value> {
    serde_json::from_str(&read(file)?).with_context(|| format!("package check: {}", file.display()))
}

fn blob(layout: &Path, descriptor: &Value) -> Result<Value> {
    json(&path(layout, descriptor)?)
}

/// Checks the size and the digest of a blob, and returns its file.
fn path(layout: &Path, descriptor: &Value) -> Result<PathBuf> {
    let digest = descriptor["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
    let digest = digest.context("package check: a descriptor has no digest")?;
    let file = layout.join("blobs/sha256").join(digest);
    let size = fs::metadata(&file).with_context(|| format!("package check: {}", file.display()))?.len();
    if sha256(&file)? != digest || descriptor["size"] != size {
        bail!("package check: the blob {digest} is damaged");
    }
    Ok(file)
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}
