//! What confined threads and processes can do and cannot: tried in forked children that confine themselves as the agent does.
#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use profiler_tests::{Program, Session, Target};
use profiler_user::confine::{self, Folder, Plan, apart, threads};
use profiler_user::sys::seccomp::{Action, Filter, Reach, Rule, Told};
use profiler_user::sys::{caps, limits, passing};

/// Whether the kernel that the tests run on has Landlock.
fn has_landlock() -> bool {
    profiler_user::sys::landlock::abi().is_some()
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
    confined_with(folder, before, None, attempt)
}

/// Likewise, with something that is done in a process of its own.
fn confined_with(
    folder: &Path,
    before: impl FnOnce(),
    beside: Option<apart::Work>,
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
        if let Some(work) = beside
            && let Err(error) = apart::start(work, 64 << 20)
        {
            let _ = writeln!(writer, "nothing beside: {error}");
        }
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

/// What a reader tries that was taken over: its answer to a path that it is sent.
fn try_everything(socket: UnixStream) {
    let Ok(Some((path, _))) = passing::receive(&socket, 1000) else { return };
    let path = Path::new(std::str::from_utf8(&path).unwrap_or_default());
    let mut said = vec![
        call(libc::SYS_socket, [2, 1, 0, 0]),
        call(libc::SYS_socketpair, [1, 1, 0, 0]),
        call(libc::SYS_connect, [3, 0, 0, 0]),
        call(libc::SYS_clone, [libc::c_long::from(libc::SIGCHLD), 0, 0, 0]),
        call(libc::SYS_clone, [0x50f00, 0, 0, 0]),
        call(libc::SYS_bpf, [1, 0, 0, 0]),
        call(libc::SYS_perf_event_open, [0; 4]),
        call(libc::SYS_kill, [1, 0, 0, 0]),
        call(libc::SYS_memfd_create, [0; 4]),
        call(libc::SYS_open_by_handle_at, [0; 4]),
        call(libc::SYS_ioctl, [0, 0x5401, 0, 0]),
        told(fs::write(path.join("x"), "x")),
        told(fs::remove_dir(path)),
        // That of the keeper, which has the same user and no more capabilities.
        told(File::open("/proc/1/maps")),
    ];
    said.push(told(fs::read_dir(path)));
    // More memory than it was given at the start.
    let asked = limits::set_growth(1 << 40);
    said.push(format!("{:?} {}", asked.is_ok(), Vec::<u8>::new().try_reserve_exact(128 << 20).is_ok()));
    let _ = passing::send(&socket, said.join(" ").as_bytes(), None);
}

#[test]
fn what_reads_in_a_process_of_its_own_can_do_nothing_else() {
    let session = Session::begin();
    let folder = session.folder().to_owned();
    let (said, status) = confined_with(
        session.folder(),
        || {},
        Some(try_everything),
        move || {
            let Some(Ok(socket)) = apart::connect() else { return "no connection".to_owned() };
            let path = folder.to_string_lossy().into_owned();
            let sent = passing::send(&socket, path.as_bytes(), None);
            let answer = sent.and_then(|()| passing::receive(&socket, 1000));
            format!("{}", String::from_utf8_lossy(&answer.ok().flatten().unwrap_or_default().0))
        },
    );
    assert!(status.success(), "{status:?}");
    let mut wanted = vec![libc::EPERM.to_string(); 14];
    wanted[13] = libc::EACCES.to_string();
    wanted.extend(["ok", "true", "false"].map(str::to_owned));
    assert_eq!(said.split(' ').collect::<Vec<_>>(), wanted);
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
