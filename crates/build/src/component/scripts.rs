//! What runs in the sandbox. Each script gets rpmbuild's definitions as its arguments.

/// Unpacks the source RPM and the packages of needed components, puts our patches at the end of `%prep`, and
/// writes down what the spec file requires under these definitions: a source RPM's own header says only what
/// it required under those with which it was made.
pub(super) const PREPARE: &str = r#"
set -eu
cd "$DRIVETRAIN_TOP"
mkdir -p BUILD BUILDROOT RPMS SOURCES SPECS SRPMS out rpmdb tmp
rpm --dbpath "$DRIVETRAIN_TOP/rpmdb" --define "_topdir $DRIVETRAIN_TOP" --nosignature --nodeps -i \
	/drivetrain/source.rpm
spec=
for found in SPECS/*.spec; do
	[ -z "$spec" ] || { echo "error: the source RPM has more than one spec file" >&2; exit 1; }
	spec=$found
done
[ -f "$spec" ] || { echo "error: the source RPM has no spec file" >&2; exit 1; }
if [ -d /drivetrain/patches ]; then
	awk '
		/^%(build|conf|generate_buildrequires)([ \t]|$)/ && !done {
			print "for drivetrain_patch in /drivetrain/patches/*; do"
			print "drivetrain_name=${drivetrain_patch##*/????-}"
			print "if ! patch -p1 -N -t -F0 --no-backup-if-mismatch -r - <\"$drivetrain_patch\"; then"
			print "echo \"drivetrain: $drivetrain_name does not apply\" >&2; exit 1"
			print "fi"
			print "done"
			done = 1
		}
		{ print }
		END { exit !done }
	' "$spec" >out/spec || {
		echo "error: the spec file has no %build section that patches could be applied before" >&2
		exit 1
	}
	mv out/spec "$spec"
fi
rpm -qp --dbpath "$DRIVETRAIN_TOP/rpmdb" --nosignature --qf '%{BUILDTIME}\n' /drivetrain/source.rpm >out/epoch
rpmspec -q --buildrequires "$@" "$spec" >out/requires
for package in /drivetrain/packages/*.rpm; do
	[ -e "$package" ] || continue
	(cd /drivetrain/needs && rpm2cpio "$package" | cpio -idmu --quiet --no-absolute-filenames)
done
# The compiler's wrapper names a release's directory by this link, so that commands are the same for all.
find /drivetrain/needs/usr/src -maxdepth 3 -name "$DRIVETRAIN_KERNEL" -exec sh -c '
	ln -sfn "$DRIVETRAIN_KERNEL" "${1%/*}/current"
' sh {} \; 2>/dev/null || true
"#;

/// Builds, and writes down what was made.
pub(super) const BUILD: &str = r#"
set -eu
cd "$DRIVETRAIN_TOP"
SOURCE_DATE_EPOCH=$(cat out/epoch)
KBUILD_BUILD_TIMESTAMP=@$SOURCE_DATE_EPOCH
export SOURCE_DATE_EPOCH KBUILD_BUILD_TIMESTAMP
rpmbuild -bb --nodeps --noclean "$@" SPECS/*.spec </dev/null
times >out/times
cd RPMS
: >../out/packages
for package in *.rpm; do
	[ -e "$package" ] || break
	rpm -qp --dbpath "$DRIVETRAIN_TOP/rpmdb" --nosignature --qf "$DRIVETRAIN_QUERY" "$package" >>../out/packages
done
"#;
