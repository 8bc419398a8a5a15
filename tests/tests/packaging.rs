//! What the packages install: the settings are right, and the service can do its work with no more than it is given.
#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use profiler_tests::chain::Chain;
use profiler_tests::programs::must_run;
use profiler_tests::server::{free_port, get};
use profiler_tests::tools::require;
use profiler_tests::{Pprof, Profiler, Program, Session, Target, dist, folder, profiler};
use serde_json::Value;

fn packaged(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging")).join(name)
}

/// A line of the unit.
fn unit(key: &str) -> String {
    let text = std::fs::read_to_string(packaged("profiler.service")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_default().to_owned()
}

#[test]
fn the_settings_are_right() {
    let session = Session::begin();
    let file = packaged("profiler.toml").display().to_string();
    Profiler::new(session.folder(), ["agent", "--config", &file, "--check-config"]).run().assert_success();
}

#[test]
fn the_service_works_with_the_capabilities_of_its_unit() {
    /// Nobody.
    const UID: u32 = 65534;
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let mut capabilities: Vec<String> = unit("AmbientCapabilities")
        .split(' ')
        .map(|name| format!("+{}", name.trim_start_matches("CAP_").to_ascii_lowercase()))
        .collect();
    assert_eq!(capabilities.len(), 6, "{capabilities:?}");
    // The unit's limit; where the tests may not raise it, the capability that it is in place of.
    assert_eq!(unit("LimitNICE"), "-10");
    let limit = ["prlimit", "--nice=30:30"];
    let may_raise = Command::new(limit[0]).args([limit[1], "true"]).output().unwrap().status.success();
    let limited = if may_raise {
        &limit[..]
    } else {
        capabilities.push("+sys_nice".to_owned());
        &["env"]
    };
    let (capabilities, bounds) = (capabilities.join(","), format!("-all,{}", capabilities.join(",")));
    // Where nobody may go.
    let binary = session.path("profiler");
    std::fs::copy(profiler::binary(), &binary).unwrap();
    for folder in [session.folder().to_owned(), session.path("out"), session.path("cache")] {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(&folder, Some(UID), Some(UID)).unwrap();
    }
    let mut agent = Command::new(limited[0]);
    let uid = UID.to_string();
    agent.args(&limited[1..]).arg("setpriv");
    agent.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "--no-new-privs"]);
    agent.args(["--inh-caps", &capabilities, "--ambient-caps", &capabilities, "--bounding-set", &bounds]);
    agent.args(["timeout", "-s", "INT", "8"]).arg(&binary);
    agent.args(["agent", "-o", "out", "--unwind-cache", "cache", "--window", "2s", "-F", "99"]);
    let done = agent.current_dir(session.folder()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    // A busy machine has nothing to do with capabilities.
    let missing: Vec<&str> =
        said.lines().filter(|line| !line.contains("requests for unwind tables were dropped")).collect();
    assert!(missing.is_empty(), "nothing is missing: {missing:?}");
    let files = folder::profiles_of(&session.path("out"), target.pid());
    assert!(files.len() >= 2, "{files:?}");
    for file in &files {
        let profile = Pprof::read(file);
        Chain::of(Program::Pie).assert_whole("without root", &profile.of_pid(target.pid()));
    }
    let all = Pprof::read(&folder::profiles(&session.path("out"))[0]);
    all.check(!all.stacks.is_empty(), "samples");
}

/// What `systemd-analyze security` says of the unit: 0 is confined, 10 is not. Drop-ins lie in a folder beside it.
fn exposure(drop_ins: &[&str]) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("profiler.service");
    std::fs::copy(packaged("profiler.service"), &unit).unwrap();
    let beside = folder.path().join("profiler.service.d");
    std::fs::create_dir(&beside).unwrap();
    for name in drop_ins {
        std::fs::copy(packaged("profiler.service.d").join(name), beside.join(name)).unwrap();
    }
    let mut analyze = Command::new("systemd-analyze");
    let told = analyze.args(["security", "--offline=true", "--no-pager"]).arg(&unit).output().unwrap();
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    let exposure = text.lines().find_map(|line| line.split_once("exposure level for profiler.service: "));
    let exposure = exposure.and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    assert!(exposure.is_some(), "no exposure level in\n{text}");
    exposure.unwrap_or(10.0)
}

