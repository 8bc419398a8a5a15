//! Who a process is for those who compare services: its service, version, container, pod, unit.
//!
//! Looked up once per process and exec. What is known of a cgroup stays known for processes that are gone before anyone could
//! look at them.

mod bundle;
mod cgroup;
mod engine_api;
mod environment;
mod rules;

use std::{
    borrow::Cow,
    cell::OnceCell,
    collections::HashMap,
    fs::{self, File},
    io::{self, Read},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use bundle::{Engines, Names};
use cgroup::Place;
pub use engine_api::Apis;
use engine_api::EngineApi;
use environment::Declared;
pub use rules::{Rule, Rules, RulesError};

use crate::capture::Strings;

/// Longest value of a label, characters. What is longer is cut, for receivers refuse it (Pyroscope: 2,048 bytes).
const LONGEST: usize = 255;

/// Most that is read of a process's arguments and of its environment, bytes.
const STRINGS: u64 = 256 << 10;

/// Cgroups that are kept. Beyond, all are forgotten and learned again.
const MOST: usize = 4096;

/// Labels of a process; none is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Names and values.
    pub labels: Vec<(Cow<'static, str>, String)>,
    /// Whether rules or filters leave the process out.
    pub excluded: bool,
}

impl Identity {
    /// The value of a label.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Of what is known.
    fn new(draft: &Draft) -> Identity {
        let Draft { place, path, names, declared, executable, .. } = draft;
        let path = path.as_deref();
        let in_pod = place.pod_uid.is_some();
        let first = |values: &[&Option<String>]| values.iter().find_map(|value| (*value).clone());
        let pod = first(&[&declared.pod, &names.pod])
            .or_else(|| in_pod.then(|| declared.hostname.clone()).flatten());
        let named = first(&[&declared.container, &names.container]);
        // The first digits of an id are what `docker ps` shows.
        let short = place
            .container
            .as_deref()
            .map(|id| id.get(..12).filter(|_| id.len() == 64).unwrap_or(id).to_owned());
        let unit = place.unit.clone();
        let service = first(&[&declared.service, &names.service])
            .or_else(|| named.clone())
            .or_else(|| unit.as_deref().map(|unit| cgroup::service_of_unit(unit).to_owned()))
            .unwrap_or_else(|| executable.clone());
        let labels = [
            ("service", Some(service)),
            ("version", declared.version.clone()),
            ("namespace", first(&[&declared.namespace, &names.namespace])),
            ("environment", declared.environment.clone()),
            ("pod", pod),
            ("container", named.or(short)),
            ("container_id", place.container.clone()),
            ("unit", unit),
            ("cgroup", path.filter(|path| *path != "/").map(str::to_owned)),
        ];
        let labels = labels.into_iter().filter_map(|(name, value)| {
            let value = value.map(|value| clean(&value)).filter(|value| !value.is_empty())?;
            Some((Cow::Borrowed(name), value))
        });
        Identity { labels: labels.collect(), excluded: false }
    }

    /// Who a process is by what others wrote: its /proc/PID/cgroup and environ, and what its container's engine keeps of the
    /// container, as JSON. It is what a look at /proc ends in, without /proc.
    #[must_use]
    pub fn of_texts(cgroup: &str, environ: &[u8], engine: &str) -> Identity {
        let path = cgroup::path_of(cgroup);
        let config = serde_json::from_str(engine).unwrap_or_default();
        Identity::new(&Draft {
            place: path.map(cgroup::read).unwrap_or_default(),
            path: path.map(str::to_owned),
            names: bundle::of_docker(&config).or(&bundle::of_bundle(&config)),
            declared: environment::read(environ),
            ..Draft::default()
        })
    }

    /// What rules make of it, with facts that only they see.
    fn after(self, rules: &Rules, facts: &[(String, String)]) -> Identity {
        let mut labels: rules::Labels =
            self.labels.into_iter().map(|(name, value)| (name.into_owned(), value)).collect();
        labels.extend(facts.iter().filter(|(_, value)| !value.is_empty()).cloned());
        if !rules.apply(&mut labels) {
            return Identity { labels: Vec::new(), excluded: true };
        }
        let labels = labels.into_iter().map(|(name, value)| (Cow::Owned(name), clean(&value)));
        Identity { labels: labels.filter(|(_, value)| !value.is_empty()).collect(), excluded: false }
    }
}

/// A value that every receiver takes: not too long, and without control characters.
fn clean(text: &str) -> String {
    let char = |char: char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char };
    text.trim().chars().take(LONGEST).map(char).collect()
}

/// What is known of a cgroup.
#[derive(Clone, Debug, Default)]
struct Known {
    path: String,
    place: Place,
    names: Names,
    /// What a process in it declared.
    declared: Declared,
}

