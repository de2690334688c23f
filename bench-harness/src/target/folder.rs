//! A folder that this program made for a target, and may therefore delete.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::random;

/// A folder that was not there before. Stays until it is wiped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// What its mark says. Another folder of the same name does not say it.
    mark: String,
}

impl Folder {
    /// Makes a new one inside `parent`.
    pub(crate) fn make(parent: &Path, name: &str) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        fs::create_dir_all(parent)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = fs::canonicalize(parent)?.join(format!("{name}-{}-{number}", std::process::id()));
        fs::create_dir(&path)?;
        let mark = format!("{}\n{}\n", MARK_TEXT, random::new_id());
        let mut file = File::options().write(true).create_new(true).open(path.join(MARK))?;
        file.write_all(mark.as_bytes())?;
        Ok(Self { path, mark })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes it with all that is inside, if it is still the one that was made.
    pub(crate) fn wipe(&self) -> io::Result<()> {
        let facts = fs::symlink_metadata(&self.path)?;
        let mark = fs::read_to_string(self.path.join(MARK));
        if !facts.is_dir() || !mark.is_ok_and(|mark| mark == self.mark) {
            let path = self.path.display();
            let why = format!("{path} does not bear the mark of this program any more and is left alone");
            return Err(io::Error::other(why));
        }
        fs::remove_dir_all(&self.path)
    }
}

const MARK: &str = ".millstream-bench";
const MARK_TEXT: &str =
    "Made by millstream-bench for a broker under test, and deleted with all in it after the run.";

#[cfg(test)]
mod tests {
    use super::*;

    fn parent() -> PathBuf {
        std::env::temp_dir().join(format!("millstream-bench-folders-{}", std::process::id()))
    }

    #[test]
    fn what_was_made_can_be_wiped() {
        let folder = Folder::make(&parent(), "made").unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        fs::write(folder.path().join("data/x"), "x").unwrap();
        folder.wipe().unwrap();
        assert!(!folder.path().exists());
        assert!(folder.wipe().is_err());
    }

    #[test]
    fn what_was_not_made_is_left_alone() {
        let folder = Folder::make(&parent(), "replaced").unwrap();
        let path = folder.path().to_owned();
        fs::rename(&path, path.with_extension("away")).unwrap();

        fs::create_dir(&path).unwrap();
        fs::write(path.join("precious"), "x").unwrap();
        assert!(folder.wipe().is_err());
        // Nor with another's mark.
        fs::write(path.join(MARK), format!("{MARK_TEXT}\nsomething else\n")).unwrap();
        assert!(folder.wipe().is_err());
        assert!(path.join("precious").exists());

        // Nor through a link.
        fs::remove_dir_all(&path).unwrap();
        std::os::unix::fs::symlink(path.with_extension("away"), &path).unwrap();
        assert!(folder.wipe().is_err());
        assert!(path.with_extension("away").join(MARK).exists());
        fs::remove_file(&path).unwrap();
        fs::remove_dir_all(path.with_extension("away")).unwrap();
    }

    #[test]
    fn ids_are_random_and_never_look_like_an_option() {
        let ids: Vec<String> = (0..100).map(|_| random::new_id().to_string()).collect();
        assert!(ids.iter().all(|id| id.len() == 22 && !id.starts_with('-')));
        assert!(ids[0] != ids[1]);
    }
}
