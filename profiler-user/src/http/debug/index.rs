//! The page at `/debug/pprof/`: what there is, and who used CPU time in the last window.

use std::fmt::Write;

use crate::report::flame::svg::escape;
use crate::status::Sampled;

/// Processes that are listed at the most, the busiest ones.
const MOST: usize = 100;

/// The page.
pub(super) fn page(processes: &[Sampled]) -> String {
    let mut rows = String::new();
    for process in processes.iter().take(MOST) {
        let _ = writeln!(
            rows,
            "<tr><td>{:.1}</td><td><a href=\"profile?seconds=10&amp;pid={pid}\">{pid}</a></td>\
             <td><a href=\"profile?seconds=10&amp;process={}\">{}</a></td></tr>",
            process.cpus * 100.0,
            escape(&in_url(&process.name)),
            escape(&process.name),
            pid = process.pid,
        );
    }
    if rows.is_empty() {
        rows = "<tr><td colspan=\"3\">No window has ended yet.</td></tr>\n".to_owned();
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>/debug/pprof/</title></head>\n<body>\n\
         <h1>/debug/pprof/</h1>\n\
         <p>CPU profiles of every process of this host, in the format of <code>go tool pprof</code>.</p>\n<ul>\n\
         <li><a href=\"profile?seconds=10\">profile?seconds=10</a>: the whole host for ten seconds. Also with \
         <code>pid=</code>, <code>process=</code>, <code>service=</code>, <code>container=</code>, <code>thread=</code>; \
         a value that begins with <code>~</code> is a regex.</li>\n\
         <li><a href=\"cmdline\">cmdline</a>: the profiler's own command line.</li>\n\
         <li><a href=\"symbol\">symbol</a>: names of kernel addresses, of a process's with <code>pid=</code>.</li>\n\
         <li><a href=\"/metrics\">/metrics</a>, <a href=\"/\">the page</a></li>\n</ul>\n\
         <h2>The last window</h2>\n\
         <table>\n<tr><th>CPU %</th><th>PID</th><th>Process</th></tr>\n{rows}</table>\n</body>\n</html>\n"
    )
}

/// A value in a query (RFC 3986, section 2.3). A name that begins with a tilde is no regex.
fn in_url(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text() {
        let evil = Sampled { pid: 7, name: "<script>&\"'\n".to_owned(), cpus: 0.5 };
        let page = page(&[evil]);
        assert!(page.contains("&lt;script&gt;&amp;&quot;&#39; </a>"), "{page}");
        assert!(page.contains("process=%3Cscript%3E%26%22%27%0A"), "{page}");
        assert!(page.contains("<td>50.0</td>") && page.contains("pid=7"));
    }

    #[test]
    fn before_the_first_window() {
        assert!(page(&[]).contains("No window"));
    }
}
