//! A gRPC server, without encryption, that answers as a test wants it to.

use std::io::Read;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{Bytes, BytesMut};
use flate2::read::GzDecoder;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, Response};
use tokio::net::{TcpListener, TcpStream};

/// A request.
#[derive(Debug, Clone)]
pub struct Called {
    /// `/package.Service/Method`.
    pub method: String,
    /// Header lines.
    pub headers: HeaderMap,
    /// Messages, without compression.
    pub messages: Vec<Vec<u8>>,
    /// Whether the first was compressed.
    pub compressed: bool,
}

/// An answer.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A message.
    Message(Vec<u8>),
    /// A status and its text, in trailers alone.
    Status(u32, String),
    /// Likewise, and when to come again, in seconds (google.rpc.RetryInfo).
    After(u32, u8),
    /// A status of HTTP.
    Http(u16),
}

/// Decides what is answered.
type Answers = Box<dyn FnMut(&Called) -> Reply + Send>;

struct State {
    answers: Answers,
    calls: Vec<Called>,
}

/// A running server. It stays for as long as the process.
pub struct Grpc {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Grpc {
    /// Opens a port and answers on a thread.
    pub fn start(answers: impl FnMut(&Called) -> Reply + Send + 'static) -> Grpc {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State { answers: Box::new(answers), calls: Vec::new() }));
        let its = Arc::clone(&state);
        let serve = async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A connection that breaks is the sender's matter.
                tokio::spawn(connection(stream, Arc::clone(&its)));
            }
        };
        thread::spawn(move || runtime.block_on(serve));
        Grpc { port, state }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All requests so far, refused ones included.
    pub fn calls(&self) -> Vec<Called> {
        self.state.lock().expect("no thread panics with it").calls.clone()
    }
}

async fn connection(stream: TcpStream, state: Arc<Mutex<State>>) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    // Nothing moves on a connection but while it is asked for the next request.
    while let Some(request) = connection.accept().await {
        let (request, answer) = request?;
        let (head, body) = request.into_parts();
        let method = head.uri.path().to_owned();
        tokio::spawn(receive(method, head.headers, body, answer, Arc::clone(&state)));
    }
    Ok(())
}

async fn receive(
    method: String,
    headers: HeaderMap,
    mut stream: RecvStream,
    mut answer: SendResponse<Bytes>,
    state: Arc<Mutex<State>>,
) -> Result<(), h2::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    let (messages, compressed) = messages(&body);
    let called = Called { method, headers, messages, compressed };
    let reply = {
        let mut state = state.lock().expect("no thread panics with it");
        let reply = (state.answers)(&called);
        state.calls.push(called);
        reply
    };
    let head = |status: u16| Response::builder().status(status).header("content-type", "application/grpc");
    let trailers = |code: u32, text: &str| {
        let pair = |name: &'static str, value: &str| {
            (HeaderName::from_static(name), value.parse().expect("a header"))
        };
        HeaderMap::from_iter([pair("grpc-status", &code.to_string()), pair("grpc-message", text)])
    };
    match reply {
        Reply::Message(message) => {
            let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
            let mut stream = answer.send_response(head(200).body(()).expect("a head"), false)?;
            stream.send_data([&[0][..], &length, &message].concat().into(), false)?;
            stream.send_trailers(trailers(0, ""))
        }
        Reply::Status(code, text) => {
            let mut response = head(200).body(()).expect("a head");
            response.headers_mut().extend(trailers(code, &text));
            answer.send_response(response, true).map(drop)
        }
        Reply::After(code, seconds) => {
            // google.rpc.Status{3: Any{1: a URL, 2: RetryInfo{1: Duration{1: seconds}}}}
            let kind = b"type.googleapis.com/google.rpc.RetryInfo";
            let info = [10, 2, 8, seconds];
            let any = [&[10, 40][..], kind, &[18, 4], &info].concat();
            let details = [&[26, u8::try_from(any.len()).expect("short")][..], &any].concat();
            let mut trailers = trailers(code, "later");
            let details = STANDARD_NO_PAD.encode(details).parse().expect("a header");
            trailers.insert("grpc-status-details-bin", details);
            let mut stream = answer.send_response(head(200).body(()).expect("a head"), false)?;
            stream.send_trailers(trailers)
        }
        Reply::Http(status) => {
            answer.send_response(Response::builder().status(status).body(()).expect("a head"), true).map(drop)
        }
    }
}

/// The messages of a body, and whether the first was compressed.
fn messages(mut body: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let (mut messages, compressed) = (Vec::new(), body.first() == Some(&1));
    while let Some((&[flag, ref length @ ..], rest)) = body.split_first_chunk::<5>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (message, more) = rest.split_at(length);
        let mut plain = Vec::new();
        match flag {
            0 => plain.extend_from_slice(message),
            _ => drop(GzDecoder::new(message).read_to_end(&mut plain).expect("gzip")),
        }
        messages.push(plain);
        body = more;
    }
    (messages, compressed)
}
