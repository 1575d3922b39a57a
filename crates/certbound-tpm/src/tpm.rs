//! A TPM, with its settings and its properties.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tss_esapi::Context;
use tss_esapi::constants::PropertyTag;

use crate::connection::Connection;
use crate::error::TpmError;
use crate::handle::KeyHandle;

/// The vendor string of libtpms, on which swtpm and the TPMs of many virtual machines are built.
const SOFTWARE: &str = "SW   TPM";

/// The interfaces to simulators: to swtpm, and to the reference implementation of Microsoft.
const SIMULATORS: [&str; 2] = ["swtpm", "mssim"];

/// The settings of a TPM.
#[derive(Clone, Debug)]
pub struct TpmOptions {
    limit: Duration,
    trusted_as_hardware: bool,
    attestation_key: Option<KeyHandle>,
}

impl Default for TpmOptions {
    fn default() -> Self {
        Self { limit: Duration::from_secs(10), trusted_as_hardware: false, attestation_key: None }
    }
}

impl TpmOptions {
    /// Sets the time that a caller waits for one command, including the time in the queue. The default is 10 seconds.
    /// The following operations have separate limits: 40 seconds to find or generate the key of a managed identity, 50
    /// seconds for an attestation with a new attestation key, and 5 minutes to generate any other key.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Counts the keys of this TPM as keys in hardware, although the address or the vendor string is that of a software
    /// TPM. The TPM of a virtual machine can be trusted in this way, because the host protects it.
    pub fn trust_as_hardware(mut self) -> Self {
        self.trusted_as_hardware = true;
        self
    }

    /// Sets the key that signs attestations: a restricted signing key at a persistent handle. The platform may have
    /// issued a certificate for this key. By default the TPM makes the same RSA key from its endorsement seed for each
    /// attestation, which takes seconds on some TPMs.
    pub fn attestation_key(mut self, handle: KeyHandle) -> Self {
        self.attestation_key = Some(handle);
        self
    }
}

/// A TPM. A clone is cheap, and all clients of one address in this process share one connection.
#[derive(Clone)]
pub struct Tpm {
    inner: Arc<Inner>,
}

struct Inner {
    connection: Arc<Connection>,
    options: TpmOptions,
    vendor: String,
}

impl Tpm {
    /// The address of the resource manager of the Linux kernel.
    pub const DEFAULT_ADDRESS: &'static str = "device:/dev/tpmrm0";

    /// Opens the TPM at an address, and reads its properties. The address has the form of the TPM Software Stack, as in
    /// the variable `TPM2TOOLS_TCTI`: `device:/dev/tpmrm0`, `tabrmd`, `swtpm:host=127.0.0.1,port=2321`.
    ///
    /// The function blocks. In an async function call it on a thread for blocking work.
    ///
    /// # Errors
    /// [`TpmError`], if the address is malformed, or if the TPM cannot be used.
    pub fn open(address: &str, options: TpmOptions) -> Result<Self, TpmError> {
        let connection = Connection::to(address)?;
        let vendor = connection.run(options.limit, vendor)?;
        Ok(Self { inner: Arc::new(Inner { connection, options, vendor }) })
    }

    /// Returns the vendor string of the TPM, for example `xCG fTPM`.
    pub fn vendor(&self) -> &str {
        &self.inner.vendor
    }

    /// Returns whether the keys of this TPM count as keys in hardware. The result is false if the address names a
    /// simulator, or if the vendor string is empty or that of a software TPM. With [`TpmOptions::trust_as_hardware`] it
    /// is always true. The TPM that Hyper-V gives to a virtual machine counts as hardware: the host protects it. The
    /// function does not verify that the TPM is genuine.
    pub fn is_hardware(&self) -> bool {
        let is_simulator = SIMULATORS.iter().any(|simulator| self.address().starts_with(simulator));
        let is_software = is_simulator || self.vendor().is_empty() || self.vendor() == SOFTWARE;
        self.inner.options.trusted_as_hardware || !is_software
    }

    pub(crate) fn address(&self) -> &str {
        self.inner.connection.address()
    }

    pub(crate) fn limit(&self) -> Duration {
        self.inner.options.limit
    }

    pub(crate) fn attestation_key(&self) -> Option<KeyHandle> {
        self.inner.options.attestation_key
    }

    /// Runs repeatable `work` with the limit of one command.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Context) -> Result<T, TpmError> + Send + 'static,
    ) -> Result<T, TpmError> {
        self.run_long(self.inner.options.limit, work)
    }

    /// Runs repeatable `work` with this limit.
    pub(crate) fn run_long<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnMut(&mut Context) -> Result<T, TpmError> + Send + 'static,
    ) -> Result<T, TpmError> {
        self.inner.connection.run(limit, work)
    }

    /// Returns an error if the vendor string of the TPM at the address has changed since the TPM was opened. A software
    /// TPM must not replace a hardware TPM.
    pub(crate) fn check_vendor(&self, context: &mut Context) -> Result<(), TpmError> {
        let now = vendor(context)?;
        if now == self.inner.vendor {
            return Ok(());
        }
        Err(TpmError::Replaced {
            address: self.address().to_owned(),
            vendor: now,
            before: self.inner.vendor.clone(),
        })
    }
}

fn vendor(context: &mut Context) -> Result<String, TpmError> {
    let parts = [
        PropertyTag::VendorString1,
        PropertyTag::VendorString2,
        PropertyTag::VendorString3,
        PropertyTag::VendorString4,
    ];
    let mut text = Vec::new();
    for part in parts {
        let value =
            context.get_tpm_property(part).map_err(|error| TpmError::of("TPM2_GetCapability", error))?;
        text.extend(value.unwrap_or(0).to_be_bytes());
    }
    Ok(String::from_utf8_lossy(&text).trim_end_matches('\0').replace('\0', ""))
}

impl fmt::Debug for Tpm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tpm").field("address", &self.address()).field("vendor", &self.inner.vendor).finish()
    }
}
