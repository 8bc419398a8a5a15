//! The tracker, with literals.

use super::*;

const SHELL: u32 = 10;
const CHILD: u32 = 20;

fn apply(tracker: &mut Tracker, time_ns: u64, kind: Kind<'_>) -> Option<Change> {
    tracker.apply(&Event { time_ns, kind })
}

fn fork(tracker: &mut Tracker, time_ns: u64, ppid: u32, pid: u32) {
    apply(tracker, time_ns, Kind::Fork { pid, ppid, tid: pid });
}

fn exec(tracker: &mut Tracker, time_ns: u64, pid: u32, path: &str) -> Option<Change> {
    let ended = apply(tracker, time_ns, Kind::Comm { pid, tid: pid, exec: true, name: path.as_bytes() });
    map(tracker, pid, 0x1000, path);
    ended
}

fn map(tracker: &mut Tracker, pid: u32, addr: u64, path: &str) -> Option<Change> {
    let ino = if path.starts_with('/') && path != "//anon" { u64::from(path.as_bytes()[1]) } else { 0 };
    let filename = path.as_bytes();
    let map = Map { addr, len: 0x1000, pgoff: 0, device: (8, 1), ino, prot: 5, filename };
    apply(tracker, 0, Kind::Mmap2 { pid, tid: pid, map })
}

fn exit(tracker: &mut Tracker, pid: u32, tid: u32) -> Option<Change> {
    apply(tracker, 0, Kind::Exit { pid, tid })
}

fn key(pid: u32, start_ns: u64, exec_id: u32) -> ProcessKey {
    ProcessKey { start_ns, pid, exec_id }
}

/// The paths that a sampled process has mapped, as far as it was told; `None` where it is not known at all.
fn paths(tracker: &mut Tracker, key: ProcessKey) -> Option<String> {
    let told = tracker.sampled(&key)?;
    let paths: Vec<_> = told.ranges.iter().map(|range| String::from_utf8_lossy(range.line().path)).collect();
    Some(paths.join(" "))
}

/// Announces a process that was forked with an exec id, and whose image is that of its parent, unless that is 0.
fn announce(tracker: &mut Tracker, key: ProcessKey, forked_as: u32, image_of: u32) {
    let info = ProcessInfo { name: [0; NAME_BYTES], cgroup_id: 0, forked_as, image_of, lost: 0 };
    tracker.announced(&key, &info);
}

fn end_windows(tracker: &mut Tracker, count: usize) {
    for _ in 0..count {
        tracker.end_window(|_| true);
    }
}

/// A shell that was heard of from its exec on, at time 100.
fn shell() -> Tracker {
    let mut tracker = Tracker::default();
    fork(&mut tracker, 100, 1, SHELL);
    exec(&mut tracker, 110, SHELL, "/shell");
    tracker
}

#[test]
fn an_exec_begins_anew_and_a_fork_copies() {
    let mut tracker = shell();
    map(&mut tracker, SHELL, 0x5000, "/libc");
    fork(&mut tracker, 200, SHELL, CHILD);
    assert_eq!(paths(&mut tracker, key(CHILD, 199, 1)).unwrap(), "/shell /libc");
    map(&mut tracker, SHELL, 0x7000, "/late");
    assert_eq!(paths(&mut tracker, key(CHILD, 199, 1)).unwrap(), "/shell /libc");
    exec(&mut tracker, 210, CHILD, "/true");
    assert_eq!(paths(&mut tracker, key(CHILD, 199, 2)).unwrap(), "/true");
    assert_eq!(paths(&mut tracker, key(SHELL, 99, 1)).unwrap(), "/shell /libc /late");
    let told = tracker.sampled(&key(CHILD, 199, 2)).unwrap();
    assert!(told.complete && told.current);
    assert_eq!((told.main, told.parent, &told.name[..6]), (0x1000, SHELL, &b"/true\0"[..]));
}

#[test]
fn the_image_is_told_by_the_exec_id_once_one_of_a_relative_is_known() {
    let mut tracker = shell();
    fork(&mut tracker, 200, SHELL, CHILD);
    exec(&mut tracker, 210, CHILD, "/true");
    // Which of the two it is nobody knows yet: the newest.
    assert_eq!(paths(&mut tracker, key(CHILD, 199, 7)).unwrap(), "/true");
    // Only the shell's second image is left, so that its number is certain.
    end_windows(&mut tracker, 3);
    assert_eq!(paths(&mut tracker, key(SHELL, 99, 7)).unwrap(), "/shell");
    fork(&mut tracker, 300, SHELL, 30);
    exec(&mut tracker, 310, 30, "/env");
    exec(&mut tracker, 320, 30, "/python");
    for (exec_id, path) in [(7, Some("/shell")), (8, Some("/env")), (9, Some("/python")), (10, None)] {
        assert_eq!(paths(&mut tracker, key(30, 299, exec_id)).as_deref(), path);
    }
}

