//! The tokens of one test, and the module with faults.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use certbound::certificate::SignatureScheme;
use certbound_pkcs11::{KeySpec, OpenToken, Pkcs11Uri, TokenOptions};
use certbound_testkit::emulator::{Emulator, IssueOptions};

/// The module of SoftHSM in Debian's package.
pub(crate) const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";
pub(crate) const PIN: &str = "4711-pin";
/// The variable by which a test knows that it is the child process.
const FOLDER: &str = "CERTBOUND_SHIM";

/// The folder of a test's tokens.
pub(crate) struct Hsm {
    folder: PathBuf,
}

/// The module with faults, compiled once for each run.
static SHIM: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, built) = (
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/softhsm/shim.c"),
        folder.join(format!("certbound-shim-{}.so", std::process::id())),
    );
    let compiled = Command::new("gcc")
        .args(["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o"])
        .arg(&built)
        .args([source, "-ldl", "-lpthread"])
        .status();
    assert!(compiled.expect("gcc runs").success(), "gcc compiles the module");
    built
});

/// Runs `test` in a process of its own, with a token `app`. The caller must be the test function itself.
pub(crate) fn isolated<F: FnOnce(&Hsm)>(test: F) {
    in_child(name_of::<F>(), test);
}

fn in_child(name: &str, test: impl FnOnce(&Hsm)) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return test(&Hsm { folder: folder.into() });
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("tokens")).unwrap();
    let configuration =
        format!("directories.tokendir = {}\nobjectstore.backend = file\n", path("tokens").display());
    std::fs::write(path("softhsm2.conf"), configuration).unwrap();
    let hsm = Hsm { folder: folder.path().to_owned() };
    hsm.add_token("app");
    let child = hsm
        .command(&std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder.path())
        .env("CERTBOUND_SHIM_OVER", SOFTHSM)
        .env("CERTBOUND_SHIM_MODULE", &*SHIM)
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success() && said.contains("1 passed"), "{name} failed ({}):\n{said}", child.status);
}

/// Does the same with an async test, on a runtime with several threads.
pub(crate) fn isolated_async<F: AsyncFnOnce(&Hsm)>(test: F) {
    in_child(name_of::<F>(), |hsm| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(test(hsm));
    });
}

/// Returns the name of the test function that contains a closure.
fn name_of<F>() -> &'static str {
    let name = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
    // The first component is the name of the test binary.
    name.split_once("::").unwrap().1
}

impl Hsm {
    /// Returns a command with the configuration of these tokens.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf")).stdin(Stdio::null());
        command
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes a token. A module that is already loaded does not see it.
    pub(crate) fn add_token(&self, label: &str) {
        let made = self
            .command(Path::new("softhsm2-util"))
            .args(["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "so-pin"])
            .stdout(Stdio::null())
            .status();
        assert!(made.expect("softhsm2-util runs").success());
    }

    /// Runs OpenSC's `pkcs11-tool` on the token `app`, and returns what it prints.
    pub(crate) fn pkcs11_tool(&self, args: &[&str]) -> String {
        let tool = self
            .command(Path::new("pkcs11-tool"))
            .args(["--module", SOFTHSM, "--token-label", "app", "--login", "--pin", PIN])
            .args(args)
            .output()
            .expect("pkcs11-tool runs");
        let said = String::from_utf8_lossy(&tool.stdout).into_owned();
        assert!(tool.status.success(), "{said}{}", String::from_utf8_lossy(&tool.stderr));
        said
    }

    /// Returns a URI over the module with faults. `path` is the part before the query.
    pub(crate) fn uri(&self, path: &str) -> Pkcs11Uri {
        self.uri_with(path, &format!("&pin-value={PIN}"))
    }

    pub(crate) fn uri_with(&self, path: &str, query: &str) -> Pkcs11Uri {
        let module = std::env::var("CERTBOUND_SHIM_MODULE").unwrap();
        Pkcs11Uri::parse(&format!("pkcs11:{path}?module-path={module}{query}")).unwrap()
    }

    /// Begins or ends a fault of the module.
    pub(crate) fn fault(&self, name: &str, on: bool) {
        match on {
            true => std::fs::write(self.path(name), "").unwrap(),
            false => std::fs::remove_file(self.path(name)).unwrap(),
        }
    }

    /// Returns how often the module was called for this: `L` is a login, `S` a signature, `G` a generation, `I` an
    /// initialisation; `O` and `C` are sessions that were opened and closed.
    pub(crate) fn count(&self, letter: char) -> usize {
        let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        log.chars().filter(|it| *it == letter).count()
    }

    /// Generates a key in the token `app`, and returns its public key.
    pub(crate) fn generate(&self, path: &str, spec: KeySpec) -> Vec<u8> {
        let token = OpenToken::open(self.uri(path), TokenOptions::default()).unwrap();
        token.generate(spec).unwrap().public_key.unwrap()
    }

    /// Generates a key in the token `app`, with a certificate of the emulator beside it, and returns the chain.
    pub(crate) fn certified(&self, emulator: &Emulator, label: &str, spec: KeySpec) -> Vec<Vec<u8>> {
        let public = self.generate(&format!("token=app;object={label};id=%01"), spec);
        let options = IssueOptions::new(certbound_testkit::emulator::world::builtin::CLIENT_COMMON_NAME);
        let chain = emulator.issue_for_public_key(&options, &public).unwrap();
        self.write_certificate(&chain[0], label, "01");
        chain
    }

    /// Writes a certificate into the token `app`.
    pub(crate) fn write_certificate(&self, der: &[u8], label: &str, id: &str) {
        let file = self.path("certificate.der");
        std::fs::write(&file, der).unwrap();
        let file = file.to_str().unwrap();
        self.pkcs11_tool(&["--write-object", file, "--type", "cert", "--label", label, "--id", id]);
    }
}

pub(crate) const PSS: SignatureScheme = SignatureScheme::RsaPssSha256;
