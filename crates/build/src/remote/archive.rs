//! A directory as one file.

use std::io;
use std::path::Path;

use camino::Utf8Path;
use fs_err as fs;

/// Packs a directory. zstd's fastest level: the line to a builder is seldom slower than that is useful for.
pub(crate) fn pack(directory: &Utf8Path, archive: &Utf8Path) -> io::Result<()> {
    let encoder = zstd::Encoder::new(fs::File::create(archive)?, 1)?;
    let mut builder = tar::Builder::new(encoder);
    // A link of the tree stays one: the tree is whole, and they lead to within it.
    builder.follow_symlinks(false);
    builder.append_dir_all(".", directory)?;
    builder.into_inner()?.finish()?.sync_all()
}

/// Unpacks it beside its place and renames: what is at the place is whole.
pub(crate) fn unpack(archive: &Utf8Path, place: &Utf8Path) -> io::Result<()> {
    let beside = place.with_added_extension(format!("{}.new", std::process::id()));
    remove(beside.as_std_path())?;
    fs::create_dir_all(&beside)?;
    let mut reader = tar::Archive::new(zstd::Decoder::new(fs::File::open(archive)?)?);
    // What would be unpacked outside of the place is an error of the crate's.
    reader.unpack(&beside)?;
    match fs::rename(&beside, place) {
        Err(_) if place.is_dir() => remove(beside.as_std_path()),
        result => result,
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_comes_out_as_it_went_in() {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(directory.path()).unwrap();
        fs::create_dir_all(path.join("tree/include")).unwrap();
        fs::write(path.join("tree/include/a.h"), "int a;").unwrap();
        fs_err::os::unix::fs::symlink("include/a.h", path.join("tree/link")).unwrap();
        pack(&path.join("tree"), &path.join("archive")).unwrap();
        for _ in 0..2 {
            unpack(&path.join("archive"), &path.join("out")).unwrap();
            assert_eq!(fs::read_to_string(path.join("out/link")).unwrap(), "int a;");
        }
        assert!(fs::symlink_metadata(path.join("out/link")).unwrap().is_symlink());
        assert_eq!(path.read_dir_utf8().unwrap().count(), 3);
    }
}
