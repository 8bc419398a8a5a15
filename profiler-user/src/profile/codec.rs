//! A profile's bytes: protobuf in gzip, as every pprof consumer reads it. Raw protobuf is read too.

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use flate2::{Compress, Compression, FlushCompress, Status};
use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use super::proto::{Function, Label, Line, Location, Mapping, Profile, Sample, ValueType};

/// The most uncompressed bytes that the reading commands accept: a folder of profiles must not exhaust the memory of
/// whoever reads it because one file in it is a gzip bomb. Profiles of whole hosts take some ten megabytes.
pub const DEFAULT_LIMIT: usize = 512 << 20;

/// gzip's level for what we write. An agent writes hundreds of profiles a minute, and the levels above cost several
/// times the CPU for some percent of size.
const LEVEL: u32 = 3;

/// The same for what is sent, which is paid for by the byte and made once a minute.
const SMALL: u32 = 6;

/// The bytes every gzip stream begins with (RFC 1952, 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Why bytes are not a profile.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("it is empty, and even a profile without samples has some bytes")]
    Empty,
    /// The limit was reached; what follows was not read.
    #[error("it holds more than {limit} bytes uncompressed, the most that is accepted")]
    TooLarge {
        /// The limit that was given, bytes.
        limit: usize,
    },
    /// Few bytes would become large tables; what follows was not read.
    #[error(
        "at byte {offset} (uncompressed) its tables take more than {most} bytes of memory, the most that is accepted"
    )]
    TooManyEntries {
        /// Where the top-level field begins that is too much.
        offset: usize,
        /// The most that is accepted, bytes.
        most: usize,
    },
    /// The gzip stream is cut off or damaged.
    #[error("its gzip stream is broken at byte {offset} of {len}: {cause}")]
    Gzip {
        /// How many compressed bytes had been read.
        offset: usize,
        /// How many there are.
        len: usize,
        /// What the decompressor said.
        cause: io::Error,
    },
    /// The bytes are no `profile.proto`.
    #[error("it is not a pprof profile: at byte {offset} of {len} (uncompressed), {cause}")]
    Message {
        /// Where the top-level field begins that cannot be decoded.
        offset: usize,
        /// How many uncompressed bytes there are.
        len: usize,
        /// What the decoder said.
        cause: prost::DecodeError,
    },
}

/// Encodes profiles one after the other. A compressor has a quarter of a megabyte of tables, which take longer to make than
/// the profile of a small process takes to compress.
#[derive(Debug)]
pub struct Encoder {
    compress: Compress,
    raw: Vec<u8>,
    packed: Vec<u8>,
}

/// Bytes of a buffer that are kept for the next profile.
const KEPT: usize = 256 << 10;

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder that has encoded nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with_level(LEVEL)
    }

    /// One that takes more time to make less of it.
    #[must_use]
    pub fn small() -> Self {
        Self::with_level(SMALL)
    }

    fn with_level(level: u32) -> Self {
        // 32 KiB of history, the most that gzip has.
        let compress = Compress::new_gzip(Compression::new(level), 15);
        Self { compress, raw: Vec::new(), packed: Vec::new() }
    }

    /// Encodes a profile as gzip-compressed protobuf. Equal profiles give equal bytes: no time stamp goes into the header.
    ///
    /// # Errors
    /// Only what the compressor reports, which for a buffer in memory is nothing that has been seen.
    pub fn encode(&mut self, profile: &Profile) -> io::Result<&[u8]> {
        for buffer in [&mut self.raw, &mut self.packed] {
            buffer.clear();
            buffer.shrink_to(KEPT);
        }
        profile.encode(&mut self.raw).map_err(io::Error::other)?;
        self.compress.reset();
        loop {
            self.packed.reserve(self.raw.len() / 3 + 1024);
            let read = usize::try_from(self.compress.total_in()).unwrap_or(usize::MAX);
            let rest = self.raw.get(read..).unwrap_or_default();
            match self.compress.compress_vec(rest, &mut self.packed, FlushCompress::Finish)? {
                Status::StreamEnd => return Ok(&self.packed),
                // It wants more room.
                Status::Ok | Status::BufError => {}
            }
        }
    }
}

/// Encodes one profile.
///
/// # Errors
/// Those of [`Encoder::encode`].
pub fn encode(profile: &Profile) -> io::Result<Vec<u8>> {
    Encoder::new().encode(profile).map(<[u8]>::to_vec)
}

/// Decodes a profile from gzip-compressed or raw protobuf, of at most `limit` uncompressed bytes.
/// Whether the tables fit each other is for [`super::validate::check`] to say.
///
/// # Errors
/// [`DecodeError`], with the position where there is one.
pub fn decode(bytes: &[u8], limit: usize) -> Result<Profile, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    if !bytes.starts_with(&GZIP_MAGIC) {
        return message(bytes, limit);
    }
    let mut decoder = MultiGzDecoder::new(bytes);
    let mut raw = Vec::new();
    // One byte more than allowed tells "too large" from "exactly as large".
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = (&mut decoder).take(most).read_to_end(&mut raw);
    if let Err(cause) = read {
        let offset = bytes.len() - decoder.get_ref().len();
        return Err(DecodeError::Gzip { offset, len: bytes.len(), cause });
    }
    if raw.is_empty() {
        return Err(DecodeError::Empty);
    }
    message(&raw, limit)
}

