//! The environment variables that direct a program to an emulator.

use std::ffi::OsString;

use zeroize::Zeroizing;

use crate::flags::Format;
use crate::hosted::Hosted;
use crate::output;

/// The variables that a program in an isolated run does not get.
pub(super) const ONLY_OUTSIDE: [&str; 4] =
    ["HTTPS_PROXY", "https_proxy", "NODE_USE_ENV_PROXY", "AZURE_POD_IDENTITY_AUTHORITY_HOST"];

/// The variables that a program must not have. They would bypass the emulator or add other trusted roots. The first
/// eight direct programs to the managed identity of a real platform.
pub(super) const REMOVED: [&str; 13] = [
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "IDENTITY_SERVER_THUMBPRINT",
    "IMDS_ENDPOINT",
    "MSI_ENDPOINT",
    "MSI_SECRET",
    "DEFAULT_IDENTITY_CLIENT_ID",
    "AZUREPS_HOST_ENVIRONMENT",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "SSL_CERT_DIR",
];

/// Returns the variables that direct a program to the emulator, without those of a platform.
pub(super) fn of_emulator(hosted: &Hosted) -> Vec<(&'static str, OsString)> {
    let (proxy, direct) = (hosted.server.proxy_url(), "127.0.0.1,localhost,169.254.169.254");
    let mut variables: Vec<(&'static str, OsString)> = vec![
        ("HTTPS_PROXY", proxy.clone().into()),
        ("https_proxy", proxy.into()),
        ("NODE_USE_ENV_PROXY", "1".into()),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", hosted.server.metadata_url().into()),
        ("NO_PROXY", direct.into()),
        ("no_proxy", direct.into()),
    ];
    for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
        variables.push((name, hosted.ca().into()));
    }
    variables.push(("CERTBOUND_EMULATOR_ADMIN", hosted.server.admin_url().into()));
    variables.push(("CERTBOUND_EMULATOR_CERTIFICATE", hosted.client_certificate().into()));
    variables
}

/// Returns the lines by which a shell sets the variables of [`of_emulator`] and removes those of [`REMOVED`].
pub(super) fn for_shell(hosted: &Hosted) -> Zeroizing<Vec<u8>> {
    let variables = of_emulator(hosted);
    // The emulator refuses a folder whose path is not UTF-8, so every value is text.
    let values: Vec<(&str, &str)> =
        variables.iter().filter_map(|(name, value)| Some((*name, value.to_str()?))).collect();
    let unset = format!("unset {}\n", REMOVED.join(" "));
    Zeroizing::new([unset.as_bytes(), &output::assignments(Format::Shell, &values)].concat())
}
