//! Names of containers from those who run them, where the configuration names their API: a Docker Engine (or Podman), and the
//! kubelet. Asked on a thread of its own; until there is an answer, a container goes by what its files say.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use reqwest::{Certificate, Client, Url, redirect};
use serde_json::Value;

use super::bundle::{self, Names};
use crate::secret::SecretFile;

/// Containers that are asked for at once, at the most. Others are asked for in the next window.
const QUEUE: usize = 256;
/// Containers whose names are kept. Beyond, all are forgotten and asked for again.
const MOST: usize = 4096;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer, bytes: a kubelet has some kilobytes for each of its pods.
const LONGEST: usize = 32 << 20;

/// Which APIs there are.
#[derive(Clone, Debug, Default)]
pub struct Apis {
    /// The socket of a Docker Engine.
    pub docker: Option<PathBuf>,
    /// The address of the kubelet.
    pub kubelet: Option<Url>,
    /// A file with the token that it wants.
    pub kubelet_token: Option<PathBuf>,
    /// The authority that signed its certificate (PEM).
    pub kubelet_ca: Option<PathBuf>,
}

/// Asks them, and keeps what they said.
#[derive(Debug)]
pub(super) struct EngineApi {
    wanted: SyncSender<String>,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    names: HashMap<String, Names>,
    asked: HashSet<String>,
}

impl EngineApi {
    /// Starts the thread; `None` where no API is named.
    ///
    /// # Errors
    /// A file that is named cannot be used, or no thread can be started.
    pub(super) fn start(apis: &Apis) -> io::Result<Option<EngineApi>> {
        let mut sources = Vec::new();
        if let Some(socket) = &apis.docker {
            let client = Client::builder().unix_socket(socket.as_path());
            sources.push(Source::Docker(finish(client)?, socket.clone()));
        }
        if let Some(url) = &apis.kubelet {
            let mut client = Client::builder();
            if let Some(path) = &apis.kubelet_ca {
                let named = |error: String| io::Error::other(format!("{}: {error}", path.display()));
                let pem = std::fs::read(path).map_err(|error| named(error.to_string()))?;
                let certificates =
                    Certificate::from_pem_bundle(&pem).map_err(|error| named(error.to_string()))?;
                client = client.tls_certs_only(certificates);
            }
            let token = apis.kubelet_token.as_deref().map(SecretFile::open).transpose()?;
            let url = url.join("/pods").map_err(io::Error::other)?;
            sources.push(Source::Kubelet(finish(client)?, url, token));
        }
        if sources.is_empty() {
            return Ok(None);
        }
        let (wanted, requests) = sync_channel(QUEUE);
        let known = Arc::<Mutex<Known>>::default();
        let keeps = Arc::clone(&known);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || answer(&runtime, &sources, &requests, &keeps);
        std::thread::Builder::new().name("engines".to_owned()).spawn(run)?;
        Ok(Some(EngineApi { wanted, known }))
    }

    /// What is known of a container; it is asked for where that is nothing.
    pub(super) fn names(&self, id: &str) -> Option<Names> {
        let mut known = lock(&self.known);
        if let Some(names) = known.names.get(id) {
            return Some(names.clone());
        }
        if !known.asked.contains(id) && self.wanted.try_send(id.to_owned()).is_ok() {
            known.asked.insert(id.to_owned());
        }
        None
    }
}

/// What a thread that panicked left is whole.
fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

fn finish(client: reqwest::ClientBuilder) -> io::Result<Client> {
    // Once for the process; who was first is the same.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    // A token would go along.
    client.timeout(PATIENCE).redirect(redirect::Policy::none()).build().map_err(io::Error::other)
}

/// Answers until nobody can ask any more.
fn answer(
    runtime: &tokio::runtime::Runtime,
    sources: &[Source],
    requests: &Receiver<String>,
    known: &Mutex<Known>,
) {
    let mut failures = 0_u64;
    while let Ok(first) = requests.recv() {
        let ids: Vec<String> = std::iter::once(first).chain(requests.try_iter()).collect();
        for source in sources {
            match runtime.block_on(source.names(&ids)) {
                Ok(names) => {
                    let mut known = lock(known);
                    if known.names.len() + names.len() > MOST {
                        known.names.clear();
                    }
                    known.names.extend(names);
                }
                Err(why) => {
                    failures += 1;
                    if failures.is_power_of_two() {
                        tracing::warn!(
                            "containers go by their ids: {source}: {why} ({failures} times so far)"
                        );
                    }
                }
            }
        }
        // Whoever still has no name may be asked for again: containers are told of a moment after they begin.
        let mut known = lock(known);
        for id in &ids {
            known.asked.remove(id);
        }
    }
}

