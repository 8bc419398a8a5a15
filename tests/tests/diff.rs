//! `profiler diff` on real recordings: a slower function is found, noise is called noise.

use std::path::PathBuf;

use profiler_tests::{Bare, Profiler, Session, Target};
use serde_json::Value;

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
    assert!(0.0 < low && low < 2.15 && 2.15 < high, "{low} to {high}");
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

#[test]
fn the_same_program_twice_is_noise() {
    let session = Session::begin();
    record(&session, "base", ["50", "30", "20"]);
    record(&session, "other", ["50", "30", "20"]);
    let report = diff(&session, &["--by", "lines"]);
    let rows = report["rows"].as_array().cloned().unwrap_or_default();
    let changed = |row: &&Value| !["noise", "same"].contains(&row["own"]["verdict"].as_str().unwrap_or(""));
    let (changed, all) = (rows.iter().filter(changed).count(), rows.len());
    // One of few rows is more than one of twenty, and one is what chance may do.
    assert!(all > 5 && changed <= 1.max(all / 20), "{changed} of {all} rows changed: {report:#}");
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
