//! What is left to the agent once it runs, thread by thread; and that this is held to by the kernel.
#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use profiler_tests::chain::Chain;
use profiler_tests::receiver::Receiver;
use profiler_tests::server::{free_port, get};
use profiler_tests::uploads::wait_until;
use profiler_tests::{Pprof, Profiler, Program, Session, Target, folder, profiler};
use profiler_user::confine::{self, Folder, Plan, threads};
use profiler_user::sys::caps;
use profiler_user::sys::seccomp::{Action, Filter, Reach, Rule, Told};

/// Nobody.
const UID: u32 = 65534;
/// Those that docs/privilege.md names, and no other.
const CAPABILITIES: &str = "bpf,+perfmon,+sys_ptrace,+dac_read_search,+syslog,+checkpoint_restore";

/// Bits by `include/uapi/linux/capability.h`.
const DAC_READ_SEARCH: u64 = 1 << 2;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_ADMIN: u64 = 1 << 21;
const SYS_NICE: u64 = 1 << 23;
const SYSLOG: u64 = 1 << 34;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;
const CHECKPOINT_RESTORE: u64 = 1 << 40;
const ALL: u64 = DAC_READ_SEARCH | SYS_PTRACE | SYSLOG | PERFMON | BPF | CHECKPOINT_RESTORE;

/// What docs/privilege.md says of each thread.
fn documented(thread: &str) -> u64 {
    match thread {
        "profiler" => SYS_PTRACE | DAC_READ_SEARCH | CHECKPOINT_RESTORE,
        "opener" => SYS_PTRACE | DAC_READ_SEARCH | CHECKPOINT_RESTORE | SYSLOG,
        "loader" | "capture" => BPF | PERFMON | SYSLOG,
        "tables" => 0,
        _ => DAC_READ_SEARCH,
    }
}

/// Whether the kernel may be one of Debian's, that want `CAP_SYS_ADMIN` of who opens events: docs/privilege.md.
fn may_want_admin() -> bool {
    let value = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    value.trim().parse::<i32>().unwrap() > 2
}

/// The status of each thread, by name.
fn threads_of(pid: u32) -> Vec<(String, BTreeMap<String, String>)> {
    let mut threads = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let text = fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let status: BTreeMap<_, _> =
            lines.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect();
        if let Some(name) = status.get("Name") {
            threads.push((name.clone(), status));
        }
    }
    threads
}

fn mask(status: &BTreeMap<String, String>, key: &str) -> u64 {
    u64::from_str_radix(&status[key], 16).unwrap()
}

/// Holds each thread of an agent against what is documented; `more` beside it, and `bounds` in its bounding set.
fn assert_documented(pid: u32, more: u64, bounds: u64) {
    let threads = threads_of(pid);
    for wanted in ["profiler", "opener", "loader", "worker", "capture", "tables", "naming", "http", "upload"]
    {
        assert!(threads.iter().any(|(name, _)| name == wanted), "{wanted} in {threads:?}");
    }
    for (name, status) in &threads {
        let mut kept = documented(name) | more;
        if may_want_admin() && kept & PERFMON != 0 {
            kept |= mask(status, "CapPrm") & SYS_ADMIN;
        }
        assert_eq!(mask(status, "CapPrm"), kept, "{name}: {status:?}");
        assert_eq!(mask(status, "CapEff"), kept, "{name}: {status:?}");
        assert_eq!(mask(status, "CapInh"), 0, "{name}: {status:?}");
        assert_eq!(mask(status, "CapAmb"), 0, "{name}: {status:?}");
        assert_eq!(mask(status, "CapBnd"), bounds, "{name}: {status:?}");
        assert_eq!((&*status["NoNewPrivs"], &*status["Seccomp"]), ("1", "2"), "{name}: {status:?}");
    }
}

/// Whether the kernel that the tests run on has Landlock.
fn has_landlock() -> bool {
    profiler_user::sys::landlock::abi().is_some()
}

