//! Programs of other authors (*strangers*), with the emulator in a separate process. The clients are curl, openssl,
//! MSAL, the Azure SDKs for Python, Node and Rust, and the Graph SDK for Python. The servers that use the verifier are
//! axum, tonic, and resources behind nginx, Caddy, HAProxy and Apache. The token service is oidc-provider.
//!
//! `cargo xtask test` installs them. If one is missing, its tests fail: no test is skipped.

mod azure_identity;
mod curl;
mod default_credential;
mod graph_sdk;
mod key_vault;
mod keychain;
mod legs_by_hand;
mod msal;
mod msal_machine;
mod msal_node;
mod node;
mod oidc_provider;
mod openssl;
mod proxies;
mod python;
mod resource_apache;
mod resource_axum;
mod resource_caddy;
mod resource_grpc;
mod resource_haproxy;
mod resource_nginx;
mod resources;
