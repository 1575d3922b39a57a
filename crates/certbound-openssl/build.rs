//! Refuses the libraries whose interface is that of OpenSSL, but whose renegotiation this crate does not know.

use std::env;

/// The first version whose renegotiation is tested: 3.0.0.
const LEAST: u64 = 0x3000_0000;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // `openssl-sys` sets these variables. Only OpenSSL itself has a version number.
    let number = env::var("DEP_OPENSSL_VERSION_NUMBER").ok();
    let number = number.and_then(|hex| u64::from_str_radix(&hex, 16).ok());
    let other = ["LIBRESSL", "BORINGSSL", "AWSLC"];
    let other = other.iter().find(|name| env::var_os(format!("DEP_OPENSSL_{name}")).is_some());
    let found = match (other, number) {
        (None, Some(number)) if number >= LEAST => return,
        (Some(name), _) => (*name).to_owned(),
        (None, Some(number)) => format!("OpenSSL with the version number 0x{number:x}"),
        (None, None) => "a library without a version number".to_owned(),
    };
    println!(
        "cargo::error=certbound-openssl needs OpenSSL 3.0 or later, because it depends on how OpenSSL renegotiates; \
         openssl-sys found {found}: install libssl-dev of OpenSSL, or set OPENSSL_DIR to its folder"
    );
}
