//! Showing a report: a text table for people, JSON for machines.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Check, Report, Status};

/// The report as text: a line per check, and below those that are not ok why it matters and what to do.
#[must_use]
pub fn text(report: &Report) -> String {
    let width = report.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Check { name, status, found, why, fix } in &report.checks {
        let status = match status {
            Status::Ok => "ok  ",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{status}  {name:width$}  {found}");
        if !fix.is_empty() {
            let _ = writeln!(text, "{:6}{:width$}  why: {why}", "", "");
            let _ = writeln!(text, "{:6}{:width$}  fix: {fix}", "", "");
        }
    }
    text.push('\n');
    text.push_str(match report.worst() {
        Status::Ok => "The profiler can run on this host.\n",
        Status::Warn => "The profiler can run on this host, with the limits above.\n",
        Status::Fail => "The profiler cannot run on this host until what failed is mended.\n",
    });
    text
}

/// The report as one JSON object: `can_run` and `checks`.
///
/// # Errors
/// None are known: every field is a string or a flag.
pub fn json(report: &Report) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Shown<'a> {
        can_run: bool,
        #[serde(flatten)]
        report: &'a Report,
    }
    serde_json::to_string_pretty(&Shown { can_run: report.can_run(), report })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let check = |name, status, fix: &str| Check {
            name,
            status,
            found: format!("found {name}"),
            why: "it matters",
            fix: fix.to_owned(),
        };
        Report { checks: vec![check("btf", Status::Ok, ""), check("bpf-jit", Status::Warn, "switch it on")] }
    }

    #[test]
    fn the_table_explains_what_is_not_ok() {
        let expected = "\
ok    btf      found btf
warn  bpf-jit  found bpf-jit
               why: it matters
               fix: switch it on

The profiler can run on this host, with the limits above.
";
        assert_eq!(text(&report()), expected);
    }

    #[test]
    fn json_has_the_verdict_and_every_field() {
        let value: serde_json::Value = serde_json::from_str(&json(&report()).unwrap()).unwrap();
        assert_eq!(value["can_run"], true);
        assert_eq!(value["checks"][1]["status"], "warn");
        assert_eq!(value["checks"][1]["fix"], "switch it on");
        assert_eq!(value["checks"][0]["found"], "found btf");
    }
}
