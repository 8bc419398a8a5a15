//! Unwind tables on disk: a later run takes them from there, and whatever is wrong with them costs nothing but time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use profiler_tests::shape::{assert_all, check, name_libc};
use profiler_tests::{Bare, Finished, Pprof, Profiler, Session, Shape, Target, folder};

/// What a run says of the cache at its end.
#[derive(Debug, Default)]
struct Cache {
    hits: u64,
    misses: u64,
    bytes_written: u64,
    damaged: u64,
}

impl Cache {
    fn of(run: &Finished) -> Cache {
        let cache = Cache::parse(&run.stderr);
        run.check(cache.is_some(), "figures of the cache were expected");
        cache.unwrap_or_default()
    }

    fn parse(log: &str) -> Option<Cache> {
        let line = log.lines().rfind(|line| line.contains("unwind tables at the end"))?;
        let number = |name: &str| -> Option<u64> {
            let (_, behind) = line.split_once(&format!(" {name}: "))?;
            behind.split(|char: char| !char.is_ascii_digit()).next()?.parse().ok()
        };
        Some(Cache {
            hits: number("hits")?,
            misses: number("misses")?,
            bytes_written: number("bytes_written")?,
            damaged: number("damaged")?,
        })
    }
}

/// A program that is in libc's qsort most of the time, so that its stacks need libc's rows.
fn sorting() -> Target {
    Target::start(&Bare::calls().build(), &["sort"])
}

/// Records it and checks its stacks.
fn record(session: &Session, target: &Target, args: &[&str]) -> Finished {
    let pid = target.pid_label();
    let run = ["-vv", "record", "-F", "499", "-d", "4s", "-o", "x.pb.gz", "-p", &pid];
    let run = Profiler::new(session.folder(), run.iter().chain(args)).run();
    run.assert_success();
    let mut profile = Pprof::read(&session.path("x.pb.gz"));
    name_libc(&mut profile);
    let shapes = [
        Shape::new().maybe(&["compare_leaf"]).name("compare").library("libc.so", 1..=40).name("sort_step"),
        Shape::new().library("libc.so", 0..=40).name("sort_step"),
    ]
    .map(|shape| shape.name("main").from_start());
    assert_all([check("sort", &profile.of_pid(target.pid()), &shapes)]);
    run
}

fn entries(cache: &Path) -> Vec<PathBuf> {
    let entries = folder::files(cache);
    assert!(
        entries.iter().all(|entry| entry.extension().is_some_and(|ending| ending == "rows")),
        "{entries:?}"
    );
    entries
}

#[test]
fn the_second_recording_takes_the_tables_of_the_first() {
    let session = Session::begin();
    let target = sorting();
    let args = ["--unwind-cache", "cache"];
    let run = record(&session, &target, &args);
    let first = Cache::of(&run);
    run.check(first.hits == 0 && first.misses > 0 && first.bytes_written > 0, "tables are built and written");
    let run = record(&session, &target, &args);
    let second = Cache::of(&run);
    run.check(second.hits > 0 && second.hits > second.misses, "tables come from the cache");
    run.check(second.bytes_written == 0 && second.damaged == 0, "nothing is written again");
}

#[test]
fn a_damaged_cache_gives_the_same_stacks() {
    let session = Session::begin();
    let target = sorting();
    let args = ["--unwind-cache", "cache"];
    record(&session, &target, &args);
    let cache = session.path("cache");
    // In the head, in the last row, cut short, and nothing at all.
    let damages: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes[40] ^= 1,
        |bytes| *bytes.last_mut().expect("an entry") ^= 1,
        |bytes| bytes.truncate(bytes.len() / 2),
        Vec::clear,
    ];
    for damage in damages {
        let entries = entries(&cache);
        assert!(!entries.is_empty());
        for entry in entries {
            let mut bytes = fs::read(&entry).expect("an entry");
            damage(&mut bytes);
            fs::write(&entry, bytes).expect("an entry");
        }
        let run = record(&session, &target, &args);
        let figures = Cache::of(&run);
        run.check(figures.damaged > 0 && figures.misses > 0, "the damage is found");
        run.check(figures.bytes_written > 0, "the tables are written again");
    }
}

#[test]
fn the_agent_leaves_its_tables_to_others() {
    let session = Session::begin();
    let target = sorting();
    let args = ["-vv", "agent", "-o", "out", "--window", "1s", "-F", "99", "--unwind-cache", "cache"];
    let mut agent = Profiler::new(session.folder(), args).start();
    agent.wait_until_sampling();
    // At the end of a window they are written, so SIGKILL later takes nothing away.
    let cache = session.path("cache");
    for _ in 0..600 {
        if fs::read_dir(&cache).is_ok_and(|entries| entries.count() > 0) {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    agent.signal(libc::SIGKILL);
    agent.finish();
    let run = record(&session, &target, &["--unwind-cache", "cache"]);
    let figures = Cache::of(&run);
    run.check(figures.hits > 0 && figures.damaged == 0, "tables come from the cache");
}

#[test]
fn two_recordings_share_a_cache() {
    let session = Session::begin();
    let target = sorting();
    let pid = target.pid_label();
    let start = |output: &'static str| {
        let args = ["-vv", "record", "-d", "2s", "-o", output, "-p", &pid, "--unwind-cache", "cache"];
        Profiler::new(session.folder(), args).start()
    };
    let runs = [start("x.pb.gz"), start("y.pb.gz")];
    for run in runs {
        let run = run.finish();
        run.assert_success().check(Cache::of(&run).damaged == 0, "nothing is damaged");
    }
    let run = record(&session, &target, &["--unwind-cache", "cache"]);
    let figures = Cache::of(&run);
    run.check(figures.hits > 0 && figures.damaged == 0, "tables come from the cache");
}

#[test]
fn a_recording_does_without_a_cache_that_cannot_be_trusted() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let session = Session::begin();
    let target = sorting();
    let open = session.path("open");
    fs::create_dir(&open).expect("a folder");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("its permissions");
    fs::create_dir(session.path("real")).expect("a folder");
    symlink(session.path("real"), session.path("link")).expect("a link");
    for (cache, named) in [("open", "other users"), ("link", "symbolic link"), ("/proc/cache", "permissions")]
    {
        let run = record(&session, &target, &["--unwind-cache", cache]);
        let warnings: Vec<&str> = run.stderr.lines().filter(|line| line.contains(" WARN ")).collect();
        run.check(
            warnings.len() == 1 && warnings[0].contains(named) && warnings[0].contains("--unwind-cache"),
            &format!("one warning that names {named:?} was expected"),
        );
        run.check(Cache::of(&run).hits + Cache::of(&run).misses == 0, "there is no cache");
    }
    assert!(folder::files(&open).is_empty() && folder::files(&session.path("real")).is_empty());
    let run = record(&session, &target, &["--unwind-cache", "none", "--unwind-cache-size", "0"]);
    run.check(!session.path("none").exists(), "a size of 0 is no cache");
}
