//! Lists the files of the Python package, so that `package.rs` can embed exactly these and Cargo notices changes.

use std::fs;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};

/// Files that are not Python and still belong to the package.
const OTHERS: [&str; 3] = ["py.typed", "LICENSE", "NOTICE"];

fn main() -> Result<()> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("../../python/src/bursa");
    let mut files = Vec::new();
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", root.display());
    if root.is_dir() {
        collect(&root, &root, &mut files)?;
    }
    files.sort();
    let mut hash = blake3::Hasher::new();
    let mut code = String::from("pub(super) const FILES: &[(&str, &[u8])] = &[\n");
    for (name, path) in &files {
        let body = fs::read(path)?;
        hash.update(name.as_bytes()).update(&[0]).update(&(body.len() as u64).to_le_bytes()).update(&body);
        code += &format!("    ({name:?}, include_bytes!({:?})),\n", path.canonicalize()?);
    }
    let hash = hash.finalize().to_hex();
    code += &format!("];\npub(super) const HASH: &str = {:?};\n", &hash[..16]);
    fs::write(PathBuf::from(variable("OUT_DIR")?).join("package_files.rs"), code)
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|error| Error::other(format!("{name}: {error}")))
}

fn collect(root: &Path, dir: &Path, files: &mut Vec<(String, PathBuf)>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type()?.is_dir() {
            if name != "__pycache__" && !name.starts_with('.') {
                collect(root, &path, files)?;
            }
        } else if Path::new(&name).extension().is_some_and(|end| end == "py")
            || OTHERS.contains(&name.as_str())
        {
            let inner = path.strip_prefix(root).map_err(Error::other)?;
            files.push((inner.to_string_lossy().into_owned(), path));
        }
    }
    Ok(())
}