#[test]
fn six_capabilities_are_enough_and_no_thread_keeps_them_all() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let binary = session.path("profiler");
    fs::copy(profiler::binary(), &binary).unwrap();
    for folder in [session.folder().to_owned(), session.path("out"), session.path("cache")] {
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(&folder, Some(UID), Some(UID)).unwrap();
    }
    let receiver = Receiver::start(0, &[]);
    let (port, uid) = (free_port(), UID.to_string());
    let seventh = if may_want_admin() { ",+sys_admin" } else { "" };
    let kept = format!("+{CAPABILITIES}{seventh}");
    let bounds = format!("-all,{kept}");
    // As the unit says, where it may be raised: kernels before 5.11 count maps.
    let limited = ["sh", "-c", "ulimit -l unlimited 2> /dev/null; exec \"$@\"", "sh"];
    let wrapper = [
        &limited[..],
        &["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups", "--no-new-privs"][..],
        &["--inh-caps", &kept, "--ambient-caps", &kept, "--bounding-set", &bounds],
    ]
    .concat();
    let (http, upload) = (
        format!("127.0.0.1:{port}"),
        format!("kind = \"pyroscope\", url = \"http://127.0.0.1:{}\"", receiver.port()),
    );
    let args = ["-v", "agent", "-o", "out", "--unwind-cache", "cache", "--window", "2s", "-F", "99"];
    // What is less than an interval is written at the very end.
    let late = format!("{upload}, name = \"late\", interval = \"1h\"");
    let more = ["--http", &http, "--upload", &upload, "--upload", &late];
    let mut words: Vec<&str> = wrapper;
    let binary = binary.to_str().unwrap().to_owned();
    words.push(&binary);
    let (first, rest) = words.split_first().unwrap();
    let arguments: Vec<&str> = rest.iter().copied().chain(args).chain(more).collect();
    let mut agent = Profiler::of(Path::new(first), session.folder(), arguments).start();
    agent.wait_until_sampling();
    let end = format!("-{}.cpu.pb.gz", target.pid());
    let written = || {
        let all = folder::profiles(&session.path("out"));
        all.into_iter().filter(|file| file.to_string_lossy().ends_with(&end)).collect::<Vec<_>>()
    };
    wait_until("three windows", || session.path("out").exists() && written().len() >= 3);
    wait_until("an upload", || receiver.requests() > 0);
    assert_documented(agent.pid(), 0, if may_want_admin() { ALL | SYS_ADMIN } else { ALL });
    let metrics = get(port, "/metrics").text();
    for part in ["seccomp", "no_new_privileges"] {
        assert!(metrics.contains(&format!("profiler_confinement{{part=\"{part}\"}} 1\n")), "{metrics}");
    }
    let landlock = format!("profiler_confinement{{part=\"landlock\"}} {}\n", u8::from(has_landlock()));
    assert!(metrics.contains(&landlock), "{metrics}");
    agent.signal(libc::SIGTERM);
    let done = agent.finish();
    done.assert_success();
    let told = done.stderr.lines().filter(|line| line.contains("confined: seccomp")).count();
    done.check(told == 1, "the log says in one line what is in force");
    for refused in ["Operation not permitted", "Permission denied"] {
        done.check(!done.stderr.contains(refused), "nothing that it does is refused");
    }
    // Without urgency the first stacks may come before their tables, on a host that is busy with other tests.
    for file in written().into_iter().skip(1) {
        Chain::of(Program::Pie).assert_whole("without root", &Pprof::read(&file).of_pid(target.pid()));
    }
}

#[test]
fn root_has_no_more_left_than_others() {
    let session = Session::begin();
    let receiver = Receiver::start(0, &[]);
    let upload = format!("kind = \"pyroscope\", url = \"http://127.0.0.1:{}\"", receiver.port());
    let args = ["agent", "-o", "out", "--window", "2s", "--http", "127.0.0.1:0", "--upload", &upload];
    let mut agent = Profiler::new(session.folder(), args).start();
    agent.wait_until_sampling();
    // Where the limit on nice values cannot be raised, for want of CAP_SYS_RESOURCE, the capability stays.
    let may_raise = mask(&threads_of(std::process::id())[0].1, "CapEff") & 1 << 24 != 0;
    assert_documented(agent.pid(), if may_raise { 0 } else { SYS_NICE }, 0);
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
}

#[test]
fn what_is_switched_off_is_off() {
    let session = Session::begin();
    let args = ["-v", "agent", "-o", "out", "--window", "2s", "--no-confinement"];
    let mut agent = Profiler::new(session.folder(), args).start();
    agent.wait_until_sampling();
    let own = mask(&threads_of(std::process::id())[0].1, "CapPrm");
    for (name, status) in threads_of(agent.pid()) {
        assert_eq!(mask(&status, "CapPrm"), own, "{name}: {status:?}");
        assert_eq!((&*status["NoNewPrivs"], &*status["Seccomp"]), ("0", "0"), "{name}: {status:?}");
    }
    agent.signal(libc::SIGTERM);
    let done = agent.finish();
    done.assert_success().check(done.stderr.contains("not confined"), "it says so");
}

