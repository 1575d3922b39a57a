//! How the client behaves, against the emulator in memory. One binary, one file per topic.
#![expect(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

mod authorities;
mod binding;
mod cache;
mod certificates;
mod credentials;
mod discovery;
mod fail_closed;
mod headers;
mod machine_blame;
mod machine_cancelled;
mod machine_capabilities;
mod machine_certificates;
mod machine_clouds;
mod machine_faults;
mod machine_keys;
mod machine_outage;
mod machine_requests;
mod machine_retries;
mod machine_state;
mod machine_suspected;
mod machine_threads;
mod managed_identity;
mod oracle;
mod outage;
mod overlap;
mod refresh;
mod requests;
mod resource;
mod rotation;
mod runtimes;
mod sealed;
mod service_fabric;
mod store;
mod two_leg;
mod workload_identity;
