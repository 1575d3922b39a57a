//! The Debian package.
//!
//! `dpkg-deb` builds it from a tree. cargo-deb would build the same tree, but its configuration would be a second list
//! of the files that the archive has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::contents::{self, Layout, files, read};
use super::needs::Needs;
use super::release::Release;
use super::tree::{FILE, PROGRAM, Tree};
use crate::process::capture;

/// The configuration files. dpkg keeps the changes of the administrator.
const CONFIGURATION: &str = "/etc/certbound/verify.env\n";

/// Makes `certbound_VERSION_amd64.deb`.
pub(super) fn make(release: &Release) -> Result<PathBuf> {
    let tree = Tree::new(release.out.join("work/deb"))?;
    let layout = Layout { prefix: "usr/", program: "/usr/bin/certbound", zsh: "vendor-completions" };
    contents::install(release, &tree, &layout)?;
    follow_policy(release, &tree)?;
    let variables = release.root.join("packaging/systemd/verify.env");
    tree.copy(&variables, CONFIGURATION.trim_matches(['/', '\n']), FILE)?;
    control_files(release, &tree)?;
    let package = release.out.join(format!("certbound_{}_amd64.deb", version(&release.version)));
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "-Zxz", "--build"]).arg(&tree.root).arg(&package);
    // dpkg-deb uses this time for all files that are newer, and all files of the tree are newer.
    build.env("SOURCE_DATE_EPOCH", release.epoch.to_string());
    capture(&mut build).context("package: dpkg-deb (Debian: dpkg)")?;
    Ok(package)
}

/// Makes the changes that Debian's policy demands: compressed manual pages and changelogs, and one file about the
/// copyright.
fn follow_policy(release: &Release, tree: &Tree) -> Result<()> {
    let compress = |path: &str| super::tar::gzip(&tree.root.join(path));
    for page in files(&tree.root.join("usr/share/man/man1"))? {
        compress(&format!("usr/share/man/man1/{page}"))?;
    }
    let documents = "usr/share/doc/certbound";
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        fs::remove_file(tree.root.join(documents).join(licence))?;
    }
    let packaging = release.root.join("packaging/debian");
    let licence = indented(&read(&release.root.join("LICENSE-MIT"))?);
    let copyright = read(&packaging.join("copyright"))?.replace("@MIT@", &licence);
    let copyright = copyright.replace("@YEAR@", release.date.split('-').next().unwrap_or_default());
    tree.write(&format!("{documents}/copyright"), copyright, FILE)?;
    fs::rename(tree.root.join(documents).join("CHANGELOG.md"), tree.root.join(documents).join("NEWS.md"))?;
    compress(&format!("{documents}/NEWS.md"))?;
    tree.write(&format!("{documents}/changelog"), changelog(release)?, FILE)?;
    compress(&format!("{documents}/changelog"))?;
    Ok(())
}

fn control_files(release: &Release, tree: &Tree) -> Result<()> {
    let size = installed_size(&tree.root)?;
    let sums = checksums(tree)?;
    let packaging = release.root.join("packaging/debian");
    let control = read(&packaging.join("control"))?
        .replace("@VERSION@", &version(&release.version))
        .replace("@SIZE@", &size.to_string())
        .replace("@DEPENDS@", &depends(&release.needs)?);
    tree.write("DEBIAN/control", control, FILE)?;
    tree.write("DEBIAN/conffiles", CONFIGURATION, FILE)?;
    tree.write("DEBIAN/md5sums", sums, FILE)?;
    for script in ["postinst", "prerm", "postrm"] {
        tree.copy(&packaging.join(script), &format!("DEBIAN/{script}"), PROGRAM)?;
    }
    Ok(())
}

/// Returns the version in Debian's form. Debian sorts `0.2.0~rc.1` before `0.2.0`, as Semantic Versioning sorts
/// `0.2.0-rc.1`.
fn version(version: &str) -> String {
    version.replace('-', "~")
}

