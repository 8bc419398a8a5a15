//! Every class of system calls that the agent makes fails, at its start and while it runs.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use profiler_tests::bpf::BpfObjects;
use profiler_tests::faults::{self, Fault};
use profiler_tests::{Agent, Pprof, Profiler, Program, Session, Target, folder};

/// What shows that calls failed while the agent ran.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shows {
    /// This counter rises.
    Counter(&'static str),
    /// Nothing is lost by it, so nothing is counted.
    Nothing,
}
use Shows::{Counter, Nothing};

const SYNCING: &str = "fsync,sync_file_range";
const UNWRITTEN: Shows = Counter("profiler_profile_write_errors_total");
const REFUSED: Shows = Counter("profiler_window_refusals_total");

/// While the agent runs: the call, how it fails, and what shows it. That it never does again for a second is the permanent
/// failure, that it does then is the temporary one.
///
/// Not here: calls with which a real kernel does not fail that way (epoll_wait, eventfds), and those that it makes at its
/// start only.
const RUNNING: [(&str, &str, Shows); 10] = [
    ("bpf", "error=ENOMEM", REFUSED),
    ("bpf", "error=EPERM", REFUSED),
    ("openat", "error=EMFILE", UNWRITTEN),
    ("openat", "error=ENOMEM", UNWRITTEN),
    ("openat", "error=EIO", UNWRITTEN),
    ("mkdir", "error=ENOSPC", UNWRITTEN),
    ("getdents64", "error=EIO", UNWRITTEN),
    // Which of them it waits by is the file system's.
    (SYNCING, "error=EIO", UNWRITTEN),
    // They are called again.
    (SYNCING, "error=EINTR:when=2+2", Nothing),
    ("renameat2", "error=ENOSPC", UNWRITTEN),
];

/// Likewise, of calls that read and wait.
const READING: [(&str, &str, Shows); 7] = [
    ("read", "error=EIO", Nothing),
    ("pread64", "error=EIO", Nothing),
    ("lseek", "error=EIO", Nothing),
    ("statx", "error=EIO", Nothing),
    ("mmap", "error=ENOMEM", Nothing),
    ("poll", "error=ENOMEM", Nothing),
    ("membarrier", "error=EPERM", Nothing),
];

#[test]
fn while_running_every_class_of_calls_may_fail() {
    run_beside(&RUNNING);
}

#[test]
fn while_running_reads_may_fail() {
    run_beside(&READING);
}

