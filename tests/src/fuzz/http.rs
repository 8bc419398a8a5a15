//! The server: bytes as they come over a connection.

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use profiler_user::budget::{DEFAULT, Gauge, Memory};
use profiler_user::http::debug::{self, Debug};
use profiler_user::http::guard::{Guard, guard};
use profiler_user::http::listen::Address;
use profiler_user::http::metrics::{self, Measured};
use profiler_user::http::view::{self, Limits, Page, Side};
use profiler_user::pipeline::on_demand::OnDemand;
use profiler_user::profile::codec::decode;
use profiler_user::report::subject::Lens;
use profiler_user::source::Loaded;
use profiler_user::source::census::Census;
use profiler_user::status::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

/// The longest that an answer may take: a guard against one that never comes.
const PATIENCE: Duration = Duration::from_secs(30);

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime can be made");
}

/// What the agent serves, with a page of one small profile.
static SERVED: LazyLock<Router> = LazyLock::new(|| {
    let gauge = Gauge::new(Memory { bytes: DEFAULT });
    let status = Arc::new(Status::new(gauge, Duration::from_secs(60)));
    let on_demand = Arc::<OnDemand>::default();
    let debug = Debug { on_demand: Arc::clone(&on_demand), status: Arc::clone(&status), about: Vec::new() };
    let measured = Measured { status, on_demand, deliveries: Vec::new() };
    let page = Page { other: side(), base: None, lens: Lens::default() };
    let local: Address = "127.0.0.1:4041".parse().expect("it is an address");
    view::router(page)
        .merge(debug::router(debug))
        .merge(metrics::router(measured))
        .layer(from_fn_with_state(Arc::new(Guard::new(&local, None)), guard))
});

fn side() -> Side {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiler-user/tests/corpus/chain.pb.gz");
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let profile = decode(&bytes, 1 << 20).expect("it is a profile");
    let loaded = Loaded { profile, profiles: 1, broken: 0, census: Census::default() };
    Side::new(&["chain.pb.gz".to_owned()], Limits::default(), Some(loaded), &[], None)
}

/// All requests on a connection are answered or the connection is closed, and no answer says that something failed inside.
pub(super) fn http(bytes: &[u8]) {
    let answers = RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let answers = tokio::time::timeout(PATIENCE, connection(bytes)).await;
            answers.expect("a connection on which nothing more comes ends")
        })
    });
    let failed = b"HTTP/1.1 500";
    assert!(!answers.windows(failed.len()).any(|window| window == failed), "an answer with status 500");
}

async fn connection(bytes: &[u8]) -> Vec<u8> {
    let (client, server) = tokio::io::duplex(1 << 20);
    let service = TowerToHyperService::new(SERVED.clone());
    let mut builder = http1::Builder::new();
    // Else what was asked for is given up when no more requests come.
    let serving = builder.half_close(true).serve_connection(TokioIo::new(server), service);
    let (mut answers, mut requests) = tokio::io::split(client);
    let asking = async {
        // The server may have closed the connection.
        let _ = requests.write_all(bytes).await;
        let _ = requests.shutdown().await;
        let mut all = Vec::new();
        let _ = answers.read_to_end(&mut all).await;
        all
    };
    let (_, all) = tokio::join!(serving, asking);
    all
}
