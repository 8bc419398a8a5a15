//! Cgroups that tests make.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A cgroup of the test's own, removed when it is dropped.
#[derive(Debug)]
pub struct Cgroup {
    parent: PathBuf,
    path: PathBuf,
}

impl Cgroup {
    /// Makes one with this path below a folder of its own.
    pub fn make(below: &str) -> Cgroup {
        let mounts = std::fs::read_to_string("/proc/mounts").expect("the mounts");
        let mount = mounts
            .lines()
            .find(|line| line.split(' ').nth(2) == Some("cgroup2"))
            .expect("cgroups of version 2");
        let mount = PathBuf::from(mount.split(' ').nth(1).expect("a mount point"));
        let parent = mount.join(format!("profiler-test-{}", std::process::id()));
        let path = parent.join(below);
        std::fs::create_dir_all(&path).expect("the tests need a cgroup of version 2 that they may make");
        Cgroup { parent, path }
    }

    /// Makes one with a limit, in whichever version of cgroups has this controller: `pids`, `pids.max`, `64`.
    pub fn limited(controller: &str, file: &str, value: &str) -> Cgroup {
        let mounts = std::fs::read_to_string("/proc/mounts").expect("the mounts");
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let version_1 = mounts.find_map(|fields| {
            (fields[2] == "cgroup" && fields[3].split(',').any(|option| option == controller))
                .then(|| PathBuf::from(fields[1]))
        });
        let cgroup = match version_1 {
            Some(mount) => {
                let path = mount.join(format!("profiler-test-{}", std::process::id()));
                std::fs::create_dir_all(&path).expect("the tests need a cgroup that they may make");
                Cgroup { parent: path.clone(), path }
            }
            None => {
                let cgroup = Cgroup::make("limited");
                let all = cgroup.parent.parent().expect("the mount of the cgroups");
                for parent in [all, &cgroup.parent] {
                    let enabled =
                        std::fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
                    enabled.unwrap_or_else(|error| {
                        panic!("the controller {controller} cannot be used: {error}")
                    });
                }
                cgroup
            }
        };
        cgroup.set(file, value);
        cgroup
    }

    /// Where processes are put that are to be in it.
    pub fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Puts a process there.
    pub fn add(&self, pid: u32) {
        std::fs::write(self.procs(), pid.to_string()).expect("a process that may be moved");
    }

    /// Sets one of its files.
    pub fn set(&self, file: &str, value: &str) {
        let path = self.path.join(file);
        std::fs::write(&path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Ends all processes in it.
    pub fn kill_all(&self) {
        for _ in 0..200 {
            let pids = std::fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
            if pids.is_empty() {
                return;
            }
            for pid in pids.lines().filter_map(|pid| pid.parse().ok()) {
                // SAFETY: numbers only; the pid was a process of this test's own cgroup a moment ago.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A shell command that goes there and becomes something else.
    pub fn enter(&self) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.path.join("cgroup.procs"));
        shell
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.kill_all();
        // Those that ended may still be there for a moment.
        for folder in self.path.ancestors().take_while(|folder| folder.starts_with(&self.parent)) {
            for _ in 0..50 {
                if std::fs::remove_dir(folder).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}
