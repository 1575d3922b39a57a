//! Runs the image as a container engine does: the unpacked layers as a read-only root, the user and the variables of
//! the configuration, and a file system in memory at `/tmp`.

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

/// Prepares the root in a mount namespace, and starts the process in it. `$1` is the root and `$2` the user.
const START: &str = r#"
set -e
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
ip link set lo up 2>/dev/null || true
exec setpriv --no-new-privs chroot --userspec="$user" --groups="${user#*:}" "$root" "$@"
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
    demo(&mut container.command(&DEMO)?)
}

struct Container<'a> {
    root: &'a Path,
    config: &'a Value,
}

impl Container<'_> {
    /// Returns a command that runs the entry point with arguments.
    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let entry = texts(&self.config["Entrypoint"]);
        if entry.is_empty() {
            bail!("package check: the image has no entry point");
        }
        let user = self.config["User"].as_str().context("package check: the image has no user")?;
        let mut unshare = Command::new("unshare");
        unshare.env_clear();
        unshare.envs(texts(&self.config["Env"]).iter().filter_map(|variable| variable.split_once('=')));
        // The programs of this machine that prepare the root.
        let path = "export PATH=/usr/sbin:/usr/bin:/sbin:/bin\n";
        unshare.args(["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "--"]);
        unshare.args(["/bin/sh", "-c", &format!("{path}{START}"), "sh"]).arg(self.root).arg(user);
        unshare.args(entry).args(arguments).stdin(Stdio::null());
        Ok(unshare)
    }
}

fn json(file: &Path) -> Result<Value> {
    serde_json::from_str(&read(file)?).with_context(|| format!("package check: {}", file.display()))
}

fn blob(layout: &Path, descriptor: &Value) -> Result<Value> {
    json(&path(layout, descriptor)?)
}

/// Returns the file of a blob, after its size and digest were checked.
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
