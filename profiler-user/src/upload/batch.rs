//! What is delivered at once: the profiles of one window, each with the labels of its series; and how that lies on disk.

use prost::Message;

/// What a file begins with: the format and its version.
const MAGIC: &[u8; 8] = b"PRFSPL1\n";

/// A window for one receiver.
#[derive(Clone, PartialEq, Message)]
pub struct Batch {
    /// Start of the window, nanoseconds since the Unix epoch.
    #[prost(uint64, tag = "1")]
    pub start_unix_ns: u64,
    /// Its length, nanoseconds.
    #[prost(uint64, tag = "2")]
    pub duration_ns: u64,
    /// Its profiles.
    #[prost(message, repeated, tag = "3")]
    pub series: Vec<Series>,
}

/// One profile, and what tells it from others.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Series {
    /// A UUID (RFC 9562, 128 bits), the same whenever this very profile is sent again.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// Labels, sorted by their names.
    #[prost(message, repeated, tag = "2")]
    pub labels: Vec<Pair>,
    /// pprof, gzip.
    #[prost(bytes = "vec", tag = "3")]
    pub profile: Vec<u8>,
    /// Bytes of the profile before it was compressed: limits of receivers count those.
    #[prost(uint64, tag = "4")]
    pub plain_bytes: u64,
}

/// A label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Message)]
pub struct Pair {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its value, not empty.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Why bytes are no batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a batch of this version of the profiler, or damaged")]
pub struct Damaged;

impl Series {
    /// The value of a label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|pair| pair.name == name).map(|pair| pair.value.as_str())
    }

    /// The id as it is written (RFC 9562, section 4).
    #[must_use]
    pub fn uuid(&self) -> String {
        let hex: String = self.id.iter().map(|byte| format!("{byte:02x}")).collect();
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
    }
}

impl Batch {
    /// As it lies in a file: magic, a checksum of what follows, the message.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        let message = self.encode_to_vec();
        let mut bytes = Vec::with_capacity(MAGIC.len() + 8 + message.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&checksum(&message).to_le_bytes());
        bytes.extend_from_slice(&message);
        bytes
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It is torn, damaged, or of another version.
    pub fn of_file(bytes: &[u8]) -> Result<Batch, Damaged> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(Damaged)?;
        let (sum, message) = rest.split_at_checked(8).ok_or(Damaged)?;
        if sum != checksum(message).to_le_bytes() {
            return Err(Damaged);
        }
        Batch::decode(message).map_err(|_| Damaged)
    }

    /// Bytes of all profiles as they are sent.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.series.iter().map(|series| series.profile.len()).sum()
    }
}

/// FNV-1a, 64 bits: against accidents, not against anybody (draft-eastlake-fnv, section 2).
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    continued(CHECKSUM_OF_NOTHING, bytes)
}

/// What a checksum begins with.
pub(super) const CHECKSUM_OF_NOTHING: u64 = 0xcbf2_9ce4_8422_2325;

/// The checksum of what there was, and of these bytes behind it.
pub(super) fn continued(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A batch whose series are told apart by their services.
    pub(in crate::upload) fn batch(start_unix_ns: u64, services: &[&str]) -> Batch {
        let series = services.iter().map(|service| Series {
            id: checksum(format!("{start_unix_ns}{service}").as_bytes()).to_be_bytes().repeat(2),
            labels: vec![Pair { name: "service".to_owned(), value: (*service).to_owned() }],
            profile: vec![7; 100],
            plain_bytes: 300,
        });
        Batch { start_unix_ns, duration_ns: 60_000_000_000, series: series.collect() }
    }

    #[test]
    fn comes_back_from_a_file_and_damage_is_seen() {
        let batch = batch(7, &["a", "b"]);
        let file = batch.to_file();
        assert_eq!(Batch::of_file(&file), Ok(batch));
        for cut in 0..file.len() {
            assert_eq!(Batch::of_file(&file[..cut]), Err(Damaged), "cut at {cut}");
        }
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert_eq!(Batch::of_file(&damaged), Err(Damaged), "byte {at}");
        }
    }

    #[test]
    fn ids_are_written_as_uuids() {
        let series = Series { id: (0..16).collect(), ..Series::default() };
        assert_eq!(series.uuid(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
    }
}
