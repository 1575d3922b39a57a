//! Code that the benchmarks share.

pub(crate) mod bare;
pub(crate) mod clients;
pub(crate) mod emulated;
pub(crate) mod instant;
pub(crate) mod keys;
pub(crate) mod loops;
pub(crate) mod ratio;
pub(crate) mod report;
pub(crate) mod server;

pub(crate) use self::ratio::{
    Cpu, ROUNDS, criterion, forget_earlier_results, in_round, is_wanted, print_ratios,
};
pub(crate) use self::report::{Gate, Row};

pub(crate) const TENANT: &str = "bea21ebe-8b64-4d06-9f6d-6a889b120a7c";
pub(crate) const APP: &str = "163ffef9-a313-45b4-ab2f-c7e2f5e0e23e";
pub(crate) const HOST: &str = "westus3.mtlsauth.microsoft.com";
pub(crate) const PATH: &str = "/bea21ebe-8b64-4d06-9f6d-6a889b120a7c/oauth2/v2.0/token";
pub(crate) const VAULT: &str = "https://vault.azure.net/.default";
