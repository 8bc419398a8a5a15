//! The commands of the shell, with the names of google/pprof's (its driver/commands.go).

/// What a command makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Top,
    Tree,
    Peek,
    List,
    Disasm,
    Traces,
    Raw,
    Tags,
    Comments,
    Proto,
    Dot,
    /// A call graph drawn by graphviz, in this format.
    Picture(&'static str),
    /// The same, shown by one of these programs; none for a browser.
    Shown(&'static str, &'static [&'static str]),
    /// A flame graph, shown in a browser.
    Flame,
}

/// A command.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

impl Kind {
    /// Whether the first word after it is a regex for functions.
    pub(super) fn takes_regex(self) -> bool {
        matches!(self, Kind::Peek | Kind::List | Kind::Disasm)
    }

    /// What a file is called that is written because it is nothing for a terminal.
    pub(super) fn ending(self) -> Option<&'static str> {
        match self {
            Kind::Proto => Some("pb.gz"),
            Kind::Picture(format) => Some(format),
            _ => None,
        }
    }

    /// How it is written.
    pub(super) fn usage(self) -> &'static [&'static str] {
        match self {
            Kind::Top | Kind::Tree => &[
                "[n] [regex]* [-regex]* [-cum] [>file]",
                "n            how many rows",
                "regex        only samples with a matching frame; several are alternatives",
                "-regex       no samples with a matching frame",
                "-cum         sort by cumulative value",
                ">file        write to a file",
            ],
            Kind::Dot | Kind::Picture(_) | Kind::Flame => &[
                "[n] [regex]* [-regex]* [>file]",
                "n            how many nodes",
                "regex        only samples with a matching frame; several are alternatives",
                "-regex       no samples with a matching frame",
                ">file        write to a file",
            ],
            Kind::Shown(..) => &[
                "[n] [regex]* [-regex]*",
                "n            how many nodes",
                "regex        only samples with a matching frame; several are alternatives",
                "-regex       no samples with a matching frame",
            ],
            Kind::Peek | Kind::List | Kind::Disasm => &[
                "functions [regex]* [-regex]* [>file]",
                "functions    a regex for the names of functions",
                "regex        only samples with a matching frame; several are alternatives",
                "-regex       no samples with a matching frame",
                ">file        write to a file",
            ],
            Kind::Tags => &[
                "[regex]* [-regex]* [>file]",
                "regex        only samples with a matching label, as key:value",
                "-regex       no samples with a matching label",
                ">file        write to a file",
            ],
            Kind::Traces | Kind::Raw | Kind::Proto => &[
                "[regex]* [-regex]* [>file]",
                "regex        only samples with a matching frame; several are alternatives",
                "-regex       no samples with a matching frame",
                ">file        write to a file",
            ],
            Kind::Comments => &["[>file]", ">file        write to a file"],
        }
    }
}

const fn command(name: &'static str, kind: Kind, help: &'static str) -> Command {
    Command { name, kind, help }
}

/// All commands, by name.
pub(super) static COMMANDS: [Command; 22] = [
    command("comments", Kind::Comments, "What the profile's writer has to say"),
    command("disasm", Kind::Disasm, "The instructions of functions, with the values of each"),
    command("dot", Kind::Dot, "The call graph in graphviz's language"),
    command("eog", Kind::Shown("svg", &["eog"]), "The call graph, shown by eog"),
    command("evince", Kind::Shown("pdf", &["evince"]), "The call graph, shown by evince"),
    command("flamegraph", Kind::Flame, "A flame graph to explore, shown in a browser"),
    command("gif", Kind::Picture("gif"), "The call graph as a GIF file"),
    command("gv", Kind::Shown("ps", &["gv"]), "The call graph, shown by gv"),
    command("list", Kind::List, "The source of functions, with the values of each line"),
    command("pdf", Kind::Picture("pdf"), "The call graph as a PDF file"),
    command("peek", Kind::Peek, "Functions with their callers and callees"),
    command("png", Kind::Picture("png"), "The call graph as a PNG file"),
    command("proto", Kind::Proto, "What the filters leave, as a profile"),
    command("ps", Kind::Picture("ps"), "The call graph as a PostScript file"),
    command("raw", Kind::Raw, "The tables of the profile as they are"),
    command("svg", Kind::Picture("svg"), "The call graph as an SVG file"),
    command("tags", Kind::Tags, "The labels of samples, and what they add up to"),
    command("text", Kind::Top, "The same as top"),
    command("top", Kind::Top, "The hottest functions"),
    command("traces", Kind::Traces, "Every sample with its labels and its stack"),
    command("tree", Kind::Tree, "The hottest functions, each between its callers and callees"),
    command("web", Kind::Shown("svg", &[]), "The call graph, shown in a browser"),
];

/// What pprof has and this shell has not, and what serves instead.
pub(super) static ELSEWHERE: [(&str, &str); 4] = [
    ("weblist", "`list` prints the same, and `profiler view` shows source in a browser"),
    ("callgrind", "`go tool pprof -callgrind` converts a profile for kcachegrind"),
    ("kcachegrind", "`go tool pprof -callgrind` converts a profile for kcachegrind"),
    ("topproto", "`proto` writes what the filters leave"),
];

/// The command with this name.
pub(super) fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_sorted_and_no_option_has_their_name() {
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
        for command in &COMMANDS {
            assert!(super::super::options::find(command.name).is_none(), "{}", command.name);
            assert!(!command.kind.usage().is_empty());
        }
        for (name, _) in ELSEWHERE {
            assert!(find(name).is_none(), "{name}");
        }
    }
}
