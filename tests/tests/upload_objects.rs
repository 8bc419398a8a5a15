//! Object storage: one object for each host and window, once, with every sample, whatever happens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use profiler_tests::bucket::Bucket;
use profiler_tests::pprof_tool::pprof;
use profiler_tests::receiver::Behaviour;
use profiler_tests::server::{free_port, metric};
use profiler_tests::uploads::{add, sum, wait_until, written};
use profiler_tests::{Pprof, Profiler, Program, Running, Session, Target, folder};

const SERVICE: &str = "chain-pie";

fn credentials(session: &Session, id: &str, secret: &str) {
    let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    // Whole, as whoever rotates them should.
    let (new, path) = (session.path("credentials.new"), session.path("credentials"));
    assert!(std::fs::write(&new, text).and_then(|()| std::fs::rename(new, path)).is_ok(), "credentials");
}

fn start(session: &Session, http: u16, uploads: &[String]) -> Running {
    let http = format!("127.0.0.1:{http}");
    let mut args = vec!["agent", "-o", "out", "--window", "1s", "-F", "199", "--http", &http];
    args.extend(uploads.iter().flat_map(|upload| ["--upload", upload.as_str()]));
    let mut agent = Profiler::new(session.folder(), args).start();
    agent.wait_until_sampling();
    agent
}

/// Objects as files: what copying a bucket gives.
fn copied(session: &Session, name: &str, objects: &BTreeMap<String, Vec<u8>>) -> PathBuf {
    let root = session.path(name);
    for (key, bytes) in objects {
        let path = root.join(decoded(key.trim_start_matches('/')));
        let made = path.parent().is_some_and(|parent| std::fs::create_dir_all(parent).is_ok());
        assert!(made && std::fs::write(&path, bytes).is_ok(), "{}", path.display());
    }
    root
}

/// A key as it was before it became a part of an address (RFC 3986, section 2.1): Google's API wants slashes encoded, too.
fn decoded(key: &str) -> String {
    let mut parts = key.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (code, rest) = part.split_at(part.len().min(2));
        text + &u8::from_str_radix(code, 16).map_or('?', char::from).to_string() + rest
    })
}

/// Samples of a program in all objects of a folder, by window.
fn in_folder(root: &Path, target: &Target) -> BTreeMap<i64, BTreeMap<String, i64>> {
    let mut windows = BTreeMap::new();
    for file in folder::profiles(root) {
        let mut profile = Pprof::read(&file);
        profile.check(!profile.values("host").is_empty(), "its host");
        profile.stacks.retain(|stack| stack.label("pid") == target.pid_label());
        profile.check(profile.stacks.iter().all(|stack| stack.label("service") == SERVICE), "its service");
        if !profile.stacks.is_empty() {
            add(&mut windows, &profile);
        }
    }
    windows
}

