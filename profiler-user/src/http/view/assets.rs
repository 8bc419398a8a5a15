//! The files of the page, which are in the binary.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;

use crate::report::flame::html::{SCRIPTS, STYLE};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! page {
    ($name:literal) => {
        include_str!(concat!("page/", $name))
    };
}

/// The page itself; it names the scripts, in the order in which they need each other.
const PAGE: &str = page!("index.html");

/// Path, type, content.
const FILES: [(&str, &str, &str); 13] = [
    ("/assets/view.css", CSS, page!("view.css")),
    ("/assets/views.css", CSS, page!("views.css")),
    ("/assets/state.js", SCRIPT, page!("state.js")),
    ("/assets/dom.js", SCRIPT, page!("dom.js")),
    ("/assets/filters.js", SCRIPT, page!("filters.js")),
    ("/assets/select.js", SCRIPT, page!("select.js")),
    ("/assets/table.js", SCRIPT, page!("table.js")),
    ("/assets/top.js", SCRIPT, page!("top.js")),
    ("/assets/flames.js", SCRIPT, page!("flames.js")),
    ("/assets/graph.js", SCRIPT, page!("graph.js")),
    ("/assets/source.js", SCRIPT, page!("source.js")),
    ("/assets/app.js", SCRIPT, page!("app.js")),
    ("/assets/icon.svg", "image/svg+xml", page!("icon.svg")),
];

/// Routes to all of them.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let file = |kind: &'static str, content: &'static str| {
        get(move || async move { ([(CONTENT_TYPE, kind)], content) })
    };
    let mut router = Router::new().route("/", file(HTML, PAGE)).route("/assets/flame.css", file(CSS, STYLE));
    for (path, kind, content) in FILES {
        router = router.route(path, file(kind, content));
    }
    for (name, content) in SCRIPTS {
        router = router.route(&format!("/assets/{name}"), file(SCRIPT, content));
    }
    router
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_file_and_nothing_from_elsewhere() {
        let own = FILES.iter().map(|(path, _, _)| (*path).to_owned());
        let shared = SCRIPTS.iter().map(|(name, _)| format!("/assets/{name}"));
        for path in own.chain(shared) {
            assert!(PAGE.contains(&format!("\"{path}\"")), "{path}");
        }
        for (path, _, content) in FILES {
            for outside in ["http://", "https://", "@import", "url("] {
                let plain = content.replace("http://www.w3.org/2000/svg", "");
                assert!(!plain.contains(outside), "{outside} in {path}");
            }
        }
    }
}