#[test]
fn the_image_is_told_at_once_where_the_fork_is_known() {
    let start = || {
        let mut tracker = shell();
        fork(&mut tracker, 200, SHELL, CHILD);
        exec(&mut tracker, 210, CHILD, "/true");
        tracker
    };
    for (exec_id, path) in [(7, "/shell"), (8, "/true")] {
        let mut tracker = start();
        announce(&mut tracker, key(CHILD, 199, exec_id), 7, 0);
        assert_eq!(paths(&mut tracker, key(CHILD, 199, exec_id)).unwrap(), path);
        assert_eq!(
            paths(&mut tracker, key(SHELL, 99, 7)).unwrap(),
            "/shell",
            "its relatives' are known, too"
        );
    }
    // One that was made as its parent's sibling has another number: it has not executed that often.
    for (exec_id, forked_as) in [(7, 3), (8, 9)] {
        let mut tracker = start();
        announce(&mut tracker, key(CHILD, 199, exec_id), forked_as, 0);
        assert_eq!(paths(&mut tracker, key(CHILD, 199, exec_id)).unwrap(), "/true", "the newest");
    }
}

/// What a sampled process is taken for: the paths that were heard of and where the others are, and its current image's.
fn older_than_the_agent(exec_id: u32, forked_as: u32, before: impl FnOnce(&mut Tracker)) -> (Told, String) {
    let mut tracker = Tracker::default();
    before(&mut tracker);
    exec(&mut tracker, 210, CHILD, "/true");
    announce(&mut tracker, key(CHILD, 199, exec_id), forked_as, SHELL);
    let told = tracker.sampled(&key(CHILD, 199, exec_id)).unwrap();
    (told, paths(&mut tracker, key(CHILD, 199, exec_id + 1)).unwrap_or_default())
}

#[test]
fn a_child_older_than_the_agent_had_what_its_parent_has_before_it_executed() {
    let (told, now) = older_than_the_agent(7, 7, |_| {});
    let like = told.base.unwrap();
    assert_eq!((told.current, told.complete, like.pid, now.as_str()), (false, false, SHELL, "/true"));
    // So has a parent that is known.
    let sample = |tracker: &mut Tracker| assert!(tracker.sampled(&key(SHELL, 99, 7)).unwrap().base.is_none());
    assert_eq!(older_than_the_agent(7, 7, sample).0.base.unwrap().pid, SHELL);
    // One that has executed since runs something else, and so does one that came later.
    let exec_shell = |tracker: &mut Tracker| drop(exec(tracker, 205, SHELL, "/other"));
    assert!(older_than_the_agent(7, 7, exec_shell).0.base.is_none());
    assert!(older_than_the_agent(7, 7, |tracker| fork(tracker, 205, 1, SHELL)).0.base.is_none());
    // Of one that had executed before it was heard of, nobody knows how often.
    let (told, _) = older_than_the_agent(7, 6, |_| {});
    assert!(told.current && told.complete && told.base.is_none(), "the newest");
}

#[test]
fn what_a_child_older_than_the_agent_maps_since_comes_on_top_of_what_its_parent_has() {
    let mut tracker = Tracker::default();
    announce(&mut tracker, key(CHILD, 199, 7), 7, SHELL);
    assert_eq!(paths(&mut tracker, key(CHILD, 199, 7)).unwrap(), "");
    map(&mut tracker, CHILD, 0x5000, "/libc");
    exec(&mut tracker, 210, CHILD, "/true");
    let told = tracker.sampled(&key(CHILD, 199, 7)).unwrap();
    assert!(!told.current && told.base.is_some());
    assert_eq!(paths(&mut tracker, key(CHILD, 199, 7)).unwrap(), "/libc");
}

#[test]
fn a_pid_that_is_used_again_at_once_is_another_process() {
    let mut tracker = shell();
    for (time, path) in [(200, "/first"), (210, "/second"), (220, "/third")] {
        fork(&mut tracker, time + 1, SHELL, CHILD);
        exec(&mut tracker, time + 2, CHILD, path);
        exit(&mut tracker, CHILD, CHILD);
    }
    for (start, path) in [(200, "/first"), (210, "/second"), (220, "/third")] {
        assert_eq!(paths(&mut tracker, key(CHILD, start, 2)).unwrap(), path);
        assert!(!tracker.sampled(&key(CHILD, start, 2)).unwrap().current);
    }
    // Started after the last one was forked: it was not heard of.
    assert_eq!(paths(&mut tracker, key(CHILD, 222, 2)), None);
}

