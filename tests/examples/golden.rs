//! Records golden stacks: `golden record [NAME…]`, all of them without a name. `cargo xtask golden` runs it.
#![expect(clippy::panic, reason = "a chore fails by panicking, and its message is the user's")]

use profiler_tests::golden::{self, Snapshot, aarch64, programs::RECIPES, record::record};

fn main() {
    let mut args = std::env::args().skip(1);
    assert!(args.next().as_deref() == Some("record"), "usage: golden record [NAME…]");
    let wanted: Vec<String> = args.collect();
    let native = RECIPES.iter().map(|recipe| recipe.name);
    let known: Vec<&str> = native.chain(aarch64::RECIPES.iter().map(|recipe| recipe.name)).collect();
    for name in &wanted {
        assert!(known.contains(&name.as_str()), "there is no golden stack {name}, but {}", known.join(", "));
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    for recipe in RECIPES.iter().filter(|recipe| is_wanted(recipe.name)) {
        write(recipe.name, &record(recipe));
    }
    for recipe in aarch64::RECIPES.iter().filter(|recipe| is_wanted(recipe.name)) {
        write(recipe.name, &aarch64::record(recipe));
    }
}

fn write(name: &str, snapshot: &Snapshot) {
    let (text, path) = (snapshot.text(), golden::folder().join(name).with_extension("json"));
    if let Err(error) = std::fs::write(&path, &text) {
        panic!("cannot write {}: {error}", path.display());
    }
    println!("{name}: {} frames, {} bytes", snapshot.frames.len(), text.len());
}
