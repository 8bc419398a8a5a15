//! Real processes: this one, and children that may be gone when they are looked at.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::*;
use crate::process::start_ns;
use crate::{
    capture::{Sideband, sideband::Kind},
    sys::perf_ring::quiet,
};

fn own_key() -> ProcessKey {
    ProcessKey { start_ns: start_ns(std::process::id()).unwrap(), pid: std::process::id(), exec_id: 1 }
}

#[test]
fn this_process_is_found_with_its_main_binary() {
    let mut table = Table::new();
    let process = table.get(&own_key());
    let main = &process.mappings[process.main.unwrap()];
    let Area::Object(object) = &main.area else { panic!("the main binary is a file") };
    assert_eq!(object.path, std::env::current_exe().unwrap().to_string_lossy());
    let here = own_key as fn() -> ProcessKey as usize as u64;
    assert_eq!(process.find(here), process.main);
    assert_eq!(process.find(0), None);
}

#[test]
fn another_process_with_the_same_pid_has_no_mappings() {
    let key = ProcessKey { start_ns: 1, ..own_key() };
    let mut table = Table::new();
    assert!(table.get(&key).mappings.is_empty());
    assert!(!table.refresh(&key));
}

#[test]
fn processes_are_forgotten_after_a_while() {
    let mut table = Table::new();
    table.get(&own_key());
    for _ in 0..IDLE_WINDOWS {
        table.end_window();
    }
    assert_eq!(table.len(), 1);
    table.end_window();
    assert!(table.is_empty());
}

/// Ends with every process that was heard of, and who they were: (pid, time of the fork).
fn hear(sideband: &mut Sideband, table: &mut Table) -> Vec<(u32, u64)> {
    let mut forks = Vec::new();
    sideband.drain(|event| {
        if let Kind::Fork { pid, ppid, .. } = event.kind
            && pid != ppid
        {
            forks.push((pid, event.time_ns));
        }
        table.apply(event);
    });
    forks
}

fn info() -> ProcessInfo {
    ProcessInfo {
        name: *b"test\0\0\0\0\0\0\0\0\0\0\0\0",
        cgroup_id: 1,
        forked_as: profiler_common::layout::NO_EXEC_ID,
        image_of: 0,
        lost: 0,
    }
}

