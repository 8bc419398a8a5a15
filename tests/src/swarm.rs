//! Many agents that send what was recorded once, and who takes it: what a window costs on its way, and how fast it is taken.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use profiler_common::{layout::ProcessKey, outcome::OUTCOMES};
use profiler_user::pipeline::{Effort, NamedWindow, ProcessProfile};
use profiler_user::profile::build::Span;
use profiler_user::profile::codec::decode;
use profiler_user::upload::{Origin, Target, Uploads};
use serde_json::{Value, json};

use crate::receiver::ids_of_push;
use crate::{Profiler, Session, folder};

/// Longest profile that is read, bytes.
const LONGEST: usize = 1 << 30;
/// Threads that take what is sent.
const TAKERS: usize = 4;

/// Records the host, and gives what an agent would have made of the time.
///
/// `hertz` times the CPUs of this host are the samples of another one: 32 times 19 Hz on two CPUs are those of 64 CPUs.
pub fn recorded(session: &Session, hertz: u32, seconds: u32) -> NamedWindow {
    let (length, hertz) = (format!("{seconds}s"), hertz.to_string());
    let args = ["record", "-d", &length, "-F", &hertz, "-o", "recorded/", "--memory", "2GiB"];
    Profiler::new(session.folder(), args).run().assert_success();
    let mut profiles = Vec::new();
    let mut span = Span::default();
    for (pid, file) in (1..).zip(folder::profiles(&session.path("recorded"))) {
        let bytes = std::fs::read(&file).expect("a profile");
        let mut profile = decode(&bytes, LONGEST).expect("a profile that can be read");
        span.start_unix_ns = profile.time_nanos.cast_unsigned();
        span.duration_ns = profile.duration_nanos.cast_unsigned();
        span.period_ns = profile.period.cast_unsigned();
        // The agent adds them when it sends.
        profile.comment.clear();
        let key = ProcessKey { pid, exec_id: 0, start_ns: 1 };
        profiles.push(ProcessProfile { key, name: String::new(), profile, outcomes: [0; OUTCOMES] });
    }
    assert!(!profiles.is_empty(), "something was recorded");
    std::fs::remove_dir_all(session.path("recorded")).expect("the folder");
    NamedWindow { span, outcomes: [0; OUTCOMES], profiles, cut: false, effort: Effort::default() }
}

/// Samples in a window.
pub fn samples(window: &NamedWindow) -> i64 {
    let samples = window.profiles.iter().flat_map(|process| &process.profile.sample);
    samples.map(|sample| sample.value.first().copied().unwrap_or(0)).sum()
}

/// Takes all that is sent by HTTP, and counts it.
#[derive(Debug)]
pub struct Sink {
    port: u16,
    requests: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
    ids: Arc<Mutex<Ids>>,
}

#[derive(Debug, Default)]
struct Ids {
    seen: HashSet<String>,
    again: u64,
}

impl Sink {
    /// Listens at some port of the loopback interface until the process ends.
    pub fn start() -> Sink {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").expect("a port"));
        let port = listener.local_addr().expect("an address").port();
        let sink = Sink { port, requests: Arc::default(), bytes: Arc::default(), ids: Arc::default() };
        for _ in 0..TAKERS {
            let listener = Arc::clone(&listener);
            let (requests, bytes, ids) =
                (Arc::clone(&sink.requests), Arc::clone(&sink.bytes), Arc::clone(&sink.ids));
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    if let Ok((body, on_the_wire)) = take(stream) {
                        requests.fetch_add(1, Ordering::Relaxed);
                        bytes.fetch_add(on_the_wire, Ordering::Relaxed);
                        let mut ids = ids.lock().expect("the ids");
                        for id in ids_of_push(&body) {
                            if !ids.seen.insert(id) {
                                ids.again += 1;
                            }
                        }
                    }
                }
            });
        }
        sink
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Bytes so far, header lines included.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// One request of a connection; its body, and the bytes of all of it.
fn take(mut stream: TcpStream) -> std::io::Result<(Vec<u8>, u64)> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut bytes = Vec::new();
    let mut more = vec![0; 64 << 10];
    let (head, length) = loop {
        let count = stream.read(&mut more)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&more[..count]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            break (end + 4, length.unwrap_or(0_usize));
        }
    };
    let mut rest = vec![0; (head + length).saturating_sub(bytes.len())];
    stream.read_exact(&mut rest)?;
    bytes.extend(rest);
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    let all = bytes.len() as u64;
    Ok((bytes.split_off(head), all))
}