#[test]
fn the_service_is_confined() {
    let alone = exposure(&[]);
    assert!(alone < 3.0, "{alone}");
    // What docs/operations.md says of Debian's.
    let with_admin = exposure(&["debian.conf"]);
    assert!(alone < with_admin && with_admin < 3.05, "{with_admin}");
    assert_eq!(unit("AmbientCapabilities"), unit("CapabilityBoundingSet"));
    assert_eq!(unit("NoNewPrivileges"), "yes");
}

#[test]
fn debians_kernels_get_what_they_ask_for_and_no_more() {
    let text = std::fs::read_to_string(packaged("profiler.service.d/debian.conf")).unwrap();
    let settings: Vec<&str> =
        text.lines().filter(|line| line.contains('=') && !line.starts_with('#')).collect();
    assert_eq!(settings, ["AmbientCapabilities=CAP_SYS_ADMIN", "CapabilityBoundingSet=CAP_SYS_ADMIN"]);
}

/// Man pages and completions, in a folder that goes away.
fn made() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    dist::write(folder.path()).unwrap();
    folder
}

fn subcommands() -> Vec<String> {
    profiler_user::cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

#[test]
fn every_subcommand_has_a_man_page() {
    require("mandoc", "mandoc");
    let folder = made();
    let man = folder.path().join("man");
    let mut names: Vec<String> = subcommands().into_iter().map(|name| format!("profiler-{name}.1")).collect();
    assert!(names.len() >= 18, "{names:?}");
    names.push("profiler.1".to_owned());
    assert_eq!(std::fs::read_dir(&man).unwrap().count(), names.len());
    let mut lint = Command::new("mandoc");
    let linted =
        lint.args(["-Tlint", "-Werror"]).args(names.iter().map(|name| man.join(name))).output().unwrap();
    assert!(linted.status.success(), "{}", String::from_utf8_lossy(&linted.stdout));
    let text =
        |name: &str| must_run(Command::new("mandoc").args(["-Tascii", "-Owidth=120"]).arg(man.join(name)));
    // Overstruck, as for a printer: each letter twice where it is bold.
    let plain = |name: &str| {
        let mut plain = String::new();
        for letter in text(name).chars() {
            if letter == '\u{8}' {
                plain.pop();
            } else {
                plain.push(letter);
            }
        }
        plain
    };
    let record = plain("profiler-record.1");
    for wanted in [
        "--frequency",
        "EXAMPLES",
        "profiler record -o build.pb.gz -- make -j8   a command with all its children, until it ends\n",
        "SEE ALSO",
    ] {
        assert!(record.contains(wanted), "{wanted} in\n{record}");
    }
    let whole = plain("profiler.1");
    for wanted in ["profiler-diff(1)", "EXIT STATUS", "A condition of profiler diff --fail-on is met."] {
        assert!(whole.contains(wanted), "{wanted} in\n{whole}");
    }
}

#[test]
fn bash_completes_subcommands_and_options() {
    let folder = made();
    let script = folder.path().join("completions/profiler.bash");
    must_run(Command::new("bash").arg("-n").arg(&script));
    let complete = |words: &[&str]| {
        let (line, at) = (words.join(" "), words.len() - 1);
        let run = format!(
            "source {}; COMP_LINE='{line}' COMP_POINT={} COMP_CWORD={at} COMP_WORDS=({line}); \
             [[ ${{#COMP_WORDS[@]}} -gt {at} ]] || COMP_WORDS+=(''); \
             _profiler profiler '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display(),
            line.len(),
            words[at],
            words[at - 1],
        );
        must_run(Command::new("bash").args(["-c", &run])).lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(complete(&["profiler", "rec"]), BTreeSet::from(["record".to_owned()]));
    let all = complete(&["profiler", ""]);
    for name in subcommands() {
        assert!(all.contains(&name), "{name} in {all:?}");
    }
    assert_eq!(complete(&["profiler", "agent", "--http-t"]).len(), 3, "two of TLS, one of the token");
}

#[test]
fn the_debian_package_has_what_it_names() {
    let manifest = packaged("../profiler-user/Cargo.toml");
    let manifest: toml::Table = std::fs::read_to_string(&manifest).unwrap().parse().unwrap();
    let deb = &manifest["package"]["metadata"]["deb"];
    let assets: Vec<(&str, &str)> = deb["assets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|asset| (asset[0].as_str().unwrap(), asset[1].as_str().unwrap()))
        .collect();
    let dist = made();
    for (source, _) in &assets {
        // Built when the package is.
        if source.starts_with("target/") {
            continue;
        }
        let (folder, file) = match source.strip_prefix("../target/dist/") {
            Some(file) => (dist.path().to_owned(), file),
            None => (packaged("../profiler-user"), *source),
        };
        let first = folder.join(file.replace("*.1", "profiler.1"));
        assert!(first.is_file(), "{source}");
    }
    // The unit runs what the package installs, with the settings that it installs.
    let installs = |path: &Path| {
        let path = path.strip_prefix("/").unwrap();
        assets.iter().any(|(source, target)| {
            let name = Path::new(source).file_name().unwrap();
            let target = if target.ends_with('/') { Path::new(target).join(name) } else { target.into() };
            target == path
        })
    };
    let start = unit("ExecStart");
    let paths: Vec<&Path> = start.split(' ').filter(|word| word.starts_with('/')).map(Path::new).collect();
    assert_eq!(paths.len(), 2, "{start}");
    assert!(paths.iter().all(|path| installs(path)), "{start}");
    assert_eq!(deb["conf-files"][0].as_str(), paths[1].to_str());
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let session = Session::begin();
    let (port, upload) = (free_port(), "kind = \"http\", url = \"http://127.0.0.1:9/\"");
    let http = format!("127.0.0.1:{port}");
    let args = ["agent", "-o", "out", "--http", &http, "--upload", upload];
    let mut agent = Profiler::new(session.folder(), args).start();
    agent.wait_until_sampling();
    let metrics = get(port, "/metrics").text();
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
    let exported: BTreeSet<&str> = metrics
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    assert!(exported.len() > 20, "{exported:?}");

    let text = std::fs::read_to_string(packaged("grafana/profiler.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut asked = BTreeSet::new();
    let panels = dashboard["panels"].as_array().unwrap();
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten()) {
        let expression = target["expr"].as_str().unwrap();
        let words = expression.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        let names: Vec<&str> =
            words.filter(|word| word.starts_with("profiler_") || word.starts_with("process_")).collect();
        assert!(!names.is_empty(), "{expression}");
        asked.extend(names);
    }
    assert!(asked.is_subset(&exported), "{:?}", asked.difference(&exported).collect::<Vec<_>>());
    // And nothing is left out.
    assert!(exported.is_subset(&asked), "{:?}", exported.difference(&asked).collect::<Vec<_>>());
}

#[test]
fn the_dashboard_is_one_of_grafana_s() {
    let text = std::fs::read_to_string(packaged("grafana/profiler.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36), "datasources are objects since 36");
    assert!(dashboard["id"].is_null() && dashboard["uid"].is_string() && dashboard["title"].is_string());
    let variables: Vec<&str> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, ["datasource", "job", "instance"]);
    assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource");
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24 && place("w") > 0 && place("h") > 0, "{panel}");
        for y in place("y")..place("y") + place("h") {
            for x in place("x")..place("x") + place("w") {
                assert!(taken.insert((x, y)), "{} lies on another one", panel["title"]);
            }
        }
        let sources = panel["targets"].as_array().into_iter().flatten().chain([panel]);
        for source in sources.filter(|_| panel["type"] != "row") {
            assert_eq!(source["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        }
    }
}
