//! An emulator in this process: its ports, and the files that other programs need to use it.

mod folder;

use std::fs::Permissions;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use certbound_emulator::clock::{Clock as _, SystemClock};
use certbound_emulator::serve::{Load, Port, Server, ServerOptions};
use certbound_emulator::{Emulator, EmulatorError, EmulatorKeys, World};
use tempfile::TempDir;

use self::folder::Folder;
use crate::failure::{Failure, USAGE};
use crate::late;
use crate::usage::Usage;

/// The world and the seed of an emulator.
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

/// The ports of an emulator, its load, and the time in which it must stop.
pub(crate) struct Listening {
    pub(crate) proxy: Port,
    pub(crate) machine: Port,
    /// The time for the responses in progress when the emulator is stopped.
    pub(crate) stop: Duration,
    pub(crate) load: Load,
}

impl Default for Listening {
    /// Takes free ports of loopback. The stopped emulator does not finish the responses in progress.
    fn default() -> Self {
        let anywhere = || Port::Address((Ipv4Addr::LOCALHOST, 0).into());
        Self { proxy: anywhere(), machine: anywhere(), stop: Duration::ZERO, load: Load::default() }
    }
}

/// A running emulator. Dropping it removes its private directory.
pub(crate) struct Hosted {
    pub(crate) server: Server,
    pub(crate) emulator: Arc<Emulator>,
    files: Files,
}

impl Hosted {
    /// Starts the emulator.
    pub(crate) async fn start(
        what: What,
        listening: Listening,
        state: Option<&Path>,
    ) -> Result<Self, Failure> {
        let emulator = what.emulator().map_err(|error| {
            Failure::new(
                USAGE,
                "emulator_failed",
                "the emulator could not start",
                error,
                "report this error as a bug of certbound",
            )
        })?;
        let files = Files::write(&emulator, state)?;
        // The emulator does not restrict the address of the proxy: the command that got this address has checked it.
        let emulator = Arc::new(emulator);
        let Listening { proxy: listen, machine, stop, load } = listening;
        let shown = format!("{} or on {}", shown(&listen), shown(&machine));
        let late_tls = late::emulated();
        let mut options = ServerOptions { listen, machine, load, late_tls, ..ServerOptions::default() };
        options.limits.stop = stop;
        let server =
            Server::start_anyone_can_mint_tokens(Arc::clone(&emulator), options).await.map_err(|error| {
                match error.kind() {
                    ErrorKind::Unsupported => Usage::LateCertificate { reason: error.to_string() },
                    _ => Usage::Listen { address: shown, reason: error.to_string() },
                }
            })?;
        Ok(Self { server, emulator, files })
    }

    /// Returns the file of the certificate authority to trust.
    pub(crate) fn ca(&self) -> &Path {
        &self.files.ca
    }

    /// Writes a file with the certificates of the authority and of Service Fabric's server, for programs without
    /// support for thumbprints. Returns the path of the file.
    pub(crate) fn ca_with_service_fabric(&self) -> Result<PathBuf, Failure> {
        let both = format!("{}{}", self.emulator.ca_pem(), self.emulator.service_fabric_pem());
        let folder = &self.files.folder;
        let written = folder.write("ca-and-service-fabric.pem", both.as_bytes());
        written.map_err(|error| unusable(folder.path(), &error))
    }

    /// Returns the file with chain and key of a client certificate. Two built-in applications trust the certificate's
    /// subject.
    pub(crate) fn client_certificate(&self) -> &Path {
        &self.files.client
    }

    pub(crate) async fn stop(self) {
        self.server.shutdown().await;
    }
}

fn shown(port: &Port) -> String {
    match port {
        Port::Address(address) => address.to_string(),
        Port::Socket(_) => "a socket of systemd".to_owned(),
    }
}

/// The files, and the private directory. The drop of this value removes the private directory.
struct Files {
    ca: PathBuf,
    client: PathBuf,
    folder: Folder,
    _private: Option<TempDir>,
}

impl Files {
    fn write(emulator: &Emulator, state: Option<&Path>) -> Result<Self, Failure> {
        let private = match state {
            Some(_) => None,
            None => Some(private_directory().map_err(|error| unusable(&std::env::temp_dir(), &error))?),
        };
        let path = state.or(private.as_ref().map(TempDir::path)).unwrap_or(Path::new(""));
        // The ready line is JSON and can contain only UTF-8 paths.
        if path.to_str().is_none() {
            return Err(unusable(path, &std::io::Error::other("its name is not UTF-8")));
        }
        let folder = Folder::open(path).map_err(|error| unusable(path, &error))?;
        let write =
            |name, content: &[u8]| folder.write(name, content).map_err(|error| unusable(path, &error));
        let ca = write("ca.pem", emulator.ca_pem().as_bytes())?;
        let bundle = zeroize::Zeroizing::new(emulator.client_identity().bundle_pem());
        let client = write("client.pem", bundle.as_bytes())?;
        Ok(Self { ca, client, folder, _private: private })
    }
}

fn private_directory() -> std::io::Result<TempDir> {
    tempfile::Builder::new().prefix("certbound-").permissions(Permissions::from_mode(0o700)).tempdir()
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Usage::State { path: path.display().to_string(), reason: error.to_string() }.into()
}
