//! Reports as the page asks for them. Runs on threads for blocking work: folders and sources are read here.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use serde::Serialize;
use serde_json::Value;

use super::Page;
use super::profiles::{About, NoProfile};
use super::query::{Query, Unreadable, asked};
use crate::export::graphviz;
use crate::profile::proto::Profile;
use crate::profile::text;
use crate::report::diff::{self, diff, overlaid};
use crate::report::dot::dot;
use crate::report::flame::sandwich::sandwich;
use crate::report::flame::{FlameReport, flame};
use crate::report::json::{self, Lines};
use crate::report::list::list;
use crate::report::order::Sort;
use crate::report::subject::ReportError;
use crate::report::top::{self, top};
use crate::report::tree::{self, tree};
use crate::report::trim::{Purpose, Trim};
use crate::source::code::Code;

/// A picture that takes longer than this is not worth waiting for.
const DRAWING: Duration = Duration::from_secs(20);

/// Functions of a call graph, unless more are asked for.
const GRAPH_NODES: usize = 80;

/// More functions than this make a picture that nobody can read and graphviz takes minutes for.
const MOST_GRAPH_NODES: usize = 400;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error(transparent)]
    Query(#[from] Unreadable),
    #[error(transparent)]
    Profile(#[from] NoProfile),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Missing(&'static str),
}

impl NoAnswer {
    /// True where the page asked for something that does not exist.
    pub(super) fn is_wish(&self) -> bool {
        match self {
            NoAnswer::Query(_) | NoAnswer::Missing(_) => true,
            NoAnswer::Profile(error) => error.is_wish(),
            NoAnswer::Report(error) => !matches!(error, ReportError::Invalid(_)),
            NoAnswer::Json(_) => false,
        }
    }
}

type Answer = Result<String, NoAnswer>;

/// The profiles of a query: the one that is looked at, and what it is compared with.
struct Sides {
    other: Arc<Profile>,
    base: Option<Arc<Profile>>,
}

impl Page {
    fn sides(&self, query: &Query) -> Result<Sides, NoProfile> {
        let other = self.other.profile(&query.other, query.labels)?;
        if !query.compare {
            return Ok(Sides { other, base: None });
        }
        let base = self.base.as_ref().unwrap_or(&self.other).profile(&query.base, query.labels)?;
        Ok(if query.swap {
            Sides { other: base, base: Some(other) }
        } else {
            Sides { other, base: Some(base) }
        })
    }

    fn tree(&self, query: &Query) -> Result<FlameReport, NoAnswer> {
        let Sides { other, base } = self.sides(query)?;
        Ok(match base {
            Some(base) => overlaid(&base, &other, &query.lens, query.normalize)?,
            None => flame(&other, &query.lens)?,
        })
    }

    pub(super) fn flame(&self, query: &Query) -> Answer {
        Ok(json::flame(&self.tree(query)?)?)
    }

    pub(super) fn sandwich(&self, query: &Query) -> Answer {
        let function = query.function.as_deref().ok_or(NoAnswer::Missing("function: which one?"))?;
        Ok(json::sandwich(&sandwich(&self.tree(query)?, function)?)?)
    }

    pub(super) fn top(&self, query: &Query) -> Answer {
        let Sides { other, .. } = self.sides(query)?;
        let options = top::Options { lens: query.lens.clone(), ..top::Options::default() };
        Ok(json::top(&top(&other, &options)?)?)
    }

    pub(super) fn diff(&self, query: &Query) -> Answer {
        let Sides { other, base } = self.sides(query)?;
        let base = base.ok_or(NoAnswer::Missing("compare: there is no base to compare with"))?;
        let options = diff::Options {
            lens: query.lens.clone(),
            rows: query.rows.clone(),
            normalize: query.normalize,
            sort: Sort::Flat,
        };
        Ok(json::diff(&diff(&base, &other, &options)?)?)
    }

    pub(super) fn graph(&self, query: &Query) -> Answer {
        let Sides { other, .. } = self.sides(query)?;
        let nodes = query.nodes.unwrap_or(GRAPH_NODES).clamp(1, MOST_GRAPH_NODES);
        let trim = Trim { nodes: Some(nodes), ..Trim::GRAPH };
        let options = tree::Options { lens: query.lens.clone(), trim, purpose: Purpose::Drawing };
        let report = tree(&other, &options)?;
        let graph = &report.graph;
        let dot = dot(&report);
        let (svg, why) = match graphviz::svg(&dot, &["-Gbgcolor=transparent"], DRAWING) {
            Ok(svg) => (Some(svg), None),
            Err(error) => (None, Some(error.to_string())),
        };
        #[derive(Serialize)]
        struct Graph {
            /// The picture; null where there is none.
            svg: Option<String>,
            /// Why there is none.
            why: Option<String>,
            dot: String,
            /// The names of the nodes `node1`, `node2`, ….
            nodes: Vec<String>,
            nodes_in_all: usize,
        }
        let nodes = graph.nodes.iter().map(|node| graph.name(node.place)).collect();
        Ok(serde_json::to_string(&Graph { svg, why, dot, nodes, nodes_in_all: graph.nodes_in_all })?)
    }

    pub(super) fn source(&self, query: &Query) -> Answer {
        let Sides { other, .. } = self.sides(query)?;
        let exactly = |name: &String| Regex::new(&format!("^{}$", regex::escape(name))).ok();
        let regex = query.regex.clone().or_else(|| query.function.as_ref().and_then(exactly));
        let regex = regex.ok_or(NoAnswer::Missing("function: which one?"))?;
        let here = std::env::current_dir().unwrap_or_else(|_| Path::new("/").to_owned());
        let mut code = Code::new(query.lens.paths.or_here(&here), &here);
        let report = list(&other, &query.lens, &regex)?;
        let mut read = |path: &str| code.lines(path).map_err(|error| error.to_string());
        Ok(json::listing(&report, Lines::Around, &mut read)?)
    }

    pub(super) fn reload(&self) -> Answer {
        self.other.reload()?;
        if let Some(base) = &self.base {
            base.reload()?;
        }
        self.about()
    }

    /// What there is to choose from.
    pub(super) fn about(&self) -> Answer {
        let profile = self.other.profile(&Default::default(), crate::source::Labels::Drop)?;
        let own = |index: i64| text(&profile, index).to_owned();
        let kinds: Vec<Value> = profile
            .sample_type
            .iter()
            .map(|kind| serde_json::json!({"type": own(kind.r#type), "unit": own(kind.unit)}))
            .collect();
        let index = crate::profile::sample_index::sample_index(&profile, None).unwrap_or_default();
        let file = profile.mapping.first().map(|main| own(main.filename)).unwrap_or_default();
        let mut asked = asked(&self.lens);
        if self.base.is_some() {
            asked.push(("compare", "1".to_owned()));
        }
        #[derive(Serialize)]
        struct All {
            version: &'static str,
            /// Path of the main binary.
            file: String,
            time_nanos: i64,
            duration_nanos: i64,
            comments: Vec<String>,
            sample_types: Vec<Value>,
            default_sample_type: usize,
            other: Value,
            base: Option<Value>,
            /// What the command line asks for, as the page's parameters.
            asked: Vec<(&'static str, String)>,
        }
        Ok(serde_json::to_string(&All {
            version: env!("CARGO_PKG_VERSION"),
            file,
            time_nanos: profile.time_nanos,
            duration_nanos: profile.duration_nanos,
            comments: profile.comment.iter().map(|&comment| own(comment)).collect(),
            sample_types: kinds,
            default_sample_type: index,
            other: side(self.other.about()),
            base: self.base.as_ref().map(|base| side(base.about())),
            asked,
        })?)
    }
}

fn side(about: About) -> Value {
    let About { names, census, warnings, broken, has_folder } = about;
    // Numbers of nanoseconds since 1970 are more than JavaScript's can be told apart: milliseconds.
    let windows: Vec<(i64, i64)> =
        census.windows.into_iter().map(|(start, value)| (start / 1_000_000, value)).collect();
    serde_json::json!({
        "names": names,
        "labels": census.labels,
        "windows": windows,
        "warnings": warnings,
        "broken": broken,
        "has_folder": has_folder,
    })
}
