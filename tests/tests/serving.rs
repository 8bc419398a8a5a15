//! What the agent serves: profiles as `go tool pprof` asks for them, metrics, health; and to whom.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use profiler_tests::chain::Chain;
use profiler_tests::elf::Functions;
use profiler_tests::outcomes::count_in_comments;
use profiler_tests::pprof_tool::pprof_of_url as pprof;
use profiler_tests::server::{ask, certificate, free_port, get, metric, send};
use profiler_tests::{Pprof, Profiler, Program, Running, Session, Target, folder};
use profiler_user::process::parse_line;

/// An agent with long windows that serves.
fn start(session: &Session, more: &[&str]) -> (Running, u16) {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let mut args = vec!["agent", "-o", "out", "--window", "300s", "-F", "99", "--http", &address];
    args.extend(more);
    let mut agent = Profiler::new(session.folder(), args).start();
    agent.wait_until_sampling();
    (agent, port)
}

fn save(url: &str, path: &Path) -> Pprof {
    let output = format!("-output={}", path.display());
    let done = pprof(url, &["-proto", &output], &[]);
    assert!(done.status.success(), "{url}: {}", String::from_utf8_lossy(&done.stderr));
    Pprof::read(path)
}

fn ticks(profile: &Pprof) -> i64 {
    profile.stacks.iter().map(|stack| stack.samples).sum()
}

#[test]
fn profiles_for_several_who_ask_at_once() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let other = Target::start(&Program::NoPie.build(), &["burn"]);
    let (agent, port) = start(&session, &[]);
    let base = format!("http://127.0.0.1:{port}/debug/pprof/profile");
    let urls = [
        format!("{base}?seconds=4&pid={}", target.pid()),
        format!("{base}?seconds=2&process=chain-pie"),
        format!("{base}?seconds=3"),
    ];
    let profiles: Vec<Pprof> = std::thread::scope(|scope| {
        let asked: Vec<_> = urls
            .iter()
            .enumerate()
            .map(|(at, url)| {
                let path = session.path(&format!("{at}.pb.gz"));
                scope.spawn(move || save(url, &path))
            })
            .collect();
        asked.into_iter().map(|thread| thread.join().expect("a profile")).collect()
    });
    for (profile, seconds) in profiles.iter().zip([4, 2, 3]) {
        Chain::of(Program::Pie).assert_whole("over HTTP", &profile.of_pid(target.pid()));
        let length = profile.proto.duration_nanos / 1_000_000_000;
        profile.check((seconds..seconds + 2).contains(&length), "the length that was asked for");
        // Half of two CPUs, or all of one where others need theirs.
        assert!(ticks(profile) > seconds * 99 / 3, "{} ticks in {seconds} s", ticks(profile));
    }
    let pid = target.pid_label();
    let only = [&*pid].into();
    profiles[0].check(profiles[0].values("pid") == only, "one pid");
    profiles[1].check(profiles[1].values("process") == ["chain-pie"].into(), "one process");
    profiles[2].check(!profiles[2].of_pid(other.pid()).is_empty(), "the whole host");
    profiles[2].check(profiles[2].comments().contains(&"window=3s"), "its length");

    // What requests cut is one window in the folder, with every tick that they saw.
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
    let files = folder::profiles_of(&session.path("out"), target.pid());
    assert_eq!(files.len(), 1, "one window: {files:?}");
    let whole = Pprof::read(&files[0]);
    Chain::of(Program::Pie).assert_whole("put together", &whole.of_pid(target.pid()));
    whole.check(ticks(&whole) >= ticks(&profiles[0]), "no tick is missing");
    let comments = whole.comments();
    let counted =
        ["complete", "truncated"].iter().filter_map(|name| count_in_comments(&comments, name)).sum::<i64>();
    whole.check(counted == ticks(&whole), "the outcomes of all parts");
}