#[test]
fn a_recorded_command_keeps_what_the_user_has() {
    let session = Session::begin();
    let script = "sleep 0.2; cat /proc/self/status > status; chmod 600 status";
    let args = ["record", "-o", "x.pb.gz", "--", "sh", "-c", script];
    Profiler::new(session.folder(), args).run().assert_success();
    let of = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        line.trim_start_matches(':').trim().to_owned()
    };
    let (own, command) = (
        fs::read_to_string("/proc/self/status").unwrap(),
        fs::read_to_string(session.path("status")).unwrap(),
    );
    for key in ["CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp", "Uid"] {
        assert_eq!(of(&command, key), of(&own, key), "{key}");
        assert!(!of(&own, key).is_empty(), "{key}");
    }
}

#[test]
fn a_recording_is_written_where_the_user_says() {
    let session = Session::begin();
    // Root may write to other users' folders.
    for name in ["theirs", "also"] {
        fs::create_dir(session.path(name)).unwrap();
        std::os::unix::fs::chown(session.path(name), Some(UID), Some(UID)).unwrap();
        fs::set_permissions(session.path(name), fs::Permissions::from_mode(0o700)).unwrap();
    }
    Profiler::new(session.folder(), ["record", "-d", "1s", "-o", "theirs/x.pb.gz"]).run().assert_success();
    Pprof::read(&session.path("theirs/x.pb.gz"));
    Profiler::new(session.folder(), ["record", "-d", "1s", "-o", "theirs/x/"]).run().assert_success();
    let mut agent = Profiler::new(session.folder(), ["agent", "-o", "also/out", "--window", "1s"]).start();
    agent.wait_until_sampling();
    wait_until("a window", || {
        session.path("also/out").exists() && !folder::profiles(&session.path("also/out")).is_empty()
    });
    agent.signal(libc::SIGTERM);
    let done = agent.finish();
    done.assert_success().check(done.stderr.is_empty(), "nothing is wrong");
}

#[test]
fn settings_that_want_more_than_was_kept_are_refused() {
    let session = Session::begin();
    let file = session.path("profiler.toml");
    let write = |output: &str, frequency: u32| {
        let text = format!("output = \"{output}\"\nwindow = \"1s\"\nfrequency = {frequency}\n");
        fs::write(session.path("new"), text).unwrap();
        fs::rename(session.path("new"), &file).unwrap();
    };
    write("out", 99);
    let mut agent = Profiler::new(session.folder(), ["agent", "--config", "profiler.toml"]).start();
    agent.wait_until_sampling();
    let written = |folder: &str| {
        let folder = session.path(folder);
        folder.exists() && !folder::profiles(&folder).is_empty()
    };
    wait_until("a window", || written("out"));
    // Within what was kept.
    write("out/deeper", 49);
    agent.signal(libc::SIGHUP);
    wait_until("a window in a new folder", || written("out/deeper"));
    write("elsewhere", 49);
    agent.signal(libc::SIGHUP);
    if has_landlock() {
        std::thread::sleep(Duration::from_secs(3));
        assert!(!session.path("elsewhere").exists());
    } else {
        wait_until("a window elsewhere", || written("elsewhere"));
    }
    agent.signal(libc::SIGTERM);
    let done = agent.finish();
    done.assert_success();
    let sentence = "elsewhere is outside of the folders that the agent may write to since it has started; restart the agent";
    done.check(done.stderr.contains(sentence) == has_landlock(), "it says what to do");
}

#[test]
fn the_agent_runs_no_programs() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let port = free_port();
    let http = format!("127.0.0.1:{port}");
    let mut agent = Profiler::new(
        session.folder(),
        ["agent", "-o", "out", "--window", "1s", "-F", "99", "--http", &http],
    )
    .start();
    agent.wait_until_sampling();
    wait_until("a window", || {
        session.path("out").exists() && !folder::profiles(&session.path("out")).is_empty()
    });
    let answer = get(port, "/api/graph");
    assert!(answer.status == 200 && answer.text().contains("profiler view FOLDER"), "{}", answer.text());
    assert!(answer.text().contains("digraph"), "what would be drawn is there");
    drop(target);
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
}

