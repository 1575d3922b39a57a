//! The command `certbound`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    certbound_cli::main()
}
