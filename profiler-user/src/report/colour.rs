//! Colours of frames: the same name has the same colour in every picture.

/// A hue, 0 to 359 degrees, that depends on where a function belongs (see [`family`]), so what belongs together looks
/// alike.
#[must_use]
pub fn hue(name: &str, object: &str) -> u32 {
    // FNV-1a, its bits mixed once more: hues of names that differ in a letter would lie side by side.
    let hash = family(name, object)
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    ((hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d) >> 8) % 360
}

/// Where a function belongs: the crate of a Rust function, the outermost namespace of a C++ one, the package of a Go
/// one, and of others, which have none in their name, the binary. `object` is the binary's file name, or empty.
#[must_use]
pub fn family<'a>(name: &'a str, object: &'a str) -> &'a str {
    let letter = |char: char| char.is_alphanumeric() || char == '_';
    if let Some(end) = name.find("::") {
        // `<alloc::vec::Vec<T> as …>::from_iter`, `void boost::sort<…>(…)`
        let before = name.get(..end).unwrap_or_default();
        let start = before.rfind(|char| !letter(char)).map_or(0, |at| at + 1);
        return before.get(start..).filter(|family| !family.is_empty()).unwrap_or(name);
    }
    // Type arguments have packages of their own.
    let plain = name.split('[').next().unwrap_or(name);
    let start = plain.rfind('/').map_or(0, |slash| slash + 1);
    if let Some(dot) = name.get(start..).and_then(|last| last.find('.')).filter(|&dot| dot > 0) {
        let suffix = name.get(start + dot + 1..).unwrap_or_default();
        // What compilers append to parts and copies of a function is no package.
        let appended = ["cold", "part.", "isra.", "constprop.", "llvm.", "lto_priv."];
        if !appended.iter().any(|appended| suffix.starts_with(appended)) {
            return name.get(..start + dot).unwrap_or(name);
        }
    }
    if object.is_empty() { name } else { object }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_together_looks_alike() {
        assert_eq!(hue("json::parse", "a"), hue("json::write", "b"));
        assert_eq!(hue("runtime.mallocgc", ""), hue("runtime.newobject", ""));
        assert_eq!(hue("memcpy", "libc.so.6"), hue("malloc", "libc.so.6"));
        assert_ne!(hue("json::parse", ""), hue("http::parse", ""));
        assert!(hue("", "") < 360);
    }

    #[test]
    fn families_are_packages_crates_namespaces_and_binaries() {
        let cases = [
            ("<alloc::vec::Vec<T> as core::iter::Extend<T>>::extend", "app", "alloc"),
            ("void boost::sort<int>(int*)", "app", "boost"),
            ("std::vector<int>::push_back(int&&)", "app", "std"),
            ("encoding/json.(*decodeState).object", "app", "encoding/json"),
            ("github.com/a/b.v2.Run", "app", "github.com/a/b"),
            ("slices.Sort[go.shape.[]a/b.T]", "app", "slices"),
            ("do_syscall_64", "[kernel.kallsyms]", "[kernel.kallsyms]"),
            ("memcpy.part.0", "libc.so.6", "libc.so.6"),
            ("main", "", "main"),
            ("{closure}::{closure}", "app", "{closure}::{closure}"),
        ];
        for (name, object, wanted) in cases {
            assert_eq!(family(name, object), wanted, "{name}");
        }
    }
}