/// Confines a child process, which may write into `folder`, lets it try something, and gives what it said and how it ended.
fn confined(folder: &Path, attempt: impl FnOnce() -> String) -> (String, ExitStatus) {
    confined_after(folder, || {}, attempt)
}

/// Likewise, with something done before.
fn confined_after(
    folder: &Path,
    before: impl FnOnce(),
    attempt: impl FnOnce() -> String,
) -> (String, ExitStatus) {
    let (mut reader, mut writer) = io::pipe().unwrap();
    // SAFETY: the child runs code that takes locks of the C library's heap only, which it makes usable in a child.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // What is killed leaves no image of its memory.
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the struct is readable.
        unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
        before();
        let plan = Plan { folders: vec![Folder::of_files(folder)], main_writes: false, low_port: false };
        let said = match confine::begin(&plan) {
            Ok(in_force) if in_force.seccomp => attempt(),
            other => format!("not confined: {other:?}"),
        };
        let _ = writer.write_all(said.as_bytes());
        drop(writer);
        // SAFETY: ends the child without what the test's process does at its end.
        unsafe { libc::_exit(0) };
    }
    drop(writer);
    let (mut said, mut status) = (String::new(), 0);
    reader.read_to_string(&mut said).unwrap();
    // SAFETY: the status is writable.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    (said, ExitStatus::from_raw(status))
}

/// What an attempt gave: "ok", or the errno.
fn told<T>(result: io::Result<T>) -> String {
    result.map_or_else(
        |error| error.raw_os_error().map_or(error.to_string(), |errno| errno.to_string()),
        |_| "ok".to_owned(),
    )
}

/// Makes a system call with these arguments.
fn call(number: libc::c_long, arguments: [libc::c_long; 4]) -> String {
    let [a, b, c, d] = arguments;
    // SAFETY: the pointers among the arguments of those tried here lead nowhere, which the kernel finds out.
    let ret = unsafe { libc::syscall(number, a, b, c, d, 0, 0) };
    told(if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(()) })
}

#[test]
fn what_an_attacker_would_want_next_ends_the_process() {
    let session = Session::begin();
    let calls = [
        ("execve", libc::SYS_execve),
        ("execveat", libc::SYS_execveat),
        ("ptrace", libc::SYS_ptrace),
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("process_vm_writev", libc::SYS_process_vm_writev),
        ("mount", libc::SYS_mount),
        ("umount2", libc::SYS_umount2),
        ("move_mount", libc::SYS_move_mount),
        ("pivot_root", libc::SYS_pivot_root),
        ("chroot", libc::SYS_chroot),
        ("setns", libc::SYS_setns),
        ("unshare", libc::SYS_unshare),
        ("init_module", libc::SYS_init_module),
        ("finit_module", libc::SYS_finit_module),
        ("kexec_load", libc::SYS_kexec_load),
        ("reboot", libc::SYS_reboot),
        ("swapon", libc::SYS_swapon),
        ("keyctl", libc::SYS_keyctl),
        ("setuid", libc::SYS_setuid),
        ("setgroups", libc::SYS_setgroups),
        ("clock_settime", libc::SYS_clock_settime),
        ("syslog", libc::SYS_syslog),
    ];
    for (name, number) in calls {
        // No argument is one that would do harm if the call were made.
        let (said, status) = confined(session.folder(), || call(number, [1, 1, 1, 1]));
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{name}: {said}, {status:?}");
    }
}

