//! Names of containers, from the files in which their engines keep what they run. No engine's API is asked.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The longest file that is read, bytes.
const LONGEST: u64 = 4 << 20;

/// What an engine says of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) container: Option<String>,
    pub(super) pod: Option<String>,
    pub(super) namespace: Option<String>,
    /// The service of a Compose file.
    pub(super) service: Option<String>,
}

impl Names {
    /// These, and what they lack of others.
    pub(super) fn or(self, other: &Names) -> Names {
        let or = |own: Option<String>, other: &Option<String>| own.or_else(|| other.clone());
        Names {
            container: or(self.container, &other.container),
            pod: or(self.pod, &other.pod),
            namespace: or(self.namespace, &other.namespace),
            service: or(self.service, &other.service),
        }
    }
}

/// Where engines keep their files, below a root that tests choose.
#[derive(Debug)]
pub(super) struct Engines {
    root: PathBuf,
}

impl Default for Engines {
    fn default() -> Self {
        Self { root: PathBuf::from("/") }
    }
}

/// containerd's namespaces: of the kubelet, of ctr and nerdctl, of docker.
const NAMESPACES: [&str; 3] = ["k8s.io", "default", "moby"];

impl Engines {
    #[cfg(test)]
    pub(super) fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The names of a container with this id.
    pub(super) fn names(&self, id: &str) -> Names {
        if !is_id(id) {
            return Names::default();
        }
        let docker = self.root.join("var/lib/docker/containers").join(id).join("config.v2.json");
        if let Some(config) = read(&docker) {
            return of_docker(&config);
        }
        let tasks = self.root.join("run/containerd/io.containerd.runtime.v2.task");
        let containerd =
            NAMESPACES.iter().map(|namespace| tasks.join(namespace).join(id).join("config.json"));
        let storage = |root: &str| {
            self.root
                .join(root)
                .join("containers/storage/overlay-containers")
                .join(id)
                .join("userdata/config.json")
        };
        let mut bundles = containerd.chain([storage("run"), storage("var/lib")]);
        bundles.find_map(|path| read(&path)).map(|config| of_bundle(&config)).unwrap_or_default()
    }
}

/// Whether this can be an id: they come from paths of cgroups, which others may have made.
pub(super) fn is_id(id: &str) -> bool {
    id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn read(path: &Path) -> Option<Value> {
    let mut text = String::new();
    File::open(path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// A value that says something.
pub(super) fn text(value: &Value) -> Option<String> {
    value.as_str().map(|text| text.trim_start_matches('/').to_owned()).filter(|text| !text.is_empty())
}

/// docker's own file, or what its API says of a container.
pub(super) fn of_docker(config: &Value) -> Names {
    let labels = &config["Config"]["Labels"];
    Names {
        container: text(&labels["io.kubernetes.container.name"]).or_else(|| text(&config["Name"])),
        pod: text(&labels["io.kubernetes.pod.name"]),
        namespace: text(&labels["io.kubernetes.pod.namespace"]),
        service: text(&labels["com.docker.compose.service"])
            .or_else(|| text(&labels["com.docker.swarm.service.name"])),
    }
}

/// A bundle of the Open Container Initiative; annotations of containerd, cri-o, nerdctl.
pub(super) fn of_bundle(config: &Value) -> Names {
    let annotations = &config["annotations"];
    let first = |keys: &[&str]| keys.iter().find_map(|key| text(&annotations[*key]));
    Names {
        container: first(&[
            "io.kubernetes.cri.container-name",
            "io.kubernetes.container.name",
            "nerdctl/name",
        ]),
        pod: first(&["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"]),
        namespace: first(&["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"]),
        service: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(file: &str, content: &str) -> Names {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        Engines::below(root.path()).names("abc")
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn files_of_engines() {
        let docker = r#"{"Name":"/shop_web_1","Config":{"Labels":{"com.docker.compose.service":"web"}}}"#;
        assert_eq!(
            names("var/lib/docker/containers/abc/config.v2.json", docker),
            Names { container: some("shop_web_1"), service: some("web"), ..Names::default() }
        );
        let kubernetes = |container: &str, pod: &str, namespace: &str| {
            format!(r#"{{"annotations":{{"{container}":"web","{pod}":"web-7","{namespace}":"prod"}}}}"#)
        };
        let wanted =
            Names { container: some("web"), pod: some("web-7"), namespace: some("prod"), ..Names::default() };
        let cri = kubernetes(
            "io.kubernetes.cri.container-name",
            "io.kubernetes.cri.sandbox-name",
            "io.kubernetes.cri.sandbox-namespace",
        );
        assert_eq!(
            names("run/containerd/io.containerd.runtime.v2.task/k8s.io/abc/config.json", &cri),
            wanted
        );
        let crio = kubernetes(
            "io.kubernetes.container.name",
            "io.kubernetes.pod.name",
            "io.kubernetes.pod.namespace",
        );
        assert_eq!(
            names("run/containers/storage/overlay-containers/abc/userdata/config.json", &crio),
            wanted
        );
    }

    #[test]
    fn what_cannot_be_read_has_no_names() {
        let file = "var/lib/docker/containers/abc/config.v2.json";
        for broken in ["", "[]", "{", "null", r#"{"Name":7,"Config":{"Labels":null}}"#, r#"{"Name":"/"}"#] {
            assert_eq!(names(file, broken), Names::default(), "{broken}");
        }
        assert_eq!(Engines::default().names("../../etc"), Names::default());
    }
}
