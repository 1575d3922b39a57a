//! The OCI image. `cargo xtask package` builds it without a container engine, because the layout of an image is a
//! folder of tar files and JSON (<https://specs.opencontainers.org/image-spec/>).
//!
//! The image has the shape of a distroless image: the program, the shared libraries that it needs, the certificates of
//! the public authorities, and a user without rights. It has no shell and no package manager.

mod layout;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use self::layout::Layout;
use super::contents;
use super::needs::Needs;
use super::release::Release;
use super::tree::{FILE, PROGRAM, Tree};
use crate::process::{capture, say};

/// The certificates of the public authorities on Debian. The program also finds them at this path in the image.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";
/// The user and the group of the process, as in distroless images.
const USER: &str = "65532:65532";
/// The address of the admin listener. The health check reads the same variable.
const ADMIN: &str = "CERTBOUND_ADMIN_LISTEN=127.0.0.1:9001";
/// Since this version, libc.so.6 itself reads `/etc/hosts` and asks DNS. Before, it loaded other libraries for this.
const OLDEST_GLIBC: (u32, u32) = (2, 34);

/// Makes the folder `NAME-oci` and the file `NAME-oci.tar` with the same content.
pub(super) fn make(release: &Release) -> Result<PathBuf> {
    let name = format!("{}-oci", release.name());
    let glibc = glibc()?;
    let layout = Layout::new(release.out.join(&name), release.epoch)?;
    let layers = [
        layout.layer(&base(release)?, "libraries, certificates of authorities and the user")?,
        layout.layer(&program(release)?, "the program certbound")?,
    ];
    let labels = labels(release, &glibc);
    let history: Vec<Value> = layers
        .iter()
        .map(|layer| json!({ "created": release.date, "created_by": "cargo xtask package", "comment": layer.comment }))
        .collect();
    let config = json!({
        "created": release.date,
        "architecture": "amd64",
        "os": "linux",
        "config": config(&labels),
        "rootfs": { "type": "layers", "diff_ids": layers.each_ref().map(|layer| &layer.diff_id) },
        "history": history,
    });
    let digest = layout.finish(&config, &layers, &labels, &release.version)?;
    let archive = release.out.join(format!("{name}.tar"));
    let names = ["blobs", "index.json", "oci-layout"];
    super::tar::pack(&layout.root, &names, &archive, release.epoch)?;
    say(&format!("package: the image's digest is {digest}"));
    Ok(archive)
}

/// Returns the execution parameters. `Healthcheck` is an extension of Docker: the OCI specification only reserves its
/// name, and Kubernetes ignores it.
fn config(labels: &Value) -> Value {
    let second: u64 = 1_000_000_000;
    json!({
        "User": USER,
        "Env": ["PATH=/usr/bin", ADMIN],
        "Entrypoint": ["/usr/bin/certbound"],
        "Cmd": ["--help"],
        "WorkingDir": "/",
        "StopSignal": "SIGTERM",
        "Labels": labels,
        "Healthcheck": {
            "Test": ["CMD", "/usr/bin/certbound", "health"],
            "Interval": 10 * second,
            "Timeout": 3 * second,
            "StartPeriod": 30 * second,
            "Retries": 3,
        },
    })
}

fn labels(release: &Release, glibc: &str) -> Value {
    json!({
        "org.opencontainers.image.title": "certbound",
        "org.opencontainers.image.description": "Certificate-bound tokens (mTLS PoP) for Microsoft Entra",
        "org.opencontainers.image.version": release.version,
        "org.opencontainers.image.revision": release.commit,
        "org.opencontainers.image.created": release.date,
        "org.opencontainers.image.source": "https://github.com/certbound/certbound",
        "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
        "com.github.certbound.glibc": glibc,
    })
}

