//! The directory that stands first in a build's `PATH`: wrappers around the compilers and make.
//!
//! Shell scripts, because they must run in whatever system the sandbox has; they cost a millisecond, a
//! compilation some hundred.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_model::KernelRelease;
use fs_err as fs;

use crate::toolchain::{is_compiler, programs};
use crate::{BuildError, BuildRequest, Debuginfo};

/// Where things are in the sandbox.
pub(crate) mod inside {
    pub(crate) const TOOLS: &str = "/drivetrain/tools";
    pub(crate) const CCACHE: &str = "/drivetrain/ccache";
    pub(crate) const PROBES: &str = "/drivetrain/probes";
    pub(crate) const SLOTS: &str = "/drivetrain/slots";
}

/// The kernel's headers that name the kernel and nothing else, and are read by every compilation. Without
/// them, a compiler's cache could never hit on another kernel of the train.
const SALT: &str = "CONFIG_BUILD_SALT";

/// Where tools are that only those builds see which keep debugging information.
const KEPT: &str = "kept";

/// What spec files and makefiles strip, before debugging information is taken out, would be in no package. rpmbuild's
/// own scripts name strip by its path, and come afterwards.
const STRIP: &str = r#"#!/bin/sh
for argument; do
	case $argument in
	-o* | --output-file*) exec /usr/bin/strip "$@" ;;
	esac
done
"#;

/// The tools of one run.
#[derive(Debug)]
pub(crate) struct Tools {
    /// On the host.
    directory: Utf8PathBuf,
    ccache: bool,
    debuginfo_kept: bool,
}

impl Tools {
    /// Writes the wrappers to a directory below `run`.
    pub(crate) fn write(request: &BuildRequest, root: &Utf8Path, run: &Utf8Path) -> Result<Self, BuildError> {
        let devel = &request.kernel.devel;
        let ccache = request.options.ccache && root.join("usr/bin/ccache").exists();
        let tools = Self {
            directory: run.join("tools"),
            ccache,
            // Type information for BPF is made from debugging information, where the kernel's own is there.
            debuginfo_kept: devel.join("vmlinux").exists(),
        };
        fs::create_dir(&tools.directory).map_err(BuildError::file("create", &tools.directory))?;
        // After the fact, so that our umask does not count: the builds run as another user.
        mode(&tools.directory, 0o755)?;
        let autoconf = devel.join("include/generated/autoconf.h");
        let text = fs::read_to_string(&autoconf).map_err(|error| BuildError::KernelTree {
            path: devel.clone(),
            release: request.kernel.release.clone(),
            reason: error.to_string(),
        })?;
        let unsalted: String =
            text.lines().filter(|line| !line.contains(SALT)).fold(String::new(), |mut all, line| {
                all.push_str(line);
                all.push('\n');
                all
            });
        tools.file("autoconf.h", &unsalted, 0o644)?;
        let compiler = compiler_script(&request.kernel.release, ccache, request.options.probe_cache);
        for name in programs(root).iter().filter(|name| is_compiler(name)) {
            tools.file(name, &compiler, 0o755)?;
        }
        tools.file("make", MAKE, 0o755)?;
        let kept = tools.directory.join(KEPT);
        fs::create_dir(&kept).map_err(BuildError::file("create", &kept))?;
        mode(&kept, 0o755)?;
        tools.file(&format!("{KEPT}/strip"), STRIP, 0o755)?;
        Ok(tools)
    }

    pub(crate) fn directory(&self) -> &Utf8Path {
        &self.directory
    }

