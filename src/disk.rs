//! Makes folders and what is put into them last: a file whose bytes are on disk is still lost in a crash while the entry in
//! its folder is not (fsync(2)). A file that must be whole or not there at all is a [`Draft`] until it is.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// The folder that a path lies in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Writes a folder's entries to disk. Some network file systems have no such thing, and a folder that we may write to and
/// not read cannot be opened for it: neither is a reason to stop.
pub fn sync_folder(folder: &Path) -> Result<()> {
    use ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(cause) if matches!(cause.kind(), InvalidInput | PermissionDenied | Unsupported) => Ok(()),
        done => done,
    }
}

/// Makes a folder, and those it lies in, where they are missing.
pub fn make_folder(folder: &Path) -> Result<()> {
    let missing: Vec<&Path> =
        folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    std::fs::create_dir_all(folder)?;
    missing.into_iter().try_for_each(|made| sync_folder(folder_of(made)))
}

/// A file on its way: `FILE.part`, readable by its owner alone, until it is whole and gets its name. Dropped before that, it
/// is gone.
pub struct Draft {
    /// What is written to.
    pub file: File,
    part: PathBuf,
    path: PathBuf,
    is_named: bool,
}

impl Draft {
    /// Begins a file. One that another process is writing, or left behind, is not touched: `AlreadyExists`.
    pub fn of(path: &Path) -> Result<Self> {
        let part = beside(path, ".part");
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&part).map_err(|cause| match cause.kind() {
            ErrorKind::AlreadyExists => Error::new(
                ErrorKind::AlreadyExists,
                format!("{} is there: another one is writing it, or was cut short; if so, delete it", part.display()),
            ),
            _ => Error::new(cause.kind(), format!("{}: {cause}", part.display())),
        })?;
        Ok(Self { file, part, path: path.to_owned(), is_named: false })
    }

    /// Where it lies until it is whole.
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// Gives it its name, in place of what had it.
    pub fn replace(mut self) -> Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.part, &self.path)?;
        self.is_named = true;
        sync_folder(folder_of(&self.path))
    }

    /// Gives it its name, unless something has it: `AlreadyExists`.
    pub fn put(mut self) -> Result<()> {
        self.file.sync_all()?;
        match std::fs::hard_link(&self.part, &self.path) {
            Ok(()) => std::fs::remove_file(&self.part)?,
            Err(cause) if cause.kind() == ErrorKind::AlreadyExists => return Err(cause),
            // A file system without links; only a look is left, and the moment after it.
            Err(_) if self.path.exists() => return Err(ErrorKind::AlreadyExists.into()),
            Err(_) => std::fs::rename(&self.part, &self.path)?,
        }
        self.is_named = true;
        sync_folder(folder_of(&self.path))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once it has its name, what is called so is another one's.
        if !self.is_named {
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

/// The path with an ending more.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_and_found() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        make_folder(&deep).unwrap();
        make_folder(&deep).unwrap();
        assert!(deep.is_dir());
        assert_eq!(folder_of(&deep), folder.path().join("a/b"));
        assert_eq!((folder_of(Path::new("x")), folder_of(Path::new("/"))), (Path::new("."), Path::new(".")));
        sync_folder(Path::new(".")).unwrap();
        make_folder(Path::new(".")).unwrap();
        assert!(sync_folder(&folder.path().join("nowhere")).is_err());
    }
    #[test]
    fn a_draft_gets_its_name_when_it_is_whole() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy.db");
        let written = |text: &str| {
            let mut draft = Draft::of(&path).unwrap();
            draft.file.write_all(text.as_bytes()).unwrap();
            draft
        };
        drop(written("cut short"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left of it");
        let first = written("one");
        assert_eq!(Draft::of(&path).err().unwrap().kind(), ErrorKind::AlreadyExists, "another one is writing");
        first.put().unwrap();
        assert_eq!(written("two").put().unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        written("three").replace().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
