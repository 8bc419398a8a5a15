//! What the path of a cgroup tells of who runs in it. Pure.
//!
//! Container engines and systemd name cgroups by conventions that nobody has written down in one place. Each shape below is
//! in the tests, with the engine and the driver that makes it.

/// What a path tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Id of the container, or its name where the engine uses that.
    pub(super) container: Option<String>,
    /// UID of the Kubernetes pod, with dashes.
    pub(super) pod_uid: Option<String>,
    /// The systemd unit, a service: `nginx.service`.
    pub(super) unit: Option<String>,
}

/// The lines of /proc/PID/cgroup: hierarchy-ID, controllers, path; the path may hold colons.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        Some((parts.next()?, parts.next()?, parts.next()?.trim_end_matches(" (deleted)")))
    })
}

/// The path of a process in the unified hierarchy, from /proc/PID/cgroup (cgroups(7)).
pub(super) fn unified(text: &str) -> Option<&str> {
    lines(text).find(|(id, controllers, _)| *id == "0" && controllers.is_empty()).map(|line| line.2)
}

/// The path in the hierarchy that tells most: the unified one, or else that of a controller that engines use with version 1,
/// or systemd's own.
pub(super) fn path_of(text: &str) -> Option<&str> {
    let of = |wanted: &str| {
        lines(text)
            .find(|(_, controllers, _)| controllers.split(',').any(|name| name == wanted))
            .map(|line| line.2)
    };
    let unified = unified(text);
    // On hosts with both, version 2 is there but holds no controller, and containers may be told apart by version 1 only.
    let telling = |path: &Option<&str>| path.is_some_and(|path| read(path) != Place::default());
    [unified, of("name=systemd"), of("memory"), of("cpu"), of("pids")]
        .into_iter()
        .find(telling)
        .flatten()
        .or(unified)
        .or_else(|| of("name=systemd"))
        .or_else(|| lines(text).next().map(|line| line.2))
}

/// Where the unified hierarchy is mounted, from /proc/PID/mountinfo (proc_pid_mountinfo(5)): beside version 1 that is
/// /sys/fs/cgroup/unified.
pub(super) fn hierarchy(mountinfo: &str) -> Option<&str> {
    mountinfo.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        // One that does not begin at the root shows a part only.
        let (root, point) = (fields.next()?, fields.next()?);
        (kind.starts_with("cgroup2 ") && root == "/").then_some(point)
    })
}

/// Reads a path.
pub(super) fn read(path: &str) -> Place {
    let mut place = Place::default();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        // Below a namespace's root, paths begin with `..`.
        if segment == ".." {
            continue;
        }
        if let Some(uid) = pod_uid(segment) {
            place.pod_uid = Some(uid);
            continue;
        }
        // The innermost one: containers run in containers.
        if let Some(container) = container(segment) {
            place.container = Some(container.to_owned());
            continue;
        }
        if let Some(unit) = unit(segment) {
            place.unit = Some(unit.to_owned());
        }
    }
    if let Some(name) = named_container(path) {
        place.container = Some(name.to_owned());
    }
    place
}

/// `pod<uid>` of the cgroupfs driver, `kubepods-burstable-pod<uid>.slice` of systemd's, whose dashes are underscores.
fn pod_uid(segment: &str) -> Option<String> {
    let segment = segment.strip_suffix(".slice").unwrap_or(segment);
    let at = segment.rfind("pod")?;
    let (before, uid) = (&segment[..at], &segment[at + 3..]);
    let is_pods = before.is_empty() || before.starts_with("kubepods") || before.contains("-kubepods");
    if !is_pods {
        return None;
    }
    let uid = uid.replace('_', "-");
    let plain = uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    // Static pods have a hash of 32 digits in the place of a UUID.
    (plain && (uid.len() == 36 || uid.len() == 32)).then_some(uid)
}

