# Installs the vendor's tool on this system and runs it, as root, in a mount and a PID namespace of its own.
#
# Wanted in the environment: OWN (a directory with what drivetrain put there), TREE (the kernel's development tree),
# KERNEL, PROGRAM (the tool), INSTALL and TOOL, SOURCE (names of packages), COMPONENTS, BEFORE (a file), HOME, TERM; the
# tool's arguments are the script's.

# What is said to drivetrain, among what programs say.
say() { echo "drivetrain: $*"; }
refuse() {
	echo "$*" >"$OWN/refused"
	exit 1
}

# What the tool installs of the components (a -devel package for those that are built against it) is gone after it,
# and after a run that was killed. What was there before stays.
installed() { rpm -qa --qf '%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH} %{SOURCERPM}\n' | sort; }
settle() {
	[ -e "$BEFORE" ] || return 0
	installed | comm -13 "$BEFORE" - | while read -r package source; do
		case " $COMPONENTS " in
		*" ${source%-*-*} "*) rpm -e --nodeps "$package" ;;
		esac
	done
	rm -f "$BEFORE"
}
settle

say "installing $TOOL"
# Each was verified when it was fetched, and again when it came here.
dnf -y --setopt=install_weak_deps=False --setopt=localpkg_gpgcheck=0 install "$OWN"/packages/*.rpm \
	"kernel-devel-uname-r = $KERNEL" ||
	refuse "dnf could not install $TOOL with what it needs and the kernel-devel of $KERNEL"
header() { rpm -q --nosignature --qf '%{SHA256HEADER}\n' "$@"; }
for file in "$OWN"/packages/*.rpm; do
	package=$(basename "$file" .rpm)
	# To dnf one of the same name and version is the same.
	[ "$(header -p "$file")" = "$(header "$package")" ] || rpm -U --force --nodeps "$file"
	rpm -q "$package" >/dev/null || refuse "$package is not what is installed: $(rpm -q "${package%-*-*}" || true)"
	changed=$(rpm -V --nodeps --noscripts "$package") || refuse "$package is installed, and has been changed since: $changed"
done
[ -x "$PROGRAM" ] || refuse "$TOOL is installed, and there is no program $PROGRAM"

# Its own /tmp: nothing can be run from that of many systems, and what is left there is found and removed.
mount --bind "$OWN/var-tmp" /var/tmp
# Verified bytes, whatever the package that is installed has.
mount --bind "$TREE" "/usr/src/kernels/$KERNEL"

# Another archive where not all of it is built, or something else.
if [ -e "$OWN/repack" ]; then
	archive=$(rpm -ql "$SOURCE" | grep -E '/MLNX_OFED_SRC-[^/]*\.tgz$' | head -n 1)
	[ -n "$archive" ] || refuse "$SOURCE has no MLNX_OFED_SRC-*.tgz"
	say "taking what is to be built out of ${archive##*/}"
	mkdir "$OWN/archive"
	tar -xzf "$archive" -C "$OWN/archive"
	srpms=$(find "$OWN/archive" -maxdepth 2 -type d -name SRPMS | head -n 1)
	[ -n "$srpms" ] || refuse "$archive has no directory SRPMS"
	for file in "$srpms"/*.src.rpm; do
		name=$(rpm -qp --nosignature --qf '%{NAME}' "$file")
		if grep -qxF -e "$name" "$OWN/repack"; then
			rm "$file"
		fi
	done
	for file in "$OWN"/sources/*.src.rpm; do
		[ ! -e "$file" ] || cp "$file" "$srpms/"
	done
	tar -czf "$OWN/tmp/${archive##*/}" -C "$OWN/archive" .
	rm -rf "$OWN/archive"
	set -- "$@" -t "/tmp/${archive##*/}"
fi
mount --bind "$OWN/tmp" /tmp

installed >"$BEFORE.new"
mv "$BEFORE.new" "$BEFORE"
# What is built against components that are finished takes them from here, as from a run of the tool.
for package in "$OWN"/needed/*.rpm; do
	[ ! -e "$package" ] || rpm -U --force --nodeps "$package"
done

say "running ${PROGRAM##*/}"
status=0
cd "$HOME"
"$PROGRAM" "$@" || status=$?
echo "$status" >"$OWN/status"
settle