/// Where a window is sent to.
#[derive(Debug, Clone)]
pub struct Way {
    /// Its name in tables.
    pub name: &'static str,
    /// The table of the configuration, with `{url}` for a server and `{folder}` for a folder.
    pub table: &'static str,
}

/// All ways.
pub const WAYS: [Way; 5] = [
    Way { name: "Pyroscope", table: r#"kind = "pyroscope", url = "{url}""# },
    Way { name: "Parca's gateway", table: r#"kind = "parca", protocol = "http", url = "{url}""# },
    Way { name: "OTLP", table: r#"kind = "otlp", url = "{url}""# },
    Way { name: "pprof files", table: r#"kind = "http", url = "{url}/{service}/{id}""# },
    Way { name: "objects", table: r#"kind = "folder", url = "file://{folder}/{host}""# },
];

impl Way {
    /// Whether what arrives there can be told apart, so that it is seen that each profile arrives once.
    pub fn is_for_many(&self) -> bool {
        self.table.contains("pyroscope") || self.table.contains("{folder}")
    }

    /// The target, where `url` and `folder` take it.
    fn target(&self, url: &str, folder: &Path) -> Target {
        let table = self.table.replace("{url}", url).replace("{folder}", &folder.to_string_lossy());
        table.parse().unwrap_or_else(|error| panic!("{table}: {error}"))
    }
}

/// A busy host, and what its window takes.
#[derive(Debug)]
pub struct Host {
    /// What runs there.
    pub name: &'static str,
    /// What was recorded.
    pub window: NamedWindow,
    /// On each way.
    pub sizes: Vec<Size>,
}

/// What one window takes on one way.
#[derive(Debug)]
pub struct Size {
    /// Which way.
    pub name: &'static str,
    /// Profiles.
    pub series: u64,
    /// Bytes that were sent for it, of protocols and profiles.
    pub bytes: u64,
}

/// Sends a window of a host on each way.
pub fn sizes(session: &Session, host: &str, window: &NamedWindow) -> Vec<Size> {
    let measure = |way: &Way| {
        let sink = Sink::start();
        let taken = session.path(&format!("taken-{host}-{}", way.name));
        let spool = session.path(&format!("spool-{host}-{}", way.name));
        let target = way.target(&sink.url(), &taken);
        let mut uploads = Uploads::start(&[target], &spool, &origin(0)).expect("uploads");
        uploads.window(window);
        wait(&[&uploads]);
        let series = delivered(&uploads);
        Size { name: way.name, series, bytes: sink.bytes() + folder_bytes(&taken) }
    };
    WAYS.iter().map(measure).collect()
}

fn origin(agent: usize) -> Origin {
    let labels = vec![("kernel".to_owned(), "6.1.0".to_owned())];
    Origin { about: vec!["profiler".to_owned()], host: format!("host-{agent} boot"), labels }
}

fn delivered(uploads: &Uploads) -> u64 {
    let counted = uploads.deliveries();
    for delivery in &counted {
        let counters = &delivery.counters;
        for counter in [&counters.rejected, &counters.expired, &counters.full, &counters.lost] {
            assert_eq!(counter.load(Ordering::Relaxed), 0, "something is lost");
        }
    }
    counted.iter().map(|delivery| delivery.counters.delivered.load(Ordering::Relaxed)).sum()
}

fn wait(all: &[&Uploads]) {
    let deadline = Instant::now() + Duration::from_secs(600);
    let is_done = |uploads: &&Uploads| {
        uploads.deliveries().iter().all(|delivery| {
            let counters = &delivery.counters;
            counters.delivered.load(Ordering::Relaxed) == counters.made.load(Ordering::Relaxed)
        })
    };
    while !all.iter().all(is_done) {
        assert!(Instant::now() < deadline, "not everything has arrived");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn folder_bytes(folder: &Path) -> u64 {
    let files = if folder.exists() { folder::files(folder) } else { Vec::new() };
    files.iter().map(|file| file.metadata().map_or(0, |metadata| metadata.len())).sum()
}

/// What many agents did.
#[derive(Debug)]
pub struct Swarm {
    /// Which way.
    pub name: &'static str,
    /// Agents.
    pub agents: usize,
    /// Windows of each.
    pub windows: usize,
    /// Profiles that arrived, each once.
    pub series: u64,
    /// Bytes that were sent.
    pub bytes: u64,
    /// From the first window to the last arrival, seconds.
    pub seconds: f64,
    /// CPU time of agents and receiver together, seconds.
    pub cpu_seconds: f64,
}

/// Has many agents send windows, all at once.
pub fn swarm(session: &Session, way: &Way, window: &NamedWindow, agents: usize, windows: usize) -> Swarm {
    let sink = Sink::start();
    let taken = session.path(&format!("swarm-{}", way.name));
    let target = way.target(&sink.url(), &taken);
    let mut all: Vec<Uploads> = (0..agents)
        .map(|agent| {
            let spool = session.path(&format!("swarm-spool-{}/{agent}", way.name));
            Uploads::start(std::slice::from_ref(&target), &spool, &origin(agent)).expect("uploads")
        })
        .collect();
    let mut window = window.clone();
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    for _ in 0..windows {
        for uploads in &mut all {
            uploads.window(&window);
        }
        window.span.start_unix_ns += window.span.duration_ns;
        for process in &mut window.profiles {
            process.profile.time_nanos += process.profile.duration_nanos;
        }
    }
    wait(&all.iter().collect::<Vec<_>>());
    let seconds = begun.elapsed().as_secs_f64();
    let series: u64 = all.iter().map(delivered).sum();
    {
        let ids = sink.ids.lock().expect("the ids");
        assert_eq!(ids.again, 0, "something arrived twice");
        assert!(ids.seen.is_empty() || ids.seen.len() as u64 == series, "{} of {series} ids", ids.seen.len());
    }
    let bytes = sink.bytes() + folder_bytes(&taken);
    Swarm { name: way.name, agents, windows, series, bytes, seconds, cpu_seconds: cpu_seconds() - cpu }
}

/// CPU time of this process, seconds.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the struct is writable, and lives as long as the call.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The figures for docs/benchmarks.md.
pub fn table(hosts: &[Host], swarms: &[Swarm]) -> String {
    let mut text = "| host | samples | processes | stacks |".to_owned();
    for way in &WAYS {
        text += &format!(" {} |", way.name);
    }
    text += &format!("\n|---|---|---|---|{}\n", "---|".repeat(WAYS.len()));
    for Host { name, window, sizes } in hosts {
        let stacks: usize = window.profiles.iter().map(|process| process.profile.sample.len()).sum();
        text += &format!("| {name} | {} | {} | {stacks} |", samples(window), window.profiles.len());
        let minutes = window.span.duration_ns as f64 / 6e10;
        for Size { series, bytes, .. } in sizes {
            text += &format!(" {:.0} KB in {series} |", *bytes as f64 / 1e3 / minutes);
        }
        text += "\n";
    }
    text += "\n| way | agents | windows | profiles | MB | profiles/s | MB/s | CPU ms per window |\n|---|---|---|---|---|---|---|---|\n";
    for swarm in swarms {
        let Swarm { name, agents, windows, series, bytes, seconds, cpu_seconds } = swarm;
        let megabytes = *bytes as f64 / 1e6;
        text += &format!(
            "| {name} | {agents} | {} | {series} | {megabytes:.1} | {:.0} | {:.1} | {:.1} |\n",
            agents * windows,
            *series as f64 / seconds,
            megabytes / seconds,
            cpu_seconds * 1e3 / (agents * windows) as f64
        );
    }
    text
}

/// The figures for machines.
pub fn json(hosts: &[Host], swarms: &[Swarm]) -> Value {
    let host = |host: &Host| {
        let size = |size: &Size| json!({"way": size.name, "profiles": size.series, "bytes": size.bytes});
        let sizes: Vec<Value> = host.sizes.iter().map(size).collect();
        json!({"host": host.name, "samples": samples(&host.window), "duration_ns": host.window.span.duration_ns,
               "sizes": sizes})
    };
    let swarms: Vec<Value> = swarms
        .iter()
        .map(|swarm| {
            json!({"way": swarm.name, "agents": swarm.agents, "windows": swarm.windows, "profiles": swarm.series,
                   "bytes": swarm.bytes, "seconds": swarm.seconds, "cpu_seconds": swarm.cpu_seconds})
        })
        .collect();
    let hosts: Vec<Value> = hosts.iter().map(host).collect();
    json!({"hosts": hosts, "swarms": swarms})
}
