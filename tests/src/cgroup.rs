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

    /// A shell command that goes there and becomes something else.
    pub fn enter(&self) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.path.join("cgroup.procs"));
        shell
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
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
