//! Colours of frames: the same name has the same colour in every picture.

/// A hue, 0 to 59 degrees (red to yellow), that depends on the part of the name that says where a function belongs: its
/// package, module or class; so what belongs together looks alike.
#[must_use]
pub fn hue(name: &str) -> u32 {
    let end = name.rfind("::").or_else(|| name.rfind('.')).filter(|&end| end > 0).unwrap_or(name.len());
    let family = name.get(..end).unwrap_or(name);
    // FNV-1a.
    let hash =
        family.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash ^ (hash >> 16)) % 60
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_together_looks_alike() {
        assert_eq!(hue("json::parse"), hue("json::write"));
        assert_eq!(hue("runtime.mallocgc"), hue("runtime.newobject"));
        assert_ne!(hue("json::parse"), hue("http::parse"));
        assert!(hue("") < 60);
    }
}
