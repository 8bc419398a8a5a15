//! `profiler view` in a real browser: clicks, keys, and what the page then shows and says in its address.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy knows tests by their attribute, not their helpers"
)]

use std::path::Path;

use profiler_tests::browser::{Browser, Scheme, keys};
use profiler_tests::{Bare, Profiler, Session, Target, Viewer};
use serde_json::Value;

/// Where a frame of the flame graph with this name is on the screen; for its middle.
const PLACE: &str = "
const graph = profiler.graph, tree = graph.tree;
for (let i = 0; i < tree.count; i++) {
  if (tree.nameOf(i) !== NAME) continue;
  const box = graph.canvas.getBoundingClientRect(), scale = graph.wide / (graph.to - graph.from);
  return [box.left + (tree.left[i] + tree.width[i] / 2 - graph.from) * scale,
    box.top + graph.top(graph.rowOf(i)) - graph.host.scrollTop + 9];
}
return null;
";

/// The colour of that place, as red, green and blue; PLACE is the script above.
const COLOUR: &str = "
const [x, y] = (() => { PLACE })();
const { canvas } = profiler.graph, box = canvas.getBoundingClientRect();
const pen = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
profiler.graph.paint();
// Above the letters.
pen.drawImage(canvas, box.left - x, box.top - y + 7);
return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
";

/// The page shows what its address says, and nothing moves any more.
const STILL: &str = "document.body.dataset.shown && document.getElementById('loading').hidden && !(profiler.graph && profiler.graph.gliding)";

/// Records a program whose functions have these shares, with its line numbers.
fn record(session: &Session, name: &str, shares: [&str; 3]) {
    // Equal functions would be one.
    let program = Bare::c("shares.c", "shares").with(&["-fno-ipa-icf", "-g"]).build();
    let target = Target::start(&program, &shares);
    let pid = target.pid_label();
    Profiler::new(session.folder(), ["record", "-p", &pid, "-d", "3s", "-F", "499", "-o", name])
        .run()
        .assert_success();
}

/// What the command line says of it.
fn top(session: &Session, args: &[&str]) -> Value {
    let mut all = vec!["top", "--json", "-n", "0"];
    all.extend(args);
    let finished = Profiler::new(session.folder(), all).run();
    finished.assert_success();
    serde_json::from_str(&finished.stdout).unwrap_or_default()
}

fn row<'a>(report: &'a Value, name: &str) -> &'a Value {
    let rows = report["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().find(|row| row["name"] == name).unwrap_or(&Value::Null)
}

fn open(viewer: &Viewer, query: &str) -> Browser {
    let browser = Browser::start();
    browser.open(&if query.is_empty() { viewer.address.clone() } else { viewer.page(query) });
    browser.wait(STILL);
    browser
}

#[track_caller]
fn place(browser: &Browser, name: &str) -> (f64, f64) {
    let place = browser.run(&PLACE.replace("NAME", &format!("{name:?}")));
    let number = |n: usize| place[n].as_f64();
    number(0).zip(number(1)).unwrap_or_else(|| panic!("no frame is {name}"))
}

/// What a frame is filled with.
fn colour(browser: &Browser, name: &str) -> [i64; 3] {
    let script = COLOUR.replace("PLACE", &PLACE.replace("NAME", &format!("{name:?}")));
    let colour = browser.run(&script);
    [0, 1, 2].map(|n| colour[n].as_i64().unwrap_or_else(|| panic!("no colour of {name}: {colour}")))
}

fn click_frame(browser: &Browser, name: &str) {
    let (x, y) = place(browser, name);
    browser.click_at(x, y);
    browser.wait(STILL);
}

/// No script failed, and nothing was asked of anybody else.
#[track_caller]
fn assert_clean(browser: &Browser) {
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
    let elsewhere = browser.run(
        "return performance.getEntriesByType('resource').map((e) => e.name).filter((n) => !n.startsWith(location.origin));",
    );
    assert_eq!(elsewhere, serde_json::json!([]), "requests to others");
}

