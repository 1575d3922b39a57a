//! Programs that nobody here wrote, against the emulator in a process of its own: curl, openssl, MSAL for Python and for
//! Node; as servers that the verifier stands before: axum, tonic, and what stands behind nginx, Caddy, HAProxy and Apache; and
//! as a token service: oidc-provider.
//!
//! `cargo xtask test` installs them. Without one of them its tests fail: none is skipped.

mod azure_identity;
mod curl;
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
