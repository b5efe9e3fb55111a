//! Real data that nobody here wrote. It lies beside the checkout, not in it (licences); where it is missing the test says so
//! aloud and proves nothing. In CI it must be there.

use std::path::PathBuf;

/// A file of `../shared/testdata`, or none where the folder is missing.
pub fn read(path: &str) -> Option<String> {
    let file = folder()?.join(path);
    Some(std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

/// The files of a folder in it, by name.
pub fn files(path: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let mut files: Vec<_> = std::fs::read_dir(folder()?.join(path))
        .unwrap()
        .flatten()
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    Some(files)
}

fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/testdata");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "in CI the test data must be there");
    eprintln!("NOT CHECKED: there is no ../shared/testdata beside this checkout");
    None
}

/// The strings of a JSON list of strings, or the values of `key` in a list of objects.
pub fn strings(path: &str, key: Option<&str>) -> Option<Vec<String>> {
    let list: Vec<serde_json::Value> = serde_json::from_str(&read(path)?).unwrap();
    let text = |value: &serde_json::Value| match key {
        None => value.as_str().map(str::to_owned),
        Some(key) => value[key].as_str().map(str::to_owned),
    };
    Some(list.iter().filter_map(text).collect())
}