#[test]
fn flame_graph_by_mouse() {
    let session = Session::begin();
    record(&session, "x.pb.gz", ["100", "100", "150"]);
    let report = top(&session, &["x.pb.gz"]);
    let viewer = Viewer::start(session.folder(), ["x.pb.gz"]);
    let browser = open(&viewer, "");

    let (x, y) = place(&browser, "share_three");
    browser.hover(x, y);
    let tip = browser.text("#tip");
    assert!(tip.starts_with("share_three") && tip.contains("in shares"), "{tip}");
    let percent = row(&report, "share_three")["cum_percent"].as_f64().unwrap_or_default();
    assert!(tip.contains(&format!("({percent:.2}%)")), "{tip} has not {percent}");

    browser.click_at(x, y);
    browser.wait(STILL);
    assert!(browser.address().contains("zoom="), "{}", browser.address());
    let wide = browser.run("const g = profiler.graph; return (g.to - g.from) / g.tree.width[g.selected];");
    assert!((wide.as_f64().unwrap_or_default() - 1.0).abs() < 1e-9, "it fills the width: {wide}");
    assert!(browser.text("#way").ends_with("share_three"), "{}", browser.text("#way"));

    // The same again, from nothing but the address.
    let zoomed = browser.address();
    browser.reload();
    browser.wait(STILL);
    assert!(browser.text("#way").ends_with("share_three"));
    assert_eq!(browser.address(), zoomed);
    browser.click("#out");
    browser.wait(STILL);
    assert!(!browser.text("#way").contains("share_three"));
    browser.back();
    browser.wait(&format!("{STILL} && document.getElementById('way').textContent.endsWith('share_three')"));

    // A drag is no click: it moves what is magnified.
    browser.drag((700.0, y), (500.0, y));
    browser.wait(STILL);
    browser.wait("location.search.includes('range=') || location.search.includes('zoom=')");
    browser.click("#reset");
    browser.wait(STILL);
    assert!(!browser.address().contains("zoom=") && !browser.address().contains("range="));

    // Copied, and opened elsewhere.
    click_frame(&browser, "share_two");
    browser.click("#link");
    browser.wait("document.getElementById('selected').textContent === 'Copied the link'");
    browser.run("document.getElementById('pattern').focus();");
    browser.chord(keys::CONTROL, 'v');
    let pasted = browser.wait("document.getElementById('pattern').value");
    assert_eq!(pasted, browser.address());
    assert_clean(&browser);
}

#[test]
fn search_says_what_share_it_found() {
    let session = Session::begin();
    record(&session, "x.pb.gz", ["100", "100", "150"]);
    let report = top(&session, &["x.pb.gz"]);
    let viewer = Viewer::start(session.folder(), ["x.pb.gz"]);
    let browser = open(&viewer, "view=flame");
    browser.click("#search");
    browser.type_text("share_t(wo|hree)");
    let cum = |name: &str| row(&report, name)["cum"].as_f64().unwrap_or_default();
    let percent = 100.0 * (cum("share_two") + cum("share_three")) / report["total"].as_f64().unwrap_or(1.0);
    let found = browser.wait("document.getElementById('found').textContent");
    assert_eq!(found, format!("2 frames, {percent:.2}%"));
    let violet = colour(&browser, "share_two");
    assert!(violet[0] > violet[1] + 20 && violet[2] > violet[1] + 20, "matches are violet: {violet:?}");

    browser.reload();
    browser.wait(&format!("{STILL} && document.getElementById('found').textContent.startsWith('2 frames')"));
    browser.click("[data-view=top]");
    browser.wait("document.querySelectorAll('#top tbody tr').length === 2");
    browser.click("#search");
    browser.type_text("(");
    browser.wait("document.getElementById('search').getAttribute('aria-invalid') === 'true'");
    assert_clean(&browser);
}

