//! Sets up the strangers, the programs of other authors that the tests use. [`PROGRAMS`] lists the programs. Other
//! strangers are packages of Python and Node. The module also installs the headers of libssl and libtss2.
//!
//! The command finds or installs each program, and prints a line about it. If a program cannot be installed, the
//! command fails with the program's name: no test is skipped.

pub(crate) mod go;
mod node;
pub(crate) mod python;

use std::env;
use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

pub(crate) use self::node::Node;
use self::python::Environment;
use crate::process::{capture, on_path, run, say};

/// The programs, the Debian package of each, and the argument that prints its version.
const PROGRAMS: [(&str, &str, &str); 17] = [
    ("openssl", "openssl", "version"),
    ("curl", "curl", "--version"),
    ("python3", "python3", "--version"),
    ("nginx", "nginx", "-v"),
    ("haproxy", "haproxy", "-v"),
    // This package has the program and its modules, but no service that would start.
    ("apache2", "apache2-bin", "-v"),
    ("caddy", "caddy", "version"),
    ("unshare", "util-linux", "--version"),
    ("script", "bsdutils", "--version"),
    ("ip", "iproute2", "-V"),
    ("systemd-analyze", "systemd", "--version"),
    ("dbus-run-session", "dbus", "--version"),
    ("gnome-keyring-daemon", "gnome-keyring", "--version"),
    // SoftHSM stores tokens in files. OpenSC reads them; no argument of `pkcs11-tool` prints its own version.
    ("softhsm2-util", "softhsm2", "--version"),
    ("pkcs11-tool", "opensc", "--show-info"),
    ("swtpm", "swtpm", "--version"),
    ("tpm2_createprimary", "tpm2-tools", "--version"),
];

/// The programs that build the FIPS module of AWS-LC, in the same form.
const BUILDERS_OF_FIPS: [(&str, &str, &str); 3] =
    [("cmake", "cmake", "--version"), ("go", "golang-go", "version"), ("perl", "perl", "-eprint $^V")];

/// The packages of the virtual environment, in pip's format.
const PYTHON_PACKAGES: &str = include_str!("../python-packages.txt");

/// Checks that the packages can be imported, not only that their files exist.
const IMPORT_CHECK: &str = "import cryptography, kubernetes_validate, msal, msgraph, azure.identity; \
    import azure.keyvault.certificates, azure.keyvault.keys, azure.keyvault.secrets; \
    print(msal.__version__, azure.identity.__version__, cryptography.__version__)";

/// The paths of Python and Node with the packages for the tests.
pub(crate) struct Strangers {
    /// The Python interpreter with MSAL, the Azure and Graph SDKs and cryptography.
    pub(crate) python: PathBuf,
    /// Node with MSAL for Node, the Azure SDK and a token service.
    pub(crate) node: Node,
}

/// Finds or installs the strangers. Installs nothing if it finds all of them.
pub(crate) fn set_up(root: &Path) -> Result<Strangers> {
    programs(&PROGRAMS)?;
    headers()?;
    let folder = root.join("target").join("strangers");
    let python = Environment {
        what: "MSAL for Python, the Azure SDK, the Graph SDK, cryptography and kubernetes-validate",
        packages: PYTHON_PACKAGES,
        check: IMPORT_CHECK,
    }
    .set_up(&folder.join("venv"))?;
    let node = node::set_up(&folder.join("node"))?;
    Ok(Strangers { python, node })
}

/// Finds or installs the programs that build the FIPS module of AWS-LC.
pub(crate) fn builders_of_fips() -> Result<()> {
    programs(&BUILDERS_OF_FIPS)
}

fn programs(programs: &[(&str, &str, &str)]) -> Result<()> {
    let missing = programs.iter().filter(|(program, ..)| on_path(program).is_none());
    let packages: Vec<&str> = missing.map(|(_, package, _)| *package).collect();
    if !packages.is_empty() {
        apt_install(&packages)?;
    }
    for (program, package, argument) in programs {
        let Some(found) = on_path(program) else {
            bail!("set-up: {program} is not on PATH, though the package {package} is installed");
        };
        let version = version(Command::new(&found).arg(argument))?;
        say(&format!("set-up: {program}: {version}"));
    }
    Ok(())
}

/// The libraries whose headers only `certbound-openssl` and `certbound-tpm` need, by their names in pkg-config, and the
/// Debian package of each.
const LIBRARIES: [(&str, &str); 2] = [("libssl", "libssl-dev"), ("tss2-sys", "libtss2-dev")];

/// Finds or installs the headers of libraries.
pub(crate) fn headers() -> Result<()> {
    let version = |library: &str| capture(Command::new("pkg-config").args(["--modversion", library]));
    let missing = LIBRARIES.iter().filter(|(library, _)| version(library).is_err());
    let mut packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if !packages.is_empty() {
        packages.push("pkg-config");
        apt_install(&packages)?;
    }
    for (library, _) in LIBRARIES {
        say(&format!("set-up: the headers of {library} {}", version(library)?.trim()));
    }
    Ok(())
}

/// Returns the first line that a program prints about its version. nginx prints its version on stderr.
fn version(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    Ok(printed.lines().next().unwrap_or_default().to_owned())
}

pub(crate) fn apt_install(packages: &[&str]) -> Result<()> {
    let wanted = packages.join(", ");
    if on_path("apt-get").is_none() {
        bail!(
            "set-up: these packages are missing, and this system has no apt-get: {wanted}; install them with this system's package manager"
        );
    }
    say(&format!("set-up: installing Debian packages: {wanted}"));
    let could_not = || format!("set-up: could not install the Debian packages {wanted}");
    run(apt_get()?.arg("update").arg("-qq")).with_context(could_not)?;
    run(apt_get()?.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages))
        .with_context(could_not)
}

/// Returns apt-get as root, directly or through sudo. sudo may ask for a password only on a terminal, and never in CI.
fn apt_get() -> Result<Command> {
    let mut command = if capture(Command::new("id").arg("-u"))?.trim() == "0" {
        let mut command = Command::new("env");
        command.stdin(Stdio::null());
        command
    } else if on_path("sudo").is_some() {
        let mut command = Command::new("sudo");
        if env::var_os("CI").is_some() || !stdin().is_terminal() {
            command.arg("--non-interactive");
        }
        command.arg("env");
        command
    } else {
        bail!(
            "set-up: packages are missing, and installing them needs root or sudo; run as root: apt-get install openssl curl nginx haproxy apache2-bin caddy util-linux bsdutils iproute2 systemd dbus gnome-keyring libssl-dev libtss2-dev pkg-config softhsm2 opensc swtpm tpm2-tools python3 python3-venv nodejs npm"
        );
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    Ok(command)
}
