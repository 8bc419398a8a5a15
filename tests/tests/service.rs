//! Who a process is for those who compare services: labels from its environment, its cgroup, its container.

use std::collections::BTreeSet;
use std::process::Command;

use profiler_tests::api;
use profiler_tests::cgroup::Cgroup;
use profiler_tests::pprof::{describe, samples};
use profiler_tests::{Bare, Pprof, Profiler, Program, Session, Target};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn record(session: &Session, more: &[&str]) -> Pprof {
    let mut args = vec!["record", "-d", "4s", "-F", "99", "-o", "x.pb.gz"];
    args.extend(more);
    Profiler::new(session.folder(), args).run().assert_success();
    Pprof::read(&session.path("x.pb.gz"))
}

fn check(profile: &Pprof, pid: u32, wanted: &[(&str, &str)]) {
    let samples = profile.of_pid(pid);
    profile.check(!samples.is_empty(), "it was sampled");
    for stack in samples {
        for (key, value) in wanted {
            assert_eq!(stack.label(key), *value, "{key} in {:?}", stack.labels);
        }
    }
}

#[test]
fn what_the_environment_declares() {
    let session = Session::begin();
    let mut named = Command::new("env");
    named
        .arg("OTEL_SERVICE_NAME=shop")
        .arg("OTEL_RESOURCE_ATTRIBUTES=service.version=1.2%2B3,service.namespace=prod,pid=9");
    named.arg("SECRET=do-not-tell").arg(Program::Pie.build()).arg("burn");
    let named = Target::start_as(&mut named);
    let mut evil = Command::new("env");
    evil.arg(format!("OTEL_SERVICE_NAME=a\nb\u{1b}[31m{}", "x".repeat(10_000)));
    evil.arg(Program::NoPie.build()).arg("burn");
    let evil = Target::start_as(&mut evil);
    let profile = record(&session, &[]);
    let pid = named.pid_label();
    check(
        &profile,
        named.pid(),
        &[("service", "shop"), ("version", "1.2+3"), ("namespace", "prod"), ("pid", &pid)],
    );
    let whole = String::from_utf8_lossy(&prost::Message::encode_to_vec(&profile.proto)).into_owned();
    profile.check(!whole.contains("do-not-tell"), "nothing else of the environment is told");
    let service = profile.of_pid(evil.pid())[0].label("service").to_owned();
    assert!(service.chars().count() <= 255 && !service.contains(char::is_control), "{service:?}");
}

#[test]
fn a_process_without_a_name_of_its_own() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let profile = record(&session, &[]);
    let service = profile.of_pid(target.pid())[0].label("service").to_owned();
    // The executable's name, unless the tests themselves run in a unit or a container.
    assert!(!service.is_empty());
    let by_kernel: Vec<_> = profile.with_label("service", "kernel").collect();
    for stack in by_kernel {
        assert!(stack.frames.iter().all(|frame| frame.is_kernel() || frame.is_remark()), "{stack:?}");
    }
}