#[test]
fn from_the_table_to_callers_and_source() {
    let session = Session::begin();
    record(&session, "x.pb.gz", ["100", "100", "150"]);
    let report = top(&session, &["x.pb.gz"]);
    let viewer = Viewer::start(session.folder(), ["x.pb.gz"]);
    let browser = open(&viewer, "");
    browser.click("[data-view=top]");
    browser.wait("document.querySelector('#top tbody tr')");
    let rows = report["rows"].as_array().map(Vec::len).unwrap_or_default();
    assert_eq!(browser.run("return document.querySelectorAll('#top tbody tr').length;"), rows);
    let first = browser.text("#top tbody tr");
    let hottest = &report["rows"][0];
    assert!(first.contains(hottest["name"].as_str().unwrap_or("?")), "the hottest comes first: {first}");
    let percent = hottest["flat_percent"].as_f64().unwrap_or_default();
    assert!(first.contains(&format!("{percent:.2}%")), "{first}");
    browser.click("#top th:nth-child(4) button");
    browser.wait("document.querySelector('#top th:nth-child(4)').getAttribute('aria-sort') === 'descending'");
    assert!(browser.address().contains("sort=cum"), "{}", browser.address());

    browser.run(
        "[...document.querySelectorAll('#top tbody tr')].find((r) => r.row.name === 'share_two').id = 'two';",
    );
    browser.click("#two");
    assert!(browser.text("#selected").starts_with("share_two"), "{}", browser.text("#selected"));
    browser.click("[data-do=sandwich]");
    browser.wait(&format!("{STILL} && document.querySelector('#sandwich input')?.value === 'share_two'"));
    let total = row(&report, "share_two")["cum"].as_i64();
    let halves = browser.run(
        "return profiler.views.sandwich.halves().map((half) => [half.tree.data.total[0], half.tree.nameOf(1), half.tree.nameOf(2)]);",
    );
    assert_eq!(halves[0][0].as_i64(), total, "{halves}");
    assert_eq!(halves[1][0].as_i64(), total, "{halves}");
    assert_eq!((&halves[0][1], &halves[0][2]), (&"share_two".into(), &"main".into()), "{halves}");

    browser.click("[data-do=source]");
    browser.wait("document.querySelector('#source .listing .valued')");
    let source = browser.text("#source");
    assert!(source.contains("APART void share_two(long rounds) { spin(rounds); }"), "{source}");
    assert!(!source.contains("No source information"), "{source}");

    browser.click("[data-view=graph]");
    browser.wait("document.querySelector('#callgraph svg [role=button]')");
    browser.click("#callgraph svg [aria-label=share_three] text");
    assert_eq!(browser.text("#selected"), "share_three");
    assert_clean(&browser);
}

