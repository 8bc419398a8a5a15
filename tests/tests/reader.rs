//! The process that reads names of what strangers wrote: files that end it, and those who end it.

use std::path::Path;
use std::time::{Duration, Instant};

use profiler_tests::pprof::samples;
use profiler_tests::{Agent, Pprof, Program, Session, Target, family};

/// The process that reads for an agent, once there is one.
fn reader_of(agent: &mut Agent) -> u32 {
    agent.wait_until("was there a reader", |agent| family::child_named(agent.pid(), "reader").is_some());
    family::child_named(agent.pid(), "reader").unwrap_or_default()
}

/// Runs a copy of a program, which is another file to whoever reads names.
fn start_copy(session: &Session, program: &Path, name: &str) -> Target {
    let copy = session.path(name);
    assert!(std::fs::copy(program, &copy).is_ok(), "{}", copy.display());
    Target::start(&copy, &["burn"])
}

fn send(pid: u32, signal: libc::c_int) {
    assert!(pid > 1, "no process");
    // SAFETY: kill has no memory effects; the process is a descendant of the agent that this test has started.
    assert_eq!(unsafe { libc::kill(pid.cast_signed(), signal) }, 0, "{pid}");
}

fn is_there(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn a_file_that_ends_the_reader_costs_that_file_its_names() {
    let session = Session::begin();
    let chain = Program::Pie.build();
    let good = Target::start(&chain, &["burn"]);
    let mut agent = Agent::start(&session, &[]);
    agent.assert_right("before", good.pid());
    // It does not answer while it is asked about another file, and ends.
    let reader = reader_of(&mut agent);
    send(reader, libc::SIGSTOP);
    let hostile = start_copy(&session, &chain, "copy");
    std::thread::sleep(Duration::from_secs(2));
    send(reader, libc::SIGKILL);
    agent.wait_until("did the agent notice", |agent| agent.metric("profiler_reader_ends_total") > 0.0);
    // The one that was ended is a child until the keeper has waited for it.
    agent.wait_until("was there another reader", |agent| {
        family::child_named(agent.pid(), "reader").is_some_and(|next| next != reader)
    });
    let next = reader_of(&mut agent);
    // What is new since then has names; so has what is old.
    let new = start_copy(&session, &chain, "another");
    agent.wait_until_right("with the next reader", new.pid());
    agent.assert_right("as ever", good.pid());
    // What it was asked about is left alone, with whole stacks.
    let windows = agent.wait_for_windows(hostile.pid(), 1);
    let profile = Pprof::read(&windows[0]);
    let stacks = profile.of_pid(hostile.pid());
    profile.check(!stacks.is_empty(), "it is sampled");
    assert_eq!(agent.metric("profiler_reader_ends_total"), 1.0);
    // One that is ended while it waits costs nobody anything for long.
    send(next, libc::SIGKILL);
    let newest = start_copy(&session, &chain, "third");
    agent.wait_until_right("with the third reader", newest.pid());
    let run = agent.finish();
    run.check(run.stderr.contains("files that broke the symbolizer"), "the log says so");
}

#[test]
fn whoever_ends_the_keeper_is_told_of_and_profiles_go_on() {
    let session = Session::begin();
    let chain = Program::Pie.build();
    let good = Target::start(&chain, &["burn"]);
    let mut agent = Agent::start(&session, &[]);
    agent.assert_right("before", good.pid());
    let (reader, keeper) = (reader_of(&mut agent), family::child_named(agent.pid(), "keeper"));
    // What a service manager sends to all is not for them.
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        send(reader, signal);
        send(keeper.unwrap_or_default(), signal);
    }
    std::thread::sleep(Duration::from_millis(200));
    assert!(is_there(reader) && is_there(keeper.unwrap_or_default()));
    send(keeper.unwrap_or_default(), libc::SIGKILL);
    send(reader, libc::SIGKILL);
    let nameless = start_copy(&session, &chain, "copy");
    let windows = agent.wait_for_windows(nameless.pid(), 2);
    Pprof::read(&windows[1]).check(true, "it can be read");
    // What has names keeps them: calls, which are the same ones each time, and instructions that were hit before.
    let profile = Pprof::read(&agent.wait_for_windows(good.pid(), 1)[0]);
    let all = samples(profile.of_pid(good.pid()));
    let named = |name: &str| samples(profile.of_pid(good.pid()).into_iter().filter(|stack| stack.has(name)));
    profile.check(named("chain_01") * 100 >= all * 95, "names of callers stay");
    profile.check(named("leaf_heavy") * 100 >= all * 40, "and most of those that were interrupted");
    let run = agent.finish();
    run.check(run.stderr.contains("have no names from now on"), "the log says so");
    run.check(run.stderr.contains("restart the profiler"), "and what to do");
}

#[test]
fn nothing_is_left_of_them_when_the_agent_is_killed() {
    let session = Session::begin();
    let mut agent = Agent::start(&session, &[]);
    let (reader, keeper) = (reader_of(&mut agent), family::child_named(agent.pid(), "keeper"));
    agent.signal(libc::SIGKILL);
    let deadline = Instant::now() + Duration::from_secs(60);
    while is_there(reader) || is_there(keeper.unwrap_or_default()) {
        assert!(Instant::now() < deadline, "the reader or the keeper goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
}
