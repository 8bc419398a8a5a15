//! A receiver of OTLP profiles over gRPC, without encryption, that says yes to everything and keeps it.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::{Bytes, BytesMut};
use flate2::read::GzDecoder;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio::net::{TcpListener, TcpStream};

/// Most that is kept, bytes as they came; whoever sends more is refused.
const ROOM: usize = 1 << 30;

/// What may be on its way at once, bytes: a whole report, so that no sender waits for us.
const WINDOW: u32 = 16 << 20;

/// gRPC's codes.
const OK: HeaderValue = HeaderValue::from_static("0");
const EXHAUSTED: HeaderValue = HeaderValue::from_static("8");

/// What has come so far.
#[derive(Debug, Default)]
struct Kept {
    /// gRPC bodies: a byte that says whether the message is compressed, four of its length, the message.
    bodies: Vec<Bytes>,
    size: usize,
}

/// A receiver on a port of its own of the loopback address. It stays for as long as the process.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
}

impl Sink {
    /// Opens the port and receives on a thread.
    pub fn start() -> Sink {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let kept = Arc::new(Mutex::new(Kept::default()));
        let received = Arc::clone(&kept);
        let serve = async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A connection that breaks is the sender's matter: what it lost is missing in its figures.
                tokio::spawn(connection(stream, Arc::clone(&received)));
            }
        };
        thread::spawn(move || runtime.block_on(serve));
        Sink { address, kept }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The messages that came since the last time, without compression.
    pub fn take(&self) -> Vec<Vec<u8>> {
        let kept = std::mem::take(&mut *self.kept.lock().expect("no thread panics with it"));
        kept.bodies.iter().map(|body| message(body).expect("a gRPC message")).collect()
    }
}

async fn connection(stream: TcpStream, kept: Arc<Mutex<Kept>>) -> Result<(), h2::Error> {
    let mut connection = h2::server::Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake::<_, Bytes>(stream)
        .await?;
    // Nothing moves on a connection but while it is asked for the next request.
    while let Some(request) = connection.accept().await {
        let (request, answer) = request?;
        tokio::spawn(receive(request.into_body(), answer, Arc::clone(&kept)));
    }
    Ok(())
}

/// Keeps the body of a request, and says yes.
async fn receive(
    mut stream: RecvStream,
    mut answer: SendResponse<Bytes>,
    kept: Arc<Mutex<Kept>>,
) -> Result<(), h2::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    let code =
        if kept.lock().expect("no thread panics with it").keep(body.freeze()) { OK } else { EXHAUSTED };
    let response = Response::builder().header("content-type", "application/grpc").body(());
    let mut stream = answer.send_response(response.expect("a valid header"), false)?;
    // A message without fields: not compressed, of length zero.
    stream.send_data(Bytes::from_static(&[0; 5]), false)?;
    stream.send_trailers(HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), code)]))
}

impl Kept {
    /// Whether there was room for it.
    fn keep(&mut self, body: Bytes) -> bool {
        let fits = self.size + body.len() <= ROOM;
        if fits {
            self.size += body.len();
            self.bodies.push(body);
        }
        fits
    }
}

/// The message in a gRPC body.
fn message(body: &[u8]) -> Option<Vec<u8>> {
    let (&[compressed, ref length @ ..], rest) = body.split_first_chunk::<5>()?;
    let bytes = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    if compressed == 0 {
        return Some(bytes.to_vec());
    }
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).ok()?;
    Some(plain)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Sends a body as a gRPC client does; the status that is answered.
    async fn send(address: SocketAddr, body: Bytes) -> String {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post(format!("http://{address}/a.Service/Export")).body(()).unwrap();
        let (answer, mut stream) = client.send_request(request, false).unwrap();
        stream.send_data(body, true).unwrap();
        let mut answer = answer.await.unwrap().into_body();
        while let Some(chunk) = answer.data().await {
            assert_eq!(chunk.unwrap(), [0; 5][..]);
        }
        let trailers = answer.trailers().await.unwrap().unwrap();
        trailers["grpc-status"].to_str().unwrap().to_owned()
    }

    #[test]
    fn what_is_sent_is_kept_as_it_was_before_compression() {
        let plain = vec![7_u8; 300_000];
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&plain).unwrap();
        let body = |compressed: u8, message: &[u8]| {
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            Bytes::from([&[compressed][..], &length, message].concat())
        };
        let sink = Sink::start();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        for body in [body(0, &plain), body(1, &packed.finish().unwrap())] {
            assert_eq!(runtime.block_on(send(sink.address(), body)), "0");
        }
        assert_eq!(sink.take(), [plain.clone(), plain]);
        assert!(sink.take().is_empty());
    }

    #[test]
    fn what_is_cut_is_no_message() {
        assert_eq!(message(&[0, 0, 0, 0, 2, 9, 8]), Some(vec![9, 8]));
        assert_eq!(message(&[0, 0, 0, 0, 2, 9]), None);
        assert_eq!(message(&[0, 0]), None);
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let mut kept = Kept { bodies: Vec::new(), size: ROOM - 3 };
        assert!(!kept.keep(Bytes::from_static(b"four")));
        assert!(kept.keep(Bytes::from_static(b"six")));
    }
}
