//! A profile less another one, in both command lines.

use std::path::Path;

use crate::commands::{Request, compare};

/// Asks both. Where the two profiles do not fit, both refuse.
pub(crate) fn compare_difference(profiler: &Path, file: &Path, base: &Path, how: &str) {
    for report in ["top", "tree", "traces"] {
        for options in [&[][..], &["normalize"], &["drop_negative", "focus=main"]] {
            let base = base.display();
            let mut request = Request {
                ours: vec![report.to_owned(), format!("--{how}={base}")],
                theirs: vec![format!("-{report}"), format!("-{how}={base}")],
            };
            request.ours.extend(options.iter().map(|option| format!("--{option}")));
            request.theirs.extend(options.iter().map(|option| format!("-{option}")));
            if report == "top" {
                request.ours.push("--rows=0".to_owned());
                request.theirs.extend(["-nodefraction=0", "-edgefraction=0"].map(str::to_owned));
            }
            compare(profiler, &[file.to_owned()], &request);
        }
    }
}