/// Runs a command to its end; returns its pid.
fn run(program: &str, arguments: &[&str]) -> u32 {
    let mut child = Command::new(program).args(arguments).stdout(Stdio::null()).spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

/// What files a process has mapped.
fn objects(process: &Process) -> Vec<&Object> {
    let object = |mapping| match mapping {
        &Mapping { area: Area::Object(ref object), .. } => Some(&**object),
        Mapping { area: Area::Anonymous(_), .. } => None,
    };
    process.mappings.iter().filter_map(object).collect()
}

/// A process's files as /proc would have told them: name, build-id, whether it is open.
fn check_command(process: &Process, name: &str) {
    let objects = objects(process);
    let main = &process.mappings[process.main.unwrap()];
    let Area::Object(main) = &main.area else { panic!("the main binary is a file") };
    assert!(main.path.ends_with(name), "{main:?}");
    assert!(objects.iter().any(|object| object.path.contains("/libc")), "{objects:?}");
    assert!(objects.iter().any(|object| object.path == "[vdso]"), "{objects:?}");
    for object in objects {
        assert!(object.file.is_some() && !object.build_id.is_empty(), "{object:?}");
    }
}

#[test]
fn a_command_that_is_gone_is_named_by_what_was_heard() {
    let _quiet = quiet();
    let mut sideband = Sideband::open().unwrap();
    let mut table = Table::new();
    let pid = run("sleep", &["0"]);
    let forks = hear(&mut sideband, &mut table);
    let start_ns = forks.iter().find(|fork| fork.0 == pid).unwrap().1;
    let key = ProcessKey { start_ns, pid, exec_id: 9 };
    table.first_sight(key, &info(), None);
    let process = table.get(&key);
    assert_eq!(process.name, "test");
    check_command(&process, "/sleep");
    // Not announced, it has the name of its thread.
    let mut table = Table::new();
    assert!(table.get(&key).mappings.is_empty());
    // It ends with the window after the one in which it was asked for last.
    let mut sideband = Sideband::open().unwrap();
    let pid = run("sleep", &["0"]);
    let forks = hear(&mut sideband, &mut table);
    let start_ns = forks.iter().find(|fork| fork.0 == pid).unwrap().1;
    let key = ProcessKey { start_ns, pid, exec_id: 9 };
    assert_eq!(table.get(&key).name, "sleep");
    let before = table.len();
    table.end_window();
    assert_eq!(table.len(), before);
    table.end_window();
    assert_eq!(table.len(), before - 1);
}

#[test]
fn what_was_known_before_the_announcement_is_kept_for_its_samples() {
    let mut table = Table::new();
    let key = own_key();
    let before = table.get(&key);
    let announced = table.first_sight(key, &info(), None);
    assert_ne!(before.generation, announced.generation);
    let replaced = table.take_replaced();
    assert_eq!(replaced.len(), 1);
    assert_eq!((replaced[0].0, replaced[0].1.generation), (key, before.generation));
}

#[test]
fn a_command_that_lives_shows_its_files_without_its_maps() {
    let _quiet = quiet();
    let mut sideband = Sideband::open().unwrap();
    let mut table = Table::new();
    // It is past its dynamic linker once it has copied something.
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    hear(&mut sideband, &mut table);
    let key = ProcessKey { start_ns: start_ns(child.id()).unwrap(), pid: child.id(), exec_id: 9 };
    let told = table.tracker.sampled(&key).unwrap();
    assert!(told.complete && told.current);
    let heard = table.get(&key);
    check_command(&heard, "/cat");
    let (read, main) = table.read_mappings(&key);
    let show = |mappings: &[Mapping]| -> Vec<String> {
        let is_code =
            |mapping: &&Mapping| !matches!(&mapping.area, Area::Anonymous(name) if name == "[vsyscall]");
        mappings
            .iter()
            .filter(is_code)
            .map(|mapping| {
                let Area::Object(object) = &mapping.area else { return format!("{mapping:?}") };
                format!("{:x} {:x} {:x} {}", mapping.start, mapping.end, mapping.offset, object.id)
            })
            .collect()
    };
    assert_eq!(show(&heard.mappings), show(&read));
    assert_eq!(heard.main, main);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_fork_that_is_gone_has_what_its_parent_has() {
    let _quiet = quiet();
    let mut sideband = Sideband::open().unwrap();
    let mut table = Table::new();
    // SAFETY: the child does nothing but end.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: no status is asked for.
    assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }, pid);
    let pid = u32::try_from(pid).unwrap();
    let forks = hear(&mut sideband, &mut table);
    let start_ns = forks.iter().find(|fork| fork.0 == pid).unwrap().1;
    let process = table.get(&ProcessKey { start_ns, pid, exec_id: 9 });
    let own = table.get(&own_key());
    let starts = |process: &Process| process.mappings.iter().map(|mapping| mapping.start).collect::<Vec<_>>();
    assert_eq!(starts(&process), starts(&own));
    assert_eq!(process.main, own.main);
}

#[test]
fn mappings_that_were_read_after_an_exec_are_not_those_of_the_image_before() {
    let mut table = Table::new();
    let key = own_key();
    assert!(!table.get(&key).mappings.is_empty());
    let exec = |time_ns| Event {
        time_ns,
        kind: Kind::Comm { pid: key.pid, tid: key.pid, exec: true, name: b"other" },
    };
    // Told only now, but it was before /proc was read.
    assert_eq!(table.apply(&exec(key.start_ns)), Some(key));
    assert!(table.get(&key).mappings.is_empty());
    let next = ProcessKey { exec_id: key.exec_id + 1, ..key };
    let mut table = Table::new();
    assert!(!table.get(&key).mappings.is_empty());
    assert_eq!(table.apply(&exec(boottime_ns())), None);
    assert!(!table.get(&key).mappings.is_empty());
    assert!(table.get(&next).mappings.is_empty());
}

