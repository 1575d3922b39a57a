//! The software bill of materials, in CycloneDX 1.6 (<https://cyclonedx.org/docs/1.6/json/>).

use serde_json::{Value, json};

use super::dependencies::{Dependency, Id};
use super::release::Release;

/// Returns the document as JSON. It has no serial number, so that the same release gives the same document.
pub(super) fn document(release: &Release) -> Value {
    let ours = |dependency: &&Dependency| dependency.id.name == "certbound-cli";
    let (program, libraries): (Vec<_>, Vec<_>) = release.dependencies.iter().partition(ours);
    let mut components: Vec<Value> = libraries.iter().copied().map(component).collect();
    components.extend(release.toolchain.iter().map(|part| {
        json!({
            "type": "library",
            "bom-ref": format!("pkg:generic/{}@{}", part.name, part.version),
            "name": part.name,
            "version": part.version,
            "licenses": [{ "expression": part.licence }],
            "purl": format!("pkg:generic/{}@{}", part.name, part.version),
        })
    }));
    let edges: Vec<Value> = release.dependencies.iter().map(edge).collect();
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": release.date,
            "component": {
                "type": "application",
                "bom-ref": program.first().map(|program| purl(&program.id)),
                "name": "certbound",
                "version": release.version,
                "licenses": [{ "expression": "MIT OR Apache-2.0" }],
                "properties": [{ "name": "certbound:commit", "value": release.commit }],
            },
        },
        "components": components,
        "dependencies": edges,
    })
}

fn component(dependency: &Dependency) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": purl(&dependency.id),
        "name": dependency.id.name,
        "version": dependency.id.version,
        "licenses": [{ "expression": dependency.licence }],
        "purl": purl(&dependency.id),
    });
    if let Some(checksum) = &dependency.checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    if let Some(repository) = &dependency.repository {
        component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
    }
    component
}

fn edge(dependency: &Dependency) -> Value {
    let uses: Vec<String> = dependency.uses.iter().map(purl).collect();
    json!({ "ref": purl(&dependency.id), "dependsOn": uses })
}

/// Returns the package URL of a crate. A plus is percent-encoded, as the specification of package URLs demands.
fn purl(id: &Id) -> String {
    format!("pkg:cargo/{}@{}", id.name, id.version.replace('+', "%2B"))
}

#[cfg(test)]
mod tests {
    use super::super::release::tests::release;
    use super::*;

    #[test]
    fn every_edge_leads_to_a_component() {
        let document = document(&release());
        let mut names: Vec<&Value> =
            document["components"].as_array().unwrap().iter().map(|part| &part["bom-ref"]).collect();
        names.push(&document["metadata"]["component"]["bom-ref"]);
        for edge in document["dependencies"].as_array().unwrap() {
            assert!(names.contains(&&edge["ref"]), "{edge}");
            for used in edge["dependsOn"].as_array().unwrap() {
                assert!(names.contains(&used), "{edge}");
            }
        }
    }

    #[test]
    fn a_component_has_its_checksum_and_a_crate_of_ours_has_no_checksum() {
        let document = document(&release());
        let components = document["components"].as_array().unwrap();
        let named = |name: &str| components.iter().find(|part| part["name"] == name).unwrap();
        assert_eq!(named("toml_parser")["hashes"][0]["content"], "ab".repeat(32));
        assert_eq!(named("toml_parser")["purl"], "pkg:cargo/toml_parser@1.0.6%2Bspec-1.1.0");
        assert!(named("certbound")["hashes"].is_null());
        assert_eq!(named("rust-std")["version"], "1.95.0");
    }
}
