//! Parca's `ProfileStoreService/WriteRaw`, by gRPC or by the JSON gateway in front of it (github.com/parca-dev/parca,
//! proto/parca/profilestore/v1alpha1/profilestore.proto).

mod gateway;
mod grpc;

use super::batch::{Pair, Series};
use super::split::Limits;
pub(super) use gateway::Gateway;
pub(super) use grpc::Grpc;

/// Messages may have 64 MiB there, of which base64 takes a quarter. Fewer bytes at once come through sooner.
const LIMITS: Limits = Limits { request_bytes: 8 << 20, profile_bytes: 64 << 20, series: 200 };

/// What CPU profiles are called.
const NAME: &str = "process_cpu";

/// A series's labels with their names there.
fn labels(series: &Series) -> Vec<Pair> {
    let pair = |name: &str, value: &str| Pair { name: name.to_owned(), value: value.to_owned() };
    let mut labels = vec![pair("__name__", NAME)];
    labels.extend(series.labels.iter().map(|own| match own.name.as_str() {
        // What Parca calls the agent's host.
        "host" => pair("node", &own.value),
        name => pair(name, &own.value),
    }));
    labels
}