#[test]
fn a_keyboard_reaches_everything() {
    let session = Session::begin();
    record(&session, "x.pb.gz", ["100", "100", "150"]);
    record(&session, "y.pb.gz", ["100", "100", "100"]);
    let viewer = Viewer::start(session.folder(), ["x.pb.gz", "--diff", "y.pb.gz"]);
    let browser = open(&viewer, "compare=1&function=share_two");
    let all = "[...document.querySelectorAll('button, input, select, canvas[tabindex], [tabindex=\"0\"]')]
        .filter((e) => !e.disabled && e.tabIndex >= 0 && e.checkVisibility({ visibilityProperty: true }) && !e.closest('dialog'))";
    for view in ['1', '2', '3', '5'] {
        browser.press([view]);
        browser.wait(STILL);
        browser.run(&format!(
            "globalThis.wanted = new Set({all}); globalThis.reached = new Set();
             document.addEventListener('focusin', (e) => reached.add(e.target)); document.activeElement.blur();"
        ));
        for _ in 0..12 {
            browser.press([keys::TAB; 10]);
        }
        let missed = browser.run(
            "return [...wanted].filter((e) => e.isConnected && !reached.has(e)).map((e) => e.outerHTML.slice(0, 120));",
        );
        assert_eq!(missed, serde_json::json!([]), "view {view}");
    }

    // From the root to a function, in and out again.
    browser.run("document.activeElement.blur();");
    browser.press(['r', '1']);
    browser.wait(STILL);
    browser.press([keys::DOWN; 3]);
    let name = "profiler.graph.tree.nameOf(profiler.graph.selected)";
    browser.press([keys::ENTER]);
    browser.wait(STILL);
    assert!(browser.address().contains("zoom="), "{}", browser.address());
    browser.press([keys::ESCAPE]);
    browser.wait(STILL);
    assert!(!browser.address().contains("zoom="), "{}", browser.address());
    browser.press(['/']);
    browser.type_text("share_two");
    browser.press([keys::ENTER]);
    browser.wait(&format!("{name} === 'share_two'"));
    browser.press(['s']);
    browser.wait(&format!("{STILL} && location.search.includes('view=sandwich')"));
    assert!(browser.address().contains("function=share_two"), "{}", browser.address());
    browser.press(['2']);
    browser.wait(&format!("{STILL} && document.querySelector('#top tbody tr')"));
    browser.press(['e']);
    browser.type_text("share_one");
    browser.press([keys::ENTER]);
    browser.wait(&format!("{STILL} && location.search.includes('focus=share_one')"));
    assert!(browser.text("#chips").contains("focus: share_one"), "{}", browser.text("#chips"));
    browser.run("document.activeElement.blur();");
    browser.press(['x']);
    browser.wait(&format!("{STILL} && location.search.includes('swap=1')"));
    browser.press(['?']);
    browser.wait("document.getElementById('help').open");
    browser.press([keys::ESCAPE]);
    browser.wait("!document.getElementById('help').open");
    browser.press(['r']);
    browser.wait(&format!("{STILL} && !location.search.includes('focus')"));
    assert_clean(&browser);
}

#[test]
fn a_comparison_shows_what_came_and_went() {
    let session = Session::begin();
    record(&session, "base.pb.gz", ["100", "100", "0"]);
    record(&session, "other.pb.gz", ["100", "0", "150"]);
    let viewer = Viewer::start(session.folder(), ["other.pb.gz", "--diff", "base.pb.gz"]);
    let browser = open(&viewer, "");
    assert!(browser.address().contains("compare=1"), "{}", browser.address());
    let verdict = |name: &str| {
        let script = "const { tree } = profiler.graph; for (let i = 0; i < tree.count; i++) if (tree.nameOf(i) === NAME) return tree.data.verdict[i];";
        browser.run(&script.replace("NAME", &format!("{name:?}")))
    };
    assert_eq!([verdict("share_three"), verdict("share_two"), verdict("share_one")], ["n", "g", "-"]);
    assert!(["~", "="].map(Value::from).contains(&verdict("main")), "all of it is in main, on both sides");
    let (x, y) = place(&browser, "share_two");
    browser.hover(x, y);
    assert!(browser.text("#tip").contains("gone"), "{}", browser.text("#tip"));

    let [red, green, blue] = colour(&browser, "share_three");
    assert!(red > green + 20 && blue > green + 20, "what is new is purple: {red} {green} {blue}");

    browser.click("#swap");
    browser.wait(&format!("{STILL} && location.search.includes('swap=1')"));
    assert_eq!([verdict("share_three"), verdict("share_two"), verdict("share_one")], ["g", "n", "+"]);
    browser.click("#swap");
    browser.click("[data-view=top]");
    browser.wait("document.querySelector('#top tbody tr')");
    let means = |name: &str| {
        browser.text("#top thead");
        let script = "const row = [...document.querySelectorAll('#top tbody tr')].find((r) => r.row.name === NAME); return [row.cells[7].textContent, row.cells[5].textContent];";
        browser.run(&script.replace("NAME", &format!("{name:?}")))
    };
    browser.wait(&format!("{STILL} && !location.search.includes('swap')"));
    assert_eq!(means("share_three")[0], "new");
    assert_eq!(means("share_two")[0], "gone");
    assert!(means("share_three")[1].as_str().is_some_and(|text| text.ends_with(" pp")), "shares");
    browser.choose("#normalize", "absolute");
    browser.wait(&format!("{STILL} && location.search.includes('normalize=absolute')"));
    assert!(means("share_three")[1].as_str().is_some_and(|text| text.ends_with('s')), "seconds");
    let rows = "document.querySelectorAll('#top tbody tr').length";
    let before = browser.run(&format!("return {rows};")).as_i64().unwrap_or_default();
    browser.click("#noise");
    browser.wait(&format!("{STILL} && {rows} < {before}"));
    let noise = browser.run("return [...document.querySelectorAll('#top tbody tr')].filter((r) => [2, 7].every((n) => ['noise', 'same'].includes(r.cells[n].textContent))).length;");
    assert_eq!(noise, 0);
    assert_clean(&browser);
}

