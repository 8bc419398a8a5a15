//! Uploads over gRPC: what arrives is what was recorded, whatever the server says.
#![expect(clippy::expect_used, reason = "clippy knows tests by their attribute, not their helpers")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use profiler_tests::grpc::{Grpc, Reply};
use profiler_tests::overhead::otlp::read::leaves;
use profiler_tests::server::{free_port, metric};
use profiler_tests::uploads::{Sums, Windows, add, read, sum, wait_until, written};
use profiler_tests::{Profiler, Program, Running, Session, Target};
use prost::Message;

const EXPORT: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
const WRITE_RAW: &str = "/parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw";

/// parca.profilestore.v1alpha1.WriteRawRequest.
#[derive(Clone, PartialEq, Message)]
struct Write {
    #[prost(message, repeated, tag = "2")]
    series: Vec<Series>,
}

#[derive(Clone, PartialEq, Message)]
struct Series {
    #[prost(message, optional, tag = "1")]
    labels: Option<LabelSet>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelSet {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(bytes = "vec", tag = "1")]
    raw_profile: Vec<u8>,
}

fn start(session: &Session, http: u16, uploads: &[String]) -> Running {
    let http = format!("127.0.0.1:{http}");
    let mut args = vec!["agent", "-o", "out", "--window", "1s", "-F", "199", "--http", &http];
    args.extend(uploads.iter().flat_map(|upload| ["--upload", upload.as_str()]));
    let mut agent = Profiler::new(session.folder(), args).start();
    agent.wait_until_sampling();
    agent
}

fn otlp(server: &Grpc, target: &Target, more: &str) -> String {
    format!(
        "kind = \"otlp\", protocol = \"grpc\", url = \"{}\", where = \"pid={}\", retry-min = \"50ms\", \
         retry-max = \"300ms\", timeout = \"5s\", token-file = \"token\"{more}",
        server.url(),
        target.pid()
    )
}

fn outcome(http: u16, target: &str, outcome: &str) -> f64 {
    metric(http, &format!("profiler_upload_series_total{{target=\"{target}\",outcome=\"{outcome}\"}}"))
}

/// Samples of all messages that the server took.
fn taken(server: &Grpc, is_taken: impl Fn(usize) -> bool) -> Sums {
    let mut sums = Sums::new();
    for (number, call) in server.calls().iter().enumerate().filter(|(number, _)| is_taken(*number)) {
        assert_eq!((call.method.as_str(), call.messages.len()), (EXPORT, 1), "request {number}");
        for (name, count) in leaves(&call.messages[0]).expect("a request") {
            *sums.entry(name).or_default() += count;
        }
    }
    sums
}

#[test]
fn otlp_over_grpc_through_every_kind_of_trouble() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    assert!(std::fs::write(session.path("token"), "t0ken").is_ok());
    // Nothing of these is taken.
    let script = [
        Reply::Status(14, "away".to_owned()),
        Reply::After(8, 1),
        Reply::Status(16, "who%20are you".to_owned()),
        Reply::Http(503),
        Reply::Status(4, "slow".to_owned()),
    ];
    let refused = script.len();
    let number = AtomicUsize::new(0);
    let server = Grpc::start(move |_| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        script.get(number).cloned().unwrap_or(Reply::Message(vec![]))
    });
    let http = free_port();
    let agent = start(&session, http, &[otlp(&server, &target, "")]);
    wait_until("some arrive", || outcome(http, "otlp", "delivered") >= 4.0);
    assert!(outcome(http, "otlp", "rejected") == 0.0);
    agent.signal(libc::SIGTERM);
    let finished = agent.finish();
    finished.assert_success();
    finished.check(!finished.stderr.contains("t0ken"), "secrets are not logged");
    for call in server.calls() {
        assert!(call.compressed && call.headers["authorization"] == "Bearer t0ken", "{:?}", call.headers);
    }
    let wanted = sum(written(&session, &target));
    assert_eq!(taken(&server, |number| number >= refused), wanted);
}

#[test]
fn what_a_server_refuses_for_good_is_counted_and_what_is_too_large_is_split() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    assert!(std::fs::write(session.path("token"), "t0ken").is_ok());
    // One that is invalid, one that is taken in part (partial_success{rejected_profiles: 1}), then those of more than one
    // sample are too large, by a server without gzip.
    let number = AtomicUsize::new(0);
    let picky = Grpc::start(move |_| match number.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::Status(3, "no".to_owned()),
        1 => Reply::Message(vec![10, 2, 8, 1]),
        _ => Reply::Message(vec![]),
    });
    let small = Grpc::start(|call| match () {
        () if call.compressed => {
            Reply::Status(12, "Decompressor is not installed for grpc-encoding \"gzip\"".to_owned())
        }
        () if call.messages[0].len() > 3000 => {
            Reply::Status(8, "grpc: received message larger than max (9 vs. 8)".to_owned())
        }
        () => Reply::Message(vec![]),
    });
    let http = free_port();
    let agent = start(
        &session,
        http,
        &[otlp(&picky, &target, ", name = \"picky\""), otlp(&small, &target, ", name = \"small\"")],
    );
    wait_until("some arrive", || outcome(http, "small", "delivered") >= 6.0);
    wait_until("some arrive", || outcome(http, "picky", "delivered") >= 2.0);
    assert!(outcome(http, "picky", "rejected") == 2.0);
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
    let limit = |number: usize| {
        let call = &small.calls()[number];
        !call.compressed && call.messages[0].len() <= 3000
    };
    assert_eq!(taken(&small, limit), sum(written(&session, &target)));
    let all = sum(written(&session, &target)).values().sum::<i64>();
    let without_two = taken(&picky, |number| number > 1).values().sum::<i64>();
    let two = taken(&picky, |number| number < 2).values().sum::<i64>();
    assert_eq!(without_two + two, all);
}

#[test]
fn parca_over_grpc() {
    let session = Session::begin();
    let target = Target::start(&Program::Pie.build(), &["burn"]);
    let number = AtomicUsize::new(0);
    let server = Grpc::start(move |_| match number.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::Status(14, "away".to_owned()),
        _ => Reply::Message(vec![]),
    });
    let http = free_port();
    let upload = format!(
        "kind = \"parca\", url = \"{}\", where = \"pid={}\", retry-min = \"50ms\", labels = {{ region = \"eu\" }}",
        server.url(),
        target.pid()
    );
    let agent = start(&session, http, &[upload]);
    std::thread::sleep(Duration::from_secs(4));
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
    let mut windows = Windows::new();
    for call in server.calls().iter().skip(1) {
        assert_eq!(call.method, WRITE_RAW);
        for series in Write::decode(&*call.messages[0]).expect("a WriteRawRequest").series {
            let labels = series.labels.expect("labels").labels;
            let of =
                |name: &str| labels.iter().find(|label| label.name == name).map(|label| label.value.as_str());
            assert_eq!((of("__name__"), of("region")), (Some("process_cpu"), Some("eu")), "{labels:?}");
            assert!(of("node").is_some(), "{labels:?}");
            add(&mut windows, &read(&session, &series.samples[0].raw_profile));
        }
    }
    assert_eq!(sum(windows), sum(written(&session, &target)));
}
