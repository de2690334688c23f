//! Jars of other projects: which ones, their checksums, where they come from and where they stay.
//!
//! A list has a line a jar, `SHA-256  path below a Maven repository`. They are taken from the local Maven repository
//! if they are there, else from Maven, which knows this machine's mirrors and passwords, else by curl. Whatever the
//! way, only what has the checksum of the list is kept.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use super::process::in_path;
use crate::failure::Failure;

/// The folder of a list's jars: the one that the environment variable names, or what `get` left.
pub(crate) fn find(list: &str, variable: Option<&str>) -> Result<PathBuf, Failure> {
    let named = variable.and_then(std::env::var_os).filter(|named| !named.is_empty());
    if let Some(named) = named {
        let variable = variable.unwrap_or_default();
        let path = PathBuf::from(named);
        let folder = fs::canonicalize(&path).ok().filter(|path| path.is_dir());
        return folder
            .ok_or_else(|| Failure::usage(format!("{variable} = {}: no such folder", path.display())));
    }
    let folder = kept(list)?;
    let name = list.split('-').next().unwrap_or(list);
    match folder.is_dir() {
        true => Ok(folder),
        false => Err(Failure::failed(format!(
            "the jars of {list} are not here; fetch them with `millstream-bench target get {name}`"
        ))),
    }
}

/// Fetches what is missing. Returns the folder.
pub(crate) fn get(list: &str) -> Result<PathBuf, Failure> {
    let folder = kept(list)?;
    let jars = pinned(list)?;
    if folder.is_dir() {
        match jars.iter().find(|jar| !jar.is_at(&folder.join(jar.name()))) {
            None => return Ok(folder),
            Some(jar) => {
                eprintln!("{} in {} is not what it was; fetching all again", jar.name(), folder.display())
            }
        }
        fs::remove_dir_all(&folder).map_err(|error| at(&folder, &error))?;
    }
    let part = folder.with_extension(format!("part-{}", std::process::id()));
    fs::create_dir_all(&part).map_err(|error| at(&part, &error))?;
    let got = fill(&part, &jars, &Sources::of_this_machine());
    // A folder of that name is complete: it gets its name last.
    let got = got.and_then(|()| fs::rename(&part, &folder).map_err(|error| at(&folder, &error)));
    if got.is_err() {
        let _ = fs::remove_dir_all(&part);
    }
    got.map(|()| folder)
}

fn at(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("{}: {error}", path.display()))
}

/// Where a list's jars are once they are here.
fn kept(list: &str) -> Result<PathBuf, Failure> {
    let named =
        |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")));
    let cache =
        cache.ok_or_else(|| Failure::failed("neither XDG_CACHE_HOME nor HOME says where to keep jars"))?;
    Ok(cache.join("millstream-bench").join(list))
}

struct Jar<'a> {
    sha256: &'a str,
    /// `group/artifact/version/artifact-version.jar`
    path: &'a str,
}

impl Jar<'_> {
    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    fn is_at(&self, path: &Path) -> bool {
        fs::read(path).is_ok_and(|bytes| sha256(&bytes) == self.sha256)
    }

    /// As a dependency without what it depends on: that is in the list, too.
    fn dependency(&self) -> Option<String> {
        let mut parts = self.path.rsplitn(4, '/');
        let (_, version, artifact, group) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let group = group.replace('/', ".");
        Some(format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>\
             <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>\
             </dependency>"
        ))
    }
}

fn pinned(list: &str) -> Result<Vec<Jar<'static>>, Failure> {
    let text = LISTS.iter().find(|(name, _)| *name == list).map(|(_, text)| *text);
    let text = text.ok_or_else(|| Failure::usage(format!("there is no list of jars `{list}`")))?;
    let jars = text.lines().filter_map(|line| line.split_once("  "));
    Ok(jars.map(|(sha256, path)| Jar { sha256, path }).collect())
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where jars may come from.
struct Sources {
    local: Option<PathBuf>,
    maven: Option<PathBuf>,
    curl: Option<PathBuf>,
    url: String,
}

