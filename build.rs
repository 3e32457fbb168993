//! A number for what this build does: the hash of all sources, the manifest and the features.
//!
//! A log of a call carries it (`src/record`), so that a replay under another build says so. Two
//! clones of one state of the sources give the same number; a changed comment gives another one,
//! which costs a warning and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rustc-check-cfg=cfg(fuzzing)");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=Cargo.toml");
    let mut files = BTreeSet::from([PathBuf::from("Cargo.toml")]);
    collect(Path::new("src"), &mut files)?;
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for file in files {
        // Line ends differ between clones on different systems.
        let text = fs::read_to_string(&file)?.replace("\r\n", "\n");
        hash = fold(hash, file.to_string_lossy().replace('\\', "/").as_bytes());
        hash = fold(hash, text.as_bytes());
    }
    if env::var_os("CARGO_FEATURE_OPUS").is_some() {
        hash = fold(hash, b"opus");
    }
    println!("cargo:rustc-env=SMALLRTC_BEHAVIOUR={hash}");
    Ok(())
}

fn collect(folder: &Path, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.insert(path);
        }
    }
    Ok(())
}

/// FNV-1a.
fn fold(hash: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
