//! Lines from the terminal, with history and completion.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::complete::{Offer, Words};

/// Lines that are kept for the next session.
const HISTORY: usize = 1000;

/// The prompt.
const PROMPT: &str = "(profiler) ";

/// The terminal.
pub(super) struct Prompt {
    editor: Editor<Completions, FileHistory>,
    history: Option<PathBuf>,
}

/// A line, or why there is none.
pub(super) enum Typed {
    Line(String),
    /// Ctrl-C: the line is given up.
    GivenUp,
    /// Ctrl-D.
    End,
}

impl Prompt {
    /// Opens the terminal, and reads the history of earlier sessions.
    ///
    /// # Errors
    /// The terminal refuses.
    pub(super) fn new(words: Words) -> anyhow::Result<Prompt> {
        let config = Config::builder()
            .max_history_size(HISTORY)?
            .history_ignore_dups(true)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Completions(words)));
        let history = history();
        if let Some(path) = &history {
            // There is none before the first session.
            let _ = editor.load_history(path);
        }
        Ok(Prompt { editor, history })
    }

    /// Asks for a line.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn ask(&mut self) -> anyhow::Result<Typed> {
        match self.editor.readline(PROMPT) {
            Ok(line) => {
                self.remember(&line);
                Ok(Typed::Line(line))
            }
            Err(ReadlineError::Interrupted) => Ok(Typed::GivenUp),
            Err(ReadlineError::Eof) => Ok(Typed::End),
            Err(error) => Err(error.into()),
        }
    }

    /// Written at once, so that a session that is killed loses nothing. A folder that cannot be written to is no
    /// reason to stop.
    fn remember(&mut self, line: &str) {
        let added = self.editor.add_history_entry(line).unwrap_or_default();
        if let Some(path) = self.history.as_ref().filter(|_| added) {
            let _ = self.editor.append_history(path);
        }
    }
}

/// The file of the history, in a folder that only its user can read: regexes may tell of secret things.
fn history() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    let folder = state.join("profiler");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
    Some(folder.join("shell_history"))
}

struct Completions(Words);

impl Completer for Completions {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let Offer { start, words } = self.0.offer(line.get(..position).unwrap_or(line));
        let pair = |word: String| Pair { display: word.trim_end().to_owned(), replacement: word };
        Ok((start, words.into_iter().map(pair).collect()))
    }
}

impl rustyline::hint::Hinter for Completions {
    type Hint = String;
}

impl rustyline::highlight::Highlighter for Completions {}

impl rustyline::validate::Validator for Completions {}

impl Helper for Completions {}