/// All that an identity is made of.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    place: Place,
    /// Its cgroup.
    path: Option<String>,
    /// Names of its container.
    names: Names,
    declared: Declared,
    /// The executable's file name.
    executable: String,
    /// What rules may ask.
    facts: Vec<(String, String)>,
}

/// How to find out who processes are, beside what is done anyway.
#[derive(Debug, Default)]
pub struct Methods {
    rules: Rules,
    engines: Option<EngineApi>,
}

impl Methods {
    /// With rules for all labels, and APIs to ask for names of containers.
    ///
    /// # Errors
    /// A file that the APIs need cannot be used.
    pub fn new(rules: Rules, apis: &Apis) -> io::Result<Methods> {
        Ok(Methods { rules, engines: EngineApi::start(apis)? })
    }
}

/// A process that is looked up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Subject<'a> {
    /// Its id.
    pub(super) pid: u32,
    /// Its cgroup's id in the unified hierarchy.
    pub(super) cgroup_id: u64,
    /// The name of its leading thread.
    pub(super) name: &'a str,
    /// The path of its main binary, or what stands for it.
    pub(super) executable: &'a str,
}

impl Subject<'_> {
    /// What rules may ask beside the labels.
    fn facts(&self, strings: Option<&Strings>, cgroup: Option<&str>) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut facts = vec![
            ("process".to_owned(), clean(self.name)),
            ("pid".to_owned(), self.pid.to_string()),
            ("__executable__".to_owned(), self.executable.to_owned()),
            ("__cgroup__".to_owned(), cgroup.unwrap_or_default().to_owned()),
        ];
        let Some(strings) = strings else { return facts };
        let arguments = strings.arguments.strip_suffix(b"\0").unwrap_or(&strings.arguments);
        facts.push(("__arguments__".to_owned(), text(arguments).replace('\0', " ")));
        for variable in strings.environment.split(|&byte| byte == 0) {
            if let Some(at) = variable.iter().position(|&byte| byte == b'=') {
                facts.push((format!("__environment_{}", text(&variable[..at])), text(&variable[at + 1..])));
            }
        }
        facts
    }
}

/// Looks up identities.
#[derive(Debug, Default)]
pub(super) struct Identities {
    /// By the cgroup's id in the unified hierarchy.
    cgroups: HashMap<u64, Known>,
    engines: Engines,
    methods: Methods,
    /// Where the unified hierarchy is mounted, once somebody wanted to know; `None` in it where it is not.
    hierarchy: OnceCell<Option<PathBuf>>,
}

impl Identities {
    /// Lookups with these methods.
    pub(super) fn with(methods: Methods) -> Self {
        Self { methods, ..Self::default() }
    }

    /// Who a process is. `strings` are what the kernel side saw that it was started with; where it could not, /proc is read.
    /// `alive` tells whether the pid is still that process, and is asked after /proc was read.
    ///
    /// Gives what it was made of where more may be learned soon: see [`Identities::settle`].
    pub(super) fn look(
        &mut self,
        subject: &Subject<'_>,
        strings: Option<&Strings>,
        alive: impl Fn() -> bool,
    ) -> (Arc<Identity>, Option<Box<Draft>>) {
        let Subject { pid, cgroup_id, .. } = *subject;
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok();
        let read = if strings.is_none() { self.read_strings(pid) } else { None };
        let text = text.filter(|_| alive());
        let read = read.filter(|_| text.is_some());
        let strings = strings.or(read.as_ref());
        let declared = strings.map(|strings| environment::read(&strings.environment));
        let known = match &text {
            Some(text) => self.of_text(text, cgroup_id, declared.clone()),
            None => self.of_id(cgroup_id),
        };
        let known = known.unwrap_or_default();
        // What another process in the cgroup declared stands in where nothing is known of this one.
        let declared = declared.unwrap_or(known.declared);
        let Known { path, place, names, .. } = known;
        let path = Some(path).filter(|path| !path.is_empty());
        let executable = subject.executable.rsplit('/').next().unwrap_or_default().to_owned();
        let rules = &self.methods.rules;
        let facts = if rules.is_empty() {
            Vec::new()
        } else {
            subject.facts(strings.filter(|_| rules.want_facts()), path.as_deref())
        };
        let mut draft = Box::new(Draft { place, path, names, declared, executable, facts });
        let settled = self.settle(&mut draft);
        let waits = settled.is_none();
        let identity = settled.unwrap_or_else(|| self.identity(&draft));
        (identity, waits.then_some(draft))
    }