/// The id in `<id>`, `docker-<id>.scope`, `cri-containerd-<id>.scope`, `crio-<id>.scope`, `libpod-<id>.scope`,
/// `<pod's slice>:cri-containerd:<id>`, `libpod-payload-<id>`, `<task>-<number>` of ECS.
fn container(segment: &str) -> Option<&str> {
    let segment = segment.strip_suffix(".scope").unwrap_or(segment);
    // What monitors a container (crio's conmon, podman's) is not in it.
    if segment.contains("conmon") {
        return None;
    }
    let id = segment.rsplit([':', '-']).next().unwrap_or(segment);
    let is_hash = |id: &str| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash(id) {
        return Some(id);
    }
    // Garden of Cloud Foundry: a UUID, and nothing else in the segment.
    if segment.len() == 36 && is_uuid(segment) {
        return Some(segment);
    }
    // ECS on Fargate: 32 digits, a dash and a number.
    let (task, number) = segment.split_once('-')?;
    let is_task = task.len() == 32 && task.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_task && number.len() >= 9 && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(segment)
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

/// Containers that have a name in the place of an id: LXC, LXD and Incus, systemd-nspawn.
fn named_container(path: &str) -> Option<&str> {
    path.split('/').enumerate().find_map(|(at, segment)| {
        if let Some(name) = segment.strip_prefix("lxc.payload.") {
            return Some(name);
        }
        if let Some(name) =
            segment.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service"))
        {
            return Some(name);
        }
        let machine = segment.strip_prefix("machine-").and_then(|rest| rest.strip_suffix(".scope"));
        if let Some(name) = machine {
            // Virtual machines have scopes, too: machine-qemu\x2d1\x2dname.scope.
            return (!name.starts_with("qemu")).then_some(name);
        }
        if at > 0 && path.split('/').nth(at - 1) == Some("lxc") && !segment.is_empty() {
            return Some(segment);
        }
        None
    })
}

/// A service of systemd; slices, scopes and the user's own manager tell nothing.
fn unit(segment: &str) -> Option<&str> {
    let name = segment.strip_suffix(".service")?;
    (!name.is_empty() && !name.starts_with("user@") && !name.starts_with("systemd-nspawn@"))
        .then_some(segment)
}

/// A unit's name as a service's: without its type, and without the instance of a template.
pub(super) fn service_of_unit(unit: &str) -> &str {
    let name = unit.strip_suffix(".service").unwrap_or(unit);
    match name.split_once('@') {
        Some((template, _)) if !template.is_empty() => template,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "4f8a3c2e-0b1d-4c5e-9f60-718293a4b5c6";

    /// Puts real ids in the place of `ID`, `UID`, and `U_ID`, which has underscores.
    fn filled(text: &str) -> String {
        text.replace("U_ID", &UID.replace('-', "_")).replace("UID", UID).replace("ID", ID)
    }

    fn of(path: &str) -> [Option<String>; 3] {
        let Place { container, pod_uid, unit } = read(&filled(path));
        [container, pod_uid, unit]
    }

    #[test]
    fn every_shape() {
        // Path; container, pod, unit. ID and UID stand for real ones.
        let shapes = [
            ("docker, cgroupfs", "/docker/ID", ["ID", "", ""]),
            ("docker, systemd", "/system.slice/docker-ID.scope", ["ID", "", ""]),
            ("docker, a parent of its own", "/my-parent/ID", ["ID", "", ""]),
            ("docker in docker", "/docker/1ID/docker/ID", ["ID", "", ""]),
            (
                "docker, rootless",
                "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope",
                ["ID", "", ""],
            ),
            ("buildkit", "/system.slice/docker-ID.scope/buildkit/abc", ["ID", "", ""]),
            ("containerd by ctr", "/default/ID", ["ID", "", ""]),
            ("nerdctl, systemd", "/system.slice/nerdctl-ID.scope", ["ID", "", ""]),
            ("podman, systemd", "/machine.slice/libpod-ID.scope", ["ID", "", ""]),
            ("podman, split", "/machine.slice/libpod-ID.scope/container", ["ID", "", ""]),
            (
                "podman, rootless",
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
                ["ID", "", ""],
            ),
            ("podman, quadlet", "/system.slice/web.service/libpod-payload-ID", ["ID", "", "web.service"]),
            ("podman, cgroupfs", "/libpod_parent/libpod-ID", ["ID", "", ""]),
            ("podman's monitor", "/machine.slice/libpod-conmon-ID.scope", ["", "", ""]),
            ("kubelet, cgroupfs, guaranteed", "/kubepods/podUID/ID", ["ID", "UID", ""]),
            ("kubelet, cgroupfs, burstable", "/kubepods/burstable/podUID/ID", ["ID", "UID", ""]),
            ("kubelet, cgroupfs, best effort", "/kubepods/besteffort/podUID/ID", ["ID", "UID", ""]),
            (
                "containerd, systemd",
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_ID.slice/cri-containerd-ID.scope",
                ["ID", "UID", ""],
            ),
            (
                "cri-o, systemd",
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_ID.slice/crio-ID.scope",
                ["ID", "UID", ""],
            ),
            (
                "cri-o, a container with systemd in it",
                "/kubepods.slice/kubepods-podU_ID.slice/crio-ID.scope/system.slice/nginx.service",
                ["ID", "UID", "nginx.service"],
            ),
            (
                "cri-o's monitor",
                "/kubepods.slice/kubepods-podU_ID.slice/crio-conmon-ID.scope",
                ["", "UID", ""],
            ),
            (
                "dockershim, systemd",
                "/kubepods.slice/kubepods-podU_ID.slice/docker-ID.scope",
                ["ID", "UID", ""],
            ),
            (
                "containerd, cgroupfs paths under a systemd host",
                "/system.slice/containerd.service/kubepods-burstable-podU_ID.slice:cri-containerd:ID",
                ["ID", "", "containerd.service"],
            ),
            ("k3s", "/k8s.io/ID", ["ID", "", ""]),
            (
                "kind: a node is a container",
                "/docker/1ID/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_ID.slice/cri-containerd-ID.scope",
                ["ID", "UID", ""],
            ),
            ("seen from within a cgroup namespace", "/../../podUID/ID", ["ID", "UID", ""]),
            (
                "a static pod",
                "/kubepods/burstable/pod0123456789abcdef0123456789abcdef/ID",
                ["ID", "0123456789abcdef0123456789abcdef", ""],
            ),
            ("ECS on EC2", "/ecs/0123456789abcdef0123456789abcdef/ID", ["ID", "", ""]),
            (
                "ECS on Fargate",
                "/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-1234567890",
                ["0123456789abcdef0123456789abcdef-1234567890", "", ""],
            ),
            ("Garden", "/garden/4f8a3c2e-0b1d-4c5e-9f60-718293a4b5c6", [UID, "", ""]),
            ("LXC", "/lxc.payload.web/system.slice/nginx.service", ["web", "", "nginx.service"]),
            ("LXC, version 1", "/lxc/web/init.scope", ["web", "", ""]),
            (
                "systemd-nspawn",
                "/machine.slice/systemd-nspawn@deb.service/payload/init.scope",
                ["deb", "", ""],
            ),
            ("systemd-nspawn, a scope", "/machine.slice/machine-deb.scope", ["deb", "", ""]),
            ("a virtual machine", "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope", ["", "", ""]),
            ("a service", "/system.slice/nginx.service", ["", "", "nginx.service"]),
            (
                "an instance",
                "/system.slice/system-getty.slice/getty@tty1.service",
                ["", "", "getty@tty1.service"],
            ),
            (
                "a user's service",
                "/user.slice/user-1000.slice/user@1000.service/app.slice/pipewire.service",
                ["", "", "pipewire.service"],
            ),
            ("a session", "/user.slice/user-1000.slice/session-2.scope", ["", "", ""]),
            ("the root", "/", ["", "", ""]),
            ("nothing known", "/a/b-c.d", ["", "", ""]),
        ];
        for (what, path, wanted) in shapes {
            let wanted = wanted.map(|text| (!text.is_empty()).then(|| filled(text)));
            // `1ID` is another container, of which only the place matters.
            let path = path.replace("1ID", &"1".repeat(64));
            assert_eq!(of(&path), wanted, "{what}: {path}");
        }
        assert!(shapes.len() >= 25);
    }

    #[test]
    fn one_path_of_many() {
        let hybrid =
            "12:memory:/docker/aa\n1:name=systemd:/system.slice/ssh.service\n0::/system.slice/ssh.service\n";
        assert_eq!(path_of(hybrid), Some("/system.slice/ssh.service"));
        assert_eq!(path_of("0::/user.slice\n"), Some("/user.slice"));
        let first = format!("11:cpuset:/\n5:cpu,cpuacct:/docker/{ID}\n0::/\n");
        assert_eq!(path_of(&first), Some(&*format!("/docker/{ID}")));
        assert_eq!(path_of("0::/a:b (deleted)\n"), Some("/a:b"));
        assert_eq!(path_of("3:cpuset:/x\n"), Some("/x"));
        for broken in ["", "\n", "x", "0:", "::"] {
            assert!(path_of(broken).is_none_or(str::is_empty), "{broken:?}");
        }
    }

    #[test]
    fn the_unified_hierarchy() {
        let mounts = "24 1 0:21 / /sys rw - sysfs sys rw\n30 24 0:26 /x /y rw - cgroup2 none rw\n\
                      31 24 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(hierarchy(mounts), Some("/sys/fs/cgroup/unified"));
        assert_eq!(hierarchy("24 1 0:21 / /sys rw - sysfs sys rw\n"), None);
        assert_eq!(unified("3:cpu:/a\n0::/b\n"), Some("/b"));
        assert_eq!(unified("3:cpu:/a\n"), None);
    }

    #[test]
    fn services_of_units() {
        assert_eq!(service_of_unit("nginx.service"), "nginx");
        assert_eq!(service_of_unit("postgresql@15-main.service"), "postgresql");
        assert_eq!(service_of_unit("@x.service"), "@x");
    }
}
