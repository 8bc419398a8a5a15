//! A server that answers requests for some paths, as an API of somebody else would.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A path, and what it is answered with.
type Answers = Vec<(String, String)>;

/// Who asked for what: the heads of all requests, in small letters.
#[derive(Debug, Clone, Default)]
pub struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    /// The heads so far.
    pub fn heads(&self) -> Vec<String> {
        self.0.lock().expect("the heads").clone()
    }
}

/// Serves at a port of the loopback interface, which it gives, until the test ends.
pub fn serve(answers: Answers) -> (u16, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked = Asked::default();
    let its = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = answer(stream, &answers, &its);
        }
    });
    (port, asked)
}

/// Serves at a Unix socket, until the test ends.
pub fn serve_unix(path: &Path, answers: Answers) -> Asked {
    let listener = UnixListener::bind(path).expect("a socket");
    let asked = Asked::default();
    let its = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = answer(stream, &answers, &its);
        }
    });
    asked
}

fn answer(mut stream: impl Read + Write, answers: &Answers, asked: &Asked) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut one = [0];
        stream.read_exact(&mut one)?;
        bytes.push(one[0]);
    }
    let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    asked.0.lock().expect("the heads").push(head);
    let body = answers.iter().find(|(known, _)| *known == path).map(|(_, body)| body);
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.map_or("", String::as_str);
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}
