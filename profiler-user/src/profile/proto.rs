//! pprof's `profile.proto` (github.com/google/pprof/proto/profile.proto) as prost messages.
//!
//! Written out by hand rather than generated, so that building needs no protobuf compiler. Tags and types follow the
//! published file; field docs give what the profiler relies on.

use prost::Message;

/// A whole profile: samples that point into shared tables. Index 0 of `string_table` is the empty string.
#[derive(Clone, PartialEq, Message)]
pub struct Profile {
    /// What each value of a sample means; every sample has as many values.
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<ValueType>,
    /// The samples.
    #[prost(message, repeated, tag = "2")]
    pub sample: Vec<Sample>,
    /// Mapped files and other executable ranges; the first is the main binary.
    #[prost(message, repeated, tag = "3")]
    pub mapping: Vec<Mapping>,
    /// Code addresses that samples refer to by id.
    #[prost(message, repeated, tag = "4")]
    pub location: Vec<Location>,
    /// Functions that locations refer to by id.
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<Function>,
    /// All strings; other messages hold indices into this table.
    #[prost(string, repeated, tag = "6")]
    pub string_table: Vec<String>,
    /// Index of a regex: frames to drop with everything they call.
    #[prost(int64, tag = "7")]
    pub drop_frames: i64,
    /// Index of a regex: exceptions to `drop_frames`.
    #[prost(int64, tag = "8")]
    pub keep_frames: i64,
    /// Start of the profile, nanoseconds since the Unix epoch.
    #[prost(int64, tag = "9")]
    pub time_nanos: i64,
    /// Length of the profile, nanoseconds.
    #[prost(int64, tag = "10")]
    pub duration_nanos: i64,
    /// What one sample stands for.
    #[prost(message, optional, tag = "11")]
    pub period_type: Option<ValueType>,
    /// How much of `period_type` lies between two samples.
    #[prost(int64, tag = "12")]
    pub period: i64,
    /// String indices of comments for people.
    #[prost(int64, repeated, tag = "13")]
    pub comment: Vec<i64>,
    /// String index of the name of the sample type that is shown first.
    #[prost(int64, tag = "14")]
    pub default_sample_type: i64,
    /// String index of an absolute URL that documents the profile.
    #[prost(int64, tag = "15")]
    pub doc_url: i64,
}

/// A type and a unit, both string indices.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct ValueType {
    /// String index, for example of "cpu".
    #[prost(int64, tag = "1")]
    pub r#type: i64,
    /// String index, for example of "nanoseconds".
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

/// One stack with its values.
#[derive(Clone, PartialEq, Message)]
pub struct Sample {
    /// Location ids, leaf first.
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    /// One value per sample type.
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
    /// Labels; at most one per key.
    #[prost(message, repeated, tag = "3")]
    pub label: Vec<Label>,
}

/// A key with a string or a number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct Label {
    /// String index.
    #[prost(int64, tag = "1")]
    pub key: i64,
    /// String index; 0 where the label is a number.
    #[prost(int64, tag = "2")]
    pub str: i64,
    /// The number; 0 where the label is a string.
    #[prost(int64, tag = "3")]
    pub num: i64,
    /// String index of the number's unit; only with `num`.
    #[prost(int64, tag = "4")]
    pub num_unit: i64,
}

/// An executable address range.
#[derive(Clone, PartialEq, Message)]
pub struct Mapping {
    /// Unique, not 0.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// First address.
    #[prost(uint64, tag = "2")]
    pub memory_start: u64,
    /// First address behind the range.
    #[prost(uint64, tag = "3")]
    pub memory_limit: u64,
    /// Offset in the file that `memory_start` shows, bytes.
    #[prost(uint64, tag = "4")]
    pub file_offset: u64,
    /// String index of the path, or of a name in brackets for what has no file.
    #[prost(int64, tag = "5")]
    pub filename: i64,
    /// String index of the build-id, lowercase hexadecimal.
    #[prost(int64, tag = "6")]
    pub build_id: i64,
    /// True only when every location of this mapping has a function.
    #[prost(bool, tag = "7")]
    pub has_functions: bool,
    /// True only when every line of this mapping has a file name.
    #[prost(bool, tag = "8")]
    pub has_filenames: bool,
    /// True only when every line of this mapping has a line number.
    #[prost(bool, tag = "9")]
    pub has_line_numbers: bool,
    /// True only when inlined functions were looked for, and could be found, at every location of this mapping.
    #[prost(bool, tag = "10")]
    pub has_inline_frames: bool,
}

/// A code address with the functions it belongs to.
#[derive(Clone, PartialEq, Message)]
pub struct Location {
    /// Unique, not 0.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Id of the mapping, or 0.
    #[prost(uint64, tag = "2")]
    pub mapping_id: u64,
    /// The address in the process; of a caller it lies inside the call instruction.
    #[prost(uint64, tag = "3")]
    pub address: u64,
    /// Innermost inlined function first, the function of the symbol table last.
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<Line>,
    /// True where several functions share this code and one was picked.
    #[prost(bool, tag = "5")]
    pub is_folded: bool,
}

/// A function at a line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct Line {
    /// Id of the function.
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
    /// Line in the function's file, 0 where it is not known.
    #[prost(int64, tag = "2")]
    pub line: i64,
    /// Column, 0 where it is not known.
    #[prost(int64, tag = "3")]
    pub column: i64,
}

/// A function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct Function {
    /// Unique, not 0.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// String index of the name that people read, demangled.
    #[prost(int64, tag = "2")]
    pub name: i64,
    /// String index of the name in the symbol table.
    #[prost(int64, tag = "3")]
    pub system_name: i64,
    /// String index of the source file.
    #[prost(int64, tag = "4")]
    pub filename: i64,
    /// Line in `filename` where the function starts, 0 where it is not known.
    #[prost(int64, tag = "5")]
    pub start_line: i64,
}