#[test]
fn a_fork_older_than_the_agent_had_what_its_parent_has() {
    let _quiet = quiet();
    // Each shell forks another one, which executes something else once it is told to.
    for executed_first in [true, false] {
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec 3<&0; (echo; read x <&3; exec cat <&3) & echo $!; wait"]);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines().map(Result::unwrap);
        let pid = lines.by_ref().take(2).find_map(|line| line.parse().ok()).unwrap();
        let mut sideband = Sideband::open().unwrap();
        let mut table = Table::new();
        let key = ProcessKey { start_ns: start_ns(pid).unwrap(), pid, exec_id: 9 };
        let info = ProcessInfo { forked_as: 9, image_of: shell.id(), ..info() };
        if !executed_first {
            table.first_sight(key, &info, None);
        }
        shell.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        let executed = || std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap() == "cat\n";
        let deadline = Instant::now() + Duration::from_secs(60);
        while !executed() {
            assert!(Instant::now() < deadline, "the shell executes nothing");
            std::thread::sleep(Duration::from_millis(1));
        }
        hear(&mut sideband, &mut table);
        if executed_first {
            table.first_sight(key, &info, None);
        }
        let process = table.get(&key);
        let main = &process.mappings[process.main.unwrap()];
        assert!(matches!(&main.area, Area::Object(object) if object.path.ends_with("sh")), "{main:?}");
        assert_eq!(process.name, "test");
        let next = table.get(&ProcessKey { exec_id: 10, ..key });
        assert_eq!(next.name, "cat");
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }
}

#[test]
fn code_that_is_loaded_later_is_known_at_once() {
    let _quiet = quiet();
    let mut sideband = Sideband::open().unwrap();
    let mut table = Table::new();
    let key = own_key();
    let loaded =
        |process: &Process| objects(process).iter().any(|object| object.path.contains("libBrokenLocale"));
    assert!(!loaded(&table.get(&key)));
    // SAFETY: the name is a valid C string; the library belongs to glibc and does nothing when it is loaded.
    let library = unsafe { libc::dlopen(c"libBrokenLocale.so.1".as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null());
    // Code that is made at run time.
    // SAFETY: a fresh mapping at a place that the kernel chooses.
    let code = unsafe {
        let prot = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        libc::mmap(std::ptr::null_mut(), 4096, prot, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    };
    assert_ne!(code, libc::MAP_FAILED);
    let mut changed = Vec::new();
    sideband.drain(|event| changed.extend(table.apply(event)));
    assert!(changed.len() >= 2 && changed.iter().all(|changed| *changed == key), "{changed:?}");
    let process = table.get(&key);
    assert!(loaded(&process));
    let made = &process.mappings[process.find(code as u64).unwrap()];
    assert!(matches!(&made.area, Area::Anonymous(name) if name == "[anon]"), "{made:?}");
    let main = &process.mappings[process.main.unwrap()];
    assert!(
        matches!(&main.area, Area::Object(object) if object.path == std::env::current_exe().unwrap().to_string_lossy())
    );
}

#[test]
fn a_thousand_short_lives_leave_nothing() {
    let _quiet = quiet();
    let mut sideband = Sideband::open().unwrap();
    let mut table = Table::new();
    let mut heard = 0;
    for _ in 0..20 {
        for _ in 0..50 {
            run("true", &[]);
        }
        heard += hear(&mut sideband, &mut table).len();
    }
    assert!(heard >= 1000, "{heard}");
    assert_eq!((sideband.lost(), table.refused()), (0, 0));
    for _ in 0..3 {
        table.end_window();
    }
    // This process, which is their parent, and what else happens to run on this machine.
    assert!(table.heard_of() < 200, "{}", table.heard_of());
}

#[test]
fn what_is_gone_stays_where_nothing_else_is_mapped() {
    let mapping = |start, end| Mapping { start, end, offset: 0, area: Area::Anonymous("[anon]".to_owned()) };
    let before = vec![
        mapping(0x1000, 0x2000),
        mapping(0x3000, 0x5000),
        mapping(0x6000, 0x7000),
        mapping(0x9000, 0xa000),
    ];
    let now = vec![mapping(0x2000, 0x3000), mapping(0x4000, 0x6000), mapping(0x8000, 0x9000)];
    let all: Vec<(u64, u64)> =
        with_gone(now, before).iter().map(|mapping| (mapping.start, mapping.end)).collect();
    let expected = [
        (0x1000, 0x2000),
        (0x2000, 0x3000),
        (0x4000, 0x6000),
        (0x6000, 0x7000),
        (0x8000, 0x9000),
        (0x9000, 0xa000),
    ];
    assert_eq!(all, expected);
}

#[test]
fn threads_of_the_kernel_are_told_from_programs() {
    // kthreadd, where this is the first pid namespace.
    let is_kthreadd = fs::read_to_string("/proc/2/comm").is_ok_and(|name| name == "kthreadd\n");
    assert_eq!(is_kernel_thread(2), is_kthreadd);
    assert!(!is_kernel_thread(std::process::id()) && !is_kernel_thread(u32::MAX));
}
