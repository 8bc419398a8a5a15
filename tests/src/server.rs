//! What a server of the profiler is asked, byte by byte.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// An answer over HTTP/1.1.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status, such as 200.
    pub status: u16,
    /// The header lines, in small letters.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn of(bytes: &[u8]) -> Option<Answer> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, head, body: bytes[end + 4..].to_vec() })
    }
}

/// A port of the loopback interface that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Sends a request with more header lines, and leaves the connection to the caller.
pub fn send(port: u16, method: &str, path: &str, headers: &[&str]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a time limit");
    let mut lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    if !lines.to_ascii_lowercase().contains("host:") {
        lines += &format!("Host: 127.0.0.1:{port}\r\n");
    }
    let request =
        format!("{method} {path} HTTP/1.1\r\n{lines}Connection: close\r\nContent-Length: 0\r\n\r\n");
    // A server that wants none of it may close the connection before all of it is there; its answer tells.
    let _ = stream.write_all(request.as_bytes());
    stream
}

/// Asks, and waits for the whole answer.
pub fn ask(port: u16, method: &str, path: &str, headers: &[&str]) -> Answer {
    let mut bytes = Vec::new();
    let _ = send(port, method, path, headers).read_to_end(&mut bytes);
    Answer::of(&bytes)
        .unwrap_or_else(|| panic!("{method} {path}: no answer but {:?}", String::from_utf8_lossy(&bytes)))
}

/// Asks for a path.
pub fn get(port: u16, path: &str) -> Answer {
    ask(port, "GET", path, &[])
}

/// The value of a metric without labels.
pub fn metric(port: u16, name: &str) -> f64 {
    let text = get(port, "/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no metric {name} in\n{text}"))
}

/// Makes `cert.pem` for 127.0.0.1, signed by itself, and `key.pem`.
pub fn certificate(folder: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=here".split(' '),
    );
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]);
    let made = openssl.current_dir(folder).output().expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
