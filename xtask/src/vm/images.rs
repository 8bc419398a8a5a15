//! Debian's kernels, by apt: from the archive that this machine's own sources name, other suites of it.
//!
//! apt checks signatures as it always does. Nothing of this machine's apt is changed: lists and settings are in a folder of
//! their own.

use std::{
    cmp::Ordering,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::Kernel;

/// A kernel on disk.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// The package that it came with.
    pub(crate) package: String,
    /// The kernel.
    pub(crate) kernel: PathBuf,
    /// What was in the package.
    pub(crate) folder: PathBuf,
}

/// Where a kernel is to be had: the suite, and what its packages' names begin with. They go on with the rest of the version,
/// and end with [`FLAVOUR`].
fn source(kernel: Kernel) -> (&'static str, &'static str) {
    match kernel {
        Kernel::V5_10 => ("bullseye", "linux-image-5.10."),
        Kernel::V6_1 => ("bookworm", "linux-image-6.1."),
        Kernel::V6_12 => ("trixie", "linux-image-6.12."),
        // Since Debian 14 the kernel itself is in a package of its own.
        Kernel::V7 => ("sid", "linux-binary-7."),
    }
}

/// For virtual machines: small, and with the drivers that they need.
const FLAVOUR: &str = "-cloud-amd64";

/// Gets the kernels that are not there yet. Remove the folder to get newer ones.
pub(crate) fn fetch(folder: &Path, kernels: &[Kernel]) -> Result<Vec<Image>> {
    let mut apt = None;
    let mut images = Vec::new();
    for kernel in kernels {
        let own = folder.join(kernel.name()).join("image");
        let image = match Image::open(&own) {
            Some(image) => image,
            None => {
                let apt = match &mut apt {
                    Some(apt) => apt,
                    none => none.insert(Apt::begin(&folder.join("apt"), kernels)?),
                };
                apt.unpack(*kernel, &own)?;
                Image::open(&own).with_context(|| format!("no kernel in {}", own.display()))?
            }
        };
        images.push(image);
    }
    Ok(images)
}

impl Image {
    /// What [`Apt::unpack`] has put there; `None` where it did not come to its end.
    fn open(folder: &Path) -> Option<Self> {
        let package = fs::read_to_string(folder.join("package")).ok()?;
        let files = |parent: &Path| -> Vec<PathBuf> {
            fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
        };
        let modules =
            files(&folder.join("usr/lib/modules")).into_iter().map(|release| release.join("vmlinuz"));
        let boot = files(&folder.join("boot"));
        let kernel = boot.into_iter().chain(modules).find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("vmlinuz") && path.is_file()
        })?;
        Some(Self { package, kernel, folder: folder.to_owned() })
    }
}

