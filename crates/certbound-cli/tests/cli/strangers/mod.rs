//! Programs that nobody here wrote, against the emulator in a process of its own: curl, openssl, MSAL for Python; and as
//! servers that the verifier stands before: axum, tonic, nginx.
//!
//! `cargo xtask test` installs them. Without one of them its tests fail: none is skipped.

mod curl;
mod legs_by_hand;
mod msal;
mod node;
mod oidc_provider;
mod openssl;
mod python;
mod resource_axum;
mod resource_grpc;
mod resource_nginx;
mod resources;