impl Sources {
    fn of_this_machine() -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let named = std::env::var("MAVEN_URL").ok().filter(|url| !url.is_empty());
        let settings = home.as_ref().and_then(|home| fs::read_to_string(home.join(".m2/settings.xml")).ok());
        let mirror = settings.as_deref().and_then(mirror);
        Self {
            local: home.map(|home| home.join(".m2/repository")),
            // Who names an address wants that one.
            maven: in_path("mvn").filter(|_| named.is_none()),
            curl: in_path("curl"),
            url: named.or(mirror).unwrap_or_else(|| CENTRAL.to_owned()),
        }
    }
}

fn fill(folder: &Path, jars: &[Jar<'_>], sources: &Sources) -> Result<(), Failure> {
    if let Some(local) = &sources.local {
        for jar in jars.iter().filter(|jar| jar.is_at(&local.join(jar.path))) {
            fs::copy(local.join(jar.path), folder.join(jar.name())).map_err(|error| at(folder, &error))?;
        }
    }
    let missing =
        || -> Vec<&Jar<'_>> { jars.iter().filter(|jar| !folder.join(jar.name()).exists()).collect() };
    if let (Some(maven), false) = (&sources.maven, missing().is_empty()) {
        eprintln!("fetching {} jars by {}", missing().len(), maven.display());
        if let Err(error) = by_maven(maven, folder, &missing()) {
            eprintln!("{}: {error}", maven.display());
        }
    }
    if !missing().is_empty() {
        eprintln!("fetching {} jars from {}", missing().len(), sources.url);
        let no_curl = || Failure::failed("neither Maven nor curl is in PATH to fetch jars with");
        let curl = sources.curl.as_ref().ok_or_else(no_curl)?;
        by_curl(curl, &sources.url, folder, &missing())
            .map_err(|error| Failure::failed(format!("{}: {error}", curl.display())))?;
    }
    let wrong: Vec<&str> =
        jars.iter().filter(|jar| !jar.is_at(&folder.join(jar.name()))).map(Jar::name).collect();
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Failure::failed(format!("not what was pinned by its SHA-256: {}", wrong.join(", ")))),
    }
}

fn by_maven(maven: &Path, folder: &Path, jars: &[&Jar<'_>]) -> io::Result<()> {
    let pom = folder.join("pom.xml");
    let dependencies: String = jars.iter().filter_map(|jar| jar.dependency()).collect();
    let head = "<modelVersion>4.0.0</modelVersion><groupId>millstream</groupId><artifactId>jars</artifactId>\
                <version>1</version><packaging>pom</packaging>";
    fs::write(&pom, format!("<project>{head}<dependencies>{dependencies}</dependencies></project>\n"))?;
    let mut command = Command::new(maven);
    command.args(["-q", "-B", "-f"]).arg(&pom).arg("dependency:copy-dependencies");
    let status =
        command.arg(format!("-DoutputDirectory={}", folder.display())).stdout(Stdio::null()).status();
    fs::remove_file(&pom)?;
    match status?.success() {
        true => Ok(()),
        false => Err(io::Error::other("it could not fetch all of them")),
    }
}

fn by_curl(curl: &Path, url: &str, folder: &Path, jars: &[&Jar<'_>]) -> io::Result<()> {
    let mut child = Command::new(curl)
        .args(["--fail", "--silent", "--show-error", "--location", "--retry", "3", "--config", "-"])
        .stdin(Stdio::piped())
        .spawn()?;
    let mut config = String::new();
    for jar in jars {
        let (url, output) = (url.trim_end_matches('/'), folder.join(jar.name()));
        config += &format!("url = \"{url}/{}\"\noutput = \"{}\"\n", jar.path, output.display());
    }
    child.stdin.take().expect("piped above").write_all(config.as_bytes())?;
    match child.wait()?.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("could not fetch all of them from {url}"))),
    }
}