/// Makes the layer that seldom changes: libraries, certificates of authorities and the user.
fn base(release: &Release) -> Result<Tree> {
    let tree = Tree::new(release.out.join("work/image-base"))?;
    for (library, file) in libraries(&release.program, &release.needs)? {
        tree.copy(&file, &library, PROGRAM)?;
    }
    let authorities = Path::new("/").join(AUTHORITIES);
    tree.copy(&authorities, AUTHORITIES, FILE).context("package: install Debian's ca-certificates")?;
    tree.write(
        "etc/passwd",
        "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n",
        FILE,
    )?;
    tree.write("etc/group", "root:x:0:\nnonroot:x:65532:\n", FILE)?;
    tree.write("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n", FILE)?;
    // Debian has the licences of its packages in these files.
    for package in ["libc6", "ca-certificates"] {
        let path = format!("usr/share/doc/{package}/copyright");
        tree.copy(&Path::new("/").join(&path), &path, FILE)
            .context("package: Debian's copyright files are missing")?;
    }
    // The copyright files refer to these texts.
    for licence in ["LGPL-2.1", "GPL-2"] {
        let path = format!("usr/share/common-licenses/{licence}");
        tree.copy(&Path::new("/").join(&path), &path, FILE)?;
    }
    tree.folder("tmp", 0o1777)?;
    // The container engine mounts file systems here.
    for folder in ["dev", "proc", "run", "sys"] {
        tree.folder(folder, PROGRAM)?;
    }
    Ok(tree)
}

fn program(release: &Release) -> Result<Tree> {
    let tree = Tree::new(release.out.join("work/image-program"))?;
    tree.copy(&release.program, "usr/bin/certbound", PROGRAM)?;
    contents::notices(release, &tree, &format!("usr/{}", contents::DOCUMENTS))?;
    Ok(tree)
}

/// Returns the path in the image and the file on this machine of each shared library, and of the dynamic linker.
fn libraries(program: &Path, needs: &Needs) -> Result<Vec<(String, PathBuf)>> {
    let Some(linker) = &needs.linker else { return Ok(Vec::new()) };
    let printed = capture(Command::new("ldd").arg(program)).context("package: ldd (Debian: libc-bin)")?;
    let mut found = vec![(linker.trim_start_matches('/').to_owned(), PathBuf::from(linker))];
    for (name, file) in resolved(&printed)? {
        found.push((format!("lib/x86_64-linux-gnu/{name}"), file));
    }
    Ok(found)
}

/// Reads the lines `NAME => FILE (ADDRESS)` of ldd.
fn resolved(printed: &str) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for (name, rest) in printed.lines().filter_map(|line| line.trim().split_once(" => ")) {
        if rest.starts_with("not found") {
            bail!("package: this machine has no {name}, which the program needs");
        }
        let file = rest.split(" (").next().unwrap_or(rest);
        found.push((name.to_owned(), PathBuf::from(file)));
    }
    Ok(found)
}

/// Returns the version of this machine's glibc, which the image gets.
fn glibc() -> Result<String> {
    let printed = capture(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
    let text = printed.trim().trim_start_matches("glibc ").to_owned();
    let mut numbers = text.split('.').map(|number| number.parse().unwrap_or_default());
    let version: (u32, u32) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if version < OLDEST_GLIBC {
        bail!(
            "package: the image needs glibc {}.{} or newer on this machine, not {text}",
            OLDEST_GLIBC.0,
            OLDEST_GLIBC.1
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_libraries_are_read_from_ldd() {
        let printed = "\tlinux-vdso.so.1 (0x00007eff63e89000)\n\
                       \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007eff63c26000)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x00007eff63e8b000)\n";
        let found = resolved(printed).unwrap();
        assert_eq!(found, [("libc.so.6".to_owned(), PathBuf::from("/lib/x86_64-linux-gnu/libc.so.6"))]);
        let missing = resolved("\tlibssl.so.3 => not found\n").unwrap_err();
        assert!(missing.to_string().contains("libssl.so.3"));
    }

    #[test]
    fn the_process_has_no_rights_and_its_health_is_checked() {
        let config = config(&json!({}));
        assert_eq!(config["User"], "65532:65532");
        let program = &config["Entrypoint"][0];
        assert_eq!(config["Healthcheck"]["Test"], json!(["CMD", program, "health"]));
        assert!(config["Env"].as_array().unwrap().contains(&json!(ADMIN)));
    }
}
