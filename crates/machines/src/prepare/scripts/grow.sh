# Grows the root file system to its disk: partition, physical volume, logical volume, file system.
#
# cloud-init grows the partition and not the physical volume in it (RHBZ#2122575).

source=$(findmnt -nro SOURCE /)
case $(lsblk -ndo TYPE "$source") in
lvm)
	group=$(lvs --noheadings -o vg_name "$source" | tr -d ' ')
	part=$(pvs --noheadings -o pv_name -S "vg_name=$group" | tr -d ' ' | head -n 1)
	;;
*) part=$source group= ;;
esac
name=$(basename "$(readlink -f "$part")")
disk= number=
if [ -e "/sys/class/block/$name/partition" ]; then
	number=$(cat "/sys/class/block/$name/partition")
	disk=$(basename "$(readlink -f "/sys/class/block/$name/..")")
fi

# In sectors of 512 bytes: what lies behind the partition, where it is the last one.
behind() {
	[ -n "$disk" ] || { echo 0 && return; }
	end=$(($(cat "/sys/class/block/$name/start") + $(cat "/sys/class/block/$name/size")))
	for other in /sys/class/block/"$disk"/*/start; do
		[ "$(cat "$other")" -lt "$end" ] || { echo 0 && return; }
	done
	echo $(($(cat "/sys/class/block/$disk/size") - end))
}

# In MiB: how much of the device that holds it the file system does not fill. A file system keeps some for itself.
unfilled() {
	device=$(lsblk -nbdo SIZE "$source" | tr -d ' ')
	system=$(df -B1 --output=size / | tail -n 1 | tr -d ' ')
	echo $(((device - system - device / 16) / 1048576))
}

free_in_group() {
	[ -n "$group" ] || { echo 0 && return; }
	vgs --noheadings --units m --nosuffix -o vg_free "$group" | tr -d ' ' | cut -d . -f 1
}

check() {
	size=$(df -h --output=size / | tail -n 1 | tr -d ' ')
	# Less than 16 MiB is not worth a change: partitions are aligned, and a GPT has its copy at the end.
	[ "$(behind)" -lt 32768 ] || to_do "$(($(behind) / 2048)) MiB behind $part belong to nobody"
	[ "$(free_in_group)" -lt 16 ] || to_do "$(free_in_group) MiB of the volume group $group belong to no volume"
	[ "$(unfilled)" -lt 64 ] || to_do "/ does not fill $source"
	done_because "/ is $size, all of its disk"
}

apply() {
	if [ "$(behind)" -ge 32768 ]; then
		has growpart || fail "growpart is not there: the image needs the package cloud-utils-growpart"
		growpart "/dev/$disk" "$number"
	fi
	if [ -n "$group" ]; then
		pvresize "$part"
		[ "$(free_in_group)" -lt 16 ] || lvextend -l +100%FREE "$source"
	fi
	case $(findmnt -nro FSTYPE /) in
	xfs) xfs_growfs / ;;
	ext*) resize2fs "$source" ;;
	btrfs) btrfs filesystem resize max / ;;
	*) fail "the file system of / is none that can be grown here: $(findmnt -nro FSTYPE /)" ;;
	esac
}
