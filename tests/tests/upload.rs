//! Uploads: what arrives is what was recorded, once, whatever happens to the receiver and to the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use profiler_tests::overhead::otlp::read::leaves;
use profiler_tests::receiver::{Arrived, Behaviour, Receiver};
use profiler_tests::server::{free_port, metric};
use profiler_tests::uploads::{Sums, Windows, add, read, sum, wait_until, written};
use profiler_tests::{Pprof, Profiler, Program, Running, Session, Target, folder};

const SERVICE: &str = "chain-pie";

fn configure(session: &Session, port: u16, http: u16, more: &str) {
    let text = format!(
        "output = \"out\"\nwindow = \"500ms\"\nfrequency = 99\nhttp = \"127.0.0.1:{http}\"\n\n[[upload]]\nkind = \"pyroscope\"\n\
         url = \"http://127.0.0.1:{port}\"\nretry-min = \"50ms\"\nretry-max = \"300ms\"\ntimeout = \"1s\"\n\
         labels = {{ region = \"eu\" }}\n{more}\n"
    );
    assert!(std::fs::write(session.path("profiler.toml"), text).is_ok(), "the configuration");
}

fn start(session: &Session) -> Running {
    let mut agent = Profiler::new(session.folder(), ["agent", "--config", "profiler.toml"]).start();
    agent.wait_until_sampling();
    agent
}

/// Profiles of the service by the start of their windows, each id once.
fn by_window(session: &Session, arrived: &[Arrived]) -> Windows {
    let mut ids = BTreeSet::new();
    let mut windows = Windows::new();
    for one in arrived {
        if one.labels.get("service_name").is_none_or(|service| service != SERVICE)
            || !ids.insert(one.id.clone())
        {
            continue;
        }
        add(&mut windows, &read(session, &one.profile));
    }
    windows
}

#[test]
fn every_window_arrives_once_whatever_happens() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let (port, http) = (free_port(), free_port());
    configure(&session, port, http, "");
    // Nobody listens for ten windows: what is ten minutes where a window is a minute.
    let agent = start(&session);
    wait_until("ten windows that wait", || {
        metric(http, "profiler_spool_batches{target=\"pyroscope\"}") >= 10.0
    });

    // Then somebody does, and is in every kind of trouble.
    use Behaviour::{AtMost, Garbage, Refuse, Take, TakeSlowly};
    let script = [
        Refuse(429),
        Take,
        Refuse(500),
        Garbage,
        Take,
        AtMost(1),
        AtMost(1),
        AtMost(1),
        AtMost(1),
        TakeSlowly,
        Refuse(503),
        Take,
        Refuse(401),
        Take,
    ];
    let receiver = Receiver::start(port, &script);
    wait_until("half of the script", || receiver.requests() > 7);
    agent.signal(libc::SIGKILL);
    drop(agent);
    let before = receiver.arrived();
    assert!(!before.is_empty(), "something has arrived");

    let agent = start(&session);
    wait_until("the whole script, and an empty spool", || {
        receiver.requests() > script.len() + 8
            && metric(http, "profiler_spool_batches{target=\"pyroscope\"}") <= 1.0
    });
    let of = |outcome: &str| {
        metric(http, &format!("profiler_upload_series_total{{target=\"pyroscope\",outcome=\"{outcome}\"}}"))
    };
    for outcome in ["rejected", "expired", "full", "lost"] {
        assert!(of(outcome) == 0.0, "{outcome}");
    }
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();

    let (arrived, written) = (by_window(&session, &receiver.arrived()), written(&session, &target));
    assert!(written.len() > 12, "{} windows", written.len());
    for (start, sums) in &written {
        assert_eq!(arrived.get(start), Some(sums), "the window of {start}");
    }
    // The one that was being written when the agent was killed.
    assert!(arrived.len() <= written.len() + 1, "{} windows arrived of {}", arrived.len(), written.len());
    for one in receiver.arrived() {
        assert_eq!(one.labels.get("__name__").map(String::as_str), Some("process_cpu"));
        assert_eq!(one.labels.get("region").map(String::as_str), Some("eu"));
        assert!(one.labels.contains_key("hostname") && !one.labels.contains_key("pid"), "{:?}", one.labels);
    }
}

#[test]
fn what_expires_is_counted_and_the_disk_has_a_limit() {
    let session = Session::begin();
    let _target = Target::start(&Program::Pie.build(), &["burn"]);
    let (port, http) = (free_port(), free_port());
    configure(&session, port, http, "spool-age = \"3s\"\nspool-size = \"64KiB\"");
    let agent = start(&session);
    let of = |outcome: &str| {
        metric(http, &format!("profiler_upload_series_total{{target=\"pyroscope\",outcome=\"{outcome}\"}}"))
    };
    wait_until("something expires", || of("expired") > 3.0);
    assert!(metric(http, "profiler_spool_bytes{target=\"pyroscope\"}") <= 65536.0);
    let receiver = Receiver::start(port, &[]);
    wait_until("the rest arrives", || of("delivered") > 3.0);
    wait_until("nothing waits", || metric(http, "profiler_spool_batches{target=\"pyroscope\"}") == 0.0);
    let ended: f64 = ["delivered", "rejected", "expired", "full", "lost"].into_iter().map(of).sum();
    assert!((of("made") - ended).abs() < 20.0, "{} made, {ended} ended", of("made"));
    assert!(!receiver.arrived().is_empty());
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
}