    /// The identity of a process in a container, once those who run it have said who that is; `None` while they are asked.
    pub(super) fn settle(&self, draft: &mut Draft) -> Option<Arc<Identity>> {
        if let (Some(engines), Some(id)) = (&self.methods.engines, &draft.place.container) {
            draft.names = engines.names(id)?.or(&draft.names);
        }
        Some(self.identity(draft))
    }

    fn identity(&self, draft: &Draft) -> Arc<Identity> {
        let identity = Identity::new(draft);
        let rules = &self.methods.rules;
        Arc::new(if rules.is_empty() { identity } else { identity.after(rules, &draft.facts) })
    }

    /// What a process was started with, as /proc tells.
    fn read_strings(&self, pid: u32) -> Option<Strings> {
        let environment = read(pid, "environ")?;
        let arguments = if self.methods.rules.want_facts() { read(pid, "cmdline") } else { None };
        Some(Strings { arguments: arguments.unwrap_or_default(), environment })
    }

    /// Of a process that lives.
    fn of_text(&mut self, text: &str, cgroup_id: u64, declared: Option<Declared>) -> Option<Known> {
        let path = cgroup::path_of(text)?;
        let mut known = match self.cgroups.get(&cgroup_id).filter(|known| known.path == path) {
            Some(known) => known.clone(),
            None => self.known(path),
        };
        known.declared = declared.unwrap_or_default();
        // With version 1 all processes are in the unified hierarchy's root, whose id says nothing.
        if cgroup::unified(text) == Some(path) && known.place != Place::default() {
            self.keep(cgroup_id, known.clone());
        }
        Some(known)
    }