fn run_beside(cases: &[(&str, &str, Shows)]) {
    let session = Session::begin();
    let chain = Program::Pie.build();
    let old = Target::start(&chain, &["burn"]);
    let mut agent = Agent::start(&session, &[]);
    agent.assert_right("before", old.pid());
    for (number, &(call, how, shows)) in cases.iter().enumerate() {
        let what = format!("{call} {how}");
        let before = if let Counter(name) = shows { agent.metric(name) } else { 0.0 };
        let fault = Fault::begin(&session, agent.pid(), call, how);
        // Another file, so that there is something to look at, to open and to read.
        let copy = session.path(&format!("chain-{number}"));
        assert!(std::fs::copy(&chain, &copy).is_ok(), "{}", copy.display());
        let new = Target::start(&copy, &["burn"]);
        std::thread::sleep(Duration::from_millis(700));
        let failed = fault.wait_for(1, Duration::from_secs(10));
        if let Counter(name) = shows {
            // The first call that fails need not be the one that is counted; and some is told by a window that ends later.
            let deadline = Instant::now() + Duration::from_secs(5);
            while agent.metric(name) <= before && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        drop(fault);
        assert!(failed > 0, "{what}: the agent made no such call");
        agent.assert_right(&what, old.pid());
        agent.wait_until_right(&format!("{what}, seen first while it failed"), new.pid());
        if let Counter(name) = shows {
            assert!(agent.metric(name) > before, "{what}: {name} has not risen");
        }
    }
    let held = agent.held();
    assert!(held.files < 200, "{held:?}");
    agent.finish();
}

/// While it starts: the call, the error, and which of a thread's calls fail; `1+` are all.
///
/// Not here: write, by which threads also wake each other through eventfds, where no kernel lacks room. What a disk without
/// room does is in faults_host.rs.
const STARTING: [(&str, &str, &[&str]); 23] = [
    ("bpf", "ENOMEM", &["1", "2", "5", "11", "20", "30", "45", "60", "1+"]),
    ("bpf", "EPERM", &["1", "12", "40"]),
    ("perf_event_open", "EMFILE", &["1", "2", "3", "4"]),
    ("perf_event_open", "ENOMEM", &["1", "3"]),
    ("perf_event_open", "EPERM", &["1", "3"]),
    ("openat", "EMFILE", &["12+", "25+", "40+", "60+"]),
    ("openat", "EIO", &["12+3", "30+7"]),
    ("openat", "EINTR", &["12+2"]),
    ("read", "EIO", &["10+", "12+5"]),
    ("pread64", "EIO", &["10+"]),
    ("mmap", "ENOMEM", &["22", "22+9"]),
    ("ioctl", "EIO", &["1", "2+"]),
    ("clone3", "EAGAIN", &["1", "2", "3"]),
    // Once it is confined: its filter has no clone3.
    ("clone", "EAGAIN", &["1", "2"]),
    ("epoll_create1", "EMFILE", &["1"]),
    ("eventfd2", "EMFILE", &["1", "2"]),
    ("socketpair", "EMFILE", &["1"]),
    ("socket", "EMFILE", &["1+"]),
    ("bind", "EADDRINUSE", &["1+"]),
    ("mkdir", "ENOSPC", &["1+"]),
    ("unlink", "EPERM", &["1+"]),
    ("fsync", "EIO", &["1+"]),
    ("rename", "ENOSPC", &["1+"]),
];

#[test]
fn at_the_start_every_class_of_calls_may_fail() {
    let session = Session::begin();
    let cases: Vec<(&str, String)> = STARTING
        .into_iter()
        .flat_map(|(call, error, all)| {
            all.iter().map(move |when| (call, format!("error={error}:when={when}")))
        })
        .collect();
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    // Several at a time, for a traced process mostly waits for strace.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((call, how)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = starts_or_says_why(&session, call, how) {
                        wrong.lock().expect("the list").push(format!("{call} {how}: {why}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("the list");
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// A recording that does what it was asked for, or that says in a sentence why it does not.
fn starts_or_says_why(session: &Session, call: &str, how: &str) -> Result<(), String> {
    let folder = session.path(&format!("{call}-{how}"));
    std::fs::create_dir(&folder).map_err(|error| error.to_string())?;
    let log = folder.join("strace");
    // What cargo tells the dynamic linker makes it look in a hundred folders, whose calls would count.
    let words = [
        vec!["env".to_owned(), "-u".to_owned(), "LD_LIBRARY_PATH".to_owned()],
        faults::wrapper(&log, call, how),
    ];
    let words: Vec<&str> = words.iter().flatten().map(String::as_str).collect();
    let args = ["record", "-d", "200ms", "-F", "99", "-o", "out/", "--unwind-cache", "cache"];
    let run = Profiler::wrapped(&folder, &words, args).run();
    let ensure = |holds: bool, what: &str| if holds { Ok(()) } else { Err(format!("{what}\n{run}")) };
    ensure(faults::injected(&log) > 0, "no call failed: the case tests nothing")?;
    ensure(!run.stderr.contains("panicked"), "it panicked")?;
    for file in folder::profiles(&folder) {
        Pprof::try_read(&file).map_err(|why| format!("{}: {why}", file.display()))?;
    }
    // What could not be removed then is removed by the next start.
    let torn = folder::files(&folder).into_iter().any(|file| is_unfinished(&file));
    ensure(!torn || call == "unlink", "something is left unfinished")?;
    let said: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("profiler: ")).collect();
    match run.status.code() {
        Some(0) => Ok(()),
        // One sentence: what failed, why, and after a colon what helps.
        Some(1 | 2) => {
            ensure(said.len() == 1 && said[0].matches(": ").count() >= 2, "a sentence with cause and fix")
        }
        _ => ensure(false, "exit code 0, 1 or 2 was expected"),
    }
}

fn is_unfinished(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".unfinished-"))
}

/// The calls at which a killed agent leaves the most behind: those that make, write, finish and remove files, and those that
/// swap, empty and wait for the banks. With them, how many times each is survived.
const STEPS: [(&str, u32); 9] = [
    ("mkdir", 4),
    ("write", 14),
    (SYNCING, 1),
    (SYNCING, 2),
    (SYNCING, 5),
    ("renameat2", 1),
    ("renameat2", 3),
    ("membarrier", 2),
    ("bpf", 30),
];

#[test]
fn death_at_each_step_leaves_whole_files_and_nothing_in_the_kernel() {
    let session = Session::begin();
    let targets = [(); 3].map(|()| Target::start(&Program::Pie.build(), &["burn"]));
    for (call, when) in STEPS {
        let before = BpfObjects::now();
        let log = session.path("strace-death");
        let words = faults::wrapper(&log, call, &format!("signal=KILL:when={when}"));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let args = ["agent", "-o", "out", "--window", "300ms", "-F", "99", "--unwind-cache", "cache"];
        let run = Profiler::wrapped(session.folder(), &words, args).start().finish();
        run.check(run.status.code().is_none(), &format!("it dies in call {when} of {call}"));
        BpfObjects::now().since(&before).assert_gone();
        let out = session.path("out");
        if out.exists() {
            for file in folder::profiles(&out) {
                Pprof::read(&file);
            }
        }
    }
    // The next start removes what they had begun, and works.
    let mut agent = Agent::start(&session, &[]);
    agent.assert_right("after nine deaths", targets[0].pid());
    agent.finish();
}