#[test]
fn a_full_disk_does_not_stop_anything() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let small = session.path("small");
    assert!(std::fs::create_dir(&small).is_ok());
    let mount = |args: &[&str]| {
        std::process::Command::new(args[0]).args(&args[1..]).status().is_ok_and(|s| s.success())
    };
    let shown = small.display().to_string();
    assert!(mount(&["mount", "-t", "tmpfs", "-o", "size=64k", "none", &shown]), "a file system");
    let (port, http) = (free_port(), free_port());
    configure(&session, port, http, "");
    let more = ["agent", "--config", "profiler.toml", "--spool", "small"];
    let receiver = Receiver::start(port, &[Behaviour::Refuse(503); 40]);
    let mut agent = Profiler::new(session.folder(), more).start();
    agent.wait_until_sampling();
    wait_until("the disk is full", || {
        let lost = "profiler_upload_series_total{target=\"pyroscope\",outcome=\"lost\"}";
        receiver.requests() > 45 || metric(http, lost) > 0.0
    });
    wait_until("it arrives all the same", || receiver.arrived().len() > 3);
    agent.signal(libc::SIGTERM);
    let finished = agent.finish();
    let unmounted = mount(&["umount", &shown]);
    finished.assert_success();
    assert!(unmounted);
    assert!(written(&session, &target).len() > 5, "profiles are written");
}

/// An interval is on disk before it is over.
#[test]
fn a_kill_within_an_interval_loses_nothing() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let (port, http) = (free_port(), free_port());
    configure(&session, port, http, "interval = \"10m\"\nwhere = \"service=chain-pie\"");
    let args = ["agent", "--config", "profiler.toml", "--spool", "spool"];
    let mut agent = Profiler::new(session.folder(), args).start();
    agent.wait_until_sampling();
    wait_until("windows are written", || {
        session.path("out").exists() && written(&session, &target).len() > 6
    });
    agent.signal(libc::SIGKILL);
    drop(agent);
    let windows = written(&session, &target);

    // The next one sends what it finds, though its own first interval has only begun.
    let receiver = Receiver::start(port, &[]);
    let mut agent = Profiler::new(session.folder(), args.iter().chain(&["-o", "later"])).start();
    agent.wait_until_sampling();
    wait_until("it arrives", || !receiver.arrived().is_empty());
    let arrived = by_window(&session, &receiver.arrived());
    assert_eq!(arrived.len(), 1, "one interval: {arrived:?}");
    assert_eq!(arrived.keys().next(), windows.keys().next(), "it begins where the first window does");
    // One window may have been on its way into the folder.
    let count = |sums: &Sums| sums.values().sum::<i64>();
    let one_window = windows.values().map(count).max().unwrap_or_default();
    let (arrived, written) = (count(&sum(arrived)), count(&sum(windows)));
    assert!((written..=written + 2 * one_window).contains(&arrived), "{arrived} of {written}");

    // And at its end what it gathered itself.
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
    assert_eq!(by_window(&session, &receiver.arrived()).len(), 2);
}

#[test]
fn any_server_that_takes_files() {
    let session = Session::begin();
    let _target = Target::start(&Program::Pie.build(), &["burn"]);
    assert!(std::fs::write(session.path("token"), "t0ken").is_ok());
    let receiver = Receiver::start(0, &[]);
    let url = format!("http://127.0.0.1:{}/{{service}}/{{start}}.pb.gz", receiver.port());
    let upload = format!(
        "kind = \"http\", url = \"{url}\", method = \"PUT\", token-file = \"token\", where = \"service={SERVICE}\", \
         headers = {{ X-Test = \"yes\" }}, interval = \"2s\""
    );
    let mut agent = Profiler::new(
        session.folder(),
        ["agent", "-o", "out", "--window", "500ms", "-F", "99", "--upload", &upload],
    )
    .start();
    agent.wait_until_sampling();
    wait_until("three arrive", || receiver.arrived().len() >= 3);
    agent.signal(libc::SIGTERM);
    let finished = agent.finish();
    finished.assert_success();
    finished.check(!finished.stderr.contains("t0ken"), "secrets are not logged");
    for one in receiver.arrived() {
        assert!(one.head.starts_with(&format!("put /{SERVICE}/20")), "{}", one.head);
        assert!(
            one.head.contains("authorization: bearer t0ken") && one.head.contains("x-test: yes"),
            "{}",
            one.head
        );
        let profile = read(&session, &one.profile);
        profile.check(profile.stacks.iter().any(|stack| stack.has("leaf_heavy")), "its functions");
    }
    let first = read(&session, &receiver.arrived()[0].profile);
    assert!(first.proto.duration_nanos > 1_500_000_000, "an interval of windows");
}