#[test]
fn what_is_not_needed_is_refused_and_the_process_goes_on() {
    let session = Session::begin();
    let eperm = libc::EPERM.to_string();
    let enosys = libc::ENOSYS.to_string();
    let on_main =
        |number, arguments: [libc::c_long; 4]| confined(session.folder(), move || call(number, arguments)).0;
    let on_working = |number, arguments: [libc::c_long; 4]| {
        confined(session.folder(), move || threads::working(move || call(number, arguments)).unwrap()).0
    };
    let on_loading = |number, arguments: [libc::c_long; 4]| {
        confined(session.folder(), move || threads::loading(move || call(number, arguments)).unwrap()).0
    };
    for (what, got, wanted) in [
        ("io_uring_setup", on_main(libc::SYS_io_uring_setup, [1, 0, 0, 0]), &enosys),
        ("userfaultfd", on_main(libc::SYS_userfaultfd, [0; 4]), &enosys),
        ("clone3", on_main(libc::SYS_clone3, [0; 4]), &enosys),
        ("a number of the future", on_main(1_000_000, [0; 4]), &enosys),
        // BPF_PROG_LOAD.
        ("bpf of the main thread", on_main(libc::SYS_bpf, [5, 0, 0, 0]), &eperm),
        ("bpf of a worker", on_working(libc::SYS_bpf, [5, 0, 0, 0]), &eperm),
        ("BPF_MAP_GET_FD_BY_ID", on_working(libc::SYS_bpf, [14, 0, 0, 0]), &eperm),
        ("perf_event_open of a worker", on_working(libc::SYS_perf_event_open, [0; 4]), &eperm),
        ("open_by_handle_at of a worker", on_working(libc::SYS_open_by_handle_at, [0; 4]), &eperm),
        ("kill", on_main(libc::SYS_kill, [1, 0, 0, 0]), &eperm),
        ("kill of a worker", on_working(libc::SYS_kill, [1, 0, 0, 0]), &eperm),
        ("a fork", on_main(libc::SYS_clone, [libc::c_long::from(libc::SIGCHLD), 0, 0, 0]), &eperm),
        ("a raw socket", on_working(libc::SYS_socket, [17, 3, 0, 0]), &libc::EAFNOSUPPORT.to_string()),
        ("a socket of the main thread", on_main(libc::SYS_socket, [2, 1, 0, 0]), &eperm),
        ("a connection of the loader", on_loading(libc::SYS_connect, [0; 4]), &eperm),
        ("PR_SET_DUMPABLE", on_main(libc::SYS_prctl, [4, 1, 0, 0]), &eperm),
        ("writable code", on_main(libc::SYS_mmap, [0, 4096, 7, 0x22]), &eperm),
        ("code that was written", on_main(libc::SYS_mprotect, [0, 4096, 5, 0]), &eperm),
    ] {
        assert_eq!(&got, wanted, "{what}");
    }
    // The same calls, where and as they are needed. Newer kernels look at the number of instructions before the licence.
    let refused = on_loading(libc::SYS_bpf, [5, 0, 0, 0]);
    let by_the_call = [libc::E2BIG, libc::EFAULT].map(|errno| errno.to_string());
    assert!(by_the_call.contains(&refused), "a program of no instructions: {refused}");
    assert_eq!(on_working(libc::SYS_socket, [2, 1, 0, 0]), "ok");
    assert_eq!(on_main(libc::SYS_mmap, [0, 4096, 3, 0x22]), "ok");
}

/// Does something in a folder.
type Attempt = fn(&Path) -> io::Result<()>;

#[test]
fn files_are_written_where_they_belong_and_nowhere_else() {
    let session = Session::begin();
    let (own, other) = (session.path("own"), session.path("other"));
    for folder in [&own, &other] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("there"), "there").unwrap();
    }
    let eacces = libc::EACCES.to_string();
    let try_on_worker = |attempt: Attempt, folder: &Path| {
        let folder = folder.to_owned();
        let (said, status) =
            confined(&own, move || threads::working(move || told(attempt(&folder))).unwrap());
        assert!(status.success(), "{status:?}");
        said
    };
    let attempts: [(&str, Attempt); 7] = [
        ("making", |folder| fs::write(folder.join("made"), "x")),
        ("changing", |folder| fs::OpenOptions::new().append(true).open(folder.join("there")).map(drop)),
        ("emptying", |folder| File::create(folder.join("there")).map(drop)),
        ("renaming", |folder| fs::rename(folder.join("there"), folder.join("then"))),
        ("a folder", |folder| fs::create_dir(folder.join("folder"))),
        ("replacing", |folder| {
            fs::write(folder.join("new"), "x")
                .and_then(|()| fs::rename(folder.join("new"), folder.join("then")))
        }),
        ("removing", |folder| {
            let renamed = folder.join("then");
            fs::remove_file(if renamed.exists() { renamed } else { folder.join("there") })
        }),
    ];
    for (what, attempt) in attempts {
        assert_eq!(try_on_worker(attempt, &own), "ok", "{what}");
        if has_landlock() {
            assert_eq!(try_on_worker(attempt, &other), eacces, "{what}");
        }
    }
    let left: Vec<_> = fs::read_dir(&other).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(left == ["there"] || !has_landlock(), "{left:?}");
    // Reading is another matter: what is profiled may be anywhere.
    assert_eq!(try_on_worker(|folder| fs::read(folder.join("there")).map(drop), &other), "ok");
    // Where Landlock cannot be, the filter lets nothing be written at all.
    let path = own.join("by-main");
    let (said, _) = confined(&own, move || told(fs::write(&path, "x")));
    assert_eq!(said, libc::EPERM.to_string());
    let path = own.clone();
    let (said, _) =
        confined(&own, move || threads::loading(move || told(fs::write(path.join("x"), "x"))).unwrap());
    assert_eq!(said, libc::EPERM.to_string());
}

