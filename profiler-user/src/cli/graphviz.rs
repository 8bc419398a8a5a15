//! Drawing call graphs for commands.

use std::time::Duration;

use anyhow::anyhow;

use super::Failure;
use crate::export::graphviz::{DrawError, draw};

/// A graph that takes longer is too large to be looked at; Ctrl-C ends it before.
const PATIENCE: Duration = Duration::from_secs(600);

/// Has graphviz draw a graph in one of its formats, such as `svg` or `png`.
///
/// # Errors
/// It is not installed, or does not know the format.
pub(super) fn drawn(text: &str, format: &str) -> Result<Vec<u8>, Failure> {
    draw(text, format, &[], PATIENCE).map_err(|error| match error {
        DrawError::Missing => Failure::CannotStart(anyhow!(
            "{error}, or write the graph as text: `callgraph -o graph.dot`, in the shell `dot > graph.dot`"
        )),
        error => Failure::WhileRunning(error.into()),
    })
}