    /// What the wrappers want to find in the environment.
    pub(crate) fn environment(
        &self,
        request: &BuildRequest,
        debuginfo: Debuginfo,
    ) -> Vec<(&'static str, String)> {
        let drop = debuginfo == Debuginfo::Drop && !self.debuginfo_kept;
        let before = match debuginfo {
            Debuginfo::Drop => String::new(),
            Debuginfo::Keep => format!("{}/{KEPT}:", inside::TOOLS),
        };
        let mut environment = vec![
            ("PATH", format!("{before}{}:/usr/bin:/usr/sbin:/bin:/sbin", inside::TOOLS)),
            ("DRIVETRAIN_CFLAGS", if drop { "-g0".to_owned() } else { String::new() }),
            ("DRIVETRAIN_TOOLCHAIN", request.toolchain.digest.to_string()),
        ];
        if self.ccache {
            environment.extend([
                ("CCACHE_DIR", inside::CCACHE.to_owned()),
                // Temporary objects beside the cache: then the last step is a rename.
                ("CCACHE_TEMPDIR", format!("{}/tmp", inside::CCACHE)),
                // The digest covers the bytes of cc1 as well, which ccache does not look at.
                ("CCACHE_COMPILERCHECK", format!("string:{}", request.toolchain.digest)),
                // The directory only matters for debugging information, which is either dropped or, when
                // kept, made in one fixed directory per component.
                ("CCACHE_NOHASHDIR", "1".to_owned()),
                // Sources are unpacked, and headers generated, moments before they are compiled; no compilation
                // changes them.
                ("CCACHE_SLOPPINESS", "include_file_mtime,include_file_ctime".to_owned()),
                ("CCACHE_EXTRAFILES", format!("{}/autoconf.h", inside::TOOLS)),
                ("CCACHE_IGNOREHEADERS", IGNORED_HEADERS.to_owned()),
                // What a compilation read is taken from the compiler's own list, which kbuild asks for anyway:
                // no second run of the preprocessor on a miss.
                ("CCACHE_DEPEND", "1".to_owned()),
                ("CCACHE_UMASK", "022".to_owned()),
                ("CCACHE_MAXSIZE", "10G".to_owned()),
            ]);
        }
        environment
    }

    fn file(&self, name: &str, content: &str, bits: u32) -> Result<(), BuildError> {
        let path = self.directory.join(name);
        fs::write(&path, content).map_err(BuildError::file("write", &path))?;
        mode(&path, bits)
    }
}

fn mode(path: &Utf8Path, bits: u32) -> Result<(), BuildError> {
    fs::set_permissions(path, std::fs::Permissions::from_mode(bits))
        .map_err(BuildError::file("change the mode of", path))
}

/// As kbuild names it from within the kernel's tree, and as configure scripts name it from elsewhere.
const IGNORED_HEADERS: &str =
    "include/generated/autoconf.h:/usr/src/kernels/current/include/generated/autoconf.h";

/// make, with the pool of slots in place of `-jN`. Only the first make of a build passes here: make starts
/// others by its own path.
const MAKE: &str = r#"#!/bin/sh
# Written by drivetrain: make within the pool of slots that all components share.
if [ -n "$DRIVETRAIN_TOP" ] && [ ! -e "$DRIVETRAIN_TOP/tmp/looked" ]; then
	# A component of which a part depends on the kernel's name itself must not share that part.
	: >"$DRIVETRAIN_TOP/tmp/looked"
	if grep -rqsF --include='*.[chS]' --exclude='*.mod.c' -e CONFIG_BUILD_SALT -e build-salt.h \
		"$DRIVETRAIN_TOP/BUILD"; then : >"$DRIVETRAIN_TOP/tmp/salted"; fi
fi
if [ -z "$DRIVETRAIN_SLOTS" ] || [ ! -p "$DRIVETRAIN_SLOTS" ]; then exec /usr/bin/make "$@"; fi
case "$MAKEFLAGS" in *--jobserver*) exec /usr/bin/make "$@" ;; esac
expect=
for a do
	shift
	if [ -n "$expect" ]; then
		expect=
		case $a in [0-9]*) continue ;; esac
	fi
	case $a in
	-j) expect=y; continue ;;
	-j[0-9]* | --jobs=* | --jobs) continue ;;
	esac
	set -- "$@" "$a"
done
exec 8<>"$DRIVETRAIN_SLOTS"
MAKEFLAGS="-j --jobserver-auth=8,8" exec /usr/bin/make "$@"
"#;

/// The compiler's wrapper.
fn compiler_script(release: &KernelRelease, ccache: bool, probe_cache: bool) -> String {
    let mut script = String::from(
        r#"#!/bin/sh
# Written by drivetrain: the compiler, with what a build of kernel modules can do without left out.
real=/usr/bin/${0##*/}
compile= source=
for a do
	case $a in
	-c) compile=y ;;
	*.c | *.S | *.cc | *.cpp) source=$a ;;
	esac
done
[ -n "$compile" ] && [ -n "$source" ] || exec "$real" "$@"
"#,
    );
    // The release in paths is replaced by a link that leads to the same place, so that what is compiled for
    // two kernels of the train is the same command.
    let _ = write!(
        script,
        r#"case "$*" in
*/{release}*)
	for a do
		shift
		case $a in
		*/usr/src/*/{release} | */usr/src/*/{release}/*) a=${{a%%/{release}*}}/current${{a#*/{release}}} ;;
		esac
		set -- "$@" "$a"
	done
	;;
esac
[ -z "$DRIVETRAIN_CFLAGS" ] || set -- "$@" $DRIVETRAIN_CFLAGS
"#
    );
    if probe_cache {
        script.push_str(PROBE);
    }
    if ccache {
        script.push_str(CCACHE);
    } else {
        script.push_str("exec \"$real\" \"$@\"\n");
    }
    script
}

