//! Whether a profile's tables fit each other, and whether it is fit to be sent to any consumer.

use super::ids::{IdError, Rows};
use super::proto::{Label, Location, Profile};
use super::text;

/// How much is demanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// What a reader needs: every index and reference resolves, ids are unique and not 0, samples are complete. This
    /// is what google/pprof's `CheckValid` demands, and that a reference to a mapping resolves.
    Readable,
    /// What the profiler promises to write, which Pyroscope and Parca accept: besides, ids are 1..n in table order,
    /// values are not negative, names of sample types are made of `[a-zA-Z0-9_]`, a sample has one value per label
    /// key, locations are not empty and lie in their mapping, and the mappings' `has_*` flags are true only where they
    /// are true for every location.
    Written,
}

/// The first thing that is wrong with a profile. Rows are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Index 0 stands for "no string" everywhere.
    #[error("string_table[0] is not the empty string")]
    StringTable,
    /// An index points past the string table.
    #[error("{table} {row}: {field} is string {index}, but the string table has {len} strings")]
    StringIndex {
        /// Which table.
        table: &'static str,
        /// Row in the table.
        row: usize,
        /// Which field.
        field: &'static str,
        /// The index.
        index: i64,
        /// Strings in the table.
        len: usize,
    },
    /// Ids of a table are 0 or not unique.
    #[error("{table} table: {cause}")]
    Id {
        /// Which table.
        table: &'static str,
        /// What is wrong with it.
        cause: IdError,
    },
    /// Ids of a table are not 1..n in order.
    #[error("{table} table: the ids are not 1..n in table order")]
    IdOrder {
        /// Which table.
        table: &'static str,
    },
    /// A reference to nothing.
    #[error("{table} {row} refers to {target} {id}, which does not exist")]
    Reference {
        /// Which table.
        table: &'static str,
        /// Row in the table.
        row: usize,
        /// What it refers to.
        target: &'static str,
        /// The id.
        id: u64,
    },
    /// More or fewer values than sample types.
    #[error("sample {row} has {values} values, but there are {types} sample types")]
    Values {
        /// Row in the table.
        row: usize,
        /// Values it has.
        values: usize,
        /// Sample types of the profile.
        types: usize,
    },
    /// A negative value; Pyroscope refuses the whole profile.
    #[error("sample {row} has the negative value {value}")]
    Negative {
        /// Row in the table.
        row: usize,
        /// The value.
        value: i64,
    },
    /// A label is ambiguous.
    #[error("sample {row}: label {key:?} {problem}")]
    Label {
        /// Row in the table.
        row: usize,
        /// Its key.
        key: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A sample type that Parca's queries or Pyroscope's names cannot hold.
    #[error("sample type {row} has the {field} {name:?}, which is not made of [a-zA-Z0-9_]")]
    TypeName {
        /// Row in the table.
        row: usize,
        /// "type" or "unit".
        field: &'static str,
        /// The name.
        name: String,
    },
    /// A location that says nothing; Pyroscope drops every sample that uses it.
    #[error("location {row} has neither an address nor a line")]
    EmptyLocation {
        /// Row in the table.
        row: usize,
    },
    /// An address outside its mapping cannot be symbolized later.
    #[error("location {row} has address {address:#x}, outside its mapping {start:#x}..{limit:#x}")]
    OutsideMapping {
        /// Row in the table.
        row: usize,
        /// The address.
        address: u64,
        /// First address of the mapping.
        start: u64,
        /// First address behind the mapping.
        limit: u64,
    },
    /// Consumers stop symbolizing a mapping that claims to be symbolized.
    #[error("mapping {row} claims {flag}, but location {location} has none")]
    Flag {
        /// Row in the table.
        row: usize,
        /// Which flag.
        flag: &'static str,
        /// Row of the first location that lacks it.
        location: usize,
    },
}

/// Checks a profile; where it passes, the functions of this crate that take one neither fail nor guess.
///
/// # Errors
/// The first violation, in the order tables are listed in the message.
pub fn check(profile: &Profile, rules: Rules) -> Result<(), Invalid> {
    strings(profile)?;
    let strict = rules == Rules::Written;
    let ids = |table, rows: Result<Rows, IdError>| -> Result<Rows, Invalid> {
        let rows = rows.map_err(|cause| Invalid::Id { table, cause })?;
        if strict && !rows.in_order() { Err(Invalid::IdOrder { table }) } else { Ok(rows) }
    };
    let mappings = ids("mapping", Rows::mappings(profile))?;
    let functions = ids("function", Rows::functions(profile))?;
    let locations = ids("location", Rows::locations(profile))?;
    for (row, location) in profile.location.iter().enumerate() {
        let dangling = |target, id| Err(Invalid::Reference { table: "location", row, target, id });
        if location.mapping_id != 0 && mappings.get(location.mapping_id).is_none() {
            return dangling("mapping", location.mapping_id);
        }
        for line in &location.line {
            if functions.get(line.function_id).is_none() {
                return dangling("function", line.function_id);
            }
        }
    }
    for (row, sample) in profile.sample.iter().enumerate() {
        if let Some(&id) = sample.location_id.iter().find(|&&id| locations.get(id).is_none()) {
            return Err(Invalid::Reference { table: "sample", row, target: "location", id });
        }
        let (values, types) = (sample.value.len(), profile.sample_type.len());
        if values != types {
            return Err(Invalid::Values { row, values, types });
        }
    }
    if strict { written(profile, &mappings) } else { Ok(()) }
}