#[test]
fn a_bucket_has_every_window_once_whatever_happens() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    use Behaviour::{Garbage, Refuse, Take, TakeSlowly};
    let script = [Refuse(503), Take, Refuse(500), Garbage, Take, TakeSlowly, Refuse(429), Take, Take];
    let bucket = Bucket::start(&script);
    bucket.require("ID", "se/cret");
    credentials(&session, "ID", "se/cret");
    let upload = format!(
        "kind = \"s3\", url = \"s3://profiles/{{region}}/cpu\", endpoint = \"{}\", region = \"eu-west-1\", \
         credentials-file = \"credentials\", labels = {{ region = \"eu\" }}, timeout = \"2s\", retry-min = \"100ms\", \
         retry-max = \"500ms\", group-by = [\"service\", \"pid\", \"host\"]",
        bucket.endpoint()
    );
    let http = free_port();
    let uploads = [upload];
    let agent = start(&session, http, &uploads);
    wait_until("half of the script", || bucket.requests().0 > 5);
    agent.signal(libc::SIGKILL);
    drop(agent);
    assert!(!bucket.objects().is_empty(), "something has arrived");

    // Another key, while the agent runs.
    let agent = start(&session, http, &uploads);
    wait_until("the whole script", || bucket.requests().0 > script.len() + 2);
    bucket.require("ID2", "other");
    wait_until("the old key is refused", || bucket.requests().1 > 0);
    credentials(&session, "ID2", "other");
    let taken = bucket.objects().len();
    wait_until("the new key is used", || bucket.objects().len() > taken + 1);
    wait_until("an empty spool", || metric(http, "profiler_spool_batches{target=\"s3\"}") <= 1.0);
    agent.signal(libc::SIGTERM);
    let finished = agent.finish();
    finished.assert_success();
    finished.check(!finished.stderr.contains("se/cret"), "secrets are not logged");

    let objects = bucket.objects();
    for key in objects.keys() {
        assert!(key.starts_with("/profiles/eu/cpu/20") && key.ends_with(".cpu.pb.gz"), "{key}");
        let below = Path::new(key).strip_prefix("/profiles/eu/cpu").map(folder::is_agent_path);
        assert_eq!(below, Ok(true), "{key}: the agent's own layout");
    }
    // An answer that came too late makes one be sent again, and replace itself.
    assert!(bucket.puts().values().any(|&puts| puts > 1), "{:?}", bucket.puts());
    let root = copied(&session, "copy", &objects);
    let (arrived, written) = (in_folder(&root, &target), written(&session, &target));
    assert!(written.len() > 5, "{} windows", written.len());
    for (start, sums) in &written {
        assert_eq!(arrived.get(start), Some(sums), "the window of {start}");
    }
    // The one that was being written when the agent was killed.
    assert!(arrived.len() <= written.len() + 1, "{} windows arrived of {}", arrived.len(), written.len());

    // Read back: by the profiler as a folder of its own, and by pprof.
    let wanted: i64 = arrived.values().flat_map(BTreeMap::values).sum();
    let pid = format!("pid={}", target.pid());
    let top =
        Profiler::new(session.folder(), ["top", "copy", "--since", "1h", "--where", &pid, "--json"]).run();
    top.assert_success();
    let report: serde_json::Value = serde_json::from_str(&top.stdout).expect("JSON");
    let period = 1_000_000_000 / 199;
    assert_eq!(report["total"].as_i64().map(|total| total / period), Some(wanted), "{}", top.stdout);
    let file = folder::profiles(&root).pop().expect("an object");
    assert!(pprof(&file, &["-top", "-tagfocus=service=chain-pie"]).contains("leaf_heavy"));
    assert!(pprof(&file, &["-tags"]).contains("region"));
}

#[test]
fn every_store_has_every_sample() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let file = |name: &str, text: &str| {
        assert!(std::fs::write(session.path(name), text).is_ok(), "{name}");
        name.to_owned()
    };
    let google = file(
        "google",
        r#"{"private_key": "p", "private_key_id": "i", "client_email": "e", "disable_oauth": true}"#,
    );
    let azure = file("azure", "c2VjcmV0");
    let (gcs, blobs) = (Bucket::start(&[]), Bucket::start(&[]));
    let shared = session.path("shared");
    let pid = ", group-by = [\"service\", \"pid\", \"host\"]";
    let uploads = [
        format!(
            "kind = \"gcs\", url = \"gs://b/p\", endpoint = \"{}\", credentials-file = \"{google}\"{pid}",
            gcs.endpoint()
        ),
        format!(
            "kind = \"azure\", url = \"az://c/p\", account = \"a\", endpoint = \"{}\", credentials-file = \"{azure}\"{pid}",
            blobs.endpoint()
        ),
        format!("kind = \"folder\", url = \"file://{}\", interval = \"3s\"{pid}", shared.display()),
    ];
    let agent = start(&session, free_port(), &uploads);
    std::thread::sleep(Duration::from_secs(7));
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
    let wanted = sum(written(&session, &target));
    assert!(wanted.values().sum::<i64>() > 9, "{wanted:?}");
    for (name, bucket) in [("gcs", &gcs), ("azure", &blobs)] {
        let root = copied(&session, &format!("copy-{name}"), &bucket.objects());
        assert_eq!(sum(in_folder(&root, &target)), wanted, "{name}: {:?}", bucket.puts());
    }
    assert_eq!(sum(in_folder(&shared, &target)), wanted, "folder");
    let files = folder::profiles(&shared);
    assert!((2..=4).contains(&files.len()), "an object for each interval: {files:?}");
}
