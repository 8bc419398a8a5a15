//! A file as the body of a request: read as it goes, and not faster than it should.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use reqwest::Body;
use tokio::time::Sleep;

/// What is read at once.
const CHUNK: u64 = 64 << 10;

/// How long a chunk takes at least: 4 MiB a second.
const PACE: Duration = Duration::from_millis(16);

/// Puts something around each chunk.
type Wrap = fn(&[u8]) -> Vec<u8>;

/// A file that is on its way.
struct FileBody {
    /// Goes in front.
    head: Option<Vec<u8>>,
    file: File,
    at: u64,
    size: u64,
    wrap: Wrap,
    /// What the next chunk waits for.
    rest: Option<Pin<Box<Sleep>>>,
}

/// The first bytes of a file, chunk by chunk; each goes through `wrap`, and `head` is in front of all.
pub(super) fn body(file: File, size: u64, head: Option<Vec<u8>>, wrap: Wrap) -> Body {
    Body::wrap(FileBody { head, file, at: 0, size, wrap, rest: None })
}

impl FileBody {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let length = usize::try_from((self.size - self.at).min(CHUNK)).unwrap_or(0);
        let mut chunk = vec![0; length];
        // A file that became shorter is another one.
        self.file.read_exact_at(&mut chunk, self.at)?;
        self.at += length as u64;
        Ok((self.wrap)(&chunk))
    }
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, io::Error>>> {
        if let Some(head) = self.head.take() {
            return Poll::Ready(Some(Ok(http_body::Frame::data(head.into()))));
        }
        if self.at >= self.size {
            return Poll::Ready(None);
        }
        if let Some(rest) = self.rest.as_mut() {
            ready!(rest.as_mut().poll(context));
        }
        self.rest = Some(Box::pin(tokio::time::sleep(PACE)));
        Poll::Ready(Some(self.read().map(|chunk| http_body::Frame::data(chunk.into()))))
    }
}
