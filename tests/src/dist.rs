//! What packages contain beside the binary and is made of the definition of the command line: man pages and completions.

use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// The shells that there are completions for.
pub const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// Exit codes, for the page of the whole; the README has them, too.
const EXIT_CODES: [(&str, &str); 4] = [
    ("0", "Done."),
    ("1", "Failed while running."),
    ("2", "Could not start; one sentence says why, and what to do about it."),
    ("3", "A condition of profiler diff --fail-on is met."),
];

/// Writes `man/*.1` and `completions/*` below the folder, and tells what it wrote. What was there of old is removed.
///
/// # Errors
/// A file cannot be written.
pub fn write(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    for folder in [&man, &completions] {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir_all(folder)?,
        }
    }
    let mut files = Vec::new();
    for (name, text) in pages() {
        let file = man.join(name);
        std::fs::write(&file, text)?;
        files.push(file);
    }
    for shell in SHELLS {
        files.push(generate_to(shell, &mut profiler_user::cli::command(), "profiler", &completions)?);
    }
    Ok(files)
}

/// The name and the text of each page: one for the whole, one for each subcommand.
fn pages() -> Vec<(String, Vec<u8>)> {
    // `profiler help` has no page: `man` is its own.
    let mut whole = profiler_user::cli::command().disable_help_subcommand(true);
    whole.build();
    let subcommands: Vec<&Command> = whole.get_subcommands().collect();
    let names: Vec<String> = subcommands.iter().map(|command| page_name(command)).collect();
    let mut pages = vec![page(&whole, &names)];
    pages.extend(subcommands.iter().map(|command| page(command, &["profiler".to_owned()])));
    pages
}

fn page_name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn page(command: &Command, see_also: &[String]) -> (String, Vec<u8>) {
    let man = Man::new(command.clone());
    // Without a date: it would say when somebody built it.
    let version = env!("CARGO_PKG_VERSION");
    let mut out =
        format!(".TH {} 1 \"\" \"profiler {version}\" \"CPU profiler\"\n", page_name(command)).into_bytes();
    let mut render = || -> io::Result<()> {
        man.render_name_section(&mut out)?;
        man.render_synopsis_section(&mut out)?;
        man.render_description_section(&mut out)?;
        man.render_options_section(&mut out)?;
        if command.has_subcommands() {
            man.render_subcommands_section(&mut out)?;
        }
        after_help(command).to_writer(&mut out)?;
        if command.has_subcommands() {
            exit_codes().to_writer(&mut out)?;
        }
        links(see_also).to_writer(&mut out)
    };
    render().expect("memory takes what is written");
    (man.get_filename(), out)
}

/// Examples as they are in the help, a line a line; what follows them as text.
fn after_help(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let Some(text) = command.get_after_help().map(ToString::to_string) else { return roff };
    let (examples, notes) = match text.strip_prefix("Examples:\n") {
        Some(text) => text.split_once("\n\n").unwrap_or((text, "")),
        None => ("", text.as_str()),
    };
    if !examples.is_empty() {
        roff.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in examples.lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    if !notes.trim().is_empty() {
        roff.control("SH", ["NOTES"]);
        for (at, paragraph) in notes.trim().split("\n\n").enumerate() {
            if at > 0 {
                roff.control("PP", []);
            }
            for line in paragraph.lines() {
                roff.text([roman(line.trim_start())]);
            }
        }
    }
    roff
}

fn exit_codes() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXIT_CODES {
        roff.control("TP", []).text([bold(code)]).text([roman(meaning)]);
    }
    roff
}

fn links(names: &[String]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    for (at, name) in names.iter().enumerate() {
        let end = if at + 1 < names.len() { "(1)," } else { "(1)" };
        roff.text([bold(name.as_str()), roman(end)]);
    }
    roff
}