/// apt with lists of its own.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Reads the lists of the suites that are needed.
    fn begin(folder: &Path, kernels: &[Kernel]) -> Result<Self> {
        fs::create_dir_all(folder.join("lists/partial"))?;
        fs::create_dir_all(folder.join("cache/archives/partial"))?;
        let archive = archive()?;
        let suites: Vec<&str> = kernels.iter().map(|kernel| source(*kernel).0).collect();
        let lines: Vec<String> = suites.iter().map(|suite| entry(&archive, suite)).collect();
        fs::write(folder.join("sources.list"), lines.concat())?;
        let apt = Self { folder: folder.to_owned() };
        apt.run("apt-get", &["-qq", "update"], folder)?;
        Ok(apt)
    }

    fn run(&self, program: &str, arguments: &[&str], within: &Path) -> Result<String> {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let options = [
            format!("Dir::Etc::sourcelist={}", path("sources.list")),
            "Dir::Etc::sourceparts=-".to_owned(),
            "Dir::Etc::preferencesparts=-".to_owned(),
            format!("Dir::State::lists={}", path("lists")),
            format!("Dir::Cache={}", path("cache")),
            "Acquire::Languages=none".to_owned(),
            // Nobody else may write to the folder, and so not what apt would become.
            "APT::Sandbox::User=root".to_owned(),
        ];
        let mut command = Command::new(program);
        command.args(options.iter().flat_map(|option| ["-o", option])).args(arguments).current_dir(within);
        let output = command.output().with_context(|| format!("cannot run {program}"))?;
        if !output.status.success() {
            bail!(
                "{program} {} failed: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Gets the newest package of that kernel and unpacks it.
    fn unpack(&self, kernel: Kernel, to: &Path) -> Result<()> {
        let (suite, prefix) = source(kernel);
        let names = self.run("apt-cache", &["pkgnames", prefix], &self.folder)?;
        let package = newest(names.lines(), prefix)
            .with_context(|| format!("no package {prefix}*{FLAVOUR} in {suite}"))?;
        if to.exists() {
            fs::remove_dir_all(to)?;
        }
        let download = self.folder.join(kernel.name());
        fs::create_dir_all(&download)?;
        fs::create_dir_all(to)?;
        self.run("apt-get", &["-qq", "download", package], &download)?;
        for entry in fs::read_dir(&download)? {
            let status = Command::new("dpkg").arg("-x").arg(entry?.path()).arg(to).status()?;
            if !status.success() {
                bail!("dpkg cannot unpack {package}");
            }
        }
        fs::remove_dir_all(&download)?;
        fs::write(to.join("package"), package)?;
        Ok(())
    }
}

/// A line of sources.list. Old suites are not signed anew, so their date is let pass.
fn entry(archive: &str, suite: &str) -> String {
    let options = "target=Packages arch=amd64 check-valid-until=no \
                   signed-by=/usr/share/keyrings/debian-archive-keyring.gpg";
    format!("deb [{options}] {archive} {suite} main\n")
}

/// Where this machine has Debian itself from.
fn archive() -> Result<String> {
    let format = "$(ORIGIN)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)";
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", format, "Created-By: Packages"])
        .output()
        .context("cannot run apt-get: the kernels are Debian's")?;
    main_archive(&String::from_utf8_lossy(&output.stdout))
        .map(str::to_owned)
        .context("apt knows no archive of Debian: run `apt-get update` on a Debian machine")
}

/// Of all that apt knows, the archive that has whole suites: those of updates and of security have a hyphen in their names.
fn main_archive(targets: &str) -> Option<&str> {
    targets.lines().find_map(|line| {
        let mut fields = line.split('|');
        let (origin, release) = (fields.next()?, fields.next()?);
        let (component, uri) = (fields.next()?, fields.next()?);
        (origin == "Debian" && component == "main" && !release.contains('-')).then_some(uri)
    })
}

/// The one with the highest version.
fn newest<'a>(names: impl Iterator<Item = &'a str>, prefix: &str) -> Option<&'a str> {
    let is_image = |name: &&str| name.starts_with(prefix) && name.ends_with(FLAVOUR);
    names.filter(is_image).max_by(|a, b| by_numbers(a, b))
}

fn by_numbers(a: &str, b: &str) -> Ordering {
    let numbers = |name: &str| -> Vec<u64> {
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    numbers(a).cmp(&numbers(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_image_has_the_highest_number() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-50-cloud-amd64",
            "linux-image-6.1.0-50-cloud-amd64-dbg",
            "linux-image-6.1.0-51-amd64",
            "linux-image-6.12.1-cloud-amd64",
        ];
        assert_eq!(newest(names.into_iter(), "linux-image-6.1."), Some("linux-image-6.1.0-50-cloud-amd64"));
        assert_eq!(newest(names.into_iter(), "linux-image-5.10."), None);
    }

    #[test]
    fn the_archive_is_that_of_whole_suites() {
        let targets = "\
            Other|stable|main|http://other/\n\
            Debian|bookworm-security|main|http://archive/security/\n\
            Debian|bookworm|contrib|http://archive/contrib/\n\
            Debian|bookworm|main|http://archive/debian/\n";
        assert_eq!(main_archive(targets), Some("http://archive/debian/"));
        assert_eq!(main_archive(""), None);
    }
}
