//! What two tools call the same function.

use std::collections::BTreeMap;

use super::code::{Code, Function};
use super::paths::Walked;

/// A function's name without what tools add or leave out: parameters, template arguments, the return type, versions of
/// symbols and the suffixes of clones. Empty for no name.
pub fn plain(name: &str) -> String {
    if name == "[unknown]" {
        return String::new();
    }
    const ANONYMOUS: &str = "(anonymous namespace)";
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let name = name.replace(ANONYMOUS, "{anonymous}");
    let name = name.split(" [clone").next().unwrap_or_default();
    let name = name.trim_end_matches(" const").replace("operator()", "operator{}").replace("->", "");
    let mut plain = String::new();
    let mut depth = 0_u32;
    for c in name.chars() {
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth = depth.saturating_sub(1),
            // A return type stands before the name.
            ' ' if depth == 0 && !plain.ends_with("operator") => plain.clear(),
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    for suffix in [".isra", ".part", ".constprop", ".cold", ".lto_priv", ".llvm"] {
        if let Some(at) = plain.find(suffix) {
            plain.truncate(at);
        }
    }
    plain
}

/// The names that a tool gave to functions, the most frequent one of each.
pub fn given(stacks: &[Walked], code: &mut Code) -> BTreeMap<Function, (String, i64)> {
    let mut counts: BTreeMap<Function, BTreeMap<String, i64>> = BTreeMap::new();
    for stack in stacks {
        for place in &stack.places {
            let function = code.function(place);
            *counts.entry(function).or_default().entry(plain(&place.name)).or_default() += stack.samples;
        }
    }
    let most = |names: BTreeMap<String, i64>| names.into_iter().max_by_key(|(_, frames)| *frames);
    counts.into_iter().filter_map(|(function, names)| Some((function, most(names)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_tools_disagree_about() {
        for (name, expected) in [
            ("clang::Sema::SubstDecl(clang::Decl*, int (*)(int)) const", "clang::Sema::SubstDecl"),
            ("v8::internal::(anonymous namespace)::Invoke", "v8::internal::{anonymous}::Invoke"),
            ("v8::JsonParser<unsigned char>::ParseJsonValue<false>", "v8::JsonParser::ParseJsonValue"),
            (
                "v8::MaybeHandle<v8::Object> v8::Parser<unsigned char>::Parse<true>() [clone .isra.0]",
                "v8::Parser::Parse",
            ),
            ("deflate.part.0", "deflate"),
            ("__libc_start_main@@GLIBC_2.34", "__libc_start_main"),
            ("a::{lambda(int)#1}::operator()(int) const", "a::{lambda#1}::operator{}"),
            ("[unknown]", ""),
        ] {
            assert_eq!(plain(name), expected, "{name}");
        }
    }
}