/// The value that the page's head names, as the graph has it.
fn shown_total(browser: &Browser) -> i64 {
    browser.run("return profiler.graph.tree.data.total[0];").as_i64().unwrap_or_default()
}

#[test]
fn a_folder_offers_processes_and_times() {
    let session = Session::begin();
    let program = Bare::c("shares.c", "shares").with(&["-fno-ipa-icf", "-g"]).build();
    let _one = Target::start(&program, &["100", "100", "150"]);
    let _two = Target::start(&profiler_tests::Program::Pie.build(), &["burn"]);
    let mut agent =
        Profiler::new(session.folder(), ["agent", "-o", "out", "--window", "2s", "-F", "99"]).start();
    agent.wait_until_sampling();
    std::thread::sleep(std::time::Duration::from_secs(9));
    agent.signal(libc::SIGTERM);
    agent.finish().assert_success();

    let viewer = Viewer::start(session.folder(), ["out"]);
    let browser = open(&viewer, "view=flame");
    let all = shown_total(&browser);
    assert_eq!(Some(all), top(&session, &["out"])["total"].as_i64());
    browser.choose("#sources label:nth-child(2) select", "shares");
    browser.wait(&format!("{STILL} && location.search.includes('where=process')"));
    let shares = shown_total(&browser);
    assert_eq!(Some(shares), top(&session, &["out", "--where", "process=shares"])["total"].as_i64());
    assert!(0 < shares && shares < all, "{shares} of {all}");

    // The right half of the time.
    let middle = browser.run("const b = document.querySelector('.timeline').getBoundingClientRect(); return [b.left + b.width * 0.55, b.right - 2, b.top + 12];");
    let number = |n: usize| middle[n].as_f64().unwrap_or_default();
    browser.drag((number(0), number(2)), (number(1), number(2)));
    browser.wait(&format!("{STILL} && location.search.includes('since=')"));
    let since = browser.run("return new URLSearchParams(location.search).get('since');");
    let since = since.as_str().unwrap_or_default().to_owned();
    let some = shown_total(&browser);
    let wanted = top(&session, &["out", "--where", "process=shares", "--since", &since]);
    assert_eq!(Some(some), wanted["total"].as_i64());
    assert!(0 < some && some < shares, "{some} of {shares}");
    browser.reload();
    browser.wait(STILL);
    assert_eq!(shown_total(&browser), some, "as the address says");

    // Filters, by the box.
    browser.click("#reset");
    browser.wait(&format!("{STILL} && !location.search.includes('since=')"));
    browser.click("#pattern");
    browser.type_text("share_three");
    browser.click("#filter button");
    browser.wait(&format!("{STILL} && location.search.includes('focus=share_three')"));
    let focused = top(&session, &["out", "--focus", "share_three"]);
    assert_eq!(Some(shown_total(&browser)), focused["shown"].as_i64());
    browser.click("#chips .chip");
    browser.wait(&format!("{STILL} && !location.search.includes('focus=')"));
    assert_eq!(shown_total(&browser), all);

    // Two processes of the same folder, side by side.
    browser.click("#compare");
    browser.wait(&format!("{STILL} && location.search.includes('compare=1')"));
    browser.choose("#sources label:nth-child(2) select", "shares");
    browser.wait(&format!("{STILL} && location.search.includes('where=process')"));
    browser.choose("#comparison label:nth-of-type(3) select", "chain-pie");
    browser.wait(&format!("{STILL} && location.search.includes('base_where=process')"));
    let verdict = browser.run("const { tree } = profiler.graph; for (let i = 0; i < tree.count; i++) if (tree.nameOf(i) === 'share_three') return tree.data.verdict[i];");
    assert_eq!(verdict, "n");

    // An agent writes on.
    add_window(&session.path("out"));
    browser.click("#reset");
    browser.click("#reload");
    browser.wait(&format!(
        "{STILL} && profiler.about.other.windows.some(([time]) => time > Date.parse('2100-01-01'))"
    ));
    assert_clean(&browser);
}