/// Through ccache. The files that modpost writes name the kernel: there is nothing to find for them.
///
/// A header that configure writes and every file is compiled with likes to name, in a comment, the kernel that
/// it was written for. Without debugging information, comments and line numbers of a header come to nothing;
/// so its text without them is what counts.
const CCACHE: &str = r#"case $source in *.mod.c) exec "$real" "$@" ;; esac
if [ -n "$DRIVETRAIN_CFLAGS" ]; then
	previous=
	for a do
		case $previous$a in
		-include/usr/src/kernels/*) ;;
		-include/*)
			bare=$DRIVETRAIN_TOP/tmp/bare$a
			if [ ! -e "$bare" ] || [ "$a" -nt "$bare" ]; then
				mkdir -p "${bare%/*}" && "$real" -fpreprocessed -dD -E -P "$a" -o "$bare.$$" 2>/dev/null &&
					mv "$bare.$$" "$bare" || exec "$real" "$@"
			fi
			CCACHE_EXTRAFILES=$CCACHE_EXTRAFILES:$bare
			CCACHE_IGNOREHEADERS=$CCACHE_IGNOREHEADERS:$a
			;;
		esac
		previous=
		case $a in -include) previous=-include ;; esac
	done
fi
[ ! -e "$DRIVETRAIN_TOP/tmp/salted" ] || CCACHE_IGNOREHEADERS=
exec /usr/bin/ccache "$real" "$@"
"#;

/// Remembers what configure's probes compile to, failures included, by the content of every file that each
/// of them read. A failure that is no answer (out of memory, a full disk) is not remembered.
const PROBE: &str = r#"case $source in
conftest*.c | */conftest*.c)
	[ -d "$DRIVETRAIN_PROBES" ] || exec "$real" "$@"
	output= deps= expect=
	for a do
		case $expect in output) output=$a ;; esac
		expect=
		case $a in
		-o) expect=output ;;
		-Wp,-MD,* | -Wp,-MMD,*) deps=${a##*,} ;;
		-M* | -S | -E | -x) exec "$real" "$@" ;;
		esac
	done
	[ -n "$output" ] || exec "$real" "$@"
	if grep -qs CONFIG_BUILD_SALT "$source"; then exec "$real" "$@"; fi
	here=$PWD/
	case $here in /usr/src/kernels/*/*) here=${here#/usr/src/kernels/*/} ;; esac
	key=$({ echo "1 $DRIVETRAIN_TOOLCHAIN $here"; printf '%s\n' "$@"; cat /drivetrain/tools/autoconf.h "$source"; } | sha256sum)
	known=$DRIVETRAIN_PROBES/${key%% *}
	for entry in "$known"/*; do
		[ -e "$entry/read" ] || continue
		sha256sum --status -c "$entry/read" 2>/dev/null || continue
		cat "$entry/said" >&2
		[ -e "$entry/made" ] || exit 1
		cat "$entry/made" >"$output" || exit 1
		[ -z "$deps" ] || cat "$entry/deps" >"$deps" || exit 1
		exit 0
	done
	work=$(mktemp -d "$DRIVETRAIN_PROBES/new.XXXXXXXXXX") || exec "$real" "$@"
	"$real" "$@" -H 2>"$work/all"
	status=$?
	sed -e '/^Multiple include guards may be useful for:/,$d' -e '/^\.\.*[!x]* /d' "$work/all" >"$work/said"
	cat "$work/said" >&2
	keep=y
	case $status in
	0)
		cp "$output" "$work/made" || keep=
		[ -z "$deps" ] || cp "$deps" "$work/deps" || keep=
		;;
	1)
		grep -q 'error:' "$work/said" || keep=
		if grep -qE 'internal compiler error|Killed|No space left|out of memory|No such file' "$work/said"; then keep=; fi
		;;
	*) keep= ;;
	esac
	if [ -n "$keep" ]; then
		sed -n 's/^\.\.*[!x]* //p' "$work/all" | LC_ALL=C sort -u | grep -v 'include/generated/autoconf\.h$' | tr '\n' '\0' |
			xargs -0 -r sha256sum >"$work/read" 2>/dev/null || keep=
	fi
	rm -f "$work/all"
	if [ -n "$keep" ] && mkdir -p "$known" && mv "$work" "$known/$$-${work##*.}"; then :; else rm -rf "$work"; fi
	exit $status
	;;
esac
"#;

#[cfg(test)]
mod tests;
