//! The WebDriver protocol (W3C), as much of it as the tests need: JSON over HTTP to a chromedriver of our own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;

use crate::tools;

/// A command that takes longer hangs. No statement about speed.
const PATIENCE: Duration = Duration::from_secs(120);

/// The first page of a Chromium that nobody else uses. Dropping it ends Chromium and the driver.
#[derive(Debug)]
pub(super) struct Driver {
    child: Child,
    agent: Agent,
    session: String,
    _profile: TempDir,
}

impl Driver {
    pub(super) fn start(width: u32, height: u32) -> Driver {
        tools::require("chromium", "chromium");
        let mut child = Command::new(tools::require("chromedriver", "chromium-driver"))
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start chromedriver: {e}"));
        let stdout = child.stdout.take().unwrap();
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let port = lines
            .find_map(|line| line.split_once("successfully on port ").map(|(_, rest)| rest.to_owned()))
            .map(|rest| rest.trim_end_matches('.').to_owned())
            .unwrap_or_else(|| panic!("chromedriver did not say its port"));
        // It would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let profile = tempfile::tempdir().expect("a folder for Chromium's profile");
        let config =
            Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build();
        let base = format!("http://127.0.0.1:{port}");
        let mut driver =
            Driver { child, agent: Agent::new_with_config(config), session: base.clone(), _profile: profile };
        let folder = driver._profile.path().display().to_string();
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--force-device-scale-factor=1",
            &format!("--window-size={width},{height}"),
            &format!("--user-data-dir={folder}"),
        ];
        let options = json!({
            "goog:chromeOptions": {"args": arguments, "binary": "/usr/bin/chromium"},
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let made = driver.post("session", &json!({"capabilities": {"alwaysMatch": options}}));
        let id = made["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}"));
        driver.session = format!("{base}/session/{id}");
        // What a page is measured by is what can be seen of it.
        let inner = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        driver.devtools("Emulation.setDeviceMetricsOverride", &inner);
        driver
    }

    /// Posts a command of the session; one that fails is a failure of the test.
    pub(super) fn post(&self, command: &str, body: &Value) -> Value {
        match self.try_post(command, body) {
            Ok(value) => value,
            Err(error) => panic!("the browser refused {command} {body}: {error}"),
        }
    }

    /// Likewise, and gives the driver's error.
    pub(super) fn try_post(&self, command: &str, body: &Value) -> Result<Value, String> {
        let address = format!("{}/{command}", self.session);
        let response = self.agent.post(&address).content_type("application/json").send(body.to_string());
        let mut response = response.unwrap_or_else(|e| panic!("{address}: {e}"));
        let status = response.status();
        let text = response.body_mut().with_config().limit(256 << 20).read_to_string().unwrap_or_default();
        let mut answer: Value = serde_json::from_str(&text).unwrap_or_default();
        if status == 200 { Ok(answer["value"].take()) } else { Err(answer["value"]["message"].to_string()) }
    }

    pub(super) fn get(&self, command: &str) -> Value {
        let address = format!("{}/{command}", self.session);
        let mut response = self.agent.get(&address).call().unwrap_or_else(|e| panic!("{address}: {e}"));
        let text = response.body_mut().with_config().limit(256 << 20).read_to_string().unwrap_or_default();
        let mut answer: Value = serde_json::from_str(&text).unwrap_or_default();
        answer["value"].take()
    }

    /// A command of Chromium's own protocol.
    pub(super) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Ends Chromium; the driver would leave it behind when it is killed.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
