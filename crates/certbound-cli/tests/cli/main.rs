//! The command as scripts use it: the real binary, separate processes, real sockets.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod decider;
mod hsm;
mod server_admin;
mod server_log;
mod server_reload;
mod server_stop;
mod server_systemd;
mod server_unix;
mod support;
mod verify;
mod verify_callers;
mod verify_serve;

mod advice;
mod bad_input;
mod config;
mod conformance;
mod demo_and_endpoint;
mod doctor;
mod dry_run;
mod emulator;
mod examples;
mod explain;
mod flow;
mod graph;
mod hardware_keys;
mod hostile;
mod isolated;
mod kept_by_prover;
mod kept_tokens;
mod machine_flags;
mod machine_platforms;
mod machine_state;
mod managed_identity;
mod matrix;
mod observed_binding;
mod pages;
mod regions;
mod screens;
mod strangers;