/// The first mirror of Maven's settings that stands for the central repository.
fn mirror(settings: &str) -> Option<String> {
    let mut text = settings.to_owned();
    while let Some(begin) = text.find("<!--") {
        let end = text[begin..].find("-->").map_or(text.len(), |len| begin + len + 3);
        text.replace_range(begin..end, "");
    }
    let inside = |text: &str, tag: &str| {
        let begin = text.find(&format!("<{tag}>"))? + tag.len() + 2;
        let len = text[begin..].find(&format!("</{tag}>"))?;
        Some(text[begin..begin + len].trim().to_owned())
    };
    let is_central = |of: &str| {
        let mut names = of.split(',').map(str::trim);
        !of.contains("!central") && names.any(|name| ["*", "central", "external:*"].contains(&name))
    };
    text.split("<mirror>").skip(1).find_map(|mirror| {
        let of = inside(mirror, "mirrorOf")?;
        is_central(&of).then(|| inside(mirror, "url"))?
    })
}

const LISTS: &[(&str, &str)] = &[("kafka-4.3.1", include_str!("../../targets/kafka-4.3.1.sha256"))];
/// Maven Central.
const CENTRAL: &str = "https://repo1.maven.org/maven2";

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("millstream-bench-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn every_line_of_a_list_is_a_jar_with_a_checksum() {
        for (list, text) in LISTS {
            let jars = pinned(list).unwrap();
            assert_eq!(jars.len(), text.lines().count());
            for jar in jars {
                assert!(jar.sha256.len() == 64 && jar.sha256.chars().all(|c| c.is_ascii_hexdigit()));
                assert!(jar.name().ends_with(".jar") && jar.dependency().is_some(), "{}", jar.path);
            }
        }
        let kafka = pinned("kafka-4.3.1").unwrap();
        let broker = kafka.iter().find(|jar| jar.name() == "kafka_2.13-4.3.1.jar").unwrap();
        assert!(broker.dependency().unwrap().contains("<groupId>org.apache.kafka</groupId>"));
    }

    #[test]
    fn sha256_is_that_of_its_standard() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn only_what_has_its_checksum_is_taken() {
        let folder = scratch("jars");
        let repository = folder.join("repository");
        fs::create_dir_all(repository.join("a/b/1")).unwrap();
        fs::write(repository.join("a/b/1/b-1.jar"), "abc").unwrap();
        let sum = sha256(b"abc");
        let good = [Jar { sha256: &sum, path: "a/b/1/b-1.jar" }];
        let bad = [Jar { sha256: &sum[1..], path: "a/b/1/b-1.jar" }];

        let local = Sources { local: Some(repository.clone()), maven: None, curl: None, url: String::new() };
        fill(&folder, &good, &local).unwrap();
        assert_eq!(fs::read(folder.join("b-1.jar")).unwrap(), b"abc");
        fs::remove_file(folder.join("b-1.jar")).unwrap();
        assert!(fill(&folder, &bad, &local).is_err());

        if let Some(curl) = in_path("curl") {
            let url = format!("file://{}/", repository.display());
            let remote = Sources { local: None, maven: None, curl: Some(curl), url };
            fill(&folder, &good, &remote).unwrap();
            fs::remove_file(folder.join("b-1.jar")).unwrap();
            let Err(Failure::Failed(why)) = fill(&folder, &bad, &remote) else { panic!("it was changed") };
            assert!(why.contains("b-1.jar"), "{why}");
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_mirror_of_the_central_repository_is_found_in_mavens_settings() {
        let settings = "<settings><mirrors>
          <!-- <mirror><mirrorOf>*</mirrorOf><url>https://commented.example</url></mirror> -->
          <mirror><id>a</id><mirrorOf>external:http:*</mirrorOf><url>http://0.0.0.0/</url></mirror>
          <mirror><id>b</id><mirrorOf>*,!central</mirrorOf><url>https://not.example</url></mirror>
          <mirror><id>c</id><url> https://mirror.example/maven </url><mirrorOf>snapshots, central</mirrorOf></mirror>
          </mirrors></settings>";
        assert_eq!(mirror(settings).as_deref(), Some("https://mirror.example/maven"));
        assert_eq!(mirror("<settings/>"), None);
        assert_eq!(mirror("<!-- <mirror>"), None);
    }
}
