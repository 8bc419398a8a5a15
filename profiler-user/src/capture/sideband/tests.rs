//! Real processes, as the kernel of this machine tells of them. They need the right to open perf events.

use std::process::{Command, Stdio};

use super::*;
use crate::sys::perf_ring::quiet;

/// An event as text, without what differs between runs, for one process.
fn events(sideband: &mut Sideband, pid: u32) -> Vec<String> {
    let mut seen = Vec::new();
    let mut last = 0;
    sideband.drain(|event| {
        assert!(event.time_ns >= last, "in the order of time");
        last = event.time_ns;
        match event.kind {
            Kind::Mmap2 { pid: of, map, .. } if of == pid => {
                seen.push(format!("map {}", String::from_utf8_lossy(map.filename)));
            }
            Kind::Comm { pid: of, exec, name, .. } if of == pid => {
                seen.push(format!(
                    "{} {}",
                    if exec { "exec" } else { "name" },
                    String::from_utf8_lossy(name)
                ));
            }
            Kind::Fork { pid: of, ppid, .. } if of == pid => {
                seen.push(format!("fork {}", if of == ppid { "thread" } else { "process" }));
            }
            Kind::Exit { pid: of, .. } if of == pid => seen.push("exit".to_owned()),
            _ => {}
        }
    });
    seen
}

fn run(program: &str, arguments: &[&str]) -> u32 {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.wait().unwrap();
    child.id()
}

#[test]
fn the_whole_life_of_a_command_in_order() {
    let _quiet = quiet();
    let mut sideband = Sideband::open().unwrap();
    let pid = run("sh", &["-c", "exit 3"]);
    let seen = events(&mut sideband, pid);
    assert_eq!(seen.first().unwrap(), "fork process", "{seen:?}");
    let exec = seen.iter().position(|event| event == "exec sh").unwrap();
    let maps = &seen[exec + 1..seen.len() - 1];
    assert!(maps.iter().all(|map| map.starts_with("map ")), "{seen:?}");
    assert!(maps.iter().any(|map| map.contains("libc")), "{seen:?}");
    // The special mappings are reported like others (__install_special_mapping).
    assert!(maps.iter().any(|map| map == "map [vdso]"), "{seen:?}");
    assert_eq!(seen.last().unwrap(), "exit");
    assert_eq!(sideband.lost(), 0);
}

#[test]
fn a_library_that_is_opened_late_is_told_of() {
    let _quiet = quiet();
    let mut sideband = Sideband::open().unwrap();
    // SAFETY: the name is a valid C string; the library belongs to glibc and does nothing when it is loaded.
    let library = unsafe { libc::dlopen(c"libanl.so.1".as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null());
    let seen = events(&mut sideband, std::process::id());
    assert!(seen.iter().any(|event| event.contains("libanl")), "{seen:?}");
}

#[test]
fn what_a_full_ring_drops_is_counted() {
    let _quiet = quiet();
    let mut sideband = Sideband::open().unwrap();
    // Threads' names are records of about 40 bytes.
    for _ in 0..10_000 {
        // SAFETY: the name is a valid C string.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_NAME, c"storm".as_ptr()) }, 0);
    }
    sideband.drain(|_| {});
    // SAFETY: as above; the record of the loss comes with the next record on that CPU, wherever this thread runs by then.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NAME, c"storm".as_ptr()) }, 0);
    run("true", &[]);
    sideband.drain(|_| {});
    sideband.drain(|_| {});
    assert!(sideband.lost() > 1000, "{}", sideband.lost());
}

#[test]
fn it_is_readable_when_a_ring_is_half_full_and_not_before() {
    let _quiet = quiet();
    let mut sideband = Sideband::open().unwrap();
    let readable = |sideband: &Sideband| {
        let mut fd = libc::pollfd { fd: sideband.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid entry.
        let ready = unsafe { libc::poll(&raw mut fd, 1, 0) };
        ready == 1
    };
    sideband.drain(|_| {});
    assert!(!readable(&sideband));
    for _ in 0..4 * u64::from(WAKEUP_BYTES) / 40 {
        // SAFETY: the name is a valid C string.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_NAME, c"storm".as_ptr()) }, 0);
    }
    assert!(readable(&sideband));
}

#[test]
fn an_event_loop_wakes_once_for_each_filling() {
    use std::time::Duration;

    use tokio::{io::unix::AsyncFd, time::timeout};

    let _quiet = quiet();
    let storm = || {
        for _ in 0..4 * u64::from(WAKEUP_BYTES) / 40 {
            // SAFETY: the name is a valid C string.
            assert_eq!(unsafe { libc::prctl(libc::PR_SET_NAME, c"storm".as_ptr()) }, 0);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // SAFETY: the side-band owns its descriptor and always gives that same one.
        let mut sideband = unsafe { AsyncFd::register(Sideband::open().unwrap()) }.unwrap();
        for _ in 0..3 {
            storm();
            let mut wakes = 0;
            while let Ok(ready) = timeout(Duration::from_millis(100), sideband.readable_mut()).await {
                let mut ready = ready.unwrap();
                ready.get_inner_mut().drain(|_| {});
                ready.clear_ready();
                wakes += 1;
            }
            // The two CPUs that the storm may have run on, and whoever wakes when nothing is left.
            assert!((1..=6).contains(&wakes), "{wakes}");
        }
    });
}