#[test]
fn a_process_ends_with_its_last_thread_and_is_forgotten_two_windows_later() {
    let mut tracker = shell();
    apply(&mut tracker, 120, Kind::Fork { pid: SHELL, ppid: SHELL, tid: 11 });
    let sampled = key(SHELL, 99, 1);
    assert!(tracker.sampled(&sampled).is_some());
    assert!(exit(&mut tracker, SHELL, SHELL).is_none());
    assert!(
        matches!(map(&mut tracker, SHELL, 0x5000, "//anon"), Some(Change::Mapped(key, _)) if key == sampled)
    );
    assert!(matches!(exit(&mut tracker, SHELL, 11), Some(Change::Ended(key)) if key == sampled));
    end_windows(&mut tracker, 2);
    assert_eq!(paths(&mut tracker, sampled).unwrap(), "/shell ");
    end_windows(&mut tracker, 1);
    assert_eq!(paths(&mut tracker, sampled).unwrap(), "", "it is taken for another one");
}

#[test]
fn a_process_older_than_the_agent_is_followed_once_it_is_sampled() {
    let mut tracker = Tracker::default();
    let old = key(SHELL, 5, 3);
    assert!(map(&mut tracker, SHELL, 0x5000, "/lib").is_none());
    assert_eq!(tracker.len(), 0);
    let told = tracker.sampled(&old).unwrap();
    assert!(told.current && !told.complete && told.base.is_none());
    assert!(matches!(map(&mut tracker, SHELL, 0x5000, "/lib"), Some(Change::Mapped(..))));
    // Its child has what it has.
    fork(&mut tracker, 200, SHELL, CHILD);
    map(&mut tracker, CHILD, 0x9000, "/more");
    let told = tracker.sampled(&key(CHILD, 199, 3)).unwrap();
    assert!(!told.complete);
    assert_eq!(tracker.base(told.base.unwrap()), (true, Some(old)));
    assert!(matches!(exec(&mut tracker, 300, SHELL, "/other"), Some(Change::Ended(key)) if key == old));
    assert_eq!(tracker.base(told.base.unwrap()), (false, Some(old)));
    assert_eq!(paths(&mut tracker, key(SHELL, 5, 4)).unwrap(), "/other");
    assert_eq!(paths(&mut tracker, key(CHILD, 199, 3)).unwrap(), "/more");
}

#[test]
fn an_exec_by_another_thread_than_the_leader_goes_on_with_the_process() {
    let mut tracker = Tracker::default();
    assert!(!tracker.sampled(&key(SHELL, 5, 3)).unwrap().complete);
    exit(&mut tracker, SHELL, SHELL);
    exec(&mut tracker, 300, SHELL, "/other");
    assert_eq!(paths(&mut tracker, key(SHELL, 5, 4)).unwrap(), "/other");
}

#[test]
fn after_a_loss_nothing_is_taken_for_complete_and_the_dead_are_forgotten() {
    let mut tracker = shell();
    fork(&mut tracker, 200, SHELL, CHILD);
    apply(&mut tracker, 300, Kind::Lost { count: 1 });
    assert!(!tracker.sampled(&key(SHELL, 99, 1)).unwrap().complete);
    exec(&mut tracker, 310, SHELL, "/new");
    assert!(tracker.sampled(&key(SHELL, 99, 2)).unwrap().complete);
    for _ in 0..3 {
        tracker.end_window(|pid| pid == SHELL);
    }
    assert_eq!(tracker.len(), 1);
}

#[test]
fn memory_stays_bounded() {
    let mut tracker = shell();
    for index in 0..10_000_u64 {
        map(&mut tracker, SHELL, 0x10_0000 + index * 0x2000, "//anon");
        exec(&mut tracker, 200, CHILD, "/true");
    }
    for pid in 100..100_000 {
        fork(&mut tracker, 300, SHELL, pid);
    }
    assert_eq!(tracker.len(), MAX_PROCESSES);
    assert!(tracker.refused() > 30_000);
    assert!(tracker.by_pid[&SHELL].current.as_ref().unwrap().ranges.len() <= 4096);
    assert!(tracker.by_pid[&CHILD].past.len() <= MAX_PAST);
    let told = tracker.sampled(&key(SHELL, 99, 1)).unwrap();
    assert!(!told.complete);
}
