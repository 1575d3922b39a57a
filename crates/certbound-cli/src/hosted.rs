//! An emulator of this process: on a socket, with the files that other programs need to use it.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certbound_emulator::clock::{Clock as _, SystemClock};
use certbound_emulator::serve::Server;
use certbound_emulator::{Emulator, EmulatorError, EmulatorKeys, World};
use tempfile::TempDir;

use crate::failure::{Failure, USAGE};
use crate::usage::Usage;

/// What is to be emulated.
pub(crate) struct What {
    pub(crate) world: World,
    pub(crate) seed: Option<String>,
}

impl What {
    fn emulator(self) -> Result<Emulator, EmulatorError> {
        let clock = SystemClock;
        let keys = match &self.seed {
            Some(seed) => EmulatorKeys::from_seed(&self.world, clock.now(), seed)?,
            None => EmulatorKeys::generate(&self.world, clock.now())?,
        };
        Emulator::with_keys(self.world, keys, Arc::new(clock))
    }
}

/// A running emulator. Dropping it removes its private directory.
pub(crate) struct Hosted {
    server: Server,
    emulator: Arc<Emulator>,
    files: Files,
}

impl Hosted {
    pub(crate) async fn start(
        what: What,
        listen: SocketAddr,
        machine: SocketAddr,
        state: Option<&Path>,
    ) -> Result<Self, Failure> {
        let emulator = what.emulator().map_err(|error| {
            Failure::new(USAGE, "emulator_failed", "the emulator could not start", error, "report this")
        })?;
        let files = Files::write(&emulator, state)?;
        // Whether it may leave loopback is decided by who was asked for the address.
        let emulator = Arc::new(emulator);
        let server = Server::start_with_machine_at(Arc::clone(&emulator), listen, machine)
            .await
            .map_err(|error| Usage::Listen { address: listen, reason: error.to_string() })?;
        Ok(Self { server, emulator, files })
    }

    pub(crate) fn emulator(&self) -> &Arc<Emulator> {
        &self.emulator
    }

    /// Answers where the real hosts would, in a network of its own.
    pub(crate) async fn listen_as_the_real_hosts(&mut self, listen: SocketAddr) -> std::io::Result<()> {
        self.server.listen_as_the_real_hosts(listen).await.map(drop)
    }

    /// Answers at the real metadata service's address too, where there is such an address.
    pub(crate) async fn listen_as_the_real_metadata_service(&mut self) -> std::io::Result<()> {
        self.server.listen_as_the_real_metadata_service().await
    }

    /// Answers at the real Cloud Shell's address too.
    pub(crate) async fn listen_as_the_real_cloud_shell(&mut self) -> std::io::Result<()> {
        self.server.listen_as_the_real_cloud_shell().await
    }

    /// The machine's metadata service.
    pub(crate) fn imds(&self) -> String {
        self.server.metadata_url()
    }

    /// The token service of Service Fabric on this machine.
    pub(crate) fn service_fabric(&self) -> String {
        self.server.service_fabric_url()
    }

    pub(crate) fn proxy(&self) -> String {
        self.server.proxy_url()
    }

    pub(crate) fn admin(&self) -> String {
        self.server.admin_url()
    }

    /// The certificate authority to trust.
    pub(crate) fn ca(&self) -> &Path {
        &self.files.ca
    }

    /// A file beside it with the certificate of Service Fabric's server too, for programs that know no thumbprints.
    pub(crate) fn ca_with_service_fabric(&self) -> Result<PathBuf, Failure> {
        let path = self.files.ca.with_file_name("ca-and-service-fabric.pem");
        let both = format!("{}{}", self.emulator.ca_pem(), self.emulator.service_fabric_pem());
        write(&path, both.as_bytes()).map_err(|error| unusable(&path, &error))?;
        Ok(path)
    }

    /// Chain and key of a client certificate, with the subject that the built-in applications trust.
    pub(crate) fn client_certificate(&self) -> &Path {
        &self.files.client
    }

    pub(crate) async fn stop(self) {
        self.server.shutdown().await;
    }
}

/// The files, and the directory they go with.
struct Files {
    ca: PathBuf,
    client: PathBuf,
    _private: Option<TempDir>,
}

impl Files {
    fn write(emulator: &Emulator, state: Option<&Path>) -> Result<Self, Failure> {
        let private = match state {
            Some(_) => None,
            None => Some(private_directory().map_err(|error| unusable(&std::env::temp_dir(), &error))?),
        };
        let directory = match (state, &private) {
            (Some(state), _) => {
                own_directory(state).map_err(|error| unusable(state, &error))?;
                std::path::absolute(state).map_err(|error| unusable(state, &error))?
            }
            (None, Some(private)) => private.path().to_owned(),
            (None, None) => std::env::temp_dir(),
        };
        if directory.to_str().is_none() {
            return Err(unusable(&directory, &std::io::Error::other("its name is not UTF-8")));
        }
        let files =
            Self { ca: directory.join("ca.pem"), client: directory.join("client.pem"), _private: private };
        write(&files.ca, emulator.ca_pem().as_bytes()).map_err(|error| unusable(&directory, &error))?;
        let bundle = zeroize::Zeroizing::new(emulator.client_identity().bundle_pem());
        write(&files.client, bundle.as_bytes()).map_err(|error| unusable(&directory, &error))?;
        Ok(files)
    }
}

fn private_directory() -> std::io::Result<TempDir> {
    tempfile::Builder::new().prefix("certbound-").permissions(Permissions::from_mode(0o700)).tempdir()
}

/// Makes the directory, or takes one that nobody else can enter: a key will lie in it.
fn own_directory(path: &Path) -> std::io::Result<()> {
    match DirBuilder::new().mode(0o700).recursive(true).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_dir() {
        return Err(std::io::Error::other("it is not a directory"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(std::io::Error::other("another user owns it"));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(std::io::Error::other("others can enter it (chmod 700 it)"));
    }
    Ok(())
}

/// Whole or not at all: a new file beside it takes its place.
fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = file.write_all(content).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Usage::State { path: path.display().to_string(), reason: error.to_string() }.into()
}
