//! `profiler diff` on real recordings: a slower function is found, noise is called noise.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use profiler_tests::{Bare, Profiler, Session, Target, folder};
use serde_json::Value;

/// One of twenty 95 % intervals does not hold the truth. One of ten thousand is off by more than twice its half: 3.9
/// standard errors.
const BEYOND_CHANCE: f64 = 2.0;

/// Records the program with these shares.
fn record(session: &Session, name: &str, shares: [&str; 3]) -> PathBuf {
    // Equal functions would be one.
    let program = Bare::c("shares.c", "shares").with(&["-fno-ipa-icf"]).build();
    let target = Target::start(&program, &shares);
    let pid = target.pid_label();
    let file = format!("{name}.pb.gz");
    Profiler::new(session.folder(), ["record", "-p", &pid, "-d", "30s", "-F", "999", "-o", &file])
        .run()
        .assert_success();
    session.path(&file)
}

fn diff(session: &Session, args: &[&str]) -> Value {
    let mut all = vec!["diff", "base.pb.gz", "other.pb.gz", "--json"];
    all.extend(args);
    let finished = Profiler::new(session.folder(), all).run();
    finished.assert_success();
    let report = serde_json::from_str(&finished.stdout).unwrap_or_default();
    finished.check(report != Value::Null, "JSON was expected");
    report
}

#[test]
fn a_slower_function_comes_first() {
    let session = Session::begin();
    record(&session, "base", ["100", "100", "100"]);
    record(&session, "other", ["100", "100", "110"]);
    let report = diff(&session, &[]);
    let first = &report["rows"][0];
    assert_eq!(first["name"], "share_three", "{report:#}");
    assert_eq!(first["own"]["verdict"], "more");
    let low = first["own"]["interval"][0].as_f64().unwrap_or_default();
    let high = first["own"]["interval"][1].as_f64().unwrap_or_default();
    // A third of the time becomes 110 of 310 parts: 2.15 percentage points more.
    let (middle, half) = (f64::midpoint(low, high), (high - low) / 2.0);
    assert!(low > 0.0, "the interval excludes zero: {low} to {high}");
    assert!((middle - 2.15).abs() < BEYOND_CHANCE * half, "{low} to {high} is near 2.15");
    // 30 s at 999 Hz on either side: the interval is as narrow as chance allows.
    assert!(half < 1.1, "{low} to {high}");
    let judged = |condition: &str| {
        let args = ["diff", "base.pb.gz", "other.pb.gz", "--fail-on", condition];
        Profiler::new(session.folder(), args).run()
    };
    judged("flat(share_three) > +1%").assert_code(3);
    judged("flat(share_three) > +50%").assert_code(0);
    judged("flat(nobody) > +1%").assert_code(1);
    judged("share_three > 1%").assert_refused(&["no condition", "flat(FUNCTION)"]);
    Profiler::new(session.folder(), ["diff", "base.pb.gz", "other.pb.gz", "-o", "d.html"])
        .run()
        .assert_success();
    let page = std::fs::read_to_string(session.path("d.html")).unwrap_or_default();
    assert!(page.contains("share_three") && page.contains("\"base\":["), "the page is a comparison");
}

/// An agent's windows of a program that always does the same, each compared with the next.
#[test]
fn the_same_program_twice_is_noise() {
    const WINDOWS: usize = 16;
    let session = Session::begin();
    let program = Bare::c("shares.c", "shares").with(&["-fno-ipa-icf"]).build();
    let target = Target::start(&program, &["50", "30", "20"]);
    let mut agent =
        Profiler::new(session.folder(), ["agent", "-o", "out", "--window", "3s", "-F", "999"]).start();
    agent.wait_until_sampling();
    let own = format!("-{}.", target.pid());
    let windows = || {
        let mut files =
            if session.path("out").exists() { folder::profiles(&session.path("out")) } else { vec![] };
        files.retain(|file| file.to_string_lossy().contains(&own));
        files
    };
    let deadline = Instant::now() + Duration::from_secs(300);
    while windows().len() < WINDOWS + 1 {
        assert!(Instant::now() < deadline, "{} windows", windows().len());
        std::thread::sleep(Duration::from_millis(100));
    }
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();

    // The first window begins anywhere; it and the last one may be short.
    let files: Vec<_> = windows().into_iter().skip(1).take(WINDOWS).collect();
    let judged = |row: &Value| row["own"]["verdict"].as_str().unwrap_or("").to_owned();
    let (mut changed, mut all) = (0, 0);
    for pair in files.chunks_exact(2) {
        std::fs::copy(&pair[0], session.path("base.pb.gz")).unwrap();
        std::fs::copy(&pair[1], session.path("other.pb.gz")).unwrap();
        let report = diff(&session, &["--by", "lines"]);
        let rows = report["rows"].as_array().cloned().unwrap_or_default();
        assert!(rows.iter().any(|row| judged(row) == "noise"), "{report:#}");
        let own = rows.iter().map(judged).filter(|verdict| verdict != "same");
        let (noise, other): (Vec<_>, Vec<_>) = own.partition(|verdict| verdict == "noise");
        changed += other.len();
        all += noise.len() + other.len();
    }
    // Five of a hundred, and what that may become by chance in one of ten thousand runs. Lines of one pair depend on each
    // other, as their shares add up to one: half of them count.
    let independent = all as f64 / 2.0;
    let bound = 0.05 + 3.9 * (0.05 * 0.95 / independent).sqrt();
    eprintln!("{changed} of {all} lines changed, at most {bound:.3} of them");
    assert!(all >= 24, "{all} lines in {} pairs", WINDOWS / 2);
    assert!(changed as f64 <= bound * all as f64, "{changed} of {all} lines changed, over {bound:.3}");
    let threads = diff(&session, &["--by", "thread"]);
    assert_eq!(threads["rows"][0]["name"], "shares");
}

/// Two services that share their code, one of which got a slower function, in one recording of the host.
#[test]
fn a_service_against_another() {
    let session = Session::begin();
    let program = Bare::c("shares.c", "shares").with(&["-fno-ipa-icf"]).build();
    let start = |service: &str, third: &str| {
        let mut command = std::process::Command::new("env");
        command.arg(format!("OTEL_SERVICE_NAME={service}")).arg(&program).args(["100", "100", third]);
        Target::start_as(&mut command)
    };
    let _targets = [start("shop", "100"), start("cart", "110")];
    Profiler::new(session.folder(), ["record", "-d", "30s", "-F", "999", "-o", "base.pb.gz"])
        .run()
        .assert_success();
    std::fs::copy(session.path("base.pb.gz"), session.path("other.pb.gz")).unwrap();
    let report = diff(&session, &["--base-where", "service=shop", "--other-where", "service=cart"]);
    let first = &report["rows"][0];
    assert_eq!(first["name"], "share_three", "{report:#}");
    assert_eq!(first["own"]["verdict"], "more", "{report:#}");
    let low = first["own"]["interval"][0].as_f64().unwrap_or_default();
    assert!(low > 0.0, "the interval excludes zero: {report:#}");
    let services = diff(&session, &["--by", "service"]);
    let names: Vec<_> =
        services["rows"].as_array().into_iter().flatten().map(|row| row["name"].clone()).collect();
    assert!(names.contains(&"shop".into()) && names.contains(&"cart".into()), "{names:?}");
}