#[test]
fn a_container() {
    let session = Session::begin();
    let cgroup = Cgroup::make(&format!("docker/{ID}"));
    let mut unshare = cgroup.enter();
    unshare.args([
        "unshare",
        "--mount",
        "--pid",
        "--cgroup",
        "--uts",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    unshare.arg(Program::Pie.build()).arg("burn");
    let target = Target::start_behind(&mut unshare);
    let profile = record(&session, &[]);
    check(&profile, target.pid(), &[("container_id", ID), ("container", &ID[..12])]);
}

#[test]
fn processes_that_live_for_50_ms_have_their_service() {
    let session = Session::begin();
    let cgroup = Cgroup::make(&format!("docker/{ID}"));
    let brief = Bare::c("brief.c", "brief").build();
    let mut recording =
        Profiler::new(session.folder(), ["record", "-d", "120s", "-F", "999", "-o", "x.pb.gz"]).start();
    recording.wait_until_sampling();
    let mut pids = Vec::new();
    for _ in 0..30 {
        let mut command = cgroup.enter();
        command.env("OTEL_SERVICE_NAME", "batch").arg(&brief).args(["live", "50"]);
        let mut child = command.stdout(std::process::Stdio::null()).spawn().expect("a process");
        pids.push(child.id());
        child.wait().expect("its end");
    }
    recording.signal(libc::SIGINT);
    recording.finish().assert_success();
    let profile = Pprof::read(&session.path("x.pb.gz"));
    let samples: Vec<_> = pids
        .iter()
        .flat_map(|&pid| profile.of_pid(pid))
        .filter(|stack| stack.label("process") == "brief")
        .collect();
    profile.check(samples.len() > 30, "they were sampled");
    let with = |key: &str, value: &str| samples.iter().filter(|stack| stack.label(key) == value).count();
    assert_eq!(with("container_id", ID), samples.len(), "the cgroup is known even of those that are gone");
    let named = with("service", "batch");
    let others = samples.iter().copied().filter(|stack| stack.label("service") != "batch");
    let labels: BTreeSet<_> = others.clone().map(|stack| format!("{:?}", stack.labels)).collect();
    let shown = format!("{named} of {}, not {labels:?}\n{}", samples.len(), describe(others, 10));
    assert!(named * 100 >= samples.len() * 99, "{shown}");
}

#[test]
fn rules_and_filters() {
    let session = Session::begin();
    let start = |team: &str, program: Program| {
        let mut command = Command::new("env");
        command.arg(format!("TEAM={team}")).arg(program.build()).arg("burn");
        Target::start_as(&mut command)
    };
    let (blue, red) = (start("blue", Program::Pie), start("red", Program::NoPie));
    let team = r#"source_labels = ["__environment_TEAM"], target_label = "team""#;
    let service = r#"source_labels = ["process", "__arguments__"], regex = "(.+);.* burn", target_label = "service", replacement = "my-$1""#;
    let rules = ["--rule", team, "--rule", service];
    let profile = record(&session, &rules);
    for (target, team) in [(&blue, "blue"), (&red, "red")] {
        let name = profile.of_pid(target.pid())[0].label("process").to_owned();
        check(&profile, target.pid(), &[("team", team), ("service", &format!("my-{name}"))]);
    }
    profile.check(profile.values("__arguments__") == [""].into(), "facts stay here");

    // Who is left out is not walked at all, from the moment that this is known.
    let ticks = |profile: &Pprof, target: &Target| samples(profile.of_pid(target.pid()));
    let alone = record(&session, &[&rules[..], &["--include", "team=blue"]].concat());
    alone.check(ticks(&alone, &blue) > 100 && ticks(&alone, &red) == 0, "only one is asked for");
    let without = record(&session, &[&rules[..], &["--exclude", "team=blue,service=~^my-"]].concat());
    without.check(ticks(&without, &red) > 100 && ticks(&without, &blue) == 0, "all but one are asked for");
}

/// Who runs containers is asked, where that is wanted, and what is said counts for the whole window.
#[test]
fn names_from_those_who_run_containers() {
    let session = Session::begin();
    let pods = format!(
        r#"{{"items": [{{"metadata": {{"name": "web-7", "namespace": "prod", "labels": {{"app.kubernetes.io/name": "shop"}}}},
             "status": {{"containerStatuses": [{{"name": "web", "containerID": "containerd://{ID}"}}]}}}}]}}"#
    );
    let (port, kubelet) = api::serve(vec![("/pods".to_owned(), pods)]);
    let other = ID.replace('0', "f");
    let inspected = r#"{"Name": "/cart_1", "Config": {"Labels": {"com.docker.compose.service": "cart"}}}"#;
    let socket = session.path("docker.sock");
    let docker = api::serve_unix(&socket, vec![(format!("/containers/{other}/json"), inspected.to_owned())]);
    std::fs::write(session.path("token"), "very-secret\n").expect("a file");
    let start = |id: &str, program: Program| {
        let cgroup = Cgroup::make(&format!("docker/{id}"));
        let mut command = cgroup.enter();
        command.arg(program.build()).arg("burn");
        (Target::start_as(&mut command), cgroup)
    };
    let ((web, _its), (cart, _others)) = (start(ID, Program::Pie), start(&other, Program::NoPie));
    let kubelet_url = format!("http://127.0.0.1:{port}");
    let socket = socket.to_str().expect("a path").to_owned();
    let token = session.path("token").to_str().expect("a path").to_owned();
    let args = ["--kubelet", &kubelet_url, "--kubelet-token-file", &token, "--docker", &socket];
    let profile = record(&session, &args);
    let wanted = [("service", "shop"), ("pod", "web-7"), ("namespace", "prod"), ("container", "web")];
    check(&profile, web.pid(), &wanted);
    check(&profile, cart.pid(), &[("service", "cart"), ("container", "cart_1"), ("container_id", &other)]);
    let heads = kubelet.heads();
    assert!(heads.iter().all(|head| head.contains("authorization: bearer very-secret")), "{heads:?}");
    assert!((1..=2).contains(&heads.len()), "once for all pods of a moment: {heads:?}");
    assert!(docker.heads().len() <= 4, "once for each container: {:?}", docker.heads());

    // Nobody is there to ask: recording goes on, and containers go by their ids.
    let gone = ["--kubelet", "http://127.0.0.1:1", "--docker", "/nowhere/docker.sock"];
    let profile = record(&session, &gone);
    check(&profile, web.pid(), &[("container_id", ID), ("container", &ID[..12])]);
}