#[test]
fn other_users_processes_are_looked_at_by_those_who_may() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let maps = format!("/proc/{}/maps", target.pid());
    let (by_itself, opened) = (maps.clone(), maps.clone());
    // As root the worker is the target's user; what it lacks are the target's capabilities, and ptrace(2) asks for those.
    let (said, _) =
        confined(session.folder(), move || threads::working(move || told(File::open(by_itself))).unwrap());
    assert_eq!(said, libc::EACCES.to_string());
    let (said, _) = confined(session.folder(), move || {
        let read = move || {
            let mut text = String::new();
            let mut file = threads::open(Path::new(&opened))?;
            file.read_to_string(&mut text).map(|_| text)
        };
        threads::working(read).unwrap().unwrap_or_else(|error| error.to_string())
    });
    assert!(said.contains("chain-pie"), "{said}");
    let (said, _) = confined(session.folder(), move || told(File::open(maps)));
    assert_eq!(said, "ok", "the main thread opens them itself");
}

#[test]
fn on_a_kernel_without_landlock_the_rest_holds() {
    let session = Session::begin();
    let file = session.path("by-main");
    let without = || {
        // As a kernel answers that has none, and one that was told to use none.
        let mut filter = Filter::new(Action::Allow);
        let none = Rule::Always(Action::Refuse(libc::EOPNOTSUPP));
        filter.set(&[libc::SYS_landlock_create_ruleset], &none);
        caps::no_new_privileges().and_then(|()| filter.install(Reach::AllThreads, Told::Nobody)).unwrap();
    };
    let (said, status) = confined_after(session.folder(), without, move || {
        let by_main = told(fs::write(file, "x"));
        let bpf = threads::working(|| call(libc::SYS_bpf, [5, 0, 0, 0])).unwrap();
        let in_force = confine::in_force().map(ToString::to_string).unwrap_or_default();
        format!("{by_main} {bpf} {in_force}")
    });
    assert!(status.success(), "{status:?}");
    assert!(said.starts_with("1 1 seccomp, no Landlock, no new privileges; "), "{said}");
    assert!(said.contains("; working: CAP_DAC_READ_SEARCH"), "{said}");
}

#[test]
fn a_process_is_confined_once() {
    let session = Session::begin();
    let folder = session.folder().to_owned();
    let (said, _) = confined(session.folder(), move || {
        let plan = Plan { folders: vec![Folder::of_files(&folder)], main_writes: true, low_port: false };
        confine::begin(&plan).map_or_else(|error| error.to_string(), |_| "twice".to_owned())
    });
    assert_eq!(said, "the process is confined already");
}

#[test]
fn readers_drop_what_they_do_not_need() {
    let session = Session::begin();
    Profiler::new(session.folder(), ["record", "-d", "1s", "-o", "x.pb.gz"]).run().assert_success();
    // A reader that waits: its input is a pipe that nobody writes to.
    let pipe = session.path("pipe");
    let name = CString::new(pipe.to_str().unwrap()).unwrap();
    // SAFETY: the name ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let reader = Profiler::new(session.folder(), ["top", "pipe"]).start();
    // DAC_OVERRIDE, DAC_READ_SEARCH, NET_BIND_SERVICE.
    wait_until("fewer capabilities", || {
        threads_of(reader.pid()).first().is_some_and(|(_, status)| mask(status, "CapPrm") == 0b100_0000_0110)
    });
    let bytes = fs::read(session.path("x.pb.gz")).unwrap();
    fs::write(&pipe, bytes).unwrap();
    reader.finish().assert_success();
}
