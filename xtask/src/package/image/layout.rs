//! An OCI image layout: blobs under the names of their SHA-256, and an index.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::super::release::sha256;
use super::super::tar;
use super::super::tree::{FILE, Tree, set_mode};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A folder that becomes an image layout.
pub(super) struct Layout {
    pub(super) root: PathBuf,
    tree: Tree,
    epoch: u64,
}

/// A layer of the image.
pub(super) struct Layer {
    /// The digest of the tar file before its compression.
    pub(super) diff_id: String,
    pub(super) comment: &'static str,
    descriptor: Value,
}

impl Layout {
    pub(super) fn new(root: PathBuf, epoch: u64) -> Result<Self> {
        let tree = Tree::new(root.clone())?;
        tree.folder("blobs/sha256", 0o755)?;
        tree.write("oci-layout", json!({ "imageLayoutVersion": "1.0.0" }).to_string(), FILE)?;
        Ok(Self { root, tree, epoch })
    }

    /// Adds the content of a tree as a layer.
    pub(super) fn layer(&self, content: &Tree, comment: &'static str) -> Result<Layer> {
        let archive = self.root.join("layer.tar");
        tar::pack(&content.root, &["."], &archive, self.epoch)?;
        let diff_id = format!("sha256:{}", sha256(&archive)?);
        tar::gzip(&archive)?;
        let descriptor =
            self.blob(&self.root.join("layer.tar.gz"), "application/vnd.oci.image.layer.v1.tar+gzip")?;
        Ok(Layer { diff_id, comment, descriptor })
    }

    /// Adds the configuration, the manifest and the index. Returns the digest of the manifest, which names the image.
    pub(super) fn finish(
        &self,
        config: &Value,
        layers: &[Layer],
        annotations: &Value,
        tag: &str,
    ) -> Result<String> {
        let config = self.document(config, "application/vnd.oci.image.config.v1+json")?;
        let layers: Vec<&Value> = layers.iter().map(|layer| &layer.descriptor).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": layers,
            "annotations": annotations,
        });
        let mut manifest = self.document(&manifest, MANIFEST)?;
        let digest = manifest["digest"].as_str().unwrap_or_default().to_owned();
        manifest["platform"] = json!({ "architecture": "amd64", "os": "linux" });
        manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [manifest],
        });
        self.tree.write("index.json", index.to_string(), FILE)?;
        Ok(digest)
    }

    fn document(&self, document: &Value, media_type: &str) -> Result<Value> {
        let file = self.tree.write("document.json", document.to_string(), FILE)?;
        self.blob(&file, media_type)
    }

    /// Moves a file to the blobs. Returns its descriptor.
    fn blob(&self, file: &Path, media_type: &str) -> Result<Value> {
        set_mode(file, FILE)?;
        let digest = sha256(file)?;
        let size = fs::metadata(file)?.len();
        let blob = self.root.join("blobs/sha256").join(&digest);
        fs::rename(file, &blob).with_context(|| format!("could not write {}", blob.display()))?;
        Ok(json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(folder: &Path) -> String {
        let content = Tree::new(folder.join("content")).unwrap();
        content.write("usr/bin/program", "#!/bin/sh\n", 0o755).unwrap();
        content.folder("tmp", 0o1777).unwrap();
        let layout = Layout::new(folder.join("layout"), 1_700_000_000).unwrap();
        let layer = layout.layer(&content, "a program").unwrap();
        let config = json!({ "rootfs": { "type": "layers", "diff_ids": [layer.diff_id] } });
        layout.finish(&config, &[layer], &json!({}), "1.0.0").unwrap()
    }

    #[test]
    fn the_same_content_gives_the_same_digest() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let digests = folders.each_ref().map(|folder| image(folder.path()));
        assert!(digests[0].starts_with("sha256:"));
        assert_eq!(digests[0], digests[1]);
    }

    #[test]
    fn every_blob_has_the_name_of_its_digest_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        image(folder.path());
        let layout = folder.path().join("layout");
        let names = |folder: &Path| {
            let mut names: Vec<String> = fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(&layout), ["blobs", "index.json", "oci-layout"]);
        let blobs = names(&layout.join("blobs/sha256"));
        assert_eq!(blobs.len(), 3, "a layer, a configuration and a manifest");
        for blob in blobs {
            assert_eq!(sha256(&layout.join("blobs/sha256").join(&blob)).unwrap(), blob);
        }
    }
}
