//! `profiler view`.

use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::capturing::{interrupted, runtime};
use super::lens::LensArgs;
use super::reading::{Choice, SelectionArgs, read};
use super::{Failure, Outcome};
use crate::http::guard::Guard;
use crate::http::listen::{Address, Listener};
use crate::http::serve::serve;
use crate::http::view::{Limits, Page, Side, router};
use crate::profile::labels::LabelFilter;
use crate::source::moment::Moment;
use crate::source::{Labels, Loaded};

/// How long answers that are on their way may take after Ctrl-C.
const GRACE: Duration = Duration::from_secs(2);

/// Arguments of `profiler view`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  profiler view profile.pb.gz                       flame graph, table, call graph and source in the browser
  profiler view /var/lib/profiler --since 1h        a folder of an agent, with a choice of process and time
  profiler view after.pb.gz --diff before.pb.gz     what changed, and whether it is noise
  profiler view --no-open --listen 127.0.0.1:8080 profile.pb.gz
                                                    on a server: then `ssh -L 8080:127.0.0.1:8080 server`

The page is served by this command until Ctrl-C, to this machine alone unless --listen says otherwise. It loads nothing
from anywhere else. What it shows is in its address, so a link or a bookmark shows the same again.")]
pub(super) struct Args {
    #[command(flatten)]
    source: SelectionArgs,
    /// What to compare with: files, folders or URLs, as SOURCE. All that follow it belong to it.
    #[arg(long, value_name = "BASE", num_args = 1..)]
    diff: Vec<String>,
    /// Only samples with these labels in BASE.
    #[arg(long, value_name = "LABELS", requires = "diff")]
    base_where: Vec<LabelFilter>,
    /// Only windows of BASE that start then or later.
    #[arg(long, value_name = "TIME", requires = "diff")]
    base_since: Option<Moment>,
    /// Only windows of BASE that start before then.
    #[arg(long, value_name = "TIME", requires = "diff")]
    base_until: Option<Moment>,
    /// Where to serve the page. An address that is not 127.0.0.1 or [::1] shows the profiles to whoever can reach it.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Print the page's address, and open no browser.
    #[arg(long)]
    no_open: bool,
    #[command(flatten)]
    lens: LensArgs,
}

/// Runs `profiler view`.
pub(super) fn run(args: &Args) -> Outcome {
    let SelectionArgs { source, labels, since, until } = &args.source;
    let other = open(&Choice { sources: source, samples: labels, since: *since, until: *until })?;
    let base = if args.diff.is_empty() {
        None
    } else {
        let (since, until) = (args.base_since, args.base_until);
        Some(open(&Choice { sources: &args.diff, samples: &args.base_where, since, until })?)
    };
    let page = Page { other, base, lens: args.lens.lens() };
    page.check().map_err(|error| Failure::CannotStart(error.into()))?;
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        let stop = interrupted().context("cannot listen for signals").map_err(Failure::CannotStart)?;
        let listener = Listener::bind(&Address::Tcp(args.listen), None).await.map_err(|error| {
            Failure::CannotStart(anyhow!(
                "cannot listen on {}: {error}; choose another address or port with --listen",
                args.listen
            ))
        })?;
        let address = listener.address().context("no address").map_err(Failure::CannotStart)?;
        let guard = Guard::new(&address, None);
        if let Address::Tcp(address) = address {
            announce(address, args.no_open);
        }
        let (stopping, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = serve(listener, router(page), guard, async {
            // The sender goes away only with this function.
            let _ = stopped.await;
        });
        let server = tokio::spawn(server);
        stop.await;
        let _ = stopping.send(());
        // A report that takes long is not waited for.
        match tokio::time::timeout(GRACE, server).await {
            Ok(Ok(result)) => result.context("the server failed").map_err(Failure::WhileRunning),
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    });
    runtime.shutdown_background();
    served.map(|()| ExitCode::SUCCESS)
}

/// Reads the sources of one side.
fn open(choice: &Choice<'_>) -> Result<Side, Failure> {
    let (single, folders) = Side::split(choice.sources);
    let part = |sources: &[String], labels: Labels| -> Result<Option<Loaded>, Failure> {
        if sources.is_empty() {
            return Ok(None);
        }
        read(&Choice { sources, ..*choice }, labels).map(Some)
    };
    let held = part(&single, Labels::Keep)?;
    let folder = part(&folders, Labels::Count)?;
    let samples = choice.samples.iter().cloned().fold(LabelFilter::default(), LabelFilter::and);
    let limits = Limits { samples, since: choice.since, until: choice.until };
    Ok(Side::new(choice.sources, limits, held, &folders, folder))
}

/// Says where the page is, and opens it where there is a display.
fn announce(address: SocketAddr, no_open: bool) {
    let ip = match address.ip() {
        ip if ip.is_unspecified() && ip.is_ipv4() => "127.0.0.1".to_owned(),
        ip if ip.is_unspecified() => "[::1]".to_owned(),
        ip if ip.is_ipv6() => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    let url = format!("http://{ip}:{}/", address.port());
    // Whoever reads this may have gone; the page is there all the same.
    let _ = writeln!(stdout(), "{url}");
    let _ = stdout().flush();
    if !address.ip().is_loopback() {
        eprintln!("profiler: warning: whoever can reach {address} can read these profiles");
    }
    let display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if !no_open && display {
        open_browser(&url);
    }
    eprintln!("profiler: serving the page until Ctrl-C");
}

fn open_browser(url: &str) {
    let null = Stdio::null;
    let started = Command::new("xdg-open").arg(url).stdin(null()).stdout(null()).stderr(null()).spawn();
    match started {
        // It may run for as long as the browser; a thread waits, so that it is no zombie until then.
        Ok(mut child) => drop(std::thread::spawn(move || child.wait())),
        Err(error) => eprintln!("profiler: warning: xdg-open, which opens a browser, cannot be run: {error}"),
    }
}
