//! A receiver of uploads: Pyroscope's Push service, Parca's gateway, OTLP and plain POSTs, as a test wants it to behave.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;

/// How the next request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Everything is taken.
    Take,
    /// With this status, and nothing is taken.
    Refuse(u16),
    /// Taken, but the answer takes longer than anybody waits.
    TakeSlowly,
    /// What is no HTTP.
    Garbage,
    /// More than this many profiles at once are too large.
    AtMost(usize),
}

/// A profile that arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// Its id.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// pprof.
    pub profile: Vec<u8>,
    /// Header lines of the request, in small letters.
    pub head: String,
}

/// push.v1.PushRequest.
#[derive(Clone, PartialEq, Message)]
struct Push {
    #[prost(message, repeated, tag = "1")]
    series: Vec<Series>,
}

#[derive(Clone, PartialEq, Message)]
struct Series {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Pair>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(bytes = "vec", tag = "1")]
    raw_profile: Vec<u8>,
    #[prost(string, tag = "2")]
    id: String,
}

#[derive(Debug, Default)]
struct State {
    script: Vec<Behaviour>,
    arrived: Vec<Arrived>,
    requests: usize,
}

/// A running receiver on a port of the loopback interface. Dropping it ends it.
#[derive(Debug)]
pub struct Receiver {
    port: u16,
    state: Arc<Mutex<State>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Listens at a port, and behaves as the script says, request by request; then takes everything.
    pub fn start(port: u16, script: &[Behaviour]) -> Receiver {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State { script: script.to_vec(), ..State::default() }));
        let over = Arc::new(AtomicBool::new(false));
        let (its, ends) = (Arc::clone(&state), Arc::clone(&over));
        let run = move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(stream) = stream {
                    // One after the other: what is slow makes others wait, as one overloaded server does.
                    let _ = answer(stream, &its);
                }
            }
        };
        Receiver { port, state, over, thread: Some(std::thread::spawn(run)) }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What has arrived so far.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.state.lock().expect("its state").arrived.clone()
    }

    /// Requests so far, refused ones included.
    pub fn requests(&self) -> usize {
        self.state.lock().expect("its state").requests
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // So that it looks.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let mut more = [0; 4096];
        match stream.read(&mut more)? {
            0 => return Ok(()),
            count => bytes.extend_from_slice(&more[..count]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    let mut body = bytes[end + 4..].to_vec();
    let length: usize = length.unwrap_or(0);
    let mut rest = vec![0; length.saturating_sub(body.len())];
    stream.read_exact(&mut rest)?;
    body.extend(rest);
    if head.contains("content-encoding: gzip") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&*body).read_to_end(&mut plain)?;
        body = plain;
    }

    let arrived = read(&head, &body);
    let behaviour = {
        let mut state = state.lock().expect("its state");
        state.requests += 1;
        let behaviour = if state.script.is_empty() { Behaviour::Take } else { state.script.remove(0) };
        let takes = match behaviour {
            Behaviour::Take | Behaviour::TakeSlowly => true,
            Behaviour::AtMost(most) => arrived.len() <= most,
            Behaviour::Refuse(_) | Behaviour::Garbage => false,
        };
        if takes {
            state.arrived.extend(arrived.iter().cloned());
        }
        behaviour
    };
    let status = match behaviour {
        Behaviour::Take => "200 OK",
        Behaviour::AtMost(most) if arrived.len() <= most => "200 OK",
        Behaviour::AtMost(_) => "413 Content Too Large",
        Behaviour::Refuse(status) => &format!("{status} Refused\r\nRetry-After: 1"),
        Behaviour::TakeSlowly => {
            std::thread::sleep(Duration::from_secs(3));
            "200 OK"
        }
        Behaviour::Garbage => return stream.write_all(b"\x00\xffnonsense\r\n\r\n"),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

/// The ids of the profiles in a request of Pyroscope's Push service; none of what is another one.
pub fn ids_of_push(body: &[u8]) -> Vec<String> {
    let push = Push::decode(body).unwrap_or_default();
    let samples = push.series.into_iter().flat_map(|series| series.samples);
    samples.map(|sample| sample.id).filter(|id| !id.is_empty()).collect()
}

/// What a request of Parca's gateway brings.
fn read_parca(head: &str, body: &[u8]) -> Vec<Arrived> {
    let request: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    let mut arrived = Vec::new();
    for series in request["series"].as_array().expect("series") {
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let labels: BTreeMap<String, String> = series["labels"]["labels"]
            .as_array()
            .expect("labels")
            .iter()
            .map(|label| (text(&label["name"]), text(&label["value"])))
            .collect();
        for sample in series["samples"].as_array().expect("samples") {
            let profile = STANDARD.decode(text(&sample["rawProfile"])).expect("base64");
            arrived.push(Arrived {
                id: String::new(),
                labels: labels.clone(),
                profile,
                head: head.to_owned(),
            });
        }
    }
    arrived
}

/// What a request brings; of OTLP the body as it is.
fn read(head: &str, body: &[u8]) -> Vec<Arrived> {
    if head.contains("content-type: application/json") {
        return read_parca(head, body);
    }
    if !head.contains("content-type: application/proto") {
        let labels = BTreeMap::new();
        return vec![Arrived { id: String::new(), labels, profile: body.to_vec(), head: head.to_owned() }];
    }
    let push = Push::decode(body).expect("a PushRequest");
    let of = |series: Series| {
        let labels: BTreeMap<String, String> =
            series.labels.into_iter().map(|pair| (pair.name, pair.value)).collect();
        series.samples.into_iter().map(move |sample| Arrived {
            id: sample.id,
            labels: labels.clone(),
            profile: sample.raw_profile,
            head: head.to_owned(),
        })
    };
    push.series.into_iter().flat_map(of).collect()
}
