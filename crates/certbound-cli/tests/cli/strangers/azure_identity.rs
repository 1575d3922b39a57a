//! The managed identity credential of the Azure SDK for Rust, in a separate process on the emulated machine.

use azure_core::credentials::TokenCredential as _;
use azure_identity::{ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId};
use certbound_core::jws;

use crate::support::{certbound, stderr, stdout, text};

const SYSTEM: &str = "f27b94a3-0e5c-4d18-b6a9-3c81d50e7f42";
const USER: &str = "41d8e6b2-7f93-4c0a-a5e1-b90c38f2d76e";
const USER_CLIENT: &str = "98c4f2e7-1b60-4a5d-9e83-0f7d26b8c514";
const MARK: &str = "owner of the token: ";

#[test]
fn it_finds_each_identity_on_each_platform_it_knows() {
    let this = std::env::current_exe().unwrap();
    for flags in [&["--isolated"][..], &["--platform", "app-service"]] {
        let mut command = certbound();
        command.args(["emulator", "run"]).args(flags).args([
            "--",
            text(&this),
            "--ignored",
            "--nocapture",
            "--exact",
        ]);
        let output = command.arg("strangers::azure_identity::on_the_machine").output().unwrap();
        let printed = stdout(&output);
        let owners: Vec<&str> =
            printed.lines().filter_map(|line| line.split_once(MARK).map(|(_, owner)| owner)).collect();
        assert_eq!(owners, [SYSTEM, USER], "{flags:?}: {printed}{}", stderr(&output));
    }
}

/// The second half of the test above: it runs on the machine.
#[tokio::test]
#[ignore = "runs as the command of an emulator only"]
async fn on_the_machine() {
    for id in [None, Some(UserAssignedId::ClientId(USER_CLIENT.to_owned()))] {
        let options = ManagedIdentityCredentialOptions { user_assigned_id: id, ..Default::default() };
        let credential = ManagedIdentityCredential::new(Some(options)).unwrap();
        let token = credential.get_token(&["https://management.azure.com/.default"], None).await.unwrap();
        let claims = jws::unverified_claims(token.token.secret()).unwrap();
        println!("{MARK}{}", claims.string("oid").unwrap());
    }
}
