//! The library's examples run against the emulator, with the commands of their README.

use std::path::Path;

use crate::support::{certbound, stderr, stdout};

/// Each example with a text that it prints only if it succeeds.
const EXAMPLES: [(&str, &str); 9] = [
    ("two_legs", "again from   Cache"),
    ("resource_call", "certificate_requested: true"),
    ("managed_identity", "bound to"),
    ("bearer_leg2", "client-assertion-type:jwt-pop"),
    ("assertion_from_elsewhere", "client_assertion=<redacted"),
    ("certificate_from_vault", "the vault signed"),
    ("tenants", "2 tokens in the cache"),
    ("own_transport", "from-memory is bound to"),
    ("any_source", "AnyClient(\"ManagedIdentity\"): bound to"),
];

#[test]
fn each_example_does_what_it_shows() {
    let folder = Path::new(env!("CARGO_BIN_EXE_certbound")).parent().unwrap().join("examples");
    for (example, printed) in EXAMPLES {
        let program = folder.join(example);
        assert!(program.exists(), "`cargo build --examples` builds {}", program.display());
        let output = certbound().args(["emulator", "run", "--"]).arg(program).output().unwrap();
        assert!(
            output.status.success() && stdout(&output).contains(printed),
            "{example}: {}",
            stderr(&output)
        );
    }
}