    /// Of one that is gone.
    fn of_id(&mut self, cgroup_id: u64) -> Option<Known> {
        if let Some(known) = self.cgroups.get(&cgroup_id) {
            return Some(known.clone());
        }
        let hierarchy = self.hierarchy.get_or_init(|| {
            cgroup::hierarchy(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
                .map(PathBuf::from)
        });
        let path = path_of_id(hierarchy.as_deref()?, cgroup_id).ok()?;
        let known = self.known(&path);
        self.keep(cgroup_id, known.clone());
        Some(known)
    }

    fn known(&self, path: &str) -> Known {
        let place = cgroup::read(path);
        let names = place.container.as_deref().map(|id| self.engines.names(id)).unwrap_or_default();
        Known { path: path.to_owned(), place, names, declared: Declared::default() }
    }

    fn keep(&mut self, cgroup_id: u64, known: Known) {
        if self.cgroups.len() >= MOST {
            self.cgroups.clear();
        }
        self.cgroups.insert(cgroup_id, known);
    }
}

fn read(pid: u32, what: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/{what}")).ok()?.take(STRINGS).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The path of a cgroup with this id: an id is the handle of its directory (FILEID_KERNFS, Linux 5.5).
fn path_of_id(hierarchy: &Path, id: u64) -> io::Result<String> {
    /// include/linux/exportfs.h
    const FILEID_KERNFS: libc::c_int = 0xfe;
    #[repr(C)]
    struct Handle {
        handle_bytes: libc::c_uint,
        handle_type: libc::c_int,
        id: u64,
    }
    let mount = File::open(hierarchy)?;
    let mut handle = Handle { handle_bytes: 8, handle_type: FILEID_KERNFS, id };
    // SAFETY: the handle has the layout of struct file_handle with eight bytes behind it, and the call only reads it.
    let fd = unsafe {
        libc::open_by_handle_at(
            mount.as_raw_fd(),
            (&raw mut handle).cast::<libc::file_handle>(),
            libc::O_PATH | libc::O_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above just made the descriptor, and nothing else owns it.
    let folder = unsafe { OwnedFd::from_raw_fd(fd) };
    let path = fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd()))?;
    let below = path.strip_prefix(hierarchy).map_err(io::Error::other)?.to_string_lossy().into_owned();
    Ok(format!("/{}", below.strip_suffix(" (deleted)").unwrap_or(&below)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn draft(place: &Place, path: Option<&str>, names: &Names, declared: &Declared) -> Draft {
        let (place, names, declared) = (place.clone(), names.clone(), declared.clone());
        let path = path.map(str::to_owned);
        Draft { place, path, names, declared, executable: "exe".to_owned(), facts: Vec::new() }
    }

    fn service(place: &Place, names: &Names, declared: &Declared) -> String {
        Identity::new(&draft(place, None, names, declared)).get("service").unwrap().to_owned()
    }

    #[test]
    fn the_service_is_what_says_most() {
        let place = Place { unit: some("nginx.service"), container: some(ID), pod_uid: None };
        let names = Names { container: some("web"), service: some("compose"), ..Names::default() };
        let declared = Declared { service: some("shop"), ..Declared::default() };
        assert_eq!(service(&place, &names, &declared), "shop");
        assert_eq!(service(&place, &names, &Declared::default()), "compose");
        let unnamed = Names { container: some("web"), ..Names::default() };
        assert_eq!(service(&place, &unnamed, &Declared::default()), "web");
        assert_eq!(service(&place, &Names::default(), &Declared::default()), "nginx");
        assert_eq!(service(&Place::default(), &Names::default(), &Declared::default()), "exe");
    }

    #[test]
    fn labels() {
        let place = Place { container: some(ID), pod_uid: some("u"), unit: None };
        let declared = Declared { hostname: some("web-7"), version: some("1"), ..Declared::default() };
        let identity = Identity::new(&draft(&place, Some("/kubepods/x"), &Names::default(), &declared));
        let wanted = [
            ("service", "exe"),
            ("version", "1"),
            ("pod", "web-7"),
            ("container", "0123456789ab"),
            ("container_id", ID),
            ("cgroup", "/kubepods/x"),
        ];
        let seen: Vec<_> =
            identity.labels.iter().map(|(name, value)| (name.as_ref(), value.as_str())).collect();
        assert_eq!(seen, wanted);
        let host = Declared { hostname: some("host"), ..Declared::default() };
        let outside = Identity::new(&draft(&Place::default(), Some("/"), &Names::default(), &host));
        assert_eq!(outside.labels, [("service".into(), "exe".to_owned())], "a host's name is no pod");
    }

    #[test]
    fn values_are_made_safe() {
        let declared = Declared {
            service: Some("a\nb\u{1b}[31m".to_owned() + &"x".repeat(10_000)),
            ..Declared::default()
        };
        let service = service(&Place::default(), &Names::default(), &declared);
        assert!(
            service.starts_with("a\u{fffd}b\u{fffd}[31mx") && service.chars().count() == LONGEST,
            "{service}"
        );
        let blank = Declared { version: some(" \t"), ..Declared::default() };
        let identity = Identity::new(&draft(&Place::default(), None, &Names::default(), &blank));
        assert_eq!(identity.get("version"), None);
    }

    fn gone_in(cgroup_id: u64) -> Subject<'static> {
        Subject { pid: u32::MAX, cgroup_id, name: "exe", executable: "/bin/exe" }
    }

    #[test]
    fn rules_see_what_a_process_was_started_with() {
        let rules = [
            r#"source_labels = ["__arguments__"], regex = "exe -q (.+)", target_label = "queue""#,
            r#"source_labels = ["__executable__", "process", "__environment_TEAM"], target_label = "who""#,
        ];
        let rules: Vec<Rule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        let rules = Rules::new(&rules, &[], &["queue=none".to_owned()]).unwrap();
        let mut identities = Identities::with(Methods { rules, engines: None });
        let mut look = |queue: &str| {
            let arguments = format!("exe\0-q\0{queue}\0").into_bytes();
            let strings = Strings { arguments, environment: b"A=b\0TEAM=a=b\0".to_vec() };
            identities.look(&gone_in(1), Some(&strings), || false).0
        };
        let identity = look("mail\n");
        let seen = ["queue", "who", "service", "process"].map(|name| identity.get(name));
        assert_eq!(seen, [Some("mail"), Some("/bin/exe;exe;a=b"), Some("exe"), None]);
        assert!(!identity.excluded && look("none").excluded);
    }

    #[test]
    fn what_a_cgroup_told_stays_known() {
        let mut identities = Identities::default();
        let text = format!("0::/docker/{ID}\n");
        let declares = |text: &[u8]| Some(environment::read(text));
        let known = identities.of_text(&text, 77, declares(b"OTEL_SERVICE_NAME=shop\0")).unwrap();
        assert_eq!(known.declared.service.as_deref(), Some("shop"));
        let (gone, _) = identities.look(&gone_in(77), None, || false);
        assert_eq!((gone.get("service"), gone.get("container_id")), (Some("shop"), Some(ID)));
        let other = Strings { environment: b"OTEL_SERVICE_NAME=other\0".to_vec(), ..Strings::default() };
        let (gone, _) = identities.look(&gone_in(77), Some(&other), || false);
        assert_eq!((gone.get("service"), gone.get("container_id")), (Some("other"), Some(ID)));
        identities.of_text("0::/user.slice\n", 78, declares(b"OTEL_SERVICE_NAME=mine\0")).unwrap();
        let (gone, _) = identities.look(&gone_in(78), None, || false);
        assert_eq!(gone.get("service"), Some("exe"), "whoever shares a session shares no service");
    }
}