/// Copies the first window to another time.
fn add_window(out: &Path) {
    let first = profiler_tests::folder::profiles(out).into_iter().next().expect("a profile");
    let folder = out.join("2100-01-02/000000Z");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::copy(&first, folder.join(first.file_name().unwrap())).expect("a copy");
}

#[test]
fn light_and_dark() {
    let session = Session::begin();
    record(&session, "x.pb.gz", ["100", "100", "150"]);
    let viewer = Viewer::start(session.folder(), ["x.pb.gz"]);
    let browser = Browser::start();
    // How bright the paper and a frame are, from 0 to 255.
    let bright = || {
        browser.wait(STILL);
        // The page hears of what the system prefers before it draws the next frame.
        browser.wait_run("for (let n = 0; n < 3; n++) await new Promise(requestAnimationFrame);");
        let paper =
            browser.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);");
        let paper = [0, 1, 2].map(|n| paper[n].as_i64().unwrap_or_default());
        [paper, colour(&browser, "share_two")].map(|colour| colour.iter().sum::<i64>() / 3)
    };
    browser.prefer(Scheme::Light);
    browser.open(&viewer.address);
    let [paper, frame] = bright();
    assert!(paper > 240 && frame > 160, "light: {paper} {frame}");
    browser.prefer(Scheme::Dark);
    let [paper, frame] = bright();
    assert!(paper < 40 && frame < 140, "dark, as the system: {paper} {frame}");
    browser.click("#theme");
    let [paper, frame] = bright();
    assert!(paper > 240 && frame > 160, "light, as chosen: {paper} {frame}");
    browser.reload();
    let [paper, _] = bright();
    assert!(paper > 240, "the choice stays: {paper}");
    assert_clean(&browser);
}

#[test]
fn pages_in_one_file() {
    let session = Session::begin();
    record(&session, "base.pb.gz", ["100", "100", "0"]);
    record(&session, "other.pb.gz", ["100", "0", "150"]);
    let run = |args: &[&str]| {
        Profiler::new(session.folder(), args).run().assert_success();
    };
    run(&["flamegraph", "other.pb.gz", "-o", "x.html"]);
    run(&["diff", "base.pb.gz", "other.pb.gz", "-o", "d.html"]);
    let browser = Browser::start();
    for (name, frame, says) in [("x.html", "share_three", "in shares"), ("d.html", "share_two", "gone")] {
        browser.open(&format!("file://{}", session.path(name).display()));
        let still = "globalThis.profiler && profiler.graph && !profiler.graph.gliding";
        browser.wait(still);
        let (x, y) = place(&browser, frame);
        browser.hover(x, y);
        assert!(browser.text("#tip").contains(says), "{name}: {}", browser.text("#tip"));
        browser.click_at(x, y);
        browser.wait(still);
        assert!(browser.text("#way").ends_with(frame), "{name}: {}", browser.text("#way"));
        browser.press(['/']);
        browser.type_text("share_o");
        browser.wait("document.getElementById('found').textContent.startsWith('1 frames')");
        browser.reload();
        browser.wait(still);
        assert!(browser.text("#way").ends_with(frame), "{name}: the address keeps the zoom");
        assert!(browser.text("#found").starts_with("1 frames"), "{name}: and the search");
        let complaints = browser.complaints();
        assert!(complaints.is_empty(), "{name}: {complaints:?}");
    }
}

