//! What a report has a row for: functions, files, lines or addresses. The rules are google/pprof's (its
//! internal/graph), where such a row is a node of the call graph.

use std::borrow::Cow;
use std::collections::HashMap;

use super::paths::Paths;
use super::subject::Columns;
use crate::profile::ids::{IdError, Rows};
use crate::profile::proto::{Function, Line, Location, Profile, Sample};
use crate::profile::text;

/// What frames are told apart by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Granularity {
    /// The function's name.
    #[default]
    Functions,
    /// The function's name and its source file.
    Filefunctions,
    /// The source file; and, as in pprof, the line where the function starts, so that a file may have several rows.
    Files,
    /// Name, file and line.
    Lines,
    /// Name, file, line, column and address.
    Addresses,
}

/// Whether inlined functions are frames of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inlines {
    /// They are.
    #[default]
    Shown,
    /// Their values go to the function that they were inlined into.
    Merged,
}

/// Whether equal names in different binaries are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Objects {
    /// Functions are merged across binaries.
    #[default]
    Merged,
    /// Places know their mapping and where their function starts: for source and disassembly.
    Told,
}

/// How finely places are told apart.
#[derive(Clone, Copy, Debug, Default)]
pub struct Detail<'p> {
    /// By what.
    pub by: Granularity,
    /// Whether inlined functions count.
    pub inlines: Inlines,
    /// Whether binaries count.
    pub objects: Objects,
    /// How source paths are shown; `None` for as they are.
    pub paths: Option<&'p Paths>,
    /// Whether places by line have their column.
    pub columns: Columns,
}

/// A place in the code, as far as the granularity tells it apart; the other fields are 0 or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct Place<'a> {
    /// Address in the process; 0 where it is not told apart.
    pub address: u64,
    /// Name of the function, in full.
    pub function: Cow<'a, str>,
    /// Source file, its path made plain.
    pub file: Cow<'a, str>,
    /// Line in the file.
    pub line: i64,
    /// Column in the line.
    pub column: i64,
    /// Path of the mapping; only where there is no function name, or with [`Objects::Told`].
    pub mapping: Cow<'a, str>,
    /// Line where the function starts; only where the mapping is told.
    pub start_line: i64,
}

impl<'a> Place<'a> {
    fn of(
        profile: &'a Profile,
        location: &Location,
        mapping: Option<&'a str>,
        line: Option<(&Line, &Function)>,
        detail: &Detail<'_>,
    ) -> Place<'a> {
        let &Detail { by, inlines, objects, paths, columns } = detail;
        let mapping = Cow::Borrowed(mapping.unwrap_or_default());
        let address = if by == Granularity::Addresses { location.address } else { 0 };
        let Some((line, function)) = line else {
            return Place { address, mapping, ..Place::default() };
        };
        let (with_name, with_file, with_line) = match by {
            Granularity::Functions => (true, false, false),
            Granularity::Filefunctions => (true, true, false),
            Granularity::Files => (false, true, false),
            Granularity::Lines | Granularity::Addresses => (true, true, true),
        };
        let name = if with_name { text(profile, function.name) } else { "" };
        let file = if with_file { text(profile, function.filename) } else { "" };
        let file = clean(paths.map_or(file, |paths| paths.trimmed(file)));
        // Columns tell addresses apart, but not where all that was inlined at an address is one.
        let with_column = match by {
            Granularity::Addresses => inlines == Inlines::Shown || columns == Columns::Shown,
            Granularity::Lines => columns == Columns::Shown,
            Granularity::Functions | Granularity::Filefunctions | Granularity::Files => false,
        };
        let told = name.is_empty() || objects == Objects::Told;
        Place {
            address,
            function: name.into(),
            file,
            line: if with_line { line.line } else { 0 },
            column: if with_column { line.column } else { 0 },
            mapping: if told { mapping } else { "".into() },
            start_line: if told { function.start_line } else { 0 },
        }
    }

    /// The name that reports show: `address function file:line:column` as far as there is any of it, or else the file
    /// name of the mapping in brackets, or `<unknown>`.
    #[must_use]
    pub fn name(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        if self.address != 0 {
            parts.push(format!("{:016x}", self.address));
        }
        if !self.function.is_empty() {
            parts.push(self.function.to_string());
        }
        if self.line != 0 {
            let column = if self.column == 0 { String::new() } else { format!(":{}", self.column) };
            parts.push(format!("{}:{}{column}", self.file, self.line));
        } else if !self.file.is_empty() {
            parts.push(self.file.to_string());
        } else if !self.function.is_empty() {
            // Named already.
        } else if !self.mapping.is_empty() {
            parts.push(format!("[{}]", base(&self.mapping)));
        } else {
            parts.push("<unknown>".to_owned());
        }
        parts.join(" ")
    }

    /// The same place, independent of the profile.
    #[must_use]
    pub fn into_owned(self) -> Place<'static> {
        let Place { address, function, file, line, column, mapping, start_line } = self;
        let own = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        Place {
            address,
            function: own(function),
            file: own(file),
            line,
            column,
            mapping: own(mapping),
            start_line,
        }
    }
}

/// A frame of a sample as a report sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Index into [`Nodes::places`].
    pub node: usize,
    /// True where the function was inlined into the next outer frame.
    pub inlined: bool,
}

/// The places of a profile, and which of them each location stands for.
#[derive(Debug)]
pub struct Nodes<'a> {
    places: Vec<Place<'a>>,
    /// By row of the location: its nodes, innermost first.
    of_location: Vec<Vec<usize>>,
    rows: Rows,
}

