//! A virtual machine with a kernel and this host's files.
//!
//! The root file system is the host's by virtiofs, read-only; /tmp, /run and what programs write elsewhere is memory of the
//! machine's. Two folders of the target folder can be written to: that of the programs which tests build, and the machine's
//! own, with the plan and the results. The modules for that, where the kernel has them not built in, and busybox are in an
//! initramfs.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    Kernel,
    images::Image,
    outcome::{KernelRun, Plan},
};

/// Memory of the machine, MiB.
const MEMORY: u32 = 2048;
/// How long a kernel may take to its first process to count as booted by KVM.
const BOOT: Duration = Duration::from_secs(15);
/// The word that tells a machine that its processor is a program.
pub(super) const EMULATED: &str = "profiler_emulated";
/// What the first process says when it was asked for nothing else.
const HELLO: &str = "the machine is up";
/// The modules that lead to the root file system, each behind those that it needs.
const MODULES: [&str; 7] = [
    "virtio",
    "virtio_ring",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "fuse",
    "virtiofs",
];
/// Where Debian has the server of virtiofs, newest first.
const VIRTIOFSD: [&str; 2] = ["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"];

/// How a machine is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acceleration {
    /// By the processor.
    Kvm,
    /// By software.
    Tcg,
}

impl Acceleration {
    /// As it is shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Tcg => "software emulation",
        }
    }

    /// What the machine finds on its kernel's command line.
    fn word(self) -> &'static str {
        match self {
            Self::Kvm => "",
            Self::Tcg => EMULATED,
        }
    }

    fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

/// Ends a process when it goes out of scope.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended by itself; it is reaped in either case.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A machine that can be switched on.
#[derive(Debug)]
pub(crate) struct Machine {
    folder: PathBuf,
    number: Kernel,
    kernel: PathBuf,
    planned: Vec<String>,
}

impl Machine {
    /// Writes the plan and the initramfs. `folder` is `vm/<kernel>` in the target folder.
    pub(crate) fn prepare(
        workspace: &Path,
        target: &Path,
        folder: &Path,
        number: Kernel,
        image: &Image,
        plan: &Plan,
    ) -> Result<Self> {
        fs::create_dir_all(target.join("tmp"))?;
        fs::write(folder.join("plan.json"), serde_json::to_vec(plan)?)?;
        let tree = tempfile::tempdir()?;
        fill(tree.path(), image)?;
        let init = init(workspace, target, folder, &std::env::current_exe()?)?;
        fs::write(tree.path().join("init"), init)?;
        pack(tree.path(), &folder.join("initramfs"))?;
        let planned = plan.cases.iter().map(|case| case.name.clone()).collect();
        Ok(Self { folder: folder.to_owned(), number, kernel: image.kernel.clone(), planned })
    }

    /// KVM, if it gets this kernel to its first process. That there is a /dev/kvm says too little: a processor that is
    /// itself emulated may have one that hangs.
    pub(crate) fn find_acceleration(&self) -> Acceleration {
        let console = self.folder.join("kvm.txt");
        let booted = self
            .switch_on(Acceleration::Kvm, &console, "profiler_hello", BOOT)
            .and_then(|()| Ok(fs::read_to_string(&console)?))
            .is_ok_and(|text| text.contains(HELLO));
        if booted { Acceleration::Kvm } else { Acceleration::Tcg }
    }

    /// Runs the plan. A machine that ends before it has begun with it, as emulated ones do once in a while, is switched on once
    /// more.
    pub(crate) fn run(&self, acceleration: Acceleration, limit: Duration) -> Result<KernelRun> {
        let results = self.folder.join("results.jsonl");
        if results.exists() {
            fs::remove_file(&results)?;
        }
        let started = Instant::now();
        let begun = |results: &Path| fs::metadata(results).is_ok_and(|results| results.len() > 0);
        for console in ["console.txt", "console-again.txt"] {
            self.switch_on(acceleration, &self.folder.join(console), acceleration.word(), limit)?;
            if begun(&results) || started.elapsed() >= limit {
                break;
            }
            println!("{}: the machine ended before its first test, see {console}", self.number.name());
        }
        let text = fs::read_to_string(&results).unwrap_or_default();
        let seconds = started.elapsed().as_secs();
        Ok(KernelRun::new(self.number, acceleration, self.planned.clone(), &text, seconds))
    }

