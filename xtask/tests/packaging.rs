//! Checks the units and manifests in `packaging/` by the programs of systemd, Kubernetes' schemas and nginx.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests; clippy excuses only the test functions themselves"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Validates each document of a file against the schemas of two versions, and refuses members that the schemas do not
/// have. It prints the kinds of the documents.
const VALIDATE: &str = "
import sys, yaml, kubernetes_validate
for document in yaml.safe_load_all(open(sys.argv[1])):
    for version in ('1.29', '1.37'):
        kubernetes_validate.validate(document, version, strict=True)
    print(document['kind'])
";

/// Prints the configurations of nginx in a file.
const NGINX: &str = "
import sys, yaml
for document in yaml.safe_load_all(open(sys.argv[1])):
    print((document.get('data') or {}).get('nginx.conf', ''), end='')
";

#[test]
fn the_units_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let output = systemd(&["verify", "--man=no"], folder.path(), |text| text);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    // The test would also pass if nothing were checked.
    let broken = |text: String| text.replace("ProtectSystem=strict", "ProtectSystem=very");
    let output = systemd(&["verify", "--man=no"], folder.path(), broken);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("protect system"), "{said}");
}

/// `docs/deploy.md` names this score.
#[test]
fn the_services_have_few_rights() {
    let folder = tempfile::tempdir().unwrap();
    let strict = systemd(&["security", "--offline=yes", "--threshold=11"], folder.path(), |text| text);
    let said = String::from_utf8_lossy(&strict.stdout);
    assert!(strict.status.success(), "{said}");
    let weaker =
        |text: String| text.replace("CapabilityBoundingSet=\n", "").replace("NoNewPrivileges=yes\n", "");
    let weak = systemd(&["security", "--offline=yes", "--threshold=11"], folder.path(), weaker);
    assert!(!weak.status.success(), "a weaker unit passes too");
}

#[test]
fn the_manifests_are_valid() {
    let mut seen = BTreeSet::new();
    for file in files("kubernetes") {
        let output = python(VALIDATE, &file);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", file.display());
        seen.extend(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned));
    }
    for kind in ["ConfigMap", "Deployment", "NetworkPolicy", "Service"] {
        assert!(seen.contains(kind), "no {kind} was checked");
    }
    let folder = tempfile::tempdir().unwrap();
    let page = fs::read_to_string(packaging().join("../docs/deploy.md")).unwrap();
    let (_, example) = page.split_once("```yaml\n").unwrap();
    let pod = folder.path().join("pod.yaml");
    fs::write(&pod, example.split_once("```").unwrap().0).unwrap();
    let output = python(VALIDATE, &pod);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "Pod\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let broken = folder.path().join("broken.yaml");
    let text = fs::read_to_string(packaging().join("kubernetes/emulator.yaml")).unwrap();
    fs::write(&broken, text.replace("readOnlyRootFilesystem", "readonlyRootFilesystem")).unwrap();
    assert!(!python(VALIDATE, &broken).status.success(), "an unknown member is accepted");
}

/// The certificate is a new one, and each path of the manifest is replaced by a path in the test's folder.
#[test]
fn nginx_accepts_its_configurations() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().display().to_string();
    let certificate = folder.path().join("tls.crt");
    let key = folder.path().join("tls.key");
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=api",
    ]);
    let made = openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate).output().expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for file in files("kubernetes") {
        let text = String::from_utf8(python(NGINX, &file).stdout).unwrap();
        assert!(text.contains("http {"), "{} has no configuration of nginx", file.display());
        let text =
            text.replace("/tmp/", &format!("{here}/")).replace("/etc/orders-tls/", &format!("{here}/"));
        let configuration = folder.path().join("nginx.conf");
        fs::write(&configuration, text).unwrap();
        let output = Command::new(nginx()).arg("-t").arg("-c").arg(&configuration).output().expect("nginx");
        assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    }
}

/// Runs systemd-analyze on copies of the units in which an existing program replaces certbound.
fn systemd(arguments: &[&str], folder: &Path, change: impl Fn(String) -> String) -> Output {
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).env("LC_ALL", "C").env("SYSTEMD_COLORS", "0");
    let is_security = arguments.first() == Some(&"security");
    for file in files("systemd") {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let is_service = name.ends_with(".service");
        if !is_service && (is_security || !name.ends_with(".socket")) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap().replace("/usr/bin/certbound", "/bin/true");
        let copy = folder.join(&name);
        fs::write(&copy, change(text)).unwrap();
        command.arg(copy);
    }
    command.output().expect("systemd-analyze is not on PATH: run the tests by `cargo xtask test`")
}

fn python(program: &str, file: &Path) -> Output {
    let python = std::env::var_os("CERTBOUND_PYTHON").expect(
        "CERTBOUND_PYTHON names no Python with kubernetes-validate: run the tests by `cargo xtask test`",
    );
    Command::new(python).args(["-c", program]).arg(file).output().unwrap()
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(packaging().join(folder)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} is empty");
    files
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}

/// Some users do not have /usr/sbin on PATH.
fn nginx() -> PathBuf {
    let usual = PathBuf::from("/usr/sbin/nginx");
    if usual.exists() { usual } else { PathBuf::from("nginx") }
}