/// Who is asked.
#[derive(Debug)]
enum Source {
    Docker(Client, PathBuf),
    Kubelet(Client, Url, Option<SecretFile>),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Docker(_, socket) => write!(f, "the engine at {}", socket.display()),
            Source::Kubelet(_, url, _) => write!(f, "the kubelet at {url}"),
        }
    }
}

impl Source {
    /// Names of these containers, and of others where that costs nothing.
    async fn names(&self, ids: &[String]) -> Result<Vec<(String, Names)>, String> {
        match self {
            Source::Docker(client, _) => {
                let mut found = Vec::new();
                for id in ids.iter().filter(|id| bundle::is_id(id)) {
                    // Docker Engine API, ContainerInspect; Podman's compatible API has the same.
                    let request = client.get(format!("http://localhost/containers/{id}/json"));
                    if let Some(container) = get(request).await? {
                        found.push((id.clone(), bundle::of_docker(&container)));
                    }
                }
                Ok(found)
            }
            Source::Kubelet(client, url, token) => {
                let mut request = client.get(url.clone());
                if let Some(token) = token {
                    request = request.bearer_auth(token.read().map_err(|error| error.to_string())?);
                }
                Ok(get(request).await?.map(|pods| of_pods(&pods)).unwrap_or_default())
            }
        }
    }
}

/// The answer as JSON; `None` where there is no such thing.
async fn get(request: reqwest::RequestBuilder) -> Result<Option<Value>, String> {
    let mut answer = request.send().await.map_err(|error| error.without_url().to_string())?;
    match answer.status().as_u16() {
        200 => {}
        404 => return Ok(None),
        status => return Err(format!("it answers with status {status}")),
    }
    let mut bytes = Vec::new();
    while let Some(more) = answer.chunk().await.map_err(|error| error.to_string())? {
        bytes.extend_from_slice(&more);
        if bytes.len() > LONGEST {
            return Err(format!("its answer is longer than {} MiB", LONGEST >> 20));
        }
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("its answer is no JSON: {error}"))
}

/// Containers of a PodList (Kubernetes API, core/v1).
fn of_pods(list: &Value) -> Vec<(String, Names)> {
    let text = bundle::text;
    let mut found = Vec::new();
    for pod in list["items"].as_array().into_iter().flatten() {
        let metadata = &pod["metadata"];
        // https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
        let label = |name: &str| text(&metadata["labels"][name]);
        let service = ["app.kubernetes.io/name", "app", "k8s-app"].into_iter().find_map(label);
        for kind in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
            for container in pod["status"][kind].as_array().into_iter().flatten() {
                // Its id has the runtime in front: containerd://…
                let id = container["containerID"].as_str().and_then(|id| id.split("://").nth(1));
                if let Some(id) = id {
                    let names = Names {
                        container: text(&container["name"]),
                        pod: text(&metadata["name"]),
                        namespace: text(&metadata["namespace"]),
                        service: service.clone(),
                    };
                    found.push((id.to_owned(), names));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_of_pods() {
        let pods = serde_json::json!({"items": [
            {"metadata": {"name": "web-7", "namespace": "prod", "labels": {"app": "old", "app.kubernetes.io/name": "shop"}},
             "status": {"containerStatuses": [{"name": "web", "containerID": "containerd://abc"}, {"name": "waits"}],
                        "initContainerStatuses": [{"name": "begin", "containerID": "cri-o://def"}]}},
            {"metadata": {"name": "bare"}, "status": {"containerStatuses": [{"name": "x", "containerID": "docker://ghi"}]}},
            {"metadata": {}}, 7
        ]});
        let some = |text: &str| Some(text.to_owned());
        let shop = |container: &str| Names {
            container: some(container),
            pod: some("web-7"),
            namespace: some("prod"),
            service: some("shop"),
        };
        let bare = Names { container: some("x"), pod: some("bare"), ..Names::default() };
        let wanted = [("abc", shop("web")), ("def", shop("begin")), ("ghi", bare)];
        assert_eq!(of_pods(&pods), wanted.map(|(id, names)| (id.to_owned(), names)));
        assert_eq!(of_pods(&Value::Null), []);
    }

    #[test]
    fn nobody_is_asked_who_is_not_named() {
        assert!(EngineApi::start(&Apis::default()).unwrap().is_none());
        let missing = Apis {
            kubelet: Some(Url::parse("https://127.0.0.1:10250").unwrap()),
            kubelet_token: Some("/nowhere/token".into()),
            ..Apis::default()
        };
        assert!(EngineApi::start(&missing).is_err());
    }
}
