# Makes the kernel that is built for the one that boots next. KERNEL is its release.
#
# Boot loader entries are named MACHINE-ID-RELEASE.conf (Boot Loader Specification, type 1). Those of an image have the
# id of the machine that it was made on: installing a kernel does not replace them, and a boot loader that goes by names
# may prefer them for ever.

id=$(cat "$ROOT/etc/machine-id")

directories() {
	for directory in "$ROOT/boot/loader/entries" "$ROOT/efi/loader/entries" "$ROOT/boot/efi/loader/entries"; do
		[ ! -d "$directory" ] || echo "$directory"
	done
}

# Entries whose name begins with the id of another machine.
foreign() {
	directories | while read -r directory; do
		for entry in "$directory"/*.conf; do
			prefix=$(basename "$entry")
			prefix=${prefix%%-*}
			[ ${#prefix} = 32 ] && [ "$prefix" != "$id" ] && [ -e "$entry" ] && echo "$entry" || :
		done
	done
}

own_entry() {
	directories | while read -r directory; do
		[ ! -e "$directory/$id-$KERNEL.conf" ] || echo "$directory/$id-$KERNEL.conf"
	done | head -n 1
}

loader_conf() {
	directories | while read -r directory; do
		[ ! -e "${directory%/entries}/loader.conf" ] || echo "${directory%/entries}/loader.conf"
	done | head -n 1
}

# What would boot, as the boot loader's own tool says; as the release of a kernel.
default_kernel() {
	if has grubby; then
		path=$(grubby --default-kernel)
		echo "${path##*/vmlinuz-}"
	elif [ -n "$(loader_conf)" ]; then
		pattern=$(sed -n 's/^default[[:space:]]*//p' "$(loader_conf)" | tail -n 1)
		[ "$pattern" != "$id-$KERNEL.conf" ] || echo "$KERNEL"
	fi
}

# A choice that was made by hand at the boot menu, or for one boot, goes before all others.
chosen_by_firmware() {
	for variable in LoaderEntryOneShot LoaderEntryDefault; do
		for file in "$ROOT"/sys/firmware/efi/efivars/"$variable"-*; do
			[ ! -e "$file" ] || [ "$(tail -c +5 "$file" | tr -d '\0')" = "$id-$KERNEL.conf" ] || echo "$variable"
		done
	done
}

check() {
	[ -n "$(directories)" ] || fail "there are no boot loader entries in /boot/loader/entries, /efi or /boot/efi"
	[ -z "$(foreign)" ] || to_do "entries of another machine: $(foreign | xargs -n 1 basename | tr '\n' ' ')"
	[ -n "$(own_entry)" ] || to_do "there is no entry $id-$KERNEL.conf"
	[ "$(default_kernel)" = "$KERNEL" ] || to_do "what boots next is $(default_kernel | grep . || echo "not chosen by name")"
	[ -z "$(chosen_by_firmware)" ] || to_do "another is chosen by the variable $(chosen_by_firmware | tr '\n' ' ')"
	if has grub2-editenv; then
		case $(grub2-editenv - list | sed -n 's/^saved_entry=//p') in
		"$id-$KERNEL" | "") ;;
		*) to_do "GRUB's saved_entry is another" ;;
		esac
	fi
	done_because "$id-$KERNEL.conf boots next"
}

apply() {
	foreign | while read -r entry; do
		name=$(basename "$entry")
		target=$(dirname "$entry")/$id-${name#*-}
		if [ -e "$target" ]; then
			echo "removing $name, which there is for this machine as well"
			rm "$entry"
		else
			echo "$name becomes $(basename "$target")"
			mv "$entry" "$target"
		fi
	done
	if [ -z "$(own_entry)" ]; then
		# It is told below that it failed.
		! has kernel-install || kernel-install add "$KERNEL" "/lib/modules/$KERNEL/vmlinuz" || :
		[ -n "$(own_entry)" ] || fail "there is no boot loader entry of $KERNEL: was its package installed with /boot mounted?"
	fi
	if has grubby; then
		grubby --set-default "/boot/vmlinuz-$KERNEL"
	elif [ -n "$(loader_conf)" ]; then
		file=$(loader_conf)
		{ grep -v '^default[[:space:]]' "$file" || :; } >"$file.new"
		echo "default $id-$KERNEL.conf" >>"$file.new"
		mv "$file.new" "$file"
		if [ -n "$(chosen_by_firmware)" ]; then
			bootctl set-oneshot "" || :
			bootctl set-default ""
		fi
	else
		fail "neither grubby nor systemd-boot's loader.conf is there: the boot loader is none that can be told"
	fi
	sync
}
