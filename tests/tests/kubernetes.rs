//! The Helm chart, and the manifests that are made of it.
#![expect(clippy::expect_used, reason = "clippy knows tests by their attribute, not their helpers")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use profiler_tests::Profiler;
use profiler_tests::chart::{self, Rendered, render, values};
use profiler_tests::programs::must_run;
use profiler_tests::server::certificate;
use serde_json::Value;

fn manifests() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/kubernetes/profiler.yaml"))
}

/// What the pods run.
fn pod(rendered: &Rendered) -> &Value {
    &rendered.object("DaemonSet").expect("a daemon set")["spec"]["template"]["spec"]
}

fn names<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    list.as_array().into_iter().flatten().filter_map(|one| one[key].as_str()).collect()
}

#[test]
fn kubernetes_takes_what_the_chart_makes() {
    let all = render(&chart::folder(), &values("values"));
    assert!(all.len() >= 5);
    for (name, rendered) in &all {
        assert!(rendered.refused.is_empty(), "{name}: {}", rendered.refused);
        assert!(rendered.invalid.is_empty(), "{name}: {:#?}", rendered.invalid);
        let set = rendered.object("DaemonSet").expect("a daemon set");
        let (selector, labels) =
            (&set["spec"]["selector"]["matchLabels"], &set["spec"]["template"]["metadata"]["labels"]);
        for (label, value) in selector.as_object().expect("labels") {
            assert_eq!(&labels[label], value, "{name}: it selects its own pods");
        }
        let pod = pod(rendered);
        let container = &pod["containers"][0];
        let (mut mounted, mut volumes) =
            (names(&container["volumeMounts"], "name"), names(&pod["volumes"], "name"));
        mounted.sort_unstable();
        volumes.sort_unstable();
        assert_eq!(mounted, volumes, "{name}");
        let paths = names(&container["volumeMounts"], "mountPath");
        for path in &paths {
            let below = paths.iter().filter(|other| other.starts_with(&format!("{path}/"))).count();
            assert_eq!(below, 0, "{name}: nothing is mounted below {path}");
        }
        let account = rendered.object("ServiceAccount").map(|account| &account["metadata"]["name"]);
        assert!(account.is_none_or(|account| *account == pod["serviceAccountName"]), "{name}");
        assert!(rendered.notes.contains("profiler"), "{name}: {}", rendered.notes);
    }
}

#[test]
fn the_pods_have_no_more_rights_than_the_service() {
    let all = render(&chart::folder(), &[]);
    let container = &pod(&all[""])["containers"][0];
    let context = &container["securityContext"];
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/profiler.service");
    let unit = fs::read_to_string(unit).expect("the unit");
    let wanted: Vec<&str> = unit
        .lines()
        .find_map(|line| line.strip_prefix("AmbientCapabilities="))
        .expect("capabilities")
        .split(' ')
        .filter_map(|name| name.strip_prefix("CAP_"))
        .collect();
    let added: Vec<&str> =
        context["capabilities"]["add"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    // The unit raises the limit on nice values instead, and Kubernetes sets no limits.
    let (urgency, rest): (Vec<&str>, Vec<&str>) = added.into_iter().partition(|name| *name == "SYS_NICE");
    assert_eq!(urgency.len(), 1);
    assert_eq!(rest, wanted);
    assert_eq!(context["capabilities"]["drop"][0], "ALL");
    assert_eq!(context["privileged"], false);
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(pod(&all[""])["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod(&all[""])["automountServiceAccountToken"], false);
}

#[test]
fn the_agent_takes_the_settings_that_the_chart_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    for files in ["tls", "token", "secrets/pyroscope"] {
        fs::create_dir_all(folder.path().join(files)).expect("a folder");
    }
    let tls = folder.path().join("tls");
    certificate(&tls);
    fs::rename(tls.join("cert.pem"), tls.join("tls.crt")).expect("a certificate");
    fs::rename(tls.join("key.pem"), tls.join("tls.key")).expect("a key");
    fs::copy(tls.join("tls.crt"), tls.join("ca.crt")).expect("an authority");
    for token in ["token/token", "secrets/pyroscope/token"] {
        fs::write(folder.path().join(token), "s3cret\n").expect("a token");
    }
    for (name, rendered) in render(&chart::folder(), &values("values")) {
        let text =
            rendered.object("ConfigMap").expect("settings")["data"]["profiler.toml"].as_str().expect("text");
        let here = text.replace("/run/profiler", &folder.path().display().to_string());
        let file = folder.path().join("profiler.toml");
        fs::write(&file, here).expect("the settings");
        let file = file.display().to_string();
        let checked = Profiler::new(folder.path(), ["agent", "--config", &file, "--check-config"]).run();
        checked.check(checked.status.success(), &format!("{name}:\n{text}"));
    }
}

#[test]
fn what_would_not_work_is_refused() {
    for (name, rendered) in render(&chart::folder(), &values("refused")) {
        // Each file is named by what the message has to name.
        assert!(name.is_empty() || rendered.refused.contains(&name), "{name}: {:?}", rendered.refused);
        assert_eq!(rendered.objects.is_empty(), !name.is_empty(), "{name}");
    }
}

#[test]
fn a_field_that_is_misspelt_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("profiler");
    must_run(Command::new("cp").arg("-r").arg(chart::folder()).arg(&copy));
    let file = copy.join("templates/daemonset.yaml");
    let text = fs::read_to_string(&file).expect("a template");
    for (right, wrong, says) in [
        ("hostPID: true", "hostPid: true", "hostPid"),
        ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: \"true\"", "boolean"),
        ("mountPath: /etc/profiler\n", "subPath: profiler\n", "mountPath"),
        ("timeoutSeconds: 5", "timeoutSecond: 5", "timeoutSecond"),
    ] {
        assert!(text.contains(right), "{right}");
        fs::write(&file, text.replace(right, wrong)).expect("a template");
        let invalid = &render(&copy, &[])[""].invalid;
        assert!(invalid.len() == 1 && invalid[0].contains(says), "{wrong}: {invalid:?}");
    }
}

/// `UPDATE_GOLDEN=1` writes them again.
#[test]
fn the_manifests_are_what_the_chart_makes_of_its_own_values() {
    let made = &render(&chart::folder(), &[])[""];
    let text = format!(
        "# What `helm template profiler packaging/helm/profiler --namespace profiler` prints; a test writes and compares it.\n{}",
        made.text
    );
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(manifests(), &text).expect("the manifests are written");
    }
    let kept = fs::read_to_string(manifests()).expect("the manifests");
    assert!(
        kept == text,
        "packaging/kubernetes/profiler.yaml is not what the chart makes: UPDATE_GOLDEN=1 writes it"
    );
}