#[test]
fn who_goes_away_is_forgotten() {
    let session = Session::begin();
    let (agent, port) = start(&session, &[]);
    assert!(metric(port, "profiler_http_profiles_in_progress") == 0.0);
    let connections: Vec<_> =
        (0..16).map(|_| send(port, "GET", "/debug/pprof/profile?seconds=3600", &[])).collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    let wait = |wanted: f64| {
        while metric(port, "profiler_http_profiles_in_progress") != wanted {
            assert!(Instant::now() < deadline, "never {wanted}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait(16.0);
    let refused = get(port, "/debug/pprof/profile?seconds=1");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.head.contains("x-go-pprof: 1") && refused.text().contains("16 profiles"), "{refused:?}");
    drop(connections);
    wait(0.0);
    assert_eq!(get(port, "/debug/pprof/profile?seconds=1").status, 200);
    // Who waits when it ends is not left waiting.
    let waiting = std::thread::spawn(move || get(port, "/debug/pprof/profile?seconds=3600"));
    wait(1.0);
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
    let _ = waiting.join();
}

/// The address of a function in a process.
fn address(pid: u32, program: &Path, function: &str) -> Option<u64> {
    let offset = Functions::of(program).offset(function)?;
    let maps = std::fs::read(format!("/proc/{pid}/maps")).ok()?;
    let lines = maps.split(|&byte| byte == b'\n').filter_map(parse_line);
    let mut shown = lines.filter(|line| line.path == program.as_os_str().as_bytes());
    let line = shown.find(|line| (line.offset..line.offset + (line.end - line.start)).contains(&offset))?;
    Some(line.start - line.offset + offset)
}

#[test]
fn addresses_have_the_names_that_profiles_have() {
    let session = Session::begin();
    let program = Program::Pie.build();
    let target = Target::start(&program, &["burn"]);
    let (agent, port) = start(&session, &[]);
    let pid = target.pid();
    let [heavy, last] = ["leaf_heavy", "chain_12"].map(|function| address(pid, &program, function).unwrap());
    let names = |query: &str| {
        let answer = get(port, &format!("/debug/pprof/symbol?{query}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text()
    };
    let expected = format!("num_symbols: 1\n{heavy:#x} leaf_heavy\n{last:#x} chain_12\n");
    assert_eq!(names(&format!("pid={pid}&{heavy:#x}+0x1+{last:#x}")), expected);
    assert_eq!(
        names(&format!("pid={}&{heavy:#x}", u32::MAX)),
        "num_symbols: 1\n",
        "there is no such process"
    );
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap();
    let read = symbols.lines().find_map(|line| line.strip_suffix(" T vfs_read")).unwrap();
    let read = u64::from_str_radix(read, 16).unwrap();
    assert_eq!(names(&format!("{read:#x}")), format!("num_symbols: 1\n{read:#x} vfs_read\n"));
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
}

#[test]
fn answers_to_people_and_machines() {
    let session = Session::begin();
    let _target = Target::start(&Program::Pie.build(), &["burn"]);
    let (agent, port) = start(&session, &["--window", "2s"]);
    let deadline = Instant::now() + Duration::from_secs(60);
    // Ready is who has finished a window; its files are written after that.
    while get(port, "/readyz").status != 200 || metric(port, "profiler_profiles_written_total") == 0.0 {
        assert!(Instant::now() < deadline, "never ready");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(get(port, "/healthz").text(), "ok\n");
    let index = get(port, "/debug/pprof/");
    assert!(index.status == 200 && index.text().contains("chain-pie"), "{}", index.text());
    assert!(get(port, "/debug/pprof/cmdline").text().contains("agent\0-o\0out"));
    assert!(get(port, "/debug/pprof/symbol").text().starts_with("num_symbols: 1"));
    let page = get(port, "/");
    assert!(page.status == 200 && page.text().contains("<!doctype html>"), "{}", page.text());
    assert!(get(port, "/api/about").text().contains("chain-pie"), "the page shows the folder");

    let metrics = get(port, "/metrics");
    assert!(metrics.head.contains("application/openmetrics-text"), "{}", metrics.head);
    assert!(metrics.text().ends_with("# EOF\n"));
    for name in ["profiler_windows_total", "profiler_profiles_written_total", "process_cpu_seconds_total"] {
        assert!(metric(port, name) > 0.0, "{name}");
    }
    assert!(metric(port, "profiler_ticks_total{outcome=\"complete\"}") > 0.0);
    assert!(metric(port, "profiler_memory_bytes{part=\"tables\"}") > 0.0);

    for (path, status, says) in [
        ("/debug/pprof/profile?seconds=0", 400, "from 1 to 3600"),
        ("/debug/pprof/profile?proces=x", 400, "no parameter \"proces\""),
        ("/debug/pprof/profile?process=~(", 400, "not a regex"),
        ("/debug/pprof/profile?pid=4194305", 404, "no process 4194305"),
        ("/debug/pprof/heap", 404, "CPU time"),
        ("/debug/pprof/../../etc/passwd", 404, ""),
        ("/debug/pprof/profile?process=../../etc&seconds=x", 400, "seconds"),
    ] {
        let answer = get(port, path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.text().contains(says), "{path}: {}", answer.text());
        if path.starts_with("/debug/pprof/profile") {
            assert!(answer.head.contains("x-go-pprof: 1"), "{path}: {}", answer.head);
        }
    }
    let nobody = get(port, "/debug/pprof/profile?seconds=1&process=nobody-at-all");
    assert_eq!(nobody.status, 200, "an empty profile is one, too");
    assert_eq!(ask(port, "GET", "/metrics", &["Host: evil.example"]).status, 403);
    assert_eq!(ask(port, "POST", "/debug/pprof/profile", &[]).status, 405);
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
}

#[test]
fn a_socket_of_the_file_system() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    let session = Session::begin();
    let path = session.path("profiler.sock");
    let address = format!("unix:{}", path.display());
    let mut agent = Profiler::new(session.folder(), ["agent", "-o", "out", "--http", &address]).start();
    agent.wait_until_sampling();
    let mut stream = UnixStream::connect(&path).expect("a connection");
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok\n"), "{answer}");
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
    assert!(!path.exists(), "it is removed");
}

#[test]
fn encryption_and_a_token() {
    let session = Session::begin();
    certificate(session.folder());
    std::fs::write(session.path("token"), "s3cret\n").expect("a token");
    let _target = Target::start(&Program::Pie.build(), &["burn"]);
    let more = ["--http-tls-cert", "cert.pem", "--http-tls-key", "key.pem", "--http-token-file", "token"];
    let (agent, port) = start(&session, &more);
    let ask = |user: &str| {
        let cert = session.path("cert.pem");
        let url = format!("https://{user}127.0.0.1:{port}/debug/pprof/profile?seconds=1");
        // It trusts what Go's libraries trust.
        pprof(&url, &["-top"], &[("SSL_CERT_FILE", &cert)])
    };
    let known = ask("any:s3cret@");
    assert!(known.status.success(), "{}", String::from_utf8_lossy(&known.stderr));
    assert!(String::from_utf8_lossy(&known.stdout).contains("leaf_heavy"));
    for user in ["", "any:wrong@", "s3cret@"] {
        let refused = ask(user);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("wants a token"), "{user}: {said}");
    }
    // Another token from now on, without a restart.
    std::fs::write(session.path("token"), "other-secret\n").expect("a token");
    assert!(ask("any:other-secret@").status.success() && !ask("any:s3cret@").status.success());
    // Who does not encrypt is not answered.
    let mut bytes = Vec::new();
    let _ = std::io::Read::read_to_end(&mut send(port, "GET", "/healthz", &[]), &mut bytes);
    assert!(!bytes.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&bytes));
    agent.signal(libc::SIGTERM);
    let finished = agent.finish();
    finished.assert_success();
    finished.check(!finished.stderr.contains("s3cret"), "secrets are not logged");
}

#[test]
fn other_hosts_need_a_secret_and_encryption() {
    let session = Session::begin();
    let run = |args: &[&str]| {
        let args = ["agent", "-o", "out"].iter().chain(args);
        Profiler::new(session.folder(), args).run()
    };
    run(&["--http", "0.0.0.0:0"]).assert_refused(&["--http-tls-cert"]);
    run(&["--http", "0.0.0.0:0", "--http-insecure-plaintext"]).assert_refused(&["--http-token-file"]);
    run(&["--http", "127.0.0.1:0", "--http-token-file", "missing"]).assert_refused(&["missing"]);
    run(&["--http", "nowhere"]).assert_refused(&["an address and a port"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    run(&["--http", &address]).assert_refused(&["choose another address or port", &address]);
}
