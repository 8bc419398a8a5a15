//! A real browser, headless, with real clicks and keys.

mod driver;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use driver::Driver;

/// A page that does not come to be what it should within this time never does. No statement about speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keys that have no character of their own, by their names in the WebDriver standard.
pub mod keys {
    /// To the left of where one types.
    pub const BACKSPACE: char = '\u{e003}';
    /// To the next control.
    pub const TAB: char = '\u{e004}';
    /// Yes.
    pub const ENTER: char = '\u{e007}';
    /// To be held, see [`super::Browser::chord`].
    pub const CONTROL: char = '\u{e009}';
    /// No.
    pub const ESCAPE: char = '\u{e00c}';
    /// An arrow.
    pub const UP: char = '\u{e013}';
    /// An arrow.
    pub const DOWN: char = '\u{e015}';
}

/// A browser with one page. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    driver: Driver,
}

/// What the user's system prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Dark letters on light paper.
    Light,
    /// The other way.
    Dark,
}

impl Browser {
    /// A new one, of 1400 by 900 pixels.
    pub fn start() -> Browser {
        Browser { driver: Driver::start(1400, 900) }
    }

    /// Opens an address and waits until it is loaded.
    pub fn open(&self, address: &str) {
        self.driver.post("url", &json!({ "url": address }));
    }

    /// As the user's key for it.
    pub fn reload(&self) {
        self.driver.post("refresh", &json!({}));
    }

    /// As the user's button for it.
    pub fn back(&self) {
        self.driver.post("back", &json!({}));
    }

    /// The address that is shown.
    pub fn address(&self) -> String {
        self.driver.get("url").as_str().unwrap_or_default().to_owned()
    }

    /// Runs the body of a function in the page.
    pub fn run(&self, script: &str) -> Value {
        self.driver.post("execute/sync", &json!({"script": script, "args": []}))
    }

    /// Runs the body of a function that gives a promise, and waits for it.
    pub fn wait_run(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1]; (async () => {{ {script} }})().then(done, (e) => done(String(e)));"
        );
        self.driver.post("execute/async", &json!({"script": script, "args": []}))
    }

    /// Waits until an expression of the page is true, and gives it.
    #[track_caller]
    pub fn wait(&self, expression: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.run(&format!("return ({expression});"));
            if !(value.is_null() || value == false || value == 0 || value == "") {
                return value;
            }
            if Instant::now() > deadline {
                let text = self.run("return document.body.innerText.slice(0, 2000);");
                panic!(
                    "the page never came to: {expression}\nat {}\nconsole: {:?}\n{}",
                    self.address(),
                    self.complaints(),
                    text.as_str().unwrap_or_default()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The text of the first element that a selector finds.
    pub fn text(&self, selector: &str) -> String {
        let value = self.run(&format!("return document.querySelector({selector:?})?.textContent ?? null;"));
        value.as_str().map_or_else(|| panic!("nothing on the page is {selector}"), str::to_owned)
    }

    /// Clicks in the middle of an element that can be seen.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.driver.post(&format!("element/{element}/click"), &json!({}));
    }

    /// Clicks on a point of the window.
    pub fn click_at(&self, x: f64, y: f64) {
        self.pointer(&[
            json!({"type": "pointerMove", "duration": 0, "x": x.round(), "y": y.round()}),
            json!({"type": "pointerDown", "button": 0}),
            json!({"type": "pointerUp", "button": 0}),
        ]);
    }

    /// Moves the mouse to a point of the window.
    pub fn hover(&self, x: f64, y: f64) {
        self.pointer(&[json!({"type": "pointerMove", "duration": 0, "x": x.round(), "y": y.round()})]);
    }

    /// Presses the mouse at one point and lets go at another.
    pub fn drag(&self, from: (f64, f64), to: (f64, f64)) {
        let at = |(x, y): (f64, f64), duration: u32| json!({"type": "pointerMove", "duration": duration, "x": x.round(), "y": y.round()});
        self.pointer(&[
            at(from, 0),
            json!({"type": "pointerDown", "button": 0}),
            at(to, 100),
            json!({"type": "pointerUp", "button": 0}),
        ]);
    }

    fn pointer(&self, actions: &[Value]) {
        let mouse = json!({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions});
        self.driver.post("actions", &json!({"actions": [mouse]}));
    }

    /// Presses keys one after the other, whatever has the focus.
    pub fn press(&self, keys: impl IntoIterator<Item = char>) {
        let press =
            |key: char| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})];
        let actions: Vec<Value> = keys.into_iter().flat_map(press).collect();
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": actions});
        self.driver.post("actions", &json!({"actions": [keyboard]}));
    }

    /// Presses a key while another one is held.
    pub fn chord(&self, held: char, key: char) {
        let actions = json!([
            {"type": "keyDown", "value": held}, {"type": "keyDown", "value": key},
            {"type": "keyUp", "value": key}, {"type": "keyUp", "value": held},
        ]);
        self.driver
            .post("actions", &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}));
    }

    /// Types a text.
    pub fn type_text(&self, text: &str) {
        self.press(text.chars());
    }

    /// Chooses the option of a `select` whose value this is, as its user does.
    pub fn choose(&self, selector: &str, value: &str) {
        let option = format!("{selector} option[value={value:?}]");
        self.click(&option);
    }

    /// What the page's scripts and the browser complained about.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.driver.post("se/log", &json!({"type": "browser"}));
        let lines = log.as_array().cloned().unwrap_or_default();
        lines.iter().map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Makes the page believe that the user's system prefers this.
    pub fn prefer(&self, scheme: Scheme) {
        let value = if scheme == Scheme::Dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": value}]);
        self.driver.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Writes what can be seen into a file.
    pub fn screenshot(&self, path: &Path) {
        let shot = self.driver.devtools("Page.captureScreenshot", &json!({"format": "png"}));
        let bytes = base64(shot["data"].as_str().unwrap_or_default());
        std::fs::write(path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    #[track_caller]
    fn find(&self, selector: &str) -> String {
        let body = json!({"using": "css selector", "value": selector});
        let found = self.driver.try_post("element", &body);
        let found = found.unwrap_or_else(|error| panic!("nothing on the page is {selector}: {error}"));
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        id.unwrap_or_else(|| panic!("no element: {found}")).to_owned()
    }
}

/// The bytes of a text in base64, as far as it is one.
fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for value in text.bytes().filter_map(digit) {
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_read() {
        assert_eq!(super::base64("aGVsbG8="), b"hello");
        assert_eq!(super::base64("/+8="), [0xff, 0xef]);
    }
}
