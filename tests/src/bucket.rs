//! An object store on the loopback interface: what S3, Google Cloud Storage and Azure answer to a PUT. Signatures of S3
//! (version 4) are checked.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ring::{digest, hmac};

use crate::receiver::Behaviour;

/// What came in.
#[derive(Debug, Default)]
struct State {
    script: Vec<Behaviour>,
    /// Who may write: the id and the secret of a key.
    key: Option<(String, String)>,
    objects: BTreeMap<String, Vec<u8>>,
    /// By key: how often it was taken.
    puts: BTreeMap<String, usize>,
    requests: usize,
    unsigned: usize,
}

/// A running store. It stays for as long as the process.
#[derive(Debug)]
pub struct Bucket {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Bucket {
    /// Listens, and behaves as the script says, request by request; then takes everything.
    pub fn start(script: &[Behaviour]) -> Bucket {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State { script: script.to_vec(), ..State::default() }));
        let its = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // One after the other; a connection that breaks is the sender's matter.
                let _ = answer(stream, &its);
            }
        });
        Bucket { port, state }
    }

    /// From now on, only this key may write.
    pub fn require(&self, id: &str, secret: &str) {
        self.state.lock().expect("its state").key = Some((id.to_owned(), secret.to_owned()));
    }

    /// Where it is.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All objects by their paths: `/bucket/key`.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.state.lock().expect("its state").objects.clone()
    }

    /// How often each was taken.
    pub fn puts(&self) -> BTreeMap<String, usize> {
        self.state.lock().expect("its state").puts.clone()
    }

    /// Requests so far, and those of them whose signature was wrong.
    pub fn requests(&self) -> (usize, usize) {
        let state = self.state.lock().expect("its state");
        (state.requests, state.unsigned)
    }
}

/// A request over HTTP/1.1.
struct Request {
    method: String,
    /// As it was sent, with its query.
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    fn read(stream: &mut TcpStream) -> Option<Request> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            let mut more = [0; 4096];
            match stream.read(&mut more).ok()? {
                0 => return None,
                count => bytes.extend_from_slice(&more[..count]),
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let mut first = lines.next()?.split(' ');
        let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
        let headers: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length: usize = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut body = bytes[end + 4..].to_vec();
        let mut rest = vec![0; length.saturating_sub(body.len())];
        stream.read_exact(&mut rest).ok()?;
        body.extend(rest);
        Some(Request { method, path, headers, body })
    }

    /// Whether this key signed it (AWS Signature Version 4, "Authenticating Requests").
    fn is_signed_by(&self, id: &str, secret: &str) -> bool {
        self.signature(id, secret).is_some_and(|(given, own)| given == own)
    }

    /// The signature that was given, and the one that should be.
    fn signature(&self, id: &str, secret: &str) -> Option<(String, String)> {
        let given = self.headers.get("authorization")?.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let part =
            |name: &str| given.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        let scope = part("Credential")?.strip_prefix(id)?.strip_prefix('/')?;
        let names = part("SignedHeaders")?;
        let payload = self.headers.get("x-amz-content-sha256")?;
        if *payload != hex(digest::digest(&digest::SHA256, &self.body).as_ref()) {
            return None;
        }
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let mut canonical = format!("{}\n{path}\n{query}\n", self.method);
        for name in names.split(';') {
            canonical += &format!("{name}:{}\n", self.headers.get(name)?);
        }
        canonical += &format!("\n{names}\n{payload}");
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hash}", self.headers.get("x-amz-date")?);
        let mut key = format!("AWS4{secret}").into_bytes();
        for step in scope.split('/') {
            key = sign(&key, step);
        }
        Some((part("Signature")?.to_owned(), hex(&sign(&key, &to_sign))))
    }
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let Some(request) = Request::read(&mut stream) else { return Ok(()) };
    let (behaviour, is_signed) = {
        let mut state = state.lock().expect("its state");
        state.requests += 1;
        let behaviour = if state.script.is_empty() { Behaviour::Take } else { state.script.remove(0) };
        let is_signed = state.key.as_ref().is_none_or(|(id, secret)| request.is_signed_by(id, secret));
        state.unsigned += usize::from(!is_signed);
        let takes = matches!(behaviour, Behaviour::Take | Behaviour::TakeSlowly | Behaviour::AtMost(_));
        if request.method == "PUT" && is_signed && takes {
            let path = request.path.split('?').next().unwrap_or_default().to_owned();
            *state.puts.entry(path.clone()).or_default() += 1;
            state.objects.insert(path, request.body);
        }
        (behaviour, is_signed)
    };
    let status = match behaviour {
        _ if !is_signed => "403 Forbidden",
        Behaviour::Take | Behaviour::AtMost(_) => "200 OK",
        Behaviour::TakeSlowly => {
            std::thread::sleep(Duration::from_secs(3));
            "200 OK"
        }
        Behaviour::Refuse(status) => &format!("{status} Refused\r\nRetry-After: 1"),
        Behaviour::Garbage => return stream.write_all(b"\x00\xffnonsense\r\n\r\n"),
    };
    write!(stream, "HTTP/1.1 {status}\r\nETag: \"1\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}
