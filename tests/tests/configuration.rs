//! The agent's configuration: a file, the environment, the command line; and what happens when the file changes.

use std::time::{Duration, Instant};

use profiler_tests::{Pprof, Profiler, Program, Session, Target, folder};

#[test]
fn a_file_is_checked() {
    let session = Session::begin();
    let check = |text: &str| {
        std::fs::write(session.path("profiler.toml"), text).expect("a file");
        Profiler::new(session.folder(), ["agent", "--config", "profiler.toml", "--check-config"]).run()
    };
    check("output = \"out\"\nwindow = \"10s\"\nfrequency = 19\nmemory = \"64MiB\"\n").assert_success();
    assert!(!session.path("out").exists(), "checking does nothing");
    check("widow = \"10s\"\nfrequency = 0\n").assert_refused(&[
        "profiler.toml:1: there is no setting \"widow\"; did you mean \"window\"?",
        "profiler.toml:2: invalid value '0'",
    ]);
    check("window = \n").assert_refused(&["profiler.toml:1"]);
    check("http-token-file = \"missing\"\nhttp = \"127.0.0.1:0\"\n").assert_refused(&["missing"]);
    Profiler::new(session.folder(), ["agent", "--config", "nowhere.toml"])
        .run()
        .assert_refused(&["nowhere.toml"]);
}

/// All frequencies that profiles of the target tell, with the span of each profile.
fn profiles(session: &Session, target: &Target) -> Vec<(String, (i64, i64))> {
    let files = folder::profiles_of(&session.path("out"), target.pid());
    let read = |file: std::path::PathBuf| {
        let profile = Pprof::read(&file);
        let comments = profile.comments();
        let frequency = comments.iter().find_map(|text| text.strip_prefix("frequency="));
        (frequency.unwrap_or_default().to_owned(), profile.span())
    };
    files.into_iter().map(read).collect()
}

#[test]
fn a_changed_file_is_taken_up_and_a_broken_one_is_not() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let file = session.path("profiler.toml");
    let write = |text: &str| {
        // As editors do it.
        std::fs::write(session.path("new"), text).expect("a file");
        std::fs::rename(session.path("new"), &file).expect("a file");
    };
    write("output = \"out\"\nwindow = \"2s\"\nfrequency = 99\n");
    let mut agent = Profiler::new(session.folder(), ["agent", "--config", "profiler.toml"]).start();
    agent.wait_until_sampling();
    let deadline = Instant::now() + Duration::from_secs(120);
    let wait_for = |frequency: &str| {
        while !profiles(&session, &target).iter().any(|(seen, _)| seen == frequency) {
            assert!(Instant::now() < deadline, "never {frequency}: {:?}", profiles(&session, &target));
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    wait_for("99Hz");
    write("output = \"out\"\nwindow = \"2s\"\nfrequency = 199\n");
    wait_for("199Hz");
    write("output = \"out\"\nwindow = \"2s\"\nfrequency = nonsense\n");
    std::thread::sleep(Duration::from_secs(3));
    write("output = \"out\"\nwindow = \"2s\"\nfrequency = 49\n");
    agent.signal(libc::SIGHUP);
    wait_for("49Hz");
    agent.signal(libc::SIGTERM);
    let finished = agent.finish();
    finished.assert_success();
    finished.check(finished.stderr.contains("profiler.toml:3"), "what is wrong is said");
    // No window is lost: each ends when the next one begins, but for the moment that a new start takes.
    let mut spans: Vec<_> = profiles(&session, &target).into_iter().map(|(_, span)| span).collect();
    spans.sort_unstable();
    let covered: i64 = spans.iter().map(|(begin, end)| end - begin).sum();
    let whole = spans.last().map_or(0, |span| span.1) - spans.first().map_or(0, |span| span.0);
    finished.check(covered as f64 > 0.8 * whole as f64, &format!("{covered} of {whole}: {spans:?}"));
}

#[test]
fn the_environment_is_weaker_than_the_command_line() {
    let session = Session::begin();
    let agent = |args: &[&str]| {
        let words = ["PROFILER_FREQUENCY=5000"];
        let mut wrapper = vec!["env"];
        wrapper.extend(words);
        let args = ["agent", "--check-config"].iter().chain(args);
        Profiler::wrapped(session.folder(), &wrapper, args).run()
    };
    agent(&[]).assert_refused(&["5000"]);
    agent(&["-F", "19"]).assert_refused(&["5000"]);
}