#[test]
fn every_kind_of_receiver_has_every_sample() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let receivers = ["pyroscope", "parca", "otlp", "http"].map(|kind| (kind, Receiver::start(0, &[])));
    let mut args: Vec<String> =
        ["agent", "-o", "out", "--window", "1s", "-F", "199"].map(str::to_owned).to_vec();
    for (kind, receiver) in &receivers {
        let more = if *kind == "parca" { ", protocol = \"http\"" } else { "" };
        let url = format!("http://127.0.0.1:{}", receiver.port());
        args.extend([
            "--upload".to_owned(),
            format!("kind = \"{kind}\", url = \"{url}\", where = \"pid={}\"{more}", target.pid()),
        ]);
    }
    let mut agent = Profiler::new(session.folder(), args).start();
    agent.wait_until_sampling();
    std::thread::sleep(Duration::from_secs(6));
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
    let wanted = sum(written(&session, &target));
    assert!(wanted.values().sum::<i64>() > 9, "{wanted:?}");
    for (kind, receiver) in &receivers {
        let mut windows = Windows::new();
        let mut sums = Sums::new();
        for one in receiver.arrived() {
            if *kind == "otlp" {
                assert!(one.head.starts_with("post /v1development/profiles "), "{}", one.head);
                for (name, count) in leaves(&one.profile).unwrap_or_default() {
                    *sums.entry(name).or_default() += count;
                }
                continue;
            }
            add(&mut windows, &read(&session, &one.profile));
        }
        if *kind != "otlp" {
            sums = sum(windows);
        }
        assert_eq!(sums, wanted, "{kind}");
    }
}

#[test]
fn each_upload_has_its_own_selection_labels_and_interval() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let (one, rest) = (Receiver::start(0, &[]), Receiver::start(0, &[]));
    let upload = |receiver: &Receiver, more: &str| {
        format!("kind = \"pyroscope\", url = \"http://127.0.0.1:{}\", {more}", receiver.port())
    };
    let uploads = [
        upload(&one, "name = \"one\", where = \"service=chain-pie\", labels = { tier = \"a\" }"),
        upload(
            &rest,
            "name = \"rest\", where = \"service!=chain-pie\", labels = { tier = \"b\" }, interval = \"3s\"",
        ),
    ];
    let args = [
        "agent",
        "-o",
        "out",
        "--window",
        "1s",
        "-F",
        "199",
        "--upload",
        &uploads[0],
        "--upload",
        &uploads[1],
    ];
    let mut agent = Profiler::new(session.folder(), args).start();
    agent.wait_until_sampling();
    // A service that begins to run within an interval has one that begins later, so they are counted by series.
    let most_of_a_series = |receiver: &Receiver| {
        let mut counts: BTreeMap<BTreeMap<String, String>, usize> = BTreeMap::new();
        for arrived in receiver.arrived() {
            *counts.entry(arrived.labels).or_default() += 1;
        }
        counts.into_values().max().unwrap_or(0)
    };
    wait_until("intervals arrive", || most_of_a_series(&rest) > 1);
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
    for (receiver, tier) in [(&one, "a"), (&rest, "b")] {
        for arrived in receiver.arrived() {
            assert_eq!(arrived.labels["tier"], tier);
            assert!(tier == "b" || arrived.labels["service_name"] == SERVICE, "{:?}", arrived.labels);
        }
    }
    assert_eq!(sum(windows_of(&session, &one)), sum(written(&session, &target)));
    let all: i64 = folder::profiles(&session.path("out"))
        .iter()
        .flat_map(|file| Pprof::read(file).stacks)
        .map(|stack| stack.samples)
        .sum();
    let total = |receiver: &Receiver| sum(windows_of(&session, receiver)).values().sum::<i64>();
    assert_eq!(total(&one) + total(&rest), all, "every sample is in one of them");
    let (longer, shorter) = (most_of_a_series(&rest), most_of_a_series(&one));
    assert!(longer < shorter, "longer intervals, fewer of them: {longer} and {shorter}");
}

/// All that has arrived, by window.
fn windows_of(session: &Session, receiver: &Receiver) -> Windows {
    let mut windows = Windows::new();
    for arrived in receiver.arrived() {
        add(&mut windows, &read(session, &arrived.profile));
    }
    windows
}

#[test]
fn mistakes_are_told_at_the_start() {
    let session = Session::begin();
    let check =
        |upload: &str| Profiler::new(session.folder(), ["agent", "--check-config", "--upload", upload]).run();
    check("kind = \"pyroscope\", url = \"http://127.0.0.1:4040\"").assert_success();
    check("kind = \"pyroscope\", url = \"http://h\", token-file = \"missing\"").assert_refused(&["missing"]);
    check("kind = \"pyroscope\", url = \"h\"").assert_refused(&["must begin with http"]);
    check("kind = \"s3\", url = \"s3://b\", credentials-file = \"missing\"").assert_refused(&["missing"]);
    check("kind = \"folder\", url = \"/srv\"").assert_refused(&["must begin with file:///"]);
    check("kind = \"carrier-pigeon\", url = \"http://h\"").assert_refused(&["pyroscope"]);
}
