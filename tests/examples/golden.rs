//! Records golden stacks: `golden record [NAME…]`, all of them without a name. `cargo xtask golden` runs it.
#![expect(clippy::panic, reason = "a chore fails by panicking, and its message is the user's")]

use profiler_tests::golden::{self, programs::RECIPES, record::record};

fn main() {
    let mut args = std::env::args().skip(1);
    assert!(args.next().as_deref() == Some("record"), "usage: golden record [NAME…]");
    let wanted: Vec<String> = args.collect();
    for name in &wanted {
        if !RECIPES.iter().any(|recipe| recipe.name == name) {
            let known: Vec<&str> = RECIPES.iter().map(|recipe| recipe.name).collect();
            panic!("there is no golden stack {name}, but {}", known.join(", "));
        }
    }
    for recipe in RECIPES.iter().filter(|recipe| wanted.is_empty() || wanted.iter().any(|n| n == recipe.name))
    {
        let snapshot = record(recipe);
        let (text, path) = (snapshot.text(), golden::folder().join(recipe.name).with_extension("json"));
        if let Err(error) = std::fs::write(&path, &text) {
            panic!("cannot write {}: {error}", path.display());
        }
        println!("{}: {} frames, {} bytes", recipe.name, snapshot.frames.len(), text.len());
    }
}
