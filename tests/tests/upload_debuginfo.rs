//! Files with symbols, for a receiver that can name what has no names here.
#![expect(clippy::expect_used, reason = "clippy knows tests by their attribute, not their helpers")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use profiler_tests::bucket::Bucket;
use profiler_tests::grpc::{Called, Grpc, Reply};
use profiler_tests::server::{free_port, metric};
use profiler_tests::uploads::wait_until;
use profiler_tests::{Bare, Profiler, Session, Target, elf};
use prost::{Message, Oneof};

const SERVICE: &str = "/parca.debuginfo.v1alpha1.DebuginfoService/";

/// What the requests have in common: a build-id at first.
#[derive(Clone, PartialEq, Eq, Message)]
struct Asked {
    #[prost(string, tag = "1")]
    build_id: String,
}

/// UploadInfo, and MarkUploadFinishedRequest.
#[derive(Clone, PartialEq, Eq, Message)]
struct Id {
    #[prost(string, tag = "1")]
    build_id: String,
    #[prost(string, tag = "2")]
    upload_id: String,
}

/// InitiateUploadRequest.
#[derive(Clone, PartialEq, Eq, Message)]
struct Initiate {
    #[prost(string, tag = "1")]
    build_id: String,
    #[prost(int64, tag = "2")]
    size: i64,
    #[prost(string, tag = "3")]
    hash: String,
}

/// UploadRequest.
#[derive(Clone, PartialEq, Eq, Message)]
struct Upload {
    #[prost(oneof = "Data", tags = "1, 2")]
    data: Option<Data>,
}

#[derive(Clone, PartialEq, Eq, Oneof)]
enum Data {
    #[prost(message, tag = "1")]
    Info(Id),
    #[prost(bytes, tag = "2")]
    Chunk(Vec<u8>),
}

/// InitiateUploadResponse.
#[derive(Clone, PartialEq, Eq, Message)]
struct Initiated {
    #[prost(message, optional, tag = "1")]
    instructions: Option<Instructions>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Instructions {
    #[prost(string, tag = "1")]
    build_id: String,
    #[prost(string, tag = "2")]
    upload_id: String,
    #[prost(int32, tag = "3")]
    strategy: i32,
    #[prost(string, tag = "4")]
    signed_url: String,
}

/// Parca, as far as this goes: it wants everything.
fn parca(strategy: i32, signed_url: String) -> (Grpc, Arc<Mutex<Vec<u8>>>) {
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&arrived);
    let answers = move |call: &Called| {
        let Some(method) = call.method.strip_prefix(SERVICE) else { return Reply::Message(vec![]) };
        let id = Id::decode(&*call.messages[0]);
        match method {
            // should_initiate_upload
            "ShouldInitiateUpload" => Reply::Message(vec![8, 1]),
            "InitiateUpload" => {
                let request = Initiate::decode(&*call.messages[0]).expect("a request");
                assert!(request.size > 0 && !request.hash.is_empty(), "{request:?}");
                let instructions = Instructions {
                    build_id: request.build_id,
                    upload_id: "u1".to_owned(),
                    strategy,
                    signed_url: signed_url.clone(),
                };
                Reply::Message(Initiated { instructions: Some(instructions) }.encode_to_vec())
            }
            "Upload" => {
                for message in &call.messages {
                    match Upload::decode(&**message).expect("an UploadRequest").data.expect("data") {
                        Data::Info(id) => assert_eq!(id.upload_id, "u1"),
                        Data::Chunk(bytes) => taken.lock().expect("it").extend(bytes),
                    }
                }
                Reply::Message(vec![])
            }
            "MarkUploadFinished" => {
                assert_eq!(id.expect("a request").upload_id, "u1");
                Reply::Message(vec![])
            }
            other => Reply::Status(12, other.to_owned()),
        }
    };
    (Grpc::start(answers), arrived)
}

/// Runs until the program's file was sent; what was asked of the server.
fn offer(server: &Grpc, program: &Path) -> Vec<String> {
    let session = Session::begin();
    let _target = Target::start(program, &["burn"]);
    let http = free_port();
    let upload = format!(
        "kind = \"parca\", url = \"{}\", debuginfo = true, where = \"process=bare-o2\"",
        server.url()
    );
    let mut agent = Profiler::new(
        session.folder(),
        [
            "agent",
            "-o",
            "out",
            "--window",
            "1s",
            "-F",
            "99",
            "--http",
            &format!("127.0.0.1:{http}"),
            "--upload",
            &upload,
        ],
    )
    .start();
    agent.wait_until_sampling();
    let sent = "profiler_debuginfo_files_total{target=\"parca\",outcome=\"sent\"}";
    wait_until("the file is sent", || metric(http, sent) > 0.0);
    // More windows do not bring it again.
    let written = metric(http, "profiler_windows_total");
    wait_until("more windows", || metric(http, "profiler_windows_total") > written + 2.0);
    assert!(metric(http, sent) == 1.0);
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();
    let id = elf::build_id(program).expect("a build-id");
    let of = |call: &Called| {
        call.method.strip_prefix(SERVICE).map(str::to_owned).zip(Some(call.messages[0].clone()))
    };
    server
        .calls()
        .iter()
        .filter_map(of)
        .inspect(|(method, message)| {
            let asked = Asked::decode(&**message);
            assert!(method == "Upload" || asked.is_ok_and(|asked| asked.build_id == id), "{method} of {id}");
        })
        .map(|(method, _)| method)
        .collect()
}

/// A program without symbols, and a table in it that only the receiver might read.
fn stripped(folder: &Path) -> PathBuf {
    let program = folder.join("bare-o2");
    let table = folder.join("table");
    assert!(std::fs::write(&table, "no table of ours").is_ok());
    let made = Command::new("objcopy")
        .arg(format!("--add-section=.gopclntab={}", table.display()))
        .args([Bare::chain().build_stripped().as_path(), program.as_path()])
        .status();
    assert!(made.is_ok_and(|status| status.success()), "objcopy");
    program
}

#[test]
fn a_file_goes_over_grpc_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = stripped(folder.path());
    let (server, arrived) = parca(1, String::new());
    let asked = offer(&server, &program);
    assert_eq!(asked, ["ShouldInitiateUpload", "InitiateUpload", "Upload", "MarkUploadFinished"]);
    let file = std::fs::read(&program).expect("the program");
    assert!(*arrived.lock().expect("it") == file, "the whole file");
}

#[test]
fn a_file_goes_to_a_signed_address() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = stripped(folder.path());
    let bucket = Bucket::start(&[]);
    let (server, _) = parca(2, format!("{}/debuginfo/x?signature=s", bucket.endpoint()));
    let asked = offer(&server, &program);
    assert_eq!(asked, ["ShouldInitiateUpload", "InitiateUpload", "MarkUploadFinished"]);
    let file = std::fs::read(&program).expect("the program");
    assert!(bucket.objects()["/debuginfo/x"] == file, "the whole file");
}
