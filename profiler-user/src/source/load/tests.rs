use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;

use super::*;
use crate::profile::codec::encode;
use crate::profile::fixture;

#[derive(Default)]
struct Log {
    read: usize,
    broken: Vec<String>,
}

impl Watcher for Log {
    fn reading(&mut self, _name: &str) {
        self.read += 1;
    }
    fn broken(&mut self, error: &SourceError) {
        self.broken.push(error.to_string());
    }
}

fn write(root: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn good() -> Vec<u8> {
    encode(&fixture::two_threads()).unwrap()
}

fn total(profile: &Profile) -> i64 {
    profile.sample.iter().map(|sample| sample.value[0]).sum()
}

fn load_path(path: &Path, selection: &Selection) -> (Result<Loaded, SourceError>, Log) {
    let mut log = Log::default();
    let loaded = load(&[Source::Path(path.to_owned())], selection, &mut log);
    (loaded, log)
}

#[test]
fn a_window_counts_once_and_windows_add_up() {
    let root = tempfile::tempdir().unwrap();
    for name in ["120000Z/a-1", "120000Z/b-2", "120000Z/c-3", "120100Z/a-1"] {
        write(root.path(), &format!("2023-11-14/{name}.cpu.pb.gz"), &good());
    }
    write(root.path(), "2023-11-14/120100Z/b-2.cpu.pb.gz", &good()[..100]);
    let (loaded, log) = load_path(root.path(), &Selection::default());
    let loaded = loaded.unwrap();
    assert_eq!((loaded.profiles, loaded.broken, log.read), (4, 1, 5));
    assert_eq!(total(&loaded.profile), 24);
    assert_eq!(loaded.profile.duration_nanos, 2_000_000_000, "two windows of one second");
    assert!(
        log.broken[0].contains("120100Z/b-2.cpu.pb.gz: its gzip stream is broken at byte"),
        "{log:?}",
        log = log.broken
    );
    let comment = text(&loaded.profile, *loaded.profile.comment.last().unwrap());
    assert!(
        comment.starts_with("4 profiles merged; the duration is the time observed, 2 windows"),
        "{comment}"
    );

    let start = "2023-11-14T12:01:00Z".parse::<super::super::moment::Moment>().unwrap().nanos(0);
    let since = Selection { since: Some(start), ..Selection::default() };
    assert_eq!(load_path(root.path(), &since).0.unwrap().profiles, 1);
    let until = Selection { until: Some(start), ..Selection::default() };
    assert_eq!(load_path(root.path(), &until).0.unwrap().profiles, 3);
    let never = Selection { until: Some(0), ..Selection::default() };
    let error = load_path(root.path(), &never).0.unwrap_err();
    assert!(error.is_missing() && error.to_string().contains("between --since and --until"), "{error}");
}

#[test]
fn files_of_one_recording_count_once_and_single_files_add_up() {
    let root = tempfile::tempdir().unwrap();
    let (a, b) = (write(root.path(), "x/a.pb.gz", &good()), write(root.path(), "x/b.pb.gz", &good()));
    assert_eq!(
        load_path(&root.path().join("x"), &Selection::default()).0.unwrap().profile.duration_nanos,
        1_000_000_000
    );
    let sources = [Source::Path(a.clone()), Source::Path(b)];
    let loaded = load(&sources, &Selection::default(), &mut Log::default()).unwrap();
    assert_eq!(loaded.profile.duration_nanos, 2_000_000_000);
    assert_eq!(
        load_path(&a, &Selection::default()).0.unwrap().profile,
        fixture::two_threads(),
        "alone: as it is"
    );
}

#[test]
fn samples_are_chosen_by_label_and_labels_can_go() {
    let root = tempfile::tempdir().unwrap();
    let path = write(root.path(), "a.pb.gz", &good());
    let selection =
        Selection { samples: "thread=b".parse().unwrap(), labels: Labels::Drop, ..Selection::default() };
    let loaded = load_path(&path, &selection).0.unwrap();
    assert_eq!(total(&loaded.profile), 2);
    assert!(loaded.profile.sample[0].label.is_empty());
}

#[test]
fn says_what_is_wrong_with_a_source() {
    let root = tempfile::tempdir().unwrap();
    let sentence = |path: &Path| {
        let error = load_path(path, &Selection::default()).0.unwrap_err();
        (error.to_string().replace(&root.path().display().to_string(), "DIR"), error.is_missing())
    };
    assert_eq!(
        sentence(&root.path().join("none")),
        (
            "DIR/none: no such file or folder; name a pprof file, a folder that the agent writes, or an http(s) URL"
                .to_owned(),
            true
        )
    );
    assert_eq!(
        sentence(root.path()),
        (
            "DIR: the folder holds no profiles (*.pb.gz); is it the one that `profiler agent -o` names?"
                .to_owned(),
            true
        )
    );
    let (text, missing) = sentence(&write(root.path(), "x/broken.pb.gz", b"hello"));
    assert!(text.starts_with("DIR/x/broken.pb.gz: it is not a pprof profile: at byte 2 of 5"), "{text}");
    assert!(!missing);
    assert_eq!(
        sentence(&root.path().join("x")),
        ("DIR/x: none of its 1 profiles could be read".to_owned(), false)
    );
}

/// Answers one request with these bytes, and returns the URL to ask.
fn serve(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/debug/pprof/profile?seconds=1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            request.push(byte[0]);
        }
        stream.write_all(&answer).unwrap();
    });
    url
}

#[test]
fn fetches_and_reports_what_the_server_says() {
    let fetch = |head: &str, body: &[u8]| {
        let mut answer = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        answer.extend(body);
        load(&[Source::new(&serve(answer))], &Selection::default(), &mut Log::default())
    };
    let loaded = fetch("200 OK\r\nContent-Type: application/octet-stream", &good()).unwrap();
    assert_eq!(total(&loaded.profile), 6);
    let error =
        fetch("500 No\r\nX-Go-Pprof: 1\r\nContent-Type: text/plain; charset=utf-8", b"already profiling\n");
    let error = error.unwrap_err();
    assert!(error.to_string().ends_with(": the server answers 500: already profiling"), "{error}");
    let error = fetch("404 Not Found\r\nContent-Type: text/html", b"<html>").unwrap_err();
    assert!(error.to_string().ends_with(": the server answers 404"), "{error}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let error = load(&[Source::new(&closed)], &Selection::default(), &mut Log::default()).unwrap_err();
    assert!(error.is_missing() && error.to_string().contains("cannot be fetched: "), "{error}");
}