/// How much memory tables may take, as a multiple of the limit on bytes. Real profiles take three to nine times their
/// bytes; a message of two bytes may become a row of seventy.
const TABLES: usize = 8;

/// From this length on a field is judged before it is decoded.
const LONG: usize = 1 << 20;

/// Decodes field by field, so that an error has a place, and that memory has a bound at any moment.
fn message(raw: &[u8], limit: usize) -> Result<Profile, DecodeError> {
    if raw.len() > limit {
        return Err(DecodeError::TooLarge { limit });
    }
    let most = limit.saturating_mul(TABLES);
    let mut profile = Profile::default();
    let mut used = 0_usize;
    let mut rest = raw;
    while !rest.is_empty() {
        let offset = raw.len() - rest.len();
        let broken = |cause| DecodeError::Message { offset, len: raw.len(), cause };
        let field = rest;
        let (tag, wire_type) = decode_key(&mut rest).map_err(broken)?;
        skip_field(wire_type, tag, &mut rest, DecodeContext::default()).map_err(broken)?;
        let whole = field.get(..field.len() - rest.len()).unwrap_or(field);
        let full = |used: usize| {
            if used > most { Err(DecodeError::TooManyEntries { offset, most }) } else { Ok(used) }
        };
        if tag != STRINGS && whole.len() > LONG {
            // The smallest parts, of two bytes, become rows of 32, and numbers of one byte become eight.
            full(used.saturating_add(whole.len().saturating_mul(16)))?;
        }
        profile.merge(whole).map_err(broken)?;
        used = full(used.saturating_add(added(&profile, tag, whole.len())))?;
    }
    Ok(profile)
}

/// Tag of the string table.
const STRINGS: u32 = 6;

/// The memory of the row that was added last, bytes.
fn added(profile: &Profile, tag: u32, len: usize) -> usize {
    match tag {
        1 => size_of::<ValueType>(),
        2 => profile.sample.last().map_or(0, |sample| {
            let Sample { location_id, value, label } = sample;
            size_of::<Sample>()
                + 8 * (location_id.capacity() + value.capacity())
                + size_of::<Label>() * label.capacity()
        }),
        3 => size_of::<Mapping>(),
        4 => profile
            .location
            .last()
            .map_or(0, |location| size_of::<Location>() + size_of::<Line>() * location.line.capacity()),
        5 => size_of::<Function>(),
        STRINGS => size_of::<String>() + len,
        // Comments are numbers, all others are there once.
        _ => 8 * len,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture;
    use std::io::Write;

    use super::*;

    #[test]
    fn reads_what_it_writes_compressed_and_raw() {
        let profile = fixture::two_threads();
        let bytes = encode(&profile).unwrap();
        assert_eq!(bytes[..2], GZIP_MAGIC);
        assert_eq!(bytes, encode(&profile).unwrap(), "equal profiles, equal bytes");
        let mut encoder = Encoder::new();
        encoder.encode(&fixture::two_threads()).unwrap();
        assert_eq!(bytes, encoder.encode(&profile).unwrap(), "whatever was encoded before");
        assert_eq!(decode(&bytes, DEFAULT_LIMIT).unwrap(), profile);
        assert_eq!(decode(&profile.encode_to_vec(), DEFAULT_LIMIT).unwrap(), profile);
    }

    #[test]
    fn a_gzip_bomb_stops_at_the_limit() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![0; 4 << 20]).unwrap();
        let bomb = encoder.finish().unwrap();
        let error = decode(&bomb, 1 << 20).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { limit: 1_048_576 }), "{error}");
        let raw = fixture::two_threads().encode_to_vec();
        assert!(matches!(decode(&raw, raw.len() - 1), Err(DecodeError::TooLarge { .. })));
        assert!(decode(&raw, raw.len()).is_ok(), "the limit itself is allowed");
    }

    #[test]
    fn a_cut_off_file_says_where() {
        let bytes = encode(&fixture::two_threads()).unwrap();
        let cut = &bytes[..bytes.len() / 2];
        let error = decode(cut, DEFAULT_LIMIT).unwrap_err();
        assert!(matches!(error, DecodeError::Gzip { .. }));
        let sentence = error.to_string();
        assert!(sentence.contains(&format!("of {}", cut.len())), "{sentence}");
    }

    #[test]
    fn other_bytes_are_not_a_profile() {
        assert!(matches!(decode(b"", 10), Err(DecodeError::Empty)));
        let sentence = decode(b"<html>not found</html>", DEFAULT_LIMIT).unwrap_err().to_string();
        assert!(sentence.starts_with("it is not a pprof profile: at byte 0 of 22"), "{sentence}");
        // A good field of 4 bytes first: the position is that of the second.
        let mut raw = vec![0x0a, 2, 0x08, 1];
        raw.extend([0x12, 0x7f, 1]);
        let sentence = decode(&raw, DEFAULT_LIMIT).unwrap_err().to_string();
        assert!(sentence.contains("at byte 4 of 7"), "{sentence}");
    }

    proptest! {
        #[test]
        fn round_trip(profile in fixture::profiles()) {
            let bytes = encode(&profile).unwrap();
            prop_assert_eq!(decode(&bytes, DEFAULT_LIMIT).unwrap(), profile);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, 1000);
            let mut gzip = vec![0x1f, 0x8b];
            gzip.extend(bytes);
            let _ = decode(&gzip, 1000);
        }
    }
}
