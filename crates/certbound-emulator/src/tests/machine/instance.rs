//! The description of the machine.

use super::*;

#[test]
fn a_machine_describes_itself_in_texts() {
    let emulator = emulator_with(|world| {
        world.machine.name = "web-1".to_owned();
        world.machine.resource_group = "Shop".to_owned();
    });
    let response = send(&emulator, get(COMPUTE), "");
    let group = "/subscriptions/6c1f0e4a-2d8b-4937-8a5e-f30b7d91c246/resourceGroups/Shop";
    let expected = json!({
        "azEnvironment": "AzurePublicCloud",
        "location": "westus3",
        "name": "web-1",
        "osType": "Linux",
        "resourceGroupName": "Shop",
        "resourceId": format!("{group}/providers/Microsoft.Compute/virtualMachines/web-1"),
        "securityProfile": {
            "secureBootEnabled": "true", "securityType": "TrustedLaunch", "virtualTpmEnabled": "true",
        },
        "subscriptionId": "6c1f0e4a-2d8b-4937-8a5e-f30b7d91c246",
        "vmId": "01234567-89ab-cdef-0123-456789abcdef",
    });
    assert_eq!((response.status().as_u16(), json_of(&response)), (200, expected));
    let response = send(&emulator, get("/metadata/versions"), "");
    let versions = json_of(&response)["apiVersions"].clone();
    assert!(versions.as_array().unwrap().contains(&json!("2021-02-01")), "{versions}");
}

#[test]
fn a_part_of_it_has_its_own_path_and_its_form() {
    let emulator = emulator();
    let at = |path: &str| {
        let response = send(&emulator, get(&format!("/metadata/instance/compute{path}")), "");
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        (response.status().as_u16(), kind, String::from_utf8(response.body().to_vec()).unwrap())
    };
    let text = |text: &str| (200, "text/plain; charset=utf-8".to_owned(), text.to_owned());
    // Libraries send the parameters in either order.
    assert_eq!(at("/location?api-version=2020-06-01&format=text"), text("westus3"));
    assert_eq!(at("/location?format=text&api-version=2021-01-01"), text("westus3"));
    assert_eq!(at("/securityProfile/securityType?api-version=2021-02-01&format=text"), text("TrustedLaunch"));
    let profile = at("/securityProfile?api-version=2021-02-01").2;
    assert_eq!(serde_json::from_str::<Value>(&profile).unwrap()["secureBootEnabled"], "true");
    let names = at("?api-version=2021-02-01&format=text").2;
    assert!(names.contains("location\n") && names.contains("securityProfile/\n"), "{names}");
    for (path, status) in [
        ("/location?api-version=2021-02-01", 400),
        ("/location?api-version=2021-02-01&format=json", 400),
        ("/location?api-version=2021-02-01&format=xml", 400),
        ("?api-version=2021-02-01&format=xml", 400),
        ("/location?format=text", 400),
        ("/nothing?api-version=2021-02-01&format=text", 404),
        ("/location/more?api-version=2021-02-01&format=text", 404),
        ("//location?api-version=2021-02-01&format=text", 404),
    ] {
        assert_eq!(at(path).0, status, "{path}");
    }
}

#[test]
fn a_fault_of_this_endpoint_befalls_every_form_of_it() {
    use crate::{Condition, Fault, FaultResult, PlatformEndpoint};

    let emulator = emulator();
    let condition = Condition::endpoint(PlatformEndpoint::InstanceMetadata);
    let location = FaultResult::Redirect307 { location: "http://elsewhere.example/".to_owned() };
    emulator.add_fault(Fault::always(condition, location));
    for (path, expected) in
        [(COMPUTE, 307), (LOCATION, 307), ("/metadata/versions", 307), (TOKEN, 200), (METADATA, 200)]
    {
        assert_eq!(status(&emulator, get(path)), expected, "{path}");
    }
}