    /// Switches the machine on, and waits until it switches itself off or the time is over.
    fn switch_on(
        &self,
        acceleration: Acceleration,
        console: &Path,
        word: &str,
        limit: Duration,
    ) -> Result<()> {
        // The path of a socket is short.
        let sockets = tempfile::tempdir()?;
        let socket = sockets.path().join("root");
        let _files = serve_files(&socket, &self.folder.join("virtiofsd.txt"))?;
        let text = File::create(console)?;
        let mut command = Command::new("qemu-system-x86_64");
        command.args(acceleration.arguments());
        command.args(["-smp", "2", "-m", &MEMORY.to_string(), "-nodefaults", "-nographic", "-no-reboot"]);
        command.args(["-serial", "stdio", "-machine", "pc,memory-backend=memory"]);
        command.args(["-object", &format!("memory-backend-memfd,id=memory,size={MEMORY}M,share=on")]);
        command.args(["-chardev", &format!("socket,id=files,path={}", socket.display())]);
        command.args(["-device", "vhost-user-fs-pci,chardev=files,tag=host"]);
        command.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(self.folder.join("initramfs"));
        // Where the host is busy an emulated timer comes late, and newer kernels take it for broken.
        command.args(["-append", &format!("console=ttyS0 quiet panic=-1 no_timer_check {word}")]);
        command.stdin(Stdio::null()).stdout(text.try_clone()?).stderr(text);
        let child = command.spawn().context("cannot run QEMU; install the Debian package qemu-system-x86")?;
        let mut machine = Guard(child);
        let deadline = Instant::now() + limit;
        while machine.0.try_wait()?.is_none() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

/// Starts what gives the machine this host's files.
fn serve_files(socket: &Path, log: &Path) -> Result<Guard> {
    let program = VIRTIOFSD.into_iter().find(|path| Path::new(path).exists());
    let program =
        program.context("no virtiofsd; install the Debian package virtiofsd, or qemu-system-common")?;
    let log = File::create(log)?;
    let mut command = Command::new(program);
    // The one of newer releases is written anew, with other options.
    if program.starts_with("/usr/lib/qemu") {
        command.arg(format!("--socket-path={}", socket.display()));
        command.args(["-o", "source=/", "-o", "cache=always", "-o", "sandbox=chroot"]);
    } else {
        command.arg("--socket-path").arg(socket);
        command.args(["--shared-dir", "/", "--cache", "always", "--sandbox", "chroot"]);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let guard = Guard(command.spawn().with_context(|| format!("cannot run {program}"))?);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !socket.exists() {
        if Instant::now() > deadline {
            bail!("{program} makes no socket");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(guard)
}

/// What the initramfs has beside its `init`.
fn fill(tree: &Path, image: &Image) -> Result<()> {
    for folder in ["bin", "modules", "proc", "sys", "dev", "root", "workspace", "programs", "own"] {
        fs::create_dir(tree.join(folder))?;
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.context("no busybox; install the Debian package busybox-static")?;
    fs::copy(busybox, tree.join("bin/busybox"))?;
    let mut folders = vec![image.folder.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if let Some(name) = entry.file_name().to_string_lossy().strip_suffix(".ko")
                && MODULES.contains(&name)
            {
                fs::copy(entry.path(), tree.join("modules").join(entry.file_name()))?;
            }
        }
    }
    Ok(())
}

/// The script that is the first process: makes the root file system, and goes on as `cargo xtask vm inside`.
fn init(workspace: &Path, target: &Path, folder: &Path, xtask: &Path) -> Result<String> {
    let mut script = "#!/bin/busybox sh\nset -e\nb=/bin/busybox\n".to_owned();
    let mut line = |text: std::fmt::Arguments<'_>| writeln!(script, "{text}");
    line(format_args!(
        "$b mount -t proc proc /proc; $b mount -t sysfs sysfs /sys; $b mount -t devtmpfs dev /dev"
    ))?;
    line(format_args!(
        "if $b grep -q profiler_hello /proc/cmdline; then echo '{HELLO}'; $b poweroff -f; fi"
    ))?;
    for module in MODULES {
        line(format_args!("if [ -e /modules/{module}.ko ]; then $b insmod /modules/{module}.ko; fi"))?;
    }
    line(format_args!("$b mount -t virtiofs host /root"))?;
    let (workspace, target, folder) = (quoted(workspace)?, quoted(target)?, quoted(folder)?);
    // What is to be seen again once /tmp is another one, for the workspace may lie in there.
    line(format_args!("$b mount --bind /root{workspace} /workspace"))?;
    line(format_args!("$b mount --bind /root{target} /target"))?;
    line(format_args!("$b mount --bind /root{target}/tmp /programs; $b mount --bind /root{folder} /own"))?;
    for place in ["/root", "/workspace", "/target"] {
        line(format_args!("$b mount -o remount,bind,ro {place}"))?;
    }
    for place in ["tmp", "run", "var/cache", "var/tmp"] {
        line(format_args!("$b mount -t tmpfs -o mode=1777 tmpfs /root/{place}"))?;
    }
    for (from, to) in [("/workspace", &workspace), ("/target", &target)] {
        line(format_args!(
            "if [ ! -d /root{to} ]; then $b mkdir -p /root{to}; fi; $b mount --bind {from} /root{to}"
        ))?;
    }
    line(format_args!("$b mount --bind /programs /root{target}/tmp; $b mount --bind /own /root{folder}"))?;
    line(format_args!(
        "$b mount --move /dev /root/dev; $b mount --move /proc /root/proc; $b mount --move /sys /root/sys"
    ))?;
    line(format_args!("$b mkdir -p /root/dev/pts /root/dev/shm"))?;
    line(format_args!("$b mount -t devpts devpts /root/dev/pts; $b mount -t tmpfs tmpfs /root/dev/shm"))?;
    line(format_args!("$b mount -t tracefs tracefs /root/sys/kernel/tracing"))?;
    line(format_args!("$b mount -t cgroup2 cgroup2 /root/sys/fs/cgroup"))?;
    line(format_args!("$b ip link set lo up"))?;
    line(format_args!("exec $b switch_root /root {} vm inside {folder}", quoted(xtask)?))?;
    Ok(script)
}

/// A path for the shell.
fn quoted(path: &Path) -> Result<String> {
    let path = path.to_str().context("a path is not UTF-8")?;
    if path.contains('\'') {
        bail!("a path has an apostrophe: {path}");
    }
    Ok(format!("'{path}'"))
}

/// Packs a folder as an initramfs.
fn pack(tree: &Path, archive: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(tree.join("init"), fs::Permissions::from_mode(0o755))?;
    fs::create_dir(tree.join("target"))?;
    let mut names = b".".to_vec();
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            names.push(b'\n');
            names.extend(entry.path().strip_prefix(tree)?.as_os_str().as_encoded_bytes());
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    let mut cpio = Command::new("cpio")
        .args(["--quiet", "-o", "-H", "newc"])
        .current_dir(tree)
        .stdin(Stdio::piped())
        .stdout(File::create(archive)?)
        .spawn()
        .context("cannot run cpio; install the Debian package cpio")?;
    cpio.stdin.take().context("cpio has no input")?.write_all(&names)?;
    if !cpio.wait()?.success() {
        bail!("cpio failed");
    }
    Ok(())
}
