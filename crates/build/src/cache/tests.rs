use drivetrain_model::{ComponentName, Sha256Digest};

use super::*;
use crate::packages;

struct Bench {
    directory: tempfile::TempDir,
    cache: ComponentCache,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(directory.path()).unwrap();
        fs::create_dir(path.join("RPMS")).unwrap();
        fs::write(path.join("log"), "said").unwrap();
        fs::write(path.join("RPMS/kmod-a-1-1.x86_64.rpm"), "package").unwrap();
        let cache = ComponentCache::new(path.join("components"));
        Self { directory, cache }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.directory.path()).unwrap().join(name)
    }

    fn key() -> Sha256Digest {
        Sha256Digest::of(b"key")
    }

    fn put(&self) -> Result<CachedComponent, ComponentError> {
        self.cache.put(&NewEntry {
            family: None,
            repackaged: None,
            key: Self::key(),
            component: &ComponentName::parse("a").unwrap(),
            kernel: &KernelRelease::parse("6.1.0-1-test").unwrap(),
            ms: 1,
            packages: &packages::parse("P kmod-a 1-1 x86_64\nF /lib/modules/6.1.0-1-test/extra/a.ko\n"),
            rpms: &self.path("RPMS"),
            log: &self.path("log"),
        })
    }

    fn names(&self) -> Vec<String> {
        let entries = self.path("components").read_dir_utf8().unwrap().flatten();
        entries.map(|entry| entry.file_name().to_owned()).collect()
    }
}

#[test]
fn an_entry_that_others_may_be_reading_stays_and_a_damaged_one_does_not() {
    let bench = Bench::new();
    let first = bench.put().unwrap();
    let inode = |entry: &CachedComponent| {
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(&entry.packages[0].path).unwrap())
    };
    let before = inode(&first);
    let second = bench.put().unwrap();
    assert_eq!((inode(&second), bench.names()), (before, vec![Bench::key().to_string()]));
    assert_eq!(first, second);

    fs::write(&first.packages[0].path, "damaged").unwrap();
    assert!(bench.cache.get(&Bench::key()).is_err());
    assert_eq!(bench.put().unwrap(), first);
    assert_eq!(bench.cache.get(&Bench::key()).unwrap().as_ref(), Some(&first));
    assert_eq!(bench.names().len(), 1);
}

#[test]
fn what_a_build_made_in_the_place_of_a_package_is_not_taken() {
    let bench = Bench::new();
    let package = bench.path("RPMS/kmod-a-1-1.x86_64.rpm");
    fs::remove_file(&package).unwrap();
    fs_err::os::unix::fs::symlink("/etc/passwd", &package).unwrap();
    assert!(bench.put().unwrap_err().to_string().starts_with("cannot copy "));
    fs::remove_file(&package).unwrap();
    // Whoever opens a named pipe to read waits for a writer.
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, package.as_std_path(), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(bench.put().unwrap_err().to_string().starts_with("cannot copy "));
    assert!(bench.cache.get(&Bench::key()).unwrap().is_none());
}

#[test]
fn what_killed_runs_left_is_swept_away() {
    let bench = Bench::new();
    bench.put().unwrap();
    for name in [".old-1", ".young-2"] {
        fs::create_dir(bench.path("components").join(name)).unwrap();
    }
    for name in [".old-1".to_owned(), Bench::key().to_string()] {
        let long_ago = std::time::SystemTime::now() - 2 * ABANDONED;
        let directory = fs::File::open(bench.path("components").join(name)).unwrap();
        directory.file().set_modified(long_ago).unwrap();
    }
    bench.cache.sweep();
    let mut names = bench.names();
    names.sort();
    assert_eq!(names, [".young-2".to_owned(), Bench::key().to_string()]);
}