impl<'a> Nodes<'a> {
    /// Finds the places of a readable profile.
    ///
    /// # Errors
    /// Ids are not unique, which [`crate::profile::validate::check`] refuses.
    pub fn new(profile: &'a Profile, detail: &Detail<'_>) -> Result<Nodes<'a>, IdError> {
        let (functions, mappings) = (Rows::functions(profile)?, Rows::mappings(profile)?);
        let mut places: Vec<Place<'a>> = Vec::new();
        let mut known: HashMap<Place<'a>, usize> = HashMap::new();
        let mut node = |place: Place<'a>| {
            *known.entry(place).or_insert_with_key(|place| {
                places.push(place.clone());
                places.len() - 1
            })
        };
        let mut of_location = Vec::with_capacity(profile.location.len());
        for location in &profile.location {
            let mapping = mappings
                .get(location.mapping_id)
                .and_then(|row| profile.mapping.get(row))
                .map(|mapping| text(profile, mapping.filename));
            let outermost = location.line.len().saturating_sub(1);
            let skipped = if detail.inlines == Inlines::Merged { outermost } else { 0 };
            let lines = location.line.iter().skip(skipped).map(|line| {
                let function = functions.get(line.function_id).and_then(|row| profile.function.get(row));
                Place::of(profile, location, mapping, function.map(|function| (line, function)), detail)
            });
            let mut nodes: Vec<usize> = lines.map(&mut node).collect();
            if nodes.is_empty() {
                nodes.push(node(Place::of(profile, location, mapping, None, detail)));
            }
            of_location.push(nodes);
        }
        Ok(Nodes { places, of_location, rows: Rows::locations(profile)? })
    }

    /// The places; a node is an index into them.
    #[must_use]
    pub fn places(&self) -> &[Place<'a>] {
        &self.places
    }

    /// For each place the path of the first mapping that it was found in; empty where there is none. `profile` is the
    /// one that the places are of.
    #[must_use]
    pub fn mappings<'p>(&self, profile: &'p Profile) -> Vec<&'p str> {
        let mut found = vec![""; self.places.len()];
        let Ok(mappings) = Rows::mappings(profile) else { return found };
        for (location, nodes) in profile.location.iter().zip(&self.of_location) {
            let mapping = mappings.get(location.mapping_id).and_then(|row| profile.mapping.get(row));
            let path = mapping.map_or("", |mapping| text(profile, mapping.filename));
            for &node in nodes {
                if let Some(first) = found.get_mut(node).filter(|first| first.is_empty()) {
                    *first = path;
                }
            }
        }
        found
    }

    /// The frames of a sample from the outermost to the leaf.
    pub fn frames(&self, sample: &Sample) -> impl Iterator<Item = Frame> {
        sample.location_id.iter().rev().flat_map(|&id| {
            let nodes = self.rows.get(id).and_then(|row| self.of_location.get(row));
            let nodes = nodes.map(Vec::as_slice).unwrap_or_default();
            let last = nodes.len().saturating_sub(1);
            nodes.iter().enumerate().rev().map(move |(place, &node)| Frame { node, inlined: place != last })
        })
    }
}

/// The shortest equal path, by its text alone: Go's `filepath.Clean`. An empty one stays empty.
fn clean(path: &str) -> Cow<'_, str> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let rooted = path.starts_with('/');
    let relative = path.strip_prefix('/').unwrap_or(path);
    if path.is_empty() || relative.split('/').all(plain) {
        return Cow::Borrowed(path);
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|&last| last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let root = if rooted { "/" } else { "" };
    let cleaned = format!("{root}{}", parts.join("/"));
    Cow::Owned(if cleaned.is_empty() { ".".to_owned() } else { cleaned })
}

/// The last part of a path: Go's `filepath.Base`.
pub(super) fn base(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        return if path.is_empty() { "." } else { "/" };
    }
    trimmed.rsplit('/').next().unwrap_or(trimmed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_plain_as_go_does() {
        let cases = [
            ("", ""),
            ("a/b.c", "a/b.c"),
            ("/a//b/./c/../d", "/a/b/d"),
            ("/../a", "/a"),
            ("../../a", "../../a"),
            ("a/..", "."),
            ("/", "/"),
            ("a/", "a"),
            ("./a", "a"),
            ("<autogenerated>", "<autogenerated>"),
        ];
        for (path, wanted) in cases {
            assert_eq!(clean(path), wanted, "{path:?}");
        }
        assert_eq!([base("/usr/bin/x"), base("x/"), base("/"), base("")], ["x", "x", "/", "."]);
    }

    #[test]
    fn names_say_what_is_known() {
        let place =
            |address, function: &'static str, file: &'static str, line, column, mapping: &'static str| {
                let (function, file, mapping) = (function.into(), file.into(), mapping.into());
                Place { address, function, file, line, column, mapping, start_line: 0 }.name()
            };
        assert_eq!(place(0, "f", "", 0, 0, ""), "f");
        assert_eq!(place(0, "f", "a.c", 0, 0, ""), "f a.c");
        assert_eq!(place(0x1f, "f", "a.c", 3, 7, ""), "000000000000001f f a.c:3:7");
        assert_eq!(place(0, "", "", 0, 0, "/lib/x.so"), "[x.so]");
        assert_eq!(place(0x1f, "", "", 0, 0, "/lib/x.so"), "000000000000001f [x.so]");
        assert_eq!(place(0, "", "", 0, 0, ""), "<unknown>");
        assert_eq!(place(0, "f", "", 3, 0, ""), "f :3");
    }
}