/// Every string index of every table.
fn strings(profile: &Profile) -> Result<(), Invalid> {
    let len = profile.string_table.len();
    if profile.string_table.first().is_none_or(|first| !first.is_empty()) {
        return Err(Invalid::StringTable);
    }
    let fits = |table: &'static str, row: usize, fields: &[(&'static str, i64)]| {
        for &(field, index) in fields {
            if usize::try_from(index).is_ok_and(|index| index < len) {
                continue;
            }
            return Err(Invalid::StringIndex { table, row, field, index, len });
        }
        Ok(())
    };
    for (row, kind) in profile.sample_type.iter().enumerate() {
        fits("sample type", row, &[("type", kind.r#type), ("unit", kind.unit)])?;
    }
    if let Some(kind) = &profile.period_type {
        fits("period type", 0, &[("type", kind.r#type), ("unit", kind.unit)])?;
    }
    for (row, mapping) in profile.mapping.iter().enumerate() {
        fits("mapping", row, &[("filename", mapping.filename), ("build_id", mapping.build_id)])?;
    }
    for (row, function) in profile.function.iter().enumerate() {
        let names =
            [("name", function.name), ("system_name", function.system_name), ("filename", function.filename)];
        fits("function", row, &names)?;
    }
    for (row, sample) in profile.sample.iter().enumerate() {
        for label in &sample.label {
            let Label { key, str, num: _, num_unit } = *label;
            fits("sample", row, &[("label.key", key), ("label.str", str), ("label.num_unit", num_unit)])?;
        }
    }
    for (row, &comment) in profile.comment.iter().enumerate() {
        fits("comment", row, &[("text", comment)])?;
    }
    let header = [
        ("drop_frames", profile.drop_frames),
        ("keep_frames", profile.keep_frames),
        ("default_sample_type", profile.default_sample_type),
        ("doc_url", profile.doc_url),
    ];
    fits("profile", 0, &header)
}

/// What is demanded besides of profiles that the profiler writes.
fn written(profile: &Profile, mappings: &Rows) -> Result<(), Invalid> {
    for (row, kind) in profile.sample_type.iter().enumerate() {
        for (field, index) in [("type", kind.r#type), ("unit", kind.unit)] {
            let name = text(profile, index);
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err(Invalid::TypeName { row, field, name: name.to_owned() });
            }
        }
    }
    for (row, sample) in profile.sample.iter().enumerate() {
        if let Some(&value) = sample.value.iter().find(|&&value| value < 0) {
            return Err(Invalid::Negative { row, value });
        }
        for (place, label) in sample.label.iter().enumerate() {
            let before = sample.label.get(..place).unwrap_or_default();
            let problem = if label.str != 0 && label.num != 0 {
                "is both a string and a number"
            } else if label.str != 0 && label.num_unit != 0 {
                "is a string with a unit of numbers"
            } else if before.iter().any(|other| other.key == label.key) {
                "has more than one value"
            } else {
                continue;
            };
            return Err(Invalid::Label { row, key: text(profile, label.key).to_owned(), problem });
        }
    }
    for (row, location) in profile.location.iter().enumerate() {
        if location.address == 0 && location.line.is_empty() {
            return Err(Invalid::EmptyLocation { row });
        }
        let Some((place, mapping)) = mappings
            .get(location.mapping_id)
            .and_then(|place| profile.mapping.get(place).map(|mapping| (place, mapping)))
        else {
            continue;
        };
        let (address, start, limit) = (location.address, mapping.memory_start, mapping.memory_limit);
        if address != 0 && !(start..limit).contains(&address) {
            return Err(Invalid::OutsideMapping { row, address, start, limit });
        }
        let known = Known::of(profile, location);
        let claims = [
            ("has_functions", mapping.has_functions, known.functions),
            ("has_filenames", mapping.has_filenames, known.filenames),
            ("has_line_numbers", mapping.has_line_numbers, known.line_numbers),
            ("has_inline_frames", mapping.has_inline_frames, known.functions),
        ];
        if let Some((flag, ..)) = claims.iter().find(|(_, claimed, known)| *claimed && !known) {
            return Err(Invalid::Flag { row: place, flag, location: row });
        }
    }
    Ok(())
}

/// What every line of one location has.
#[derive(Clone, Copy)]
struct Known {
    functions: bool,
    filenames: bool,
    line_numbers: bool,
}

impl Known {
    fn of(profile: &Profile, location: &Location) -> Known {
        let some = !location.line.is_empty();
        // Ids are 1..n here: `check` saw to it before.
        let function = |id: u64| {
            usize::try_from(id)
                .ok()
                .and_then(|id| id.checked_sub(1))
                .and_then(|row| profile.function.get(row))
        };
        let every = |has: fn(&super::proto::Function) -> i64| {
            some && location
                .line
                .iter()
                .all(|line| function(line.function_id).is_some_and(|function| has(function) != 0))
        };
        Known {
            functions: every(|function| function.name),
            filenames: every(|function| function.filename),
            line_numbers: some && location.line.iter().all(|line| line.line != 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    /// The sentence that a change to the sound fixture provokes, or "".
    fn after(rules: Rules, change: impl FnOnce(&mut Profile)) -> String {
        let mut profile = fixture::two_threads();
        change(&mut profile);
        check(&profile, rules).err().map_or_else(String::new, |invalid| invalid.to_string())
    }

    #[test]
    fn the_fixture_is_sound() {
        assert_eq!(after(Rules::Written, |_| ()), "");
        assert_eq!(check(&Profile::default(), Rules::Readable), Err(Invalid::StringTable));
    }

    #[test]
    fn readers_refuse_what_does_not_resolve() {
        let read = |change: fn(&mut Profile)| after(Rules::Readable, change);
        assert_eq!(read(|p| p.string_table[0] = "x".into()), "string_table[0] is not the empty string");
        assert_eq!(
            read(|p| p.function[1].name = 99),
            "function 1: name is string 99, but the string table has 18 strings"
        );
        assert!(read(|p| p.mapping[0].build_id = -1).starts_with("mapping 0: build_id is string -1"));
        assert!(read(|p| p.comment.push(50)).starts_with("comment 0: text is string 50"));
        assert!(read(|p| p.sample[0].label[0].str = 77).starts_with("sample 0: label.str is string 77"));
        assert_eq!(read(|p| p.location[1].id = 0), "location table: row 1 has id 0, which means \"none\"");
        assert_eq!(read(|p| p.location[1].id = 1), "location table: row 1 has id 1, as a row before it has");
        assert_eq!(
            read(|p| p.location[0].mapping_id = 9),
            "location 0 refers to mapping 9, which does not exist"
        );
        assert_eq!(
            read(|p| p.location[0].line[0].function_id = 0),
            "location 0 refers to function 0, which does not exist"
        );
        assert_eq!(
            read(|p| p.sample[1].location_id[0] = 44),
            "sample 1 refers to location 44, which does not exist"
        );
        assert_eq!(
            read(|p| p.sample[0].value.push(1)),
            "sample 0 has 3 values, but there are 2 sample types"
        );
    }

    #[test]
    fn writers_are_held_to_more() {
        type Change = fn(&mut Profile);
        let cases: [(Change, &str); 11] = [
            (|p| p.function.swap(0, 1), "function table: the ids are not 1..n in table order"),
            (|p| p.sample[0].value[1] = -5, "sample 0 has the negative value -5"),
            (|p| p.sample[0].label[0].num = 5, "sample 0: label \"thread\" is both a string and a number"),
            (
                |p| p.sample[0].label[0].num_unit = 1,
                "sample 0: label \"thread\" is a string with a unit of numbers",
            ),
            (
                |p| {
                    let label = p.sample[0].label[0];
                    p.sample[0].label.push(label);
                },
                "sample 0: label \"thread\" has more than one value",
            ),
            (
                |p| p.string_table[3] = "off-cpu".into(),
                "sample type 1 has the type \"off-cpu\", which is not made of [a-zA-Z0-9_]",
            ),
            (
                |p| {
                    p.location[3].line.clear();
                    p.location[3].address = 0;
                },
                "location 3 has neither an address nor a line",
            ),
            (
                |p| p.location[0].address = 0x9000,
                "location 0 has address 0x9000, outside its mapping 0x1000..0x5000",
            ),
            (|p| p.location[0].line.clear(), "mapping 0 claims has_functions, but location 0 has none"),
            (|p| p.function[0].filename = 0, "mapping 0 claims has_filenames, but location 0 has none"),
            (
                |p| p.location[1].line[0].line = 0,
                "mapping 0 claims has_line_numbers, but location 1 has none",
            ),
        ];
        for (change, sentence) in cases {
            assert_eq!(after(Rules::Written, change), sentence);
            assert_eq!(after(Rules::Readable, change), "", "readers accept: {sentence}");
        }
    }
}
