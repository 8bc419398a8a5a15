//! The power goes while profiles are written: what is there afterwards is whole.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use profiler_tests::programs::must_run;
use profiler_tests::{Agent, Pprof, Program, Session, Target, folder};

/// `EXT4_IOC_SHUTDOWN` (fs/ext4/ext4.h), and its flag that what is not in the journal on disk is given up.
const SHUTDOWN: libc::c_ulong = 0x8004_587d;
const NO_LOG_FLUSH: u32 = 2;

/// An ext4 file system in a file.
struct Disk {
    image: PathBuf,
    mounted: PathBuf,
}

impl Disk {
    fn make(session: &Session) -> Disk {
        let disk = Disk { image: session.path("image"), mounted: session.path("disk") };
        let made = File::create(&disk.image).and_then(|file| file.set_len(64 << 20));
        assert!(made.is_ok() && fs::create_dir(&disk.mounted).is_ok(), "{made:?}");
        must_run(Command::new("mkfs.ext4").arg("-q").arg(&disk.image));
        disk.mount("loop,commit=1");
        disk
    }

    /// Its journal is written out every second, so that names reach the disk at moments of its own choice.
    fn mount(&self, options: &str) {
        must_run(Command::new("mount").args(["-o", options]).arg(&self.image).arg(&self.mounted));
    }

    /// From now on nothing reaches the disk.
    fn cut_power(&self) -> io::Result<()> {
        let folder = File::open(&self.mounted)?;
        let flags = NO_LOG_FLUSH;
        // SAFETY: the call reads one number, which outlives it.
        let result = unsafe { libc::ioctl(folder.as_raw_fd(), SHUTDOWN, &raw const flags) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn unmount(&self) {
        must_run(Command::new("umount").arg(&self.mounted));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy", "--quiet"]).arg(&self.mounted).status();
    }
}

fn profiles_of(disk: &Path) -> Vec<PathBuf> {
    let out = disk.join("out");
    if out.exists() { folder::profiles(&out) } else { Vec::new() }
}

#[test]
fn profiles_are_whole_or_not_there() {
    let session = Session::begin();
    let targets = [(); 6].map(|()| Target::start(&Program::Pie.build(), &["burn"]));
    let disk = Disk::make(&session);
    let mut agent = Agent::wrapped(&session, &[], "disk/out", &["--window", "100ms", "-F", "199"]);
    agent.wait_until("are there profiles", |_| profiles_of(&disk.mounted).len() >= 60 * targets.len());
    // At any moment of what it does every second.
    std::thread::sleep(Duration::from_millis(u64::from(std::process::id() % 10) * 100));
    disk.cut_power().expect("ext4 can be shut down");
    agent.signal(libc::SIGKILL);
    agent.end();
    disk.unmount();

    disk.mount("loop");
    let found = profiles_of(&disk.mounted);
    assert!(found.len() >= targets.len(), "{} profiles: the journal was never written out", found.len());
    for file in &found {
        let profile = Pprof::read(file);
        assert!(profile.samples(|_| true) > 0, "{}", file.display());
    }
}
