//! The terminal while it is taken, and giving it back: at the end, after an error, a panic, SIGINT and SIGTERM. Nothing can
//! be done about SIGKILL; `reset` then helps.

use std::io::{self, Stdout, Write, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

/// Whether there is something to give back.
static TAKEN: AtomicBool = AtomicBool::new(false);

static HOOK: Once = Once::new();

/// The terminal, until it is dropped.
pub(super) struct Taken;

impl Taken {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It refuses.
    pub(super) fn take() -> io::Result<Taken> {
        HOOK.call_once(|| {
            let report = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                // On whichever thread: its report must be readable.
                give_back();
                report(panic);
            }));
        });
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        let taken = Taken;
        execute!(stdout(), EnterAlternateScreen)?;
        Ok(taken)
    }

    /// What is drawn on.
    ///
    /// # Errors
    /// The terminal does not tell its size.
    pub(super) fn screen() -> io::Result<Terminal<CrosstermBackend<Stdout>>> {
        Terminal::new(CrosstermBackend::new(stdout()))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // A terminal that is gone needs nothing.
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
        let _ = stdout().flush();
    }
}
