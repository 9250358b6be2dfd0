//! How much of anything is read.

/// What a repository may make us read. The defaults leave room above what the largest public repositories have, and
/// stay below what would hurt a build host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of `repomd.xml`.
    pub max_repomd_bytes: u64,
    /// Bytes of one metadata file after decompression.
    pub max_open_bytes: u64,
    /// Bytes of `modules.yaml` after decompression.
    pub max_modules_bytes: u64,
    /// Bytes of `updateinfo.xml` after decompression.
    pub max_updateinfo_bytes: u64,
    /// Packages of one metadata file.
    pub max_packages: u64,
    /// Bytes of one `<package>` element: the most that is held in memory at a time.
    pub max_package_bytes: usize,
    /// Bytes of one text or one attribute that is kept.
    pub max_text_bytes: usize,
    /// Nested elements within a package, or within `repomd.xml`.
    pub max_depth: usize,
    /// Entries of one package: requirements and provides together, or files.
    pub max_entries_per_package: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_repomd_bytes: 1 << 20,
            max_open_bytes: 4 << 30,
            max_modules_bytes: 256 << 20,
            max_updateinfo_bytes: 512 << 20,
            max_packages: 1_000_000,
            max_package_bytes: 32 << 20,
            max_text_bytes: 64 << 10,
            max_depth: 16,
            max_entries_per_package: 500_000,
        }
    }
}
