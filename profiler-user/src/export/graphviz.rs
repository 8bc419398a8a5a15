//! Graphviz, which draws graphs, where it is installed.

use std::io::{self, ErrorKind, Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::confine;

/// How often a drawing is looked after.
const LOOK: Duration = Duration::from_millis(10);

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum DrawError {
    /// Graphviz is not installed.
    #[error("graphviz's `dot`, which draws the picture, is not installed: install graphviz")]
    Missing,
    /// The process runs no programs any more.
    #[error(
        "no programs are run here: `profiler view FOLDER` draws the picture, or the agent with --no-confinement"
    )]
    Confined,
    /// It cannot be run, or its pipes break.
    #[error("graphviz's `dot` cannot be run: {0}")]
    Io(#[from] io::Error),
    /// It does not like the graph.
    #[error("graphviz's `dot` failed: {0}")]
    Failed(String),
    /// It was ended.
    #[error("graphviz's `dot` was not done after {} s: show fewer functions", .0.as_secs())]
    TooLong(Duration),
}

/// Draws a graph as SVG; `arguments` are further ones of `dot`. It is ended after `limit`.
///
/// # Errors
/// See [`DrawError`].
pub fn svg(graph: &str, arguments: &[&str], limit: Duration) -> Result<String, DrawError> {
    let picture = draw(graph, "svg", arguments, limit)?;
    Ok(String::from_utf8_lossy(&picture).into_owned())
}

/// Draws a graph in one of graphviz's formats, such as `svg` or `png`; the rest as [`svg`].
///
/// # Errors
/// See [`DrawError`].
pub fn draw(graph: &str, format: &str, arguments: &[&str], limit: Duration) -> Result<Vec<u8>, DrawError> {
    if confine::in_force().is_some() {
        return Err(DrawError::Confined);
    }
    let started = Command::new("dot")
        .arg(format!("-T{format}"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.map_err(|error| match error.kind() {
        ErrorKind::NotFound => DrawError::Missing,
        _ => DrawError::Io(error),
    })?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let deadline = Instant::now() + limit;
    // From threads of their own: dot may write before it has read everything.
    thread::scope(|scope| {
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(graph.as_bytes())));
        let drawn = scope.spawn(move || all(stdout));
        let said = scope.spawn(move || all(stderr));
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                return Err(DrawError::TooLong(limit));
            }
            thread::sleep(LOOK);
        };
        let (drawn, said) = (drawn.join().unwrap_or_default(), said.join().unwrap_or_default());
        if status.success() {
            Ok(drawn)
        } else {
            Err(DrawError::Failed(String::from_utf8_lossy(&said).trim().to_owned()))
        }
    })
}

fn all(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What was read before an error is as good as there is.
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn draws_and_says_why_not() {
        let picture = svg("digraph { a -> b }", &["-Gbgcolor=transparent"], PATIENCE).unwrap();
        assert!(picture.contains("<svg") && picture.contains("<title>a&#45;&gt;b</title>"), "{picture}");
        let error = svg("digraph {", &[], PATIENCE).unwrap_err().to_string();
        assert!(error.starts_with("graphviz's `dot` failed: ") && error.contains("syntax error"), "{error}");
        let error = svg("digraph { a -> b }", &[], Duration::ZERO);
        // It may have been done before anyone looked.
        assert!(matches!(error, Ok(_) | Err(DrawError::TooLong(_))), "{error:?}");
    }
}