#[test]
fn without_graphviz_the_graph_is_text() {
    let session = Session::begin();
    record(&session, "x.pb.gz", ["100", "100", "150"]);
    let viewer = Viewer::start_with(session.folder(), ["x.pb.gz"], &[("PATH", "/nowhere")]);
    let browser = open(&viewer, "view=graph");
    let text = browser.text("#callgraph");
    assert!(text.contains("is not installed: install graphviz"), "{text}");
    assert!(text.contains("digraph") && text.contains("share_three"), "{text}");
    assert_clean(&browser);
}

#[test]
fn answers_nobody_else() {
    let session = Session::begin();
    record(&session, "x.pb.gz", ["100", "100", "150"]);
    let viewer = Viewer::start(session.folder(), ["x.pb.gz"]);
    let host = viewer.host();
    let fine = viewer.ask("GET", "/", &[&host]);
    assert!(fine.starts_with("HTTP/1.1 200"), "{fine}");
    let lower = fine.to_lowercase();
    assert!(lower.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{fine}");
    assert!(
        lower.contains("x-content-type-options: nosniff") && !lower.contains("access-control-"),
        "{fine}"
    );
    for (method, path, headers) in [
        ("GET", "/", vec!["Host: evil.example"]),
        ("GET", "/api/flame", vec!["Host: evil.example"]),
        ("POST", "/api/reload", vec![&*host, "Origin: http://evil.example"]),
        ("GET", "/api/top", vec![&*host, "Sec-Fetch-Site: cross-site"]),
        ("GET", "/", vec![]),
    ] {
        let answer = viewer.ask(method, path, &headers);
        let refused = answer.starts_with("HTTP/1.1 403") || answer.starts_with("HTTP/1.1 400");
        assert!(refused && !answer.contains("share_three"), "{method} {path} {headers:?}: {answer}");
    }
    let wrong = viewer.ask("GET", "/api/flame?focus=(", &[&host]);
    assert!(wrong.starts_with("HTTP/1.1 400") && wrong.contains("is not a regex"), "{wrong}");
    assert!(viewer.ask("GET", "/nothing", &[&host]).starts_with("HTTP/1.1 404"));
    assert!(viewer.ask("GET", "/api/reload", &[&host]).starts_with("HTTP/1.1 405"));
    let taken = viewer.address.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let run = |args: &[&str]| Profiler::new(session.folder(), args).run();
    run(&["view", "--no-open", "--listen", &taken, "x.pb.gz"]).assert_refused(&["cannot listen", "--listen"]);
    run(&["view", "--no-open", "none.pb.gz"]).assert_refused(&["no such file"]);
    run(&["view", "--no-open", "--sample-index", "none", "x.pb.gz"]).assert_refused(&["sample type", "none"]);
    assert_eq!(viewer.interrupt(), Some(0));
}

/// Where there is a display, the page is opened by what the desktop opens pages with.
#[test]
fn the_browser_is_opened() {
    use std::os::unix::fs::PermissionsExt;
    let session = Session::begin();
    let _target = Target::start(&profiler_tests::Program::Pie.build(), &["burn"]);
    Profiler::new(session.folder(), ["record", "-d", "1s", "-o", "x.pb.gz"]).run().assert_success();
    let opener = session.path("xdg-open");
    std::fs::write(&opener, format!("#!/bin/sh\necho \"$@\" > {}\n", session.path("opened").display()))
        .unwrap();
    std::fs::set_permissions(&opener, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", session.folder().display(), std::env::var("PATH").unwrap_or_default());
    let viewer =
        Viewer::start_on_a_desktop(session.folder(), ["x.pb.gz"], &[("DISPLAY", ":77"), ("PATH", &path)]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while std::fs::read_to_string(session.path("opened")).unwrap_or_default().trim() != viewer.address {
        assert!(std::time::Instant::now() < deadline, "never opened");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