/// Returns the packages that have the shared libraries.
fn depends(needs: &Needs) -> Result<String> {
    let mut packages = Vec::new();
    for library in &needs.libraries {
        let package = match library.as_str() {
            "libc.so.6"
            | "libm.so.6"
            | "libdl.so.2"
            | "libpthread.so.0"
            | "librt.so.1"
            | "ld-linux-x86-64.so.2" => {
                let (major, minor) = needs.glibc.context("package: the program needs no version of glibc")?;
                format!("libc6 (>= {major}.{minor})")
            }
            "libgcc_s.so.1" => "libgcc-s1".to_owned(),
            other => bail!("package: it is not known which Debian package has {other}; add it to deb.rs"),
        };
        if !packages.contains(&package) {
            packages.push(package);
        }
    }
    if packages.is_empty() {
        bail!("package: a static program needs another line `Depends` in packaging/debian/control");
    }
    packages.sort();
    Ok(packages.join(", "))
}

/// Returns a changelog in Debian's format. The changes themselves are in `NEWS.md.gz`.
fn changelog(release: &Release) -> Result<String> {
    let mut date = Command::new("date");
    date.args(["--utc", "--rfc-email", "--date", &format!("@{}", release.epoch)]);
    let date = capture(date.env("LC_ALL", "C"))?;
    Ok(format!(
        "certbound ({}) unstable; urgency=medium\n\n  * Version {} of certbound. NEWS.md.gz lists the changes.\n\n \
         -- certbound developers <certbound@users.noreply.github.com>  {}\n",
        version(&release.version),
        release.version,
        date.trim()
    ))
}

/// Indents a text for a field of a control file, in which a point stands for an empty line.
fn indented(text: &str) -> String {
    let line = |line: &str| if line.is_empty() { " .".to_owned() } else { format!(" {line}") };
    text.trim().lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Returns the MD5 sums of all files except the configuration files, for `dpkg --verify`.
fn checksums(tree: &Tree) -> Result<String> {
    let mut paths = paths(&tree.root, Path::new(""))?;
    paths.retain(|path| !path.starts_with("etc"));
    capture(Command::new("md5sum").current_dir(&tree.root).arg("--").args(paths))
}

/// Returns the size of the files in KiB, each rounded up. `du` depends on the file system, so its result can differ.
fn installed_size(root: &Path) -> Result<u64> {
    let mut total = 0;
    for path in paths(root, Path::new(""))? {
        total += fs::metadata(root.join(path))?.len().div_ceil(1024);
    }
    Ok(total)
}

/// Returns the files below `folder`, relative to `root`, sorted.
fn paths(root: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            found.extend(paths(root, &path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(libraries: &[&str]) -> Needs {
        let libraries = libraries.iter().map(|&name| name.to_owned()).collect();
        Needs { libraries, glibc: Some((2, 17)), linker: None }
    }

    #[test]
    fn the_package_depends_on_the_packages_of_the_libraries() {
        let zig = needs(&["libc.so.6", "libm.so.6", "libpthread.so.0"]);
        assert_eq!(depends(&zig).unwrap(), "libc6 (>= 2.17)");
        assert_eq!(depends(&needs(&["libgcc_s.so.1", "libc.so.6"])).unwrap(), "libc6 (>= 2.17), libgcc-s1");
        assert!(depends(&needs(&["libssl.so.3"])).unwrap_err().to_string().contains("libssl.so.3"));
        assert!(depends(&needs(&[])).is_err());
    }

    #[test]
    fn the_size_of_each_file_is_rounded_up() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("usr")).unwrap();
        for (name, bytes) in [("empty", 0), ("usr/small", 1), ("usr/exact", 1024), ("usr/large", 1025)] {
            fs::write(folder.path().join(name), vec![b'x'; bytes]).unwrap();
        }
        assert_eq!(installed_size(folder.path()).unwrap(), 4);
    }

    #[test]
    fn a_pre_release_is_older_than_its_release() {
        assert_eq!(version("0.2.0-rc.1"), "0.2.0~rc.1");
        assert_eq!(version("0.2.0"), "0.2.0");
    }

    #[test]
    fn a_licence_becomes_a_field() {
        assert_eq!(indented("MIT\n\nCopyright A\n"), " MIT\n .\n Copyright A");
    }
}
